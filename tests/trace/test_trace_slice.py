"""Cutting a trace and changing its speed."""

from __future__ import annotations

from pathlib import Path

import pytest
from trace_checks import assert_same, assert_valid, native, write_lines

from pcache.errors import ConfigError, TraceError
from pcache.trace import read_trace, slice_trace
from pcache.types import Trace

SECOND = 1_000_000_000


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    image = [{"hash": "h", "start": 0, "num_tokens": 1}]
    lines = [
        native(id=str(at), arrival_ns=at * SECOND, prompt={"tokens": [at, 5]}, images=image)
        for at in range(6)
    ]
    return read_trace(write_lines(tmp_path / "t.jsonl", *lines))


def test_limit_start_end_and_speed(trace: Trace) -> None:
    part = slice_trace(trace, start_s=1.5, end_s=5, limit=2, time_scale=2.0)
    assert_valid(part)
    assert part.request_ids == ["2", "3"]
    assert part.arrival_ns.tolist() == [SECOND // 4, 3 * SECOND // 4]
    assert [image.request for image in part.images] == [0, 1]
    assert part.prompt_symbols(1)[1] == 5
    assert part.sha256 == trace.sha256


def test_end_is_not_included_and_start_is(trace: Trace) -> None:
    assert slice_trace(trace, start_s=2, end_s=4).request_ids == ["2", "3"]
    assert slice_trace(trace, end_s=1).request_ids == ["0"]


def test_no_limits_change_nothing(trace: Trace) -> None:
    assert slice_trace(trace) is trace
    assert_same(slice_trace(trace, limit=99, start_s=0, end_s=99, time_scale=1), trace)


def test_reading_a_part_equals_cutting_it(tmp_path: Path, trace: Trace) -> None:
    path = tmp_path / "t.jsonl"
    for limits in ({"limit": 2}, {"limit": 2, "start_s": 3.0}, {"end_s": 2.5, "limit": 9}):
        assert_same(read_trace(path, **limits), slice_trace(trace, **limits))


def test_limit_counts_samples(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", native(n=3), native(id="b"))
    assert read_trace(path, limit=2).request_ids == ["a#0", "a#1"]
    assert read_trace(path, limit=4).request_ids == ["a#0", "a#1", "a#2", "b"]


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"start_s": -1.0}, "start is -1.0 s"),
        ({"end_s": float("nan")}, "end is nan s"),
        ({"start_s": 3.0, "end_s": 3.0}, "end .3.0 s. is not after start"),
        ({"time_scale": 0.0}, "time scale is 0.0"),
        ({"time_scale": float("inf")}, "time scale is inf"),
    ],
)
def test_limits_that_mean_nothing(trace: Trace, limits: dict[str, float], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        slice_trace(trace, **limits)  # type: ignore[arg-type]


def test_nothing_left(trace: Trace) -> None:
    with pytest.raises(TraceError, match="the last one arrives at 5 s"):
        slice_trace(trace, start_s=6)
