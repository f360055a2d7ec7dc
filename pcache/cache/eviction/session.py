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
from pcache.cache.eviction.seam import EVICTABLE, RELEASED, VICTIM
from pcache.jit import hot

__all__ = ["entry", "needs"]

needs = {"queues": 2}

SUPERSEDED, CURRENT = 1, 2


@hot
def on_event(p: PolicyState, event: int, unit: int, _other: int) -> int:
    """Of session s, `requests[s - 1]` keeps in `latest` the number of the last request that ended (plus
    1) and in `leaf` the unit where it ends now."""
    if event == RELEASED:
        _note_end(p, p.facts[0].request)
    elif event == EVICTABLE:
        _queue(p, unit)
    elif event == VICTIM:
        return p.roots[SUPERSEDED] if p.roots[SUPERSEDED] != 0 else p.roots[CURRENT]
    return 0


@hot
def _note_end(p: PolicyState, request: int) -> None:
    """A request gives up its units: the leaf of the one before in its session may be superseded."""
    session = p.requests[request].session
    if session == 0 or p.requests[session - 1].latest > request:
        return
    kept = p.requests[session - 1]
    kept.latest = request + 1
    leaf = p.units[kept.leaf]
    if leaf.queue == CURRENT and p.requests[leaf.request].session == session:
        unit = kept.leaf
        take_out(p.units, p.roots, unit)
        _queue(p, unit)


@hot
def _queue(p: PolicyState, unit: int) -> None:
    here = p.units[unit]
    session = p.requests[here.request].session
    superseded = session > 0 and p.requests[session - 1].latest > here.request + 1
    if session > 0 and not superseded:
        p.requests[session - 1].leaf = unit
    put(p.units, p.roots, SUPERSEDED if superseded else CURRENT, unit, here.tick, 0)


@cfunc(ENTRY, cache=True)
def entry(event: int, unit: int, a: int, b: int, c: int, d: int, e: int, table: int) -> int:
    """What the cache calls."""
    p = state_of(table)
    note(p, event, unit, a, b, c, d, e)
    return on_event(p, event, unit, a)
