"""SGLang's seven eviction orders for the radix tree.

An order maps a leaf's metadata to a pair of integers; the leaf with the smallest pair goes first.
Recency and creation are ticks of one logical clock, so no two leaves ever tie.
"""

from __future__ import annotations

from pcache.jit import hot

__all__ = ["EVICTION_ORDERS", "POLICY", "eviction_key"]

LRU, LFU, FIFO, MRU, FILO, SLRU, PRIORITY, POLICY = range(8)
EVICTION_ORDERS: dict[str, int] = {
    "lru": LRU, "lfu": LFU, "fifo": FIFO, "mru": MRU, "filo": FILO, "slru": SLRU,
    "priority": PRIORITY,
}  # fmt: skip
"""Name on the command line → order. POLICY is none of them: an eviction policy decides."""

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
