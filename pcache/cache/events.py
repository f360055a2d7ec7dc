"""The decision log: what cache and scheduler decided, in order, as rows of six integers.

Columns are step, kind, request, position, first block, count. Runs of consecutive block ids at
consecutive positions are one row. The same rows tell a GPU executor how its block tables change
(SHARE, ALLOCATE and REPOINT), and two runs decided alike exactly when their logs are equal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import I8, Records

__all__ = [
    "ADMIT", "ALLOCATE", "EVENT_NAMES", "EVICT", "FINISH", "PREEMPT", "REPOINT", "SHARE", "EventLog",
    "drain", "emit", "event_log", "room",
]  # fmt: skip

ADMIT, SHARE, ALLOCATE, REPOINT, EVICT, PREEMPT, FINISH = range(7)
EVENT_NAMES = ("admit", "share", "allocate", "repoint", "evict", "preempt", "finish")
"""admit: position = preemptions so far, first block = row, count = cached tokens. share: blocks found
in the cache. allocate: blocks handed out. repoint: duplicates replaced by the tree's blocks. evict:
blocks that lost their place (request is -1). preempt, finish: the request gave its blocks back."""


class EventLog(NamedTuple):
    """`rows` int64 [capacity, 6]; `cursor[0]` has `length`, `step` and `enabled`."""

    rows: I8
    cursor: Records


def event_log(capacity: int) -> EventLog:
    """An empty log; capacity 0 switches it off."""
    cursor = records(1, length=np.int64, step=np.int64, enabled=np.int64)
    cursor[0].enabled = int(capacity > 0)
    return EventLog(np.zeros((capacity, 6), np.int64), cursor)


def drain(log: EventLog) -> I8:
    """The rows so far, int64 [n, 6], which leave the log."""
    rows = log.rows[: log.cursor[0].length].copy()
    log.cursor[0].length = 0
    return rows


@hot
def room(log: EventLog, needed: int) -> bool:
    """Whether `needed` more rows fit (always when the log is off)."""
    return log.cursor[0].enabled == 0 or log.cursor[0].length + needed <= len(log.rows)


@hot
def emit(
    log: EventLog, kind: int, request: int, position: int, first_block: int, count: int
) -> None:
    """Append one row, or lengthen the last one if this continues its run of blocks."""
    if log.cursor[0].enabled == 0:
        return
    length = log.cursor[0].length
    if length > 0 and SHARE <= kind <= EVICT:
        last = log.rows[length - 1]
        if (
            last[0] == log.cursor[0].step
            and last[1] == kind
            and last[2] == request
            and last[4] + last[5] == first_block
            and (kind == EVICT or last[3] + last[5] == position)
        ):
            last[5] += count
            return
    row = log.rows[length]
    row[0], row[1], row[2] = log.cursor[0].step, kind, request
    row[3], row[4], row[5] = position, first_block, count
    log.cursor[0].length = length + 1
