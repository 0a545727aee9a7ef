"""The player: one self-contained HTML file that shows where and when a system heard what."""

from __future__ import annotations

import base64
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from output_format.candidates import Candidates
from report.colours import STATUS, class_colours
from report.matching import CORRECT_WITHIN_DEG
from report.media import browser_media
from util.boxes import BoxTrack
from util.camera import Camera, Equirectangular, Perspective
from util.errors import InputError
from util.events import EventTable
from util.files import write_text
from util.microphone_arrays import Array

_TEMPLATES = Path(__file__).parent
_FLOOR = 0.05  # candidates below the lowest position of the threshold slider are left out
_BOX_UNIT = 8192  # boxes are kept as 16-bit integers, 1 / 8192 of the image


def write_player(path: str | os.PathLike[str], **page: Any) -> int:
    """Write the player of one recording; its arguments are those of `player_page`.

    Returns
    -------
    Size of the file in bytes

    Raises
    ------
    InputError : a file cannot be read or written
    ValueError : as `player_page`
    """
    write_text(path, player_page(**page))
    return os.path.getsize(path)


def player_page(
    *,
    candidates: Candidates,
    thresholds: Sequence[float] | np.ndarray | float,
    unification_deg: float,
    classes: Sequence[str],
    title: str,
    subtitle: str = "",
    reference: EventTable | None = None,
    audio: str | os.PathLike[str] | None = None,
    video: str | os.PathLike[str] | None = None,
    boxes: BoxTrack | None = None,
    array: Array | None = None,
    matrix: np.ndarray | None = None,
    camera: Camera | None = None,
    duration_s: float | None = None,
    details: Mapping[str, Any] | None = None,
) -> str:
    """The page of one recording, which needs no server, no other file and no network.

    Parameters
    ----------
    candidates : activity and direction per label frame, class and track, 1 to 3 tracks
    thresholds : where the threshold slider starts: one number, or one per class
    unification_deg : tracks of a class closer than this are one source
    reference : labels with the same frame length; None: marks are coloured by class
    audio, video : files to embed; either, both or neither
    boxes : person boxes to draw on the video
    array : what the audio's channels are, for the stereo sound
    matrix : (channels, channels) from the channels of the file to those of `array`; None: they are that
    camera : of the video; None: equirectangular
    duration_s : None: that of the audio or video, else up to the last frame of the candidates
    details : what else the page should say about itself (checkpoint, command ...), shown with the keys

    Raises
    ------
    InputError : a file cannot be read
    ValueError : thresholds, classes, candidates and reference do not fit together
    """
    frames, count, _ = candidates.activity.shape
    if len(classes) != count:
        raise ValueError(f"{len(classes)} class names for candidates of {count} classes")
    thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (count,))
    if reference is not None and not math.isclose(reference.frame_s, candidates.frame_s):
        raise ValueError(f"frames of {reference.frame_s} s in the reference, {candidates.frame_s} s in the candidates")
    if reference is not None and not np.all((reference.class_index >= 0) & (reference.class_index < count)):
        raise ValueError(f"the reference has classes outside 0..{count - 1}")
    media = browser_media(audio=audio, video=video, array=array, matrix=matrix)
    ends = [media.duration_s if media is not None else frames * candidates.frame_s, candidates.frame_s]
    duration_s = max(ends) if duration_s is None else duration_s
    floor = min(_FLOOR, float(thresholds.min()))
    slider = [math.ceil(100 * floor - 1e-9) / 100, max(0.95, float(thresholds.max()))]
    data = {
        "title": title,
        "subtitle": subtitle,
        "details": [[str(name), str(value)] for name, value in (details or {}).items()],
        "classes": list(classes),
        "frame_s": candidates.frame_s,
        "frames": max(frames, math.ceil(duration_s / candidates.frame_s - 1e-6)),
        "duration_s": duration_s,
        "thresholds": thresholds.tolist(),
        "slider": slider,
        "unification_deg": float(unification_deg),
        "within_deg": CORRECT_WITHIN_DEG,
        "camera": _camera(camera),
        "cells": _cells(candidates, floor),
        "reference": None if reference is None else _reference(reference),
        "boxes": None if boxes is None else _boxes(boxes),
        "media": None if media is None else {"mime": media.mime, "video": media.video},
        "colours": {"status": STATUS, "classes": class_colours(count, dark=True)},
    }
    parts = {
        "@TITLE@": html.escape(title),
        "@CSS@": (_TEMPLATES / "player.css").read_text(encoding="utf-8"),
        "@JS@": (_TEMPLATES / "player.js").read_text(encoding="utf-8"),
        # "</script>" inside a name must not end the script element
        "@DATA@": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "@MEDIA@": "" if media is None else base64.b64encode(media.content).decode("ascii"),
    }
    page = (_TEMPLATES / "player.html").read_text(encoding="utf-8")
    pieces = []
    for name in ("@TITLE@", "@CSS@", "@DATA@", "@MEDIA@", "@JS@"):  # in the order of the page, never in what was put in
        before, page = page.split(name, 1)
        pieces += [before, parts[name]]
    return "".join([*pieces, page])


def _packed(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(dtype).tobytes()).decode("ascii")


def _cells(candidates: Candidates, floor: float) -> dict[str, Any]:
    """The candidates above the floor: activity exactly, directions to 1e-5 degrees; 20 bytes each."""
    activity = np.nan_to_num(np.asarray(candidates.activity, dtype=np.float64))
    frame, class_index, track = np.nonzero(activity > floor)
    _, classes, tracks = activity.shape
    if activity.size >= 2**32:
        raise InputError(f"{activity.size} candidates are too many for one player; cut the recording")
    return {
        "tracks": tracks,
        "key": _packed((frame * classes + class_index) * tracks + track, "<u4"),
        "activity": _packed(activity[frame, class_index, track], "<f8"),
        "azimuth_deg": _packed(candidates.azimuth_deg[frame, class_index, track], "<f4"),
        "elevation_deg": _packed(candidates.elevation_deg[frame, class_index, track], "<f4"),
    }


def _reference(reference: EventTable) -> dict[str, str]:
    table = reference[np.argsort(reference.frame, kind="stable")]
    return {
        "frame": _packed(table.frame, "<u4"),
        "class_index": _packed(table.class_index, "<u2"),
        "source": _packed(table.source, "<i4"),
        "azimuth_deg": _packed(table.azimuth_deg, "<f8"),
        "elevation_deg": _packed(table.elevation_deg, "<f8"),
    }


def _boxes(boxes: BoxTrack) -> dict[str, Any]:
    values = np.clip(np.rint(np.asarray(boxes.boxes) * _BOX_UNIT), -32768, 32767)
    per = values.shape[1]
    while per > 1 and not values[:, per - 1].any():
        per -= 1
    return {
        "time_s": _packed(boxes.time_s, "<f4"),
        "boxes": _packed(values[:, :per], "<i2"),
        "per": per,
        "end_s": float(boxes.end_s),
    }


def _camera(camera: Camera | None) -> dict[str, Any]:
    if isinstance(camera, Perspective):
        return {
            "kind": "perspective",
            "width": camera.width,
            "height": camera.height,
            "fov_deg": camera.fov_deg,
            "yaw_deg": camera.yaw_deg,
        }
    camera = camera or Equirectangular(360, 180)
    return {"kind": "equirectangular", "width": camera.width, "height": camera.height}
