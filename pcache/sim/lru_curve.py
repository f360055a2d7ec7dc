"""Hit rates of block LRU at any capacity, by tokens and as the mean over requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcache.cache.contract import CacheConfig
from pcache.sim.ramps import Ramps
from pcache.sim.sampling import sampled, sampling_shares
from pcache.sim.segments import SegmentTrace, unlimited_hits
from pcache.sim.stack_distance import stack_distances
from pcache.types import F8, I8

__all__ = ["CurveOptions", "LruCurve"]

NUM_SAMPLES = 5
STUDENT_T = 2.776
"""97.5 % point of Student's t with NUM_SAMPLES − 1 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class CurveOptions:
    """What is asked of a curve. Requests before `first_counted` fill the cache only; `sample` is the
    share of segment visits that each of NUM_SAMPLES samples looks at, None for an exact curve."""

    block_size: int = 16
    outputs: bool = False
    append_unkeyed: bool = False
    first_counted: int = 0
    bound: bool = True
    sample: float | None = None

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
        self.ceilings = self._ceilings(trace)
        rate = options.sample
        self._shares = None if rate is None else sampling_shares(trace, rate)
        self._seeds = range(1 if rate is None else NUM_SAMPLES)
        self._whole = [self._curve(seed, self.largest) for seed in self._seeds]

    def rates(self, blocks: I8) -> tuple[F8, F8]:
        """Hit rates at the given capacities and their errors, each float64 [2, len(blocks)]: by
        tokens and as the mean over requests. The errors are 0 where nothing was sampled."""
        each = np.stack([one.rates(blocks) for one in self._whole])
        for column in np.flatnonzero(blocks < self.largest):
            here = blocks[column : column + 1]
            own = [self._curve(seed, int(here[0])).rates(here) for seed in self._seeds]
            each[:, :, column : column + 1] = own
        error = np.zeros_like(each[0])
        if len(each) > 1:
            error = STUDENT_T * each.std(axis=0, ddof=1) / np.sqrt(len(each))
        return each.mean(axis=0), error

    @property
    def full(self) -> int | None:
        """Blocks from which on the ceiling is reached, None if nothing ever hits."""
        ends = [one.tokens.starts[-1] for one in self._whole if len(one.tokens.starts)]
        return max(self.largest, round(float(np.mean(ends)))) if ends else None

    @property
    def knee(self) -> int | None:
        """Blocks, between the largest request and `full`, where the hit rate by tokens is most above
        the straight line between these two; None where it is nowhere above."""
        if self.full is None:
            return None
        places = np.unique(np.concatenate([one.tokens.starts for one in self._whole]))
        inside = places[(places > self.largest) & (places < self.full)]
        places = np.concatenate([[self.largest], inside, [self.full]])
        rates = self.rates(places)[0][0]
        rise, run = rates - rates[0], places - places[0]
        above = rise * run[-1] - run * rise[-1]
        return int(places[np.argmax(above)]) if above.max() > 1e-9 * run[-1] else None

    def _curve(self, seed: int, num_blocks: int) -> _Curve:
        """The curve of the trace or of a sample, with requests above `num_blocks` rejected."""
        trace, divisors = self._trace, self._totals
        if self._shares is not None:
            trace = sampled(trace, self._shares, seed)
            found = self._ceilings(trace)  # what is known exactly corrects the size of the sample
            divisors = self._totals / np.divide(self.ceilings, found, np.ones(2), where=found > 0)
        rows = stack_distances(
            trace, num_blocks, append_unkeyed=self._options.append_unkeyed,
            copies=self._shares is None,
        )  # fmt: skip
        low, count, request = rows[self._counted[rows[:, 2]]].T
        tokens, mean = (Ramps(low, count, weight[request]) for weight in self._weights)
        return _Curve(tokens, mean, divisors)

    def _ceilings(self, trace: SegmentTrace) -> F8:
        hits = np.where(self._counted, unlimited_hits(trace.segments, trace.requests), 0)
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
