"""Argument checks shared by the attention kernels: one clear error before anything is launched."""

from __future__ import annotations

import torch

__all__ = ["check_paged_arguments"]


def check_paged_arguments(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Raise ValueError unless the tensors fit together as the kernels' docstrings demand."""
    _, block_size, num_kv_heads, head_dim = k_cache.shape
    if k_cache.shape != v_cache.shape or k_cache.stride() != v_cache.stride():
        raise ValueError(
            f"attention: k_cache {tuple(k_cache.shape)} with strides {k_cache.stride()} and v_cache "
            f"{tuple(v_cache.shape)} with strides {v_cache.stride()} must have the same layout"
        )
    if q.shape != out.shape or q.shape[2] != head_dim or q.shape[1] % num_kv_heads:
        raise ValueError(
            f"attention: q {tuple(q.shape)} and out {tuple(out.shape)} must both be [tokens, a "
            f"multiple of {num_kv_heads} heads, {head_dim}]"
        )
    if not _power_of_two(head_dim, 16, 128):
        raise ValueError(f"attention: head_dim {head_dim} is not a power of two from 16 to 128")
    if not _power_of_two(block_size, 1, 512):
        raise ValueError(f"attention: block size {block_size} is not a power of two from 1 to 512")
    if len({(t.dtype, t.device) for t in (q, k_cache, v_cache, out)}) > 1:
        raise ValueError("attention: q, k_cache, v_cache and out differ in dtype or device")
    if block_table.dtype != torch.int32:
        raise ValueError(f"attention: block_table is {block_table.dtype}, expected torch.int32")
    if any(t.stride(-1) != 1 for t in (q, k_cache, v_cache, block_table, out)):
        raise ValueError("attention: the last axis of every tensor must be contiguous")


def _power_of_two(value: int, low: int, high: int) -> bool:
    return low <= value <= high and value & (value - 1) == 0
