"""Quantities as people type them: `400k` tokens, `50GiB`, `500ms`; and memory as they read it."""

from __future__ import annotations

import math
import re

from pcache.errors import ConfigError

__all__ = ["memory_text", "parse_bytes", "parse_milliseconds", "parse_share", "parse_tokens"]

_NUMBER = r"\s*([0-9]+(?:\.[0-9]+)?)\s*"
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_BYTES = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_MILLISECONDS = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4}


def _parse(option: str, text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = re.fullmatch(_NUMBER + "([a-zA-Z]*)", text)
    if match is None or match[2].lower() not in units:
        raise ConfigError(f"{option} {text!r} is not understood; write it like {example}")
    value = float(match[1]) * units[match[2].lower()]
    if not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{option} {text!r} is not above zero; write it like {example}")
    return value


def parse_tokens(option: str, text: str) -> int | None:
    """`1000000`, `400k`, `1M` or `1.5M` as a number of tokens; `inf` as None."""
    if text.strip().lower() in ("inf", "infinite", "unlimited"):
        return None
    tokens = int(_parse(option, text, _COUNTS, "1000000, 400k, 1M or inf"))
    if tokens < 1 or tokens > 2**40:
        raise ConfigError(
            f"{option} {text!r} is not between 1 and 1.0e12 tokens; use inf for no limit"
        )
    return tokens


def parse_bytes(option: str, text: str) -> int:
    """`50GiB`, `80GB` or `512MiB` as bytes."""
    return int(_parse(option, text, _BYTES, "50GiB or 80GB"))


def parse_milliseconds(option: str, text: str) -> float:
    """`500ms`, `2s` or a bare number of milliseconds."""
    return _parse(option, text, _MILLISECONDS, "500ms or 2s")


def parse_share(option: str, text: str) -> float:
    """`80%` as 0.8."""
    match = re.fullmatch(_NUMBER + r"%\s*", text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ConfigError(
            f"{option} {text!r} is no share above 0 and up to 100%; write it like 80%"
        )
    return float(match[1]) / 100


def memory_text(num_bytes: float) -> str:
    """`36.6 GiB`, or what is small in MiB."""
    if num_bytes < _BYTES["gib"]:
        return f"{num_bytes / _BYTES['mib']:,.1f} MiB"
    return f"{num_bytes / _BYTES['gib']:,.1f} GiB"
