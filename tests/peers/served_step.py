"""A plan as both sides tell it, and pcache's scheduler and cache driven step by step."""

from __future__ import annotations

from typing import NamedTuple

from pcache.cache.contract import Cache, CacheConfig
from pcache.cache.events import ADMIT, FINISH, PREEMPT, drain
from pcache.prefixes import build_forest
from pcache.scheduler.loop import commit, launched, make_plan
from pcache.scheduler.state import SchedulerConfig, make_scheduler, most_events_a_step
from pcache.types import Trace

__all__ = ["PcacheServer", "Planned", "free_blocks"]


class Planned(NamedTuple):
    """What a call for a plan decided.

    `tokens`: how many of each scheduled request, in the order of the plan; `admitted`: cached tokens
    of those that entered the running set, for the first time or again; `preempted`; `tables`: block
    ids of all running requests.
    """

    tokens: list[tuple[int, int]]
    admitted: dict[int, int]
    preempted: set[int]
    tables: dict[int, list[int]]


def free_blocks(cache: Cache) -> list[tuple[int, bool]]:
    """`hash`: free blocks in the order in which they go out, and whether each is matchable."""
    blocks, queue = cache.flat.blocks, []
    at = int(1 + blocks[0].next_shift)
    while at != 0:
        queue.append((at, bool(blocks[at].key != 0)))
        at = int(at + 1 + blocks[at].next_shift)
    return queue


class PcacheServer:
    """The loop's actions one at a time. Time is the number of plans asked for."""

    def __init__(self, trace: Trace, cache: CacheConfig, rules: SchedulerConfig) -> None:
        self.scheduler = make_scheduler(
            rules, cache, trace, build_forest(trace),
            log_rows=2 * most_events_a_step(trace, cache, rules),
        )  # fmt: skip

    def plan(self, now: int) -> Planned:
        """Take in what has arrived, plan a step, and launch it if there is anything in it."""
        s = self.scheduler
        make_plan(s, now)
        state, events = s.state[0], drain(s.cache.log)
        planned = s.plans[state.plan_slot, : s.slots[state.plan_slot].num_entries]
        running = [int(request) for request in s.running[: state.num_running]]
        plan = Planned(
            [(int(entry.request), int(entry.count)) for entry in planned],
            {int(row[2]): int(row[5]) for row in events if row[1] == ADMIT},
            {int(row[2]) for row in events if row[1] == PREEMPT},
            {number: self._table(int(s.requests[number].row)) for number in running},
        )  # fmt: skip
        if state.plan_ready:
            launched(s)
        return plan

    def commit(self, now: int) -> set[int]:
        """The oldest step in flight has run; who finished with it."""
        commit(self.scheduler, now)
        return {int(row[2]) for row in drain(self.scheduler.cache.log) if row[1] == FINISH}

    def _table(self, row: int) -> list[int]:
        rows = self.scheduler.cache.rows
        return [int(block) for block in rows.table[row, : rows.at[row].num_blocks]]
