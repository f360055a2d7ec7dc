"""Stand-ins for modules that the engines import on their way and never use for a cache decision.

An absent module has any name one asks for. Each is a class that may be inherited, annotated and
tested with `isinstance`, and raises `TouchedAbsent` when it is called or asked for an attribute. So a
test that passes is the proof that nothing absent took part in it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

__all__ = ["TouchedAbsent", "absent", "without_init"]


class TouchedAbsent(Exception):
    """Code under test used a module that is not there. Install it, or leave the finding to read."""


class _Absent(type):
    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise TouchedAbsent(f"{cls.__module__}.{cls.__name__} was called")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise TouchedAbsent(f"{cls.__module__}.{cls.__name__}.{name} was used")


class _AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _Absent(name, (), {"__module__": self.__name__})
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names: Iterable[str], but: Iterable[str]) -> None:
        self.names, self.but = tuple(names), frozenset(but)

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        listed = any(name == one or name.startswith(f"{one}.") for one in self.names)
        if not listed or name in self.but:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def absent(names: Iterable[str], *, but: Iterable[str] = ()) -> None:
    """From now on, importing one of `names`, or anything below it, gives a stand-in.

    The modules named in `but` are real.
    """
    sys.meta_path.insert(0, _Finder(names, but))


def without_init(name: str) -> None:
    """Make `name` a package whose `__init__` does not run: its modules are real, its names absent."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed"
    package = _AbsentModule(name)
    package.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[name] = package
