"""`pcache trace`: look at traces, convert, generate and fetch them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pcache.cache.contract import CacheConfig
from pcache.cli import policy_options as cache_option
from pcache.cli.output import OutputFormat, emit, emit_all, fail, progress
from pcache.errors import ConfigError, PcacheError
from pcache.quantities import parse_tokens
from pcache.trace import WORKLOADS, generate, read_trace, write_trace
from pcache.trace.catalogue import CATALOGUE
from pcache.trace.describe import describe
from pcache.trace.fetch import fetch_trace
from pcache.trace.generate import parameter_defaults, parse_parameters
from pcache.trace.write import losses
from pcache.types import Trace

__all__ = ["trace_app"]

trace_app = typer.Typer(
    no_args_is_help=True, help="Look at request traces, convert, generate and fetch them."
)

TraceFile = Annotated[
    str, typer.Argument(metavar="TRACE", help="Trace file, also .gz, .xz, .zst; - is stdin.")
]
FileFormat = Annotated[
    str, typer.Option("--trace-format", help="auto, native, mooncake, bailian, chat or lengths.")
]
TokenizerName = Annotated[
    str,
    typer.Option("--tokenizer", help="For text: bytes, a Hugging Face directory or a .gguf file."),
]
BlockTokens = Annotated[
    int | None,
    typer.Option("--block-tokens", help="Tokens of a hash block (Mooncake 512, Bailian 16)."),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Read only the first N requests.")]
Start = Annotated[float | None, typer.Option("--start", help="Leave out arrivals before (s).")]
End = Annotated[float | None, typer.Option("--end", help="Leave out arrivals from here on (s).")]
TimeScale = Annotated[float, typer.Option("--time-scale", help="2 makes arrivals twice as fast.")]
Format = Annotated[OutputFormat, typer.Option("--format", help="How to print.")]


@trace_app.command()
def info(
    trace: TraceFile,
    block_size: Annotated[
        list[int] | None,
        typer.Option("--block-size", help="Block size of the ceilings; repeat for several."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="How many shared prefixes.")] = 10,
    trace_format: FileFormat = "auto",
    tokenizer: TokenizerName = "bytes",
    block_tokens: BlockTokens = None,
    limit: Limit = None,
    start: Start = None,
    end: End = None,
    time_scale: TimeScale = 1.0,
    format: Format = OutputFormat.table,
) -> None:
    """What a trace holds, and the most that prefix caching can do for it.

    Ceilings are hit rates with unlimited memory: nothing exceeds them at that block size.

    Example: pcache trace info traces/multi-turn-chat.jsonl.xz --block-size 16
    """
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
        frames, notes = describe(loaded, block_size or None, top)
    except PcacheError as error:
        fail(error)
    emit_all(frames, format=format, notes=notes)


@trace_app.command()
def convert(
    trace: TraceFile,
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="File to write, also .gz, .xz, .zst; - is stdout.")
    ],
    to: Annotated[str, typer.Option("--to", help="native or mooncake.")] = "native",
    to_block_tokens: Annotated[
        int, typer.Option("--to-block-tokens", min=1, help="Block size of a Mooncake trace.")
    ] = 512,
    trace_format: FileFormat = "auto",
    tokenizer: TokenizerName = "bytes",
    block_tokens: BlockTokens = None,
    limit: Limit = None,
    start: Start = None,
    end: End = None,
    time_scale: TimeScale = 1.0,
    format: Format = OutputFormat.table,
) -> None:
    """Write a trace, or a part of it, in another format.

    Example: pcache trace convert traces/rag.jsonl.xz rag.jsonl.gz --to mooncake --limit 100
    """
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
        write_trace(loaded, out, format=to, block_tokens=to_block_tokens)
    except PcacheError as error:
        fail(error)
    notes = losses(loaded, to, to_block_tokens)
    _report_written(loaded, out, format, notes)


@trace_app.command("generate")
def generate_command(
    workload: Annotated[str | None, typer.Argument(help="Workload; --list names them.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="File to write, also .gz, .xz, .zst; - is stdout.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same trace.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter; repeat for several."),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the workloads, or one's parameters.")
    ] = False,
    format: Format = OutputFormat.table,
) -> None:
    """Generate a trace of a workload that prefix caching lives on.

    Example: pcache trace generate rag --seed 1 --set requests=200 --out rag.jsonl.xz
    """
    try:
        if list_:
            _list_workloads(workload, format)
            return
        if workload is None or out is None:
            raise ConfigError("give a workload and --out, or --list to see what there is")
        made = generate(workload, seed=seed, **parse_parameters(workload, set_ or []))
        write_trace(made, out)
    except PcacheError as error:
        fail(error)
    _report_written(made, out, format, [])


@trace_app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="Public trace; none lists them.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Copy it to this file or directory.")
    ] = None,
    format: Format = OutputFormat.table,
) -> None:
    """Download a public trace once, checked by its hash, and print where it is.

    Example: pcache trace fetch mooncake-conversation --out .
    """
    if name is None:
        rows = [(known.name, known.license, known.about) for known in CATALOGUE.values()]
        emit(pd.DataFrame(rows, columns=["name", "license", "about"]), format=format)
        return
    try:
        with progress(f"fetching {name}", 1.0) as update:
            path = fetch_trace(name, out=out, advance=_share(update))
    except PcacheError as error:
        fail(error)
    known = CATALOGUE[name]
    columns = {"path": [str(path)], "license": [known.license], "sha256": [known.sha256]}
    if format is OutputFormat.table:
        typer.echo(path)
    else:
        emit(pd.DataFrame(columns), format=format)


@trace_app.command()
def tree(
    trace: TraceFile,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="N[,N...]", help="After how many requests; default the last."),
    ] = None,
    block_size: cache_option.BlockSize = 1,
    evict: cache_option.Evict = "lru",
    kv_tokens: cache_option.KvTokens = None,
    outputs: Annotated[
        bool, typer.Option("--outputs/--no-outputs", help="Cache generated tokens too.")
    ] = True,
    max_nodes: Annotated[
        int, typer.Option("--max-nodes", min=1, help="Most nodes to draw of one tree.")
    ] = 60,
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw a picture into this .png or .svg file.")
    ] = None,
    trace_format: FileFormat = "auto",
    tokenizer: TokenizerName = "bytes",
    block_tokens: BlockTokens = None,
    limit: Limit = None,
    start: Start = None,
    end: End = None,
    format: Format = OutputFormat.table,
) -> None:
    """Draw the radix tree after N requests: what was just added, hit, evicted, and who owns it.

    Requests run one after another; the last of the N still holds its lock. Several numbers give
    several trees, each compared with the one before. CSV and JSON have all nodes.

    Example: pcache trace tree traces/radix-figure.jsonl --kv-tokens 185 --at 4
    """
    from pcache.cli.tree import show_trees  # matplotlib is slow to load: only when needed

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
        capacity = None if kv_tokens is None else parse_tokens("--kv-tokens", kv_tokens)
        config = CacheConfig("radix", block_size, capacity, evict)
        show_trees(loaded, config, at, outputs, tokenizer, max_nodes, out, format)
    except PcacheError as error:
        fail(error)


def _share(update: Callable[[float], None]) -> Callable[[float, float], None]:
    def advance(done: float, total: float) -> None:
        update(done / total if total else 0.0)

    return advance


def _list_workloads(workload: str | None, format: OutputFormat) -> None:
    if workload is None:
        rows = [(name, " ".join((made.__doc__ or "").split())) for name, made in WORKLOADS.items()]
        emit(pd.DataFrame(rows, columns=["workload", "what it is"]), format=format)
        return
    defaults = parameter_defaults(workload)
    helps = {entry.name: entry.metadata["help"] for entry in fields(WORKLOADS[workload])}
    columns = {
        "parameter": list(defaults),
        "default": [str(default) for default in defaults.values()],
        "meaning": [helps[name] for name in defaults],
    }
    emit(pd.DataFrame(columns), format=format)


def _report_written(trace: Trace, out: str, format: OutputFormat, notes: list[str]) -> None:
    if out == "-":  # stdout carries the trace
        for note in notes:
            typer.echo(note, err=True)
        return
    columns = {
        "file": [out],
        "bytes": [Path(out).stat().st_size],
        "requests": [len(trace)],
        "prompt tokens": [int(trace.prompt_tokens.sum())],
        "output tokens": [int(trace.output_tokens.sum())],
    }
    emit(pd.DataFrame(columns), format=format, notes=notes)
