"""Root-mean-square norm of rows, after adding them to the residual stream.

    residual += x,   out = residual / sqrt(mean(residual²) + eps) · weight

Without a residual, x itself is normed. The sum is rounded to the residual's dtype before it is
normed, as models that add and norm in two steps do.

    x         [rows, columns]  bf16, fp16 or fp32; last axis contiguous
    residual  [rows, columns] or None  x's dtype; last axis contiguous; updated in place
    weight    [columns]  x's dtype, contiguous
    out       [rows, columns]  x's dtype; last axis contiguous; the caller's, may be x

Grid: one program a row, which it holds in registers. Accumulation in float32. Bound by bytes: x,
residual in and out, out. Unsupported: rows longer than 65,536 columns.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["rms_norm"]

_MAX_COLUMNS = 65_536


def rms_norm(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor,
    eps: float,
    out: torch.Tensor,
) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    rows, columns = x.shape
    added = x if residual is None else residual
    if not x.shape == added.shape == out.shape or weight.shape != (columns,):
        raise ValueError(
            f"rms_norm: x {tuple(x.shape)}, residual {tuple(added.shape)}, out {tuple(out.shape)} "
            f"and weight {tuple(weight.shape)} do not fit together"
        )
    if columns > _MAX_COLUMNS or any(t.stride(-1) != 1 for t in (x, added, weight, out)):
        raise ValueError(f"rms_norm: rows must be contiguous and at most {_MAX_COLUMNS} long")
    if rows == 0:
        return
    block = triton.next_power_of_2(columns)
    _rms_norm_kernel[(rows,)](
        x, added, weight, out, eps, columns, x.stride(0), added.stride(0), out.stride(0),
        HAS_RESIDUAL=residual is not None, BLOCK=block, num_warps=max(1, min(16, block // 512)),
    )  # fmt: skip


@triton.jit
def _rms_norm_kernel(x_ptr, residual_ptr, weight_ptr, out_ptr, eps, num_columns,
                     stride_x_row, stride_residual_row, stride_out_row,
                     HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < num_columns
    x = tl.load(x_ptr + row * stride_x_row + column, mask=mask, other=0.0)
    weight = tl.load(weight_ptr + column, mask=mask, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        residual_ptr += row * stride_residual_row
        residual = tl.load(residual_ptr + column, mask=mask, other=0.0)
        x = (x.to(tl.float32) + residual.to(tl.float32)).to(x.dtype)
        tl.store(residual_ptr + column, x, mask=mask)
    x = x.to(tl.float32)
    scale = tl.math.rsqrt(tl.sum(x * x, 0) / num_columns + eps)
    out = (x * scale * weight).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + row * stride_out_row + column, out, mask=mask)
