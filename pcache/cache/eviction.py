"""SGLang's seven eviction orders for the radix tree, and the queue that serves them.

An order maps a leaf's metadata to a pair of integers; the leaf with the smallest pair goes first.
Recency and creation are ticks of one logical clock, so no two leaves ever tie. The queue is a binary
heap that is corrected lazily: whoever changes a leaf offers it again, and an entry counts only if it
is the leaf's latest. Cost: logarithmic in the number of leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import I8, Records

__all__ = [
    "EVICTION_ORDERS", "VictimHeap", "eviction_key", "heap_full", "heap_pop", "heap_push",
    "victim_heap",
]  # fmt: skip

LRU, LFU, FIFO, MRU, FILO, SLRU, PRIORITY = range(7)
EVICTION_ORDERS: dict[str, int] = {
    "lru": LRU, "lfu": LFU, "fifo": FIFO, "mru": MRU, "filo": FILO, "slru": SLRU,
    "priority": PRIORITY,
}  # fmt: skip
"""Name on the command line → order."""

SLRU_PROTECTED_HITS = 2
"""SGLang's default: leaves inserted at least this often are in the protected segment."""


@hot
def eviction_key(
    order: int, last_access: int, creation: int, hits: int, priority: int
) -> tuple[int, int]:
    """Smallest is evicted first. `hits` counts insertions, `priority` is larger for more urgent."""
    if order == LRU:
        return last_access, 0
    if order == LFU:
        return hits, last_access
    if order == FIFO:
        return creation, 0
    if order == MRU:
        return -last_access, 0
    if order == FILO:
        return -creation, 0
    if order == SLRU:
        return int(hits >= SLRU_PROTECTED_HITS), last_access
    return priority, last_access


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
def heap_full(heap: VictimHeap) -> bool:
    """Whether stale entries have filled the heap: the caller empties it and offers all leaves."""
    return heap.size[0] >= len(heap.entry)


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
    at = heap.size[0]
    heap.size[0] += 1
    heap.latest[node] += 1
    here = heap.entry[at]
    here.first, here.second, here.node, here.version = first, second, node, heap.latest[node]
    while at > 0 and _before(heap.entry, at, (at - 1) // 2):
        _swap(heap.entry, at, (at - 1) // 2)
        at = (at - 1) // 2


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
