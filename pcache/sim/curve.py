"""Hit rate against capacity: block LRU at every capacity, and the best that any eviction could do.

What the numbers are is said where they are made: `stack_distance` (why one pass is exact for `hash`
in serial replay), `offline` (the bound), `sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from pcache.hit_curve import CURVE_COLUMNS, HitCurve
from pcache.prefixes import PrefixForest
from pcache.sim.lru_curve import CurveOptions, LruCurve
from pcache.sim.offline import Future, look_ahead, offline_hits
from pcache.sim.segments import SegmentTrace, count_visits, segment_trace
from pcache.types import F8, I8, Trace

__all__ = ["hit_curve"]

Progress = Callable[[float], None]


def hit_curve(
    trace: Trace,
    forest: PrefixForest,
    options: CurveOptions,
    *,
    capacities: Sequence[int] | int,
    marks: Mapping[str, int],
    kv_bytes_per_token: int,
    progress: Progress | None = None,
) -> HitCurve:
    """The curve at `capacities` in tokens, or at so many of them spread evenly on a logarithmic scale
    from the largest request to where LRU reaches the ceiling; and at the capacities of `marks`.

    `progress` is called with the share that is done.
    """
    size = options.block_size
    blocks = segment_trace(trace, forest, size, outputs=options.outputs)
    prompt_tokens = trace.prompt_tokens.astype(np.int64)
    lru = LruCurve(blocks, prompt_tokens, options)
    offline = None
    if options.bound:
        total = int(prompt_tokens[options.first_counted :].sum())
        offline = _Offline(blocks, lru.largest, options.first_counted, size / total)
    knee, full = lru.knee, lru.full
    best = None if offline is None or full is None else offline.full(full, lru.ceilings[0])
    if isinstance(capacities, int):
        spread = np.geomspace(lru.largest, full or lru.largest, capacities)
        capacities = [int(at) * size for at in np.rint(spread)]
    own = {"largest request": lru.largest, "knee": knee, "best possible at ceiling": best,
           "LRU at ceiling": full}  # fmt: skip
    named = {name: at * size for name, at in own.items() if at is not None} | dict(marks)
    points = pd.DataFrame({"capacity_tokens": sorted({*capacities, *named.values()})})
    points["kv_bytes"] = points["capacity_tokens"] * kv_bytes_per_token
    points["mark"] = [
        ", ".join(name for name, at in named.items() if at == here)
        for here in points["capacity_tokens"]
    ]
    places = points["capacity_tokens"].to_numpy(np.int64) // size
    footprints = np.sort(blocks.requests.footprint[options.first_counted :])
    points["rejected_requests"] = len(footprints) - np.searchsorted(footprints, places, "right")
    rates, errors = lru.rates(places)
    points["hit_rate"], points["hit_rate_request_mean"] = rates
    points["hit_rate_error"], points["hit_rate_request_mean_error"] = errors
    points["feasible_hit_rate"], points["bound_hit_rate"] = (
        np.full((2, len(places)), np.nan) if offline is None else offline.rates(places, progress)
    )
    return HitCurve(
        points=points[list(CURVE_COLUMNS)],
        trace_name=trace.name,
        policy=options.label,
        outputs=options.outputs,
        ceiling=float(lru.ceilings[0]),
        ceiling_request_mean=float(lru.ceilings[1]),
        working_set_tokens=int(blocks.segments.blocks[count_visits(blocks) > 0].sum()) * size,
        largest_request_tokens=lru.largest * size,
        knee_tokens=named.get("knee"),
        full_tokens=named.get("LRU at ceiling"),
        best_full_tokens=named.get("best possible at ceiling"),
        sample=options.sample,
    )


class _Offline:
    """The feasible schedule and the bound of a trace; a block of hits is worth `weight`."""

    def __init__(
        self, blocks: SegmentTrace, largest: int, first_counted: int, weight: float
    ) -> None:
        self._blocks, self._largest = blocks, largest
        self._first_counted, self._weight = first_counted, weight
        self._future = look_ahead(blocks, largest)

    def rates(self, places: I8, progress: Progress | None) -> F8:
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
        future: Future = self._future
        if num_blocks < self._largest:
            future = look_ahead(self._blocks, num_blocks)
        hits = offline_hits(
            self._blocks, future, num_blocks, bound=bound, first_counted=self._first_counted
        )
        return hits * self._weight
