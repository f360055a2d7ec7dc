"""SGLang's cache-aware waiting orders, in plain Python."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reference.hash_cache import HashCache
from reference.radix_cache import Node, RadixCache


def sorted_by_longest_match(
    cache: HashCache | RadixCache, waiting: list[Any], index: str
) -> list[Any]:
    """Longest cached prefix first. A match of at most 32 tokens that shares 32 or more with somebody
    ahead who has as little goes last: it will find more in the next round."""
    keys, ahead = {}, []
    for request in waiting:
        tokens = request.row.tokens[: request.tokens_so_far]
        key = cache.lookup(request.row, len(tokens)) * cache.size
        if index != "exact" and key <= 32:
            if any(s == request.row.salt and other[:32] == tokens[:32] and len(tokens) >= 32
                   and len(other) >= 32 for s, other in ahead):  # fmt: skip
                key = -1
            else:
                ahead.append((request.row.salt, tokens))
        keys[request.number] = key
    return sorted(waiting, key=lambda request: -keys[request.number])


def sorted_by_subtree_weight(cache: RadixCache, waiting: list[Any]) -> list[Any]:
    """Depth first, heaviest child first, the requests that end at a node after its children's."""
    ends: dict[Node, list[Any]] = {}
    weight: Counter[Node] = Counter()
    last = {}
    for request in waiting:
        cache.lookup(request.row, request.tokens_so_far)
        last[request.number] = cache.matched
    for request in waiting:
        node: Node | None = last[request.number]
        assert node is not None
        ends.setdefault(node, []).append(request)
        while node is not None:
            weight[node] += 1
            node = node.parent
    order: list[Any] = []

    def visit(node: Node) -> None:
        for child in sorted(node.children.values(), key=lambda child: -weight[child]):
            visit(child)
        order.extend(ends.get(node, []))

    visit(cache.root)
    return order
