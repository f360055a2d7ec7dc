"""`pcache bench`: kernels and engine against their floors and peers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pcache.cli import trace as trace_option
from pcache.cli.output import OutputFormat, emit, fail
from pcache.cli.usage import CommandLine
from pcache.errors import PcacheError
from pcache.gpu.extra import require
from pcache.shapes import MODELS

__all__ = ["bench_app"]

bench_app = typer.Typer(
    cls=CommandLine,
    no_args_is_help=True,
    help="Time kernels and engine on this GPU, after checking that they are right.",
)

CsvFile = Annotated[
    Path | None,
    typer.Option("--csv", help="Append all measured columns to this file.", dir_okay=False),
]


@bench_app.command()
def kernels(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[KERNEL]...", help="Default: every kernel.")
    ] = None,
    csv: CsvFile = None,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Time the Triton kernels beside torch's, each after a test against its reference.

    Shares are of the least time that the GPU's data sheet allows. FlashAttention-3 takes part where
    PCACHE_FA3_LIBRARY names its library. Needs a CUDA GPU and the extra `gpu`.

    Example: pcache bench kernels rms_norm decode_attention --csv kernels.csv
    """
    try:
        require("torch", "pcache bench")
        from pcache.gpu.kernels.bench import run_kernel_benchmarks

        frame = run_kernel_benchmarks(names or [], csv_path=csv, progress=_say)
        emit(_kernel_table(frame), title="Kernels", format=format, notes=_made_with(frame))
    except PcacheError as error:
        fail(error)


@bench_app.command()
def engine(
    model: Annotated[
        str, typer.Option("--model", help=f"Shape: {', '.join(MODELS)}.")
    ] = "llama-3.1-8b",
    dtype: Annotated[str, typer.Option("--dtype", help="bf16, fp16 or fp32.")] = "bf16",
    block_size: Annotated[int, typer.Option("--block-size", help="Tokens a KV block.")] = 16,
    peer: Annotated[
        bool,
        typer.Option("--peer/--no-peer", help="Time transformers' continuous batching too."),
    ] = True,
    csv: CsvFile = None,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Time TTFT and decode steps of the engine, after a test of its logits.

    Random weights, one request at a time; the floor is what FLOPs and bytes allow at the rates that
    large products and copies reach. Needs a CUDA GPU and the extra `gpu`.

    Example: pcache bench engine --model llama-3.1-8b --csv engine.csv
    """
    try:
        require("torch", "pcache bench")
        from pcache.gpu.bench_engine import EngineBench, bench_engine
        from pcache.gpu.bench_transformers import bench_transformers
        from pcache.gpu.check_engine import check_engine
        from pcache.gpu.device import open_gpu
        from pcache.gpu.measurements import append_results

        setting = EngineBench(model=model, dtype=dtype, block_size=block_size)
        gpu = open_gpu()
        _say("checking logits against the plain kernels")
        check_engine(gpu)
        frame = bench_engine(setting, _say)
        if csv is not None:
            append_results(frame, csv)
        if peer:
            others = bench_transformers(setting, _say)
            if csv is not None:
                append_results(others, csv)
            frame = pd.concat([frame, others], ignore_index=True)
        emit(_engine_table(frame), title="Engine", format=format, notes=_made_with(frame))
    except PcacheError as error:
        fail(error)


def _say(what: str) -> None:
    print(what, file=sys.stderr)


def _kernel_table(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kernel": frame["kernel"],
            "case": frame["case"],
            "by": frame["provider"],
            "p50 µs": frame["p50_us"],
            "TFLOP/s": frame["tflops"],
            "GB/s": frame["gb_per_s"],
            "floor µs": frame["floor_us"],
            "% of floor": 100 * frame["floor_share"],
        }
    )


def _engine_table(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "what": frame["what"],
            "new": frame["new_tokens"],
            "cached": frame["cached_tokens"],
            "batch": frame["batch"],
            "by": frame["provider"],
            "p50 ms": frame["p50_ms"],
            "host ms": frame.get("host_ms"),
            "floor ms": frame["floor_ms"],
            "% of floor": 100 * frame["floor_share"],
            "vLLM, H100 ms": frame.get("vllm_ms"),
        }
    )


def _made_with(frame: pd.DataFrame) -> list[str]:
    first = frame.iloc[0]
    return [f"{first['gpu']}, torch {first['torch']}, triton {first['triton']}."]
