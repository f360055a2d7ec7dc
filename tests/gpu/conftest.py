"""Without a GPU, Triton kernels run under Triton's interpreter; without torch, nothing here runs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

_MISSING = [
    name for name in ("torch", "triton", "transformers") if not importlib.util.find_spec(name)
]
collect_ignore_glob = ["test_*.py"] if _MISSING else []

if not _MISSING:
    import torch

    torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Products of small matrices are slower when threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
