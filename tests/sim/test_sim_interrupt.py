"""What is left when a run is cut short, and when its decision log is cut into pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_profile import made_up_cost
from small_traces import small_trace

from pcache.cache.contract import CacheConfig
from pcache.cache.events import ALLOCATE, EVICT
from pcache.cost import CostModel, StepCost
from pcache.scheduler.state import SchedulerConfig
from pcache.sim import simulate
from pcache.types import Trace

FIXED = StepCost(CostModel(np.array([0, 0, 0, 0, 0, 1, 1, 0, 1e6])), "1 ms a step")


def one_after_another(num: int) -> Trace:
    """Requests of 4 steps each, every 10 ms."""
    return small_trace(
        [[i] * 3 for i in range(num)], [4] * num, arrival_ns=[i * 10**7 for i in range(num)]
    )


def test_slices_of_a_simulation_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step leaves to the next, a GPU's load, outlives the slice."""
    trace = small_trace([[i] * 600 for i in range(30)], [4] * 30, arrival_ns=[0] * 30)

    def steps() -> pd.DataFrame:
        run = simulate.simulate_policy(
            trace, CacheConfig("none", 1), SchedulerConfig(token_budget=700), made_up_cost()
        )
        assert run.steps is not None
        return run.steps

    whole = steps()
    monkeypatch.setattr(simulate, "STEPS_A_SLICE", 5)
    pd.testing.assert_frame_equal(steps(), whole)
    assert len(whole) > 20


@pytest.mark.parametrize("inside", [False, True])
def test_an_interrupted_run_is_valid_as_far_as_it_came(
    monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """Ctrl-C shows between slices, or right when the compiled part comes back."""
    advance, calls = simulate.advance, []

    def interrupted(*arguments: Any) -> int:
        calls.append(advance(*arguments))
        if inside and len(calls) == 3:
            raise KeyboardInterrupt
        return calls[-1]

    def progress(_: float) -> None:
        if not inside and len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "advance", interrupted)
    monkeypatch.setattr(simulate, "STEPS_A_SLICE", 20)
    run = simulate.simulate_policy(
        one_after_another(100), CacheConfig("radix", 1), SchedulerConfig(), FIXED,
        progress=progress, keep_events=True,
    )  # fmt: skip
    assert run.summary["complete"] is False
    assert run.steps is not None
    assert len(run.steps) == 60
    assert run.summary["requests_finished"] == 14
    reached = run.requests[run.requests["cached_tokens"] != -2]
    assert len(reached) == 15
    assert run.summary["prompt_tokens"] == 15 * 3
    assert run.steps["prefill_tokens"].sum() == 15 * 3
    assert run.events is not None
    assert len({request for request in run.events[:, 2] if request >= 0}) == 15


def test_long_jumps_leave_room_in_the_log() -> None:
    """32 requests decode 5,000 tokens into a pool full of others' blocks: two rows of the log a
    token, many times what one step may add, in one jump."""
    num, output = 32, 5000
    filler = [[i % 1000 + 1000 * j for i in range(4000)] for j in range(40)]
    prompts = filler + [[-1 - i] for i in range(num)]
    trace = small_trace(
        prompts,
        [1] * 40 + [output] * num,
        arrival_ns=[i * 10**6 for i in range(40)] + [10**9] * num,
    )
    scheduler = SchedulerConfig(token_budget=4000, max_running=32)
    run = simulate.simulate_policy(
        trace, CacheConfig("hash", 1, 160_000), scheduler, FIXED, keep_events=True
    )
    assert run.events is not None
    counts = {kind: run.events[run.events[:, 1] == kind, 5].sum() for kind in (ALLOCATE, EVICT)}
    assert counts[ALLOCATE] == 40 * 4000 + num * output
    assert counts[EVICT] == num * output
    assert run.steps is not None
    assert counts[EVICT] == run.steps["evicted_blocks"].sum()
