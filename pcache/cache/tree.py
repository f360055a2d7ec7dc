"""The radix tree's structure: nodes over runs of blocks, found by where they start.

A node covers blocks `start` ≤ k < `stop` of every request that passes through it. Because the prefix
forest already knows which requests agree where, a node needs no tokens: it remembers the forest node
of its last block (`tail`), and it is found under the forest node of its first block. Siblings keep
the order in which their first blocks appeared. Cost: one operation for each forest node passed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.cache.eviction.heap import VictimHeap, heap_push, victim_heap, withdraw
from pcache.cache.eviction.orders import POLICY, eviction_key
from pcache.cache.eviction.seam import EVICTABLE, PINNED, RELEASED, WITHDRAWN, notify
from pcache.cache.keys import BlockKeys
from pcache.jit import hot, records
from pcache.types import Records

__all__ = [
    "TREE_ROOT", "RadixTree", "append_child", "child_starting_at", "first_key", "lock", "new_node",
    "newly_pinned", "next_tick", "offer", "radix_tree", "remove_leaf", "reorder_victim",
    "shared_end", "split", "touch", "unlock",
]  # fmt: skip

TREE_ROOT = 1


class RadixTree(NamedTuple):
    """`nodes[n]`: node 0 is none, 1 the root. `run` is the node's first block run, `locks` the
    running requests that pass through it, `generated` 1 where it holds tokens beyond its writer's
    prompt, `hits` its insertions, `offered` 1 where an eviction policy may name it.

    `forest[f]`: `starting` and then `nodes[n].also` list the tree nodes whose first block belongs to
    forest node f; `mark` is scratch. `state[0]`: eviction `order`, logical `clock`, `spare` and
    `unused` nodes, `evictable` and `num_generated` blocks, blocks `evicted` so far,
    `generated_hits`, the blocks of the last match that hold generated tokens, and with order POLICY
    the policy and the nodes `num_offered` to it.
    """

    nodes: Records
    forest: Records
    state: Records
    heap: VictimHeap


def radix_tree(keys: BlockKeys, max_nodes: int, order: int) -> RadixTree:
    """A tree that holds its root only, with room for `max_nodes` nodes."""
    nodes = records(
        max_nodes, parent=np.int64, first_child=np.int64, last_child=np.int64,
        next_sibling=np.int64, previous_sibling=np.int64, start=np.int64, stop=np.int64,
        tail=np.int64, also=np.int64, run=np.int64, locks=np.int64, generated=np.int64,
        last_access=np.int64, creation=np.int64, hits=np.int64, priority=np.int64,
        offered=np.int64,
    )  # fmt: skip
    state = records(
        1, order=np.int64, clock=np.int64, spare=np.int64, unused=np.int64, evictable=np.int64,
        num_generated=np.int64, evicted=np.int64, generated_hits=np.int64, policy=np.int64,
        policy_table=np.int64, policy_events=np.int64, num_offered=np.int64,
    )  # fmt: skip
    state[0].order, state[0].unused = order, TREE_ROOT + 1
    nodes[TREE_ROOT].locks = 1
    nodes[TREE_ROOT].priority = np.iinfo(np.int64).min
    forest = records(len(keys.nodes), starting=np.int64, mark=np.int64)
    return RadixTree(nodes, forest, state, victim_heap(max_nodes))


@hot
def next_tick(tree: RadixTree) -> int:
    """Advance the logical clock."""
    tree.state[0].clock += 1
    return tree.state[0].clock


@hot
def _is_victim(tree: RadixTree, node: int) -> bool:
    at = tree.nodes[node]
    return node > TREE_ROOT and at.stop > 0 and at.locks == 0 and at.first_child == 0


@hot
def offer(tree: RadixTree, node: int) -> None:
    """Tell the eviction queue, or the policy, that `node` may have become a victim or changed."""
    if tree.state[0].order == POLICY:
        _offer_to_policy(tree, node)
    elif _is_victim(tree, node):
        at = tree.nodes[node]
        first, second = eviction_key(
            tree.state[0].order, at.last_access, at.creation, at.hits, at.priority
        )
        heap_push(tree.heap, node, first, second)


@hot
def _offer_to_policy(tree: RadixTree, node: int) -> None:
    free, at = _is_victim(tree, node), tree.nodes[node]
    if free != (at.offered == 1):
        at.offered = int(free)
        tree.state[0].num_offered += 1 if free else -1
        notify(tree.state, EVICTABLE if free else WITHDRAWN, node, 0)


@hot
def touch(tree: RadixTree, node: int, tick: int) -> None:
    """Make `node` recent."""
    tree.nodes[node].last_access = tick
    reorder_victim(tree, node)


@hot
def reorder_victim(tree: RadixTree, node: int) -> None:
    """Tell the eviction queue that what orders `node` has changed; an eviction policy does not ask."""
    if tree.state[0].order != POLICY:
        offer(tree, node)


@hot
def child_starting_at(tree: RadixTree, forest_node: int, block: int) -> int:
    """The tree node whose first block is block `block` of `forest_node`; 0 if there is none."""
    node = tree.forest[forest_node].starting
    while node != 0 and tree.nodes[node].start != block:
        node = tree.nodes[node].also
    return node


@hot
def shared_end(keys: BlockKeys, tree: RadixTree, node: int, mark: int) -> int:
    """How far `node` agrees with the path whose forest nodes carry `mark`, in blocks."""
    forest_node = tree.nodes[node].tail
    stop = tree.nodes[node].stop
    while tree.forest[forest_node].mark != mark:
        forest_node = keys.nodes[forest_node].parent
        stop = min(stop, keys.nodes[forest_node].end_block)
    return stop


@hot
def _owner_above(keys: BlockKeys, forest_node: int, block: int) -> int:
    """The forest node, at or above the given one, that owns `block`."""
    while keys.nodes[forest_node].first_block > block:
        forest_node = keys.nodes[forest_node].parent
    return forest_node


@hot
def first_key(keys: BlockKeys, tree: RadixTree, node: int) -> int:
    """Key of the node's first block."""
    at = tree.nodes[node]
    return keys.nodes[_owner_above(keys, at.tail, at.start)].key_base + at.start


@hot
def _list_under(tree: RadixTree, forest_node: int, node: int) -> None:
    tree.nodes[node].also = tree.forest[forest_node].starting
    tree.forest[forest_node].starting = node


@hot
def _unlist(tree: RadixTree, forest_node: int, node: int) -> None:
    other = tree.forest[forest_node].starting
    if other == node:
        tree.forest[forest_node].starting = tree.nodes[node].also
        return
    while tree.nodes[other].also != node:
        other = tree.nodes[other].also
    tree.nodes[other].also = tree.nodes[node].also


@hot
def new_node(
    keys: BlockKeys, tree: RadixTree, parent: int, start: int, stop: int, tail: int, priority: int
) -> int:
    """A node without blocks, recent as of now, not yet among its parent's children."""
    state = tree.state[0]
    node = state.spare
    if node != 0:
        state.spare = tree.nodes[node].parent
    else:
        node = state.unused
        if node == len(tree.nodes):
            raise MemoryError("the radix tree has no room for another node")
        state.unused += 1
    at = tree.nodes[node]
    at.parent, at.start, at.stop, at.tail = parent, start, stop, tail
    at.first_child = at.last_child = at.next_sibling = at.previous_sibling = 0
    at.run = at.locks = at.generated = at.hits = at.offered = 0
    at.priority = priority
    at.last_access = at.creation = next_tick(tree)
    _list_under(tree, _owner_above(keys, tail, start), node)
    return node


@hot
def append_child(tree: RadixTree, parent: int, node: int) -> None:
    """Make `node` the youngest child of `parent`."""
    above = tree.nodes[parent]
    tree.nodes[node].previous_sibling = above.last_child
    if above.last_child == 0:
        above.first_child = node
    else:
        tree.nodes[above.last_child].next_sibling = node
    above.last_child = node
    if tree.state[0].order == POLICY:
        _offer_to_policy(tree, parent)


@hot
def _replace_child(
    tree: RadixTree, parent: int, before: int, after: int, left: int, right: int
) -> None:
    """Between siblings `before` and `after`, `left` … `right` now stand (the neighbours if none)."""
    if before == 0:
        tree.nodes[parent].first_child = left
    else:
        tree.nodes[before].next_sibling = left
    if after == 0:
        tree.nodes[parent].last_child = right
    else:
        tree.nodes[after].previous_sibling = right


@hot
def split(keys: BlockKeys, tree: RadixTree, node: int, block: int) -> int:
    """Cut `node` before `block`; the new upper part, in the node's old place among its siblings.

    The upper part is new (fresh recency and creation), inherits hits, priority and locks, and has no
    blocks yet; the lower part keeps the node's number and everything else.
    """
    below = tree.nodes[node]
    _unlist(tree, _owner_above(keys, below.tail, below.start), node)
    tail = _owner_above(keys, below.tail, block - 1)
    upper = new_node(keys, tree, below.parent, below.start, block, tail, below.priority)
    above = tree.nodes[upper]
    above.hits, above.locks, above.generated = below.hits, below.locks, below.generated
    before, after = below.previous_sibling, below.next_sibling
    above.previous_sibling, above.next_sibling = before, after
    _replace_child(tree, below.parent, before, after, upper, upper)
    above.first_child = above.last_child = node
    below.previous_sibling = below.next_sibling = 0
    below.parent, below.start = upper, block
    _list_under(tree, _owner_above(keys, below.tail, block), node)
    return upper


@hot
def remove_leaf(keys: BlockKeys, tree: RadixTree, node: int) -> None:
    """Take a leaf out of the tree; its parent may become a victim."""
    at = tree.nodes[node]
    parent, before, after = at.parent, at.previous_sibling, at.next_sibling
    _replace_child(tree, parent, before, after, after, before)
    _unlist(tree, _owner_above(keys, at.tail, at.start), node)
    withdraw(tree.heap, node)
    at.stop = 0
    at.parent = tree.state[0].spare
    tree.state[0].spare = node
    offer(tree, parent)


@hot
def newly_pinned(tree: RadixTree, node: int) -> int:
    """Blocks that `lock` of `node` would take from what is evictable."""
    blocks = 0
    while node > TREE_ROOT and tree.nodes[node].locks == 0:
        blocks += tree.nodes[node].stop - tree.nodes[node].start
        node = tree.nodes[node].parent
    return blocks


@hot
def lock(tree: RadixTree, node: int) -> None:
    """Pin every node from `node` up to, not including, the root."""
    while node > TREE_ROOT:
        at = tree.nodes[node]
        if at.locks == 0:
            tree.state[0].evictable -= at.stop - at.start
            withdraw(tree.heap, node)
        at.locks += 1
        if at.locks == 1 and tree.state[0].order == POLICY:
            _offer_to_policy(tree, node)
            notify(tree.state, PINNED, node, 0)
        node = at.parent


@hot
def unlock(tree: RadixTree, node: int) -> None:
    """Undo one `lock` of `node`."""
    while node > TREE_ROOT:
        at = tree.nodes[node]
        at.locks -= 1
        if at.locks == 0:
            tree.state[0].evictable += at.stop - at.start
            if tree.state[0].order == POLICY:
                notify(tree.state, RELEASED, node, 0)
            offer(tree, node)
        node = at.parent
