"""SiLU × up in plain PyTorch, in float32."""

from __future__ import annotations

import torch

__all__ = ["silu_mul_reference"]


def silu_mul_reference(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """The specification: arguments as in kernel.py."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * up)
