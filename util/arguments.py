"""Command line of `python seld.py`: parsed and refused by the table of flags, resolved against files and defaults."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from util.errors import InputError
from util.flags import DEFAULTS, FLAGS, JOBS, Flag, Job
from util.job_arguments import Arguments

_PROGRAM = "python seld.py"
_TITLE = "Sound event localization and detection with sound and video."
_SOURCES = (
    "A value is taken from the flag, else from the recipe of the system, else from dataset.json in the data root,\n"
    "else from the default in [brackets]."
)
_MANY = {"repeated": {"action": "append"}, "some": {"nargs": "+"}, "any": {"nargs": "*"}}


class _Parser(argparse.ArgumentParser):
    """A parser whose usage and errors stay short: there are too many flags to name them all each time."""

    def __init__(self, job: Job | None):
        usage = f"{_PROGRAM} {' | '.join(one.option for one in JOBS.values())} [flags]; --help explains them"
        title = _TITLE if job is None else f"{job.title[0].upper()}{job.title[1:]}."
        super().__init__(
            prog=_PROGRAM,
            usage=usage if job is None else f"{_PROGRAM} {job.usage} [flags]",
            description=title,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )


def build_parser(job: Job | None = None) -> argparse.ArgumentParser:
    """The parser of all flags, or of those that a job takes; values that the user does not give are absent."""
    parser = _Parser(job)
    groups: dict[str, Any] = {}
    for flag in FLAGS.values():
        if job is not None and job.name not in flag.jobs:
            continue
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        groups[flag.group].add_argument(*(flag.options or (flag.name,)), **_options(flag))
    if job is not None:
        parser.epilog = f"examples\n{_examples(job)}\n\n{_SOURCES}"
    return parser


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Give another command line some of these flags."""
    for name in names:
        parser.add_argument(*FLAGS[name].options, **_options(FLAGS[name]))


def _options(flag: Flag) -> dict[str, Any]:
    """What argparse must know of a flag."""
    options: dict[str, Any] = {"help": flag.help.replace("%", "%%")}
    if flag.options:
        options["dest"] = flag.name
    if flag.kind is bool:
        return {**options, "action": "store_true"}
    if flag.metavar is not None:
        options["metavar"] = flag.metavar
    if flag.choices:
        options["choices"] = flag.choices
    return {**options, **_MANY.get(flag.many, {}), "type": _reader(flag)}


def _reader(flag: Flag) -> Callable[[str], Any]:
    """Text of the command line -> value."""

    def read(text: str) -> Any:
        if flag.convert is not None:
            try:
                return flag.convert(text)
            except InputError as error:
                raise argparse.ArgumentTypeError(error.rule) from None
        value = flag.kind(text)
        trouble = None if flag.choices else flag.trouble(value)
        if trouble is not None:
            raise argparse.ArgumentTypeError(trouble)
        return value

    read.__name__ = flag.kind.__name__  # argparse names it: "invalid int value"
    return read


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """The values that the flags give.

    `--help` is answered and ends the program: by the job that is named beside it, else with all jobs. So does a flag
    that there is not, or that the job does not take, with one line that says so.
    """
    if any(word in ("-h", "--help") for word in argv):
        _explain([job for job in JOBS.values() if set(FLAGS[job.name].options) & set(argv)])
    parser = build_parser()
    given = vars(parser.parse_args(argv))
    jobs = jobs_of(given)
    if len(jobs) == 1:
        (job,) = jobs
        strange = next((FLAGS[name] for name in given if job.name not in FLAGS[name].jobs), None)
        if strange is not None:
            parser.error(_refusal(job, strange, argv))
    return given


def jobs_of(given: Mapping[str, Any]) -> list[Job]:
    """The jobs that are asked for; task and job ids alone train."""
    found = [job for name, job in JOBS.items() if given.get(name)]
    return [JOBS["train"]] if not found and given.get("ids") else found


def _refusal(job: Job, flag: Flag, argv: Sequence[str]) -> str:
    words = {word.partition("=")[0] for word in argv}
    typed = next((option for option in flag.options if option in words), flag.option)
    owners = [JOBS[name].option for name in flag.jobs]
    known = " and ".join(filter(None, (", ".join(owners[:-1]), owners[-1])))
    return f"{job.option} does not take {typed}; it belongs to {known}"


def _explain(jobs: Sequence[Job]) -> NoReturn:
    """Help, printed; the program ends."""
    if len(jobs) == 1:
        print(build_parser(jobs[0]).format_help(), end="")
        raise SystemExit(0)
    width = max(len(job.usage) for job in JOBS.values()) + 2
    lines = [f"usage: {_PROGRAM} JOB [flags]", "", _TITLE, ""]
    lines += ["jobs", *(f"  {job.usage:{width}}{job.title}" for job in JOBS.values()), ""]
    lines += ["flags of a job, grouped and with examples", f"  {_PROGRAM} -train --help", ""]
    lines += ["examples", *(_examples(job) for job in JOBS.values()), "", _SOURCES]
    print("\n".join(lines))
    raise SystemExit(0)


def _examples(job: Job) -> str:
    """Command lines, what they do below each: some are long."""
    return "\n".join(f"  {_PROGRAM} {command}\n      {meaning}" for command, meaning in job.examples)


def resolve(
    given: Mapping[str, Any],
    dataset_settings: Mapping[str, Any],
    recipe: Mapping[str, Any] | None = None,
    *,
    dataset_file: str = "dataset.json",
) -> Arguments:
    """Flags, then the recipe of the system, then what the data root's dataset.json sets, then the defaults.

    Raises
    ------
    InputError : dataset.json sets a value that the flag could not have; a seed out of range
    """
    resolved = dict(DEFAULTS)
    for flag in FLAGS.values():
        if not flag.dataset or flag.name not in dataset_settings:
            continue
        value = dataset_settings[flag.name]
        if flag.kind is float and type(value) is int:
            value = float(value)
        trouble = flag.trouble(value)
        if trouble is not None:
            raise InputError(f"{flag.name} {trouble}", path=dataset_file)
        resolved[flag.name] = value
    resolved.update(recipe or {})
    resolved.update(given)
    if not 0 <= resolved["random_seed"] < 2**63:
        raise InputError(f"-rs {resolved['random_seed']}: the seed must be 0 to 2^63 - 1")
    return Arguments.of(resolved)
