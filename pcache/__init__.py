"""pcache: a lab for LLM prefix caching. The command line's verbs as a Python API.

`replay`, `simulate` and `run` give frames of results, `sweep` a grid of simulations, `curve` hit rates
against capacity, `write_report` a page of run directories; `pcache.trace` reads, cuts, generates and
counts traces. `EvictionPolicy` is what policies of your own inherit from. Names are loaded on first
use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcache.cache.eviction.contract import EvictionPolicy, RequestFacts, Setting, Unit

__version__ = "0.1.0"

__all__ = [
    "EvictionPolicy", "RequestFacts", "Setting", "Unit", "__version__", "curve", "read_trace",
    "replay", "run", "simulate", "sweep", "write_report",
]  # fmt: skip

_HOMES = {
    "EvictionPolicy": "pcache.cache.eviction.contract",
    "RequestFacts": "pcache.cache.eviction.contract",
    "Setting": "pcache.cache.eviction.contract",
    "Unit": "pcache.cache.eviction.contract",
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
