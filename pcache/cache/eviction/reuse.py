"""Workload-aware eviction: the unit that is least likely to be used again while it could stay.

Requests of one workload class and turn reuse their KV alike. For each such kind the policy counts how
many idle times ended in a hit and how many in an eviction, and how long the former were; an exponential
law of that mean gives the probability of a hit within the time that a unit now stays in the cache,
given how long it has waited. The least probable goes; of equals the deeper one. Within a kind the one
that waits longest is the least probable, so only one unit a kind has to be looked at.
Rule: Wang and others, "KVCache Cache in the Wild", USENIX ATC 2025, which fits the law to a day's log;
here it is fitted as the trace goes. Where it says nothing of classes and turns this is recency.
Cost: logarithmic, and a step for each of the 64 kinds at a victim.
"""

from __future__ import annotations

import math

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, state_of
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, HIT, RELEASED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

CLASSES, TURNS = 16, 4
"""Kinds told apart: classes beyond that share, turns beyond the fourth are alike."""
KINDS = CLASSES * TURNS
HITS, EVICTIONS, WAITED_NS = 0, KINDS, 2 * KINDS
STAY_NS, NUM_STAYS = 3 * KINDS, 3 * KINDS + 1
"""Places in `numbers`."""

needs = {"queues": KINDS, "numbers": 3 * KINDS + 2}


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`group` is the kind of the request that released the unit last; `mark` is 1 while it is idle."""
    here, numbers = p.units[unit], p.numbers
    if event == HIT:
        if here.mark == 1:
            numbers[HITS + here.group] += here.blocks
            numbers[WAITED_NS + here.group] += here.blocks * here.waited_ns
        here.mark = 0
    elif event == RELEASED:
        at = p.requests[here.request]
        here.group = at.workload_class % CLASSES * TURNS + min(max(at.turn, 0), TURNS - 1)
        here.mark = 1
    elif event == EVICTABLE:
        put(p.units, p.roots, 1 + here.group, unit, here.tick, 0)
    elif event == VICTIM:
        return _victim(p)
    elif event == EVICTED and other == 0:
        numbers[EVICTIONS + here.group] += here.blocks
        numbers[STAY_NS] += here.blocks * (p.facts[0].now_ns - here.used_ns)
        numbers[NUM_STAYS] += here.blocks
    return 0


@hot
def _victim(p: PolicyState) -> int:
    best, least = 0, 2.0
    for kind in range(KINDS):
        unit = p.roots[1 + kind]
        if unit == 0:
            continue
        probability = _reuse_probability(p, kind, float(p.facts[0].now_ns - p.units[unit].used_ns))
        deeper = p.units[unit].position > p.units[best].position
        if probability < least or (probability == least and deeper):
            best, least = unit, probability
    return best


@hot
def _reuse_probability(p: PolicyState, kind: int, waited_ns: float) -> float:
    """That a unit of this kind, unused for so long, is hit before it would be evicted."""
    numbers = p.numbers
    share = (numbers[HITS + kind] + 1.0) / (numbers[HITS + kind] + numbers[EVICTIONS + kind] + 2.0)
    mean_ns = max((numbers[WAITED_NS + kind] + 1e9) / (numbers[HITS + kind] + 1.0), 1.0)
    stay_ns = (numbers[STAY_NS] + 1e9) / (numbers[NUM_STAYS] + 1.0)
    unanswered = math.exp(-waited_ns / mean_ns)
    still_to_come = share * unanswered
    return still_to_come * (1.0 - math.exp(-stay_ns / mean_ns)) / (1.0 - share + still_to_come)


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
