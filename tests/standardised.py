"""Statistics that a test gathers, as the standardisation that a checkpoint of them gives."""

from __future__ import annotations

from typing import Any

from feature.statistics import RunningStatistics, Standardise
from system.standardise import standardise_by


def standardised(running: RunningStatistics, maps: int, **how: Any) -> Standardise:
    """What `system.standardise.standardise_by` makes of the statistics of so many maps."""
    stored = {name: getattr(running, name).unflatten(0, (maps, -1)) for name in ("mean", "scale", "variance")}
    made = standardise_by({**stored, "feature": "any"}, "any", maps, stored["mean"].shape[1], **how)
    assert made is not None
    return made
