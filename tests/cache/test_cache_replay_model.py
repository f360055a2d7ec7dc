"""Serial replay equals the plain caches, request by request, on random traces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from reference.replay import plain_replay
from small_traces import traces

from pcache.cache.contract import CacheConfig
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.replay import replay
from pcache.types import Trace

block_sizes = st.sampled_from([1, 2, 4, 8])
capacities = st.one_of(st.none(), st.integers(8, 90))
chunks = st.sampled_from([0, 1, 3, 8])


def assert_equal(trace: Trace, config: CacheConfig, outputs: bool, chunk_tokens: int) -> None:
    got = replay(trace, config, outputs=outputs, chunk_tokens=chunk_tokens)
    want = plain_replay(trace, config, outputs=outputs, chunk_tokens=chunk_tokens)
    assert got.cached_tokens.tolist() == want
    served = got.cached_tokens >= 0
    missed = trace.prompt_tokens[served] - got.cached_tokens[served]
    assert got.misses[served].sum(axis=1).tolist() == missed.tolist()
    assert got.misses.min() >= 0
    assert got.misses[~served].sum() == 0


@settings(max_examples=250)
@given(
    trace=traces(), block_size=block_sizes, kv_tokens=capacities, chunk_tokens=chunks,
    outputs=st.booleans(), eviction=st.sampled_from(list(EVICTION_ORDERS)),
)  # fmt: skip
def test_radix_equals_the_plain_tree(
    trace: Trace, block_size: int, kv_tokens: int | None, chunk_tokens: int, outputs: bool,
    eviction: str,
) -> None:  # fmt: skip
    config = CacheConfig("radix", block_size, kv_tokens, eviction)
    assert_equal(trace, config, outputs, chunk_tokens)


@settings(max_examples=250)
@given(
    trace=traces(), block_size=block_sizes, kv_tokens=capacities, chunk_tokens=chunks,
    outputs=st.booleans(), index=st.sampled_from(["hash", "hash", "exact", "none"]),
    append_unkeyed=st.booleans(),
)  # fmt: skip
def test_flat_indexes_equal_the_plain_queue(
    trace: Trace, block_size: int, kv_tokens: int | None, chunk_tokens: int, outputs: bool,
    index: str, append_unkeyed: bool,
) -> None:  # fmt: skip
    config = CacheConfig(index, block_size, kv_tokens, append_unkeyed=append_unkeyed)
    assert_equal(trace, config, outputs, chunk_tokens)
