"""The probe of a place to write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcache.writable import try_writing


def test_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    try_writing(tmp_path / "there")
    try_writing(tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_place_below_a_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            try_writing(place)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
