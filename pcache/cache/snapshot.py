"""A radix tree at one moment, as plain values to print, draw and compare.

A snapshot belongs to a step: the requests replayed since the snapshot before. Its nodes are those of
the tree and, as ghosts, the stretches that the step evicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["NodeState", "TreeNode", "TreeSnapshot", "limited"]


class NodeState(StrEnum):
    """The tree before the step against the tree after it.

    added: only after. evicted: only before. hit: in both, and a request of the step found it in the
    cache. kept: in both, though its recency may have changed, or it was split.
    """

    hit = "hit"
    added = "added"
    evicted = "evicted"
    kept = "kept"

    @property
    def sign(self) -> str:
        """One character, for readers who see no colours."""
        return {"hit": "=", "added": "+", "evicted": "×", "kept": "·"}[self]

    @property
    def meaning(self) -> str:
        """A few words for a legend."""
        return "hit: found in the cache" if self is NodeState.hit else self.value


@dataclass(frozen=True, slots=True)
class TreeNode:
    """Tokens `start` ≤ t < `stop` of every request that passes through.

    `parent` is the parent's place among the snapshot's nodes, -1 at the root. `owners` are the ids
    of all requests so far whose tokens include the node's, oldest first. `locks` counts the requests
    that pin it. `recency` is 1 for what was touched last, the same for what was touched together,
    and 0 for ghosts. `insertions` is what lfu and slru count. `generated`: beyond its writer's prompt.
    """

    parent: int
    depth: int
    start: int
    stop: int
    text: str
    state: NodeState
    locks: int
    recency: int
    insertions: int
    priority: int
    generated: bool
    owners: tuple[str, ...]

    @property
    def num_tokens(self) -> int:
        """Length of the node."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """The tree after `num_requests` requests, the last of which still holds its lock.

    `nodes` are in the order of a walk, parents before children; siblings by age, ghosts last.
    `requests` are the ids of the step, `rejected` those that can never fit. `prompt_tokens` and
    `cached_tokens` are sums over the step's requests. `added_tokens` is what the tree has and had not
    before the step; `evicted_tokens` counts every eviction, also of what came or came back within the
    step. `tree_tokens` are those in the tree after it.
    `hidden_nodes` and `hidden_tokens`: what `limited` left out.
    """

    num_requests: int
    requests: tuple[str, ...]
    rejected: tuple[str, ...]
    prompt_tokens: int
    cached_tokens: int
    added_tokens: int
    evicted_tokens: int
    tree_tokens: int
    capacity_tokens: int | None
    nodes: tuple[TreeNode, ...]
    hidden_nodes: int = 0
    hidden_tokens: int = 0


def limited(snapshot: TreeSnapshot, max_nodes: int) -> TreeSnapshot:
    """The same with at most `max_nodes` nodes: first what was hit or added, then what was evicted,
    then what is recent. A node that stays keeps all its ancestors.
    """
    nodes = snapshot.nodes
    if len(nodes) <= max_nodes:
        return snapshot
    interest = {NodeState.evicted: 1, NodeState.kept: 2}
    order = sorted(
        range(len(nodes)),
        key=lambda at: (interest.get(nodes[at].state, 0), nodes[at].recency, nodes[at].depth),
    )
    shown: set[int] = set()
    for at in order:
        branch = _branch(nodes, at, shown)
        if len(shown) + len(branch) <= max_nodes:
            shown.update(branch)
    walk = sorted(shown)
    place = {at: new for new, at in enumerate(walk)} | {-1: -1}
    hidden = [node for at, node in enumerate(nodes) if at not in shown]
    return replace(
        snapshot,
        nodes=tuple(replace(nodes[at], parent=place[nodes[at].parent]) for at in walk),
        hidden_nodes=len(hidden),
        hidden_tokens=sum(node.num_tokens for node in hidden),
    )


def _branch(nodes: Sequence[TreeNode], at: int, shown: set[int]) -> list[int]:
    """A node and those of its ancestors that are not shown yet."""
    branch = []
    while at != -1 and at not in shown:
        branch.append(at)
        at = nodes[at].parent
    return branch
