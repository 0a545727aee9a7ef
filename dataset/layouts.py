"""Layouts: where the files of a data set lie under its root. A layout is a row of a table."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dataset.classes import STARSS23_CLASSES, check_classes, read_classes
from util.errors import InputError
from util.files import companion, read_json

AUDIO_SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True)
class Layout:
    """Folders are named `<kind>_<stage>`; inside lie sub-folders of splits, and the same names in each kind.

    Attributes
    ----------
    audio : folder kind of each format, "binaural" -> "binaural" in "binaural_dev"
    labels : folder kind of the label csv files
    videos : folder kinds of the videos, the one to prefer first
    stages : "dev" has labels, "eval" has none
    splits : start of a sub-folder's name -> split
    list_formats : how the names of lists call each format
    dialect : csv dialect of the labels
    """

    name: str
    audio: dict[str, str] = field(
        default_factory=lambda: {"foa": "foa", "mic": "mic", "binaural": "binaural", "stereo": "stereo"}
    )
    labels: str = "metadata"
    videos: tuple[str, ...] = ("video_360x180", "video")
    stages: tuple[str, ...] = ("dev", "eval")
    splits: dict[str, str] = field(default_factory=lambda: {"dev-train": "train", "dev-test": "test"})
    list_formats: dict[str, str] = field(default_factory=lambda: {"foa": "foa", "mic": "mic", "binaural": "bin"})
    dialect: str = "starss23"
    classes: tuple[str, ...] = STARSS23_CLASSES

    def folder_of(self, path: str | os.PathLike[str]) -> tuple[str, str, int] | None:
        """(format, stage, position) of the last component of an audio path that is an audio folder, "foa_dev"."""
        kinds = {kind: name for name, kind in self.audio.items()}
        parts = Path(path).parts
        for position in range(len(parts) - 2, -1, -1):
            kind, _, stage = parts[position].rpartition("_")
            if kind in kinds and stage in self.stages:
                return kinds[kind], stage, position
        return None

    def labels_of(self, path: Path) -> Path | None:
        """Label csv that belongs to an audio file, whether it exists or not; None outside of the layout."""
        return self._companion(path, self.labels, ".csv")

    def videos_of(self, path: Path) -> list[Path]:
        """Videos that belong to an audio file, the one to prefer first, whether they exist or not."""
        found = (self._companion(path, kind, ".mp4") for kind in self.videos)
        return [video for video in found if video is not None]

    def _companion(self, path: Path, kind: str, suffix: str) -> Path | None:
        if self.folder_of(path) is None:
            return None
        folders = {f"{audio}_{stage}": f"{kind}_{stage}" for audio in self.audio.values() for stage in self.stages}
        return companion(path, folders, suffix)

    def split_of(self, path: Path) -> tuple[str, str]:
        """(split, sub-folder) of an audio file: "train", "test", "eval" or "" where the folders do not say."""
        found = self.folder_of(path)
        if found is None:
            return "", ""
        _, stage, position = found
        inner = Path(path).parts[position + 1 : -1]
        folder = inner[0] if inner else ""
        if stage == "eval":
            return "eval", folder
        return next((split for start, split in self.splits.items() if folder.startswith(start)), ""), folder


LAYOUTS = {layout.name: layout for layout in (Layout("starss23"),)}


class DataRoot:
    """The root folder of a data set.

    `dataset.json` in it may hold: name, layout, classes, synthetic (true or false), detector, iterations and whatever
    else a command recommends for it; `classes.txt` has the names of the classes, and goes first.

    Raises
    ------
    InputError : no such folder, a `dataset.json` that is no json object
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError("no such data root (flag --data-root)", path=path)
        self.settings: dict[str, Any] = {}
        if (self.path / "dataset.json").exists():
            self.settings = read_json(self.path / "dataset.json")
            if not isinstance(self.settings, dict):
                raise InputError("must be a json object", path=self.path / "dataset.json")
        name = self.settings.get("layout", "starss23")
        if name not in LAYOUTS:
            rule = f"unknown layout '{name}'; known are {', '.join(LAYOUTS)}"
            raise InputError(rule, path=self.path / "dataset.json")
        self.layout = LAYOUTS[name]

    def __repr__(self) -> str:
        return f"DataRoot({str(self.path)!r})"

    @property
    def name(self) -> str:
        """What the data are called in results."""
        return str(self.settings.get("name", self.path.resolve().name))

    @property
    def synthetic(self) -> bool:
        """Whether the root says of itself that its data are synthetic."""
        return bool(self.settings.get("synthetic", False))

    @property
    def view(self) -> str:
        """What the camera of its videos sees: "equirectangular", or "perspective"."""
        made_with = self.settings.get("settings")  # of the simulator
        inner = made_with.get("view") if isinstance(made_with, dict) else None
        return str(self.settings.get("view") or inner or "equirectangular")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Ordered names of the classes: `classes.txt`, else `dataset.json`, else those of the layout."""
        if (self.path / "classes.txt").exists():
            return read_classes(self.path / "classes.txt")
        if "classes" in self.settings:
            return check_classes(self.settings["classes"], path=self.path / "dataset.json")
        return self.layout.classes

    def audio_folder(self, format: str, stage: str = "dev") -> Path:
        """Folder of the recordings of a format, whether it exists or not.

        Raises
        ------
        InputError : the layout has no such format
        """
        if format not in self.layout.audio:
            raise InputError(f"unknown format '{format}'; known are {', '.join(self.layout.audio)}")
        return self.path / f"{self.layout.audio[format]}_{stage}"

    def audio_files(self, format: str, stage: str = "dev") -> list[Path]:
        """Recordings of a format, sorted by path; none where the folder is absent."""
        folder = self.audio_folder(format, stage)
        return sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")  # a hidden one is half written
        )

    def has_recordings(self, format: str = "foa") -> bool:
        """Whether there is anything to train or evaluate on."""
        return any(self.audio_files(format, stage) for stage in self.layout.stages)
