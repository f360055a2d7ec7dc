"""A visit to a GPU machine: parts by name, and nothing that an archive holds already is run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.archive import pack
from benchmarks.policy_case import jobs

ROOT = Path(__file__).parents[2]


def visit(out: Path, *arguments: str, device: str = "cpu") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHON": sys.executable, "DEVICE": device, "RUNS": str(out / "collected"),
    }  # fmt: skip
    return subprocess.run(
        ["tools/gpu_session.sh", str(out), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


@pytest.fixture
def needs_bash_and_torch() -> None:
    pytest.importorskip("torch")
    if sys.platform != "linux":
        pytest.skip("the script is for Linux")


@pytest.mark.usefixtures("needs_bash_and_torch")
def test_what_an_archive_holds_is_not_measured_again(tmp_path: Path) -> None:
    for job in jobs():
        for repeat in (1, 2):
            place = tmp_path / "runs" / job.name / f"measured-{repeat}" / "x"
            place.mkdir(parents=True)
            (place / "summary.json").write_text(json.dumps({"complete": True}))
            (place / "config.json").write_text(json.dumps({"gpu": "CPU"}))
    out = tmp_path / "out"
    (archive,) = pack(tmp_path / "runs", out / "policy_case.tar.xz")
    before = archive.read_bytes()
    done = visit(out, "60", "policy_case", "bogus")
    assert "everything is measured already" in done.stdout, done.stderr
    assert archive.read_bytes() == before
    assert done.returncode == 2
    assert "no part bogus" in done.stdout


@pytest.mark.usefixtures("needs_bash_and_torch")
def test_without_time_or_gpu_nothing_is_run(tmp_path: Path) -> None:
    short = visit(tmp_path / "short", "20", "claims")
    assert short.returncode == 0
    assert "no time for claims" in short.stdout
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        none = visit(tmp_path / "none", "20", device="cuda")
        assert none.returncode == 1
        assert "no GPU here" in none.stdout
