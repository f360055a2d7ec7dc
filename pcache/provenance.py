"""Where a result came from: versions, commit and machine, for `config.json`."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from pcache import __version__
from pcache.types import Trace

__all__ = ["describe_trace", "provenance", "source_commit"]


def provenance() -> dict[str, Any]:
    """Versions of what computes, the commit of a source checkout (else None), and the machine."""
    versions = {"pcache": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba", "pandas"):
        versions[name] = metadata.version(name)
    return {
        "versions": versions,
        "commit": source_commit(),
        "hardware": {"machine": platform.machine(), "system": platform.system()},
    }


def describe_trace(trace: Trace, path: str) -> dict[str, Any]:
    """Name, file, content hash and size of the trace that was used."""
    return {
        "name": trace.name,
        "path": path,
        "format": trace.source_format,
        "sha256": trace.sha256,
        "requests": len(trace),
        "span_ns": int(trace.arrival_ns[-1] - trace.arrival_ns[0]) if len(trace) else 0,
        "tokenizer": trace.tokenizer,
    }


def source_commit() -> str | None:
    """The commit of the source checkout, None where the package lies in none. The environment variable
    PCACHE_COMMIT names it for copies of a checkout."""
    if named := os.environ.get("PCACHE_COMMIT"):
        return named
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
