"""Command line of the metrics.

    python -m dcase2022_task3_seld_metrics REFERENCE_DIR PREDICTION_DIR --edition 2023 --average macro --jackknife
    python -m dcase2022_task3_seld_metrics compare REFERENCE_DIR PREDICTION_A PREDICTION_B

Exit status: 0 scored, 2 bad input (one line on standard error says file, line and rule).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics.compare import compare
from dcase2022_task3_seld_metrics.editions import DEFAULT, TABLE_EDITIONS
from dcase2022_task3_seld_metrics.layouts import LAYOUT_NAMES
from dcase2022_task3_seld_metrics.notices import MetricWarning
from dcase2022_task3_seld_metrics.result import Result
from dcase2022_task3_seld_metrics.scoring import score
from dcase2022_task3_seld_metrics.text import class_table, comparison_table, describe, group_table, overall_table
from util.cli import run_main
from util.errors import InputError
from util.files import write_json
from util.parallel import add_where, where_of
from util.text import read_text

_WARNINGS_SHOWN = 20
_PROGRAM = "python -m dcase2022_task3_seld_metrics"


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """Options that scoring and comparing share."""
    editions = ", ".join(TABLE_EDITIONS)
    parser.add_argument("--edition", default=DEFAULT, help=f"counting rule: {editions} (default {DEFAULT})")
    parser.add_argument("--average", choices=("macro", "micro"), help="default: macro from 2022 on, micro before")
    layouts = ", ".join(LAYOUT_NAMES)
    parser.add_argument("--layout", default="auto", help=f"csv reader: {layouts}; auto converts what is clear")
    unit = "of the predictions' distances, with layout auto [what a header says, else their size]"
    parser.add_argument("--distance-unit", choices=("m", "cm"), help=unit)
    parser.add_argument("--coordinates", choices=("polar", "cartesian"), help="what is compared, 2020 to 2023")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="class names, one per line")
    parser.add_argument("--class-count", type=int, help="number of classes (default: the edition's)")
    parser.add_argument("--threshold", type=float, default=20.0, metavar="DEG", help="angular threshold (default 20)")
    parser.add_argument(
        "--distance-threshold", type=float, default=np.inf, metavar="D", help="metres (2025: centimetres); default none"
    )
    parser.add_argument("--relative-distance-threshold", type=float, metavar="R", help="2024, 2025; default 1")
    parser.add_argument("--no-distance", action="store_true", help="2024 without distances")
    parser.add_argument("--onscreen", action="store_true", help="2025: the onscreen flag must be right as well")
    parser.add_argument("--modality", choices=("audio", "audio_visual"), default="audio_visual", help="2025")
    parser.add_argument("--variant", choices=("two-stage",), help="2019 as the Two-Stage programs count it")
    parser.add_argument("--strict", action="store_true", help="what is passed over with a warning becomes an error")
    parser.add_argument("--skip-unmatched", action="store_true", help="leave out predictions without reference")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a json file")
    add_where(parser, workers=1, what="parts of 512 csv files")


def _options(chosen: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `score`."""
    return {
        "edition": chosen.edition,
        "average": chosen.average,
        "layout": chosen.layout,
        "distance_unit": chosen.distance_unit,
        "coordinates": chosen.coordinates,
        "classes": None if chosen.classes is None else _class_names(chosen.classes),
        "class_count": chosen.class_count,
        "angle_threshold_deg": chosen.threshold,
        "distance_threshold": chosen.distance_threshold,
        "relative_distance_threshold": chosen.relative_distance_threshold,
        "distance": False if chosen.no_distance else None,
        "onscreen_required": chosen.onscreen,
        "modality": chosen.modality,
        "variant": chosen.variant,
        "strict": chosen.strict,
        "skip_unmatched": chosen.skip_unmatched,
        "where": where_of(chosen),
    }


def _class_names(path: Path) -> list[str]:
    names = [line.strip() for line in read_text(path, "list of class names").split("\n") if line.strip()]
    if not names:
        raise InputError("holds no class names", path=path)
    return names


def _json_value(value: Any) -> Any:
    """Plain values for json: NaN becomes null, infinities "inf" and "-inf"."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


class _Warnings:
    """Prints metric warnings on standard error, the first few in full."""

    def __init__(self) -> None:
        self.count = 0

    def show(self, message: Warning | str, category: type[Warning], *rest: Any) -> None:
        self.count += 1
        if self.count <= _WARNINGS_SHOWN:
            print(f"warning: {message}", file=sys.stderr)

    def end(self) -> None:
        if self.count > _WARNINGS_SHOWN:
            print(f"warning: and {self.count - _WARNINGS_SHOWN} more like these", file=sys.stderr)


def _score(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Score SELD predictions as DCASE does.")
    parser.add_argument("reference", type=Path, help="folder of reference csv files, or of folders that hold them")
    parser.add_argument("prediction", type=Path, help="folder of prediction csv files")
    _add_choices(parser)
    parser.add_argument("--jackknife", action="store_true", help="95 %% intervals over the recordings")
    parser.add_argument("--per-file", action="store_true", help="scores of every recording")
    parser.add_argument(
        "--group-by", metavar="KEY", help="scores by room, split, ir, ov: the number behind it in names"
    )
    chosen = parser.parse_args(argv)
    result = score(chosen.reference, chosen.prediction, **_options(chosen))
    _print(result, chosen)
    if chosen.json:
        content = result.to_dict(jackknife=chosen.jackknife, per_file=chosen.per_file)
        if chosen.group_by:
            groups = result.groups(chosen.group_by)
            content["groups"] = {group: one.to_dict() for group, one in groups.items()}
        write_json(chosen.json, _json_value(content))


def _print(result: Result, chosen: argparse.Namespace) -> None:
    intervals = result.jackknife if chosen.jackknife else None
    parts = [describe(result), overall_table(result, intervals)]
    if result.classwise and (result.settings.average == "macro" or not result.settings.edition.jackknife):
        parts.append(class_table(result, intervals))
    if chosen.per_file and result.files:
        parts.append(group_table({file: one.overall for file, one in result.per_file.items()}, "recording"))
    if chosen.group_by and result.files:
        groups = result.groups(chosen.group_by)
        parts.append(group_table({group: one.overall for group, one in groups.items()}, chosen.group_by))
    print("\n\n".join(parts))


def _compare(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} compare",
        description="Interval of the difference of two systems, paired by recording and room.",
    )
    parser.add_argument("reference", type=Path)
    parser.add_argument("first", type=Path, metavar="prediction_a")
    parser.add_argument("second", type=Path, metavar="prediction_b")
    _add_choices(parser)
    parser.add_argument("--group-by", default="room", metavar="KEY", help="what joins recordings (default room)")
    chosen = parser.parse_args(argv)
    comparison = compare(chosen.reference, chosen.first, chosen.second, key=chosen.group_by, **_options(chosen))
    print(describe(comparison.first), comparison_table(comparison), sep="\n\n")
    print("* the interval excludes 0" + ("" if comparison.groups else f"; names tell no {chosen.group_by}s to pair by"))
    if chosen.json:
        write_json(chosen.json, _json_value(comparison.to_dict()))


def main(argv: list[str] | None = None) -> None:
    """Score, or compare when the first argument says so."""
    argv = sys.argv[1:] if argv is None else argv
    shown = _Warnings()
    with warnings.catch_warnings():
        warnings.simplefilter("always", MetricWarning)
        warnings.showwarning = shown.show  # type: ignore[assignment]  # it takes what it does not read as *rest
        try:
            if argv[:1] == ["compare"]:
                _compare(argv[1:])
            else:
                _score(argv)
        finally:
            shown.end()


if __name__ == "__main__":
    sys.exit(run_main(main))
