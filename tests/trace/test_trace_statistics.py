"""Figures of `trace info`, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trace_checks import mooncake, native, shipped, write_lines

from pcache.trace import generate, read_trace
from pcache.trace.describe import describe
from pcache.trace.statistics import length_distribution, overview
from pcache.types import Trace


def figures(trace: Trace) -> dict[str, Any]:
    table = overview(trace)
    return dict(zip(table["figure"], table["value"], strict=True))


def test_overview(tmp_path: Path) -> None:
    second = 10**9
    image = [{"hash": "h", "start": 0, "num_tokens": 1}]
    path = write_lines(
        tmp_path / "t.jsonl",
        native(id="a", session="s", images=image, **{"class": "x"}),
        native(id="b", arrival_ns=second, session="s", output={"tokens": [1, 2]}),
        native(id="c", arrival_ns=2 * second, salt="t", images=image),
        native(id="d", arrival_ns=22 * second, prompt={"tokens": [1]}),
    )
    known = figures(read_trace(path))
    assert known["requests"] == 4
    assert known["sessions"] == 1
    assert known["prompt tokens"] == 10
    assert known["output tokens"] == 8
    assert known["requests with known output"] == 1
    assert known["tenants"] == 2
    assert known["traffic classes"] == "x"
    assert (known["images"], known["distinct images"]) == (2, 1)
    assert known["span (s)"] == 22
    assert known["arrival rate (requests/s)"] == pytest.approx(3 / 22)
    assert known["peak rate, busiest 10 s (requests/s)"] == pytest.approx(0.3)
    gaps = np.array([1, 1, 20])
    assert known["burstiness (CV of gaps)"] == pytest.approx(gaps.std() / gaps.mean())


def test_one_request_has_no_rate(tmp_path: Path) -> None:
    known = figures(read_trace(write_lines(tmp_path / "t.jsonl", mooncake())))
    assert known["arrival rate (requests/s)"] is None
    assert known["burstiness (CV of gaps)"] is None
    assert known["sessions"] is None


def test_lengths(tmp_path: Path) -> None:
    lines = [native(id=str(n), prompt={"tokens": [0] * n}) for n in range(1, 102)]
    table = length_distribution(read_trace(write_lines(tmp_path / "t.jsonl", *lines)))
    row = table.iloc[0].to_dict()
    assert row == {
        "length": "prompt tokens", "mean": 51.0, "min": 1, "p10": 11.0, "p50": 51.0,
        "p90": 91.0, "p99": 100.0, "max": 101,
    }  # fmt: skip


def test_description_says_when_there_are_no_prefixes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n")
    frames, notes = describe(read_trace(path))
    assert list(frames) == ["Trace", "Lengths"]
    assert "holds lengths only" in notes[0]
    frames, notes = describe(shipped("rag"), [16], top=2)
    assert len(frames["Most shared prefixes"]) == 2
    assert notes == []


def test_bursty_arrivals_are_bursty() -> None:
    single = {"batch": 1, "prompt_tokens": 1, "output_tokens": 1, "requests": 3000, "rate": 2.0}
    steady = figures(generate("same-prompt", **single))
    bursts = figures(generate("same-prompt", arrivals="bursty", **single))
    name, rate = "burstiness (CV of gaps)", "arrival rate (requests/s)"
    assert steady[name] == pytest.approx(1, abs=0.08)
    assert bursts[name] > 1.3
    assert steady[rate] == pytest.approx(2, rel=0.1)
    assert bursts[rate] == pytest.approx(2, rel=0.15)
