"""The scores, one row each: what they are called, in which unit people read them, which way is better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_WORDS = {"°": "degrees", "%": "%"}  # units on axes
_ASCII = {"°": "deg", "%": "%"}  # units where a terminal or a csv may know no other


@dataclass(frozen=True)
class Score:
    """One score of the results, fractions and degrees there.

    Attributes
    ----------
    name : as in the results of `score`
    short : in lines and headings of tables
    label : in words
    unit : that people read it in: "%", "°" or none
    digits : behind the point, in that unit
    low : whether lower is better
    limits : of an axis, in the unit; None: as far as the values
    within : whether only what lies within the angle threshold counts (where detection and direction are scored jointly)
    tag : its scalar in TensorBoard, as users of the audio-visual baseline of DCASE 2023 know it
    key : in result files and histories, the name unless the references call it otherwise
    """

    name: str
    short: str
    label: str
    unit: str = ""
    digits: int = 3
    low: bool = True
    limits: tuple[float, float | None] = (0, None)
    within: bool = False
    tag: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or self.name)
        object.__setattr__(self, "tag", self.tag or f"Metrics/{self.key}")

    @property
    def factor(self) -> float:
        """From the value of the results to the unit."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def better(self) -> str:
        """Which way is better: "lower" or "higher"."""
        return "lower" if self.low else "higher"

    @property
    def heading(self) -> str:
        """Head of a column whose numbers stand without their unit: "LE / °"."""
        return f"{self.short} / {self.unit}" if self.unit else self.short

    def number(self, value: float) -> str:
        """A value in the unit, without it."""
        return f"{self.factor * value:.{self.digits}f}"

    def line(self, value: float) -> str:
        """Name, value and unit for a terminal: "LE 21.3 deg"."""
        unit = f" {_ASCII[self.unit]}" if self.unit else ""
        return f"{self.short} {self.number(value)}{unit}"

    def beats(self, value: float, other: float) -> bool:
        """Whether a value is better than another one; NaN is worse than any."""
        if math.isnan(value) or math.isnan(other):
            return math.isnan(other) and not math.isnan(value)
        return value < other if self.low else value > other

    def title(self, within: str | None = None) -> str:
        """The label, with the angle threshold where it counts: "F score within 20°"."""
        return f"{self.label} within {within}" if self.within and within else self.label

    def axis(self, within: str | None = None) -> str:
        """Label of an axis: "localisation error / degrees"."""
        return f"{self.title(within)} / {_WORDS[self.unit]}" if self.unit else self.title(within)


# in the order of tables and lines; of jointly scored editions ER, F, LE, LR, SELD
SCORES = {
    score.name: score
    for score in (
        Score("ER", "ER", "error rate", within=True, tag="Metrics/1_ER-LD"),
        Score("F", "F", "F score", "%", 1, low=False, limits=(0, 100), within=True, tag="Metrics/2_F-LD"),
        # of systems that only detect, or only say from where
        Score("SED_error", "SED error", "SED error", limits=(0, 1)),
        Score("mAP", "mAP", "average precision", "%", 1, low=False, limits=(0, 100)),
        Score("mAP_azimuth", "mAP azimuth", "average precision of azimuths", "%", 1, low=False, limits=(0, 100)),
        Score("mAP_elevation", "mAP elevation", "average precision of elevations", "%", 1, low=False, limits=(0, 100)),
        Score("DOA_error", "DOA error", "DOA error", "°", 1, limits=(0, 180)),
        Score("LE", "LE", "localisation error", "°", 1, limits=(0, 180), tag="Metrics/3_LE-CD"),
        Score("AngE", "AngE", "localisation error", "°", 1, limits=(0, 180)),
        Score("DistE", "DistE", "distance error"),
        Score("RelDistE", "RelDistE", "relative distance error"),
        Score("OnscreenAcc", "OnscreenAcc", "onscreen accuracy", "%", 1, low=False, limits=(0, 100)),
        Score("frame_recall", "frame recall", "frame recall", "%", 1, low=False, limits=(0, 100)),
        Score("LR", "LR", "localisation recall", "%", 1, low=False, limits=(0, 100), tag="Metrics/4_LR-CD"),
        Score("SELD", "SELD error", "SELD error", limits=(0, 1), tag="Metrics/0_SELD-error", key="SELD_error"),
    )
}
SCORES_BY_KEY = {score.key: score for score in SCORES.values()}
ANGLES = tuple(score.name for score in SCORES.values() if score.unit == "°")
JOINT_SCORES = ("F", "ER", "LE", "LR", "SELD")  # of the editions that score detection and direction jointly


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of scores as pages show them: F first, the others as in the table.

    >>> in_order({"SELD", "LE", "F", "LR", "ER"}) == JOINT_SCORES
    True
    """
    found = set(names)
    return tuple(sorted(found, key=lambda name: (name != "F", list(SCORES).index(name))))
