"""Spatial sampling of segments, for traces whose every segment visit would be too many.

As in SHARDS (Waldspurger et al., FAST 2015), a hash decides once and for all which segments are
looked at, and each of these stands for its like: one kept with probability π counts as 1/π of
itself, in the hits as in the distances. Since a segment's distance is measured by itself, what hits
still is a prefix, up to the noise. Unlike single addresses, segments differ much in length and use,
so π grows with blocks · √visits, which for a given cost makes the variance of the hits smallest; and
a segment that many requests share is always kept, because nothing else is like it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pcache.sim.segments import SegmentTrace, count_visits, skip_empty
from pcache.types import F8

__all__ = ["sampled", "sampling_shares"]

ALWAYS = 1 / 64
"""Segments in at least this share of the requests are always kept."""


def sampling_shares(trace: SegmentTrace, rate: float) -> F8:
    """With which probability each segment is kept, float64 [segments].

    Of the visits to segments that are not always kept, about `rate` are to segments that are.
    """
    visits = count_visits(trace)
    always = visits >= ALWAYS * len(trace.requests)
    worth = trace.segments.blocks * np.sqrt(visits)
    cost = np.where(always, 0, visits)
    low, high = 0.0, worth.sum() / rate + 1
    for _ in range(50):  # bisection for the worth that is certain to be kept
        middle = (low + high) / 2
        too_many = (cost * np.minimum(worth / middle, 1)).sum() > rate * cost.sum()
        low, high = (middle, high) if too_many else (low, middle)
    return np.where(always, 1.0, np.minimum(worth / high, 1))


def sampled(trace: SegmentTrace, shares: F8, seed: int) -> SegmentTrace:
    """The trace without the segments that a hash of number and seed leaves out; those that are kept
    grow longer instead."""
    segments, requests = trace.segments.copy(), trace.requests.copy()
    kept = _uniform(len(segments), seed) < shares
    segments.blocks = np.where(kept, np.rint(segments.blocks / np.where(kept, shares, 1)), 0)
    skip_empty(segments, requests)
    return SegmentTrace(segments, requests)


def _uniform(length: int, seed: int) -> F8:
    """Numbers in [0, 1) from the splitmix64 hash of (index, seed)."""
    mixed: npt.NDArray[np.uint64] = np.arange(length, dtype=np.uint64) + np.uint64(seed << 40)
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
