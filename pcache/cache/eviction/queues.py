"""Queues of units for compiled policies: any number of them, each served smallest pair first.

A queue is a pairing heap whose links lie in the units themselves, so a unit is in at most one queue
and can leave from anywhere. Cost: constant to put in, logarithmic (amortised) to take out.
"""

from __future__ import annotations

from pcache.jit import hot, wide
from pcache.types import I8, Records

__all__ = ["put", "take_out"]


@hot
def put(units: Records, roots: I8, queue: int, unit: int, first: int, second: int) -> None:
    """Put `unit`, which is in no queue, into `queue` (from 1); `roots[queue]` is the one served next
    (0: none)."""
    here = units[unit]
    here.queue, here.first, here.second = queue, first, second
    here.below = here.beside = here.before = 0
    roots[queue] = _meld(units, wide(roots[queue]), unit)


@hot
def take_out(units: Records, roots: I8, unit: int) -> None:
    """Take `unit` out of its queue, if it is in one."""
    here = units[unit]
    if here.queue == 0:
        return
    below = _join(units, here.below)
    if roots[here.queue] == unit:
        roots[here.queue] = below
    else:
        if units[here.before].below == unit:
            units[here.before].below = here.beside
        else:
            units[here.before].beside = here.beside
        units[here.beside].before = here.before
        roots[here.queue] = _meld(units, wide(roots[here.queue]), below)
    here.queue = here.below = here.beside = here.before = 0


@hot
def _meld(units: Records, left: int, right: int) -> int:
    """One heap of two; unit 0 stands for an empty one."""
    if left == 0 or right == 0:
        return left + right
    a, b = units[left], units[right]
    if b.first < a.first or (b.first == a.first and b.second < a.second):
        left, right = right, left
    top = units[left]
    units[right].before, units[right].beside = left, top.below
    units[top.below].before = right
    top.below = right
    units[left].before = units[left].beside = 0
    return left


@hot
def _join(units: Records, unit: int) -> int:
    """One heap of the siblings from `unit` on: in pairs from the left, then all from the right."""
    pairs = 0
    while unit != 0:
        partner = units[unit].beside
        following = units[partner].beside if partner != 0 else 0
        units[unit].beside = units[partner].beside = 0
        pair = _meld(units, unit, partner)
        units[pair].beside = pairs
        pairs = pair
        unit = following
    heap = 0
    while pairs != 0:
        following = units[pairs].beside
        units[pairs].beside = 0
        heap = _meld(units, heap, pairs)
        pairs = following
    return heap
