"""-train: a run folder with checkpoints; with -val also scores at every checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset.layouts import DataRoot
from job.data import (
    monitor_path,
    open_roots,
)
from job.evaluate import evaluate_checkpoint
from job.stages import StagesRun
from system.presets import preset_of, with_changes
from util.errors import InputError
from util.files import read_json, write_json
from util.flags import RESUMABLE
from util.job_arguments import Arguments
from util.machine import make_fabric
from util.microphone_arrays import Array
from util.one_process import Processes
from util.runs import (
    code_version,
    named_run_dir,
    new_run_dir,
    result_checkpoint,
)


def train(given: dict[str, Any], command: str, *, run_folder: Path | None = None, score_test: bool = True) -> int:
    """Train the stages of a system from the beginning, or go on with an interrupted run (--resume).

    Parameters
    ----------
    run_folder : folder of the run; None: named by its ids or by the time
    score_test : runs in epochs are scored on the test list at their end
    """
    resumed = Path(given["resume"]) if given.get("resume") else None
    if resumed is not None:
        given = _given_before(given, resumed)
    roots, args = open_roots(given)
    fabric = make_fabric(args.device, args.devices, args.precision, training=True, nodes=args.nodes)
    run = StagesRun.prepared(given, args, roots, fabric, command, resumed)
    due = run.due(resumed)
    if not due:
        raise InputError("every stage of its system is trained", path=resumed)
    run.check(due)
    run.folder = run_folder or _run_dir(args, roots, run.array, fabric, resumed)
    if resumed is None and fabric.is_global_zero:
        run.folder.mkdir(parents=True, exist_ok=True)
        about = {"given": sorted(given), "command": command, "code_version": code_version()}
        write_json(run.folder / "args.json", {**args.to_dict(), **about})
    for stage in due:
        status = run.train(stage, resumed)
        if status:
            return status
    if fabric.is_global_zero and run.system.stages[-1] in due:
        run.print_next()
        if score_test and args.epochs and args.val:  # scored on the test list once, at the end
            print()
            evaluate_checkpoint({"data_root": args.data_root}, result_checkpoint(run.folder), command)
    return 0


def _given_before(given: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Arguments of a run that is to go on, with the changes that are allowed."""
    changed = {name: value for name, value in given.items() if name in RESUMABLE}
    ignored = sorted(given.keys() - changed.keys() - {"resume"})
    if ignored:
        print(f"--resume goes on with the run's own settings; ignored: {', '.join(ignored)}", file=sys.stderr)
    given = {**_arguments_of_run(run_dir), **changed}
    if "epochs" in changed and "max_iter" not in changed:
        given.pop("max_iter", None)  # follows from the epochs
    return given


def _arguments_of_run(run_dir: Path) -> dict[str, Any]:
    """Arguments that a run was started with, without what belongs to its start alone."""
    if not (run_dir / "args.json").is_file():
        raise InputError("is no run folder: it holds no args.json", path=run_dir)
    stored = read_json(run_dir / "args.json")
    own = {"command", "code_version", "resume", "given"}
    if "given" in stored:  # what follows from the epochs, or from the data set, follows from them again
        own |= {"max_iter", "model_save_interval"} - set(stored["given"])
    return {key: value for key, value in stored.items() if key not in own}


def _run_dir(args: Arguments, roots: Sequence[DataRoot], array: Array, fabric: Processes, resumed: Path | None) -> Path:
    """The run folder, the same in all processes: named by the job id where there is one, else by the time."""
    if resumed is not None:
        return resumed
    monitor = monitor_path(args, roots)
    if not fabric.is_global_zero:
        return Path(fabric.broadcast(""))
    if args.job_id is None:
        made = new_run_dir(monitor)
    else:
        made = named_run_dir(monitor, run_name(args, roots[0].layout.name, array.name))
    return Path(fabric.broadcast(str(made)))


def run_name(args: Arguments, dataset: str, format: str) -> str:
    """Name of a run by its ids, in the form of the system's seed."""
    mode = "eval" if args.split == "0" else "dev"
    split = args.split or "1"
    preset = preset_of(args.net)
    parts = {"dataset": dataset, "format": format, "mode": mode, "ov": args.ov, "split": split}
    settings = with_changes({**preset.settings, **args.task_settings}, args.set)
    return preset.run_name.format(**settings, **parts, task=args.task_id or "1", job=args.job_id)
