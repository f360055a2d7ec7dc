"""The offline bound: above every schedule, below nothing, and reached where the rules allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.offline import PlainSchedule, demands, optimum
from small_traces import repeating_traces, small_trace, traces

from pcache.cache.contract import CacheConfig
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.replay import replay
from pcache.prefixes import build_forest
from pcache.sim.offline import look_ahead, offline_hits
from pcache.sim.segments import SegmentTrace, segment_trace
from pcache.types import Trace


def bound_and_feasible(blocks: SegmentTrace, num_blocks: int, first: int = 0) -> tuple[int, int]:
    future = look_ahead(blocks, num_blocks)
    bound, feasible = (
        offline_hits(blocks, future, num_blocks, bound=which, first_counted=first)
        for which in (True, False)
    )
    return bound, feasible


@settings(max_examples=150)
@given(
    trace=repeating_traces(max_requests=7, longest=5), size=st.sampled_from([1, 2]),
    outputs=st.booleans(), room=st.integers(0, 4),
)  # fmt: skip
def test_the_true_optimum_lies_between(trace: Trace, size: int, outputs: bool, room: int) -> None:
    blocks = segment_trace(trace, build_forest(trace), size, outputs=outputs)
    num_blocks = int(blocks.requests.footprint.min()) + room
    bound, feasible = bound_and_feasible(blocks, num_blocks)
    requests = demands(trace, size, outputs)
    assert feasible <= optimum(requests, num_blocks, size, orphans=False) <= bound
    assert bound == optimum(requests, num_blocks, size, orphans=True)


@settings(max_examples=100)
@given(
    trace=st.one_of(repeating_traces(max_requests=25), traces()), size=st.sampled_from([1, 2, 4]),
    outputs=st.booleans(), room=st.integers(0, 15), first=st.integers(0, 4),
)  # fmt: skip
def test_segments_equal_the_plain_schedule(
    trace: Trace, size: int, outputs: bool, room: int, first: int
) -> None:
    blocks = segment_trace(trace, build_forest(trace), size, outputs=outputs)
    num_blocks = int(blocks.requests.footprint.min()) + room
    plain = PlainSchedule(demands(trace, size, outputs), num_blocks, size, first)
    assert bound_and_feasible(blocks, num_blocks, first) == (plain.hits(True), plain.hits(False))


POLICIES = [("hash", "lru", False), ("hash", "lru", True)] + [
    ("radix", order, False) for order in EVICTION_ORDERS
]


@given(
    trace=st.one_of(repeating_traces(), traces()), size=st.sampled_from([1, 2, 4]),
    outputs=st.booleans(), room=st.integers(1, 20), policy=st.sampled_from(POLICIES),
)  # fmt: skip
def test_no_policy_exceeds_the_bound(
    trace: Trace, size: int, outputs: bool, room: int, policy: tuple[str, str, bool]
) -> None:
    forest = build_forest(trace)
    blocks = segment_trace(trace, forest, size, outputs=outputs)
    num_blocks = int(blocks.requests.footprint.max()) + room  # neither cache rejects a request
    index, order, append = policy
    config = CacheConfig(index, size, num_blocks * size, order, append)
    cached = replay(trace, config, outputs=outputs, forest=forest).cached_tokens
    assert cached.min() >= 0
    assert cached.sum() <= size * bound_and_feasible(blocks, num_blocks)[0]


def test_a_scan_that_lru_loses_to() -> None:
    """Known answer: three prompts of two blocks in turn; look-up may use the first block of each. With
    four blocks there is always room for those of the two others. With three there is room for one,
    which must stay during two requests: three times in seven."""
    trace = small_trace([[1, 2], [3, 4], [5, 6]] * 3)
    forest = build_forest(trace)
    blocks = segment_trace(trace, forest, 1, outputs=False)
    assert replay(trace, CacheConfig("hash", 1, 4), forest=forest).cached_tokens.sum() == 0
    assert bound_and_feasible(blocks, 4) == (6, 6)
    assert bound_and_feasible(blocks, 3) == (3, 3)


def test_where_bound_and_feasible_differ() -> None:
    """[1, 1] is computed again by the third request, which makes keeping it worthless until then; but
    without it its child, that the fourth asks for, may not stay."""
    trace = small_trace([[1, 1, 2, 9], [3, 3], [1, 1], [1, 1, 2, 8]])
    blocks = segment_trace(trace, build_forest(trace), 1, outputs=False)
    gaps = {}
    for num_blocks in range(4, 9):
        bound, feasible = bound_and_feasible(blocks, num_blocks)
        best = optimum(demands(trace, 1, False), num_blocks, 1, orphans=False)
        assert feasible <= best <= bound
        gaps[num_blocks] = bound - feasible
    assert max(gaps.values()) == 1
    assert gaps[8] == 0


def test_a_block_in_use_frees_no_room() -> None:
    """Known answer: the fourth request, of seven blocks, leaves one for others of eight. [1, 2, 3] and
    9 have to go; that [1, 2] then has no child left helps nothing, since the request holds it."""
    prompts = [[1, 2, 3, 4], [5, 6], [9, 6], [1, 2], [5, 7], [9, 7], [1, 2, 3, 8]]
    trace = small_trace(prompts, [1, 1, 1, 6, 1, 1, 1])
    blocks = segment_trace(trace, build_forest(trace), 1, outputs=True)
    assert bound_and_feasible(blocks, 8) == (4, 4)


@pytest.mark.parametrize("bound", [True, False])
def test_more_memory_never_hurts(bound: bool) -> None:
    rng = np.random.default_rng(5)
    texts = rng.integers(1, 3, (4, 12))
    prompts = [texts[rng.integers(4)][: rng.integers(1, 13)].tolist() for _ in range(60)]
    trace = small_trace(prompts)
    blocks = segment_trace(trace, build_forest(trace), 1, outputs=False)
    hits = [
        offline_hits(blocks, look_ahead(blocks, room), room, bound=bound) for room in range(12, 40)
    ]
    assert hits == sorted(hits)
    assert hits[0] < hits[-1]
