"""Attention of one query token over a paged context, in plain PyTorch: what the references share."""

from __future__ import annotations

import torch

__all__ = ["attend_reference", "gather_context"]


def gather_context(cache: torch.Tensor, table_row: torch.Tensor, length: int) -> torch.Tensor:
    """The first `length` positions of a context, [length, num_kv_heads, head_dim]."""
    block_size = cache.shape[1]
    blocks = table_row[: -(-length // block_size)].long()
    return cache[blocks].flatten(0, 1)[:length]


def attend_reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
) -> torch.Tensor:
    """softmax(scale · q k^T) v of one token, in float32 (float64 if q is).

    q [num_heads, head_dim]; k and v [length, num_kv_heads, head_dim]; returns [num_heads, head_dim].
    """
    group_size = q.shape[0] // k.shape[1]
    wide = torch.promote_types(q.dtype, torch.float32)
    k = k.to(wide).repeat_interleave(group_size, dim=1)
    v = v.to(wide).repeat_interleave(group_size, dim=1)
    weights = torch.softmax(scale * torch.einsum("hd,lhd->hl", q.to(wide), k), dim=-1)
    return torch.einsum("hl,lhd->hd", weights, v).to(q.dtype)
