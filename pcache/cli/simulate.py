"""`pcache simulate`: hit rates, TTFT and all the rest, on a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from pcache.cli import policy_options as option
from pcache.cli import trace as trace_option
from pcache.cli.output import OutputFormat, announce_compilation, emit, fail, progress
from pcache.cli.usage import INTERRUPTED, refuse_options
from pcache.errors import PcacheError
from pcache.shapes import GPUS, MODELS
from pcache.sim.roofline import DEFAULT_STEP_OVERHEAD_MS

if TYPE_CHECKING:
    from pcache.types import Trace

__all__ = ["simulate"]

OF_A_REPLAY = {
    "trace", "replay_steps", "trace_format", "tokenizer", "block_tokens", "limit", "start", "end",
    "time_scale", "format",
}  # fmt: skip
"""Parameters that say how the trace is read, and how the verdict is printed."""


def simulate(
    context: typer.Context,
    trace: trace_option.TraceFile,
    policy: option.Policy = "radix,hash,none",
    model: Annotated[
        str | None,
        typer.Option("--model", help=f"Model: {', '.join(MODELS)}. Default: llama-3.1-8b."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help=f"GPU: {', '.join(GPUS)}. Default: h100.")
    ] = None,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Split the model over N GPUs.")] = 1,
    block_size: option.BlockSize = 16,
    evict: option.Evict = "lru",
    kv_tokens: option.KvTokens = None,
    kv_memory: option.KvMemory = None,
    append_unkeyed: option.AppendUnkeyed = False,
    batching: option.Batching = "chunked",
    order: option.Order = "fcfs",
    token_budget: option.TokenBudget = 8192,
    max_running: option.MaxRunning = 256,
    overlap: option.Overlap = 1,
    ladder: Annotated[
        bool,
        typer.Option(
            "--ladder",
            help="First the steps without cache: static, continuous batching, chunked prefill.",
            rich_help_panel=option.SCHEDULER,
        ),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="A file of pcache calibrate, the name of a shipped profile, or roofline. Default: the "
            "shipped profile of GPU and model if there is one.",
            rich_help_panel=option.LATENCY,
        ),
    ] = None,
    step_overhead: Annotated[
        float | None,
        typer.Option(
            "--step-overhead",
            min=0,
            help=f"Use a roofline with so many ms a step on top. Default: {DEFAULT_STEP_OVERHEAD_MS}.",
            rich_help_panel=option.LATENCY,
        ),
    ] = None,
    replay_steps: Annotated[
        Path | None,
        typer.Option(
            "--replay-steps",
            help="Instead take the decisions of this directory of pcache run again, from its recorded "
            "instants: must be the same.",
        ),
    ] = None,
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
    out: option.Out = None,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Simulate policies under a trace's load: hit rate, TTFT, TPOT, queueing, goodput.

    A discrete-event simulation with continuous batching, chunked prefill and preemption; step times
    come from a profile measured on the GPU with the model, or where there is none, as the output
    says, from a roofline of published shapes. Without --kv-tokens or --kv-memory the cache gets what
    fits beside the weights.

    With --replay-steps nothing is predicted: scheduler and cache go through a measured run again, at
    its own instants, and every decision must come out the same, byte for byte. Exit status 1 if not.

    Example: pcache simulate traces/multi-turn-chat.jsonl.xz --policy radix,hash,none --gpu h100
    """
    from pcache import api  # numba and the compiled code: only when needed
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
            time_scale=time_scale,
        )
        announce_compilation()
        if replay_steps is not None:
            refuse_options(context, OF_A_REPLAY, "--replay-steps, which takes the run's own")
            _print_verdicts(loaded, replay_steps, format)
            return
        option.check_out(out)
        with progress("simulating", len(loaded)) as update:
            results = api.simulate(
                loaded,
                policy,
                model=model,
                gpu=gpu,
                tp=tp,
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
                ladder=ladder,
                profile=profile,
                step_overhead_ms=step_overhead,
                slo_ttft=slo_ttft,
                slo_tpot=slo_tpot,
                warm_up=warm_up,
                path=trace,
                progress=lambda _label, done: update(done),
            )
        if out is not None:
            results.write(out)
        option.print_results(results, out, format)
    except PcacheError as error:
        fail(error)
    if not results.complete:
        raise SystemExit(INTERRUPTED)


def _print_verdicts(trace: Trace, path: Path, format: OutputFormat) -> None:
    from pcache.sim.replay_steps import replay_steps

    verdicts = replay_steps(trace, path)
    rows = [
        {
            "run": str(verdict.path),
            "policy": verdict.label,
            "decisions": verdict.decisions,
            "actions": verdict.actions,
            "identical": verdict.difference is None,
        }
        for verdict in verdicts
    ]
    different = [v for v in verdicts if v.difference is not None]
    notes = [f"{verdict.path}: {verdict.difference}" for verdict in different]
    emit(pd.DataFrame(rows), title="Replayed decisions", format=format, notes=notes)
    if different:
        raise SystemExit(1)
