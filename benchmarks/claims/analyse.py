"""The claims simulated, beside what was measured of them, if it was."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import pcache
from benchmarks.archive import unpack
from benchmarks.claims.cases import (
    CASES,
    KV_TOKENS,
    POLICIES,
    Case,
    chat,
    few_shot,
    job_of,
    same_prompt,
)
from benchmarks.claims.page import Claims, render
from benchmarks.claims.verdicts import LONG_SYSTEM_PROMPT
from benchmarks.jobs import measured_runs, simulate_job, target_of
from pcache.errors import ConfigError
from pcache.report import load_runs
from pcache.report.runs import Run
from pcache.shapes import GPUS
from pcache.sim.latency import choose_latency
from pcache.sim.replay_steps import replay_steps
from pcache.types import Trace

__all__ = ["RESULTS", "analyse", "factors", "machines"]

RESULTS = Path(__file__).parents[2] / "reports" / "claims"
OUTPUTS = (1, 4, 8, 24, 64, 128, 256, 512)
NUMBERS = {
    "ttft_p50_ms": "ttft_p50_ms", "ttft_mean_ms": "ttft_mean_ms", "hit_rate": "hit_rate",
    "throughput_requests_per_s": "throughput_requests_per_s",
}  # fmt: skip


def analyse(
    source: Path | None, *, profile: str | None = None, gpu: str = "h200", report: Path | None = None,
    only: str = "",
) -> Path:  # fmt: skip
    """Simulate every case on `gpu` (or what `source` was measured on) and write the page."""
    cases = [case for case in CASES if only in case.name]
    with tempfile.TemporaryDirectory() as scratch:
        place = None if source is None else unpack(source, Path(scratch) / "runs")
        found = _measured(cases, place)
        first = next(iter(found.values()), None)
        target = {"gpu": gpu, "model": "llama-3.1-8b"} if profile is None else {"profile": profile}
        if first is not None:
            target = target_of(first[0].config, profile)
            if first[0].device == "CPU" and report is None:
                raise SystemExit("these runs are of a CPU: give --report, which is not reports/")
        rows = [row for case in cases for row in _rows(case, found, Path(scratch), target)]
    latency = choose_latency(target.get("model"), target.get("gpu"), 1, target.get("profile"), None)
    out = RESULTS if report is None else report
    index = [pd.read_csv(RESULTS / name) for name in ("index.csv", "index_lengths.csv")]
    claims = Claims(
        pd.DataFrame(rows), factors(target), machines(), *index, latency,
        None if first is None else first[0],
    )  # fmt: skip
    page = render(claims, out)
    print(f"report: {page}")
    return page


def _measured(cases: Sequence[Case], place: Path | None) -> dict[str, list[Run]]:
    if place is None:
        return {}
    jobs = [job_of(case, policy) for case in cases for policy in POLICIES]
    paths = {job.name: measured_runs(place, job) for job in jobs}
    return {name: load_runs(runs) for name, runs in paths.items() if runs}


def _rows(
    case: Case, found: dict[str, list[Run]], scratch: Path, target: dict[str, Any]
) -> list[dict[str, Any]]:  # fmt: skip
    """A row a policy: numbers of both sides, and prefilled tokens (computed, of all requests)."""
    rows = []
    for policy in POLICIES:
        job = job_of(case, policy)
        (simulated,) = load_runs([simulate_job(job, scratch, target)])
        repeats = found.get(job.name, [])
        verdicts = [v for run in repeats for v in replay_steps(job.trace(), run.path)]
        row: dict[str, Any] = {
            "claim": case.claim, "case": case.name, "condition": case.condition, "policy": policy,
            "requests": len(job.trace()), "num_measured": len(repeats),
            "parity": all(v.difference is None for v in verdicts) if verdicts else None,
        }  # fmt: skip
        for side, runs in (("simulated", [simulated]), ("measured", repeats)):
            for number in NUMBERS:
                values = [float(run.summary[number]) for run in runs]
                row[f"{side}_{number}"] = sum(values) / len(values) if values else None
            tokens = [_prefilled(run) for run in runs]
            row[f"{side}_prefilled_tokens"] = sum(tokens) / len(tokens) if tokens else None
        row["measured_spread"] = _spread([float(run.summary["ttft_p50_ms"]) for run in repeats])
        rows.append(row)
    return rows


def _spread(values: list[float]) -> float | None:
    """How far the repeats lie apart, in % of the lowest."""
    return 100 * (max(values) / min(values) - 1) if len(values) > 1 else None


def _prefilled(run: Run) -> int:
    """Prompt tokens that were computed, warm-up included."""
    return int((run.requests["prompt_tokens"] - run.requests["cached_tokens"].clip(lower=0)).sum())


def factors(target: dict[str, Any]) -> pd.DataFrame:
    """Simulated requests a second with a cache over those without, by workload and output length."""
    workloads: dict[str, Callable[[int], Trace]] = {
        "multi-turn chat": chat,
        LONG_SYSTEM_PROMPT: partial(chat, system=4000),
        "few-shot, 10 examples": few_shot,
        "one prompt in a batch": same_prompt,
    }  # fmt: skip
    rows = []
    for name, make in workloads.items():
        for output in OUTPUTS:
            runs = pcache.simulate(make(output), ",".join(POLICIES), kv_tokens=KV_TOKENS, **target)
            rate = runs.summary.set_index(runs.summary["label"].str.partition("/")[0])[
                "throughput_requests_per_s"
            ]
            rows.append({
                "workload": name, "output_tokens": output, "radix": rate["radix"] / rate["none"],
                "hash": rate["hash"] / rate["none"],
            })  # fmt: skip
    return pd.DataFrame(rows)


def machines() -> pd.DataFrame:
    """The system-prompt case on other GPUs and models: simulated TTFT without a cache and on a hit.

    Step times come from the shipped profile where there is one, else from the roofline, which is
    optimistic; `source` says which."""
    (case,) = (case for case in CASES if case.name == "system-prompt")
    rows = []
    for gpu in GPUS:
        for model, tp in (("llama-3.1-8b", 1), ("qwen2.5-7b", 1), ("llama-3.1-70b", 4)):
            try:
                runs = pcache.simulate(
                    case.trace(),
                    "none,radix",
                    gpu=gpu,
                    model=model,
                    tp=tp,
                    kv_tokens=60_000,
                    warm_up=1,
                )
            except ConfigError:  # the model does not fit
                continue
            none, radix = runs.summary["ttft_p50_ms"]
            rows.append({
                "gpu": gpu if tp == 1 else f"{tp} x {gpu}", "model": model,
                "ttft_without_ms": none, "ttft_hit_ms": radix,
                "factor": none / radix, "source": runs.summary["latency_source"][0],
            })  # fmt: skip
    return pd.DataFrame(rows)
