"""Duration of a step on a GPU that was measured, at the GPU's full clock.

The engine pads a step to a CUDA graph's sizes where one holds it, or else to those of `eager_sizes`,
and the linear layers compute the `linear_rows` of both together. With M of them, s sampled ones:

    linear(M) + eager + head·[s > 0] + sample·s
      + extends·[any] + extend·n + extend_context·context + tile_context·context of all tiles
      + split_extends·[longest > 128]                            (of those with several tokens)
      + decode·n + context(unshared) + shared_context·shared
      + split_decodes·[longest > 128]                            (of those with one)

Attention cuts new tokens into tiles; each computes with all of its context, however few tokens fill
it. Decodes only read KV, a context of less than 128 positions like one of 128; what several of them
read from the same blocks is cheaper, for a GPU's cache holds it. `linear` and `context` interpolate
between sizes and go on with their last slope. Every term is linear in its coefficient and no
coefficient is negative, so more work that is run in the same way never takes less time.
"""

from __future__ import annotations

from pcache.cost.contract import CONTEXT_TILE, CostModel
from pcache.cost.throttle import POWER
from pcache.jit import hot, inlined
from pcache.types import F8, I8, Records

__all__ = [
    "PADDING",
    "TERMS",
    "busy_ns",
    "eager_sizes",
    "linear_rows",
    "profiled_ns",
    "runs_in_graph",
]

TERMS = (
    "eager", "head", "sample", "extends", "extend", "extend_context", "tile_context",
    "split_extends", "decode", "split_decodes", "shared_context",
)  # fmt: skip
(
    _EAGER, _HEAD, _SAMPLE, _EXTENDS, _EXTEND, _EXTEND_CONTEXT, _TILE_CONTEXT, _SPLIT_EXTENDS,
    _DECODE, _SPLIT_DECODES, _SHARED_CONTEXT,
) = range(len(TERMS))  # fmt: skip

_SHARED_BUSY = POWER.index("shared_busy")
PADDING = 16
"""Steps outside graphs are padded to multiples of this, or of more."""
_FINELY_PADDED, _COARSE_PADDING = 512, 128
_SLOW_ROWS, _FASTER_ROWS = 448, 512
"""For the first cuBLAS 13.0 needs 3 ms a step more than for the second, in the layers of Llama-3.1-8B
on an H200."""


@hot
def _smallest(sizes: I8, count: int) -> int:
    """The smallest of ascending sizes that holds `count`, or -1."""
    for size in sizes:
        if size >= count:
            return size
    return -1


@hot
def _graph(model: CostModel, step: Records) -> tuple[int, int]:
    """Extend tokens and decodes of the graph that runs the step; (-1, -1) if none does."""
    sums, sizes = step[0], model.sizes
    decodes = sums.num_requests - sums.num_extends
    if sums.num_extends == 0:
        size = _smallest(sizes[0], decodes)
        return (0, size) if size >= 0 else (-1, -1)
    tokens, beside = _smallest(sizes[1], sums.extend_tokens), _smallest(sizes[2], decodes)
    if sums.num_extends > sizes[3, 0] or tokens < 0 or beside < 0:
        return -1, -1
    return tokens, beside


@hot
def runs_in_graph(model: CostModel, step: Records) -> bool:
    """Whether the engine has a CUDA graph that holds the step."""
    return _graph(model, step)[1] >= 0


@hot
def _interpolated(table: F8, size: int) -> float:
    last = len(table) - 1
    k = 1
    while k < last and table[k, 0] < size:
        k += 1
    slope = (table[k, 1] - table[k - 1, 1]) / (table[k, 0] - table[k - 1, 0])
    return table[k - 1, 1] + slope * (max(size, table[0, 0]) - table[k - 1, 0])


@inlined
def _round_up(count: int, unit: int) -> int:
    return (count + unit - 1) // unit * unit


@hot
def linear_rows(extend_tokens: int, decodes: int) -> int:
    """Rows that the linear layers compute in a step that is padded to these sizes."""
    rows = extend_tokens + decodes
    return _FASTER_ROWS if extend_tokens > 0 and rows == _SLOW_ROWS else rows


@hot
def eager_sizes(extend_tokens: int, decodes: int) -> tuple[int, int]:
    """Extend tokens and decodes to which a step outside graphs is padded.

    Prefills of more than 512 tokens are padded to a multiple of 128 in all: a matrix product takes
    about as long for any size up to the next one.
    """
    padded = _round_up(decodes, PADDING)
    total = linear_rows(_round_up(extend_tokens, PADDING), padded)
    if extend_tokens > 0 and total > _FINELY_PADDED:
        total = _round_up(total, _COARSE_PADDING)
    return total - padded, padded


@hot
def _decode_context(step: Records) -> tuple[int, int]:
    """KV tokens that decodes read from blocks of their own, and from those that others read too."""
    sums = step[0]
    context = sums.context_tokens - sums.extend_context + sums.decode_padding
    shared = min(sums.shared_context, context)
    return context - shared, shared


@hot
def profiled_ns(model: CostModel, step: Records) -> float:
    """Duration of a step on the GPU, once its predecessors are done, in nanoseconds."""
    sums, terms = step[0], model.terms
    extends, decodes = sums.num_extends, sums.num_requests - sums.num_extends
    tokens, beside = _graph(model, step)
    if beside >= 0:
        samples = beside + (model.sizes[3, 0] if tokens > 0 else 0)
        duration = _interpolated(model.linear, linear_rows(tokens, beside))
    else:
        samples = sums.samples
        tokens, beside = eager_sizes(sums.extend_tokens, decodes)
        duration = _interpolated(model.linear, tokens + beside) + terms[_EAGER]
    if samples > 0:
        duration += terms[_HEAD] + terms[_SAMPLE] * samples
    if extends > 0:
        duration += terms[_EXTENDS] + terms[_EXTEND] * extends
        duration += terms[_EXTEND_CONTEXT] * sums.extend_context
        duration += terms[_TILE_CONTEXT] * sums.tile_context
        if sums.longest_extend > CONTEXT_TILE:
            duration += terms[_SPLIT_EXTENDS]
    if decodes > 0:
        own, shared = _decode_context(step)
        duration += terms[_DECODE] * decodes + _interpolated(model.context, own)
        duration += terms[_SHARED_CONTEXT] * shared
        if sums.longest_decode > CONTEXT_TILE:
            duration += terms[_SPLIT_DECODES]
    return duration


@hot
def busy_ns(model: CostModel, step: Records) -> float:
    """How long the GPU is busy in the step: the tensor cores, with the linear layers of its tokens,
    without padding, at the price of a token in large steps, and with the tiles of attention; and a
    part of the time in which decodes read shared context (`cost.throttle`)."""
    sums, last = step[0], len(model.linear) - 1
    tokens = sums.extend_tokens + sums.num_requests - sums.num_extends
    linear = model.linear[last, 1] / model.linear[last, 0]
    _, shared = _decode_context(step)
    reading = model.power[_SHARED_BUSY] * model.terms[_SHARED_CONTEXT] * shared
    return tokens * linear + model.terms[_TILE_CONTEXT] * sums.tile_context + reading
