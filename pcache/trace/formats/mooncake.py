"""Mooncake traces: JSON lines with chained hash blocks.

    {"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, ..., 13]}

`timestamp` is in milliseconds. Each id stands for one block of the prompt (512 tokens unless told
otherwise) together with everything before it; the last block may be partial. Requests have no
names, so they are called by their number from 0.
"""

from __future__ import annotations

from pcache.trace.build import MAX_SECONDS, build_trace, nanoseconds
from pcache.trace.formats.blocks import read_blocks
from pcache.trace.records import MAX_TOKENS, parse_records
from pcache.trace.source import Source
from pcache.types import Trace

__all__ = ["DEFAULT_BLOCK_TOKENS", "FIELDS", "read_mooncake"]

DEFAULT_BLOCK_TOKENS = 512
FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
_NS_PER_MS = 1_000_000


def read_mooncake(source: Source, *, block_tokens: int | None, limit: int | None) -> Trace:
    """Read a Mooncake trace. Raises TraceError."""
    records = parse_records(source, limit)
    records.check_fields(FIELDS)
    size = block_tokens or DEFAULT_BLOCK_TOKENS
    timestamps = records.numbers("timestamp", 0, MAX_SECONDS * 1e3)
    output_tokens = records.integers("output_length", 1, MAX_TOKENS)
    prompt_tokens, ids, counts = read_blocks(
        records, "hash_ids", "input_length", size, "all lines fit --block-tokens {}"
    )
    return build_trace(
        source,
        "mooncake",
        records.lines,
        request_ids=[str(number) for number in range(len(records))],
        arrival_ns=nanoseconds(timestamps, _NS_PER_MS),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        symbol_tokens=size,
        symbols=ids,
        symbol_counts=counts,
    )
