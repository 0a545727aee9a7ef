"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dcase2022_task3_seld_metrics.compare import Comparison
from dcase2022_task3_seld_metrics.jackknife import Interval
from dcase2022_task3_seld_metrics.result import Jackknife, Result
from dcase2022_task3_seld_metrics.score_table import ANGLES, SCORES


def _value(name: str, value: float) -> str:
    digits = 2 if SCORES[name].unit == "°" or (name == "DistE" and abs(value) > 20) else 4
    if np.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"


def _interval(name: str, one: Interval | None, place: tuple[int, ...] = ()) -> str:
    if one is None:
        return ""
    low, high = one.low[place], one.high[place]
    return "[-]" if np.isnan(low) else f"[{_value(name, low)}, {_value(name, high)}]"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text -> aligned columns, the first to the left."""
    rows = [[*row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            field.ljust(width) if column == 0 else field.rjust(width)
            for column, (field, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def describe(result: Result) -> str:
    """What was scored, and how."""
    settings = result.settings
    chosen = ", ".join(f"{key} {value}" for key, value in settings.describe().items() if key != "edition")
    lines = [settings.edition.title, chosen]
    lines += [f"{side} rows: {words}" for side, words in result.layout.items()]
    lines.append(
        f"{len(result.files)} recordings"
        + (f", {len(result.unscored)} references without prediction" if result.unscored else "")
    )
    return "\n".join(lines)


def overall_table(result: Result, intervals: Jackknife | None) -> str:
    """Overall scores; beside the official macro average the one over the classes that occur."""
    count = int(result.occurs.sum())
    header = ["", result.settings.average]
    header += ["95 % interval"] if intervals else []
    header += [f"macro over the {count} of {len(result.classes)} classes that occur"] if result.occurring else []
    rows = [header]
    for name, value in result.overall.items():
        row = [f"{name} ({_meaning(name, result)})", _value(name, value)]
        row += [_interval(name, intervals.overall.get(name))] if intervals else []
        row += [_value(name, result.occurring[name])] if result.occurring else []
        rows.append(row)
    matched = [name for name in ANGLES if f"{name}_matched" in result.occurring]
    for name in matched:
        row = [f"{name} (matched classes only, deg)", ""] + ([""] if intervals else [])
        rows.append([*row, _value(name, result.occurring[f"{name}_matched"])])
    return table(rows)


def _meaning(name: str, result: Result) -> str:
    """A score in words: "F score within 20 deg"."""
    settings, one = result.settings, SCORES[name]
    words = one.title(f"{settings.limits.angle_deg:g} deg" if settings.edition.has_classes else None)
    if one.unit == "°":
        return f"{words}, deg"
    return f"{words}, lower is better" if name == "SELD" else words


def class_table(result: Result, intervals: Jackknife | None) -> str:
    """Class-wise scores with the number of references."""
    names = [name for name in result.classwise if name != "ER"]  # one value for all classes
    expected = result.components["Nref"].sum(axis=0)
    with_intervals = bool(intervals and intervals.classwise)
    rows = [["class", "references", *names] if not with_intervals else ["class", "references"]]
    if with_intervals:
        rows[0] += [part for name in names for part in (name, "95 % interval")]
    for index, label in enumerate(result.classes):
        row = [label, f"{int(expected[index])}"]
        for name in names:
            row.append(_value(name, result.classwise[name][index]))
            if intervals is not None and with_intervals:
                row.append(_interval(name, intervals.classwise[name], (index,)))
        rows.append(row)
    return table(rows)


def group_table(results: dict[str, dict[str, float]], label: str) -> str:
    """One row of overall scores per recording or group."""
    names = list(next(iter(results.values())))
    return table(
        [[label, *names], *([group, *(_value(name, one[name]) for name in names)] for group, one in results.items())]
    )


def comparison_table(comparison: Comparison) -> str:
    """Scores of both systems and the difference with its intervals; * where an interval excludes 0."""
    confidence = f"{100 * (1 - comparison.significance):g} %"
    header = ["", "A", "B", "B - A", f"{confidence} by recording ({len(comparison.first.files)})"]
    if comparison.groups:
        header.append(f"{confidence} by {comparison.key} ({len(comparison.groups)})")
    rows = [header]
    for name, first in comparison.first.overall.items():
        second = comparison.second.overall[name]
        row = [name, _value(name, first), _value(name, second), _value(name, second - first)]
        for intervals in (comparison.by_recording, comparison.by_group):
            if intervals:
                one = intervals[name]
                row.append(_interval(name, one) + (" *" if one.low > 0 or one.high < 0 else "  "))
        rows.append(row)
    return table(rows)
