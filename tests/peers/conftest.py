"""The lane `pytest -m peers`. Without that option nothing here is run, imported or needed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from types import ModuleType

import peer_lane
import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the lane unless it was asked for by name.

    A default `-m` would not do: any other `-m` replaces it, and would bring the lane back.
    """
    if "peers" in config.option.markexpr:
        return
    lane = [item for item in items if item.get_closest_marker("peers")]
    if lane:
        config.hook.pytest_deselected(items=lane)
        items[:] = [item for item in items if item not in lane]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in peer_lane.summary():
        terminalreporter.write_line(line)


def load(name: str) -> ModuleType:
    """A driver. The engines' own imports warn about much that is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            pytest.fail(f"{error}; `make peers` installs the wheels and what they need", False)


@pytest.fixture(scope="session")
def vllm_engine() -> ModuleType:
    return load("vllm_engine")


@pytest.fixture(scope="session")
def vllm_server(vllm_engine: ModuleType) -> ModuleType:
    """After the engine, which says what is absent."""
    assert vllm_engine is not None
    return load("vllm_server")


@pytest.fixture(scope="session")
def sglang_engine() -> ModuleType:
    return load("sglang_engine")


@pytest.fixture(autouse=True)
def no_warnings_of_theirs() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
