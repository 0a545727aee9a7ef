"""Figures of the picture: a sheet of people and things, and one moment seen by both cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from simulation.bank import Bank
from simulation.compose import compose
from simulation.labels import label_table
from simulation.picture import Painter, label_overlay
from simulation.picture.people import Body, Pose
from simulation.picture.sampling import THING_PLACES, sample_appearance, sample_thing_appearance
from simulation.picture.sprites import Light, Sprite
from simulation.picture.things import MAKERS, thing_sprite
from simulation.plan import make_plan
from simulation.settings import Settings
from simulation.sounds import CLASS_NAMES
from util.camera import Camera, Equirectangular, Perspective
from util.events import EventTable
from util.files import written_whole

PEOPLE_CLASSES = (0, 1, 2, 4)
PAPER_BGR = (158, 170, 174)


def _tile(sprite: Sprite, height: int, width: int) -> np.ndarray:
    """A sprite in the middle of a plain tile (height, width, 3)."""
    picture = sprite.levels[0]
    scale = min((height - 8) / picture.shape[0], (width - 4) / picture.shape[1], 1.0)
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((height, width, 3), PAPER_BGR, dtype=np.uint8)
    top, left = height - 4 - picture.shape[0], (width - picture.shape[1]) // 2
    part = tile[top : top + picture.shape[0], left : left + picture.shape[1]]
    keep = 1 - picture[..., 3:] / 255.0
    part[:] = np.clip(part * keep + picture[..., :3], 0, 255)
    return tile


def _save(picture: np.ndarray, path: Path) -> None:
    with written_whole(path) as partial:
        cv2.imwrite(str(partial), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


def draw_cast(path: Path) -> None:
    """People of the training split in their poses, and every kind of thing while it sounds."""
    rng = np.random.default_rng(8)
    poses = [
        Pose("relaxed"), Pose("walk", 2), Pose("clap", 1), Pose("talk", 2, 2), Pose("folded"), Pose("walk", 5),
        Pose("laugh", 1, 2), Pose("phone"), Pose("hip"), Pose("walk", 8), Pose("talk", 6, 1),
    ]  # fmt: skip
    views = (0, 65, -50, 25, 0, -80, 15, -30, 150, 40, -20)
    people = [
        _tile(
            Body(sample_appearance(rng, "train"), float(rng.uniform(1.58, 1.9))).sprite(pose, view, 170, Light()),
            350,
            145,
        )
        for pose, view in zip(poses, views)
    ]
    things = []
    for kind in MAKERS:
        if kind == "box":
            continue
        low, high, size_m, _ = THING_PLACES[kind]
        look = sample_thing_appearance(rng, "train", "box") | {"kind": kind}
        sprite = thing_sprite(
            look, size_m, above_floor_m=(low + high) / 2, active=True, step=1, opening=3, view_deg=22.0, pitch_deg=12.0,
            scale=min(150 / size_m, 500), light=Light(),
        )  # fmt: skip
        things.append(_tile(sprite, 175, 145))
    while len(things) % 11:
        things.append(np.full((175, 145, 3), PAPER_BGR, dtype=np.uint8))
    rows = [np.hstack(people), *(np.hstack(things[k : k + 11]) for k in range(0, len(things), 11))]
    _save(np.vstack(rows), path)


def _fullest_frame(table: EventTable) -> int:
    """The label frame with the most events, those with a voice or hands first."""
    frames, count = np.unique(table.frame, return_counts=True)
    shown = [np.isin(table[table.frame == frame].class_index, PEOPLE_CLASSES).sum() for frame in frames]
    return int(frames[(count + 2 * np.array(shown)).argmax()])


def draw_cameras(path: Path) -> None:
    """The same moment of a default clip as a sphere and through the lens, with its labels."""
    asked = Settings(seed=4, train=4, test=0, train_rooms=2)
    scene = compose(asked, make_plan(asked)[1], Bank())
    table = label_table(scene)
    number = _fullest_frame(table)
    time_s = (number + 0.5) * table.frame_s

    def seen_by(camera: Camera) -> np.ndarray:
        frame = Painter(scene, camera).frame(time_s)
        return label_overlay(frame, table, camera, label_frame=number, names=CLASS_NAMES)

    rows = table[table.frame == number]
    loud_deg = float(rows.azimuth_deg[np.isin(rows.class_index, PEOPLE_CLASSES).argmax()])
    views = [seen_by(Perspective(480, 270, 100.0, yaw)) for yaw in (loud_deg, loud_deg + 120.0)]
    _save(np.vstack([seen_by(Equirectangular(960, 480)), np.hstack(views)]), path)
