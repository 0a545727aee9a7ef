"""Sprites: small shaded solids painted quad by quad into pictures on an upright plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

SUPERSAMPLING = 2


@dataclass
class Sprite:
    """A picture on an upright plane through the body's axis, facing the listener.

    Attributes
    ----------
    levels : premultiplied BGRA uint8 pictures, each half the size of the one before
    scale : pixels per metre of the first level
    left_m, top_m : the picture's corner: metres to the right of the axis, metres above the floor
    outline_m : (n, 2) points (right, up) around the opaque part, for boxes
    """

    levels: list[np.ndarray]
    scale: float
    left_m: float
    top_m: float
    outline_m: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


def make_sprite(picture: np.ndarray, scale: float, left_m: float, top_m: float, *, centre: bool = True) -> Sprite:
    """Premultiplied BGRA (h, w, 4) -> sprite with its reduced levels and outline.

    With `centre` the opaque part's horizontal middle is put on the axis: the label's azimuth is the box centre's.
    """
    opaque = picture[:, :, 3] > 100
    rows = np.flatnonzero(opaque.any(axis=1))
    if rows.size == 0:
        return Sprite([picture], scale, left_m, top_m)
    first = opaque[rows].argmax(axis=1)
    last = picture.shape[1] - opaque[rows][:, ::-1].argmax(axis=1)
    if centre:
        left_m = -(first.min() + last.max()) / 2 / scale
    keep = np.unique(np.concatenate([np.linspace(0, rows.size - 1, 40).astype(int), [first.argmin(), last.argmax()]]))
    up = top_m - (rows[keep] + 0.5) / scale
    up[0], up[-1] = top_m - rows[0] / scale, top_m - (rows[-1] + 1) / scale
    outline = np.concatenate(
        [
            np.stack([left_m + first[keep] / scale, up], axis=-1),
            np.stack([left_m + last[keep] / scale, up], axis=-1),
        ]
    )
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 16:
        height, width = levels[-1].shape[:2]
        even = cv2.copyMakeBorder(levels[-1], 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
        levels.append(cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA))
    return Sprite(levels, scale, left_m, top_m, outline)


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (..., n) scaled to length one."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def tube(
    path: np.ndarray, radii: np.ndarray, front: np.ndarray, rings: int, segments: int, smooth: int = 1
) -> np.ndarray:
    """Skin of a bent tube with elliptical cross-section.

    Parameters
    ----------
    path : (k, 3) control points of the centre line
    radii : (j, 3) rows of (place along the tube 0..1, radius sideways, radius towards `front`)
    front : (3,) direction that cross-sections are aligned to
    smooth : how often the centre line's corners are rounded

    Returns
    -------
    vertices (rings, segments + 1, 3); the last column repeats the first; column 0 faces `front`
    """
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    place = np.linspace(0, 1, rings)
    line = np.stack([np.interp(place * length[-1], length, path[:, axis]) for axis in range(3)], axis=-1)
    for _ in range(smooth):
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    tangent = unit(np.gradient(line, axis=0))
    ahead = unit(front - (tangent @ front)[:, None] * tangent)
    side = np.cross(ahead, tangent)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    sideways = np.interp(place, radii[:, 0], radii[:, 1])
    forwards = np.interp(place, radii[:, 0], radii[:, 2])
    return (
        line[:, None]
        + (sideways[:, None] * np.sin(angle))[..., None] * side[:, None]
        + (forwards[:, None] * np.cos(angle))[..., None] * ahead[:, None]
    )


def quads_of(parts: Sequence[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Surfaces -> corners (n, 4, 3), colours (n, 3), layers (n,).

    Parameters
    ----------
    parts : (vertices (r, s, 3), colours (r, s, 3)) or the same with a layer; NaN vertices leave holes. What is on a
        higher layer is painted later, whatever its depth: for details that lie on a surface.
    """
    corners, colours, layers = [], [], []
    for skin, colour, *layer in parts:
        quads = np.stack([skin[:-1, :-1], skin[1:, :-1], skin[1:, 1:], skin[:-1, 1:]], axis=2).reshape(-1, 4, 3)
        corners.append(quads)
        colours.append(((colour[:-1, :-1] + colour[1:, 1:]) / 2).reshape(-1, 3))
        layers.append(np.full(len(quads), layer[0] if layer else 0))
    quads = np.concatenate(corners)
    good = np.isfinite(quads).all(axis=(1, 2))
    return quads[good], np.concatenate(colours)[good], np.concatenate(layers)[good]


@dataclass(frozen=True)
class Light:
    """Light on sprites: where from as seen by the viewer (right, up, near), strength and tint (BGR factors)."""

    direction: tuple[float, float, float] = (-0.45, 0.62, 0.64)
    ambient: float = 0.52
    strength: float = 0.62
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


def draw_quads(
    quads: np.ndarray,
    colour: np.ndarray,
    view_deg: float,
    scale: float,
    light: Light,
    *,
    pitch_deg: float = 0.0,
    layer: np.ndarray | None = None,
    margin_m: float = 0.03,
) -> Sprite:
    """Paint lit quads from far to near into a sprite.

    Parameters
    ----------
    quads : (n, 4, 3) corners in metres, x forward, y left, z up, wound so that normals point outwards
    colour : (n, 3) BGR in [0, 255]
    view_deg : angle from the way to the viewer to the x axis, counter-clockwise from above
    scale : pixels per metre
    layer : (n,) painted after all lower layers
    pitch_deg : how far the viewer looks down on it, about z = 0
    """
    view = np.deg2rad(view_deg)
    right = quads[..., 0] * np.sin(view) + quads[..., 1] * np.cos(view)
    near = quads[..., 0] * np.cos(view) - quads[..., 1] * np.sin(view)
    up = quads[..., 2]
    if pitch_deg:
        cosine, sine = np.cos(np.deg2rad(pitch_deg)), np.sin(np.deg2rad(pitch_deg))
        up, near = up * cosine - near * sine, near * cosine + up * sine
    points = np.stack([right, up, near], axis=-1)
    normal = np.cross(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1])
    size = np.linalg.norm(normal, axis=-1)
    normal /= np.maximum(size, 1e-12)[:, None]
    seen = (normal[:, 2] > -0.05) & (size > 1e-12)
    points, normal, colour = points[seen], normal[seen], colour[seen]
    depth = points[..., 2].mean(axis=1)
    if layer is not None:
        depth = depth + 100.0 * layer[seen]
    towards = np.array(light.direction) / np.linalg.norm(light.direction)
    diffuse = np.clip(normal @ towards * 0.75 + 0.25, 0, 1)
    sky = 0.5 + 0.5 * normal[:, 1]
    edge = 0.80 + 0.20 * np.clip(normal[:, 2], 0, 1)
    lit = (light.ambient * (0.62 + 0.38 * sky) + light.strength * diffuse) * edge
    colour = np.clip(colour * lit[:, None] * np.array(light.tint), 0, 255)
    margin = margin_m
    left_m, top_m = points[..., 0].min() - margin, points[..., 1].max() + margin
    width = int(np.ceil((points[..., 0].max() + margin - left_m) * scale))
    height = int(np.ceil((top_m - points[..., 1].min() + margin) * scale))
    fine = scale * SUPERSAMPLING
    canvas = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 4), dtype=np.uint8)
    shift = 3
    pixels = np.stack([points[..., 0] - left_m, top_m - points[..., 1]], axis=-1) * (fine * (1 << shift))
    # fillConvexPoly covers pixels whose index is inside: half a pixel less puts centres at index + 0.5.
    pixels = np.round(pixels - (1 << shift) / 2).astype(np.int32)
    order = np.argsort(depth, kind="stable")
    fill = cv2.fillConvexPoly
    for corners, bgr in zip(pixels[order], colour[order].tolist()):
        fill(canvas, corners, (*bgr, 255.0), cv2.LINE_8, shift)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return make_sprite(picture, scale, left_m, top_m)
