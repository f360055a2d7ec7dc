"""`radix` and SGLang's trees: every hit, and the blocks that are free and cached after each request."""

from __future__ import annotations

from functools import partial
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_lane import LONG_TRACES, TRACES, agrees, saw
from peer_traces import long_trace
from small_traces import repeating_traces, traces

from pcache.cache.contract import CacheConfig, cached_blocks, evicted_blocks
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.replay import SerialReplay
from pcache.types import Trace

pytestmark = pytest.mark.peers

CLASSES = {"radix": "RadixCache", "unified-python": "UnifiedTreeCore",
           "unified-rust": "RustUnifiedTreeCore"}  # fmt: skip
"""Kind → the class that keeps the tree."""
DIFFERS = {("unified-python", "fifo"), ("unified-rust", "fifo")}
"""`UnifiedRadixCache` lets the upper half of a split node inherit the time of creation."""
ORDERS = {kind: [o for o in EVICTION_ORDERS if (kind, o) not in DIFFERS] for kind in CLASSES}
LONG = [
    (1, 60, True, 0), (2, 100, True, 3), (4, 64, False, 0), (4, 200, True, 8), (8, None, True, 5),
    (16, 320, True, 7),
]  # fmt: skip
"""Block size, capacity in tokens, outputs, tokens of a prefill chunk."""
LEFT_OUT_TRACES = 6


def compare(
    engine: ModuleType, kind: str, trace: Trace, config: CacheConfig, outputs: bool, chunk: int
) -> int:
    """Replay on both sides, request by request; the blocks evicted."""
    ours = SerialReplay(trace, config, outputs=outputs, chunk_tokens=chunk)
    longest = int((trace.prompt_tokens + trace.output_tokens).max())
    theirs = engine.SerialSglang(kind, config, longest)
    assert engine.tree_core(theirs.cache) == CLASSES[kind]
    cache = ours.result.cache
    for number in range(len(trace)):
        ours.advance(number + 1)
        cached = theirs.serve(trace, number, outputs=outputs, chunk_tokens=chunk)
        assert ours.result.cached_tokens[number] == cached, number
        assert cached_blocks(cache) == theirs.cached_blocks, number
        if config.kv_tokens is not None:
            assert cache.radix.runs.state[0].free == theirs.free_blocks, number
    hits = ours.result.cached_tokens
    evicted = int(evicted_blocks(cache))
    saw(
        f"SGLang {CLASSES[kind]}", traces=1, requests=len(trace), hits=int((hits > 0).sum()),
        rejected=int((hits < 0).sum()), evicted_blocks=evicted,
    )  # fmt: skip
    return evicted


@pytest.mark.parametrize("kind", CLASSES)
@settings(max_examples=TRACES)
@given(
    data=st.data(), trace=st.one_of(traces(), repeating_traces()),
    size=st.sampled_from([1, 2, 4, 8, 16]), kv_tokens=st.one_of(st.none(), st.integers(16, 90)),
    outputs=st.booleans(), chunk=st.sampled_from([0, 1, 3, 8]),
)  # fmt: skip
def test_small_traces(
    sglang_engine: ModuleType, kind: str, data: st.DataObject, trace: Trace, size: int,
    kv_tokens: int | None, outputs: bool, chunk: int,
) -> None:  # fmt: skip
    order = data.draw(st.sampled_from(ORDERS[kind]))
    config = CacheConfig("radix", size, kv_tokens, order)
    compare(sglang_engine, kind, trace, config, outputs, chunk)


@pytest.mark.parametrize("kind", CLASSES)
def test_long_traces(sglang_engine: ModuleType, kind: str) -> None:
    evicted = 0
    for seed in range(LONG_TRACES):
        size, kv_tokens, outputs, chunk = LONG[seed % len(LONG)]
        order = ORDERS[kind][seed // len(LONG) % len(ORDERS[kind])]
        config = CacheConfig("radix", size, kv_tokens, order)
        evicted += compare(sglang_engine, kind, long_trace(seed, 60), config, outputs, chunk)
    assert evicted > 0


@pytest.mark.parametrize(("kind", "order"), sorted(DIFFERS))
def test_what_is_left_out_does_differ(sglang_engine: ModuleType, kind: str, order: str) -> None:
    """`fifo` follows `RadixCache`; the unified tree goes another way on some of the same traces."""
    config = CacheConfig("radix", 1, 60, order)
    agreements = {"radix": 0, kind: 0}
    for seed in range(LEFT_OUT_TRACES):
        trace = long_trace(seed, 60)
        for one in agreements:
            agreements[one] += agrees(partial(compare, sglang_engine, one, trace, config, True, 0))
    assert agreements["radix"] == LEFT_OUT_TRACES > agreements[kind]
