"""What `trace info` shows: everything known about a trace, as frames by title."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pcache.prefixes import build_forest
from pcache.trace.ceilings import ceilings
from pcache.trace.popular import popular_prefixes
from pcache.trace.statistics import length_distribution, overview
from pcache.types import Trace

__all__ = ["describe"]

_BY_TOKEN = {
    "block_tokens": "block tokens",
    "by_token": "by token",
    "request_mean": "request mean",
    "cold": "cold",
    "rounding": "rounding",
}
_WITH_OUTPUTS = {
    "block_tokens": "block tokens",
    "by_token_with_outputs": "by token",
    "cold_with_outputs": "cold",
    "rounding_with_outputs": "rounding",
}
_BY_BLOCK = {
    "block_tokens": "block tokens",
    "blocks": "blocks",
    "distinct_blocks": "distinct blocks",
    "by_block": "by block",
    "by_block_request_mean": "request mean",
}
_NO_PREFIXES = (
    "This trace holds lengths only, no prompts: it cannot say which requests share prefixes, and "
    "every simulation of it has a hit rate of 0."
)


def describe(
    trace: Trace, block_sizes: Sequence[int] | None = None, top: int = 10
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Frames by title, and notes to the reader. Raises ConfigError for a block size below 1."""
    frames = {"Trace": overview(trace), "Lengths": length_distribution(trace)}
    if not trace.has_content:
        return frames, [_NO_PREFIXES]
    forest = build_forest(trace)
    table = ceilings(trace, block_sizes, forest)
    frames["Ceilings: prompts cached, unlimited memory"] = _part(table, _BY_TOKEN)
    frames["Ceilings: prompts and outputs cached"] = _part(table, _WITH_OUTPUTS)
    frames["Sharing counted in blocks"] = _part(table, _BY_BLOCK)
    if top:
        frames["Most shared prefixes"] = popular_prefixes(trace, top, forest).rename(
            columns=lambda name: name.replace("_", " ")
        )
    return frames, []


def _part(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    return table[list(names)].rename(columns=names)
