"""Pictures of scenes for their page: a video frame with its labels, a clip's tracks, the sound of every class."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from scipy import signal

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

matplotlib.use("Agg")  # before pyplot comes in: a back end that needs no screen
from matplotlib import pyplot as plt

TONES = plt.get_cmap("tab20")


def levels_db(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sound (samples,) -> frequencies in Hz, times in s, spectrogram in dB below its maximum."""
    frequency_hz, time_s, density = signal.spectrogram(sound, RATE_HZ, nperseg=512, noverlap=256)
    level = 10 * np.log10(density + 1e-14)
    return frequency_hz, time_s, level - level.max()


def draw_sounds(path: Path) -> None:
    """Spectrograms of one sound of each procedural generator."""
    figure, axes = plt.subplots(4, 6, figsize=(13, 8), layout="constrained", sharey=True)
    for axis, (name, generator) in zip(axes.ravel(), GENERATORS.items()):
        index = next(i for i in range(len(CLASS_NAMES)) if generator in sound_class(i).generators)
        duration_s = min(3.5, sound_class(index).duration_s[1])
        fits = generator.fits[0] if generator.fits else None
        sound, _ = synthesize(index, stream(3, name), "train", duration_s, fits=fits)
        frequency_hz, time_s, level = levels_db(sound)
        axis.pcolormesh(time_s, frequency_hz / 1000, level, vmin=-70, vmax=0, cmap="magma", rasterized=True)
        axis.set_title(f"{index} {name}", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("kHz")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    _save(figure, path)


def mark(axis: plt.Axes, camera: Camera, table: EventTable) -> None:
    """Draw the labels of one frame into a picture of that camera."""
    pixel, visible = camera.project(direction_from_degrees(table.azimuth_deg, table.elevation_deg))
    for row in np.flatnonzero(visible):
        index = int(table.class_index[row])
        x, y = pixel[row]
        axis.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3.5)
        axis.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor=TONES(index), markeredgewidth=2)
        text = f"{CLASS_NAMES[index]}, {table.distance_m[row]:.1f} m"
        right = x > 0.8 * camera.width
        axis.text(x + (-12 if right else 12), y - 12, text, fontsize=9, color="black", ha="right" if right else "left",
                  bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "linewidth": 0})  # fmt: skip


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
    figure, (above, middle, below) = plt.subplots(
        3, 1, figsize=(9.6, 9.2), layout="constrained", height_ratios=(4.8, 1.8, 2.4)
    )
    picture = next(iter(frames(scene, settings.camera, [at_s])))
    above.imshow(picture[..., ::-1], extent=(0, settings.width, settings.height, 0))
    mark(above, settings.camera, table[table.frame == round(at_s / FRAME_S - 0.5)])
    above.set(title=f"{scene.name}, {at_s:.2f} s", xlabel="azimuth (degrees)", ylabel="elevation (degrees)")
    above.set_xticks(np.linspace(0, settings.width, 9), [f"{a:g}" for a in np.linspace(180, -180, 9)])
    above.set_yticks(np.linspace(0, settings.height, 5), [f"{e:g}" for e in np.linspace(90, -90, 5)])
    sound = render(scene, [ARRAYS["foa"]], seed=scene.seed)["foa"][0]
    frequency_hz, time_s, level = levels_db(sound)
    step = 3  # a picture has fewer columns than a clip has spectra
    middle.pcolormesh(time_s[::step], frequency_hz / 1000, level[:, ::step], vmin=-75, vmax=0, cmap="magma")
    middle.set(ylabel="kHz", title="first channel (W)")
    for index in np.unique(table.class_index):
        rows = table.class_index == index
        time_of = (table.frame[rows] + 0.5) * FRAME_S
        below.plot(time_of, table.azimuth_deg[rows], "s", markersize=2.5, color=TONES(index), label=CLASS_NAMES[index])
    for axis in (middle, below):
        axis.axvline(at_s, color="grey", linewidth=0.8, linestyle=":")
        axis.set_xlim(0, scene.duration_s)
    below.set(xlabel="time (s)", ylabel="azimuth (degrees)", ylim=(-180, 180), yticks=np.arange(-180, 181, 90))
    below.legend(fontsize=7, ncols=2, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2, frameon=False)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=80, pil_kwargs={"quality": 82})
    plt.close(figure)
