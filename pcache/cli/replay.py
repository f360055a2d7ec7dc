"""`pcache replay`: exact hit rates, cache only."""

from __future__ import annotations

from typing import Annotated

import typer

from pcache.cli import policy_options as option
from pcache.cli import trace as trace_option
from pcache.cli.output import OutputFormat, announce_compilation, fail
from pcache.errors import PcacheError

__all__ = ["replay"]


def replay(
    trace: trace_option.TraceFile,
    policy: option.Policy = "radix,hash,none",
    block_size: option.BlockSize = 16,
    evict: option.Evict = "lru",
    kv_tokens: option.KvTokens = None,
    kv_memory: option.KvMemory = None,
    model: option.Model = "llama-3.1-8b",
    outputs: Annotated[
        bool, typer.Option("--outputs", help="Cache generated tokens too, all but the last.")
    ] = False,
    append_unkeyed: option.AppendUnkeyed = False,
    warm_up: option.WarmUp = 0,
    trace_format: trace_option.FileFormat = "auto",
    tokenizer: trace_option.TokenizerName = "bytes",
    block_tokens: trace_option.BlockTokens = None,
    limit: trace_option.Limit = None,
    start: trace_option.Start = None,
    end: trace_option.End = None,
    out: option.Out = None,
    format: trace_option.Format = OutputFormat.table,
) -> None:
    """Replay a trace through caches, one request after another, without a clock.

    The answer is exact and, for radix and hash, what the classes of SGLang and vLLM answer request by
    request. Without --kv-tokens or --kv-memory the cache is unlimited.

    Example: pcache replay traces/rag.jsonl.xz --policy radix/1,hash/16,exact --kv-tokens 100k
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
        )
        announce_compilation()
        option.check_out(out)
        results = api.replay(
            loaded,
            policy,
            block_size=block_size,
            evict=evict,
            kv_tokens=kv_tokens,
            kv_memory=kv_memory,
            model=model,
            outputs=outputs,
            append_unkeyed=append_unkeyed,
            warm_up=warm_up,
            path=trace,
        )
        if out is not None:
            results.write(out)
        option.print_results(results, out, format)
    except PcacheError as error:
        fail(error)
