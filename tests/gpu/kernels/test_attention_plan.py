"""The plan against its definition: every tile's context is covered once, in order, by its chunks."""

from __future__ import annotations

import itertools

import pytest
import torch
from attention_runs import DEVICE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcache.gpu.kernels.attention.plan import AttentionPlan, TileShape

MAX_REQUESTS, MAX_TOKENS, NUM_KV_HEADS = 5, 200, 2
SHAPE = TileShape(block_m=16, block_n=32, num_warps=4, num_stages=1, occupancy=4)


def ints(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


def planned(q_lengths: list[int], prefixes: list[int]) -> AttentionPlan:
    plan = AttentionPlan(
        SHAPE,
        max_requests=MAX_REQUESTS,
        max_tokens=MAX_TOKENS,
        group_size=4,
        num_kv_heads=NUM_KV_HEADS,
        head_dim=16,
        device=DEVICE,
    )
    starts = [sum(q_lengths[:b]) for b in range(len(q_lengths) + 1)]
    plan.write_items(ints([7 - b for b in range(len(q_lengths))]), ints(prefixes), ints(starts))
    return plan


requests = st.lists(
    st.tuples(st.integers(0, 40), st.one_of(st.integers(0, 70), st.integers(0, 6000))),
    min_size=1,
    max_size=MAX_REQUESTS,
)


@settings(max_examples=12, deadline=None)
@given(requests)
@example([(1, 9000), (9, 7000), (40, 0)])  # two split requests beside a whole one
def test_items_cover_every_tile_once(requests: list[tuple[int, int]]) -> None:
    q_lengths, prefixes = [q for q, _ in requests], [p for _, p in requests]
    plan = planned(q_lengths, prefixes)
    num_items, num_merges = plan.counts.tolist()
    assert num_items <= plan.max_items
    items = plan.items[:num_items].tolist()
    merges = plan.merges[:num_merges].tolist()
    chunks: dict[int, list[list[int]]] = {}
    for item in items:
        chunks.setdefault(item[0], []).append(item)

    first, tiles = 0, {}
    for b, (tokens, prefix) in enumerate(zip(q_lengths, prefixes, strict=True)):
        for offset in range(0, tokens, plan.tile_tokens):
            tile_tokens = min(plan.tile_tokens, tokens - offset)
            tiles[first + offset] = (tile_tokens, prefix + offset, 7 - b)
        first += tokens
    assert chunks.keys() == tiles.keys()

    slots = []
    split = {merge[0]: merge for merge in merges}
    assert len(split) == num_merges
    for token, (tile_tokens, position, row) in tiles.items():
        parts = sorted(chunks[token], key=lambda item: (item[3], item[4]))
        assert all(part[1:3] == [tile_tokens, position] and part[5] == row for part in parts)
        assert parts[0][3] == 0
        assert parts[-1][4] == position + tile_tokens
        assert all(left[4] == right[3] for left, right in itertools.pairwise(parts))
        assert all(part[3] % SHAPE.block_n == 0 or part[3] == part[4] for part in parts)
        if len(parts) == 1:
            assert parts[0][6] == -1
            assert token not in split
        else:
            _, merge_tokens, num_chunks, slot, stride = split[token][:5]
            expected = [slot + c * stride for c in range(num_chunks)]
            assert merge_tokens == tile_tokens
            assert sorted(part[6] for part in parts) == sorted(expected)
            slots += expected
    assert len(set(slots)) == len(slots)
    assert all(0 <= slot < plan.max_partials for slot in slots)


def test_a_lone_long_context_fills_the_programs() -> None:
    plan = planned([1], [20_000])
    num_items, num_merges = plan.counts.tolist()
    assert num_merges == 1
    assert num_items * NUM_KV_HEADS > plan.programs // 2


@pytest.mark.skipif(DEVICE.type == "cuda", reason="five requests fill no GPU")
def test_what_whole_contexts_leave_of_the_programs_is_filled_with_chunks() -> None:
    """Eight programs, two KV heads: four of five contexts are a wave, and the fifth fills another."""
    plan = planned([1] * 5, [6000, 6040, 6000, 6010, 6000])
    num_items, num_merges = plan.counts.tolist()
    items = plan.items[:num_items].tolist()
    assert num_merges == 1
    assert [item[3:5] for item in items[:4]] == [[0, end] for end in (6041, 6001, 6001, 6011)]
    assert {item[0] for item in items[4:]} == {4}
    assert len(items[4:]) * NUM_KV_HEADS in range(plan.programs - 1, 3 * plan.programs)


def test_one_long_context_among_short_ones_is_cut() -> None:
    plan = planned([1] * 5, [50_000, 100, 100, 100, 100])
    num_items, num_merges = plan.counts.tolist()
    of_request = [item[0] for item in plan.items[:num_items].tolist()]
    assert num_merges == 1
    assert [of_request.count(b) for b in range(1, 5)] == [1] * 4
    assert of_request.count(0) * NUM_KV_HEADS >= plan.programs


def test_many_equal_tiles_are_not_split() -> None:
    plan = planned([40] * MAX_REQUESTS, [0] * MAX_REQUESTS)
    assert plan.counts.tolist() == [10 * MAX_REQUESTS, 0]


def test_no_tokens_no_items() -> None:
    assert planned([0, 0], [5, 0]).counts.tolist() == [0, 0]
