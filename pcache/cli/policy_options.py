"""Options that `replay` and `simulate` share: which caches, how large, where the results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcache.cache.contract import INDEXES
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.eviction.registry import POLICIES
from pcache.cli.output import OutputFormat
from pcache.cli.summary import emit_summaries
from pcache.results import Results
from pcache.scheduler.state import BATCHINGS, ORDERS
from pcache.shapes import MODELS

__all__ = [
    "LATENCY", "SCHEDULER", "AppendUnkeyed", "Batching", "BlockSize", "Evict",
    "KvMemory", "KvMemoryOfDevice", "KvTokens", "MaxRunning", "Model", "Order", "Out", "Overlap",
    "Policy", "SloTpot", "SloTtft", "TokenBudget", "WarmUp", "check_out", "print_results",
]  # fmt: skip

CACHE, SCHEDULER, LATENCY = "Cache", "Scheduler", "Latency"

Policy = Annotated[
    str,
    typer.Option(
        "--policy",
        help=f"Comma-separated: {', '.join(INDEXES)}; also with its own block size and eviction, as "
        "radix/1/lfu or hash/16/lifetime.",
        rich_help_panel=CACHE,
    ),
]
BlockSize = Annotated[
    int,
    typer.Option(
        "--block-size",
        help="Tokens a block (page): a power of two, 1 to 512.",
        rich_help_panel=CACHE,
    ),
]
Evict = Annotated[
    str,
    typer.Option(
        "--evict",
        help=f"Eviction: lru, {', '.join(POLICIES)}, or path/to/file.py:Class; of radix also "
        f"{', '.join(name for name in EVICTION_ORDERS if name != 'lru')}. See pcache policy list.",
        rich_help_panel=CACHE,
    ),
]
AppendUnkeyed = Annotated[
    bool,
    typer.Option(
        "--append-unkeyed",
        help="hash: vLLM's older free order, in which partial blocks join the queue's tail too.",
        rich_help_panel=CACHE,
    ),
]
KvTokens = Annotated[
    str | None,
    typer.Option(
        "--kv-tokens",
        help="Capacity in tokens, as 1000000, 400k, 1M or inf.",
        rich_help_panel=CACHE,
    ),
]
KvMemory = Annotated[
    str | None,
    typer.Option(
        "--kv-memory", help="Capacity in bytes of the model's KV, as 50GiB.", rich_help_panel=CACHE
    ),
]
KvMemoryOfDevice = Annotated[
    str | None,
    typer.Option(
        "--kv-memory",
        help="Capacity in bytes of the model's KV, as 50GiB, or a share of the GPU's memory that is "
        "free beside the weights, as 80%.",
        show_default="90% where no capacity is given, on a GPU",
        rich_help_panel=CACHE,
    ),
]
Model = Annotated[str, typer.Option("--model", help=f"Model shape: {', '.join(MODELS)}.")]
WarmUp = Annotated[
    int,
    typer.Option("--warm-up", min=0, help="First N requests fill the cache but are not counted."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Write one run directory per policy below this directory."),
]
Batching = Annotated[
    str, typer.Option("--batching", help=f"{', '.join(BATCHINGS)}.", rich_help_panel=SCHEDULER)
]
Order = Annotated[
    str,
    typer.Option("--order", help=f"Waiting order: {', '.join(ORDERS)}.", rich_help_panel=SCHEDULER),
]
TokenBudget = Annotated[
    int, typer.Option("--token-budget", help="Most tokens a step.", rich_help_panel=SCHEDULER)
]
MaxRunning = Annotated[
    int, typer.Option("--max-running", help="Most running requests.", rich_help_panel=SCHEDULER)
]
Overlap = Annotated[
    int, typer.Option("--overlap", help="1: plan a step while one runs.", rich_help_panel=SCHEDULER)
]
SloTtft = Annotated[
    str | None, typer.Option("--slo-ttft", help="Goodput target.", rich_help_panel=LATENCY)
]
SloTpot = Annotated[
    str | None, typer.Option("--slo-tpot", help="Goodput target.", rich_help_panel=LATENCY)
]


def check_out(out: Path | None) -> None:
    """Raise RunDirectoryError before anything runs whose results could not be written."""
    if out is not None:
        from pcache.rundir import check_place

        check_place(out)


def print_results(results: Results, out: Path | None, format: OutputFormat) -> None:
    """Print the tables of results, written below `out` if that is given, and what to know of them."""
    notes = list(results.notes)
    if out is not None:
        paths = map(str, results.paths_below(out))
        notes.append(f"run directories: {', '.join(paths)}")
        notes.append(f"next: pcache report {out} --out {out / 'report'}")
    if not results.complete:
        notes.insert(
            0, f"Interrupted: {results.runs[-1].label} is incomplete, later ones did not run."
        )
    summaries = [run.summary for run in results.runs]
    emit_summaries(summaries, results.ceilings, format=format, notes=notes)
