"""Gate and up projections with their activation in plain PyTorch, in float32."""

from __future__ import annotations

import torch

__all__ = ["gated_linear_reference"]


def gated_linear_reference(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
    """The specification: arguments as in kernel.py, without the one that says how."""
    gate, up = (x.float() @ weight.float().T).chunk(2, dim=-1)
    out.copy_(torch.nn.functional.silu(gate) * up)
