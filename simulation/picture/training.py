"""Varied frames with the boxes of the people in them, to train and to test person detectors."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from simulation.picture import Painter
from simulation.picture.sampling import (
    sample_appearance,
    sample_background,
    sample_thing_appearance,
    thing_place,
)
from simulation.scene import Event, Person, Room, Scene, Thing, Trajectory
from util.camera import Equirectangular

# What a detector is taught to find: smaller or more hidden people are left out of the boxes.
LEAST_VISIBLE, LEAST_HEIGHT = 0.35, 0.055
FRAMES_PER_ROOM = 4
THING_CLASSES = ("Telephone", "Domestic sounds", "Door", "Music", "Musical instrument", "Water tap", "Bell", "Knock")


def _still(point: np.ndarray) -> Trajectory:
    return Trajectory(np.zeros(1), np.asarray(point, dtype=np.float64)[None])


def _scene(rng: np.random.Generator, split: str, index: int) -> Scene:
    """A random room with people who walk, talk, clap or stand, one to five metres away, and some things."""
    size = np.array([rng.uniform(4.0, 9.0), rng.uniform(4.0, 9.0), rng.uniform(2.4, 3.4)])
    height = rng.uniform(1.2, 1.65)
    listener = np.array([rng.uniform(0.35, 0.65) * size[0], rng.uniform(0.35, 0.65) * size[1], height])

    def point(least: float, most: float) -> np.ndarray:
        for _ in range(200):
            azimuth, distance = rng.uniform(-np.pi, np.pi), rng.uniform(least, most)
            xy = distance * np.array([np.cos(azimuth), np.sin(azimuth)])
            if np.all(xy > 0.35 - listener[:2]) and np.all(xy < size[:2] - listener[:2] - 0.35):
                return np.array([*xy, -height])
        return np.array([1.2, 0.0, -height])

    people, events, things = [], [], []
    for source in range(int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.08, 0.2, 0.26, 0.22, 0.16, 0.08]))):
        start = point(1.0, 5.0)
        feet = _still(start)
        act = rng.choice(["idle", "walk", "mouth", "hands", "feet"], p=[0.35, 0.3, 0.17, 0.12, 0.06])
        if act == "walk":
            feet = Trajectory(np.array([0.0, 4.0]), np.stack([start, point(1.0, 5.0)]))
        elif act != "idle":
            sound = rng.uniform(0, 1, 16000).astype(np.float32) ** 6
            events.append(Event(0, "speech", 0.0, sound, {}, feet, str(act), source))
        look = sample_appearance(rng, split)
        people.append(Person(source, feet, float(np.clip(rng.normal(1.70, 0.10), 1.45, 1.98)), look))
    for source in range(100, 100 + int(rng.integers(0, 4))):
        name = str(rng.choice(THING_CLASSES))
        look = sample_thing_appearance(rng, split, name)
        low, high, tall, _ = thing_place(look)
        place = point(1.2, 4.5)
        place[2] += rng.uniform(low, high)
        things.append(Thing(source, 0, name, _still(place), tall, look))
    room = Room(f"picture_{split}_{index}", tuple(size), tuple(listener), 0.4)
    background = sample_background(rng, split)
    return Scene(
        f"{split}_{index}", split, index, 4.0, 4000, room, tuple(events), tuple(people), tuple(things), 30.0, background
    )


def _camera_wear(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What cameras and codecs do to a picture: exposure, white balance, blur, block noise."""
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.94, 1.06, 3)
    frame = np.clip(frame * gain + rng.uniform(-8, 8), 0, 255)
    if rng.random() < 0.35:
        frame = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.3, 0.8))
    if rng.random() < 0.4:
        frame = frame + rng.standard_normal(frame.shape) * rng.uniform(0.5, 4)
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))


def training_frames(
    seed: int, count: int, split: str, size: tuple[int, int] = (360, 180)
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of simulated rooms with the boxes of the people in them.

    Drawn at twice the size and reduced, like a video that is resized. Several frames share a room (FRAMES_PER_ROOM).

    Parameters
    ----------
    seed : same seed, same frames
    count : how many
    split : "train" or "test": people, rooms and things of the two are disjoint
    size : width, height in pixels

    Yields
    ------
    frame (h, w, 3) BGR uint8, and boxes (n, 4) float64 x0, y0, x1, y1 in pixels, of people at least LEAST_HEIGHT of the
    picture high and LEAST_VISIBLE visible, cut at the seam

    Raises
    ------
    InputError : unknown split
    """
    width, height = size
    done, index = 0, 0
    while done < count:
        rng = np.random.default_rng([seed, index, split == "test"])
        painter = Painter(_scene(rng, split, index), Equirectangular(2 * width, 2 * height))
        index += 1
        for time_s in rng.uniform(0.1, 3.9, FRAMES_PER_ROOM):
            if done == count:
                return
            boxes, _, visible = painter.boxes(float(time_s))
            frame = painter.frame(float(time_s))
            boxes = boxes / 2
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            tall = (boxes[:, 3] - boxes[:, 1]) >= LEAST_HEIGHT * height
            wide = (boxes[:, 2] - boxes[:, 0]) >= 0.008 * width
            yield _camera_wear(frame, rng), boxes[tall & wide & (visible >= LEAST_VISIBLE)]
            done += 1
