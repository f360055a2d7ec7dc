"""pcache: a lab for LLM prefix caching. The command line's verbs as a Python API.

`replay`, `simulate` and `run` give frames of results, `sweep` a grid of simulations, `curve` hit rates
against capacity, `write_report` a page of run directories; `pcache.trace` reads, cuts, generates and
counts traces. Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "__version__", "curve", "read_trace", "replay", "run", "simulate", "sweep", "write_report",
]  # fmt: skip

_HOMES = {
    "curve": "pcache.curve_api",
    "read_trace": "pcache.trace",
    "replay": "pcache.api",
    "run": "pcache.gpu.api",
    "simulate": "pcache.api",
    "sweep": "pcache.sweeps.api",
    "write_report": "pcache.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pcache' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
