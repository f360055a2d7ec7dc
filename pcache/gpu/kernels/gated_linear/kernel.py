"""Gate and up projections with their activation, for few rows: reading the weights is all the work.

    out[m, n] = silu(sum_k x[m, k] · weight[n, k]) · sum_k x[m, k] · weight[N + n, k]

    x       [rows, K]  bf16 or fp16, contiguous
    weight  [2 · N, K]  x's dtype, contiguous; gate above up
    out     [rows, N]  x's dtype, contiguous; the caller's

Grid: one program per block_n columns of out, which multiplies a tile of gate and a tile of up rows
with all rows of x. Weights are the left operand, so that few rows of x do not waste the tensor
cores. Tiles come through the tensor memory accelerator. Accumulation in float32. Bound by the bytes
of the weights; the product never visits memory before its activation. Unsupported: shapes that
`gated_shape` answers with None.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

__all__ = ["GatedShape", "gated_linear", "gated_shape"]

_MAX_ROWS = 128
_FEWEST_IN_LARGE_TILE = 104
"""Fetching a tile's rows past the last of x takes longer than fetching rows: with fewer in a tile of
128, cuBLAS is faster (H200)."""


@dataclass(frozen=True, slots=True)
class GatedShape:
    """How a product is cut: compile-time constants of one launch configuration."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int


def gated_shape(rows: int, columns: int, depth: int) -> GatedShape | None:
    """The launch configuration for x [rows, depth] and out [rows, columns].

    None: too many rows, too few for the largest tile, or sizes that the tiles do not divide; cuBLAS
    does those.
    """
    block_m = max(16, triton.next_power_of_2(rows))
    if block_m <= 32:
        shape = GatedShape(block_m, 64, 128, num_warps=4, num_stages=4)
    else:
        shape = GatedShape(block_m, 64, 64, num_warps=4, num_stages=3)
    if rows > _MAX_ROWS or columns % shape.block_n or depth % shape.block_k:
        return None
    return None if 64 < rows < _FEWEST_IN_LARGE_TILE else shape


def gated_linear(
    x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, shape: GatedShape
) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    (rows, depth), columns = x.shape, out.shape[1]
    if weight.shape != (2 * columns, depth) or out.shape[0] != rows:
        raise ValueError(
            f"gated_linear: x {tuple(x.shape)}, weight {tuple(weight.shape)} and out "
            f"{tuple(out.shape)} do not fit together"
        )
    if columns % shape.block_n or depth % shape.block_k or not 1 <= rows <= shape.block_m:
        raise ValueError(f"gated_linear: {shape} does not divide {rows} × {columns} × {depth}")
    if not all(t.is_contiguous() for t in (x, weight, out)):
        raise ValueError("gated_linear: x, weight and out must be contiguous")
    _gated_linear_kernel[(columns // shape.block_n,)](
        TensorDescriptor.from_tensor(x, [shape.block_m, shape.block_k]),
        TensorDescriptor.from_tensor(weight, [shape.block_n, shape.block_k]),
        out, rows, N=columns, K=depth,
        BLOCK_M=shape.block_m, BLOCK_N=shape.block_n, BLOCK_K=shape.block_k,
        num_warps=shape.num_warps, num_stages=shape.num_stages,
    )  # fmt: skip


# The number of rows changes every step: Triton must not compile anew for 1 and multiples of 16.
@triton.jit(do_not_specialize=["num_rows"])
def _gated_linear_kernel(x_desc, weight_desc, out_ptr, num_rows,
                         N: tl.constexpr, K: tl.constexpr, BLOCK_M: tl.constexpr,
                         BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):  # fmt: skip
    first = tl.program_id(0) * BLOCK_N
    gate = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    up = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    for k in tl.range(0, K, BLOCK_K):
        x = x_desc.load([0, k]).T  # [BLOCK_K, BLOCK_M]; rows past the last read as zeros
        gate = tl.dot(weight_desc.load([first, k]), x, gate)
        up = tl.dot(weight_desc.load([N + first, k]), x, up)
    out = (gate * tl.sigmoid(gate) * up).to(out_ptr.dtype.element_ty)
    m = tl.arange(0, BLOCK_M)[None, :]
    n = first + tl.arange(0, BLOCK_N)[:, None]
    tl.store(out_ptr + m.to(tl.int64) * N + n, out, mask=(m < num_rows) & (n < N))
