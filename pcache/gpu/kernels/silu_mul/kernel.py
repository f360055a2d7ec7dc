"""The gated activation of a feed-forward layer.

    out[t, f] = gate · sigmoid(gate) · up,   gate = gate_up[t, f],   up = gate_up[t, F + f]

    gate_up  [tokens, 2 · F]  bf16, fp16 or fp32; last axis contiguous
    out      [tokens, F]  gate_up's dtype; last axis contiguous; the caller's

Grid: (tokens, column blocks). Arithmetic in float32. Bound by bytes: 3 · F elements a token.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["silu_mul"]

_BLOCK = 1024


def silu_mul(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    tokens, columns = out.shape
    if gate_up.shape != (tokens, 2 * columns):
        raise ValueError(
            f"silu_mul: gate_up {tuple(gate_up.shape)} is not twice as wide as out "
            f"{tuple(out.shape)}"
        )
    if gate_up.stride(-1) != 1 or out.stride(-1) != 1:
        raise ValueError("silu_mul: the last axis of gate_up and out must be contiguous")
    if tokens == 0:
        return
    _silu_mul_kernel[(tokens, triton.cdiv(columns, _BLOCK))](
        gate_up, out, columns, gate_up.stride(0), out.stride(0), BLOCK=_BLOCK, num_warps=4
    )


@triton.jit
def _silu_mul_kernel(gate_up_ptr, out_ptr, num_columns, stride_gate_up_token, stride_out_token,
                     BLOCK: tl.constexpr):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < num_columns
    gate_up_ptr += token * stride_gate_up_token
    gate = tl.load(gate_up_ptr + column, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + num_columns + column, mask=mask, other=0.0).to(tl.float32)
    out = gate * tl.sigmoid(gate) * up
    out_ptr += token * stride_out_token
    tl.store(out_ptr + column, out.to(out_ptr.dtype.element_ty), mask=mask)
