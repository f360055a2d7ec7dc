"""GDSF with the cost of computing again: frequency × cost ÷ size, ageing as the cache turns over.

A unit's value is H = L + (hits + 1) × cost ÷ size, taken when it is inserted or hit. The smallest goes,
and L rises to its value, so that content which is not used again falls behind. The cost is that of
computing the unit's tokens again, which grows with their depth (`recompute.py`).
Rule: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy",
HP Labs 1998. Cost: logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, ordered, state_of
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.recompute import cost_a_block
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, HIT, INSERTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 1, "numbers": 1}

LEVEL = 0
"""L, in `numbers`."""


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`score` is H."""
    here = p.units[unit]
    if event in (INSERTED, HIT):
        here.score = p.numbers[LEVEL] + (here.hits + 1) * cost_a_block(p, unit)
    elif event == EVICTABLE:
        put(p.units, p.roots, 1, unit, ordered(here.score), here.tick)
    elif event == VICTIM:
        return p.roots[1]
    elif event == EVICTED and other == 0:
        p.numbers[LEVEL] = max(p.numbers[LEVEL], here.score)
    return 0


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
