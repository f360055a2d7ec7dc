"""The largest logit, found in parts, against torch's own."""

from __future__ import annotations

import pytest
import torch

from pcache.gpu.sampling import argmax

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 32, 33])
@pytest.mark.parametrize("vocab", [1024, 1000, 128_256])
def test_the_first_of_the_largest(rows: int, vocab: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)
    logits = torch.randn(rows, vocab, generator=generator).to(DEVICE, dtype)
    found = argmax(logits)
    assert found.dtype == torch.int64
    equals = logits == logits.max(dim=-1, keepdim=True).values
    assert found.tolist() == [int(row.nonzero()[0]) for row in equals]


def test_equal_logits_in_several_parts() -> None:
    logits = torch.zeros(2, 1024, device=DEVICE)
    logits[0, [700, 5, 4, 900]] = 1.0
    assert argmax(logits).tolist() == [4, 0]
