"""What a measurement was made with: GPU, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from pcache.gpu.extra import require

__all__ = ["measured_with"]


def measured_with() -> dict[str, str]:
    """Columns that every measured row carries.

    The commit is that of the checkout; where the package lies in none, the environment variable
    PCACHE_COMMIT names it.
    """
    on_gpu = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "",
        "triton": str(require("triton", "the GPU engine").__version__),
        "commit": _commit(),
    }


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("PCACHE_COMMIT", "")
