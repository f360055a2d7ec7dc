"""The radix tree: answers worked out by hand from SGLang's rules."""

from __future__ import annotations

import pytest
from small_traces import small_trace

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import ReplayResult, replay
from pcache.cache.tree import TREE_ROOT
from pcache.types import Trace

A, B, C, D = ([letter] * 40 for letter in (1, 2, 3, 4))


def cached(trace: Trace, config: CacheConfig, *, outputs: bool = False) -> list[int]:
    return replay(trace, config, outputs=outputs).cached_tokens.tolist()


def spans(result: ReplayResult) -> list[tuple[int, int]]:
    """(first, end) block of every node of the tree that is left."""
    nodes, found, todo = result.cache.radix.tree.nodes, [], [TREE_ROOT]
    while todo:
        child = int(nodes[todo.pop()].first_child)
        while child != 0:
            found.append((int(nodes[child].start), int(nodes[child].stop)))
            todo.append(child)
            child = int(nodes[child].next_sibling)
    return sorted(found)


def test_page_1_hits_all_but_the_last_token() -> None:
    assert cached(small_trace([A[:9], A[:9]]), CacheConfig("radix", 1)) == [0, 8]


def test_exact_multiple_of_a_page_loses_the_page() -> None:
    trace = small_trace([A[:8], A[:8], A[:9]])
    assert cached(trace, CacheConfig("radix", 4)) == [0, 4, 8]


def test_a_read_splits_the_node_it_matches_in_part() -> None:
    """The second prompt's look-up leaves (0, 3); its insertion adds its own tail."""
    split = replay(small_trace([A[:6], A[:3] + B[:2]]), CacheConfig("radix", 1))
    assert spans(split) == [(0, 3), (3, 5), (3, 6)]
    same = replay(small_trace([A[:6], A[:6]]), CacheConfig("radix", 1))
    assert spans(same) == [(0, 5), (5, 6)]


def test_duplicates_are_freed_when_inserted() -> None:
    """The last page is recomputed, found in the tree and given back: 2 blocks stay in use."""
    result = replay(small_trace([A[:8]] * 3), CacheConfig("radix", 4, 40))
    assert result.cache.radix.runs.state[0].free == 10 - 2


def test_eviction_takes_the_whole_leaf() -> None:
    """10 tokens: A leaves 8; B needs 4 and 2 are free, yet all 8 go. Blocks keep 6 of them."""
    trace = small_trace([A[:8], B[:4], A[:8]])
    assert cached(trace, CacheConfig("radix", 1, 10)) == [0, 0, 0]
    assert cached(trace, CacheConfig("hash", 1, 10)) == [0, 0, 6]


def test_larger_pages_reserve_one_page_more() -> None:
    """12 tokens, pages of 4: A's 4 stay for B's 4 only if a page is spare. At 8 tokens none is."""
    trace = small_trace([A[:4], B[:4], A[:5]])
    assert cached(trace, CacheConfig("radix", 4, 12)) == [0, 0, 4]
    trace = small_trace([A[:4], B[:4], C[:4], A[:5]])
    assert cached(trace, CacheConfig("radix", 4, 12)) == [0, 0, 0, 0]
    assert cached(trace, CacheConfig("hash", 4, 12)) == [0, 0, 0, 4]


def test_rejection_counts_the_reserved_page() -> None:
    trace = small_trace([A[:9]])
    assert cached(trace, CacheConfig("radix", 4, 12)) == [-1]
    assert cached(trace, CacheConfig("hash", 4, 12)) == [0]
    assert cached(trace, CacheConfig("radix", 1, 9)) == [0]


def test_touching_a_prefix_rejuvenates_the_rest_of_its_node() -> None:
    """Tokens [:4] of A are read after B: A's unread tail becomes newer than B, so B goes for C.

    14 tokens: A 6, B 4, then A[:3] + D[:1] shares 3 and adds 1: 3 free. C needs 4.
    """
    trace = small_trace([A[:6], B[:4], A[:3] + D[:1], C[:4], A[:6], B[:4]])
    assert cached(trace, CacheConfig("radix", 1, 14)) == [0, 0, 3, 0, 5, 0]


ORDERS = {
    # 12 tokens hold A (4), B (4) and C (3), then A again with one token more: a leaf below A's.
    # Priorities are 1, 2, 0 and 1. D needs 4. Which of A, B, C are left then?
    "lru": "A C",  # B was touched longest ago
    "mru": "B C",  # A's new leaf, then A itself, were touched last
    "fifo": "A C",  # of the leaves, B is the oldest: A is not one any more
    "filo": "A B",  # A's new leaf, then C, are the youngest
    "lfu": "A C",  # all leaves were inserted once, B before the others
    "slru": "A C",  # nobody's leaf is protected: as lru
    "priority": "A B",  # C is the least urgent, then A's new leaf
}


@pytest.mark.parametrize(("eviction", "left"), ORDERS.items())
def test_who_goes_first(eviction: str, left: str) -> None:
    names = {"A": A, "B": B, "C": C}
    found = ""
    for name, tokens in names.items():
        prompts = [A[:4], B[:4], C[:3], A[:5], D[:4], tokens[:4]]
        trace = small_trace(prompts, priority=[1, 2, 0, 1, 0, 0])
        found += f" {name}" if cached(trace, CacheConfig("radix", 1, 12, eviction))[-1] else ""
    assert found.strip() == left


def test_slru_protects_what_was_inserted_twice() -> None:
    """A is inserted by two prompts that end with it, B once but later: B goes first."""
    trace = small_trace([A[:4], A[:4] + C[:1], A[:4] + D[:1], B[:3], D[:5], A[:5]])
    assert cached(trace, CacheConfig("radix", 1, 9, "slru"))[-1] == 4
    assert cached(trace, CacheConfig("radix", 1, 9, "lru"))[-1] == 0


def test_outputs_can_go_before_their_prompt() -> None:
    """A finished leaf is split where the prompt ends: a small need takes the output only."""
    trace = small_trace([A[:5], B[:3], A[:5]], [5, 1, 1])
    result = replay(trace, CacheConfig("radix", 1, 10), outputs=True)
    assert result.cached_tokens.tolist() == [0, 0, 4]
    alone = replay(small_trace([A[:5]], [5]), CacheConfig("radix", 1, 10), outputs=True)
    assert spans(alone) == [(0, 5), (5, 9)]


def test_outputs_of_a_known_turn_are_found() -> None:
    trace = small_trace([A[:4], A[:4] + B[:5] + C[:1]], [B[:5], 1])
    assert cached(trace, CacheConfig("radix", 1), outputs=True) == [0, 8]
    result = replay(trace, CacheConfig("radix", 1), outputs=True)
    assert result.generated_hits.tolist() == [0, 4]


def test_a_tree_cut_into_single_tokens_has_room() -> None:
    """Prefill in chunks of one token leaves a node a token."""
    trace = small_trace([[i % 7 for i in range(3000)]])
    result = replay(trace, CacheConfig("radix", 1), chunk_tokens=1)
    assert len(spans(result)) == 3000
