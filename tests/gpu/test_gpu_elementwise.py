"""Every elementwise kernel equals its reference: under Triton's interpreter, and on a GPU in full.

Outputs start as NaN, rows are strided, lengths are odd.
"""

from __future__ import annotations

import pytest
import torch

from pcache.gpu.kernels.rms_norm.kernel import rms_norm
from pcache.gpu.kernels.rms_norm.reference import rms_norm_reference
from pcache.gpu.kernels.rope_kv_write.kernel import rope_kv_write
from pcache.gpu.kernels.rope_kv_write.reference import rope_kv_write_reference
from pcache.gpu.kernels.silu_mul.kernel import silu_mul
from pcache.gpu.kernels.silu_mul.reference import silu_mul_reference
from pcache.gpu.kernels.table_update.kernel import table_update
from pcache.gpu.kernels.table_update.reference import table_update_reference
from pcache.gpu.kernels.token_slots.kernel import token_slots
from pcache.gpu.kernels.token_slots.reference import token_slots_reference

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Relative and absolute: a few units in the last place of the output's dtype."""


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def random(*size: int, dtype: torch.dtype) -> torch.Tensor:
    """Random rows of a wider tensor, so that the row stride is not the row length."""
    wide = torch.randn(*size[:-1], size[-1] + 8, device=DEVICE)
    return wide.to(dtype)[..., : size[-1]]


def nan_like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.full_like(tensor, float("nan"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize(
    ("rows", "columns"), [(0, 8), (3, 96), (1, 129)] + ON_GPU * [(1, 4096), (777, 8192)]
)
def test_rms_norm(rows: int, columns: int, added: bool, dtype: torch.dtype) -> None:
    x, weight = random(rows, columns, dtype=dtype), random(columns, dtype=dtype)
    residual = random(rows, columns, dtype=dtype) if added else None
    expected_residual = residual.clone() if residual is not None else None
    out, expected = nan_like(x), nan_like(x)
    rms_norm(x, residual, weight, 1e-5, out)
    rms_norm_reference(x, expected_residual, weight, 1e-5, expected)
    close(out, expected)
    if residual is not None and expected_residual is not None:
        close(residual, expected_residual)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("tokens", "columns"), [(0, 8), (3, 17), (2, 1025)] + ON_GPU * [(1, 14336), (4097, 14336)]
)
def test_silu_mul(tokens: int, columns: int, dtype: torch.dtype) -> None:
    gate_up = random(tokens, 2 * columns, dtype=dtype)
    out = torch.full((tokens, columns), float("nan"), dtype=dtype, device=DEVICE)
    expected = out.clone()
    silu_mul(gate_up, out)
    silu_mul_reference(gate_up, expected)
    close(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize(
    ("tokens", "heads", "kv_heads", "head_dim", "block_size"),
    [(5, 4, 2, 16, 1), (3, 9, 3, 64, 4), (7, 3, 1, 32, 16), (1, 2, 2, 16, 512)]
    + ON_GPU * [(2049, 32, 8, 128, 16), (33, 28, 4, 128, 1), (1, 64, 8, 128, 64)],
)
def test_rope_kv_write(
    tokens: int, heads: int, kv_heads: int, head_dim: int, block_size: int,
    normed: bool, dtype: torch.dtype,
) -> None:  # fmt: skip
    qkv = random(tokens, (heads + 2 * kv_heads) * head_dim, dtype=dtype)
    cos_sin = torch.randn(100, head_dim, device=DEVICE)
    positions = torch.randint(0, 100, (tokens,), dtype=torch.int32, device=DEVICE)
    num_blocks = tokens // block_size + 2
    slots = torch.randperm(num_blocks * block_size, device=DEVICE)[:tokens]
    slots[tokens // 2] = -1
    cache = torch.full(
        (2, num_blocks, block_size, kv_heads, head_dim), float("nan"), dtype=dtype, device=DEVICE
    )
    norms = [random(head_dim, dtype=dtype) if normed else None for _ in range(2)]
    expected_qkv, expected_cache = qkv.clone(), cache.clone()
    rope_kv_write(qkv, cos_sin, positions, slots, cache[0], cache[1], *norms, 1e-6)
    rope_kv_write_reference(
        expected_qkv, cos_sin, positions, slots, expected_cache[0], expected_cache[1], *norms, 1e-6
    )
    close(qkv, expected_qkv)
    close(cache, expected_cache)


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a GPU")
def test_rope_kv_write_beyond_two_to_the_31() -> None:
    cache = torch.zeros(2, 2_200_000, 1, 8, 128, dtype=torch.bfloat16, device=DEVICE)
    qkv = random(2, 48 * 128, dtype=torch.bfloat16)
    cos_sin = torch.randn(4, 128, device=DEVICE)
    positions = torch.tensor([1, 2], dtype=torch.int32, device=DEVICE)
    slots = torch.tensor([2_199_999, 2_100_000], device=DEVICE)
    small = torch.zeros(2, 2, 1, 8, 128, dtype=torch.bfloat16, device=DEVICE)
    here = torch.tensor([0, 1], device=DEVICE)
    rope_kv_write_reference(
        qkv.clone(), cos_sin, positions, here, small[0], small[1], None, None, 1e-6
    )
    rope_kv_write(qkv, cos_sin, positions, slots, cache[0], cache[1], None, None, 1e-6)
    close(cache[:, slots], small)
    cache[:, slots] = 0
    assert not cache.any()


@pytest.mark.parametrize("block_size", [1, 4, 512])
@pytest.mark.parametrize("tokens", [0, 1, 7, 300])
def test_token_slots(tokens: int, block_size: int) -> None:
    def ints(high: int, *size: int, low: int = 0) -> torch.Tensor:
        return torch.randint(low, high, size, dtype=torch.int32, device=DEVICE)

    token_ids, token_rows = ints(50, tokens, low=-1), ints(5, tokens, low=-1)
    table, last_tokens = ints(1000, 5, 32), ints(50, 5)
    positions = ints(32 * block_size, tokens)
    ids, slots = ints(9, tokens), ints(9, tokens).long()
    expected_ids, expected_slots = ids.clone(), slots.clone()
    arguments = (token_ids, token_rows, positions, last_tokens, table, block_size)
    token_slots(*arguments, ids, slots)
    token_slots_reference(*arguments, expected_ids, expected_slots)
    assert torch.equal(ids, expected_ids)
    assert torch.equal(slots, expected_slots)


def test_table_update() -> None:
    runs = torch.tensor(
        [[0, 3, 70, 1], [2, 0, 1000, 300], [1, 299, 5, 1], [0, 4, 9, 0]],
        dtype=torch.int32,
        device=DEVICE,
    )
    table = torch.full((3, 304), -7, dtype=torch.int32, device=DEVICE)
    for num_runs in range(5):
        expected = table.clone()
        count = torch.tensor([num_runs], dtype=torch.int32, device=DEVICE)
        table_update(runs, count, table)
        table_update_reference(runs, count, expected)
        assert torch.equal(table, expected)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: rms_norm(torch.ones(2, 4), None, torch.ones(5), 1e-5, torch.ones(2, 4)), "fit"),
        (lambda: silu_mul(torch.ones(2, 6), torch.ones(2, 4)), "twice as wide"),
        (lambda: table_update(torch.ones(2, 4), torch.ones(1), torch.ones(2, 4)), "int32"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, problem: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=problem):
        call()
