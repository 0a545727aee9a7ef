"""python -m report.general RUN...: the tables of the general network's paper: modules by themselves, pairs aligned."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics import score
from dcase2022_task3_seld_metrics.score_table import SCORES
from output_format.contract import OneTask
from output_format.formats import OUTPUT_FORMATS
from report.analysis import ClipResult, load_evaluation
from system.table import SYSTEMS
from util.cli import run_main
from util.errors import InputError
from util.label_sheet import Clip
from util.labels import read_label_intervals

EDITION = "2020"
# how the paper calls the columns, by the score's name
JOINT = {"ER": "ER", "F": "F1 / %", "LE": "DE / °", "LR": "FR / %", "SELD": "SELD"}
ALONE = {name: SCORES[name].heading for name in ("ER", "F", "SED_error", "mAP", "mAP_azimuth", "mAP_elevation")}


@dataclass(frozen=True)
class RunScores:
    """Scores of one run.

    Attributes
    ----------
    system : name of its row, assembled systems with their modules: "general:sed_m:doa_iv"
    share : of the training recordings
    scores : by name
    alone : of a module, not of sounds and their directions together
    recordings : that were scored
    """

    system: str
    share: float
    scores: Mapping[str, float]
    alone: bool
    recordings: int

    @property
    def modules(self) -> tuple[str, ...]:
        """What the paper calls the modules of an assembled system, or the module; of other systems ()."""
        base, *names = self.system.split(":")
        slots = SYSTEMS["general"].slots
        assert slots is not None  # of the row
        if names:
            return tuple(known[name].title for known, name in zip(slots.modules.values(), names))
        return tuple(one.title for known in slots.modules.values() for one in known.values() if one.system == base)


def scores_of(run: Path) -> RunScores:
    """Scores of the newest evaluation of a run: of a module its own, of a whole system those of DCASE 2020.

    Raises
    ------
    InputError : no raw output with labels; damaged files
    """
    evaluation = load_evaluation(run)
    about = evaluation.clips[0].description
    share, system = float(evaluation.args.get("share", 1.0)), str(about["system"])
    output_format = OUTPUT_FORMATS[about["format"]].from_description(about, len(about["classes"]))
    if isinstance(output_format, OneTask):
        pairs = [_encoded(output_format, clip, evaluation.args) for clip in evaluation.clips]
        truth, found = zip(*pairs)
        scores = output_format.scores(truth, found, evaluation.thresholds)
        return RunScores(system, share, scores, True, len(pairs))
    reference = {clip.name: clip.reference for clip in evaluation.clips}
    estimated = {clip.name: clip.estimated for clip in evaluation.clips}
    scores = score(reference, estimated, edition=EDITION, classes=evaluation.classes).overall
    return RunScores(system, share, scores, False, len(reference))


def _encoded(output_format: OneTask, clip: ClipResult, args: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and raw output of a recording."""
    about, labels = clip.description, clip.path("labels")
    if labels is None:
        raise InputError("has no labels, or they are not there any more", path=clip.raw)
    raw = np.load(clip.raw, allow_pickle=False)
    # the page calls the classes otherwise where the output knows none; their number is what counts here
    classes = [str(index) for index in range(len(about["classes"]))] if about["format"] == "directions" else None
    names = about["classes"] if classes is None else classes
    table = read_label_intervals(labels, about.get("label_dialect", "starss23"), names, clip=Clip.of(about))
    return output_format.encode_clip(table, raw.shape[-1]), raw


# tables ---------------------------------------------------------------------------------------------------------------


def pair_table(found: Iterable[RunScores]) -> str:
    """Markdown: a line for each pair of modules and each joint system; of several runs mean ± deviation (n - 1)."""

    def named(one: RunScores) -> tuple[str, ...]:
        return one.modules or (one.system, "-")

    return _table([one for one in found if not one.alone], ("SED", "DOA"), named, JOINT)


def module_table(found: Iterable[RunScores]) -> str:
    """Markdown: a line for each module."""
    return _table([one for one in found if one.alone], ("module",), lambda one: one.modules, ALONE)


def share_table(found: Iterable[RunScores]) -> str:
    """Markdown: a line for each system and share of the joint recordings."""

    def named(one: RunScores) -> tuple[str, ...]:
        return f"{100 * one.share:g} %", " + ".join(one.modules) or one.system

    return _table([one for one in found if not one.alone], ("recordings", "system"), named, JOINT)


def _table(
    found: Sequence[RunScores],
    heads: Sequence[str],
    named: Callable[[RunScores], tuple[str, ...]],
    columns: Mapping[str, str],
) -> str:
    rows: dict[tuple[str, ...], list[RunScores]] = {}
    for one in found:
        rows.setdefault(named(one), []).append(one)
    lines = [f"| {' | '.join((*heads, *columns.values(), 'runs'))} |"]
    lines.append("|---" * len(heads) + "|--:" * (len(columns) + 1) + "|")
    for names, runs in rows.items():
        cells = [_cell(name, [one.scores[name] for one in runs if name in one.scores]) for name in columns]
        lines.append(f"| {' | '.join((*names, *cells))} | {len(runs)} |")
    return "\n".join(lines)


def _cell(name: str, values: Sequence[float]) -> str:
    """Mean, and the deviation where there are several."""
    if not values:
        return "-"
    row = SCORES[name]
    mean = f"{row.factor * np.mean(values):.{row.digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {row.factor * np.std(values, ddof=1):.{row.digits}f}"


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m report.general",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Scores of runs of the general network that were evaluated (python seld.py -eval): of modules by
themselves (segments of 1 s; average precision), of aligned pairs and of joint systems by the metrics of DCASE 2020.
Several runs of one kind (seeds) become mean and standard deviation (n - 1).""",
        epilog="""examples
  python -m report.general SED_RUN DOA_RUN ALIGNED_RUN JOINT_RUN
  python -m report.general --share RUN...            by the share of the recordings that they were trained on""",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs that were evaluated")
    parser.add_argument("--share", action="store_true", help="a line for each system and share of the recordings")
    args = parser.parse_args(argv)
    found = [scores_of(Path(run)) for run in args.runs]
    tables = [module_table(found)] if any(one.alone for one in found) else []
    tables += [share_table(found) if args.share else pair_table(found)] if not all(one.alone for one in found) else []
    print("\n\n".join(tables))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
