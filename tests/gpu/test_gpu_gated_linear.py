"""The gated linear kernel equals its reference."""

from __future__ import annotations

import pytest
import torch

from pcache.gpu.kernels.gated_linear.kernel import GatedShape, gated_linear, gated_shape
from pcache.gpu.kernels.gated_linear.reference import gated_linear_reference

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
DTYPES = list(TOLERANCE) if ON_GPU else [torch.float16]  # Triton's interpreter has no bf16 products


def check(rows: int, columns: int, depth: int, shape: GatedShape, dtype: torch.dtype) -> None:
    x = torch.randn(rows, depth, device=DEVICE).to(dtype)
    weight = (torch.randn(2 * columns, depth, device=DEVICE) / depth**0.5).to(dtype)
    out = torch.full((rows, columns), float("nan"), dtype=dtype, device=DEVICE)
    expected = torch.empty_like(out)
    gated_linear(x, weight, out, shape)
    gated_linear_reference(x, weight, expected)
    torch.testing.assert_close(out, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 16])
def test_small(rows: int, dtype: torch.dtype) -> None:
    check(rows, 64, 128, GatedShape(16, 32, 32, num_warps=4, num_stages=2), dtype)


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a GPU")
@pytest.mark.parametrize("rows", [1, 17, 32, 64, 104, 127, 128])
@pytest.mark.parametrize(("columns", "depth"), [(14336, 4096), (1536, 576 + 64)])
def test_real_shapes(rows: int, columns: int, depth: int) -> None:
    shape = gated_shape(rows, columns, depth)
    assert shape is not None
    check(rows, columns, depth, shape, torch.bfloat16)


def test_shapes_that_the_tiles_do_not_divide_are_left_to_cublas() -> None:
    assert gated_shape(1, 4096, 4096) is not None
    assert gated_shape(1, 4100, 4096) is None
    assert gated_shape(1, 4096, 4100) is None
    assert gated_shape(4096, 4096, 4096) is None


def test_a_large_tile_is_not_left_half_empty() -> None:
    assert [rows for rows in range(1, 140) if gated_shape(rows, 4096, 4096) is None] == [
        *range(65, 104),
        *range(129, 140),
    ]


def test_arguments_that_do_not_fit_are_refused() -> None:
    x, weight, out = (
        torch.ones(*size, dtype=torch.float16) for size in ((2, 64), (128, 64), (2, 64))
    )
    shape = GatedShape(16, 32, 32, 4, 2)
    with pytest.raises(ValueError, match="fit together"):
        gated_linear(x, weight[:, :32], out, shape)
    with pytest.raises(ValueError, match="does not divide"):
        gated_linear(x, weight, out, GatedShape(16, 48, 32, 4, 2))
    with pytest.raises(ValueError, match="contiguous"):
        gated_linear(x.T.contiguous().T, weight, out, shape)
