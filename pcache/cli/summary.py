"""How the numbers of several runs are printed: after `simulate` and `run`, and by `report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pcache.cli.output import OutputFormat, emit
from pcache.metrics import summary_table, summary_tables

__all__ = ["emit_summaries"]


def emit_summaries(
    summaries: Sequence[Mapping[str, Any]],
    ceilings: Sequence[float | None],
    *,
    format: OutputFormat,
    notes: Sequence[str] = (),
) -> None:
    """A row a run: narrow tables by subject for readers, one wide table for CSV and JSON.

    `ceilings` gives for each run the hit rate of an infinite cache at its block size, or None.
    """
    if format is not OutputFormat.table:
        emit(summary_table(summaries, ceilings), format=format, notes=notes)
        return
    tables = summary_tables(summaries, ceilings)
    for title, table in tables.items():
        last = title == list(tables)[-1]
        emit(table, title=title.capitalize(), format=format, notes=notes if last else ())
