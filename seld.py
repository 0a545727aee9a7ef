"""Command line of the main job: python seld.py -train -val | -eval | -infer | -export | -submit | -tune. See --help."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from system.presets import ids_of, preset_of
from util import arguments, cache
from util.cli import run_main
from util.errors import InputError
from util.flags import DEFAULTS, JOBS


def parse(argv: list[str]) -> dict[str, Any]:
    """The values that flags give; a word that no flag and no system takes ends the program as a mistyped flag does."""
    given = arguments.parse(argv)
    try:
        ids_of(preset_of(given.get("net", DEFAULTS["net"])), given.get("ids", []))
    except InputError as error:
        arguments.build_parser().error(str(error))
    return given


def main(argv: list[str] | None = None) -> int:
    """Parse the flags, do one of the jobs; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    given = parse(argv)
    command = "python seld.py " + shlex.join(argv)
    jobs = [job.name for job in arguments.jobs_of(given)]
    if given.get("ids") and not given.get("train"):  # ids alone train and score, as in the seeds of these systems
        given |= {"train": True, "val": True} if jobs == ["train"] else {}
    if len(jobs) != 1:
        known = ", ".join(job.usage for job in JOBS.values())
        raise InputError(f"give exactly one of {known}; --help explains them")
    cache.use(given.get("cache"))
    # Each job imports PyTorch and the networks; --help and a mistyped flag are answered before that.
    if jobs == ["train"]:
        from job.folds import train as job
    elif jobs == ["eval"]:
        from job.evaluate import evaluate as job
    elif jobs == ["infer"]:
        from job.infer import infer as job
    elif jobs == ["tune"]:
        from job.tune import tune as job
    elif jobs == ["export"]:
        from job.export import export_checkpoint as job
    elif jobs == ["submit"]:
        from job.submit import submit as job
    else:
        from job.submit import check_submission as job
    return job(given, command)


if __name__ == "__main__":
    sys.exit(run_main(main))
