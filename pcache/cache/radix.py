"""Prefix cache as a radix tree, as SGLang 0.5.23 keeps it (`RadixCache`).

A prompt's blocks become matchable after the step that computed them: they are inserted then, and
blocks that somebody else inserted first are freed in favour of the tree's. Looking up changes the
tree: a node that matches in part is split, and the whole path, with the unmatched remainder of its
last node, becomes recent. Eviction takes whole leaves, in one of seven orders or as an eviction policy
says, until enough blocks are free. Cost: one operation a forest node or block run that is passed.
"""

from __future__ import annotations

from typing import NamedTuple

from pcache.cache.events import ALLOCATE, EVICT, REPOINT, SHARE, EventLog, emit
from pcache.cache.eviction.heap import heap_pop
from pcache.cache.eviction.orders import POLICY
from pcache.cache.eviction.seam import (
    EVICTED,
    EXPIRED,
    HIT,
    VICTIM,
    notify,
    notify_inserted,
    notify_split,
)  # fmt: skip
from pcache.cache.keys import BlockKeys, path_place
from pcache.cache.rows import Rows
from pcache.cache.runs import BlockRuns, free_runs, split_runs, take_run
from pcache.cache.tree import (
    TREE_ROOT,
    RadixTree,
    append_child,
    child_starting_at,
    first_key,
    lock,
    new_node,
    newly_pinned,
    next_tick,
    offer,
    remove_leaf,
    reorder_victim,
    shared_end,
    split,
    touch,
    unlock,
)  # fmt: skip
from pcache.jit import hot, wide

__all__ = [
    "Radix", "radix_admit", "radix_expire", "radix_extend", "radix_insert", "radix_match",
    "radix_release",
]  # fmt: skip


class Radix(NamedTuple):
    """The tree and the physical blocks behind it."""

    tree: RadixTree
    runs: BlockRuns


@hot
def _split_node(keys: BlockKeys, radix: Radix, node: int, block: int) -> int:
    """Cut a node and its blocks before `block`; the upper part."""
    kept = block - radix.tree.nodes[node].start
    upper = split(keys, radix.tree, node, block)
    radix.tree.nodes[upper].run = radix.tree.nodes[node].run
    radix.tree.nodes[node].run = split_runs(radix.runs, radix.tree.nodes[node].run, kept)
    if radix.tree.state[0].order == POLICY:
        notify_split(radix.tree.state, node, upper, first_key(keys, radix.tree, node), block)
    return upper


@hot
def _start_walk(tree: RadixTree, rows: Rows, row: int) -> int:
    """Mark the row's forest path with a new tick, which the root gets too; the tick."""
    tick = next_tick(tree)
    tree.nodes[TREE_ROOT].last_access = tick
    for place in range(rows.at[row].path_length):
        tree.forest[rows.path[row, place]].mark = tick
    return tick


@hot
def radix_match(
    keys: BlockKeys, radix: Radix, rows: Rows, row: int, limit_blocks: int
) -> tuple[int, int]:
    """Longest cached prefix of the row's request within `limit_blocks`: its blocks and its node.

    Changes the tree: splits at the end of the match, refreshes what it passes.
    """
    tree = radix.tree
    tree.state[0].generated_hits = 0
    node, depth, place = TREE_ROOT, 0, 0
    if limit_blocks == 0:
        return depth, node
    tick = _start_walk(tree, rows, row)
    while depth < limit_blocks:
        place = path_place(keys.nodes, rows.path[row], place, depth)
        child = child_starting_at(tree, rows.path[row, place], depth)
        if child == 0:
            break
        touch(tree, child, tick)
        end = min(shared_end(keys, tree, child, tick), limit_blocks)
        whole = end == tree.nodes[child].stop
        node = child if whole else _split_node(keys, radix, child, end)
        tree.state[0].generated_hits += tree.nodes[node].generated * (end - depth)
        depth = end
        if not whole:
            break
    return depth, node


@hot
def _evict(keys: BlockKeys, radix: Radix, log: EventLog, blocks: int) -> None:
    """Free whole leaves until at least `blocks` are gained or nothing may be evicted."""
    tree = radix.tree
    gained = 0
    if tree.state[0].order == POLICY:
        while gained < blocks and tree.state[0].num_offered > 0:
            node = notify(tree.state, VICTIM, 0, 0)
            gained += _evict_named(keys, radix, log, node, 0)
    while gained < blocks and tree.heap.size[0] > 0:
        node = heap_pop(tree.heap)
        if node >= 0:
            gained += _evict_leaf(keys, radix, log, node)


@hot
def _evict_named(keys: BlockKeys, radix: Radix, log: EventLog, node: int, unused: int) -> int:
    """Free the leaf that the policy named; its blocks."""
    tree = radix.tree
    if node <= TREE_ROOT or node >= len(tree.nodes) or tree.nodes[node].offered == 0:
        raise ValueError("the eviction policy named a node that is not evictable")
    tree.nodes[node].offered = 0
    tree.state[0].num_offered -= 1
    notify(tree.state, EVICTED, node, unused)
    return _evict_leaf(keys, radix, log, node)


@hot
def _evict_leaf(keys: BlockKeys, radix: Radix, log: EventLog, node: int) -> int:
    """Free an evictable leaf; its blocks."""
    tree, runs = radix.tree, radix.runs
    run = tree.nodes[node].run if log.cursor[0].enabled else 0
    while run != 0:
        emit(log, EVICT, -1, 0, runs.run[run].first, runs.run[run].count)
        run = runs.run[run].next
    freed = free_runs(runs, tree.nodes[node].run)
    tree.state[0].evictable -= freed
    tree.state[0].evicted += freed
    tree.state[0].num_generated -= freed * tree.nodes[node].generated
    remove_leaf(keys, tree, node)
    return freed


@hot
def radix_expire(keys: BlockKeys, radix: Radix, log: EventLog) -> None:
    """Free the leaves whose time is over, as the policy says."""
    node = notify(radix.tree.state, EXPIRED, 0, 0)
    while node != 0:
        _evict_named(keys, radix, log, node, 1)
        node = notify(radix.tree.state, EXPIRED, 0, 0)


@hot
def _prefill_demand(size: int, new_tokens: int) -> int:
    """Blocks that SGLang wants free before it prefills `new_tokens`: a block more than they need at
    most, when a block holds several tokens."""
    return new_tokens if size == 1 else (new_tokens + size + size - 1) // size


@hot
def radix_extend(
    keys: BlockKeys, radix: Radix, rows: Rows, log: EventLog, row: int, num_tokens: int,
    prefill_tokens: int,
) -> bool:  # fmt: skip
    """Allocate until the row holds `num_tokens`, evicting as needed; False if it cannot fit.

    `prefill_tokens` is what the step prefills. A decode (0) wants one block free in every step,
    whether or not it needs it, as SGLang's allocation does.
    """
    size = keys.sizes[0]
    at = rows.at[row]
    needed = max(0, (num_tokens + size - 1) // size - at.num_blocks)
    free = radix.runs.state[0].free
    demand = _prefill_demand(size, prefill_tokens) if prefill_tokens > 0 else 1
    if demand > free:
        if needed > free + radix.tree.state[0].evictable:
            return False
        _evict(keys, radix, log, demand - free)
    while needed > 0:
        run = take_run(radix.runs, needed)
        here = radix.runs.run[run]
        emit(log, ALLOCATE, at.request, at.num_blocks, here.first, here.count)
        if at.first_run == 0:
            at.first_run = run
        else:
            radix.runs.run[at.last_run].next = run
        at.last_run = run
        at.num_blocks += here.count
        needed -= here.count
    return True


@hot
def radix_admit(
    keys: BlockKeys, radix: Radix, rows: Rows, log: EventLog,
    row: int, hits: int, node: int, fit_tokens: int, first_tokens: int,
) -> bool:  # fmt: skip
    """Pin a match and allocate up to `first_tokens`; False, pinning nothing, if `fit_tokens` (the
    whole prompt) would not fit into free and evictable blocks."""
    tree = radix.tree
    matched = hits * keys.sizes[0]
    available = radix.runs.state[0].free + tree.state[0].evictable - newly_pinned(tree, node)
    if _prefill_demand(keys.sizes[0], fit_tokens - matched) > available:
        return False
    lock(tree, node)
    passed = node if tree.state[0].order == POLICY else TREE_ROOT
    while passed > TREE_ROOT:
        notify(tree.state, HIT, passed, 0)
        passed = tree.nodes[passed].parent
    at = rows.at[row]
    at.num_blocks = at.indexed_blocks = hits
    at.locked_node, at.inserted_tokens = node, 0
    _emit_path(radix, rows, log, row, SHARE, 0)
    return radix_extend(keys, radix, rows, log, row, first_tokens, first_tokens - matched)


@hot
def _emit_path(radix: Radix, rows: Rows, log: EventLog, row: int, kind: int, start: int) -> None:
    """Log the tree's blocks from position `start` on along the row's locked path, deepest first."""
    if log.cursor[0].enabled == 0:
        return
    node = radix.tree.nodes[rows.at[row].locked_node]
    while node.stop > start and node.run != 0:
        position, run = node.start, node.run
        while run != 0:
            here = radix.runs.run[run]
            skip = max(0, start - position)
            if skip < here.count:
                emit(log, kind, rows.at[row].request, position + skip, here.first + skip,
                     here.count - skip)  # fmt: skip
            position += here.count
            run = here.next
        node = radix.tree.nodes[node.parent]


@hot
def _insert_known(
    keys: BlockKeys, radix: Radix, rows: Rows, row: int, num_blocks: int, priority: int,
    inserted_tokens: int,
) -> tuple[int, int]:  # fmt: skip
    """Walk the blocks that are in the tree already, splitting where they end; their number, node."""
    tree = radix.tree
    tick = _start_walk(tree, rows, row)
    node, depth, place = TREE_ROOT, 0, 0
    while depth < num_blocks:
        place = path_place(keys.nodes, rows.path[row], place, depth)
        child = child_starting_at(tree, rows.path[row, place], depth)
        if child == 0:
            break
        touch(tree, child, tick)
        end = min(shared_end(keys, tree, child, tick), num_blocks)
        node = child if end == tree.nodes[child].stop else _split_node(keys, radix, child, end)
        at = tree.nodes[node]
        at.priority = max(at.priority, priority)
        if end * keys.sizes[0] > inserted_tokens:
            at.hits += 1
        reorder_victim(tree, node)
        depth = end
    return depth, node


@hot
def radix_insert(
    keys: BlockKeys, radix: Radix, rows: Rows, log: EventLog,
    row: int, num_tokens: int, prompt_tokens: int, priority: int,
) -> None:  # fmt: skip
    """Make the row's full blocks within `num_tokens` matchable and pin them through the tree.

    Blocks that are in the tree already are freed and replaced by the tree's. When generated tokens
    are among the new ones, the leaf is split where the prompt ends, and the prompt's part becomes
    more urgent by one, so that outputs can go before the prompt.
    """
    size = keys.sizes[0]
    stop, prompt_blocks = num_tokens // size, prompt_tokens // size
    at = rows.at[row]
    indexed = at.indexed_blocks
    known, node = _insert_known(keys, radix, rows, row, stop, priority, at.inserted_tokens)
    if known > indexed:
        duplicates = at.first_run
        _cut_private_runs(radix, rows, row, known - indexed)
        free_runs(radix.runs, duplicates)
    if known < stop:
        generated = wide(known >= prompt_blocks)
        _append_leaf(keys, radix, rows, row, node, known, stop, generated, priority)
    at.inserted_tokens = max(at.inserted_tokens, stop * size)
    if 0 < prompt_blocks < stop:
        _insert_known(keys, radix, rows, row, prompt_blocks, priority + 1, prompt_blocks * size)
    _, node = radix_match(keys, radix, rows, row, stop)
    lock(radix.tree, node)  # first, so that what the row held stays held
    unlock(radix.tree, at.locked_node)
    at.locked_node, at.indexed_blocks = node, stop
    if known > indexed:
        _emit_path(radix, rows, log, row, REPOINT, indexed)


@hot
def _cut_private_runs(radix: Radix, rows: Rows, row: int, blocks: int) -> None:
    """Drop the row's first private `blocks` from its list; the caller keeps the old head."""
    at = rows.at[row]
    rest = split_runs(radix.runs, at.first_run, blocks)
    at.first_run = rest
    if rest == 0 or radix.runs.run[rest].next == 0:
        at.last_run = rest


@hot
def _append_leaf(
    keys: BlockKeys, radix: Radix, rows: Rows, row: int, parent: int, start: int, stop: int,
    generated: int, priority: int,
) -> None:  # fmt: skip
    """Hang the row's next private blocks below `parent` as a new leaf."""
    tree = radix.tree
    place = path_place(keys.nodes, rows.path[row], 0, stop - 1)
    leaf = new_node(keys, tree, parent, start, stop, rows.path[row, place], priority)
    at = tree.nodes[leaf]
    at.run, at.generated = rows.at[row].first_run, generated
    _cut_private_runs(radix, rows, row, stop - start)
    if stop * keys.sizes[0] > rows.at[row].inserted_tokens:
        at.hits = 1
    append_child(tree, parent, leaf)
    tree.state[0].evictable += stop - start
    tree.state[0].num_generated += (stop - start) * generated
    if tree.state[0].order == POLICY:
        above = 0 if parent == TREE_ROOT else parent
        key = first_key(keys, tree, leaf)
        notify_inserted(tree.state, leaf, above, key, start, stop - start, generated)
    else:
        offer(tree, leaf)


@hot
def radix_release(radix: Radix, rows: Rows, row: int) -> None:
    """Free the row's private blocks and unpin its path. Nothing is inserted."""
    at = rows.at[row]
    free_runs(radix.runs, at.first_run)
    unlock(radix.tree, at.locked_node)
    at.first_run = at.last_run = at.locked_node = 0
    at.num_blocks = at.indexed_blocks = 0
