"""`pcache curve`: hit rate against capacity, with the offline bound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from pcache.cli import policy_options as option
from pcache.cli import trace as trace_option
from pcache.cli.output import OutputFormat, emit, fail, progress
from pcache.errors import PcacheError
from pcache.hit_curve import HitCurve
from pcache.shapes import GPUS, MODELS
from pcache.types import Bool

__all__ = ["curve"]

SHOWN_ROWS = 14
"""Rows of a table beside those that are marked; CSV and JSON have all."""


def curve(
    trace: trace_option.TraceFile,
    block_size: option.BlockSize = 16,
    kv_tokens: Annotated[
        str | None,
        typer.Option("--kv-tokens", help="Capacities, as 1M,2.5M; by default evenly spread ones."),
    ] = None,
    points: Annotated[int, typer.Option("--points", help="How many to spread.")] = 161,
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Cache generated tokens too, all but the last.")
    ] = False,
    append_unkeyed: option.AppendUnkeyed = False,
    warm_up: option.WarmUp = 0,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", help=f"Mark what fits in the memory of: {', '.join(GPUS)}."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help=f"Model shapes for --gpu: {', '.join(MODELS)}.")
    ] = "llama-3.1-8b",
    tp: Annotated[int, typer.Option("--tp", help="GPUs that share the model.")] = 1,
    bound: Annotated[
        bool, typer.Option("--bound/--no-bound", help="Compute the offline bound.")
    ] = True,
    sample: Annotated[
        float | None,
        typer.Option("--sample", help="Look at about this share of the trace, as 0.05."),
    ] = None,
    trace_format: trace_option.FileFormat = "auto",
    tokenizer: trace_option.TokenizerName = "bytes",
    block_tokens: trace_option.BlockTokens = None,
    limit: trace_option.Limit = None,
    start: trace_option.Start = None,
    end: trace_option.End = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw the curve into this .png or .svg file.")
    ] = None,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Hit rate against KV capacity, exact and in one pass, and the best possible one.

    The curve is that of hash with LRU, one request after another, as replay gives it. No eviction
    exceeds the bound; feasible is what one reaches that knows the future and never keeps a block
    without its parent.

    Example: pcache curve traces/rag.jsonl.xz --gpu l40s,h100 --out curve.png
    """
    from pcache import curve_api  # numba and the compiled code: only when needed
    from pcache.trace import read_trace

    try:
        loaded = read_trace(
            trace,
            format=trace_format,
            tokenizer=tokenizer,
            block_tokens=block_tokens,
            limit=limit,
            start_s=start,
            end_s=end,
        )
        with progress("offline bound", 1.0) as advance:
            computed = curve_api.curve(
                loaded,
                block_size=block_size,
                kv_tokens=kv_tokens,
                points=points,
                outputs=outputs,
                append_unkeyed=append_unkeyed,
                warm_up=warm_up,
                gpu=gpu,
                model=model,
                tp=tp,
                bound=bound,
                sample=sample,
                path=trace,
                progress=advance,
            )
        notes = _notes(computed)
        if out is not None:
            from pcache.report.curve_figure import save_curve  # matplotlib is slow to load

            save_curve(computed, out)
            notes.append(f"chart: {out}")
    except PcacheError as error:
        fail(error)
    frame = _frame(computed)
    if format is OutputFormat.table:
        if kv_tokens is None:
            frame = frame[_shown(frame["at"])]
        frame = frame.drop(columns=["KV GiB", *(name for name in frame if _is_empty(frame[name]))])
    emit(frame, title="Hit rate by capacity", format=format, notes=notes)


def _frame(curve: HitCurve) -> pd.DataFrame:
    """The points in the units of their headings."""
    points = curve.points
    return pd.DataFrame(
        {
            "capacity tokens": points["capacity_tokens"],
            "KV GiB": points["kv_bytes"] / 2**30,
            "hit %": points["hit_rate"] * 100,
            "± %": points["hit_rate_error"] * 100,
            "request mean %": points["hit_rate_request_mean"] * 100,
            "± mean %": points["hit_rate_request_mean_error"] * 100,
            "feasible %": points["feasible_hit_rate"] * 100,
            "bound %": points["bound_hit_rate"] * 100,
            "rejected": points["rejected_requests"],
            "at": points["mark"],
        }
    )


def _shown(marks: pd.Series[str]) -> Bool:
    """Which rows a table shows: those with a mark, and others evenly spread."""
    every = max(1, round(len(marks) / SHOWN_ROWS))
    spread = np.arange(len(marks)) % every == every // 2
    return np.asarray(spread | (marks != "").to_numpy(), np.bool_)


def _is_empty(column: pd.Series[float]) -> bool:
    """Whether a column has nothing to tell: no value, no error, no rejected request."""
    return bool(column.isna().all() or (column == 0).all())


def _notes(curve: HitCurve) -> list[str]:
    """What to know about the numbers."""
    what = "prompts and outputs" if curve.outputs else "prompts"
    notes = [
        f"{curve.policy}, {what}, one request after another. Ceiling "
        f"{100 * curve.ceiling:.2f} % (request mean {100 * curve.ceiling_request_mean:.2f} %), "
        f"working set {curve.working_set_tokens:,} tokens."
    ]
    gap = (curve.points["bound_hit_rate"] - curve.points["feasible_hit_rate"]).max()
    if gap == 0:
        notes.append("Feasible and bound are the same: this is the best that eviction can do.")
    elif gap > 0:
        notes.append(f"Bound and feasible differ by at most {100 * gap:.2g} points.")
    if curve.sample is not None:
        notes.append(
            f"Estimated from a sample of {100 * curve.sample:g} %; the exact hit rate is within ± in "
            "95 % of such estimates. The bound needs the whole trace."
        )
    return notes
