"""What a picture of a radix tree says in words, the same on a terminal and in a file."""

from __future__ import annotations

from pcache.cache.snapshot import NodeState, TreeNode, TreeSnapshot
from pcache.report.units import plural

__all__ = ["DEEP_NOTE", "flow_words", "headline", "hidden_words", "node_words", "use_words"]

DEEP_NOTE = "Levels that are too deep for the width are not indented further."
NAMED = 3
"""Ids that are written out where there may be many."""


def headline(snapshot: TreeSnapshot) -> str:
    """`after 4 requests: chat-2.1`"""
    if not snapshot.requests:
        return "before the first request" if not snapshot.num_requests else "no request"
    return f"after {plural(snapshot.num_requests, 'request')}: {_listed(snapshot.requests)}"


def flow_words(snapshot: TreeSnapshot) -> str:
    """What the step's requests hit, added and evicted, in tokens."""
    parts = [
        f"{snapshot.cached_tokens:,} of {snapshot.prompt_tokens:,} prompt tokens hit",
        f"{snapshot.added_tokens:,} added",
        f"{snapshot.evicted_tokens:,} evicted",
    ]
    if snapshot.rejected:
        parts.append(f"can never fit: {_listed(snapshot.rejected)}")
    return " · ".join(parts) if snapshot.requests else "the tree is empty"


def use_words(snapshot: TreeSnapshot) -> str:
    """How full the cache is."""
    capacity = snapshot.capacity_tokens
    of = "" if capacity is None else f" of {capacity:,}"
    return f"{snapshot.tree_tokens:,}{of} tokens in use"


def node_words(node: TreeNode) -> str:
    """Token range, locks, recency and owners of a node."""
    parts = [f"{node.start:,}–{node.stop:,}"]
    if node.state is not NodeState.evicted:
        parts += [plural(node.locks, "lock")] * (node.locks > 0) + [f"recency {node.recency:,}"]
    return " · ".join([*parts, _listed(node.owners)])


def hidden_words(snapshot: TreeSnapshot) -> str:
    """What is not shown, for a tree of which only a part is."""
    hidden = plural(snapshot.hidden_nodes, "more node")
    return f"… {hidden} with {plural(snapshot.hidden_tokens, 'token')}"


def _listed(ids: tuple[str, ...]) -> str:
    """All of a few ids, or the last ones and how many came before."""
    if len(ids) <= NAMED + 1:
        return ", ".join(ids)
    return f"{len(ids) - NAMED:,} others, {', '.join(ids[-NAMED:])}"
