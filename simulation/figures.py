"""Pictures of the model for its page: room, rigid sphere; a scene and the sounds by way of `scene_figures`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy import signal

from simulation.picture.figures import draw_cameras, draw_cast
from simulation.receivers import sphere_response
from simulation.render import GAIN, MAX_ORDER, direct_delay_s, render
from simulation.room import absorption_for_rt60, image_sources, rt60_per_frequency
from simulation.scene import Event, Room, Scene, Trajectory
from simulation.scene_figures import draw_scene, draw_sounds
from util.cli import run_main
from util.files import written_whole
from util.microphone_arrays import ARRAYS, SPEED_OF_SOUND_M_S

matplotlib.use("Agg")  # before pyplot comes in: a back end that needs no screen
from matplotlib import pyplot as plt

RATE_HZ = 24000
SIZE_M, LISTENER_M, SOURCE_M = (6.2, 5.1, 2.9), (2.8, 2.3, 1.4), (1.6, 1.1, 0.2)
INK, EARLY, LATE = "#222222", "#1f6fb4", "#c05a1e"


def impulse_response(room: Room, source_m: tuple[float, float, float], seconds: float, **options: Any) -> np.ndarray:
    """Sound pressure (samples,) at the listener after a click of unit pressure at 1 m, from its emission."""
    click = np.eye(1, 16, dtype=np.float32)[0]
    path = Trajectory(np.zeros(1), np.array([source_m], dtype=np.float64))
    event = Event(0, "click", 0.01, click, {}, path, "object", 0)
    scene = Scene("figure", "train", 3, seconds + 0.01, RATE_HZ, room, (event,), (), (), 25.0)
    return render(scene, [ARRAYS["foa"]], noise=False, **options)["foa"][0, RATE_HZ // 100 :] / GAIN


def draw_impulse_response(path: Path) -> None:
    """The response of one room in time, and the decay of its energy for three reverberation times."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(8.5, 6.5), layout="constrained")
    room = Room("room", SIZE_M, LISTENER_M, 0.4, absorption_for_rt60(SIZE_M, 0.4))
    whole, early = (impulse_response(room, SOURCE_M, 0.12, tail=tail) for tail in (True, False))
    time_ms = 1000 * np.arange(len(whole)) / RATE_HZ
    above.plot(time_ms, whole, color=LATE, linewidth=0.7, label="with the late tail")
    above.plot(time_ms, early, color=EARLY, linewidth=0.8, label=f"direct sound and images to order {MAX_ORDER}")
    images = image_sources(room, MAX_ORDER)
    arrival_ms = 1000 * direct_delay_s(images.positions(np.array(SOURCE_M)))
    for order in range(MAX_ORDER + 1):
        at = arrival_ms[images.order == order]
        above.plot(at, np.full(len(at), -0.32 - 0.03 * order), "|", color=INK, markersize=6)
        above.text(-1.0, -0.32 - 0.03 * order, str(order), fontsize=7, va="center", ha="right", color=INK)
    above.text(-1.0, -0.275, "order", fontsize=7, ha="right", color=INK)
    size = " x ".join(f"{side:g}" for side in SIZE_M)
    above.set(
        title=f"Pressure after a click, {size} m, RT60 0.4 s, source at {np.linalg.norm(SOURCE_M):.2f} m",
        xlabel="time after emission (ms)",
        ylabel="pressure (1 at 1 m)",
        xlim=(-5, 105),
    )
    above.legend(frameon=False)
    band = signal.butter(4, (350.0, 1400.0), "bandpass", fs=RATE_HZ, output="sos")
    for rt60_s, shade in ((0.2, 0.35), (0.4, 0.65), (0.6, 1.0)):
        room = Room("room", SIZE_M, LISTENER_M, rt60_s, absorption_for_rt60(SIZE_M, rt60_s))
        response = signal.sosfilt(band, impulse_response(room, SOURCE_M, 0.7))
        decay_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-12)
        time_ms = 1000 * np.arange(len(decay_db)) / RATE_HZ
        below.plot(time_ms, decay_db - decay_db[0], color=EARLY, alpha=shade, label=f"RT60 {rt60_s:g} s asked")
        asked_s = float(rt60_per_frequency(room, np.array([700.0]))[0])
        start_ms = time_ms[np.argmax(decay_db - decay_db[0] < -10.0)]
        below.plot(start_ms + np.array([0.0, 750.0 * asked_s]), [-10, -55], ":", color=INK, linewidth=1.1)
    below.set(
        title="Energy still to come, 350 to 1400 Hz (dotted: slope of the asked reverberation time)",
        xlabel="time after emission (ms)",
        ylabel="dB",
        xlim=(0, 520),
        ylim=(-60, 2),
    )
    below.legend(frameon=False)
    _save(figure, path)


def draw_rigid_sphere(path: Path) -> None:
    """Level and delay of a capsule on the two rigid spheres, against frequency and angle to the source."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.5), layout="constrained")
    frequency_hz = np.geomspace(100.0, 12000.0, 240)
    angle_deg = np.linspace(0.0, 180.0, 181)
    for (level, delay), (name, radius_m) in zip(axes, (("MIC", 0.042), ("binaural head", 0.0875))):
        response = sphere_response(frequency_hz, np.deg2rad(angle_deg), radius_m)
        image = level.pcolormesh(
            frequency_hz, angle_deg, 20 * np.log10(np.abs(response)), vmin=-18, vmax=6.5, cmap="viridis", shading="auto"
        )
        figure.colorbar(image, ax=level, label="dB re free field")
        level.set(title=f"Level, {name}: radius {100 * radius_m:g} cm", ylabel="angle to the source (degrees)")
        phase = np.unwrap(np.angle(response), axis=1)
        phase -= 2 * np.pi * np.round(phase[:, :1] / (2 * np.pi))
        for angle, tone in zip((0, 45, 90, 135, 180), np.linspace(0.15, 0.9, 5)):
            delay_ms = -1000 * phase[angle] / (2 * np.pi * frequency_hz)
            delay.plot(frequency_hz, delay_ms, color=plt.cm.viridis(tone))
            # where a ray along straight lines and around the sphere ends up (Woodworth)
            bent = np.deg2rad(angle)
            ray = -np.cos(bent) if angle <= 90 else bent - np.pi / 2
            delay.axhline(1000 * radius_m / SPEED_OF_SOUND_M_S * ray, color=plt.cm.viridis(tone), lw=0.6, ls=":")
            delay.text(12500.0, delay_ms[-1], f"{angle} deg", fontsize=7, va="center")
        delay.set(title="Phase delay (dotted: ray around the sphere)", ylabel="ms after the middle", xlim=(100, 19000))
        for axis in (level, delay):
            axis.set(xscale="log", xlabel="frequency (Hz)")
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)


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
