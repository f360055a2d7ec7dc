"""`hash` and vLLM's `KVCacheManager`: every hit, block id and place in the free queue."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_lane import LONG_TRACES, TRACES, saw
from peer_traces import long_trace
from served_step import free_blocks
from small_traces import repeating_traces, traces

from pcache.cache.contract import CacheConfig, evicted_blocks
from pcache.cache.replay import SerialReplay
from pcache.types import Trace

pytestmark = pytest.mark.peers

LONG = [
    (1, 60, True, 0), (2, 100, True, 3), (4, 64, False, 0), (4, 200, True, 8), (8, None, True, 5),
    (16, 320, True, 7),
]  # fmt: skip
"""Block size, capacity in tokens, outputs, tokens of a prefill chunk."""


def compare(
    engine: ModuleType, trace: Trace, config: CacheConfig, outputs: bool, chunk_tokens: int
) -> int:
    """Replay on both sides, request by request; the evictions there were."""
    ours = SerialReplay(trace, config, outputs=outputs, chunk_tokens=chunk_tokens)
    theirs = engine.SerialVllm(config)
    for number in range(len(trace)):
        ours.advance(number + 1)
        cached = theirs.serve(trace, number, outputs=outputs, chunk_tokens=chunk_tokens)
        assert ours.result.cached_tokens[number] == cached, number
        if config.kv_tokens is not None:
            free = engine.free_queue(theirs.manager.block_pool)
            assert free_blocks(ours.result.cache) == free, number
    hits = ours.result.cached_tokens
    evicted = int(evicted_blocks(ours.result.cache))
    saw(
        "vLLM KVCacheManager", traces=1, requests=len(trace), hits=int((hits > 0).sum()),
        rejected=int((hits < 0).sum()), evicted_blocks=evicted,
    )  # fmt: skip
    return evicted


@settings(max_examples=TRACES)
@given(
    trace=st.one_of(traces(), repeating_traces()), size=st.sampled_from([1, 2, 4, 8, 16]),
    kv_tokens=st.one_of(st.none(), st.integers(16, 90)), outputs=st.booleans(),
    chunk_tokens=st.sampled_from([0, 1, 3, 8]),
)  # fmt: skip
def test_small_traces(
    vllm_engine: ModuleType, trace: Trace, size: int, kv_tokens: int | None, outputs: bool,
    chunk_tokens: int,
) -> None:  # fmt: skip
    compare(vllm_engine, trace, CacheConfig("hash", size, kv_tokens), outputs, chunk_tokens)


def test_long_traces(vllm_engine: ModuleType) -> None:
    evicted = 0
    for seed in range(LONG_TRACES):
        size, kv_tokens, outputs, chunk_tokens = LONG[seed % len(LONG)]
        config = CacheConfig("hash", size, kv_tokens)
        evicted += compare(vllm_engine, long_trace(seed, 60), config, outputs, chunk_tokens)
    assert evicted > 0
