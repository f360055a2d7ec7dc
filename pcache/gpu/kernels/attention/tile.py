"""Online softmax of one query tile over a range of paged keys and values.

Both attention kernels call `attend`. It walks context positions [lo, hi) in steps of BLOCK_N:

    s = q k^T · scale,  m' = max(m, max s),  p = exp(s - m'),  denom = denom·exp(m - m') + sum p,
    acc = acc·exp(m - m') + p v

in base 2 (scale_log2 = scale · log2 e), with float32 accumulators. Positions below `full` are
visible to every row, so that loop has no mask; the rest are compared with each row's last visible
position. Nothing beyond `hi` is read: what an unused slot holds, NaN included, cannot leak.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["attend"]


@triton.jit
def _softmax_step(s, m, denom, scale_log2, MASKED: tl.constexpr):
    m_new = tl.maximum(m, tl.max(s, 1) * scale_log2)
    shift = m_new
    if MASKED:  # a row that has seen nothing yet: -inf - -inf would be NaN
        shift = tl.where(m_new == -float("inf"), 0.0, m_new)
    alpha = tl.math.exp2(m - shift)
    p = tl.math.exp2(s * scale_log2 - shift[:, None])
    return p, m_new, denom * alpha + tl.sum(p, 1), alpha


@triton.jit
def _block_ids(table_ptr, n, hi, BLOCK_SIZE: tl.constexpr, BLOCK_N: tl.constexpr):
    """Blocks of positions n : n + BLOCK_N (one block if all share it); none is looked up past `hi`."""
    if BLOCK_SIZE >= BLOCK_N:  # noqa: SIM108 (two types)
        position = n
    else:
        position = n + tl.arange(0, BLOCK_N)
    return tl.load(table_ptr + position // BLOCK_SIZE, mask=position < hi, other=0)


@triton.jit
def _slot_offsets(
    blocks, n, stride_block, stride_slot, BLOCK_SIZE: tl.constexpr, BLOCK_N: tl.constexpr
):
    """64-bit element offsets of positions n : n + BLOCK_N."""
    position = n + tl.arange(0, BLOCK_N)
    return blocks.to(tl.int64) * stride_block + (position % BLOCK_SIZE) * stride_slot


@triton.jit
def attend(q, acc, m, denom, last_position, lo, full, hi, head, k_ptr, v_ptr, k_desc, v_desc, table_ptr,
           stride_block, stride_slot, stride_head, scale_log2,
           HEAD_DIM: tl.constexpr, BLOCK_SIZE: tl.constexpr, BLOCK_N: tl.constexpr,
           USE_TMA: tl.constexpr):  # fmt: skip
    """Fold positions [lo, hi) into (acc, m, denom). `lo` and `full` are multiples of BLOCK_N."""
    d = tl.arange(0, HEAD_DIM)
    k_ptr += head * stride_head
    v_ptr += head * stride_head
    # Looked up a step ahead, so that no load of K or V waits for its address.
    next_blocks = _block_ids(table_ptr, lo, hi, BLOCK_SIZE, BLOCK_N)
    for n in tl.range(lo, tl.minimum(full, hi), BLOCK_N):
        blocks = next_blocks
        next_blocks = _block_ids(table_ptr, n + BLOCK_N, hi, BLOCK_SIZE, BLOCK_N)
        slots = _slot_offsets(blocks, n, stride_block, stride_slot, BLOCK_SIZE, BLOCK_N)
        if USE_TMA:
            k = k_desc.load([blocks, n % BLOCK_SIZE, head, 0]).reshape(BLOCK_N, HEAD_DIM)
        else:
            k = tl.load(k_ptr + slots[:, None] + d[None, :])
        s = tl.dot(q, k.T, input_precision="ieee")
        p, m, denom, alpha = _softmax_step(s, m, denom, scale_log2, False)
        if USE_TMA:
            v = v_desc.load([blocks, n % BLOCK_SIZE, head, 0]).reshape(BLOCK_N, HEAD_DIM)
        else:
            v = tl.load(v_ptr + slots[:, None] + d[None, :])
        acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None], input_precision="ieee")
    for n in tl.range(tl.maximum(lo, full), hi, BLOCK_N):
        position = n + tl.arange(0, BLOCK_N)
        blocks = _block_ids(table_ptr, n, hi, BLOCK_SIZE, BLOCK_N)
        slots = _slot_offsets(blocks, n, stride_block, stride_slot, BLOCK_SIZE, BLOCK_N)
        k = tl.load(k_ptr + slots[:, None] + d[None, :], mask=(position < hi)[:, None], other=0.0)
        v = tl.load(v_ptr + slots[:, None] + d[None, :], mask=(position < hi)[:, None], other=0.0)
        visible = position[None, :] <= last_position[:, None]
        s = tl.where(visible, tl.dot(q, k.T, input_precision="ieee"), -float("inf"))
        p, m, denom, alpha = _softmax_step(s, m, denom, scale_log2, True)
        acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None], input_precision="ieee")
    return acc, m, denom
