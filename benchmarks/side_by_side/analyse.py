"""Measured cells beside their simulation: parity, every target, and what they are made of."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.archive import unpack
from benchmarks.jobs import Job, measured_runs, simulate_job, target_of
from benchmarks.side_by_side.causes import cause, evidence, phases
from benchmarks.side_by_side.cells import RESULTS, Cell, read_cells, write_cells
from benchmarks.side_by_side.frozen import PROFILE, doubt_of, read_frozen, write_frozen
from benchmarks.side_by_side.measure import job_of
from benchmarks.side_by_side.page import render
from benchmarks.side_by_side.targets import errors_of, summary_of
from pcache.report import load_runs
from pcache.report.pairs import Pair, find_pairs
from pcache.report.runs import Run
from pcache.sim.latency import Latency, choose_latency
from pcache.sim.replay_steps import replay_steps

__all__ = ["Study", "analyse"]


@dataclass(frozen=True, slots=True)
class Study:
    """What the page shows. `errors`: a row a cell and number (`targets.errors_of`); `cells`: a row a
    cell with parity and evidence; `summary`: a row a target; `misses`: rows of `errors` that do not
    meet theirs, with a cause; `ladder` and `showcase`: runs and pairs of those studies; `doubt`: what
    speaks against the profile having been fixed before the runs."""

    errors: pd.DataFrame
    cells: pd.DataFrame
    summary: pd.DataFrame
    misses: pd.DataFrame
    ladder: list[Run]
    showcase: list[Pair]
    measured: Run
    latency: Latency
    num_designed: int
    doubt: str | None


def analyse(
    source: Path, profile: str | None = None, report: Path | None = None, only: str = ""
) -> Path:
    """Simulate what `source` (a directory of `measure`, or its archive) holds and write the page.

    Cells and profile are those that came with the runs, and lie beside the page then; `profile` is
    another one. Runs of a CPU need a place for the report of their own. Returns the page.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = unpack(source, Path(scratch) / "runs")
        kept = place / PROFILE
        if profile is None and kept.is_file():
            profile = str(kept)
        simulated = Path(scratch) / "simulated"
        designed = read_cells(place)
        cells = [cell for cell in designed if only in cell.name]
        jobs = {cell: job_of(cell) for cell in cells}
        found = {cell: paths for cell in cells if (paths := measured_runs(place, jobs[cell]))}
        if not found:
            raise SystemExit(f"{source} holds no finished run of these cells")
        first = load_runs([next(iter(found.values()))[0]])[0]
        if first.device == "CPU" and report is None:
            raise SystemExit("these runs are of a CPU: give --report, which is not reports/")
        target = target_of(first.config, profile)
        latency = choose_latency(
            target.get("model"), target.get("gpu"), 1, target.get("profile"), None
        )
        study = _study(
            found, jobs, simulated, target, latency, len(cells), doubt_of(place, profile)
        )
        out = RESULTS if report is None else report
        page = render(study, out)
        write_cells(designed, out)
        if frozen := read_frozen(place):
            write_frozen(frozen, out, kept if kept.is_file() else None)
    print(study.summary.to_string(index=False))
    print(f"report: {page}")
    return page


def _study(
    found: dict[Cell, list[Path]], jobs: dict[Cell, Job], scratch: Path, target: dict[str, Any],
    latency: Latency, num_designed: int, doubt: str | None,
) -> Study:  # fmt: skip
    cells = []
    for number, (cell, paths) in enumerate(found.items(), 1):
        cells.append(_analysed(cell, jobs[cell], paths, scratch, target, latency))
        print(f"{number}/{len(found)} {cell.name}", flush=True)
    table = pd.DataFrame([row for cell in cells for row in cell.errors])
    misses = table[~table["met"]].copy()
    misses["cause"] = [cause(row) for row in misses.to_dict("records")]
    ladder, showcase = (  # together, so that their names tell them apart
        load_runs(paths)
        if (paths := [p for c in cells if c.study == study for p in c.runs])
        else []
        for study in ("ladder", "showcase")
    )
    return Study(
        table.drop(columns=list(cells[0].evidence)), pd.DataFrame([cell.row for cell in cells]),
        summary_of(table, [same for cell in cells for same in cell.parity]), misses,
        ladder, find_pairs(showcase), cells[0].measured, latency, num_designed, doubt,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Analysed:
    """One cell: its row of the table of cells, its rows of the errors with the evidence in them, what
    the replay of each measured run said, and the directories of both sides."""

    study: str
    row: dict[str, Any]
    errors: list[dict[str, Any]]
    evidence: dict[str, Any]
    parity: list[bool]
    runs: list[Path]
    measured: Run


def _analysed(
    cell: Cell, job: Job, paths: list[Path], scratch: Path, target: dict[str, Any], latency: Latency
) -> _Analysed:
    trace = job.trace()
    verdicts = [verdict for path in paths for verdict in replay_steps(trace, path)]
    runs = load_runs([simulate_job(job, scratch, target), *paths])
    (pair,) = find_pairs(runs)
    known = evidence(trace, pair, paths, latency.cost)
    same = [verdict.difference is None for verdict in verdicts]
    row = {
        "cell": _name(cell), "name": cell.name, "num_measured": len(paths),
        "requests": len(trace), "kv_tokens": cell.kv_tokens, "time_scale": cell.time_scale,
        "ceiling": pair.simulated.ceiling, "parity": all(same),
        "decisions": sum(verdict.decisions for verdict in verdicts),
        "parted_at": "; ".join(v.difference for v in verdicts if v.difference), **known,
    }  # fmt: skip
    errors = errors_of(cell, _name(cell), pair)
    if not all(error["met"] for error in errors):
        ranges = phases(job, target, _step_ns(pair.simulated))
        for error in errors:
            error["phases_lowest"], error["phases_highest"] = ranges[error["number"]]
    errors = [error | known for error in errors]
    places = [run.path for run in runs]
    return _Analysed(cell.study, row, errors, known, same, places, pair.measured[0])


def _step_ns(run: Run) -> float:
    """Median duration of its steps."""
    assert run.steps is not None
    return float(run.steps["duration_ns"].median())


def _name(cell: Cell) -> str:
    """`chat hash tight 0.6`: short enough for a chart."""
    if cell.study == "ladder":
        return f"ladder {cell.trace} {cell.policy} {cell.batching}"
    if cell.study == "showcase":
        return f"show {cell.trace} {cell.policy} {cell.load:g}"
    return f"{cell.trace} {cell.policy} {cell.kv} {cell.load:g}"
