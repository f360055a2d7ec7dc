"""The engine: the shared scheduler and cache, driven on a GPU in wall-clock time.

The loop's decisions come from `scheduler.loop`, as in the simulator; here a launch runs the step on
the device, a commit waits for it, and an arrival is waited for. Generated tokens are replaced by the
trace's before they are fed back, so that the next turn finds them in the cache in both worlds; they
are computed, sampled and copied to the host all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pcache.cache.contract import CacheConfig
from pcache.cache.events import ALLOCATE, PREEMPT, REPOINT, SHARE, drain
from pcache.cost import step_record
from pcache.gpu.clock import Clock
from pcache.gpu.prompts import RequestTokens
from pcache.gpu.runner import Pending, Runner
from pcache.gpu.step import StepInputs
from pcache.prefixes import PrefixForest
from pcache.scheduler.loop import (
    COMMIT,
    DONE,
    LAUNCH,
    PLAN,
    commit,
    launched,
    make_plan,
    next_action,
    resume_at,
)  # fmt: skip
from pcache.scheduler.state import SchedulerConfig, make_scheduler, most_events_a_step
from pcache.scheduler.steps import NUM_COLUMNS, record_end, record_step, sum_up_plan
from pcache.types import I4, I8, Trace

__all__ = ["EngineRun"]

LogitsSink = Callable[[I8, I8, npt.NDArray[np.float32]], None]
"""Debugging: gets requests [n], positions [n] of their last computed token, and logits [n, vocab]."""

_ROWS = 1 << 12


@dataclass(frozen=True, slots=True)
class _InFlight:
    pending: Pending
    requests: I8
    positions: I8
    row: I8


class EngineRun:
    """One trace under one policy on one runner: `run` until done, then read the results.

    `scheduler` holds every request's instants, `steps` [n, NUM_COLUMNS] the steps, `events` [n, 6]
    the decision log. With `poison`, blocks turn to NaN when they are handed out, so that whoever
    reads a slot before it was written shows it in the logits.
    """

    def __init__(
        self,
        trace: Trace,
        forest: PrefixForest,
        tokens: RequestTokens,
        cache_config: CacheConfig,
        scheduler_config: SchedulerConfig,
        runner: Runner,
        *,
        skip_idle: bool = False,
        poison: bool = False,
        logits_sink: LogitsSink | None = None,
    ) -> None:
        margin = most_events_a_step(trace, cache_config, scheduler_config)
        self.scheduler = make_scheduler(
            scheduler_config, cache_config, trace, forest, log_rows=4 * margin
        )
        self._tokens, self._runner = tokens, runner
        self._skip_idle, self._poison, self._logits_sink = skip_idle, poison, logits_sink
        self._in_flight: deque[_InFlight] = deque()
        self._rows: list[I8] = []
        self._events: list[I8] = []
        self._unsent: list[I8] = []
        self._sums = step_record()

    @property
    def steps(self) -> I8:
        """One row a launched step."""
        return np.array(self._rows) if self._rows else np.empty((0, NUM_COLUMNS), np.int64)

    @property
    def events(self) -> I8:
        """The decision log."""
        return np.concatenate([*self._events, np.empty((0, 6), np.int64)])

    def run(self, progress: Callable[[float], None] | None = None) -> bool:
        """Run to the end (True) or to Ctrl-C (False, with the steps in flight left behind).

        Raises DeviceError where the device gave up; what was done so far stays readable.
        """
        s, state = self.scheduler, self.scheduler.state[0]
        clock = Clock(self._skip_idle)
        try:
            while (action := next_action(s)) != DONE:
                if action == PLAN:
                    make_plan(s, clock.now_ns())
                    self._take_events()
                elif action == LAUNCH:
                    self._launch(clock)
                elif action == COMMIT:
                    self._commit(clock)
                    self._take_events()
                    if progress is not None:
                        progress(float(state.num_finished + state.num_rejected))
                else:
                    arrival = int(s.requests[state.num_arrived].arrival_ns)
                    clock.wait_until(arrival)
                    resume_at(s, clock.now_ns())
        except KeyboardInterrupt:
            return False
        return True

    def _take_events(self) -> None:
        """Move what was just decided into the log and among what the device must still hear of."""
        events = drain(self.scheduler.cache.log)
        if len(events):
            self._events.append(events)
            self._unsent.append(events)

    def _launch(self, clock: Clock) -> None:
        s = self.scheduler
        slot = int(s.state[0].plan_slot)
        entries = s.plans[slot, : s.slots[slot].size]
        requests, starts, counts = (np.array(entries[f]) for f in ("request", "start", "count"))
        samples = entries["samples"] == 1
        inputs = StepInputs(
            rows=entries["row"].astype(np.int32),
            starts=starts.astype(np.int32),
            counts=counts.astype(np.int32),
            samples=samples,
            token_ids=self._tokens.take(requests, starts, counts),
            table_runs=self._table_runs(),
        )
        launched_at = clock.now_ns()
        pending = self._runner.launch(inputs, keep_logits=self._logits_sink is not None)
        launched(s)
        sum_up_plan(s, slot, self._sums)
        row = np.empty(NUM_COLUMNS, np.int64)
        record_step(s, row, int(s.slots[slot].planned_at_ns), launched_at, 0, self._sums)
        self._rows.append(row)
        last = starts + counts - 1
        self._in_flight.append(_InFlight(pending, requests[samples], last[samples], row))

    def _commit(self, clock: Clock) -> None:
        step = self._in_flight.popleft()
        outputs = step.pending.wait()
        ended_at = clock.of(outputs.on_host_at_ns)
        record_end(step.row, outputs.gpu_ns, ended_at)
        commit(self.scheduler, ended_at)
        if self._logits_sink is not None and outputs.logits is not None:
            self._logits_sink(step.requests, step.positions, outputs.logits)

    def _table_runs(self) -> I4:
        """Block-table changes since the last launch, of requests that still hold their row."""
        if not self._unsent:
            return np.empty((0, 4), np.int32)
        events = np.concatenate(self._unsent)
        self._unsent.clear()
        kind, request = events[:, 1], events[:, 2]
        if self._poison:
            fresh = events[kind == ALLOCATE].astype(np.int32)
            self._runner.poison(fresh[:, 4], fresh[:, 5])
        row = np.where(request >= 0, self.scheduler.requests.row[request], -1)
        wanted = np.isin(kind, (SHARE, ALLOCATE, REPOINT)) & (row >= 0)
        for lost in np.flatnonzero(kind == PREEMPT):
            wanted[:lost] &= request[:lost] != request[lost]
        runs = np.column_stack([row, events[:, 3:6]])[wanted]
        return runs.astype(np.int32)
