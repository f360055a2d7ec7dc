"""`pcache report`: a page, charts and tables from run directories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcache.cli.output import OutputFormat, fail
from pcache.cli.summary import emit_summaries
from pcache.errors import PcacheError

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run directories that simulate, run or replay wrote, or directories that hold some.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Directory for the page, PNG and CSV files.")],
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    format: Annotated[
        OutputFormat, typer.Option("--format", help="How to print the summary table.")
    ] = OutputFormat.table,
) -> None:
    """Compare runs side by side: one HTML page, charts and CSV tables.

    Simulated and measured runs of the same configuration are paired, with their differences.

    Example: pcache report runs/demo --out reports/demo
    """
    from pcache.report import load_runs, render  # matplotlib is slow to load: only when needed

    try:
        loaded = load_runs(runs)
        page = render(loaded, out, title)
    except PcacheError as error:
        fail(error)
    summaries = [{**run.summary, "label": run.name} for run in loaded]
    ceilings = [run.ceiling for run in loaded]
    emit_summaries(summaries, ceilings, format=format, notes=[f"report: {page}"])
