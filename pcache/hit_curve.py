"""Hit rate against capacity: what `pcache curve` computes, prints and draws."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

__all__ = ["CURVE_COLUMNS", "HitCurve"]

CURVE_COLUMNS = {
    "capacity_tokens": "KV capacity",
    "kv_bytes": "the same in bytes of the model's KV",
    "hit_rate": "of block LRU, by tokens",
    "hit_rate_request_mean": "mean over requests of cached ÷ prompt tokens",
    "feasible_hit_rate": "of a schedule that knows the future and keeps no block without its parent",
    "bound_hit_rate": "what no eviction exceeds",
    "rejected_requests": "counted requests that exceed the capacity; their tokens count as missed",
    "hit_rate_error": "the exact hit rate is within this of hit_rate in 95 % of samples; else 0",
    "hit_rate_request_mean_error": "likewise",
    "mark": "what is special about this capacity, or empty",
}
"""Columns of `HitCurve.points`. Both bounds are NaN where they were not asked for."""


@dataclass(frozen=True, slots=True)
class HitCurve:
    """Hit rates of `policy` in serial replay, at the capacities of `points` (CURVE_COLUMNS).

    `ceiling` and `ceiling_request_mean` are those of an unlimited cache, which holds
    `working_set_tokens` in the end. From `largest_request_tokens` on no request is rejected.
    `knee_tokens` is where the curve rises most above the straight line between its ends, and
    `full_tokens` where it reaches the ceiling; both None if nothing ever hits. `best_full_tokens` is
    where the bound reaches the ceiling, None where there is none. `sample` is the share of segment
    visits that was looked at, None for all.
    """

    points: pd.DataFrame
    trace_name: str
    policy: str
    outputs: bool
    ceiling: float
    ceiling_request_mean: float
    working_set_tokens: int
    largest_request_tokens: int
    knee_tokens: int | None
    full_tokens: int | None
    best_full_tokens: int | None
    sample: float | None
