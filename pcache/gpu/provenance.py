"""What a measurement was made with: GPU, versions, commit."""

from __future__ import annotations

import platform

import torch

from pcache.gpu.extra import require
from pcache.provenance import source_commit

__all__ = ["measured_with"]


def measured_with() -> dict[str, str]:
    """Columns that every measured row carries."""
    on_gpu = torch.cuda.is_available()
    commit, _, dirty = (source_commit() or "").partition("-")
    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "",
        "triton": str(require("triton", "the GPU engine").__version__),
        "commit": commit[:7] + ("-dirty" if dirty else ""),
    }
