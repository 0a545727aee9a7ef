"""The player's picture as a video file: marks in the picture, directions over time below it, sound kept."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import soundfile
from tqdm import tqdm

from report.analysis import ClipResult
from report.canvas import Canvas, clock, nice_step, shortened
from report.colours import STATUS, class_colours
from report.figures import draw_directions
from report.matching import match
from report.media import stereo_blocks
from report.shown import shown_of
from util.audio import audio_info
from util.boxes import BoxTrack
from util.camera import Camera, Equirectangular
from util.events import EventTable
from util.microphone_arrays import Array
from util.video import VideoWriter, pictures_at, video_info

_WIDTH, _PANEL = 1280, 296
_WINDOW_S = 60.0  # of a longer recording, the minute around the current time is shown
_SILENT_FPS = 20
_BACK, _LANE, _LINE, _INK, _SOFT = "#0c1016", "#131a24", "#273142", "#e8edf4", "#93a1b5"
_LEFT, _RIGHT = 122, 20
_LANES = (("azimuth_deg", "Azimuth", 180, 90, 44, 130), ("elevation_deg", "Elevation", 90, 45, 188, 74))


def write_overlay(
    path: str | os.PathLike[str],
    *,
    estimated: EventTable,
    classes: Sequence[str],
    reference: EventTable | None = None,
    audio: str | os.PathLike[str] | None = None,
    video: str | os.PathLike[str] | None = None,
    boxes: BoxTrack | None = None,
    array: Array | None = None,
    matrix: np.ndarray | None = None,
    camera: Camera | None = None,
    duration_s: float | None = None,
    title: str = "",
    progress: bool = True,
) -> None:
    """Render a recording into an mp4 (H.264, AAC): 1280 pixels wide, at the video's frame rate.

    Parameters
    ----------
    reference : None: marks are coloured by class
    matrix : (channels, channels) from the channels of `audio` to those of `array`; None: they are that
    video : None: a panorama with a grid of angles, at 20 frames per second
    duration_s : None: that of the audio, else of the video, else up to the last event

    Raises
    ------
    InputError : a file cannot be read or written
    """
    known = reference is not None
    reference = EventTable.make(frame_s=estimated.frame_s) if reference is None else reference
    info = None if video is None else video_info(video)
    fps = Fraction(_SILENT_FPS) if info is None else info.fps
    if duration_s is None:
        last = max(table.frame.max(initial=-1) + 1 for table in (reference, estimated)) * estimated.frame_s
        duration_s = audio_info(audio).duration_s if audio is not None else info.duration_s if info else float(last)
    height = _WIDTH // 2 if info is None else round(_WIDTH * info.height / info.width / 2) * 2
    count = math.ceil(duration_s * fps - 1e-6)
    times_s = [float(index / fps) for index in range(count)]
    pictures = _grid_pictures(height) if video is None else _video_pictures(video, height, times_s)
    panels: dict[int, np.ndarray] = {}
    at_reference, at_estimated, none = _by_frame(reference), _by_frame(estimated), np.zeros(0, dtype=np.int64)
    with tempfile.TemporaryDirectory() as folder:
        sound = None if audio is None else _stereo_file(Path(folder) / "stereo.wav", audio, array, matrix)
        with VideoWriter(path, _WIDTH, height + _PANEL, fps, crf=21, audio=sound) as writer:
            for index in tqdm(range(count), desc="overlay", unit="frame", leave=False, disable=not progress):
                time_s = times_s[index]
                frame = int(time_s / estimated.frame_s + 1e-6)
                there, found = reference[at_reference.get(frame, none)], estimated[at_estimated.get(frame, none)]
                page = int(time_s // _WINDOW_S)
                if page not in panels:
                    panels = {page: _panel(reference, estimated, classes, page, duration_s, title, known)}
                shown = None if boxes is None else boxes.at(time_s)[0]
                top = draw_directions(
                    next(pictures), there, found, classes, camera=_scaled(camera, height), boxes=shown, known=known
                )
                writer.write(np.concatenate([top, _with_playhead(panels[page], page, time_s, duration_s)]))


def write_clip_overlay(path: Path, clip: ClipResult) -> None:
    """The overlay video of one raw output."""
    with shown_of(clip) as shown:
        write_overlay(
            path,
            estimated=clip.estimated,
            classes=clip.description["classes"],
            reference=clip.reference if clip.description.get("labels") else None,
            **shown.files,
            array=clip.array,
            duration_s=clip.description.get("duration_s"),
            title=clip.name,
        )


def _by_frame(table: EventTable) -> dict[int, np.ndarray]:
    frames, inverse = np.unique(table.frame, return_inverse=True)
    return {int(frame): np.flatnonzero(inverse == index) for index, frame in enumerate(frames)}


def _stereo_file(path: Path, audio: str | os.PathLike[str], array: Array | None, matrix: np.ndarray | None) -> Path:
    with soundfile.SoundFile(path, "w", audio_info(audio).rate_hz, 2, "PCM_16") as file:
        for block in stereo_blocks(audio, array, matrix):
            file.write(block.T)
    return path


def _scaled(camera: Camera | None, height: int) -> Camera:
    if camera is None or isinstance(camera, Equirectangular):
        return Equirectangular(_WIDTH, height)
    return type(camera)(_WIDTH, height, camera.fov_deg, camera.yaw_deg)


def _video_pictures(video: str | os.PathLike[str], height: int, times_s: Sequence[float]) -> Iterator[np.ndarray]:
    """The pictures at these times at the size of the overlay; black before the first one, the last one stays."""
    held = None
    picture: np.ndarray = np.zeros((height, _WIDTH, 3), np.uint8)
    for frame in pictures_at(video, times_s):
        if frame is not None and frame is not held:
            held = frame
            picture = cv2.resize(frame.to_ndarray(format="bgr24"), (_WIDTH, height), interpolation=cv2.INTER_CUBIC)
        yield picture


def _grid_pictures(height: int) -> Iterator[np.ndarray]:
    """A panorama with nothing in it but a grid of angles."""
    canvas = Canvas(_WIDTH, height, "#101722")
    for azimuth_deg in range(-150, 180, 30):
        x = (180 - azimuth_deg) / 360 * _WIDTH
        canvas.line([(x, 0), (x, height)], "#33425a" if azimuth_deg % 90 == 0 else "#1d2734", 1)
    for elevation_deg in range(-60, 90, 30):
        y = (90 - elevation_deg) / 180 * height
        canvas.line([(0, y), (_WIDTH, y)], "#33425a" if elevation_deg == 0 else "#1d2734", 1)
    for azimuth_deg, text in ((90, "left +90°"), (0, "front 0°"), (-90, "right −90°")):
        canvas.text((180 - azimuth_deg) / 360 * _WIDTH, 14, text, _SOFT, 13, "mm")
    picture = np.ascontiguousarray(canvas.rgb()[..., ::-1])
    while True:
        yield picture


def _span(page: int, duration_s: float) -> tuple[float, float]:
    start = page * _WINDOW_S
    return start, max(start + 1.0, min(start + _WINDOW_S, duration_s))


def _x(time_s: float, page: int, duration_s: float) -> float:
    start, end = _span(page, duration_s)
    return _LEFT + (time_s - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT)


def _panel(
    reference: EventTable,
    estimated: EventTable,
    classes: Sequence[str],
    page: int,
    duration_s: float,
    title: str,
    known: bool,
) -> np.ndarray:
    """The still part below the picture, BGR: title, legend, azimuth and elevation over time."""
    canvas = Canvas(_WIDTH, _PANEL, _BACK)
    canvas.text(_LEFT, 22, shortened(canvas, title, 15, 520), _INK, 15)
    _legend(canvas, known)
    start, end = _span(page, duration_s)
    step_s = nice_step(end - start, 12)
    bottom = _LANES[-1][4] + _LANES[-1][5]
    for _, name, limit, step_deg, top, height in _LANES:
        canvas.rectangle(_LEFT, top, _WIDTH - _RIGHT, top + height, _LANE)
        canvas.text(10, top + 8, name, _INK, 13)
        for angle in range(-limit, limit + 1, step_deg):
            y = top + (limit - angle) / (2 * limit) * height
            canvas.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], _LINE, 1)
            canvas.text(_LEFT - 7, y, f"{angle:+d}°" if angle else "0°", _SOFT, 11, "rm")
    for tick in range(math.ceil(start / step_s - 1e-9), math.floor(end / step_s + 1e-9) + 1):
        x = _x(tick * step_s, page, duration_s)
        canvas.line([(x, _LANES[0][4]), (x, bottom)], "#1c2532", 1)
        canvas.text(x, bottom + 14, clock(tick * step_s, step_s), _SOFT, 11.5, "mm")
    canvas.text(10, bottom + 14, "time / s" if end < 60 else "min:s", _SOFT, 11.5)
    assigned = match(reference, estimated)
    status = {"reference": assigned.reference_status(), "estimated": assigned.estimated_status()}
    colours = class_colours(len(classes), dark=True)
    wide = max(1.5, _x(reference.frame_s, 0, end - start) - _x(0, 0, end - start))
    for column, _, limit, _, top, height in _LANES:
        for row in np.flatnonzero(
            (reference.frame * reference.frame_s >= start) & (reference.frame * reference.frame_s < end)
        ):
            x = _x(reference.frame[row] * reference.frame_s, page, duration_s)
            y = top + (limit - getattr(reference, column)[row]) / (2 * limit) * height
            colour = STATUS["missed"] if status["reference"][row] == "missed" else "#5c6b80"
            canvas.rectangle(x, y - 2.5, x + wide, y + 2.5, colour)
        for row in np.flatnonzero(
            (estimated.frame * estimated.frame_s >= start) & (estimated.frame * estimated.frame_s < end)
        ):
            x = _x((estimated.frame[row] + 0.5) * estimated.frame_s, page, duration_s)
            y = top + (limit - getattr(estimated, column)[row]) / (2 * limit) * height
            name = status["estimated"][row]
            colour = STATUS[name] if known else colours[estimated.class_index[row] % len(colours)]
            if known and name == "false":
                canvas.cross(x, y, 2.2, colour, 1.3)
            else:
                canvas.dot(x, y, 2.2, colour)
    return np.ascontiguousarray(canvas.rgb()[..., ::-1])


def _legend(canvas: Canvas, known: bool) -> None:
    if not known:
        return
    x = _WIDTH - _RIGHT - 500
    for name in ("correct", "misplaced", "false", "missed"):
        if name == "missed":
            canvas.rectangle(x - 5, 19.5, x + 5, 24.5, STATUS[name])
        elif name == "false":
            canvas.cross(x, 22, 4, STATUS[name], 2)
        else:
            canvas.dot(x, 22, 5, STATUS[name])
        canvas.text(x + 12, 22, name, _INK, 13)
        x += 100
    canvas.rectangle(x - 5, 19.5, x + 5, 24.5, "#5c6b80")
    canvas.text(x + 12, 22, "reference", _INK, 13)


def _with_playhead(panel: np.ndarray, page: int, time_s: float, duration_s: float) -> np.ndarray:
    panel = panel.copy()
    x = round(_x(time_s, page, duration_s) * 16)
    top, bottom = _LANES[0][4] - 4, _LANES[-1][4] + _LANES[-1][5]
    cv2.line(panel, (x, top * 16), (x, bottom * 16), (255, 255, 255), 1, cv2.LINE_AA, shift=4)
    return panel
