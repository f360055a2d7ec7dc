"""vLLM's block-hash cache, and `none` and `exact`, in plain Python lists.

Written from the rules alone: one list is free list and recency order, a key is the tuple of all
tokens up to the block's end, and nothing is ever clever.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """A request as a cache sees it. `blocks` are the ids it holds, `indexed` of them keyed."""

    request: int
    tokens: list[Any]
    prompt: int
    salt: int = 0
    blocks: list[int] = field(default_factory=list)
    indexed: int = 0


class HashCache:
    """Blocks 1 … num_blocks under LRU by time of release."""

    def __init__(
        self, block_size: int, num_blocks: int, *, index: str = "hash", append_unkeyed: bool = False
    ) -> None:
        self.size, self.num_blocks, self.index = block_size, num_blocks, index
        self.append_unkeyed = append_unkeyed
        self.queue = list(range(1, num_blocks + 1))
        self.users: dict[int, int] = defaultdict(int)
        self.key_of: dict[int, Any] = {}
        self.holders: dict[Any, list[int]] = defaultdict(list)
        self.evictions: list[int] = []

    def key(self, row: Row, block: int) -> Any:
        end = (block + 1) * self.size
        if self.index == "exact" and end > row.prompt:
            return row.request, end  # what a request generates is its own
        if self.index == "exact":
            return row.salt, tuple(row.tokens[: row.prompt]), end
        return row.salt, tuple(row.tokens[:end])

    def rejects(self, num_tokens: int) -> bool:
        return -(-num_tokens // self.size) > self.num_blocks

    def lookup(self, row: Row, num_tokens: int) -> int:
        limit = (num_tokens - 1) // self.size
        hits = 0
        while hits < limit and self.index != "none" and self.holders[self.key(row, hits)]:
            hits += 1
        return 0 if self.index == "exact" and hits < limit else hits

    def admit(self, row: Row, hits: int, fit_tokens: int, first_tokens: int) -> bool:
        found = [self.holders[self.key(row, k)][0] for k in range(hits)]
        from_queue = sum(block in self.queue for block in found)
        if -(-fit_tokens // self.size) - hits + from_queue > len(self.queue):
            return False
        for block in found:
            if block in self.queue:
                self.queue.remove(block)
            self.users[block] += 1
        row.blocks, row.indexed = found, hits
        return self.extend(row, first_tokens, 0)

    def extend(self, row: Row, num_tokens: int, _prefill_tokens: int) -> bool:
        missing = -(-num_tokens // self.size) - len(row.blocks)
        if missing > len(self.queue):
            return False
        for _ in range(missing):
            block = self.queue.pop(0)
            if block in self.key_of:
                self.forget(block)
                self.evictions.append(block)
            self.users[block] = 1
            row.blocks.append(block)
        return True

    def forget(self, block: int) -> None:
        self.holders[self.key_of.pop(block)].remove(block)

    def planned(self, row: Row, num_tokens: int) -> None:
        while self.index != "none" and row.indexed < num_tokens // self.size:
            block = row.blocks[row.indexed]
            self.key_of[block] = self.key(row, row.indexed)
            self.holders[self.key_of[block]].append(block)
            row.indexed += 1

    def unplan(self, row: Row, indexed_before: int) -> None:
        while row.indexed > indexed_before:
            row.indexed -= 1
            self.forget(row.blocks[row.indexed])

    def computed(self, row: Row, num_tokens: int, priority: int) -> None:
        """Keys were given when the step was planned."""

    def release(self, row: Row) -> None:
        for block in reversed(row.blocks):
            self.users[block] -= 1
            if self.users[block] == 0:
                if block in self.key_of or self.append_unkeyed:
                    self.queue.append(block)
                else:
                    self.queue.insert(0, block)
        row.blocks, row.indexed = [], 0

    @property
    def pinned_blocks(self) -> int:
        return self.num_blocks - len(self.queue)

    @property
    def cached_blocks(self) -> int:
        return sum(block in self.key_of for block in self.queue)

    @property
    def free_blocks(self) -> int:
        return sum(block not in self.key_of for block in self.queue)
