"""Decode attention in plain PyTorch: one request at a time, in float32 or wider."""

from __future__ import annotations

import torch

from pcache.gpu.kernels.attention.reference import attend_reference, gather_context

__all__ = ["decode_attention_reference"]


def decode_attention_reference(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    rows: torch.Tensor,
    context_lengths: torch.Tensor,
    out: torch.Tensor,
    scale: float,
) -> None:
    """The specification: shapes as in kernel.py, with the plan's two inputs given directly."""
    for b, (row, length) in enumerate(zip(rows.tolist(), context_lengths.tolist(), strict=True)):
        if length > 0:
            k = gather_context(k_cache, block_table[row], length)
            v = gather_context(v_cache, block_table[row], length)
            out[b] = attend_reference(q[b], k, v, scale)
