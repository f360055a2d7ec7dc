"""The tables of the page and the CSV files: which numbers, in which units, which is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pcache.metrics import MISS_CAUSES
from pcache.report.pairs import COMPARED, Compared, Pair, device_word, side_by_side
from pcache.report.runs import Run
from pcache.report.series import hit_rate_over_requests, hit_rate_over_time, kv_over_time
from pcache.report.units import MISSING, aligned, difference_text
from pcache.rundir import SUMMARY_FIELDS

__all__ = [
    "DETAILS",
    "HEADLINE",
    "HEADLINE_WITHOUT_CLOCK",
    "Cell",
    "Column",
    "Row",
    "Table",
    "csv_tables",
    "pair_table",
    "pair_tables",
    "run_table",
]

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
GIB = 2**30
AT_A_GLANCE = ("hit_rate", "ttft_mean_ms", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms")


@dataclass(frozen=True, slots=True)
class Column:
    """One number a run: summary field, units by `scale`, and which direction is better (0: none)."""

    group: str
    heading: str
    field: str
    scale: float = 1
    better: int = 0
    digits: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """`mark` is "best", or "far" where simulated and measured are not close, or "text" for words, or
    nothing."""

    text: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """`run` lends its colour; `interrupted` if it, or any run behind the row, was."""

    name: str
    run: Run
    cells: list[Cell]
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`groups` are (heading, number of columns) over the `headings`."""

    groups: list[tuple[str, int]]
    headings: list[str]
    rows: list[Row]

    @property
    def has_best(self) -> bool:
        return any(cell.mark == "best" for row in self.rows for cell in row.cells)


def _four(group: str, latency: str, better: int = -1) -> tuple[Column, ...]:
    names = ("mean", "p50", "p90", "p99")
    return tuple(Column(group, name, f"{latency}_{name}_ms", better=better) for name in names)


_RATES = (
    Column("Prompt tokens, %", "hit rate", "hit_rate", 100, +1, digits=1),
    Column("Prompt tokens, %", "of ceiling", "hit_rate_of_ceiling", 100, digits=1),
)
_MISSES = tuple(
    Column("Missed, % of prompt tokens", cause.replace("_", " "), f"miss_{cause}", 100, digits=2)
    for cause in (*MISS_CAUSES, "rejected")
)

HEADLINE = (
    *_RATES,
    *_four("TTFT, ms", "ttft"),
    Column("TPOT, ms", "mean", "tpot_mean_ms", better=-1),
    Column("Queue, ms", "mean", "queue_mean_ms", better=-1),
    Column("Per second", "output tokens", "throughput_tokens_per_s", better=+1),
    Column("Per second", "goodput requests", "goodput_requests_per_s", better=+1),
    Column("", "preemptions", "num_preemptions"),
)
HEADLINE_WITHOUT_CLOCK = (*_RATES, *_MISSES)

DETAILS = {
    "Cache": (
        Column("Prompt tokens", "looked up", "prompt_tokens"),
        Column("Prompt tokens", "cached", "cached_tokens"),
        Column("Hit rate, %", "by tokens", "hit_rate", 100, +1, digits=2),
        Column("Hit rate, %", "mean a request", "hit_rate_request_mean", 100, +1, digits=2),
        *_MISSES,
        Column("Generated tokens", "hit later", "output_hit_tokens"),
        Column("Generated tokens", "cached, mean", "output_cached_tokens"),
    ),
    "Latency": (
        *_four("TTFT, ms", "ttft"), *_four("TPOT, ms", "tpot"),
        *_four("Queue, ms", "queue"), *_four("E2E, ms", "e2e"),
    ),
    "Load and memory": (
        Column("Requests", "counted", "requests_counted"),
        Column("Requests", "finished", "requests_finished"),
        Column("Requests", "rejected", "requests_rejected"),
        Column("Requests", "no TPOT", "requests_without_tpot"),
        Column("Per second", "output tokens", "throughput_tokens_per_s", better=+1),
        Column("Per second", "requests", "throughput_requests_per_s", better=+1),
        Column("Per second", "goodput requests", "goodput_requests_per_s", better=+1),
        Column("Preemption", "times", "num_preemptions"),
        Column("Preemption", "recomputed tokens", "recomputed_tokens"),
        Column("KV tokens", "peak", "peak_kv_tokens"),
        Column("KV tokens", "peak running", "peak_pinned_tokens"),
        Column("KV tokens", "capacity", "kv_capacity_tokens"),
        Column("KV", "capacity, GiB", "kv_capacity_bytes", 1 / GIB),
    ),
}  # fmt: skip


def run_table(runs: Sequence[Run], columns: Sequence[Column]) -> Table | None:
    """A row a run; columns that no run fills are left out; None when none is left."""
    values = {column: [_value(run, column.field) for run in runs] for column in columns}
    shown = [column for column in columns if any(v is not None for v in values[column])]
    if not shown:
        return None
    groups: list[tuple[str, int]] = []
    for column in shown:
        if groups and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    cells = []
    for column in shown:
        texts = aligned(values[column], column.scale, column.digits)
        best = _best(runs, column, values[column])
        marks = ["best" if flag else "" for flag in best]
        cells.append([Cell(*pair) for pair in zip(texts, marks, strict=True)])
    rows = [
        Row(run.name, run, [column[row] for column in cells], not run.complete)
        for row, run in enumerate(runs)
    ]
    return Table(groups, [column.heading for column in shown], rows)


def _value(run: Run, field: str) -> float | None:
    if field == "hit_rate_of_ceiling":
        rate = run.summary.get("hit_rate")
        return rate / run.ceiling if run.ceiling and rate is not None else None
    value: float | None = run.summary.get(field)
    return value


def _best(runs: Sequence[Run], column: Column, values: Sequence[float | None]) -> list[bool]:
    """The best value of each world's complete runs, where they differ at all."""
    best = [False] * len(runs)
    for world in {run.world for run in runs}:
        known = {
            row: value * column.better
            for row, (run, value) in enumerate(zip(runs, values, strict=True))
            if run.world == world and run.complete and value is not None
        }
        if column.better and len(set(known.values())) > 1:
            top = max(known.values())
            for row, value in known.items():
                best[row] = value == top
    return best


def pair_table(pairs: Sequence[Pair]) -> Table:
    """The numbers that matter most, a row a pair: simulated, measured, difference of each."""
    groups, cells = [], []
    for compared in COMPARED:
        if compared.field not in AT_A_GLANCE:
            continue
        groups.append((f"{compared.heading}, {compared.unit}", 3))
        both = [
            value(compared.field) for pair in pairs for value in (pair.predicted, pair.observed)
        ]
        texts = aligned(both, *((100, 2) if compared.is_share else (1, None)))
        cells += [[Cell(text) for text in texts[0::2]], [Cell(text) for text in texts[1::2]]]
        cells.append([_difference(pair, compared) for pair in pairs])
    rows = [
        Row(pair.name, pair.measured[0], [column[row] for column in cells], not pair.complete)
        for row, pair in enumerate(pairs)
    ]
    return Table(groups, ["sim", device_word(pairs), "diff"] * len(groups), rows)


def _difference(pair: Pair, compared: Compared) -> Cell:
    difference = pair.difference(compared)
    if difference is None:
        return Cell(MISSING)
    text = difference_text(difference, "" if compared.is_share else "%", 1 + compared.is_share)
    return Cell(text.strip(), "far" if abs(difference) > compared.close else "")


def pair_tables(pairs: Sequence[Pair]) -> list[tuple[Pair, list[dict[str, str]]]]:
    """For each pair, a row a number: heading, unit, simulated, measured, spread, difference."""
    tables = []
    for pair in pairs:
        rows = []
        for compared in COMPARED:
            difference = pair.difference(compared)
            if difference is None:
                continue
            scale = 100 if compared.is_share else 1
            repeats = pair.repeats(compared.field)
            numbers = [pair.predicted(compared.field), pair.observed(compared.field)]
            digits = 2 if compared.is_share else None
            texts = aligned([*numbers, min(repeats), max(repeats)], scale, digits)
            rows.append({
                "heading": compared.heading, "unit": compared.unit,
                "simulated": texts[0], "measured": texts[1],
                "spread": f"{texts[2]} to {texts[3]}" if len(repeats) > 1 else MISSING,
                "difference": difference_text(
                    difference, compared.difference_unit, 1 + compared.is_share
                ),
            })  # fmt: skip
        tables.append((pair, rows))
    return tables


def csv_tables(runs: Sequence[Run], pairs: Sequence[Pair]) -> dict[str, pd.DataFrame]:
    """File name to frame, empty ones left out; the first column names the run or configuration."""
    tables = {
        "summary": _summary(runs),
        "miss_causes": _miss_causes(runs),
        "ttft_percentiles": _percentiles(runs),
        "hit_rate_over_time": _stacked(runs, _hits),
        "kv_over_time": _stacked(runs, kv_over_time),
        "side_by_side": side_by_side(pairs),
    }
    return {name: table for name, table in tables.items() if not table.empty}


def _summary(runs: Sequence[Run]) -> pd.DataFrame:
    rows = [{"run": run.name, **run.summary, "ceiling": run.ceiling} for run in runs]
    known = [field for field in SUMMARY_FIELDS if any(field in row for row in rows)]
    further = [key for key in rows[0] if key not in known and key != "run"]
    return pd.DataFrame(rows)[["run", *known, *further]]


def _miss_causes(runs: Sequence[Run]) -> pd.DataFrame:
    rows = []
    for run in runs:
        tokens = run.summary["prompt_tokens"]
        for part in ("hit_rate", *(f"miss_{cause}" for cause in (*MISS_CAUSES, "rejected"))):
            share = run.summary.get(part)
            count = None if share is None else round(share * tokens)
            name = "cached" if part == "hit_rate" else part.removeprefix("miss_")
            rows.append({"run": run.name, "part": name, "share": share, "tokens": count})
    return pd.DataFrame(rows)


def _percentiles(runs: Sequence[Run]) -> pd.DataFrame:
    rows = []
    for run in runs:
        ttft = run.latency("ttft")
        if len(ttft):
            values = np.percentile(ttft, PERCENTILES)
            rows.append({"run": run.name, **{
                f"p{percent:g}_ms": value for percent, value in zip(PERCENTILES, values, strict=True)
            }})  # fmt: skip
    return pd.DataFrame(rows)


def _hits(run: Run) -> pd.DataFrame:
    timed = hit_rate_over_time(run)
    return hit_rate_over_requests(run) if timed is None else timed


def _stacked(runs: Sequence[Run], series: Callable[[Run], pd.DataFrame | None]) -> pd.DataFrame:
    frames = [(run.name, series(run)) for run in runs]
    kept = [frame.assign(run=name) for name, frame in frames if frame is not None]
    if not kept:
        return pd.DataFrame()
    table = pd.concat(kept, ignore_index=True)
    return table[["run", *(column for column in table.columns if column != "run")]]
