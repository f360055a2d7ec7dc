"""`compare` measures, simulates what was measured, and reports both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from made_up_profile import made_up_profile
from typer.testing import CliRunner

from pcache.cli.main import app
from pcache.cost.profile_file import write_profile
from pcache.rundir import read_run
from pcache.shapes import MODELS
from pcache.trace import write_trace
from pcache.trace.generate import generate

pytestmark = pytest.mark.usefixtures("one_thread")


def pcache(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "few.jsonl"
    few = generate("few-shot", seed=1, requests=6, shots=2, shot_tokens=20, output_tokens=4)
    write_trace(few, path)
    return path


def test_both_sides_have_the_same_configuration(trace: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    write_profile(made_up_profile(shape=replace(MODELS["tiny"], dtype_bytes=4)), profile)
    out = tmp_path / "compared"
    shown = pcache(
        "compare", trace, "--device", "cpu", "--profile", profile, "--policy", "radix,none",
        "--kv-tokens", "8k", "--skip-idle", "--repeat", "2", "--out", out, "--format", "json",
    )  # fmt: skip
    table = pd.DataFrame(json.loads(shown.stdout))
    assert set(table["configuration"]) == {"radix/16", "none/16"}
    assert (table["num_measured"] == 2).all()
    hits = table[table["number"] == "hit_rate"].set_index("configuration")
    assert hits.loc["radix/16", "simulated"] == hits.loc["radix/16", "measured"] > 0
    assert "4 of 4 measured runs: every decision the same" in shown.stderr
    sides = [
        read_run(out / side / "radix-16") for side in ("measured-1", "measured-2", "simulated")
    ]
    assert [side.summary["world"] for side in sides] == ["measured", "measured", "simulated"]
    assert {side.config["capacity"]["kv_tokens"] for side in sides} == {8000}
    assert "radix/16" in (out / "report" / "index.html").read_text()


def test_step_times_of_another_model_are_refused_before_anything_runs(
    trace: Path, tmp_path: Path
) -> None:
    out, profile = tmp_path / "compared", tmp_path / "profile.json"
    write_profile(made_up_profile(), profile)
    result = pcache("compare", trace, "--device", "cpu", "--profile", profile, "--out", out, code=2)
    assert "are those of llama-3.1-8b, but tiny is to be measured" in result.stderr
    profile.write_text("{")
    result = pcache("compare", trace, "--device", "cpu", "--profile", profile, "--out", out, code=2)
    assert "not a profile" in result.stderr
    assert not out.exists()


def test_every_row_of_the_table_names_itself(trace: Path, tmp_path: Path) -> None:
    """At 80 columns the table goes on below, and repeats its first column only."""
    profile = tmp_path / "profile.json"
    write_profile(made_up_profile(shape=replace(MODELS["tiny"], dtype_bytes=4)), profile)
    shown = pcache(
        "compare", trace, "--device", "cpu", "--profile", profile, "--policy", "radix",
        "--kv-tokens", "8k", "--skip-idle", "--repeat", "2", "--out", tmp_path / "compared",
    ).stdout  # fmt: skip
    assert "radix/16 TTFT mean ms" in shown
    assert "repeats" in shown


def test_without_step_times_nothing_runs(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    result = pcache("compare", trace, "--device", "cpu", "--out", out, code=2)
    assert "run pcache calibrate --device cpu --model tiny" in result.stderr
    assert not out.exists()
