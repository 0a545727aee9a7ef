"""Options of python -m simulation --layout ansim|...|tau2019|nigens2020|nigens2021|mono: sets without pictures."""

from __future__ import annotations

import argparse
from typing import Any

from simulation.bank import own_classes
from simulation.tut_tau.classes import CLASS_SETS
from simulation.tut_tau.layouts import LAYOUTS
from simulation.tut_tau.settings import SetSettings
from util.errors import InputError
from util.parallel import add_where


def parser() -> argparse.ArgumentParser:
    """The options, grouped by what they are about."""
    command = argparse.ArgumentParser(
        prog="python -m simulation",
        description="Make a small synthetic set in the layout of TUT Sound Events 2018, TAU Spatial Sound Events 2019 "
        "or TAU-NIGENS Spatial Sound Events 2020 or 2021: sound and labels with directions; or mono recordings with "
        "labels of start and end, to train detection alone. An interrupted run continues where it stopped when called "
        "again.",
        epilog="Size of the real sets: "
        + "; ".join(f"{key}: {row.real}" for key, row in LAYOUTS.items() if key not in ("resim", "cansim", "cresim"))
        + ". Example: python -m simulation --layout nigens2020 --out data_nigens2020 --train 4 --test 2",
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
        "rooms and the overlaps in turns; nigens2020, nigens2021: of each fold (4); mono: in all (60)",
    )
    group.add_argument(
        "--test",
        type=int,
        metavar="N",
        help="recordings to test, of each split and overlap (default 8); tau2019: to evaluate, split 0 (0), as "
        "nigens2020 and nigens2021 (2); mono: in all (20)",
    )
    group.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="length of a recording (default 30; tau2019, nigens2020, nigens2021: 60; mono: 10)",
    )
    group.add_argument("--ov", metavar="A,B", help="most events at one time, one sub-set for each (default: all)")
    group.add_argument(
        "--splits", metavar="A,B", help="splits to make (default 1; sets with folds: all); of real and mreal 1, 8, 9"
    )
    group.add_argument("--formats", metavar="A,B", help="tau2019, nigens2020, nigens2021: foa, mic (default: both)")
    group.add_argument("--seed", type=int, help="everything random derives from it: same seed, same bytes (default 0)")
    add_where(group, also=["--processes"], what="recordings")
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    group = command.add_argument_group("mono")
    group.add_argument(
        "--classes",
        metavar="NAME",
        help=f"the layout whose classes they are: {', '.join(CLASS_SETS)} (default starss23)",
    )
    group.add_argument(
        "--sound-bank",
        metavar="DIR",
        help="dry recordings, one sub-folder per class named after it (or NN_ and the name); classes without a folder "
        "are made procedurally. Without --classes the folders are the classes",
    )
    group.add_argument(
        "--weak", action="store_true", help="labels say which classes there are in a recording, not when"
    )
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
        "classes": arguments.classes,
        "sound_bank": arguments.sound_bank,
        "weak": arguments.weak or None,
    }
    if arguments.sound_bank is not None and arguments.classes is None:
        chosen["names"] = own_classes(arguments.sound_bank)
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
