"""The recommendation is the least memory that meets the targets on every trace."""

from __future__ import annotations

import pandas as pd
import pytest

from pcache.errors import ConfigError
from pcache.report.figures.sweep_front import front
from pcache.sweeps import recommend


def cells(*rows: tuple[str, str, int, float, float]) -> pd.DataFrame:
    """Rows of trace, index, GiB, share within the targets, TTFT p99."""
    return pd.DataFrame(
        [
            {
                "trace": trace, "trace_sha256": trace, "index": index, "block_size": 16,
                "eviction": "lru", "order": "fcfs", "kv_tokens": 1000 * size,
                "kv_bytes": size << 30, "within_slo": within, "ttft_p99_ms": p99, "hit_rate": 0.5,
                "slo_ttft_ms": 50.0, "slo_tpot_ms": None, "error": None,
                "goodput_requests_per_s": within,
            }
            for trace, index, size, within, p99 in rows
        ]
    )  # fmt: skip


def test_the_smallest_that_meets_them_everywhere() -> None:
    found = recommend(
        cells(
            ("a", "radix", 1, 1.0, 10), ("b", "radix", 1, 0.9, 60),  # misses on b
            ("a", "hash", 2, 1.0, 30), ("b", "hash", 2, 0.99, 40),
            ("a", "radix", 2, 1.0, 20), ("b", "radix", 2, 1.0, 35),
            ("a", "hash", 4, 1.0, 5), ("b", "hash", 4, 1.0, 5),
        ),
        0.99,
    )  # fmt: skip
    assert found.best is not None
    assert found.runner_up is not None
    assert (found.best["index"], found.best["kv_bytes"] >> 30) == ("radix", 2)
    assert (found.runner_up["index"], found.runner_up["kv_bytes"] >> 30) == ("hash", 2)
    assert found.configurations["within_slo"].tolist()[0] == 0.9


def test_a_configuration_that_failed_on_one_trace_does_not_meet_them() -> None:
    table = cells(("a", "radix", 1, 1.0, 10), ("b", "radix", 1, 1.0, 10))
    table["error"] = [None, "too small"]
    assert recommend(table, 0.99).best is None


def test_without_targets_there_is_nothing_to_recommend() -> None:
    with pytest.raises(ConfigError, match="--slo-ttft"):
        recommend(cells(("a", "radix", 1, 1.0, 10)).assign(slo_ttft_ms=None), 0.99)


def test_the_front_has_what_none_beats() -> None:
    table = cells(
        ("a", "radix", 1, 0.5, 0), ("a", "hash", 1, 0.4, 0), ("a", "radix", 2, 0.5, 0),
        ("a", "hash", 4, 0.9, 0), ("a", "radix", 8, 0.8, 0),
    )  # fmt: skip
    assert front(table)[["index", "kv_tokens"]].values.tolist() == [["radix", 1000], ["hash", 4000]]
