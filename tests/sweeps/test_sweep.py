"""A sweep simulates every cell once, keeps what is finished, and gives what simulate gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pcache
from pcache.cache.contract import CacheConfig
from pcache.errors import ConfigError
from pcache.scheduler.state import SchedulerConfig
from pcache.sweeps import workers
from pcache.sweeps.grid import Cell, TraceFile
from pcache.sweeps.run_cell import run_cell
from pcache.trace import write_trace
from pcache.trace.generate import generate

AXES = {"policy": "radix,hash", "evict": "lru,lfu", "kv_tokens": "3k,6k", "slo_ttft": "50ms"}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "chat.jsonl"
    write_trace(generate("multi-turn-chat", requests=60, seed=3), path)
    return path


def test_the_grid_leaves_out_what_does_not_exist(trace: Path, tmp_path: Path) -> None:
    found = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    named = found.cells[["index", "eviction", "kv_tokens"]].values.tolist()
    assert named == [
        ["radix", "lru", 3000], ["radix", "lru", 6000], ["radix", "lfu", 3000],
        ["radix", "lfu", 6000], ["hash", "lru", 3000], ["hash", "lru", 6000],
    ]  # fmt: skip
    assert found.complete
    assert len(found.left_out) == 1
    assert "needs --policy radix" in found.left_out[0]


def test_cells_are_what_simulate_gives(trace: Path, tmp_path: Path) -> None:
    cells = pcache.sweep([trace], tmp_path / "out", jobs=2, **AXES).cells
    for row in cells.to_dict("records"):
        alone = pcache.simulate(
            trace, row["index"], evict=row["eviction"], kv_tokens=row["kv_tokens"],
            slo_ttft="50ms",
        )  # fmt: skip
        expected = alone.runs[0].summary
        assert {key: row[key] for key in expected} == pytest.approx(expected, nan_ok=True)
        within = (alone.requests.ttft_ms <= 50).mean()
        assert row["within_slo"] == pytest.approx(within)


def test_only_what_is_new_runs(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Cell] = []

    def counted(cell: Cell) -> dict[str, Any]:
        ran.append(cell)
        return run_cell(cell)

    monkeypatch.setattr(workers, "run_cell", counted)
    first = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    assert len(ran) == 6
    second = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES | {"kv_tokens": "3k,6k,9k"})
    assert [cell.cache.kv_tokens for cell in ran[6:]] == [9000] * 3
    assert second.reused == 6
    third = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    pd.testing.assert_frame_equal(first.cells, third.cells)
    assert len(ran) == 9


def test_an_interrupted_sweep_keeps_its_cells(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(cells: list[Cell], _jobs: int) -> Iterator[dict[str, Any]]:
        yield from map(run_cell, cells[:2])
        raise KeyboardInterrupt

    monkeypatch.setitem(workers.PLACES, "here", interrupted)
    partial = pcache.sweep([trace], tmp_path / "out", **AXES)
    assert not partial.complete
    assert len(partial.cells) == len(pd.read_parquet(tmp_path / "out" / "sweep.parquet")) == 2
    monkeypatch.undo()
    assert pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES).reused == 2


def test_a_damaged_cell_runs_again(trace: Path, tmp_path: Path) -> None:
    first = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    key = first.cells["key"][0]
    (tmp_path / "out" / "cells" / f"{key}.json").write_text('{"key": ')
    again = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    assert again.reused == 5
    pd.testing.assert_frame_equal(first.cells, again.cells)


def test_another_trace_under_the_same_name_is_another_cell(trace: Path, tmp_path: Path) -> None:
    pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    write_trace(generate("multi-turn-chat", requests=60, seed=4), trace)
    again = pcache.sweep([trace], tmp_path / "out", jobs=1, **AXES)
    assert again.reused == 0


def test_a_cell_too_small_for_any_request_says_so(trace: Path, tmp_path: Path) -> None:
    cells = pcache.sweep([trace], tmp_path / "out", jobs=1, policy="hash", kv_tokens="32,6k").cells
    assert "holds none of the 60 requests" in cells["error"][0]
    assert cells["error"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "hash", "evict": "lfu"}, "has no cell"),
        ({"block_size": "16,x"}, "--block-size"),
        ({"kv_tokens": "1k,,2k"}, "empty entry"),
        ({"kv_tokens": "1k", "kv_memory": "1GiB"}, "give one of them"),
        ({"on": "moon"}, "known: here, ray"),
    ],
)
def test_bad_axes_are_refused(
    trace: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pcache.sweep([trace], tmp_path / "out", jobs=1, **options)


def test_ray_gives_the_same(trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    here = pcache.sweep([trace], tmp_path / "here", jobs=1, **AXES)
    there = pcache.sweep([trace], tmp_path / "there", jobs=2, on="ray", **AXES)
    pd.testing.assert_frame_equal(here.cells, there.cells)


def test_without_ray_one_line_says_so(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[ray\]'"):
        pcache.sweep([trace], tmp_path / "out", on="ray", **AXES)


def test_the_key_is_of_what_decides_the_result() -> None:
    cell = Cell(
        TraceFile("a", "f00"), CacheConfig(), SchedulerConfig(), None, None, 1, None, None, 50.0,
        None, 0,
    )  # fmt: skip
    assert replace(cell, trace=TraceFile("b", "f00")).key == cell.key
    others = [
        replace(cell, trace=TraceFile("a", "ba5")), replace(cell, slo_ttft_ms=60.0),
        replace(cell, cache=CacheConfig(block_size=32)), replace(cell, tp=2),
        replace(cell, scheduler=SchedulerConfig(order="lpm")),
    ]  # fmt: skip
    assert len({other.key for other in others} | {cell.key}) == 6
