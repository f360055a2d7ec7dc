"""How far sampled curves are off, and how often that is within the error that they state.

    python benchmarks/sampling.py [TRACE ...]

For every shipped trace and those named (by default the public ones in $PCACHE_REAL_TRACES or in
../shared/traces), with blocks of 16 tokens, prompts only: samples of four sizes by SEEDS hashes each,
against the exact curve at twenty capacities from the smallest request to where LRU reaches the
ceiling. Sizes that are refused are left out. Writes reports/data/sampling.csv anew: hit rates by
tokens in percentage points, and the share of points within the stated error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pcache.errors import ConfigError
from pcache.prefixes import build_forest
from pcache.sim.lru_curve import CurveOptions, LruCurve
from pcache.sim.segments import segment_trace
from pcache.trace import read_trace

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reports" / "data" / "sampling.csv"
PUBLIC = Path(os.environ.get("PCACHE_REAL_TRACES", ROOT.parent / "shared" / "traces"))
BLOCK_SIZE = 16
NUM_CAPACITIES = 20
RATES = (0.03, 0.1, 0.3, 0.6)
SEEDS = 100


def main() -> None:
    """Compare on every trace and write the table."""
    named = [Path(name) for name in sys.argv[1:]] or sorted(PUBLIC.glob("*.jsonl.xz"))
    paths = [*named, *sorted((ROOT / "traces").glob("*.jsonl*"))]
    table = pd.DataFrame([row for path in paths for row in compared(path)])
    table.to_csv(RESULTS, index=False, float_format="%.4f", lineterminator="\n")
    print(table.round(3).to_string(index=False))


def compared(path: Path) -> Iterator[dict[str, object]]:
    """A row for each size of sample that is not refused."""
    trace = read_trace(path)
    blocks = segment_trace(trace, build_forest(trace), BLOCK_SIZE, outputs=False)
    prompts = trace.prompt_tokens.astype(np.int64)
    exact = LruCurve(blocks, prompts, CurveOptions(BLOCK_SIZE))
    smallest = int(blocks.requests.footprint.min())
    spread = np.geomspace(smallest, exact.full or exact.largest, NUM_CAPACITIES)
    places = np.unique(np.rint(spread).astype(np.int64))
    truth = exact.rates(places)[0][0]
    for rate in RATES:
        options = [CurveOptions(BLOCK_SIZE, sample=rate, seed=seed) for seed in range(SEEDS)]
        try:
            found = [LruCurve(blocks, prompts, one).rates(places) for one in options]
        except ConfigError:
            continue
        estimates, errors = 100 * np.array(found)[:, :, 0].swapaxes(0, 1)
        off = np.abs(estimates - 100 * truth)
        yield {
            "trace": trace.name,
            "rate": rate,
            "mean_absolute_error": off.mean(),
            "worst_error": off.max(),
            "mean_stated_error": errors.mean(),
            "coverage": (off <= errors + 1e-9).mean(),
        }


if __name__ == "__main__":
    main()
