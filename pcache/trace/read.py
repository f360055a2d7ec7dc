"""Reading a trace: find out the format, read, check, cut."""

from __future__ import annotations

import json
from pathlib import Path

from pcache.errors import ConfigError, TraceError
from pcache.trace.formats.mooncake import read_mooncake
from pcache.trace.formats.native import read_native
from pcache.trace.records import first_record
from pcache.trace.slice import slice_trace
from pcache.trace.source import Source, read_source
from pcache.trace.tokenize import Tokenizer, load_tokenizer
from pcache.types import Trace

__all__ = ["FORMATS", "read_trace"]

FORMATS = ("native", "mooncake")
"""Values of `format` besides `auto`."""


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
    if block_tokens is not None and not 1 <= block_tokens <= 1 << 20:
        raise ConfigError(f"block tokens is {block_tokens}; expected 1 to {1 << 20:,}")
    source = read_source(path)
    chosen = _sniff(source) if format == "auto" else format
    first_lines = limit if start_s is None else None
    if chosen == "native":
        loaded = load_tokenizer(tokenizer) if isinstance(tokenizer, (str, Path)) else tokenizer
        trace = read_native(source, tokenizer=loaded, limit=first_lines)
    elif chosen == "mooncake":
        trace = read_mooncake(source, block_tokens=block_tokens, limit=first_lines)
    else:
        raise ConfigError(f"trace format '{chosen}' is unknown; expected {', '.join(FORMATS)}")
    return slice_trace(trace, limit=limit, start_s=start_s, end_s=end_s, time_scale=time_scale)


def _sniff(source: Source) -> str:
    number, line = first_record(source)
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        if "prompt" in fields and "arrival_ns" in fields:
            return "native"
        if "hash_ids" in fields:
            return "mooncake"
    raise TraceError(
        source.label,
        number,
        f"not a trace format pcache knows; expected one of {', '.join(FORMATS)}: "
        "name it with --trace-format",
    )
