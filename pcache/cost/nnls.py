"""Least squares with no negative coefficient: the active-set method of Lawson and Hanson (1974)."""

from __future__ import annotations

import numpy as np

from pcache.types import F8

__all__ = ["nonnegative_least_squares"]


def nonnegative_least_squares(columns: F8, wanted: F8) -> F8:
    """The x ≥ 0 [n] that minimises |columns·x − wanted|, for columns [m, n] and wanted [m].

    Columns may depend on each other; then one of the best x is given.
    """
    scale = np.linalg.norm(columns, axis=0)
    scaled = columns / np.where(scale > 0, scale, 1)
    x = np.zeros(columns.shape[1])
    free = np.zeros(len(x), bool)
    tolerance = 1e-10 * max(float(np.linalg.norm(wanted)), 1e-300)
    for _ in range(10 * len(x)):
        gain = np.where(free, -np.inf, scaled.T @ (wanted - scaled @ x))
        if gain.max(initial=-np.inf) <= tolerance:
            break
        chosen = gain.argmax()
        free[chosen] = True
        x = _descend(scaled, wanted, x, free)
        if not free[chosen]:
            break
    return x / np.where(scale > 0, scale, 1)


def _descend(columns: F8, wanted: F8, x: F8, free: np.ndarray) -> F8:
    """Go from x to the best over the free columns, freeing less where it would be negative."""
    while True:
        best = np.zeros(len(x))
        best[free] = np.linalg.lstsq(columns[:, free], wanted, rcond=None)[0]
        negative = free & (best <= 0)
        if not negative.any():
            return best
        steps = x[negative] / np.maximum(x[negative] - best[negative], 1e-300)
        x = x + steps.min() * (best - x)
        free &= ~(negative & (x <= 1e-12 * max(x.max(), 1e-300)))
        x[~free] = 0
