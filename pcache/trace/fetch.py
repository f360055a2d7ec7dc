"""Downloading public traces once, into the user's cache, checked by hash."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pcache.errors import ConfigError, TraceError
from pcache.trace.catalogue import CATALOGUE, PublicTrace

__all__ = ["fetch_trace"]


def fetch_trace(
    name: str,
    *,
    out: Path | None = None,
    advance: Callable[[float, float], None] | None = None,
) -> Path:
    """Path of a public trace on this machine, downloaded unless it is in the cache already.

    The cache is PCACHE_CACHE or the user's cache directory; with `out` the file is copied there too
    and that path returned. `advance(done, total)` hears of the download's bytes. Raises ConfigError
    for an unknown name and TraceError if the file cannot be had or is not the pinned one.
    """
    if name not in CATALOGUE:
        raise ConfigError(f"no public trace is called '{name}'; expected {', '.join(CATALOGUE)}")
    trace = CATALOGUE[name]
    path = _retrieve(trace, advance or _ignore)
    return path if out is None else _copy(trace, path, out)


def _retrieve(trace: PublicTrace, advance: Callable[[float, float], None]) -> Path:
    try:
        pooch = importlib.import_module("pooch")
    except ImportError as error:
        raise ConfigError(
            "fetching traces needs the Python package pooch: pip install pooch"
        ) from error
    pooch.get_logger().setLevel("ERROR")
    directory = Path(os.environ.get("PCACHE_CACHE") or pooch.os_cache("pcache"))
    file_name = trace.url.rsplit("/", 1)[1]
    try:
        found = pooch.retrieve(
            trace.url,
            f"sha256:{trace.sha256}",
            fname=f"{trace.name}-{file_name}",
            path=directory,
            downloader=pooch.HTTPDownloader(progressbar=_Bar(advance), timeout=60),
        )
    except ValueError as error:  # pooch's word for a wrong hash
        raise TraceError(
            trace.url, None, "is no longer the file that was pinned (its sha256 differs)"
        ) from error
    except OSError as error:  # network errors of the client library are OSErrors too
        raise TraceError(
            trace.url,
            None,
            f"cannot be downloaded ({type(error).__name__}); check the network, or download it "
            f"elsewhere and give its path (sha256 {trace.sha256})",
        ) from error
    return Path(found)


def _copy(trace: PublicTrace, path: Path, out: Path) -> Path:
    target = out / path.name.removeprefix(f"{trace.name}-") if out.is_dir() else out
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(path, partial)
        partial.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TraceError(
            str(target), None, f"cannot be written ({reason}); choose another --out"
        ) from error
    return target


def _ignore(_done: float, _total: float) -> None:
    pass


class _Bar:
    """What pooch wants of a progress bar: `total` set, then `update` by bytes, `reset`, `close`."""

    def __init__(self, advance: Callable[[float, float], None]) -> None:
        self.total: float = 0
        self._advance, self._done = advance, 0.0

    def update(self, num_bytes: float) -> None:
        self._done += num_bytes
        self._advance(self._done, self.total)

    def reset(self) -> None:
        self._done = 0.0

    def close(self) -> None:
        pass
