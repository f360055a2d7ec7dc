"""What an unlimited prefix cache would reach: the ceilings of a trace, and what it misses and why.

All figures are those of a serial replay (one request after another, in order of arrival) with
unlimited memory. For a request of L prompt tokens, let c be the longest prefix it has in common
with anything cached before it. At blocks of B tokens

    hit      B · min(⌊c / B⌋, ⌊(L − 1) / B⌋)    full blocks, and never the last token
    cold     L − c                              tokens never seen
    rounding c − hit                            seen, but lost to block size or last-token rule

which is what the caches `hash` with block size B and `radix` with page size B answer, request by
request. *By token* is Σ hit ÷ Σ L; *request mean* is the mean of hit ÷ L.

Published hit rates of hash-block traces count blocks instead, partial ones too: block j of a prompt
is *repeated* if an earlier prompt has the same tokens before it and the same in it, as far as both
prompts reach (for the trace's own blocks: the same id). *By block* is repeated ÷ all, and its
request mean the mean of a request's repeated ÷ all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pcache.errors import ConfigError, TraceError
from pcache.jit import compiled
from pcache.prefixes import PrefixForest, build_forest
from pcache.types import I4, I8, Trace

__all__ = ["CEILING_COLUMNS", "ceilings", "default_block_sizes"]

CEILING_COLUMNS = {
    "block_tokens": "B",
    "blocks": "blocks of all prompts, partial ones included",
    "distinct_blocks": "of them the first of their kind",
    "by_block": "repeated blocks ÷ blocks",
    "by_block_request_mean": "mean over requests of repeated ÷ all their blocks",
    "by_token": "hit tokens ÷ prompt tokens: the hit rate nothing exceeds",
    "request_mean": "mean over requests of hit ÷ prompt tokens",
    "cold": "cold tokens ÷ prompt tokens",
    "rounding": "tokens lost to rounding ÷ prompt tokens",
    "by_token_with_outputs": "by_token when generated tokens are cached too (all but the last)",
    "cold_with_outputs": "cold likewise",
    "rounding_with_outputs": "rounding likewise",
}
"""Columns of `ceilings`, and what they are."""


def default_block_sizes(trace: Trace) -> list[int]:
    """The usual sizes, and the trace's own where it is made of blocks."""
    return sorted({1, 16, 64, 512, trace.symbol_tokens})


def ceilings(
    trace: Trace,
    block_tokens: Sequence[int] | None = None,
    forest: PrefixForest | None = None,
    warm_up: int = 0,
) -> pd.DataFrame:
    """A row per block size, columns CEILING_COLUMNS. The first `warm_up` requests fill the cache and
    are not counted.

    Raises TraceError for a length-only trace and ConfigError for a block size below 1.
    """
    if not trace.has_content:
        raise TraceError(
            trace.name, None, "holds lengths only: it does not say which prompts share prefixes"
        )
    sizes = list(block_tokens) if block_tokens is not None else default_block_sizes(trace)
    if wrong := [size for size in sizes if size < 1]:
        raise ConfigError(f"block size is {wrong[0]}; expected at least 1 token")
    forest = build_forest(trace) if forest is None else forest
    length = trace.prompt_tokens.astype(np.int64)[warm_up:]
    nodes = (forest.parent, forest.end, forest.prompt_node, forest.output_node)
    seen, ended = (found[warm_up:] for found in _walk(*nodes, False))
    seen_with_outputs = _walk(*nodes, True)[0][warm_up:]
    rows = [_row(size, length, seen, ended, seen_with_outputs) for size in sizes]
    return pd.DataFrame(rows, columns=list(CEILING_COLUMNS))


def _row(size: int, length: I8, seen: I8, ended: I8, with_outputs: I8) -> tuple[float, ...]:
    blocks = -(-length // size)
    # An earlier prompt that ends inside a block has that block too, as far as it reaches.
    repeated = np.where(seen == length, blocks, np.maximum(seen // size, -(-ended // size)))
    total = int(length.sum())
    usable = (length - 1) // size
    hit = size * np.minimum(seen // size, usable)
    hit_with_outputs = size * np.minimum(with_outputs // size, usable)
    return (
        size,
        int(blocks.sum()),
        int((blocks - repeated).sum()),
        float(repeated.sum() / blocks.sum()),
        float((repeated / blocks).mean()),
        float(hit.sum() / total),
        float((hit / length).mean()),
        float((length - seen).sum() / total),
        float((seen - hit).sum() / total),
        float(hit_with_outputs.sum() / total),
        float((length - with_outputs).sum() / total),
        float((with_outputs - hit_with_outputs).sum() / total),
    )


@compiled
def _walk(parent: I4, end: I4, prompt_node: I4, output_node: I4, outputs: bool) -> tuple[I8, I8]:
    """For each request, int64 [num requests]: tokens of its prompt that were cached before, and the
    length of the longest earlier prompt that is a prefix of it."""
    num = len(prompt_node)
    cached = np.zeros(len(parent), np.bool_)
    ends_here = np.zeros(len(parent), np.bool_)
    cached[0] = True
    seen, ended = np.zeros(num, np.int64), np.zeros(num, np.int64)
    for request in range(num):
        node = prompt_node[request]
        while not cached[node]:
            cached[node] = True
            node = parent[node]
        seen[request] = end[node]
        while node != 0 and not ends_here[node]:
            node = parent[node]
        ended[request] = end[node]
        ends_here[prompt_node[request]] = True
        if outputs:
            node = output_node[request]
            while not cached[node]:
                cached[node] = True
                node = parent[node]
    return seen, ended
