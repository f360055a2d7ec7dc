"""The page of a sweep, from its table alone: curves, a heat map and the front of memory and goodput."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import pandas as pd

from pcache.errors import RunDirectoryError
from pcache.report.figures.chart import Chart
from pcache.report.figures.sweep_curves import draw_hit_rate, draw_ttft
from pcache.report.figures.sweep_front import draw as draw_front
from pcache.report.figures.sweep_heat import draw as draw_heat
from pcache.report.page import figure_on_page
from pcache.report.style import STYLE
from pcache.report.units import count_text, duration_text, plural, share_text

__all__ = ["render_sweep"]

CHARTS: tuple[Callable[[pd.DataFrame], Chart | None], ...] = (
    draw_hit_rate, draw_ttft, draw_heat, draw_front,
)  # fmt: skip


def render_sweep(cells: pd.DataFrame, out: Path, recommendation: list[str]) -> Path:
    """Charts as PNG, the cells as CSV and one page, a section a trace; returns `out`/index.html.

    `cells` as in `pcache.sweeps.Sweep`; `recommendation` are sentences for the top of the page. Raises
    RunDirectoryError where `out` cannot be written.
    """
    page = out / "index.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        cells.to_csv(out / "sweep.csv", index=False)
        done = cells[cells["error"].isna()]
        with matplotlib.rc_context(STYLE):
            sections = [
                {"trace": name, "figures": _figures(part, out, at), "rows": _rows(part)}
                for at, (name, part) in enumerate(done.groupby("trace", sort=False))
            ]
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("pcache.report"), autoescape=True, trim_blocks=True,
            lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        text = environment.get_template("sweep.html").render(
            title=f"Sweep of {plural(len(cells), 'configuration')}",
            sections=sections,
            recommendation=recommendation,
            sources=sorted(set(done["latency_source"])) if len(done) else [],
            failed=_failed(cells),
        )
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(
            f"{out}: cannot write the report ({error.strerror}); choose another --out"
        ) from error
    return page


def _figures(part: pd.DataFrame, out: Path, at: int) -> list[dict[str, str]]:
    charts = [chart for draw in CHARTS if (chart := draw(part))]
    named = [Chart(f"{c.name}_{at + 1}", c.title, c.reading, c.figure) for c in charts]
    return [figure_on_page(chart, out) for chart in named]


def _failed(cells: pd.DataFrame) -> list[str]:
    """Configurations that could not be simulated, and why; each reason once."""
    failed = cells[cells["error"].notna()]
    return list(dict.fromkeys(f"{name}: {why}" for name, why in failed[["trace", "error"]].values))


def _rows(part: pd.DataFrame) -> list[list[str]]:
    """The cells of one trace as text, in the order of the headings of the template."""
    rows: list[dict[Any, Any]] = part.to_dict("records")
    return [
        [
            row["label"],
            row["order"],
            "unlimited" if math.isnan(row["kv_tokens"]) else count_text(row["kv_tokens"]),
            share_text(row["hit_rate"]),
            duration_text(row["ttft_p50_ms"]),
            duration_text(row["ttft_p99_ms"]),
            f"{row['tpot_mean_ms']:.1f}",
            f"{row['goodput_requests_per_s']:.2f}",
            share_text(row["within_slo"]),
        ]
        for row in rows
    ]
