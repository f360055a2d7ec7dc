"""Serial replay through the plain caches, one request after another."""

from __future__ import annotations

from reference.hash_cache import HashCache, Row
from reference.radix_cache import RadixCache
from small_traces import all_tokens

from pcache.cache.contract import CacheConfig
from pcache.types import Trace

__all__ = ["plain_cache", "plain_replay", "plain_row"]


def plain_cache(config: CacheConfig) -> HashCache | RadixCache:
    """The plain counterpart of a configuration; unlimited means more blocks than any test needs."""
    num_blocks = 10**4 if config.kv_tokens is None else config.kv_tokens // config.block_size
    if config.index == "radix":
        return RadixCache(config.block_size, num_blocks, config.eviction)
    return HashCache(
        config.block_size, num_blocks, index=config.index, append_unkeyed=config.append_unkeyed
    )


def plain_row(trace: Trace, request: int) -> Row:
    """A request with all its tokens, holding nothing."""
    return Row(
        request, all_tokens(trace, request), int(trace.prompt_tokens[request]),
        int(trace.salt[request]),
    )  # fmt: skip


def plain_replay(
    trace: Trace, config: CacheConfig, *, outputs: bool = False, chunk_tokens: int = 0
) -> list[int]:
    """Cached prompt tokens of every request; -1 where it can never fit."""
    cache, cached = plain_cache(config), []
    for request in range(len(trace)):
        row, priority = plain_row(trace, request), int(trace.priority[request])
        total = len(row.tokens) - 1 if outputs else row.prompt
        if cache.rejects(total):
            cached.append(-1)
            continue
        hits = cache.lookup(row, row.prompt)
        done = hits * config.block_size
        cached.append(done)
        ends = [row.prompt]
        if chunk_tokens:
            ends = [*range(done + chunk_tokens, row.prompt, chunk_tokens), row.prompt]
        for number, end in enumerate(ends):
            if number == 0:
                assert cache.admit(row, hits, row.prompt, end)
            else:
                assert cache.extend(row, end, end - done)
            cache.planned(row, end)
            cache.computed(row, end, priority)
            done = end
        for held in range(row.prompt + 1, total + 1):
            assert cache.extend(row, held, 0)
            cache.planned(row, held)
        if total > row.prompt:
            cache.computed(row, total, priority)
        cache.release(row)
    return cached
