"""What the commands print and write when all is well."""

from __future__ import annotations

import csv
import io
import json
import lzma
from pathlib import Path

import pandas as pd
import pytest
from command_line import CHAT, RAG, pcache

from pcache.rundir import REJECTED, REQUEST_COLUMNS, STEP_COLUMNS

LATENCIES = ("ttft_mean_ms", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms")
PART = ("--limit", "40")


def summary(path: Path) -> dict[str, object]:
    loaded = json.loads((path / "summary.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_replay_writes_a_directory_a_policy(tmp_path: Path) -> None:
    policies = "radix/1/lfu,hash/512,exact,none"
    pcache("replay", RAG, *PART, "--policy", policies, "--out", str(tmp_path))
    names = {"radix-1-lfu", "hash-512", "exact-16", "none-16"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        requests = pd.read_parquet(tmp_path / name / "requests.parquet")
        assert list(requests) == list(REQUEST_COLUMNS)[: len(requests.columns)]
        assert len(requests) == 40
        rate = requests.cached_tokens.sum() / requests.prompt_tokens.sum()
        assert summary(tmp_path / name)["hit_rate"] == pytest.approx(rate)
        assert not (tmp_path / name / "steps.parquet").exists()
    config = json.loads((tmp_path / "hash-512" / "config.json").read_text())
    assert config["trace"]["path"] == RAG
    assert config["policy"]["block_size_tokens"] == 512


def test_simulate_writes_a_directory_a_policy(tmp_path: Path) -> None:
    pcache("simulate", CHAT, *PART, "--policy", "radix,none", "--ladder", "--out", str(tmp_path))
    names = {"none-16-static", "none-16-continuous", "none-16", "radix-16"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        requests = pd.read_parquet(tmp_path / name / "requests.parquet")
        steps = pd.read_parquet(tmp_path / name / "steps.parquet")
        assert (list(requests), list(steps)) == (list(REQUEST_COLUMNS), list(STEP_COLUMNS))
        numbers = summary(tmp_path / name)
        assert numbers["complete"] is True
        assert numbers["ttft_mean_ms"] == pytest.approx(requests.ttft_ms.mean())
        assert all(isinstance(numbers[latency], float) for latency in LATENCIES)


def test_rejected_requests_are_minus_one_and_count_as_missed(tmp_path: Path) -> None:
    out = str(tmp_path)
    for command in ("replay", "simulate"):
        pcache(command, RAG, "--policy", "hash", "--kv-tokens", "2600", "--out", out)
        requests = pd.read_parquet(tmp_path / "hash-16" / "requests.parquet")
        rejected = requests.cached_tokens == REJECTED
        assert 0 < rejected.sum() < len(requests)
        numbers = summary(tmp_path / "hash-16")
        assert numbers["requests_rejected"] == rejected.sum()
        served = requests.cached_tokens.where(~rejected, 0).sum()
        assert numbers["hit_rate"] == pytest.approx(served / requests.prompt_tokens.sum())


def test_capacities_in_tokens_and_bytes_are_the_same(tmp_path: Path) -> None:
    frames = []
    for option, value in (("--kv-tokens", "8192"), ("--kv-memory", "1GiB")):
        out = tmp_path / option
        pcache("replay", RAG, option, value, "--policy", "radix", "--out", str(out))
        frames.append(pd.read_parquet(out / "radix-16" / "requests.parquet"))
    pd.testing.assert_frame_equal(*frames)


@pytest.mark.parametrize("command", ["replay", "simulate"])
def test_formats(command: str) -> None:
    result = pcache(command, RAG, *PART, "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["policy"] for row in rows] == ["radix/16", "hash/16", "none/16"]
    shown = pcache(command, RAG, *PART, "--format", "csv").stdout
    parsed = list(csv.DictReader(io.StringIO(shown)))
    assert [float(row["hit %"]) for row in parsed] == [row["hit %"] for row in rows]
    table = pcache(command, RAG, *PART).stdout
    assert "hit %" in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize("pack", [bytes, lzma.compress])
def test_standard_input(pack: type[bytes]) -> None:
    plain = lzma.decompress(Path(RAG).read_bytes())
    options = ("--policy", "hash", "--format", "csv", *PART)
    from_stdin = pcache("replay", "-", *options, stdin=pack(plain)).stdout
    assert from_stdin == pcache("replay", RAG, *options).stdout


def test_limit_reads_no_further_from_standard_input() -> None:
    lines = lzma.decompress(Path(RAG).read_bytes()).splitlines(keepends=True)
    broken = b"".join([*lines[:5], b"not JSON\n"])
    options = ("--policy", "hash", "--format", "json")
    result = pcache("replay", "-", *options, "--limit", "5", stdin=broken)
    assert json.loads(result.stdout)[0]["policy"] == "hash/16"
    assert "stdin:6: not valid JSON" in pcache("replay", "-", code=2, stdin=broken).stderr


def test_a_trace_without_content_says_so(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,100,10\n2023-11-16 18:17:04.0319600,100,20\n"
    )
    assert "holds lengths only" in " ".join(pcache("simulate", str(path)).stdout.split())


def test_very_long_names_are_folded_not_squeezed(tmp_path: Path) -> None:
    name = "deep-" * 40
    path = tmp_path / f"{name}.jsonl"
    line = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}
    path.write_text(json.dumps(line) + "\n")
    shown = pcache("trace", "info", str(path)).stdout
    assert max(map(len, shown.splitlines())) <= 80
    shown = pcache("replay", str(path), "--policy", "radix/256/priority").stdout
    assert "radix/256 priority" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_report_shows_the_runs(tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "report"
    pcache("simulate", RAG, *PART, "--out", str(runs))
    result = pcache("report", str(runs), "--out", str(out), "--format", "json")
    rows = json.loads(result.stdout)
    assert {row["policy"] for row in rows} == {"radix/16", "hash/16", "none/16"}
    page = (out / "index.html").read_text()
    assert "hash/16" in page
    assert "<script src" not in page
