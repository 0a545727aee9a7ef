"""One csv with the labels of many recordings: `filename,onset_s,offset_s,label` (strong), `filename,labels` (weak)."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from util.errors import InputError
from util.files import write_text
from util.intervals import IntervalTable
from util.text import CsvText, parse_csv, read_text, say_once, shown

SHEET = "sheet"  # the csv dialect
LABEL_MAP = "label_map.csv"
# What people call the columns: DESED, URBAN-SED and FSD50K among them.
_CALLED = {
    "filename": "filename file fname file_name audio_filename audio",
    "onset_s": "onset_s onset start_s start start_time onset_seconds",
    "offset_s": "offset_s offset end_s end end_time offset_seconds",
    "label": "label event_label class class_name event sound_event",
    "labels": "labels event_labels tags",
    "split": "split subset",
}
_COLUMN = {called: name for name, words in _CALLED.items() for called in words.split()}
SPLITS = {"train": "train", "dev": "train", "val": "val", "validation": "val", "test": "test", "eval": "test"}


class Clip(NamedTuple):
    """Which recording of a sheet is meant.

    Attributes
    ----------
    stem : name of its file without suffix
    duration_s : its length, which weak labels hold for
    """

    stem: str
    duration_s: float

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Clip | None:
        """That of a raw output, by the json beside it; None where it does not say."""
        if not about.get("recording") or not about.get("duration_s"):
            return None
        return cls(Path(about["recording"]).stem, float(about["duration_s"]))


class SheetRow(NamedTuple):
    """A row: labels that hold from onset to offset; None: for the whole recording."""

    line: int
    labels: tuple[str, ...]
    onset_s: float | None = None
    offset_s: float | None = None


@dataclass(frozen=True)
class LabelSheet:
    """The rows of a sheet by recording (stem of its file); of one without events they are empty.

    Attributes
    ----------
    splits : "train", "val" or "test" by recording, where the sheet or its name says one
    files : what the sheet calls each
    """

    path: Path
    rows: Mapping[str, tuple[SheetRow, ...]]
    splits: Mapping[str, str]
    files: Mapping[str, str]


def key_of(stem: str) -> str:
    """The stem of a file as sheets are looked up by."""
    return unicodedata.normalize("NFC", stem)


def is_sheet(path: str | os.PathLike[str]) -> bool:
    """Whether the first line of a csv is the header of a sheet."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            found = parse_csv(file.readline(1 << 16).strip())
    except (OSError, InputError):
        return False
    names = {_column(name) for name in found.header or ()}
    return "filename" in names and bool(names & {"label", "labels"})


def read_sheet(path: str | os.PathLike[str]) -> LabelSheet:
    """Read a sheet; kept until the file changes.

    Raises
    ------
    InputError : no such file, no header with the columns, a time that is none, an end before its start, a row without
        a file or a label, an unknown split; with file, line and rule
    """
    try:
        facts = os.stat(path)
    except OSError:
        raise InputError("no such file", path=path) from None
    return _read_sheet(os.fspath(path), facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _read_sheet(path: str, size: int, mtime_ns: int) -> LabelSheet:
    del size, mtime_ns
    found = parse_csv(read_text(path), path=path)
    places = _places(found, path)
    rows: dict[str, list[SheetRow]] = {}
    splits: dict[str, str] = {}
    files: dict[str, str] = {}
    by_name = _split_of_name(Path(path).stem)
    for line, fields in zip(found.lines, found.rows):
        place = f"line {line}"
        values = {name: fields[at].strip() if at < len(fields) else "" for name, at in places.items()}
        if not values["filename"]:
            raise InputError("names no file", path=path, place=place)
        key = key_of(_stem(values["filename"]))
        if files.setdefault(key, values["filename"]) != values["filename"]:
            rule = f"'{shown(values['filename'])}' and '{shown(files[key])}' are files of one name"
            raise InputError(rule, path=path, place=place)
        said = values.get("split", "").lower()
        if said and said not in SPLITS:
            rule = f"split must be one of {', '.join(SPLITS)}, found '{shown(said)}'"
            raise InputError(rule, path=path, place=place)
        split = SPLITS.get(said, by_name)
        if splits.setdefault(key, split) != split:
            raise InputError(f"gives '{shown(values['filename'])}' to a second split", path=path, place=place)
        mine = rows.setdefault(key, [])
        if (row := _row(values, path, line)) is not None:
            mine.append(row)
    return LabelSheet(Path(path), {key: tuple(mine) for key, mine in rows.items()}, splits, files)


def _column(text: str) -> str:
    plain = re.sub(r"[\W]+", "_", unicodedata.normalize("NFKC", text).strip().lower()).strip("_")
    return _COLUMN.get(plain, plain)


def _places(found: CsvText, path: str) -> dict[str, int]:
    """Where the columns stand.

    Raises
    ------
    InputError : no header, or none of a sheet
    """
    rule = "the first line must be the header filename,onset_s,offset_s,label or filename,labels"
    if found.header is None:
        raise InputError(rule, path=path)
    names = [_column(name) for name in found.header]
    places = {name: names.index(name) for name in _CALLED if name in names}
    if "filename" not in places or not ({"label", "labels"} & places.keys()):
        raise InputError(f"{rule}, found {', '.join(shown(name) for name in found.header[:8])}", path=path)
    if ("onset_s" in places) != ("offset_s" in places):
        raise InputError(f"{rule}: of onset and offset one is missing", path=path)
    return places


def _stem(name: str) -> str:
    """ "a/b.wav" -> "b"; a name without one of the usual suffixes stays, dots and all."""
    base = re.split(r"[/\\]", name)[-1]
    stem, dot, suffix = base.rpartition(".")
    return stem if dot and stem and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{1,4}", suffix) else base


def _split_of_name(stem: str) -> str:
    words = re.split(r"[\W_]+", stem.lower())
    return next((SPLITS[word] for word in reversed(words) if word in SPLITS), "")


def _row(values: Mapping[str, str], path: str, line: int) -> SheetRow | None:
    """A row with an event; None: it only says that there is such a recording."""
    place = f"line {line}"
    labels: tuple[str, ...] = (values["label"],) if values.get("label") else ()
    if "labels" in values and not labels:
        labels = tuple(part.strip() for part in re.split(r"[,;|]", values["labels"]) if part.strip())
    times = [values.get("onset_s", ""), values.get("offset_s", "")]
    if not labels and not any(times):
        return None
    if not labels:
        raise InputError("names no label", path=path, place=place)
    if not any(times):
        if "onset_s" in values and "labels" not in values:
            raise InputError("has no onset and no offset", path=path, place=place)
        return SheetRow(line, labels)
    seconds = []
    for name, text in zip(("onset", "offset"), times):
        try:
            value = float(text)
        except ValueError:
            rule = f"{name} must be a number of seconds, found '{shown(text)}'"
            raise InputError(rule, path=path, place=place) from None
        if not 0 <= value < 1e6:
            raise InputError(f"{name} must be a time in seconds from 0, found {value:g}", path=path, place=place)
        seconds.append(value)
    if seconds[1] < seconds[0]:
        rule = f"the event ends ({seconds[1]:g} s) before it starts ({seconds[0]:g} s)"
        raise InputError(rule, path=path, place=place)
    return SheetRow(line, labels, *seconds)


@functools.lru_cache(maxsize=16)
def _read_map(path: str, size: int, mtime_ns: int) -> dict[str, str]:
    del size, mtime_ns
    found = parse_csv(read_text(path), path=path)
    mapped: dict[str, str] = {}
    for line, row in zip(found.lines, found.rows):
        if len(row) > 2 or not row[0]:
            raise InputError(f"needs two columns, label,class; has {len(row)}", path=path, place=f"line {line}")
        label = _plain(row[0])
        if label in mapped:
            raise InputError(f"maps '{shown(row[0])}' twice", path=path, place=f"line {line}")
        mapped[label] = row[1].strip() if len(row) > 1 else ""
    return mapped


def _plain(label: str) -> str:
    """A label as it is compared: FSD50K's "Female_speech" is "Female speech"."""
    return unicodedata.normalize("NFC", label).replace("_", " ").strip().casefold()


def label_map(folder: Path) -> dict[str, str] | None:
    """label -> class ("": none) of a `label_map.csv` in a folder; None where there is none.

    Raises
    ------
    InputError : a row without a label, of more than two columns, or that maps a label again
    """
    path = folder / LABEL_MAP
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return _read_map(os.fspath(path), facts.st_size, facts.st_mtime_ns)


def sheet_intervals(path: str | os.PathLike[str], classes: Sequence[str], clip: Clip) -> IntervalTable:
    """The events of one recording of a sheet, without directions, in the order of the rows.

    Labels are those of the classes, or become them by the `label_map.csv` beside the sheet; what that does not name is
    left out, once said. Weak labels hold from the start to the end of the recording.

    Raises
    ------
    InputError : as `read_sheet` and `label_map`; a label that is no class where there is no `label_map.csv`, a map to a
        class that there is not
    """
    path = Path(path)
    sheet, mapped = read_sheet(path), label_map(path.parent)
    index_of = {_plain(name): index for index, name in enumerate(classes)}
    start_s, end_s, class_index = [], [], []
    for row in sheet.rows.get(key_of(clip.stem), ()):
        indices = {_index(label, index_of, mapped, path, row.line) for label in row.labels}
        for index in sorted(one for one in indices if one is not None):
            start_s.append(0.0 if row.onset_s is None else row.onset_s)
            end_s.append(clip.duration_s if row.offset_s is None else row.offset_s)
            class_index.append(index)
    return IntervalTable.make(start_s=start_s, end_s=end_s, class_index=class_index)


def _index(
    label: str, index_of: Mapping[str, int], mapped: Mapping[str, str] | None, path: Path, line: int
) -> int | None:
    """Class of a label; None: it is left out."""
    plain = _plain(label)
    if mapped is not None and plain in mapped:
        called = mapped[plain]
        if called and _plain(called) not in index_of:
            rule = f"maps '{shown(label)}' to '{shown(called)}', which is no class; known are {', '.join(index_of)}"
            raise InputError(rule, path=path.parent / LABEL_MAP)
        return index_of[_plain(called)] if called else None
    if plain in index_of:
        return index_of[plain]
    if mapped is None:
        rule = (
            f"'{shown(label)}' is no class of classes.txt, and there is no {LABEL_MAP} (label,class) that makes it one"
        )
        raise InputError(rule, path=path, place=f"line {line}")
    say_once(f"labels that are neither a class nor in {LABEL_MAP} are left out, '{shown(label)}' first", path)
    return None


def write_sheet(
    path: str | os.PathLike[str],
    events: Mapping[str, IntervalTable],
    classes: Sequence[str],
    splits: Mapping[str, str],
    *,
    weak: bool = False,
) -> None:
    """Write the labels of many recordings, whole or not at all.

    Parameters
    ----------
    events : by file name, in the order of the rows; a recording without any has a row of its own
    splits : "train", "val" or "test" by file name
    weak : only which classes there are in a recording
    """
    lines = ["filename,labels,split" if weak else "filename,onset_s,offset_s,label,split"]
    for name, table in events.items():
        called = [classes[index] for index in table.class_index.tolist()]
        if weak:
            joined = ",".join(dict.fromkeys(called))
            lines.append(f'{name},"{joined}",{splits[name]}' if "," in joined else f"{name},{joined},{splits[name]}")
            continue
        for label, start, end in zip(called, table.start_s.tolist(), table.end_s.tolist()):
            lines.append(f"{name},{start:.4f},{end:.4f},{label},{splits[name]}")
        if not called:
            lines.append(f"{name},,,,{splits[name]}")
    write_text(path, "".join(line + "\n" for line in lines))
