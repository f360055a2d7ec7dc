"""The page of a study: sections of sentences, tables and charts, in the look of every report.

A study has questions of its own, so its sections are the caller's; what is common is the page, its
CSV files and its charts as PNG.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import matplotlib
import pandas as pd

from pcache.errors import RunDirectoryError
from pcache.report.facts import Fact
from pcache.report.figures.chart import Chart
from pcache.report.page import PAGE, figure_on_page
from pcache.report.style import STYLE
from pcache.report.tables import Cell

__all__ = ["Section", "StudyTable", "render_study"]


@dataclass(frozen=True, slots=True)
class StudyTable:
    """Rows of as many cells as there are headings; the first of each names its row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows with every text as a cell."""
        return [[Cell(c) if isinstance(c, str) else c for c in row] for row in self.rows]

    @property
    def marks(self) -> list[str]:
        """For each heading, "text" where its column holds words."""
        first = self.cells[0] if self.rows else []
        return ["text" if cell.mark == "text" else "" for cell in first]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what it says, its charts (drawn when the page is) and its table, folded or open."""

    heading: str
    sentences: Sequence[str] = ()
    charts: Sequence[Callable[[], Chart | None]] = ()
    table: StudyTable | None = None
    folded: bool = False
    notes: Sequence[str] = field(default=())


def render_study(
    out: Path,
    title: str,
    *,
    facts: Sequence[Fact],
    worlds: Mapping[str, str],
    warnings: Sequence[str],
    sections: Sequence[Section],
    tables: Mapping[str, pd.DataFrame],
) -> Path:
    """Write the page, `out`/index.html, with its charts and `tables` (file name to frame) beside it.

    `worlds` is what simulated and measured mean here. Raises RunDirectoryError where `out` cannot be
    written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        with matplotlib.rc_context(STYLE):
            drawn = [
                [figure_on_page(chart, out) for draw in section.charts if (chart := draw())]
                for section in sections
            ]
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("pcache.report"), autoescape=True, trim_blocks=True,
            lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        text = environment.get_template("study.html").render(
            title=title,
            facts=facts,
            worlds=worlds,
            warnings=warnings,
            sections=list(zip(sections, drawn, strict=True)),
            files=[f"{name}.csv" for name in tables],
        )
        (out / PAGE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(
            f"{out}: cannot write the report ({error.strerror}); choose another directory"
        ) from error
    return out / PAGE
