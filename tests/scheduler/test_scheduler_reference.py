"""The compiled scheduler and simulator against plain ones: every step, request and decision."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_profile import made_up_cost
from reference.scheduler import Simulation
from small_traces import small_trace, traces

from pcache.cache.contract import CacheConfig
from pcache.cache.events import ADMIT, EVENT_NAMES, FINISH, PREEMPT
from pcache.cost import StepCost
from pcache.rundir import Run
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import gpu_shape, model_shape
from pcache.sim.roofline import roofline
from pcache.sim.simulate import simulate_policy
from pcache.types import Trace

COST = roofline(model_shape("llama-3.1-8b"), gpu_shape("h100"))
PROFILE = made_up_cost()
STEP_NS = 7_000_000
"""About what a small step takes: arrivals are drawn within a few of them."""

caches = st.builds(
    lambda kind, size, tokens: CacheConfig(kind[0], size, tokens, kind[1]),
    st.sampled_from([("radix", "lru"), ("radix", "lfu"), ("radix", "priority"), ("hash", "lru"),
                     ("hash", "lru"), ("none", "lru"), ("exact", "lru")]),
    st.sampled_from([1, 2, 4]), st.one_of(st.none(), st.integers(12, 120)),
)  # fmt: skip
schedulers = st.builds(
    SchedulerConfig, batching=st.sampled_from(["chunked", "chunked", "continuous", "static"]),
    order=st.sampled_from(["fcfs", "lpm", "dfs-weight", "priority"]),
    token_budget=st.sampled_from([1, 3, 8, 20, 1000]), max_running=st.sampled_from([1, 2, 4, 100]),
    overlap=st.sampled_from([0, 1]), jump=st.booleans(),
)  # fmt: skip


def decisions(run: Run) -> list[tuple[int, str, int, int, int]]:
    assert run.events is not None
    return [
        (step, EVENT_NAMES[kind], request, lives, count)
        for step, kind, request, lives, _, count in run.events.tolist()
        if kind in (ADMIT, PREEMPT, FINISH)
    ]


def assert_equal(run: Run, plain: Simulation) -> None:
    assert decisions(run) == plain.decisions
    assert run.steps is not None
    columns = [column for column in run.steps if column != "generated_blocks"]
    assert run.steps[columns].to_dict("records") == plain.steps
    frame, requests = run.requests, plain.requests
    assert frame["cached_tokens"].tolist() == [request.cached for request in requests]
    assert frame["num_preemptions"].tolist() == [request.preemptions for request in requests]
    for column in ("admitted", "first_token", "finished"):
        want = [request.times.get(column, -1) for request in requests]
        assert frame[f"{column}_at_ns"].tolist() == want


def assert_equal_misses(run: Run, plain: Simulation, cut: bool) -> None:
    """By cause. A preemption or a cut prompt leaves nodes half computed; there only cold is sure."""
    causes = [f"miss_{cause}_tokens" for cause in ("cold", "in_flight", "evicted", "rounding")]
    got = run.requests[causes].to_numpy()
    want = [request.misses for request in plain.requests]
    assert got[:, 0].tolist() == [misses[0] for misses in want]
    assert got.sum(axis=1).tolist() == [sum(misses) for misses in want]
    if not cut and plain.num_preemptions == 0:
        assert got.tolist() == want


@settings(max_examples=400)
@given(
    trace=traces(max_suffix=20, max_output=12, max_gap_ns=3 * STEP_NS),
    cache=caches, scheduler=schedulers, cost=st.sampled_from([COST, PROFILE]),
)  # fmt: skip
def test_equals_the_plain_scheduler(
    trace: Trace, cache: CacheConfig, scheduler: SchedulerConfig, cost: StepCost
) -> None:
    if scheduler.order == "dfs-weight" and cache.index in ("hash", "exact"):
        scheduler = SchedulerConfig(batching=scheduler.batching, order="fcfs")
    run = simulate_policy(trace, cache, scheduler, cost, keep_events=True)
    plain = Simulation(trace, cache, scheduler, cost.model).run()
    assert_equal(run, plain)
    assert_equal_misses(
        run, plain, scheduler.batching == "chunked" and scheduler.token_budget < 500
    )


@pytest.mark.parametrize("order", ["lpm", "dfs-weight"])
@settings(max_examples=60)
@given(
    trace=traces(max_requests=20, max_suffix=70, max_output=3, max_gap_ns=STEP_NS // 10),
    size=st.sampled_from([1, 4]), kv_tokens=st.sampled_from([None, 300]),
)  # fmt: skip
def test_orders_under_a_long_queue(
    order: str, trace: Trace, size: int, kv_tokens: int | None
) -> None:
    """One request at a time, so that the order decides; prompts share more than 32 tokens."""
    cache = CacheConfig("radix", size, kv_tokens)
    scheduler = SchedulerConfig(order=order, max_running=1)
    run = simulate_policy(trace, cache, scheduler, COST, keep_events=True)
    assert_equal(run, Simulation(trace, cache, scheduler, COST.model).run())


def test_subtree_weights_on_a_deep_tree() -> None:
    """Chunks of 3 tokens leave a path of 200 nodes, far more than there are requests."""
    prompt = [i % 5 for i in range(600)]
    trace = small_trace([prompt, prompt, [*prompt[:500], 9], prompt], [2, 1, 1, 1])
    cache = CacheConfig("radix", 1)
    scheduler = SchedulerConfig(order="dfs-weight", token_budget=3, max_running=1)
    run = simulate_policy(trace, cache, scheduler, COST, keep_events=True)
    assert_equal(run, Simulation(trace, cache, scheduler, COST.model).run())
