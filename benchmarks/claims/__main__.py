"""Command line of the claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.study_app import Device, Only, Profile, Repeats, Runs, Seconds, study_app

app = study_app(
    "Figures that are often quoted about prefix caching, each tried with its conditions stated. "
    "`index` and `analyse` need no GPU; `measure` takes about four minutes of one, by the simulation."
)


@app.command()
def index(
    prompts: Annotated[int, typer.Option(help="Most prompts in the cache.")] = 16_000,
    out: Annotated[
        Path | None, typer.Option(help="Where the tables go; default reports/claims.")
    ] = None,
) -> None:
    """Compare trees and hashes on one core of this CPU: nodes, bytes, look-up time, what they find."""
    from benchmarks.claims.analyse import RESULTS
    from benchmarks.claims.index_growth import measure_indexes, pin_to_one_core

    pin_to_one_core()
    print(measure_indexes(out or RESULTS, prompts).to_string(index=False))


@app.command()
def measure(
    out: Runs,
    repeats: Repeats = 2,
    seconds: Seconds = 600,
    device: Device = "cuda",
    only: Only = "",
) -> None:
    """Measure every case that OUT lacks: without a cache, with radix and with hash."""
    from benchmarks.claims.cases import CASES, GPU_MODEL, KV_TOKENS, POLICIES, job_of
    from benchmarks.jobs import engine_settings, measure_jobs

    cases = [case for case in CASES if only in case.name]
    jobs = [job_of(case, policy) for case in cases for policy in POLICIES]
    settings = engine_settings(device, GPU_MODEL)
    if not measure_jobs(
        jobs, out, settings, repeats=repeats, seconds=seconds, pool_tokens=KV_TOKENS
    ):
        raise SystemExit(1)


@app.command()
def analyse(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Directory of measure, or an archive of pack. Left out: only simulate."
        ),
    ] = None,
    profile: Profile = None,
    gpu: Annotated[str, typer.Option(help="To simulate where nothing was measured.")] = "h200",
    report: Annotated[
        Path | None, typer.Option(help="Where the page goes; default reports/claims.")
    ] = None,
    only: Only = "",
) -> None:
    """Simulate the cases and write the page, with what was measured beside it."""
    from benchmarks.claims.analyse import analyse as analyse_claims

    analyse_claims(source, profile=profile, gpu=gpu, report=report, only=only)


if __name__ == "__main__":
    app()
