"""2Q: what came once waits in a short queue; only what comes back joins the long one.

New content enters A1in, served first in, first out. When it leaves, its key stays for a while as a
ghost in A1out. Content whose key is found there joins Am, served least recently used. A1in may fill a
quarter of the cache, A1out remembers half a cache of content. Hits in A1in change nothing.
Rule and shares: Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management
Replacement Algorithm", VLDB 1994. Cost: logarithmic.
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
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, INSERTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 2, "ghosts": True, "amounts": 3}

A1IN, AM = 1, 2
A1OUT = 1
IN_A1IN = 0
"""In `amounts`: blocks of A1in. The other two are the ghosts'."""


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`mark` is when the unit entered its queue."""
    here = p.units[unit]
    if event == INSERTED:
        here.group = AM if ghost_group(p, here.key) == A1OUT else A1IN
        here.mark = here.tick
        forget_ghost(p, here.key)
        p.amounts[IN_A1IN] += here.blocks if here.group == A1IN else 0
    elif event == EVICTABLE:
        put(p.units, p.roots, here.group, unit, here.mark if here.group == A1IN else here.tick,
            -here.position)  # fmt: skip
    elif event == VICTIM:
        full = p.amounts[IN_A1IN] > p.facts[0].capacity // 4
        first, second = (A1IN, AM) if full else (AM, A1IN)
        return p.roots[first] if p.roots[first] != 0 else p.roots[second]
    elif event == EVICTED and here.group == A1IN:
        p.amounts[IN_A1IN] -= here.blocks
        if other == 0:
            remember_ghost(p, A1OUT, unit)
            while p.amounts[A1OUT] > p.facts[0].capacity // 2:
                drop_oldest_ghost(p, A1OUT)
    return 0


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
