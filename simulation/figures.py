"""Pictures of the model for its page: room, rigid sphere; a scene and the sounds by way of `scene_figures`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import signal

from report.axes import INK, SOFT, Axes
from report.canvas import Canvas
from simulation.picture.figures import draw_cameras, draw_cast
from simulation.render import GAIN, MAX_ORDER, direct_delay_s, render
from simulation.room import absorption_for_rt60, image_sources, rt60_per_frequency
from simulation.scene import Event, Room, Scene, Trajectory
from simulation.scene_figures import coloured, dotted, draw_scene, draw_sounds, save
from util.cli import run_main
from util.microphone_arrays import ARRAYS, SPEED_OF_SOUND_M_S
from util.sphere_waves import sphere_response

RATE_HZ = 24000
SIZE_M, LISTENER_M, SOURCE_M = (6.2, 5.1, 2.9), (2.8, 2.3, 1.4), (1.6, 1.1, 0.2)
EARLY, LATE = "#1f6fb4", "#c05a1e"
SHADES = ("#a9cbe6", "#6da4d2", EARLY)  # of short to long reverberation
LEVELS_DB, _MAP = (-18.0, 6.5), cv2.COLORMAP_VIRIDIS
ANGLES = ("#3b2f7f", "#31688e", "#21918c", "#4dbd6a", "#b8c61d")  # of the source, from the front to the back


def impulse_response(room: Room, source_m: tuple[float, float, float], seconds: float, **options: Any) -> np.ndarray:
    """Sound pressure (samples,) at the listener after a click of unit pressure at 1 m, from its emission."""
    click = np.eye(1, 16, dtype=np.float32)[0]
    path = Trajectory(np.zeros(1), np.array([source_m], dtype=np.float64))
    event = Event(0, "click", 0.01, click, {}, path, "object", 0)
    scene = Scene("figure", "train", 3, seconds + 0.01, RATE_HZ, room, (event,), (), (), 25.0)
    return render(scene, [ARRAYS["foa"]], noise=False, **options)["foa"][0, RATE_HZ // 100 :] / GAIN


def draw_impulse_response(path: Path) -> None:
    """The response of one room in time, and the decay of its energy for three reverberation times."""
    canvas = Canvas(930, 720)
    room = Room("room", SIZE_M, LISTENER_M, 0.4, absorption_for_rt60(SIZE_M, 0.4))
    size = " x ".join(f"{side:g}" for side in SIZE_M)
    above = Axes(canvas, 70, 40, 910, 320, (-5.0, 105.0), (-0.5, 0.5))
    above.frame(
        x_ticks=(0, 20, 40, 60, 80, 100),
        y_ticks=(-0.25, 0, 0.25, 0.5),
        x_label="time after emission (ms)",
        y_label="pressure (1 at 1 m)",
        title=f"after a click, {size} m, RT60 0.4 s, source at {np.linalg.norm(SOURCE_M):.2f} m",
    )
    whole, early = (impulse_response(room, SOURCE_M, 0.12, tail=tail) for tail in (True, False))
    time_ms = 1000 * np.arange(len(whole)) / RATE_HZ
    shown = time_ms <= 105
    drawn = (whole, LATE, "with the late tail"), (early, EARLY, f"direct sound and images to order {MAX_ORDER}")
    for place, (response, colour, words) in enumerate(drawn):
        above.line(time_ms[shown], response[shown], colour, 0.8)
        _legend(canvas, 640, 62 + 20 * place, colour, words)
    images = image_sources(room, MAX_ORDER)
    arrival_ms = 1000 * direct_delay_s(images.positions(np.array(SOURCE_M)))
    canvas.text(above.x(-1.0), above.y(-0.28), "order", INK, 10, "rm")
    for order in range(MAX_ORDER + 1):
        height = above.y(-0.32 - 0.04 * order)
        for at in arrival_ms[images.order == order]:
            canvas.line([(above.x(at), height - 4), (above.x(at), height + 4)], INK, 1)
        canvas.text(above.x(-1.0), height, str(order), INK, 10, "rm")
    below = Axes(canvas, 70, 400, 910, 670, (0.0, 520.0), (-60.0, 2.0))
    below.frame(
        x_ticks=(0, 100, 200, 300, 400, 500),
        y_ticks=(-60, -40, -20, 0),
        x_label="time after emission (ms)",
        y_label="energy still to come, 350 to 1400 Hz (dB)",
        title="dotted: slope of the asked reverberation time",
    )
    band = signal.butter(4, (350.0, 1400.0), "bandpass", fs=RATE_HZ, output="sos")
    for place, (rt60_s, shade) in enumerate(zip((0.2, 0.4, 0.6), SHADES)):
        room = Room("room", SIZE_M, LISTENER_M, rt60_s, absorption_for_rt60(SIZE_M, rt60_s))
        response = signal.sosfilt(band, impulse_response(room, SOURCE_M, 0.7))
        decay_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-12)
        decay_db -= decay_db[0]
        time_ms = 1000 * np.arange(len(decay_db)) / RATE_HZ
        shown = (time_ms <= 520) & (decay_db >= -60)
        below.line(time_ms[shown], decay_db[shown], shade, 1.6)
        asked_s = float(rt60_per_frequency(room, np.array([700.0]))[0])
        start_ms = time_ms[np.argmax(decay_db < -10.0)]
        dotted(below, [start_ms, start_ms + 750.0 * asked_s], [-10, -55], INK)
        _legend(canvas, 740, 424 + 20 * place, shade, f"RT60 {rt60_s:g} s asked")
    save(canvas, path)


def draw_rigid_sphere(path: Path) -> None:
    """Level and delay of a capsule on the two rigid spheres, against frequency and angle to the source."""
    canvas = Canvas(1100, 740)
    frequency_hz = np.geomspace(100.0, 12000.0, 240)
    angle_deg = np.linspace(0.0, 180.0, 181)
    decades = np.log10(frequency_hz)

    def framed(axes: Axes, y_ticks: Sequence[float], y_label: str, title: str, *, grid: bool = True) -> None:
        axes.frame(
            x_ticks=(2, 3, 4),
            y_ticks=y_ticks,
            x_label="frequency (Hz)",
            y_label=y_label,
            title=title,
            x_texts=("100", "1000", "10000"),
            grid=grid,
        )

    for row, (name, radius_m, limit_ms) in enumerate((("MIC", 0.042, 0.22), ("binaural head", 0.0875, 0.44))):
        top = 40 + 360 * row
        response = sphere_response(frequency_hz, np.deg2rad(angle_deg), radius_m)
        level = Axes(canvas, 70, top, 470, top + 270, (decades[0], decades[-1]), (0.0, 180.0))
        title = f"level, {name}: radius {100 * radius_m:g} cm"
        framed(level, (0, 45, 90, 135, 180), "angle to the source (degrees)", title, grid=False)
        level_db = 20 * np.log10(np.abs(response))
        canvas.picture(level.left, top, level.right, level.bottom, coloured(level_db[::-1], *LEVELS_DB, _MAP))
        _level_bar(canvas, 486, top, top + 270)
        delay = Axes(canvas, 640, top, 1040, top + 270, (decades[0], decades[-1]), (-limit_ms, limit_ms))
        delays_ms = [limit_ms * share for share in (-10 / 11, -5 / 11, 0, 5 / 11, 10 / 11)]
        framed(delay, delays_ms, "ms after the middle", "phase delay (dotted: ray around the sphere)")
        phase = np.unwrap(np.angle(response), axis=1)
        phase -= 2 * np.pi * np.round(phase[:, :1] / (2 * np.pi))
        for angle, colour in zip((0, 45, 90, 135, 180), ANGLES):
            delay_ms = -1000 * phase[angle] / (2 * np.pi * frequency_hz)
            delay.line(decades, delay_ms, colour, 1.8)
            # where a ray along straight lines and around the sphere ends up (Woodworth)
            bent = np.deg2rad(angle)
            ray_ms = 1000 * radius_m / SPEED_OF_SOUND_M_S * (-np.cos(bent) if angle <= 90 else bent - np.pi / 2)
            dotted(delay, list(delay.x_limits), [ray_ms, ray_ms], colour)
            canvas.text(delay.right + 6, delay.y(delay_ms[-1]), f"{angle} deg", INK, 11, "lm")
    save(canvas, path)


def _legend(canvas: Canvas, x: float, y: float, colour: str, words: str) -> None:
    canvas.line([(x, y), (x + 22, y)], colour, 2)
    canvas.text(x + 30, y, words, INK, 12, "lm")


def _level_bar(canvas: Canvas, x: float, top: float, bottom: float) -> None:
    """What the colours of the levels mean."""
    bar = np.linspace(LEVELS_DB[1], LEVELS_DB[0], 128)[:, None].repeat(4, axis=1)
    canvas.picture(x, top, x + 14, bottom, coloured(bar, *LEVELS_DB, _MAP))
    for level_db in (5, 0, -5, -10, -15):
        share = (LEVELS_DB[1] - level_db) / (LEVELS_DB[1] - LEVELS_DB[0])
        canvas.text(x + 20, top + share * (bottom - top), str(level_db), SOFT, 11, "lm")
    canvas.text(x, top - 9, "dB re free field", SOFT, 12, "ls")


FIGURES = {
    "room_impulse_response.png": draw_impulse_response,
    "rigid_sphere.png": draw_rigid_sphere,
    "scene.jpg": draw_scene,
    "sounds.jpg": draw_sounds,
    "picture_cast.jpg": draw_cast,
    "picture_cameras.jpg": draw_cameras,
}


def main(argv: list[str] | None = None) -> None:
    """Draw them all: `python -m simulation.figures --out docs/images`."""
    parser = argparse.ArgumentParser(prog="python -m simulation.figures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder (default: docs/images)")
    out = parser.parse_args(argv).out
    for name, draw in FIGURES.items():
        draw(out / name)
        print(out / name)


if __name__ == "__main__":
    raise SystemExit(run_main(main))
