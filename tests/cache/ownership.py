"""Who owns which block, read from a cache's own state, and what must hold of it at any time."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

from pcache.cache.contract import (
    KIND,
    NUM_BLOCKS,
    RADIX,
    Cache,
    cached_blocks,
    evicted_blocks,
    pinned_blocks,
)  # fmt: skip
from pcache.cache.events import ALLOCATE, EVICT, REPOINT, SHARE
from pcache.cache.tree import TREE_ROOT


def run_blocks(cache: Cache, run: int) -> list[int]:
    """Block ids of a list of runs."""
    ids: list[int] = []
    while run != 0:
        here = cache.radix.runs.run[run]
        ids.extend(range(here.first, here.first + here.count))
        run = int(here.next)
    return ids


def tree_nodes(cache: Cache) -> list[int]:
    """Numbers of the nodes below the root, parents before children."""
    nodes, found, todo = cache.radix.tree.nodes, [], [TREE_ROOT]
    while todo:
        child = int(nodes[todo.pop()].first_child)
        while child != 0:
            found.append(child)
            todo.append(child)
            child = int(nodes[child].next_sibling)
    return found


def row_blocks(cache: Cache, row: int) -> list[int]:
    """The block table of a row."""
    at = cache.rows.at[row]
    if cache.settings[KIND] != RADIX:
        return [int(block) for block in cache.rows.table[row, : at.num_blocks]]
    shared: list[int] = []
    node = int(at.locked_node)
    while node > TREE_ROOT:
        shared = run_blocks(cache, int(cache.radix.tree.nodes[node].run)) + shared
        node = int(cache.radix.tree.nodes[node].parent)
    return shared + run_blocks(cache, int(at.first_run))


def check_flat(cache: Cache, alive: list[int]) -> None:
    """The free queue holds each block without users once, with an eviction policy only those without
    a key; holders and keys agree."""
    blocks, num_blocks = cache.flat.blocks, int(cache.settings[NUM_BLOCKS])
    queue, at = [], int(1 + blocks[0].next_shift)
    while at != 0:
        queue.append(at)
        at = int(at + 1 + blocks[at].next_shift)
    users = Counter(block for row in alive for block in row_blocks(cache, row))
    everything = range(1, num_blocks + 1)
    assert [int(blocks[block].users) for block in everything] == [users[b] for b in everything]
    free = [block for block in everything if users[block] == 0]
    with_policy = cache.flat.state[0].policy != 0
    assert sorted(queue) == [b for b in free if not with_policy or blocks[b].key == 0]
    assert cache.flat.state[0].free == len(free)
    assert cached_blocks(cache) == sum(int(blocks[block].key != 0) for block in free)
    keyed = {block for block in everything if blocks[block].key != 0}
    held = [int(block) for block in cache.flat.holder if block != 0]
    for block in held:
        keyed.remove(block)
        while (following := int(blocks[block].next_holder)) != 0:
            assert blocks[following].key == blocks[block].key
            keyed.remove(following)
            block = following
    assert not keyed


def check_tree(cache: Cache, alive: list[int]) -> None:
    """Every block is free, private or in the tree, once; locks count the rows that pass."""
    nodes, runs = cache.radix.tree.nodes, cache.radix.runs
    free = []
    for kind, height in enumerate(runs.height):
        for entry in runs.stack[kind, :height]:
            free.extend(range(entry.first, entry.first + entry.count))
    passing: Counter[int] = Counter()
    for row in alive:
        node = int(cache.rows.at[row].locked_node)
        while node > TREE_ROOT:
            passing[node] += 1
            node = int(nodes[node].parent)
    below = tree_nodes(cache)
    in_tree = {node: run_blocks(cache, int(nodes[node].run)) for node in below}
    assert all(len(ids) == nodes[node].stop - nodes[node].start for node, ids in in_tree.items())
    private = [run_blocks(cache, int(cache.rows.at[row].first_run)) for row in alive]
    everything = sorted(chain(free, *private, *in_tree.values()))
    assert everything == list(range(1, int(cache.settings[NUM_BLOCKS]) + 1))
    assert {node: int(nodes[node].locks) for node in below} == {n: passing[n] for n in below}
    evictable = sum(len(ids) for node, ids in in_tree.items() if passing[node] == 0)
    assert cached_blocks(cache) == evictable
    assert runs.state[0].free == len(free)


def check(cache: Cache, alive: list[int]) -> None:
    """All invariants, with rows `alive` admitted."""
    (check_tree if cache.settings[KIND] == RADIX else check_flat)(cache, alive)
    pinned = {block for row in alive for block in row_blocks(cache, row)}
    assert pinned_blocks(cache) == len(pinned)


class Ledger:
    """Block tables as the event log alone tells them, with the rules of ownership."""

    def __init__(self) -> None:
        self.tables: dict[int, dict[int, int]] = {}
        self.evicted = 0

    def replay(self, events: Any) -> None:
        for _, kind, request, position, first, count in events.tolist():
            blocks = range(first, first + count)
            pinned = {block for table in self.tables.values() for block in table.values()}
            table = self.tables.setdefault(request, {}) if request >= 0 else {}
            if kind in (ALLOCATE, EVICT):
                assert not pinned.intersection(blocks), "taken from a live request"
            self.evicted += count if kind == EVICT else 0
            if kind in (ALLOCATE, SHARE, REPOINT):
                table.update(zip(range(position, position + count), blocks, strict=True))

    def release(self, request: int) -> None:
        self.tables.pop(request, None)

    def check(self, cache: Cache, alive: dict[int, int]) -> None:
        """`alive` is row → request."""
        for row, request in alive.items():
            table = self.tables.get(request, {})
            assert [table[k] for k in sorted(table)] == row_blocks(cache, row)
        assert self.evicted == evicted_blocks(cache)
