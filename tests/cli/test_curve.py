"""`pcache curve`: what it prints and draws, and how it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from command_line import RAG, pcache, refused

PART = ("--limit", "60")


def test_formats_agree_and_have_all_points() -> None:
    rows = json.loads(pcache("curve", RAG, *PART, "--points", "30", "--format", "json").stdout)
    shown = pcache("curve", RAG, *PART, "--points", "30", "--format", "csv").stdout
    parsed = list(csv.DictReader(io.StringIO(shown)))
    assert len(rows) == len(parsed) >= 30
    assert [float(row["hit %"]) for row in parsed] == [row["hit %"] for row in rows]
    assert all(row["hit %"] <= row["bound %"] + 1e-9 for row in rows)
    assert all(row["feasible %"] <= row["bound %"] + 1e-9 for row in rows)
    marks = {row["at"] for row in rows}
    assert {"largest request", "LRU at ceiling"} <= marks


def test_hit_rates_are_those_of_replay() -> None:
    rows = json.loads(
        pcache("curve", RAG, *PART, "--kv-tokens", "3k,50k", "--outputs", "--format", "json").stdout
    )
    by_capacity = {row["capacity tokens"]: row for row in rows}
    for tokens, text in ((3000, "3k"), (50_000, "50k")):
        options = ("--policy", "hash", "--kv-tokens", text, "--format", "json", "--outputs")
        [replayed] = json.loads(pcache("replay", RAG, *PART, *options).stdout)
        assert by_capacity[tokens]["hit %"] == pytest.approx(replayed["hit %"])
        assert (by_capacity[tokens]["rejected"] > 0) == ("rejected %" in replayed)


def test_the_table_is_short_and_fits() -> None:
    shown = pcache("curve", RAG, *PART, "--gpu", "l40s,h100").stdout
    assert len(shown.splitlines()) < 45
    assert max(map(len, shown.splitlines())) <= 80
    assert "llama-3.1-8b on h100" in shown
    assert "rejected" not in shown
    assert "feasible" not in pcache("curve", RAG, *PART, "--no-bound").stdout


def test_sampling_states_its_error() -> None:
    shown = " ".join(pcache("curve", RAG, "--sample", "0.3").stdout.split())
    assert "±" in shown
    assert "a sample of 30 %; the exact hit rate is within ± in 95 %" in shown
    assert "feasible" not in shown


@pytest.mark.parametrize("name", ["c.png", "c.svg"])
def test_a_chart(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert f"chart: {path}" in pcache("curve", RAG, *PART, "--out", str(path)).stdout.replace(
        "\n", ""
    )
    first = path.read_bytes()
    pcache("curve", RAG, *PART, "--out", str(path))
    assert path.read_bytes() == first


BAD_OPTIONS = {
    "--kv-tokens 1k": "a capacity of 1,000 tokens of hash/16 holds none of the 400 requests",
    "--kv-tokens 4": "holds no block of 16 tokens",
    "--kv-tokens 1M,x": "--kv-tokens 'x' is not understood",
    "--kv-tokens inf": "--kv-tokens inf is the ceiling; name capacities like 1M,2.5M",
    "--points 1": "--points 1 is not between 2 and 10,000",
    "--sample 1.5": "--sample 1.5 is not a share above 0 and of at most 1",
    "--sample 0.01": "the smallest that works is 0.18",
    "--gpu x": "unknown GPU 'x'",
    "--gpu h100 --model llama-3.1-70b": "llama-3.1-70b does not fit",
    "--gpu h100 --tp 3": "--tp 3 cannot split",
    "--model x": "unknown model 'x'",
    "--block-size 7": "block size 7 is not a power of two",
    "--warm-up 400": "--warm-up 400 leaves none of the 400 requests",
    "--out x.pdf": "--out x.pdf is no picture; its name must end in .png or .svg",
    "--out /nowhere/x.png": "cannot be written",
}


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options(options: str) -> None:
    assert BAD_OPTIONS[options] in refused("curve", RAG, *options.split())


def test_lengths_only(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,100,10\n")
    assert "holds lengths only" in refused("curve", str(path))
