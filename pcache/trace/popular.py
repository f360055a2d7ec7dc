"""The prefixes that caching lives on: which stretch of prompts is repeated most.

Each node of the prefix forest is a stretch of tokens that the same requests share. A stretch of n
tokens in k prompts saves n · (k − 1) tokens of prefill; summed over all stretches that is everything
an unlimited cache can save, so `share` says how much of the ceiling hangs on each.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pcache.errors import TraceError
from pcache.jit import compiled
from pcache.prefixes import PrefixForest, build_forest
from pcache.trace.tokenize.byte_level import ByteTokenizer
from pcache.types import I4, I8, IMAGE_SYMBOL, Trace

__all__ = ["popular_prefixes"]

_PREVIEW_SYMBOLS, _PREVIEW_BYTES = 4, 48


def popular_prefixes(
    trace: Trace, top: int = 10, forest: PrefixForest | None = None
) -> pd.DataFrame:
    """The `top` stretches by tokens saved, at least two requests each.

    Columns: `prefix_tokens` (where the stretch ends, counted from the beginning of the prompt),
    `own_tokens` (its length; what comes before it is another stretch), `requests` that have it,
    `tokens_saved`, `share` of all savings, `preview` of its first tokens or blocks. Raises
    TraceError for a length-only trace.
    """
    if not trace.has_content:
        raise TraceError(
            trace.name, None, "holds lengths only: it does not say which prompts share prefixes"
        )
    forest = build_forest(trace) if forest is None else forest
    requests, example = _count(forest.parent, forest.prompt_node)
    own = forest.end.astype(np.int64) - forest.start
    saved = own * np.maximum(requests - 1, 0)
    order = np.argsort(-saved, kind="stable")[:top]
    best = order[saved[order] > 0]
    return pd.DataFrame(
        {
            "prefix_tokens": forest.end[best].astype(np.int64),
            "own_tokens": own[best],
            "requests": requests[best],
            "tokens_saved": saved[best],
            "share": saved[best] / max(int(saved.sum()), 1),
            "preview": [
                _preview(trace, int(example[node]), int(forest.start[node]), int(forest.end[node]))
                for node in best
            ],
        }
    )


@compiled
def _count(parent: I4, prompt_node: I4) -> tuple[I8, I8]:
    """Prompts through each node, and the first of them, int64 [num nodes] each."""
    requests = np.zeros(len(parent), np.int64)
    example = np.full(len(parent), len(prompt_node), np.int64)
    for request in range(len(prompt_node) - 1, -1, -1):
        requests[prompt_node[request]] += 1
        example[prompt_node[request]] = request
    for node in range(len(parent) - 1, 0, -1):  # children come after their parents
        above = parent[node]
        requests[above] += requests[node]
        example[above] = min(example[above], example[node])
    return requests, example


def _preview(trace: Trace, request: int, start: int, end: int) -> str:
    symbols = trace.prompt_symbols(request)[
        start // trace.symbol_tokens : -(-end // trace.symbol_tokens)
    ]
    if trace.symbol_tokens > 1:
        return "blocks " + _listed(symbols)
    if trace.tokenizer == ByteTokenizer.name:
        content = symbols[:_PREVIEW_BYTES]
        text = bytes(content[content < 256].astype(np.uint8)).decode(errors="replace")
        return " ".join(text.split()) + ("…" if len(symbols) > _PREVIEW_BYTES else "")
    if symbols[0] >= IMAGE_SYMBOL:
        image = next(
            image
            for image in trace.images
            if image.request == request and image.start <= start < image.start + image.num_tokens
        )
        return f"image {image.hash}"
    return "tokens " + _listed(symbols)


def _listed(symbols: I8) -> str:
    shown = ", ".join(str(symbol) for symbol in symbols[:_PREVIEW_SYMBOLS])
    return shown + (", …" if len(symbols) > _PREVIEW_SYMBOLS else "")
