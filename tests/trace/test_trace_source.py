"""Files as bytes: compression, damage, standard input."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from trace_checks import assert_same, native, write_lines

import pcache.trace.source as source_module
from pcache.errors import TraceError
from pcache.trace import read_trace, write_trace

LINE = (json.dumps(native()) + "\n").encode()
COMPRESS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


@pytest.mark.parametrize("kind", COMPRESS)
def test_compression_is_recognised_by_content_and_hash_is_of_plain_bytes(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "trace.bin"
    path.write_bytes(COMPRESS[kind](LINE))
    trace = read_trace(path)
    assert trace.request_ids == ["a"]
    assert trace.sha256 == hashlib.sha256(LINE).hexdigest()


@pytest.mark.parametrize("kind", COMPRESS)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(COMPRESS[kind](LINE)))
    monkeypatch.setattr("sys.stdin", stdin)
    trace = read_trace("-")
    assert (trace.name, trace.request_ids) == ("stdin", ["a"])


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_half_written_compressed_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "trace.bin"
    data = COMPRESS[kind](b"".join(b'{"id": "%d"}\n' % number for number in range(1000)))
    for keep in (len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(TraceError, match=f"damaged or half-written {kind} data"):
            read_trace(path)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_corrupt_compressed_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "trace.bin"
    data = bytearray(COMPRESS[kind](LINE * 50))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(TraceError, match=r"trace\.bin"):
        read_trace(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"\x7fELF\0\0\0", "binary data"),
        (LINE + b'{"id": "\xff"}\n', "t.jsonl:2: byte 0xff is not UTF-8"),
        (b"hello\n", "t.jsonl:1: not a trace"),
        (b"[1, 2]\n", "t.jsonl:1: not a trace"),
    ],
)
def test_files_that_are_no_traces(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file or directory"):
        read_trace(tmp_path / "none.jsonl")
    with pytest.raises(TraceError, match="directory"):
        read_trace(tmp_path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(source_module, "MAX_PLAIN_BYTES", 1000)
    path = tmp_path / "t.jsonl"
    path.write_bytes(COMPRESS[kind](b"x" * 1001))
    with pytest.raises(TraceError, match="cut the file"):
        read_trace(path)


def test_byte_order_mark_and_blank_lines_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\n" + LINE + b"\r\n\n")
    assert len(read_trace(path)) == 1


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
def test_written_files_read_back(tmp_path: Path, ending: str) -> None:
    trace = read_trace(write_lines(tmp_path / "t.jsonl", native()))
    path = tmp_path / f"t.jsonl{ending}"
    write_trace(trace, path)
    assert_same(read_trace(path), trace, but=("sha256",))
    first = path.read_bytes()
    write_trace(trace, path)
    assert path.read_bytes() == first
    assert {entry.name for entry in tmp_path.iterdir()} <= {"t.jsonl", path.name}


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    trace = read_trace(write_lines(tmp_path / "t.jsonl", native()))
    with pytest.raises(TraceError, match="cannot be written"):
        write_trace(trace, tmp_path / "none" / "t.jsonl")
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,3,4\n")
    before = (tmp_path / "t.jsonl").read_bytes()
    with pytest.raises(TraceError, match="no prompts"):
        write_trace(read_trace(lengths), tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lengths.csv", "t.jsonl"]
