"""Hit rates of block LRU at any capacity, by tokens and as the mean over requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcache.cache.contract import CacheConfig
from pcache.sim.ramps import Ramps
from pcache.sim.sampling import (
    NUM_PARTS,
    Sample,
    check_sample,
    draw,
    grown,
    relative_errors,
    sampling_shares,
)
from pcache.sim.segments import SegmentTrace, unlimited_hits
from pcache.sim.stack_distance import stack_distances
from pcache.types import F8, I8

__all__ = ["CurveOptions", "LruCurve"]

STUDENT_T = 2.262
"""97.5 % point of Student's t with NUM_PARTS − 1 degrees of freedom."""
RULE_OF_THREE = 3.0
"""What none of n independent draws shows has a share of at most this ÷ n, with 95 % confidence. The
hits of a sample are worth as many draws as would have its relative standard error e: n = 1 ÷ e²."""


@dataclass(frozen=True, slots=True)
class CurveOptions:
    """What is asked of a curve. Requests before `first_counted` fill the cache only; `sample` is the
    share of segment visits that is looked at, chosen by a hash of `seed`; None for all of them."""

    block_size: int = 16
    outputs: bool = False
    append_unkeyed: bool = False
    first_counted: int = 0
    bound: bool = True
    sample: float | None = None
    seed: int = 0

    @property
    def label(self) -> str:
        """Name of the policy whose curve this is."""
        size, append = self.block_size, self.append_unkeyed
        return CacheConfig("hash", size, append_unkeyed=append).label


class LruCurve:
    """The curve of a trace whose requests have `prompt_tokens`.

    One pass over the trace serves all capacities that reject no request; any other takes a pass of
    its own. `ceilings` are the two hit rates of an unlimited cache.
    """

    def __init__(self, trace: SegmentTrace, prompt_tokens: I8, options: CurveOptions) -> None:
        self._trace, self._options = trace, options
        self._counted = np.arange(len(prompt_tokens)) >= options.first_counted
        size = options.block_size
        self._weights = np.full(len(prompt_tokens), size), size / prompt_tokens
        counted = prompt_tokens[self._counted]
        self._totals = np.array([counted.sum(), len(counted)], np.float64)
        self.largest = int(trace.requests.footprint.max())
        self.ceilings = self._ceilings(trace, self.largest)
        self._sample: Sample | None = None
        self._unseen = np.zeros((2, 1))
        if options.sample is not None:
            shares = sampling_shares(trace, options.sample)
            check_sample(trace, options.sample, shares)
            self._sample = draw(trace, shares, options.seed)
            _, of_hits = relative_errors(trace, shares)
            self._unseen = RULE_OF_THREE * of_hits**2 * self.ceilings[:, None]
        self._whole = self._curves(self.largest)

    def rates(self, blocks: I8) -> tuple[F8, F8]:
        """Hit rates at the given capacities and their errors, each float64 [2, len(blocks)]: by
        tokens and as the mean over requests. The errors are 0 where nothing was sampled."""
        rates, errors = self._estimate(self._whole, blocks)
        for column in np.flatnonzero(blocks < self.largest):
            here = blocks[column : column + 1]
            own = self._estimate(self._curves(int(here[0])), here)
            rates[:, [column]], errors[:, [column]] = own
        return rates, errors

    def _estimate(self, curves: Sequence[_Curve], blocks: I8) -> tuple[F8, F8]:
        """The hit rates of the first curve, and what they are within of the exact ones with 95 %
        confidence: by the jackknife over the others, and no less than what may go unseen."""
        rates, *others = (one.rates(blocks) for one in curves)
        if not others:
            return rates, np.zeros_like(rates)
        squares = np.square(np.array(others) - rates).mean(axis=0)
        return rates, np.maximum(STUDENT_T * np.sqrt((NUM_PARTS - 1) * squares), self._unseen)

    @property
    def full(self) -> int | None:
        """Blocks from which on the ceiling is reached, None if nothing ever hits."""
        starts = self._whole[0].tokens.starts
        return max(self.largest, int(starts[-1])) if len(starts) else None

    @property
    def knee(self) -> int | None:
        """Blocks, between the largest request and `full`, where the hit rate by tokens is most above
        the straight line between these two; None where it is nowhere above."""
        if self.full is None:
            return None
        places = np.unique(self._whole[0].tokens.starts)
        inside = places[(places > self.largest) & (places < self.full)]
        places = np.concatenate([[self.largest], inside, [self.full]])
        rates = self.rates(places)[0][0]
        rise, run = rates - rates[0], places - places[0]
        above = rise * run[-1] - run * rise[-1]
        return int(places[np.argmax(above)]) if above.max() > 1e-9 * run[-1] else None

    def _curves(self, num_blocks: int) -> list[_Curve]:
        """The curve of the trace, or of the sample and of it without each part, with requests above
        `num_blocks` rejected."""
        if self._sample is None:
            return [self._curve(self._trace, num_blocks, self._totals)]
        curves = []
        known = self._ceilings(
            self._trace, num_blocks
        )  # exact, so it can correct the sample's size
        for without in (None, *range(NUM_PARTS)):
            trace = grown(self._sample, without)
            found = self._ceilings(trace, num_blocks)
            correction = np.divide(known, found, np.ones(2), where=found > 0)
            curves.append(self._curve(trace, num_blocks, self._totals / correction))
        return curves

    def _curve(self, trace: SegmentTrace, num_blocks: int, divisors: F8) -> _Curve:
        append = self._options.append_unkeyed
        rows = stack_distances(trace, num_blocks, append_unkeyed=append)
        low, count, request = rows[self._counted[rows[:, 2]]].T
        tokens, mean = (Ramps(low, count, weight[request]) for weight in self._weights)
        return _Curve(tokens, mean, divisors)

    def _ceilings(self, trace: SegmentTrace, num_blocks: int) -> F8:
        """Hit rates of unlimited memory in requests of at most `num_blocks` blocks."""
        counted = self._counted & (trace.requests.footprint <= num_blocks)
        hits = np.where(counted, unlimited_hits(trace.segments, trace.requests), 0)
        return np.array([(weight * hits).sum() for weight in self._weights]) / self._totals


@dataclass(frozen=True, slots=True)
class _Curve:
    """Hits in tokens, and summed over requests as shares of their prompts; what to divide them by."""

    tokens: Ramps
    mean: Ramps
    divisors: F8

    def rates(self, blocks: I8) -> F8:
        """Both hit rates, float64 [2, len(blocks)]."""
        return np.stack([self.tokens.at(blocks), self.mean.at(blocks)]) / self.divisors[:, None]
