"""Bailian traces (Qwen serving at Alibaba Cloud): JSON lines with hashes of 16-token blocks.

    {"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.114, "input_length": 521,
     "output_length": 132, "type": "text", "turn": 2, "hash_ids": [1089, 1090, ...]}

`timestamp` is in seconds and `turn` counts from 1. Unlike Mooncake's, an id stands for its own block
only; blocks are the same prefix as long as all ids before them are equal too, which is how pcache
compares prompts anyway. Requests that lead to one another by `parent_chat_id` (-1 for none) are a
session, named after the first of them; `type` becomes the workload class.
"""

from __future__ import annotations

from pcache.trace.build import MAX_SECONDS, build_trace, nanoseconds
from pcache.trace.formats.blocks import read_blocks
from pcache.trace.records import MAX_SYMBOL, MAX_TOKENS, Records, parse_records
from pcache.trace.source import Source
from pcache.types import Trace

__all__ = ["DEFAULT_BLOCK_TOKENS", "FIELDS", "read_bailian"]

DEFAULT_BLOCK_TOKENS = 16
FIELDS = (
    "chat_id",
    "parent_chat_id",
    "timestamp",
    "input_length",
    "output_length",
    "type",
    "turn",
    "hash_ids",
)
_NO_PARENT = -1


def read_bailian(source: Source, *, block_tokens: int | None, limit: int | None) -> Trace:
    """Read a Bailian trace. Raises TraceError."""
    records = parse_records(source, limit)
    records.check_fields(FIELDS)
    size = block_tokens or DEFAULT_BLOCK_TOKENS
    timestamps = records.numbers("timestamp", 0, MAX_SECONDS)
    prompt_tokens, ids, counts = read_blocks(
        records, "hash_ids", "input_length", size, "all lines fit --block-tokens {}"
    )
    return build_trace(
        source,
        "bailian",
        records.lines,
        request_ids=[str(chat) for chat in records.integers("chat_id", 0, MAX_SYMBOL).tolist()],
        arrival_ns=nanoseconds(timestamps, 1_000_000_000),
        prompt_tokens=prompt_tokens,
        output_tokens=records.integers("output_length", 1, MAX_TOKENS),
        symbol_tokens=size,
        symbols=ids,
        symbol_counts=counts,
        session_ids=_sessions(records),
        turn=records.integers("turn", 1, 2**31 - 1) - 1,
        classes=records.strings("type"),
    )


def _sessions(records: Records) -> list[str]:
    """The first chat of each request's chain; one before the trace begins counts as the first."""
    chats = records.integers("chat_id", 0, MAX_SYMBOL).tolist()
    parents = records.integers("parent_chat_id", _NO_PARENT, MAX_SYMBOL).tolist()
    root: dict[int, int] = {}
    for chat, parent in zip(chats, parents, strict=True):
        root[chat] = chat if parent == _NO_PARENT else root.get(parent, parent)
    return [str(root[chat]) for chat in chats]
