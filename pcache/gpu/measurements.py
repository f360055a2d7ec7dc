"""Files of measurements: every row says what it was made with, every run adds its rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

__all__ = ["append_results"]


def append_results(frame: pd.DataFrame, path: Path) -> None:
    """Add rows to a CSV file, creating it where there is none; columns may differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        frame = pd.concat([pd.read_csv(path, dtype=str), frame.round(4).astype(str)])
    unfinished = path.with_name(path.name + ".tmp")
    frame.round(4).to_csv(unfinished, index=False)
    unfinished.replace(path)
