"""The house's rules on imports: what knows what, and what runs without torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pcache"

FORBIDDEN = {
    "types.py": {"trace", "cache", "scheduler", "sim", "gpu", "report", "cli"},
    "trace": {"cache", "scheduler", "sim", "gpu", "report", "cli"},
    "cache": {"scheduler", "sim", "gpu", "report", "cli"},
    "scheduler": {"sim", "gpu", "report", "cli"},
    "sim": {"gpu", "report", "cli"},
    "gpu": {"sim", "report", "cli"},
    "sweeps": {"gpu", "report", "cli"},
    "report": {"scheduler", "sim", "gpu", "sweeps", "cli"},
}
"""Part → parts it must not import, wherever in a file the import stands."""


def imported(path: Path) -> set[str]:
    """Full names of everything that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def files(part: str) -> list[Path]:
    place = PACKAGE / part
    return [place] if place.suffix else sorted(place.rglob("*.py"))


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_point_one_way(part: str) -> None:
    assert files(part)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(part)
        for name in sorted(imported(path))
        if name.startswith("pcache.") and name.split(".")[1] in FORBIDDEN[part]
    ]
    assert not wrong


def test_nothing_outside_gpu_names_torch() -> None:
    outside = [
        path for path in PACKAGE.rglob("*.py") if "gpu" not in path.relative_to(PACKAGE).parts
    ]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in outside
        for name in imported(path)
        if name.split(".")[0] in ("torch", "triton")
    ]
    assert not wrong


WITHOUT_TORCH = """
import importlib, pkgutil, sys
from pathlib import Path

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "triton"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocker())
import pcache
for module in pkgutil.walk_packages(pcache.__path__, "pcache.", onerror=lambda name: None):
    if not module.name.startswith("pcache.gpu") and module.name != "pcache.__main__":
        importlib.import_module(module.name)

from pcache.cache.contract import CacheConfig
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import gpu_shape, model_shape
from pcache.sim.roofline import roofline
from pcache.sim.simulate import simulate_policy
from pcache.trace import read_trace, slice_trace

trace = slice_trace(read_trace(Path(sys.argv[1])), limit=20)
cost = roofline(model_shape("llama-3.1-8b"), gpu_shape("h100"))
run = simulate_policy(trace, CacheConfig("radix", 16), SchedulerConfig(), cost, keep_events=True)
assert run.summary["requests_finished"] == 20
assert not {"torch", "triton"} & set(sys.modules)
print("ran without torch")
"""


def test_everything_but_gpu_runs_without_torch() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(ROOT / "traces" / "same-prompt.jsonl.xz")],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("ran without torch", 0), done.stderr
