"""A sum of ramps: each rises with a slope of its own between two places, and is flat elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pcache.types import I8

__all__ = ["Ramps"]

Numbers = npt.NDArray[Any]


class Ramps:
    """f(x) = Σ slope · min(max(x − low, 0), count) at whole numbers x; exact for whole slopes.

    `starts` are the places where the slope of the sum changes, sorted. Cost: O(n log n) once, then
    O(log n) a value.
    """

    def __init__(self, low: I8, count: I8, slope: Numbers) -> None:
        places = np.concatenate([low, low + count])
        order = np.argsort(places, kind="stable")
        self.starts: I8 = places[order]
        self._slopes = np.cumsum(np.concatenate([slope, -slope])[order])
        self._values = np.zeros(len(places), slope.dtype)
        np.cumsum(self._slopes[:-1] * np.diff(self.starts), out=self._values[1:])

    def at(self, places: I8) -> Numbers:
        """The values at `places`."""
        if not len(self.starts):
            return np.zeros(len(places), self._values.dtype)
        before = np.searchsorted(self.starts, places, side="right") - 1
        known = np.maximum(before, 0)
        rise = self._slopes[known] * (places - self.starts[known])
        return np.where(before >= 0, self._values[known] + rise, 0)
