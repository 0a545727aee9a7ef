"""Labels of a scene: which frames an event is active in, and where it then is."""

from __future__ import annotations

import numpy as np

from simulation.scene import Event, Scene
from util.angles import degrees_from_direction
from util.events import EventTable
from util.microphone_arrays import SPEED_OF_SOUND_M_S

FRAME_S = 0.1
LEAST_SHARE_S = 0.05
SHORT_PAUSE_S = 0.3
# Below this share of its peak (-40 dB) a dry sound counts as silent: the floor of quiet recordings, the end of a decay.
SILENCE = 0.01
_EDGE_S = 1e-9


def active_intervals_s(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """When a dry sound (samples,) sounds -> (n, 2) start and end in seconds; pauses under 0.3 s are sound.

    A silent waveform has no intervals.
    """
    magnitude = np.abs(sound)
    peak = magnitude.max(initial=0.0)
    at = np.flatnonzero(magnitude > SILENCE * peak) if peak > 0 else np.zeros(0, dtype=np.int64)
    if not len(at):
        return np.zeros((0, 2))
    pause = np.flatnonzero(np.diff(at) - 1 >= round(SHORT_PAUSE_S * rate_hz))
    starts, ends = at[np.concatenate([[0], pause + 1])], at[np.concatenate([pause, [len(at) - 1]])] + 1
    return np.stack([starts, ends], axis=1) / rate_hz


def arrival_s(event: Event, emitted_s: np.ndarray) -> np.ndarray:
    """When the direct sound that the event emits at scene times (...) reaches the listener, in seconds."""
    return emitted_s + np.linalg.norm(event.trajectory.at(emitted_s), axis=-1) / SPEED_OF_SOUND_M_S


def active_frames(event: Event, rate_hz: int, frames: int) -> np.ndarray:
    """Frames (n,) in which an event is active, ascending.

    A frame is active if the dry event, at the arrival of its direct sound, covers at least 50 ms of it, or if it is the
    event's only frame. An event too short for the first and across two frames gets the one that it covers more of.
    """
    arrivals = arrival_s(event, event.start_s + active_intervals_s(event.sound, rate_hz))
    covered = np.zeros(frames)
    left = np.arange(frames) * FRAME_S
    for start, end in arrivals:
        covered += np.clip(np.minimum(end, left + FRAME_S) - np.maximum(start, left), 0.0, None)
    active = np.flatnonzero(covered >= LEAST_SHARE_S - _EDGE_S)
    if not len(active) and covered.any():
        active = np.array([int(np.argmax(covered))])
    return active


def label_table(scene: Scene) -> EventTable:
    """Labels of a scene, unrounded: position at each frame's centre, rows by frame, class and source."""
    frames = int(np.ceil(scene.duration_s / FRAME_S - _EDGE_S))
    tables = [EventTable.make(frame_s=FRAME_S)]
    for event in scene.events:
        active = active_frames(event, scene.rate_hz, frames)
        position = event.trajectory.at((active + 0.5) * FRAME_S)
        azimuth, elevation = degrees_from_direction(position)
        tables.append(
            EventTable.make(
                frame_s=FRAME_S,
                frame=active,
                class_index=np.full(len(active), event.class_index),
                source=np.full(len(active), event.source),
                azimuth_deg=azimuth,
                elevation_deg=elevation,
                distance_m=np.linalg.norm(position, axis=-1),
            )
        )
    return EventTable.concatenate(tables).sorted()


def rounded(table: EventTable) -> EventTable:
    """Angles to whole degrees, azimuth in [-180, 180), distance to whole centimetres: what the csv can hold."""
    azimuth = np.rint(table.azimuth_deg)
    return table.replace(
        azimuth_deg=np.where(azimuth >= 180, azimuth - 360, azimuth),
        elevation_deg=np.rint(table.elevation_deg),
        distance_m=np.rint(table.distance_m * 100) / 100,
    )
