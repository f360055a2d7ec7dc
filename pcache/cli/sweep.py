"""`pcache sweep`: a grid of simulations in parallel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from pcache.cli import policy_options as option
from pcache.cli import trace as trace_option
from pcache.cli.output import OutputFormat, announce_compilation, emit, fail, progress
from pcache.cli.usage import INTERRUPTED
from pcache.errors import ConfigError, PcacheError
from pcache.quantities import memory_text
from pcache.scheduler.state import ORDERS
from pcache.shapes import GPUS, MODELS

if TYPE_CHECKING:
    from pcache.sweeps import Recommendation

__all__ = ["sweep"]

MOST_ROWS = 40
"""Longer tables are not read on a terminal; the page and the CSV have all rows."""


def sweep(
    traces: Annotated[
        list[str], typer.Argument(metavar="TRACE...", help="Trace files, as of simulate.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Directory of the cells, the table and the page.")
    ],
    policy: Annotated[
        str, typer.Option("--policy", help="Axis: radix, hash, exact, none; comma-separated.")
    ] = "radix,hash",
    evict: Annotated[str, typer.Option("--evict", help="Axis: eviction orders.")] = "lru",
    block_size: Annotated[
        str, typer.Option("--block-size", help="Axis: tokens a block, as 16,64.")
    ] = "16",
    kv_tokens: Annotated[
        str | None, typer.Option("--kv-tokens", help="Axis: capacities, as 100k,1M,inf.")
    ] = None,
    kv_memory: Annotated[
        str | None, typer.Option("--kv-memory", help="Axis: capacities, as 20GiB,40GiB.")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", help=f"Axis: waiting orders: {', '.join(ORDERS)}.")
    ] = "fcfs",
    model: Annotated[
        str | None,
        typer.Option("--model", help=f"Model: {', '.join(MODELS)}. Default: llama-3.1-8b."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help=f"GPU: {', '.join(GPUS)}. Default: h100.")
    ] = None,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Split the model over N GPUs.")] = 1,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="As of simulate.", rich_help_panel=option.LATENCY),
    ] = None,
    recommend: Annotated[
        bool,
        typer.Option(
            "--recommend",
            help="Name the least KV memory that meets the targets, and the runner-up.",
            rich_help_panel=option.LATENCY,
        ),
    ] = False,
    slo_ttft: option.SloTtft = None,
    slo_tpot: option.SloTpot = None,
    slo_share: Annotated[
        float,
        typer.Option(
            "--slo-share",
            min=0,
            max=1,
            help="Share of requests that must be within the targets.",
            rich_help_panel=option.LATENCY,
        ),
    ] = 0.99,
    batching: option.Batching = "chunked",
    token_budget: option.TokenBudget = 8192,
    max_running: option.MaxRunning = 256,
    overlap: option.Overlap = 1,
    warm_up: option.WarmUp = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Cells at a time. Default: all cores.")
    ] = None,
    on: Annotated[
        str, typer.Option("--on", help="here, or ray: a Ray cluster (extra `ray`).")
    ] = "here",
    trace_format: trace_option.FileFormat = "auto",
    tokenizer: trace_option.TokenizerName = "bytes",
    block_tokens: trace_option.BlockTokens = None,
    limit: trace_option.Limit = None,
    start: trace_option.Start = None,
    end: trace_option.End = None,
    time_scale: trace_option.TimeScale = 1.0,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Simulate every combination of policies, capacities, block sizes and so on, on all cores.

    Finished cells are kept in --out: an interrupted sweep goes on where it was, a larger one runs only
    what is new. Writes one tidy table and a page with curves, a map and the front of KV memory against
    goodput. Combinations that do not exist (hash with another eviction) are left out.

    Example: pcache sweep traces/agent-tools.jsonl.xz --kv-tokens 50k,100k,200k --slo-ttft 500ms
    --recommend --out runs/sweep
    """
    from pcache.report.sweep import render_sweep
    from pcache.sweeps import recommend as choose
    from pcache.sweeps import sweep as run
    from pcache.sweeps.grid import TraceFile

    try:
        if recommend and slo_ttft is None and slo_tpot is None:
            raise ConfigError("--recommend needs a target: give --slo-ttft or --slo-tpot")
        announce_compilation()
        files = [
            TraceFile(
                path, "", trace_format, tokenizer, block_tokens, limit, start, end, time_scale
            )
            for path in traces
        ]
        with progress("simulating", 1) as update:
            result = run(
                files, out, policy=policy, evict=evict, block_size=block_size,
                kv_tokens=kv_tokens, kv_memory=kv_memory, order=order, model=model, gpu=gpu, tp=tp,
                profile=profile, batching=batching, token_budget=token_budget,
                max_running=max_running, overlap=overlap, slo_ttft=slo_ttft, slo_tpot=slo_tpot,
                warm_up=warm_up, jobs=jobs, on=on,
                progress=lambda done, total: update(done / total),
            )  # fmt: skip
        if len(result.cells) and result.cells["error"].notna().all():
            raise ConfigError(f"no cell could be simulated: {result.cells['error'].iloc[0]}")
        notes = [f"left out: {reason}" for reason in result.left_out]
        told: list[str] = []
        if len(result.cells) and (result.complete or not recommend):
            if recommend:
                told = _tell(choose(result.cells, slo_share), slo_share)
            page = render_sweep(result.cells, out, told)
            notes += [f"page: {page}; table: {out / 'sweep.parquet'}"]
            if format is OutputFormat.table and len(result.cells) > MOST_ROWS:
                notes.append("Shown are the cells that none beats in KV memory and goodput.")
            notes += [f"{result.reused} of {result.num_cells} cells were there already."]
        if not result.complete:
            done = f"{len(result.cells)} of {result.num_cells} cells are finished"
            notes.insert(0, f"Interrupted: {done}; the same command goes on.")
        emit(_table(result.cells, format), title="Sweep", format=format, notes=[*told, *notes])
    except PcacheError as error:
        fail(error)
    if not result.complete:
        raise SystemExit(INTERRUPTED)


def _table(cells: pd.DataFrame, format: OutputFormat) -> pd.DataFrame:
    """Every column for CSV and JSON; for readers the essential ones of the front if there are many."""
    if format is not OutputFormat.table or not len(cells):
        return cells
    from pcache.report.figures.sweep_front import front

    done = cells[cells["error"].isna()]
    shown = pd.concat([front(part) for _, part in done.groupby("trace", sort=False)])
    if len(done) <= MOST_ROWS:
        shown = done
    return pd.DataFrame(
        {
            "trace": shown["trace"],
            "policy": shown["label"],
            "KV tokens": shown["kv_tokens"].astype("Int64"),
            "KV GiB": shown["kv_bytes"] / 2**30,
            "hit %": 100 * shown["hit_rate"],
            "TTFT p50 ms": shown["ttft_p50_ms"],
            "TTFT p99 ms": shown["ttft_p99_ms"],
            "goodput/s": shown["goodput_requests_per_s"],
            "within %": 100 * shown["within_slo"],
        }
    )


def _tell(found: Recommendation, share: float) -> list[str]:
    """Sentences that name the smallest configuration and the runner-up."""
    if found.best is None:
        nearest = found.configurations.sort_values("within_slo").iloc[-1]
        return [
            f"No configuration has {100 * share:g} % of requests within the targets on every trace; "
            f"nearest is {_named(nearest)}."
        ]
    sentences = [f"Smallest that meets the targets: {_named(found.best)}."]
    if found.runner_up is None:
        return [*sentences, "No other configuration meets them."]
    return [*sentences, f"Runner-up: {_named(found.runner_up)}."]


def _named(row: pd.Series) -> str:
    eviction = "" if row["eviction"] == "lru" else f" {row['eviction']}"
    order = "" if row["order"] == "fcfs" else f" {row['order']}"
    tokens = "unlimited" if pd.isna(row["kv_tokens"]) else f"{int(row['kv_tokens']):,} tokens"
    memory = "" if pd.isna(row["kv_bytes"]) else f" = {memory_text(row['kv_bytes'])}"
    return (
        f"{row['index']}/{row['block_size']}{eviction}{order} with {tokens}{memory} "
        f"({100 * row['within_slo']:.1f} % within, TTFT p99 {row['ttft_p99_ms']:,.0f} ms, "
        f"hit rate {100 * row['hit_rate']:.1f} %)"
    )
