"""The verb `curve` as a function: hit rate against capacity.

>>> import pcache
>>> curve = pcache.curve("traces/multi-turn-chat.jsonl.xz", gpu="l40s,h100")
>>> curve.points[["capacity_tokens", "hit_rate", "bound_hit_rate"]]
>>> from pcache.report.curve_figure import save_curve
>>> save_curve(curve, Path("curve.png"))
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pcache.cache.contract import CacheConfig
from pcache.configure import check_some_fit, set_up
from pcache.errors import ConfigError
from pcache.hit_curve import HitCurve
from pcache.quantities import parse_tokens
from pcache.shapes import ModelShape, gpu_shape, model_shape
from pcache.sim.curve import hit_curve
from pcache.sim.latency import DEFAULT_MODEL
from pcache.sim.lru_curve import CurveOptions
from pcache.sim.roofline import check_fit, kv_capacity_tokens
from pcache.types import Trace

__all__ = ["DEFAULT_POINTS", "curve"]

DEFAULT_POINTS = 161
MOST_POINTS = 10_000


def curve(
    trace: Trace | str | Path,
    *,
    block_size: int = 16,
    kv_tokens: str | int | None = None,
    points: int = DEFAULT_POINTS,
    outputs: bool = False,
    append_unkeyed: bool = False,
    warm_up: int = 0,
    gpu: str | None = None,
    model: str = DEFAULT_MODEL,
    tp: int = 1,
    bound: bool = True,
    sample: float | None = None,
    path: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> HitCurve:
    """Hit rate of block LRU (`hash`, serial replay) against capacity, and the best possible one.

    Computed at the capacities of `kv_tokens` (as "1M,2.5M"), or at `points` of them from the largest
    request to where the ceiling is reached; and at what fits beside the weights of each of `model` on
    each of `gpu`, names separated by commas. `sample` looks at about that share of the trace, states
    how far off the rates may be for that, and leaves the bound out. `progress` is called with the
    share that is done. Raises TraceError for an unreadable trace and ConfigError for options that
    cannot work, among them a sample too small to state an error.
    """
    loaded, setup = set_up(trace, warm_up, path)
    if not loaded.has_content:
        raise ConfigError(
            f"{loaded.name} holds lengths only: no prompt shares a prefix, nothing hits"
        )
    if not 2 <= points <= MOST_POINTS:
        raise ConfigError(f"--points {points} is not between 2 and {MOST_POINTS:,}")
    if sample is not None and not 0 < sample <= 1:
        raise ConfigError(f"--sample {sample:g} is not a share above 0 and of at most 1")
    models = [model_shape(name.strip()) for name in model.split(",")]
    marks = {} if gpu is None else _fitting(models, gpu, tp)
    total = setup.total_tokens(outputs=outputs)
    capacities = points if kv_tokens is None else _capacities(str(kv_tokens))
    for tokens in [None] if isinstance(capacities, int) else capacities:
        check_some_fit([CacheConfig("hash", block_size, tokens)], total)
    options = CurveOptions(
        block_size, outputs, append_unkeyed, warm_up, bound and sample is None, sample
    )
    return hit_curve(
        loaded,
        setup.forest,
        options,
        capacities=capacities,
        marks=marks,
        kv_bytes_per_token=models[0].kv_bytes_per_token,
        progress=progress,
    )


def _capacities(text: str) -> list[int]:
    """The numbers of tokens in a list with commas."""
    found = [parse_tokens("--kv-tokens", part) for part in text.split(",")]
    if None in found:
        raise ConfigError("--kv-tokens inf is the ceiling; name capacities like 1M,2.5M")
    return [tokens for tokens in found if tokens is not None]


def _fitting(models: list[ModelShape], gpus: str, tp: int) -> dict[str, int]:
    """Tokens of KV that fit, for every model on every GPU, by their names."""
    marks = {}
    for shape in models:
        for card in (gpu_shape(name.strip()) for name in gpus.split(",")):
            check_fit(shape, card, tp)
            group = f"{tp} x {card.name}" if tp > 1 else card.name
            marks[f"{shape.name} on {group}"] = kv_capacity_tokens(shape, card, tp)
    return marks
