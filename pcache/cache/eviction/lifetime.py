"""Learned lifetimes, pcache's own policy: keep what promises the most hits for the room it takes.

What it knows. For every content seen: how often it was hit, and how long ago it was last asked for, in
blocks that requests asked for since. Content is in a class by octaves of hits + 1 (0; 1-2; 3-6; …) and
by its kind: in which turn it first came (how often a request had continued what is before it: never,
once, more often), and whether more of that request was not cached than requests ask for on average.
For each class and age, in half octaves, it counts the waits that ended in a hit and those that have not
ended, evicted content included for COHORTS / SHARE capacities, so that it also learns of waits longer
than anything stays; counts fade in twice that time. A triangle over SMOOTH bins to either side levels
what is chance. That gives the chance of a hit at each age by octaves of hits; where an octave has seen
little, all together speak for it, and PRIOR before anything is known. A kind has the chances of its
octave times one factor, its hits to those expected: one number is learned soon, a curve is not.

What it does. A unit of some class and age may be kept until any later age. Each choice has an expected
number of hits and an expected time in the cache; the best ratio of the two is the index of this *cell*
(the Gittins index of a job that may be stopped). What lies in the cell with the smallest index goes
first, the least recently asked for before others.

Why it works. Prefixes are used either soon or never, or again and again, and where the border lies
differs from trace to trace. LRU always keeps the young; this keeps them only as long as they deserve,
which on the conversation trace is a fraction of what LRU gives them, and gives the room to content that
was hit before. What was not hit yet differs by kind: there 28 % of what a first turn brings comes back
and 15 % of what later turns add, and the more comes at once, the less of it. It learns from itself
alone: no rates to set, no trace to train on.

Where it loses. It treats all content of a class alike: of one turn and length, a session that will go
on and one that is over look the same until they age. It needs some capacities of traffic to learn and
as many to follow a change. Where LRU is near the bound already, what it learned late or by chance costs
up to a point. In `radix` a node is known by its first block alone: where evicted nodes come back as one
longer node, the waits of the lower ones seem never to end, and all of it counts as hit as often as its
top.

Parameters: the constants below; they are the same for every trace. Cost: logarithmic, and a pass over
all cells a request, over all cohorts every eighth of a capacity (early on more often).
"""

from __future__ import annotations

import numpy as np
from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, ordered, state_of
from pcache.cache.eviction.queues import put, take_out
from pcache.cache.eviction.seam import EVICTABLE, HIT, INSERTED, SPLIT, VICTIM
from pcache.jit import hot
from pcache.types import Records

__all__ = ["entry", "needs"]

OCTAVES, TURNS = 6, 3
"""Of hits + 1, and turns, that are told apart; the last stands for all above."""
KINDS = 2 * TURNS
CLASSES = OCTAVES * KINDS
BINS = 64
"""Ages told apart: bin b holds 2^(b/2) <= age < 2^((b+1)/2)."""
SMOOTH = 2
"""Bins to either side that speak for a bin."""
SHARE = 32
COHORTS = 512
"""A cohort is what was asked for last within a SHARE-th of a capacity; so many cohorts are known."""
KEPT = 1.0 - 0.5 / COHORTS
"""Share of every count that is left when another cohort starts."""
PERIOD = 8
"""Indices are made anew so often in a capacity of asked-for blocks…"""
EARLY = 128
"""…and, while little is known, whenever all that was asked for has grown by this share."""
PRIOR = 0.05
"""Chance of a hit in a bin before anything is known; weighs as much as one request."""
DOUBT = 4.0
"""Requests' worth of hits as expected that speak against a kind being any different."""

SIZE = CLASSES * BINS
HITS, WAITS, OPEN, RISK, INDEX, CHANCE = 0, SIZE, 2 * SIZE, 3 * SIZE, 4 * SIZE, 5 * SIZE
COUNTS = CHANCE + BINS
COHORT_BLOCKS = COUNTS + 4 * BINS
"""Places in `numbers`, by cell: waits that ended in a hit; that were given up; that did not end in a
hit (given up or still open); that reached the bin; the index. Then by bin the chances of one octave of
hits, and hits and risk of all classes and of that octave; and the blocks of each cohort and class."""
ASKED, SERVED, DUE, REQUESTS, COHORT, AGED, LOWEST, BRINGER, BROUGHT = range(9)
"""In `amounts`: blocks that the present request has asked for so far, the number of that request plus
1, when indices are due, requests seen, the newest cohort, when units were last put into other cells,
a rank below which all cells are empty, the last request of which not all was cached, plus 1, and
whether much was not."""
ORDER = BROUGHT + 1
RANK = ORDER + SIZE
"""From here on in `amounts`: cells by rank, smallest index first, and the rank of each cell."""

needs = {
    "queues": SIZE, "ghosts": True, "amounts": RANK + SIZE,
    "numbers": COHORT_BLOCKS + COHORTS * CLASSES,
}  # fmt: skip

_KEYS_FROM = 3
_LENGTHS = np.diff(2.0 ** (np.arange(BINS + 1) / 2))
"""Of the bins, in blocks asked for."""


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """`hand` is the present, in blocks asked for before the present request. Of known content, `mark`
    is when it was asked for last, plus 1, `previous` its hits, `gone` the request that it came with,
    plus 1, `before` the turn of that, and `group` its kind; of an evictable unit, `mark` is the same
    and `group` the class, both as of when it became evictable."""
    if event in (HIT, INSERTED):
        _note_use(p, unit, event == HIT)
    elif event == SPLIT:
        _note_split(p, unit, other)
    elif event == EVICTABLE:
        _queue(p, unit)
    elif event == VICTIM:
        return _victim(p)
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
        _make_cohorts(p)
    return facts.hand


@hot
def _cohort_length(p: PolicyState) -> int:
    """In blocks asked for."""
    return max(1, p.facts[0].capacity // SHARE)


@hot
def _make_cohorts(p: PolicyState) -> None:
    """Start the cohorts up to the present. The oldest ones' waits are given up; all counts fade."""
    numbers, length = p.numbers, _cohort_length(p)
    given_up = _age_bin(COHORTS * length)
    while p.amounts[COHORT] < p.facts[0].hand // length:
        p.amounts[COHORT] += 1
        for at in range(SIZE):
            numbers[HITS + at] *= KEPT
            numbers[WAITS + at] *= KEPT
        for group in range(CLASSES):
            at = _cohort_at(p.amounts[COHORT], group)
            numbers[WAITS + group * BINS + given_up] += numbers[at]
            numbers[at] = 0.0


@hot
def _cohort_at(cohort: int, group: int) -> int:
    return COHORT_BLOCKS + cohort % COHORTS * CLASSES + group


@hot
def _count(p: PolicyState, place: int, sign: float) -> None:
    """Add known content to its cohort, or with `sign` -1 take it out."""
    content = p.ghosts[place]
    cohort = (content.mark - 1) // _cohort_length(p)
    if content.mark != 0 and cohort > p.amounts[COHORT] - COHORTS:
        p.numbers[_cohort_at(cohort, _class(content))] += sign * content.blocks


@hot
def _class(content: Records) -> int:
    return min(_exponent(content.previous + 1.0), OCTAVES - 1) * KINDS + content.group


@hot
def _age_bin(age: int) -> int:
    return min(_exponent(float(age) * float(age)), BINS - 1)


@hot
def _exponent(value: float) -> int:
    """The logarithm of a value ≥ 1 to base 2, rounded down."""
    return (ordered(value) >> 52) - 1023


@hot
def _note_use(p: PolicyState, unit: int, cached: bool) -> None:
    """Content was asked for: one wait has ended, unless nobody knew of it."""
    here, place, now = p.units[unit], _place(p, unit), _now(p)
    content = p.ghosts[place]
    if not cached:
        _note_length(p, here.position)
    age = now - content.mark + 2
    _count(p, place, -1.0)
    if content.mark == 0 or (not cached and age > COHORTS * _cohort_length(p)):
        content.previous = 0
        _note_kind(p, unit)
    else:
        at = _class(content) * BINS + _age_bin(age)
        p.numbers[HITS + at] += min(here.blocks, content.blocks)
        content.previous += 1
    content.mark, content.blocks = now + 1, here.blocks
    _count(p, place, 1.0)
    p.amounts[ASKED] += here.blocks


@hot
def _note_length(p: PolicyState, position: int) -> None:
    """Whether the present request has more that was not cached, from `position` on, than requests
    ask for on average."""
    facts, amounts = p.facts[0], p.amounts
    if amounts[BRINGER] != facts.request + 1:
        amounts[BRINGER] = facts.request + 1
        blocks = p.requests[facts.request].prompt_tokens // facts.block_size - position
        amounts[BROUGHT] = int(blocks * amounts[REQUESTS] > facts.hand)


@hot
def _note_kind(p: PolicyState, unit: int) -> None:
    """New content: which turn it came with, and whether with much that was not cached."""
    here, content, facts = p.units[unit], p.ghosts[_place(p, unit)], p.facts[0]
    turn = 0
    if here.parent != 0:
        above = p.ghosts[_place(p, here.parent)]
        turn = above.before + int(above.gone != facts.request + 1)
    content.before, content.gone = turn, facts.request + 1
    content.group = min(turn, TURNS - 1) * 2 + p.amounts[BROUGHT]


@hot
def _note_split(p: PolicyState, lower: int, upper: int) -> None:
    """The lower part has another key. What is known of the whole is known of the upper part; the lower
    one has the hits since it was inserted, and those of its own from before."""
    _now(p)
    whole, part = _place(p, upper), _place(p, lower)
    above, below = p.ghosts[whole], p.ghosts[part]
    _count(p, whole, -1.0)
    _count(p, part, -1.0)
    below.previous = max(below.previous if below.mark != 0 else 0, p.units[lower].hits)
    if below.mark == 0:
        below.group, below.before, below.gone = above.group, above.before, above.gone
    below.mark = above.mark
    above.blocks, below.blocks = p.units[upper].blocks, p.units[lower].blocks
    _count(p, whole, 1.0)
    _count(p, part, 1.0)
    if p.units[lower].queue != 0:
        take_out(p.units, p.roots, lower)
        _queue(p, lower)


@hot
def _queue(p: PolicyState, unit: int) -> None:
    here, content = p.units[unit], p.ghosts[_place(p, unit)]
    here.group, here.mark = _class(content), content.mark
    _put_into_cell(p, unit)


@hot
def _cell(p: PolicyState, unit: int) -> int:
    here = p.units[unit]
    return here.group * BINS + _age_bin(_now(p) - here.mark + 2)


@hot
def _put_into_cell(p: PolicyState, unit: int) -> None:
    cell = _cell(p, unit)
    put(p.units, p.roots, cell + 1, unit, p.units[unit].mark, p.units[unit].tick)
    p.amounts[LOWEST] = min(p.amounts[LOWEST], p.amounts[RANK + cell])


@hot
def _victim(p: PolicyState) -> int:
    now, amounts = _now(p), p.amounts
    if now >= amounts[DUE]:
        _renew(p)
    if now > amounts[AGED]:
        amounts[AGED] = now
        _age_all(p)
    while p.roots[amounts[ORDER + amounts[LOWEST]] + 1] == 0:
        amounts[LOWEST] += 1
    return p.roots[amounts[ORDER + amounts[LOWEST]] + 1]


@hot
def _age_all(p: PolicyState) -> None:
    """What has grown too old for its cell moves on."""
    for cell in range(SIZE):
        unit = p.roots[cell + 1]
        while unit != 0 and _cell(p, unit) != cell:
            take_out(p.units, p.roots, unit)
            _put_into_cell(p, unit)
            unit = p.roots[cell + 1]


@hot
def _renew(p: PolicyState) -> None:
    """Count what is waiting, make the indices anew, and rank the cells by them."""
    facts = p.facts[0]
    p.amounts[DUE] = facts.hand + max(64, min(facts.capacity // PERIOD, facts.hand // EARLY))
    _count_waits(p)
    weight = max(1.0, facts.hand / max(p.amounts[REQUESTS], 1))
    for octave in range(OCTAVES):
        _chances(p, octave, weight)
        for group in range(octave * KINDS, (octave + 1) * KINDS):
            factor = _factor(p, group, DOUBT * weight)
            for age_bin in range(BINS):
                p.numbers[INDEX + group * BINS + age_bin] = _best_ratio(p, age_bin, factor)
    _rank(p)


@hot
def _rank(p: PolicyState) -> None:
    """Insertion sort from the last order, which is nearly right; of equal cells the older first."""
    first = p.amounts[ORDER] == p.amounts[ORDER + 1]
    for number in range(SIZE):
        rank, cell = number, number if first else p.amounts[ORDER + number]
        while rank > 0 and _goes_before(p, cell, p.amounts[ORDER + rank - 1]):
            p.amounts[ORDER + rank] = p.amounts[ORDER + rank - 1]
            rank -= 1
        p.amounts[ORDER + rank] = cell
    for rank in range(SIZE):
        p.amounts[RANK + p.amounts[ORDER + rank]] = rank
    p.amounts[LOWEST] = 0


@hot
def _goes_before(p: PolicyState, cell: int, other: int) -> bool:
    mine, its = p.numbers[INDEX + cell], p.numbers[INDEX + other]
    if mine != its:
        return mine < its
    age_bin, its_bin = cell % BINS, other % BINS
    return age_bin > its_bin or (age_bin == its_bin and cell < other)


@hot
def _count_waits(p: PolicyState) -> None:
    """OPEN, and RISK: a wait that ends within a bin, hit or not, reached it half if it was not hit."""
    numbers, length, newest = p.numbers, _cohort_length(p), p.amounts[COHORT]
    for at in range(SIZE):
        numbers[OPEN + at] = numbers[WAITS + at]
    for cohort in range(max(0, newest - COHORTS + 1), newest + 1):
        age_bin = _age_bin(p.facts[0].hand - cohort * length + 1)
        for group in range(CLASSES):
            numbers[OPEN + group * BINS + age_bin] += numbers[_cohort_at(cohort, group)]
    for group in range(CLASSES):
        later = 0.0
        for age_bin in range(BINS - 1, -1, -1):
            at = group * BINS + age_bin
            numbers[RISK + at] = later + numbers[HITS + at] + 0.5 * numbers[OPEN + at]
            later += numbers[HITS + at] + numbers[OPEN + at]


@hot
def _chances(p: PolicyState, octave: int, weight: float) -> None:
    """CHANCE: of a hit in each bin, for content of the octave that has reached it. `weight` blocks of
    the average over all classes are added to what the octave has seen."""
    numbers, total = p.numbers, (SMOOTH + 1.0) ** 2
    if octave == 0:
        _add_up(p, COUNTS, 0, CLASSES)
    _add_up(p, COUNTS + 2 * BINS, octave * KINDS, (octave + 1) * KINDS)
    for age_bin in range(BINS):
        all_hits = all_risk = own_hits = own_risk = 0.0
        for near in range(max(0, age_bin - SMOOTH), min(BINS - 1, age_bin + SMOOTH) + 1):
            share, at = (SMOOTH + 1.0 - abs(near - age_bin)) / total, COUNTS + near
            all_hits += share * numbers[at]
            all_risk += share * numbers[at + BINS]
            own_hits += share * numbers[at + 2 * BINS]
            own_risk += share * numbers[at + 3 * BINS]
        pooled = (all_hits + weight * PRIOR) / (all_risk + weight)
        numbers[CHANCE + age_bin] = (own_hits + weight * pooled) / (own_risk + weight)


@hot
def _add_up(p: PolicyState, to: int, first: int, end: int) -> None:
    """Hits by bin of the classes from `first` to before `end`, and after them the risk."""
    for age_bin in range(BINS):
        hits = risk = 0.0
        for at in range(first * BINS + age_bin, end * BINS, BINS):
            hits += p.numbers[HITS + at]
            risk += p.numbers[RISK + at]
        p.numbers[to + age_bin], p.numbers[to + BINS + age_bin] = hits, risk


@hot
def _factor(p: PolicyState, group: int, weight: float) -> float:
    """Hits of a class, to what they would be with the chances of its octave."""
    hits = expected = weight
    for age_bin in range(BINS):
        at = group * BINS + age_bin
        hits += p.numbers[HITS + at]
        expected += p.numbers[RISK + at] * p.numbers[CHANCE + age_bin]
    return hits / expected


@hot
def _best_ratio(p: PolicyState, first_bin: int, factor: float) -> float:
    """Most hits a block and unit of time that keeping from this age on can give."""
    best = gain = cost = 0.0
    left = 1.0
    for age_bin in range(first_bin, BINS):
        chance = min(1.0, p.numbers[CHANCE + age_bin] * factor)
        gain += left * chance
        cost += left * (1.0 - 0.5 * chance) * _LENGTHS[age_bin]
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
