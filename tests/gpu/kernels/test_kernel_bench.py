"""The benchmark runner: what it finds, refuses and writes. Timing itself needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from attention_runs import DEVICE, ON_GPU

from pcache.errors import ConfigError, DeviceError
from pcache.gpu.kernels import bench
from pcache.gpu.kernels.attention.bench_inputs import require_close
from pcache.gpu.kernels.timing import Work


def test_attention_benchmarks_are_found() -> None:
    assert {"extend_attention", "decode_attention"} <= bench.kernel_benchmarks().keys()


@pytest.mark.parametrize("name", ["extend_attention", "decode_attention"])
def test_cases_have_labels_of_their_own_and_put_us_first(name: str) -> None:
    cases = list(bench.kernel_benchmarks()[name].cases(DEVICE))
    assert len({case.label for case in cases}) == len(cases)
    assert all(next(iter(case.providers)) == "pcache" for case in cases)
    assert any(len(case.providers) > 1 for case in cases)


def test_flops_and_bytes_are_those_of_the_problem() -> None:
    cases = {c.label: c for c in bench.kernel_benchmarks()["extend_attention"].cases(DEVICE)}
    case = cases["S=16 P=8176 block=1"]
    visible = sum(8176 + t + 1 for t in range(16))  # keys over all 16 tokens
    assert case.flops == 2 * 2 * 32 * 128 * visible
    assert case.bytes == 2 * 2 * (8 * 128 * 8192 + 32 * 128 * 16)


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown kernel 'warp_drive'; known: "):
        bench.run_kernel_benchmarks(["warp_drive"])


@pytest.mark.skipif(ON_GPU, reason="there is a GPU to time")
def test_nothing_is_timed_without_a_gpu() -> None:
    with pytest.raises(DeviceError, match="CUDA"):
        bench.run_kernel_benchmarks([])


def test_a_wrong_result_stops_the_benchmark() -> None:
    out = torch.ones(2, 4, device=DEVICE)
    require_close("right", out, lambda reference: reference.fill_(1.0))
    with pytest.raises(DeviceError, match=r"wrong: error 0\.5"):
        require_close("wrong", out, lambda reference: reference.fill_(2.0))
    with pytest.raises(DeviceError, match="unwritten"):
        require_close("unwritten", out * float("nan"), lambda reference: reference.fill_(1.0))


@pytest.mark.gpu
def test_rows_are_measured_and_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(1 << 20, device=DEVICE)

    def unavailable() -> Work:
        raise RuntimeError("no kernel")

    case = bench.BenchCase("add", 1e6, 8e6, {"pcache": lambda: Work(lambda: x.add_(1), 1),
                                             "peer": unavailable})  # fmt: skip
    fake = bench.KernelBenchmark(check=lambda _: None, cases=lambda _: [case])
    monkeypatch.setattr(bench, "kernel_benchmarks", lambda: {"fake": fake})
    path = tmp_path / "data" / "kernels.csv"
    for _ in range(2):
        table = bench.run_kernel_benchmarks(["fake"], csv_path=path)
    assert table["p20_us"][0] <= table["p50_us"][0] <= table["p80_us"][0]
    assert table["p50_us"].isna().tolist() == [False, True]
    assert len(pd.read_csv(path)) == 4
