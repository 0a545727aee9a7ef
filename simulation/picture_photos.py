"""People from photographs: rectangular crops cut out softly and used as sprites."""

from __future__ import annotations

import os

import cv2
import numpy as np

from simulation.picture_sprites import Light, Sprite, make_sprite
from util.errors import InputError

# Aspect (height over width) from which a crop is taken for a whole body; below, for its upper part.
WHOLE_BODY_ASPECT = 2.0
# Where the mouth lies below the top of a crop of a whole body, over stature: the same as in drawn people.
MOUTH_SHARE = 0.893
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


def photo_source(path: str | os.PathLike[str]) -> str:
    """The photograph that a crop comes from: its name without the last number ("speech_21_0" -> "speech_21").

    Crops of one photograph belong to one split.
    """
    stem = os.path.splitext(os.path.basename(os.fspath(path)))[0]
    head, _, tail = stem.rpartition("_")
    return head if head and tail.isdigit() else stem


def cut_out(picture: np.ndarray) -> np.ndarray:
    """BGR (h, w, 3) -> premultiplied BGRA: the person by GrabCut, started from an ellipse, with a soft edge.

    Where GrabCut keeps less than a third or more than 95 % of the ellipse, the soft ellipse itself is the mask: a
    rectangle's straight edges would teach a detector to find rectangles.
    """
    scale = WORKING_HEIGHT / picture.shape[0]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(
        picture, (max(round(picture.shape[1] * scale), 16), WORKING_HEIGHT), interpolation=interpolation
    )
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    across = (x + 0.5 - width / 2) / (width / 2)
    up = (y + 0.5 - height / 2) / (height / 2)
    far = (np.abs(across) ** 2.6 + np.abs(up) ** 4) ** (1 / 2.6)
    mask = np.where(far < 0.55, cv2.GC_PR_FGD, np.where(far < 0.97, cv2.GC_PR_FGD, cv2.GC_BGD)).astype(np.uint8)
    mask[(np.abs(across) > 0.93) | (up < -0.985)] = cv2.GC_BGD
    mask[(np.abs(across) < 0.25) & (np.abs(up) < 0.55)] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(picture, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
        solid = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
    except cv2.error:
        solid = far < 0.97
    share = float(solid.sum() / max((far < 0.97).sum(), 1))
    if not 0.33 < share < 0.95:
        solid = far < 0.97
    solid = cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count > 2:
        solid = (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    alpha = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 1.6)[..., None]
    return np.concatenate([picture * alpha, 255 * alpha], axis=-1).astype(np.uint8)


class PhotoBody:
    """A photographed person; its sprite is the same for every pose, seen from everywhere.

    A crop of a whole body stands on the floor. Of an upper body the head's top is put at the stature and the crop's
    lower edge where a body of that width ends; the mouth is assumed at the place that it has in a whole body.

    Parameters
    ----------
    appearance : {"photo": path, ...}; "mirror": True mirrors it
    height_m : stature
    """

    def __init__(self, appearance: dict, height_m: float):
        picture = read_photo(appearance["photo"])
        if appearance.get("mirror"):
            picture = picture[:, ::-1].copy()
        self.picture = cut_out(picture)
        self.height_m = height_m
        aspect = self.picture.shape[0] / self.picture.shape[1]
        # A body is about 0.46 statures wide with its arms; the crop's width says how much of it is to be seen.
        self.shown = 1.0 if aspect >= WHOLE_BODY_ASPECT else float(np.clip(0.5 * aspect, 0.35, 1.0))

    def sprite(self, pose: object, view_deg: float, scale: float, light: Light) -> Sprite:
        """Sprite in metres above the floor; pose, view and light change nothing but the tint."""
        tall_m = self.shown * self.height_m
        height = max(round(tall_m * scale), 8)
        width = max(round(height * self.picture.shape[1] / self.picture.shape[0]), 4)
        shrink = height < self.picture.shape[0]
        picture = cv2.resize(
            self.picture, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        )
        tinted = np.clip(picture[..., :3] * np.array(light.tint, dtype=np.float32), 0, picture[..., 3:])
        picture = np.concatenate([tinted.astype(np.uint8), picture[..., 3:]], axis=-1)
        opaque = np.flatnonzero((picture[..., 3] > 100).any(axis=1))
        first = int(opaque[0]) if opaque.size else 0
        scale_m = height / tall_m
        return make_sprite(picture, scale_m, -width / 2 / scale_m, self.height_m + first / scale_m)
