"""Without a GPU, Triton kernels run under Triton's interpreter; without torch, nothing here runs."""

from __future__ import annotations

import importlib.util
import os

_MISSING = [
    name for name in ("torch", "triton", "transformers") if not importlib.util.find_spec(name)
]
collect_ignore_glob = ["test_*.py"] if _MISSING else []

if not _MISSING:
    import torch

    torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
