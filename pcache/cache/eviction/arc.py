"""ARC: recency and frequency share the cache, and ghosts move the border between them.

Content seen once is in T1, content seen again in T2, both served least recently used. What leaves them
stays as a ghost in B1 or B2. A return that B1 remembers says that T1 was too small: its target grows;
one that B2 remembers lets it shrink; each by the ratio of the ghosts' amounts, as in the paper. T1 with
B1 stay within one cache of content, all four within two. There is one difference: a cache of prefixes
makes room before it knows what will be inserted, so the target moves after that room is made.
Rule: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003. No parameters.
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
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, HIT, INSERTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 2, "ghosts": True, "amounts": 5}

ONCE, AGAIN = 1, 2
"""Queues T1 and T2; ghosts B1 and B2."""
TARGET, IN_T1, IN_T2 = 0, 3, 4
"""In `amounts`, in blocks; 1 and 2 are the ghosts'."""


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`group` is T1 or T2."""
    here, amounts = p.units[unit], p.amounts
    if event == INSERTED:
        found = ghost_group(p, here.key)
        _move_target(p, found, here.blocks)
        forget_ghost(p, here.key)
        here.group = ONCE if found == 0 else AGAIN
        amounts[IN_T1 if found == 0 else IN_T2] += here.blocks
    elif event == HIT and here.group == ONCE:
        here.group = AGAIN
        amounts[IN_T1] -= here.blocks
        amounts[IN_T2] += here.blocks
    elif event == EVICTABLE:
        put(p.units, p.roots, here.group, unit, here.tick, 0)
    elif event == VICTIM:
        first = ONCE if amounts[IN_T1] > amounts[TARGET] else AGAIN
        return p.roots[first] if p.roots[first] != 0 else p.roots[3 - first]
    elif event == EVICTED:
        amounts[IN_T1 if here.group == ONCE else IN_T2] -= here.blocks
        if other == 0:
            remember_ghost(p, here.group, unit)
            _trim(p)
    return 0


@hot
def _move_target(p: PolicyState, found: int, blocks: int) -> None:
    """A ghost of B1 came back: T1 may have more; one of B2: less."""
    amounts, capacity = p.amounts, p.facts[0].capacity
    if found == ONCE:
        step = max(1, amounts[AGAIN] // max(1, amounts[ONCE])) * blocks
        amounts[TARGET] = min(capacity, amounts[TARGET] + step)
    elif found == AGAIN:
        step = max(1, amounts[ONCE] // max(1, amounts[AGAIN])) * blocks
        amounts[TARGET] = max(0, amounts[TARGET] - step)


@hot
def _trim(p: PolicyState) -> None:
    """Forget the oldest ghosts beyond what the paper lets ARC remember."""
    amounts, capacity = p.amounts, p.facts[0].capacity
    while amounts[ONCE] > 0 and amounts[IN_T1] + amounts[ONCE] > capacity:
        drop_oldest_ghost(p, ONCE)
    while amounts[AGAIN] > 0 and (
        amounts[IN_T1] + amounts[IN_T2] + amounts[ONCE] + amounts[AGAIN] > 2 * capacity
    ):
        drop_oldest_ghost(p, AGAIN)


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
