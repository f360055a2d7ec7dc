"""The simulator's side takes the engine's decisions again from the recorded instants alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_ledger import run_on_ledger
from engine_workload import shared_workload
from hypothesis import given, settings
from small_traces import small_trace, traces
from test_engine_blocks import STEP_NS, caches, schedulers

from pcache.cache.contract import CacheConfig
from pcache.cache.events import ALLOCATE, PREEMPT, REPOINT, SHARE
from pcache.errors import RunDirectoryError
from pcache.gpu.api import run
from pcache.gpu.engine import EngineRun
from pcache.gpu.run import EngineSettings
from pcache.prefixes import build_forest
from pcache.recording import read_recording
from pcache.scheduler.loop import PLAN
from pcache.scheduler.state import SchedulerConfig
from pcache.sim.parity import first_difference, replay_instants
from pcache.types import I8, Trace


def assert_parity(
    trace: Trace, cache: CacheConfig, rules: SchedulerConfig, engine: EngineRun
) -> None:
    again = replay_instants(trace, build_forest(trace), cache, rules, engine.instants)
    assert first_difference(trace, engine.events, engine.instants, again) is None
    assert again.events.tobytes() == engine.events.tobytes()
    assert again.scheduler.requests.tobytes() == engine.scheduler.requests.tobytes()
    assert np.array_equal(again.scheduler.misses, engine.scheduler.misses)


@settings(max_examples=200)
@given(
    trace=traces(max_suffix=20, max_output=12, max_gap_ns=3 * STEP_NS),
    cache=caches, rules=schedulers,
)  # fmt: skip
def test_instants_determine_every_decision(
    trace: Trace, cache: CacheConfig, rules: SchedulerConfig
) -> None:
    assert_parity(trace, cache, rules, run_on_ledger(trace, cache, rules))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize(("policy", "size"), [("radix", 1), ("hash", 16)])
def test_a_run_on_a_cpu_is_replayed_from_its_directory(
    policy: str, size: int, overlap: int, tmp_path: Path
) -> None:
    """In wall-clock time: preemptions, equal prompts in one step, empty plans, duplicates."""
    trace = shared_workload(160, seed=8)
    settings = EngineSettings("tiny", "cpu", "fp32", "reference", graphs=False, skip_idle=True)
    rules = SchedulerConfig("chunked", "fcfs", 40, 16, overlap)
    results = run(
        trace, policy, settings=settings, block_size=size, kv_tokens=208, token_budget=40,
        max_running=16, overlap=overlap,
    )  # fmt: skip
    assert results.complete
    (path,) = results.write(tmp_path)
    events, instants = read_recording(path)
    cache = CacheConfig(policy, size, 208)
    again = replay_instants(trace, build_forest(trace), cache, rules, instants)
    assert first_difference(trace, events, instants, again) is None
    assert again.events.tobytes() == events.tobytes()
    kinds = set(events[:, 1].tolist())
    assert {PREEMPT, SHARE} < kinds
    assert (REPOINT in kinds) == (policy == "radix")
    assert shared_at_once(events) == (policy == "hash")
    assert results.runs[0].steps is not None
    assert (instants[:, 0] == PLAN).sum() > len(results.runs[0].steps), "no plan came out empty"


def shared_at_once(events: I8) -> bool:
    """Whether a block was found in the cache in the very step that allocated it."""
    blocks: dict[int, set[tuple[int, int]]] = {ALLOCATE: set(), SHARE: set()}
    for step, kind, _, _, first, count in events.tolist():
        if kind in blocks:
            blocks[kind] |= {(step, block) for block in range(first, first + count)}
    return bool(blocks[ALLOCATE] & blocks[SHARE])


def recorded() -> tuple[Trace, EngineRun]:
    trace = small_trace([[1] * 9, [1] * 9, [2] * 5], [3, 2, 2], arrival_ns=[0, 4000, 90_000])
    return trace, run_on_ledger(trace, CacheConfig("hash", 4, 64), SchedulerConfig())


def difference(trace: Trace, events: I8, instants: I8, kv_tokens: int = 64) -> str | None:
    cache = CacheConfig("hash", 4, kv_tokens)
    again = replay_instants(trace, build_forest(trace), cache, SchedulerConfig(), instants)
    return first_difference(trace, events, instants, again)


def test_differences_are_told_by_step_and_request() -> None:
    trace, engine = recorded()
    events, instants = engine.events, engine.instants
    assert difference(trace, events, instants) is None
    other = events.copy()
    other[4, 4] += 7
    found = difference(trace, other, instants)
    assert found is not None
    step, request = events[4, 0], trace.request_ids[events[4, 2]]
    assert found.startswith(f"decision 4: recorded step {step}, ")
    assert f"of request {request} " in found
    early = replace(trace, arrival_ns=np.zeros(3, np.int64))
    found = difference(early, events, instants)
    assert found is not None
    assert "replayed step 0" in found
    found = difference(trace, events[:-1], instants)
    assert found is not None
    assert "recorded nothing more; replayed step" in found
    at = int(np.flatnonzero(instants[:, 0] == PLAN)[1])
    found = difference(trace, events, np.insert(instants, at, [3, 5], axis=0))
    assert found is not None


def test_an_interrupted_record_is_replayed_as_far_as_it_goes() -> None:
    trace, engine = recorded()
    instants = engine.instants
    cache, rules = CacheConfig("hash", 4, 64), SchedulerConfig()
    for length in range(len(instants)):
        again = replay_instants(trace, build_forest(trace), cache, rules, instants[:length])
        assert again.num_actions == length
        events = engine.events[: len(again.events)]
        assert first_difference(trace, events, instants[:length], again) is None


def test_a_directory_without_a_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="only `pcache run` records them"):
        read_recording(tmp_path)
    for name in ("decisions.parquet", "instants.parquet"):
        (tmp_path / name).write_text("half a file")
    with pytest.raises(RunDirectoryError, match=r"recorded decisions are damaged .*; run it again"):
        read_recording(tmp_path)
