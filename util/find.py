"""Finding files: one walk for all commands, and files whose names are written a little differently on disk.

Links are followed (data sets on clusters are put together of them), a folder that leads back to one above it once
only. Hidden files and folders are passed over (`.ipynb_checkpoints`, the `._x` that macOS leaves on cards and in
archives). Suffixes are compared without case (cameras write `.MP4`, recorders `.WAV`), names in Unicode's composed form
(macOS writes "e" and an accent where others write "é").
"""

from __future__ import annotations

import functools
import itertools
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What libsndfile reads and people record in: CAF of AmbiX, W64 and RF64 of long recordings, AIFF, AMB of B-format ...
SOUND_SUFFIXES = (
    ".wav",
    ".flac",
    ".caf",
    ".w64",
    ".rf64",
    ".aif",
    ".aiff",
    ".aifc",
    ".amb",
    ".bwf",
    ".wave",
    ".au",
    ".snd",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
)
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_SHOWN = 3  # files named per reason


@dataclass
class Found:
    """Files under a folder.

    Attributes
    ----------
    files : sorted by path
    left_out : reason -> what was passed over for it
    """

    files: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def remarks(self, folder: str | os.PathLike[str]) -> list[str]:
        """What was left out, one line a reason; names below `folder`."""
        return remarks(self.left_out, folder)


def remarks(left_out: dict[str, list[Path]], folder: str | os.PathLike[str]) -> list[str]:
    """As `Found.remarks`."""
    lines = []
    for reason, paths in left_out.items():
        names = [os.path.relpath(path, folder) for path in paths[:_SHOWN]]
        more = f", ... and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"left out, {reason}: {', '.join(names)}{more}")
    return lines


def walk(folder: str | os.PathLike[str], suffixes: Collection[str], *, levels: int | None = None) -> Found:
    """Files with one of the suffixes under a folder; none where there is no such folder.

    Parameters
    ----------
    suffixes : in lower case
    levels : of folders to look into, 1 is the folder itself; None: all
    """
    found = Found()
    top = os.fspath(folder)
    if os.path.isdir(top):
        _walk(top, frozenset(suffixes), levels, {_identity(top)}, found)
    found.files.sort()
    for paths in found.left_out.values():
        paths.sort()
    return found


def _walk(folder: str, suffixes: frozenset[str], levels: int | None, above: set[object], found: Found) -> None:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        found.left_out[f"cannot be read ({error.strerror})"].append(Path(folder))
        return
    for entry in listed:
        if entry.name.startswith("."):
            found.left_out["hidden"].append(Path(entry.path))
        elif entry.is_dir():
            if levels == 1:
                continue
            here = _identity(entry.path)
            if here in above:
                found.left_out["a link back to a folder above"].append(Path(entry.path))
                continue
            _walk(entry.path, suffixes, None if levels is None else levels - 1, above | {here}, found)
        elif os.path.splitext(entry.name)[1].lower() in suffixes:
            if entry.is_file():
                found.files.append(Path(entry.path))
            else:
                rule = "a link that leads nowhere" if entry.is_symlink() else "no file"
                found.left_out[rule].append(Path(entry.path))
        else:
            found.left_out["of another kind"].append(Path(entry.path))


def _identity(folder: str) -> object:
    """What two names of one folder have in common."""
    facts = os.stat(folder)
    return (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(folder)


def files_under(folder: str | os.PathLike[str], suffixes: Collection[str]) -> list[Path]:
    """Files with one of the suffixes under a folder, sorted; see `walk`."""
    return walk(folder, suffixes).files


def files_in(folder: str | os.PathLike[str], suffixes: Collection[str]) -> list[Path]:
    """Files with one of the suffixes right in a folder, sorted."""
    return walk(folder, suffixes, levels=1).files


def video_remarks(folder: str | os.PathLike[str]) -> list[str]:
    """What commands that take the mp4 files of a folder leave out: hidden ones, other videos, links to nowhere."""
    found = walk(folder, [".mp4"])
    others = found.left_out.pop("of another kind", [])
    if videos := [path for path in others if path.suffix.lower() in VIDEO_SUFFIXES]:
        found.left_out["of another kind"] = videos
    return found.remarks(folder)


def same_name(name: str) -> str:
    """What two names that mean the same file have in common: composed form, suffix in lower case."""
    stem, suffix = os.path.splitext(unicodedata.normalize("NFC", name))
    return stem + suffix.lower()


def existing(path: str | os.PathLike[str]) -> Path | None:
    """The file or folder of a path as it is called on disk, suffix and accents being written in any way; else None.

    A name that is there as it is given goes first.
    """
    path = path if isinstance(path, Path) else Path(path)  # parsing it again would take longer than looking it up
    text = os.fspath(path)
    if os.path.exists(text):
        return path
    folder, name = os.path.split(text)
    if not name or folder == text:
        return None
    try:
        changed_ns = os.stat(folder or ".").st_mtime_ns
    except OSError:  # perhaps the folder is written in another way
        found = None if folder.isascii() else existing(folder)
        return None if found is None else existing(found / name)
    called = _called(folder, changed_ns).get(same_name(name))
    if called is None or not os.path.exists(os.path.join(folder, called)):
        return None
    return path.with_name(called)


@functools.lru_cache(maxsize=256)
def _called(folder: str, mtime_ns: int) -> dict[str, str]:
    """Names in a folder by `same_name`; of several the first. Kept until the folder changes."""
    del mtime_ns
    try:
        return {same_name(name): name for name in sorted(os.listdir(folder or "."), reverse=True)}
    except OSError:
        return {}


def beside(path: Path, suffixes: Sequence[str]) -> Path | None:
    """The file of the same stem in the same folder with the first of the suffixes that there is."""
    return next((found for suffix in suffixes if (found := existing(path.with_suffix(suffix))) is not None), None)


def folder_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for each file's output folder: its stem where no other has it, else with folders above it in front.

    Names that differ only in case or in the form of accents count as one: some systems hold them for one.
    """
    paths = list(paths)
    names = {path: path.stem for path in paths}
    for above in range(1, max((len(path.parts) for path in paths), default=1)):
        groups: dict[str, list[Path]] = defaultdict(list)
        for path, name in names.items():
            groups[_folded(name)].append(path)
        alike = [path for group in groups.values() if len(group) > 1 for path in group]
        if not alike:
            return names
        for path in alike:
            if len(parts := path.parts[:-1]) >= above and parts[-above] not in ("/", os.sep, "..", path.anchor):
                names[path] = f"{parts[-above]}_{names[path]}"
    count, taken, unique = Counter(map(_folded, names.values())), set(), {}
    for path, name in names.items():  # in one folder: take1.wav and take1.flac
        tried = [f"{name}_{path.suffix[1:].lower()}"] if count[_folded(name)] > 1 else [name]
        tries = itertools.chain(tried, (f"{name}_{number}" for number in itertools.count(2)))
        unique[path] = next(one for one in tries if _folded(one) not in taken)
        taken.add(_folded(unique[path]))
    return unique


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
