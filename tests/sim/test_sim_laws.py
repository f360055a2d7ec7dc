"""Laws that hold on every trace: ceilings, monotony, queueing theory, equal runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_profile import made_up_cost
from small_traces import small_trace, traces

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.cost import CostModel, StepCost
from pcache.prefixes import PrefixForest, build_forest
from pcache.rundir import Run
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import gpu_shape, model_shape
from pcache.sim.roofline import roofline
from pcache.sim.simulate import simulate_policy
from pcache.trace import read_trace, slice_trace
from pcache.trace.ceilings import ceilings
from pcache.types import Trace

TRACES = Path(__file__).parents[2] / "traces"
COST = roofline(model_shape("llama-3.1-8b"), gpu_shape("h100"))
PROFILE = made_up_cost()
SHIPPED = ("multi-turn-chat", "agent-tools", "tree-of-thought")


@cache
def shipped(name: str, limit: int = 150) -> tuple[Trace, PrefixForest]:
    trace = slice_trace(read_trace(TRACES / f"{name}.jsonl.xz"), limit=limit)
    return trace, build_forest(trace)


def longest(trace: Trace) -> int:
    return int((trace.prompt_tokens + trace.output_tokens).max())


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("size", [1, 16])
def test_ceilings_are_reached_in_replay_and_never_exceeded(name: str, size: int) -> None:
    trace, forest = shipped(name)
    limits = ceilings(trace, [size], forest).iloc[0]
    total = int(trace.prompt_tokens.sum())
    for index in ("hash", "radix"):
        config = CacheConfig(index, size)
        prompts = replay(trace, config, forest=forest).cached_tokens.sum() / total
        outputs = replay(trace, config, forest=forest, outputs=True).cached_tokens.sum() / total
        assert prompts == pytest.approx(limits["by_token"], abs=1e-12)
        assert outputs == pytest.approx(limits["by_token_with_outputs"], abs=1e-12)
        for kv_tokens in (None, 2 * longest(trace)):
            run = simulate_policy(
                trace, CacheConfig(index, size, kv_tokens), SchedulerConfig(), COST, forest=forest
            )
            assert run.summary["hit_rate"] <= outputs + 1e-12


@given(
    trace=traces(), index=st.sampled_from(["radix", "hash", "none", "exact"]),
    size=st.sampled_from([1, 4]), batching=st.sampled_from(["chunked", "static"]),
)  # fmt: skip
def test_more_capacity_than_the_trace_can_fill_is_as_good_as_no_limit(
    trace: Trace, index: str, size: int, batching: str
) -> None:
    config, enough = SchedulerConfig(batching=batching), sum(trace.prompt_tokens) + 10**5
    unlimited, vast, ample = (
        simulate_policy(trace, CacheConfig(index, size, kv_tokens), config, COST, keep_events=True)
        for kv_tokens in (None, 10**13, int(enough))
    )
    assert_same(unlimited, vast)
    assert_same(unlimited, ample)


@given(trace=traces(max_requests=14), size=st.sampled_from([1, 2]), outputs=st.booleans())
def test_lru_hits_never_fall_as_capacity_grows(trace: Trace, size: int, outputs: bool) -> None:
    """Holds for `hash` in serial replay wherever nobody is rejected and no block is recomputed twice:
    duplicates of a last full block take room of their own, so prompts are cut to avoid them."""
    keep = [i for i in range(len(trace)) if trace.prompt_tokens[i] % size or size == 1]
    prompts = [trace.prompt_symbols(i).tolist() for i in keep]
    if size == 1 or not prompts:
        return
    odd = small_trace(prompts)
    start = longest(odd) + size
    hits = [
        int(replay(odd, CacheConfig("hash", size, capacity), outputs=outputs).cached_tokens.sum())
        for capacity in range(start, start + 24, size)
    ]
    assert all(smaller <= larger for smaller, larger in pairwise(hits))


@given(
    trace=traces(max_gap_ns=20_000_000), index=st.sampled_from(["radix", "hash", "none", "exact"]),
    size=st.sampled_from([1, 4]), kv_tokens=st.one_of(st.none(), st.integers(16, 100)),
    batching=st.sampled_from(["chunked", "continuous", "static"]),
)  # fmt: skip
def test_every_prompt_token_is_cached_or_missed_for_one_cause(
    trace: Trace, index: str, size: int, kv_tokens: int | None, batching: str
) -> None:
    config = CacheConfig(index, size, kv_tokens)
    frame = simulate_policy(trace, config, SchedulerConfig(batching=batching), COST).requests
    served = frame[frame["cached_tokens"] >= 0]
    causes = ["cold", "in_flight", "evicted", "rounding"]
    booked = served["cached_tokens"] + sum(served[f"miss_{cause}_tokens"] for cause in causes)
    assert booked.tolist() == served["prompt_tokens"].tolist()
    if kv_tokens is None and index != "none":
        assert not served["miss_evicted_tokens"].any(), "nothing goes where there is room for all"
    assert (served["finished_at_ns"] >= served["first_token_at_ns"]).all()
    assert (served["admitted_at_ns"] >= served["arrival_ns"]).all()


def test_mean_wait_is_that_of_an_md1_queue() -> None:
    """One server, service D = 10 ms, Poisson arrivals at load 0.6: the mean wait in the queue is
    D·ρ / (2(1 − ρ)) = 7.5 ms. Batch means over 20 batches give the interval."""
    num, service, load = 40_000, 10_000_000, 0.6
    gaps = np.random.default_rng(3).exponential(service / load, num)
    trace = small_trace([[i] for i in range(num)], arrival_ns=np.cumsum(gaps).astype(int).tolist())
    fixed = StepCost(CostModel(np.array([0, 0, 0, 0, 0, 1, 1, 0, service], float)), "fixed")
    config = SchedulerConfig(max_running=1, overlap=0)
    run = simulate_policy(trace, CacheConfig("none", 1), config, fixed)
    waits = run.requests["queue_ms"].to_numpy()[2000:]
    batches = waits.reshape(20, -1).mean(axis=1)
    error = batches.std(ddof=1) / np.sqrt(20)
    assert abs(waits.mean() - 7.5) < 3 * error
    assert error < 0.3


def assert_same(left: Run, right: Run) -> None:
    assert left.requests.equals(right.requests)
    assert left.steps is not None
    assert left.steps.equals(right.steps)
    assert left.events is not None
    assert np.array_equal(left.events, right.events)  # type: ignore[arg-type]


@pytest.mark.parametrize("cost", [COST, PROFILE], ids=["roofline", "profile"])
@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize("batching", ["chunked", "continuous", "static"])
@pytest.mark.parametrize(
    ("index", "size"), [("radix", 1), ("radix", 16), ("hash", 1), ("hash", 16)]
)
def test_jumps_change_nothing(
    index: str, size: int, batching: str, overlap: int, cost: StepCost
) -> None:
    """Shipped traces with little and with ample memory, stepped through and jumped over, and one whose
    contexts grow past the length from which attention is split."""
    short = small_trace([[i] * 64 for i in range(4)], [300] * 4)
    cases = [(short, build_forest(short)), *(shipped(name, 40) for name in SHIPPED[:2])]
    for trace, forest in cases:
        for tokens in (int(1.3 * longest(trace)), 6 * longest(trace)):
            jumping, stepping = (
                simulate_policy(
                    trace, CacheConfig(index, size, tokens),
                    SchedulerConfig(batching=batching, overlap=overlap, jump=jump), cost,
                    forest=forest, keep_events=True,
                )
                for jump in (True, False)
            )  # fmt: skip
            assert_same(jumping, stepping)


PROGRAM = """
import hashlib, sys
from test_sim_laws import log_digest
sys.stdout.write(log_digest())
"""


def log_digest() -> str:
    """Decision log of a run under memory pressure, as a hash."""
    trace, forest = shipped("multi-turn-chat", 40)
    digest = hashlib.sha256()
    for index in ("radix", "hash"):
        config = CacheConfig(index, 16, 2 * longest(trace))
        scheduler = SchedulerConfig(order="lpm")
        run = simulate_policy(trace, config, scheduler, COST, forest=forest, keep_events=True)
        assert run.events is not None
        digest.update(run.events.tobytes())
    return digest.hexdigest()


def test_decisions_do_not_depend_on_hash_seed_or_process() -> None:
    found = {log_digest(), log_digest()}
    here = Path(__file__)
    for seed in ("1", "2"):
        path = os.pathsep.join([str(here.parent), str(here.parents[1]), str(here.parents[2])])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
