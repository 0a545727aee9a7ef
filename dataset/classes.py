"""Names of the classes: of the data sets that are known, and of a user's own."""

from __future__ import annotations

import os
import re

from util.errors import InputError
from util.interval_csv import URBANSOUND8K
from util.text import read_text, shown, unquoted

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
# TAU-NIGENS Spatial Sound Events 2020; in 2021 engine and fire are interference without labels.
NIGENS_CLASSES = (
    "alarm",
    "baby",
    "crash",
    "dog",
    "engine",
    "female_scream",
    "female_speech",
    "fire",
    "footsteps",
    "knock",
    "male_scream",
    "male_speech",
    "phone",
    "piano",
)
NIGENS_INTERFERENCE = ("engine", "fire")
NIGENS_CLASSES_2021 = tuple(name for name in NIGENS_CLASSES if name not in NIGENS_INTERFERENCE)
URBAN_CLASSES = tuple(URBANSOUND8K.values())  # of REAL and MREAL


def read_classes(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a classes.txt: one name per line, the first is class 0; empty lines at the end are ignored.

    A table of numbers and names ("0,speech" or "speech;0", also below a header) is read by its numbers.

    Raises
    ------
    InputError : no such file, no names, an empty line between names, a name that occurs twice, a table whose numbers
        are not 0, 1, 2 ...
    """
    lines = [line.strip() for line in read_text(path, "list of class names").rstrip().split("\n")]
    by_number = _table(lines, path)
    if by_number is not None:
        return check_classes(by_number, path=path, unit="class")
    return check_classes([unquoted(line) for line in lines], path=path, unit="line")


def _table(lines: list[str], path: str | os.PathLike[str]) -> list[str] | None:
    """Names of a table of numbers and names, in the order of the numbers; None where the lines are no such table."""
    index, between = r"\"?(?P<index>\d{1,9})\"?", r"\s*[,;\t]\s*"
    for form in (f"{index}{between}(?P<name>.*)", f"(?P<name>.*?){between}{index}"):
        start = next((at for at in (0, 1) if len(lines) > at and re.fullmatch(form, lines[at])), None)
        rows = [row for line in lines[start or 0 :] if (row := re.fullmatch(form, line)) is not None]
        if start is None or len(rows) < len(lines) - start:
            continue
        numbers = [int(row["index"]) for row in rows]
        if sorted(numbers) != list(range(len(rows))):
            at = next(at for at, number in enumerate(sorted(numbers)) if number != at)
            rule = f"is a table of numbers and names, and the numbers must be 0 to {len(rows) - 1}, each once"
            raise InputError(f"{rule}: {at} is missing", path=path)
        return [unquoted(name) for _, name in sorted((number, row["name"]) for number, row in zip(numbers, rows))]
    return None


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
                f"class '{shown(name)}' occurs twice, first at {unit} {seen[name]}", path=path, place=f"{unit} {number}"
            )
        seen[name] = number
    return tuple(names)
