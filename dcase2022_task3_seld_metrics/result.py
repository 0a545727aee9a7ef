"""What scoring gives: components per recording, and everything that follows from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dcase2022_task3_seld_metrics.counting import Components
from dcase2022_task3_seld_metrics.jackknife import Interval, jackknife, leave_one_out_sums
from dcase2022_task3_seld_metrics.score_table import ANGLES
from dcase2022_task3_seld_metrics.scores import Values, over_classes, scores
from dcase2022_task3_seld_metrics.settings import ScoringSettings


def group_of(name: str, key: str) -> str | None:
    """The number behind `key` in a file name: ("fold4_room23_mix001.csv", "room") -> "23"; None where there is none."""
    found = re.search(rf"(?:^|_|\b){re.escape(key)}(\d+)", name)
    return found.group(1) if found else None


def _numbered(group: str) -> tuple[int, str]:
    return (int(group), group) if group.isdigit() else (-1, group)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one set of recordings.

    Attributes
    ----------
    overall : score -> value, in the average asked for
    classwise : score -> (classes,); empty where the edition has none (2019)
    counts : counter -> number or (classes,), named as by the official program
    """

    overall: dict[str, float]
    classwise: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Jackknife:
    """Intervals of the overall scores, and of the class-wise ones (macro only); score -> Interval."""

    files: tuple[str, ...]
    significance: float
    overall: dict[str, Interval]
    classwise: dict[str, Interval]

    @property
    def official_point_values(self) -> dict[str, float]:
        """What the official function returns as value of each score: the *last* leave-one-out set's (Q9)."""
        return {name: float(interval.leave_one_out[-1]) for name, interval in self.overall.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the keys of the official results, NaN as it is."""
        overall = {
            name: {
                "global": float(one.value),
                "leave_one_out": one.leave_one_out.tolist(),
                "estimate": float(one.estimate),
                "bias": float(one.bias),
                "std_err": float(one.standard_error),
                "conf_interval": [float(one.low), float(one.high)],
            }
            for name, one in self.overall.items()
        }
        out: dict[str, Any] = {
            "file_order": list(self.files),
            "significance_level": self.significance,
            "overall": overall,
            "official_returned_point_values": self.official_point_values,
        }
        if self.classwise:
            out["classwise_conf_interval"] = {
                name: np.stack([one.low, one.high], axis=-1).tolist() for name, one in self.classwise.items()
            }
        return out


@dataclass(frozen=True, eq=False)
class Result:
    """Scores of a set of recordings, from components that were counted recording by recording.

    Attributes
    ----------
    files : names of the recordings that were scored, sorted
    components : counter -> (files, classes) or (files,)
    unscored : references without a prediction; they count for nothing (Q5)
    """

    settings: ScoringSettings
    files: tuple[str, ...]
    components: Components
    unscored: tuple[str, ...] = ()
    layout: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.settings.classes

    def _scores(self, sums: Components) -> tuple[Values, Values]:
        return scores(sums, self.settings.rates, self.settings.average, self.settings.edition.nan_means)

    def _one(self, sums: Components) -> Scores:
        """Scores of sums without the leading axis."""
        overall, classwise = self._scores({name: np.asarray(value)[None] for name, value in sums.items()})
        return Scores(
            {name: float(value[0]) for name, value in overall.items()},
            {name: value[0] for name, value in classwise.items()},
            self._named_counts(sums),
        )

    def _named_counts(self, sums: Components) -> dict[str, np.ndarray]:
        counts = dict(sums)
        if self.settings.edition.onscreen:  # 2025: its program has these counters and never adds to them
            counts |= {name: np.zeros_like(counts[name]) for name in "SDI"}
        if self.settings.edition.summed_counts:
            if "FP_spatial" in counts:  # 2021: a misplaced event is one of the false positives
                counts["FP"] = counts["FP"] + counts.pop("FP_spatial")
            counts = {name: np.sum(value, axis=-1) if np.ndim(value) else value for name, value in counts.items()}
        return counts

    @cached_property
    def total(self) -> Scores:
        """Scores of all recordings together."""
        return self._one({name: value.sum(axis=0) for name, value in self.components.items()})

    @property
    def overall(self) -> dict[str, float]:
        """Score -> value, in the average asked for."""
        return self.total.overall

    @property
    def classwise(self) -> dict[str, np.ndarray]:
        """Score -> (classes,), in both averages; empty for 2019."""
        return self.total.classwise

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Counter -> number or (classes,), named as by the official program."""
        return self.total.counts

    @cached_property
    def occurs(self) -> np.ndarray:
        """(classes,) bool: the class has references among the recordings scored; empty for 2019."""
        expected = self.components["Nref"]
        return expected.sum(axis=0) > 0 if expected.ndim == 2 else np.zeros(0, dtype=bool)

    @cached_property
    def occurring(self) -> dict[str, float]:
        """Macro averages over the classes that occur in the references, whatever the average asked for.

        The official macro average divides by all classes (Q10). Localization errors come twice: by the official rule,
        and as `<name>_matched` over the classes of which something was matched (no 180 degrees for the others). NaN
        where no class qualifies; empty for 2019, which has no classes here.
        """
        if not self.classwise:
            return {}
        nan_means = self.settings.edition.nan_means
        values = over_classes(self.classwise, self.occurs, nan_means)
        matched = self.components["DE_TP"].sum(axis=0) > 0
        for name in ANGLES:
            if name in self.classwise:
                values[f"{name}_matched"] = over_classes({name: self.classwise[name]}, matched, ())[name]
        return {name: float(value) for name, value in values.items()}

    @cached_property
    def per_file(self) -> dict[str, Scores]:
        """Scores of each recording on its own."""
        each = ({name: value[i] for name, value in self.components.items()} for i in range(len(self.files)))
        return {file: self._one(sums) for file, sums in zip(self.files, each)}

    @cached_property
    def jackknife(self) -> Jackknife:
        """Confidence intervals at significance 0.05."""
        return self.intervals()

    def intervals(self, significance: float = 0.05) -> Jackknife:
        """Jackknife over the recordings, from their components (nothing is counted again)."""
        if not self.files:
            return Jackknife((), significance, {}, {})
        left_out = self._scores({name: leave_one_out_sums(value) for name, value in self.components.items()})

        def intervals_of(whole: Mapping[str, ArrayLike], part: Values) -> dict[str, Interval]:
            return {name: jackknife(value, part[name], significance) for name, value in whole.items()}

        classwise = self.classwise if self.settings.average == "macro" else {}
        return Jackknife(
            self.files, significance, intervals_of(self.overall, left_out[0]), intervals_of(classwise, left_out[1])
        )

    def __add__(self, other: Result) -> Result:
        """Both sets of recordings together, as if scored in one call.

        Raises
        ------
        ValueError : different settings, or a recording in both
        """
        if self.settings != other.settings:
            raise ValueError("results with different settings cannot be added")
        twice = set(self.files) & set(other.files)
        if twice:
            raise ValueError(f"scored in both results: {', '.join(sorted(twice)[:3])}")
        files = np.array(self.files + other.files)
        order = np.argsort(files, kind="stable") if len(files) else np.zeros(0, dtype=np.int64)
        components = {
            name: np.concatenate([value, other.components[name]])[order] for name, value in self.components.items()
        }
        unscored = tuple(sorted({*self.unscored, *other.unscored} - set(files.tolist())))
        return Result(self.settings, tuple(files[order].tolist()), components, unscored, self.layout)

    def select(self, files: Sequence[str]) -> Result:
        """The result of some of the recordings."""
        chosen = set(files)
        unknown = sorted(chosen - set(self.files))
        if unknown:
            raise ValueError(f"not among the recordings scored: {', '.join(unknown[:3])}")
        rows = np.array([index for index, name in enumerate(self.files) if name in chosen], dtype=np.int64)
        components = {name: value[rows] for name, value in self.components.items()}
        return Result(self.settings, tuple(self.files[row] for row in rows), components, (), self.layout)

    def groups(self, key: str = "room") -> dict[str, Result]:
        """Results of the recordings whose names say `<key><number>` ("fold4_room23_mix001" -> room 23), by the number.

        The official report looks at one character of the name, so that rooms 2 and 23 fall together (Q12).
        """
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(group_of(name, key) or "none", []).append(name)
        return {
            group: self.select(names) for group, names in sorted(found.items(), key=lambda item: _numbered(item[0]))
        }

    def rows(self, of: str = "classwise") -> list[dict[str, Any]]:
        """Table of scores, a dictionary per row, as `pandas.DataFrame` and others take them.

        Parameters
        ----------
        of : "classwise": one row per class, then "overall" and "occurring classes" (scores not defined there: NaN);
            "per_file": one per recording

        Raises
        ------
        ValueError : another table
        """
        if of == "per_file":
            return [{"recording": file, **one.overall} for file, one in self.per_file.items()]
        if of != "classwise":
            raise ValueError(f"rows are 'classwise' or 'per_file', found '{of}'")
        made = [
            {"class": name, **{score: float(values[index]) for score, values in self.classwise.items()}}
            for index, name in enumerate(self.classes if self.classwise else ())
        ]
        made.append({"class": "overall", **self.overall})
        if self.classwise:
            occurring = self.occurring
            made.append({"class": "occurring classes", **{name: occurring.get(name, np.nan) for name in self.overall}})
        return made

    def to_dict(self, *, jackknife: bool = False, per_file: bool = False) -> dict[str, Any]:
        """Plain values: overall, classwise (macro only), counts, and what else is asked for."""
        out = self._plain(self.total)
        if jackknife:
            out["jackknife"] = self.jackknife.to_dict()
        if per_file:
            out["per_file"] = {file: self._plain(one, classwise=False) for file, one in self.per_file.items()}
        out["occurring"] = self.occurring
        out["settings"] = self.settings.describe()
        out["classes"] = list(self.classes)
        out["files"] = list(self.files)
        out["unscored"] = list(self.unscored)
        return out

    def _plain(self, one: Scores, *, classwise: bool = True) -> dict[str, Any]:
        plain: dict[str, Any] = {"overall": one.overall}
        if classwise and self.settings.average == "macro" and one.classwise:
            plain["classwise"] = {name: value.tolist() for name, value in one.classwise.items()}
        plain["counts"] = {name: np.asarray(value).tolist() for name, value in one.counts.items()}
        return plain
