"""Parity: a measured run's decisions, taken again without a device.

Cache and scheduler are the same code in both worlds, and time enters their decisions only through
the instants of the loop's actions. With the recorded instants the decision log must come out the
same, byte for byte; any difference is a bug in the seam between scheduler and executor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pcache.cache.contract import CacheConfig, eviction_failures
from pcache.cache.events import EVENT_NAMES, drain
from pcache.prefixes import PrefixForest
from pcache.scheduler.loop import (
    COMMIT,
    LAUNCH,
    PLAN,
    WAIT,
    commit,
    launched,
    make_plan,
    next_action,
    resume_at,
)  # fmt: skip
from pcache.scheduler.state import (
    Scheduler,
    SchedulerConfig,
    make_scheduler,
    most_events_a_step,
)
from pcache.types import I8, Trace

__all__ = ["Replayed", "first_difference", "replay_instants"]

_ACTION_NAMES = {PLAN: "plan", LAUNCH: "launch", COMMIT: "commit", WAIT: "wait"}


@dataclass(frozen=True, slots=True)
class Replayed:
    """`events` is the decision log, `num_actions` how many recorded actions the loop agreed to."""

    scheduler: Scheduler
    events: I8
    num_actions: int


def _carry_out(s: Scheduler, action: int, at_ns: int) -> None:
    if action == PLAN:
        make_plan(s, at_ns)
    elif action == LAUNCH:
        launched(s)
    elif action == COMMIT:
        commit(s, at_ns)
    else:
        resume_at(s, at_ns)


def replay_instants(
    trace: Trace,
    forest: PrefixForest,
    cache_config: CacheConfig,
    scheduler_config: SchedulerConfig,
    instants: I8,
    on_launch: Callable[[Scheduler], None] | None = None,
) -> Replayed:
    """Carry out the loop's actions at the recorded instants, int64 [n, 2] of action and nanoseconds.

    Ends with the record, or before the first action that the loop would not have taken. `on_launch` is
    called after each launch, when the other plan slot holds the step.
    """
    margin = most_events_a_step(trace, cache_config, scheduler_config)
    s = make_scheduler(scheduler_config, cache_config, trace, forest, log_rows=margin)
    events = [np.empty((0, 6), np.int64)]
    num_actions = 0
    for action, at_ns in instants.tolist():
        if next_action(s) != action:
            break
        with eviction_failures(s.cache):
            _carry_out(s, action, at_ns)
        if action == LAUNCH and on_launch is not None:
            on_launch(s)
        # As in the engine after each action: adjoining runs of blocks are joined up to here only.
        events.append(drain(s.cache.log))
        num_actions += 1
    return Replayed(s, np.concatenate(events), num_actions)


def first_difference(trace: Trace, events: I8, instants: I8, replayed: Replayed) -> str | None:
    """Where a record and its replay part, in one line by step and request; None if nowhere."""
    common = min(len(events), len(replayed.events))
    unequal = np.flatnonzero((events[:common] != replayed.events[:common]).any(axis=1))
    if len(unequal) or len(events) != len(replayed.events):
        at = int(unequal[0]) if len(unequal) else common
        recorded, again = (_describe(trace, log, at) for log in (events, replayed.events))
        return f"decision {at}: recorded {recorded}; replayed {again}"
    if replayed.num_actions < len(instants):
        action, at_ns = instants[replayed.num_actions].tolist()
        return (
            f"action {replayed.num_actions}: recorded {_ACTION_NAMES[action]} at {at_ns} ns; the "
            "replay would have done something else"
        )
    return None


def _describe(trace: Trace, events: I8, at: int) -> str:
    if at >= len(events):
        return "nothing more"
    step, kind, request, position, first, count = events[at].tolist()
    owner = f" of request {trace.request_ids[request]}" if request >= 0 else ""
    return (
        f"step {step}, {EVENT_NAMES[kind]}{owner} (position {position}, first {first}, "
        f"count {count})"
    )
