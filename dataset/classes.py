"""Names of the classes: of the data sets that are known, and of a user's own."""

from __future__ import annotations

import os
from pathlib import Path

from util.errors import InputError
from util.interval_csv import URBANSOUND8K

STARSS23_CLASSES = (
    "Female speech",
    "Male speech",
    "Clapping",
    "Telephone",
    "Laughter",
    "Domestic sounds",
    "Footsteps",
    "Door",
    "Music",
    "Musical instrument",
    "Water tap",
    "Bell",
    "Knock",
)

# Class names as the item names of MRSAudio spell them, in the order of its class index 1..31. Two that differ only in
# case are two classes.
MRSAUDIO_OBJECTS = (
    "toy_car",
    "maracas",
    "handbell",
    "stickbell",
    "gong",
    "Rattle",
    "slitdrum",
    "woodenshaker",
    "clash_cymbals",
    "woodenclapper",
    "chinesecymbals",
    "rainstick",
    "triangle",
    "woodenfish",
    "tambourine",
    "bell",
    "doubletoneblock",
    "WoodenClapper",
    "Claves",
    "whistle",
    "birdwhistle",
    "squeakingrubberchicken",
    "clap",
    "rotatingclapperboard",
    "thundertube",
    "fanwithpaper",
    "hairdryer",
    "Cheerclappers",
    "Tear_off_tape",
    "toy_train",
    "MultiPitchPercussionTube",
)
MRSAUDIO_CLASSES = ("unused", *MRSAUDIO_OBJECTS)  # class 0 never occurs
MRSAUDIO_CLASS_INDEX = {name: index for index, name in enumerate(MRSAUDIO_CLASSES) if index}


# The sounds of DCASE2016 task 2, as TUT Sound Events 2018 and TAU Spatial Sound Events 2019 number them.
TUT_CLASSES = (
    "knock",
    "drawer",
    "clearthroat",
    "phone",
    "keysDrop",
    "speech",
    "keyboard",
    "pageturn",
    "cough",
    "doorslam",
    "laughter",
)
URBAN_CLASSES = tuple(URBANSOUND8K.values())  # of REAL and MREAL


def read_classes(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a classes.txt: one name per line, the first is class 0; empty lines at the end are ignored.

    Raises
    ------
    InputError : no such file, no names, an empty line between names, a name that occurs twice
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is no list of class names: not a text file", path=path) from None
    return check_classes([line.strip() for line in text.rstrip().split("\n")], path=path, unit="line")


def check_classes(names: object, *, path: str | os.PathLike[str], unit: str = "class") -> tuple[str, ...]:
    """Names of classes, checked; `path` and `unit` name the place in messages.

    Raises
    ------
    InputError : no list of names, an empty name, a name that occurs twice
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("the classes must be a list of names", path=path)
    if not any(names):
        raise InputError("names no classes", path=path)
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise InputError("the name of a class is empty", path=path, place=f"{unit} {number}")
        if name in seen:
            raise InputError(
                f"class '{name}' occurs twice, first at {unit} {seen[name]}", path=path, place=f"{unit} {number}"
            )
        seen[name] = number
    return tuple(names)
