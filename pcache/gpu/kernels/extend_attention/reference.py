"""Extend attention in plain PyTorch: one request, one query token at a time, in float32 or wider."""

from __future__ import annotations

import torch

from pcache.gpu.kernels.attention.reference import attend_reference, gather_context

__all__ = ["extend_attention_reference"]


def extend_attention_reference(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    rows: torch.Tensor,
    q_starts: torch.Tensor,
    prefix_lengths: torch.Tensor,
    out: torch.Tensor,
    scale: float,
) -> None:
    """The specification: shapes as in kernel.py, with the plan's three inputs given directly."""
    starts, prefixes = q_starts.tolist(), prefix_lengths.tolist()
    for b, row in enumerate(rows.tolist()):
        first, last, prefix = starts[b], starts[b + 1], prefixes[b]
        k = gather_context(k_cache, block_table[row], prefix + last - first)
        v = gather_context(v_cache, block_table[row], prefix + last - first)
        for t in range(first, last):
            visible = prefix + t - first + 1
            out[t] = attend_reference(q[t], k[:visible], v[:visible], scale)
