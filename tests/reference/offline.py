"""The offline bound and its feasible schedule, block by block with sets, and the true optimum.

A kept block is its salt with all tokens up to its end. Everything is looked for anew every time.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from small_traces import all_tokens

from pcache.types import Trace

Block = tuple[int, tuple[Any, ...]]


class Demand(NamedTuple):
    """A request in blocks: how many it holds, its full ones, and how many of these are looked up."""

    footprint: int
    path: list[Block]
    limit: int


def demands(trace: Trace, size: int, outputs: bool) -> list[Demand]:
    found = []
    for request in range(len(trace)):
        prompt, tokens = int(trace.prompt_tokens[request]), all_tokens(trace, request)
        total = len(tokens) - 1 if outputs else prompt
        salt = int(trace.salt[request])
        path = [(salt, tuple(tokens[: k * size])) for k in range(1, total // size + 1)]
        found.append(Demand(-(-total // size), path, (prompt - 1) // size))
    return found


def parent(block: Block, size: int) -> Block:
    return block[0], block[1][:-size]


class PlainSchedule:
    """Belady's rule with the farthest and deepest block first; checks its own rules on the way."""

    def __init__(self, requests: list[Demand], num_blocks: int, size: int, first_counted: int):
        self.requests, self.num_blocks, self.size = requests, num_blocks, size
        self.first_counted = first_counted
        self.served = [i for i, one in enumerate(requests) if one.footprint <= num_blocks]

    def next_use(self, block: Block, now: int) -> int | None:
        return next((i for i in self.served if i > now and block in self.requests[i].path), None)

    def has_worth(self, block: Block, now: int) -> bool:
        """Whether keeping it until its next use gives a hit that counts."""
        at = self.next_use(block, now)
        if at is None or at < self.first_counted:
            return False
        return self.requests[at].path.index(block) < self.requests[at].limit

    def hits(self, bound: bool) -> int:
        kept: set[Block] = set()
        hits = 0
        for now in self.served:
            footprint, path, limit = self.requests[now]
            found = 0
            while found < limit and path[found] in kept:
                found += 1
            hits += found if now >= self.first_counted else 0
            others = self.make_room(kept - set(path), footprint, now, bound)
            kept = set(others)
            for block in reversed(path):
                has_child = any(parent(one, self.size) == block for one in kept)
                if self.has_worth(block, now) or (has_child and not bound):
                    kept.add(block)
            assert len(kept - set(path)) + footprint <= self.num_blocks
            assert bound or all(
                len(block[1]) == self.size or parent(block, self.size) in kept for block in kept
            )
        return hits

    def make_room(self, others: set[Block], footprint: int, now: int, bound: bool) -> set[Block]:
        while len(others) + footprint > self.num_blocks:
            valued = [block for block in others if self.has_worth(block, now)]
            block = max(valued, key=lambda one: (self.next_use(one, now), len(one[1])))
            others.remove(block)
            above = parent(block, self.size)
            while (
                not bound
                and above in others
                and not self.has_worth(above, now)
                and not any(parent(one, self.size) == above for one in others)
            ):
                others.remove(above)
                above = parent(above, self.size)
        return others


def optimum(requests: list[Demand], num_blocks: int, size: int, *, orphans: bool) -> int:
    """Most hits of any schedule, by trying all; `orphans` lets blocks stay without their parents."""
    best: dict[frozenset[Block], int] = {frozenset(): 0}
    for footprint, path, limit in requests:
        if footprint > num_blocks:
            continue
        after: dict[frozenset[Block], int] = {}
        for kept, value in best.items():
            found = 0
            while found < limit and path[found] in kept:
                found += 1
            for state in _next_states(kept, path, num_blocks - footprint):
                if orphans or _closed(state, size):
                    after[state] = max(after.get(state, 0), value + found)
        best = after
    return max(best.values())


def _next_states(kept: frozenset[Block], path: list[Block], room: int) -> list[frozenset[Block]]:
    others = [block for block in kept if block not in path]
    return [
        frozenset(stay) | frozenset(path[:length])
        for count in range(min(len(others), room) + 1)
        for stay in combinations(others, count)
        for length in range(len(path) + 1)
    ]


def _closed(state: frozenset[Block], size: int) -> bool:
    return all(len(block[1]) == size or parent(block, size) in state for block in state)
