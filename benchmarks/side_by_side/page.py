"""The page of the study: whether the simulator can be trusted, and where not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.side_by_side.cells import has_ticks
from pcache.report.facts import Fact, measured_on, world_sentences
from pcache.report.figures import Chart, cell_errors, cell_scatter, ladder, pair_bars
from pcache.report.pairs import COMPARED, Pair
from pcache.report.study import Section, StudyTable, render_study
from pcache.report.tables import Cell
from pcache.report.units import MISSING, aligned, difference_text, plural

if TYPE_CHECKING:
    from benchmarks.side_by_side.analyse import Study

__all__ = ["render"]

SHOWN = ("hit_rate", "ttft_mean_ms", "ttft_p50_ms", "ttft_p99_ms")


def render(study: Study, out: Path) -> Path:
    """Write page, charts and tables to `out`."""
    showcase = Section(
        "Much sharing and little", _SHOWCASE, [_showcase(study)], _showcase_table(study)
    )
    rungs = Section(
        "The ladder of serving, on both sides", (), [partial(ladder.draw, study.ladder)]
    )
    sections = [
        Section("What came out", _findings(study), table=_summary(study.summary), notes=_notes(study)),
        *([showcase] if study.showcase else []),
        *([rungs] if study.ladder else []),
        Section(
            "Where the simulator is wrong", (),
            [partial(cell_errors.draw, study.errors), partial(cell_scatter.draw, study.errors)],
        ),
        Section("Every miss", _misses(study.misses), table=_miss_table(study.misses)),
        Section("Every cell", (), table=_cells(study), folded=True),
    ]  # fmt: skip
    return render_study(
        out,
        f"Simulated and measured, side by side: {plural(len(study.cells), 'cell')}",
        facts=_facts(study),
        worlds={
            "simulated": study.latency.note,
            **world_sentences([study.measured]),
        },
        warnings=_warnings(study),
        sections=sections,
        tables={
            "targets": study.summary, "errors": study.errors, "measured_cells": study.cells,
            "misses": study.misses,
        },
    )  # fmt: skip


_NOTES = (
    "Difference: simulated − measured, in percentage points for the hit rate and in percent of the "
    "measured mean otherwise. At a load above 1 every number, and when thrashing the hit rate, may "
    "also be off by twice the difference between two measured runs; “without spread” counts the "
    "cells that need none of that. Cells without a cache meet the hit rate by having none. Parity "
    "counts measured runs, the others cells.",
    "The simulation knows the trace, the configuration and the profile, and nothing of the measured "
    "runs but their capacity. Idle time was skipped on the GPU but for 50 ms a wait; in simulation the "
    "GPU cools over all of it.",
)
_TICKS = (
    "{trace}: the clock of the trace ticks every few seconds, and requests of a tick arrive evenly "
    "until the next one, on both sides."
)
_SHOWCASE = (
    "All policies of a trace get the same requests at the same pace: 0.6 of what the GPU serves "
    "without a cache, with room for everything.",
)


def _notes(study: Study) -> tuple[str, ...]:
    spread = [trace for trace in dict.fromkeys(study.errors["group"]) if has_ticks(trace)]
    return (*_NOTES, *(_TICKS.format(trace=trace) for trace in spread))


def _findings(study: Study) -> list[str]:
    parity = study.summary.iloc[0]
    sentences = [
        f"{int(parity['met'])} of {plural(int(parity['cells']), 'measured run')}: every decision the "
        f"same, byte for byte, when taken again from the recorded instants "
        f"({int(study.cells['decisions'].sum()):,} decisions)."
    ]
    rest = study.summary.iloc[1:]
    whole = study.errors.groupby("cell")["met"].all()
    sentences.append(
        f"{int(whole.sum())} of {plural(len(whole), 'cell')} meet every target; by number, "
        + ", ".join(f"{row.target} {row.met} of {row.cells}" for row in rest.itertuples())
        + "."
    )
    return sentences


def _warnings(study: Study) -> list[str]:
    found = [] if study.doubt is None else [study.doubt]
    once = int((study.cells["num_measured"] < 2).sum())
    if once:
        found.append(f"{plural(once, 'cell')} measured only once: their spread is unknown.")
    left = study.num_designed - len(study.cells)
    if left:
        found.append(f"{plural(left, 'cell')} of the design are not measured yet.")
    different = study.cells[~study.cells["parity"]]
    found += [f"{row.cell} parts: {row.parted_at}" for row in different.itertuples()]
    return found


def _facts(study: Study) -> list[Fact]:
    return [
        measured_on(study.measured),
        Fact("Model", str(study.measured.config.get("model")), "random weights"),
        Fact("Step times", study.latency.cost.source),
        Fact("Blocks", f"{study.measured.block_size_tokens} tokens", "every policy"),
        Fact("Traces", ", ".join(dict.fromkeys(study.errors["group"]))),
    ]


def _summary(summary: pd.DataFrame) -> StudyTable:
    rows = []
    for row in summary.to_dict("records"):
        unit = row["unit"]
        mark = "" if row["met"] == row["cells"] else "far"
        rows.append([
            row["target"], row["limit"], f"{row['cells']:.0f}", Cell(f"{row['met']:.0f}", mark),
            f"{row['met_without_spread']:.0f}", f"{row['median']:.2f} {unit}" if unit else MISSING,
            difference_text(row["worst"], unit, 2) if unit else MISSING, str(row["worst_cell"]),
        ])  # fmt: skip
    headings = ["Target", "limit", "cells", "met", "without spread", "median size", "furthest",
                "in"]  # fmt: skip
    return StudyTable(headings, rows)


def _showcase(study: Study) -> Callable[[], Chart | None]:
    return lambda: pair_bars.draw(study.showcase, SHOWN)


def _showcase_table(study: Study) -> StudyTable | None:
    if not study.showcase:
        return None
    headings, columns = ["Configuration"], []
    for compared in COMPARED:
        if compared.field not in SHOWN:
            continue
        scale, digits = (100, 2) if compared.is_share else (1, None)
        both = [v(compared.field) for p in study.showcase for v in (p.predicted, p.observed)]
        texts = aligned(both, scale, digits)
        headings += [f"{compared.heading}, {compared.unit}: sim", "measured", "diff"]
        columns += [texts[0::2], texts[1::2]]
        columns.append([_difference(pair, compared) for pair in study.showcase])
        if compared.is_share:
            headings.append("ceiling")
            columns.append(aligned([p.simulated.ceiling for p in study.showcase], 100, 2))
    names = [pair.name for pair in study.showcase]
    return StudyTable(headings, [list(row) for row in zip(names, *columns, strict=True)])


def _difference(pair: Pair, compared: Any) -> str:
    value = pair.difference(compared)
    return MISSING if value is None else difference_text(value, compared.difference_unit, 2)


def _misses(misses: pd.DataFrame) -> list[str]:
    if misses.empty:
        return ["No cell misses a target."]
    by_cause = misses["cause"].str.partition(":")[0].value_counts()
    return [f"{count} by this cause: {words}." for words, count in by_cause.items()]


def _miss_table(misses: pd.DataFrame) -> StudyTable:
    rows = []
    for row in misses.to_dict("records"):
        scale = 100 if row["number"] == "hit_rate" else 1
        spread = MISSING if row["spread"] != row["spread"] else f"{row['spread']:.2f}"
        rows.append([
            f"{row['cell']}: {row['heading']}", f"{scale * row['simulated']:,.2f}",
            f"{scale * row['measured']:,.2f}", difference_text(row["difference"], row["unit"], 2),
            f"{row['limit']:.2f}", spread, Cell(row["cause"], "text"),
        ])  # fmt: skip
    headings = ["Cell and number", "simulated", "measured", "difference", "limit",
                "repeats differ", "why, as far as the runs show"]  # fmt: skip
    return StudyTable(headings, rows)


def _cells(study: Study) -> StudyTable:
    wide = study.errors.pivot(index="cell", columns="number", values="difference")
    met = study.errors.pivot(index="cell", columns="number", values="met")
    named = {c.field: c.heading for c in COMPARED if c.field in wide}
    rows = []
    for row in study.cells.to_dict("records"):
        cells: list[Cell | str] = [
            row["cell"], f"{row['num_measured']}", "yes" if row["parity"] else Cell("no", "far"),
            "yes" if row["overloaded"] else "", difference_text(row["step_error"], "").strip(),
            MISSING if row["queue_share"] is None else f"{row['queue_share']:.0f}",
        ]  # fmt: skip
        for field in named:
            value = wide.loc[row["cell"], field]
            text = MISSING if value != value else difference_text(value, "", 2).strip()
            cells.append(Cell(text, "" if value != value or met.loc[row["cell"], field] else "far"))
        rows.append(cells)
    headings = ["Cell", "runs", "parity", "queue grows", "step times, %", "queue in TTFT, %"]
    return StudyTable([*headings, *named.values()], rows)
