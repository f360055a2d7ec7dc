"""Fetching from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pcache.errors import ConfigError, TraceError
from pcache.trace import catalogue
from pcache.trace.catalogue import CATALOGUE, PublicTrace
from pcache.trace.fetch import fetch_trace

pytest.importorskip("pooch")
CONTENT = b'{"timestamp": 0}\n' * 100


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    served = tmp_path / "served"
    served.mkdir()
    (served / "t.jsonl").write_bytes(CONTENT)
    handler = partial(Silent, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def known(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A catalogue of one trace, and an empty cache."""
    monkeypatch.setenv("PCACHE_CACHE", str(tmp_path / "cache"))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    entry = PublicTrace("tiny", f"{address}/t.jsonl", sha256, "MIT", "for a test")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", entry)
    return address


@pytest.mark.usefixtures("known")
def test_download_cache_and_copy(tmp_path: Path) -> None:
    heard: list[tuple[float, float]] = []
    path = fetch_trace("tiny", advance=lambda done, total: heard.append((done, total)))
    assert path.parent == tmp_path / "cache"
    assert path.read_bytes() == CONTENT
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    (tmp_path / "served" / "t.jsonl").unlink()
    assert fetch_trace("tiny") == path
    assert fetch_trace("tiny", out=tmp_path) == tmp_path / "t.jsonl"
    assert fetch_trace("tiny", out=tmp_path / "u").read_bytes() == CONTENT
    with pytest.raises(TraceError, match="cannot be written"):
        fetch_trace("tiny", out=tmp_path / "none" / "u")


@pytest.mark.usefixtures("known")
def test_another_file_than_the_pinned_one(tmp_path: Path) -> None:
    (tmp_path / "served" / "t.jsonl").write_bytes(b"changed")
    with pytest.raises(TraceError, match="no longer the file that was pinned"):
        fetch_trace("tiny")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_server(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = PublicTrace("tiny", f"{known}/none", "0" * 64, "MIT", "for a test")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", entry)
    with pytest.raises(TraceError, match=r"cannot be downloaded \(HTTPError\); check the network"):
        fetch_trace("tiny")
    refused = PublicTrace("tiny", "http://127.0.0.1:1/t", "0" * 64, "MIT", "for a test")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", refused)
    with pytest.raises(TraceError, match=r"cannot be downloaded \(ConnectionError\)") as caught:
        fetch_trace("tiny")
    assert "\n" not in str(caught.value)


def test_unknown_name_and_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no public trace is called 'x'; expected mooncake"):
        fetch_trace("x")
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(ConfigError, match="pip install pooch"):
        fetch_trace("burstgpt-1")


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_entry_is_pinned(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.name == name
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert re.search(r"/([0-9a-f]{40}|v\d+\.\d+)/", entry.url)
    assert entry.license in ("Apache-2.0", "CC-BY-4.0")
