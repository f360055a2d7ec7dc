"""What every command prints: tables on stdout, progress and errors on stderr.

The same rows come as a rich table, CSV or JSON. A table is never squeezed: columns that do not fit
the width (80 when piped) go into further tables below, which repeat the first column.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import NoReturn

import numpy as np
import pandas as pd
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pcache.errors import PcacheError

__all__ = ["OutputFormat", "announce_compilation", "emit", "emit_all", "fail", "progress"]

MAX_UNWRAPPED = 24
"""Longer texts may wrap to this width; numbers are shorter and never break."""


class OutputFormat(StrEnum):
    """Value of `--format`."""

    table = "table"
    csv = "csv"
    json = "json"


def emit(
    frame: pd.DataFrame, *, title: str = "", format: OutputFormat, notes: Sequence[str] = ()
) -> None:
    """Print the rows of `frame` to stdout; its index is not shown.

    CSV and JSON (a list of objects, one a row) carry full precision and keep stdout clean: title
    and notes are for readers, so notes go to stderr there.
    """
    if format is OutputFormat.table:
        _print_table(frame, title, notes)
        return
    if format is OutputFormat.csv:
        sys.stdout.write(frame.to_csv(index=False, lineterminator="\n"))
    else:
        _print_json(_records(frame))
    for note in notes:
        print(note, file=sys.stderr)


def emit_all(
    frames: Mapping[str, pd.DataFrame], *, format: OutputFormat, notes: Sequence[str] = ()
) -> None:
    """Print several frames by title: tables, one JSON object of lists, or CSV.

    CSV has columns `table`, `row`, `column`, `value`, since the frames have different columns.
    """
    if format is OutputFormat.table:
        for title, frame in frames.items():
            _print_table(frame, title, notes if title == list(frames)[-1] else ())
    elif format is OutputFormat.csv:
        cells = [
            (title, row, name, value)
            for title, frame in frames.items()
            for row, fields in enumerate(_records(frame))
            for name, value in fields.items()
        ]
        emit(
            pd.DataFrame(cells, columns=["table", "row", "column", "value"]),
            format=format,
            notes=notes,
        )
    else:
        _print_json({title: _records(frame) for title, frame in frames.items()})
        for note in notes:
            print(note, file=sys.stderr)


def announce_compilation() -> None:
    """Tell a reader on a terminal why the first run on a machine takes so long."""
    from pcache.jit import nothing_compiled  # numba: only when needed

    if sys.stderr.isatty() and nothing_compiled():
        print("Compiling first, which takes about a minute and happens once ...", file=sys.stderr)


@contextmanager
def progress(description: str, total: float) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr; call the yielded function with how much of `total` is done.

    Silent when stderr is not a terminal. Cheap enough to be called ten thousand times a second.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _ignore
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


def fail(error: PcacheError) -> NoReturn:
    """Print the error as one line on stderr and exit with 2."""
    print(f"pcache: error: {error}", file=sys.stderr)
    raise SystemExit(2)


def _ignore(_done: float) -> None:
    pass


def _print_table(frame: pd.DataFrame, title: str, notes: Sequence[str]) -> None:
    console = Console(highlight=False)
    headers = [str(name) for name in frame.columns]
    columns = [[_cell(value) for value in frame.iloc[:, at]] for at in range(len(headers))]
    narrow = list(map(_narrowest, headers, columns))
    for shown in _fold(narrow, console.width):
        table = Table(title=Text(title) if title else None, title_justify="left")
        spare = console.width - _table_width([narrow[at] for at in shown])
        for at in shown:
            natural = max(cell_len(headers[at]), *(cell.cell_len for cell in columns[at]), 0)
            width = min(natural, narrow[at] + max(spare, 0))
            spare -= width - narrow[at]
            numeric = pd.api.types.is_any_real_numeric_dtype(frame.dtypes.iloc[at])
            justify: JustifyMethod = "right" if numeric else "left"
            table.add_column(Text(headers[at]), justify=justify, width=width, overflow="fold")
        for row in zip(*(columns[at] for at in shown), strict=True):
            table.add_row(*row)
        console.print(table)
        title = ""
    for note in notes:
        console.print(Text(note))


def _narrowest(header: str, cells: list[Text]) -> int:
    """Least width that breaks no word of the header and no number, and leaves texts readable."""
    words = max(map(cell_len, header.split()), default=0)
    return max(words, min(max((cell.cell_len for cell in cells), default=0), MAX_UNWRAPPED))


def _table_width(widths: list[int]) -> int:
    return sum(widths) + 3 * len(widths) + 1  # a space either side and one line


def _fold(widths: list[int], available: int) -> list[list[int]]:
    """Columns of each table, such that every table fits; all begin with column 0."""
    tables: list[list[int]] = [[]]
    for at in range(len(widths)):
        wider = [widths[other] for other in [*tables[-1], at]]
        if len(tables[-1]) > 1 and _table_width(wider) > available:
            tables.append([0])
        tables[-1].append(at)
    return tables


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    rows = frame.astype(object).itertuples(index=False, name=None)
    return [dict(zip(frame.columns, map(_plain, row), strict=True)) for row in rows]


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: object) -> object:
    return None if value is None or pd.isna(value) else value  # type: ignore[call-overload]


def _cell(value: object) -> Text:
    value = _plain(value)
    if value is None:
        return Text("–")
    if isinstance(value, (bool, np.bool_)):
        return Text("yes" if value else "no")
    if isinstance(value, (int, np.integer)):
        return Text(f"{value:,}")
    if not isinstance(value, (float, np.floating)):
        return Text(str(value))
    magnitude = abs(float(value))
    if magnitude == 0:
        return Text("0")
    digits = 0 if magnitude >= 1000 else 1 if magnitude >= 100 else 2 if magnitude >= 1 else 4
    return Text(f"{value:,.{digits}f}")
