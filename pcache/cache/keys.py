"""The prefix forest seen in blocks of one size: every distinct full block gets a dense key.

Block k of a request is full when (k + 1) * block_size tokens of it exist; it belongs to the forest
node that holds its last token. Two requests have the same key at block k exactly when they agree on
all tokens up to and including that block, which is what a chained block hash expresses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records, wide
from pcache.prefixes import PrefixForest
from pcache.types import I4, I8, Records

__all__ = ["BlockKeys", "block_keys", "fill_path", "path_place"]


class BlockKeys(NamedTuple):
    """`nodes[n]` has `parent`, `first_block` ≤ its blocks < `end_block`, and `key_base`, the key of
    block 0 if the node reached that far up: block k of node n has the key key_base + k.

    `leaf[i]` is the node where request i's prompt and output end. `sizes` holds [block_size, number
    of keys, longest path in nodes].
    """

    nodes: Records
    leaf: I4
    sizes: I8


def block_keys(forest: PrefixForest, block_size: int) -> BlockKeys:
    """Number the forest's full blocks of `block_size` tokens."""
    nodes = records(
        len(forest.parent),
        parent=np.int64,
        first_block=np.int64,
        end_block=np.int64,
        key_base=np.int64,
    )
    nodes.parent = forest.parent
    nodes.first_block = forest.start // block_size
    nodes.end_block = forest.end // block_size
    ends = np.cumsum(nodes.end_block - nodes.first_block)
    nodes.key_base = ends - nodes.end_block
    longest = _longest_path(forest.parent, np.zeros_like(forest.parent))
    sizes = np.array([block_size, ends[-1], longest], np.int64)
    return BlockKeys(nodes, forest.output_node, sizes)


@hot
def _longest_path(parent: I4, depth: I4) -> int:
    """Nodes on the longest path below the root (parents precede children); fills `depth`."""
    longest = 1
    for node in range(1, len(parent)):
        depth[node] = depth[parent[node]] + 1
        longest = max(longest, wide(depth[node]))
    return longest


@hot
def fill_path(nodes: Records, node: int, path: I8) -> int:
    """Write the nodes from below the root down to `node` into `path`; their number."""
    length = 0
    at = node
    while at != 0:
        length += 1
        at = nodes[at].parent
    at = node
    for index in range(length - 1, -1, -1):
        path[index] = at
        at = nodes[at].parent
    return length


@hot
def path_place(nodes: Records, path: I8, place: int, block: int) -> int:
    """Index into `path`, not before `place`, of the node that owns `block`."""
    while nodes[path[place]].end_block <= block:
        place += 1
    return place
