"""Every shipped policy decides as its plain counterpart in Python does, which also proves the seam.

Decision logs are compared: block ids, evictions and all, in serial replay, with several rows alive,
and in the simulator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import Rig, operations, plain_policy
from small_traces import session_traces, small_trace

from pcache.cache.contract import CacheConfig
from pcache.cache.eviction.registry import POLICIES
from pcache.cost import CostModel, StepCost
from pcache.scheduler.state import SchedulerConfig
from pcache.sim.simulate import simulate_policy
from pcache.types import Trace

PLAIN = {
    "lifetime": "aged.py:Lifetime",
    "2q": "queued.py:TwoQ",
    "arc": "queued.py:ARC",
    "s3-fifo": "queued.py:S3Fifo",
    "sieve": "queued.py:Sieve",
    "lru-2": "recency.py:LRU2",
    "gdsf": "valued.py:GDSF",
    "flop-aware": "valued.py:FlopAware",
    "reuse": "valued.py:Reuse",
    "session": "recency.py:Session",
    "ttl-5m": "recency.py:TTL5m",
    "ttl-1h": "recency.py:TTL1h",
}
BOTH = pytest.mark.parametrize("index", ["hash", "radix"])
EACH = pytest.mark.parametrize("eviction", PLAIN)

STEP_NS = 40 * 10**9
COST = StepCost(CostModel(np.array([0, 0, 0, 0, 0, 1, 1, 0, STEP_NS], float)), "40 s a step")
"""Steps so long that a TTL of five minutes matters."""


def test_every_policy_has_a_plain_counterpart() -> None:
    assert set(PLAIN) == set(POLICIES)


def driven(config: CacheConfig, trace: Trace, steps: list[tuple[str, int, int]]) -> Any:
    rig = Rig(config, trace)
    for step in steps:
        rig.do(*step)
    return rig.events


def simulated(config: CacheConfig, trace: Trace, scheduler: SchedulerConfig) -> Any:
    run = simulate_policy(trace, config, scheduler, COST, keep_events=True)
    assert run.events is not None
    return run.events.tolist()


@BOTH
@EACH
@settings(max_examples=25)
@given(
    trace=session_traces(max_requests=10), block_size=st.sampled_from([1, 1, 2]),
    kv_tokens=st.integers(8, 60), steps=operations,
)  # fmt: skip
def test_with_several_rows(
    eviction: str, index: str, trace: Trace, block_size: int, kv_tokens: int,
    steps: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    compiled = CacheConfig(index, block_size, kv_tokens, eviction)
    plain = CacheConfig(index, block_size, kv_tokens, plain_policy(PLAIN[eviction]))
    assert driven(compiled, trace, steps) == driven(plain, trace, steps)


schedulers = st.builds(
    SchedulerConfig, batching=st.sampled_from(["chunked", "continuous"]),
    order=st.sampled_from(["fcfs", "lpm"]), token_budget=st.sampled_from([3, 8, 1000]),
    max_running=st.sampled_from([1, 2, 4]), overlap=st.sampled_from([0, 1]), jump=st.booleans(),
)  # fmt: skip


@BOTH
@EACH
@settings(max_examples=25)
@given(
    trace=session_traces(max_requests=16, max_gap_ns=4 * STEP_NS),
    block_size=st.sampled_from([1, 1, 2]), kv_tokens=st.integers(16, 90), scheduler=schedulers,
)  # fmt: skip
def test_in_the_simulator(
    eviction: str, index: str, trace: Trace, block_size: int, kv_tokens: int,
    scheduler: SchedulerConfig,
) -> None:  # fmt: skip
    compiled = CacheConfig(index, block_size, kv_tokens, eviction)
    plain = CacheConfig(index, block_size, kv_tokens, plain_policy(PLAIN[eviction]))
    assert simulated(compiled, trace, scheduler) == simulated(plain, trace, scheduler)


def test_session_supersedes_all_that_an_earlier_request_left() -> None:
    """The second turn computes the first one's output again, so that each block has two holders and all
    of the first turn's may go at once: its end supersedes every one of them."""
    trace = small_trace([[1]] * 8, [1, 1, 1, 1, 1, [1] * 5, [1] * 6, 1])
    trace = replace(trace, session_ids=["", "", "", "", "", "a", "a", ""])
    scheduler = SchedulerConfig(max_running=1, jump=False)
    compiled = CacheConfig("hash", 1, 16, "session")
    plain = CacheConfig("hash", 1, 16, plain_policy(PLAIN["session"]))
    assert simulated(compiled, trace, scheduler) == simulated(plain, trace, scheduler)
