"""Watch the radix tree while a trace is replayed: snapshots after chosen numbers of requests.

Nodes are only ever split, appended and taken away, so a node of the tree after a step lies as a whole
inside or outside the tree before it, unless part of it was evicted and came back within the step;
then it counts as added. Cost: one operation a node and forest node it spans, and one a request and
forest node of its path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from pcache.cache.contract import BLOCK_SIZE, Cache, CacheConfig, evicted_blocks
from pcache.cache.replay import SerialReplay
from pcache.cache.snapshot import NodeState, TreeNode, TreeSnapshot
from pcache.cache.tree import TREE_ROOT
from pcache.errors import ConfigError
from pcache.types import Trace

__all__ = ["observe_tree"]

GONE = -1
"""Last access of a ghost."""


def observe_tree(
    trace: Trace,
    config: CacheConfig,
    at: Sequence[int],
    *,
    outputs: bool = True,
    text: Callable[[int, int, int], str],
) -> list[TreeSnapshot]:
    """Snapshots after `at` requests (ascending, from 0) of a serial replay.

    Each is compared with the one before, the first with the tree one request earlier. `outputs`
    caches generated tokens too. `text(request, start, stop)` shows those tokens of a request.
    Raises ConfigError for another policy than radix and for numbers the trace cannot have.
    """
    if config.index != "radix":
        raise ConfigError(f"policy {config.index!r} has no tree; use radix")
    for number, before in zip(at, [-1, *at], strict=False):
        if not before < number <= len(trace):
            raise ConfigError(
                f"{number} requests cannot be shown; expected ascending numbers from 0 to "
                f"{len(trace):,}, the length of {trace.name}"
            )
    watch = _Watch(trace, config, outputs, text)
    watch.advance(max(at[0] - 1, 0))
    return [watch.step(number) for number in at]


@dataclass(frozen=True, slots=True)
class _Branch:
    """One tree node, in blocks; `tail` is the forest node of its last block."""

    parent: int
    start: int
    stop: int
    tail: int
    locks: int
    last_access: int
    hits: int
    priority: int
    generated: bool


_COPIED = ("start", "stop", "tail", "locks", "last_access", "hits", "priority")
"""Fields of a branch that are the same in the tree's records."""


class _Watch:
    """A replay, and the tree as it was last seen: parents before children, parent -1 at the root."""

    def __init__(
        self, trace: Trace, config: CacheConfig, outputs: bool, text: Callable[[int, int, int], str]
    ) -> None:
        self._trace, self._text = trace, text
        self._replay = SerialReplay(trace, config, outputs=outputs)
        self._cache = self._replay.result.cache
        self._size = int(self._cache.settings[BLOCK_SIZE])
        keys = self._cache.keys.nodes
        self._above: list[int] = keys.parent.tolist()
        self._first: list[int] = keys.first_block.tolist()
        self._end: list[int] = keys.end_block.tolist()
        self._leaf: list[int] = self._cache.keys.leaf.tolist()
        self._total = trace.prompt_tokens + (trace.output_tokens - 1 if outputs else 0)
        self._capacity = config.kv_tokens and config.kv_tokens // self._size * self._size
        self._done = 0
        self._tree: list[_Branch] = []

    def advance(self, stop: int) -> None:
        self._replay.advance(stop, hold=True)
        self._done = stop
        self._tree = _walk(self._cache)

    def step(self, stop: int) -> TreeSnapshot:
        """Replay up to `stop` and compare the tree with what it was."""
        step, before, evicted = range(self._done, stop), self._tree, evicted_blocks(self._cache)
        self.advance(stop)
        after = self._tree
        ghosts = self._ghosts(before, after)
        branches = after + ghosts
        states = self._states(step, before, after) + [NodeState.evicted] * len(ghosts)
        cached = self._replay.result.cached_tokens
        ids = self._trace.request_ids
        admitted = [request for request in step if cached[request] >= 0]
        return TreeSnapshot(
            num_requests=stop,
            requests=tuple(ids[request] for request in step),
            rejected=tuple(ids[request] for request in step if cached[request] < 0),
            prompt_tokens=int(self._trace.prompt_tokens[step.start : stop].sum()),
            cached_tokens=sum(int(cached[request]) for request in admitted),
            added_tokens=self._size
            * sum(
                branch.stop - branch.start
                for branch, state in zip(branches, states, strict=True)
                if state is NodeState.added
            ),
            evicted_tokens=(evicted_blocks(self._cache) - evicted) * self._size,
            tree_tokens=self._size * sum(branch.stop - branch.start for branch in after),
            capacity_tokens=self._capacity,
            nodes=self._nodes(branches, states),
        )

    def _nodes(
        self, branches: Sequence[_Branch], states: Sequence[NodeState]
    ) -> tuple[TreeNode, ...]:
        """Branches as nodes in the order of a walk."""
        owners, recency = self._owners(branches), _recency(branches)
        children = defaultdict(list)
        for at, branch in enumerate(branches):
            children[branch.parent].append(at)
        nodes: list[TreeNode] = []
        open_ = [(at, -1, 0) for at in reversed(children[-1])]
        while open_:
            at, parent, depth = open_.pop()
            here, ids = branches[at], self._trace.request_ids
            start, stop = here.start * self._size, here.stop * self._size
            open_ += [(child, len(nodes), depth + 1) for child in reversed(children[at])]
            nodes.append(TreeNode(
                parent, depth, start, stop, self._text(owners[at][-1], start, stop), states[at],
                here.locks, recency[here.last_access], here.hits, here.priority, here.generated,
                tuple(ids[owner] for owner in owners[at]),
            ))  # fmt: skip
        return tuple(nodes)

    def _owners(self, branches: Sequence[_Branch]) -> list[list[int]]:
        """For each branch the admitted requests so far that have all its tokens."""
        ending = defaultdict(list)
        for at, branch in enumerate(branches):
            ending[branch.tail].append(at)
        owners: list[list[int]] = [[] for _ in branches]
        for request in range(self._done):
            if self._replay.result.cached_tokens[request] < 0:
                continue
            blocks = int(self._total[request]) // self._size
            for node in self._path(self._leaf[request]):
                for at in ending.get(node, ()):
                    if branches[at].stop <= blocks:
                        owners[at].append(request)
        return owners

    def _states(
        self, step: range, before: Sequence[_Branch], after: Sequence[_Branch]
    ) -> list[NodeState]:
        """added, hit or kept for each node of the tree after the step."""
        old, hit = self._reach(before), dict.fromkeys([0], 0)
        for request in step:
            cached = int(self._replay.result.cached_tokens[request]) // self._size
            self._mark(hit, self._leaf[request], 0, cached)
        return [
            NodeState.added if self._covered(old, branch.tail) < branch.stop
            else NodeState.hit if self._covered(hit, branch.tail) >= branch.stop
            else NodeState.kept
            for branch in after
        ]  # fmt: skip

    def _ghosts(self, before: Sequence[_Branch], after: Sequence[_Branch]) -> list[_Branch]:
        """What of `before` is not in `after`, numbered as if it were appended to it."""
        reach = self._reach(after)
        owning = defaultdict(list)
        for at, branch in enumerate(after):
            for node in self._span(branch.tail, branch.start):
                owning[node].append(at)
        ghosts: list[_Branch] = []
        place: dict[int, int] = {}
        for at, branch in enumerate(before):
            kept = self._covered(reach, branch.tail)
            if kept >= branch.stop:
                continue
            parent = place.get(branch.parent, -1) if kept <= branch.start else -1
            if parent == -1 and kept > 0:
                node = next(n for n in self._path(branch.tail) if self._first[n] < kept)
                parent = next(k for k in owning[node] if after[k].start < kept <= after[k].stop)
            place[at] = len(after) + len(ghosts)
            start = max(kept, branch.start)
            ghosts.append(replace(branch, parent=parent, start=start, locks=0, last_access=GONE))
        return ghosts

    def _path(self, node: int) -> Iterable[int]:
        """Forest nodes from `node` up to below the root."""
        while node != 0:
            yield node
            node = self._above[node]

    def _span(self, tail: int, start: int) -> Iterable[int]:
        """Forest nodes from `tail` up to the one that has block `start`."""
        for node in self._path(tail):
            yield node
            if self._first[node] <= start:
                return

    def _mark(self, reach: dict[int, int], tail: int, start: int, stop: int) -> None:
        """Note that blocks `start` … `stop` of the path to `tail` are there."""
        for node in self._span(tail, start):
            if self._first[node] < stop:
                reach[node] = max(reach.get(node, 0), min(stop, self._end[node]))

    def _reach(self, branches: Iterable[_Branch]) -> dict[int, int]:
        """How deep, in blocks, each forest node is in a tree."""
        reach: dict[int, int] = {}
        for branch in branches:
            self._mark(reach, branch.tail, branch.start, branch.stop)
        return reach

    def _covered(self, reach: dict[int, int], tail: int) -> int:
        """Leading blocks of the path to `tail` that are there."""
        return next((reach[node] for node in self._path(tail) if node in reach), 0)


def _recency(branches: Sequence[_Branch]) -> dict[int, int]:
    """Tick of the last access → 1 for the latest, 2 for the one before …; 0 for ghosts."""
    ticks = sorted({branch.last_access for branch in branches} - {GONE}, reverse=True)
    return {tick: rank for rank, tick in enumerate(ticks, 1)} | {GONE: 0}


def _walk(cache: Cache) -> list[_Branch]:
    """The nodes of the tree, children in the order they came."""
    columns = cache.radix.tree.nodes[: cache.radix.tree.state[0].unused]
    column: dict[str, list[int]] = {name: columns[name].tolist() for name in columns.dtype.names}
    found: list[_Branch] = []
    open_ = [(column["first_child"][TREE_ROOT], -1)]
    while open_:
        node, parent = open_.pop()
        if node == 0:
            continue
        open_ += [(column["next_sibling"][node], parent), (column["first_child"][node], len(found))]
        values = {name: column[name][node] for name in _COPIED}
        found.append(_Branch(parent, **values, generated=bool(column["generated"][node])))
    return found
