"""Reading a trace: find out the format, read, check, cut."""

from __future__ import annotations

from pathlib import Path

from pcache.errors import ConfigError
from pcache.trace.formats.bailian import read_bailian
from pcache.trace.formats.chat import read_chat
from pcache.trace.formats.lengths import read_lengths
from pcache.trace.formats.mooncake import read_mooncake
from pcache.trace.formats.native import read_native
from pcache.trace.slice import check_limits, slice_trace
from pcache.trace.sniff import FORMATS, sniff
from pcache.trace.source import Source, read_source
from pcache.trace.tokenize import Tokenizer, load_tokenizer
from pcache.types import Trace

__all__ = ["read_trace"]

MAX_BLOCK_TOKENS = 1 << 20


def read_trace(
    path: str | Path,
    *,
    format: str = "auto",
    tokenizer: Tokenizer | str | Path = "bytes",
    block_tokens: int | None = None,
    limit: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    time_scale: float = 1.0,
) -> Trace:
    """Read a trace file (plain, gzip, xz or zstd; `-` is standard input).

    `tokenizer` turns text and chats into tokens: `bytes`, a Hugging Face directory or a GGUF file.
    `block_tokens` is the size of hash blocks where the file does not say it (Mooncake: 512,
    Bailian: 16). `limit`, `start_s`, `end_s` and `time_scale` are explained at `slice_trace`;
    with a limit and no start, lines after the last request that is needed are not looked at.
    Raises TraceError naming file and line, or ConfigError for options that cannot work.
    """
    if format != "auto" and format not in FORMATS:
        raise ConfigError(
            f"trace format '{format}' is unknown; expected auto, {', '.join(FORMATS)}"
        )
    if block_tokens is not None and not 1 <= block_tokens <= MAX_BLOCK_TOKENS:
        raise ConfigError(f"block tokens is {block_tokens}; expected 1 to {MAX_BLOCK_TOKENS:,}")
    check_limits(limit, start_s, end_s, time_scale)
    source = read_source(path)
    chosen = sniff(source) if format == "auto" else format
    if block_tokens is not None and chosen not in ("mooncake", "bailian"):
        raise ConfigError(
            f"{source.label}: a {chosen} trace has no block size to set; leave it out"
        )
    first_lines = limit if start_s is None else None
    trace = _read(chosen, source, tokenizer, block_tokens, first_lines)
    return slice_trace(trace, limit=limit, start_s=start_s, end_s=end_s, time_scale=time_scale)


def _read(
    format: str,
    source: Source,
    tokenizer: Tokenizer | str | Path,
    block_tokens: int | None,
    limit: int | None,
) -> Trace:
    if format == "mooncake":
        return read_mooncake(source, block_tokens=block_tokens, limit=limit)
    if format == "bailian":
        return read_bailian(source, block_tokens=block_tokens, limit=limit)
    if format == "lengths":
        return read_lengths(source, limit=limit)
    loaded = load_tokenizer(tokenizer) if isinstance(tokenizer, (str, Path)) else tokenizer
    reader = read_native if format == "native" else read_chat
    return reader(source, tokenizer=loaded, limit=limit)
