"""Every error pcache raises on purpose.

PcacheError
├── TraceError            a trace file that cannot be read as what it claims to be
├── ConfigError           an option or a combination of options that cannot work
├── RunDirectoryError     a run directory that is missing, damaged or of another version
└── DeviceError           the GPU, or what the GPU part needs, is missing or gave up

The message is one line for the user: where, which value, what was expected, what to do. The command
line prints it and exits with 2; nothing else of the program's state is shown.
"""

from __future__ import annotations

__all__ = ["ConfigError", "DeviceError", "PcacheError", "RunDirectoryError", "TraceError"]


class PcacheError(Exception):
    """Base of all errors meant for the user."""


class TraceError(PcacheError):
    """A trace line that cannot be used. `TraceError("t.jsonl", 3, "…")` reads `t.jsonl:3: …`."""

    def __init__(self, source: str, line: int | None, problem: str) -> None:
        where = source if line is None else f"{source}:{line}"
        super().__init__(f"{where}: {problem}")
        self.source, self.line, self.problem = source, line, problem


class ConfigError(PcacheError):
    """An option whose value, or combination with others, cannot work."""


class RunDirectoryError(PcacheError):
    """A run directory that cannot be read or written."""


class DeviceError(PcacheError):
    """No usable GPU, a missing optional package, or a GPU that failed mid-run."""
