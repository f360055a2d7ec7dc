"""Block hashes: answers worked out by hand from vLLM's rules."""

from __future__ import annotations

import pytest
from small_traces import small_trace

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.errors import ConfigError
from pcache.types import Trace

A, B, C = ([letter] * 40 for letter in (1, 2, 3))


def cached(trace: Trace, config: CacheConfig, *, outputs: bool = False) -> list[int]:
    return replay(trace, config, outputs=outputs).cached_tokens.tolist()


def test_last_token_is_always_computed() -> None:
    """Of 9 equal tokens, two blocks of 4 hit; at block size 1, 8 tokens do."""
    trace = small_trace([A[:9], A[:9]])
    assert cached(trace, CacheConfig("hash", 4)) == [0, 8]
    assert cached(trace, CacheConfig("hash", 1)) == [0, 8]


def test_exact_multiple_loses_a_block() -> None:
    trace = small_trace([A[:8], A[:8], A[:9]])
    assert cached(trace, CacheConfig("hash", 4)) == [0, 4, 8]


def test_prompt_of_exactly_one_block_never_hits_itself() -> None:
    assert cached(small_trace([A[:4]] * 3), CacheConfig("hash", 4)) == [0, 0, 0]


def test_recomputed_last_block_is_a_duplicate_and_costs_capacity() -> None:
    """Three prompts of 4 blocks leave 6 keyed blocks for 4 keys: the last block came three times."""
    trace = small_trace([A[:16]] * 3)
    left = replay(trace, CacheConfig("hash", 4, 40)).cache.flat
    assert left.state[0].idle == 6
    assert (left.holder != 0).sum() == 4


def test_duplicates_push_others_out() -> None:
    """5 blocks: B's two survive one duplicate of A's second block, not the second duplicate."""
    once = small_trace([B[:5], A[:8], A[:8], B[:5]])
    assert cached(once, CacheConfig("hash", 4, 16)) == [0, 0, 4, 4]
    assert cached(once, CacheConfig("hash", 4, 12)) == [0, 0, 4, 0]


def test_prefix_outlives_what_follows_it() -> None:
    """Blocks are freed tail first: when B takes two of A's three blocks, A keeps its first."""
    trace = small_trace([A[:12], B[:8], A[:12]])
    assert cached(trace, CacheConfig("hash", 4, 12)) == [0, 0, 4]


def test_being_found_does_not_make_recent_but_being_freed_does() -> None:
    """5 blocks: after A, B and A again the queue is two free ones, B's, then A's two. C needs three:
    B is gone. Had A kept its place before B, C would have taken A's second block."""
    trace = small_trace([A[:9], B[:5], A[:9], C[:9], A[:9], B[:5]])
    assert cached(trace, CacheConfig("hash", 4, 20)) == [0, 0, 8, 0, 8, 0]


def test_partial_block_is_reused_first() -> None:
    """4 blocks: A leaves a1, a2 and a partial one. B needs two: it gets A's partial block, which is
    at the queue's head, and the untouched one, so A keeps both."""
    trace = small_trace([A[:9], B[:8], A[:9]])
    assert cached(trace, CacheConfig("hash", 4, 16)) == [0, 0, 8]


@pytest.mark.parametrize(("append_unkeyed", "hit"), [(False, 4), (True, 0)])
def test_older_free_order_keeps_partial_blocks(append_unkeyed: bool, hit: int) -> None:
    """2 blocks: A takes one whole, B one partial. C's single block comes from the queue's head:
    B's partial one, or with the older order A's whole one, which was freed first."""
    trace = small_trace([A[:4], B[:1], C[:1], A[:5]])
    config = CacheConfig("hash", 4, 8, append_unkeyed=append_unkeyed)
    assert cached(trace, config) == [0, 0, 0, hit]


def test_outputs_extend_the_next_turn_but_their_last_token_has_no_kv() -> None:
    """Prompt 4 + output 5 known tokens: 8 tokens have KV. With 4 output tokens only 7 have."""
    longer = small_trace([A[:4], A[:12]], [A[:5], 1])
    assert cached(longer, CacheConfig("hash", 4), outputs=True) == [0, 8]
    assert cached(longer, CacheConfig("hash", 4), outputs=False) == [0, 4]
    shorter = small_trace([A[:4], A[:12]], [A[:4], 1])
    assert cached(shorter, CacheConfig("hash", 4), outputs=True) == [0, 4]


def test_unknown_outputs_are_unique() -> None:
    """Two equal prompts with unknown outputs share the prompt only."""
    trace = small_trace([A[:4], A[:4]], [9, 9])
    left = replay(trace, CacheConfig("hash", 4), outputs=True).cache.flat
    assert (left.holder != 0).sum() == 1 + 2 + 2


def test_rejected_requests_leave_the_cache_alone() -> None:
    """3 blocks hold 12 tokens: 13 can never fit, with or without outputs."""
    trace = small_trace([A[:9], B[:13], A[:9]], [1, 1, 5])
    config = CacheConfig("hash", 4, 12)
    assert cached(trace, config) == [0, -1, 8]
    assert cached(trace, config, outputs=True) == [0, -1, -1]


def test_none_never_hits_and_exact_hits_whole_prompts_only() -> None:
    trace = small_trace([A[:9], A[:9], A[:13], A[:9] + B[:1], A[:9]])
    assert cached(trace, CacheConfig("none", 4)) == [0, 0, 0, 0, 0]
    assert cached(trace, CacheConfig("exact", 4)) == [0, 8, 0, 0, 8]
    assert cached(trace, CacheConfig("hash", 4)) == [0, 8, 8, 8, 8]


def test_exact_needs_every_block() -> None:
    """3 blocks: B takes A's last two. Two of A's were usable, so nothing of A counts any more."""
    trace = small_trace([A[:12], B[:8], A[:12]])
    assert cached(trace, CacheConfig("exact", 4, 12)) == [0, 0, 0]
    assert cached(trace, CacheConfig("hash", 4, 12)) == [0, 0, 4]


@pytest.mark.parametrize("index", ["hash", "radix", "exact"])
def test_tenants_never_share(index: str) -> None:
    trace = small_trace([A[:9]] * 4, salt=[1, 2, 0, 1])
    assert cached(trace, CacheConfig(index, 4)) == [0, 0, 0, 8]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"index": "tree"}, "unknown policy 'tree'; known: none, exact, hash, radix"),
        ({"eviction": "foo"}, "unknown eviction 'foo'; known: lru, lfu"),
        ({"index": "hash", "eviction": "lfu"}, "needs --policy radix"),
        ({"block_size": 3}, "block size 3 is not a power of two"),
        ({"block_size": 1024}, "block size 1024 is not a power of two from 1 to 512"),
        ({"kv_tokens": 15}, "15 tokens holds no block of 16 tokens; raise --kv-tokens"),
    ],
)
def test_impossible_configurations_say_what_to_do(config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        CacheConfig(**config)  # type: ignore[arg-type]
    assert message in str(raised.value)
