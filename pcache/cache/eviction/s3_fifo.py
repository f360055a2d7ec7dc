"""S3-FIFO: three first-in-first-out queues; what is not asked for soon leaves quickly.

New content enters the small queue, a tenth of the cache. What was hit more than once there moves on to
the main queue; the rest leaves and is remembered in a ghost queue of as much content as the main queue
holds. Content that the ghost queue remembers enters the main queue at once. The main queue gives what
was hit another round, one for each hit, three at most.
Rule and sizes: Yang, Zhang, Qiu, Yue and Vinayak, "FIFO queues are all you need for cache eviction",
SOSP 2023. A unit that others continue cannot be named; it keeps its turn and is named when it can.
Cost: logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, state_of
from pcache.cache.eviction.ghosts import (
    drop_oldest_ghost,
    forget_ghost,
    ghost_group,
    remember_ghost,
)
from pcache.cache.eviction.queues import put, take_out
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, HIT, INSERTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 2, "ghosts": True, "amounts": 3}

SMALL, MAIN = 1, 2
GHOST = 1
IN_SMALL, IN_MAIN = 0, 2
"""In `amounts`, in blocks; 1 is the ghosts'."""
MOST_HITS = 3


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`mark` is when the unit entered its queue, `previous` its hits since."""
    here = p.units[unit]
    if event == INSERTED:
        _enter(p, unit, MAIN if ghost_group(p, here.key) == GHOST else SMALL)
        forget_ghost(p, here.key)
    elif event == HIT:
        here.previous = min(here.previous + 1, MOST_HITS)
    elif event == EVICTABLE:
        put(p.units, p.roots, here.group, unit, here.mark, -here.position)
    elif event == VICTIM:
        return _victim(p)
    elif event == EVICTED:
        p.amounts[IN_SMALL if here.group == SMALL else IN_MAIN] -= here.blocks
        if here.group == SMALL and other == 0:
            remember_ghost(p, GHOST, unit)
            while p.amounts[GHOST] > p.facts[0].capacity - p.facts[0].capacity // 10:
                drop_oldest_ghost(p, GHOST)
    return 0


@hot
def _enter(p: PolicyState, unit: int, group: int) -> None:
    """Go to the end of a queue, with no hits yet."""
    here = p.units[unit]
    here.group, here.previous = group, 0
    p.facts[0].sequence += 1
    here.mark = p.facts[0].sequence
    p.amounts[IN_SMALL if group == SMALL else IN_MAIN] += here.blocks


@hot
def _victim(p: PolicyState) -> int:
    while True:
        full = p.amounts[IN_SMALL] > p.facts[0].capacity // 10
        from_small = p.roots[MAIN] == 0 or (full and p.roots[SMALL] != 0)
        unit = p.roots[SMALL if from_small else MAIN]
        here = p.units[unit]
        if here.previous <= (1 if from_small else 0):
            return unit
        hits = here.previous
        take_out(p.units, p.roots, unit)
        p.amounts[IN_SMALL if from_small else IN_MAIN] -= here.blocks
        _enter(p, unit, MAIN)
        here.previous = 0 if from_small else hits - 1
        put(p.units, p.roots, MAIN, unit, here.mark, 0)


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
