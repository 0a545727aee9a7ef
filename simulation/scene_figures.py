"""Pictures of scenes for their page: a video frame with its labels, a clip's tracks, the sound of every class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy import signal

from report.axes import INK, SOFT, Axes, ticks
from report.canvas import Canvas
from report.colours import class_colours
from simulation.bank import Bank
from simulation.compose import compose
from simulation.labels import FRAME_S, label_table
from simulation.picture import frames
from simulation.plan import make_plan
from simulation.render import render
from simulation.scene import Scene
from simulation.settings import RATE_HZ, Settings
from simulation.sounds import CLASS_NAMES, GENERATORS, sound_class, synthesize
from simulation.streams import stream
from util.angles import direction_from_degrees
from util.camera import Camera
from util.events import EventTable
from util.files import written_whole
from util.microphone_arrays import ARRAYS

TONES = class_colours(len(CLASS_NAMES))


def levels_db(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sound (samples,) -> frequencies in Hz, times in s, spectrogram in dB below its maximum."""
    frequency_hz, time_s, density = signal.spectrogram(sound, RATE_HZ, nperseg=512, noverlap=256)
    level = 10 * np.log10(density + 1e-14)
    return frequency_hz, time_s, level - level.max()


def coloured(values: np.ndarray, low: float, high: float, colours: int = cv2.COLORMAP_MAGMA) -> np.ndarray:
    """Values (height, width) -> (height, width, 3) uint8 RGB, from the dark end of a map of OpenCV to its light end."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), colours)[..., ::-1]


def save(canvas: Canvas, path: Path) -> None:
    """The finished picture as a file: png, or jpeg of a quality that pages need."""
    with written_whole(path) as partial:
        kind = "PNG" if path.suffix == ".png" else "JPEG"
        Image.fromarray(canvas.rgb()).save(partial, format=kind, optimize=True, quality=82)


def _spectrogram(axes: Axes, level_db: np.ndarray, floor_db: float) -> None:
    """Levels (frequencies, times) all over a panel."""
    axes.canvas.picture(axes.left, axes.top, axes.right, axes.bottom, coloured(level_db[::-1], floor_db, 0.0))


def draw_sounds(path: Path) -> None:
    """Spectrograms of one sound of each procedural generator."""
    across, wide, high = 6, 132, 118
    canvas = Canvas(60 + across * (wide + 30), 24 + -(-len(GENERATORS) // across) * (high + 58))
    for number, (name, generator) in enumerate(GENERATORS.items()):
        row, column = divmod(number, across)
        index = next(i for i in range(len(CLASS_NAMES)) if generator in sound_class(i).generators)
        duration_s = min(3.5, sound_class(index).duration_s[1])
        fits = generator.fits[0] if generator.fits else None
        sound, _ = synthesize(index, stream(3, name), "train", duration_s, fits=fits)
        frequency_hz, time_s, level = levels_db(sound)
        left, top = 46 + column * (wide + 30), 30 + row * (high + 58)
        limits_s, limits_khz = (0.0, float(time_s[-1])), (0.0, float(frequency_hz[-1]) / 1000)
        axes = Axes(canvas, left, top, left + wide, top + high, limits_s, limits_khz)
        words = {"y_label": f"{index} {name}", "x_label": "s" if row == (len(GENERATORS) - 1) // across else ""}
        axes.frame(x_ticks=ticks(*limits_s, most=4), y_ticks=(0, 4, 8, 12), grid=False, size=11, **words)
        if not column:
            canvas.text(left - 34, top + high / 2, "kHz", SOFT, 11, "mm")
        _spectrogram(axes, level, -70.0)
    save(canvas, path)


def mark(axes: Axes, camera: Camera, table: EventTable) -> None:
    """Draw the labels of one frame into a panel that shows a picture of that camera, in pixels from its bottom left."""
    pixel, visible = camera.project(direction_from_degrees(table.azimuth_deg, table.elevation_deg))
    for row in np.flatnonzero(visible):
        index = int(table.class_index[row])
        x, y = axes.x(pixel[row][0]), axes.y(camera.height - pixel[row][1])
        axes.canvas.dot(x, y, 8, None, edge="#ffffff", width=4)
        axes.canvas.dot(x, y, 7, None, edge=TONES[index], width=2)
        text = f"{CLASS_NAMES[index]}, {table.distance_m[row]:.1f} m"
        width = axes.canvas.text_width(text, 12)
        left = x - 12 - width if pixel[row][0] > 0.8 * camera.width else x + 12
        axes.canvas.rectangle(left - 3, y - 22, left + width + 3, y - 5, "#ffffff")
        axes.canvas.text(left, y - 13, text, INK, 12, "lm")


def busiest_s(scene: Scene, table: EventTable) -> float:
    """Middle of a frame in which most events sound, people and things among them."""
    people = {person.source for person in scene.people}
    mixed = [
        len(np.unique(np.isin(table.source[table.frame == f], list(people)))) for f in range(int(table.frame.max()))
    ]
    count = np.bincount(table.frame)[: len(mixed)] + 10 * (np.array(mixed) - 1)
    return (int(np.argmax(count)) + 0.5) * FRAME_S


def draw_scene(path: Path) -> None:
    """One clip of the default set: a frame of its video with the labels drawn, its sound, azimuth over time."""
    settings = Settings()
    scene = compose(settings, make_plan(settings)[3], Bank())
    table = label_table(scene)
    at_s = busiest_s(scene, table)
    canvas = Canvas(800, 750)
    left, right = 70, 640
    picture = next(iter(frames(scene, settings.camera, [at_s])))
    size = (0.0, float(settings.width)), (0.0, float(settings.height))
    above = Axes(canvas, left, 30, right, 30 + (right - left) / 2, *size)
    above.frame(
        x_ticks=np.linspace(0, settings.width, 9).tolist(),
        x_texts=[f"{a:g}" for a in np.linspace(180, -180, 9)],
        y_ticks=np.linspace(0, settings.height, 5).tolist(),
        y_texts=[f"{e:g}" for e in np.linspace(-90, 90, 5)],
        x_label="azimuth (degrees)",
        y_label="elevation (degrees)",
        title=f"{scene.name}, {at_s:.2f} s",
        grid=False,
    )
    canvas.picture(above.left, above.top, above.right, above.bottom, picture[..., ::-1])
    mark(above, settings.camera, table[table.frame == round(at_s / FRAME_S - 0.5)])
    sound = render(scene, [ARRAYS["foa"]], seed=scene.seed)["foa"][0]
    frequency_hz, _, level = levels_db(sound)
    limits_s = (0.0, float(scene.duration_s))
    times_s = ticks(*limits_s)
    middle = Axes(canvas, left, 390, right, 500, limits_s, (0.0, float(frequency_hz[-1]) / 1000))
    middle.frame(x_ticks=times_s, y_ticks=(0, 4, 8, 12), y_label="kHz", title="first channel (W)", grid=False)
    step = 3  # a picture has fewer columns than a clip has spectra
    _spectrogram(middle, level[:, ::step], -75.0)
    below = Axes(canvas, left, 550, right, 700, limits_s, (-180.0, 180.0))
    below.frame(x_ticks=times_s, y_ticks=(-180, -90, 0, 90, 180), y_label="azimuth (degrees)", x_label="time (s)")
    for place, index in enumerate(np.unique(table.class_index)):
        rows = table.class_index == index
        for frame, azimuth in zip(table.frame[rows], table.azimuth_deg[rows]):
            canvas.dot(below.x((frame + 0.5) * FRAME_S), below.y(azimuth), 1.8, TONES[index])
        canvas.dot(right + 16, 556 + 17 * place, 4, TONES[index])
        canvas.text(right + 26, 556 + 17 * place, CLASS_NAMES[index], INK, 11, "lm")
    for axes in (middle, below):
        dotted(axes, [at_s, at_s], list(axes.y_limits), SOFT)
    save(canvas, path)


def dotted(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, dash: float = 4.0) -> None:
    """A straight line from one point to another, broken into dashes of so many pixels."""
    begin, end = (np.array([axes.x(x[i]), axes.y(y[i])]) for i in (0, 1))
    count = max(1, round(float(np.hypot(*(end - begin))) / (2 * dash)))
    for first in np.arange(count) / count:
        points = [tuple((begin + share * (end - begin)).tolist()) for share in (first, first + 0.5 / count)]
        axes.canvas.line(points, colour, 1)
