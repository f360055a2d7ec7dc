"""From checked columns to a Trace: what must hold across lines is checked here, for all formats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcache.errors import TraceError
from pcache.trace.records import MAX_TOKENS, shown
from pcache.trace.source import Source
from pcache.types import F8, I4, I8, Image, Trace

__all__ = ["MAX_SECONDS", "MAX_TRACE_TOKENS", "build_trace", "nanoseconds"]

MAX_SECONDS = 1e10
"""Latest arrival: Unix time until the year 2286."""

MAX_TRACE_TOKENS = 1 << 31
"""Most prompt and output tokens of one trace."""

_EPOCH_SECONDS = 1e9
"""Times from here on (September 2001) are dates; the trace then starts at its first request."""


def nanoseconds(times: F8, unit_ns: int) -> I8:
    """Arrival times in units of `unit_ns` as integer nanoseconds, int64 [len].

    Dates (Unix time) become time since the first request; all others stay as they are.
    """
    if len(times) and times[0] * unit_ns >= _EPOCH_SECONDS * 1e9:
        times = times - times[0]
    return np.rint(times * unit_ns).astype(np.int64)


def build_trace(
    source: Source,
    source_format: str,
    lines: Sequence[int],
    *,
    request_ids: list[str],
    arrival_ns: I8,
    prompt_tokens: I8,
    output_tokens: I8,
    symbol_tokens: int,
    symbols: I8,
    symbol_counts: I8,
    session_ids: list[str] | None = None,
    turn: I8 | None = None,
    priority: I8 | None = None,
    salts: list[str] | None = None,
    classes: list[str] | None = None,
    images: list[Image] | None = None,
    tokenizer: str = "",
    has_content: bool = True,
) -> Trace:
    """Assemble one trace; columns have an entry a request. Raises TraceError naming the line."""
    num = len(request_ids)
    _check_lengths(source.label, lines, prompt_tokens, output_tokens)
    _check_order(source.label, lines, arrival_ns)
    _check_unique(source.label, lines, request_ids)
    salt, salt_names = _names(salts, num)
    workload_class, class_names = _names(classes, num)
    zeros = np.zeros(num, np.int64)
    return Trace(
        name=source.name,
        source_format=source_format,
        sha256=source.sha256,
        symbol_tokens=symbol_tokens,
        request_ids=request_ids,
        session_ids=session_ids if session_ids is not None else [""] * num,
        turn=(zeros if turn is None else turn).astype(np.int32),
        arrival_ns=arrival_ns,
        prompt_tokens=prompt_tokens.astype(np.int32),
        output_tokens=output_tokens.astype(np.int32),
        priority=(zeros if priority is None else priority).astype(np.int32),
        salt=salt,
        salts=salt_names,
        workload_class=workload_class,
        classes=class_names,
        symbols=symbols,
        symbol_offsets=np.concatenate((zeros[:1] * 0, np.cumsum(symbol_counts))),
        images=images or [],
        tokenizer=tokenizer,
        has_content=has_content,
    )


def _check_lengths(label: str, lines: Sequence[int], prompt: I8, output: I8) -> None:
    for what, tokens in (("prompt", prompt), ("output", output)):
        wrong = np.flatnonzero((tokens < 1) | (tokens > MAX_TOKENS))
        if len(wrong):
            at = int(wrong[0])
            raise TraceError(
                label,
                lines[at],
                f"the {what} has {tokens[at]:,} tokens; expected 1 to {MAX_TOKENS:,}: "
                "correct or remove the line",
            )
    total = np.cumsum(prompt + output)
    if len(total) and total[-1] > MAX_TRACE_TOKENS:
        at = int(np.searchsorted(total, MAX_TRACE_TOKENS, side="right"))
        raise TraceError(
            label,
            lines[at],
            f"the trace passes {MAX_TRACE_TOKENS:,} tokens here, the most pcache holds; "
            f"read fewer requests with --limit {at}",
        )


def _check_order(label: str, lines: Sequence[int], arrival_ns: I8) -> None:
    early = np.flatnonzero(np.diff(arrival_ns) < 0)
    if len(early):
        at = int(early[0]) + 1
        before, here = arrival_ns[at - 1] / 1e9, arrival_ns[at] / 1e9
        raise TraceError(
            label,
            lines[at],
            f"arrives at {here:,.9g} s, before the previous request at {before:,.9g} s; "
            "sort the lines by arrival",
        )


def _check_unique(label: str, lines: Sequence[int], request_ids: list[str]) -> None:
    if len(set(request_ids)) == len(request_ids):
        return
    seen: dict[str, int] = {}
    for line, name in zip(lines, request_ids, strict=True):
        if name in seen:
            raise TraceError(
                label, line, f"id {shown(name)} is already that of line {seen[name]}; rename one"
            )
        seen[name] = line


def _names(values: list[str] | None, num: int) -> tuple[I4, list[str]]:
    """Index of each value in the list of distinct ones; 0 is the empty name."""
    index: dict[str, int] = {"": 0}
    if values is None:
        return np.zeros(num, np.int32), [""]
    codes = [index.setdefault(value, len(index)) for value in values]
    return np.array(codes, np.int32), list(index)
