"""A profile's file: JSON, a measurement a line. What is read is checked, so that whoever has a profile
can rely on its numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from pcache.cost.fit import ErrorRow
from pcache.cost.points import LoadSequence, LoopSample, Point
from pcache.cost.profile import EngineSizes, Profile
from pcache.cost.profiled import TERMS
from pcache.cost.throttle import POWER, STAGE
from pcache.cost.timing import HOST
from pcache.errors import ConfigError
from pcache.shapes import ModelShape
from pcache.writable import try_writing

__all__ = ["check_writable", "incomplete_path", "read_profile", "write_profile"]

FORMAT_VERSION = 1
_KINDS: dict[str, type] = {
    "name": str, "gpu": str, "device": str, "dtype": str, "block_size_tokens": int,
    "memory_bytes": int, "synchronous": bool, "complete": bool, "measured": dict, "points": list,
    "loop": list, "errors": list,
}  # fmt: skip
_ABOVE_ZERO = ("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim", "vocab_size")
_MOST_NS, _MOST_SLOWDOWN, _LEAST_TAU_NS = 1e15, 100, 1e6
"""Beyond what a step, and a throttle, can be."""


def incomplete_path(path: Path) -> Path:
    """Where a calibration for `path` that was cut short leaves what it measured."""
    return path.with_name(f"{path.stem}.incomplete{path.suffix}")


def check_writable(path: Path) -> None:
    """Raise ConfigError if no profile can be written to `path`; nothing stays there."""
    if path.is_dir():
        raise ConfigError(f"{path} is a directory; give --out the file to write, as profile.json")
    try:
        try_writing(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot write the profile ({error.strerror}); choose another --out")


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile as JSON, a measurement a line. Raises ConfigError if that is impossible."""
    measured = {
        "points": [point.to_json() for point in profile.points],
        "loop": [asdict(sample) for sample in profile.loop],
        "sequences": [asdict(sequence) for sequence in profile.sequences],
    }
    head = {"format_version": FORMAT_VERSION} | {
        field.name: getattr(profile, field.name) for field in fields(Profile)
    }
    head |= {
        "shape": asdict(profile.shape),
        "sizes": asdict(profile.sizes),
        "errors": [asdict(row) for row in profile.errors],
    }
    parts = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items() if k not in measured]
    for name, rows in measured.items():
        lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
        parts.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("{\n" + ",\n".join(parts) + "\n}\n")
        partial.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def read_profile(path: Path) -> Profile:
    """Read and check a profile. Raises ConfigError naming the file and what is wrong with it."""
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the profile ({error.strerror}); pcache calibrate makes one"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a profile (no JSON: {error})") from error
    if not isinstance(value, dict) or "format_version" not in value:
        raise ConfigError(f"{path}: not a profile (no format_version); pcache calibrate makes one")
    if value["format_version"] != FORMAT_VERSION:
        raise ConfigError(
            f"{path}: format version {value['format_version']!r}, this pcache reads "
            f"{FORMAT_VERSION}; calibrate again"
        )
    try:
        profile = _profile(value)
        problem = _problem(profile)
    except KeyError as error:
        problem = f"no {error.args[0]}"
    except (TypeError, ValueError, AttributeError) as error:
        problem = str(error).splitlines()[0]
    if problem:
        raise ConfigError(f"{path}: damaged profile ({problem}); calibrate again")
    return profile


def _profile(value: dict[str, Any]) -> Profile:
    given: dict[str, Any] = {field.name: value[field.name] for field in fields(Profile)}
    for name, kind in _KINDS.items():
        if type(given[name]) is not kind:
            raise TypeError(f"{name} is a {type(given[name]).__name__}, not a {kind.__name__}")
    scaling = tuple((name, at) for name, at in given["shape"]["rope_scaling"])
    sizes: dict[str, Any] = {
        name: tuple(size) if isinstance(size, list) else size
        for name, size in given["sizes"].items()
    }
    given["shape"] = ModelShape(**given["shape"] | {"rope_scaling": scaling})
    given["sizes"] = EngineSizes(**sizes)
    for name in ("linear_sizes", "linear", "context_sizes", "context"):
        given[name] = tuple(given[name])
    given["points"] = [Point.from_json(row) for row in given["points"]]
    given["loop"] = [LoopSample(**row) for row in given["loop"]]
    given["throttle"] = tuple(tuple(map(float, stage)) for stage in given["throttle"])
    given["power"] = tuple(map(float, given["power"]))
    given["sequences"] = [LoadSequence.from_json(row) for row in given["sequences"]]
    given["errors"] = [ErrorRow(**row) for row in given["errors"]]
    return Profile(**given)


def _problem(profile: Profile) -> str | None:
    """What makes the profile unusable, if anything."""
    if not 1 <= profile.block_size_tokens <= 512:
        return f"a block size of {profile.block_size_tokens}"
    if min(getattr(profile.shape, name) for name in _ABOVE_ZERO) < 1:
        return f"a shape in which not all of {', '.join(_ABOVE_ZERO)} are above 0"
    if any(not 0 < point.gpu_ns < _MOST_NS for point in profile.points):
        return "a step that took no time, or forever"
    for name in ("decodes", "extend_tokens", "mixed_decodes"):
        if list(sizes := getattr(profile.sizes, name)) != sorted({int(size) for size in sizes}):
            return f"{name} of the graphs do not ascend"
    return _problem_of_fit(profile) if profile.complete else None


def _problem_of_fit(profile: Profile) -> str | None:
    terms, host = profile.terms or {}, profile.host or {}
    for name, known, given in (("terms", TERMS, terms), ("host", HOST, host)):
        if sorted(given) != sorted(known):
            return f"{name} are {', '.join(given)}; expected {', '.join(known)}"
    numbers = [*terms.values(), *host.values(), *profile.linear, *profile.context]
    if not all(0 <= number < _MOST_NS for number in numbers):
        return "a negative or infinite time"
    if not all(
        np.isfinite([(row.mean, row.p50, row.p90, row.worst) for row in profile.errors]).flat
    ):
        return "an error that is no number"
    for name in ("linear", "context"):
        sizes, times = getattr(profile, f"{name}_sizes"), getattr(profile, name)
        if len(sizes) < 2 or len(sizes) != len(times):
            return f"{name} has {len(times)} times for {len(sizes)} sizes; expected 2 or more"
        if list(sizes) != sorted(set(sizes)) or list(times) != sorted(times):
            return f"{name} does not ascend"
    if profile.throttle and [len(stage) for stage in profile.throttle] != [len(STAGE)] * 2:
        return f"throttle is not two stages of {', '.join(STAGE)}"
    for compute, memory, threshold, tau_ns in profile.throttle:
        if not (0 <= compute < _MOST_SLOWDOWN and 0 <= memory < _MOST_SLOWDOWN):
            return f"a slowdown in the throttle that is not from 0 to {_MOST_SLOWDOWN}"
        if not (0 <= threshold <= 1 and _LEAST_TAU_NS <= tau_ns < np.inf):
            return "a threshold in the throttle outside 0 to 1, or a tau_ns below 1 ms"
    if len(profile.power) != len(POWER) or not all(0 <= part <= 1 for part in profile.power):
        return f"power is not {' and '.join(POWER)}, each from 0 to 1"
    return None
