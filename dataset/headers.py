"""What the recordings of a list are, kept in the user's cache: a start does not open every sound file again.

A catalogue holds for as long as nothing that it was made of has changed: the list, the data roots' settings, the size
and time of change of every sound file, the folders in which labels and videos are looked for. Of a sound file that has
changed the header is read anew; what else changes makes the catalogue anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from util import cache
from util.errors import InputError
from util.files import sha256_of, written_whole
from util.microphone_arrays import Array

VERSION = 1  # raised when a recording is made otherwise of the same files
LEAST = 200  # recordings below which opening their files takes no time
_TEXTS = ("name", "audio", "labels", "video", "array", "split", "folder", "room", "root", "dialect", "view", "layout")
_NUMBERS = ("samples", "rate_hz", "fold", "overlap")
_NONE = np.iinfo(np.int64).min
_PATHS = ("audio", "labels", "video", "root")


def key_of(*parts: object) -> str:
    """Name of a catalogue: a hash of all that decides it before any sound file is looked at."""
    return hashlib.sha256("\n".join(map(str, (VERSION, *parts))).encode()).hexdigest()[:32]


def recall(key: str, make: Callable[..., Any], arrays: Any, again: Callable[[Path], Any]) -> list[Any] | None:
    """The recordings of a catalogue; None where there is none that holds.

    Parameters
    ----------
    make : class of the recordings
    arrays : name -> array
    again : sound file -> recording, for files that have changed
    """
    columns = _kept(key)
    if columns is None:
        return None
    try:
        values: dict[str, list[Any]] = {name: _texts(columns, name) for name in _TEXTS}
        changed = np.flatnonzero((_states(values["audio"]) != columns["state"]).any(axis=1)).tolist()
        for name in _NUMBERS:
            numbers = columns[name].tolist()
            values[name] = [None if number == _NONE else number for number in numbers]
        values["array"] = [arrays[name] for name in values["array"]]
    except (KeyError, ValueError, IndexError):
        return None
    for name in _PATHS:
        known: dict[str, Path | None] = {"": None}
        values[name] = [known[text] if text in known else known.setdefault(text, Path(text)) for text in values[name]]
    order = [field.name for field in fields(make)]  # type: ignore[arg-type]  # a dataclass
    made = [make(*row) for row in zip(*(values[name] for name in order))]
    for index in changed:
        made[index] = again(made[index].audio)
    if changed:
        remember(key, made, _texts(columns, "watched"))
    return made


def remember(key: str, recordings: Sequence[Any], watched: Iterable[str]) -> None:
    """Write the catalogue, if the cache can be written.

    Parameters
    ----------
    watched : folders whose change makes it void
    """
    columns: dict[str, np.ndarray] = {}
    for name in _TEXTS:
        texts = [_text(getattr(one, name)) for one in recordings]
        if any("\n" in text for text in texts):
            return
        columns |= _packed(name, texts)
    for name in _NUMBERS:
        numbers = [getattr(one, name) for one in recordings]
        columns[name] = np.array([_NONE if number is None else number for number in numbers], np.int64)
    columns["state"] = _states(str(one.audio) for one in recordings)
    _keep(key, columns, watched)


def recall_word(key: str) -> str | None:
    """A word that was found by looking through folders; None where there is none, or one of them has changed."""
    columns = _kept(key)
    try:
        return None if columns is None else _texts(columns, "word")[0]
    except (KeyError, ValueError, IndexError):
        return None


def remember_word(key: str, word: str, watched: Iterable[str]) -> None:
    """Keep a word, if the cache can be written.

    Parameters
    ----------
    watched : folders and files whose change makes it void
    """
    _keep(key, _packed("word", [word]), watched)


def _kept(key: str) -> dict[str, np.ndarray] | None:
    """What `_keep` has written; None where there is nothing, or what it watched has changed."""
    try:
        with np.load(_place(key), allow_pickle=False) as stored:
            columns = {name: stored[name] for name in stored.files}
        return columns if np.array_equal(_states(_texts(columns, "watched")), columns["watched_state"]) else None
    except (OSError, ValueError, KeyError, IndexError, EOFError):
        return None


def _keep(key: str, columns: dict[str, np.ndarray], watched: Iterable[str]) -> None:
    """Write columns, if the cache can be written; else the next start looks again."""
    paths = sorted(set(watched))
    if any("\n" in path for path in paths):
        return
    columns = {**columns, **_packed("watched", paths), "watched_state": _states(paths)}
    try:
        with written_whole(_place(key)) as temporary, open(temporary, "wb") as file:
            np.savez(file, **columns)  # type: ignore[arg-type]  # of arrays alone
    except InputError:
        return


def _place(key: str) -> Path:
    return cache.cache_folder() / "catalogues" / f"{key}.npz"


def _text(value: Any) -> str:
    """A field as text: None is empty, an array its name."""
    if value is None:
        return ""
    return value.name if isinstance(value, Array) else os.fspath(value)


def _packed(name: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Texts as codes and their different values: paths are few kinds of folders and many names."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return {
        f"{name}_text": np.frombuffer("\n".join(places).encode("utf-8", "surrogateescape"), np.uint8),
        f"{name}_code": np.array([places[text] for text in texts], np.int32),
    }


def _texts(columns: dict[str, np.ndarray], name: str) -> list[str]:
    values = columns[f"{name}_text"].tobytes().decode("utf-8", "surrogateescape").split("\n")
    return [values[code] for code in columns[f"{name}_code"].tolist()]


def _states(paths: Iterable[str]) -> np.ndarray:
    """(files, 2): (bytes, time of change in ns) of files or folders; -1 of what is not there."""
    states: list[tuple[int, int]] = []
    for path in paths:
        try:
            found = os.stat(path)
            states.append((found.st_size, found.st_mtime_ns))
        except OSError:
            states.append((-1, -1))
    return np.array(states, np.int64).reshape(-1, 2)


class Checked:
    """Files that were read and found well, kept in the user's cache: they are not read again until they change.

    Parameters
    ----------
    parts : what they were checked for
    """

    def __init__(self, *parts: object):
        self._key = key_of("checked", *parts)
        self._path = _place(self._key).with_suffix(".npy")
        try:
            self._known = np.load(self._path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            self._known = np.zeros(0, np.uint64)

    def unknown(self, marks: np.ndarray) -> list[int]:
        """Which of some files, by their marks, have not been checked as they are now."""
        return np.flatnonzero(~np.isin(marks, self._known)).tolist()

    def remember(self, marks: np.ndarray) -> None:
        """Files of these marks are well, and what was known of others is forgotten."""
        marks = np.unique(marks)
        if len(marks) < LEAST or np.array_equal(marks, self._known):
            return
        try:
            with written_whole(self._path) as temporary, open(temporary, "wb") as file:
                np.save(file, marks, allow_pickle=False)
        except InputError:
            return

    def marks(self, paths: Sequence[Path]) -> np.ndarray:
        """What tells whether files are as they were: (files,)."""
        texts = [os.fspath(path) for path in paths]
        marks = [f"{self._key} {text} {state}" for text, state in zip(texts, _states(texts).tolist())]
        return np.array([int.from_bytes(hashlib.blake2b(m.encode("utf-8", "surrogateescape"), digest_size=8).digest(),
                                        "little") for m in marks], np.uint64)  # fmt: skip


def content_mark(path: str | os.PathLike[str]) -> str:
    """A hash of a list's content."""
    return sha256_of(path)
