"""Kernel tests need torch and Triton; those marked `gpu` a CUDA device as well."""

from __future__ import annotations

import importlib.util

import pytest

_MISSING = [name for name in ("torch", "triton") if not importlib.util.find_spec(name)]
collect_ignore_glob = ["test_*.py"] if _MISSING else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _MISSING:
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
