"""How much memory is reserved for steps, and that a GPU's allocator then has it in one piece."""

from __future__ import annotations

import pytest
import torch

from pcache.gpu.reserved_memory import needed_bytes, reserve_in_one_piece, reserved_bytes


@pytest.mark.parametrize(
    ("needed", "free", "reserved"), [(100, 1000, 125), (100, 220, 110), (100, 120, 100)]
)
def test_spare_memory_leaves_half_of_what_is_free(needed: int, free: int, reserved: int) -> None:
    assert reserved_bytes(needed, free) == reserved


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_other_sizes_need_no_more_memory_from_the_driver() -> None:
    device, size = torch.device("cuda"), 64 << 20
    torch.cuda.reset_peak_memory_stats(device)
    parts = [torch.empty(size // 4, dtype=torch.uint8, device=device) for _ in range(4)]
    del parts
    reserve_in_one_piece(device, needed_bytes(device))
    before = torch.cuda.memory_reserved(device)
    whole = torch.empty(size, dtype=torch.uint8, device=device)
    assert torch.cuda.memory_reserved(device) == before
    del whole
