"""Rooms with talking, playing and moving sources whose directions are known, for what is measured of directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.render import MAX_ORDER, direct_delay_s, render
from simulation.room import absorption_for_rt60
from simulation.scene import Event, Room, Scene, Trajectory
from simulation.sounds import CLASS_NAMES, RATE_HZ, levelled, synthesize
from util.angles import direction_from_degrees
from util.microphone_arrays import Array

SIZE_M, LISTENER_M = (6.2, 5.1, 2.9), (2.8, 2.3, 1.4)
FRAME_S = 0.1
HEARD_DB = 20.0  # a source is heard in frames so much below its own loudest (its 95th percentile), or louder
_SOUNDS = ("Female speech", "Male speech", "Music")


@dataclass(frozen=True)
class Source:
    """A source that stands at a direction, or walks to another one within the scene."""

    azimuth_deg: float
    elevation_deg: float = 0.0
    to_azimuth_deg: float | None = None
    distance_m: float = 1.5


@dataclass(frozen=True)
class DirectionScene:
    """What was rendered, and the truth of each frame of 100 ms.

    Attributes
    ----------
    waveform : array's name -> (channels, samples)
    direction : (frames, sources, 3), as it is heard
    heard : (frames, sources) the source itself sounds, not only the room
    """

    waveform: dict[str, np.ndarray]
    direction: np.ndarray
    heard: np.ndarray


def direction_scene(
    sources: Sequence[Source],
    arrays: Sequence[Array],
    *,
    rt60_s: float | None,
    snr_db: float,
    seconds: float = 10.0,
    seed: int = 0,
) -> DirectionScene:
    """Render sources that sound all the time but for the pauses of what they say.

    Parameters
    ----------
    rt60_s : reverberation time at mid frequencies; None: no walls
    snr_db : level of the sources above the diffuse noise
    """
    size = SIZE_M if rt60_s is None or rt60_s >= 0.25 else (4.2, 3.6, 2.6)
    listener = LISTENER_M if size == SIZE_M else (2.0, 1.7, 1.3)
    rt60 = 0.4 if rt60_s is None else rt60_s
    room = Room("room1", size, listener, rt60, absorption_for_rt60(size, rt60))
    frames = round(seconds / FRAME_S)
    samples = frames * round(FRAME_S * RATE_HZ)
    events, directions, heard = [], [], []
    for number, source in enumerate(sources):
        rng = np.random.default_rng([seed, number])
        sound = _sound(rng, number, samples)
        path = _path(source, seconds)
        events.append(Event(0, "any", 0.0, sound, {}, path, "object", number))
        middle_s = (np.arange(frames) + 0.5) * FRAME_S
        position_m = path.at(middle_s - direct_delay_s(path.at(middle_s)))
        directions.append(position_m / np.linalg.norm(position_m, axis=-1, keepdims=True))
        late = int(direct_delay_s(path.position_m[0]) * RATE_HZ)
        arrived = np.concatenate([np.zeros(late), sound])[: frames * round(FRAME_S * RATE_HZ)]
        power = np.square(arrived).reshape(frames, -1).mean(axis=1)
        heard.append(power > np.percentile(power, 95) * 10 ** (-HEARD_DB / 10))
    scene = Scene("mix001", "train", seed, frames * FRAME_S, RATE_HZ, room, tuple(events), (), (), snr_db)
    reflections = 0 if rt60_s is None else MAX_ORDER
    waveform = render(scene, arrays, max_order=reflections, tail=rt60_s is not None)
    return DirectionScene(waveform, np.stack(directions, axis=1), np.stack(heard, axis=1))


def _sound(rng: np.random.Generator, number: int, samples: int) -> np.ndarray:
    """Speech, speech, music, speech ... of one level."""
    index = CLASS_NAMES.index(_SOUNDS[number % len(_SOUNDS)])
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < samples:
        parts.append(synthesize(index, rng, "train", 4.0)[0])
    return levelled(np.concatenate(parts)[:samples], 0.0)


def _path(source: Source, seconds: float) -> Trajectory:
    steps = 2 if source.to_azimuth_deg is None else 60
    end_deg = source.azimuth_deg if source.to_azimuth_deg is None else source.to_azimuth_deg
    azimuth_deg = np.linspace(source.azimuth_deg, end_deg, steps)
    position_m = source.distance_m * direction_from_degrees(azimuth_deg, np.full(steps, source.elevation_deg))
    return Trajectory(np.linspace(0.0, seconds, steps), position_m)
