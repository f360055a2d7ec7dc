"""Can files be made somewhere? Asked before work whose results would be lost otherwise."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["try_writing"]


def try_writing(directory: Path) -> None:
    """Raise OSError where no file can be made in `directory`, which need not exist. Nothing stays."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    finally:
        for made in missing:
            with suppress(OSError):  # not made, or in use by now
                made.rmdir()
