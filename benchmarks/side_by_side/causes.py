"""Why a cell misses a target, as far as the two runs show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pcache
from benchmarks.jobs import Job
from pcache.cost import StepCost
from pcache.report.pairs import Pair
from pcache.report.series import queue_growth
from pcache.report.units import difference_text
from pcache.sim.step_errors import priced_steps
from pcache.types import Trace

__all__ = ["cause", "evidence", "phases"]

_FAR_OFF = 3.0
"""Error of the step times, in %, that explains a larger one of what waits for steps."""
_PHASES = 12
"""Simulations with arrivals at other phases of a step."""


def evidence(trace: Trace, pair: Pair, paths: Sequence[Path], cost: StepCost) -> dict[str, Any]:
    """What tells causes apart: errors of the cost model on the steps that the first repeat took (all,
    and those with prefill; signed, %), steps of both sides, share of the queue in the measured TTFT
    (%), and whether the queue grows."""
    steps = priced_steps(trace, paths[0], cost)
    prefill = steps[steps["prefill_tokens"] > 0]
    ttft, queue = pair.observed("ttft_mean_ms"), pair.observed("queue_mean_ms")
    simulated = pair.simulated.steps
    return {
        "step_error": _error(steps),
        "prefill_step_error": _error(prefill),
        "steps_simulated": 0 if simulated is None else len(simulated),
        "steps_measured": len(steps),
        "queue_share": 100 * queue / ttft if ttft and queue is not None else None,
        "overloaded": any(
            queue_growth(run) is not None for run in (pair.simulated, *pair.measured)
        ),
    }


def phases(job: Job, target: dict[str, Any], step_ns: float) -> dict[str, tuple[float, float]]:
    """Lowest and highest of every number of the summary when each instant of arrival comes up to
    `step_ns` later: a request waits for the step that runs, and when within it one comes is as good as
    random, since no two runs keep the same time to a part of a step."""
    trace, rng = job.trace(), np.random.default_rng(0)
    instants, of_request = np.unique(trace.arrival_ns, return_inverse=True)
    found = []
    for _ in range(_PHASES):
        later = np.maximum.accumulate(instants + rng.uniform(0, step_ns, len(instants)))
        moved = replace(trace, arrival_ns=later.astype(np.int64)[of_request])
        results = pcache.simulate(
            moved, job.policy, kv_tokens=job.kv_tokens, path=job.path, **target, **job.options
        )
        found.append(results.summary.iloc[0])
    numbers = pd.DataFrame(found).select_dtypes("number")
    return {name: (float(numbers[name].min()), float(numbers[name].max())) for name in numbers}


def _error(steps: pd.DataFrame) -> float | None:
    measured = steps["measured_ns"].sum()
    return 100 * float(steps["predicted_ns"].sum() / measured - 1) if measured else None


def cause(row: dict[str, Any]) -> str:
    """Words for a missed target: `row` has the columns of the errors and of the evidence, and
    `phases_lowest` and `phases_highest`, which `phases` gave for its number."""
    size, number = abs(row["difference"]), row["number"]
    own = row["prefill_step_error" if number.startswith("ttft") else "step_error"] or 0.0
    against = -own if number == "throughput_tokens_per_s" else own
    off = difference_text(own, "%")
    if row["spread"] >= size / 2:
        return "the repeats themselves lie that far apart"
    same_way = number != "hit_rate" and against * row["difference"] > 0
    if same_way and abs(against) >= size / 2:
        return f"step times: the model is {off} off on the very steps measured"
    overlap = (
        row["phases_lowest"] <= row["measured_highest"]
        and row["phases_highest"] >= row["measured_lowest"]
    )
    if overlap:
        scale = 100 if number == "hit_rate" else 1
        return (
            f"phases: arrivals up to a step later make it {scale * row['phases_lowest']:.4g} to "
            f"{scale * row['phases_highest']:.4g} in simulation"
        )
    if number == "hit_rate":
        return "other instants: the same cache met requests in another order of events"
    if number.startswith("ttft") and (row["queue_share"] or 0.0) >= 50:
        return f"queue: {off} in step times adds up while requests wait"
    if same_way and abs(against) >= _FAR_OFF:
        return f"step times: {off} on the steps measured, and what waits multiplies it"
    return f"other batches or host time: the model is {off} off on the steps measured"
