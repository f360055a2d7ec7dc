"""Transformers' continuous batching as a peer of the engine: the same questions, the same shape.

One request at a time through its background thread, `add_request` to result, which is how it serves.
A prefix is cached by a request before; it shares whole pages of 256 tokens. Without a flash-attention
package it gathers keys and values for torch's attention, a weak baseline: the provider's name says
which attention it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from pcache.gpu.bench_engine import EngineBench
from pcache.gpu.device import current_gpu, dtype_named
from pcache.gpu.engine_floor import ttft_floor_ms
from pcache.gpu.extra import require
from pcache.gpu.provenance import measured_with
from pcache.shapes import ModelShape, model_shape

__all__ = ["bench_transformers"]

_PAGE_TOKENS = 256
_LONGEST_CONTEXT = 8192
"""Gathered attention needs a mask of every pair; longer contexts do not fit."""
_RESULT_TIMEOUT_S = 120


def bench_transformers(
    bench: EngineBench, progress: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """Rows as `bench_engine` gives them, for the TTFT rows with at most 8,192 tokens of context.

    Raises DeviceError where transformers is missing.
    """
    require("transformers", "the peer")
    shape = model_shape(bench.model)
    rows = []
    with _serving(shape, bench) as (manager, attention):
        for new, cached in bench.ttft_rows:
            if new + cached > _LONGEST_CONTEXT:
                continue
            progress(f"transformers: TTFT of {new:,} tokens after {cached:,}")
            times = _ttft_ns(manager, shape, new, cached, bench.repeats)
            rows.append(
                {
                    "provider": f"transformers {attention}",
                    "what": "ttft",
                    "new_tokens": new,
                    "cached_tokens": cached,
                    "batch": 1,
                    "p50_ms": median(times) / 1e6,
                    "min_ms": min(times) / 1e6,
                    "max_ms": max(times) / 1e6,
                    "floor_ms": ttft_floor_ms(current_gpu(), shape, new, cached),
                    "model": bench.model,
                    "dtype": bench.dtype,
                    "block_size": _PAGE_TOKENS,
                }
                | measured_with()
            )
    frame = pd.DataFrame(rows)
    return frame.assign(floor_share=frame["floor_ms"] / frame["p50_ms"])


@contextmanager
def _serving(shape: ModelShape, bench: EngineBench) -> Iterator[tuple[Any, str]]:
    """A running manager over random weights, and the name of its attention."""
    import transformers

    model = _random_model(shape, dtype_named(bench.dtype))
    config_type = transformers.ContinuousBatchingConfig
    known = {field.name for field in fields(config_type)}
    config = config_type(
        allow_block_sharing=True,
        max_batch_tokens=_LONGEST_CONTEXT,
        num_blocks=4 * _LONGEST_CONTEXT // _PAGE_TOKENS,
        **{"page_size" if "page_size" in known else "block_size": _PAGE_TOKENS},
    )
    generation = transformers.GenerationConfig(
        max_new_tokens=1, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    manager = model.init_continuous_batching(generation, config)
    manager.start()
    try:
        yield manager, str(model.config._attn_implementation)
    finally:
        manager.stop(block=True)


def _random_model(shape: ModelShape, dtype: torch.dtype) -> Any:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=2 * _LONGEST_CONTEXT,
        attn_implementation="sdpa",
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cuda"):
            return transformers.LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def _ttft_ns(manager: Any, shape: ModelShape, new: int, cached: int, repeats: int) -> list[int]:
    """Host time from handing over a prompt to its only token, for each repeat."""
    rng = np.random.default_rng(0)
    times = []
    for _ in range(repeats + 2):
        prompt = rng.integers(1, shape.vocab_size, size=cached + new).tolist()
        if cached:
            _serve(manager, prompt[:cached], 2)  # it registers no blocks in a request's last step
        began = time.perf_counter_ns()
        _serve(manager, prompt, 1)
        times.append(time.perf_counter_ns() - began)
    return times[2:]


def _serve(manager: Any, prompt: list[int], new_tokens: int) -> None:
    manager.add_request(prompt, max_new_tokens=new_tokens)
    result = manager.get_result(timeout=_RESULT_TIMEOUT_S)
    if result is None or result.error:
        raise RuntimeError(f"transformers gave no token: {result and result.error}")
