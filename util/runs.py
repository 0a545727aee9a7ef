"""Run folders: model_monitor/<DateTime> with configuration, checkpoints, TensorBoard, csv folders and results."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from util.errors import InputError
from util.files import read_json

SELECTED = "selected.json"
MONITOR = "model_monitor"  # beside the data, where -m names no other folder
_CHECKPOINT = re.compile(r"params_.*_(\d{7})\.pth$")


def new_run_dir(monitor_path: Path) -> Path:
    """Make model_monitor/<DateTime>; a number is added where two runs start in one second."""
    stamp = datetime.now().strftime("%Y%m%d%H%M%S")
    for attempt in range(1000):
        run_dir = monitor_path / (stamp if attempt == 0 else f"{stamp}_{attempt}")
        try:
            run_dir.mkdir(parents=True)
            return run_dir
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"cannot be made ({error.strerror}); -m DIR: elsewhere", path=run_dir) from error
    raise InputError("holds too many runs of one second", path=monitor_path)


def named_run_dir(monitor_path: Path, name: str) -> Path:
    """Make model_monitor/<name>.

    Raises
    ------
    InputError : there is a run of that name
    """
    if re.fullmatch(r"[\w.+-]+", name) is None:
        raise InputError(f"run name '{name}': letters, digits, '_', '-' and '.' only (it comes from the job id)")
    run_dir = monitor_path / name
    try:
        run_dir.mkdir(parents=True)
    except FileExistsError:
        rule = "there is a run of this name: choose another job id, or go on with it: python seld.py -train -val "
        raise InputError(rule + f"--resume {run_dir}", path=run_dir) from None
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror}); -m DIR: elsewhere", path=run_dir) from error
    return run_dir


def iteration_of(checkpoint: Path) -> int | None:
    """Iteration in the name of a checkpoint, None for other names."""
    match = _CHECKPOINT.match(checkpoint.name)
    return int(match.group(1)) if match else None


def checkpoints_of(run_dir: Path) -> list[Path]:
    """Checkpoints of a run, by iteration."""
    found = [path for path in run_dir.glob("params_*.pth") if iteration_of(path) is not None]
    return sorted(found, key=lambda path: iteration_of(path) or 0)


def result_checkpoint(run_dir: Path) -> Path:
    """The checkpoint that is the run's result: the selected one (see --select), else the last.

    Raises
    ------
    InputError : the run has none
    """
    if (run_dir / SELECTED).is_file():
        selected = run_dir / read_json(run_dir / SELECTED)["checkpoint"]
        if selected.is_file():
            return selected
    checkpoints = checkpoints_of(run_dir)
    if not checkpoints:
        splits = sorted({path.parent.name for path in run_dir.glob("split*/params_*.pth")})
        rule = f"; its splits do, name one of them: {', '.join(splits)}" if splits else ""
        raise InputError(f"holds no checkpoint (params_*.pth){rule}", path=run_dir)
    return checkpoints[-1]


def newest_run(monitor_paths: Iterable[Path]) -> Path:
    """The run folder whose newest checkpoint is the newest of all.

    Raises
    ------
    InputError : there is no run with a checkpoint
    """
    monitor_paths = list(monitor_paths)
    runs = [(path.stat().st_mtime, path.parent) for root in monitor_paths for path in root.glob("*/params_*.pth")]
    if not runs:
        places = ", ".join(str(path) for path in monitor_paths) or f"{Path.cwd()}/data_*/model_monitor"
        raise InputError(f"no run with a checkpoint in {places}: train first, or name a checkpoint with -em")
    return max(runs)[1]


def named_checkpoint(given: Mapping[str, Any], *, shipped: Path | None = None) -> Path:
    """The checkpoint of -em (or the result of the run folder that it names), else that of the newest run.

    Parameters
    ----------
    given : values of flags; looked at are eval_model, monitor_path and data_root
    shipped : what is taken where none of these is given and there is no run

    Raises
    ------
    InputError : there is none
    """
    if given.get("eval_model"):
        named = Path(given["eval_model"])
    elif given.get("monitor_path"):
        named = newest_run([Path(given["monitor_path"])])
    else:
        roots = given.get("data_root") or sorted(Path().glob("data_*"))
        try:
            named = newest_run(Path(root) / MONITOR for root in roots)
        except InputError:
            if shipped is None or given.get("data_root") or not shipped.is_file():
                raise
            return shipped
    return result_checkpoint(named) if named.is_dir() else named


def code_version() -> str:
    """Commit of the checkout, "+" behind it when files were changed since; "unknown" outside git."""
    root = Path(__file__).resolve().parent.parent
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=10)
            for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
