"""Layouts: where the files of a data set lie under its root. A layout is a row of a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dataset import headers
from dataset.classes import (
    NIGENS_CLASSES,
    NIGENS_CLASSES_2021,
    STARSS23_CLASSES,
    TUT_CLASSES,
    URBAN_CLASSES,
    check_classes,
    read_classes,
)
from dataset.layout_kinds import (
    FoldLayout,
    Layout,
    ListNames,
    OverlapLayout,
    PairLayout,
    SheetLayout,
    StageLayout,
    sounds_under,
)
from util.audio import audio_info
from util.columns import named
from util.errors import InputError
from util.files import read_json
from util.find import existing, files_in
from util.interval_csv import INTERVAL_DIALECTS, IntervalDialect
from util.label_sheet import SHEET
from util.microphone_arrays import ARRAYS
from util.text import CsvText, parse_csv, read_text

__all__ = ["LAYOUTS", "DataRoot", "Layout", "ListNames", "layout_of_file"]

_TUT: dict[str, Any] = {"classes": TUT_CLASSES, "dialect": "tut2018", "folds": (1, 2, 3)}
_STREET: dict[str, Any] = {"classes": URBAN_CLASSES, "folds": (1, 8, 9)}
_2018: dict[str, Any] = {"rate_hz": 44100, "clip_s": 30.0, "edition": "2018", "overlaps": (1, 2, 3)}
_CIRCULAR: dict[str, Any] = {"audio": {"circular8": "circular8"}, "list_formats": ("circular8",)}
_BOTH: dict[str, Any] = {"audio": {"foa": "foa", "mic": "mic"}, "list_formats": ("foa", "mic")}
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        StageLayout(
            "starss23",
            "STARSS23, Sony-TAu Realistic Spatial Soundscapes 2023",
            STARSS23_CLASSES,
            audio={"foa": "foa", "mic": "mic", "binaural": "binaural"},
            list_formats=("foa", "mic", "binaural"),
        ),
        StageLayout(
            "starss22",
            "STARSS22, Sony-TAu Realistic Spatial Soundscapes 2022",
            STARSS23_CLASSES,
            dialect="starss22",
            **_BOTH,
            videos=(),
            edition="2022",
            list_prefix="dcase2022t3",
        ),
        StageLayout(
            "dcase2024",
            "DCASE2024 task 3: STARSS23 and synthetic recordings, with distances",
            STARSS23_CLASSES,
            dialect="dcase2024",
            **_BOTH,
            edition="2024",
            list_prefix="dcase2024t3",
        ),
        PairLayout(
            "stereo2025",
            "DCASE2025 task 3: stereo clips of STARSS23 with a camera's view",
            STARSS23_CLASSES,
            dialect="dcase2025",
            audio={"stereo": "stereo"},
            list_formats=("stereo",),
            clip_s=5.0,
            edition="2025",
            videos=("video",),
            view="perspective",
            list_prefix="dcase2025t3",
        ),
        # TUT Sound Events 2018 (Adavanne et al., JSTSP 2018): anechoic and reverberant synthetic, of a circular array,
        # of measured impulse responses; and the sets with moving sources
        OverlapLayout("ansim", "TUT Sound Events 2018 ANSIM: anechoic, Ambisonics", **_TUT, **_2018),
        OverlapLayout("resim", "TUT Sound Events 2018 RESIM: rooms, Ambisonics", **_TUT, **_2018),
        OverlapLayout("cansim", "TUT Sound Events 2018 CANSIM: anechoic, circular array", **_TUT, **_2018, **_CIRCULAR),
        OverlapLayout("cresim", "TUT Sound Events 2018 CRESIM: rooms, circular array", **_TUT, **_2018, **_CIRCULAR),
        OverlapLayout(
            "real",
            "TUT Sound Events 2018 REAL: rooms, street sounds, Ambisonics",
            dialect="tut2018_real",
            **_STREET,
            **_2018,
        ),
        OverlapLayout(
            "mansim",
            "TUT Sound Events 2018 MANSIM: anechoic, moving sources, Ambisonics",
            **{**_TUT, "dialect": "mansim"},
            **_2018,
        ),
        OverlapLayout(
            "mreal",
            "TUT Sound Events 2018 MREAL: rooms, moving street sounds, Ambisonics",
            dialect="mreal",
            **_STREET,
            **_2018,
        ),
        FoldLayout(
            "tau2019",
            "TAU Spatial Sound Events 2019",
            TUT_CLASSES,
            dialect="tau2019",
            **_BOTH,
            rate_hz=48000,
            clip_s=60.0,
            edition="2019",
            folds=(1, 2, 3, 4),
            overlaps=(1, 2),
            list_prefix="tau2019",
        ),
        # train, choose, test by folds 3-6, 2, 1; with --split 0 by folds 2-6, 1 and the evaluation set
        FoldLayout(
            "nigens2020",
            "TAU-NIGENS Spatial Sound Events 2020",
            NIGENS_CLASSES,
            dialect="starss22",
            **_BOTH,
            clip_s=60.0,
            edition="2020",
            folds=(1,),
            ring=(1, 2, 3, 4, 5, 6),
            overlaps=(1, 2),
            list_prefix="nigens2020",
            pattern=r"fold(?P<fold>\d+)_(?P<room>room\d+)_mix\d+_ov(?P<overlap>\d+)",
            called="fold*_room*_mix*_ov*",
        ),
        # folds 1-4, 5, 6, in folders dev-train, dev-val, dev-test; with --split 0 folds 1-5, 6 and the evaluation set
        FoldLayout(
            "nigens2021",
            "TAU-NIGENS Spatial Sound Events 2021",
            NIGENS_CLASSES_2021,
            dialect="starss22",
            **_BOTH,
            clip_s=60.0,
            edition="2021",
            folds=(6,),
            ring=(6, 5, 4, 3, 2, 1),
            list_prefix="nigens2021",
            pattern=r"fold(?P<fold>\d+)_(?P<room>room\d+)_mix\d+\.",
            called="fold*_room*_mix*",
            inner=(("dev-train", (1, 2, 3, 4)), ("dev-val", (5,)), ("dev-test", (6,)), ("eval-test", (0,))),
            only_with="dev-val",
        ),
        SheetLayout(
            "mono",
            "mono recordings of sound events: audio/ and one csv with all labels, strong or weak",
            (),
            dialect=SHEET,
            audio={"mono": "audio"},
            list_formats=("mono",),
            edition="2020",
        ),
    )
}
_2018_ROWS = tuple(layout for layout in LAYOUTS.values() if isinstance(layout, OverlapLayout))


class DataRoot:
    """The root folder of a data set.

    `dataset.json` in it may hold: name, layout, classes, clip_s, synthetic (true or false), detector, iterations and
    whatever else a command recommends for it; `classes.txt` has the names of the classes, and goes first. Where it does
    not name the layout, that is found by what lies there.

    Raises
    ------
    InputError : no such folder, a `dataset.json` that is no json object, an unknown layout
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
        name = self.settings.get("layout")
        if name is not None and name not in LAYOUTS:
            rule = f"unknown layout '{name}'; known are {', '.join(LAYOUTS)}"
            raise InputError(rule, path=self.path / "dataset.json")
        self.layout = _layout_found(self.path) if name is None else LAYOUTS[name]

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
        return str(self.settings.get("view") or inner or self.layout.view)

    @property
    def clip_s(self) -> float | None:
        """Length of every recording in seconds, as `dataset.json` or the layout has it; None: they have any.

        Raises
        ------
        InputError : `dataset.json` has no length there
        """
        given = self.settings.get("clip_s", self.layout.clip_s)
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1e6):
            raise InputError(f"clip_s must be a length in seconds, found {given!r}", path=self.path / "dataset.json")
        return given

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Ordered names of the classes: `classes.txt`, else `dataset.json`, else those of the layout."""
        if (named_here := existing(self.path / "classes.txt")) is not None:
            return read_classes(named_here)
        if "classes" in self.settings:
            return check_classes(self.settings["classes"], path=self.path / "dataset.json")
        if not self.layout.classes:
            rule = f"layout {self.layout.name} has no classes of its own: name yours, one a line"
            raise InputError(f"no such file; {rule}", path=self.path / "classes.txt")
        return self.layout.classes

    def audio_folder(self, format: str, stage: str = "dev") -> Path:
        """Folder of the recordings of a format, whether it exists or not; of several the first.

        Raises
        ------
        InputError : the layout has no such format
        """
        folders = self.layout.folders(self.path, self.layout.format_named(format), stage)
        return folders[0] if folders else self.path

    def audio_files(self, format: str | None = None, stage: str = "dev") -> list[Path]:
        """Recordings of a format (None: the layout's first), sorted by path; none where the folder is absent.

        Raises
        ------
        InputError : the layout has no such format
        """
        return self.layout.audio_files(self.path, format, stage)


def layout_of_file(path: str | os.PathLike[str]) -> Layout:
    """The layout of a sound file that lies in no data root named, told by its folder and name; STARSS23 if by none."""
    path = Path(path)
    found = _2018_ROWS[0].folder_of(path)
    if found is not None:
        return _layout_found(Path(*path.parts[: found[2]]))
    return next((row for row in LAYOUTS.values() if row.told_by(path)), LAYOUTS["starss23"])


def _layout_found(root: Path) -> Layout:
    """The layout of a root that does not name it."""
    if any(_2018_ROWS[0].folders(root, "foa", "dev")):
        return _layout_2018(root)
    # by their sounds, of each folder once
    folders = {
        folder: None
        for row in LAYOUTS.values()
        for format in row.formats
        for stage in row.stages
        for folder in row.folders(root, format, stage)
    }
    key = headers.key_of("layout", os.path.abspath(root), *LAYOUTS)
    if (known := headers.recall_word(key)) in LAYOUTS:
        return LAYOUTS[known]
    sounds = [path for folder in folders for path in sounds_under(folder)]
    # stereo clips may lie in the folder of what they were made of, whose layout then counts
    told = (
        row
        for row in LAYOUTS.values()
        if sounds and (all if isinstance(row, PairLayout) else any)(row.told_by(path) for path in sounds)
    )
    found = next(told, LAYOUTS["starss23"])
    if len(sounds) >= headers.LEAST:
        headers.remember_word(key, found.name, _looked_at(root, folders, sounds))
    return found


def _looked_at(root: Path, folders: Iterable[Path], sounds: Sequence[Path]) -> set[str]:
    """What tells the layout of a root: the root, its csv files, the folders of sounds with all that are in them."""
    found = {os.path.abspath(path) for path in (root, *files_in(root, [".csv"]))}
    found |= {os.path.abspath(inner) for inner in {os.path.dirname(path) for path in sounds}}
    for folder in folders:
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        found.add(os.path.abspath(there))
        if there == folder:
            found |= {os.path.abspath(inner) for inner, _, _ in os.walk(folder)}
    return found


def _layout_2018(root: Path) -> Layout:
    """Which of the sets of 2018 it is: by the number of channels, the header of its labels and how classes are called.

    ANSIM and RESIM, CANSIM and CRESIM have the same files: the name of the folder decides, else it is the first.

    Raises
    ------
    InputError : it is none of them
    """
    any_row = _2018_ROWS[0]
    sound = next(iter(any_row.audio_files(root, any_row.formats[0])), None)
    labels = next(iter(any_row.label_files(root)), None)
    found = None if labels is None else _parsed(labels)
    fitting = [
        row
        for row in _2018_ROWS
        if (sound is None or ARRAYS[row.formats[0]].channels == audio_info(sound).channels)
        and (labels is None or (found is not None and _fits(found, INTERVAL_DIALECTS[row.dialect])))
    ]
    # rows of street sounds fit the other sets, too, but for what they call the classes
    fitting = [row for row in fitting if INTERVAL_DIALECTS[row.dialect].aliases] or fitting
    if not fitting:
        where = " and ".join(str(path.relative_to(root)) for path in (sound, labels) if path is not None)
        known = ", ".join(row.name for row in _2018_ROWS)
        rule = f'{where} fit no known layout ({known}); name the layout in dataset.json, {{"layout": "ansim"}}'
        raise InputError(rule, path=root)
    by_folder = [row for row in fitting if row.name in root.resolve().name.lower()]
    return max(by_folder, key=lambda row: len(row.name), default=fitting[0])


def _parsed(labels: Path) -> CsvText | None:
    """The rows of a label file; None where it is none."""
    try:
        return parse_csv(read_text(labels))
    except InputError:
        return None


def _fits(found: CsvText, dialect: IntervalDialect) -> bool:
    """Whether header and first row of a label file are of a dialect."""
    if found.header is None:
        return not found.rows
    names = [named(name).name for name in found.header]
    columns = _columns_of(dialect)
    known = set().union(*map(_columns_of, INTERVAL_DIALECTS.values()))
    if not columns <= set(names) or (set(names) - columns) & known:
        return False
    first = names.index(named(dialect.columns[0]).name)
    called = dialect.class_in(found.rows[0][first].strip()) if found.rows and first < len(found.rows[0]) else None
    if dialect.aliases:
        return called in dialect.aliases
    return called is not None or not found.rows


def _columns_of(dialect: IntervalDialect) -> set[str]:
    return {named(name).name for name in dialect.columns}
