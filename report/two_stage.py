"""python -m report.two_stage RUN...: scores by method, as in the paper: joint, two-stage, no transfer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics import score
from dcase2022_task3_seld_metrics.average_precision import average_precision
from dcase2022_task3_seld_metrics.editions import EDITIONS
from dcase2022_task3_seld_metrics.score_table import SCORES
from output_format.candidates import merge
from output_format.contract import ActivityApart
from output_format.formats import OUTPUT_FORMATS
from output_format.rows import events_in_file
from report.analysis import find_file
from util.cli import run_main
from util.dialects import dialect_named
from util.errors import InputError
from util.files import read_json
from util.labels import read_label_events, read_label_intervals

EDITION = "2019"
# what the paper calls a system, by its name and by whose activity its directions are scored with
METHODS = {
    ("two_stage_joint", "own"): "joint (SELDnet)",
    ("two_stage", "own"): "two-stage",
    ("two_stage_scratch", "own"): "two-stage, no transfer",
    ("two_stage", "reference"): "directions alone (DOA)",
    ("two_stage_scratch", "reference"): "directions alone, no transfer (DOA-NT)",
}
DIRECTIONS_ONLY = ("DOA_error",)  # what the labels' activity leaves to be scored
COLUMNS = ("ER", "F", "mAP", "mAP_binary", "DOA_error", "frame_recall")
_PRECISION = {"mAP": "mAP", "mAP_binary": "mAP of 0 and 1"}


@dataclass(frozen=True)
class MethodScores:
    """Scores of one run.

    Attributes
    ----------
    system : name of its row, activity : "own" or "reference"
    scores : by `COLUMNS`
    recordings : that were scored, splits : whose predictions are pooled
    """

    system: str
    activity: str
    scores: Mapping[str, float]
    recordings: int
    splits: int

    @property
    def method(self) -> str:
        """What the table calls it; a system that the paper does not know has its own name."""
        reference = "" if self.activity == "own" else ", activity of the labels"
        return METHODS.get((self.system, self.activity), f"{self.system}{reference}")


def scores_of(run: Path) -> list[MethodScores]:
    """Scores of the evaluations of a run: by its own activity and, where it was evaluated so, by that of the labels.

    Of a cross-validation the csv rows of all splits are pooled; average precision is the mean of the splits.

    Parameters
    ----------
    run : run folder, folder of a cross-validation, or a folder of raw outputs

    Raises
    ------
    InputError : no raw output with labels; activity and directions are one; damaged files
    """
    if not run.is_dir():
        raise InputError("no such folder", path=run)
    splits = sorted(run.glob("split*")) if any(run.glob("split*/raw_*")) else [run]
    by_activity: dict[str, list[Path]] = {}
    for split in splits:
        newest: dict[str, Path] = {}
        folders = [split] if split.name.startswith("raw_") else list(split.glob("raw_*"))
        for folder in sorted(folders, key=lambda path: path.stat().st_mtime):
            for beside in list(folder.glob("*.json"))[:1]:
                newest[str(read_json(beside).get("activity", "own"))] = folder
        for activity, folder in newest.items():
            by_activity.setdefault(activity, []).append(folder)
    if not by_activity:
        raise InputError("holds no raw output: evaluate the run first (python seld.py -eval -em RUN)", path=run)
    return [_scored(activity, folders) for activity, folders in sorted(by_activity.items())]


def _scored(activity: str, folders: Sequence[Path]) -> MethodScores:
    """Folders of raw outputs, one of each split, scored together."""
    reference, estimated, precision, system, classes = {}, {}, [], "", ()
    for folder in folders:
        truth, probability, thresholds = [], [], np.zeros(0)
        for raw in sorted(folder.glob("*.npy")):
            about, output_format, output = _read(raw)
            system, classes, thresholds = about["system"], tuple(about["classes"]), np.asarray(about["thresholds"])
            labels = find_file(about["labels"], raw) if about.get("labels") else None
            if labels is None:
                raise InputError("has no labels, or they are not there any more", path=raw)
            dialect, frame_s = about.get("label_dialect", "starss23"), EDITIONS[EDITION].frame_s
            table = read_label_intervals(labels, dialect, classes)
            truth.append(output_format.probabilities(output_format.encode_clip(table, output.shape[-1])) > 0)
            probability.append(output_format.probabilities(output))
            events = merge(output_format.candidates(output, frame_s=frame_s), thresholds, about["unification_deg"])
            written = dialect_named(str(EDITIONS[EDITION].dialect))
            estimated[raw.stem] = events_in_file(events, written, output_format, output, thresholds)
            reference[raw.stem] = read_label_events(labels, dialect, classes, frame_s=events.frame_s)
        every = np.concatenate(truth), np.concatenate(probability)
        precision.append([average_precision(*every, threshold=limit).micro for limit in (None, thresholds)])
    overall = score(reference, estimated, edition=EDITION, classes=classes).overall
    mean = np.mean(precision, axis=0).tolist()
    scores = {**overall, **dict(zip(_PRECISION, mean))}
    kept = COLUMNS if activity == "own" else DIRECTIONS_ONLY
    return MethodScores(system, activity, {name: scores[name] for name in kept}, len(reference), len(folders))


def _read(raw: Path) -> tuple[dict[str, Any], ActivityApart, np.ndarray]:
    """A raw output with what its json says of it."""
    about = read_json(raw.with_suffix(".json"))
    try:
        output_format = OUTPUT_FORMATS[about["format"]].from_description(about, len(about["classes"]))
        output = np.load(raw, allow_pickle=False)
        about["system"], about["thresholds"], about["unification_deg"]
    except (KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise InputError(f"is no raw output that its json describes ({error})", path=raw) from None
    if not isinstance(output_format, ActivityApart):
        raise InputError(f"is of format {about['format']}, whose activity and directions are one", path=raw)
    return about, output_format, output


def table(found: Iterable[MethodScores]) -> str:
    """Markdown: a line for each method, in the order of the paper; of several runs mean ± deviation."""
    by_method: dict[str, list[MethodScores]] = {}
    for one in found:
        by_method.setdefault(one.method, []).append(one)
    known = list(METHODS.values())
    order = sorted(by_method, key=lambda method: known.index(method) if method in known else len(known))
    heads = [_PRECISION[name] if name in _PRECISION else SCORES[name].heading for name in COLUMNS]
    lines = [f"| method | {' | '.join(heads)} | runs |", "|---|" + "--:|" * (len(COLUMNS) + 1)]
    for method in order:
        runs = by_method[method]
        cells = [_cell(name, [one.scores[name] for one in runs if name in one.scores]) for name in COLUMNS]
        lines.append(f"| {method} | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)


def _cell(name: str, values: Sequence[float]) -> str:
    """Mean, and the deviation where there are several."""
    if not values:
        return "-"
    factor, digits = (1.0, 3) if name in _PRECISION else (SCORES[name].factor, SCORES[name].digits)
    mean = f"{factor * np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {factor * np.std(values, ddof=1):.{digits}f}"


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m report.two_stage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Scores by method, by the metrics of DCASE2019, computed from the raw outputs of evaluations:
joint, two-stage and no transfer; several runs of a method (seeds) as mean and standard deviation (n - 1). mAP is the
micro average of frames, beside it that of zeros and ones, as the reference program computes it.""",
        epilog="""examples
  python -m report.two_stage JOINT_RUN TWO_STAGE_RUN NO_TRANSFER_RUN
  python -m report.two_stage DATA/model_monitor/two_stage_1_mic_dev_a        the pooled splits of --split all""",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs that were evaluated")
    args = parser.parse_args(argv)
    found = [one for run in args.runs for one in scores_of(Path(run))]
    print(table(found))
    counts = sorted({(one.recordings, one.splits) for one in found})
    said = ", ".join(f"{recordings} in {splits} split{'s' * (splits > 1)}" for recordings, splits in counts)
    print(f"\nrecordings scored in a run: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
