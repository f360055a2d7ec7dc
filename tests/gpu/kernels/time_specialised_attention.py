"""Check the kernel of `attention/hopper.py`, then time it and Triton's: PYTHONPATH=. python THIS."""

from __future__ import annotations

import statistics
import time

import torch
from attention_runs import DEVICE, expected_extend, run_extend
from test_specialised_attention import SHAPE, make

from pcache.gpu.kernels.attention.bench_inputs import normal, shuffled_cache
from pcache.gpu.kernels.attention.plan import TileShape
from pcache.gpu.kernels.extend_attention.kernel import (
    ExtendPlan,
    extend_attention,
    extend_tile_shape,
)
from pcache.gpu.kernels.tolerance import row_error

SIZES = ((4096, 0), (8192, 0), (16384, 0), (2048, 6144), (4096, 12288))
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128


def plain_shape(tokens: int, block_size: int) -> TileShape:
    return extend_tile_shape(
        max_tokens=tokens,
        max_q_tokens=tokens,
        num_heads=HEADS,
        num_kv_heads=KV_HEADS,
        block_size=block_size,
        dtype=torch.bfloat16,
    )


def milliseconds(tokens: int, prefix: int, block_size: int, shape: TileShape) -> float:
    caches, table = shuffled_cache(1, tokens + prefix, block_size, 4, DEVICE)
    q = normal(tokens, HEADS, HEAD_DIM, device=DEVICE)
    out = torch.empty_like(q)
    plan = ExtendPlan(
        max_requests=1,
        max_tokens=tokens,
        max_q_tokens=tokens,
        num_heads=HEADS,
        num_kv_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        block_size=block_size,
        dtype=torch.bfloat16,
        device=DEVICE,
        tile_shape=shape,
    )
    rows, starts, prefixes = (
        torch.tensor(v, dtype=torch.int32, device=DEVICE) for v in ([0], [0, tokens], [prefix])
    )
    plan.update(rows, starts, prefixes)
    times = []
    for i in range(18):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        k_cache, v_cache = caches[i % 4]
        torch.cuda._sleep(200_000)  # the host is ahead when the kernel starts
        begin.record()
        extend_attention(q, k_cache, v_cache, table, plan, out, HEAD_DIM**-0.5)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[3:])


def main() -> None:
    start = time.perf_counter()
    print(torch.cuda.get_device_name(), torch.__version__)
    for block_size in (16, 64, 256):
        case = make([300, 1, 129], [0, 640, 1003], block_size)
        out, plan = run_extend(case, SHAPE)
        error = row_error(out, expected_extend(case))
        print(f"block {block_size}: specialised {plan.specialised}, row error {error:.2e}")
    print("block  S      P      plain ms  specialised ms  plain TFLOP/s  specialised TFLOP/s")
    for block_size in (16, 64):
        for tokens, prefix in SIZES:
            flops = 4 * HEADS * HEAD_DIM * (tokens * prefix + tokens * (tokens + 1) / 2)
            shapes = plain_shape(tokens, block_size), SHAPE
            plain, ours = (milliseconds(tokens, prefix, block_size, shape) for shape in shapes)
            rates = f"{flops / plain / 1e9:13.0f}  {flops / ours / 1e9:19.0f}"
            print(
                f"{block_size:<5}  {tokens:<5}  {prefix:<5}  {plain:8.3f}  {ours:14.3f}  {rates}",
                flush=True,
            )
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
