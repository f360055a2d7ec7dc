"""Finding out the format of a trace from its first line."""

from __future__ import annotations

import json

from pcache.errors import TraceError
from pcache.trace.formats.lengths import header_of
from pcache.trace.records import first_record
from pcache.trace.source import Source

__all__ = ["FORMATS", "sniff"]

FORMATS = {
    "native": "pcache's own JSON lines: tokens, text, messages or hash blocks",
    "mooncake": "JSON lines with hash_ids of 512-token blocks",
    "bailian": "JSON lines with hash_ids of 16-token blocks and chat_id",
    "chat": "JSON lines with OpenAI-style messages",
    "lengths": "CSV of arrivals and lengths (Azure, BurstGPT), without prefixes",
}
"""Formats by name, with what they are."""


def sniff(source: Source) -> str:
    """Name of the format. Raises TraceError if the first line is of none."""
    number, line = first_record(source)
    if header_of(line):
        return "lengths"
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict):
        for name, marks in (
            ("native", {"prompt", "arrival_ns"}),
            ("bailian", {"hash_ids", "chat_id"}),
            ("mooncake", {"hash_ids"}),
            ("chat", {"messages"}),
        ):
            if marks <= set(fields):
                return name
    raise TraceError(
        source.label,
        number,
        "not a trace: the first line is of no known format "
        f"({', '.join(FORMATS)}); name the format to see what is wrong with it",
    )
