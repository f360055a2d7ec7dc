"""How good the curve and the bound are: LRU, radix, feasible schedule and bound at ten capacities.

    python benchmarks/curve.py [TRACE ...]

For every shipped trace, and those named, with blocks of 16 tokens, prompts only and with outputs, from
the largest request to where LRU reaches the ceiling. `hash` and `radix` are replayed one by one, so
that the first can be compared with the curve. Writes reports/data/curve.csv anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.curve_api import curve
from pcache.prefixes import PrefixForest, build_forest
from pcache.trace import read_trace
from pcache.types import Trace

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reports" / "data" / "curve.csv"
BLOCK_SIZE = 16
NUM_CAPACITIES = 10


def main() -> None:
    """Compare on every trace and write the table."""
    named = [Path(name) for name in sys.argv[1:]]
    frames = []
    for path in [*named, *sorted((ROOT / "traces").glob("*.jsonl.xz"))]:
        trace = read_trace(path)
        forest = build_forest(trace)
        frames += [compared(trace, forest, outputs) for outputs in (False, True)]
    table = pd.concat(frames, ignore_index=True)
    table.to_csv(RESULTS, index=False, float_format="%.6f", lineterminator="\n")
    table["gap"] = table["bound"] - table["feasible"]
    table["curve_hash"] = (table["curve"] - table["hash"]).abs()
    table["radix_hash"] = table["radix"] - table["hash"]
    by_trace = table.groupby(["trace", "outputs"], sort=False)
    print(by_trace[["gap", "curve_hash", "radix_hash"]].agg(["min", "max"]).to_string())


def compared(trace: Trace, forest: PrefixForest, outputs: bool) -> pd.DataFrame:
    """Ten rows: one trace at ten capacities."""
    computed = curve(trace, block_size=BLOCK_SIZE, points=NUM_CAPACITIES, outputs=outputs)
    points = computed.points
    points = points[~points["mark"].isin(["knee", "best possible at ceiling"])]
    total = trace.prompt_tokens.sum()

    def replayed(index: str, tokens: int) -> float:
        config = CacheConfig(index, BLOCK_SIZE, tokens)
        cached = replay(trace, config, outputs=outputs, forest=forest).cached_tokens
        return float(cached.clip(min=0).sum() / total)

    capacities = points["capacity_tokens"].tolist()
    return pd.DataFrame(
        {
            "trace": trace.name,
            "outputs": outputs,
            "capacity_tokens": capacities,
            "ceiling": computed.ceiling,
            "curve": points["hit_rate"].to_numpy(),
            "hash": [replayed("hash", tokens) for tokens in capacities],
            "radix": [replayed("radix", tokens) for tokens in capacities],
            "feasible": points["feasible_hit_rate"].to_numpy(),
            "bound": points["bound_hit_rate"].to_numpy(),
        }
    )


if __name__ == "__main__":
    main()
