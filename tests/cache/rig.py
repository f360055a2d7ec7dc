"""A cache with several rows alive, driven operation by operation as a scheduler may drive it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ownership import row_blocks

from pcache.cache.contract import (
    KIND,
    NOW_NS,
    RADIX,
    Cache,
    CacheConfig,
    admit,
    computed,
    extend,
    lookup,
    make_cache,
    planned,
    rejects,
    release,
    unplan,
)  # fmt: skip
from pcache.cache.events import drain
from pcache.cache.rows import bind_row
from pcache.prefixes import build_forest
from pcache.types import Trace

__all__ = ["ROWS", "Rig", "operations", "plain_policy", "policy_state"]

ROWS = 3
names = st.sampled_from(["admit", "admit", "step", "step", "step", "drop", "peek", "wait"])
operations = st.lists(st.tuples(names, st.integers(0, 9), st.integers(1, 9)), max_size=60)
"""What to do, to which request or row, and with how many tokens."""

WAIT_NS = 100 * 10**9
"""Three of them and a bit are longer than the shorter TTL."""

FOLDER = Path(__file__).parents[1] / "reference" / "policies"


def plain_policy(file_and_class: str) -> str:
    """The name for `--evict` of a policy in `tests/reference/policies`."""
    return str(FOLDER / file_and_class)


def policy_state(cache: Cache) -> Any:
    """The state through which the cache calls its policy."""
    return cache.radix.tree.state if cache.settings[KIND] == RADIX else cache.flat.state


@dataclass
class Alive:
    """A request in a row: tokens allocated, tokens computed, blocks indexed before the last plan, and
    whether another request has found what that plan indexed."""

    request: int
    held: int
    done: int
    indexed_before: int
    found: bool = False


class Rig:
    """Does what an operation says, if it can be done."""

    def __init__(self, config: CacheConfig, trace: Trace) -> None:
        self.trace, self.size = trace, config.block_size
        self.forest = build_forest(trace)
        self.cache = make_cache(config, trace, self.forest, num_rows=ROWS, log_rows=10_000)
        self.alive: dict[int, Alive] = {}
        self.events: list[list[int]] = []

    def do(self, operation: str, which: int, chunk: int) -> Any:
        """The events of one operation, which `events` keeps too."""
        if operation == "wait":
            self.cache.settings[NOW_NS] += chunk * WAIT_NS // 2
        elif operation == "admit":
            self.admit(which % len(self.trace), chunk)
        elif operation == "peek":
            request = which % len(self.trace)
            bind_row(self.cache.keys, self.cache.rows, ROWS, request)
            lookup(self.cache, ROWS, int(self.trace.prompt_tokens[request]))
        elif self.alive:
            row = sorted(self.alive)[which % len(self.alive)]
            if operation == "step":
                self.step(row, chunk)
            else:
                self.drop(row)
        self.cache.settings[NOW_NS] += 10**6
        new = drain(self.cache.log)
        self.events += new.tolist()
        return new

    def total(self, request: int) -> int:
        return int(self.trace.prompt_tokens[request] + self.trace.output_tokens[request]) - 1

    def admit(self, request: int, chunk: int) -> None:
        row = next((row for row in range(ROWS) if row not in self.alive), ROWS)
        busy = request in (at.request for at in self.alive.values())
        if row == ROWS or busy or rejects(self.cache, self.total(request)):
            return
        prompt = int(self.trace.prompt_tokens[request])
        bind_row(self.cache.keys, self.cache.rows, row, request)
        hits = lookup(self.cache, row, prompt)
        matched = hits * self.size
        first = min(prompt, matched + chunk)
        if admit(self.cache, row, hits, prompt, first):
            for other, at in self.alive.items():
                planned_blocks = row_blocks(self.cache, other)[at.indexed_before :]
                at.found |= not set(planned_blocks).isdisjoint(row_blocks(self.cache, row))
            self.plan(row, Alive(request, first, matched, hits))

    def plan(self, row: int, at: Alive) -> None:
        at.indexed_before = int(self.cache.rows.at[row].indexed_blocks)
        planned(self.cache, row, at.held, int(self.trace.prompt_tokens[at.request]))
        self.alive[row] = at

    def step(self, row: int, chunk: int) -> None:
        """What was planned has run; then the next chunk, the next token, or the end."""
        at = self.alive[row]
        prompt, total = int(self.trace.prompt_tokens[at.request]), self.total(at.request)
        if at.done < prompt or at.held == total:
            priority = int(self.trace.priority[at.request])
            computed(self.cache, row, at.held, prompt, priority)
        more = min(prompt, at.held + chunk) if at.held < prompt else at.held + 1
        tokens = more - at.held if at.held < prompt else 0
        if at.held == total or not extend(self.cache, row, more, tokens):
            self.release(row)
            return
        self.plan(row, Alive(at.request, more, at.held, 0))

    def drop(self, row: int) -> None:
        """Preempt. The last plan is taken back first where nobody has found its blocks yet, not even
        one who has left again: in a scheduler such a plan has run by then."""
        at = self.alive[row]
        if not at.found:
            unplan(self.cache, row, at.indexed_before)
        self.release(row)

    def release(self, row: int) -> None:
        release(self.cache, row)
        del self.alive[row]
