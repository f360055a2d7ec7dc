"""`pcache run` on a CPU: the smallest run, and every way in which a run may end early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from pcache.cache.contract import CacheConfig
from pcache.cli.main import app
from pcache.errors import DeviceError
from pcache.gpu.api import run
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.run import GpuBench, longest_context, usual_settings
from pcache.gpu.runner import Pending, Runner
from pcache.prefixes import build_forest
from pcache.recording import read_recording
from pcache.rundir import RunDirectory, read_run
from pcache.scheduler.state import SchedulerConfig
from pcache.sim.parity import first_difference, replay_instants
from pcache.trace import read_trace

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Four requests, of which three share 20 tokens; the last comes when the others are done."""
    path = tmp_path / "few.jsonl"
    common = list(range(100, 120))
    with path.open("w") as file:
        for number in range(4):
            prompt = [*common, *range(number)] if number else [7]
            line = {
                "id": f"r{number}", "arrival_ns": 40_000_000 * (number // 3),
                "prompt": {"tokens": prompt}, "output": {"num_tokens": 3 + number},
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return path


def pcache(trace: Path, *options: str, code: int, device: str = "cpu") -> Result:
    arguments = ["run", str(trace), "--device", device, "--kv-tokens", "400", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_the_smallest_run(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = pcache(trace, "--policy", "hash,none", "--poison", "--format", "json",
                    "--out", str(out), code=0)  # fmt: skip
    assert "hash/16" in result.stdout
    run = read_run(out / "hash-16")
    assert run.summary["world"] == "measured"
    assert run.summary["complete"]
    assert run.summary["latency_source"] == "measured on CPU"
    assert run.requests["cached_tokens"].tolist() == [0, 0, 16, 16]
    assert (run.requests["ttft_ms"] > 0).all()
    assert run.requests["queue_ms"].max() < run.requests["ttft_ms"].max() < 20_000
    assert run.config["before_time_zero"]["loop_compile_ns"] > 0
    assert run.config["engine"]["poison"]
    assert run.steps is not None
    assert run.steps["prefill_tokens"].sum() == run.requests["prompt_tokens"].sum() - 32
    began = run.steps["launched_at_ns"]
    assert began.equals(run.steps["ended_at_ns"] - run.steps["duration_ns"])
    assert (began > run.steps["planned_at_ns"]).all()
    assert run.steps["launched_at_ns"].iloc[-1] > 40_000_000


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ("80%", "a CPU has no memory of its own to fill: give --kv-tokens"),
        ("0%", "no share above 0 and up to 100%"),
        ("101%", "no share above 0 and up to 100%"),
        ("x%", "no share above 0 and up to 100%"),
    ],
)
def test_a_share_of_memory_is_of_a_gpu(trace: Path, share: str, said: str) -> None:
    arguments = ["run", str(trace), "--device", "cpu", "--kv-memory", share]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_sampling_is_as_asked_for(trace: Path, tmp_path: Path) -> None:
    options = ("--policy", "none", "--temperature", "0.7", "--top-p", "0.9", "--out", str(tmp_path))
    pcache(trace, *options, code=0)
    engine = read_run(tmp_path / "none-16").config["engine"]
    assert (engine["temperature"], engine["top_p"]) == (0.7, 0.9)
    refused = pcache(trace, "--policy", "none", "--temperature", "0.7", "--top-p", "1.5", code=2)
    assert "top-p 1.5: expected a share above 0 and up to 1" in refused.stderr


def test_a_pool_is_gone_before_a_larger_one_is_made(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool may take nearly all memory: two do not fit."""
    pools: list[weakref.ref[KVPool]] = []
    make = KVPool.__init__

    def watched(self: KVPool, *arguments: Any, **named: Any) -> None:
        assert all(pool() is None for pool in pools)
        pools.append(weakref.ref(self))
        make(self, *arguments, **named)

    monkeypatch.setattr(KVPool, "__init__", watched)
    settings, loaded = usual_settings(None, "cpu"), read_trace(trace)
    bench = GpuBench(settings, longest_context(loaded))
    for kv_tokens in (400, 800, 400):
        results = run(loaded, "hash", settings=settings, bench=bench, kv_tokens=kv_tokens)
        assert results.complete
    assert len(pools) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu_is_one_line(trace: Path) -> None:
    result = pcache(trace, "--model", "tiny", code=2, device="cuda")
    assert result.stderr.startswith("pcache: error: no CUDA device 0 ")
    assert result.stderr.count("\n") == 1
    assert "use --device cpu" in result.stderr


def test_a_model_larger_than_memory_is_refused(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 12)
    result = pcache(trace, "--model", "smollm2-135m", code=2)
    assert "the weights of smollm2-135m take 0.5 GiB, this machine has 0.0: take a" in result.stderr


def test_no_torch_is_one_line(trace: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv[0] = 'pcache'\n"
        "from pcache.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", str(trace)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pcache: error: pcache run needs the package torch: ")
    assert "pip install '.[gpu]'" in done.stderr
    assert done.stderr.count("\n") == 1


def at_step(number: int, happens: Callable[[], None]) -> Any:
    """A runner's `launch` in which something happens at one step."""
    launch, steps = Runner.launch, iter(range(1000))

    def changed(self: Runner, *arguments: Any, **named: Any) -> Pending:
        if next(steps) == number:
            happens()
        return launch(self, *arguments, **named)

    return changed


def check_partial(path: Path, trace: Path) -> RunDirectory:
    """Valid, incomplete, and to be replayed as far as it goes."""
    run = read_run(path)
    assert run.summary["complete"] is False
    assert len(run.requests) == run.summary["num_requests"] == 4
    assert run.steps is not None
    assert (run.steps["ended_at_ns"] > run.steps["launched_at_ns"]).all()
    loaded, (events, instants) = read_trace(trace), read_recording(path)
    again = replay_instants(loaded, build_forest(loaded), CacheConfig("hash", 16, 400),
                            SchedulerConfig(), instants)  # fmt: skip
    assert first_difference(loaded, events, instants, again) is None
    return run


def test_ctrl_c_leaves_a_partial_run(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press = at_step(4, lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr(Runner, "launch", press)
    result = pcache(trace, "--policy", "hash,none", "--out", str(tmp_path), code=130)
    assert "Interrupted: hash/16 is incomplete" in result.stdout
    run = check_partial(tmp_path / "hash-16", trace)
    assert run.config["failure"] is None
    assert run.steps is not None
    assert 2 <= len(run.steps) <= 5
    assert run.summary["requests_finished"] < 4
    assert not (tmp_path / "none-16").exists()


def test_a_finished_run_is_on_disk_before_the_next_begins(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []
    launch = Runner.launch

    def looked(self: Runner, *arguments: Any, **named: Any) -> Pending:
        there.append((tmp_path / "hash-16" / "summary.json").exists())
        return launch(self, *arguments, **named)

    monkeypatch.setattr(Runner, "launch", looked)
    pcache(trace, "--policy", "hash,none", "--out", str(tmp_path), code=0)
    assert (there[0], there[-1]) == (False, True)
    assert [read_run(tmp_path / name).config["place"] for name in ("hash-16", "none-16")] == [0, 1]


def lose_device(*_: Any) -> None:
    raise DeviceError("the GPU failed while running a step: made up")


def test_a_lost_device_leaves_a_partial_run(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "launch", at_step(2, lose_device))
    result = pcache(trace, "--policy", "hash,none", "--out", str(tmp_path), code=2)
    assert result.stderr.splitlines()[-1].endswith("the GPU failed while running a step: made up")
    run = check_partial(tmp_path / "hash-16", trace)
    assert run.config["failure"] == "the GPU failed while running a step: made up"
    assert run.steps is not None
    assert len(run.steps) == 1, "the other was in flight"


@pytest.mark.parametrize(("error", "code"), [(lose_device, 2), (KeyboardInterrupt, 130)])
def test_ending_before_time_zero_keeps_the_runs_before(
    error: Any, code: int, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, runs = Runner.prepare, iter(range(2))

    def fail_second(self: Runner) -> Any:
        if next(runs) == 1:
            raise error()
        return prepare(self)

    monkeypatch.setattr(Runner, "prepare", fail_second)
    options = ["--policy", "none,hash", "--poison"]  # a poisoned pool serves one run only
    pcache(trace, *options, "--out", str(tmp_path), code=code)
    assert read_run(tmp_path / "none-16").summary["complete"] is True
    run = check_partial(tmp_path / "hash-16", trace)
    assert run.summary["requests_finished"] == 0
    assert run.requests["cached_tokens"].tolist() == [-2] * 4


def test_more_memory_than_a_cpu_has_is_one_line(trace: Path) -> None:
    result = pcache(trace, "--policy", "hash", "--kv-tokens", "900000000000", code=2)
    assert "out of memory while making a KV pool of" in result.stderr
    assert "take a smaller KV pool" in result.stderr
