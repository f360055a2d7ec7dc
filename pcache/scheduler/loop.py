"""The one loop: in which order arrivals, plans, launches and commits happen.

`next_action` decides; whoever drives it carries the action out, on a virtual clock or on a GPU. With
overlap the order is launch(n), plan(n+1), launch(n+1), commit(n), plan(n+2) …: a plan sees arrivals
and commits up to the moment it is made. Without, each step is committed before the next is planned.
An empty plan waits for the step in flight or, if there is none, for the next arrival; but one that
preempted somebody is made again at once.
"""

from __future__ import annotations

from pcache.cache.contract import NOW_NS
from pcache.jit import hot
from pcache.scheduler.commit import commit_step
from pcache.scheduler.plan import arrive, plan_step
from pcache.scheduler.state import Scheduler

__all__ = [
    "COMMIT", "DONE", "LAUNCH", "PLAN", "WAIT", "commit", "launched", "make_plan", "next_action",
    "oldest_slot", "resume_at",
]  # fmt: skip

PLAN, LAUNCH, COMMIT, WAIT, DONE = range(5)


@hot
def next_action(s: Scheduler) -> int:
    """PLAN now; LAUNCH the plan; COMMIT the oldest step in flight; WAIT for an arrival; or DONE."""
    state = s.state[0]
    if state.num_in_flight == 1 + state.overlap:
        return COMMIT
    if state.plan_ready:
        return LAUNCH
    if not state.plan_tried:
        return PLAN
    if state.num_in_flight > 0:
        return COMMIT
    return WAIT if state.num_arrived < len(s.requests) else DONE


@hot
def make_plan(s: Scheduler, now_ns: int) -> None:
    """PLAN at `now_ns`: take in what has arrived, then plan the next step."""
    state = s.state[0]
    state.now_ns = now_ns
    s.cache.settings[NOW_NS] = max(s.cache.settings[NOW_NS], now_ns)
    s.cache.log.cursor[0].step = state.num_steps
    preempted_before = state.num_preemptions
    arrive(s, now_ns)
    state.plan_ready = plan_step(s, now_ns) > 0
    # A plan that only preempted has made room: the rest of the running requests get their turn.
    state.plan_tried = state.plan_ready or state.num_preemptions == preempted_before


@hot
def launched(s: Scheduler) -> int:
    """LAUNCH happened; the slot of the plan that is now in flight."""
    state = s.state[0]
    slot = state.plan_slot
    state.plan_slot = 1 - slot
    state.plan_ready = state.plan_tried = 0
    state.num_in_flight += 1
    state.num_steps += 1
    return slot


@hot
def oldest_slot(s: Scheduler) -> int:
    """The slot of the step in flight that was launched first."""
    return s.state[0].plan_slot if s.state[0].num_in_flight == 2 else 1 - s.state[0].plan_slot


@hot
def commit(s: Scheduler, ended_at_ns: int) -> None:
    """COMMIT the oldest step in flight, whose tokens reached the host at `ended_at_ns`."""
    s.cache.settings[NOW_NS] = max(s.cache.settings[NOW_NS], ended_at_ns)
    commit_step(s, oldest_slot(s), ended_at_ns)
    s.state[0].num_in_flight -= 1
    resume_at(s, max(s.state[0].now_ns, ended_at_ns))


@hot
def resume_at(s: Scheduler, now_ns: int) -> None:
    """It is `now_ns`, something has changed, and planning may find something to do again."""
    s.state[0].now_ns = now_ns
    s.state[0].plan_tried = s.state[0].plan_ready
