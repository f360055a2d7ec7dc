"""Memory of a step's tensors, reserved before a run, so that no step has to ask the driver for any."""

from __future__ import annotations

import torch

__all__ = ["needed_bytes", "reserve_in_one_piece", "reserved_bytes"]

_SPARE = 1.25
"""Over what the largest steps need: steps of other sizes leave other gaps."""


def needed_bytes(device: torch.device) -> int:
    """What was in use at most, since the peak was reset, over what is in use now."""
    return torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)


def reserve_in_one_piece(device: torch.device, needed: int) -> None:
    """Make one block of the memory that the allocator keeps, large enough for steps that need so much.

    Blocks of the sizes that the largest steps asked for may be too small for what another step asks
    for. Then the allocator turns to the driver, which waits for all that the GPU has been given to do.
    Capturing a graph gives all such memory back, so this comes after.
    """
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    torch.empty(reserved_bytes(needed, free), dtype=torch.uint8, device=device)


def reserved_bytes(needed: int, free: int) -> int:
    """What the largest steps need, and more where that leaves half of the memory that is free."""
    return max(needed, min(int(_SPARE * needed), free // 2))
