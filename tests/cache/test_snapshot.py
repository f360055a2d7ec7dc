"""Snapshots of the radix tree: the nine steps of the shipped figure, and against the plain tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.radix_cache import Node, RadixCache
from reference.replay import plain_cache, plain_row
from small_traces import all_tokens, small_trace, traces

from pcache.cache.contract import CacheConfig
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.observe import observe_tree
from pcache.cache.replay import SerialReplay, replay
from pcache.cache.snapshot import NodeState, TreeNode, TreeSnapshot, limited
from pcache.errors import ConfigError
from pcache.trace import read_trace
from pcache.trace.excerpt import excerpts
from pcache.trace.tokenize import load_tokenizer
from pcache.types import Trace

FIGURE = Path(__file__).parents[2] / "traces" / "radix-figure.jsonl"
CAPACITY = 185
MOMENTS = [0, 1, 2, 3, 4, 5, 8, 9, 12]

LONG = "Name three prime numbers larger than fifty.↵Bot: 53, 59, 61.↵User: And nine?↵Bot:"
# One line a node: state, [tokens], text; * marks the nodes that the last request pins.
STEPS = {
    0: "",
    1: """
+ [0-33]* Answer briefly.↵User: Hello!↵Bot:
  + [33-43]*  Hi there.
""",
    2: """
= [0-33]* Answer briefly.↵User: Hello!↵Bot:
  = [33-43]*  Hi there.
    + [43-98]* ↵User: Name three prime numbers larger than fifty.↵Bot:
      + [98-110]*  53, 59, 61.
""",
    3: """
= [0-22]* Answer briefly.↵User:\x20
  · [22-33] Hello!↵Bot:
    · [33-43]  Hi there.
      · [43-98] ↵User: Name three prime numbers larger than fifty.↵Bot:
        · [98-110]  53, 59, 61.
  + [22-46]* What is a KV cache?↵Bot:
    + [46-70]*  Attention state, saved.
""",
    4: """
= [0-22]* Answer briefly.↵User:\x20
  · [22-33] Hello!↵Bot:
    · [33-43]  Hi there.
      × [43-98] ↵User: Name three prime numbers larger than fifty.↵Bot:
        × [98-110]  53, 59, 61.
  = [22-46]* What is a KV cache?↵Bot:
    = [46-70]*  Attention state, saved.
      + [70-94]* ↵User: Why save it?↵Bot:
        + [94-111]*  Prefill is slow.
""",
    5: """
· [0-22] Answer briefly.↵User:\x20
  · [22-33] Hello!↵Bot:
    · [33-43]  Hi there.
  · [22-46] What is a KV cache?↵Bot:
    · [46-70]  Attention state, saved.
      · [70-94] ↵User: Why save it?↵Bot:
        · [94-111]  Prefill is slow.
+ [0-23]* big=small hot=cold wet=
  + [23-26]* dry
""",
    8: """
· [0-22] Answer briefly.↵User:\x20
  · [22-33] Hello!↵Bot:
    · [33-43]  Hi there.
  · [22-46] What is a KV cache?↵Bot:
    · [46-70]  Attention state, saved.
      · [70-94] ↵User: Why save it?↵Bot:
        · [94-111]  Prefill is slow.
= [0-19]* big=small hot=cold\x20
  · [19-23] wet=
    · [23-26] dry
  + [19-23] old=
    + [23-26] new
  + [19-23] far=
    + [23-27] near
  + [19-23]* low=
    + [23-27]* high
""",
    9: f"""
= [0-22]* Answer briefly.↵User:\x20
  = [22-33]* Hello!↵Bot:
    = [33-43]*  Hi there.
      + [43-131]* ↵User: {LONG}
        + [131-135]*  No.
  × [22-46] What is a KV cache?↵Bot:
    × [46-70]  Attention state, saved.
      × [70-94] ↵User: Why save it?↵Bot:
        × [94-111]  Prefill is slow.
· [0-19] big=small hot=cold\x20
  · [19-23] wet=
    · [23-26] dry
  · [19-23] old=
    · [23-26] new
  · [19-23] far=
    · [23-27] near
  · [19-23] low=
    · [23-27] high
""",
    # The last token of a prompt is always computed, so the same question again cuts off its "=".
    12: f"""
· [0-22] Answer briefly.↵User:\x20
  · [22-33] Hello!↵Bot:
    · [33-43]  Hi there.
      · [43-131] ↵User: {LONG}
        · [131-135]  No.
= [0-19]* big=small hot=cold\x20
  = [19-22]* low
    · [22-23]* =
      · [23-27] high
      + [23-31] towering
      + [23-29] raised
      + [23-31]* elevated
  × [19-23] wet=
    × [23-26] dry
  × [19-23] old=
    × [23-26] new
  × [19-23] far=
    × [23-27] near
""",
}  # fmt: skip
# Step → prompt tokens hit, prompt tokens, tokens evicted, tokens in the tree.
FLOWS = {
    0: (0, 0, 0, 0), 1: (0, 33, 0, 43), 2: (43, 98, 0, 110), 3: (22, 46, 0, 158),
    4: (70, 94, 67, 132), 5: (0, 23, 0, 158), 8: (57, 69, 0, 181), 9: (43, 131, 89, 184),
    12: (66, 69, 22, 184),
}  # fmt: skip


@pytest.fixture(scope="module")
def figure() -> dict[int, TreeSnapshot]:
    trace = read_trace(FIGURE)
    text = excerpts(trace, load_tokenizer("bytes"))
    config = CacheConfig("radix", 1, CAPACITY)
    return dict(zip(MOMENTS, observe_tree(trace, config, MOMENTS, text=text), strict=True))


def outline(snapshot: TreeSnapshot) -> str:
    return "\n".join(
        f"{'  ' * node.depth}{node.state.sign} [{node.start}-{node.stop}]{'*' * node.locks} {node.text}"
        for node in snapshot.nodes
    )


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_step_of_the_figure(figure: dict[int, TreeSnapshot], moment: int) -> None:
    snapshot = figure[moment]
    assert outline(snapshot) == STEPS[moment].strip("\n")
    flow = (snapshot.cached_tokens, snapshot.prompt_tokens, snapshot.evicted_tokens,
            snapshot.tree_tokens)  # fmt: skip
    assert flow == FLOWS[moment]
    assert snapshot.capacity_tokens == CAPACITY


def test_owners_and_recency_of_the_figure(figure: dict[int, TreeSnapshot]) -> None:
    by_text = {node.text: node for node in figure[4].nodes}
    assert by_text["Hello!↵Bot:"].owners == ("chat1.1", "chat1.2")
    assert by_text["Answer briefly.↵User: "].owners == ("chat1.1", "chat1.2", "chat2.1", "chat2.2")
    assert by_text[" Prefill is slow."].recency == by_text["Answer briefly.↵User: "].recency == 1
    # The split in the step before made "Hello!" recent, its children not.
    assert (by_text["Hello!↵Bot:"].recency, by_text[" Hi there."].recency) == (2, 3)
    assert by_text[" 53, 59, 61."].recency == 0
    assert [node.generated for node in figure[1].nodes] == [False, True]


def place(request: int, start: int, stop: int) -> str:
    return f"{request} {start} {stop}"


def prefixes(trace: Trace, nodes: list[TreeNode], block_size: int) -> set[tuple[Any, ...]]:
    """Salt and every prefix that ends with a block of one of the nodes."""
    found = set()
    for node in nodes:
        request = int(node.text.split()[0])
        whole = all_tokens(trace, request)
        ends = range(node.start + block_size, node.stop + 1, block_size)
        found |= {(int(trace.salt[request]), *whole[:end]) for end in ends}
    return found


def plain_trees(trace: Trace, config: CacheConfig, outputs: bool) -> Iterator[RadixCache]:
    """The plain tree before each request is released."""
    cache = plain_cache(config)
    assert isinstance(cache, RadixCache)
    for request in range(len(trace)):
        row = plain_row(trace, request)
        total = len(row.tokens) - 1 if outputs else row.prompt
        if cache.rejects(total):
            yield cache
            continue
        assert cache.admit(row, cache.lookup(row, row.prompt), row.prompt, row.prompt)
        cache.computed(row, row.prompt, int(trace.priority[request]))
        for held in range(row.prompt + 1, total + 1):
            assert cache.extend(row, held, 0)
        if total > row.prompt:
            cache.computed(row, total, int(trace.priority[request]))
        yield cache
        cache.release(row)


def plain_nodes(cache: RadixCache) -> set[Any]:
    """(salt, path, start, locks, recency, insertions, priority) of every node."""
    ticks = sorted({node.accessed for node in cache.nodes()}, reverse=True)

    def walk(node: Node, salt: int, above: list[Any]) -> Iterator[Any]:
        path = above + node.tokens
        yield (salt, tuple(path), len(above), node.locks, 1 + ticks.index(node.accessed),
               node.hits, node.priority)  # fmt: skip
        for child in node.children.values():
            yield from walk(child, salt, path)

    return {
        found for (salt, _), child in cache.root.children.items() for found in walk(child, salt, [])
    }


def live(snapshot: TreeSnapshot) -> list[TreeNode]:
    return [node for node in snapshot.nodes if node.state is not NodeState.evicted]


@settings(max_examples=80)
@given(
    trace=traces(), block_size=st.sampled_from([1, 2, 4]),
    kv_tokens=st.one_of(st.none(), st.integers(8, 90)), outputs=st.booleans(),
    eviction=st.sampled_from(list(EVICTION_ORDERS)),
)  # fmt: skip
def test_every_step_equals_the_plain_tree(
    trace: Trace, block_size: int, kv_tokens: int | None, outputs: bool, eviction: str
) -> None:
    config = CacheConfig("radix", block_size, kv_tokens, eviction)
    moments = list(range(1, len(trace) + 1))
    snapshots = observe_tree(trace, config, moments, outputs=outputs, text=place)
    for snapshot, plain in zip(snapshots, plain_trees(trace, config, outputs), strict=True):
        seen = set()
        for node in live(snapshot):
            request = int(node.text.split()[0])
            path = all_tokens(trace, request)[: node.stop]
            seen.add((int(trace.salt[request]), tuple(path), node.start, node.locks, node.recency,
                      node.insertions, node.priority))  # fmt: skip
        assert seen == plain_nodes(plain)
        assert len(seen) == len(live(snapshot))


@settings(max_examples=80)
@given(
    trace=traces(), block_size=st.sampled_from([1, 2, 4]), outputs=st.booleans(),
    kv_tokens=st.one_of(st.none(), st.integers(8, 90)), chosen=st.sets(st.integers(0, 12), min_size=1),
)  # fmt: skip
def test_states_and_owners_by_token_prefixes(
    trace: Trace, block_size: int, outputs: bool, kv_tokens: int | None, chosen: set[int]
) -> None:
    config = CacheConfig("radix", block_size, kv_tokens)
    moments = sorted({min(moment, len(trace)) for moment in chosen})
    cached = replay(trace, config, outputs=outputs).cached_tokens.tolist()
    snapshots = observe_tree(trace, config, moments, outputs=outputs, text=place)
    first = max(moments[0] - 1, 0)
    (start,) = observe_tree(trace, config, [first], outputs=outputs, text=place)
    for before, after in zip([start, *snapshots], snapshots, strict=False):
        old, new = (prefixes(trace, live(one), block_size) for one in (before, after))
        gone = [node for node in after.nodes if node.state is NodeState.evicted]
        added = [node for node in after.nodes if node.state is NodeState.added]
        assert prefixes(trace, gone, block_size) == old - new
        assert prefixes(trace, added, block_size) >= new - old
        num_gone = sum(node.num_tokens for node in gone)
        assert num_gone == len(old - new) * block_size <= after.evicted_tokens
        step = range(before.num_requests, after.num_requests)
        assert after.requests == tuple(trace.request_ids[request] for request in step)
        assert after.tree_tokens == len(new) * block_size
        assert after.cached_tokens == sum(
            cached[request] for request in step if cached[request] > 0
        )
        for node in after.nodes:
            check_node(trace, node, after, outputs, cached)
            if node.state in (NodeState.hit, NodeState.kept):
                path = path_of(trace, node)
                found = any(has(trace, one, path, cached[one]) for one in step)
                assert found == (node.state is NodeState.hit)


def path_of(trace: Trace, node: TreeNode) -> tuple[Any, ...]:
    request = int(node.text.split()[0])
    return (int(trace.salt[request]), *all_tokens(trace, request)[: node.stop])


def has(trace: Trace, request: int, path: tuple[Any, ...], length: int) -> bool:
    """Whether the first `length` tokens of a request, and its salt, begin with `path`."""
    own = (int(trace.salt[request]), *all_tokens(trace, request)[: max(length, 0)])
    return own[: len(path)] == path


def check_node(
    trace: Trace, node: TreeNode, snapshot: TreeSnapshot, outputs: bool, cached: list[int]
) -> None:
    """Its place below its parent, and who owns it."""
    path = path_of(trace, node)
    if node.parent < 0:
        assert (node.start, node.depth) == (0, 0)
    else:
        parent = snapshot.nodes[node.parent]
        assert node.depth == parent.depth + 1
        if node.state is NodeState.evicted and parent.state is not NodeState.evicted:
            # What a later request inserted anew need not end where the evicted tokens branched off.
            assert parent.start < node.start <= parent.stop
        else:
            assert node.start == parent.stop
        above = path_of(trace, parent)[: 1 + node.start]
        assert path[: len(above)] == above
    owners = [
        trace.request_ids[request]
        for request in range(snapshot.num_requests)
        if cached[request] >= 0
        and has(trace, request, path, len(all_tokens(trace, request)) - 1 if outputs
                else int(trace.prompt_tokens[request]))
    ]  # fmt: skip
    assert list(node.owners) == owners


@given(trace=traces(), stops=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=6))
def test_a_replay_may_stop_anywhere(trace: Trace, stops: list[tuple[int, bool]]) -> None:
    config = CacheConfig("radix", 1, 60)
    serial = SerialReplay(trace, config, outputs=True)
    for stop, hold in sorted(stops):
        serial.advance(min(stop, len(trace)), hold=hold)
    serial.advance(len(trace))
    whole = replay(trace, config, outputs=True)
    assert serial.result.cached_tokens.tolist() == whole.cached_tokens.tolist()
    assert serial.result.misses.tolist() == whole.misses.tolist()


def test_a_part_of_a_tree_shows_what_changed_and_all_above_it(
    figure: dict[int, TreeSnapshot],
) -> None:
    snapshot = figure[9]
    for most in range(1, len(snapshot.nodes) + 1):
        part = limited(snapshot, most)
        assert 0 < len(part.nodes) <= most
        assert part.hidden_nodes == len(snapshot.nodes) - len(part.nodes)
        total = sum(node.num_tokens for node in (*part.nodes,)) + part.hidden_tokens
        assert total == sum(node.num_tokens for node in snapshot.nodes)
        for node in part.nodes:
            assert node.start == (part.nodes[node.parent].stop if node.parent >= 0 else 0)
        assert [replace(node, parent=0) for node in part.nodes] == [
            replace(node, parent=0)
            for node in snapshot.nodes
            if node in {replace(one, parent=node.parent) for one in part.nodes}
        ]
    states = {node.state for node in limited(snapshot, 9).nodes}
    assert states == {NodeState.hit, NodeState.added, NodeState.evicted}


def test_what_cannot_be_shown() -> None:
    trace = small_trace([[1, 2, 3]])
    with pytest.raises(ConfigError, match="has no tree"):
        observe_tree(trace, CacheConfig("hash"), [1], text=place)
    for moments in ([2], [-1], [1, 1], [1, 0]):
        with pytest.raises(ConfigError, match="expected ascending numbers from 0 to 1"):
            observe_tree(trace, CacheConfig("radix"), moments, text=place)


def test_a_request_that_can_never_fit_is_named() -> None:
    trace = small_trace([[1, 2], [1, 2, 3, 4, 5, 6]])
    (snapshot,) = observe_tree(trace, CacheConfig("radix", 1, 4), [2], text=place)
    assert snapshot.rejected == ("r1",)
    assert [(node.state, node.locks) for node in snapshot.nodes] == [(NodeState.kept, 0)]
