"""Token ids and cache slots of a step in plain PyTorch."""

from __future__ import annotations

import torch

__all__ = ["token_slots_reference"]


def token_slots_reference(
    token_ids: torch.Tensor,
    token_rows: torch.Tensor,
    positions: torch.Tensor,
    last_tokens: torch.Tensor,
    block_table: torch.Tensor,
    block_size: int,
    ids: torch.Tensor,
    slots: torch.Tensor,
) -> None:
    """The specification: arguments as in kernel.py."""
    live = token_rows >= 0
    rows = token_rows[live].long()
    places = positions[live].long()
    given = token_ids[live]
    ids.zero_()
    ids[live] = torch.where(given < 0, last_tokens[rows], given)
    slots.fill_(-1)
    slots[live] = block_table[rows, places // block_size] * block_size + places % block_size
