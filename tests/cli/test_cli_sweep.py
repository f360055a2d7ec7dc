"""`pcache sweep` on the command line: its page, its recommendation, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from command_line import CHAT, RAG, pcache, refused


def test_page_table_and_recommendation(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    arguments = ["sweep", CHAT, "--limit", "40", "--policy", "hash,none", "--kv-tokens", "8k,16k",
                 "--slo-ttft", "10s", "--recommend", "--jobs", "1", "--out", str(out)]  # fmt: skip
    said = " ".join(pcache(*arguments).stdout.split())
    assert "Smallest that meets the targets: hash/16 with 8,000 tokens" in said
    assert len(pd.read_parquet(out / "sweep.parquet")) == 4
    page = (out / "index.html").read_text()
    assert "Smallest that meets the targets" in page
    assert {path.name for path in out.glob("*.png")} >= {"sweep_hit_rate_1.png", "sweep_map_1.png"}
    assert "4 of 4 cells were there already." in " ".join(pcache(*arguments).stdout.split())


def test_no_configuration_may_meet_them(tmp_path: Path) -> None:
    said = pcache(
        "sweep", CHAT, "--limit", "20", "--policy", "hash", "--kv-tokens", "8k", "--slo-ttft",
        "1us", "--recommend", "--jobs", "1", "--out", str(tmp_path),
    ).stdout  # fmt: skip
    assert "No configuration has 99 %" in " ".join(said.split())


def test_some_cells_may_be_too_small(tmp_path: Path) -> None:
    arguments = ["sweep", RAG, "--limit", "9", "--jobs", "1", "--out", str(tmp_path)]
    said = pcache(*arguments, "--policy", "hash", "--kv-tokens", "1k,20k", "--format", "csv").stdout
    assert "holds none of the 9 requests" in said
    message = refused(*arguments, "--kv-tokens", "1k")
    assert message.startswith("no cell could be simulated: a capacity of 1,000 tokens")


def test_what_is_missing_is_said_before_anything_runs(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    assert "--slo-ttft" in refused("sweep", RAG, "--recommend", "--out", str(out))
    assert "cannot be read" in refused("sweep", "nosuch.jsonl", "--out", str(out))
    assert "give a file" in refused("sweep", "-", "--out", str(out))
    assert not out.exists()
