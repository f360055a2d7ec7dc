"""The profile that cells are designed with: fixed before the first is measured, checked after the last.

`design.json` and the profile itself lie beside the cells' table and go into every directory and archive
of measured runs, so that a study can be repeated when a newer profile ships.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.side_by_side.cells import GPU_MODEL, RESULTS
from pcache.cost.shipped import PROFILES, profile_name

__all__ = ["DESIGN", "PROFILE", "Frozen", "doubt_of", "freeze", "read_frozen", "write_frozen"]

DESIGN, PROFILE = "design.json", "profile.json"


@dataclass(frozen=True, slots=True)
class Frozen:
    """Whose step times the cells were designed with; `sha256` is that of the profile's file."""

    gpu: str
    model: str
    profile: str
    sha256: str


def freeze(gpu: str) -> tuple[Frozen, Path]:
    """The shipped profile of `gpu` and its file. SystemExit where there is none: loads would not be
    true."""
    name = profile_name(gpu, GPU_MODEL, "bf16")
    path = PROFILES / f"{name}.json"
    if not path.is_file():
        raise SystemExit(f"no {path}: run pcache calibrate --model {GPU_MODEL} on the {gpu} first")
    return Frozen(gpu, GPU_MODEL, name, _sha256(path)), path


def write_frozen(frozen: Frozen, place: Path, profile: Path | None) -> None:
    """Write `design.json` below `place`, and a copy of the profile, or leave none where it is lost
    (None). SystemExit where `profile` is another one."""
    if profile is not None and _sha256(profile) != frozen.sha256:
        raise SystemExit(f"{profile} is not the profile that {DESIGN} names")
    place.mkdir(parents=True, exist_ok=True)
    (place / DESIGN).write_text(json.dumps(asdict(frozen), indent=1) + "\n")
    if profile is None:
        (place / PROFILE).unlink(missing_ok=True)
    elif profile != place / PROFILE:
        shutil.copyfile(profile, place / PROFILE)


def read_frozen(place: Path = RESULTS) -> Frozen | None:
    """What `design.json` below `place` says; None where there is none."""
    path = place / DESIGN
    return Frozen(**json.loads(path.read_text())) if path.is_file() else None


def doubt_of(place: Path, profile: str | None) -> str | None:
    """What speaks against the profile having been fixed before the runs below `place`, if anything.
    `profile` is the file that the analysis uses; None: the shipped one."""
    frozen = read_frozen(place)
    if frozen is None:
        return "These runs do not say which profile was fixed before them."
    path = PROFILES / f"{frozen.profile}.json" if profile is None else Path(profile)
    if not path.is_file() or _sha256(path) != frozen.sha256:
        return f"The profile is not the one that was fixed before these runs ({frozen.profile})."
    return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
