"""`pcache compare`: measured and simulated in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from pcache.cli import engine_options as engine_option
from pcache.cli import policy_options as option
from pcache.cli import trace as trace_option
from pcache.cli.engine_options import ENGINE
from pcache.cli.output import OutputFormat, emit, fail, progress
from pcache.cli.usage import INTERRUPTED
from pcache.errors import DeviceError, PcacheError
from pcache.gpu.extra import require

if TYPE_CHECKING:
    from pcache.side_by_side import Comparison

__all__ = ["compare"]


def compare(
    trace: trace_option.TraceFile,
    out: Annotated[
        Path, typer.Option("--out", help="Directory of the runs of both sides and the page.")
    ],
    policy: option.Policy = "radix,hash,none",
    model: engine_option.Model = None,
    device: engine_option.Device = "cuda",
    dtype: engine_option.Dtype = None,
    seed: engine_option.Seed = 0,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="Step times of the simulation, as of simulate.",
            rich_help_panel=option.LATENCY,
        ),
    ] = None,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            min=1,
            help="Measure so often: their spread says what a difference means.",
            rich_help_panel=ENGINE,
        ),
    ] = 1,
    skip_idle: engine_option.SkipIdle = False,
    block_size: option.BlockSize = 16,
    evict: option.Evict = "lru",
    kv_tokens: option.KvTokens = None,
    kv_memory: option.KvMemoryOfDevice = None,
    append_unkeyed: option.AppendUnkeyed = False,
    batching: option.Batching = "chunked",
    order: option.Order = "fcfs",
    token_budget: option.TokenBudget = 8192,
    max_running: option.MaxRunning = 256,
    overlap: option.Overlap = 1,
    slo_ttft: option.SloTtft = None,
    slo_tpot: option.SloTpot = None,
    warm_up: option.WarmUp = 0,
    trace_format: trace_option.FileFormat = "auto",
    tokenizer: trace_option.TokenizerName = "bytes",
    block_tokens: trace_option.BlockTokens = None,
    limit: trace_option.Limit = None,
    start: trace_option.Start = None,
    end: trace_option.End = None,
    time_scale: trace_option.TimeScale = 1.0,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Run a trace on a GPU, simulate the same, and report both side by side.

    The simulation gets the capacity that the device had. The page, its charts and CSV tables lie in
    OUT/report. Every measured decision is taken again from the recorded instants, which must give
    the same. Needs the extra `gpu`.

    Example: pcache compare traces/few-shot.jsonl.xz --device cpu --profile profile.json
    --kv-tokens 20k --limit 12 --skip-idle --out runs/compared
    """
    try:
        require("torch", "pcache compare")
        from pcache.gpu.run import usual_settings
        from pcache.side_by_side import compare as run_both
        from pcache.trace import read_trace

        settings = usual_settings(model, device, dtype, seed=seed, skip_idle=skip_idle)
        loaded = read_trace(
            trace,
            format=trace_format,
            tokenizer=tokenizer,
            block_tokens=block_tokens,
            limit=limit,
            start_s=start,
            end_s=end,
            time_scale=time_scale,
        )
        with progress("running", len(loaded)) as update:
            found = run_both(
                loaded,
                policy,
                out,
                settings=settings,
                profile=profile,
                repeat=repeat,
                progress=lambda _label, done: update(done),
                block_size=block_size,
                evict=evict,
                kv_tokens=kv_tokens,
                kv_memory=kv_memory,
                append_unkeyed=append_unkeyed,
                batching=batching,
                order=order,
                token_budget=token_budget,
                max_running=max_running,
                overlap=overlap,
                slo_ttft=slo_ttft,
                slo_tpot=slo_tpot,
                warm_up=warm_up,
                path=trace,
            )
        _report(found, out, format)
        if failure := found.measured[-1].runs[-1].config["failure"]:
            raise DeviceError(failure)
    except PcacheError as error:
        fail(error)
    except KeyboardInterrupt:
        if any(out.glob("*/*/summary.json")):
            print(f"Interrupted: what is finished lies in {out}; pcache report makes a page of it.")
        raise SystemExit(INTERRUPTED) from None
    if not found.complete:
        raise SystemExit(INTERRUPTED)


def _report(found: Comparison, out: Path, format: OutputFormat) -> None:
    from pcache.report import load_runs, render
    from pcache.report.pairs import find_pairs, side_by_side

    runs = load_runs(found.places)
    page = render(runs, out / "report")
    same = [verdict for verdict in found.verdicts if verdict.difference is None]
    notes = [f"{v.path}: {v.difference}" for v in found.verdicts if v.difference is not None]
    notes.append(
        f"{len(same)} of {len(found.verdicts)} measured runs: every decision the same when taken "
        "again from the recorded instants."
    )
    if found.simulated is None:
        notes.insert(0, "Interrupted: nothing was simulated.")
    else:
        notes += found.simulated.notes
    notes.append(f"report: {page}")
    table = side_by_side(find_pairs(runs))
    emit(_readable(table, format), title="Side by side", format=format, notes=notes)


def _readable(table: pd.DataFrame, format: OutputFormat) -> pd.DataFrame:
    """All columns for CSV and JSON; for readers shares in percent and fewer columns. The first names a
    row by itself, for it alone is repeated where not all fit the width."""
    if format is not OutputFormat.table or table.empty:
        return table
    from pcache.report.pairs import COMPARED
    from pcache.report.units import MISSING, difference_text

    words = {c.field: f"{c.heading} {c.unit}" for c in COMPARED}
    scale = table["number"].eq("hit_rate").map({True: 100.0, False: 1.0})
    units = table["difference_unit"]
    shown = pd.DataFrame(
        {
            "number": table["configuration"] + " " + table["number"].map(words),
            "simulated": scale * table["simulated"],
            "measured": scale * table["measured"],
            "difference": [
                MISSING if pd.isna(value) else difference_text(value, unit)
                for value, unit in zip(table["difference"], units, strict=True)
            ],
        }
    )
    if (table["num_measured"] > 1).any():
        spread = 100 * (table["measured_highest"] - table["measured_lowest"])
        spread /= table["measured"].where(units.eq("%"), 1.0)
        shown["repeats apart"] = [
            MISSING if pd.isna(value) else f"{value:.1f} {unit}"
            for value, unit in zip(spread.where(table["num_measured"] > 1), units, strict=True)
        ]
    return shown
