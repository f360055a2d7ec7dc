"""SIEVE: one queue in order of arrival, and a hand that spares what was visited since it last passed.

The hand moves from old to new. It names the first unit that was not hit since its last visit, and takes
the mark of a hit off those that it passes; past the newest it starts over. Nothing ever moves, so old
content that keeps being hit stays and new content is judged soon. The hand passes over units that
others continue.
Rule: Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is Simpler than LRU", NSDI 2024. No parameters.
Cost: logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, state_of
from pcache.cache.eviction.queues import put, take_out
from pcache.cache.eviction.seam import EVICTABLE, HIT, INSERTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 2}

EVEN, ODD = 1, 2
"""Of the two queues one holds what the hand has still to pass in this round, the other the rest."""


@hot
def on_event(p: PolicyState, event: int, unit: int, _other: int) -> int:
    """`mark` is when the unit arrived, `previous` 1 where it was hit since the hand passed. `hand` is
    the `mark` that the hand has reached, `sequence` the number of rounds."""
    here, facts = p.units[unit], p.facts[0]
    if event == INSERTED:
        here.mark = here.tick
    elif event == HIT:
        here.previous = 1
    elif event == EVICTABLE:
        put(p.units, p.roots, _queue(p, here.mark >= facts.hand), unit, here.mark, -here.position)
    elif event == VICTIM:
        return _victim(p)
    return 0


@hot
def _queue(p: PolicyState, ahead: bool) -> int:
    even = p.facts[0].sequence % 2 == 0
    return EVEN if even == ahead else ODD


@hot
def _victim(p: PolicyState) -> int:
    facts = p.facts[0]
    while True:
        unit = p.roots[_queue(p, True)]
        if unit == 0:
            facts.sequence += 1
            facts.hand = 0
            continue
        here = p.units[unit]
        facts.hand = here.mark
        if here.previous == 0:
            return unit
        here.previous = 0
        take_out(p.units, p.roots, unit)
        put(p.units, p.roots, _queue(p, False), unit, here.mark, -here.position)


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
