"""Pairs of simulated and measured runs, and the ladder of serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_runs import HASH, LADDER, NONE, RADIX, Recipe, make_run

from pcache.report.figures.pair_scatter import matched_ttft, repeated_ttft
from pcache.report.figures.pair_steps import residuals, step_medians
from pcache.report.ladder import find_ladder
from pcache.report.pairs import COMPARED, find_pairs, side_by_side
from pcache.report.runs import Run, load_runs
from pcache.report.tables import pair_table

SMALL = {"num_requests": 60, "num_steps": 200}
MEASURED = replace(RADIX, world="measured", slowdown=1.1)


def loaded(tmp_path: Path, *recipes: Recipe) -> list[Run]:
    for number, recipe in enumerate(recipes):
        make_run(tmp_path / f"{number:02d}", replace(recipe, **SMALL))
    return load_runs([tmp_path])


def number(field: str) -> Any:
    return next(compared for compared in COMPARED if compared.field == field)


def test_a_pair_needs_the_same_configuration(tmp_path: Path) -> None:
    others = [
        replace(MEASURED, block_size_tokens=32), replace(MEASURED, kv_tokens=500_000),
        replace(MEASURED, batching="static"), replace(MEASURED, eviction="lfu"),
        replace(MEASURED, seed=9), replace(MEASURED, world="simulated", kv_tokens=1000),
    ]  # fmt: skip
    assert find_pairs(loaded(tmp_path, RADIX, *others)) == []


def test_difference_is_simulated_minus_measured(tmp_path: Path) -> None:
    simulated, measured = loaded(tmp_path, RADIX, MEASURED)
    (pair,) = find_pairs([measured, simulated])
    assert pair.name == "radix/1"
    before, after = simulated.summary["ttft_mean_ms"], measured.summary["ttft_mean_ms"]
    assert before < after
    assert pair.difference(number("ttft_mean_ms")) == pytest.approx(100 * (before / after - 1))
    simulated.summary["hit_rate"] = measured.summary["hit_rate"] + 0.004
    assert pair.difference(number("hit_rate")) == pytest.approx(0.4)  # points, not percent
    marks = {heading: cell.mark for (heading, _), cell in zip(
        pair_table([pair]).groups, pair_table([pair]).rows[0].cells[2::3], strict=True
    )}  # fmt: skip
    assert marks["Hit rate, %"] == marks["TTFT mean, ms"] == "far"


def test_repeats_are_averaged_and_their_extremes_kept(tmp_path: Path) -> None:
    simulated, *repeats = loaded(tmp_path, RADIX, MEASURED, replace(MEASURED, slowdown=1.3))
    (pair,) = find_pairs([simulated, *repeats])
    values = [run.summary["ttft_p50_ms"] for run in repeats]
    assert pair.observed("ttft_p50_ms") == pytest.approx(np.mean(values))
    row = side_by_side([pair]).set_index("number").loc["ttft_p50_ms"]
    assert (row["measured_lowest"], row["measured_highest"]) == (min(values), max(values))
    assert row["num_measured"] == 2


def test_requests_are_matched_by_name_not_by_place(tmp_path: Path) -> None:
    simulated, measured = loaded(tmp_path, RADIX, MEASURED)
    (pair,) = find_pairs([simulated, measured])
    took, predicted = matched_ttft(pair)
    row = repeated_ttft(replace(pair, measured=(measured, measured)))
    assert (row["lowest"] == row["highest"]).all()
    shuffled = replace(simulated, counted=simulated.counted.sample(frac=1, random_state=1))
    again = matched_ttft(replace(pair, simulated=shuffled))
    assert np.array_equal(np.stack([took, predicted]), np.stack(again))
    assert np.array_equal(predicted, simulated.latency("ttft"))


def test_step_residuals_need_the_very_same_steps(tmp_path: Path) -> None:
    simulated, measured = loaded(tmp_path, RADIX, MEASURED)
    (pair,) = find_pairs([simulated, measured])
    assert residuals(pair) is None
    assert measured.steps is not None
    slower = measured.steps.assign(duration_ns=measured.steps["duration_ns"] * 1.25)
    same = replace(pair, simulated=replace(simulated, steps=slower))
    assert residuals(same) == pytest.approx(np.full(len(slower), 25.0))


def test_step_medians_by_prefill_tokens(tmp_path: Path) -> None:
    (run,) = loaded(tmp_path, RADIX)
    table, steps = step_medians(run), run.steps
    assert table is not None
    assert steps is not None
    decode_only = steps.loc[steps["prefill_tokens"] == 0, "duration_ns"]
    assert table.loc[0, "p50"] == pytest.approx(decode_only.median() / 1e6)
    large = steps.loc[steps["prefill_tokens"].between(4096, 8191), "duration_ns"]
    assert table.loc[6, "p50"] == pytest.approx(large.median() / 1e6)


def test_the_ladder_has_its_rungs_in_order_in_both_worlds(tmp_path: Path) -> None:
    measured = [replace(recipe, world="measured") for recipe in LADDER[:2]]
    rungs = find_ladder(loaded(tmp_path, *reversed(LADDER), *measured))
    assert [rung.title for rung in rungs] == [
        "static batching", "continuous batching", "chunked prefill",
        "prefix caching (hash, 16 tokens a block)", "prefix caching (radix, 1 token a block)",
    ]  # fmt: skip
    assert [len(rung.runs["simulated"]) for rung in rungs] == 5 * [1]
    assert [sorted(rung.runs) for rung in rungs] == 2 * [["measured", "simulated"]] + 3 * [
        ["simulated"]
    ]


def test_repeats_stand_on_a_rung_together(tmp_path: Path) -> None:
    repeats = [replace(LADDER[0], world="measured", slowdown=slow) for slow in (1.0, 1.4)]
    other = replace(repeats[0], token_budget=512)
    rungs = find_ladder(loaded(tmp_path, *repeats, other, *LADDER))
    values = rungs[0].repeats("measured", "ttft_mean_ms")
    assert len(values) == 2
    assert rungs[0].value("measured", "ttft_mean_ms") == pytest.approx(np.mean(values))
    assert rungs[1].value("measured", "ttft_mean_ms") is None


def test_two_cache_policies_alone_are_no_ladder(tmp_path: Path) -> None:
    assert find_ladder(loaded(tmp_path, RADIX, HASH)) == []


def test_rungs_of_different_capacities_do_not_mix(tmp_path: Path) -> None:
    assert find_ladder(loaded(tmp_path, NONE, replace(RADIX, kv_tokens=1_000_000))) == []
