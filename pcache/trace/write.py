"""Writing a trace: format by name, compression by the file's ending, and all or nothing."""

from __future__ import annotations

import gzip
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pcache.errors import ConfigError, TraceError
from pcache.trace.formats.mooncake import DEFAULT_BLOCK_TOKENS
from pcache.trace.formats.mooncake_write import mooncake_lines
from pcache.trace.formats.native_write import native_lines
from pcache.types import Trace

__all__ = ["WRITE_FORMATS", "losses", "write_trace"]

WRITE_FORMATS = ("native", "mooncake")
"""Values of `format`."""


def write_trace(
    trace: Trace,
    path: str | Path,
    *,
    format: str = "native",
    block_tokens: int = DEFAULT_BLOCK_TOKENS,
) -> None:
    """Write a trace; `.gz`, `.xz` and `.zst` are compressed, `-` is standard output.

    `block_tokens` is the size of Mooncake's blocks. `losses` tells what a format cannot hold. The
    file appears under its name only when it is complete. Raises TraceError or ConfigError.
    """
    if format == "native":
        lines = native_lines(trace)
    elif format == "mooncake":
        lines = mooncake_lines(trace, block_tokens)
    else:
        raise ConfigError(
            f"trace format '{format}' cannot be written; expected {' or '.join(WRITE_FORMATS)}"
        )
    if str(path) == "-":
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return
    _replace(Path(path), lines)


def losses(trace: Trace, format: str, block_tokens: int = DEFAULT_BLOCK_TOKENS) -> list[str]:
    """What writing this trace in `format` leaves out, a sentence each."""
    if format != "mooncake":
        return []
    held = {
        "request ids": any(name != str(at) for at, name in enumerate(trace.request_ids)),
        "sessions and turns": any(trace.session_ids) or bool(trace.turn.any()),
        "priorities": bool(trace.priority.any()),
        "traffic classes": len(trace.classes) > 1,
        "generated tokens": any(len(trace.known_output(at)) for at in range(len(trace))),
        f"sharing within blocks of {block_tokens} tokens": trace.symbol_tokens < block_tokens,
    }
    lost = [what for what, present in held.items() if present]
    return [f"The Mooncake format cannot hold {', '.join(lost)}: left out."] if lost else []


def _replace(path: Path, lines: Iterator[bytes]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        try:
            _write(partial, path.suffix, lines)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TraceError(
            str(path), None, f"cannot be written ({reason}); choose another place"
        ) from error


def _write(path: Path, ending: str, lines: Iterator[bytes]) -> None:
    if ending == ".gz":
        # No name and no time in the header: the same trace gives the same file.
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
            file.writelines(lines)
    elif ending == ".xz":
        with lzma.open(path, "wb", preset=9) as file:
            file.writelines(lines)
    elif ending == ".zst":
        # One frame with its length: a reader notices when the end is missing.
        path.write_bytes(pa.Codec("zstd", 19).compress(b"".join(lines), asbytes=True))
    else:
        with path.open("wb") as plain:
            plain.writelines(lines)
