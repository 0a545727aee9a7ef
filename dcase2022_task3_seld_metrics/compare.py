"""Is one system better than another? Confidence interval of the difference, paired by recording and by room.

Two intervals that overlap say little: both systems find the same recordings hard. What counts is how their *difference*
varies when recordings, or whole rooms, are left out of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics.jackknife import Interval, jackknife, leave_one_out_sums
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.result import Result, group_of
from dcase2022_task3_seld_metrics.scores import Values, scores
from dcase2022_task3_seld_metrics.scoring import Events, score
from util.errors import InputError


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two systems on the same recordings.

    Attributes
    ----------
    first, second : results A and B on the recordings that both have
    key : what joins recordings into groups: "room"
    """

    first: Result
    second: Result
    key: str = "room"
    significance: float = 0.05

    @cached_property
    def by_recording(self) -> dict[str, Interval]:
        """Score -> interval of B minus A, leaving out one recording at a time."""
        return self._intervals([[index] for index in range(len(self.first.files))])

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Group -> indices of its recordings; empty where a name tells no group, or all tell the same."""
        found: dict[str, list[int]] = {}
        for index, name in enumerate(self.first.files):
            found.setdefault(group_of(name, self.key) or "", []).append(index)
        return {} if "" in found or len(found) < 2 else found

    @cached_property
    def by_group(self) -> dict[str, Interval]:
        """Score -> interval of B minus A, leaving out one room at a time; empty without rooms.

        Recordings of one room resemble each other: this interval, mostly the wider, is the honest one for new rooms.
        """
        return self._intervals(list(self.groups.values())) if self.groups else {}

    def _intervals(self, members: Sequence[Sequence[int]]) -> dict[str, Interval]:
        first, second = (self._left_out(result, members) for result in (self.first, self.second))
        return {
            name: jackknife(
                self.second.overall[name] - self.first.overall[name], second[name] - first[name], self.significance
            )
            for name in first
        }

    @staticmethod
    def _left_out(result: Result, members: Sequence[Sequence[int]]) -> Values:
        """Overall scores (groups,) with one group left out."""
        settings = result.settings
        sums = {
            name: leave_one_out_sums(np.stack([value[list(group)].sum(axis=0) for group in members]))
            for name, value in result.components.items()
        }
        return scores(sums, settings.rates, settings.average, settings.edition.nan_means)[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: both systems' scores, and per score the difference B - A with its intervals."""

        def plain(intervals: dict[str, Interval]) -> dict[str, Any]:
            return {
                name: {
                    "difference": float(one.value),
                    "estimate": float(one.estimate),
                    "std_err": float(one.standard_error),
                    "conf_interval": [float(one.low), float(one.high)],
                }
                for name, one in intervals.items()
            }

        out: dict[str, Any] = {"a": self.first.overall, "b": self.second.overall}
        out["difference_by_recording"] = plain(self.by_recording)
        if self.groups:
            out[f"difference_by_{self.key}"] = plain(self.by_group)
            out[f"{self.key}s"] = list(self.groups)
        out["significance_level"] = self.significance
        out["settings"] = self.first.settings.describe()
        out["files"] = list(self.first.files)
        return out


def compare(
    reference: Events,
    first: Events,
    second: Events,
    *,
    key: str = "room",
    significance: float = 0.05,
    strict: bool = False,
    **options: Any,
) -> Comparison:
    """Compare predictions A (`first`) and B (`second`) of the same recordings.

    Parameters
    ----------
    reference, first, second : as in `score`
    key : what in the file names joins recordings into groups: `<key><number>`
    significance : probability that an interval misses
    strict, options : as in `score`

    Raises
    ------
    InputError : as `score`; or the two have no recording in common
    """
    results = [score(reference, estimated, strict=strict, **options) for estimated in (first, second)]
    both = sorted(set(results[0].files) & set(results[1].files))
    if not both:
        raise InputError("the two predictions have no recording in common")
    lonely = set(results[0].files) ^ set(results[1].files)
    if lonely:
        rule = f"{len(lonely)} recordings have a prediction in one of the two only and are left out of both: "
        Notices(strict).tell(rule + ", ".join(sorted(lonely)[:3]))
    chosen = [result.select(both) for result in results]
    return Comparison(chosen[0], chosen[1], key=key, significance=significance)
