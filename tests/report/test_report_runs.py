"""Finding runs, naming them apart, and giving each configuration its colour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import HASH, NONE, RADIX, Recipe, make_run

import pcache
from pcache.errors import RunDirectoryError
from pcache.report.runs import Run, find_runs, load_runs
from pcache.report.style import COLORS, NO_CACHE_COLOR

TRACE = Path(__file__).parents[2] / "traces" / "radix-figure.jsonl"
SMALL = {"num_requests": 30, "num_steps": 60}


def loaded(tmp_path: Path, *recipes: Recipe) -> list[Run]:
    for number, recipe in enumerate(recipes):
        make_run(tmp_path / f"{number:02d}", replace(recipe, **SMALL))
    return load_runs([tmp_path])


def test_a_parent_stands_for_its_runs_and_a_run_named_twice_counts_once(tmp_path: Path) -> None:
    for name in ("b", "a"):
        make_run(tmp_path / "deep" / name, replace(RADIX, **SMALL))
    a, b = tmp_path / "deep" / "a", tmp_path / "deep" / "b"
    assert find_runs([tmp_path / "deep"]) == [a, b]
    assert find_runs([tmp_path]) == [a, b]
    assert find_runs([b, tmp_path]) == [b, a]


def test_runs_of_a_parent_keep_the_order_of_their_command(tmp_path: Path) -> None:
    runs = pcache.replay(TRACE, "radix,none,hash,exact").write(tmp_path)
    assert [path.name for path in runs] != sorted(path.name for path in runs)
    assert find_runs([tmp_path]) == runs


def test_nothing_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run directory here; give a directory that"):
        find_runs([tmp_path])
    with pytest.raises(RunDirectoryError, match="missing: no such directory"):
        find_runs([tmp_path / "missing"])


def test_a_run_that_was_not_written_to_its_end_is_not_passed_over(tmp_path: Path) -> None:
    for path in pcache.replay(TRACE, "radix,none").write(tmp_path / "runs"):
        last = path
    (last / "summary.json").unlink()
    for parent in (tmp_path / "runs", tmp_path):
        with pytest.raises(RunDirectoryError, match=r"none-16: no summary.json here, the run was"):
            find_runs([parent])


def test_a_single_world_keeps_its_labels(tmp_path: Path) -> None:
    assert [run.name for run in loaded(tmp_path, RADIX, HASH)] == ["radix/1", "hash/16"]


def test_worlds_are_told_apart_and_share_a_colour(tmp_path: Path) -> None:
    runs = loaded(tmp_path, RADIX, replace(RADIX, world="measured"), HASH)
    assert [run.name for run in runs] == ["radix/1 · sim", "radix/1 · GPU", "hash/16 · sim"]
    assert runs[0].color == runs[1].color != runs[2].color
    assert runs[0].dash != runs[1].dash


def test_equal_labels_get_what_differs(tmp_path: Path) -> None:
    static = replace(NONE, batching="static")
    names = [run.name for run in loaded(tmp_path, NONE, static, replace(static, kv_tokens=None))]
    assert names == [
        "none · 400 k KV tokens · chunked",
        "none · 400 k KV tokens · static",
        "none · unlimited KV",
    ]


def test_repeats_are_told_apart_by_their_directories(tmp_path: Path) -> None:
    assert [run.name for run in loaded(tmp_path, RADIX, RADIX)] == ["radix/1 · 00", "radix/1 · 01"]


def test_twenty_configurations_all_look_different(tmp_path: Path) -> None:
    recipes = [replace(HASH, label=f"hash/{1 << k}", block_size_tokens=1 << k) for k in range(10)]
    recipes += [
        replace(recipe, index="radix", label=f"radix {k}") for k, recipe in enumerate(recipes)
    ]
    runs = loaded(tmp_path, *recipes, NONE)
    assert len({(run.color, run.dash) for run in runs}) == len(runs) == 21
    assert runs[-1].color == NO_CACHE_COLOR
    assert {run.color for run in runs[:-1]} == set(COLORS)


def test_the_ceiling_is_that_of_the_block_size_and_none_without_a_cache(tmp_path: Path) -> None:
    known, unknown, uncached = loaded(tmp_path, RADIX, replace(HASH, ceiling=False), NONE)
    assert (known.ceiling, unknown.ceiling, uncached.ceiling) == (0.52, None, None)
