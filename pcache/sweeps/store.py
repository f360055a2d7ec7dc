"""Where a sweep keeps its cells: one small file each, and one table of all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from pcache.errors import RunDirectoryError

__all__ = ["TABLE", "SweepStore"]

TABLE = "sweep.parquet"


class SweepStore:
    """A directory: `cells/KEY.json` for every finished cell, `sweep.parquet` of those of one sweep.

    Files are renamed into place, so an interrupted sweep leaves none half written. Raises
    RunDirectoryError where it cannot write.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cells = directory / "cells"
        try:
            self._cells.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def row(self, key: str) -> dict[str, Any] | None:
        """The finished cell's row, None where there is none that can be read."""
        try:
            row: dict[str, Any] = json.loads((self._cells / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        return row if isinstance(row, dict) and row.get("key") == key else None

    def keep(self, row: dict[str, Any]) -> None:
        """Store a finished cell."""
        path = self._cells / f"{row['key']}.json"
        try:
            unfinished = path.with_suffix(".tmp")
            unfinished.write_text(json.dumps(row))
            unfinished.replace(path)
        except OSError as error:
            raise self._unwritable(error) from error

    def table(self, keys: Iterable[str]) -> pd.DataFrame:
        """Write and return the table of these cells, as far as they are finished, in their order."""
        rows = [row for key in keys if (row := self.row(key)) is not None]
        frame = pd.DataFrame(rows)
        try:
            unfinished = self.directory / f"{TABLE}.tmp"
            frame.to_parquet(unfinished, index=False)
            unfinished.replace(self.directory / TABLE)
        except OSError as error:
            raise self._unwritable(error) from error
        return frame

    def _unwritable(self, error: OSError) -> RunDirectoryError:
        return RunDirectoryError(
            f"{self.directory}: cannot write the sweep ({error.strerror}); choose another --out"
        )
