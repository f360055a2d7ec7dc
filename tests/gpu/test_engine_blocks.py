"""Blocks are accounted for: replayed from the decision log alone, on a device that only checks."""

from __future__ import annotations

import numpy as np
import pytest
from engine_ledger import Ledger, run_on_ledger
from engine_workload import shared_workload
from hypothesis import given, settings
from hypothesis import strategies as st
from small_traces import small_trace, traces

from pcache.cache.contract import CacheConfig
from pcache.cache.events import ADMIT, ALLOCATE, EVICT, REPOINT, SHARE
from pcache.gpu.engine import EngineRun
from pcache.scheduler.state import SchedulerConfig
from pcache.types import Trace

STEP_NS = 3000
"""A step takes three looks at the clock: planned, launched, ended."""

caches = st.builds(
    lambda kind, size, tokens: CacheConfig(kind[0], size, max(tokens, size), kind[1]),
    st.sampled_from([("radix", "lru"), ("radix", "lfu"), ("radix", "priority"), ("hash", "lru"),
                     ("none", "lru"), ("exact", "lru")]),
    st.sampled_from([1, 2, 4]), st.integers(12, 120),
)  # fmt: skip
schedulers = st.builds(
    SchedulerConfig, batching=st.sampled_from(["chunked", "chunked", "continuous", "static"]),
    order=st.sampled_from(["fcfs", "lpm", "priority"]),
    token_budget=st.sampled_from([1, 3, 8, 20, 1000]), max_running=st.sampled_from([1, 2, 4, 100]),
    overlap=st.sampled_from([0, 1]),
)  # fmt: skip


@settings(max_examples=300)
@given(
    trace=traces(max_suffix=20, max_output=12, max_gap_ns=3 * STEP_NS),
    cache=caches, rules=schedulers,
)  # fmt: skip
def test_every_step_reads_what_its_requests_wrote(
    trace: Trace, cache: CacheConfig, rules: SchedulerConfig
) -> None:
    state = run_on_ledger(trace, cache, rules).scheduler.state[0]
    assert state.num_finished + state.num_rejected == len(trace)


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize(
    ("policy", "size"), [("radix", 1), ("radix", 16), ("hash", 4), ("none", 1)]
)
def test_a_thrashing_pool_keeps_its_accounts(policy: str, size: int, overlap: int) -> None:
    trace = shared_workload(520, seed=3)
    rules = SchedulerConfig(token_budget=40, max_running=16, overlap=overlap)
    engine = run_on_ledger(trace, CacheConfig(policy, size, 304), rules, tick_ns=500_000)
    assert engine.scheduler.state[0].num_preemptions > 5
    kinds = set(engine.events[:, 1].tolist())
    assert {ADMIT, ALLOCATE} < kinds
    assert (kinds >= {SHARE, EVICT}) == (policy != "none")
    assert (REPOINT in kinds) == (policy == "radix")


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([[0, ALLOCATE, 0, 0, 1, 2], [0, ALLOCATE, 1, 0, 2, 1]], "taken from a live request"),
        ([[0, ALLOCATE, 0, 0, 1, 2], [0, EVICT, -1, 0, 1, 1]], "taken from a live request"),
        ([[0, ADMIT, 0, 0, 5, 0], [0, ADMIT, 1, 0, 5, 0]], "row given away twice"),
        ([[0, ALLOCATE, 0, 1, 1, 1]], "in order"),
        ([[0, ALLOCATE, 0, 0, 0, 1]], "block 0"),
    ],
)
def test_the_ledger_notices(events: list[list[int]], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        Ledger().replay(np.array(events))


class Careless(EngineRun):
    """Forgets to tell the device of one block that was found in the cache."""

    def _table_runs(self, runner):  # type: ignore[no-untyped-def]
        self._unsent = [events[events[:, 1] != SHARE] for events in self._unsent]
        return super()._table_runs(runner)


def test_a_run_that_was_not_sent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = small_trace([[1] * 9, [1] * 9], [30, 1], arrival_ns=[0, 9 * STEP_NS])
    cache, rules = CacheConfig("hash", 4, 64), SchedulerConfig()
    run_on_ledger(trace, cache, rules)
    monkeypatch.setattr("engine_ledger.EngineRun", Careless)
    with pytest.raises(AssertionError):
        run_on_ledger(trace, cache, rules)
