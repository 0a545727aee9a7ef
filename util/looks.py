"""What is seen over time as arrays, and the small file beside a video that keeps it."""

from __future__ import annotations

import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from util import cache
from util.boxes import HOLD_S, TIME_ROUNDING_S
from util.errors import InputError
from util.files import written_whole

FORMAT = 1


@dataclass(frozen=True)
class LookTrack:
    """What a producer sees in one video, on a time grid.

    Attributes
    ----------
    time_s : (n,) ascending, float64
    values : (n, ...) float32
    end_s : end of the video's last frame
    meta : what they were made with
    """

    time_s: np.ndarray
    values: np.ndarray
    end_s: float
    meta: dict = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.time_s.nbytes + self.values.nbytes

    def at(self, time_s: np.ndarray | float) -> np.ndarray:
        """Times (m,) in s -> (m, ...): what is seen at the last grid time not after t, as boxes (`util.boxes`)."""
        time_s = np.atleast_1d(np.asarray(time_s, dtype=np.float64))
        if not len(self.time_s):
            return np.zeros((*time_s.shape, *self.values.shape[1:]), np.float32)
        index = np.searchsorted(self.time_s, time_s + TIME_ROUNDING_S, side="right") - 1
        seen = (time_s < self.end_s + HOLD_S).reshape(-1, *[1] * (self.values.ndim - 1))
        return np.where(seen, self.values[np.maximum(index, 0)], np.float32(0))


def look_path(video: str | os.PathLike[str], label: str) -> Path:
    """Where it lies: beside the video, "clip.mp4" -> "clip.looks-resnet50.npz"; of a weights file the stem is used."""
    video = Path(video)
    label = Path(label).stem if label.endswith(".pth") else label
    return video.with_name(f"{video.stem}.looks-{re.sub(r'[^A-Za-z0-9_.-]', '_', label)}.npz")


def look_file(video: str | os.PathLike[str], label: str) -> Path:
    """The file of a video: beside it, or in the cache of products; there may be none yet."""
    beside = look_path(video, label)
    return cache.product(video, beside, beside.name[len(Path(video).stem) + 1 :])


def look_place(video: str | os.PathLike[str], label: str) -> Path:
    """Where the file of a video is to be written."""
    beside = look_path(video, label)
    return cache.place(video, beside, beside.name[len(Path(video).stem) + 1 :])


def write_looks(path: str | os.PathLike[str], track: LookTrack) -> None:
    """Write a file, whole or not at all."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            time_s=track.time_s.astype(np.float64),
            values=track.values.astype(np.float32),
            end_s=np.float64(track.end_s),
            meta=np.frombuffer(json.dumps({"format": FORMAT, **track.meta}).encode(), np.uint8),
        )


def read_looks(path: str | os.PathLike[str]) -> LookTrack:
    """Read a file.

    Raises
    ------
    InputError : missing, damaged, of another kind
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            time_s, values, end_s = (file[name] for name in ("time_s", "values", "end_s"))
            meta = json.loads(file["meta"].tobytes())
        fits = meta["format"] == FORMAT and values.ndim >= 2 and len(values) == len(time_s)
    except FileNotFoundError:
        raise InputError("no such file (training and prediction make it)", path=path) from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError("is no file of what is seen, or a damaged one; delete it", path=path) from error
    if not fits:
        raise InputError("is of another form than this version reads; delete it", path=path)
    return LookTrack(time_s, values, float(end_s), meta)
