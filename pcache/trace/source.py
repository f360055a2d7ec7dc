"""Bytes of a trace file: plain, gzip, xz or zstd, or standard input, recognised by content.

The hash is taken over the plain bytes, so a trace has one identity however it is compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from pcache.errors import TraceError

__all__ = ["MAX_PLAIN_BYTES", "Source", "read_source"]

MAX_PLAIN_BYTES = 4 << 30
"""More than any trace pcache can hold in memory; also stops decompression bombs."""

_ENDINGS = (".gz", ".xz", ".zst", ".jsonl", ".json", ".csv")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Source:
    """One file as text. `label` is how errors call it, `name` how the trace is called."""

    label: str
    name: str
    sha256: str
    text: str

    def lines(self) -> list[str]:
        """Lines without their line feed; line k of the file is at k - 1."""
        lines = self.text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines


def read_source(path: str | Path) -> Source:
    """Read and decompress a file, or standard input for `-`. Raises TraceError."""
    label = "stdin" if str(path) == "-" else str(path)
    plain = _decompress(label, _read(label, path))
    if not plain.strip():
        raise TraceError(label, None, "the file is empty; expected one request a line")
    if b"\0" in plain[:4096]:
        raise TraceError(label, None, "binary data; expected JSON lines or CSV as UTF-8 text")
    try:
        text = plain.decode()
    except UnicodeDecodeError as error:
        line = plain.count(b"\n", 0, error.start) + 1
        raise TraceError(
            label, line, f"byte 0x{plain[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error
    sha256 = hashlib.sha256(plain).hexdigest()
    return Source(label, _name(label), sha256, text.removeprefix(_BYTE_ORDER_MARK))


def _name(label: str) -> str:
    name = Path(label).name
    while name.endswith(_ENDINGS):
        name = name[: name.rindex(".")]
    return name


def _read(label: str, path: str | Path) -> bytes:
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_PLAIN_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MAX_PLAIN_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError(label, None, f"cannot be read ({reason}); check the path") from error
    return _within_limit(label, raw)


def _open_gzip(raw: bytes) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=io.BytesIO(raw)))


def _open_xz(raw: bytes) -> IO[bytes]:
    return lzma.LZMAFile(io.BytesIO(raw))


def _open_zstd(raw: bytes) -> IO[bytes]:
    return cast(IO[bytes], pa.CompressedInputStream(pa.BufferReader(raw), "zstd"))


_COMPRESSIONS: list[tuple[bytes, str, Callable[[bytes], IO[bytes]]]] = [
    (b"\x1f\x8b", "gzip", _open_gzip),
    (b"\xfd7zXZ\x00", "xz", _open_xz),
    (b"\x28\xb5\x2f\xfd", "zstd", _open_zstd),
]


def _decompress(label: str, raw: bytes) -> bytes:
    for magic, kind, opener in _COMPRESSIONS:
        if not raw.startswith(magic):
            continue
        try:
            with opener(raw) as stream:
                return _within_limit(label, stream.read(MAX_PLAIN_BYTES + 1))
        except (OSError, EOFError, lzma.LZMAError, zlib.error, pa.ArrowException) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TraceError(
                label,
                None,
                f"damaged or half-written {kind} data ({reason}); fetch or write it again",
            ) from error
    return raw


def _within_limit(label: str, data: bytes) -> bytes:
    if len(data) > MAX_PLAIN_BYTES:
        gib = MAX_PLAIN_BYTES >> 30
        raise TraceError(
            label, None, f"more than {gib} GiB of plain text; cut the file into smaller ones"
        )
    return data
