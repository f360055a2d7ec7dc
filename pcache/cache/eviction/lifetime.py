"""Learned lifetimes, pcache's own policy: keep what promises the most hits for the room it takes.

What it knows. For every content seen: how often it was hit, and how long ago it was last asked for, in
blocks that requests asked for since. Content is in the class of its hits (those above TOP together).
For each class and age, in half octaves, it counts the waits that ended in a hit and those that have not
ended, evicted content included for MEMORY capacities, so that it also learns of waits longer than
anything stays. That gives the chance of a hit at each age; where a class has seen little, all classes
together speak for it, and PRIOR before anything is known.

What it does. A unit of some class and age may be kept until any later age. Each choice has an expected
number of hits and an expected time in the cache; the best ratio of the two is the unit's index (the
Gittins index of a job that may be stopped). The smallest index goes first, of equals the one used less
recently.

Why it works. Prefixes are used either soon or never, or again and again, and where the border lies
differs from trace to trace. LRU always keeps the young; this keeps them only as long as they deserve,
which on the conversation trace is a fraction of what LRU gives them, and gives the room to content that
was hit before. It learns from itself alone: no rates to set, no trace to train on.

Where it loses. It treats all content of a class alike: a session that will go on and one that is over
look the same until they age. It needs some capacities of traffic to learn, and follows a change of the
workload slowly, since it never forgets a count. Where LRU is near the bound already, its rounding to
half octaves costs up to a point.

Parameters: the constants below; they are the same for every trace. Cost: logarithmic, and every eighth
of a capacity a pass over all content known.
"""

from __future__ import annotations

import math

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, ordered, state_of
from pcache.cache.eviction.queues import put
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, HIT, INSERTED, SPLIT, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

TOP = 7
"""Hits that are told apart."""
MEMORY = 8
"""Evicted content is forgotten so many capacities after it went."""
PERIOD = 8
"""Indices are made anew so often in a capacity of asked-for blocks."""
BINS = 64
"""Ages told apart: bin b holds 2^(b/2) <= age + 1 < 2^((b+1)/2)."""
PRIOR = 0.05
"""Chance of a hit in a bin before anything is known; weighs as much as one request."""

CLASSES = TOP + 1
SIZE = CLASSES * BINS
HITS, WAITS, OPEN, INDEX, CHANCE = 0, SIZE, 2 * SIZE, 3 * SIZE, 4 * SIZE
"""Places in `numbers`: waits that ended in a hit; that never will; that have not ended (the latter two
together); the index; and scratch."""
ASKED, SERVED, DUE, REQUESTS, FIRST_KNOWN = range(5)
"""In `amounts`: blocks that the present request has asked for so far, the number of that request plus
1, when indices are due, requests seen, and the head of the list of known content."""

needs = {"queues": 1, "ghosts": True, "amounts": 5, "numbers": 4 * SIZE + BINS}

_KEYS_FROM = 3


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`hand` is the present, in blocks asked for before the present request. Of known content, `mark`
    is when it was asked for last, plus 1; `previous` its hits; `group` the units that hold it; `gone`
    when it was evicted."""
    if event in (HIT, INSERTED):
        _note_use(p, unit)
        p.ghosts[_place(p, unit)].group += int(event == INSERTED)
    elif event == SPLIT:
        _note_split(p, unit, other)
    elif event == EVICTABLE:
        _queue(p, unit)
    elif event == VICTIM:
        if _now(p) >= p.amounts[DUE]:
            _renew(p)
        return p.roots[1]
    elif event == EVICTED:
        content = p.ghosts[_place(p, unit)]
        content.group -= 1
        content.gone = _now(p)
    return 0


@hot
def _place(p: PolicyState, unit: int) -> int:
    return p.units[unit].key + _KEYS_FROM


@hot
def _now(p: PolicyState) -> int:
    """Time goes on when another request is served."""
    facts = p.facts[0]
    if p.amounts[SERVED] != facts.request + 1:
        facts.hand += p.amounts[ASKED]
        p.amounts[REQUESTS] += int(p.amounts[ASKED] > 0)
        p.amounts[ASKED], p.amounts[SERVED] = 0, facts.request + 1
    return facts.hand


@hot
def _note_use(p: PolicyState, unit: int) -> None:
    """Content was asked for: one wait has ended, unless nobody knew of it."""
    here, place, now = p.units[unit], _place(p, unit), _now(p)
    content = p.ghosts[place]
    if content.mark == 0:
        content.previous = 0
        content.after, p.amounts[FIRST_KNOWN] = p.amounts[FIRST_KNOWN], place
    else:
        at = _cell(content.previous, now - content.mark + 1)
        p.numbers[HITS + at] += min(here.blocks, content.blocks)
        content.previous += 1
    content.mark, content.blocks = now + 1, here.blocks
    p.amounts[ASKED] += here.blocks


@hot
def _note_split(p: PolicyState, lower: int, upper: int) -> None:
    """The lower part has another key. What is known of the whole is known of the upper part; the lower
    one has the hits since it was inserted, and those of its own from before."""
    above, place = p.ghosts[_place(p, upper)], _place(p, lower)
    below = p.ghosts[place]
    if below.mark == 0:
        below.after, p.amounts[FIRST_KNOWN] = p.amounts[FIRST_KNOWN], place
        below.previous = 0
    below.mark, below.previous = above.mark, max(below.previous, p.units[lower].hits)
    above.blocks, below.blocks = p.units[upper].blocks, p.units[lower].blocks
    below.group += 1


@hot
def _cell(hits: int, age: int) -> int:
    """Place of a class and an age in a table of `numbers`."""
    age_bin = min(int(2.0 * math.log2(age + 1.0)), BINS - 1)
    return min(hits, TOP) * BINS + age_bin


@hot
def _queue(p: PolicyState, unit: int) -> None:
    """Of equal indices the one used less recently goes first; ticks are never equal."""
    content = p.ghosts[_place(p, unit)]
    index = p.numbers[INDEX + _cell(content.previous, _now(p) - content.mark + 1)]
    put(p.units, p.roots, 1, unit, ordered(index), p.units[unit].tick)


@hot
def _renew(p: PolicyState) -> None:
    """Count what is waiting, make the indices anew, and queue all evictable units by them."""
    facts = p.facts[0]
    p.amounts[DUE] = facts.hand + max(64, facts.capacity // PERIOD)
    _count_waits(p)
    weight = max(1.0, facts.hand / max(p.amounts[REQUESTS], 1))
    for hits in range(CLASSES):
        _chances(p, hits, weight)
        for age_bin in range(BINS):
            p.numbers[INDEX + hits * BINS + age_bin] = _best_ratio(p, age_bin)
    p.roots[1] = 0
    for unit in range(1, len(p.units)):
        if p.units[unit].queue != 0:
            _queue(p, unit)


@hot
def _count_waits(p: PolicyState) -> None:
    """OPEN counts every wait that did not end in a hit. What was evicted too long ago is forgotten."""
    facts, numbers = p.facts[0], p.numbers
    for at in range(SIZE):
        numbers[OPEN + at] = numbers[WAITS + at]
    before, place = 0, p.amounts[FIRST_KNOWN]
    while place != 0:
        content = p.ghosts[place]
        following = content.after
        at = _cell(content.previous, facts.hand - content.mark + 1)
        numbers[OPEN + at] += content.blocks
        if content.group > 0 or facts.hand - content.gone <= MEMORY * facts.capacity:
            before = place
        else:
            numbers[WAITS + at] += content.blocks
            content.mark = 0
            if before == 0:
                p.amounts[FIRST_KNOWN] = following
            else:
                p.ghosts[before].after = following
        place = following


@hot
def _chances(p: PolicyState, hits: int, weight: float) -> None:
    """CHANCE: of a hit in each bin, for content of the class that has reached it. `weight` blocks of
    the average over all classes are added to what the class has seen."""
    numbers = p.numbers
    own_later = all_later = 0.0
    for age_bin in range(BINS - 1, -1, -1):
        all_hits = all_open = 0.0
        for other in range(CLASSES):
            all_hits += numbers[HITS + other * BINS + age_bin]
            all_open += numbers[OPEN + other * BINS + age_bin]
        at = hits * BINS + age_bin
        own_hits, own_open = numbers[HITS + at], numbers[OPEN + at]
        pooled = (all_hits + weight * PRIOR) / (all_later + all_hits + 0.5 * all_open + weight)
        numbers[CHANCE + age_bin] = (own_hits + weight * pooled) / (
            own_later + own_hits + 0.5 * own_open + weight
        )
        own_later += own_hits + own_open
        all_later += all_hits + all_open


@hot
def _best_ratio(p: PolicyState, first_bin: int) -> float:
    """Most hits a block and unit of time that keeping from this age on can give."""
    best = gain = cost = 0.0
    left = 1.0
    for age_bin in range(first_bin, BINS):
        chance = p.numbers[CHANCE + age_bin]
        gain += left * chance
        cost += left * (1.0 - 0.5 * chance) * (2.0 ** ((age_bin + 1) / 2) - 2.0 ** (age_bin / 2))
        left *= 1.0 - chance
        best = max(best, gain / cost)
        if left < 1e-4:
            break
    return best


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
