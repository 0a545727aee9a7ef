"""People from photographs: rectangular crops cut out softly and used as sprites."""

from __future__ import annotations

import os
from collections.abc import Mapping

import cv2
import numpy as np

from simulation.picture.sprites import Light, Sprite, make_sprite
from util.errors import InputError

# Aspect (height over width) from which a crop is taken for a whole body; below, for its upper part.
WHOLE_BODY_ASPECT = 1.65
# Share of a crop's width that always stays.
CORE_SHARE = 0.72
WORKING_HEIGHT = 256


def read_photo(path: str | os.PathLike[str]) -> np.ndarray:
    """BGR uint8 (h, w, 3) of an image file.

    Raises
    ------
    InputError : missing, no image, smaller than 16 pixels
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise InputError("is no image that OpenCV reads", path=path)
    if min(picture.shape[:2]) < 16:
        raise InputError(f"is {picture.shape[1]}x{picture.shape[0]} pixels; at least 16x16 are needed", path=path)
    return picture


def cut_out(picture: np.ndarray) -> np.ndarray:
    """BGR (h, w, 3) -> premultiplied BGRA (WORKING_HEIGHT, ...): the person with a soft edge.

    A superellipse bounds what stays: a rectangle's straight edges would teach a detector to find rectangles. Its core
    always stays (GrabCut alone loses heads in front of dark walls); of the rim, only what GrabCut takes for the person.
    """
    scale = WORKING_HEIGHT / picture.shape[0]
    width = max(round(picture.shape[1] * scale), 16)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, (width, WORKING_HEIGHT), interpolation=interpolation)
    y, x = np.mgrid[:WORKING_HEIGHT, :width]
    across = np.abs(x + 0.5 - width / 2) / (width / 2)
    up = np.abs(y + 0.5 - WORKING_HEIGHT / 2) / (WORKING_HEIGHT / 2)
    far = (across**2.6 + up**9) ** (1 / 2.6)
    inside = far < 0.97
    core = (across / CORE_SHARE) ** 2.6 + up**9 < 0.9
    mask = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    mask[(across < 0.3) & (up < 0.8)] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    try:
        box = (0, 0, width, WORKING_HEIGHT)  # not read: the mask says where to begin
        cv2.grabCut(picture, mask, box, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
        person = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
    except cv2.error:  # a picture of one colour has no two models
        person = inside
    solid = cv2.morphologyEx(((person & inside) | core).astype(np.uint8), cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    alpha = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 2.5)[..., None]
    return np.concatenate([picture * alpha, 255 * alpha], axis=-1).astype(np.uint8)


class PhotoBody:
    """A photographed person; its sprite is the same for every pose, seen from everywhere.

    A crop of a whole body stands on the floor and is as tall as the person. Of an upper body the head's top is put at
    the stature, and a counter is drawn from its lower edge to the floor. The mouth is taken to be where a standing
    person of that stature has it.

    Parameters
    ----------
    appearance : {"photo": path, ...}; "mirror": True mirrors it
    height_m : stature

    Raises
    ------
    InputError : see `read_photo`
    """

    def __init__(self, appearance: Mapping, height_m: float):
        picture = read_photo(appearance["photo"])
        if appearance.get("mirror"):
            picture = picture[:, ::-1].copy()
        picture = cut_out(picture)
        rows = np.flatnonzero((picture[..., 3] > 100).any(axis=1))
        self.picture = picture[rows[0] : rows[-1] + 1]
        self.height_m = height_m
        aspect = self.picture.shape[0] / self.picture.shape[1]
        # A body is about half a stature wide with its arms: the crop's shape says how much of it is to be seen.
        self.shown = 1.0 if aspect >= WHOLE_BODY_ASPECT else float(np.clip(0.5 * aspect, 0.3, 0.8))

    def sprite(self, pose: object, view_deg: float, scale: float, light: Light) -> Sprite:
        """Sprite in metres above the floor; pose and view change nothing, light only the tint."""
        height = max(round(self.shown * self.height_m * scale), 8)
        width = max(round(height * self.picture.shape[1] / self.picture.shape[0]), 4)
        shrink = height < self.picture.shape[0]
        picture = cv2.resize(
            self.picture, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        )
        tinted = np.clip(picture[..., :3] * np.array(light.tint, dtype=np.float32), 0, picture[..., 3:])
        picture = np.concatenate([tinted.astype(np.uint8), picture[..., 3:]], axis=-1)
        scale_m = height / (self.shown * self.height_m)
        margin = 4
        picture = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
        sprite = make_sprite(picture, scale_m, -width / 2 / scale_m, self.height_m + margin / scale_m)
        return sprite if self.shown == 1.0 else _behind_counter(sprite, margin)


def _behind_counter(sprite: Sprite, margin: int) -> Sprite:
    """A sprite continued down to the floor by a counter; its outline, and so its box, stays the person's."""
    picture = sprite.levels[0]
    height, width = picture.shape[:2]
    edge = height - margin - max(round(0.03 * height), 2)
    full = round(sprite.top_m * sprite.scale)
    tall = np.zeros((max(full, height), width, 4), dtype=np.uint8)
    tall[:height] = picture
    wood = np.array([66, 98, 132], dtype=np.float64)
    shade = np.linspace(1.0, 0.72, tall.shape[0] - edge)[:, None, None] * np.ones((1, width, 1))
    shade *= (1 - 0.12 * np.abs(np.linspace(-1, 1, width)))[None, :, None]
    top = max(round(0.02 * full), 1)
    shade[:top] = 1.25
    tall[edge:, :, :3] = np.clip(wood * shade, 0, 255)
    tall[edge:, :, 3] = 255
    counter = make_sprite(tall, sprite.scale, sprite.left_m, sprite.top_m, centre=False)
    counter.outline_m = sprite.outline_m
    return counter
