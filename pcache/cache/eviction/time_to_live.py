"""The rule of the policies `ttl-…`: recency, and an end to it."""

from __future__ import annotations

from pcache.cache.eviction.compiled import PolicyState
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.seam import EVICTABLE, EXPIRED, VICTIM
from pcache.jit import hot

__all__ = ["expire_after"]


@hot
def expire_after(p: PolicyState, event: int, unit: int, ttl_ns: int) -> int:
    """React to an event: the least recently used goes, and what was not used for `ttl_ns`."""
    oldest = p.roots[1]
    if event == EVICTABLE:
        put(p.units, p.roots, 1, unit, p.units[unit].tick, 0)
    elif event == VICTIM or (
        event == EXPIRED and oldest != 0 and p.facts[0].now_ns - p.units[oldest].used_ns > ttl_ns
    ):
        return oldest
    return 0
