"""One suite for every eviction policy, under `hash` and `radix`: several rows alive, any operations.

After each of them every block is free, pinned or evictable, a policy may name exactly what it should,
and no prefix has gone before what follows it. What the policy was told is checked by one that keeps
its own books.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ownership import Ledger, check, run_blocks, tree_nodes
from rig import Rig, operations, plain_policy, policy_state
from small_traces import session_traces

from pcache.cache.contract import (
    KIND,
    NUM_BLOCKS,
    RADIX,
    Cache,
    CacheConfig,
    eviction_failures,
)  # fmt: skip
from pcache.cache.eviction.registry import POLICIES
from pcache.types import Trace

RECORDER = plain_policy("recorder.py:Recorder")


def check_offered_blocks(cache: Cache) -> None:
    """`hash`: a block may be named if nobody holds it and it alone does not hold up what follows."""
    blocks, num_blocks = cache.flat.blocks, int(cache.settings[NUM_BLOCKS])
    keyed = {b: int(blocks[b].key) - 1 for b in range(1, num_blocks + 1) if blocks[b].key != 0}
    parents = {int(blocks[b].parent_key) for b in keyed}
    for block, key in keyed.items():
        others = any(other != block and keyed[other] == key for other in keyed)
        free = blocks[block].users == 0 and (others or key not in parents)
        assert bool(blocks[block].offered) == free, block
    for first in {int(cache.flat.holder[key]) for key in keyed.values()}:
        followed = {keyed[b] for b in keyed if blocks[b].parent_key == keyed[first]}
        assert blocks[first].children == len(followed)


def check_cached_prefixes(rig: Rig) -> None:
    """`hash`: what is cached of any request is a prefix of it."""
    keys, holder = rig.cache.keys, rig.cache.flat.holder
    for request in range(len(rig.trace)):
        node, path = int(keys.leaf[request]), []
        while node != 0:
            at = keys.nodes[node]
            path = [at.key_base + k for k in range(at.first_block, at.end_block)] + path
            node = int(at.parent)
        cached = [holder[key] != 0 for key in path]
        assert cached == sorted(cached, reverse=True)


def check_offered_nodes(cache: Cache) -> None:
    """`radix`: unlocked leaves, and nothing else, may be named."""
    tree = cache.radix.tree
    offered = [n for n in range(int(tree.state[0].unused)) if tree.nodes[n].offered == 1]
    leaves = [
        n for n in tree_nodes(cache) if tree.nodes[n].locks == 0 and tree.nodes[n].first_child == 0
    ]  # fmt: skip
    assert sorted(offered) == sorted(leaves)
    assert tree.state[0].num_offered == len(leaves)


def check_books(cache: Cache) -> None:
    """What the recorder was told is what the cache is."""
    state = policy_state(cache)
    policy = recorder_of(state)
    if cache.settings[KIND] == RADIX:
        nodes = cache.radix.tree.nodes
        units = {
            n: (int(nodes[n].start), int(nodes[n].stop - nodes[n].start), nodes[n].locks > 0,
                nodes[n].offered == 1, len(run_blocks(cache, int(nodes[n].run))))
            for n in tree_nodes(cache)
        }  # fmt: skip
        told = {
            u: (at.facts.position, at.facts.num_blocks, at.pinned, at.offered, at.facts.num_blocks)
            for u, at in policy.alive.items()
        }
        assert told == units
        return
    blocks = cache.flat.blocks
    flat = {
        b: (int(blocks[b].key) - 1, blocks[b].users > 0, blocks[b].offered == 1)
        for b in range(1, len(blocks)) if blocks[b].key != 0
    }  # fmt: skip
    assert {u: (at.facts.key, at.pinned, at.offered) for u, at in policy.alive.items()} == flat


def recorder_of(state: Any) -> Any:
    """The Python object behind a cache's policy."""
    from pcache.cache.eviction import registry

    return registry._attached[id(state)]._policy  # type: ignore[attr-defined]


@pytest.mark.parametrize("index", ["hash", "radix"])
@pytest.mark.parametrize("eviction", [*POLICIES, RECORDER], ids=[*POLICIES, "recorder"])
@settings(max_examples=25)
@given(
    trace=session_traces(max_requests=8), block_size=st.sampled_from([1, 2, 4]),
    kv_tokens=st.integers(8, 70), operations=operations,
)  # fmt: skip
def test_contract(
    eviction: str, index: str, trace: Trace, block_size: int, kv_tokens: int,
    operations: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    rig = Rig(CacheConfig(index, block_size, kv_tokens, eviction), trace)
    ledger = Ledger()
    for operation in operations:
        before = {at.request for at in rig.alive.values()}
        with eviction_failures(rig.cache):
            ledger.replay(rig.do(*operation))
        for request in before - {at.request for at in rig.alive.values()}:
            ledger.release(request)
        check(rig.cache, list(rig.alive))
        ledger.check(rig.cache, {row: at.request for row, at in rig.alive.items()})
        if index == "hash":
            check_offered_blocks(rig.cache)
            check_cached_prefixes(rig)
        else:
            check_offered_nodes(rig.cache)
        if eviction == RECORDER:
            check_books(rig.cache)
