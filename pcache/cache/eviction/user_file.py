"""Eviction policies in Python, from a file outside the package: `path/to/file.py:Class`."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from pcache.cache.eviction.contract import EvictionPolicy, RequestFacts, Setting, Unit
from pcache.cache.eviction.registry import Hearing
from pcache.cache.eviction.seam import EVENTS, EXPIRED, INSERTED, MOMENT, VICTIM
from pcache.errors import ConfigError
from pcache.types import Records

__all__ = ["PythonPolicy", "describe_policy", "load_policy"]

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, *(ctypes.c_int64,) * 8)


def load_policy(reference: str) -> type[EvictionPolicy]:
    """The class that `path/to/file.py:Class` names. Raises ConfigError if there is none.

    The file is run anew each time. Its module is known to Python as that of no other file, because
    dataclasses look their module up by name.
    """
    path, _, name = reference.rpartition(":")
    place = hashlib.sha256(str(Path(path).absolute()).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(f"pcache_policy_{place}", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise _no_file(reference, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"--evict {reference}: {_where(error, path)}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, EvictionPolicy)):
        raise ConfigError(
            f"--evict {reference}: {path} has no class {name} that inherits from "
            "pcache.EvictionPolicy"
        )
    return found


def describe_policy(eviction: str) -> dict[str, str]:
    """The hash of the file that a policy comes from, for `config.json`; nothing for pcache's own.

    Raises ConfigError where there is no such file.
    """
    if ".py:" not in eviction:
        return {}
    path = eviction.rpartition(":")[0]
    if not Path(path).is_file():
        raise _no_file(eviction, path)
    return {"eviction_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}


def _no_file(reference: str, path: str) -> ConfigError:
    return ConfigError(f"--evict {reference}: no file {path}; `pcache policy new` writes one")


def _where(error: BaseException, path: str) -> str:
    """Error and the line of the user's file that it came from."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == Path(path)
    ]  # fmt: skip
    place = f" at line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{place}: {error}"


class PythonPolicy:
    """Calls a policy's methods for the events that it overrides.

    What a method raises cannot pass through the compiled cache: it is kept as `failure`, nothing is
    told from then on, and the cache stops at the next victim it needs.
    """

    def __init__(self, reference: str, setting: Setting, requests: Records) -> None:
        kind = load_policy(reference)
        self.failure: BaseException | None = None
        self.name = reference
        self._path = reference.rpartition(":")[0]
        self._requests = requests
        try:
            self._policy = kind(setting)
        except Exception as error:
            raise ConfigError(f"--evict {reference}: {_where(error, self._path)}") from error
        heard = [
            number for number, name in enumerate(EVENTS)
            if number in (MOMENT, VICTIM)
            or getattr(kind, name) is not getattr(EvictionPolicy, name)
        ]  # fmt: skip
        self._methods = {n: getattr(self._policy, EVENTS[n]) for n in heard if n != MOMENT}
        self._function = _FUNCTION(self._call)
        address = ctypes.cast(self._function, ctypes.c_void_p).value or 0
        self.hearing = Hearing(address, 0, sum(1 << number for number in heard))

    def _call(self, event: int, unit: int, a: int, b: int, c: int, d: int, e: int, _: int) -> int:
        if self.failure is not None:
            return 0
        try:
            return self._tell(event, unit, a, b, c, d, e)
        except BaseException as error:  # Ctrl-C too: it is raised where the cache was called
            user_error = isinstance(error, Exception)
            told = ConfigError(f"--evict {self.name}: {_where(error, self._path)}")
            self.failure = told if user_error else error
            return 0

    def _tell(self, event: int, unit: int, a: int, b: int, c: int, d: int, e: int) -> int:
        if event == MOMENT:
            self._policy.now_ns = a
            self._policy.request = RequestFacts(unit, *self._requests[unit].tolist()[:6])
            return 0
        method = self._methods[event]
        name = EVENTS[event]
        if event in (VICTIM, EXPIRED):
            answer = method()
            return int(answer)
        arguments: tuple[Any, ...] = ()
        if event == INSERTED:
            arguments = (Unit(a, b, c, d, bool(e)),)
        elif name == "split":
            arguments = (a, b, c)
        elif name == "evicted":
            arguments = (bool(a),)
        method(unit, *arguments)
        return 0
