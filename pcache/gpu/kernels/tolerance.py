"""How far a kernel may be from its reference: one table, for tests and benchmarks alike."""

from __future__ import annotations

import torch

__all__ = ["TOLERANCE", "row_error"]

TOLERANCE = {torch.float32: 5e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Largest accepted `row_error` by dtype. TF32 products would miss the first by a factor of 50."""


def row_error(out: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest ‖out − reference‖ ÷ ‖reference‖ over rows (the last axis); NaN if any is NaN."""
    out, reference = out.double(), reference.double()
    difference = (out - reference).norm(dim=-1)
    scale = reference.norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return float((difference / scale).max())
