"""Drawn things: telephones, doors, loudspeakers, taps, bells ... small solids that move while they sound.

Frame of a thing: x towards its front, y left, z up, metres, the origin at its sounding point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from simulation.picture.sampling import THING_PLACES, bgr_from_hsv
from simulation.picture.sprites import Light, Sprite, draw_quads, make_sprite, quads_of, tube

Part = tuple  # vertices, colours and, if it lies on another surface, its layer
STEPS = 4
OPENINGS = 6
METAL = np.array([168.0, 172.0, 176.0])
DARK = np.array([34.0, 34.0, 36.0])
WHITE = np.array([232.0, 234.0, 236.0])


def _paint(skin: np.ndarray, bgr: np.ndarray) -> Part:
    return skin, np.broadcast_to(np.clip(bgr, 0, 255), skin.shape).astype(np.float64)


def box(low: np.ndarray | tuple, high: np.ndarray | tuple, bgr: np.ndarray, pieces: int = 4) -> list[Part]:
    """An axis-parallel box with outward faces, cut into pieces x pieces quads per face for sorting by depth."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    step = np.linspace(0, 1, pieces + 1)
    parts = []
    for axis in range(3):
        for side in (0, 1):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            if side == 0:
                first, second = second, first
            skin = np.zeros((pieces + 1, pieces + 1, 3))
            skin[..., axis] = (low, high)[side][axis]
            skin[..., first] = (low[first] + (high - low)[first] * step)[:, None]
            skin[..., second] = (low[second] + (high - low)[second] * step)[None]
            parts.append(_paint(skin, bgr))
    return parts


def lathe(profile: list[tuple[float, float]], bgr: np.ndarray, at: tuple = (0, 0, 0), segments: int = 36) -> Part:
    """A solid of revolution about a vertical axis; profile of (height, radius), upwards."""
    table = np.array(profile, dtype=np.float64)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    skin = np.stack(
        [
            table[:, 1:] * np.cos(angle),
            -table[:, 1:] * np.sin(angle),
            np.broadcast_to(table[:, :1], (len(table), segments + 1)),
        ],
        axis=-1,
    )
    return _paint(skin + np.asarray(at, dtype=np.float64), bgr)


def rod(
    points: list | np.ndarray,
    radius: float,
    bgr: np.ndarray,
    front: tuple = (1, 0, 0),
    rings: int = 12,
    smooth: int = 1,
) -> Part:
    """A round bar along points."""
    radii = np.array([(0, radius * 0.2, radius * 0.2), (0.04, radius, radius), (0.96, radius, radius), (1, 0, 0)])
    return _paint(
        tube(np.array(points, dtype=np.float64), radii, np.array(front, dtype=np.float64), rings, 10, smooth), bgr
    )


def disc(centre: tuple, radius: float, bgr: np.ndarray, bulge: float = 0.01, rings: int = 5) -> Part:
    """A round lid that faces x, bulging by `bulge` metres in its middle (negative: a hollow)."""
    share = np.linspace(1, 0.02, rings)[:, None]
    angle = np.linspace(0, 2 * np.pi, 25)[None]
    skin = np.stack(
        [
            centre[0] + bulge * (1 - share**2) * np.ones_like(angle),
            centre[1] - radius * share * np.sin(angle),
            centre[2] + radius * share * np.cos(angle),
        ],
        axis=-1,
    )
    return _paint(skin[:, ::-1], bgr)


def _on(layer: int, parts: list[Part]) -> list[Part]:
    """Parts painted after those of lower layers: details on a surface."""
    return [(part[0], part[1], layer + (part[2] if len(part) > 2 else 0)) for part in parts]


def _moved(parts: list[Part], by: list[float]) -> list[Part]:
    """Parts shifted by (x, y, z)."""
    return [(part[0] + np.asarray(by), *part[1:]) for part in parts]


def _scaled(parts: list[Part], size_m: float) -> list[Part]:
    """Parts given in units of the thing's size, in metres."""
    return [(part[0] * size_m, *part[1:]) for part in parts]


def _turned(parts: list[Part], degrees: float, axis: int, about: tuple = (0, 0, 0)) -> list[Part]:
    """Parts turned about an axis through a point."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[first, first], turn[first, second], turn[second, first], turn[second, second] = c, -s, s, c
    point = np.asarray(about, dtype=np.float64)
    return [((part[0] - point) @ turn.T + point, *part[1:]) for part in parts]


class _Look:
    """Colours of a thing, and what it does at the moment: sounding or not, step of the movement, how far open."""

    def __init__(self, appearance: Mapping, size_m: float, above_floor_m: float, active: bool, step: int, opening: int):
        self.body = bgr_from_hsv(appearance.get("body_hsv", (0.6, 0.4, 0.5)))
        self.detail = bgr_from_hsv(appearance.get("detail_hsv", (0.1, 0.2, 0.8)))
        self.wood = bgr_from_hsv(appearance.get("wood_hsv", (0.07, 0.5, 0.5)))
        self.shine = float(appearance.get("shine", 0.5))
        self.size, self.above = size_m, above_floor_m
        self.active, self.step = active, step
        self.open = opening / (OPENINGS - 1)
        self.shake = (0.0, 1.0, 0.0, -1.0)[step % 4] if active else 0.0


def _desk_phone(look: _Look) -> list[Part]:
    parts = box((-0.5, -0.55, -0.5), (0.5, 0.55, -0.25), look.body)
    parts += box((-0.45, -0.5, -0.25), (0.1, 0.5, 0.1), look.body)
    for row in range(4):
        for column in range(3):
            y, x = (column - 1) * 0.2, 0.35 - 0.16 * row
            parts += _on(1, box((x - 0.05, y - 0.07, -0.25), (x + 0.05, y + 0.07, -0.19), WHITE, 1))
    lift = 0.05 * abs(look.shake)
    hand = [
        rod(
            [(0, -0.62, 0.2), (0, -0.4, 0.38), (0, 0.4, 0.38), (0, 0.62, 0.2)],
            0.12,
            look.body * 0.7,
            rings=20,
            smooth=3,
        ),
        lathe([(0.05, 0.03), (0.06, 0.17), (0.25, 0.15), (0.3, 0.0)], look.body * 0.65, (0, -0.58, 0)),
        lathe([(0.05, 0.03), (0.06, 0.17), (0.25, 0.15), (0.3, 0.0)], look.body * 0.65, (0, 0.58, 0)),
    ]
    parts += _on(2, _moved(_turned(hand, 6 * look.shake, 0), [0, 0, lift]))
    if look.active:
        parts += _on(1, box((0.3, 0.35, -0.25), (0.42, 0.5, -0.12), np.array([40.0, 40, 255]), 1))
    return _scaled(parts, look.size)


def _mobile_phone(look: _Look) -> list[Part]:
    s = look.size
    slab = box((-0.04 * s, -0.27 * s, -0.5 * s), (0.03 * s, 0.27 * s, 0.5 * s), DARK)
    screen = np.array([235.0, 210, 150]) if look.active else np.array([60.0, 50, 46])
    slab += _on(1, box((0.03 * s, -0.24 * s, -0.42 * s), (0.035 * s, 0.24 * s, 0.43 * s), screen, 6))
    if look.active:
        slab += _on(2, [disc((0.04 * s, 0, 0.1 * s), 0.12 * s, np.array([90.0, 190, 70]))])
    slab = _turned(slab, 7 * look.shake, 0)
    return slab + box((-0.3 * s, -0.2 * s, -0.54 * s), (0.2 * s, 0.2 * s, -0.48 * s), look.detail, 2)


def _wall_phone(look: _Look) -> list[Part]:
    parts = box((-0.25, -0.32, -0.5), (0.05, 0.32, 0.5), look.body)
    for row in range(4):
        for column in range(3):
            y, z = (column - 1) * 0.15 - 0.08, 0.0 - row * 0.11
            parts += _on(1, box((0.05, y - 0.045, z - 0.03), (0.08, y + 0.045, z + 0.03), WHITE, 1))
    hand = [
        rod([(0.18, 0.24, -0.42), (0.24, 0.24, 0), (0.18, 0.24, 0.42)], 0.07, look.body * 0.6),
        lathe([(0.28, 0.05), (0.3, 0.10), (0.44, 0.10), (0.46, 0.02)], look.body * 0.55, (0.15, 0.24, 0)),
        lathe([(-0.46, 0.02), (-0.44, 0.10), (-0.3, 0.10), (-0.28, 0.05)], look.body * 0.55, (0.15, 0.24, 0)),
    ]
    parts += _on(2, _turned(hand, 5 * look.shake, 0, (0, 0.24, 0)))
    cord = np.linspace(0, 1, 30)
    parts += [
        rod(
            [(0.1, (0.24 - 0.3 * t) + 0.02 * np.sin(60 * t), (-0.46 - 0.35 * np.sin(np.pi * t))) for t in cord],
            0.02,
            look.body * 0.5,
            rings=40,
            smooth=0,
        )
    ]
    return _scaled(parts, look.size)


def _kettle(look: _Look) -> list[Part]:
    metal = METAL * (0.7 + 0.4 * look.shine) * 0.5 + look.body * 0.5
    parts = [
        lathe([(-0.5, 0.36), (-0.44, 0.38), (-0.42, 0.36)], DARK),
        lathe([(-0.42, 0.0), (-0.42, 0.36), (-0.2, 0.37), (0.1, 0.32), (0.3, 0.25), (0.33, 0.2)], metal),
        lathe([(0.33, 0.22), (0.38, 0.2), (0.41, 0.06), (0.48, 0.05), (0.5, 0.0)], DARK),
        rod([(0, -0.25, 0.0), (0, -0.45, 0.2), (0, -0.5, 0.28)], 0.06, metal * 0.9),
        rod([(0, 0.27, 0.3), (0, 0.55, 0.25), (0, 0.55, -0.15), (0, 0.36, -0.3)], 0.05, DARK, rings=20, smooth=2),
    ]
    if look.active:
        parts.append(disc((0.37, 0, -0.33), 0.04, np.array([40.0, 60, 255]), 0.03))
    return _scaled(parts, look.size)


def _blender(look: _Look) -> list[Part]:
    drink = look.detail * 0.8 + np.array([30.0, 10, 50])
    if look.active:
        drink = drink * (1.0 + 0.12 * look.shake)
    parts = [
        lathe([(-0.5, 0.24), (-0.45, 0.25), (-0.2, 0.17), (-0.15, 0.16)], look.body),
        disc((0.235, 0, -0.36), 0.05, np.array([60.0, 240, 90]) if look.active else DARK, 0.03),
        lathe([(-0.15, 0.13), (0.18, 0.17)], drink),
        lathe([(0.18, 0.17), (0.38, 0.195)], np.array([214.0, 208, 196])),
        lathe([(0.38, 0.205), (0.45, 0.19), (0.46, 0.07), (0.5, 0.06), (0.5, 0.0)], DARK),
        rod([(0, 0.19, 0.3), (0, 0.33, 0.25), (0, 0.31, 0.0), (0, 0.15, -0.05)], 0.03, DARK, rings=16, smooth=2),
    ]
    return _scaled(_turned(parts, 1.5 * look.shake, 0), look.size)


def _vacuum(look: _Look) -> list[Part]:
    wheel = lathe([(-0.05, 0.0), (-0.05, 0.2), (0.05, 0.2), (0.05, 0.0)], DARK)
    parts = [
        lathe([(-0.35, 0.3), (-0.2, 0.5), (0.1, 0.48), (0.32, 0.25), (0.36, 0.0)], look.body),
        lathe([(-0.12, 0.505), (-0.06, 0.51), (0.0, 0.505)], DARK),
        rod(
            [(0.1, -0.3, 0.2), (0.1, -0.5, 0.75), (0.2, -0.75, 0.5), (0.45, -0.8, -0.4)],
            0.06,
            np.array([70.0, 70, 74]),
            rings=30,
            smooth=4,
        ),
        rod([(-0.1, -0.2, 0.32), (-0.1, 0.0, 0.46), (-0.1, 0.2, 0.32)], 0.045, DARK),
    ]
    parts += box((0.3, -1.05, -0.5), (0.65, -0.55, -0.38), look.detail, 3)
    for y in (-0.42, 0.42):
        parts += [(skin + [0.0, y, -0.3], colour) for skin, colour in _turned([wheel], 90, 0)]
    return _scaled(_turned(parts, 1.0 * look.shake, 0), look.size)


def _microwave(look: _Look) -> list[Part]:
    s = look.size
    parts = box((-0.55 * s, -0.85 * s, -0.5 * s), (0.5 * s, 0.85 * s, 0.5 * s), METAL * 0.6 + look.body * 0.4, 6)
    window = np.array([120.0, 190, 235]) if look.active else np.array([40.0, 42, 46])
    parts += _on(1, box((0.5 * s, -0.75 * s, -0.4 * s), (0.52 * s, 0.35 * s, 0.4 * s), DARK, 2))
    parts += _on(2, box((0.52 * s, -0.65 * s, -0.28 * s), (0.53 * s, 0.25 * s, 0.28 * s), window, 2))
    clock = np.array([90.0, 255, 140]) if look.active else np.array([40.0, 110, 60])
    parts += _on(1, box((0.5 * s, 0.45 * s, 0.2 * s), (0.53 * s, 0.78 * s, 0.36 * s), clock, 2))
    for row in range(3):
        z = (0.14 * row - 0.3) * s
        parts += _on(1, box((0.5 * s, 0.5 * s, z), (0.53 * s, 0.74 * s, z + 0.08 * s), WHITE, 1))
    return parts


def _door_with(look: _Look, knocker: bool) -> list[Part]:
    """A door in its frame, from the floor up; the handle (or the knocker) is the sounding point."""
    low = -look.above
    high = max(look.size + low, 0.75)
    half = 0.44
    frame = WHITE * 0.55 + look.detail * 0.45
    leaf_bgr = look.wood if look.shine < 0.6 else look.body * 0.6 + look.wood * 0.4
    parts = box((-0.10, -half, low), (-0.08, half, high), DARK * 0.9, 8)
    for left, right, bottom, top in (
        (-half - 0.09, -half, low, high + 0.08),
        (half, half + 0.09, low, high + 0.08),
        (-half, half, high, high + 0.08),
    ):
        parts += _on(1, box((-0.08, left, bottom), (0.05, right, top), frame, 6))
    leaf = box((-0.05, -half + 0.005, low + 0.01), (-0.005, half - 0.005, high - 0.005), leaf_bgr, 8)
    tall = high - low
    for bottom, top in ((0.07, 0.42), (0.53, 0.93)):
        for left, right in ((-0.36, -0.05), (0.05, 0.36)):
            z0, z1 = low + bottom * tall, low + top * tall
            leaf += _on(1, box((-0.004, left, z0), (0.003, right, z1), leaf_bgr * 0.72, 2))
            leaf += _on(2, box((0.003, left + 0.04, z0 + 0.04), (0.008, right - 0.04, z1 - 0.04), leaf_bgr * 1.08, 2))
    leaf += _on(2, box((-0.003, 0.355, -0.09), (0.006, 0.405, 0.07), METAL * 0.85, 2))
    leaf += _on(3, [rod([(0.005, 0.38, 0), (0.06, 0.38, 0), (0.07, 0.26, 0)], 0.016, METAL)])
    if knocker:
        # It hangs at the sounding point and strikes while it sounds.
        beat = 35.0 if look.active and look.step % 2 else 4.0
        brass = np.array([70.0, 150, 190])
        path = [(0.03, -0.05, 0.04), (0.035, -0.07, -0.03), (0.035, 0, -0.08), (0.035, 0.07, -0.03), (0.03, 0.05, 0.04)]
        ring = [rod(path, 0.014, brass, rings=20, smooth=1)]
        leaf += _on(3, [disc((0.01, 0, 0.05), 0.05, brass * 0.85, 0.03)])
        leaf += _on(4, _turned(ring, -beat, 1, (0.02, 0, 0.05)))
    return parts + _on(2, _turned(leaf, -65.0 * look.open, 2, (-0.03, -half, 0)))


def _door(look: _Look) -> list[Part]:
    return _door_with(look, knocker=False)


def _knock_door(look: _Look) -> list[Part]:
    look.open = 0.0
    return _door_with(look, knocker=True)


def _two_lobes(s: float, bgr: np.ndarray, thick: float, centre: float) -> list[Part]:
    """The body of a guitar or a cello: an outline with a waist, closed by lids."""
    z = np.linspace(-1, 1, 26)
    width = 0.19 * np.sqrt(np.clip(1 - z**2, 0, 1)) * (1 - 0.18 * z) - 0.055 * np.exp(-(((z - 0.12) / 0.22) ** 2))
    width = np.maximum(width, 0.004) * s
    up = centre + 0.25 * s * z
    across = np.linspace(-1, 1, 11)
    parts = []
    for sign in (1.0, -1.0):
        lid = np.stack(
            [
                np.full((26, 11), sign * thick) + sign * 0.012 * s * (1 - across**2)[None],
                -sign * across[None] * width[:, None],
                np.broadcast_to(up[:, None], (26, 11)),
            ],
            axis=-1,
        )
        parts.append(_paint(lid, bgr))
    for sign in (1.0, -1.0):
        rim = np.stack(
            [
                np.broadcast_to(np.array([thick, -thick]) * sign, (26, 2)),
                np.broadcast_to(sign * width[:, None], (26, 2)),
                np.broadcast_to(up[:, None], (26, 2)),
            ],
            axis=-1,
        )
        parts.append(_paint(rim[:, ::-1], bgr * 0.7))
    return parts


def _guitar(look: _Look) -> list[Part]:
    s = look.size
    parts = _two_lobes(s, look.wood * 1.1, 0.045 * s, -0.22 * s)
    parts += _on(1, [disc((0.06 * s, 0, -0.14 * s), 0.06 * s, DARK, 0.002)])
    parts += _on(1, box((0.045 * s, -0.07 * s, -0.36 * s), (0.065 * s, 0.07 * s, -0.33 * s), DARK, 2))
    parts += _on(2, box((0.02 * s, -0.026 * s, -0.08 * s), (0.06 * s, 0.026 * s, 0.40 * s), look.wood * 0.45, 8))
    parts += box((0.0, -0.04 * s, 0.40 * s), (0.04 * s, 0.04 * s, 0.50 * s), look.wood * 0.6, 3)
    for y in (-0.015, 0.0, 0.015):
        string = np.array([(0.068, y, -0.34), (0.07, y + 0.006 * look.shake, 0.0), (0.062, y, 0.42)]) * s
        parts += _on(3, [rod(string, 0.0025 * s, METAL, rings=8)])
    # A stand on three legs.
    foot = -look.above if look.above < s else -0.62 * s
    for x, y in ((0.12, -0.16), (0.12, 0.16), (-0.16, 0.0)):
        parts += [rod([(0, 0, -0.32 * s), (x * s, y * s, foot + 0.01)], 0.014 * s, DARK)]
    return parts


def _cello(look: _Look) -> list[Part]:
    s = look.size
    parts = _two_lobes(s, look.wood, 0.06 * s, -0.16 * s)
    for sign in (1, -1):
        hole = np.array([(0.078, sign * 0.06, -0.21), (0.08, sign * 0.075, -0.10)]) * s
        parts += _on(1, [rod(hole, 0.007 * s, DARK)])
    parts += _on(2, box((0.06 * s, -0.02 * s, -0.05 * s), (0.09 * s, 0.02 * s, 0.38 * s), DARK, 8))
    scroll = np.array([(0.06, 0, 0.38), (0.05, 0, 0.46), (0.1, 0, 0.49), (0.08, 0, 0.45)]) * s
    parts += [rod(scroll, 0.02 * s, look.wood * 0.6)]
    parts += [rod([(0, 0, -0.40 * s), (0, 0, -min(look.above, 0.6 * s))], 0.008 * s, METAL)]
    bow = np.array([(0.12, 0.05 * look.shake - 0.26, -0.13), (0.12, 0.05 * look.shake + 0.26, -0.11)]) * s
    return parts + _on(3, [rod(bow, 0.006 * s, look.wood * 0.5)])


def _drum(look: _Look) -> list[Part]:
    s = look.size
    parts = [
        lathe([(-0.12 * s, 0.34 * s), (0.12 * s, 0.34 * s)], look.body),
        lathe([(0.12 * s, 0.35 * s), (0.15 * s, 0.35 * s), (0.15 * s, 0.34 * s)], METAL),
        lathe([(-0.15 * s, 0.34 * s), (-0.15 * s, 0.35 * s), (-0.12 * s, 0.35 * s)], METAL),
        *_on(1, [lathe([(0.145 * s, 0.34 * s), (0.146 * s, 0.0)], WHITE)]),
    ]
    for angle in np.linspace(0.3, 2 * np.pi + 0.3, 8, endpoint=False):
        x, y = 0.35 * s * np.cos(angle), 0.35 * s * np.sin(angle)
        parts += [rod([(x, y, -0.12 * s), (x, y, 0.12 * s)], 0.014 * s, METAL, rings=6)]
    foot = -min(look.above, s)
    for angle in (0.5, 2.6, 4.7):
        x, y = 0.36 * s * np.cos(angle), 0.36 * s * np.sin(angle)
        parts += [rod([(x, y, 0.0), (1.15 * x, 1.15 * y, foot)], 0.016 * s, METAL * 0.7, rings=8)]
    for sign in (1, -1):
        lift = 0.10 * (1 + sign * (look.shake if look.active else 0.3))
        stick = np.array([(0.05, sign * 0.06, 0.16 + 0.3 * lift), (0.25, sign * 0.34, 0.22 + lift)]) * s
        parts += _on(2, [rod(stick, 0.014 * s, look.wood, rings=8)])
    return parts


def _keyboard(look: _Look) -> list[Part]:
    s = look.size
    parts = box((-0.6 * s, -1.7 * s, -0.25 * s), (0.6 * s, 1.7 * s, 0.0), DARK * 0.6 + look.body * 0.4, 8)
    parts += box((-0.6 * s, -1.7 * s, 0.0), (-0.1 * s, 1.7 * s, 0.22 * s), DARK * 0.6 + look.body * 0.35, 8)
    keys = 21
    for k in range(keys):
        y0 = -1.6 * s + 3.2 * s * k / keys
        down = 0.07 * s if look.active and k % 7 in (look.step, look.step + 3) else 0.0
        parts += _on(1, box((0.0, y0, 0.0), (0.58 * s, y0 + 3.0 * s / keys, 0.10 * s - down), WHITE, 1))
        if k % 7 not in (2, 6):
            edge = y0 + 3.2 * s / keys
            key = box((0.0, edge - 0.04 * s, 0.10 * s), (0.32 * s, edge + 0.04 * s, 0.16 * s), DARK, 1)
            parts += _on(2, key)
    return parts


def _cone(x: float, z: float, radius: float, look: _Look) -> list[Part]:
    push = 0.05 * radius * (1 + look.shake) if look.active else 0.0
    return [
        *_on(1, [disc((x, 0, z), radius * 1.12, METAL * 0.5, 0.004)]),
        *_on(2, [disc((x + 0.006 + push, 0, z), radius, np.array([58.0, 58, 62]), -0.004)]),
        *_on(3, [disc((x + 0.012 + push, 0, z), radius * 0.38, np.array([92.0, 92, 98]), 0.015)]),
    ]


def _loudspeaker(look: _Look) -> list[Part]:
    s = look.size
    parts = box((-0.3 * s, -0.3 * s, -0.5 * s), (0.3 * s, 0.3 * s, 0.5 * s), DARK * 0.8 + look.wood * 0.35, 8)
    parts += _cone(0.3 * s, -0.18 * s, 0.20 * s, look) + _cone(0.3 * s, 0.27 * s, 0.10 * s, look)
    if look.active:
        parts += [disc((0.305 * s, 0.22 * s, -0.45 * s), 0.02 * s, np.array([250.0, 180, 60]), 0.01)]
    return parts


def _radio(look: _Look) -> list[Part]:
    s = look.size
    parts = box((-0.35 * s, -0.8 * s, -0.5 * s), (0.3 * s, 0.8 * s, 0.4 * s), look.body, 8)
    parts += _moved(_cone(0.3 * s, -0.05 * s, 0.28 * s, look), [0, -0.38 * s, 0])
    glow = np.array([150.0, 235, 250]) if look.active else np.array([130.0, 150, 156])
    parts += _on(1, box((0.3 * s, 0.0, 0.0), (0.32 * s, 0.68 * s, 0.26 * s), glow, 2))
    parts += _on(1, [disc((0.33 * s, y * s, -0.25 * s), 0.1 * s, look.detail, 0.03) for y in (0.15, 0.5)])
    parts += [rod([(-0.2 * s, 0.6 * s, 0.4 * s), (-0.2 * s, 0.75 * s, 1.0 * s)], 0.015 * s, METAL, rings=6)]
    grip = [(-0.05, -0.6, 0.38), (-0.05, -0.5, 0.55), (-0.05, 0.4, 0.55), (-0.05, 0.5, 0.38)]
    return parts + [rod([(x * s, y * s, z * s) for x, y, z in grip], 0.04 * s, DARK, rings=16)]


def _hifi(look: _Look) -> list[Part]:
    s = look.size
    low = -min(look.above, 0.5 * s)
    parts = box((-0.16 * s, -0.14 * s, low), (0.16 * s, 0.14 * s, 0.5 * s), DARK * 0.6 + look.wood * 0.5, 10)
    for z, r in ((-0.16, 0.10), (0.10, 0.10), (0.33, 0.06)):
        parts += _cone(0.16 * s, z * s, r * s, look)
    return parts


def _tap_parts(look: _Look, s: float) -> list[Part]:
    """A tap whose outlet, with the stream below it, is the sounding point's neighbourhood."""
    metal = METAL * (0.85 + 0.3 * look.shine)
    neck = [(-0.22, 0, 0.0), (-0.22, 0, 0.36), (-0.08, 0, 0.46), (0.06, 0, 0.36), (0.06, 0, 0.26)]
    parts = [
        lathe([(-0.02, 0.09), (0.02, 0.07), (0.05, 0.05)], metal, (-0.22, 0, 0)),
        rod(neck, 0.035, metal, rings=26, smooth=2),
        rod([(-0.22, 0.0, 0.14), (-0.2, 0.2, 0.2)], 0.028, metal * 0.9),
    ]
    if look.active:
        water = np.array([250.0, 236, 214])
        parts.append(rod([(0.06, 0, 0.27), (0.06, 0.006 * look.shake, 0.05), (0.06, 0, -0.1)], 0.022, water))
    return _scaled(parts, s)


def _basin(look: _Look) -> list[Part]:
    s = look.size
    bowl = [
        (-0.42, 0.10),
        (-0.38, 0.28),
        (-0.2, 0.48),
        (-0.06, 0.56),
        (-0.02, 0.57),
        (0.0, 0.55),
        (-0.02, 0.5),
        (-0.1, 0.42),
        (-0.18, 0.0),
    ]
    parts = [lathe([(z * s, r * s) for z, r in bowl], WHITE, (0.1 * s, 0, 0))]
    parts += [lathe([(-min(look.above, 2.2 * s), 0.17 * s), (-0.9 * s, 0.11 * s), (-0.4 * s, 0.14 * s)], WHITE * 0.95)]
    return parts + _on(1, _tap_parts(look, s))


def _sink(look: _Look) -> list[Part]:
    s = look.size
    low = -min(look.above, 2.2 * s)
    parts = box((-0.5 * s, -0.9 * s, low), (0.55 * s, 0.9 * s, -0.12 * s), look.wood, 8)
    for y in (-0.87, 0.03):
        parts += _on(1, box((0.55 * s, y * s, low + 0.08), (0.57 * s, (y + 0.84) * s, -0.2 * s), look.wood * 0.86, 1))
        grip = np.array([(0.6, y + 0.34, -0.32), (0.6, y + 0.5, -0.32)]) * s
        parts += _on(2, [rod(grip, 0.018 * s, METAL)])
    parts += _on(2, box((-0.52 * s, -0.95 * s, -0.12 * s), (0.6 * s, 0.95 * s, -0.04 * s), METAL * 0.95, 1))
    parts += _on(3, box((-0.2 * s, -0.45 * s, -0.041 * s), (0.4 * s, 0.45 * s, -0.035 * s), METAL * 0.5, 1))
    return parts + _on(4, _tap_parts(look, s))


def _desk_bell(look: _Look) -> list[Part]:
    gold = np.array([70.0, 170, 214]) * (0.8 + 0.3 * look.shine) if look.shine > 0.4 else METAL * 1.15
    press = 0.06 if look.active and look.step % 2 else 0.0
    return _scaled(
        [
            lathe([(-0.5, 0.55), (-0.4, 0.55), (-0.4, 0.45)], look.body * 0.6),
            lathe([(-0.36, 0.56), (-0.2, 0.54), (0.05, 0.42), (0.2, 0.24), (0.26, 0.08)], gold),
            lathe(
                [(0.26, 0.06), (0.34 - press, 0.06), (0.36 - press, 0.12), (0.46 - press, 0.1), (0.5 - press, 0.0)],
                METAL,
            ),
        ],
        look.size,
    )


def _hand_bell(look: _Look) -> list[Part]:
    s = look.size
    gold = np.array([60.0, 160, 208]) * (0.8 + 0.3 * look.shine)
    parts = [
        lathe([(-0.5 * s, 0.0), (-0.48 * s, 0.08 * s), (-0.42 * s, 0.08 * s), (-0.4 * s, 0.0)], DARK),
        lathe(
            [(-0.4 * s, 0.36 * s), (-0.34 * s, 0.32 * s), (-0.15 * s, 0.22 * s), (0.0, 0.17 * s), (0.06 * s, 0.06 * s)],
            gold,
        ),
        lathe(
            [(0.06 * s, 0.05 * s), (0.2 * s, 0.07 * s), (0.4 * s, 0.06 * s), (0.48 * s, 0.07 * s), (0.5 * s, 0.0)],
            look.wood,
        ),
    ]
    return _turned(parts, 16 * look.shake, 0, (0, 0, 0.5 * s))


def _wall_bell(look: _Look) -> list[Part]:
    s = look.size
    red = look.body * 0.4 + np.array([30.0, 30, 130])
    parts = box((-0.25 * s, -0.3 * s, -0.5 * s), (-0.1 * s, 0.3 * s, 0.5 * s), look.detail, 4)
    parts += [
        *_on(1, [disc((-0.1 * s, 0, 0.08 * s), 0.34 * s, red, 0.22 * s, 8)]),
        *_on(2, [disc((0.12 * s, 0, 0.08 * s), 0.05 * s, METAL, 0.02)]),
    ]
    tip = 0.05 * s * look.shake
    parts += _on(1, [rod([(0.0, 0, -0.42 * s), (0.02 * s, tip, -0.3 * s)], 0.03 * s, METAL)])
    return parts


def _box(look: _Look) -> list[Part]:
    s = look.size
    parts = box((-0.5 * s, -0.5 * s, -0.5 * s), (0.5 * s, 0.5 * s, 0.5 * s), look.body, 6)
    return parts + _cone(0.5 * s, 0.0, 0.28 * s, look)


MAKERS: dict[str, Callable[[_Look], list[Part]]] = {
    "desk_phone": _desk_phone, "mobile_phone": _mobile_phone, "wall_phone": _wall_phone, "kettle": _kettle,
    "blender": _blender, "vacuum": _vacuum, "microwave": _microwave, "door": _door, "knock_door": _knock_door,
    "guitar": _guitar, "cello": _cello, "drum": _drum, "keyboard": _keyboard, "loudspeaker": _loudspeaker,
    "radio": _radio, "hifi": _hifi, "basin": _basin, "sink": _sink, "desk_bell": _desk_bell, "hand_bell": _hand_bell,
    "wall_bell": _wall_bell, "box": _box,
}  # fmt: skip
STANDS_ON_FLOOR = ("door", "knock_door", "guitar", "cello", "drum", "vacuum", "hifi", "basin", "sink")


def bottom_m(kind: str, size_m: float) -> float:
    """How far a thing reaches below its sounding point, metres, without what it stands on."""
    return {"keyboard": 0.25, "mobile_phone": 0.54}.get(kind, 0.5) * size_m


def stand_of(kind: str, size_m: float, above_floor_m: float, near_wall: bool, moving: bool) -> str | None:
    """What keeps a thing up: "table", "pole" or None (it stands on the floor or hangs at the wall)."""
    if kind in STANDS_ON_FLOOR or above_floor_m - bottom_m(kind, size_m) < 0.1:
        return None
    if THING_PLACES.get(kind, THING_PLACES["box"])[3] == "wall":
        return None if near_wall and not moving else "pole"
    return "pole" if moving or above_floor_m - bottom_m(kind, size_m) > 1.15 else "table"


def thing_sprite(
    appearance: Mapping,
    size_m: float,
    *,
    above_floor_m: float,
    active: bool,
    step: int,
    opening: int,
    view_deg: float,
    pitch_deg: float,
    scale: float,
    light: Light,
    pole: bool = False,
) -> Sprite:
    """Sprite of a thing; heights count from its sounding point.

    Parameters
    ----------
    above_floor_m : height of the sounding point: what stands on the floor reaches down to it
    active, step : whether it sounds; phase of its movement (0 to STEPS - 1)
    opening : of a door, 0 (shut) to OPENINGS - 1
    view_deg : angle from the way to the listener to its front
    pitch_deg : how far the listener looks down on it
    pole : whether a pole on a foot carries it
    """
    kind = str(appearance.get("kind", "box"))
    look = _Look(appearance, size_m, above_floor_m, active, step, opening)
    parts = MAKERS.get(kind, _box)(look)
    if pole:
        low = -bottom_m(kind, size_m)
        parts = parts + [
            rod([(0, 0, -above_floor_m), (0, 0, low)], 0.018, METAL * 0.6, rings=16, smooth=0),
            lathe([(-above_floor_m, 0.20), (-above_floor_m + 0.02, 0.19), (-above_floor_m + 0.05, 0.02)], METAL * 0.4),
        ]
    quads, colour, layer = quads_of([(part[0], np.clip(part[1], 0, 255), *part[2:]) for part in parts])
    sprite = draw_quads(quads, colour, view_deg, scale, light, layer=layer, pitch_deg=pitch_deg)
    if active and kind == "kettle":
        return _with_steam(sprite, size_m, step)
    return sprite


def _with_steam(sprite: Sprite, size_m: float, step: int) -> Sprite:
    """Puffs above the spout, translucent: the outline, and with it the box, stays that of the kettle."""
    picture = sprite.levels[0]
    extra = round(0.9 * size_m * sprite.scale)
    tall = cv2.copyMakeBorder(picture, extra, 0, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    puffs = np.zeros(tall.shape[:2], dtype=np.float32)
    for k in range(4):
        rise = ((k + step / STEPS) / 4) * extra
        x = (
            -sprite.left_m * sprite.scale
            - 0.35 * size_m * sprite.scale
            + 0.1 * size_m * sprite.scale * np.sin(2.2 * k + step)
        )
        radius = max((0.08 + 0.05 * k) * size_m * sprite.scale, 1.0)
        cv2.circle(puffs, (round(x), round(extra - rise + 0.15 * extra)), round(radius), 0.30 - 0.05 * k, -1)
    puffs = cv2.GaussianBlur(puffs, (0, 0), max(0.06 * size_m * sprite.scale, 0.5))[..., None]
    tall = np.clip(tall * (1 - puffs) + puffs * 245, 0, 255)
    alpha = tall[..., 3:]
    tall = np.concatenate([np.minimum(tall[..., :3], alpha), alpha], axis=-1).astype(np.uint8)
    steamed = make_sprite(tall, sprite.scale, sprite.left_m, sprite.top_m + extra / sprite.scale, centre=False)
    steamed.outline_m = sprite.outline_m
    return steamed
