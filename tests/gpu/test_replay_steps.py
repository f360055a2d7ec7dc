"""`simulate --replay-steps` agrees with what `run` recorded, and notices what was tampered with."""

from __future__ import annotations

import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from engine_workload import shared_workload
from made_up_profile import HOST_NS, made_up_profile
from typer.testing import CliRunner

from pcache.cli.main import app
from pcache.sim.step_errors import priced_steps
from pcache.trace import read_trace, write_trace

pytestmark = pytest.mark.usefixtures("one_thread")


def pcache(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trace with preemptions, equal prompts and duplicates, and its runs."""
    place = tmp_path_factory.mktemp("ran")
    trace = place / "shared.jsonl"
    write_trace(shared_workload(60, seed=8), trace)
    pcache(
        "run", trace, "--device", "cpu", "--policy", "radix/1,hash", "--kv-tokens", "208",
        "--token-budget", "40", "--max-running", "16", "--skip-idle", "--out", place / "runs",
    )  # fmt: skip
    return trace, place / "runs"


def test_every_run_of_a_directory_is_replayed(ran: tuple[Path, Path]) -> None:
    trace, runs = ran
    shown = pcache("simulate", trace, "--replay-steps", runs, "--format", "csv").stdout
    rows = pd.read_csv(StringIO(shown))
    assert rows["policy"].tolist() == ["hash/16", "radix/1"]
    assert rows["identical"].all()
    assert (rows["decisions"] > 100).all()


def test_steps_are_priced_where_they_stood(ran: tuple[Path, Path], tmp_path: Path) -> None:
    """A device that idled takes a while to start. Every other step is moved to where a GPU gets it,
    well before the step before has ended."""
    trace, path, start_ns = read_trace(ran[0]), tmp_path / "radix-1", 1000
    shutil.copytree(ran[1] / "radix-1", path)
    steps = pd.read_parquet(path / "steps.parquet")
    ahead = np.arange(1, len(steps), 2)
    for column in ("planned_at_ns", "launched_at_ns"):
        steps.loc[ahead, column] = steps["ended_at_ns"].to_numpy()[ahead - 1] - 2 * start_ns
    steps.to_parquet(path / "steps.parquet", index=False)
    host = dict.fromkeys(HOST_NS, 0.0)
    starts = host | dict.fromkeys(("start", "start_eager"), start_ns)
    at_once, later = (
        priced_steps(trace, path, made_up_profile(host=known, throttle=()).cost())
        for known in (host, starts)
    )
    assert later["measured_ns"].equals(steps["duration_ns"])
    waited = (later["predicted_ns"] - at_once["predicted_ns"]).to_numpy()
    assert np.flatnonzero(waited == start_ns).tolist() == list(range(0, len(steps), 2))
    assert not waited[ahead].any()


def test_a_changed_decision_is_told_by_step_and_request(ran: tuple[Path, Path]) -> None:
    trace, runs = ran
    path = runs / "radix-1" / "decisions.parquet"
    before = path.read_bytes()
    events = pd.read_parquet(path)
    events.loc[len(events) // 2, "first_block"] += 1
    events.to_parquet(path, index=False)
    try:
        shown = pcache("simulate", trace, "--replay-steps", runs / "radix-1", code=1).stdout
    finally:
        path.write_bytes(before)
    said = " ".join(shown.split())
    assert f"decision {len(events) // 2}: recorded step" in said
    assert "of request" in said


def test_a_changed_instant_is_noticed(ran: tuple[Path, Path]) -> None:
    trace, runs = ran
    path = runs / "hash-16" / "instants.parquet"
    before = path.read_bytes()
    instants = pd.read_parquet(path)
    instants["at_ns"] = 0  # nobody has arrived when the steps are planned
    instants.to_parquet(path, index=False)
    try:
        pcache("simulate", trace, "--replay-steps", runs / "hash-16", code=1)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "5"], "another part of the trace"),
        (["--time-scale", "2"], "at another pace"),
        (["--policy", "radix"], "--policy does not go with --replay-steps"),
    ],
)
def test_another_trace_or_setting_is_refused(
    ran: tuple[Path, Path], options: list[str], message: str
) -> None:
    trace, runs = ran
    result = pcache("simulate", trace, "--replay-steps", runs, *options, code=2)
    assert message in result.stderr


def test_a_simulated_run_has_nothing_to_replay(ran: tuple[Path, Path], tmp_path: Path) -> None:
    trace, _ = ran
    pcache("simulate", trace, "--policy", "radix", "--out", tmp_path / "sim")
    result = pcache("simulate", trace, "--replay-steps", tmp_path / "sim", code=2)
    assert "only `pcache run` records them" in result.stderr
    assert result.stderr.count("\n") == 1
