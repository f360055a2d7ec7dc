"""What a trace is: how much of it there is, when it arrives, how long its requests are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pcache.types import I8, Trace

__all__ = ["length_distribution", "overview"]

PEAK_WINDOW_S = 10
_QUANTILES = {"p10": 0.10, "p50": 0.50, "p90": 0.90, "p99": 0.99}


def overview(trace: Trace) -> pd.DataFrame:
    """One row per figure: `figure`, `value` (mixed types).

    The arrival rate is (requests − 1) ÷ (last − first arrival); its peak is that of the busiest
    ten seconds; burstiness is the coefficient of variation of the gaps between arrivals (1 for
    Poisson arrivals, more in bursts). Figures that do not exist are None.
    """
    num = len(trace)
    sessions = len(set(trace.session_ids) - {""})
    prompt_symbols = -(-trace.prompt_tokens.astype(np.int64) // trace.symbol_tokens)
    known = int(np.count_nonzero(np.diff(trace.symbol_offsets) > prompt_symbols))
    figures: dict[str, object] = {
        "name": trace.name,
        "format": trace.source_format,
        "sha256": trace.sha256,
        "tokenizer": trace.tokenizer or None,
        "tokens per symbol": trace.symbol_tokens if trace.has_content else None,
        "requests": num,
        "sessions": sessions or None,
        "requests per session": num / sessions if sessions else None,
        "prompt tokens": int(trace.prompt_tokens.sum(dtype=np.int64)),
        "output tokens": int(trace.output_tokens.sum(dtype=np.int64)),
        "requests with known output": known,
        "tenants": len(set(trace.salt.tolist())),
        "traffic classes": ", ".join(name for name in trace.classes if name) or None,
        "images": len(trace.images) or None,
        "distinct images": len({image.hash for image in trace.images}) or None,
        **_arrival_figures(trace.arrival_ns),
    }
    return pd.DataFrame(
        {"figure": list(figures), "value": pd.Series(list(figures.values()), dtype=object)}
    )


def length_distribution(trace: Trace) -> pd.DataFrame:
    """Rows `prompt tokens` and `output tokens`: mean, min, p10, p50, p90, p99, max."""
    rows = []
    for name, lengths in (
        ("prompt tokens", trace.prompt_tokens),
        ("output tokens", trace.output_tokens),
    ):
        quantiles = np.quantile(lengths, list(_QUANTILES.values()))
        rows.append(
            {
                "length": name,
                "mean": float(lengths.mean()),
                "min": int(lengths.min()),
                **dict(zip(_QUANTILES, map(float, quantiles), strict=True)),
                "max": int(lengths.max()),
            }
        )
    return pd.DataFrame(rows)


def _arrival_figures(arrival_ns: I8) -> dict[str, object]:
    span_s = float(arrival_ns[-1] - arrival_ns[0]) / 1e9
    gaps = np.diff(arrival_ns).astype(np.float64)
    window = np.searchsorted(arrival_ns, arrival_ns + PEAK_WINDOW_S * 1_000_000_000, side="left")
    busiest = int((window - np.arange(len(arrival_ns))).max())
    varied = len(gaps) > 1 and gaps.mean() > 0
    return {
        "span (s)": span_s,
        "arrival rate (requests/s)": (len(arrival_ns) - 1) / span_s if span_s else None,
        f"peak rate, busiest {PEAK_WINDOW_S} s (requests/s)": busiest / PEAK_WINDOW_S,
        "burstiness (CV of gaps)": float(gaps.std() / gaps.mean()) if varied else None,
    }
