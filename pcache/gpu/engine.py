"""The engine: the shared scheduler and cache, driven on a GPU in wall-clock time.

The loop's decisions come from `scheduler.loop`, as in the simulator; here a launch runs the step on
the device, a commit waits for it, and an arrival is waited for. Generated tokens are replaced by the
trace's before they are fed back, so that the next turn finds them in the cache in both worlds; they
are computed, sampled and copied to the host all the same.

Every action's instant is recorded. Time enters the decisions nowhere else, so the simulator's side
can take the same decisions again from the instants alone (`sim.parity`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pcache.cache.contract import CacheConfig, eviction_failures
from pcache.cache.events import ALLOCATE, PREEMPT, REPOINT, SHARE, drain
from pcache.cost import step_record
from pcache.gpu.clock import Clock
from pcache.gpu.prompts import RequestTokens
from pcache.gpu.runner import Pending
from pcache.gpu.step import StepInputs
from pcache.interrupt import held_interrupt
from pcache.prefixes import PrefixForest, build_forest
from pcache.scheduler.loop import (
    COMMIT,
    DONE,
    LAUNCH,
    PLAN,
    WAIT,
    commit,
    launched,
    make_plan,
    next_action,
    resume_at,
)  # fmt: skip
from pcache.scheduler.state import SchedulerConfig, make_scheduler, most_events_a_step
from pcache.scheduler.steps import NUM_COLUMNS, record_end, record_step, sum_up_plan
from pcache.trace.slice import slice_trace
from pcache.types import I4, I8, Trace

__all__ = ["EngineRun", "compile_loop"]

LogitsSink = Callable[[I8, I8, npt.NDArray[np.float32]], None]
"""Debugging: gets requests [n], positions [n] of their last computed token, and logits [n, vocab]."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    pending: Pending
    requests: I8
    positions: I8
    row: I8


class StepRunner(Protocol):
    """What a run needs of a runner."""

    def launch(self, inputs: StepInputs, keep_logits: bool = False) -> Pending:
        """As `Runner.launch`."""
        ...

    def poison(self, first_blocks: I4, counts: I4) -> None:
        """As `Runner.poison`."""
        ...


class EngineRun:
    """One trace under one policy: `run` on a runner until done, then read the results.

    `scheduler` holds every request's instants. With `poison`, blocks turn to NaN when they are
    handed out, so that whoever reads a slot before it was written shows it in the logits.
    """

    def __init__(
        self,
        trace: Trace,
        forest: PrefixForest,
        tokens: RequestTokens,
        cache_config: CacheConfig,
        scheduler_config: SchedulerConfig,
        *,
        poison: bool = False,
        logits_sink: LogitsSink | None = None,
    ) -> None:
        margin = most_events_a_step(trace, cache_config, scheduler_config)
        self.scheduler = make_scheduler(
            scheduler_config, cache_config, trace, forest, log_rows=margin
        )
        self._tokens, self._poison, self._logits_sink = tokens, poison, logits_sink
        self._in_flight: deque[_InFlight] = deque()
        self._rows: list[I8] = []
        self._instants: list[tuple[int, int]] = []
        self._events: list[I8] = []
        self._unsent: list[I8] = []
        self._sums = step_record()

    @property
    def steps(self) -> I8:
        """Steps whose tokens came back, int64 [n, NUM_COLUMNS]."""
        ended = self._rows[: len(self._rows) - len(self._in_flight)]
        return np.array(ended, np.int64).reshape(-1, NUM_COLUMNS)

    @property
    def events(self) -> I8:
        """The decision log, int64 [n, 6]."""
        return np.concatenate([*self._events, np.empty((0, 6), np.int64)])

    @property
    def instants(self) -> I8:
        """The loop's actions and when each took place, int64 [n, 2]."""
        return np.array(self._instants, np.int64).reshape(-1, 2)

    def run(
        self, runner: StepRunner, clock: Clock, progress: Callable[[float], None] | None = None
    ) -> bool:
        """Run to the end (True) or to Ctrl-C (False, with the steps in flight left behind).

        Raises DeviceError where the device gave up; what was done so far stays readable.
        """
        s, state = self.scheduler, self.scheduler.state[0]
        try:
            with held_interrupt() as raise_if_pressed:
                while (action := next_action(s)) != DONE:
                    raise_if_pressed()
                    if action == WAIT:
                        clock.wait_until(int(s.requests[state.num_arrived].arrival_ns),
                                         raise_if_pressed)  # fmt: skip
                    with eviction_failures(s.cache):
                        self._instants.append((action, self._carry_out(action, runner, clock)))
                    if action == COMMIT and progress is not None:
                        progress(float(state.num_finished + state.num_rejected))
        except KeyboardInterrupt:
            return False
        return True

    def _carry_out(self, action: int, runner: StepRunner, clock: Clock) -> int:
        """Do what the loop asks for; the instant that it goes by."""
        if action == LAUNCH:
            return self._launch(runner, clock)
        if action == COMMIT:
            return self._commit(clock)
        now = clock.now_ns()
        if action == PLAN:
            make_plan(self.scheduler, now)
            self._take_events()
        else:
            resume_at(self.scheduler, now)
        return now

    def _take_events(self) -> None:
        """Move what was just decided into the log and among what the device must still hear of."""
        events = drain(self.scheduler.cache.log)
        if len(events):
            self._events.append(events)
            self._unsent.append(events)

    def _launch(self, runner: StepRunner, clock: Clock) -> int:
        s = self.scheduler
        slot = int(s.state[0].plan_slot)
        entries = s.plans[slot, : s.slots[slot].num_entries]
        requests, starts, counts = (np.array(entries[f]) for f in ("request", "start", "count"))
        samples = entries["samples"] == 1
        inputs = StepInputs(
            rows=entries["row"].astype(np.int32),
            starts=starts.astype(np.int32),
            counts=counts.astype(np.int32),
            samples=samples,
            token_ids=self._tokens.take(requests, starts, counts),
            table_runs=self._table_runs(runner),
        )
        launched_at = clock.now_ns()
        pending = runner.launch(inputs, keep_logits=self._logits_sink is not None)
        launched(s)
        sum_up_plan(s, slot, self._sums)
        row = np.empty(NUM_COLUMNS, np.int64)
        record_step(s, row, int(s.slots[slot].planned_at_ns), self._sums)
        self._rows.append(row)
        last = starts + counts - 1
        self._in_flight.append(_InFlight(pending, requests[samples], last[samples], row))
        return launched_at

    def _commit(self, clock: Clock) -> int:
        step = self._in_flight[0]
        outputs = step.pending.wait()
        ended_at = clock.of(outputs.on_host_at_ns)
        record_end(step.row, outputs.gpu_ns, ended_at)
        commit(self.scheduler, ended_at)
        self._take_events()
        self._in_flight.popleft()
        if self._logits_sink is not None and outputs.logits is not None:
            self._logits_sink(step.requests, step.positions, outputs.logits)
        return ended_at

    def _table_runs(self, runner: StepRunner) -> I4:
        """Block-table changes since the last launch, of requests that still hold their row."""
        if not self._unsent:
            return np.empty((0, 4), np.int32)
        events = np.concatenate(self._unsent)
        self._unsent.clear()
        kind, request = events[:, 1], events[:, 2]
        if self._poison:
            fresh = events[kind == ALLOCATE].astype(np.int32)
            runner.poison(fresh[:, 4], fresh[:, 5])
        row = np.where(request >= 0, self.scheduler.requests.row[request], -1)
        wanted = np.isin(kind, (SHARE, ALLOCATE, REPOINT)) & (row >= 0)
        for lost in np.flatnonzero(kind == PREEMPT):
            wanted[:lost] &= request[:lost] != request[lost]
        runs = np.column_stack([row, events[:, 3:6]])[wanted]
        return runs.astype(np.int32)


def compile_loop(trace: Trace) -> None:
    """Have everything compiled that the loop calls, by planning one step of the first request."""
    first = slice_trace(trace, limit=1)
    rules, cache = SchedulerConfig(), CacheConfig()
    log_rows = most_events_a_step(first, cache, rules)
    s = make_scheduler(rules, cache, first, build_forest(first), log_rows=log_rows)
    assert next_action(s) == PLAN
    resume_at(s, 0)
    make_plan(s, int(first.arrival_ns[0]))
    sums, row = step_record(), np.empty(NUM_COLUMNS, np.int64)
    sum_up_plan(s, launched(s), sums)
    record_step(s, row, 0, sums)
    record_end(row, 0, 0)
    commit(s, 0)
