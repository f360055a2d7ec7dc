"""Recency that knows sessions: what a session has left behind goes before what it may still continue.

When a request of a session ends, what only earlier requests of that session used is superseded: the
conversation was edited, or an agent has dropped a part of its context. Superseded units go first, then
all others, each the least recently used first. Where a trace names no sessions this is recency.
A rule of pcache's own. No parameters. Cost: logarithmic.
"""

from __future__ import annotations

from numba import cfunc

from pcache.cache.eviction.compiled import ENTRY, PolicyState, note, state_of
from pcache.cache.eviction.queues import put, take_out
from pcache.cache.eviction.seam import EVICTABLE, EVICTED, RELEASED, SPLIT, VICTIM, WITHDRAWN
from pcache.jit import hot, wide

__all__ = ["entry", "needs"]

needs = {"queues": 2}

SUPERSEDED, CURRENT = 1, 2


@hot
def on_event(p: PolicyState, event: int, unit: int, other: int) -> int:
    """Of session s, `requests[s - 1]` keeps in `latest` the number of the last request that ended (plus
    1) and in `leaf` the first unit in the list of those that it may still continue: `group` is s,
    `mark` the next and `previous` the one before."""
    if event == RELEASED:
        _note_end(p, p.facts[0].request)
    elif event == EVICTABLE:
        _queue(p, unit)
    elif event in (WITHDRAWN, EVICTED):
        _unlist(p, unit)
    elif event == SPLIT:
        p.units[other].group = 0
    elif event == VICTIM:
        return p.roots[SUPERSEDED] if p.roots[SUPERSEDED] != 0 else p.roots[CURRENT]
    return 0


@hot
def _note_end(p: PolicyState, request: int) -> None:
    """A request gives up its units: what the one before in its session left may be superseded."""
    session = p.requests[request].session
    if session == 0 or p.requests[session - 1].latest > request:
        return
    p.requests[session - 1].latest = request + 1
    unit = wide(p.requests[session - 1].leaf)
    while unit != 0:
        following = wide(p.units[unit].mark)
        _unlist(p, unit)
        take_out(p.units, p.roots, unit)
        _queue(p, unit)
        unit = following


@hot
def _queue(p: PolicyState, unit: int) -> None:
    here = p.units[unit]
    session = wide(p.requests[here.request].session)
    superseded = session > 0 and p.requests[session - 1].latest > here.request + 1
    if session > 0 and not superseded:
        _list(p, session, unit)
    put(p.units, p.roots, SUPERSEDED if superseded else CURRENT, unit, here.tick, 0)


@hot
def _list(p: PolicyState, session: int, unit: int) -> None:
    here, kept = p.units[unit], p.requests[session - 1]
    here.group, here.mark, here.previous = session, kept.leaf, 0
    p.units[kept.leaf].previous = unit
    kept.leaf = unit


@hot
def _unlist(p: PolicyState, unit: int) -> None:
    here = p.units[unit]
    if here.group == 0:
        return
    if here.previous == 0:
        p.requests[here.group - 1].leaf = here.mark
    else:
        p.units[here.previous].mark = here.mark
    p.units[here.mark].previous = here.previous
    here.group = 0


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
