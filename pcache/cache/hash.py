"""Prefix cache by block hash, as vLLM 0.33 keeps it: one entry a block, found by its chained key.

A block becomes matchable when it is allocated, before its step has run. Finding it does not make it
recent; being freed does. Eviction is reuse: the block at the head of the free queue loses its key
when it is handed out. Blocks are freed tail first, so a prefix outlives what follows it, and a block
without a key (a partial last block) goes to the head to be reused first. Equal blocks are never
merged; look-up takes the one that got its key first. Cost: constant time a block.

With an eviction policy the free queue holds blocks without a key only, and the policy names which
cached block goes next, among those that no cached block follows.

The same code with keying switched off is `none`, and on a forest that shares nothing between
different prompts, all or nothing, it is `exact`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.cache.events import ALLOCATE, EVICT, SHARE, EventLog, emit
from pcache.cache.eviction.seam import (
    EVICTABLE,
    EVICTED,
    EXPIRED,
    HIT,
    PINNED,
    RELEASED,
    VICTIM,
    WITHDRAWN,
    notify,
    notify_inserted,
)  # fmt: skip
from pcache.cache.free_queue import close_ring, pop_free, push_free, unlink
from pcache.cache.keys import BlockKeys, path_place
from pcache.cache.rows import Rows
from pcache.jit import hot, records, wide
from pcache.types import I4, Records

__all__ = [
    "HashCache", "hash_admit", "hash_cache", "hash_commit", "hash_expire", "hash_extend",
    "hash_lookup", "hash_release", "hash_unplan",
]  # fmt: skip


class HashCache(NamedTuple):
    """`holder[key]` is the first block with that key (0: none).

    `blocks[b]` has the free queue's links, `users` (running requests that hold it), `key` + 1 (0:
    none), `next_holder` of the same key, and `generated`: 1 where it holds tokens beyond its
    writer's prompt. With a policy also `parent_key` (-1: none), the `children` of its key that are
    cached (at the key's first holder), and `offered`: 1 where the policy may name it.

    `state[0]` has the three switches of `hash_cache`, the `free` blocks, the `idle` ones among them
    that have a key, keyed blocks of generated tokens, the evictions so far, the generated blocks of
    the last admission's hit, and the policy (`policy` 0: none).
    """

    holder: I4
    blocks: Records
    state: Records


def hash_cache(
    keys: BlockKeys, num_blocks: int, *, keyed: bool, all_or_nothing: bool, append_unkeyed: bool
) -> HashCache:
    """An empty cache. `append_unkeyed` is vLLM's older free order: every block to the tail."""
    blocks = records(
        num_blocks + 1, next_shift=np.int64, previous_shift=np.int64, users=np.int64,
        key=np.int64, next_holder=np.int64, generated=np.int64, parent_key=np.int64,
        children=np.int64, offered=np.int64,
    )  # fmt: skip
    close_ring(blocks)
    state = records(
        1, keyed=np.int64, all_or_nothing=np.int64, append_unkeyed=np.int64, free=np.int64,
        idle=np.int64, num_generated=np.int64, evicted=np.int64, generated_hits=np.int64,
        policy=np.int64, policy_table=np.int64, policy_events=np.int64,
    )  # fmt: skip
    state[0].keyed, state[0].all_or_nothing = keyed, all_or_nothing
    state[0].append_unkeyed, state[0].free = append_unkeyed, num_blocks
    return HashCache(np.zeros(int(keys.sizes[1]) if keyed else 0, np.int32), blocks, state)


@hot
def hash_lookup(keys: BlockKeys, cache: HashCache, rows: Rows, row: int, num_tokens: int) -> int:
    """Leading blocks of the row's request that are cached; at most num_tokens - 1 tokens count."""
    if cache.state[0].keyed == 0:
        return 0
    limit = (num_tokens - 1) // keys.sizes[0]
    hits = 0
    for place in range(rows.at[row].path_length):
        node = keys.nodes[rows.path[row, place]]
        stop = min(node.end_block, limit)
        if hits < stop:
            hits = _end_of_cached(cache.holder, node.key_base, hits, stop)
        if hits < stop:
            break
    if cache.state[0].all_or_nothing == 1 and hits < limit:
        return 0
    return hits


@hot
def _end_of_cached(holder: I4, base: int, first: int, stop: int) -> int:
    """Where the cached blocks among first ≤ k < stop end. Blocks are freed tail first, so whoever
    keeps a block alive keeps those before it: what is cached is a prefix, and bisection finds it."""
    if holder[base + stop - 1] != 0:
        return stop
    while first < stop:
        middle = (first + stop) // 2
        if holder[base + middle] != 0:
            first = middle + 1
        else:
            stop = middle
    return first


@hot
def hash_admit(
    keys: BlockKeys, cache: HashCache, rows: Rows, log: EventLog,
    row: int, hits: int, fit_tokens: int, first_tokens: int,
) -> bool:  # fmt: skip
    """Pin `hits` blocks and allocate up to `first_tokens`; False, changing nothing, if `fit_tokens`
    (the whole prompt) would not fit into the free blocks now."""
    size, state = keys.sizes[0], cache.state[0]
    needed = (fit_tokens + size - 1) // size - hits
    if needed > state.free:
        return False
    free_hits = 0
    block = 0
    for place in range(rows.at[row].path_length):
        node = keys.nodes[rows.path[row, place]]
        while block < min(node.end_block, hits):
            held = wide(cache.holder[node.key_base + block])
            rows.table[row, block] = held
            free_hits += cache.blocks[held].users == 0
            block += 1
    if needed + free_hits > state.free:
        return False
    state.free -= free_hits
    state.idle -= free_hits
    state.generated_hits = 0
    for block in range(hits):
        held = wide(rows.table[row, block])
        if cache.blocks[held].users == 0 and state.policy == 0:
            unlink(cache.blocks, held)
        cache.blocks[held].users += 1
        state.generated_hits += cache.blocks[held].generated
        emit(log, SHARE, rows.at[row].request, block, held, 1)
    if state.policy != 0:
        _tell_of_hits(cache, rows, row, hits)
    rows.at[row].num_blocks = rows.at[row].indexed_blocks = hits
    return hash_extend(keys, cache, rows, log, row, first_tokens)


@hot
def _tell_of_hits(cache: HashCache, rows: Rows, row: int, hits: int) -> None:
    """The policy hears of the row's first blocks, which are pinned by now, deepest first."""
    for block in range(hits - 1, -1, -1):
        held = wide(rows.table[row, block])
        if cache.blocks[held].users == 1:
            _offer(cache, held)
            notify(cache.state, PINNED, held, 0)
        notify(cache.state, HIT, held, 0)


@hot
def hash_extend(
    keys: BlockKeys, cache: HashCache, rows: Rows, log: EventLog, row: int, num_tokens: int
) -> bool:
    """Allocate until the row holds `num_tokens`; False, changing nothing, if too few are free."""
    size = keys.sizes[0]
    held = rows.at[row].num_blocks
    wanted = (num_tokens + size - 1) // size
    if wanted <= held:
        return True
    if wanted - held > cache.state[0].free:
        return False
    for position in range(held, wanted):
        if cache.state[0].policy != 0 and cache.blocks[0].next_shift == -1:
            block = _named_victim(cache)
        else:
            block = pop_free(cache.blocks)
        if cache.blocks[block].key != 0:
            _forget(cache, block, 0)
            cache.state[0].evicted += 1
            cache.state[0].idle -= 1
            emit(log, EVICT, -1, 0, block, 1)
        cache.blocks[block].users = 1
        rows.table[row, position] = block
        emit(log, ALLOCATE, rows.at[row].request, position, block, 1)
    cache.state[0].free -= wanted - held
    rows.at[row].num_blocks = wanted
    return True


@hot
def _named_victim(cache: HashCache) -> int:
    block = notify(cache.state, VICTIM, 0, 0)
    if block <= 0 or block >= len(cache.blocks) or cache.blocks[block].offered == 0:
        raise ValueError("the eviction policy named a block that is not evictable")
    return block


@hot
def hash_expire(cache: HashCache, log: EventLog) -> None:
    """Free the blocks whose time is over, as the policy says."""
    while True:
        block = notify(cache.state, EXPIRED, 0, 0)
        if block == 0:
            return
        if cache.blocks[block].offered == 0:
            raise ValueError("the eviction policy let a block expire that is not evictable")
        _forget(cache, block, 1)
        cache.state[0].evicted += 1
        cache.state[0].idle -= 1
        push_free(cache.blocks, block, True)
        emit(log, EVICT, -1, 0, block, 1)


@hot
def hash_commit(
    keys: BlockKeys, cache: HashCache, rows: Rows, row: int, num_tokens: int, prompt_tokens: int
) -> None:
    """Give keys to the row's full blocks within `num_tokens`; called right after allocation."""
    size = keys.sizes[0]
    full = num_tokens // size
    block = rows.at[row].indexed_blocks
    if cache.state[0].keyed == 0 or block >= full:
        return
    place = 0
    while block < full:
        place = path_place(keys.nodes, rows.path[row], place, block)
        node = keys.nodes[rows.path[row, place]]
        while block < min(full, node.end_block):
            held = wide(rows.table[row, block])
            _remember(cache, held, node.key_base + block, wide((block + 1) * size > prompt_tokens))
            if cache.state[0].policy != 0:
                _tell_of_insertion(cache, rows, row, block)
            block += 1
    rows.at[row].indexed_blocks = full


@hot
def _tell_of_insertion(cache: HashCache, rows: Rows, row: int, position: int) -> None:
    """The row's block at `position` has just got its key: count it as a child, tell the policy."""
    block = wide(rows.table[row, position])
    here, parent = cache.blocks[block], 0
    here.parent_key, here.children, here.offered = -1, 0, 0
    first = wide(cache.holder[here.key - 1])
    if position > 0:
        here.parent_key = cache.blocks[rows.table[row, position - 1]].key - 1
        parent = wide(cache.holder[here.parent_key])
        if first == block:
            cache.blocks[parent].children += 1
            _offer(cache, parent)
    if first != block:
        _offer(cache, first)
    notify_inserted(cache.state, block, parent, here.key - 1, position, 1, here.generated)
    notify(cache.state, PINNED, block, 0)


@hot
def _offer(cache: HashCache, block: int) -> None:
    """Tell the policy if it may now name `block`, or no longer. A block that others follow must stay
    unless its key has another holder."""
    here = cache.blocks[block]
    first = cache.blocks[cache.holder[here.key - 1]]
    free = here.users == 0 and (first.children == 0 or first.next_holder != 0)
    if free != (here.offered == 1):
        here.offered = int(free)
        notify(cache.state, EVICTABLE if free else WITHDRAWN, block, 0)


@hot
def hash_unplan(cache: HashCache, rows: Rows, row: int, indexed_before: int) -> None:
    """Take back the keys that blocks from `indexed_before` on gained in a plan that will not run."""
    for position in range(rows.at[row].indexed_blocks - 1, indexed_before - 1, -1):
        _forget(cache, wide(rows.table[row, position]), 1)
    rows.at[row].indexed_blocks = min(rows.at[row].indexed_blocks, indexed_before)


@hot
def hash_release(cache: HashCache, rows: Rows, row: int) -> None:
    """Give back all blocks of the row, tail first."""
    for position in range(rows.at[row].num_blocks - 1, -1, -1):
        block = wide(rows.table[row, position])
        cache.blocks[block].users -= 1
        if cache.blocks[block].users == 0:
            unkeyed = cache.blocks[block].key == 0
            if cache.state[0].policy != 0 and not unkeyed:
                notify(cache.state, RELEASED, block, 0)
                _offer(cache, block)
            else:
                push_free(cache.blocks, block, unkeyed and cache.state[0].append_unkeyed == 0)
            cache.state[0].free += 1
            cache.state[0].idle += not unkeyed
    rows.at[row].num_blocks = rows.at[row].indexed_blocks = 0


@hot
def _remember(cache: HashCache, block: int, key: int, generated: int) -> None:
    """Key a block, behind the blocks that already have this key."""
    here, state = cache.blocks[block], cache.state[0]
    here.key, here.next_holder, here.generated = key + 1, 0, generated
    state.num_generated += generated
    other = wide(cache.holder[key])
    if other == 0:
        cache.holder[key] = block
        return
    while cache.blocks[other].next_holder != 0:
        other = cache.blocks[other].next_holder
    cache.blocks[other].next_holder = block


@hot
def _forget(cache: HashCache, block: int, unused: int) -> None:
    """Take a block's key away; `unused` 1 where that is not for room."""
    here, state = cache.blocks[block], cache.state[0]
    key = here.key - 1
    here.key = 0
    state.num_generated -= here.generated
    other = wide(cache.holder[key])
    if other == block:
        cache.holder[key] = here.next_holder
        if state.policy != 0 and here.next_holder != 0:
            cache.blocks[here.next_holder].children = here.children
    else:
        while cache.blocks[other].next_holder != block:
            other = cache.blocks[other].next_holder
        cache.blocks[other].next_holder = here.next_holder
    if state.policy != 0:
        here.offered = 0
        notify(cache.state, EVICTED, block, unused)
        _tell_family(cache, key, here.parent_key)


@hot
def _tell_family(cache: HashCache, key: int, parent_key: int) -> None:
    """A holder of `key` is gone: the only one left may have to stay now, or the parent may go."""
    left = wide(cache.holder[key])
    if left != 0:
        _offer(cache, left)
    elif parent_key >= 0 and cache.holder[parent_key] != 0:
        parent = wide(cache.holder[parent_key])
        cache.blocks[parent].children -= 1
        _offer(cache, parent)
