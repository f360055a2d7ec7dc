"""Pinned host memory through which steps and sampled tokens travel, in rotating slots.

A slot belongs to one step from its packing until its tokens were read, so the host may fill the next
one while the device still copies from this. On the device there is one packed buffer: copies and
steps follow each other on one stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pcache.types import I4, I8

__all__ = ["Slot", "Staging"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Host memory of one step: the packed integers and the tokens that come back."""

    packed_tensor: torch.Tensor
    packed: I4
    tokens_tensor: torch.Tensor
    tokens: I8


class Staging:
    """`num_slots` slots for steps of at most `max_ints` packed integers and `max_samples` tokens."""

    def __init__(
        self, max_ints: int, max_samples: int, num_slots: int, device: torch.device
    ) -> None:
        self.on_device = torch.zeros(max_ints, dtype=torch.int32, device=device)
        self._free = [self._slot(max_ints, max_samples) for _ in range(num_slots)]

    def _slot(self, size: int, max_samples: int) -> Slot:
        pinned = self.on_device.is_cuda
        packed = torch.zeros(size, dtype=torch.int32, pin_memory=pinned)
        tokens = torch.zeros(max_samples, dtype=torch.int64, pin_memory=pinned)
        return Slot(packed, packed.numpy(), tokens, tokens.numpy())

    def take(self) -> Slot:
        """A slot for the next step."""
        assert self._free, "too many steps in flight: wait for the oldest before launching another"
        return self._free.pop()

    def give_back(self, slot: Slot) -> None:
        """Reuse a slot whose step has ended."""
        self._free.append(slot)

    def send(self, slot: Slot, num_ints: int) -> None:
        """Submit the copy of the slot's first `num_ints` integers."""
        self.on_device[:num_ints].copy_(slot.packed_tensor[:num_ints], non_blocking=True)
