"""Length-only CSV: the public Azure and BurstGPT traces.

    TIMESTAMP,ContextTokens,GeneratedTokens                                      (Azure, 2023, 2024)
    Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type         (BurstGPT)
    Timestamp,Session ID,Elapsed time,Model,Request tokens,…                     (BurstGPT, part 2)

They hold arrivals and lengths but no prompts, so nothing can be said about prefixes: every prompt
is taken to share nothing, and the trace says so (`has_content` is False). One symbol stands for
each whole prompt. Azure's times are dates, BurstGPT's seconds. BurstGPT's model becomes the
workload class; its failed requests have no response and must be left out, as in its files
`without_fails`.
"""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd

from pcache.errors import TraceError
from pcache.trace.build import MAX_SECONDS, build_trace, nanoseconds
from pcache.trace.records import MAX_TOKENS, shown
from pcache.trace.source import Source
from pcache.types import F8, I8, Trace

__all__ = ["header_of", "read_lengths"]

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BURST = ("Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type")
_BURST_2 = ("Timestamp", "Session ID", "Elapsed time", *_BURST[1:])
_HEADERS = (_AZURE, _BURST, _BURST_2)


def header_of(line: str) -> tuple[str, ...] | None:
    """The known header that this line is, or None."""
    names = tuple(name.strip() for name in line.split(","))
    return names if names in _HEADERS else None


def read_lengths(source: Source, *, limit: int | None) -> Trace:
    """Read a length-only trace. Raises TraceError."""
    lines, header, rows = _rows(source, limit)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    if header == _AZURE:
        prompt, output, classes = "ContextTokens", "GeneratedTokens", None
        sessions = None
        arrival_ns = _dates(source, lines, columns["TIMESTAMP"])
    else:
        prompt, output, classes = "Request tokens", "Response tokens", list(columns["Model"])
        sessions = list(columns["Session ID"]) if "Session ID" in columns else None
        arrival_ns = nanoseconds(
            _numbers(source, lines, "Timestamp", columns["Timestamp"]), 1_000_000_000
        )
    num = len(lines)
    return build_trace(
        source,
        "lengths",
        lines,
        request_ids=[str(number) for number in range(num)],
        arrival_ns=arrival_ns,
        prompt_tokens=_integers(source, lines, prompt, columns[prompt]),
        output_tokens=_integers(source, lines, output, columns[output]),
        symbol_tokens=MAX_TOKENS,
        symbols=np.arange(num, dtype=np.int64),
        symbol_counts=np.ones(num, np.int64),
        session_ids=sessions,
        classes=classes,
        has_content=False,
    )


def _rows(source: Source, limit: int | None) -> tuple[list[int], tuple[str, ...], list[list[str]]]:
    lines: list[int] = []
    rows: list[list[str]] = []
    header: tuple[str, ...] | None = None
    reader = csv.reader(io.StringIO(source.text, newline=""))
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = header_of(",".join(row))
                if header is None:
                    known = " or ".join(",".join(names) for names in _HEADERS)
                    raise TraceError(
                        source.label, reader.line_num, f"the header is not {known}; convert it"
                    )
                continue
            if limit is not None and len(rows) == limit:
                break
            if len(row) != len(header):
                raise TraceError(
                    source.label,
                    reader.line_num,
                    f"has {len(row)} columns; expected {len(header)} ({','.join(header)})",
                )
            lines.append(reader.line_num)
            rows.append(row)
    except csv.Error as error:
        raise TraceError(source.label, reader.line_num, f"not valid CSV ({error})") from error
    if header is None or not rows:
        raise TraceError(source.label, None, "no line holds a request below the header")
    return lines, header, rows


def _dates(source: Source, lines: list[int], values: tuple[str, ...]) -> I8:
    dates = pd.to_datetime(
        pd.Series(values), format="ISO8601", utc=True, errors="coerce"
    ).dt.as_unit("ns")
    for at in np.flatnonzero(dates.isna())[:1]:
        raise TraceError(
            source.label,
            lines[at],
            f"TIMESTAMP is {shown(values[at])}; expected a date such as 2023-11-16 18:15:46.68",
        )
    instants = dates.astype(np.int64).to_numpy()
    return np.asarray(instants - instants[0], dtype=np.int64)


def _integers(source: Source, lines: list[int], name: str, values: tuple[str, ...]) -> I8:
    numbers = _numbers(source, lines, name, values)
    for at in np.flatnonzero(
        (numbers != np.rint(numbers)) | (numbers < 1) | (numbers > MAX_TOKENS)
    )[:1]:
        remedy = (
            "failed requests generate nothing: leave them out"
            if numbers[at] == 0
            else "correct or remove the line"
        )
        raise TraceError(
            source.label,
            lines[at],
            f"{name} is {shown(values[at])}; expected an integer from 1 to {MAX_TOKENS:,}; {remedy}",
        )
    return numbers.astype(np.int64)


def _numbers(source: Source, lines: list[int], name: str, values: tuple[str, ...]) -> F8:
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(np.float64)
    for at in np.flatnonzero(~((numbers >= 0) & (numbers <= MAX_SECONDS)))[:1]:
        raise TraceError(
            source.label,
            lines[at],
            f"{name} is {shown(values[at])}; expected a number from 0 to {MAX_SECONDS:g}",
        )
    return numbers
