"""The runner with the project's kernels, with CUDA graphs, in other dtypes, and with bad input.

On a CPU the kernels run under Triton's interpreter on a few tokens; on a GPU in full.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_engine import FP32_TOLERANCE, build
from gpu_models import FAMILIES, expected_logits, save, sequence

from pcache.errors import ConfigError
from pcache.gpu.layouts import GraphBuckets
from pcache.gpu.runner import Runner, RunnerConfig
from pcache.gpu.sampling import SamplingConfig

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
needs_gpu = pytest.mark.skipif(not ON_GPU, reason="needs a GPU")


# Rows of padding hold what memory held; the interpreter's numpy comments on them.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")
@pytest.mark.parametrize("block_size", [1, 16, 64, 512] if ON_GPU else [4])
@pytest.mark.parametrize("family", ["qwen3"] + ON_GPU * [f for f in FAMILIES if f != "qwen3"])
def test_triton_kernels_give_the_logits_of_transformers(
    family: str, block_size: int, tmp_path: Path
) -> None:
    model = save(family, tmp_path)
    scale = 8 if ON_GPU else 1
    driver = build(
        tmp_path,
        device=DEVICE,
        backend="triton",
        block_size=block_size,
        num_blocks=2048 // block_size,
        max_rows=8,
        max_step_tokens=256 if ON_GPU else 32,
        prepare=ON_GPU,
    )
    long, short = driver.request(sequence(1, 20 * scale)), driver.request(sequence(2, 3 * scale))
    driver.logits([(long, 20 * scale)])
    shared = 16 * scale // block_size * block_size
    cached = driver.request(long.tokens, share=long, cached=shared)
    long.tokens.append(5)
    mixed = [(short, 3 * scale), (long, 1), (cached, 20 * scale - shared)]
    check(model, mixed, driver.logits(mixed))


def check(model, parts, logits: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    for (request, _), row in zip(parts, logits, strict=True):
        expected = expected_logits(model, request.tokens)
        np.testing.assert_allclose(row, expected, rtol=0, atol=FP32_TOLERANCE)


@pytest.mark.gpu
@needs_gpu
def test_graphs_give_the_logits_of_eager_steps(tmp_path: Path) -> None:
    model = save("qwen2", tmp_path)
    buckets = GraphBuckets((1, 4, 8), (16, 64), (4, 8), max_extends=3)
    driver = build(tmp_path, device=DEVICE, backend="triton", graphs=buckets, num_blocks=256)
    requests = [driver.request(sequence(seed, 20 + 9 * seed)) for seed in range(6)]
    for parts in (
        [(requests[0], 20)],
        [(requests[1], 29), (requests[2], 38)],
        [(requests[3], 40)],
        [(requests[3], 7), (requests[4], 50), (requests[5], 60)],  # too long: eager
    ):
        logits = driver.logits(parts)
        done = [part for part in parts if part[0].num_cached == len(part[0].tokens)]
        check(model, done, logits)
    for _ in range(3):
        for request in requests[:4]:
            request.tokens.append(len(request.tokens) % 90)
        first, *others = requests[:4]
        pending = [driver.launch([(first, 1)])]  # two steps in flight
        pending.append(driver.launch([(request, 1) for request in others]))
        check(model, [(first, 1)], pending[0].wait().logits)
        check(model, [(request, 1) for request in others], pending[1].wait().logits)
    late = driver.request(sequence(9, 12))
    requests[0].tokens.append(1)
    mixed = [(requests[0], 1), (late, 12)]
    check(model, mixed, driver.logits(mixed))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    driver = build(tmp_path, device=DEVICE, backend="triton", dtype=dtype)
    prompt = sequence(1, 100)
    logits = driver.logits([(driver.request(prompt), 100)])[0]
    expected = expected_logits(model, prompt)
    error = np.linalg.norm(logits - expected) / np.linalg.norm(expected)
    assert error < (0.06 if dtype == torch.bfloat16 else 0.01)


def test_sampling_is_seeded_and_follows_the_distribution(tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    prompt = sequence(1, 5)

    def draw(seed: int, top_p: float) -> list[int]:
        sampling = SamplingConfig(temperature=3.0, top_p=top_p, seed=seed)
        driver = build(tmp_path, sampling=sampling, max_rows=50, prepare=False)
        requests = [(driver.request(prompt), 5) for _ in range(50)]
        return driver.launch(requests).wait().tokens.tolist()

    assert draw(1, 1.0) == draw(1, 1.0)
    assert draw(1, 1.0) != draw(2, 1.0)
    probabilities = np.exp(expected_logits(model, prompt) / 3.0)
    probabilities /= probabilities.sum()
    likeliest = probabilities.argsort()[::-1]
    nucleus = likeliest[: int((probabilities[likeliest].cumsum() < 0.3).sum()) + 1]
    drawn = draw(1, 0.3)
    assert set(drawn) <= set(nucleus.tolist())
    assert len(set(drawn)) > 1


def test_times_are_ordered(tmp_path: Path) -> None:
    save("llama", tmp_path)
    driver = build(tmp_path, device=DEVICE, backend="triton" if ON_GPU else "reference")
    request = driver.request(sequence(1, 30))
    first = driver.launch([(request, 20)])
    second = driver.launch([(request, 10)])
    instants = [step.wait().on_host_at_ns for step in (first, second)]
    assert instants[0] < instants[1]
    request.tokens.append(1)
    outputs = driver.launch([(request, 1)]).wait()
    assert 0 < outputs.gpu_ns <= outputs.on_host_at_ns - instants[1]


def test_a_step_may_change_more_table_runs_than_fit_beside_it(tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    driver = build(tmp_path, block_size=1, num_blocks=6000, max_context_tokens=2048)
    request = driver.request(sequence(1, 200))
    step = driver.inputs([(request, 200)])
    position = np.arange(2048)
    others = [
        np.stack((0 * position + row, position, position, 0 * position + 1), axis=1)
        for row in (3, 2, 1)
    ]
    runs = np.concatenate((*others, step.table_runs)).astype(np.int32)
    assert len(runs) > 4096
    step = replace(step, table_runs=runs)
    logits = driver.runner.launch(step, keep_logits=True).wait().logits
    assert logits is not None
    check(model, [(request, 200)], logits)


def test_a_context_beyond_the_model_is_refused(tmp_path: Path) -> None:
    save("llama", tmp_path)
    driver = build(tmp_path)
    with pytest.raises(ConfigError, match="513"):
        Runner(driver.runner._model, driver.runner._pool, RunnerConfig(513))
