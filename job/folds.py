"""-train with cross-validation: every split in turn, scores per split and pooled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from job.data import open_roots
from job.evaluate import evaluate_checkpoint
from job.train import run_name, score_line
from job.train import train as train_one
from seld_validator import pooled
from util.errors import InputError
from util.files import write_text
from util.runs import named_run_dir, new_run_dir, result_checkpoint


def train(given: dict[str, Any], command: str) -> int:
    """Train once, or with --split all once for each split of the data set."""
    if given.get("split") != "all" or given.get("resume"):
        return train_one(given, command)
    roots, args = open_roots(given)
    folds = roots[0].layout.folds
    if not folds:
        rule = f"--split all: layout {roots[0].layout.name} has no splits for cross-validation"
        raise InputError(rule, path=roots[0].path)
    if not args["val"]:
        raise InputError("--split all needs -val: the splits are scored and pooled")
    base = _base_folder(args, roots)
    found = {}
    for fold in folds:
        print(f"\nsplit {fold} of {', '.join(map(str, folds))}", flush=True)
        status = train_one({**given, "split": str(fold)}, command, run_folder=base / f"split{fold}")
        if status:
            return status
        checkpoint = result_checkpoint(base / f"split{fold}")
        found[fold], _ = evaluate_checkpoint({"data_root": args["data_root"]}, checkpoint, command)
    lines = [f"split {fold}: {score_line(one.scores.overall)}" for fold, one in found.items()]
    lines.append(f"pooled: {score_line(pooled(list(found.values())).overall)}")
    lines.append(f"# {len(folds)} splits, each tested by a model that was trained without it; command {command}")
    write_text(base / "result.txt", "".join(line + "\n" for line in lines))
    print("\n" + "\n".join(lines[:-1]) + f"\n\nresult  {base / 'result.txt'}")
    return 0


def _base_folder(args: dict[str, Any], roots: list[Any]) -> Path:
    """Folder of all splits."""
    monitor_path = Path(args["monitor_path"] or Path(roots[0].path) / "model_monitor")
    if args["job_id"] is None:
        return new_run_dir(monitor_path)
    return named_run_dir(monitor_path, run_name(args, roots[0].layout.name, args["format"] or "foa"))
