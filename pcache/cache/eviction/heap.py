"""The queue of eviction candidates: a binary heap that is corrected lazily.

Whoever changes a candidate offers it again, and an entry counts only if it is the candidate's latest.
When entries that no longer count fill the heap, they are dropped. Cost: logarithmic in the number of
entries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import I8, Records

__all__ = ["VictimHeap", "heap_pop", "heap_push", "victim_heap", "withdraw"]


class VictimHeap(NamedTuple):
    """`entry[k]` has `first`, `second`, `node`, `version`; `latest[node]` is the node's version,
    `size[0]` the number of entries."""

    entry: Records
    latest: I8
    size: I8


def victim_heap(max_nodes: int) -> VictimHeap:
    """An empty heap for nodes 0 … max_nodes - 1, with room for stale entries."""
    fields = {"first": np.int64, "second": np.int64, "node": np.int64, "version": np.int64}
    entry = records(2 * max_nodes + 64, **fields)
    return VictimHeap(entry, np.zeros(max_nodes, np.int64), np.zeros(1, np.int64))


@hot
def _before(entry: Records, left: int, right: int) -> bool:
    if entry[left].first != entry[right].first:
        return entry[left].first < entry[right].first
    return entry[left].second < entry[right].second


@hot
def _swap(entry: Records, left: int, right: int) -> None:
    a, b = entry[left], entry[right]
    a.first, b.first = b.first, a.first
    a.second, b.second = b.second, a.second
    a.node, b.node = b.node, a.node
    a.version, b.version = b.version, a.version


@hot
def heap_push(heap: VictimHeap, node: int, first: int, second: int) -> None:
    """Offer `node` with a new key; its earlier entries no longer count."""
    heap.latest[node] += 1
    if heap.size[0] == len(heap.entry):
        _drop_stale(heap)
    at = heap.size[0]
    heap.size[0] += 1
    here = heap.entry[at]
    here.first, here.second, here.node, here.version = first, second, node, heap.latest[node]
    _rise(heap.entry, at)


@hot
def _rise(entry: Records, at: int) -> None:
    while at > 0 and _before(entry, at, (at - 1) // 2):
        _swap(entry, at, (at - 1) // 2)
        at = (at - 1) // 2


@hot
def _drop_stale(heap: VictimHeap) -> None:
    entry, kept = heap.entry, 0
    for at in range(heap.size[0]):
        if entry[at].version == heap.latest[entry[at].node]:
            if kept < at:
                _swap(entry, kept, at)
            _rise(entry, kept)
            kept += 1
    heap.size[0] = kept


@hot
def withdraw(heap: VictimHeap, node: int) -> None:
    """`node` is no candidate any more."""
    heap.latest[node] += 1


@hot
def heap_pop(heap: VictimHeap) -> int:
    """Remove the smallest entry; its node if the entry is the node's latest, else -1."""
    node, version = heap.entry[0].node, heap.entry[0].version
    heap.size[0] -= 1
    size = heap.size[0]
    _swap(heap.entry, 0, size)
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap.entry, child + 1, child):
            child += 1
        if not _before(heap.entry, child, at):
            break
        _swap(heap.entry, at, child)
        at = child
    return node if version == heap.latest[node] else -1
