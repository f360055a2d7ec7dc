"""One case of an eviction policy on both sides: LRU and learned lifetimes in a tight KV pool.

    python -m benchmarks.policy_case measure OUT        # on this GPU, resumable; pack and unpack too
    python -m benchmarks.policy_case analyse [SOURCE]   # simulate the same; page and table

The trace is the shipped few-shot one, eight times as fast, with room for 12,000 tokens of the 64,000
that would keep everything; `hash` and `radix`, blocks of 16 tokens.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from benchmarks.archive import unpack
from benchmarks.jobs import (
    Job,
    engine_settings,
    measure_jobs,
    measured_runs,
    simulate_job,
    target_of,
)
from benchmarks.study_app import Device, Profile, Repeats, Runs, Seconds, study_app
from pcache.report import load_runs
from pcache.report.facts import Fact, measured_on, world_sentences
from pcache.report.figures import pair_bars
from pcache.report.pairs import find_pairs, side_by_side
from pcache.report.runs import Run
from pcache.report.study import Section, StudyTable, render_study
from pcache.report.tables import Cell
from pcache.report.units import difference_text
from pcache.sim.latency import choose_latency
from pcache.sim.replay_steps import replay_steps
from pcache.trace import read_trace
from pcache.types import Trace

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reports" / "policy-case"
TRACE, TIME_SCALE, KV_TOKENS, MODEL = "few-shot", 8.0, 12_000, "llama-3.1-8b"
POLICIES = tuple(
    f"{index}/16/{evict}" for index in ("hash", "radix") for evict in ("lru", "lifetime")
)
NUMBERS = {"hit_rate": 100.0, "ttft_mean_ms": 1.0, "ttft_p50_ms": 1.0, "ttft_p99_ms": 1.0}
EXPECTED_S = 17.0
"""Of one run: 13.6 s of steps with the H200's profile, and what is around them."""

app = study_app(
    "LRU and learned lifetimes in a tight KV pool, simulated and measured. `measure` takes about two "
    "and a half minutes of a GPU, by the simulation."
)


@lru_cache(maxsize=1)
def case_trace() -> Trace:
    """The trace of the case."""
    return read_trace(ROOT / "traces" / f"{TRACE}.jsonl.xz", time_scale=TIME_SCALE)


def jobs() -> list[Job]:
    """A job for each index and eviction."""
    return [
        Job(
            policy.replace("/", "-"), case_trace, f"{TRACE}.jsonl.xz", policy, KV_TOKENS, EXPECTED_S
        )
        for policy in POLICIES
    ]


@app.command()
def measure(
    out: Runs, repeats: Repeats = 2, seconds: Seconds = 600, device: Device = "cuda"
) -> None:
    """Measure what OUT lacks."""
    settings = engine_settings(device, MODEL)
    if not measure_jobs(
        jobs(), out, settings, repeats=repeats, seconds=seconds, pool_tokens=KV_TOKENS
    ):
        raise SystemExit(1)


@app.command()
def analyse(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Directory of measure, or an archive of pack. Left out: only simulate."
        ),
    ] = None,
    profile: Profile = None,
    gpu: Annotated[str, typer.Option(help="To simulate where nothing was measured.")] = "h200",
    report: Annotated[
        Path | None, typer.Option(help="Where the page goes; default reports/policy-case.")
    ] = None,
) -> None:
    """Simulate the case and write the page, with what was measured beside it."""
    with tempfile.TemporaryDirectory() as scratch:
        place = None if source is None else unpack(source, Path(scratch) / "runs")
        paths = [] if place is None else [p for job in jobs() for p in measured_runs(place, job)]
        target: dict[str, Any] = (
            {"gpu": gpu, "model": MODEL} if profile is None else {"profile": profile}
        )
        if paths:
            first = load_runs(paths[:1])[0]
            target = target_of(first.config, profile)
            if first.device == "CPU" and report is None:
                raise SystemExit("these runs are of a CPU: give --report, which is not reports/")
        simulated = [simulate_job(job, Path(scratch), target) for job in jobs()]
        runs = load_runs([*simulated, *paths])
        parted = [v for path in paths for v in replay_steps(case_trace(), path) if v.difference]
        page = _render(
            runs, target, [f"{v.path}: {v.difference}" for v in parted], report or RESULTS
        )
    print(f"report: {page}")


def _render(runs: list[Run], target: dict[str, Any], warnings: list[str], out: Path) -> Path:
    latency = choose_latency(target.get("model"), target.get("gpu"), 1, target.get("profile"), None)
    measured = [run for run in runs if run.world == "measured"]
    pairs = find_pairs(runs)
    if not measured:
        warnings.append(
            "Nothing of this page was measured on a GPU yet but the profile of step times."
        )
    rows = [{"policy": r.name, "world": r.world} | {n: r.summary[n] for n in NUMBERS} for r in runs]
    tables = {"runs": pd.DataFrame(rows)} | ({"differences": side_by_side(pairs)} if pairs else {})
    section = Section(
        "What a better eviction gives", charts=[lambda: pair_bars.draw(pairs, list(NUMBERS))],
        table=_table(runs),
        notes=["Difference to LRU with the same index on the same side, in brackets."],
    )  # fmt: skip
    return render_study(
        out,
        "LRU and learned lifetimes in a tight KV pool",
        facts=[
            *map(measured_on, measured[:1]),
            Fact(
                "Trace", f"{TRACE}, {len(case_trace())} requests", f"{TIME_SCALE:g} times as fast"
            ),
            Fact("KV capacity", f"{KV_TOKENS:,} tokens", "64,000 keep everything"),
            Fact("Model", latency.shape.name, "random weights"),
            Fact("Step times", latency.cost.source),
        ],
        worlds={
            "simulated": latency.note,
            "measured": world_sentences(measured)["measured"]
            if measured
            else "Not measured on a GPU yet.",
        },
        warnings=warnings,
        sections=[section],
        tables=tables,
    )


def _table(runs: list[Run]) -> StudyTable:
    """A row for each policy and side, repeats as their mean."""
    sides: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        config = run.config["policy"]
        sides.setdefault((f"{config['index']}/16/{config['eviction']}", run.world), []).append(run)
    rows = []
    for (policy, world), repeats in sides.items():
        before = sides[policy.rpartition("/")[0] + "/lru", world]
        cells: list[Cell | str] = [policy, Cell(world, "text"), f"{len(repeats)}"]
        for number, scale in NUMBERS.items():
            value, lru = (
                scale * sum(float(run.summary[number]) for run in side) / len(side)
                for side in (repeats, before)
            )
            change = (
                ""
                if policy.endswith("/lru")
                else f" ({difference_text(value - lru, '', 1).strip()})"
            )
            cells.append(f"{value:,.1f}{change}")
        rows.append(cells)
    headings = ["Policy", "side", "runs", "hit rate, %", "TTFT mean, ms", "p50, ms", "p99, ms"]
    return StudyTable(headings, rows)


if __name__ == "__main__":
    app()
