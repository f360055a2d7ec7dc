"""What a step's tokens are and where their keys and values go, found on the device.

    ids[t]   = token_ids[t], or last_tokens[token_rows[t]] where token_ids[t] < 0
    slots[t] = block_table[token_rows[t], positions[t] / block_size] · block_size
               + positions[t] mod block_size

and for padding (token_rows[t] < 0): id 0, slot -1.

    token_ids    [tokens]  int32; negative: the token that its row sampled last
    token_rows   [tokens]  int32; row of the block table; negative: padding
    positions    [tokens]  int32; place in the request's context
    last_tokens  [table_rows]  int32
    block_table  [table_rows, max_blocks]  int32, last axis contiguous
    block_size   tokens in a block
    ids          [tokens]  int32; the caller's
    slots        [tokens]  int64; the caller's

Grid: tokens / 256 programs. One launch a step, shared by all layers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["token_slots"]

_BLOCK = 256


def token_slots(
    token_ids: torch.Tensor,
    token_rows: torch.Tensor,
    positions: torch.Tensor,
    last_tokens: torch.Tensor,
    block_table: torch.Tensor,
    block_size: int,
    ids: torch.Tensor,
    slots: torch.Tensor,
) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    tokens = token_ids.numel()
    if any(t.shape != (tokens,) for t in (token_rows, positions, ids, slots)):
        raise ValueError("token_slots: the arrays of tokens differ in length")
    if ids.dtype != torch.int32 or slots.dtype != torch.int64:
        raise ValueError(f"token_slots: ids is {ids.dtype}, slots {slots.dtype}; int32 and int64")
    if tokens == 0:
        return
    _token_slots_kernel[(triton.cdiv(tokens, _BLOCK),)](
        token_ids, token_rows, positions, last_tokens, block_table, ids, slots,
        tokens, block_table.stride(0), BLOCK_SIZE=block_size, BLOCK=_BLOCK, num_warps=2,
    )  # fmt: skip


# Lengths change every step: without this, Triton would compile anew for 1 and for multiples of 16.
@triton.jit(do_not_specialize=["num_tokens"])
def _token_slots_kernel(token_ids_ptr, token_rows_ptr, positions_ptr, last_tokens_ptr,
                        block_table_ptr, ids_ptr, slots_ptr, num_tokens, stride_block_table_row,
                        BLOCK_SIZE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = token < num_tokens
    row = tl.load(token_rows_ptr + token, mask=mask, other=-1).to(tl.int64)
    live = mask & (row >= 0)
    given = tl.load(token_ids_ptr + token, mask=live, other=0)
    last = tl.load(last_tokens_ptr + row, mask=live & (given < 0), other=0)
    tl.store(ids_ptr + token, tl.where(given < 0, last, given), mask=mask)
    position = tl.load(positions_ptr + token, mask=live, other=0)
    block_ptrs = block_table_ptr + row * stride_block_table_row + position // BLOCK_SIZE
    block = tl.load(block_ptrs, mask=live, other=0).to(tl.int64)
    slot = block * BLOCK_SIZE + position % BLOCK_SIZE
    tl.store(slots_ptr + token, tl.where(live, slot, -1), mask=mask)
