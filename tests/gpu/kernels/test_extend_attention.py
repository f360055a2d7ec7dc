from __future__ import annotations

import pytest
import torch
from attention_runs import (
    BLOCK_SIZES,
    DEVICE,
    DTYPES,
    HEAD_DIM,
    HEADS,
    LONG,
    expected_extend,
    extend_plan,
    run_extend,
)

from pcache.gpu.kernels.attention.cases import PagedCase, paged_case
from pcache.gpu.kernels.attention.plan import TileShape
from pcache.gpu.kernels.extend_attention.kernel import extend_attention, extend_tile_shape
from pcache.gpu.kernels.tolerance import TOLERANCE, row_error


def make(
    q_lengths: list[int], prefix_lengths: list[int], block_size: int = 16, **overrides: object
) -> PagedCase:
    options: dict[str, object] = {
        "num_heads": HEADS[0],
        "num_kv_heads": HEADS[1],
        "head_dim": HEAD_DIM,
        "dtype": torch.float32,
    } | overrides
    return paged_case(q_lengths, prefix_lengths, block_size=block_size, device=DEVICE, **options)


def check(case: PagedCase, tile_shape: TileShape | None = None) -> None:
    out, _ = run_extend(case, tile_shape)
    assert row_error(out, expected_extend(case)) <= TOLERANCE[case.q.dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_lengths_around_a_block(block_size: int, dtype: torch.dtype) -> None:
    around = sorted({1, max(block_size - 1, 1), block_size, block_size + 1})
    check(make(around, [0, 40 * LONG, 3, 65][: len(around)], block_size, dtype=dtype))
    check(make([2] * len(around), around, block_size, dtype=dtype))


@pytest.mark.parametrize("heads", [(3, 3), (6, 2), (7, 1), (20, 1)], ids=str)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_head_groups(heads: tuple[int, int], head_dim: int) -> None:
    dtype = torch.float16
    num_heads, num_kv_heads = heads
    options = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    check(make([5, 11 * LONG, 1], [30, 0, 60], 16, dtype=dtype, **options))


def shapes() -> list[tuple[TileShape, int]]:
    """Every launch configuration that the kernel picks, with a block size that picks it."""
    found: dict[TileShape, int] = {}
    for dtype in (torch.float32, torch.float16):
        for tokens in (1, 16, 300, 8192):
            for block_size in (1, 64, 128):
                shape = extend_tile_shape(
                    max_tokens=tokens,
                    num_heads=32,
                    num_kv_heads=8,
                    block_size=block_size,
                    dtype=dtype,
                )
                found[shape] = block_size
    return list(found.items())


@pytest.mark.parametrize(("shape", "block_size"), shapes(), ids=str)
def test_every_tile_shape(shape: TileShape, block_size: int) -> None:
    dtype = torch.float32 if shape.num_stages == 1 else torch.float16
    check(make([20 * LONG, 1, 5], [0, 70 * LONG, 130], block_size, dtype=dtype), shape)


def test_a_long_prefix_is_split_and_merged() -> None:
    case = make([3], [600 * LONG], 16)
    out, plan = run_extend(case)
    items, merges = plan.counts.tolist()
    assert merges == 1
    assert items > 1
    assert row_error(out, expected_extend(case)) <= TOLERANCE[torch.float32]


def test_requests_without_tokens_and_padding_rows_stay_untouched() -> None:
    case = make([4, 0, 2, 0], [9, 100, 0, 0], num_padding_tokens=5)
    out, _ = run_extend(case)
    assert row_error(out[:6], expected_extend(case)[:6]) <= TOLERANCE[torch.float32]
    assert out[6:].isnan().all()


def test_a_plan_serves_other_lengths_within_its_capacity() -> None:
    large, small = make([9, 12, 1], [50, 0, 5]), make([1, 2, 0], [0, 60, 3])
    plan = extend_plan(large)
    for case in (large, small, large):
        case.out.fill_(float("nan"))
        plan.update(case.rows, case.q_starts, case.prefix_lengths)
        extend_attention(
            case.q, case.k_cache, case.v_cache, case.block_table, plan, case.out, case.scale
        )
        assert row_error(case.out, expected_extend(case)) <= TOLERANCE[torch.float32]


def test_requests_may_share_blocks() -> None:
    case = make([4, 6], [32, 32])
    first, second = case.rows.tolist()
    case.block_table[second, :2] = case.block_table[first, :2]
    check(case)


@pytest.mark.parametrize("block_size", [16, 64])
def test_strided_tensors(block_size: int) -> None:
    case = make([5, 20], [70, 0], block_size, dtype=torch.float16)
    tokens, num_heads, head_dim = case.q.shape
    nan = float("nan")
    blocks = case.k_cache.new_full((case.k_cache.shape[0], 2, *case.k_cache.shape[1:]), nan)
    blocks[:, 0], blocks[:, 1] = case.k_cache, case.v_cache  # K and V of a block side by side
    packed = case.q.new_full((tokens, num_heads + 4, head_dim), nan)
    packed[:, 2:-2] = case.q
    strided = PagedCase(
        packed[:, 2:-2], blocks[:, 0], blocks[:, 1], case.block_table, case.rows, case.q_starts,
        case.prefix_lengths, torch.full_like(packed, nan)[:, 2:-2], case.scale,
    )  # fmt: skip
    check(strided)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("k_cache", lambda t: t.half()),
        ("k_cache", lambda t: t[:, :15]),
        ("v_cache", lambda t: t[:-1]),
        ("q", lambda t: t[:, :3]),
        ("q", lambda t: t.transpose(0, 2)),
        ("block_table", lambda t: t.long()),
        ("out", lambda t: t[1:]),
    ],
)
def test_arguments_that_do_not_fit_are_refused(field: str, change: object) -> None:
    case = make([4], [3])
    arguments = {f: getattr(case, f) for f in ("q", "k_cache", "v_cache", "block_table", "out")}
    arguments[field] = change(arguments[field])
    with pytest.raises(ValueError, match="attention"):
        extend_attention(**arguments, plan=extend_plan(case), scale=case.scale)


@pytest.mark.gpu
def test_offsets_beyond_two_to_the_31() -> None:
    case = make([40, 3], [500, 70], 64, dtype=torch.bfloat16)
    num_blocks, *block = case.k_cache.shape
    far = 2**31 // case.k_cache[0].numel() + 8
    k_cache, v_cache = (
        torch.empty(far + num_blocks, *block, dtype=torch.bfloat16, device=DEVICE) for _ in range(2)
    )
    k_cache[far:], v_cache[far:] = case.k_cache, case.v_cache
    for block_size in (64, 16):
        shape = (-1, block_size, *block[1:])
        table = (case.block_table + far)[..., None] * (64 // block_size)
        table = table + torch.arange(64 // block_size, dtype=torch.int32, device=DEVICE)
        moved = PagedCase(
            case.q, k_cache.view(shape), v_cache.view(shape), table.flatten(1), case.rows,
            case.q_starts, case.prefix_lengths, torch.full_like(case.q, float("nan")), case.scale,
        )  # fmt: skip
        check(moved)


@pytest.mark.gpu
def test_a_cuda_graph_replays_on_other_lengths() -> None:
    captured, replayed = make([30, 2], [300, 0]), make([1, 31], [20, 280])
    fields = ("q", "k_cache", "v_cache", "block_table", "rows", "q_starts", "prefix_lengths")
    plan = extend_plan(captured)

    def step() -> None:
        plan.update(captured.rows, captured.q_starts, captured.prefix_lengths)
        extend_attention(
            captured.q, captured.k_cache, captured.v_cache, captured.block_table, plan,
            captured.out, captured.scale,
        )  # fmt: skip

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for field in fields:
        target, source = getattr(captured, field), getattr(replayed, field)
        if field in ("k_cache", "v_cache"):
            target[: source.shape[0]] = source
        elif field == "block_table":
            target[:, : source.shape[1]] = source
        else:
            target.copy_(source)
    captured.out.fill_(float("nan"))
    graph.replay()
    assert row_error(captured.out, expected_extend(replayed)) <= TOLERANCE[torch.float32]
