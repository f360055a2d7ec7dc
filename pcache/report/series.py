"""What a run did over time, in few enough points to draw: means over equal slices of time.

A step's counts hold from its planning to the next one's. Between the end of a step and the next
planning, while no request is in the system, nothing runs and nothing waits, and what was pinned is
merely cached. The mean over a slice integrates that exactly; nothing is sampled away.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pcache.report.runs import Run
from pcache.rundir import REJECTED
from pcache.types import F8, I8, Bool

__all__ = [
    "HIT_SLICES",
    "STEP_SLICES",
    "hit_rate_over_requests",
    "hit_rate_over_time",
    "kv_over_time",
    "queue_growth",
]

HIT_SLICES = 60
STEP_SLICES = 240
FEWEST_REQUESTS_A_SLICE = 20
FEWEST_WAITING = 4.0
"""On average in the last quarter of the arrivals; a shorter queue is no overload."""


def hit_rate_over_time(run: Run) -> pd.DataFrame | None:
    """Columns `seconds` (middle of a slice, from the first arrival), `hit_rate`; None = no clock."""
    if "arrival_ns" not in run.counted or run.counted.empty:
        return None
    seconds = (run.counted["arrival_ns"].to_numpy(np.int64) - run.start_ns) / 1e9
    middle, rate = _sliced_hit_rate(run.counted, seconds)
    return pd.DataFrame({"seconds": middle, "hit_rate": rate})


def hit_rate_over_requests(run: Run) -> pd.DataFrame:
    """Columns `request` (number in the trace, from 0), `hit_rate`, for runs without a clock."""
    middle, rate = _sliced_hit_rate(run.counted, run.counted.index.to_numpy(np.float64))
    return pd.DataFrame({"request": middle, "hit_rate": rate})


def kv_over_time(run: Run) -> pd.DataFrame | None:
    """Columns `seconds`, `kv_tokens` (pinned and cached), `pinned_tokens`, `num_waiting`."""
    steps = run.steps
    if steps is None or steps.empty:
        return None
    planned = steps["planned_at_ns"].to_numpy(np.int64) - run.start_ns
    end = steps["ended_at_ns"].to_numpy(np.int64) - run.start_ns
    idle = _idle_after(run, planned, end)
    pinned = steps["pinned_blocks"].to_numpy(np.float64) * run.block_size_tokens
    held = pinned + steps["cached_blocks"].to_numpy(np.float64) * run.block_size_tokens
    waiting = steps["num_waiting"].to_numpy(np.float64)
    edges = np.linspace(planned[0], max(end[-1], planned[0] + 1), STEP_SLICES + 1)
    nothing = np.zeros(len(steps))
    series = {
        name: _slice_means(edges, planned, end, idle, values, afterwards)
        for name, values, afterwards in (
            ("kv_tokens", held, held), ("pinned_tokens", pinned, nothing),
            ("num_waiting", waiting, nothing),
        )
    }  # fmt: skip
    return pd.DataFrame({"seconds": (edges[1:] + edges[:-1]) / 2e9, **series})


def queue_growth(run: Run) -> F8 | None:
    """Requests waiting for their first token, on average in each quarter of the arrivals' span, if the
    run is overloaded: more in every quarter than before, and in the last one twice the mean of the
    first half and at least FEWEST_WAITING. None if it is not, has no clock, or was interrupted."""
    requests = run.requests
    if not run.complete or "first_token_at_ns" not in requests or len(requests) < 2:
        return None
    arrived = requests["arrival_ns"].to_numpy(np.int64)
    edges = np.linspace(arrived.min(), arrived.max(), 5)
    if edges[0] == edges[-1]:
        return None
    first = requests["first_token_at_ns"].to_numpy(np.float64)
    served = np.where(
        first >= 0, first, np.where(requests["cached_tokens"] == REJECTED, arrived, np.inf)
    )
    waits = np.minimum(served, edges[1:, None]) - np.maximum(arrived, edges[:-1, None])
    waiting = np.maximum(waits, 0).sum(axis=1) / np.diff(edges)
    grows = (np.diff(waiting) > 0).all() and waiting[3] >= 2 * waiting[:2].mean()
    return np.asarray(waiting) if grows and waiting[3] >= FEWEST_WAITING else None


def _sliced_hit_rate(counted: pd.DataFrame, position: F8) -> tuple[F8, F8]:
    """Middles of equal slices of `position`, and cached ÷ prompt tokens of the requests inside."""
    num = int(np.clip(len(counted) // FEWEST_REQUESTS_A_SLICE, 1, HIT_SLICES))
    edges = (
        np.linspace(position.min(), position.max() + 1e-9, num + 1) if len(counted) else np.zeros(2)
    )
    prompt, cached = (
        np.histogram(position, edges, weights=np.maximum(counted[column].to_numpy(), 0))[0]
        for column in ("prompt_tokens", "cached_tokens")
    )
    rate = np.divide(cached, prompt, out=np.full(num, np.nan), where=prompt > 0)
    return (edges[1:] + edges[:-1]) / 2, rate


def _idle_after(run: Run, planned: I8, end: I8) -> Bool:
    """After which steps the system is empty until the next planning. Shape [steps]."""
    gap = np.append(planned[1:], end[-1]) > end
    inside = np.zeros(len(end), np.int64)
    for column, change in (("admitted_at_ns", 1), ("finished_at_ns", -1)):
        instants = run.requests[column].to_numpy(np.int64)
        instants = np.sort(instants[instants >= 0]) - run.start_ns
        inside += change * np.searchsorted(instants, end, side="right")
    return np.asarray(gap & (inside <= 0))


def _slice_means(edges: F8, planned: I8, end: I8, idle: Bool, values: F8, afterwards: F8) -> F8:
    """Mean over each slice of the step function: `values` while busy, `afterwards` while idle."""
    times = np.column_stack([planned, np.where(idle, end, planned)]).ravel()
    levels = np.column_stack([values, np.where(idle, afterwards, values)]).ravel()
    integral = np.concatenate([[0.0], np.cumsum(levels[:-1] * np.diff(times))])
    # Beyond the last change the level stays as it is.
    last = np.maximum(edges - times[-1], 0) * levels[-1]
    return np.asarray(np.diff(np.interp(edges, times, integral) + last) / np.diff(edges))
