"""Cut one step's attention into equal pieces of work, on the device.

A *tile* is TILE_TOKENS query tokens of one request with all query heads of one KV head packed into
its rows. When there are too few tiles to fill the GPU, each tile's context is cut into chunks, whose
partial results `merge` joins. The plan is made once a step by one small kernel and used by every
layer; it reads all lengths from device memory, so it can be captured in a CUDA graph together with
the layers and replayed on other lengths.

A wave is one item for each program that runs at a time. The longest requests, as many as fit into full
waves with all their tiles, stay whole, and the rest is cut into chunks; or all may be cut, as where one
is long. Either way with the chunk length, among 32 candidate chunk counts for the longest tile to cut,
that minimises

    max(whole waves · mean whole item + waves of chunks · mean chunk, longest item) [+ the merge],

in units of BLOCK_N positions, an item costing ITEM_OVERHEAD more than its length. Requests are laid out
by the length of their items, longest first, and tiles last to first, so that short items come last and
fill what the long ones leave.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

__all__ = [
    "ITEM_FIELDS",
    "MERGE_FIELDS",
    "AttentionPlan",
    "TileShape",
    "has_specialised_kernel",
]

# first token, tokens, position, lo, hi, table row, partial slot or -1
ITEM_FIELDS = tl.constexpr(8)
# first token, tokens, chunks, first partial slot, slot stride
MERGE_FIELDS = tl.constexpr(8)
_ITEM_OVERHEAD, _MERGE_COST = 2.0, 3.0
"""Times of BLOCK_N positions; the merge's is the best of 0 to 8 on an H200, over decodes and extends of
up to 4,096 tokens."""
_BEYOND_ORDER = tl.constexpr(1 << 60)
_MERGE_OCCUPANCY = 8
_PARTIALS = 4
"""Chunks of split tiles that a plan may hold, to each program that runs at a time."""


@dataclass(frozen=True, slots=True)
class TileShape:
    """How a kernel cuts its work: compile-time constants of one launch configuration."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    occupancy: int
    """Programs that one multiprocessor holds at a time."""
    use_tma: bool = False
    """Fetch KV blocks of at least `block_n` tokens with the tensor memory accelerator."""
    specialised: bool = False
    """Use the kernel of `hopper.py` where it can run; `block_m` and `block_n` are 128."""


def _gpu(device: torch.device) -> tuple[int, bool]:
    """Multiprocessors, and whether there is a tensor memory accelerator.

    The CPU, where Triton's interpreter runs, passes for a small GPU that has one.
    """
    if device.type != "cuda":
        return 2, True
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count, properties.major >= 9


def has_specialised_kernel(device: torch.device) -> bool:
    """Whether `hopper.py` can run: it is written for one GPU and in one version of Gluon."""
    if device.type != "cuda" or not triton.__version__.startswith("3.6."):
        return False
    return torch.cuda.get_device_capability(device) == (9, 0)


def _ints(device: torch.device, *size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.int32, device=device)


@functools.cache
def _partials(device: torch.device, rows: int, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Buffers for partial results, kept for good: a CUDA graph may hold their addresses."""
    out = torch.empty(rows, head_dim, dtype=torch.float32, device=device)
    return out, torch.empty(rows, dtype=torch.float32, device=device)


class AttentionPlan:
    """Work items of one step's attention, in buffers of fixed size that a CUDA graph may hold.

    shape               tile shape of the kernel that will use the plan
    max_requests        most requests a step may hold
    max_tokens          most query tokens a step may hold
    group_size          query heads per KV head, at most `shape.block_m`
    num_kv_heads, head_dim, device

    Buffers: `items` [max_items, 8] int32, `merges` [max_partials, 8] int32 and `counts` [2] int32
    (items, merges) are the plan's own. `partial_out` [max_partials · num_kv_heads · block_m, head_dim]
    and `partial_lse` [the same rows], float32, live only from a launch to its merge, so plans of one
    size share them: use such plans on one stream.
    """

    def __init__(
        self,
        shape: TileShape,
        *,
        max_requests: int,
        max_tokens: int,
        group_size: int,
        num_kv_heads: int,
        head_dim: int,
        device: torch.device,
    ) -> None:
        multiprocessors, has_tma = _gpu(device)
        self.shape = shape
        self.use_tma = shape.use_tma and has_tma
        self.specialised = shape.specialised and has_specialised_kernel(device)
        self.max_requests = max_requests
        self.tile_tokens = shape.block_m // group_size
        self.num_kv_heads = num_kv_heads
        self.programs = multiprocessors * shape.occupancy
        self.merge_programs = multiprocessors * _MERGE_OCCUPANCY
        self.max_partials = triton.cdiv(_PARTIALS * self.programs, num_kv_heads)
        max_tiles = max_requests + max_tokens // self.tile_tokens
        self.max_items = max_tiles + self.max_partials
        self.grid = self.max_items * num_kv_heads
        self.items = _ints(device, self.max_items, ITEM_FIELDS.value)
        self.merges = _ints(device, self.max_partials, MERGE_FIELDS.value)
        self.counts = _ints(device, 2)
        rows = self.max_partials * num_kv_heads * shape.block_m
        self.partial_out, self.partial_lse = _partials(device, rows, head_dim)

    def write_items(
        self, rows: torch.Tensor, lengths: torch.Tensor, q_starts: torch.Tensor | None
    ) -> None:
        """Plan one step from `update`'s arguments (int32, on the device).

        With `q_starts`, `lengths` are prefix lengths. Without, request b has one query token, its
        b-th, and `lengths` are context lengths.
        """
        num_requests = rows.numel()
        if num_requests > self.max_requests:
            raise ValueError(f"plan of {self.max_requests} requests given {num_requests}")
        _plan_kernel[(num_requests,)](
            rows, lengths, lengths if q_starts is None else q_starts,
            self.items, self.merges, self.counts, num_requests, self.programs, self.max_partials,
            NUM_KV_HEADS=self.num_kv_heads, TILE_TOKENS=self.tile_tokens, BLOCK_N=self.shape.block_n,
            ITEM_OVERHEAD=_ITEM_OVERHEAD, MERGE_COST=_MERGE_COST, ONE_TOKEN=q_starts is None,
            REQUESTS=triton.next_power_of_2(self.max_requests), CANDIDATES=32, WIDTH=128,
            num_warps=4 if self.max_requests <= 256 else 16,
        )  # fmt: skip


@triton.jit
def _lengths(lengths_ptr, q_starts_ptr, request, mask, ONE_TOKEN: tl.constexpr):
    """First query token, number of query tokens and prefix length of requests."""
    prefix = tl.load(lengths_ptr + request, mask=mask, other=0)
    if ONE_TOKEN:
        start = request
        tokens = tl.minimum(prefix, 1)
        prefix -= tokens
    else:
        start = tl.load(q_starts_ptr + request, mask=mask, other=0)
        tokens = tl.load(q_starts_ptr + request + 1, mask=mask, other=0) - start
    return start, tokens, prefix


@triton.jit
def _sum(values, where):
    return tl.sum(tl.where(where, values, 0), 0)


@triton.jit
def _whole_from(tiles, order, programs, NUM_KV_HEADS: tl.constexpr):
    """The `order` of the last request that fits into full waves with all its tiles and those of the
    requests before it. A number above every order if there are too few tiles for one wave."""
    packed = tl.sort((order << 24) | tiles.to(tl.int64), descending=True)
    items = tl.cumsum((packed & 0xFFFFFF).to(tl.int32), 0) * NUM_KV_HEADS
    slots = tl.max(items, 0) // programs * programs
    return tl.min(tl.where(items <= slots, packed >> 24, _BEYOND_ORDER), 0)


@triton.jit
def _chunk_length(tiles, iterations, work, whole, programs, max_partials,
                  NUM_KV_HEADS: tl.constexpr, ITEM_OVERHEAD: tl.constexpr,
                  MERGE_COST: tl.constexpr, CANDIDATES: tl.constexpr):  # fmt: skip
    """Iterations a chunk of the requests that are not `whole`, and what the plan costs then.

    `tiles`, `iterations` (longest tile) and `work` (all tiles) are by request."""
    candidate = tl.arange(0, CANDIDATES)
    num_chunks = tl.math.exp2(candidate.to(tl.float32) * 0.25).to(tl.int32)  # 1 … 215
    longest = tl.maximum(tl.max(tl.where(whole, 0, iterations), 0), 1)
    chunk = tl.cdiv(longest, num_chunks)
    splits = tl.cdiv(
        tl.where(whole, 0, iterations)[:, None], chunk[None, :]
    )  # [requests, candidates]
    entries = tiles[:, None] * splits
    partials = tl.sum(tl.where(splits > 1, entries, 0), 0)
    items = tl.sum(entries, 0) * NUM_KV_HEADS
    mean = _sum(work, ~whole) * NUM_KV_HEADS / tl.maximum(items, 1) + ITEM_OVERHEAD
    whole_items = _sum(tiles, whole) * NUM_KV_HEADS
    whole_mean = _sum(work, whole) * NUM_KV_HEADS / tl.maximum(whole_items, 1) + ITEM_OVERHEAD
    whole_longest = tl.max(tl.where(whole, iterations, 0), 0)
    cost = tl.cdiv(whole_items, programs) * whole_mean + tl.cdiv(items, programs) * mean
    cost = tl.maximum(
        cost, tl.maximum(tl.where(items > 0, chunk, 0), whole_longest) + ITEM_OVERHEAD
    )
    cost = tl.where(partials > 0, cost + MERGE_COST, cost)
    cost = tl.where(partials > max_partials, float("inf"), cost)
    best = candidate == tl.argmin(cost, 0)
    return _sum(chunk, best), tl.min(cost, 0)


# The engine packs a step's integers, so counts and alignments vary: one compilation serves all.
@triton.jit(
    do_not_specialize=["num_requests"],
    do_not_specialize_on_alignment=["rows_ptr", "lengths_ptr", "q_starts_ptr"],
)
def _plan_kernel(rows_ptr, lengths_ptr, q_starts_ptr, items_ptr, merges_ptr, counts_ptr,
                 num_requests, programs, max_partials,
                 NUM_KV_HEADS: tl.constexpr, TILE_TOKENS: tl.constexpr, BLOCK_N: tl.constexpr,
                 ITEM_OVERHEAD: tl.constexpr, MERGE_COST: tl.constexpr, ONE_TOKEN: tl.constexpr,
                 REQUESTS: tl.constexpr, CANDIDATES: tl.constexpr, WIDTH: tl.constexpr):  # fmt: skip
    """Program b writes the items of request b; each derives the same chunk length and offsets."""
    b = tl.program_id(0)
    r = tl.arange(0, REQUESTS)
    _, tokens, prefix = _lengths(lengths_ptr, q_starts_ptr, r, r < num_requests, ONE_TOKEN)
    tiles = tl.cdiv(tokens, TILE_TOKENS)
    iterations = tl.where(tokens > 0, tl.cdiv(prefix + tokens, BLOCK_N), 0)
    work = tiles * ((prefix + tokens * 0.5) / BLOCK_N + 0.5)
    order = iterations.to(tl.int64) * REQUESTS + (REQUESTS - 1 - r)
    whole_from = _whole_from(tiles, order, programs, NUM_KV_HEADS)
    chunk, cost = _chunk_length(tiles, iterations, work, order >= whole_from, programs, max_partials,
                                NUM_KV_HEADS, ITEM_OVERHEAD, MERGE_COST, CANDIDATES)  # fmt: skip
    chunk_of_all, cost_of_all = _chunk_length(
        tiles, iterations, work, order < 0, programs, max_partials,
        NUM_KV_HEADS, ITEM_OVERHEAD, MERGE_COST, CANDIDATES,
    )  # fmt: skip
    chunk = tl.where(cost < cost_of_all, chunk, chunk_of_all)
    whole_from = tl.where(cost < cost_of_all, whole_from, _BEYOND_ORDER)
    splits = tl.where(order >= whole_from, tl.minimum(iterations, 1), tl.cdiv(iterations, chunk))
    split_tiles = tl.where(splits > 1, tiles, 0)

    start, my_tokens, my_prefix = _lengths(lengths_ptr, q_starts_ptr, b, True, ONE_TOKEN)
    my_tiles = tl.cdiv(my_tokens, TILE_TOKENS)
    my_splits = _sum(splits, r == b)
    place = tl.cdiv(iterations, tl.maximum(splits, 1)) * REQUESTS + (REQUESTS - 1 - r)
    earlier = place > _sum(place, r == b)
    first_item = tl.sum(tl.where(earlier, tiles * splits, 0), 0)
    first_slot = tl.sum(tl.where(earlier, split_tiles * splits, 0), 0)
    first_merge = tl.sum(tl.where(earlier, split_tiles, 0), 0)
    if b == 0:
        tl.store(counts_ptr, tl.sum(tiles * splits, 0))
        tl.store(counts_ptr + 1, tl.sum(split_tiles, 0))

    row = tl.load(rows_ptr + b)
    for base in tl.range(0, my_tiles * my_splits, WIDTH):
        entry = base + tl.arange(0, WIDTH)
        mask = entry < my_tiles * my_splits
        tile = my_tiles - 1 - entry % my_tiles
        token = tile * TILE_TOKENS
        tile_tokens = tl.minimum(my_tokens - token, TILE_TOKENS)
        end = my_prefix + token + tile_tokens
        length = tl.cdiv(tl.cdiv(end, BLOCK_N), my_splits) * BLOCK_N
        lo = tl.minimum(entry // my_tiles * length, end)
        item_ptr = items_ptr + (first_item + entry) * ITEM_FIELDS
        tl.store(item_ptr, start + token, mask=mask)
        tl.store(item_ptr + 1, tile_tokens, mask=mask)
        tl.store(item_ptr + 2, my_prefix + token, mask=mask)
        tl.store(item_ptr + 3, lo, mask=mask)
        tl.store(item_ptr + 4, tl.minimum(lo + length, end), mask=mask)
        tl.store(item_ptr + 5, row + entry * 0, mask=mask)
        tl.store(item_ptr + 6, tl.where(my_splits > 1, first_slot + entry, -1), mask=mask)
        first_chunk = entry < tl.where(my_splits > 1, my_tiles, 0)
        merge_ptr = merges_ptr + (first_merge + entry) * MERGE_FIELDS
        tl.store(merge_ptr, start + token, mask=first_chunk)
        tl.store(merge_ptr + 1, tile_tokens, mask=first_chunk)
        tl.store(merge_ptr + 2, my_splits + entry * 0, mask=first_chunk)
        tl.store(merge_ptr + 3, first_slot + entry, mask=first_chunk)
        tl.store(merge_ptr + 4, my_tiles + entry * 0, mask=first_chunk)
