"""TTL of one hour: content that was not used for so long is gone, whether or not room is needed.

Every use starts the time anew, as the providers' prompt caches have it. Room is made by recency. Cost:
logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, note, state_of
from pcache.cache.eviction.time_to_live import expire_after

__all__ = ["entry", "needs"]

needs = {"queues": 1, "expires": True}

TTL_NS = 3600 * 10**9


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return expire_after(p, event, unit, TTL_NS)
