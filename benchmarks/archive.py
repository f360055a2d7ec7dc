"""Measured runs as one file that leaves a GPU machine and is kept: tar.xz, same bytes for same runs."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["pack", "unpack"]

LARGEST_PART = 15 * 2**20
"""Bytes of a part: files of 16 MiB can leave."""
_HEADERS = 1024
"""Bytes that tar adds to a file, before compression."""


def pack(out: Path, archive: Path) -> list[Path]:
    """Write all measured runs below `out`, and tables beside them, into `archive` (NAME.tar.xz), or
    into NAME-2.tar.xz and so on where one part may not hold them; the files."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    stem = archive.name.removesuffix(".tar.xz")
    written = []
    for number, part in enumerate(_parts(_files(out)), 1):
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


def _files(out: Path) -> list[Path]:
    beside = [path for path in out.glob("*.*") if path.suffix in (".json", ".csv")]
    runs = [path for run in out.glob("*/measured-*") for path in run.rglob("*") if path.is_file()]
    return sorted(beside) + sorted(runs)


def _parts(files: list[Path]) -> Iterator[list[Path]]:
    """Files together as long as they would fit if each were compressed alone, which takes more."""
    part: list[Path] = []
    size = 0
    for file in files:
        own = len(lzma.compress(file.read_bytes(), preset=1)) + _HEADERS
        if part and size + own > LARGEST_PART:
            yield part
            part, size = [], 0
        part.append(file)
        size += own
    yield part


def unpack(source: Path, out: Path) -> Path:
    """A directory of runs as it is; of an archive and its further parts, their content in `out`."""
    if source.is_dir():
        return source
    stem = source.name.removesuffix(".tar.xz")
    for part in [source, *sorted(source.parent.glob(f"{stem}-[0-9]*.tar.xz"))]:
        with tarfile.open(part) as tar:
            tar.extractall(out, filter="data")
    return out
