"""Preemption as vLLM's scheduler does it, on traces short enough to follow by hand.

Blocks hold one token, every step takes 10 ms, requests are told apart by their tokens, and a larger
priority is more urgent. Each case is also checked against the plain scheduler.
"""

from __future__ import annotations

import numpy as np
from reference.scheduler import Simulation
from small_traces import small_trace

from pcache.cache.contract import CacheConfig
from pcache.cost import CostModel, StepCost
from pcache.rundir import Run
from pcache.scheduler.state import SchedulerConfig
from pcache.sim.simulate import simulate_policy
from pcache.types import Trace

STEP_NS = 10_000_000
STEADY = StepCost(CostModel(np.array([0, 0, 0, 0, 0, 1, 1, 0, STEP_NS])), "10 ms a step")


def simulate(trace: Trace, kv_tokens: int, scheduler: SchedulerConfig) -> Run:
    cache = CacheConfig("hash", 1, kv_tokens)
    run = simulate_policy(trace, cache, scheduler, STEADY, keep_events=True)
    plain = Simulation(trace, cache, scheduler, STEADY.model).run()
    assert run.steps is not None
    columns = [column for column in run.steps if column != "generated_blocks"]
    assert run.steps[columns].to_dict("records") == plain.steps
    return run


def steps(run: Run) -> list[tuple[int, int, int]]:
    """Of each step: prefill tokens, decode tokens, and preemptions since the step before."""
    assert run.steps is not None
    columns = run.steps[["prefill_tokens", "decode_tokens", "num_preemptions"]]
    return [tuple(row) for row in columns.to_numpy().tolist()]


def test_those_behind_a_request_that_preempts_itself_run_in_the_same_step() -> None:
    """At 50 ms request 0 takes the last block, 1 finds none and is the least urgent, 2 goes on."""
    trace = small_trace([[1] * 4, [2] * 4, [3] * 4], [10, 10, 10], priority=[2, 0, 1],
                        arrival_ns=[0, STEP_NS // 2, STEP_NS * 3 // 2])  # fmt: skip
    run = simulate(trace, 22, SchedulerConfig(order="priority", overlap=0))
    assert steps(run)[:6] == [
        (4, 0, 0), (4, 1, 0), (4, 2, 0), (0, 3, 0), (0, 3, 0), (0, 2, 1),
    ]  # fmt: skip


def test_a_request_whose_last_token_is_only_planned_can_be_dropped() -> None:
    """At 20 ms request 0 takes the tenth block for its last token, and 1, more urgent, needs one."""
    trace = small_trace([[1] * 4, [2] * 4], [3, 6], arrival_ns=[0, STEP_NS // 2], priority=[0, 1])
    run = simulate(trace, 10, SchedulerConfig(order="priority", overlap=0))
    assert steps(run)[:4] == [(4, 0, 0), (4, 1, 0), (0, 1, 1), (0, 1, 0)]
    assert run.requests["num_preemptions"].tolist() == [1, 0]


def test_tokens_given_back_go_to_those_behind() -> None:
    """At 30 ms request 1 is offered 3 of 4 tokens, request 0 is dropped, and 1 still gets 3."""
    trace = small_trace([[1] * 4, [2] * 10], [6, 2], arrival_ns=[0, STEP_NS // 2], priority=[0, 1])
    run = simulate(trace, 15, SchedulerConfig(order="priority", token_budget=4, overlap=0))
    assert steps(run)[:5] == [(4, 0, 0), (3, 1, 0), (3, 1, 0), (3, 0, 1), (1, 0, 0)]


def test_a_plan_that_only_preempts_is_made_again() -> None:
    """At 10 ms request 0 awaits its last token, 1 finds the pool full, and 2 takes its place."""
    trace = small_trace([[1] * 4, [2] * 4, [3] * 4], [2, 3, 2], arrival_ns=[0, 0, STEP_NS],
                        priority=[2, 0, 1])  # fmt: skip
    run = simulate(trace, 10, SchedulerConfig(order="priority", overlap=1))
    assert steps(run)[:4] == [(8, 0, 0), (0, 2, 0), (4, 0, 1), (0, 1, 0)]
    assert run.steps is not None
    assert run.steps["planned_at_ns"].tolist()[:3] == [0, 0, STEP_NS]
