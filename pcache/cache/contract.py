"""The prefix cache that scheduler, simulator and GPU engine share: one contract, four indexes.

The life of a request: `lookup` (longest cached prefix) → `admit` (pin it, allocate the first tokens)
→ per step `planned` (what was allocated; `hash` makes it matchable here) and `computed` (what has
run; `radix` makes it matchable here) → `extend` for the next tokens → … → `release`. Blocks are
physical ids, so the same decisions move real memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcache.cache.events import EventLog, event_log
from pcache.cache.eviction.contract import Setting
from pcache.cache.eviction.orders import EVICTION_ORDERS, POLICY
from pcache.cache.eviction.registry import (
    attach_policy,
    check_eviction,
    policy_failures,
    short_name,
)  # fmt: skip
from pcache.cache.eviction.seam import EXPIRED, MOMENT, hears, notify
from pcache.cache.hash import (
    HashCache,
    hash_admit,
    hash_cache,
    hash_commit,
    hash_expire,
    hash_extend,
    hash_lookup,
    hash_release,
    hash_unplan,
)  # fmt: skip
from pcache.cache.keys import BlockKeys, block_keys
from pcache.cache.radix import (
    Radix,
    radix_admit,
    radix_expire,
    radix_extend,
    radix_insert,
    radix_match,
    radix_release,
)  # fmt: skip
from pcache.cache.rows import Rows, make_rows
from pcache.cache.runs import block_runs
from pcache.cache.tree import radix_tree
from pcache.errors import ConfigError
from pcache.jit import hot
from pcache.prefixes import PrefixForest, separate_prompts
from pcache.types import I8, Trace

__all__ = [
    "INDEXES",
    "KIND",
    "NOW_NS",
    "RADIX",
    "Cache",
    "CacheConfig",
    "admit",
    "cached_blocks",
    "computed",
    "evicted_blocks",
    "eviction_failures",
    "extend",
    "generated_blocks",
    "generated_hits",
    "lookup",
    "make_cache",
    "pinned_blocks",
    "planned",
    "rejects",
    "release",
    "unplan",
]  # fmt: skip

NONE, EXACT, HASH, RADIX = range(4)
INDEXES: Mapping[str, int] = {"none": NONE, "exact": EXACT, "hash": HASH, "radix": RADIX}
"""Name on the command line → kind of index."""

KIND, BLOCK_SIZE, NUM_BLOCKS, MATCHED_NODE, NOW_NS = range(5)

AMPLE_NODES = 1 << 20
FINEST_CUT_TOKENS = 64
"""Room in the radix tree: a node a block at most; with more than this many blocks, what requests
parting and prefill chunks of these tokens can cut. Room that stays unused costs no memory."""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """One policy. `kv_tokens` None means unlimited; capacity is kv_tokens // block_size blocks.

    `append_unkeyed` is vLLM's older free order, in which partial blocks join the tail too.
    """

    index: str = "radix"
    block_size: int = 16
    kv_tokens: int | None = None
    eviction: str = "lru"
    append_unkeyed: bool = False

    def __post_init__(self) -> None:
        if self.index not in INDEXES:
            raise ConfigError(f"unknown policy {self.index!r}; known: {', '.join(INDEXES)}")
        check_eviction(self.index, self.eviction)
        size = self.block_size
        if not 1 <= size <= 512 or size & (size - 1):
            raise ConfigError(f"block size {size} is not a power of two from 1 to 512")
        if self.kv_tokens is not None and self.kv_tokens < size:
            raise ConfigError(
                f"a capacity of {self.kv_tokens} tokens holds no block of {size} tokens; "
                "raise --kv-tokens or lower --block-size"
            )

    @property
    def label(self) -> str:
        """Short name for tables, such as `hash/16` or `radix/1 lfu`."""
        suffix = f" {short_name(self.eviction)}" if self.eviction != "lru" else ""
        return f"{self.index}/{self.block_size}{suffix}{' append' if self.append_unkeyed else ''}"

    def rejects(self, num_tokens: int) -> bool:
        """As the function `rejects` of a cache made from this."""
        if self.kv_tokens is None:
            return False
        num_blocks = self.kv_tokens // self.block_size
        return _exceeds(INDEXES[self.index], self.block_size, num_blocks, num_tokens)


class Cache(NamedTuple):
    """All state of one cache. `settings` is indexed by KIND, BLOCK_SIZE, NUM_BLOCKS, MATCHED_NODE and
    NOW_NS, the time that an eviction policy is told."""

    settings: I8
    keys: BlockKeys
    rows: Rows
    flat: HashCache
    radix: Radix
    log: EventLog


def make_cache(
    config: CacheConfig, trace: Trace, forest: PrefixForest, *, num_rows: int, log_rows: int = 0,
    chunk_tokens: int = 0,
) -> Cache:  # fmt: skip
    """An empty cache for the requests of `trace`, at most `num_rows` of them admitted at once.

    `chunk_tokens` is how finely prefill is cut (0: not at all), since `radix` keeps the cuts.
    Blocks beyond what the whole trace can fill have no state.
    """
    size, kind = config.block_size, INDEXES[config.index]
    keys = block_keys(separate_prompts(forest) if kind == EXACT else forest, size)
    longest = -(-(trace.prompt_tokens.astype(np.int64) + trace.output_tokens) // size)
    unlimited = int(longest.sum()) + num_rows
    num_blocks = unlimited
    if config.kv_tokens is not None:
        num_blocks = min(config.kv_tokens // size, unlimited)
    if num_blocks >= 2**31 - 2:
        raise ConfigError(f"{num_blocks:,} blocks are more than pcache can number; use larger ones")
    tree_blocks, flat_blocks = (num_blocks, 0) if kind == RADIX else (0, num_blocks)
    cuts = int(longest.sum()) * size // min(chunk_tokens or FINEST_CUT_TOKENS, FINEST_CUT_TOKENS)
    max_nodes = 3 + min(tree_blocks, max(AMPLE_NODES, 4 * len(forest.parent) + cuts))
    max_row_blocks = 0 if kind == RADIX else int(longest.max(initial=1))
    flat = hash_cache(
        keys, flat_blocks, keyed=kind in (EXACT, HASH), all_or_nothing=kind == EXACT,
        append_unkeyed=config.append_unkeyed,
    )  # fmt: skip
    tree = radix_tree(keys, max_nodes, EVICTION_ORDERS.get(config.eviction, POLICY))
    settings = np.array([kind, size, num_blocks, 0, 0], np.int64)
    if config.eviction not in EVICTION_ORDERS:
        num_units = max_nodes if kind == RADIX else num_blocks + 1
        setting = Setting(config.index, size, num_blocks, num_units, int(keys.sizes[1]))
        attach_policy(config.eviction, setting, trace, (tree if kind == RADIX else flat).state)
    return Cache(
        settings, keys, make_rows(keys, num_rows, max_row_blocks), flat,
        Radix(tree, block_runs(tree_blocks)), event_log(log_rows),
    )  # fmt: skip


def eviction_failures(cache: Cache) -> AbstractContextManager[None]:
    """Around calls of `cache`: what its eviction policy raised meanwhile is raised at the end."""
    return policy_failures(cache.flat.state, cache.radix.tree.state)


@hot
def rejects(cache: Cache, num_tokens: int) -> bool:
    """Whether a request of `num_tokens` (prompt and cached outputs) can never fit, even alone."""
    settings = cache.settings
    return _exceeds(settings[KIND], settings[BLOCK_SIZE], settings[NUM_BLOCKS], num_tokens)


@hot
def _exceeds(kind: int, size: int, num_blocks: int, num_tokens: int) -> bool:
    if kind == RADIX and size > 1:
        return num_tokens + size > num_blocks * size
    return (num_tokens + size - 1) // size > num_blocks


@hot
def _tell_moment(cache: Cache, row: int) -> None:
    """An eviction policy learns for which request, and when, the next things happen."""
    request, now_ns = cache.rows.at[row].request, cache.settings[NOW_NS]
    if cache.settings[KIND] == RADIX:
        notify(cache.radix.tree.state, MOMENT, request, now_ns)
    else:
        notify(cache.flat.state, MOMENT, request, now_ns)


@hot
def lookup(cache: Cache, row: int, num_tokens: int) -> int:
    """Cached leading blocks of the request bound to `row`, within num_tokens - 1 tokens.

    Under `radix` this splits and refreshes the tree; elsewhere it changes nothing, except that an
    eviction policy may let blocks expire.
    """
    _tell_moment(cache, row)
    if cache.settings[KIND] != RADIX:
        if hears(cache.flat.state, EXPIRED):
            hash_expire(cache.flat, cache.log)
        return hash_lookup(cache.keys, cache.flat, cache.rows, row, num_tokens)
    if hears(cache.radix.tree.state, EXPIRED):
        radix_expire(cache.keys, cache.radix, cache.log)
    limit = (num_tokens - 1) // cache.settings[BLOCK_SIZE]
    hits, node = radix_match(cache.keys, cache.radix, cache.rows, row, limit)
    cache.settings[MATCHED_NODE] = node
    return hits


@hot
def admit(cache: Cache, row: int, hits: int, fit_tokens: int, first_tokens: int) -> bool:
    """Pin the `hits` blocks of the look-up just made and allocate up to `first_tokens` tokens.

    False, with nothing pinned or allocated, if `fit_tokens` tokens would not fit now.
    """
    if cache.settings[KIND] != RADIX:
        return hash_admit(
            cache.keys, cache.flat, cache.rows, cache.log, row, hits, fit_tokens, first_tokens
        )
    return radix_admit(
        cache.keys, cache.radix, cache.rows, cache.log, row, hits, cache.settings[MATCHED_NODE],
        fit_tokens, first_tokens,
    )  # fmt: skip


@hot
def extend(cache: Cache, row: int, num_tokens: int, prefill_tokens: int) -> bool:
    """Allocate until `row` holds `num_tokens`; False, changing nothing, if that does not fit.

    `prefill_tokens` is what the step prefills for it, 0 for a decode.
    """
    _tell_moment(cache, row)
    if cache.settings[KIND] != RADIX:
        return hash_extend(cache.keys, cache.flat, cache.rows, cache.log, row, num_tokens)
    return radix_extend(
        cache.keys, cache.radix, cache.rows, cache.log, row, num_tokens, prefill_tokens
    )


@hot
def planned(cache: Cache, row: int, num_tokens: int, prompt_tokens: int) -> None:
    """A step that will compute the row's first `num_tokens` tokens is planned."""
    _tell_moment(cache, row)
    if cache.settings[KIND] != RADIX:
        hash_commit(cache.keys, cache.flat, cache.rows, row, num_tokens, prompt_tokens)


@hot
def unplan(cache: Cache, row: int, indexed_before: int) -> None:
    """The row's part of the plan will not run: what became matchable since is taken back.

    Nobody may have shared it since: a plan that preempts admits nobody.
    """
    _tell_moment(cache, row)
    if cache.settings[KIND] != RADIX:
        hash_unplan(cache.flat, cache.rows, row, indexed_before)


@hot
def computed(cache: Cache, row: int, num_tokens: int, prompt_tokens: int, priority: int) -> None:
    """The row's first `num_tokens` tokens have been computed: a prefill chunk, or all at the end."""
    _tell_moment(cache, row)
    if cache.settings[KIND] == RADIX:
        radix_insert(
            cache.keys, cache.radix, cache.rows, cache.log, row, num_tokens, prompt_tokens, priority
        )


@hot
def release(cache: Cache, row: int) -> None:
    """The row gives back all its blocks; what is matchable stays until it is evicted."""
    _tell_moment(cache, row)
    if cache.settings[KIND] == RADIX:
        radix_release(cache.radix, cache.rows, row)
    else:
        hash_release(cache.flat, cache.rows, row)


@hot
def pinned_blocks(cache: Cache) -> int:
    """Blocks that admitted requests hold."""
    if cache.settings[KIND] != RADIX:
        return cache.settings[NUM_BLOCKS] - cache.flat.state[0].free
    free = cache.radix.runs.state[0].free + cache.radix.tree.state[0].evictable
    return cache.settings[NUM_BLOCKS] - free


@hot
def cached_blocks(cache: Cache) -> int:
    """Blocks that are matchable and that no admitted request holds: what eviction may take."""
    if cache.settings[KIND] == RADIX:
        return cache.radix.tree.state[0].evictable
    return cache.flat.state[0].idle


@hot
def generated_blocks(cache: Cache) -> int:
    """Matchable blocks, pinned or not, that hold generated tokens."""
    if cache.settings[KIND] == RADIX:
        return cache.radix.tree.state[0].num_generated
    return cache.flat.state[0].num_generated


@hot
def generated_hits(cache: Cache) -> int:
    """Blocks of the last admission's hit that hold generated tokens."""
    if cache.settings[KIND] == RADIX:
        return cache.radix.tree.state[0].generated_hits
    return cache.flat.state[0].generated_hits


@hot
def evicted_blocks(cache: Cache) -> int:
    """Blocks evicted so far."""
    if cache.settings[KIND] == RADIX:
        return cache.radix.tree.state[0].evicted
    return cache.flat.state[0].evicted
