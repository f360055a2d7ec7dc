"""Write runs of consecutive block ids into the block table.

    block_table[row, position + i] = first_block + i,   i = 0 … count - 1,   for each run

    runs         [capacity, 4]  int32, contiguous; row, position (in blocks), first_block, count
    num_runs     [1]  int32; how many of `runs` are there, known on the device alone
    block_table  [table_rows, max_blocks]  int32, last axis contiguous; updated in place

Grid: a fixed number of programs, which take the runs in turn, so that a CUDA graph can hold it. Runs
of one call must not overlap.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["table_update"]

_BLOCK = 128
_PROGRAMS = 256


def table_update(runs: torch.Tensor, num_runs: torch.Tensor, block_table: torch.Tensor) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    if runs.shape[1:] != (4,) or not runs.is_contiguous() or runs.dtype != torch.int32:
        raise ValueError(f"table_update: runs {tuple(runs.shape)} {runs.dtype}: int32 [runs, 4]")
    _table_update_kernel[(max(1, min(runs.shape[0], _PROGRAMS)),)](
        runs, num_runs, block_table, block_table.stride(0), BLOCK=_BLOCK, num_warps=1
    )


@triton.jit
def _table_update_kernel(runs_ptr, num_runs_ptr, block_table_ptr, stride_block_table_row,
                         BLOCK: tl.constexpr):  # fmt: skip
    num_runs = tl.load(num_runs_ptr)
    for run in tl.range(tl.program_id(0), num_runs, tl.num_programs(0)):
        run_ptr = runs_ptr + run * 4
        row = tl.load(run_ptr).to(tl.int64)
        position = tl.load(run_ptr + 1)
        first_block = tl.load(run_ptr + 2)
        count = tl.load(run_ptr + 3)
        entry_ptr = block_table_ptr + row * stride_block_table_row + position
        for base in tl.range(0, count, BLOCK):
            i = base + tl.arange(0, BLOCK)
            tl.store(entry_ptr + i, first_block + i, mask=i < count)
