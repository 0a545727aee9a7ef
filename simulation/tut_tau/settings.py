"""The settings of such a set, and which of them cannot be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from dataset.layout_kinds import SheetLayout
from simulation.tut_tau.classes import CLASS_SETS, EventClass
from simulation.tut_tau.layouts import SetLayout, layout_named
from util.errors import InputError

LEAST_S, MOST_S = 3.0, 600.0
OWN_S = (1.5, 6.0)  # length of the events of a class of which nothing is known but recordings
_MONO = {"classes": "--classes", "names": "--sound-bank", "sound_bank": "--sound-bank", "weak": "--weak"}


@dataclass(frozen=True)
class SetSettings:
    """Everything that decides the bytes of a set; see `python -m simulation --layout resim --help`.

    Attributes
    ----------
    train : recordings to train of each split and overlap; sets with folds: of each fold
    test : recordings to test of each split and overlap; sets with folds: to evaluate (split 0)
    test_offset_deg : by which the direction grid of the test recordings is shifted
    classes : of mono recordings, the layout whose classes they are; None: of the layout itself
    names : of a user's own classes, all of which the sound bank has recordings of
    sound_bank : folder of recordings, for mono
    weak : mono: only which classes there are in a recording
    """

    layout: str
    formats: tuple[str, ...]
    splits: tuple[int, ...]
    overlaps: tuple[int, ...]
    seconds: float
    train: int
    test: int
    seed: int = 0
    train_rooms: int = 4
    test_rooms: int = 2
    rt60_s: tuple[float, float] = (0.3, 0.7)
    test_offset_deg: int = 0
    classes: str | None = None
    names: tuple[str, ...] | None = None
    sound_bank: str | None = None
    weak: bool = False

    @classmethod
    def of(cls, layout: str, **chosen: Any) -> SetSettings:
        """The layout's own values where none is chosen (absent or None), checked.

        Raises
        ------
        InputError : with the option at fault
        """
        row = layout_named(layout)
        values: dict[str, Any] = {
            "formats": row.formats, "overlaps": row.overlaps, "seconds": row.seconds,
            "splits": row.splits if row.folds else row.splits[:1],
            "train": row.train, "test": row.test,
        }  # fmt: skip
        values.update({name: value for name, value in chosen.items() if value is not None})
        settings = cls(layout=layout, **values)
        settings.check()
        return settings

    @property
    def row(self) -> SetLayout:
        """The layout, with the classes that are asked for."""
        row = layout_named(self.layout)
        if self.names is not None:
            return replace(row, classes=tuple(EventClass(name, OWN_S, 0.0, ()) for name in self.names))
        return row if self.classes is None else replace(row, classes=CLASS_SETS[self.classes])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for json; of what only mono sets have, what differs from the default."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in values.items() if key not in _MONO or value not in (None, False)}

    def check(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        InputError : with the option at fault
        """
        if self.classes is not None and self.classes not in CLASS_SETS:
            raise InputError(f"--classes: no classes of '{self.classes}'; known are {', '.join(CLASS_SETS)}")
        row = self.row
        for name, flag in _MONO.items():
            if getattr(self, name) not in (None, False) and not isinstance(row.facts, SheetLayout):
                raise InputError(f"{flag}: layout {self.layout} has sounds and labels of its own; it is for mono")
        for option, values, known in (
            ("--formats", self.formats, row.formats),
            ("--splits", self.splits, row.splits),
            ("--ov", self.overlaps, row.overlaps),
        ):
            if not known and not values:
                continue
            if not known:
                raise InputError(f"{option}: layout {self.layout} has none")
            unknown = [value for value in values if value not in known]
            names = ", ".join(str(value) for value in known)
            if not values or unknown:
                what = f"has no {unknown[0]}" if unknown else "needs at least one"
                raise InputError(f"{option}: layout {self.layout} {what}; known are {names}")
            if len(set(values)) < len(values):
                raise InputError(f"{option} names one twice")
        low, high = self.rt60_s
        rules = (
            (self.train >= 0 and self.test >= 0 and self.train + self.test > 0,
             "--train and --test: at least one recording"),
            (LEAST_S <= self.seconds <= MOST_S,
             f"--seconds must be between {LEAST_S:g} and {MOST_S:g}, got {self.seconds:g}"),
            (self.train_rooms >= 1 and self.test_rooms >= 1, "--train-rooms and --test-rooms must be at least 1"),
            (math.isfinite(low) and math.isfinite(high) and 0.15 <= low <= high <= 2.0,
             f"--rt60 must be LOW HIGH within 0.15 and 2 s, got {low:g} {high:g}"),
            (self.test_offset_deg in range(10),
             f"--test-offset must be whole degrees from 0 to 9, got {self.test_offset_deg}"),
            (not self.test_offset_deg or not row.motion,
             f"--test-offset: sources of {self.layout} leave the grid anyway"),
            (not self.test_offset_deg or row.step_deg > 1,
             f"--test-offset: {self.layout} has no grid of directions"),
        )  # fmt: skip
        for holds, message in rules:
            if not holds:
                raise InputError(message)
