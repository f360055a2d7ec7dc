"""Rotate queries and keys by their positions and put keys and values into the paged cache.

For each of a token's query and key heads x, split into halves (x1, x2):

    x = x / sqrt(mean(x²) + eps) · norm_weight        (models with QK-norm only)
    (x1, x2) = (x1 · cos - x2 · sin,  x2 · cos + x1 · sin)

with cos and sin of the token's position. Queries are written back in place; keys and values go to
the cache slot alone, from where attention reads them.

    qkv        [tokens, (num_heads + 2 · num_kv_heads) · head_dim]  bf16, fp16 or fp32; last axis
               contiguous; queries, then keys, then values; the queries are overwritten
    cos_sin    [positions, head_dim]  fp32, contiguous; cosines, then sines, of the rotated pairs
    positions  [tokens]  int32
    slots      [tokens]  int64; block · block_size + place in the block; -1: not cached (padding)
    k_cache    [num_blocks, block_size, num_kv_heads, head_dim]  qkv's dtype, contiguous
    v_cache    like k_cache
    q_norm     [head_dim] or None  qkv's dtype
    k_norm     [head_dim] or None  qkv's dtype; both or neither

Grid: (tokens, KV heads); a program does one KV head and its group of query heads. Arithmetic in
float32. Bound by bytes: queries in and out, keys and values in and out. Unsupported: head_dim other
than a power of two, rotation of a part of the head.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["rope_kv_write"]


def rope_kv_write(
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
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    num_kv_heads, head_dim = k_cache.shape[2:]
    tokens, columns = qkv.shape
    num_heads = columns // head_dim - 2 * num_kv_heads
    if columns % head_dim or num_heads % num_kv_heads or head_dim & (head_dim - 1):
        raise ValueError(
            f"rope_kv_write: qkv with {columns} columns does not hold whole query groups of "
            f"{num_kv_heads} KV heads of {head_dim} (a power of two)"
        )
    if not (k_cache.is_contiguous() and v_cache.is_contiguous() and qkv.stride(-1) == 1):
        raise ValueError("rope_kv_write: caches and the rows of qkv must be contiguous")
    if tokens == 0:
        return
    group = num_heads // num_kv_heads
    _rope_kv_write_kernel[(tokens, num_kv_heads)](
        qkv, cos_sin, positions, slots, k_cache, v_cache,
        qkv if q_norm is None else q_norm, qkv if k_norm is None else k_norm, eps, qkv.stride(0),
        GROUP=group, NUM_KV_HEADS=num_kv_heads, HEAD_DIM=head_dim,
        ROWS=triton.next_power_of_2(group + 1), HAS_NORM=q_norm is not None, num_warps=1,
    )  # fmt: skip


@triton.jit
def _rope_kv_write_kernel(qkv_ptr, cos_sin_ptr, positions_ptr, slots_ptr, k_cache_ptr, v_cache_ptr,
                          q_norm_ptr, k_norm_ptr, eps, stride_qkv_token,
                          GROUP: tl.constexpr, NUM_KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr,
                          ROWS: tl.constexpr, HAS_NORM: tl.constexpr):  # fmt: skip
    HALF: tl.constexpr = HEAD_DIM // 2
    token = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    qkv_ptr += token * stride_qkv_token
    position = tl.load(positions_ptr + token).to(tl.int64)
    slot = tl.load(slots_ptr + token)

    pair = tl.arange(0, HALF)
    row = tl.arange(0, ROWS)  # the group's query heads, then the key head, then padding
    is_key = row == GROUP
    head = tl.where(is_key, GROUP * NUM_KV_HEADS + kv_head, kv_head * GROUP + row)
    mask = (row <= GROUP)[:, None] & (pair >= 0)[None, :]
    offsets = head[:, None] * HEAD_DIM + pair[None, :]  # [ROWS, HALF]
    first = tl.load(qkv_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    second = tl.load(qkv_ptr + offsets + HALF, mask=mask, other=0.0).to(tl.float32)
    if HAS_NORM:
        scale = tl.math.rsqrt(tl.sum(first * first + second * second, 1) / HEAD_DIM + eps)[:, None]
        q_first = tl.load(q_norm_ptr + pair).to(tl.float32)[None, :]
        q_second = tl.load(q_norm_ptr + HALF + pair).to(tl.float32)[None, :]
        k_first = tl.load(k_norm_ptr + pair).to(tl.float32)[None, :]
        k_second = tl.load(k_norm_ptr + HALF + pair).to(tl.float32)[None, :]
        first = first * scale * tl.where(is_key[:, None], k_first, q_first)
        second = second * scale * tl.where(is_key[:, None], k_second, q_second)
    cos = tl.load(cos_sin_ptr + position * HEAD_DIM + pair)[None, :]
    sin = tl.load(cos_sin_ptr + position * HEAD_DIM + HALF + pair)[None, :]
    dtype = qkv_ptr.dtype.element_ty
    turned_first = (first * cos - second * sin).to(dtype)
    turned_second = (second * cos + first * sin).to(dtype)

    is_query = mask & (row < GROUP)[:, None]
    tl.store(qkv_ptr + offsets, turned_first, mask=is_query)
    tl.store(qkv_ptr + offsets + HALF, turned_second, mask=is_query)
    if slot >= 0:
        cached = slot * NUM_KV_HEADS * HEAD_DIM + kv_head * HEAD_DIM
        k_ptrs = k_cache_ptr + cached + row[:, None] * 0 + pair[None, :]
        tl.store(k_ptrs, turned_first, mask=mask & is_key[:, None])
        tl.store(k_ptrs + HALF, turned_second, mask=mask & is_key[:, None])
        d = tl.arange(0, HEAD_DIM)
        value = tl.load(qkv_ptr + ((GROUP + 1) * NUM_KV_HEADS + kv_head) * HEAD_DIM + d)
        tl.store(v_cache_ptr + cached + d, value)
