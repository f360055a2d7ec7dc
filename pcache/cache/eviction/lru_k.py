"""LRU-K with K = 2: the unit whose last reference but one lies furthest back goes first.

Units with one known reference go before all others, the least recent first. A reference is a look-up
that found or inserted the content; what follows within the same request is none. References are
remembered after eviction, for as much content as the cache holds, so that content which comes back
soon is not taken for new.
Rule: O'Neil, O'Neil and Weikum, "The LRU-K Page Replacement Algorithm For Database Disk Buffering",
SIGMOD 1993. Cost: logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, state_of
from pcache.cache.eviction.ghosts import (
    drop_oldest_ghost,
    forget_ghost,
    ghost_group,
    ghost_mark,
    remember_ghost,
)
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, HIT, INSERTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 1, "ghosts": True, "amounts": 2}

GHOST = 1


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`mark` is when the unit was last referenced, `previous` when before that (0: not known)."""
    here = p.units[unit]
    if event == INSERTED:
        here.mark = here.tick
        here.previous = ghost_mark(p, here.key) if ghost_group(p, here.key) == GHOST else 0
        forget_ghost(p, here.key)
    elif event == HIT:
        here.previous, here.mark = here.mark, here.tick
    elif event == EVICTABLE:
        put(p.units, p.roots, 1, unit, here.previous, here.tick)
    elif event == VICTIM:
        return p.roots[1]
    elif event == EVICTED and other == 0:
        remember_ghost(p, GHOST, unit)
        while p.amounts[GHOST] > p.facts[0].capacity:
            drop_oldest_ghost(p, GHOST)
    return 0


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
