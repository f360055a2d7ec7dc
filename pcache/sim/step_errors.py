"""How wrong a cost model is about the very steps that a measured run took.

A simulation that differs from its measurement may be wrong about how long steps take, or may have
taken other steps. Here nothing but the first is left: the run's decisions are taken again from its
recorded instants, and every step is priced where it stood. Cost: one replay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pcache.cost import StepCost, run_step, step_record
from pcache.errors import RunDirectoryError
from pcache.prefixes import PrefixForest, build_forest
from pcache.recording import read_recording
from pcache.rundir import read_run
from pcache.scheduler.state import Scheduler
from pcache.scheduler.steps import sum_up_plan
from pcache.sim.parity import replay_instants
from pcache.sim.replay_steps import recorded_rules
from pcache.types import Trace

__all__ = ["priced_steps"]


def priced_steps(
    trace: Trace, path: Path, cost: StepCost, forest: PrefixForest | None = None
) -> pd.DataFrame:
    """A row a step of the measured run at `path`: `measured_ns` and `predicted_ns`, its duration on
    the device and what the model says of it, and `prefill_tokens`.

    The model gets the recorded planning and the recorded end of the step before; where a run skipped
    idle time, its GPU cools over all of it here and did for a part of it there. Raises
    RunDirectoryError where nothing was recorded or the replay takes other steps.
    """
    run = read_run(path)
    if run.steps is None:
        raise RunDirectoryError(
            f"{path}: no steps.parquet; give a directory that `pcache run` wrote"
        )
    _, instants = read_recording(path)
    cache, rules = recorded_rules(trace, run)
    planned = run.steps["planned_at_ns"].to_numpy(np.int64)
    measured = run.steps["duration_ns"].to_numpy(np.int64)
    ended = run.steps["ended_at_ns"].to_numpy(np.int64)
    sums = step_record()
    predicted: list[int] = []

    def price(s: Scheduler) -> None:
        number = len(predicted)
        if number >= len(planned):
            return
        sum_up_plan(s, 1 - int(s.state[0].plan_slot), sums)
        free_at = int(ended[number - 1]) if number else 0
        run_step(cost.model, sums, int(planned[number]), free_at)
        predicted.append(int(sums[0].ends_at_ns - sums[0].starts_at_ns))

    forest = build_forest(trace) if forest is None else forest
    replay_instants(trace, forest, cache, rules, instants, price)
    if len(predicted) != len(measured):
        raise RunDirectoryError(f"{path}: a replay takes {len(predicted)} of {len(measured)} steps")
    return pd.DataFrame(
        {
            "measured_ns": measured,
            "predicted_ns": predicted,
            "prefill_tokens": run.steps["prefill_tokens"],
        }
    )
