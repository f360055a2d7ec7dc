"""One pass gives, at every capacity and for every request, what `replay` with `hash` gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_traces import repeating_traces, small_trace, traces

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.prefixes import PrefixForest, build_forest
from pcache.sim.lru_curve import CurveOptions, LruCurve
from pcache.sim.ramps import Ramps
from pcache.sim.segments import segment_trace, unlimited_hits
from pcache.sim.stack_distance import stack_distances
from pcache.trace import ceilings, read_trace
from pcache.types import I8, Trace

TRACES = Path(__file__).parents[2] / "traces"


def replayed(
    trace: Trace, forest: PrefixForest, size: int, num_blocks: int, outputs: bool, append: bool
) -> I8:
    config = CacheConfig("hash", size, num_blocks * size, append_unkeyed=append)
    cached = replay(trace, config, outputs=outputs, forest=forest).cached_tokens
    return np.maximum(cached, 0).astype(np.int64)


def hits_at(ranges: I8, num_blocks: int, num_requests: int) -> I8:
    hits = np.zeros(num_requests, np.int64)
    np.add.at(hits, ranges[:, 2], np.clip(num_blocks - ranges[:, 0], 0, ranges[:, 1]))
    return hits


@settings(max_examples=80)
@given(
    trace=st.one_of(traces(), repeating_traces()), size=st.sampled_from([1, 2, 4]),
    outputs=st.booleans(), append=st.booleans(),
)  # fmt: skip
def test_every_capacity_equals_a_replay(
    trace: Trace, size: int, outputs: bool, append: bool
) -> None:
    forest = build_forest(trace)
    blocks = segment_trace(trace, forest, size, outputs=outputs)
    footprint = blocks.requests.footprint
    whole = stack_distances(blocks, int(footprint.max()), append_unkeyed=append)
    for capacity in range(1, int(footprint.sum()) + 2):
        ranges = whole
        if capacity < footprint.max():
            ranges = stack_distances(blocks, capacity, append_unkeyed=append)
        got = size * hits_at(ranges, capacity, len(trace))
        assert got.tolist() == replayed(trace, forest, size, capacity, outputs, append).tolist()
    assert (got == size * unlimited_hits(*blocks)).all()


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("name", ["rag", "multi-turn-chat", "tree-of-thought", "same-prompt"])
def test_shipped_traces_at_twenty_capacities(name: str, size: int, outputs: bool) -> None:
    trace = read_trace(TRACES / f"{name}.jsonl.xz", limit=150)
    assert_twenty_capacities(trace, build_forest(trace), size, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mooncake_conversation", "tau_airline"])
def test_real_traces_at_twenty_capacities(name: str, shared: Path) -> None:
    trace = read_trace(shared / "traces" / f"{name}.jsonl.xz")
    assert_twenty_capacities(trace, build_forest(trace), 16, False)


def assert_twenty_capacities(trace: Trace, forest: PrefixForest, size: int, outputs: bool) -> None:
    blocks = segment_trace(trace, forest, size, outputs=outputs)
    prompts = trace.prompt_tokens.astype(np.int64)
    curve = LruCurve(blocks, prompts, CurveOptions(size, outputs))
    assert curve.full is not None
    smallest = int(blocks.requests.footprint.min())
    places = np.rint(np.geomspace(smallest, 1.1 * curve.full, 20)).astype(np.int64)
    assert (places < curve.largest).any() or smallest == curve.largest
    rates, errors = curve.rates(places)
    for column, capacity in enumerate(places.tolist()):
        cached = replayed(trace, forest, size, capacity, outputs, False)
        assert rates[0, column] == cached.sum() / prompts.sum()
        assert rates[1, column] == pytest.approx((cached / prompts).mean(), rel=1e-9, abs=1e-12)
    assert not errors.any()
    row = ceilings(trace, [size], forest).iloc[0]
    assert curve.ceilings[0] == pytest.approx(
        row["by_token_with_outputs" if outputs else "by_token"]
    )
    assert rates[0, -1] == pytest.approx(curve.ceilings[0])
    just_below = np.array([curve.full - 1])
    if curve.full > curve.largest:
        assert curve.rates(just_below)[0][0, 0] < rates[0, -1]


@given(trace=repeating_traces(), first=st.integers(0, 3), size=st.sampled_from([1, 2]))
def test_warm_up_is_replayed_but_not_counted(trace: Trace, first: int, size: int) -> None:
    first = min(first, len(trace) - 1)
    forest = build_forest(trace)
    blocks = segment_trace(trace, forest, size, outputs=False)
    prompts = trace.prompt_tokens.astype(np.int64)
    curve = LruCurve(blocks, prompts, CurveOptions(size, first_counted=first))
    places = np.arange(1, int(blocks.requests.footprint.sum()) + 1)
    rates = curve.rates(places)[0][0]
    for place in places.tolist():
        cached = replayed(trace, forest, size, place, False, False)[first:]
        assert rates[place - 1] == pytest.approx(cached.sum() / prompts[first:].sum())


def test_a_copy_that_stays_behind() -> None:
    """Known answer: [1] is computed twice, so [1, 2] finds two copies of it. With three blocks it takes
    the older one, the newer one stays, and 3 has to go; with two, only the newer one is there."""
    trace = small_trace([[1], [3], [1], [1, 2], [3, 4]])
    blocks = segment_trace(trace, build_forest(trace), 1, outputs=False)
    hits = {c: hits_at(stack_distances(blocks, c), c, 5).tolist() for c in (2, 3, 4)}
    assert hits == {2: [0, 0, 0, 1, 0], 3: [0, 0, 0, 1, 0], 4: [0, 0, 0, 1, 1]}


def curve_of(prompts: list[list[int]]) -> LruCurve:
    trace = small_trace(prompts)
    blocks = segment_trace(trace, build_forest(trace), 1, outputs=False)
    return LruCurve(blocks, trace.prompt_tokens.astype(np.int64), CurveOptions(1))


def test_knee() -> None:
    """Known answer: eight reuses from three blocks on, one from eight; the line between the ends is
    far below the first of them."""
    near = [[1, 2], [3, 4]] * 5
    far = [[5, 6], [7], [8], [9], [10], [11], [12], [13], [5, 6]]
    curve = curve_of(near + far)
    assert (curve.largest, curve.knee, curve.full) == (2, 3, 8)
    rates = curve.rates(np.array([2, 3, 7, 8]))[0][0] * 31
    assert rates.tolist() == pytest.approx([0, 8, 8, 9])


def test_nothing_hits() -> None:
    curve = curve_of([[1], [2]])
    assert (curve.knee, curve.full, curve.ceilings.tolist()) == (None, None, [0.0, 0.0])
    assert curve.rates(np.array([1, 5]))[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_ramps() -> None:
    ramps = Ramps(np.array([2, 4]), np.array([3, 1]), np.array([1, 10]))
    assert ramps.at(np.arange(8)).tolist() == [0, 0, 0, 1, 2, 13, 13, 13]
    nothing = np.zeros(0, np.int64)
    assert Ramps(nothing, nothing, nothing).at(np.arange(3)).tolist() == [0, 0, 0]
