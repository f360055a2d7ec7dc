"""Time the kernels against their floors and their peers.

A kernel's folder offers itself by a `bench.py` with a `BENCHMARK`. Its check runs first: a kernel
that is wrong is not timed. Each measured row carries the least time that the GPU's data sheet allows
(`floor_us`, the larger of FLOPs over peak rate and bytes over peak bandwidth) and its share of the
measured median; rows are appended to a CSV file, so that it keeps the history.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

import pcache.gpu.kernels
from pcache.errors import ConfigError
from pcache.gpu.device import current_gpu, open_gpu
from pcache.gpu.kernels.timing import Work, time_work
from pcache.gpu.measurements import append_results
from pcache.gpu.provenance import measured_with

__all__ = ["BenchCase", "KernelBenchmark", "kernel_benchmarks", "run_kernel_benchmarks"]


@dataclass(frozen=True, slots=True)
class BenchCase:
    """One problem size. FLOPs and bytes are those of one pass that wastes nothing."""

    label: str
    flops: float
    bytes: float
    providers: Mapping[str, Callable[[], Work]]
    """By name; ours is called `pcache`. Called when its turn comes, so inputs live one at a time."""


@dataclass(frozen=True, slots=True)
class KernelBenchmark:
    """What a kernel's `bench.py` offers."""

    check: Callable[[torch.device], None]
    """Compare with the reference. Raises DeviceError where a result is out of tolerance."""
    cases: Callable[[torch.device], Iterable[BenchCase]]


def kernel_benchmarks() -> dict[str, KernelBenchmark]:
    """Every kernel that has a benchmark, by the name of its folder."""
    found = {}
    for module in pkgutil.iter_modules(pcache.gpu.kernels.__path__):
        name = f"{pcache.gpu.kernels.__name__}.{module.name}.bench"
        if module.ispkg and importlib.util.find_spec(name):
            found[module.name] = importlib.import_module(name).BENCHMARK
    return found


def run_kernel_benchmarks(
    names: Sequence[str],
    *,
    csv_path: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Check and time the named kernels (all, if none is named) on the current GPU.

    Returns a row per case and provider: kernel, case, provider, p20_us, p50_us, p80_us, tflops,
    gb_per_s, floor_us, floor_share and what it was measured with; appends them to `csv_path`. A peer
    that cannot run a case gets a row without times. Raises ConfigError for an unknown name,
    DeviceError without a GPU or for a wrong result.
    """
    known = kernel_benchmarks()
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown kernel {name!r}; known: {', '.join(known)}")
    device = open_gpu()
    rows = []
    for name in names or known:
        progress(f"{name}: checking against its reference")
        known[name].check(device)
        for case in known[name].cases(device):
            for provider, prepare in case.providers.items():
                progress(f"{name}: {case.label}, {provider}")
                rows.append({"kernel": name, **_measure(case, provider, prepare)})
                torch.cuda.empty_cache()
    table = pd.DataFrame(rows).assign(**measured_with())
    if csv_path is not None:
        append_results(table, csv_path)
    return table


def _measure(case: BenchCase, provider: str, prepare: Callable[[], Work]) -> dict[str, object]:
    try:
        p20, p50, p80 = time_work(prepare())
    except RuntimeError:
        if provider.startswith("pcache"):
            raise
        p20 = p50 = p80 = float("nan")  # a peer without a kernel for this case
    floor = _floor_us(case)
    return {
        "case": case.label,
        "provider": provider,
        "p20_us": round(p20, 2),
        "p50_us": round(p50, 2),
        "p80_us": round(p80, 2),
        "tflops": round(case.flops / p50 / 1e6, 1),
        "gb_per_s": round(case.bytes / p50 / 1e3, 1),
        "floor_us": round(floor, 2),
        "floor_share": round(floor / p50, 3),
    }


def _floor_us(case: BenchCase) -> float:
    """The least time by the GPU's data sheet; NaN for a GPU that is not in our table."""
    gpu = current_gpu()
    if gpu is None:
        return float("nan")
    return max(case.flops / gpu.flops, case.bytes / gpu.memory_bandwidth_bytes) * 1e6
