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
from pcache.sim.offline_curve import OfflineCurve
from pcache.sim.segments import count_visits, segment_trace
from pcache.types import I8, Records, Trace

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
    size, outputs = options.block_size, options.outputs
    blocks = segment_trace(trace, forest, size, outputs=outputs)
    prompt_tokens = trace.prompt_tokens.astype(np.int64)
    lru = LruCurve(blocks, prompt_tokens, options)
    offline = None
    if options.bound:
        total = int(prompt_tokens[options.first_counted :].sum())
        offline = OfflineCurve(blocks, lru.largest, options.first_counted, size / total)
    knee, full = lru.knee, lru.full
    best = None if offline is None or full is None else offline.full(full, lru.ceilings[0])
    if isinstance(capacities, int):
        spread = np.geomspace(lru.largest, full or lru.largest, capacities)
        capacities = [int(at) * size for at in np.rint(spread)]
    own = {"largest request": lru.largest, "knee": knee, "best possible at ceiling": best,
           "LRU at ceiling": full}  # fmt: skip
    named = {name: at * size for name, at in own.items() if at is not None} | dict(marks)
    points = _marked(capacities, named)
    points["kv_bytes"] = points["capacity_tokens"] * kv_bytes_per_token
    places = points["capacity_tokens"].to_numpy(np.int64) // size
    points["rejected_requests"] = _rejected(blocks.requests[options.first_counted :], places)
    _add_rates(points, places, lru, offline, progress)
    return HitCurve(
        points=points[list(CURVE_COLUMNS)],
        trace_name=trace.name,
        policy=options.label,
        outputs=outputs,
        ceiling=float(lru.ceilings[0]),
        ceiling_request_mean=float(lru.ceilings[1]),
        working_set_tokens=int(blocks.segments.blocks[count_visits(blocks) > 0].sum()) * size,
        largest_request_tokens=lru.largest * size,
        knee_tokens=named.get("knee"),
        full_tokens=named.get("LRU at ceiling"),
        best_full_tokens=named.get("best possible at ceiling"),
        sample=options.sample,
    )


def _marked(capacities: Sequence[int], named: Mapping[str, int]) -> pd.DataFrame:
    """All capacities, each once and in order, with the names of those that have some."""
    tokens = sorted({*capacities, *named.values()})
    marks = [", ".join(name for name, at in named.items() if at == here) for here in tokens]
    return pd.DataFrame({"capacity_tokens": tokens, "mark": marks})


def _rejected(requests: Records, places: I8) -> I8:
    """How many requests exceed each capacity in blocks."""
    return len(requests) - np.searchsorted(np.sort(requests.footprint), places, "right")


def _add_rates(
    points: pd.DataFrame, places: I8, lru: LruCurve, offline: OfflineCurve | None,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Add the columns of hit rates at `places`, capacities in blocks."""
    rates, errors = lru.rates(places)
    points["hit_rate"], points["hit_rate_request_mean"] = rates
    points["hit_rate_error"], points["hit_rate_request_mean_error"] = errors
    points["feasible_hit_rate"], points["bound_hit_rate"] = (
        np.full((2, len(places)), np.nan) if offline is None else offline.rates(places, progress)
    )
