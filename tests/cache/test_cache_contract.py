"""One suite for every index and eviction order: several rows alive, any order of operations.

After each operation every block is free, pinned or cached, and the cache is what its plain
counterpart says; the event log replayed gives the same block tables.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ownership import Ledger, check, row_blocks, tree_nodes
from reference.hash_cache import HashCache, Row
from reference.radix_cache import RadixCache
from reference.replay import plain_cache, plain_row
from small_traces import traces

from pcache.cache.contract import (
    INDEXES,
    CacheConfig,
    admit,
    cached_blocks,
    computed,
    evicted_blocks,
    extend,
    lookup,
    make_cache,
    pinned_blocks,
    planned,
    rejects,
    release,
    unplan,
)  # fmt: skip
from pcache.cache.events import drain
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.rows import bind_row
from pcache.prefixes import build_forest
from pcache.types import Trace

ROWS = 3
KINDS = [("radix", order) for order in EVICTION_ORDERS]
KINDS += [(index, "lru") for index in INDEXES if index != "radix"]
names = st.sampled_from(["admit", "step", "step", "drop", "peek"])
operations = st.lists(st.tuples(names, st.integers(0, 9), st.integers(1, 9)), max_size=40)


class Alive(NamedTuple):
    """A request in a row: tokens allocated, and tokens computed."""

    plain: Row
    held: int
    done: int


class Pair:
    """A cache and its plain counterpart, driven alike."""

    def __init__(self, config: CacheConfig, trace: Trace) -> None:
        self.trace = trace
        self.cache = make_cache(config, trace, build_forest(trace), num_rows=ROWS, log_rows=10_000)
        self.plain: HashCache | RadixCache = plain_cache(config)
        self.size = config.block_size
        self.alive: dict[int, Alive] = {}
        self.ledger = Ledger()

    def peek(self, request: int, row: int = ROWS) -> tuple[Row, int]:
        plain = plain_row(self.trace, request)
        bind_row(self.cache.keys, self.cache.rows, row, request)
        hits = lookup(self.cache, row, plain.prompt)
        assert hits == self.plain.lookup(plain, plain.prompt)
        return plain, hits

    def admit(self, request: int, chunk: int) -> None:
        row = next((row for row in range(ROWS) if row not in self.alive), ROWS)
        if row == ROWS or request in (at.plain.request for at in self.alive.values()):
            return
        plain = plain_row(self.trace, request)
        total = len(plain.tokens) - 1
        assert rejects(self.cache, total) == self.plain.rejects(total)
        if self.plain.rejects(total):
            return
        plain, hits = self.peek(request, row)
        matched = hits * self.size
        first = min(plain.prompt, matched + chunk)
        admitted = admit(self.cache, row, hits, plain.prompt, first)
        assert admitted == self.plain.admit(plain, hits, plain.prompt, first)
        if admitted:
            self.plan(row, Alive(plain, first, matched))

    def plan(self, row: int, at: Alive) -> None:
        planned(self.cache, row, at.held, at.plain.prompt)
        self.plain.planned(at.plain, at.held)
        self.alive[row] = at

    def step(self, row: int, chunk: int) -> None:
        """What was planned has run; then the next chunk, the next token, or the end."""
        plain, held, done = self.alive[row]
        total = len(plain.tokens) - 1
        if done < plain.prompt or held == total:
            priority = int(self.trace.priority[plain.request])
            computed(self.cache, row, held, plain.prompt, priority)
            self.plain.computed(plain, held, priority)
        if held == total:
            self.release(row)
            return
        prefill = held < plain.prompt
        more = min(plain.prompt, held + chunk) if prefill else held + 1
        tokens = more - held if prefill else 0
        fits = extend(self.cache, row, more, tokens)
        assert fits == self.plain.extend(plain, more, tokens)
        if not fits:
            self.release(row)
            return
        self.plan(row, Alive(plain, more, held))

    def drop(self, row: int) -> None:
        """The last plan does not run: give back what it made matchable, then everything.

        A plan is dropped only before somebody found its blocks: they will never be computed.
        """
        plain, _, done = self.alive[row]
        indexed = min(plain.indexed, done // self.size)
        others = {b for other, at in self.alive.items() if other != row for b in at.plain.blocks}
        if not others.intersection(plain.blocks[indexed:]):
            unplan(self.cache, row, indexed)
            self.plain.unplan(plain, indexed)
        self.release(row)

    def release(self, row: int) -> None:
        release(self.cache, row)
        plain = self.alive.pop(row).plain
        self.plain.release(plain)
        self.ledger.replay(drain(self.cache.log))
        self.ledger.release(plain.request)

    def check(self) -> None:
        check(self.cache, list(self.alive))
        self.ledger.replay(drain(self.cache.log))
        self.ledger.check(self.cache, {row: at.plain.request for row, at in self.alive.items()})
        assert cached_blocks(self.cache) == self.plain.cached_blocks
        assert pinned_blocks(self.cache) == self.plain.pinned_blocks
        free = self.plain.free_blocks
        assert free + cached_blocks(self.cache) + pinned_blocks(self.cache) == self.plain.num_blocks
        if isinstance(self.plain, HashCache):
            assert evicted_blocks(self.cache) == len(self.plain.evictions)
            for row, at in self.alive.items():
                assert row_blocks(self.cache, row) == at.plain.blocks
        else:
            assert evicted_blocks(self.cache) == self.plain.evicted_blocks
            assert len(tree_nodes(self.cache)) == len(list(self.plain.nodes()))


@pytest.mark.parametrize(("index", "eviction"), KINDS)
@settings(max_examples=40)
@given(
    trace=traces(max_requests=8), block_size=st.sampled_from([1, 2, 4]),
    kv_tokens=st.integers(8, 70), append=st.booleans(), operations=operations,
)  # fmt: skip
def test_contract(
    index: str, eviction: str, trace: Trace, block_size: int, kv_tokens: int, append: bool,
    operations: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    pair = Pair(CacheConfig(index, block_size, kv_tokens, eviction, append), trace)
    for operation, which, chunk in operations:
        if operation == "admit":
            pair.admit(which % len(trace), chunk)
        elif operation == "peek":
            pair.peek(which % len(trace))
        elif pair.alive:
            row = sorted(pair.alive)[which % len(pair.alive)]
            if operation == "step":
                pair.step(row, chunk)
            else:
                pair.drop(row)
        pair.check()
