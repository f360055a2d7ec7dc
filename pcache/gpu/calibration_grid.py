"""Which steps a calibration measures: a designed grid to fit, and drawn ones to test the fit on.

The grid covers every CUDA graph with little context, attention over growing contexts on top of some
of them, large extends, and both together. Where little else differs, of decodes and of single short
extends, contexts are drawn between powers of two: attention is cut into whole tiles and chunks, and one
context by itself may be a lucky one. The steps held out are drawn over the same ranges with ragged
lengths, as traffic has them. All is fixed before anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise, product

import numpy as np

from pcache.cost.points import StepShape
from pcache.cost.profile import EngineSizes
from pcache.cost.profiled import PADDING, eager_sizes, linear_rows

__all__ = ["Limits", "context_sizes", "designed_steps", "drawn_steps", "linear_sizes"]

_CONTEXT_SIZES = (0, 512, 2048, 8192, 32768, 131072, 524288)

_SHORT, _USUAL = 32, (((400, 900), 4), ((900, 2600), 16))
"""Context of decodes that are not to cost anything by their context, and contexts as chats have them
(from, to), with how many decodes."""
_CONTEXTS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 60000)
"""Between two of them one context is drawn."""
_SEED = 7


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may be on the runner at hand."""

    max_rows: int
    max_step_tokens: int
    max_context_tokens: int
    kv_tokens: int
    block_size: int
    sizes: EngineSizes

    def allow(self, shape: StepShape) -> bool:
        rounding = self.block_size * shape.num_requests
        return (
            shape.num_requests <= self.max_rows
            and shape.new_tokens <= self.max_step_tokens
            and shape.longest <= self.max_context_tokens
            and shape.context_tokens + rounding <= self.kv_tokens
        )


def context_sizes(limits: Limits) -> tuple[int, ...]:
    """KV tokens read by decodes, between which the time of reading them is interpolated.

    The last slope goes on for ever, so an interval that measured steps hardly reach into is none."""
    reached = (b for a, b in pairwise(_CONTEXT_SIZES[1:]) if 2 * a < limits.kv_tokens)
    return *_CONTEXT_SIZES[:2], *reached


def linear_sizes(limits: Limits) -> list[int]:
    """Padded sizes at which the time of the linear layers is measured, ascending."""
    graphs, sizes = limits.sizes, {PADDING, *_eager_sizes(limits)}
    sizes.update(graphs.decodes)
    sizes.update(linear_rows(*both) for both in product(graphs.extend_tokens, graphs.mixed_decodes))
    return sorted(sizes)


def _eager_sizes(limits: Limits) -> list[int]:
    """Padded sizes that no graph holds up to the largest step, at least a sixteenth apart; the last
    two no closer than a tenth, since beyond them their slope goes on."""
    sizes = []
    size = 0
    largest = max(limits.sizes.extend_tokens, default=0)
    while 1.1 * size < limits.max_step_tokens:
        if size > largest:
            sizes.append(size)
        size, _ = eager_sizes(max(size + 1, size * 17 // 16), 0)
    return [*sizes, limits.max_step_tokens // PADDING * PADDING]


def designed_steps(limits: Limits) -> list[StepShape]:
    """The grid, without what the limits rule out."""
    rng = np.random.default_rng(_SEED)
    parts = (
        _graphs(limits, rng), _decodes(rng), _shared_decodes(), _short_extends(rng),
        _long_extends(limits), _mixed(),
    )  # fmt: skip
    shapes = dict.fromkeys(shape for part in parts for shape in part if limits.allow(shape))
    return list(shapes)


def _step(
    *requests: tuple[int, int, int], samples: bool = True, shared_tokens: int = 0
) -> StepShape:
    return StepShape(tuple(request for request in requests if request[2]), samples, shared_tokens)


def _graphs(limits: Limits, rng: np.random.Generator) -> Iterator[StepShape]:
    """Every graph, filled; those of extends with few decodes also as they are most often used, partly
    filled and with some context."""
    for size in limits.sizes.decodes:
        yield _step((_SHORT, 1, size))
    for tokens, beside in product(limits.sizes.extend_tokens, limits.sizes.mixed_decodes):
        yield _step((0, tokens, 1), (_SHORT, 1, min(beside, limits.max_rows - 1)))
    for tokens, (between, beside) in product(limits.sizes.extend_tokens, _USUAL):
        contexts = [_log_uniform(rng, *between) for _ in range(1 + beside)]
        yield _step((contexts[0], tokens - tokens // 8, 1), *((n, 1, 1) for n in contexts[1:]))


def _decodes(rng: np.random.Generator) -> Iterator[StepShape]:
    """Small batches over all contexts, ragged as in traffic, and larger ones over every other."""
    for batch, (low, high) in product((1, 2, 4, 8), pairwise(_CONTEXTS)):
        yield _step(*((_log_uniform(rng, low, high), 1, 1) for _ in range(batch)))
    for batch, (low, high) in product((16, 32, 64, 128, 256), pairwise(_CONTEXTS[1::2])):
        yield _step(*((_log_uniform(rng, low, high), 1, 1) for _ in range(batch)))
    for batch in (8, 24, 64, 160):
        yield _step((256, 1, batch), (8192, 1, batch // 4))
        yield _step((256, 1, batch), (30000, 1, 1))


def _shared_decodes() -> Iterator[StepShape]:
    for batch, (shared, context) in product(
        (8, 32, 128), ((1024, 1024), (1024, 2048), (4096, 4200), (8192, 8192))
    ):
        yield _step((context, 1, batch), shared_tokens=shared)


def _short_extends(rng: np.random.Generator) -> Iterator[StepShape]:
    for tokens, (low, high) in product(
        (2, 8, 16, 40, 64, 128, 256, 512, 768, 1024), pairwise(_CONTEXTS[1::2])
    ):
        yield _step((_log_uniform(rng, low, high), tokens, 1))
    for tokens in (40, 100, 200, 400, 900):
        yield _step((_log_uniform(rng, 30000, 60000), tokens, 1))
    for num, tokens, cached in product((2, 4, 8, 16), (16, 32, 64, 128), (0, 1024, 8192)):
        if num * tokens <= 1024:
            yield _step((cached, tokens, num))


def _long_extends(limits: Limits) -> Iterator[StepShape]:
    for size in _eager_sizes(limits):
        yield _step((0, size, 1))
    for size in (2048, 4096, 8192):
        yield _step((0, size, 1), samples=False)
    for size, cached in product((1280, 2048, 4096, 8192), (1024, 4096, 16384, 32768)):
        yield _step((cached, size, 1))
    for num, size, cached in product((2, 4, 8, 16, 32, 64), (64, 256, 1024), (0, 4096)):
        if num * size > 1024:
            yield _step((cached, size, num))
    yield _step((0, 8, 24))
    yield _step((2048, 8, 48))


def _mixed() -> Iterator[StepShape]:
    for (extends, size, cached), (decodes, context) in product(
        (
            (1, 100, 2048),
            (4, 60, 1024),
            (1, 400, 8192),
            (1, 1000, 0),
            (2, 1024, 4096),
            (4, 1500, 0),
            (1, 2000, 1024),
            (1, 4000, 0),
            (1, 7500, 2048),
        ),
        ((8, 4096), (30, 1024), (64, 4096), (128, 512), (200, 2048)),
    ):
        yield _step((cached, size, extends), (context, 1, decodes))


def drawn_steps(limits: Limits, per_class: int, seed: int) -> list[StepShape]:
    """Steps to hold out: `per_class` each of decodes, extends of up to 1024 tokens, longer ones, and
    extends beside decodes."""
    rng = np.random.default_rng(seed)
    drawn: list[StepShape] = []
    for draw in (_draw_decodes, _draw_short, _draw_long, _draw_mixed):
        shapes = (draw(rng, limits) for _ in range(100 * per_class))
        drawn += islice(filter(limits.allow, shapes), per_class)
    return drawn


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return round(float(np.exp(rng.uniform(np.log(low), np.log(max(low, high))))))


def _ragged_decodes(rng: np.random.Generator, num: int, longest: int) -> list[tuple[int, int, int]]:
    """Requests of one new token after lengths around a common one, up to four times apart."""
    centre = _log_uniform(rng, 32, longest)
    return [
        (min(_log_uniform(rng, max(centre // 2, 16), 2 * centre), longest - 1), 1, 1)
        for _ in range(num)
    ]


def _draw_decodes(rng: np.random.Generator, limits: Limits) -> StepShape:
    num = _log_uniform(rng, 1, limits.max_rows)
    requests = _ragged_decodes(rng, num, limits.max_context_tokens // 2)
    shared = _log_uniform(rng, 1, min(start for start, _, _ in requests))
    if num == 1 or rng.random() < 2 / 3:
        shared = 0
    return _step(*requests, shared_tokens=shared // limits.block_size * limits.block_size)


def _draw_extends(
    rng: np.random.Generator, limits: Limits, num: int, low: int, high: int
) -> list[tuple[int, int, int]]:
    """`num` extends with `low` to `high` new tokens together, a third of them without a prefix."""
    total = _log_uniform(rng, max(low, 2 * num), high)
    shares = rng.dirichlet(np.full(num, 2.0)) * (total - 2 * num)
    counts = [2 + int(share) for share in shares]
    most = [limits.max_context_tokens - count for count in counts]
    cached = [0 if rng.random() < 1 / 3 else _log_uniform(rng, 32, longest) for longest in most]
    return [(start, count, 1) for start, count in zip(cached, counts, strict=True)]


def _draw_short(rng: np.random.Generator, limits: Limits) -> StepShape:
    num = _log_uniform(rng, 1, 12)
    return _step(*_draw_extends(rng, limits, num, 4, min(1024, limits.max_step_tokens)))


def _draw_long(rng: np.random.Generator, limits: Limits) -> StepShape:
    num = _log_uniform(rng, 1, 12)
    return _step(*_draw_extends(rng, limits, num, 1040, limits.max_step_tokens))


def _draw_mixed(rng: np.random.Generator, limits: Limits) -> StepShape:
    num = _log_uniform(rng, 2, limits.max_rows // 2)
    decodes = _ragged_decodes(rng, num, limits.max_context_tokens // 4)
    extends = _draw_extends(
        rng, limits, _log_uniform(rng, 1, 6), 16, (limits.max_step_tokens - num) // 2
    )
    return _step(*extends, *decodes)
