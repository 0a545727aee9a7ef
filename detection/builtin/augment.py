"""Changes of training pictures that make the detector indifferent to size, colour, sharpness and noise."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_KEPT = 0.45  # share of a box's area that must stay in the picture
LEAST_HEIGHT_PX = 8.0


def warp(
    picture: np.ndarray, boxes: np.ndarray, rng: np.random.Generator, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, scale (0.75 to 1.8 of the fitted size), stretch and shift into a picture of (width, height) pixels."""
    fitted = min(width / picture.shape[1], height / picture.shape[0])
    scale = fitted * np.exp(rng.uniform(np.log(0.75), np.log(1.8))) if rng.random() < 0.8 else fitted
    stretch = rng.uniform(0.88, 1.14)
    scale_x, scale_y = scale * stretch, scale / stretch
    spare_x, spare_y = width - picture.shape[1] * scale_x, height - picture.shape[0] * scale_y
    shift_x, shift_y = rng.uniform(*sorted((0.0, spare_x))), rng.uniform(*sorted((0.0, spare_y)))
    if rng.random() < 0.5:
        scale_x, shift_x = -scale_x, width - shift_x
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    interpolation = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
    out = cv2.warpAffine(picture, matrix, (width, height), flags=interpolation, borderValue=(114, 114, 114))
    if not len(boxes):
        return out, boxes.astype(np.float32)
    corners = boxes.reshape(-1, 2, 2) * [scale_x, scale_y] + [shift_x, shift_y]
    moved = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    area = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    moved[:, 0::2] = moved[:, 0::2].clip(0, width)
    moved[:, 1::2] = moved[:, 1::2].clip(0, height)
    size = moved[:, 2:] - moved[:, :2]
    kept = (size.prod(axis=1) >= LEAST_KEPT * area) & (size[:, 1] >= LEAST_HEIGHT_PX) & (size[:, 0] >= 3)
    return out, moved[kept].astype(np.float32)


def recolour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other hue, saturation, brightness and contrast; now and then grey."""
    if rng.random() < 0.8:
        hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
        ramp = np.arange(256)
        reach = 90 if rng.random() < 0.3 else 12
        hue = ((ramp + rng.integers(-reach, reach + 1)) % 180).astype(np.uint8)
        saturation = np.clip(ramp * rng.uniform(0.4, 1.5), 0, 255).astype(np.uint8)
        value = np.clip(255 * (ramp / 255) ** rng.uniform(0.7, 1.5) * rng.uniform(0.8, 1.15), 0, 255).astype(np.uint8)
        channels = [cv2.LUT(channel, table) for channel, table in zip(cv2.split(hsv), (hue, saturation, value))]
        picture = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2BGR)
    if rng.random() < 0.08:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return picture


def wear(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, sharpen, add noise."""
    draw = rng.random()
    if draw < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2))
    elif draw < 0.3:
        picture = cv2.addWeighted(picture, 1.8, cv2.GaussianBlur(picture, (0, 0), 1.0), -0.8, 0)
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 10), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return picture


def clutter(picture: np.ndarray, boxes: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paste upright strips of a picture that holds nobody beside the people: not all that stands is one."""
    height, width = picture.shape[:2]
    picture = picture.copy()
    for _ in range(rng.integers(1, 4)):
        tall = int(rng.uniform(0.15, 0.6) * height)
        wide = max(6, int(tall * rng.uniform(0.25, 0.8)))
        x, y = rng.integers(0, max(1, width - wide)), rng.integers(0, max(1, height - tall))
        if (
            len(boxes)
            and ((boxes[:, 0] < x + wide) & (boxes[:, 2] > x) & (boxes[:, 1] < y + tall) & (boxes[:, 3] > y)).any()
        ):
            continue
        from_x = rng.integers(0, max(1, other.shape[1] - wide))
        from_y = rng.integers(0, max(1, other.shape[0] - tall))
        strip = other[from_y : from_y + tall, from_x : from_x + wide]
        picture[y : y + strip.shape[0], x : x + strip.shape[1]] = strip
    return picture


def augmented(
    picture: np.ndarray,
    boxes: np.ndarray,
    other: np.ndarray | None,
    rng: np.random.Generator,
    width: int,
    height: int,
) -> tuple[np.ndarray, np.ndarray]:
    """One training example: (height, width, 3) BGR uint8 and boxes (n, 4) in its pixels.

    `other` is a picture without people, or None.
    """
    if other is not None and rng.random() < 0.25:
        picture = clutter(picture, boxes, recolour(other, rng), rng)
    picture, boxes = warp(picture, boxes, rng, width, height)
    return wear(recolour(picture, rng), rng), boxes
