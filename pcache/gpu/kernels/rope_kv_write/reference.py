"""RoPE and KV write in plain PyTorch, in float32."""

from __future__ import annotations

import torch

__all__ = ["rope_kv_write_reference"]


def rope_kv_write_reference(
    qkv: torch.Tensor,
    cos_sin: torch.Tensor,
    positions: torch.Tensor,
    slots: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    q_norm: torch.Tensor | None,
    k_norm: torch.Tensor | None,
    eps: float,
) -> None:
    """The specification: arguments as in kernel.py."""
    num_kv_heads, head_dim = k_cache.shape[2:]
    heads = qkv.view(qkv.shape[0], -1, head_dim)
    q, k, v = heads.tensor_split((-2 * num_kv_heads, -num_kv_heads), dim=1)
    angles = cos_sin[positions.long()][:, None]
    q.copy_(_rotate(_norm(q.float(), q_norm, eps), angles))
    k = _rotate(_norm(k.float(), k_norm, eps), angles).to(qkv.dtype)
    cached = slots >= 0
    k_cache.view(-1, num_kv_heads, head_dim)[slots[cached]] = k[cached]
    v_cache.view(-1, num_kv_heads, head_dim)[slots[cached]] = v[cached]


def _norm(x: torch.Tensor, weight: torch.Tensor | None, eps: float) -> torch.Tensor:
    if weight is None:
        return x
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight.float()


def _rotate(x: torch.Tensor, cos_sin: torch.Tensor) -> torch.Tensor:
    cos, sin = cos_sin.chunk(2, dim=-1)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
