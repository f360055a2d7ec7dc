"""Discrete-event simulation of one policy on one trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pcache.cache.contract import CacheConfig, eviction_failures
from pcache.cache.events import drain
from pcache.cost import StepCost, step_record
from pcache.prefixes import PrefixForest, build_forest
from pcache.rundir import Run
from pcache.scheduler.results import RunFacts, run_from_scheduler
from pcache.scheduler.state import (
    Scheduler,
    SchedulerConfig,
    make_scheduler,
    most_events_a_step,
)
from pcache.scheduler.steps import NUM_COLUMNS, steps_frame
from pcache.sim.drive import advance
from pcache.types import I8, Trace

__all__ = ["simulate_policy"]

STEPS_A_SLICE = 1 << 15
"""Steps between two looks at the outside world: progress, and Ctrl-C."""


def simulate_policy(
    trace: Trace,
    cache_config: CacheConfig,
    scheduler_config: SchedulerConfig,
    cost: StepCost,
    *,
    forest: PrefixForest | None = None,
    label: str | None = None,
    config: dict[str, Any] | None = None,
    warm_up: int = 0,
    slo_ttft_ms: float | None = None,
    slo_tpot_ms: float | None = None,
    kv_bytes_per_token: int | None = None,
    keep_events: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Simulate `trace` to its end, or until Ctrl-C, which gives what was done so far.

    `progress` is called with the number of requests finished. With `keep_events` the run carries
    its decision log.
    """
    forest = forest if forest is not None else build_forest(trace)
    margin = most_events_a_step(trace, cache_config, scheduler_config) if keep_events else 0
    s = make_scheduler(
        scheduler_config, cache_config, trace, forest, log_rows=margin + (1 << 16) if margin else 0
    )
    slices: list[I8] = []
    events: list[I8] = []
    complete = False
    step = step_record()
    try:
        while True:
            rows = np.empty((STEPS_A_SLICE, NUM_COLUMNS), np.int64)
            slices.append(rows)  # before it is filled: Ctrl-C shows when `advance` comes back
            with eviction_failures(s.cache):
                count = advance(s, cost.model, step, rows, margin)
            slices[-1] = rows[:count]
            drained = drain(s.cache.log)
            events.append(drained)
            if progress is not None:
                progress(float(s.state[0].num_finished + s.state[0].num_rejected))
            if count < STEPS_A_SLICE and len(drained) <= 1 << 16:
                break
        complete = _all_done(s)
    except KeyboardInterrupt:
        pass
    events.append(drain(s.cache.log))
    slices.append(np.empty((0, NUM_COLUMNS), np.int64))
    steps = steps_frame(np.concatenate(slices)[: s.state[0].num_steps])
    tokens = cache_config.kv_tokens
    facts = RunFacts(
        world="simulated",
        label=label or cache_config.label,
        block_size=cache_config.block_size,
        latency_source=cost.source,
        complete=complete,
        warm_up=warm_up,
        slo_ttft_ms=slo_ttft_ms,
        slo_tpot_ms=slo_tpot_ms,
        kv_capacity_tokens=tokens,
        kv_capacity_bytes=tokens * kv_bytes_per_token if tokens and kv_bytes_per_token else None,
    )
    run = run_from_scheduler(trace, s, steps, config or {}, facts)
    log = np.concatenate(events) if keep_events else None
    return Run(run.config, run.summary, run.requests, run.steps, log)


def _all_done(s: Scheduler) -> bool:
    """Every request has finished or was rejected; anything else is a bug in the loop."""
    done = int(s.state[0].num_finished + s.state[0].num_rejected)
    assert done == len(s.requests), f"{len(s.requests) - done} requests were never served"
    return True
