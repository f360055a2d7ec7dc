"""The feasible hit rate and its bound at any capacity, by tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pcache.sim.offline import look_ahead, offline_hits
from pcache.sim.segments import SegmentTrace
from pcache.types import F8, I8

__all__ = ["OfflineCurve"]


class OfflineCurve:
    """The feasible schedule and the bound of a trace; a block of hits is worth `weight`."""

    def __init__(
        self, blocks: SegmentTrace, largest: int, first_counted: int, weight: float
    ) -> None:
        self._blocks, self._largest = blocks, largest
        self._first_counted, self._weight = first_counted, weight
        self._future = look_ahead(blocks, largest)

    def rates(self, places: I8, progress: Callable[[float], None] | None) -> F8:
        """Hit rates at capacities in blocks, float64 [2, len(places)]: feasible, then the bound."""
        rates = np.zeros((2, len(places)))
        for column, place in enumerate(places.tolist()):
            rates[:, column] = self._rate(place, False), self._rate(place, True)
            if progress is not None:
                progress((column + 1) / len(places))
        return rates

    def full(self, full: int, ceiling: float) -> int:
        """Blocks from which on the bound reaches the ceiling, given that `full` blocks do."""
        low = self._largest - 1
        while full - low > 1:
            middle = (low + full) // 2
            if self._rate(middle, True) < ceiling * (1 - 1e-12):
                low = middle
            else:
                full = middle
        return max(full, self._largest)

    def _rate(self, num_blocks: int, bound: bool) -> float:
        future = self._future
        if num_blocks < self._largest:
            future = look_ahead(self._blocks, num_blocks)
        hits = offline_hits(
            self._blocks, future, num_blocks, bound=bound, first_counted=self._first_counted
        )
        return hits * self._weight
