"""Measured runs as one file that leaves a GPU machine and is kept: tar.xz, same bytes for same runs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

__all__ = ["pack", "unpack"]

LARGEST_PART = 15 * 2**20
"""Bytes before compression, so that every part stays below 16 MiB whatever it holds."""


def pack(out: Path, archive: Path) -> list[Path]:
    """Write all measured runs below `out`, and JSON files beside them, into `archive` (NAME.tar.xz), or
    into NAME-2.tar.xz and so on where they are more than one part may hold; the files."""
    files = sorted(out.glob("*.json")) + sorted(
        file
        for run in sorted(out.glob("*/measured-*"))
        for file in run.rglob("*")
        if file.is_file()
    )
    parts: list[list[Path]] = [[]]
    size = 0
    for file in files:
        if size + file.stat().st_size > LARGEST_PART and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(file)
        size += file.stat().st_size
    archive.parent.mkdir(parents=True, exist_ok=True)
    stem = archive.name.removesuffix(".tar.xz")
    written = []
    for number, part in enumerate(parts, 1):
        path = archive.with_name(f"{stem}{'' if number == 1 else f'-{number}'}.tar.xz")
        partial = path.with_name(f".{path.name}.partial")
        with tarfile.open(partial, "w:xz", preset=6) as tar:
            for file in part:
                content = file.read_bytes()
                entry = tarfile.TarInfo(file.relative_to(out).as_posix())
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        partial.replace(path)
        written.append(path)
    return written


def unpack(source: Path, out: Path) -> Path:
    """A directory of runs as it is; of an archive and its further parts, their content in `out`."""
    if source.is_dir():
        return source
    stem = source.name.removesuffix(".tar.xz")
    for part in [source, *sorted(source.parent.glob(f"{stem}-[0-9]*.tar.xz"))]:
        with tarfile.open(part) as tar:
            tar.extractall(out, filter="data")
    return out
