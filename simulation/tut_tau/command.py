"""Options of python -m simulation --layout ansim|resim|cansim|cresim|real|mansim|mreal|tau2019."""

from __future__ import annotations

import argparse
from typing import Any

from simulation.tut_tau.layouts import LAYOUTS
from simulation.tut_tau.settings import SetSettings
from util.errors import InputError
from util.parallel import add_where


def parser() -> argparse.ArgumentParser:
    """The options, grouped by what they are about."""
    command = argparse.ArgumentParser(
        prog="python -m simulation",
        description="Make a small synthetic set in the layout of TUT Sound Events 2018 or TAU Spatial Sound Events "
        "2019: sound and labels with start, end and direction, on a grid of directions. An interrupted run continues "
        "where it stopped when called again.",
        epilog="Example: python -m simulation --layout resim --out data_resim --ov 1,2 --train 24 --test 8",
    )
    group = command.add_argument_group("what to make")
    group.add_argument(
        "--layout", required=True, metavar="NAME", help="; ".join(f"{key}: {row.title}" for key, row in LAYOUTS.items())
    )
    group.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the data set: new, empty, or begun before"
    )
    group.add_argument(
        "--train",
        type=int,
        metavar="N",
        help="recordings to train, of each split and overlap (default 24); tau2019: of each split (10), over five "
        "rooms and the overlaps in turns",
    )
    group.add_argument(
        "--test",
        type=int,
        metavar="N",
        help="recordings to test, of each split and overlap (default 8); tau2019: to evaluate, split 0 (0)",
    )
    group.add_argument("--seconds", type=float, metavar="S", help="length of a recording (default 30; tau2019: 60)")
    group.add_argument("--ov", metavar="A,B", help="most events at one time, one sub-set for each (default: all)")
    group.add_argument(
        "--splits", metavar="A,B", help="splits to make (default 1; tau2019: all four); of real and mreal 1, 8, 9"
    )
    group.add_argument("--formats", metavar="A,B", help="tau2019: foa, mic (default: both)")
    group.add_argument("--seed", type=int, help="everything random derives from it: same seed, same bytes (default 0)")
    add_where(group, also=["--processes"], what="recordings")
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    group = command.add_argument_group("rooms and directions")
    group.add_argument("--train-rooms", type=int, metavar="N", help="rooms of each split's training (default 4)")
    group.add_argument("--test-rooms", type=int, metavar="N", help="rooms of each split's test (default 2)")
    group.add_argument(
        "--rt60",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="reverberation time at mid frequencies in seconds (default 0.3 0.7)",
    )
    group.add_argument(
        "--test-offset",
        type=int,
        metavar="DEG",
        help="unseen directions: shift the 10-degree grid of the test recordings by this in azimuth and elevation "
        "(5 is half-way), while training stays on it",
    )
    return command


def settings_from(arguments: argparse.Namespace) -> SetSettings:
    """Options -> settings, checked.

    Raises
    ------
    InputError : an option makes no sense
    """
    chosen: dict[str, Any] = {
        "formats": _listed(arguments.formats),
        "splits": _numbers("--splits", arguments.splits),
        "overlaps": _numbers("--ov", arguments.ov),
        "rt60_s": None if arguments.rt60 is None else tuple(arguments.rt60),
        "test_offset_deg": arguments.test_offset,
    }
    same = ("seconds", "train", "test", "seed", "train_rooms", "test_rooms")
    return SetSettings.of(arguments.layout, **chosen, **{name: getattr(arguments, name) for name in same})


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    parts = _listed(text)
    try:
        return None if parts is None else tuple(int(part) for part in parts)
    except ValueError:
        raise InputError(f"{option} must be numbers with commas between, 1,2; got '{text}'") from None
