"""The case of an eviction policy, with and without measured runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up_profile import made_up_profile
from typer.testing import CliRunner

from benchmarks import policy_case
from benchmarks.policy_case import app
from pcache.cost.profile_file import write_profile
from pcache.shapes import MODELS
from pcache.trace import generate


@pytest.mark.usefixtures("one_thread")
def test_the_case_without_and_with_measured_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = generate("few-shot", seed=1, requests=8, shots=2, shot_tokens=20, output_tokens=4)
    monkeypatch.setattr(policy_case, "case_trace", lambda: trace)
    monkeypatch.setattr(policy_case, "KV_TOKENS", 1024)
    monkeypatch.setattr(policy_case, "EXPECTED_S", 0.1)
    profile = tmp_path / "profile.json"
    write_profile(made_up_profile(gpu="CPU", shape=replace(MODELS["tiny"], dtype_bytes=4)), profile)
    runs, report = tmp_path / "runs", tmp_path / "report"
    options = ["--profile", str(profile), "--report", str(report)]

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    invoke("analyse", *options)
    assert "Not measured on a GPU yet" in (report / "index.html").read_text()
    invoke("measure", str(runs), "--device", "cpu", "--repeats", "1")
    invoke("analyse", str(runs), *options)
    page = (report / "index.html").read_text()
    assert "Every step ran on a CPU" in page
    assert "Not measured" not in page
    table = pd.read_csv(report / "runs.csv")
    assert table.groupby("world").size().to_dict() == {"measured": 4, "simulated": 4}
    assert pd.read_csv(report / "differences.csv")["num_measured"].eq(1).all()

    config = next(runs.glob("*/measured-1/*/config.json"))
    config.write_text(json.dumps(json.loads(config.read_text()) | {"gpu": "NVIDIA H100"}))
    refused = CliRunner().invoke(app, ["measure", str(runs), "--device", "cpu"])
    assert refused.exit_code == 1
    assert "holds runs of NVIDIA H100, here is CPU" in refused.output + str(refused.exception)
