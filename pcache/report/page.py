"""Write a report: charts as PNG, tables as CSV, and one page that holds everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib

from pcache.errors import RunDirectoryError
from pcache.report.facts import facts, findings, warnings, world_sentences
from pcache.report.figures import PAIR_CHARTS, RUN_CHARTS, Chart
from pcache.report.glossary import GLOSSARY
from pcache.report.pairs import CLOSE_PERCENT, CLOSE_POINTS, Pair, find_pairs
from pcache.report.runs import Run, load_runs, setting
from pcache.report.style import STYLE, save_png, svg_text
from pcache.report.tables import (
    DETAILS,
    HEADLINE,
    HEADLINE_WITHOUT_CLOCK,
    csv_tables,
    pair_table,
    pair_tables,
    run_table,
)
from pcache.report.units import plural

__all__ = ["figure_on_page", "render", "write_report"]

PAGE = "index.html"


def write_report(runs: Sequence[Path], out: Path, title: str | None = None) -> Path:
    """Report on the run directories at or below `runs`; returns the page, `out`/index.html.

    Raises RunDirectoryError for a directory that holds no run, and where `out` cannot be written.
    """
    return render(load_runs(runs), out, title)


def render(runs: Sequence[Run], out: Path, title: str | None = None) -> Path:
    """As write_report, for runs already loaded. The page is written last."""
    pairs = find_pairs(runs)
    tables = csv_tables(runs, pairs)
    page = out / PAGE
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(out / f"{name}.csv", index=False)
        with matplotlib.rc_context(STYLE):
            figures = [figure_on_page(chart, out) for draw in RUN_CHARTS if (chart := draw(runs))]
            pair_figures = [
                figure_on_page(chart, out) for draw in PAIR_CHARTS if (chart := draw(pairs))
            ]
        page.write_text(
            _template().render(
                title=title or _title(runs),
                figures=figures,
                pair_figures=pair_figures,
                files=[f"{name}.csv" for name in tables],
                **_words(runs, pairs),
                **_numbers(runs, pairs),
            ),
            encoding="utf-8",
        )
    except OSError as error:
        raise RunDirectoryError(
            f"{out}: cannot write the report ({error.strerror}); choose another --out"
        ) from error
    return page


def _words(runs: Sequence[Run], pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "runs": runs,
        "worlds": world_sentences(runs),
        "facts": facts(runs),
        "findings": findings(runs, pairs),
        "warnings": warnings(runs),
        "close": f"±{CLOSE_PERCENT:g} % or ±{CLOSE_POINTS:g} points",
        "glossary": GLOSSARY,
    }


def _numbers(runs: Sequence[Run], pairs: Sequence[Pair]) -> dict[str, Any]:
    clock = any(run.world != "replayed" for run in runs)
    details = {name: run_table(runs, columns) for name, columns in DETAILS.items()}
    settings = _settings(runs)
    return {
        "headline": run_table(runs, HEADLINE if clock else HEADLINE_WITHOUT_CLOCK),
        "details": {name: table for name, table in details.items() if table is not None},
        "pair_table": pair_table(pairs),
        "pairs": pair_tables(pairs),
        "same": {key: values[0] for key, values in settings.items() if len(set(values)) == 1},
        "differing": {key: values for key, values in settings.items() if len(set(values)) > 1},
    }


def figure_on_page(chart: Chart, out: Path) -> dict[str, str]:
    """The chart as the template needs it; its PNG goes to `out`."""
    save_png(chart.figure, out / f"{chart.name}.png")
    chart.figure.set_layout_engine("none")  # laid out once; the SVG is the same drawing
    return {
        "name": chart.name,
        "title": chart.title,
        "reading": chart.reading,
        "svg": svg_text(chart.figure, chart.name, chart.title),
    }


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pcache.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html")


def _title(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(str(setting(run.config, "trace.name") or "trace") for run in runs)
    return f"Prefix caching on {', '.join(names)}: {plural(len(runs), 'run')}"


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted setting to text. Mappings are flattened, everything else is shown as it is."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Dotted setting to its text in every run."""
    flat = [_flat({k: v for k, v in run.config.items() if k != "place"}) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    return {key: [settings.get(key, "–") for settings in flat] for key in keys}
