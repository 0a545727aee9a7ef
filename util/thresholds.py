"""Activity thresholds per class and the unification angle, from a json file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from util.errors import InputError
from util.files import read_json

DEFAULT_FILE = Path(__file__).with_name("threshold.json")
_DEFAULT_PRESENCE = 0.3


@dataclass(frozen=True)
class Thresholds:
    """presence : per class, a track is an event above it; unification_deg : closer tracks of a class are one source."""

    presence: tuple[float, ...]
    unification_deg: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {"presence": list(self.presence), "unification_deg": self.unification_deg}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Thresholds:
        """Inverse of `to_dict`."""
        return cls(tuple(values["presence"]), values["unification_deg"])

    def __str__(self) -> str:
        different = sorted(set(self.presence))
        presence = f"{different[0]:g}" if len(different) == 1 else ", ".join(f"{value:g}" for value in self.presence)
        return f"activity threshold {presence}, tracks closer than {self.unification_deg:g} degrees unified"


def read_thresholds(
    path: str | os.PathLike[str] | None, class_count: int, *, default: float | None = None
) -> Thresholds:
    """Thresholds for `class_count` classes; without a file: the default ones, 0.3 for every class.

    Parameters
    ----------
    default : threshold of every class without a file, of an output whose activity means something else

    Raises
    ------
    InputError : not the form {"threshold_presence": [one per class], "threshold_unification": degrees}
    """
    content = read_json(path or DEFAULT_FILE)
    try:
        presence = [float(value) for value in content["threshold_presence"]]
        unification_deg = float(content["threshold_unification"])
    except (KeyError, TypeError, ValueError):
        rule = 'must have the form {"threshold_presence": [one number per class], "threshold_unification": degrees}'
        raise InputError(rule, path=path) from None
    if not all(map(math.isfinite, [*presence, unification_deg])):
        raise InputError("has thresholds that are NaN or infinite", path=path)
    if path is None and default is not None:
        presence = [default] * class_count
    elif path is None:
        presence = (presence + [_DEFAULT_PRESENCE] * class_count)[:class_count]
    if len(presence) != class_count:
        raise InputError(f"has {len(presence)} thresholds, the classes are {class_count}", path=path)
    return Thresholds(tuple(presence), unification_deg)
