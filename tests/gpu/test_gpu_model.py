"""The runner's logits equal transformers', for every family, however a prompt was computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu_engine import FP32_TOLERANCE, build
from gpu_models import FAMILIES, expected_logits, save, sequence


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=FP32_TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_to_compute_a_prompt_gives_the_logits_of_transformers(
    family: str, tmp_path: Path
) -> None:
    model = save(family, tmp_path)
    driver = build(tmp_path)
    prompt = sequence(1, 100)
    expected = expected_logits(model, prompt)

    whole = driver.request(prompt)
    close(driver.logits([(whole, 100)])[0], expected)

    chunked = driver.request(prompt)
    for count in (37, 1, 40):
        assert driver.logits([(chunked, count)]).shape[0] == 0
    close(driver.logits([(chunked, 22)])[0], expected)

    cached = driver.request(prompt, share=whole, cached=96)
    close(driver.logits([(cached, 4)])[0], expected)

    one_by_one = driver.request(prompt[:60])
    close(driver.logits([(one_by_one, 60)])[0], expected_logits(model, prompt[:60]))
    for length in range(61, 71):
        one_by_one.tokens.append(prompt[length - 1])
        close(driver.logits([(one_by_one, 1)])[0], expected_logits(model, prompt[:length]))


@pytest.mark.parametrize("block_size", [1, 2, 16, 512])
def test_ragged_mixed_steps_at_every_block_size(block_size: int, tmp_path: Path) -> None:
    model = save("qwen3", tmp_path)
    driver = build(tmp_path, block_size=block_size, num_blocks=max(8, 1024 // block_size))
    prompts = [sequence(seed, length) for seed, length in enumerate((5, 33, 1, 64, 17))]
    requests = [driver.request(prompt) for prompt in prompts]
    a, b, c, d, e = requests
    driver.logits([(a, 4), (b, 20)])
    mixed = [(a, 1), (d, 64), (c, 1), (b, 13), (e, 17)]  # decodes between extends
    logits = driver.logits(mixed)
    for (request, _), row in zip(mixed, logits, strict=True):
        close(row, expected_logits(model, request.tokens))


def test_only_requests_that_sample_have_logits_and_tokens(tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    driver = build(tmp_path)
    done, half, single = (driver.request(sequence(seed, 20)) for seed in range(3))
    single.tokens = single.tokens[:1]
    outputs = driver.launch([(half, 10), (single, 1), (done, 20)]).wait()
    assert outputs.logits is not None
    assert outputs.logits.shape[0] == 2
    assert outputs.tokens[0] == -1
    assert outputs.tokens[1] == expected_logits(model, single.tokens).argmax()
    assert outputs.tokens[2] == expected_logits(model, done.tokens).argmax()


def test_a_request_reads_what_another_computes_in_the_same_step(tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    driver = build(tmp_path)
    prompt = sequence(3, 40)
    writer = driver.request(prompt)
    step = driver.inputs([(writer, 40)])  # gives the writer its blocks
    reader = driver.request(prompt, share=writer, cached=32)
    both = driver.inputs([(reader, 8)])
    joined = type(step)(*(
        np.concatenate((getattr(step, field), getattr(both, field)))
        for field in step.__dataclass_fields__
    ))  # fmt: skip
    logits = driver.runner.launch(joined, keep_logits=True).wait().logits
    assert logits is not None
    for row in logits:
        close(row, expected_logits(model, prompt))


def test_a_sampled_token_is_fed_back_without_passing_the_host(tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    driver = build(tmp_path)
    prompt = sequence(4, 12)
    request = driver.request(prompt)
    pending = [driver.launch([(request, 12)])]
    for _ in range(2):
        request.tokens.append(-1)
        pending.append(driver.launch([(request, 1)]))
    for step in pending:
        prompt.append(int(expected_logits(model, prompt).argmax()))
        assert step.wait().tokens.tolist() == prompt[-1:]


def test_a_read_of_a_freed_block_shows_as_nan(tmp_path: Path) -> None:
    save("llama", tmp_path)
    driver = build(tmp_path)
    prompt = sequence(5, 40)
    owner = driver.request(prompt)
    driver.logits([(owner, 40)])
    driver.free(owner, first=1)
    late = driver.request(prompt, share=owner, cached=32)
    assert np.isnan(driver.logits([(late, 8)])).all()


def test_a_cached_block_of_another_request_changes_the_logits(tmp_path: Path) -> None:
    model = save("llama", tmp_path)
    driver = build(tmp_path)
    prompt = sequence(6, 40)
    owner, other = driver.request(prompt), driver.request(sequence(7, 40))
    driver.logits([(owner, 40), (other, 40)])
    owner.blocks[1] = other.blocks[1]
    late = driver.request(prompt, share=owner, cached=32)
    difference = np.abs(driver.logits([(late, 8)])[0] - expected_logits(model, prompt)).max()
    assert difference > 100 * FP32_TOLERANCE
