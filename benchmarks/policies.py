"""Every eviction policy on every trace at ten capacities, beside the offline bound.

    python benchmarks/policies.py [--own] [TRACE ...]

For every shipped trace, and those named, in serial replay, prompts only: `hash` and `radix` with blocks
of 16 tokens (hash-block traces with their own), from the largest request to where LRU reaches the
ceiling. The bound is that of `hash`. Writes reports/data/policies.csv anew and draws
reports/figures/policies.png. With --own only the rows of our own policy are made anew, and the rest
stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import EngFormatter

from pcache.cache.contract import CacheConfig
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.eviction.registry import POLICIES
from pcache.cache.replay import replay
from pcache.curve_api import curve
from pcache.prefixes import PrefixForest, build_forest
from pcache.report.style import COLORS
from pcache.trace import read_trace
from pcache.types import Trace

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reports" / "data" / "policies.csv"
CHART = ROOT / "reports" / "figures" / "policies.png"
BLOCK_SIZE = 16
NUM_CAPACITIES = 10
OWN = "lifetime"
REAL_CAPACITY = 2_500_000
"""One more capacity for traces whose curve passes it."""


def main() -> None:
    """Replay everything, write the table, print what matters, draw."""
    named = [Path(name) for name in sys.argv[1:] if name != "--own"]
    paths = [*named, *sorted((ROOT / "traces").glob("*.jsonl.xz"))]
    if "--own" in sys.argv:
        table = with_own_anew(pd.read_csv(RESULTS), paths)
    else:
        with Pool(2) as pool:
            table = pd.concat(pool.imap(compared, paths, chunksize=1), ignore_index=True)
    table.to_csv(RESULTS, index=False, float_format="%.6f", lineterminator="\n")
    print(verdict(table).to_string(float_format="%.2f"))
    draw(table)


def compared(path: Path) -> pd.DataFrame:
    """All policies on one trace; a row for each index, eviction and capacity."""
    trace = read_trace(path)
    forest = build_forest(trace)
    rows = list(replays(trace, forest, max(BLOCK_SIZE, trace.symbol_tokens), NUM_CAPACITIES))
    print(f"{trace.name}: {len(rows)} replays", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def with_own_anew(table: pd.DataFrame, paths: list[Path]) -> pd.DataFrame:
    """The table with new hit rates of our own policy on these traces."""
    for path in paths:
        trace = read_trace(path)
        forest = build_forest(trace)
        for at in table.index[(table["trace"] == trace.name) & (table["eviction"] == OWN)]:
            cell = table.loc[at]
            config = CacheConfig(
                cell["index"], int(cell["block_size"]), int(cell["capacity_tokens"]), OWN
            )
            table.loc[at, "hit_rate"] = hit_rate(trace, config, forest)
    return table


def replays(
    trace: Trace, forest: PrefixForest, block_size: int, num_capacities: int
) -> Iterator[dict[str, Any]]:
    """Rows of one trace."""
    for tokens, bound in capacities(trace, block_size, num_capacities):
        for index in ("hash", "radix"):
            orders = EVICTION_ORDERS if index == "radix" else ["lru"]
            for eviction in [*orders, *POLICIES]:
                config = CacheConfig(index, block_size, tokens, eviction)
                yield {
                    "trace": trace.name, "index": index, "block_size": block_size,
                    "eviction": eviction, "capacity_tokens": tokens,
                    "hit_rate": hit_rate(trace, config, forest), "bound": bound,
                }  # fmt: skip


def hit_rate(trace: Trace, config: CacheConfig, forest: PrefixForest) -> float:
    """By tokens."""
    cached = replay(trace, config, forest=forest).cached_tokens.clip(min=0).sum()
    return float(cached / trace.prompt_tokens.sum())


def capacities(trace: Trace, block_size: int, num_capacities: int) -> list[tuple[int, float]]:
    """Capacities in tokens with the offline bound of `hash` there."""
    points = curve(trace, block_size=block_size, points=num_capacities).points
    points = points[~points["mark"].isin(["knee", "best possible at ceiling"])]
    found = dict(zip(points["capacity_tokens"], points["bound_hit_rate"], strict=True))
    if min(found) < REAL_CAPACITY < max(found):
        more = curve(trace, block_size=block_size, points=200).points
        nearest = (more["capacity_tokens"] - REAL_CAPACITY).abs().idxmin()
        found[REAL_CAPACITY] = float(more.loc[nearest, "bound_hit_rate"])
    return sorted(found.items())


def verdict(table: pd.DataFrame) -> pd.DataFrame:
    """Of each trace and index, over its capacities, in percentage points: how our own policy stands
    to LRU and to the best of all others at each capacity, and how much of what the best other leaves up
    to the bound it wins."""
    keys = ["trace", "index", "capacity_tokens"]
    rates = table.pivot_table(index=keys, columns="eviction", values="hit_rate") * 100
    bound = table.groupby(keys)["bound"].first() * 100
    others = rates.drop(columns=OWN).max(axis=1)
    result = pd.DataFrame(
        {
            "over LRU, mean": rates[OWN] - rates["lru"],
            "over LRU, worst": rates[OWN] - rates["lru"],
            "over LRU, best": rates[OWN] - rates["lru"],
            "over best other, mean": rates[OWN] - others,
            "over best other, worst": rates[OWN] - others,
            "bound over best other, mean": bound - others,
        }
    )
    how = {
        name: {"mean": "mean", "worst": "min", "best": "max"}[name.split(", ")[1]]
        for name in result.columns
    }
    return result.groupby(["trace", "index"], sort=False).agg(how)


def draw(table: pd.DataFrame) -> None:
    """Hit rate against capacity on every trace: LRU, all others as a band, our own, the bound."""
    table = table[table["index"] == "hash"]
    counts = table.groupby("trace", sort=False)["capacity_tokens"].nunique()
    names = counts.index[counts > 1].tolist()  # where one request fills the cache, nothing is drawn
    columns = 3
    lines = -(-len(names) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(11, 2.6 * lines), squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    for axes, name in zip(grid.flat, names, strict=False):
        rates = table[table["trace"] == name].pivot_table(
            index="capacity_tokens", columns="eviction", values="hit_rate"
        )
        bound = table[table["trace"] == name].groupby("capacity_tokens")["bound"].first()
        others = rates.drop(columns=[OWN])
        axes.fill_between(
            rates.index, 100 * others.min(axis=1), 100 * others.max(axis=1), color="0.85",
            label="all others", linewidth=0,
        )  # fmt: skip
        axes.plot(bound.index, 100 * bound, color="0.3", linestyle=":", label="offline bound")
        axes.plot(rates.index, 100 * rates["lru"], color=COLORS[1], label="LRU")
        axes.plot(rates.index, 100 * rates[OWN], color=COLORS[0], label=OWN)
        axes.set_xscale("log")
        axes.set_xticks(rates.index[[0, len(rates) // 2, -1]])
        axes.xaxis.set_major_formatter(EngFormatter(places=1, sep=""))
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.minorticks_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("hit rate, %", fontsize=8)
    for axes in grid.flat[max(0, len(names) - columns) : len(names)]:
        axes.set_xlabel("KV capacity, tokens", fontsize=8)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    figure.savefig(CHART, dpi=130)


if __name__ == "__main__":
    main()
