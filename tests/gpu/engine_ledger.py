"""A device that computes nothing and checks everything: who owns which block, and what it holds.

`LedgerRunner` stands in for the runner. It replays the engine's decision log in plain Python, keeps
the block table that the device was sent, and writes into each slot which prefix its token ends,
where a real device would write keys and values. Every step must then read exactly the prefixes of
the requests that it serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from small_traces import all_tokens

from pcache.cache.contract import CacheConfig
from pcache.cache.events import ADMIT, ALLOCATE, EVICT, FINISH, PREEMPT, REPOINT, SHARE
from pcache.gpu.engine import EngineRun
from pcache.gpu.prompts import request_tokens
from pcache.gpu.step import StepInputs, StepOutputs
from pcache.prefixes import build_forest
from pcache.scheduler.state import SchedulerConfig
from pcache.types import I4, Trace

NOTHING = -1


class TickingClock:
    """Time passes by being looked at, so that every run is the same run."""

    def __init__(self, tick_ns: int) -> None:
        self._tick_ns, self._now_ns = tick_ns, 0

    def now_ns(self) -> int:
        self._now_ns += self._tick_ns
        return self._now_ns

    def of(self, host_ns: int) -> int:
        return host_ns

    def wait_until(self, at_ns: int, check: Callable[[], None]) -> None:
        check()
        self._now_ns = max(self._now_ns, at_ns)


class Ledger:
    """Tables, rows and owners of blocks as the decision log tells them."""

    def __init__(self) -> None:
        self.tables: dict[int, dict[int, int]] = {}
        self.row_of: dict[int, int] = {}
        self.owner: dict[int, int] = {}
        self.lost: list[int] = []

    def replay(self, events: Any) -> None:
        for _, kind, request, position, first, length in events.tolist():
            blocks = range(first, first + length)
            if kind == ADMIT:
                assert first not in self.row_of.values(), "row given away twice"
                self.row_of[request] = first
            elif kind in (FINISH, PREEMPT):
                self._leave(request)
            elif kind == EVICT:
                self._nobody_holds(blocks)
                self.lost += blocks
            else:
                self._take(kind, request, position, blocks)

    def _take(self, kind: int, request: int, position: int, blocks: range) -> None:
        table = self.tables.setdefault(request, {})
        if kind == ALLOCATE:
            self._nobody_holds(blocks)
            self.owner.update(dict.fromkeys(blocks, request))
            assert position == len(table), "blocks are allocated in order"
        for place, block in enumerate(blocks, start=position):
            old = table.get(place)
            if kind == REPOINT and old != block:
                assert old is not None
                assert self.owner.pop(old) == request
                self.lost.append(old)
            table[place] = block
        assert kind in (ALLOCATE, SHARE, REPOINT)
        assert 0 not in blocks, "block 0 is never handed out"

    def _nobody_holds(self, blocks: range) -> None:
        held = {block for table in self.tables.values() for block in table.values()}
        assert held.isdisjoint(blocks), "taken from a live request"

    def _leave(self, request: int) -> None:
        del self.row_of[request]
        for block in self.tables.pop(request).values():
            if self.owner.get(block) == request:
                del self.owner[block]


@dataclass
class _Done:
    outputs: StepOutputs

    def wait(self) -> StepOutputs:
        return self.outputs


class LedgerRunner:
    """Checks one engine's steps; `engine` must be set before the first."""

    engine: EngineRun

    def __init__(self, trace: Trace, config: CacheConfig, clock: TickingClock) -> None:
        assert config.kv_tokens is not None
        self._trace, self._clock, self._size = trace, clock, config.block_size
        self._prefixes = number_prefixes(trace)
        self._slots = np.full((config.kv_tokens // self._size + 1, self._size), NOTHING)
        longest = int((trace.prompt_tokens + trace.output_tokens).max())
        self._table = np.zeros((len(trace), -(-longest // self._size)), np.int64)
        self._seen = 0
        self.ledger = Ledger()

    def poison(self, first_blocks: I4, counts: I4) -> None:
        for first, length in zip(first_blocks.tolist(), counts.tolist(), strict=True):
            self._slots[first : first + length] = NOTHING

    def launch(self, inputs: StepInputs, keep_logits: bool = False) -> _Done:
        assert not keep_logits
        self._replay_log()
        self._update_table(inputs.table_runs)
        entries = list(zip(*(x.tolist() for x in (inputs.rows, inputs.starts, inputs.counts)),
                           strict=True))  # fmt: skip
        assert len({row for row, _, _ in entries}) == len(entries)
        for entry in entries:
            self._write(*entry)
        for entry in entries:
            self._read(*entry)
        now = self._clock.now_ns()
        return _Done(StepOutputs(np.zeros(len(entries), np.int64), None, 1, now))

    def _replay_log(self) -> None:
        """What was decided since the last step; evicted and dropped blocks hold nothing from now."""
        events = self.engine.events
        self.ledger.replay(events[self._seen :])
        self._seen = len(events)
        self._slots[self.ledger.lost] = NOTHING
        self.ledger.lost.clear()

    def _update_table(self, runs: I4) -> None:
        places = [(row, position + k) for row, position, _, n in runs.tolist() for k in range(n)]
        assert len(set(places)) == len(places), "one entry written twice in a step"
        for row, position, first, length in runs.tolist():
            self._table[row, position : position + length] = range(first, first + length)
        for request, row in self.ledger.row_of.items():
            table = self.ledger.tables[request]
            assert sorted(table) == [*range(len(table))]
            told = [table[place] for place in range(len(table))]
            assert self._table[row, : len(told)].tolist() == told

    def _request_at(self, row: int) -> int:
        (request,) = (r for r, at in self.ledger.row_of.items() if at == row)
        return request

    def _write(self, row: int, start: int, num_tokens: int) -> None:
        request = self._request_at(row)
        for position in range(start, start + num_tokens):
            block = int(self._table[row, position // self._size])
            assert self.ledger.owner[block] == request, "written by somebody who does not own it"
            self._slots[block, position % self._size] = self._prefixes[request][position]

    def _read(self, row: int, start: int, num_tokens: int) -> None:
        length = start + num_tokens
        blocks = self._table[row, : -(-length // self._size)]
        found = self._slots[blocks].ravel()[:length]
        assert found.tolist() == self._prefixes[self._request_at(row)][:length]


def number_prefixes(trace: Trace) -> list[list[int]]:
    """A number for each prefix of each request; equal for equal tokens under equal salts."""
    numbers: dict[tuple[int, Any], int] = {}
    found = []
    for request in range(len(trace)):
        at, path = -1 - int(trace.salt[request]), []
        for token in all_tokens(trace, request):
            at = numbers.setdefault((at, token), len(numbers))
            path.append(at)
        found.append(path)
    return found


def run_on_ledger(
    trace: Trace, cache: CacheConfig, rules: SchedulerConfig, tick_ns: int = 1000
) -> EngineRun:
    """Run the engine on a ledger to the end; its last commits are checked too."""
    clock = TickingClock(tick_ns)
    runner = LedgerRunner(trace, cache, clock)
    runner.engine = EngineRun(
        trace, build_forest(trace), request_tokens(trace, 97), cache, rules, poison=True
    )
    assert runner.engine.run(runner, clock)  # type: ignore[arg-type]
    runner._replay_log()
    assert not runner.ledger.tables, "blocks held after the end"
    return runner.engine
