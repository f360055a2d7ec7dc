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
    errors: list[dict[str, Any]] = []
    rows, parity, ladder, showcase = [], [], [], []
    measured: Run | None = None
    for number, (cell, paths) in enumerate(found.items(), 1):
        trace = jobs[cell].trace()
        verdicts = [verdict for path in paths for verdict in replay_steps(trace, path)]
        runs = load_runs([simulate_job(jobs[cell], scratch, target), *paths])
        (pair,) = find_pairs(runs)
        measured = measured or pair.measured[0]
        known = evidence(trace, pair, paths, latency.cost)
        same = [verdict.difference is None for verdict in verdicts]
        parity += same
        rows.append({
            "cell": _name(cell), "name": cell.name, "num_measured": len(paths),
            "requests": len(trace), "kv_tokens": cell.kv_tokens, "time_scale": cell.time_scale,
            "ceiling": pair.simulated.ceiling, "parity": all(same),
            "decisions": sum(verdict.decisions for verdict in verdicts),
            "parted_at": "; ".join(v.difference for v in verdicts if v.difference), **known,
        })  # fmt: skip
        found_errors = errors_of(cell, _name(cell), pair)
        if not all(row["met"] for row in found_errors):
            ranges = phases(jobs[cell], target, _step_ns(pair.simulated))
            for row in found_errors:
                row["phases_lowest"], row["phases_highest"] = ranges[row["number"]]
        errors += [row | known for row in found_errors]
        if cell.study == "ladder":
            ladder += [path for run in runs for path in [run.path]]
        if cell.study == "showcase":
            showcase += [run.path for run in runs]
        print(f"{number}/{len(found)} {cell.name}", flush=True)
    assert measured is not None
    table = pd.DataFrame(errors)
    misses = table[~table["met"]].copy()
    misses["cause"] = [cause(row) for row in misses.to_dict("records")]
    columns = [name for name in table if name not in known]
    return Study(
        table[columns], pd.DataFrame(rows), summary_of(table, parity), misses,
        load_runs(ladder) if ladder else [], find_pairs(load_runs(showcase)) if showcase else [],
        measured, latency, num_designed, doubt,
    )  # fmt: skip


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
