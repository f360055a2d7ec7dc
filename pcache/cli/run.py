"""`pcache run`: the simulator's configurations on a real engine."""

from __future__ import annotations

from typing import Annotated

import typer

from pcache.cli import engine_options as engine_option
from pcache.cli import policy_options as option
from pcache.cli import trace as trace_option
from pcache.cli.engine_options import ENGINE
from pcache.cli.output import OutputFormat, fail, progress
from pcache.cli.usage import INTERRUPTED
from pcache.errors import DeviceError, PcacheError
from pcache.gpu.extra import require

__all__ = ["run"]


def run(
    trace: trace_option.TraceFile,
    policy: option.Policy = "radix,hash,none",
    model: engine_option.Model = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights", help="random (a named shape) or from the file.", rich_help_panel=ENGINE
        ),
    ] = "random",
    device: engine_option.Device = "cuda",
    dtype: engine_option.Dtype = None,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0,
            help="Sampling, 0 is greedy; what is fed back are the trace's tokens.",
            rich_help_panel=ENGINE,
        ),
    ] = 0.0,
    top_p: Annotated[
        float,
        typer.Option(
            "--top-p",
            help="Sample from the likeliest tokens that together reach this share.",
            rich_help_panel=ENGINE,
        ),
    ] = 1.0,
    seed: engine_option.Seed = 0,
    skip_idle: engine_option.SkipIdle = False,
    poison: Annotated[
        bool,
        typer.Option(
            "--poison",
            help="Debugging: NaN in blocks before they are written.",
            rich_help_panel=ENGINE,
        ),
    ] = False,
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
    out: option.Out = None,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Run a trace on a GPU under each policy and measure what simulate predicts.

    The same scheduler and caches as in simulate, real kernels and a real clock. Outputs have the
    trace's lengths and, where known, its tokens. Needs the extra `gpu`.

    Example: pcache run traces/few-shot.jsonl.xz --device cpu --kv-tokens 20k --limit 12 --skip-idle
    """
    try:
        require("torch", "pcache run")
        from pcache.gpu.api import run as run_on_device
        from pcache.gpu.run import usual_settings
        from pcache.trace import read_trace

        if weights != "random":
            raise DeviceError(
                f"--weights {weights!r}: only random is made up here; for real weights give their "
                "directory or .gguf file to --model"
            )
        settings = usual_settings(
            model,
            device,
            dtype,
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            skip_idle=skip_idle,
            poison=poison,
        )
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
        option.check_out(out)
        with progress("running", len(loaded)) as update:
            results = run_on_device(
                loaded,
                policy,
                settings=settings,
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
                out=out,
                progress=lambda _label, done: update(done),
            )
        option.print_results(results, out, format)
        if failure := results.runs[-1].config["failure"]:
            raise DeviceError(failure)
    except PcacheError as error:
        fail(error)
    if not results.complete:
        raise SystemExit(INTERRUPTED)
