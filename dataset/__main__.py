"""`python -m dataset`: prepare and look at data sets. Sub-commands are rows of a table."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass

from util.cli import run_main


@dataclass(frozen=True)
class Command:
    """A sub-command: its words, and the module with `add_arguments(parser)` and `run(args) -> status`."""

    words: tuple[str, ...]
    module: str
    help: str


COMMANDS = (
    Command(("list",), "dataset.known", "data sets and weights that are known: hours, formats, licence, size, source"),
    Command(
        ("download",),
        "dataset.download",
        "fetch a data set: resumed, checked, unpacked into its layout",
    ),
    Command(
        ("convert", "stereo"),
        "dataset.convert_stereo",
        "clips of the DCASE2025 form out of STARSS23 or its kin: a stereo pair, a camera's view, folded labels",
    ),
    Command(
        ("check",),
        "doctor.check",
        "the doctor: levels, missing files, channel order, signs, turns and delays that do not fit labels or picture",
    ),
    Command(
        ("extract",),
        "job.extract",
        "write standardised features and labels of a whole set as files (training does not need them)",
    ),
    Command(
        ("prepare", "mrsaudio"),
        "dataset.prepare_mrsaudio",
        "cut, resample, label and split material in the form of the MRSAudio set",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Run a sub-command; its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    for command in COMMANDS:
        if tuple(argv[: len(command.words)]) == command.words:
            module = importlib.import_module(command.module)
            name = " ".join(command.words)
            parser = argparse.ArgumentParser(prog=f"python -m dataset {name}", description=command.help)
            module.add_arguments(parser)
            return module.run(parser.parse_args(argv[len(command.words) :]))
    parser = argparse.ArgumentParser(
        prog="python -m dataset",
        description="Prepare and look at data sets.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n" + "\n".join(f"  {' '.join(command.words):24s} {command.help}" for command in COMMANDS),
    )
    parser.add_argument("command", nargs="+", help="one of the commands below; each has its own --help")
    args = parser.parse_args(argv)
    parser.error(f"unknown command '{' '.join(args.command)}'")


if __name__ == "__main__":
    sys.exit(run_main(main))
