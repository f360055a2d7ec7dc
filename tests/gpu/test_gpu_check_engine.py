"""The test that runs before the engine is timed: it passes, and it looks."""

from __future__ import annotations

import pytest
import torch

from pcache.errors import DeviceError
from pcache.gpu import check_engine

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Rows of padding compute on whatever was in memory, which numpy, as the interpreter, remarks on.
    pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning"),
]


def test_the_engine_is_right() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_engine.check_engine(device)


def test_a_wrong_prefix_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    whole = check_engine._step

    def over_a_stranger(runner, tokens, table, parts):  # type: ignore[no-untyped-def]
        swapped = table.copy()
        swapped[1, 3] = table[0, -1]
        return whole(runner, tokens, swapped if parts[0][2] == 1 else table, parts)

    monkeypatch.setattr(check_engine, "_step", over_a_stranger)
    with pytest.raises(DeviceError, match="logits differ"):
        check_engine.check_engine(device)
