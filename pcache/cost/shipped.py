"""Profiles that come with the package, found by GPU and model."""

from __future__ import annotations

from pathlib import Path

from pcache.cost.profile import Profile
from pcache.cost.profile_file import read_profile

__all__ = ["PROFILES", "profile_at", "profile_name", "shipped_profile", "shipped_profiles"]

PROFILES = Path(__file__).parent / "profiles"


def profile_name(gpu: str, model: str, dtype: str) -> str:
    """Name of the profile of a GPU with a model; bf16 goes without saying."""
    return f"{gpu}-{model}" if dtype == "bf16" else f"{gpu}-{model}-{dtype}"


def shipped_profiles() -> list[str]:
    """Names of the profiles in the package."""
    return sorted(path.stem for path in PROFILES.glob("*.json"))


def shipped_profile(gpu: str, model: str, dtype: str = "bf16") -> Profile | None:
    """The profile of one GPU with a model, if it was measured."""
    path = PROFILES / f"{profile_name(gpu, model, dtype)}.json"
    return read_profile(path) if path.is_file() else None


def profile_at(place: str | Path) -> Profile:
    """The profile in a file, or, where there is no such file, the shipped one of that name."""
    path, shipped = Path(place), PROFILES / f"{place}.json"
    return read_profile(shipped if not path.exists() and shipped.is_file() else path)
