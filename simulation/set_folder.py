"""The folder of a synthetic data set: whose it is, clips in parallel, each whole or not at all, provenance."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from util.errors import InputError
from util.files import read_json, write_json, write_text
from util.leftovers import PARTIAL
from util.parallel import Progress, Where, each

MARKER = "SYNTHETIC.txt"
SETTINGS = "settings.json"
PARTS = "provenance_parts"
PROVENANCE = (
    "clip", "split", "event", "kind", "class", "class_name", "source", "start_s", "duration_s", "moving", "made_of",
    "sha256", "parameters", "image", "room", "background_seed",
)  # fmt: skip


def claim(root: Path, asked: dict[str, Any], *, not_compared: Sequence[str] = ()) -> None:
    """Make the folder ours, or find that it is: nothing is written into a folder that holds something else.

    Parameters
    ----------
    asked : everything that decides the bytes of the set, as json can hold it
    not_compared : keys of it that say where something lies and not what it is

    Raises
    ------
    InputError : the folder is a file, holds something else, or a set that was asked for differently
    """
    if root.exists() and not root.is_dir():
        raise InputError("is a file; --out needs a folder", path=root)
    asked = json.loads(json.dumps(asked))
    if (root / MARKER).is_file() and (root / SETTINGS).is_file():
        found = read_json(root / SETTINGS)
        compared = {*found, *asked} - set(not_compared)
        different = sorted(key for key in compared if found.get(key) != asked.get(key))
        if different:
            changes = ", ".join(f"{key} {found.get(key)} (now {asked.get(key)})" for key in different[:3])
            rule = f"holds a data set made with other settings: {changes}; choose another --out, or delete it first"
            raise InputError(rule, path=root)
        return
    if root.is_dir():
        others = sorted(p.name for p in root.iterdir() if p.name != MARKER and not PARTIAL.fullmatch(p.name))
        if others:
            rule = f"holds something else ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}); "
            raise InputError(rule + "--out must be a new or empty folder", path=root)
    text = "Everything in this folder is synthetic: made by `python -m simulation`. Keep real recordings elsewhere.\n"
    write_text(root / MARKER, text)
    write_json(root / SETTINGS, asked)


def describe(path: Path, made: dict[str, Any]) -> None:
    """Write dataset.json, unless it describes this very set already: then what a user changed in it stays."""
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict) or any(found.get(key) != made[key] for key in ("generator_version", "settings")):
        write_json(path, made)


def sweep(root: Path) -> None:
    """Delete the half-written files of an interrupted call."""
    for folder, _, names in os.walk(root):
        for name in names:
            if PARTIAL.fullmatch(name):
                Path(folder, name).unlink(missing_ok=True)


def write_provenance(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write provenance.csv: what every event (and whatever else a clip holds) was made of."""
    text = io.StringIO()
    writer = csv.DictWriter(text, PROVENANCE, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "parameters": json.dumps(row["parameters"])})
    write_text(path, text.getvalue())


def make_all(
    make: Callable[[Any], None], todo: Sequence[Any], *, where: Where, progress: bool, name: Callable[[Any], str]
) -> None:
    """Make clips, several at a time.

    Parameters
    ----------
    make : makes the clip of a plan; it and the plans can be sent to another process
    todo : one plan per clip
    name : of a plan's clip

    Raises
    ------
    InputError : some could not be made; at once where none can be (a full disk), else after the others
    """
    each(make, todo, where, Progress("clips", shown=progress), name=name).complete("clips could not be made")
