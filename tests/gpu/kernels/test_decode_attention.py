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
    decode_plan,
    expected_decode,
    run_decode,
)

from pcache.gpu.kernels.attention.cases import PagedCase, paged_case
from pcache.gpu.kernels.decode_attention.kernel import decode_attention
from pcache.gpu.kernels.tolerance import TOLERANCE, row_error


def make(contexts: list[int], block_size: int = 16, **overrides: object) -> PagedCase:
    """One query token for each context; none, and no context, where it is 0."""
    options: dict[str, object] = {
        "num_heads": HEADS[0],
        "num_kv_heads": HEADS[1],
        "head_dim": HEAD_DIM,
        "dtype": torch.float32,
    } | overrides
    prefixes = [max(c - 1, 0) for c in contexts]
    return paged_case(
        [1] * len(contexts), prefixes, block_size=block_size, device=DEVICE, **options
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_lengths_around_a_block(block_size: int, dtype: torch.dtype) -> None:
    around = sorted({1, max(block_size - 1, 1), block_size, block_size + 1, 100 * LONG})
    case = make(around, block_size, dtype=dtype)
    out, _ = run_decode(case)
    assert row_error(out, expected_decode(case)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("heads", [(3, 3), (6, 2), (7, 1), (20, 1)], ids=str)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_head_groups(heads: tuple[int, int], head_dim: int) -> None:
    num_heads, num_kv_heads = heads
    options = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    case = make([5, 70, 64], 16, dtype=torch.float16, **options)
    out, _ = run_decode(case)
    assert row_error(out, expected_decode(case)) <= TOLERANCE[torch.float16]


def test_one_long_context_among_short_ones_is_split() -> None:
    case = make([900 * LONG, 3, 17, 40])
    out, plan = run_decode(case)
    items, merges = plan.counts.tolist()
    assert merges == 1
    assert items > 4
    assert row_error(out, expected_decode(case)) <= TOLERANCE[torch.float32]


def test_rows_without_a_request_stay_untouched() -> None:
    case = make([50, 1, 33, 70])
    lengths = case.context_lengths
    lengths[1] = 0
    plan = decode_plan(case)
    plan.update(case.rows, lengths)
    decode_attention(
        case.q, case.k_cache, case.v_cache, case.block_table, plan, case.out, case.scale
    )
    rest = [0, 2, 3]
    assert row_error(case.out[rest], expected_decode(case)[rest]) <= TOLERANCE[torch.float32]
    assert case.out[1].isnan().all()


def test_more_requests_than_planned_for_are_refused() -> None:
    plan = decode_plan(make([3, 4]))
    case = make([3, 4, 5])
    with pytest.raises(ValueError, match="2 requests given 3"):
        plan.update(case.rows, case.context_lengths)


@pytest.mark.gpu
def test_a_cuda_graph_replays_on_other_lengths() -> None:
    case = make([3000, 40, 700], 16, dtype=torch.bfloat16)
    lengths = torch.tensor([10, 33, 1], dtype=torch.int32, device=DEVICE)
    plan = decode_plan(case)

    def step() -> None:
        plan.update(case.rows, lengths)
        decode_attention(
            case.q, case.k_cache, case.v_cache, case.block_table, plan, case.out, case.scale
        )

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    lengths.copy_(case.context_lengths)
    case.out.fill_(float("nan"))
    graph.replay()
    assert row_error(case.out, expected_decode(case)) <= TOLERANCE[torch.bfloat16]
