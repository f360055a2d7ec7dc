"""Why prompt tokens were missed, token by token, without looking at tokens one by one.

Each missed token takes the first cause that applies: *cold* (no earlier request presented this
prefix), *in flight* (another running request is computing it), *evicted* (it was matchable once and
is gone; with `none`, everything computed goes at once), *rounding* (it was never matchable: the
block was not full or its tokens part within it, or the last-token rule). Depths along a prefix grow
monotonically, so a few numbers a forest node suffice. Cost: one operation a forest node of the path.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records, wide
from pcache.prefixes import PrefixForest
from pcache.types import I4, I8, Records

__all__ = [
    "COLD", "EVICTED", "IN_FLIGHT", "ROUNDING", "Accounting", "accounting", "computing", "count_misses",
    "matchable", "presented",
]  # fmt: skip

COLD, IN_FLIGHT, EVICTED, ROUNDING = range(4)


class Accounting(NamedTuple):
    """`forest[f]` has `parent`, `start`, `seen` (how deep any request presented it) and a scratch
    `mark`. `keys[k]` has `start`, `end`, `reached` (how deep key node k was ever matchable) and
    `computing` (running prefills that still have to finish it). Depths in tokens.

    Key nodes are the forest's nodes, except under `exact`, where different prompts share no key.
    `prompt_node[i]` and `output_node[i]` are request i's forest nodes.
    """

    forest: Records
    keys: Records
    prompt_node: I4
    output_node: I4


def accounting(forest: PrefixForest, key_forest: PrefixForest) -> Accounting:
    """Nothing presented, nothing cached."""
    seen = records(
        len(forest.parent), parent=np.int64, start=np.int64, seen=np.int64, mark=np.int64
    )
    seen.parent, seen.start, seen.seen = forest.parent, forest.start, forest.start
    keys = records(
        len(key_forest.parent), start=np.int64, end=np.int64, reached=np.int64, computing=np.int64
    )
    keys.start, keys.end, keys.reached = key_forest.start, key_forest.end, key_forest.start
    return Accounting(seen, keys, forest.prompt_node, forest.output_node)


@hot
def _seen_depth(books: Accounting, node: int) -> int:
    """Longest prefix, in tokens, of the path to `node` that was presented before."""
    while node != 0:
        at = books.forest[node]
        if at.seen > at.start:
            return at.seen
        node = at.parent
    return 0


@hot
def _reached_depth(books: Accounting, path: I8, path_length: int) -> int:
    """How deep along the key path tokens were ever in matchable blocks."""
    for place in range(path_length - 1, -1, -1):
        node = books.keys[path[place]]
        if node.reached > node.start:
            return node.reached
    return 0


@hot
def count_misses(
    books: Accounting, request: int, path: I8, path_length: int, prompt_tokens: int,
    cached_tokens: int, block_tokens: int, causes: I8,
) -> None:  # fmt: skip
    """Fill `causes` (indexed by COLD … ROUNDING) for a request that is being admitted.

    `path` holds the key nodes of the request. Only whole blocks could be cached for it even in theory:
    none that it shares with earlier requests in part, and none with its last token.
    """
    seen = max(_seen_depth(books, wide(books.prompt_node[request])), cached_tokens)
    causes[:] = 0
    causes[COLD] = max(0, prompt_tokens - seen)
    stop = min(prompt_tokens, seen)
    reached = min(prompt_tokens - 1, _reached_depth(books, path, path_length))
    matchable_before = reached // block_tokens * block_tokens
    for place in range(path_length):
        node = books.keys[path[place]]
        first = max(node.start, cached_tokens)
        last = min(node.end, stop)
        if first >= last:
            continue
        if node.computing > 0:
            causes[IN_FLIGHT] += last - first
        else:
            gone = max(first, min(last, matchable_before))
            causes[EVICTED] += gone - first
            causes[ROUNDING] += last - gone


@hot
def presented(books: Accounting, request: int, depth: int) -> None:
    """Note that `request` presented, or generated, its first `depth` tokens."""
    node = wide(books.output_node[request])
    while node != 0:
        at = books.forest[node]
        if depth > at.start:
            if at.seen >= depth:
                break
            at.seen = depth
            depth = at.start
        node = at.parent


@hot
def matchable(books: Accounting, path: I8, path_length: int, depth: int) -> None:
    """Note that the first `depth` tokens along the key path became matchable."""
    for place in range(path_length - 1, -1, -1):
        node = books.keys[path[place]]
        if node.start >= depth:
            continue
        reach = min(depth, node.end)
        if node.reached >= reach:
            break
        node.reached = reach


@hot
def computing(
    books: Accounting, path: I8, path_length: int, first: int, last: int, stop: int, change: int
) -> None:
    """A prefill that ends at token `stop` begins (+1) or has left behind (-1) the key nodes whose
    part of it ends at depths first < end ≤ last."""
    for place in range(path_length):
        node = books.keys[path[place]]
        if node.start < stop and first < min(node.end, stop) <= last:
            node.computing += change
