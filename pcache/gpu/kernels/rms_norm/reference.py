"""RMS norm with residual in plain PyTorch, in float32."""

from __future__ import annotations

import torch

__all__ = ["rms_norm_reference"]


def rms_norm_reference(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor,
    eps: float,
    out: torch.Tensor,
) -> None:
    """The specification: arguments as in kernel.py."""
    if residual is not None:
        residual += x
        x = residual
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps)
    out.copy_(wide * scale * weight.float())
