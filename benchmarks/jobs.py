"""Runs that a study measures and simulates: what one is, where its results lie, and both sides of it.

    OUT/NAME/measured-1/LABEL/    a run directory for each repeat
    OUT/NAME/simulated/LABEL/     what `simulate_job` adds

Nothing here needs a GPU but `measure_jobs` with the device cuda.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pcache
from pcache.report.runs import name_of
from pcache.types import Trace

if TYPE_CHECKING:
    from pcache.gpu.run import EngineSettings, GpuBench

__all__ = [
    "Job", "engine_settings", "finished", "measure_jobs", "measured_runs", "simulate_job", "target_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Job:
    """One configuration of one trace. `trace` reads it when it is needed; `expected_s` is about how
    long a run takes on the GPU that the study was designed for. `options` are those that `pcache.run`
    and `pcache.simulate` share."""

    name: str
    trace: Callable[[], Trace]
    path: str
    policy: str
    kv_tokens: int
    expected_s: float
    options: dict[str, Any] = field(default_factory=dict)


def engine_settings(device: str, model: str) -> EngineSettings:
    """The engine of a study: `model` on a GPU, on a CPU a tiny one, which only shows that all works."""
    from pcache.gpu.run import usual_settings

    return usual_settings(None if device == "cpu" else model, device, skip_idle=True)


def finished(place: Path) -> bool:
    """Whether the one run below `place` reached its end."""
    return any(json.loads(f.read_text())["complete"] for f in place.glob("*/summary.json"))


def measured_runs(out: Path, job: Job) -> list[Path]:
    """Directories of the finished repeats of a job."""
    places = sorted((out / job.name).glob("measured-*"), key=lambda p: int(p.name.split("-")[1]))
    return [summary.parent for p in places if finished(p) for summary in p.glob("*/summary.json")]


def measure_jobs(
    jobs: Sequence[Job],
    out: Path,
    settings: EngineSettings,
    *,
    repeats: int,
    seconds: float,
    pool_tokens: int,
) -> bool:
    """Measure what OUT lacks with one loaded model; True when nothing is left.

    All jobs are run once before any is repeated. No run starts that would not end within `seconds` by
    its expectation; shorter ones after it may.
    """
    from pcache.gpu.run import GpuBench, longest_context

    began = time.monotonic()
    _refuse_other_device(out, settings)
    todo = list(_todo(jobs, out, repeats))
    if not todo:
        print("everything is measured already", flush=True)
        return True
    longest = max(longest_context(job.trace()) for job, _ in todo)
    bench, done, scale = GpuBench(settings, longest, pool_tokens), 0, 1.0
    for number, (job, place) in enumerate(todo, 1):
        left = seconds - (time.monotonic() - began)
        if left <= 0 or job.expected_s * scale > left:
            continue
        started = time.monotonic()
        line, complete = _measure(job, place, settings, bench)
        took = time.monotonic() - started
        scale = max(1.0, took / job.expected_s) if settings.device == "cpu" else 1.0
        done += complete
        used = time.monotonic() - began
        print(
            f"{number}/{len(todo)} {line}, {took:.1f} s; {used:.0f} of {seconds:.0f} s", flush=True
        )
        if not complete:
            return False
    if done < len(todo):
        print(f"{len(todo) - done} runs are left; the same command goes on", flush=True)
    return done == len(todo)


def _refuse_other_device(out: Path, settings: EngineSettings) -> None:
    """SystemExit where `out` holds runs of another device: a study is of one."""
    from pcache.gpu.device import open_device

    here = "CPU"
    if open_device(settings.device).type == "cuda":
        import torch

        here = torch.cuda.get_device_name()
    for path in out.glob("*/measured-*/*/config.json"):
        device = json.loads(path.read_text())["gpu"]
        if device != here:
            raise SystemExit(
                f"{out} holds runs of {device}, here is {here}: choose another directory"
            )


def _todo(jobs: Sequence[Job], out: Path, repeats: int) -> Iterator[tuple[Job, Path]]:
    for repeat in range(1, repeats + 1):
        for job in jobs:
            place = out / job.name / f"measured-{repeat}"
            if not finished(place):
                yield job, place


def _measure(job: Job, place: Path, settings: EngineSettings, bench: GpuBench) -> tuple[str, bool]:
    from pcache.gpu.api import run

    results = run(
        job.trace(), job.policy, settings=settings, bench=bench, kv_tokens=job.kv_tokens,
        path=job.path, out=place, **job.options,
    )  # fmt: skip
    row = results.summary.iloc[0]
    if failure := results.runs[0].config["failure"]:
        print(failure, flush=True)
    hit, ttft = row["hit_rate"], row["ttft_mean_ms"]
    shown = "interrupted" if ttft is None else f"hit {100 * hit:.2f} %, TTFT mean {ttft:.1f} ms"
    return f"{job.name} {place.name}: {shown}", results.complete


def simulate_job(job: Job, out: Path, target: dict[str, Any]) -> Path:
    """Simulate a job with the step times of `target` (options of `pcache.simulate` that name profile,
    GPU and model); its run directory."""
    results = pcache.simulate(
        job.trace(), job.policy, kv_tokens=job.kv_tokens, path=job.path, **target, **job.options
    )
    (path,) = results.write(out / job.name / "simulated")
    return path


def target_of(measured: dict[str, Any], profile: str | None) -> dict[str, Any]:
    """Options of `simulate` for the device of a measured run: a profile, or the shipped one of it."""
    if profile is not None:
        return {"profile": profile}
    device = name_of(measured.get("gpu")).lower()
    gpu = next((name for name in ("h200", "h100") if name in device), None)
    if gpu is None:
        raise SystemExit(f"no profile is shipped for {device}: give --profile")
    return {"gpu": gpu, "model": name_of(measured.get("model"))}
