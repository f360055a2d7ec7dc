"""Spatial sampling of segments, for traces whose every segment visit would be too many.

As in SHARDS (Waldspurger et al., FAST 2015), a hash decides once and for all which segments are
looked at, and each of these stands for its like: one kept with probability π counts as 1/π of
itself, in the hits as in the distances. Since a segment's distance is measured by itself, what hits
still is a prefix, up to the noise. Unlike single addresses, segments differ much in length and use,
so π grows with blocks · √visits, which for a given cost makes the variance of the hits smallest; and
a segment that many requests share is always kept, because nothing else is like it. Since all lengths
are known, the sample is scaled to the trace's number of blocks.

How far the sample is off shows when parts of it are left out. A second hash puts each kept segment
into one of NUM_PARTS parts, but with probability π into none: the jackknife over the parts would
take the sample for one drawn with replacement, whose variance is 1/(1 − π) times as large.
"""

from __future__ import annotations

from math import ceil, floor, log10, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pcache.errors import ConfigError
from pcache.sim.segments import SegmentTrace, count_visits, skip_empty
from pcache.types import F8, I8

__all__ = [
    "NUM_PARTS",
    "Sample",
    "check_sample",
    "draw",
    "grown",
    "relative_errors",
    "sampling_shares",
]

NUM_PARTS = 10
ALWAYS = 1 / 64
"""Segments in at least this share of the requests are always kept."""
LARGEST_ERROR = 0.1
"""Samples whose size in blocks or in hits has a relative standard error above this are refused."""


class Sample(NamedTuple):
    """What is kept of a trace: segments of their own length with their probabilities `shares` and
    their `parts`, −1 for none. All segments that were left to chance had `num_blocks`."""

    trace: SegmentTrace
    shares: F8
    parts: I8
    num_blocks: int


def sampling_shares(trace: SegmentTrace, rate: float) -> F8:
    """With which probability each segment is kept, float64 [segments]; 1 for those without visits.

    Of the visits to segments that are not always kept, about `rate` are to segments that are.
    """
    visits = count_visits(trace)
    always = (visits == 0) | (visits >= ALWAYS * len(trace.requests))
    worth = trace.segments.blocks * np.sqrt(visits)
    cost = np.where(always, 0, visits)
    low, high = 0.0, worth.sum() / rate + 1
    for _ in range(50):  # bisection for the worth that is certain to be kept
        middle = (low + high) / 2
        too_many = (cost * np.minimum(worth / middle, 1)).sum() > rate * cost.sum()
        low, high = (middle, high) if too_many else (low, middle)
    return np.where(always, 1.0, np.minimum(worth / high, 1))


def relative_errors(trace: SegmentTrace, shares: F8) -> tuple[float, float]:
    """Standard errors of what a sample makes of the trace's blocks, and of the hits of an unlimited
    cache, each as a share of these."""
    visits = count_visits(trace)
    blocks = np.where(visits > 0, trace.segments.blocks, 0)
    unknown = 1 / shares - 1
    sizes = blocks, blocks * np.maximum(visits - 1, 0)
    errors = [sqrt(float(size**2 @ unknown)) / max(float(size.sum()), 1) for size in sizes]
    return errors[0], errors[1]


def check_sample(trace: SegmentTrace, rate: float, shares: F8) -> None:
    """Raise ConfigError where the sample of `rate`, and thus of `shares`, is too small for its error
    to mean anything."""
    found = max(relative_errors(trace, shares))
    if found <= LARGEST_ERROR:
        return

    def error(rate: float) -> float:
        return max(relative_errors(trace, sampling_shares(trace, rate)))

    low, high = rate, 1.0
    while high > 1.001 * low:
        middle = sqrt(low * high)
        low, high = (middle, high) if error(middle) > LARGEST_ERROR else (low, middle)
    unit = 10.0 ** (floor(log10(high)) - 1)
    raise ConfigError(
        f"--sample {rate:g} of this trace is too small to state an error (it tells the trace's size to "
        f"±{100 * found:.0f} %); the smallest that works is {ceil(high / unit) * unit:.2g}"
    )


def draw(trace: SegmentTrace, shares: F8, seed: int) -> Sample:
    """Keep the segments that a hash of number and seed chooses."""
    segments, requests = trace.segments.copy(), trace.requests.copy()
    lot, alone, part = (_uniform(len(segments), 3 * seed + salt) for salt in range(3))
    kept = lot < shares
    num_blocks = int(segments.blocks[shares < 1].sum())
    segments.blocks[~kept] = 0
    skip_empty(segments, requests)
    number = np.cumsum(kept) - 1
    segments.parent = number[segments.parent]
    requests.leaf = number[requests.leaf]
    parts = np.where(alone < shares, -1, (part * NUM_PARTS).astype(np.int64))
    return Sample(SegmentTrace(segments[kept], requests), shares[kept], parts[kept], num_blocks)


def grown(sample: Sample, without: int | None = None) -> SegmentTrace:
    """The sample at the size of the trace that it was drawn from; or the same `without` a part."""
    segments, requests = sample.trace.segments.copy(), sample.trace.requests.copy()
    lengths = segments.blocks / sample.shares
    if without is not None:
        stay = np.where(sample.parts != without, NUM_PARTS / (NUM_PARTS - 1), 0)
        lengths *= np.where(sample.parts < 0, 1, stay)
    chance = sample.shares < 1
    lengths[chance] *= sample.num_blocks / max(lengths[chance].sum(), 1)
    segments.blocks = np.rint(lengths)
    skip_empty(segments, requests)
    return SegmentTrace(segments, requests)


def _uniform(length: int, seed: int) -> F8:
    """Numbers in [0, 1) from the splitmix64 hash of (index, seed)."""
    mixed: npt.NDArray[np.uint64] = np.arange(length, dtype=np.uint64) + np.uint64(seed << 40)
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
