"""The kernel of `attention/hopper.py` against the reference, where it can run."""

from __future__ import annotations

import pytest
import torch
from attention_runs import DEVICE, expected_extend, run_extend

from pcache.gpu.kernels.attention.cases import PagedCase, paged_case
from pcache.gpu.kernels.attention.plan import TileShape, has_specialised_kernel
from pcache.gpu.kernels.extend_attention.kernel import extend_tile_shape
from pcache.gpu.kernels.tolerance import TOLERANCE, row_error

SHAPE = TileShape(128, 128, num_warps=8, num_stages=3, occupancy=1, specialised=True)


@pytest.fixture
def hopper() -> None:
    if not has_specialised_kernel(DEVICE):
        pytest.skip("needs a GPU of capability 9.0 and Triton 3.6")


def make(
    q_lengths: list[int], prefix_lengths: list[int], block_size: int, **overrides: object
) -> PagedCase:
    options: dict[str, object] = {
        "num_heads": 32,
        "num_kv_heads": 8,
        "head_dim": 128,
        "dtype": torch.bfloat16,
    } | overrides
    return paged_case(q_lengths, prefix_lengths, block_size=block_size, device=DEVICE, **options)


def check(case: PagedCase) -> int:
    """Compare with the reference; returns how many tiles were split."""
    out, plan = run_extend(case, SHAPE)
    assert plan.specialised
    assert row_error(out, expected_extend(case)) <= TOLERANCE[case.q.dtype]
    return int(plan.counts[1])


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("block_size", [16, 32, 64, 128, 256, 512])
def test_ragged_batches(block_size: int, dtype: torch.dtype) -> None:
    check(make([300, 1, 0, 129, 77], [0, 640, 50, 1000, 33], block_size, dtype=dtype))


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("block_size", [16, 64, 256])
def test_lengths_around_a_block(block_size: int) -> None:
    around = [1, block_size - 1, block_size, block_size + 1]
    check(make(around, [0, 500, 3, 65], block_size))
    check(make([2] * 4, around, block_size))


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("heads", [(3, 3), (6, 2), (14, 2), (20, 1), (128, 1)], ids=str)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_head_groups(heads: tuple[int, int], head_dim: int) -> None:
    num_heads, num_kv_heads = heads
    options = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    check(make([200, 11, 1], [30, 300, 60], 16, dtype=torch.float16, **options))


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("block_size", [16, 64, 256])
def test_a_long_prefix_is_split_and_merged(block_size: int) -> None:
    assert check(make([3], [20011], block_size))
    assert check(make([70, 1], [5000, 9], block_size))


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
def test_programs_take_several_items() -> None:
    check(make([700, 900, 500], [0, 100, 2000], 16))


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
def test_strided_tensors() -> None:
    case = make([150, 20], [70, 0], 16)
    nan = float("nan")
    tokens, num_heads, head_dim = case.q.shape
    blocks = case.k_cache.new_full((case.k_cache.shape[0], 2, *case.k_cache.shape[1:]), nan)
    blocks[:, 0], blocks[:, 1] = case.k_cache, case.v_cache  # K and V of a block side by side
    packed = case.q.new_full((tokens, num_heads + 4, head_dim), nan)
    packed[:, 2:-2] = case.q
    check(
        PagedCase(
            packed[:, 2:-2], blocks[:, 0], blocks[:, 1], case.block_table, case.rows,
            case.q_starts, case.prefix_lengths, torch.full_like(packed, nan)[:, 2:-2], case.scale,
        )
    )  # fmt: skip


@pytest.mark.gpu
@pytest.mark.usefixtures("hopper")
def test_offsets_beyond_two_to_the_31() -> None:
    case = make([140, 3], [500, 70], 64)
    num_blocks, *block = case.k_cache.shape
    far = 2**31 // case.k_cache[0].numel() + 8
    k_cache, v_cache = (
        torch.empty(far + num_blocks, *block, dtype=torch.bfloat16, device=DEVICE) for _ in range(2)
    )
    k_cache[far:], v_cache[far:] = case.k_cache, case.v_cache
    check(
        PagedCase(
            case.q, k_cache, v_cache, case.block_table + far, case.rows, case.q_starts,
            case.prefix_lengths, torch.full_like(case.q, float("nan")), case.scale,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, True),
        ({"block_size": 64}, True),
        ({"block_size": 8}, False),
        ({"dtype": torch.float32}, False),
        ({"max_tokens": 64}, True),
        ({"max_tokens": 32}, False),
        ({"specialised": False}, False),
    ],
    ids=str,
)
def test_it_is_chosen_for_all_but_the_smallest_steps(
    changes: dict[str, object], taken: bool
) -> None:
    options: dict[str, object] = {
        "max_tokens": 4096,
        "num_heads": 32,
        "num_kv_heads": 8,
        "block_size": 16,
        "dtype": torch.bfloat16,
        "specialised": True,
    }
    assert extend_tile_shape(**(options | changes)).specialised is taken


def test_it_is_not_chosen_without_a_gpu() -> None:
    assert not has_specialised_kernel(torch.device("cpu"))
