"""Block table updates in plain PyTorch."""

from __future__ import annotations

import torch

__all__ = ["table_update_reference"]


def table_update_reference(
    runs: torch.Tensor, num_runs: torch.Tensor, block_table: torch.Tensor
) -> None:
    """The specification: arguments as in kernel.py."""
    for row, position, first_block, count in runs[: int(num_runs)].tolist():
        block_table[row, position : position + count] = torch.arange(
            first_block, first_block + count, dtype=torch.int32
        )
