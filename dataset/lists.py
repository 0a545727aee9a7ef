"""Lists of recordings: text files in list_dataset/ with one audio path per line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset.layouts import DataRoot
from util import cache
from util.errors import InputError
from util.files import write_text
from util.find import existing
from util.text import read_text, say_once, shown, unquoted

FOLDER = "list_dataset"


def write_lists(root: DataRoot, *, overwrite: bool = False) -> list[Path]:
    """Write the lists of what lies under a root into its list_dataset folder; lists that are there stay.

    The layout says which lists there are. Paths are relative to the root, with a leading "./". A list that would be
    empty is not written.

    Returns
    -------
    paths : the lists that were written
    """
    written = []
    for name, paths in root.layout.lists(root.path).items():
        target = root.path / FOLDER / name
        if overwrite or not target.exists():
            write_text(target, "".join(f"./{path.relative_to(root.path).as_posix()}\n" for path in paths))
            written.append(target)
    return written


@dataclass(frozen=True)
class MadeList:
    """A list of what is found under a root that cannot be written: it is kept in memory.

    Attributes
    ----------
    path : where its file would lie
    recordings : the audio files
    """

    path: Path
    recordings: tuple[Path, ...]

    @property
    def stem(self) -> str:
        """Its name without suffix."""
        return self.path.stem

    @property
    def name(self) -> str:
        """Its name."""
        return self.path.name

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)


def list_file(name: str | os.PathLike[str], roots: Sequence[DataRoot] = ()) -> Path | MadeList:
    """The list that a flag names.

    A path outside of a folder "list_dataset" is taken as given. Else, for each root in turn: ROOT/list_dataset/<name>,
    then the path as given if it names recordings of this root, then a new list of what is found under the root, in
    memory where it cannot be written there. (A list in the working directory that belongs to another data root is thus
    left alone.)

    Raises
    ------
    InputError : there is no such list, and nothing to make it of
    """
    path = Path(name)
    if path.is_absolute() or path.parent.name not in ("", FOLDER):
        if not path.is_file():
            raise InputError("no such list", path=path)
        return path
    for root in roots:
        own = root.path / FOLDER / path.name
        if own.is_file():
            return own
        if path.is_file() and _names_recordings_of(path, root):
            return path
        if not cache.writable(own.parent):
            found = root.layout.lists(root.path).get(path.name)
            if found:
                say_once("cannot be written; lists of its recordings are made anew by every command", own.parent)
                return MadeList(own, tuple(found))
            continue
        write_lists(root)
        if own.is_file():
            return own
    if path.is_file():
        return path
    searched = " and ".join(str(root.path) for root in roots) or "no data root"
    why = "; ".join(reason for root in roots if (reason := root.layout.missing(root.path, path.name)))
    rule = f"no such list, and nothing to make it from under {searched}"
    raise InputError(f"{rule}: {why}" if why else rule, path=path)


def read_list(path: str | os.PathLike[str] | MadeList, roots: Sequence[DataRoot] = ()) -> list[Path]:
    """Audio paths that a list names; empty lines are ignored.

    A relative path is tried from the working directory, from the parent of the list's folder, and from each root.

    Raises
    ------
    InputError : no such list, no text file, a path that leads nowhere (with its line), no path at all
    """
    if isinstance(path, MadeList):
        return list(path.recordings)
    found = []
    for number, line in _lines(path):
        audio = _resolve(line, Path(path), roots)
        if audio is None:
            raise InputError(f"names a file that does not exist: {shown(line, 300)}", path=path, place=f"line {number}")
        found.append(audio)
    if not found:
        raise InputError("the list is empty", path=path)
    return found


def _lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    if not Path(path).is_file():
        raise InputError("no such list", path=path)
    text = read_text(path, "list of recordings")
    numbered = ((number, unquoted(line)) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in numbered if line]


def _resolve(line: str, list_path: Path, roots: Sequence[DataRoot]) -> Path | None:
    names = (line, line.replace("\\", "/")) if "\\" in line else (line,)  # the second: written on Windows
    folders = (Path(), list_path.parent.parent, *(root.path for root in roots))
    try:
        candidates = [os.path.join(folder, name) for name in names for folder in folders]
        exact = next(filter(os.path.isfile, candidates), None)
        if exact is not None:
            return Path(exact)
        spelt = map(existing, map(Path, candidates))
        return next((found for found in spelt if found is not None and found.is_file()), None)
    except (ValueError, OSError):  # a zero byte, a name that is too long
        return None


def _names_recordings_of(path: Path, root: DataRoot) -> bool:
    for _, line in _lines(path):
        audio = _resolve(line, path, [root])
        if audio is not None:  # a folder of the root may be a link: only the path as it is written leads through it
            return any(
                Path(make(root.path)) in Path(make(audio)).parents for make in (os.path.abspath, os.path.realpath)
            )
    return False
