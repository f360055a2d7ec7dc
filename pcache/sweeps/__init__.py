"""Sweeps: a grid of configurations simulated in parallel, kept cell by cell."""

from pcache.sweeps.api import sweep
from pcache.sweeps.finish import Sweep
from pcache.sweeps.recommend import Recommendation, recommend

__all__ = ["Recommendation", "Sweep", "recommend", "sweep"]
