"""SGLang's `RadixCache` in plain Python: nodes with token lists, a scan for every victim.

Only numbers of blocks are kept, not their ids. The clock ticks once a walk and once a new node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from reference.hash_cache import Row


@dataclass(eq=False)
class Node:
    parent: Node | None
    tokens: list[Any]
    created: int
    accessed: int
    priority: int
    hits: int = 0
    locks: int = 0
    children: dict[Any, Node] = field(default_factory=dict)


class RadixCache:
    """A tree over whole blocks; children are found by the salt and their first block."""

    def __init__(self, block_size: int, num_blocks: int, eviction: str = "lru") -> None:
        self.size, self.num_blocks, self.eviction = block_size, num_blocks, eviction
        self.free_blocks = num_blocks
        self.clock = 0
        self.root = Node(None, [], 0, 0, 0, locks=1)
        self.matched = self.root
        self.last_node: dict[int, Node] = {}
        self.held: dict[int, int] = {}
        self.inserted: dict[int, int] = {}
        self.evicted_blocks = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def nodes(self) -> Iterator[Node]:
        todo = list(self.root.children.values())
        while todo:
            node = todo.pop()
            todo.extend(node.children.values())
            yield node

    def blocks(self, node: Node) -> int:
        return len(node.tokens) // self.size

    @property
    def cached_blocks(self) -> int:
        return sum(self.blocks(node) for node in self.nodes() if node.locks == 0)

    @property
    def pinned_blocks(self) -> int:
        return self.num_blocks - self.free_blocks - self.cached_blocks

    def first_page(self, row: Row, tokens: list[Any]) -> Any:
        return row.salt, tuple(tokens[: self.size])

    def shared_tokens(self, node: Node, tokens: list[Any]) -> int:
        shared = 0
        while shared < min(len(node.tokens), len(tokens)) and node.tokens[shared] == tokens[shared]:
            shared += 1
        return shared // self.size * self.size

    def split(self, row: Row, node: Node, length: int) -> Node:
        """The suffix keeps the node; a fresh upper node inherits hits, priority and locks."""
        now = self.tick()
        upper = Node(
            node.parent, node.tokens[:length], now, now, node.priority, node.hits, node.locks
        )
        assert node.parent is not None
        node.parent.children[self.first_page(row, node.tokens)] = upper
        node.parent, node.tokens = upper, node.tokens[length:]
        upper.children[self.first_page(row, node.tokens)] = node
        return upper

    def match(self, row: Row, num_blocks: int) -> tuple[int, Node]:
        tokens, node, now = row.tokens[: num_blocks * self.size], self.root, self.tick()
        while tokens and (child := node.children.get(self.first_page(row, tokens))):
            child.accessed = now
            length = self.shared_tokens(child, tokens)
            whole = length == len(child.tokens)
            node = child if whole else self.split(row, child, length)
            tokens = tokens[length:]
            if not whole:
                break
        return num_blocks - len(tokens) // self.size, node

    def insert(self, row: Row, num_blocks: int, priority: int, inserted: int) -> int:
        """Blocks that were there already. `inserted` tokens do not count as a hit again."""
        tokens, node, now = row.tokens[: num_blocks * self.size], self.root, self.tick()
        depth = 0
        while tokens and (child := node.children.get(self.first_page(row, tokens))):
            child.accessed = now
            length = self.shared_tokens(child, tokens)
            node = child if length == len(child.tokens) else self.split(row, child, length)
            node.priority = max(node.priority, priority)
            depth += length
            node.hits += depth > inserted
            tokens = tokens[length:]
        if tokens:
            now = self.tick()
            leaf = Node(node, tokens, now, now, priority, int(depth + len(tokens) > inserted))
            node.children[self.first_page(row, tokens)] = leaf
        return depth // self.size

    def change_locks(self, node: Node | None, change: int) -> None:
        while node is not None and node is not self.root:
            node.locks += change
            assert node.locks >= 0
            node = node.parent

    def order(self, node: Node) -> tuple[int, ...]:
        return {
            "lru": (node.accessed,),
            "lfu": (node.hits, node.accessed),
            "fifo": (node.created,),
            "mru": (-node.accessed,),
            "filo": (-node.created,),
            "slru": (int(node.hits >= 2), node.accessed),
            "priority": (node.priority, node.accessed),
        }[self.eviction]

    def evict(self, blocks: int) -> None:
        while blocks > 0:
            leaves = [node for node in self.nodes() if not node.children and node.locks == 0]
            if not leaves:
                return
            victim = min(leaves, key=self.order)
            assert victim.parent is not None
            victim.parent.children = {
                page: node for page, node in victim.parent.children.items() if node is not victim
            }
            blocks -= self.blocks(victim)
            self.free_blocks += self.blocks(victim)
            self.evicted_blocks += self.blocks(victim)

    def prefill_demand(self, num_tokens: int) -> int:
        return num_tokens if self.size == 1 else -(-(num_tokens + self.size) // self.size)

    def rejects(self, num_tokens: int) -> bool:
        spare = self.size if self.size > 1 else 0
        return num_tokens + spare > self.num_blocks * self.size

    def lookup(self, row: Row, num_tokens: int) -> int:
        limit = (num_tokens - 1) // self.size
        hits, self.matched = self.match(row, limit) if limit else (0, self.root)
        return hits

    def admit(self, row: Row, hits: int, fit_tokens: int, first_tokens: int) -> bool:
        matched = hits * self.size
        self.change_locks(self.matched, 1)
        if self.prefill_demand(fit_tokens - matched) > self.free_blocks + self.cached_blocks:
            self.change_locks(self.matched, -1)
            return False
        self.last_node[row.request], self.inserted[row.request] = self.matched, 0
        self.held[row.request] = row.indexed = hits
        return self.extend(row, first_tokens, first_tokens - matched)

    def extend(self, row: Row, num_tokens: int, prefill_tokens: int) -> bool:
        missing = max(0, -(-num_tokens // self.size) - self.held[row.request])
        demand = self.prefill_demand(prefill_tokens) if prefill_tokens else 1
        if demand > self.free_blocks:
            if missing > self.free_blocks + self.cached_blocks:
                return False
            self.evict(demand - self.free_blocks)
        self.free_blocks -= missing
        self.held[row.request] += missing
        return True

    def planned(self, row: Row, num_tokens: int) -> None:
        """Nothing is matchable before it is computed."""

    def unplan(self, row: Row, indexed_before: int) -> None:
        """Nothing became matchable."""

    def computed(self, row: Row, num_tokens: int, priority: int) -> None:
        stop, prompt_blocks = num_tokens // self.size, row.prompt // self.size
        known = self.insert(row, stop, priority, self.inserted[row.request])
        self.free_blocks += max(0, known - row.indexed)
        self.inserted[row.request] = max(self.inserted[row.request], stop * self.size)
        if 0 < prompt_blocks < stop:
            self.insert(row, prompt_blocks, priority + 1, prompt_blocks * self.size)
        _, node = self.match(row, stop) if stop else (0, self.root)
        self.change_locks(self.last_node[row.request], -1)
        self.change_locks(node, 1)
        self.last_node[row.request], row.indexed = node, stop

    def release(self, row: Row) -> None:
        self.free_blocks += self.held.pop(row.request) - row.indexed
        self.change_locks(self.last_node.pop(row.request), -1)
        row.indexed = 0
