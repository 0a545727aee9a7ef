"""Recordings: an audio file with its labels, its video and its boxes."""

from __future__ import annotations

import math
import os
import shlex
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np

from dataset import headers
from dataset.layouts import LAYOUTS, DataRoot, layout_of_file
from dataset.lists import read_list
from dataset.seen import BOXES, Held, Producer
from util.audio import RATE_HZ, AudioInfo, audio_info, resampled_frames
from util.errors import InputError
from util.events import EventTable
from util.find import files_in, folder_names
from util.intervals import IntervalTable
from util.label_sheet import Clip
from util.labels import names_classes, read_label_events, read_label_intervals
from util.microphone_arrays import ARRAYS, Array

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Recording:
    """One clip and the files that belong to it.

    Attributes
    ----------
    name : stem of its audio file, after the names of folders where recordings of one list are called alike
    labels : label csv, None where there is none
    video : the small video where there is one, else the large one, else None
    array : what the channels are
    samples : samples per channel of the file
    rate_hz : samples per second of the file; it may be used at another rate
    split : "train", "test", "eval", or "" where the folders do not say
    folder : sub-folder of the split, "dev-train-sony", or what stands for one
    room : "room21", or "" where the name does not say
    root : folder above the layout's folders, None outside of a layout
    dialect : csv dialect of the labels, of frames or with start and end
    view : what the camera of the video sees, "equirectangular" or "perspective"
    layout : name of the layout
    fold, overlap : number of the split for cross-validation, most events at one time; None where nothing says so
    """

    name: str
    audio: Path
    labels: Path | None
    video: Path | None
    array: Array
    samples: int
    rate_hz: int = RATE_HZ
    split: str = ""
    folder: str = ""
    room: str = ""
    root: Path | None = None
    dialect: str = "starss23"
    view: str = "equirectangular"
    layout: str = "starss23"
    fold: int | None = None
    overlap: int | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate_hz

    def absolute(self) -> Recording:
        """The same for processes that have another working directory."""
        paths = {name: getattr(self, name) for name in ("audio", "labels", "video", "root")}
        return replace(self, **{name: path.absolute() for name, path in paths.items() if path is not None})

    def samples_at(self, rate_hz: int) -> int:
        """Samples per channel after resampling to `rate_hz`, one at least."""
        return max(1, resampled_frames(self.samples, self.rate_hz, rate_hz))


def recordings_from_list(
    lists: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    roots: Sequence[DataRoot] = (),
    *,
    need_labels: bool = False,
    need_video: bool = False,
    mixed: bool = False,
    array: Array | None = None,
) -> list[Recording]:
    """The recordings that one or more lists name, in their order; of several of one name the folders become part of it.

    Parameters
    ----------
    roots : data roots for relative paths, and for the csv dialect of their layout
    need_labels, need_video : a recording without them is an error
    mixed : recordings of several data roots are wanted (flag --mix)
    array : what the channels are where no folder says it (flag --format)

    Raises
    ------
    InputError : as `read_list` and `recording_of_file`; missing labels or video; more than one format; two data roots
    """
    paths = [lists] if isinstance(lists, str | os.PathLike) else list(lists)
    recordings: list[Recording] = []
    for path in paths:
        recordings += _of_list(path, roots, array)
    names = folder_names(recording.audio for recording in recordings)  # what is written of them is called by these
    recordings = [one if one.name == names[one.audio] else replace(one, name=names[one.audio]) for one in recordings]
    first = recordings[0]
    for recording in recordings:
        if recording.array != first.array:
            rule = f"is {recording.array.name}, {first.audio.name} of the same list is {first.array.name}"
            raise InputError(rule, path=recording.audio)
        if recording.root != first.root and not mixed:
            rule = (
                f"names recordings of two data roots, {first.root} and {recording.root}; give their shares with --mix"
            )
            raise InputError(rule, path=paths[0])
        if need_labels and recording.labels is None:
            _need(recording, "labels", "metadata", LAYOUTS[recording.layout].labels_of(recording.audio))
        if need_video and recording.video is None:
            videos = LAYOUTS[recording.layout].videos_of(recording.audio)
            _need(recording, "video", "video", videos[-1] if videos else None, " (or use --no-video)")
    return recordings


def _of_list(path: str | os.PathLike[str], roots: Sequence[DataRoot], array: Array | None) -> list[Recording]:
    """The recordings of one list: out of the catalogue, where nothing has changed, else of their files."""

    def of_file(audio: Path) -> Recording:
        return _recording(audio, roots, otherwise=array)

    if not Path(path).is_file():
        return [of_file(audio) for audio in read_list(path, roots)]
    settings = [(root.path, root.layout.name, root.view) for root in roots]
    key = headers.key_of(path, headers.content_mark(path), Path.cwd(), array, *settings)
    known = headers.recall(key, Recording, ARRAYS, of_file)
    if known is not None:
        return known
    recordings = [of_file(audio) for audio in read_list(path, roots)]
    if len(recordings) >= headers.LEAST and all(ARRAYS.get(one.array.name) == one.array for one in recordings):
        headers.remember(key, recordings, _watched(recordings))
    return recordings


def _watched(recordings: Sequence[Recording]) -> set[str]:
    """Folders where labels and videos are, or would be."""
    folders: dict[Path, Path] = {}  # one recording of each folder
    for one in recordings:
        folders.setdefault(one.audio.parent, one.audio)
    found: set[str] = set()
    for audio in folders.values():
        layout = layout_of_file(audio)
        places = [layout.labels_of(audio), *layout.videos_of(audio)]
        found |= {os.path.abspath(place.parent) for place in places if place is not None}
    return found | {os.path.abspath(one.labels.parent) for one in recordings if one.labels is not None}


def recording_of_file(
    path: str | os.PathLike[str],
    *,
    array: Array | None = None,
    labels: str | os.PathLike[str] | None = None,
    video: str | os.PathLike[str] | None = None,
    as_it_is: bool = False,
) -> Recording:
    """A recording from anywhere; what is not given is looked up by the layout, where the path fits one.

    Parameters
    ----------
    array : None: by the folder (foa_dev ...), else four channels are FOA
    as_it_is : the caller makes the array's channels of those of the file (`util.channels.channels_of`)

    Raises
    ------
    InputError : as `audio_info`; another number of channels than the array has; a file given that does not exist; two
        channels of a kind that nothing says, or of one that no array describes
    """
    found = _recording(Path(path), (), array=array, as_it_is=as_it_is)
    for kind, given in (("labels", labels), ("video", video)):
        if given is not None:
            if not Path(given).is_file():
                raise InputError("no such file", path=given)
            found = replace(found, labels=Path(given)) if kind == "labels" else replace(found, video=Path(given))
    return found


def split_by_room(
    recordings: Sequence[Recording], *, share: float = 0.2, seed: int = 0
) -> tuple[list[Recording], list[Recording]]:
    """Split whole rooms off: (recordings to train on, recordings to choose by), at least one room in each.

    Rooms are taken in an order drawn from the seed until `share` of the total duration is reached; of a room that would
    overshoot by more than half of itself none is taken while others are left.

    Raises
    ------
    InputError : fewer than two rooms
    """
    duration_s: dict[tuple[Path | None, str], float] = {}
    for recording in recordings:
        key = (recording.root, recording.room or recording.name)
        duration_s[key] = duration_s.get(key, 0.0) + recording.duration_s
    rooms = sorted(duration_s, key=str)
    if len(rooms) < 2:
        raise InputError(f"recordings of one room ({rooms[0][1] if rooms else 'none'}) cannot be split by room")
    order = [rooms[index] for index in np.random.default_rng(seed).permutation(len(rooms))]
    due_s = share * sum(duration_s.values())
    chosen: set[tuple[Path | None, str]] = set()
    total_s = 0.0
    for room in order:
        if len(chosen) < len(rooms) - 1 and total_s + duration_s[room] / 2 <= due_s:
            chosen.add(room)
            total_s += duration_s[room]
    if not chosen:
        chosen.add(min(order, key=lambda room: duration_s[room]))
    parts: tuple[list[Recording], list[Recording]] = ([], [])
    for recording in recordings:
        parts[(recording.root, recording.room or recording.name) in chosen].append(recording)
    return parts


class Labels:
    """Events of recordings, each csv read once and kept while memory is left for it.

    Parameters
    ----------
    class_count : classes must be below it
    frame_s : length of the frames of the events in seconds
    classes : their names, for labels that name them; None: those of the recording's layout
    limit_mb : what the tables kept may take together, so that memory does not grow with the data set
    """

    FRAME_S = 0.1

    def __init__(
        self,
        class_count: int | None,
        *,
        frame_s: float = FRAME_S,
        classes: Sequence[str] | None = None,
        limit_mb: float = 32.0,
    ):
        self.class_count, self.frame_s, self.classes = class_count, frame_s, classes
        self._cache: _Cache[_PackedEvents] = _Cache(limit_mb)
        self._intervals: _Cache[IntervalTable] = _Cache(limit_mb)

    def __call__(self, recording: Recording) -> EventTable:
        """Events sorted by frame (rows of one frame in the order of the file); none without labels.

        Raises
        ------
        InputError : as `util.labels.read_label_events`
        """
        return self.of_frames(recording, self.frame_s)

    def of_frames(self, recording: Recording, frame_s: float) -> EventTable:
        """The same for frames of another length in seconds."""
        if recording.labels is None:
            return EventTable.make(frame_s=frame_s)
        path, key = recording.labels, (recording.labels, recording.audio.stem, round(frame_s * 1e9))
        return self._cache.get(key, lambda: self._read(path, recording, frame_s)).unpacked()

    def intervals(self, recording: Recording) -> IntervalTable:
        """Events with start and end, in the order of the file, of labels of frames by start; none without labels.

        Raises
        ------
        InputError : as `util.labels.read_label_intervals`
        """
        if recording.labels is None:
            return IntervalTable.make()
        path, key = recording.labels, (recording.labels, recording.audio.stem)
        return self._intervals.get(key, lambda: self._read_intervals(path, recording))

    def _read(self, path: Path, recording: Recording, frame_s: float) -> tuple[_PackedEvents, int]:
        packed = _PackedEvents(
            read_label_events(
                path,
                recording.dialect,
                self._classes(recording),
                frame_s=frame_s,
                frame_count=math.ceil(recording.duration_s / frame_s - 1e-6),
                clip=Clip(recording.audio.stem, recording.duration_s),
            )
        )
        return packed, packed.nbytes

    def _read_intervals(self, path: Path, recording: Recording) -> tuple[IntervalTable, int]:
        clip = Clip(recording.audio.stem, recording.duration_s)
        table = read_label_intervals(path, recording.dialect, self._classes(recording), clip=clip)
        return table, sum(getattr(table, name).nbytes for name in table.COLUMNS)

    def _classes(self, recording: Recording) -> Sequence[str] | int | None:
        if not names_classes(recording.dialect):
            return self.class_count
        names = self.classes or LAYOUTS[recording.layout].classes
        if not names and recording.root is not None:  # sets whose classes are their own
            names = DataRoot(recording.root).classes
        return names[: self.class_count]


no_boxes = BOXES.nothing


class Boxes:
    """What is seen in recordings, by default person boxes, from the files that its producer left beside the videos.

    Parameters
    ----------
    detector : name of what looks at pictures, part of the files' names
    producer : row of `dataset.seen`
    source : "own"; "other": those of the next recording that has video, for scores that show what the picture is worth
    recordings : those to take another one's boxes from, for `source="other"`; without them, the videos of the same
        folder that have box files
    """

    def __init__(
        self,
        detector: str,
        *,
        producer: Producer = BOXES,
        source: str = "own",
        recordings: Sequence[Recording] = (),
        limit_mb: float = 32.0,
    ):
        if source not in ("own", "other"):
            raise ValueError(f"source must be own or other, found {source}")
        self.detector, self.source, self.producer = detector, source, producer
        self._cache: _Cache[Held] = _Cache(limit_mb)
        seen = [recording.video for recording in recordings if recording.video is not None]
        self._other = dict(zip(seen, seen[1:] + seen[:1])) if len(set(seen)) > 1 else {}

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """What is seen at times (m,) in seconds, (m, ...) float32; zeros without video.

        Raises
        ------
        InputError : as the reader of the producer
        """
        time_s = np.asarray(time_s, dtype=np.float64)
        video = recording.video
        if video is None:
            return self.producer.nothing(recording, time_s)
        if self.source == "other":
            video = self._other.get(video) or self._sibling(video)
        track = self._cache.get(video, lambda: self._read(video))
        if self.source == "other" and track.end_s > 0:
            time_s = np.mod(time_s, track.end_s)
        try:
            return self.producer.of_view(recording.view, track.at(time_s))
        except InputError as error:
            raise InputError(error.rule, path=self.producer.file(video, self.detector), place=error.place) from None

    def _sibling(self, video: Path) -> Path:
        found = [path for path in files_in(video.parent, [".mp4"]) if self.producer.file(path, self.detector).exists()]
        later = [path for path in found if path > video]
        other = next((path for path in [*later, *found] if path != video), None)
        if other is None:
            raise InputError("there is no other video beside it whose boxes could be used", path=video)
        self._other[video] = other
        return other

    def _read(self, video: Path) -> tuple[Held, int]:
        track = self.producer.read(self.producer.file(video, self.detector))
        return track, track.nbytes


class _PackedEvents:
    """An event table in the smallest types that hold its columns exactly: labels take 5 to 20 bytes a row, not 64.

    All columns are one string of bytes, those of one value that value alone. Small strings lie in Python's own blocks:
    arrays that stay would split the memory in which batches and layers come and go, so that it grows and grows.
    """

    __slots__ = ("_content", "_frame_s", "_kinds", "_rows")

    _INTEGERS: ClassVar[dict[type, int]] = {np.int8: 2**7, np.int16: 2**15, np.int32: 2**31}
    _FLOATS = (np.float16, np.float32)
    _HELD = 600  # bytes of an entry of the cache besides its rows: key, objects

    def __init__(self, table: EventTable):
        self._frame_s, self._rows = table.frame_s, len(table)
        packed = [self._smallest(getattr(table, name)) for name in EventTable.COLUMNS]
        self._kinds = "".join(column.dtype.char if len(column) == self._rows else "=" + column.dtype.char
                              for column in packed)  # fmt: skip
        self._content = b"".join(column.tobytes() for column in packed)

    @classmethod
    def _smallest(cls, column: np.ndarray) -> np.ndarray:
        if len(column) > 1:
            first = column[0]
            if (column == first).all() if first == first else np.isnan(column).all():
                column = column[:1]
        if not len(column):
            return column.astype(np.int8)
        low, high = column.min(), column.max()  # NaN where one is
        if column.dtype.kind != "f" or (math.isfinite(high - low) and (column == np.rint(column)).all()):
            for kind, limit in cls._INTEGERS.items():
                if -limit <= low and high < limit:
                    return column.astype(kind)
            return column
        for kind in cls._FLOATS:
            with np.errstate(over="ignore"):
                packed = column.astype(kind)
            if np.array_equal(packed.astype(column.dtype), column, equal_nan=True):
                return packed
        return column

    @property
    def nbytes(self) -> int:
        return len(self._content) + self._HELD

    def unpacked(self) -> EventTable:
        columns, place, rows = {}, 0, self._rows
        kinds = iter(self._kinds)
        for name in EventTable.COLUMNS:
            kind = next(kinds)
            count = 1 if kind == "=" else rows
            dtype = np.dtype(next(kinds) if kind == "=" else kind)
            column = np.frombuffer(self._content, dtype, count, place)
            columns[name] = column if count == rows else np.repeat(column, rows)
            place += count * dtype.itemsize
        return EventTable.make(frame_s=self._frame_s, **columns)


class _Cache(Generic[Value]):
    """The values used last, as many as fit into a limit; for several threads."""

    def __init__(self, limit_mb: float):
        self._limit, self._used = limit_mb * 2**20, 0
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], tuple[Value, int]]) -> Value:
        """The value of a key; `make` gives it and its size in bytes."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value, size = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = (value, size)
                self._used += size
                while self._used > self._limit and len(self._values) > 1:
                    self._used -= self._values.popitem(last=False)[1][1]
        return value


def _recording(
    audio: Path,
    roots: Sequence[DataRoot],
    *,
    array: Array | None = None,
    otherwise: Array | None = None,
    as_it_is: bool = False,
) -> Recording:
    """A recording: of `array`, else of what its folder says, else of `otherwise`, else of what its channels allow."""
    root, view = None, ""
    for data_root in roots:
        layout, found = data_root.layout, data_root.layout.folder_of(audio)
        if found is not None and _same_folder(Path(*audio.parts[: found[2]]), data_root.path):
            root, view = data_root.path, data_root.view
            break
    else:
        layout = layout_of_file(audio)
        found = layout.folder_of(audio)
    labels, videos, place = None, [], layout.place_of(audio)
    if found is not None:
        if root is None:
            root = Path(*audio.parts[: found[2]])
        labels, videos = layout.labels_of(audio), layout.videos_of(audio)
        if array is None:
            array = _array_of_format(found[0], audio)
    array = otherwise if array is None else array
    info = audio_info(audio, channels=None if array is None or as_it_is else array.channels)
    if array is None:
        array = ARRAYS["foa"] if info.ambisonics and as_it_is else _array_by_channels(info)
    if info.ambisonics not in ("", "acn") and array.kind == "ambisonics" and not as_it_is:
        raise InputError(other_ambisonics(info), path=audio)
    return Recording(
        name=audio.stem,
        audio=audio,
        labels=labels if labels is not None and labels.is_file() else None,
        video=next((video for video in videos if video.is_file()), None),
        array=array,
        samples=info.frames,
        rate_hz=info.rate_hz,
        split=place.split,
        folder=place.folder,
        room=place.room,
        root=root,
        dialect=layout.dialect,
        view=view or layout.view,
        layout=layout.name,
        fold=place.fold,
        overlap=place.overlap,
    )


def _array_of_format(format: str, audio: Path) -> Array:
    if format not in ARRAYS:
        rule = f"lies in a folder of {format} audio, which no array describes; known are {', '.join(ARRAYS)}"
        raise InputError(rule, path=audio)
    return ARRAYS[format]


def _array_by_channels(info: AudioInfo) -> Array:
    if info.channels == 2:  # ears of a head, coincident or spaced microphones: each has delays of its own
        rule = "has 2 channels, and nothing says of what: --format bin (a head's ears) or stereo (cardioids at one "
        rule += "point), or a folder binaural_dev or stereo_dev, does"
        raise InputError(rule, path=info.path)
    if info.channels != 4:
        rule = f"has {info.channels} channels; 4 (FOA or tetrahedral) or 2 (binaural) are understood"
        raise InputError(rule, path=info.path)
    return ARRAYS["foa"]


def other_ambisonics(info: AudioInfo) -> str:
    """What is wrong with Ambisonics that is not ACN, SN3D by its header, and the command that makes it that."""
    said, channels = "B-format (FuMa: W X Y Z)", "remix 1v1.4142 3 4 2"
    if info.ambisonics != "fuma":
        said, channels = "weights of N3D", "remix 1 2v0.57735 3v0.57735 4v0.57735"
    target = shlex.quote(f"{info.path.stem}_sn3d.wav")
    return f"is Ambisonics with {said} by its header: sox {shlex.quote(str(info.path))} {target} {channels}"


def _same_folder(first: Path, second: Path) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _need(recording: Recording, kind: str, folder: str, path: Path | None, hint: str = "") -> None:
    if getattr(recording, kind) is None:
        where = f"no {folder} folder belongs to it" if path is None else f"{path} does not exist"
        raise InputError(f"has no {kind}: {where}{hint}", path=recording.audio)
