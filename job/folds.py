"""-train with cross-validation: every split in turn, scores per split and pooled."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset.recordings import Recording
from dcase2022_task3_seld_metrics import Result
from job.data import monitor_path, open_roots
from job.evaluate import evaluate_checkpoint
from job.results import score_line
from job.train import run_name
from job.train import train as train_one
from seld_validator import Validation, pooled, precision_line
from system.checkpoint import load_checkpoint
from util.errors import InputError
from util.files import read_json, write_json, write_text
from util.job_arguments import Arguments
from util.runs import checkpoints_of, named_run_dir, new_run_dir, result_checkpoint

FOLDS = "cross_validation.json"


def train(given: dict[str, Any], command: str) -> int:
    """Train once, or with --split all once for each split of the data set."""
    resumed = Path(given["resume"]) / FOLDS if given.get("resume") else None
    if resumed is not None and resumed.is_file():
        about = read_json(resumed)
        return cross_validate(about["given"], about["command"], resumed.parent, about["folds"])
    if resumed is not None:
        return train_one(given, command)
    roots, args = open_roots(given)
    if args.split != "all":
        return train_one(given, command)
    folds = roots[0].layout.folds
    if not folds and "split" not in given:  # a task of the system's own data set says it
        return train_one(given, command)
    if not folds:
        rule = f"--split all: layout {roots[0].layout.name} has no splits for cross-validation"
        raise InputError(rule, path=roots[0].path)
    if not args.val:
        raise InputError("--split all needs -val: the splits are scored and pooled")
    base = _base_folder(args, roots)
    write_json(base / FOLDS, {"given": given, "command": command, "folds": list(folds)})
    print(f"all splits in {base}; after an interruption: python seld.py -train -val --resume {base}")
    return cross_validate(given, command, base, folds)


def cross_validate(given: dict[str, Any], command: str, base: Path, folds: Sequence[int | str | None]) -> int:
    """Train once for each split, score each on its test recordings, pool the scores: BASE/split1 ..., BASE/result.txt.

    A split that was scored before (its folder holds a result) is not trained again; one that was interrupted goes on.

    Parameters
    ----------
    folds : splits; (None,) trains once, on the data set's own division
    """
    found = {}
    for fold in folds:
        folder = base if fold is None else base / f"split{fold}"
        if fold is not None:
            print(f"\nsplit {fold}" + (f" of {', '.join(map(str, folds))}" if len(folds) > 1 else ""), flush=True)
        if not any(folder.glob("result_*.txt")):
            if checkpoints_of(folder):
                status = train_one({"resume": str(folder)}, command, score_test=False)
            else:
                shutil.rmtree(folder, ignore_errors=True)
                due = {**given, "split": str(fold)} if fold is not None else given
                status = train_one(due, command, run_folder=folder, score_test=False)
            if status:
                return status
        checkpoint = result_checkpoint(folder)
        settings = load_checkpoint(checkpoint).arguments
        scored = {"data_root": settings["data_root"], "device": settings["device"]}
        found[fold], _ = evaluate_checkpoint(scored, checkpoint, command)
    lines = [f"{_named(fold)}: {score_line(one.scores.overall)}" for fold, one in found.items() if one.scores]
    if len(folds) > 1:
        lines += _together(list(found.values()))
    count = "each split is" if len(folds) > 1 else "it is"
    lines.append(f"# {count} tested by a model that was trained without it; command {command}")
    write_text(base / "result.txt", "".join(line + "\n" for line in lines))
    print("\n" + "\n".join(lines[:-1]) + f"\n\nresult  {base / 'result.txt'}")
    return 0


def _together(found: Sequence[Validation]) -> list[str]:
    """Scores of the recordings of all splits: pooled, by room, by overlap; the mean average precision of the splits."""
    scores = pooled(found)
    lines = [f"pooled: {score_line(scores.overall)}"]
    recordings = [recording for one in found for recording in one.recordings]
    for key in ("room", "overlap"):  # by split they stand above
        for value, part in grouped(scores, recordings, key).items():
            lines.append(f"pooled, {key} {value}: {score_line(part.overall)} ({len(part.files)} recordings)")
    known = [one.precision for one in found if one.precision]
    if known:
        mean = {name: float(np.mean([one[name] for one in known])) for name in known[0]}
        lines.append(f"mean of the splits: {precision_line(mean)}")
    return lines


def grouped(scores: Any, recordings: Sequence[Recording], key: str) -> dict[str, Any]:
    """Results of the recordings of each room, or of each overlap, their counts pooled as those of all are.

    Parameters
    ----------
    scores : `Result`; scores that are not counted by recording (2018) have no groups
    key : attribute of `Recording`

    Returns
    -------
    by the value, in order; empty where all recordings have the same
    """
    if not isinstance(scores, Result):
        return {}
    names: dict[str, list[str]] = {}
    for recording in recordings:
        value = getattr(recording, key)
        if recording.name in scores.files and value not in (None, ""):
            names.setdefault(str(value), []).append(recording.name)
    if len(names) < 2:
        return {}
    return {value: scores.select(names[value]) for value in sorted(names)}


def _named(fold: int | str | None) -> str:
    return "test" if fold is None else f"split {fold}"


def _base_folder(args: Arguments, roots: list[Any]) -> Path:
    """Folder of all splits."""
    monitor = monitor_path(args, roots)
    if args.job_id is None:
        return new_run_dir(monitor)
    name = run_name(args, roots[0].layout.name, args.format or "foa")
    return named_run_dir(monitor, name.replace("_splitall", ""))
