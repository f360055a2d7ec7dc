"""What all tests share. This folder is importable: `small_traces` and `reference` live here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("pcache", deadline=None, max_examples=60)
settings.load_profile("pcache")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real traces and the real engines' answers; skips where it is absent."""
    folder = Path(os.environ.get("PCACHE_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the shared folder {folder}, or PCACHE_SHARED")
    return folder
