"""Kinds of layouts: how folders and file names of a family of data sets say what a recording is."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from util.errors import InputError
from util.files import companion
from util.find import SOUND_SUFFIXES, existing, files_in, files_under
from util.label_sheet import LABEL_MAP, is_sheet, key_of, read_sheet
from util.text import say_once

FLAG_NAMES = {"binaural": "bin"}  # how flags and lists call a format, where it is not by its name


class ListNames(NamedTuple):
    """File names of the lists of a run; selection: recordings to choose a checkpoint by, None where there are none."""

    train: str
    selection: str | None
    test: str


class Place(NamedTuple):
    """What the path of a recording says.

    Attributes
    ----------
    split : "train", "test", "eval", or "" where it does not say
    folder : sub-folder of the split, or what stands for one
    room : "room21", "ir0", or ""
    fold : number of the split for cross-validation
    overlap : most events at one time
    """

    split: str = ""
    folder: str = ""
    room: str = ""
    fold: int | None = None
    overlap: int | None = None


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie under its root; what the kinds have in common.

    Attributes
    ----------
    name : key of the row
    title : of the data set whose layout it is
    classes : names of the classes, unless the root names its own
    dialect : csv dialect of the labels, of `util.dialects` or `util.interval_csv`
    audio : formats, each an array of `util.microphone_arrays` (or "stereo"), and what their folders are called
    list_formats : the formats that lists are written for
    rate_hz, clip_s : of the recordings; clip_s None: they have any length
    edition : of the metrics that the data set is scored by
    folds : numbers of the splits that are tested in turn, the first by default
    overlaps : numbers of the parts by overlap
    stages : what audio folders may be for: "dev", "eval"
    view : what the camera of its videos sees: "equirectangular" or "perspective"
    """

    name: str
    title: str
    classes: tuple[str, ...]
    dialect: str = "starss23"
    audio: dict[str, str] = field(default_factory=lambda: {"foa": "foa"})
    list_formats: tuple[str, ...] = ("foa",)
    rate_hz: int = 24000
    clip_s: float | None = None
    edition: str = "2023"
    folds: tuple[int, ...] = ()
    overlaps: tuple[int, ...] = ()
    stages: tuple[str, ...] = ("dev",)
    view: str = "equirectangular"

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats."""
        return tuple(self.audio)

    def folder_of(self, path: str | os.PathLike[str]) -> tuple[str, str, int] | None:
        """(format, stage, position) of the last component of an audio path that is an audio folder, "foa_dev"."""
        raise NotImplementedError

    def told_by(self, path: Path) -> bool:
        """Whether folder and name of an audio file say that it is of this data set, and of no other."""
        return False

    def labels_of(self, path: Path) -> Path | None:
        """Label csv that belongs to an audio file, whether it exists or not; None outside of the layout."""
        raise NotImplementedError

    def videos_of(self, path: Path) -> list[Path]:
        """Videos that belong to an audio file, the one to prefer first, whether they exist or not."""
        return []

    def place_of(self, path: Path) -> Place:
        """What the path of an audio file says of it."""
        raise NotImplementedError

    def split_of(self, path: Path) -> tuple[str, str]:
        """(split, sub-folder) of an audio file: "train", "test", "eval" or "" where the folders do not say."""
        place = self.place_of(Path(path))
        return place.split, place.folder

    def audio_files(self, root: Path, format: str | None, stage: str = "dev") -> list[Path]:
        """Recordings of a format (None: the first), sorted by path; none where the folder is absent.

        Raises
        ------
        InputError : the layout has no such format
        """
        folders = self.folders(root, self.format_named(format), stage)
        return sorted(path for folder in folders for path in sounds_under(folder))

    def label_files(self, root: Path) -> list[Path]:
        """Label csv files under a root."""
        raise NotImplementedError

    def video_files(self, root: Path) -> list[Path]:
        """Videos under a root."""
        return []

    def lists(self, root: Path) -> dict[str, list[Path]]:
        """Lists of what lies under a root: file name -> recordings. A list that would miss something is left out."""
        raise NotImplementedError

    def default_lists(
        self, format: str | None = None, *, video: bool = False, ov: int | None = None, split: int | None = None
    ) -> ListNames:
        """Names of the lists to train, choose and test by. What the layout does not have is not looked at.

        Parameters
        ----------
        format : as flags call it; None: the layout's first
        video : train only on recordings that have one
        ov, split : most events at one time and split that is tested; None: the first

        Raises
        ------
        InputError : no such format, overlap or split
        """
        raise NotImplementedError

    def missing(self, root: Path, name: str) -> str:
        """Why there is no list of that name under a root, where the layout can tell; else ""."""
        return ""

    def format_named(self, format: str | None) -> str:
        """The format that a flag names.

        Raises
        ------
        InputError : the layout has no such format
        """
        if format is None:
            return self.formats[0]
        for known in self.audio:
            if format in (known, FLAG_NAMES.get(known)):
                return known
        raise InputError(f"unknown format '{format}'; layout {self.name} has {', '.join(self.audio)}")

    def folders(self, root: Path, format: str, stage: str) -> list[Path]:
        """Folders that hold the recordings of a format; they may be absent."""
        raise NotImplementedError

    def _number(self, flag: str, given: int | None, known: Sequence[int]) -> int:
        if given is not None and given not in known:
            numbers = ", ".join(map(str, known))
            raise InputError(f"{flag} {given}: layout {self.name} has {numbers}")
        return known[0] if given is None else given


@dataclass(frozen=True)
class StageLayout(Layout):
    """Folders are named `<kind>_<stage>`; inside lie sub-folders of splits, and the same names in each kind (STARSS).

    Attributes
    ----------
    labels : folder kind of the label csv files
    videos : folder kinds of the videos, the one to prefer first
    stages : "dev" has labels, "eval" has none
    splits : start of a sub-folder's name -> split
    list_prefix : what the names of lists begin with
    """

    labels: str = "metadata"
    videos: tuple[str, ...] = ("video_360x180", "video")
    stages: tuple[str, ...] = ("dev", "eval")
    splits: dict[str, str] = field(default_factory=lambda: {"dev-train": "train", "dev-test": "test"})
    list_prefix: str = "dcase2023t3"

    _ROOM = re.compile(r"(?:^|_)(room\d+)(?:_|$)")

    def folder_of(self, path: str | os.PathLike[str]) -> tuple[str, str, int] | None:
        """As `Layout.folder_of`."""
        folders = (path if isinstance(path, Path) else Path(path)).parts[:-1]
        if folders not in self._found:
            self._found[folders] = self._of_folders(folders)
        return self._found[folders]

    def _of_folders(self, folders: Sequence[str]) -> tuple[str, str, int] | None:
        kinds = {kind: name for name, kind in self.audio.items()}
        for position in range(len(folders) - 1, -1, -1):
            kind, _, stage = folders[position].rpartition("_")
            if kind in kinds and stage in self.stages:
                return kinds[kind], stage, position
        return None

    @cached_property
    def _found(self) -> dict[tuple[str, ...], tuple[str, str, int] | None]:
        """What `folder_of` has found, by folders: sets have thousands of recordings in a few."""
        return {}

    def labels_of(self, path: Path) -> Path | None:
        """As `Layout.labels_of`."""
        return self._companion(path, self.labels, ".csv")

    def videos_of(self, path: Path) -> list[Path]:
        """As `Layout.videos_of`."""
        found = (self._companion(path, kind, ".mp4") for kind in self.videos)
        return [video for video in found if video is not None]

    def _companion(self, path: Path, kind: str, suffix: str) -> Path | None:
        if self.folder_of(path) is None:
            return None
        folders = {f"{audio}_{stage}": f"{kind}_{stage}" for audio in self.audio.values() for stage in self.stages}
        return _on_disk(companion(path, folders, suffix))

    def place_of(self, path: Path) -> Place:
        """As `Layout.place_of`; the split is that of the sub-folder."""
        room = self._ROOM.search(path.stem)
        name = room.group(1) if room else ""
        found = self.folder_of(path)
        if found is None:
            return Place(room=name)
        _, stage, position = found
        inner = path.parts[position + 1 : -1]
        folder = inner[0] if inner else ""
        split = next((split for start, split in self.splits.items() if folder.startswith(start)), "")
        return Place("eval" if stage == "eval" else split, folder, name)

    def label_files(self, root: Path) -> list[Path]:
        """As `Layout.label_files`."""
        return [path for stage in self.stages for path in files_under(root / f"{self.labels}_{stage}", [".csv"])]

    def video_files(self, root: Path) -> list[Path]:
        """As `Layout.video_files`."""
        folders = [root / f"{kind}_{stage}" for stage in self.stages for kind in self.videos]
        return [path for folder in folders for path in files_under(folder, [".mp4"])]

    def lists(self, root: Path) -> dict[str, list[Path]]:
        """Per format: all training recordings, those with video, all test recordings, the evaluation recordings."""
        found: dict[str, list[Path]] = {}
        for format in self.list_formats:
            dev = self.audio_files(root, format, "dev")
            train = [path for path in dev if self.split_of(path)[0] == "train"]
            by_split = {
                "devtrain": train,
                "devtrain_audiovisual": [path for path in train if any(map(os.path.exists, self.videos_of(path)))],
                "devtest": [path for path in dev if self.split_of(path)[0] == "test"],
                "eval": self.audio_files(root, format, "eval"),
            }
            found |= {self._list_name(format, split): paths for split, paths in by_split.items() if paths}
        return found

    def default_lists(
        self, format: str | None = None, *, video: bool = False, ov: int | None = None, split: int | None = None
    ) -> ListNames:
        """As `Layout.default_lists`; there are no overlaps and no splits."""
        format = self.format_named(format)
        train = self._list_name(format, "devtrain_audiovisual" if video else "devtrain")
        return ListNames(train, None, self._list_name(format, "devtest"))

    def _list_name(self, format: str, split: str) -> str:
        return f"{self.list_prefix}_{FLAG_NAMES.get(format, format)}_{split}.txt"

    def folders(self, root: Path, format: str, stage: str) -> list[Path]:
        """As `Layout.folders`."""
        return [root / f"{self.audio[format]}_{stage}"]


@dataclass(frozen=True)
class PairLayout(StageLayout):
    """Folders as `StageLayout`, in kinds that no other layout has: `stereo_dev` (DCASE2025)."""

    def told_by(self, path: Path) -> bool:
        """As `Layout.told_by`."""
        return self.folder_of(path) is not None


@dataclass(frozen=True)
class FoldLayout(StageLayout):
    """Folders as `StageLayout`; file names say fold, room and overlap (TAU 2019, TAU-NIGENS 2020 and 2021).

    Split s is tested by fold s, chosen by the next one and trained on the others; split 0 is the evaluation set, chosen
    by the first fold and trained on the others.

    Attributes
    ----------
    pattern : of the names of development recordings, with the groups fold, room and overlap
    called : the same for people, with stars
    ring : folds in the order in which "the next one" is meant; (): `folds`
    inner : sub-folder of the audio folders -> the folds in it, 0 being the evaluation set; (): there are none
    only_with : sub-folder of the audio folders without which nothing tells this layout from another
    """

    videos: tuple[str, ...] = ()
    splits: dict[str, str] = field(default_factory=dict)
    pattern: str = r"split(?P<fold>\d+)(_(?P<room>ir\d+))?(_ov(?P<overlap>\d+))?_"
    called: str = "split*_ir*_ov*_*"
    ring: tuple[int, ...] = ()
    inner: tuple[tuple[str, tuple[int, ...]], ...] = ()
    only_with: str = ""

    @property
    def parts(self) -> tuple[int, ...]:
        """All folds, in the order of the ring."""
        return self.ring or self.folds

    def told_by(self, path: Path) -> bool:
        """As `Layout.told_by`."""
        found, place = self.folder_of(path), self.place_of(path)
        if found is None or place.fold is None or not (place.room or place.fold == 0):
            return False
        return not self.only_with or Path(*path.parts[: found[2] + 1], self.only_with).is_dir()

    def place_of(self, path: Path) -> Place:
        """As `Layout.place_of`; whether a fold is trained on or tested depends on the run."""
        found, name = self.folder_of(path), re.match(self.pattern, path.name)
        evaluated = found is not None and found[1] == "eval"
        if name is None:
            return Place("eval", "eval") if evaluated else Place()
        fold, said = int(name["fold"]), name.groupdict()
        room, overlap = said.get("room") or "", said.get("overlap")
        split = "eval" if evaluated else ""
        return Place(split, f"{self.fold_word}{fold}", room, fold, int(overlap) if overlap else None)

    def inner_of(self, fold: int) -> str:
        """Sub-folder of a fold's recordings, "" where there are none."""
        return next((folder for folder, folds in self.inner if fold in folds), "")

    @property
    def fold_word(self) -> str:
        """What the names call a fold: "split", "fold"."""
        return self.called.partition("*")[0]

    def folds_of(self, split: int) -> dict[str, tuple[int, ...]]:
        """Folds that are trained on, chosen by and tested in a split; test () is the evaluation set."""
        count, ring = len(self.parts), self.parts * 2
        at = self.parts.index(split) if split else 0
        if not split:
            return {"train": self.parts[1:], "val": self.parts[:1], "test": ()}
        return {"train": ring[at + 2 : at + count], "val": ring[at + 1 : at + 2], "test": ring[at : at + 1]}

    def lists(self, root: Path) -> dict[str, list[Path]]:
        """Per format and split the lists "train", "val" and "test", where all of their folds have recordings."""
        found = {}
        for format in self.list_formats:
            by_fold = self._by_fold(root, format)
            evaluated = self.audio_files(root, format, "eval")
            for split in (*self.folds, 0):
                for part, folds in self.folds_of(split).items():
                    lacking = [fold for fold in folds if fold not in by_fold]
                    paths = [path for fold in folds for path in by_fold.get(fold, [])] if folds else evaluated
                    if paths and not lacking:
                        found[self._fold_list_name(format, split, part)] = paths
        return found

    def default_lists(
        self, format: str | None = None, *, video: bool = False, ov: int | None = None, split: int | None = None
    ) -> ListNames:
        """As `Layout.default_lists`; all overlaps together, as published."""
        format = self.format_named(format)
        split = self._number("--split", split, (*self.folds, 0))
        return ListNames(*(self._fold_list_name(format, split, part) for part in ("train", "val", "test")))

    def missing(self, root: Path, name: str) -> str:
        """As `Layout.missing`."""
        asked = re.fullmatch(rf"{self.list_prefix}_(\w+?)_split(\d+)_(train|val|test)\.txt", name)
        if asked is None or asked[1] not in self.audio or int(asked[2]) not in (*self.folds, 0):
            return ""
        format, folds = asked[1], self.folds_of(int(asked[2]))[asked[3]]
        if not folds:
            return f"{root / self.audio[format]}_eval holds no recordings"
        by_fold = self._by_fold(root, format)
        lacking = " and ".join(str(fold) for fold in folds if fold not in by_fold)
        there = ", ".join(map(str, sorted(by_fold))) or "none"
        known = f"({self.called}; found {there})"
        return f"{root / self.audio[format]}_dev has no recordings of {self.fold_word} {lacking} {known}"

    def _by_fold(self, root: Path, format: str) -> dict[int, list[Path]]:
        by_fold: dict[int, list[Path]] = {}
        for path in self.audio_files(root, format, "dev"):
            fold = self.place_of(path).fold
            if fold is not None:
                by_fold.setdefault(fold, []).append(path)
        return by_fold

    def _fold_list_name(self, format: str, split: int, part: str) -> str:
        return f"{self.list_prefix}_{format}_split{split}_{part}.txt"


@dataclass(frozen=True)
class OverlapLayout(Layout):
    """Folders `wav_ov1_split1_30db` and `desc_ov1_split1`; names hold "train" or "test" (TUT Sound Events 2018)."""

    _FOLDER = re.compile(r"wav_ov(\d+)_split(\d+)_\d+db")

    def _numbers(self, folder: str) -> tuple[int, int]:
        """Overlap and split that the name of an audio folder says."""
        found = self._FOLDER.fullmatch(folder)
        if found is None:
            raise ValueError(f"{folder} is no audio folder")
        return int(found[1]), int(found[2])

    def folder_of(self, path: str | os.PathLike[str]) -> tuple[str, str, int] | None:
        """As `Layout.folder_of`."""
        parts = Path(path).parts
        for position in range(len(parts) - 2, -1, -1):
            if self._FOLDER.fullmatch(parts[position]):
                return self.formats[0], "dev", position
        return None

    def labels_of(self, path: Path) -> Path | None:
        """As `Layout.labels_of`."""
        found = self.folder_of(path)
        if found is None:
            return None
        parts = list(Path(path).parts)
        overlap, split = self._numbers(parts[found[2]])
        parts[found[2]] = f"desc_ov{overlap}_split{split}"
        return _on_disk(Path(*parts).with_suffix(".csv"))

    def place_of(self, path: Path) -> Place:
        """As `Layout.place_of`."""
        found = self.folder_of(path)
        split = next((part for part in ("train", "test") if part in path.stem), "")
        if found is None:
            return Place(split)
        folder = path.parts[found[2]]
        overlap, fold = self._numbers(folder)
        return Place(split, folder, "", fold, overlap)

    def label_files(self, root: Path) -> list[Path]:
        """As `Layout.label_files`."""
        return [path for folder in sorted(root.glob("desc_ov*_split*")) for path in files_under(folder, [".csv"])]

    def lists(self, root: Path) -> dict[str, list[Path]]:
        """Per overlap and split the lists "train" and "test"."""
        found: dict[str, list[Path]] = {}
        for path in self.audio_files(root, self.formats[0]):
            place = self.place_of(path)
            if place.split:
                found.setdefault(self._list_name(place.overlap, place.fold, place.split), []).append(path)
        return found

    def default_lists(
        self, format: str | None = None, *, video: bool = False, ov: int | None = None, split: int | None = None
    ) -> ListNames:
        """As `Layout.default_lists`; nothing is set apart to choose by."""
        self.format_named(format)
        ov, split = self._number("--ov", ov, self.overlaps), self._number("--split", split, self.folds)
        return ListNames(self._list_name(ov, split, "train"), None, self._list_name(ov, split, "test"))

    def missing(self, root: Path, name: str) -> str:
        """As `Layout.missing`."""
        asked = re.fullmatch(rf"{self.name}_ov(\d+)_split(\d+)_(train|test)\.txt", name)
        if asked is None:
            return ""
        folder = f"wav_ov{asked[1]}_split{asked[2]}_*db"
        if any(root.glob(folder)):
            return f"{root / folder} holds no recordings with '{asked[3]}' in their name"
        there = ", ".join(path.name for path in self.folders(root, self.formats[0], "dev")) or "no folder wav_ov*"
        return f"{root} has no folder {folder}; found {there}"

    def _list_name(self, overlap: int | None, split: int | None, part: str) -> str:
        return f"{self.name}_ov{overlap}_split{split}_{part}.txt"

    def folders(self, root: Path, format: str, stage: str) -> list[Path]:
        """As `Layout.folders`."""
        return sorted(path for path in root.glob("wav_ov*") if path.is_dir() and self._FOLDER.fullmatch(path.name))


@dataclass(frozen=True)
class SheetLayout(Layout):
    """A folder `audio` and beside it one csv, or several, with the labels of all recordings (`util.label_sheet`).

    A column `split`, else the name of the csv (dev.csv, eval.csv), says what a recording is for: train, val or test.
    Where nothing does, it is to train. Recordings called "val" are trained on, too: by which of them a checkpoint is
    chosen is drawn (--select val).
    """

    def folder_of(self, path: str | os.PathLike[str]) -> tuple[str, str, int] | None:
        """As `Layout.folder_of`."""
        parts = Path(path).parts
        for position in range(len(parts) - 2, 0, -1):
            if parts[position] == self.audio[self.formats[0]]:
                return self.formats[0], "dev", position
        return None

    def told_by(self, path: Path) -> bool:
        """As `Layout.told_by`."""
        found = self.folder_of(path)
        return found is not None and bool(self._sheet_files(Path(*path.parts[: found[2]])))

    def labels_of(self, path: Path) -> Path | None:
        """As `Layout.labels_of`: the csv that names it, or one that cannot be read, which its reader will tell."""
        return self._found(path)[0]

    def place_of(self, path: Path) -> Place:
        """As `Layout.place_of`."""
        return Place(self._found(path)[1])

    def label_files(self, root: Path) -> list[Path]:
        """As `Layout.label_files`."""
        return self._sheet_files(root)

    def lists(self, root: Path) -> dict[str, list[Path]]:
        """Lists "train", "val" and "test" of the recordings that a csv names.

        Raises
        ------
        InputError : none of the recordings that a csv names is there; one is named by two
        """
        by_key = {key_of(path.stem): path for path in self.audio_files(root, None)}
        found: dict[str, list[Path]] = {}
        named_by: dict[str, Path] = {}
        for file in self._sheet_files(root):
            sheet = read_sheet(file)
            missing = [name for key, name in sheet.files.items() if key not in by_key]
            if missing:
                rule = f"names {len(missing)} of {len(sheet.files)} recordings that are not in "
                rule += f"{self.audio[self.formats[0]]}, {missing[0]} first"
                if len(missing) == len(sheet.files):
                    raise InputError(rule, path=file)
                say_once(rule, file)
            for key, split in sheet.splits.items():
                if named_by.setdefault(key, file) != file:
                    raise InputError(f"names {sheet.files[key]}, as {named_by[key].name} does", path=file)
                if key not in by_key:
                    continue
                for part in ("train", "val") if split == "val" else (split or "train",):
                    found.setdefault(self._list_name(part), []).append(by_key[key])
        return {name: sorted(paths) for name, paths in found.items()}

    def default_lists(
        self, format: str | None = None, *, video: bool = False, ov: int | None = None, split: int | None = None
    ) -> ListNames:
        """As `Layout.default_lists`; there are no overlaps and no numbers of splits."""
        self.format_named(format)
        return ListNames(self._list_name("train"), None, self._list_name("test"))

    def missing(self, root: Path, name: str) -> str:
        """As `Layout.missing`."""
        sheets = " and ".join(path.name for path in self._sheet_files(root))
        if not sheets:
            return f"{root} has no csv with the columns filename and label or labels"
        part = Path(name).stem.rpartition("_")[2]
        return f"{sheets}: no column split has '{part}', and no csv is called {'test.csv' if part == 'test' else part}"

    def folders(self, root: Path, format: str, stage: str) -> list[Path]:
        """As `Layout.folders`."""
        return [root / self.audio[format]]

    def _list_name(self, part: str) -> str:
        return f"{self.name}_{part}.txt"

    def _sheet_files(self, root: Path) -> list[Path]:
        try:
            return list(_sheets_in(root, os.stat(root).st_mtime_ns))
        except OSError:
            return []

    def _found(self, path: str | os.PathLike[str]) -> tuple[Path | None, str]:
        """The csv that names a recording, and the split that it says."""
        path, unread = Path(path), None
        found = self.folder_of(path)
        for file in () if found is None else self._sheet_files(Path(*path.parts[: found[2]])):
            try:
                split = read_sheet(file).splits.get(key_of(path.stem))
            except InputError:
                unread = file
                continue
            if split is not None:
                return file, split
        return unread, ""


@functools.lru_cache(maxsize=64)
def _sheets_in(root: Path, mtime_ns: int) -> tuple[Path, ...]:
    """The csv files with labels in a folder; kept until files come or go."""
    del mtime_ns
    return tuple(path for path in files_in(root, [".csv"]) if path.name != LABEL_MAP and is_sheet(path))


def sounds_under(folder: Path) -> list[Path]:
    """Sound files under a folder."""
    return files_under(folder, SOUND_SUFFIXES)


def _on_disk(path: Path) -> Path:
    """The file as it is called there, ".CSV" or ".MP4" perhaps; the path itself where there is none."""
    return existing(path) or path
