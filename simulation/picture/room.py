"""The empty room: every pixel's direction cast onto the shoebox and its furniture, textured and lit, once per clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from simulation.picture.sampling import bgr_from_hsv
from simulation.scene import Room
from util.camera import Camera, Equirectangular

SUPERSAMPLING = 2
NOISE_SIZE = 512
BAND_ROWS = 48
# How far furniture keeps away from the paths of people and things, metres.
CLEARANCE_M = 0.55


@dataclass(frozen=True)
class Cuboid:
    """An axis-parallel box in listener coordinates.

    Attributes
    ----------
    low, high : corners, metres
    bgr : colour
    skin : "plain", "wood", "books", "doors", "cloth", "leaves" (an ellipsoid with holes), "round" (an ellipsoid)
    """

    low: np.ndarray
    high: np.ndarray
    bgr: np.ndarray
    skin: str = "plain"


@dataclass(frozen=True)
class RoomPicture:
    """The drawn room: picture (h, w, 3) BGR uint8 and the distance in metres that each pixel shows (h, w) float32."""

    bgr: np.ndarray
    depth_m: np.ndarray


def camera_directions(camera: Camera, supersampling: int = 1) -> np.ndarray:
    """Directions of the (sub-)pixels' centres: (h * s, w * s, 3) float32."""
    x = (np.arange(camera.width * supersampling) + 0.5) / supersampling
    y = (np.arange(camera.height * supersampling) + 0.5) / supersampling
    if isinstance(camera, Equirectangular):
        # The same numbers as the general way below, from one row and one column of them.
        around = camera.direction(np.stack([x, np.full_like(x, camera.height / 2)], axis=-1)).astype(np.float32)
        upright = camera.direction(np.stack([np.full_like(y, camera.width / 2), y], axis=-1)).astype(np.float32)
        full = np.empty((len(y), len(x), 3), dtype=np.float32)
        full[..., :2] = upright[:, None, :1] * around[None, :, :2]
        full[..., 2] = upright[:, None, 2]
        return full
    return camera.direction(np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1)).astype(np.float32)


class _Texture:
    """Cloudy noise and grain, looked up by coordinates in metres."""

    def __init__(self, rng: np.random.Generator):
        base = rng.standard_normal((NOISE_SIZE, NOISE_SIZE)).astype(np.float32)
        self.grain = base
        self.cloud = np.zeros_like(base)
        for octave, weight in ((4, 0.5), (16, 0.3), (64, 0.2)):
            small = rng.standard_normal((octave, octave)).astype(np.float32)
            tiled = np.tile(small, (3, 3))
            big = cv2.resize(tiled, (3 * NOISE_SIZE, 3 * NOISE_SIZE), interpolation=cv2.INTER_CUBIC)
            self.cloud += weight * big[NOISE_SIZE : 2 * NOISE_SIZE, NOISE_SIZE : 2 * NOISE_SIZE]
        self.hash = rng.random((64, 64)).astype(np.float32)

    def look(self, table: np.ndarray, u: np.ndarray, v: np.ndarray, per_m: float) -> np.ndarray:
        mask = NOISE_SIZE - 1
        return table[(v * per_m).astype(np.int32) & mask, (u * per_m).astype(np.int32) & mask]

    def cell(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """A fixed random number per cell of a pattern."""
        return self.hash[i.astype(np.int32) & 63, j.astype(np.int32) & 63]


def _edge(value: np.ndarray, period: float, line: float) -> np.ndarray:
    """Mask of the lines of a grid: where value modulo period is below line."""
    return np.mod(value, period) < line


class _RoomPainter:
    """Everything random of one room, drawn in a fixed order so that the same parameters give the same room."""

    def __init__(self, room: Room, look: Mapping, clear_xy: np.ndarray):
        self.rng = np.random.default_rng(int(look.get("seed", 0)))
        # Single precision throughout: a double among the factors would double the time of the whole picture.
        self.low = -np.array(room.listener_m, dtype=np.float32)
        self.high = np.array(room.size_m, dtype=np.float32) + self.low
        self.look = look
        self.noise = _Texture(self.rng)
        self.wall_bgr = bgr_from_hsv(look.get("wall_hsv", (0.1, 0.08, 0.85)))
        self.accent_bgr = bgr_from_hsv(look.get("accent_hsv", (0.55, 0.3, 0.6)))
        self.floor_bgr = bgr_from_hsv(look.get("floor_hsv", (0.08, 0.4, 0.55)))
        self.wood_bgr = bgr_from_hsv(look.get("wood_hsv", (0.08, 0.45, 0.5)))
        self.fabric_bgr = bgr_from_hsv(look.get("fabric_hsv", (0.6, 0.3, 0.5)))
        self.ceiling_bgr = np.full(3, 255.0 * float(look.get("ceiling_value", 0.9)), dtype=np.float32)
        self.accent_wall = int(self.rng.integers(4))
        self.clear_xy = clear_xy
        self.lamps = self._lamps()
        self.openings = self._wall_pieces()
        self.blocks = self._furniture()
        self.rug = self._rug()

    # --------------------------------------------------------------------------------------------- arrangement

    def _lamps(self) -> np.ndarray:
        """Centres (n, 3) of ceiling lamps."""
        size = self.high - self.low
        count = np.clip(np.round(size[:2] / 2.6).astype(int), 1, 3)
        x = self.low[0] + size[0] * (np.arange(count[0]) + 0.5) / count[0]
        y = self.low[1] + size[1] * (np.arange(count[1]) + 0.5) / count[1]
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        return np.column_stack([grid, np.full(len(grid), self.high[2])]).astype(np.float32)

    def _wall_span(self, wall: int) -> tuple[float, float]:
        """Extent along a wall: walls 0, 1 are x = low, high (along y), walls 2, 3 are y = low, high (along x)."""
        axis = 1 if wall < 2 else 0
        return float(self.low[axis]), float(self.high[axis])

    def _wall_pieces(self) -> list[tuple[str, int, float, float, float, float, np.ndarray]]:
        """Windows, pictures and boards: (kind, wall, from, to along the wall, bottom, top above the floor, colour)."""
        pieces = []
        height = float(self.high[2] - self.low[2])
        free: dict[int, list[tuple[float, float]]] = {wall: [] for wall in range(4)}

        def place(kind: str, wall: int, width: float, bottom: float, top: float, colour: np.ndarray) -> None:
            start, end = self._wall_span(wall)
            if end - start < width + 0.5:
                return
            for _ in range(6):
                left = float(self.rng.uniform(start + 0.2, end - 0.2 - width))
                if all(left + width + 0.15 < a or left > b + 0.15 for a, b in free[wall]):
                    free[wall].append((left, left + width))
                    pieces.append((kind, wall, left, left + width, bottom, min(top, height - 0.15), colour))
                    return

        window_wall = int(self.rng.integers(4))
        for _ in range(int(self.look.get("windows", 2))):
            place("window", window_wall, float(self.rng.uniform(0.9, 1.6)), 0.9, 2.15, self.fabric_bgr)
        for _ in range(int(self.rng.integers(2, 6))):
            wall = int(self.rng.integers(4))
            bottom = float(self.rng.uniform(1.15, 1.4))
            colour = self.rng.uniform(40, 220, 3).astype(np.float32)
            kind = "picture" if self.rng.random() < 0.75 else "board"
            width = float(self.rng.uniform(0.35, 0.9)) * (1.0 if kind == "picture" else 1.6)
            place(kind, wall, width, bottom, bottom + float(self.rng.uniform(0.4, 0.75)), colour)
        return pieces

    def _is_clear(self, low: np.ndarray, high: np.ndarray, margin: float = CLEARANCE_M) -> bool:
        """Whether no path leads through a footprint and nothing that must be seen lies behind it."""
        if np.all(low[:2] - 0.8 < 0) and np.all(high[:2] + 0.8 > 0):
            return False
        if not len(self.clear_xy):
            return True
        # Also the way from the listener to each point of a path stays free: people are to be seen.
        points = (self.clear_xy[None] * np.linspace(0.15, 1.0, 12)[:, None, None]).reshape(-1, 2)
        inside = np.all((points > low[:2] - margin) & (points < high[:2] + margin), axis=1)
        return not inside.any()

    def _furniture(self) -> list[Cuboid]:
        blocks: list[Cuboid] = []
        taken: list[tuple[np.ndarray, np.ndarray]] = []
        makers = {
            "shelf": (1.0, 0.34, 1.9), "cabinet": (1.1, 0.45, 0.9), "sofa": (1.9, 0.85, 0.85),
            "table": (1.3, 0.75, 0.74), "plant": (0.8, 0.8, 1.1), "wardrobe": (1.1, 0.6, 2.0),
            "chair": (0.45, 0.48, 0.9), "lamp": (0.6, 0.6, 1.6),
        }  # fmt: skip
        tries = round(16 * float(self.look.get("furniture", 0.6)))
        floor = float(self.low[2])
        for _ in range(tries):
            kind = str(self.rng.choice(list(makers)))
            width, depth, height = np.array(makers[kind]) * self.rng.uniform(0.85, 1.2, 3)
            wall = int(self.rng.integers(4))
            start, end = self._wall_span(wall)
            place = self.rng.uniform()
            shade = self.rng.uniform(0.75, 1.2)
            if end - start < width + 0.1 or height > self.high[2] - floor - 0.1:
                continue
            left = start + 0.05 + place * (end - start - width - 0.1)
            low, high = np.zeros(3), np.zeros(3)
            across, along = (0, 1) if wall < 2 else (1, 0)
            low[along], high[along] = left, left + width
            if wall % 2 == 0:
                low[across], high[across] = self.low[across] + 0.01, self.low[across] + 0.01 + depth
            else:
                low[across], high[across] = self.high[across] - 0.01 - depth, self.high[across] - 0.01
            low[2], high[2] = floor, floor + height
            if not self._is_clear(low, high):
                continue
            if any(np.all((low[:2] < b[:2] + 0.05) & (high[:2] > a[:2] - 0.05)) for a, b in taken):
                continue
            covered = [
                p for p in self.openings if p[0] == "window" and p[1] == wall and p[2] < left + width and p[3] > left
            ]
            if covered and height > 1.0:
                continue
            taken.append((low, high))
            blocks += self._piece(kind, low, high, wall, shade)
        return blocks

    def _piece(self, kind: str, low: np.ndarray, high: np.ndarray, wall: int, shade: float) -> list[Cuboid]:
        wood, cloth = np.clip(self.wood_bgr * shade, 0, 255), np.clip(self.fabric_bgr * shade, 0, 255)
        across = 0 if wall < 2 else 1
        inward = 1.0 if wall % 2 == 0 else -1.0

        def sub(a: Sequence[float], b: Sequence[float], bgr: np.ndarray, skin: str = "wood") -> Cuboid:
            """A block in the piece's own unit coordinates (along the wall, from the wall inwards, up)."""
            corners = np.array([a, b], dtype=np.float64)
            size = high - low
            along = 1 - across
            world = np.zeros((2, 3))
            world[:, along] = low[along] + corners[:, 0] * size[along]
            if inward > 0:
                world[:, across] = low[across] + corners[:, 1] * size[across]
            else:
                world[:, across] = high[across] - corners[:, 1] * size[across]
            world[:, 2] = low[2] + corners[:, 2] * size[2]
            return Cuboid(world.min(axis=0), world.max(axis=0), bgr, skin)

        if kind == "shelf":
            rows = [sub((0.03, 0.05, 0.05 + 0.19 * k), (0.97, 0.85, 0.20 + 0.19 * k), cloth, "books") for k in range(5)]
            boards = [sub((0, 0, 0.02 + 0.19 * k), (1, 1, 0.05 + 0.19 * k), wood) for k in range(6)]
            return [*rows, *boards, sub((0, 0, 0), (0.03, 1, 1), wood), sub((0.97, 0, 0), (1, 1, 1), wood)]
        if kind in ("cabinet", "wardrobe"):
            return [sub((0, 0, 0), (1, 1, 1), wood, "doors")]
        if kind == "sofa":
            return [
                sub((0, 0, 0.08), (1, 1, 0.5), cloth, "cloth"),
                sub((0, 0, 0.08), (1, 0.3, 1), cloth * 0.95, "cloth"),
                sub((0, 0, 0.08), (0.11, 1, 0.72), cloth * 0.9, "cloth"),
                sub((0.89, 0, 0.08), (1, 1, 0.72), cloth * 0.9, "cloth"),
                sub((0.13, 0.3, 0.5), (0.49, 0.95, 0.58), np.clip(cloth * 1.08, 0, 255), "cloth"),
                sub((0.51, 0.3, 0.5), (0.87, 0.95, 0.58), np.clip(cloth * 1.08, 0, 255), "cloth"),
            ]
        if kind in ("table", "chair"):
            top = 1.0 if kind == "table" else 0.5
            legs = [
                sub((x, y, 0), (x + 0.06, y + 0.08, top - 0.03), wood * 0.85)
                for x in (0.02, 0.92)
                for y in (0.02, 0.90)
            ]
            extra = [sub((0.02, 0.0, top), (0.98, 0.10, 1.0), wood)] if kind == "chair" else []
            if kind == "table":
                extra = [
                    sub((0.15, 0.3, 1.0), (0.32, 0.6, 1.03), self.accent_bgr, "plain"),
                    sub((0.38, 0.2, 1.0), (0.80, 0.24, 1.40), np.array([150.0, 140, 128]), "plain"),
                    sub((0.36, 0.24, 1.0), (0.82, 0.7, 1.02), np.array([120.0, 118, 116]), "plain"),
                ]
            return [sub((0, 0, top - 0.05), (1, 1, top), wood), *legs, *extra]
        if kind == "plant":
            leaf = np.array([46.0, 108.0, 62.0]) * shade
            return [
                sub((0.25, 0.25, 0), (0.75, 0.75, 0.28), np.clip(self.accent_bgr, 0, 255), "plain"),
                sub((0, 0, 0.25), (1, 1, 1), leaf, "leaves"),
            ]
        return [
            sub((0.47, 0.47, 0.0), (0.53, 0.53, 0.86), np.array([60.0, 60, 62]), "plain"),
            sub((0.2, 0.2, 0), (0.8, 0.8, 0.02), np.array([60.0, 60, 62]), "plain"),
            sub((0.0, 0.0, 0.84), (1.0, 1.0, 1.0), np.array([176.0, 210, 232]), "lamp"),
        ]

    def _rug(self) -> tuple[np.ndarray, np.ndarray, bool] | None:
        if self.rng.random() < 0.45:
            return None
        centre = self.rng.uniform(0.35, 0.65, 2) * (self.high - self.low)[:2] + self.low[:2]
        half = self.rng.uniform(0.6, 1.3, 2)
        return centre, half, bool(self.rng.random() < 0.4)

    # ------------------------------------------------------------------------------------------------- drawing

    def _light(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, normal: Sequence | np.ndarray) -> np.ndarray:
        """Irradiance factors (n,) at points with a unit normal (three numbers or arrays): lamps, windows, bounce."""
        total = np.full(x.shape, 0.66, dtype=np.float32)
        strength = float(1.05 / np.sqrt(len(self.lamps)))
        for lamp in self.lamps.tolist():
            ways = (lamp[0] - x, lamp[1] - y, lamp[2] - 0.12 - z)
            square = ways[0] * ways[0] + ways[1] * ways[1] + ways[2] * ways[2]
            cosine = sum(way * n for way, n in zip(ways, normal) if not isinstance(n, float) or n != 0.0)
            total += strength * np.clip(cosine, 0, None) / (np.sqrt(square) * (square + 1.2))
        angle = np.deg2rad(float(self.look.get("light_deg", 0.0)))
        towards = float(np.cos(angle)) * normal[0] + float(np.sin(angle)) * normal[1] + 0.25 * normal[2]
        return total + 0.16 * np.clip(towards, -0.6, 1.0)

    def _light_at(self, points: np.ndarray, normal: Sequence | np.ndarray) -> np.ndarray:
        """As `_light`, of points (n, 3)."""
        return self._light(points[:, 0], points[:, 1], points[:, 2], normal)

    def _wall_colour(self, wall: int, along: np.ndarray, up: np.ndarray) -> np.ndarray:
        kind = str(self.look.get("wall", "paint"))
        base = self.wall_bgr
        if wall == self.accent_wall and kind in ("paint", "plaster"):
            base = self.accent_bgr * 0.5 + self.wall_bgr * 0.5
        colour: np.ndarray = np.broadcast_to(base, (*along.shape, 3)).astype(np.float32).copy()
        cloud = self.noise.look(self.noise.cloud, along + 3 * wall, up, 70)
        shade = 1 + 0.03 * cloud
        if kind == "wallpaper":
            stripe = _edge(along, 0.22, 0.11)
            dots = (np.mod(along, 0.11) - 0.055) ** 2 + (np.mod(up, 0.15) - 0.075) ** 2 < 0.0005
            colour = np.where((stripe & ~dots)[..., None], colour * 0.92 + self.accent_bgr * 0.06, colour)
            colour = np.where(dots[..., None], colour * 0.9 + self.accent_bgr * 0.1, colour)
        elif kind == "brick":
            row = np.floor(up / 0.075)
            shifted = along + 0.11 * np.mod(row, 2)
            mortar = _edge(up, 0.075, 0.010) | _edge(shifted, 0.22, 0.010)
            brick = 0.8 + 0.35 * self.noise.cell(row, np.floor(shifted / 0.22))
            tone = self.wall_bgr * np.array([0.55, 0.66, 0.92], dtype=np.float32)
            colour = np.where(mortar[..., None], self.wall_bgr * 0.95, tone * brick[..., None])
        elif kind == "panel":
            low = up < 1.0
            groove = _edge(along, 0.14, 0.008)
            wood = self.wood_bgr * (1.05 + 0.12 * self.noise.look(self.noise.cloud, along * 3, up * 0.4, 90))[..., None]
            colour = np.where(low[..., None], np.where(groove[..., None], wood * 0.6, wood), colour)
            colour = np.where((np.abs(up - 1.0) < 0.03)[..., None], self.wood_bgr * 0.8, colour)
        elif kind == "plaster":
            shade = 1 + 0.06 * cloud + 0.012 * self.noise.look(self.noise.grain, along, up, 160)
        colour = colour * shade[..., None]
        board = up < 0.09
        return np.where(board[..., None], np.where((up > 0.08)[..., None], 120.0, 215.0), colour)

    def _piece_colour(self, piece: tuple, along: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Colour of a window, picture or board at wall coordinates (absolute, metres)."""
        kind, wall, left, right, bottom, top, bgr = piece
        u, v = (along - left) / (right - left), (up - bottom) / (top - bottom)
        border = np.minimum(np.minimum(along - left, right - along), np.minimum(up - bottom, top - up))
        if kind == "window":
            outdoor = str(self.look.get("outdoor", "sky"))
            sky_top, sky_low, ground = {
                "sky": ((232, 190, 140), (246, 228, 210), (150, 170, 160)),
                "garden": ((226, 196, 160), (240, 226, 214), (60, 120, 86)),
                "street": ((214, 206, 200), (226, 220, 216), (120, 122, 128)),
                "dusk": ((120, 74, 60), (110, 130, 200), (46, 44, 46)),
            }[outdoor]
            mix = np.clip((v - 0.3) / 0.7, 0, 1)[..., None]
            sky = np.array(sky_low) * (1 - mix) + np.array(sky_top) * mix
            sky = sky + 14 * np.clip(self.noise.look(self.noise.cloud, along * 2, up * 2, 110), 0, 2)[..., None]
            hill = 0.30 + 0.08 * np.sin(along * 2.1 + wall) + 0.05 * np.sin(along * 5.3)
            if outdoor == "street":
                hill = 0.34 + 0.4 * self.noise.cell(np.floor(along / 0.35), np.floor(along * 0) + wall)
            texture = 0.8 + 0.25 * self.noise.look(self.noise.cloud, along * 6, up * 6, 100)
            colour = np.where((v < hill)[..., None], np.array(ground) * texture[..., None], sky)
            bars = (
                (np.abs(u - 0.5) * (right - left) < 0.025)
                | (np.abs(v - 0.55) * (top - bottom) < 0.018)
                | (border < 0.055)
            )
            colour = np.where(bars[..., None], np.where((border < 0.012)[..., None], 150.0, 232.0), colour)
            curtain = np.minimum(u, 1 - u) * (right - left) < 0.16
            folds = 0.86 + 0.14 * np.sin(along * 95)
            return np.where((curtain & (v < 1.01))[..., None], bgr * folds[..., None], colour).astype(np.float32)
        if kind == "board":
            marks = (
                _edge(up, 0.12, 0.02)
                & (self.noise.cell(np.floor(along / 0.03), np.floor(up / 0.12)) > 0.35)
                & (v < 0.8)
            )
            colour = np.where(marks[..., None], 150.0, 240.0) * np.ones((*along.shape, 3))
            return np.where((border < 0.03)[..., None], 110.0, colour).astype(np.float32)
        art = np.stack([self.noise.look(self.noise.cloud, along * s, up * s, 60) for s in (2.0, 3.0, 4.5)], axis=-1)
        mix = np.clip(v, 0, 1)[..., None]
        colour = np.clip(bgr * (0.65 + 0.5 * mix) + 60 * art, 0, 255)
        colour = np.where(((border > 0.03) & (border < 0.075))[..., None], 226.0, colour)
        return np.where((border < 0.03)[..., None], self.wood_bgr * 0.6, colour).astype(np.float32)

    def _floor_colour(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        kind, step = str(self.look.get("floor", "planks")), float(self.look.get("floor_scale_m", 0.15))
        base = self.floor_bgr
        if kind in ("planks", "parquet"):
            wide = 0.06 + step * 0.35
            if kind == "parquet":
                swap = (np.floor(x / (4 * wide)) + np.floor(y / (4 * wide))) % 2 > 0
                x, y = np.where(swap, y, x), np.where(swap, x, y)
            row = np.floor(x / wide)
            length = 4 * wide if kind == "parquet" else 1.1
            offset = y + length * self.noise.cell(row, row * 0)
            tone = 0.86 + 0.28 * self.noise.cell(row, np.floor(offset / length))
            grain = 1 + 0.06 * self.noise.look(self.noise.cloud, x * 7, y * 0.8, 120)
            seam = _edge(x, wide, 0.004) | _edge(offset, length, 0.005)
            return np.where(seam[..., None], base * 0.55, base * (tone * grain)[..., None]).astype(np.float32)
        if kind == "tiles":
            wide = 0.2 + step
            tone = 0.93 + 0.12 * self.noise.cell(np.floor(x / wide), np.floor(y / wide))
            pale = base * 0.35 + 150
            dark = (np.floor(x / wide) + np.floor(y / wide)) % 2 > 0 if step > 0.3 else np.zeros(x.shape, bool)
            tile = np.where(dark[..., None], pale * 0.72, pale) * tone[..., None]
            joint = _edge(x, wide, 0.008) | _edge(y, wide, 0.008)
            return np.where(joint[..., None], pale * 0.7, tile).astype(np.float32)
        if kind == "carpet":
            cloth = self.fabric_bgr * 0.55 + base * 0.35
            grain = (
                1
                + 0.05 * self.noise.look(self.noise.grain, x, y, 110)
                + 0.05 * self.noise.look(self.noise.cloud, x, y, 90)
            )
            return (cloth * grain[..., None]).astype(np.float32)
        grey = base.mean() * 0.5 + base * 0.3 + 30
        return (grey * (1 + 0.08 * self.noise.look(self.noise.cloud, x, y, 80))[..., None]).astype(np.float32)

    def _hit_shell(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions (h, w, 3) -> face (h, w) uint8 (2 axis + 1 if on the high side) and distance (h, w)."""
        face = np.zeros(direction.shape[:2], dtype=np.uint8)
        depth = np.full(direction.shape[:2], np.inf, dtype=np.float32)
        for axis in range(3):
            way = direction[..., axis]
            high = way > 0
            bound = np.where(high, self.high[axis], self.low[axis])
            reach = bound / np.where(np.abs(way) > 1e-7, way, np.where(high, np.float32(1e-7), np.float32(-1e-7)))
            nearer = reach < depth
            np.copyto(depth, reach, where=nearer)
            np.copyto(face, high.astype(np.uint8) + np.uint8(2 * axis), where=nearer)
        return face, depth

    def _paint_shell(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions (h, w, 3) -> colours (h, w, 3) float32 and distances (h, w)."""
        face, depth = self._hit_shell(direction)
        colour = np.empty_like(direction)
        flat_way, flat_depth, flat_colour = direction.reshape(-1, 3), depth.reshape(-1), colour.reshape(-1, 3)
        for number in range(6):
            index = np.flatnonzero(face.reshape(-1) == number)
            if not index.size:
                continue
            reach = flat_depth[index]
            x, y, z = (flat_way[index, axis] * reach for axis in range(3))
            if number < 4:
                flat_colour[index] = self._wall(x, y, z, number)
            else:
                flat_colour[index] = (self._floor if number == 4 else self._ceiling)(x, y, z)
        return colour, depth

    def _wall(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, wall: int) -> np.ndarray:
        """Lit colours (n, 3) of points (n,) on a wall, with what hangs on it."""
        across, along = (0, 1) if wall < 2 else (1, 0)
        u, v = (y if along == 1 else x), z - self.low[2]
        paint = self._wall_colour(wall, u, v)
        corner = np.minimum(u - self.low[along], self.high[along] - u)
        ceiling = np.minimum(v, self.high[2] - self.low[2] - v)
        normal = [0.0, 0.0, 0.0]
        normal[across] = -1.0 if wall % 2 else 1.0
        light = self._light(x, y, z, normal)
        light *= (1 - 0.22 * np.exp(-corner / 0.22)) * (1 - 0.20 * np.exp(-ceiling / 0.18))
        for piece in self.openings:
            kind, where, left, right, bottom, top, _ = piece
            if where != wall:
                continue
            margin = 0.12
            near = np.flatnonzero(
                (u > left - margin) & (u < right + margin) & (v > bottom - margin) & (v < top + margin)
            )
            out = np.maximum(np.maximum(left - u[near], u[near] - right), np.maximum(bottom - v[near], v[near] - top))
            around, inside = near[out > 0], near[out <= 0]
            paint[around] *= (1 - 0.25 * np.exp(-out[out > 0] / 0.03))[:, None]
            if inside.size:
                paint[inside] = self._piece_colour(piece, u[inside], v[inside])
                if kind == "window":
                    light[inside] = 0.98
        return paint * light[:, None]

    def _ceiling(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Colours (n, 3) of points on the ceiling, with the lamps."""
        tone = 0.90 * (1 - 0.22 * np.exp(-self._to_wall(x, y) / 0.25))
        panels = []
        for lamp in self.lamps:
            off_x, off_y = np.abs(x - lamp[0]), np.abs(y - lamp[1])
            tone *= 1 + 0.22 * np.exp(-np.hypot(off_x, off_y) / 0.5)
            off = np.maximum(off_x, off_y)
            panels.append((np.flatnonzero(off < 0.3), np.flatnonzero((off < 0.3) & (off > 0.28))))
        paint = self.ceiling_bgr * tone[:, None]
        for panel, rim in panels:
            paint[panel] = 253.0
            paint[rim] = 150.0
        return paint

    def _to_wall(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance of points to the nearest wall."""
        return np.minimum(np.minimum(x - self.low[0], self.high[0] - x), np.minimum(y - self.low[1], self.high[1] - y))

    def _floor(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Lit colours (n, 3) of points on the floor, with the rug and the shade around furniture."""
        shade = 1 - 0.22 * np.exp(-self._to_wall(x, y) / 0.25)
        paint = self._floor_colour(x - self.low[0], y - self.low[1])
        if self.rug is not None:
            centre, half, is_round = self.rug
            r_x, r_y = np.abs(x - float(centre[0])) / float(half[0]), np.abs(y - float(centre[1])) / float(half[1])
            far = np.hypot(r_x, r_y) if is_round else np.maximum(r_x, r_y)
            inside = np.flatnonzero(far < 1)
            weave = 1 + 0.06 * self.noise.look(self.noise.grain, x[inside] + 9, y[inside] + 9, 90)
            paint[inside] = self.fabric_bgr * weave[:, None]
            paint[np.flatnonzero((far > 0.80) & (far < 0.88))] = self.accent_bgr
        for block in self.blocks:
            if block.low[2] - self.low[2] > 0.3:
                continue
            (x0, y0, _), (x1, y1, _) = block.low.tolist(), block.high.tolist()
            near = np.flatnonzero((x > x0 - 0.6) & (x < x1 + 0.6) & (y > y0 - 0.6) & (y < y1 + 0.6))
            gap_x = np.clip(np.maximum(x0 - x[near], x[near] - x1), 0, None)
            gap_y = np.clip(np.maximum(y0 - y[near], y[near] - y1), 0, None)
            shade[near] *= 1 - 0.42 * np.exp(-np.hypot(gap_x, gap_y) / 0.14)
        return paint * (self._light(x, y, z, (0.0, 0.0, 1.0)) * shade)[:, None]

    def _paint_block(self, block: Cuboid, direction: np.ndarray, colour: np.ndarray, depth: np.ndarray) -> None:
        """Draw a block over what is farther, in place."""
        low, high = block.low.astype(np.float32), block.high.astype(np.float32)
        middle, half = (low + high) / 2, (high - low) / 2
        if block.skin in ("leaves", "round", "lamp"):
            scaled = direction / half
            offset = middle / half
            a = scaled[..., 0] ** 2 + scaled[..., 1] ** 2 + scaled[..., 2] ** 2
            b = scaled[..., 0] * offset[0] + scaled[..., 1] * offset[1] + scaled[..., 2] * offset[2]
            square = b * b - a * (offset @ offset - 1)
            hit = square > 0
            near = np.where(hit, (b - np.sqrt(np.maximum(square, 0))) / a, np.inf)
            hit &= (near > 0.05) & (near < depth)
            if not hit.any():
                return
            p = direction[hit] * near[hit][:, None]
            normal = (p - middle) / half
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            if block.skin == "leaves":
                turn = np.arctan2(normal[:, 1], normal[:, 0])
                leaf = self.noise.cell(np.floor(turn * 9 + normal[:, 2] * 4), np.floor(normal[:, 2] * 9 + 50))
                fine = self.noise.look(self.noise.cloud, turn + 5, p[:, 2] + 5, 300)
                keep = leaf + 0.3 * fine > 0.32
                index = tuple(axis[keep] for axis in np.nonzero(hit))
                paint = (
                    block.bgr * (0.45 + 0.9 * leaf[keep])[:, None] * self._light_at(p[keep], normal[keep].T)[:, None]
                )
                colour[index] = paint
                depth[index] = near[hit][keep]
                return
            glow = 1.0 if block.skin == "lamp" else self._light_at(p, normal.T)[:, None]
            colour[hit] = block.bgr * (0.8 + 0.2 * normal[:, 2:3]) * glow
            depth[hit] = near[hit]
            return
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1.0 / np.where(np.abs(direction) > 1e-7, direction, 1e-7)
        first, second = low * inverse, high * inverse
        enter, leave = np.minimum(first, second), np.maximum(first, second)
        near = np.maximum(np.maximum(enter[..., 0], enter[..., 1]), enter[..., 2])
        far = np.minimum(np.minimum(leave[..., 0], leave[..., 1]), leave[..., 2])
        hit = (near < far) & (near > 0.05) & (near < depth)
        if not hit.any():
            return
        near_hit, face_hit, way = near[hit], enter[hit].argmax(axis=-1), direction[hit]
        p = way * near_hit[:, None]
        normal = np.zeros_like(p)
        normal[np.arange(len(p)), face_hit] = -np.sign(way[np.arange(len(p)), face_hit])
        u = np.where(face_hit == 0, p[:, 1], p[:, 0])
        v = np.where(face_hit == 2, p[:, 1], p[:, 2])
        paint = np.broadcast_to(block.bgr, p.shape).astype(np.float32)
        if block.skin in ("wood", "doors"):
            paint = paint * (1 + 0.10 * self.noise.look(self.noise.cloud, u * 6, v * 0.9, 110))[:, None]
        if block.skin == "doors":
            wide = float(np.sort(2 * half[:2])[1]) / 2
            start = np.where(face_hit == 0, block.low[1], block.low[0])
            inside = np.mod(u - start, wide)
            line = (inside < 0.012) | (v > block.high[2] - 0.03) | (v < block.low[2] + 0.06)
            knob = (np.abs(inside - 0.06) < 0.012) & (np.abs(v - middle[2]) < 0.06)
            paint = np.where((line & (face_hit < 2))[:, None], paint * 0.62, paint)
            paint = np.where((knob & (face_hit < 2))[:, None], 190.0, paint)
        elif block.skin == "books":
            number = np.floor(u / 0.035)
            tone = np.stack([self.noise.cell(number, number * 0 + k) for k in (1, 7, 13)], axis=-1)
            tall = self.noise.cell(number, number * 0 + 21) * 0.4 + 0.6
            share = (p[:, 2] - block.low[2]) / (2 * half[2])
            paint = np.where((share < tall)[:, None], 40 + 170 * tone, 28.0)
            paint = np.where(_edge(u, 0.035, 0.004)[:, None], paint * 0.6, paint)
        elif block.skin == "cloth":
            paint = paint * (1 + 0.05 * self.noise.look(self.noise.grain, u, v, 120))[:, None]
            edge = np.minimum(np.minimum(*(np.abs(p[:, k] - block.low[k]) for k in (0, 1))),
                              np.minimum(*(np.abs(p[:, k] - block.high[k]) for k in (0, 1))))  # fmt: skip
            paint = paint * (0.88 + 0.12 * np.clip(edge / 0.05, 0, 1))[:, None]
        dirt = 1 - 0.3 * np.exp(-(p[:, 2] - self.low[2]) / 0.12) * (face_hit < 2)
        colour[hit] = paint * (self._light_at(p, normal.T) * dirt)[:, None]
        depth[hit] = near_hit

    def paint(self, camera: Camera, extra: Sequence[Cuboid]) -> RoomPicture:
        """The whole picture, in bands of rows: what is at work at a time stays in the processor's cache."""
        direction = camera_directions(camera, SUPERSAMPLING)
        rows, columns = direction.shape[:2]
        pieces = [
            (block, window) for block in [*self.blocks, *extra] for window in _windows_of(block, camera, rows, columns)
        ]
        warmth = float(self.look.get("warmth", 0.0))
        tint = np.array([1 - 0.07 * warmth, 1.0, 1 + 0.06 * warmth]) * float(self.look.get("light", 1.0))
        tint = tint.astype(np.float32)
        bgr = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
        far = np.empty((camera.height, camera.width), dtype=np.float32)
        for top in range(0, camera.height, BAND_ROWS):
            band = slice(top, min(top + BAND_ROWS, camera.height))
            first, last = band.start * SUPERSAMPLING, band.stop * SUPERSAMPLING
            way = direction[first:last]
            colour, depth = self._paint_shell(way)
            for block, (down, across) in pieces:
                part = (slice(max(down.start - first, 0), min(down.stop, last) - first), across)
                if part[0].start < part[0].stop:
                    self._paint_block(block, way[part], colour[part], depth[part])
            colour *= tint
            # A photograph's highlights roll off instead of clipping.
            bright = np.maximum(colour - 200, 0)
            np.minimum(colour, 200, out=colour)
            colour += 55 * (1 - np.exp(bright * np.float32(-1 / 55)))
            size = (camera.width, band.stop - band.start)
            colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
            far[band] = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
            grain = self.rng.standard_normal(colour.shape[:2], dtype=np.float32) * np.float32(1.6)
            bgr[band] = np.clip(colour + grain[..., None], 0, 255)
        return RoomPicture(bgr, far)


def _windows_of(block: Cuboid, camera: Camera, rows: int, columns: int) -> list[tuple[slice, slice]]:
    """Parts of the (supersampled) picture that a block can cover; two when it crosses the seam."""
    grid = np.array(np.meshgrid(*(np.linspace(a, b, 5) for a, b in zip(block.low, block.high)))).reshape(3, -1).T
    pixel, _ = camera.project(grid / np.linalg.norm(grid, axis=1, keepdims=True))
    scale = rows / camera.height
    wraps = isinstance(camera, Equirectangular)
    # Above or below the listener a block may cover a pole: then the whole width counts.
    over = np.all(block.low[:2] < 0.05) and np.all(block.high[:2] > -0.05)
    if np.isnan(pixel).any() or over:
        return [(slice(0, rows), slice(0, columns))]
    top = max(int(np.floor(pixel[:, 1].min() * scale)) - 4, 0)
    bottom = min(int(np.ceil(pixel[:, 1].max() * scale)) + 4, rows)
    x = pixel[:, 0] * scale
    if wraps and np.ptp(x) > columns / 2:
        right = x[x > columns / 2].min()
        left = x[x <= columns / 2].max()
        return [
            (slice(top, bottom), slice(max(int(right) - 4, 0), columns)),
            (slice(top, bottom), slice(0, min(int(left) + 5, columns))),
        ]
    first, last = max(int(x.min()) - 4, 0), min(int(np.ceil(x.max())) + 4, columns)
    if first >= last or top >= bottom:
        return []
    return [(slice(top, bottom), slice(first, last))]


def draw_room(
    room: Room, look: Mapping, camera: Camera, *, clear_xy: np.ndarray | None = None, extra: Sequence[Cuboid] = ()
) -> RoomPicture:
    """Draw an empty room as the listener sees it.

    Parameters
    ----------
    look : of `sampling.sample_background`
    clear_xy : (n, 2) points on the floor, listener coordinates, that furniture leaves free, and the view of them too
    extra : further blocks (tables under things)
    """
    clear_xy = np.zeros((0, 2)) if clear_xy is None else np.asarray(clear_xy, dtype=np.float64).reshape(-1, 2)
    return _RoomPainter(room, look, clear_xy).paint(camera, extra)
