"""The study of simulated and measured: limits, archives, order of work, and all of it on a CPU."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_profile import made_up_profile

from benchmarks import archive
from benchmarks.archive import pack, unpack
from benchmarks.jobs import Job, engine_settings, finished, measure_jobs
from benchmarks.side_by_side import analyse as analysing
from benchmarks.side_by_side import measure as measuring
from benchmarks.side_by_side.causes import cause, phases
from benchmarks.side_by_side.cells import (
    RESULTS,
    Cell,
    has_ticks,
    read_cells,
    spread_ticks,
    trace_path,
    write_cells,
)
from benchmarks.side_by_side.design import FEWEST, LONGEST_S, covering_rows
from benchmarks.side_by_side.frozen import PROFILE, doubt_of, freeze, write_frozen
from benchmarks.side_by_side.targets import LIMITS, errors_of, summary_of
from pcache.cost.profile_file import write_profile
from pcache.report.pairs import Pair, find_pairs
from pcache.report.runs import load_runs
from pcache.shapes import MODELS
from pcache.trace.generate import generate
from pcache.types import Trace

CELL = Cell("c", "cells", "chat", "radix", "roomy", 0.6, "chunked", 8000, 6, 1.0, 0.1, 0.1)


def few_shot() -> Trace:
    return generate("few-shot", seed=1, requests=6, shots=2, shot_tokens=20, output_tokens=4)


def job(name: str, policy: str, expected_s: float = 0.1) -> Job:
    return Job(name, few_shot, "few.jsonl", policy, 8000, expected_s, {"block_size": 16})


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    from report_runs import RADIX, make_run

    sides = [RADIX, *(replace(RADIX, world="measured", slowdown=s) for s in (1.0, 1.3))]
    for number, recipe in enumerate(sides):
        make_run(tmp_path / f"{number}", replace(recipe, num_requests=60, num_steps=100))
    return find_pairs(load_runs([tmp_path]))[0]


def test_every_pair_of_levels_is_covered_and_no_cell_is_twice() -> None:
    assert len(covering_rows("ab", "cd", "efg")) == 6
    cells = read_cells()
    assert len({cell.name for cell in cells}) == len(cells)
    studied = [cell for cell in cells if cell.study == "cells"]
    configurations = {(c.trace, c.policy, c.kv_tokens, c.load) for c in studied}
    assert len(configurations) == len(studied)


def test_requests_of_a_tick_arrive_evenly_until_the_next() -> None:
    at = np.array([0, 0, 0, 30, 50, 50])
    assert spread_ticks(at).tolist() == [0, 10, 20, 30, 50, 60]
    assert spread_ticks(np.array([7, 7])).tolist() == [7, 7]


def test_only_above_saturation_and_when_thrashing_the_repeats_widen_a_limit(pair: Pair) -> None:
    def limits(cell: Cell) -> dict[str, float]:
        return {row["number"]: row["limit"] for row in errors_of(cell, "c", pair)}

    calm, over = limits(CELL), limits(replace(CELL, load=1.2))
    rows = {row["number"]: row for row in errors_of(CELL, "c", pair)}
    assert calm["ttft_mean_ms"] == 5.0
    assert over["ttft_mean_ms"] == 2 * rows["ttft_mean_ms"]["spread"] > 5.0
    assert over["hit_rate"] == 0.2  # both runs have the same
    thrashing = limits(replace(CELL, kv="thrashing"))
    assert thrashing == calm
    pair.measured[0].summary["hit_rate"] += 0.01
    assert limits(replace(CELL, kv="thrashing"))["hit_rate"] == pytest.approx(2.0)
    assert limits(CELL)["hit_rate"] == 0.2


def test_the_summary_counts_cells_and_names_the_furthest(pair: Pair) -> None:
    near = errors_of(replace(CELL, load=1.2), "near", pair)
    far = [{**row, "cell": "far", "difference": 99.0, "met": False} for row in near]
    table = summary_of(pd.DataFrame(near + far), [True, True, False]).set_index("target")
    assert tuple(table.loc["parity of decisions", ["cells", "met"]]) == (3, 2)
    assert tuple(table.loc["TTFT mean", ["cells", "met", "worst_cell"]]) == (2, 1, "far")
    alone = [row["number"] for row in near if abs(row["difference"]) <= LIMITS[row["number"]]]
    assert table["met_without_spread"].sum() == 2 + len(alone) < 2 + len(near)


def test_cells_keep_to_their_time_and_their_profile_lies_with_them() -> None:
    cells = read_cells()
    sized = [cell for cell in cells if cell.study != "ladder" and cell.requests > FEWEST]
    assert all(cell.busy_s <= LONGEST_S for cell in sized)
    assert all(cell.busy_s <= 15 for cell in cells if cell.study != "ladder")
    assert doubt_of(RESULTS, str(RESULTS / PROFILE)) is None
    with pytest.raises(SystemExit, match="pcache calibrate"):
        freeze("l40s")


def test_a_profile_that_came_after_the_runs_is_doubted(tmp_path: Path) -> None:
    assert "do not say" in str(doubt_of(tmp_path, None))
    frozen, shipped = freeze("h200")
    write_frozen(frozen, tmp_path, shipped)
    assert doubt_of(tmp_path, None) is None
    assert doubt_of(tmp_path, str(tmp_path / PROFILE)) is None
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert frozen.profile in str(doubt_of(tmp_path, str(other)))
    with pytest.raises(SystemExit, match="is not the profile that design"):
        write_frozen(frozen, tmp_path, other)
    write_frozen(frozen, tmp_path, None)
    assert not (tmp_path / PROFILE).exists()


def test_the_traces_of_archived_cells_are_still_known() -> None:
    for place in (RESULTS, RESULTS.with_name("side-by-side-h100")):
        for trace in {cell.trace for cell in read_cells(place)}:
            with suppress(FileNotFoundError):  # known, but its file is elsewhere
                trace_path(trace)
    assert has_ticks("conversation")
    assert not has_ticks("mooncake")


@pytest.mark.usefixtures("one_thread")
def test_a_cell_whose_trace_is_elsewhere_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCACHE_TRACES", str(tmp_path))
    known = {"few-shot": CELL, "mooncake": replace(CELL, trace="mooncake")}
    monkeypatch.setattr(measuring, "measure_jobs", lambda jobs, *_, **__: len(jobs) == 1)
    assert measuring.measure([CELL], tmp_path, repeats=1, seconds=1.0, device="cpu")
    assert not measuring.measure(
        list(known.values()), tmp_path, repeats=1, seconds=1.0, device="cpu"
    )
    assert "1 cells are left out: no mooncake_conversation" in capsys.readouterr().out


def test_when_within_a_step_a_request_comes_moves_the_numbers() -> None:
    target = {"gpu": "h200", "model": "llama-3.1-8b"}
    served = measuring.job_of(replace(CELL, trace="few-shot", requests=20, time_scale=20.0))
    still, moved = (phases(served, target, step_ns) for step_ns in (0.0, 5e6))
    assert still["ttft_mean_ms"][0] == still["ttft_mean_ms"][1]
    assert moved["ttft_mean_ms"][0] < moved["ttft_mean_ms"][1]
    assert moved == phases(served, target, 5e6)


def test_a_miss_gets_the_cause_that_explains_it() -> None:
    row = {
        "number": "ttft_p50_ms", "difference": -10.0, "spread": 1.0, "measured_lowest": 14.0,
        "measured_highest": 14.1, "phases_lowest": 12.0, "phases_highest": 13.0,
        "prefill_step_error": 0.5, "step_error": 0.1, "queue_share": 10.0,
    }  # fmt: skip
    assert cause(row).startswith("other batches or host time: the model is +0.5 % off")
    assert cause(row | {"prefill_step_error": -6.0}).startswith("step times: the model is −6")
    multiplied = cause(row | {"prefill_step_error": -4.0, "difference": -20.0})
    assert multiplied == "step times: −4.0 % on the steps measured, and what waits multiplies it"
    assert cause(row | {"queue_share": 60.0}).startswith("queue: +0.5 % in step times adds up")
    assert cause(row | {"number": "hit_rate"}).startswith("other instants")
    assert cause(row | {"phases_highest": 14.5}).startswith(
        "phases: arrivals up to a step later make it 12 to 14.5"
    )
    assert cause(row | {"spread": 5.0}).startswith("the repeats themselves")


def test_an_archive_is_the_same_for_the_same_runs_and_gives_them_back(tmp_path: Path) -> None:
    kept = tmp_path / "runs" / "cell" / "measured-1" / "radix-16" / "summary.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"complete": true}')
    (tmp_path / "runs" / "design.json").write_text("{}")
    (tmp_path / "runs" / "cell" / "simulated").mkdir()
    (tmp_path / "runs" / "cell" / "simulated" / "x").write_text("no")
    first = [path.read_bytes() for path in pack(tmp_path / "runs", tmp_path / "a.tar.xz")]
    assert [p.read_bytes() for p in pack(tmp_path / "runs", tmp_path / "b.tar.xz")] == first
    out = unpack(tmp_path / "a.tar.xz", tmp_path / "again")
    found = {p.relative_to(out) for p in out.rglob("*.json")}
    assert found == {Path("design.json"), kept.relative_to(kept.parents[3])}
    assert not list(out.rglob("x"))
    assert finished(out / "cell" / "measured-1")


def test_an_archive_in_parts_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST_PART", 7000)
    contents = {}
    for number in range(4):
        kept = tmp_path / "runs" / f"cell-{number}" / "measured-1" / "x" / "steps.parquet"
        kept.parent.mkdir(parents=True)
        contents[kept.relative_to(tmp_path / "runs")] = np.random.default_rng(number).bytes(2000)
        kept.write_bytes(contents[kept.relative_to(tmp_path / "runs")])
    parts = pack(tmp_path / "runs", tmp_path / "a.tar.xz")
    assert [part.name for part in parts] == ["a.tar.xz", "a-2.tar.xz"]
    assert all(part.stat().st_size <= 7000 for part in parts)
    out = unpack(parts[0], tmp_path / "again")
    assert {name: (out / name).read_bytes() for name in contents} == contents


@pytest.mark.usefixtures("one_thread")
def test_measuring_keeps_to_its_time_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = engine_settings("cpu", "llama-3.1-8b")
    jobs = [job("radix", "radix"), job("long", "none", 1e9), job("later", "hash")]
    limits = {"repeats": 1, "seconds": 300.0, "pool_tokens": 8000}
    assert not measure_jobs(jobs, tmp_path, settings, **limits)
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "/" in line]
    assert names == ["radix", "later"]
    jobs[1] = job("long", "none")
    assert measure_jobs(jobs, tmp_path, settings, **limits)
    assert "1/1 long measured-1" in capsys.readouterr().out


@pytest.mark.usefixtures("one_thread")
def test_the_whole_study_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = tmp_path / "profile.json"
    write_profile(made_up_profile(gpu="CPU", shape=replace(MODELS["tiny"], dtype_bytes=4)), profile)
    studies = {"cells": "radix", "showcase": "hash", "ladder": "none"}
    cells = [replace(CELL, name=s, study=s, policy=policy) for s, policy in studies.items()]
    monkeypatch.setattr(analysing, "job_of", lambda cell: job(cell.name, cell.policy))
    settings = engine_settings("cpu", "llama-3.1-8b")
    jobs = [job(cell.name, cell.policy) for cell in cells]
    measure_jobs(jobs, tmp_path / "runs", settings, repeats=2, seconds=300.0, pool_tokens=8000)
    write_cells(cells, tmp_path / "runs")
    archives = pack(tmp_path / "runs", tmp_path / "runs.tar.xz")
    with pytest.raises(SystemExit, match="give --report"):
        analysing.analyse(archives[0], str(profile))
    page = analysing.analyse(archives[0], str(profile), tmp_path / "report")
    assert read_cells(page.parent) == cells
    targets = pd.read_csv(page.parent / "targets.csv").set_index("target")
    assert tuple(targets.loc["parity of decisions", ["cells", "met"]]) == (6, 6)
    assert targets.loc["Hit rate", "cells"] == 3
    words = page.read_text()
    assert "6 of 6 measured runs: every decision the same" in words
    assert "Every step ran on a CPU, no GPU was used" in words
    known = pd.read_csv(page.parent / "measured_cells.csv")
    assert known["step_error"].notna().all()
    assert (known["steps_measured"] > 0).all()
