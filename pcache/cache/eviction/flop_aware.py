"""FLOP-aware eviction, as in Marconi: recency and the FLOPs that a unit saves, on one scale.

A unit's utility is its recency, 0 for the oldest unit and 1 for now, plus ALPHA times its FLOPs saved a
byte of KV, 0 for a block at the prompt's start and 1 for the deepest block seen (`recompute.py`). The
least useful goes. The scale of recency is the age of the oldest evictable unit; a utility is settled
when its unit becomes evictable and settled anew when it would be named.
Rule: Pan and others, "Marconi: Prefix Caching for the Era of Hybrid LLMs", MLSys 2025. It tunes ALPHA
by replaying a window of past requests; here it is fixed. All layers are attention here, so a byte of KV
saves little more at depth, and the effect is smaller than for hybrid models. Cost: logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, ordered, state_of
from pcache.cache.eviction.queues import put, take_out
from pcache.cache.eviction.recompute import cost_a_block
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 1, "numbers": 2}

ALPHA = 1.0
DEEPEST, SPAN = 0, 1
"""In `numbers`: the highest cost a block so far, and the last victim's age in ticks."""


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`score` is the utility in ticks."""
    here = p.units[unit]
    if event == EVICTABLE:
        _settle(p, unit)
    elif event == VICTIM:
        unit = p.roots[1]
        before = p.units[unit].score
        take_out(p.units, p.roots, unit)
        _settle(p, unit)
        return p.roots[1] if p.units[unit].score > before else unit
    elif event == EVICTED and other == 0:
        p.numbers[SPAN] = p.facts[0].tick - here.tick
    return 0


@hot
def _settle(p: PolicyState, unit: int) -> None:
    here = p.units[unit]
    cost = cost_a_block(p, unit)
    p.numbers[DEEPEST] = max(p.numbers[DEEPEST], cost)
    saved = (cost - 1.0) / max(p.numbers[DEEPEST] - 1.0, 1e-9)
    here.score = here.tick + ALPHA * p.numbers[SPAN] * saved
    put(p.units, p.roots, 1, unit, ordered(here.score), here.tick)


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
