"""Pictures of a scene: room, people and things, frame by frame, each at the pixel of its direction."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np

from simulation.picture.motion import PersonMotion, ThingMotion, wall_normal_deg
from simulation.picture.people import Body, Pose
from simulation.picture.photos import PhotoBody
from simulation.picture.room import Cuboid, camera_directions, draw_room
from simulation.picture.sampling import bgr_from_hsv
from simulation.picture.sprites import Light, Sprite
from simulation.picture.things import bottom_m, stand_of, thing_sprite
from simulation.scene import Scene, Thing
from util.angles import direction_from_degrees
from util.camera import Camera, Equirectangular
from util.errors import InputError
from util.events import EventTable

# Height above the floor over stature: averages of anthropometric tables (mouth between chin, 0.87, and eyes, 0.936);
# hands while clapping are held in front of the chest, feet sound at the sole.
ANCHOR_SHARE = {"mouth": 0.893, "hands": 0.70, "feet": 0.02}
SPRITE_CACHE = 400
LIGHT_STEP_DEG = 60.0
# Less than this far away things would fill the picture; they are drawn as if they stood there.
NEAREST_M = 0.35
# As tall as people and standing on the floor: drawn on an upright plane.
UPRIGHT = ("door", "knock_door")


def anchor_offset_m(anchor: str, height_m: float) -> float:
    """Height in metres of a person's sounding part above the floor.

    Parameters
    ----------
    anchor : "mouth", "hands" or "feet"
    height_m : body height in metres

    Raises
    ------
    InputError : another anchor
    """
    if anchor not in ANCHOR_SHARE:
        raise InputError(f"anchor {anchor!r} is none of {', '.join(ANCHOR_SHARE)}")
    return ANCHOR_SHARE[anchor] * height_m


@dataclass
class _Item:
    """A sprite in the world: its plane's axis passes through `foot` (x, y, z of the sprite's zero height)."""

    sprite: Sprite
    foot: np.ndarray
    source: int
    person: bool
    # How far behind something of the room the plane may lie and still be drawn: it cuts into walls.
    sunk_m: float = 0.3
    # How far the plane leans back, so that it faces a viewer who looks down on it: things; people are upright.
    pitch_deg: float = 0.0

    @property
    def distance_m(self) -> float:
        """From the listener to the axis, horizontally."""
        return max(float(np.hypot(self.foot[0], self.foot[1])), NEAREST_M)

    @cached_property
    def axes(self) -> np.ndarray:
        """Rows: the plane's right, its up, and the way from the viewer to it."""
        ahead = self.foot[:2] / max(float(np.hypot(self.foot[0], self.foot[1])), 1e-9)
        cosine, sine = np.cos(np.deg2rad(self.pitch_deg)), np.sin(np.deg2rad(self.pitch_deg))
        right = np.array([ahead[1], -ahead[0], 0.0])
        way = np.array([cosine * ahead[0], cosine * ahead[1], -sine])
        return np.stack([right, np.array([sine * ahead[0], sine * ahead[1], cosine]), way])

    @cached_property
    def origin(self) -> np.ndarray:
        """The foot, moved away where it is nearer than what can be drawn."""
        far = self.distance_m / max(float(np.hypot(self.foot[0], self.foot[1])), 1e-9)
        return self.foot * np.array([far, far, 1.0])


@dataclass(frozen=True)
class _Patch:
    """Where a sprite lands: rows, columns of the picture, and the picture cut to them (premultiplied BGRA)."""

    rows: slice
    columns: slice
    picture: np.ndarray

    @cached_property
    def colour(self) -> np.ndarray:
        """Premultiplied BGR (h, w, 3)."""
        return np.ascontiguousarray(self.picture[..., :3])

    @cached_property
    def keep(self) -> np.ndarray:
        """255 - alpha, once per colour (h, w, 3)."""
        return cv2.merge([255 - self.picture[..., 3]] * 3)


class Painter:
    """Draws one scene through one camera; the room is drawn once, sprites once per pose.

    Parameters
    ----------
    scene : what there is to see
    camera : how directions land in the picture
    """

    def __init__(self, scene: Scene, camera: Camera):
        self.scene, self.camera = scene, camera
        self.direction = camera_directions(camera)
        self.flat = np.hypot(self.direction[..., 0], self.direction[..., 1])
        self.stands = {thing.source: self._stand(thing) for thing in scene.things}
        tables = [block for thing in scene.things for block in self._table(thing)]
        self.room = draw_room(scene.room, scene.background, camera, clear_xy=self._clear_xy(), extra=tables)
        self.bodies = {
            person.source: (PhotoBody if "photo" in person.appearance else Body)(person.appearance, person.height_m)
            for person in scene.people
        }
        self.motions = [PersonMotion(person, scene) for person in scene.people]
        self.thing_motions = [ThingMotion(thing, scene) for thing in scene.things]
        self._sprites: OrderedDict[tuple, Sprite] = OrderedDict()
        # What stands still looks the same as in the frame before: source -> (sprite, place, patches).
        self._last: dict[int, tuple[Sprite, np.ndarray, list[_Patch]]] = {}
        look = scene.background
        warmth, strength = float(look.get("warmth", 0.0)), float(look.get("light", 1.0))
        blue, green, red = (float(v) * strength for v in (1 - 0.07 * warmth, 1.0, 1 + 0.06 * warmth))
        self.tint = (blue, green, red)
        self.window_deg = float(look.get("light_deg", 0.0))
        # One sprite pixel is a little less than one picture pixel at one metre.
        per_radian = camera.height / np.pi if isinstance(camera, Equirectangular) else camera.focal_px
        self.sprite_scale = float(np.clip(1.2 * per_radian, 60.0, 420.0))

    def _clear_xy(self) -> np.ndarray:
        tracks = [person.feet for person in self.scene.people] + [thing.centre for thing in self.scene.things]
        if not tracks:
            return np.zeros((0, 2))
        times = np.linspace(0, self.scene.duration_s, 60)
        points = [track.at(times if track.moving else np.zeros(1))[:, :2] for track in tracks]
        return np.unique(np.round(np.concatenate(points), 1), axis=0)

    def _above_floor_m(self, thing: Thing) -> float:
        return float(thing.centre.position_m[0, 2] + self.scene.room.listener_m[2])

    def _stand(self, thing: Thing) -> str | None:
        near_wall = wall_normal_deg(thing, self.scene.room) is not None
        kind = str(thing.appearance.get("kind", "box"))
        return stand_of(kind, thing.size_m, self._above_floor_m(thing), near_wall, thing.centre.moving)

    def _table(self, thing: Thing) -> list[Cuboid]:
        """The table that a thing stands on, as blocks of the room."""
        if self.stands[thing.source] != "table":
            return []
        kind = str(thing.appearance.get("kind", "box"))
        centre = thing.centre.position_m[0]
        top, floor = centre[2] - bottom_m(kind, thing.size_m), -self.scene.room.listener_m[2]
        half = np.array([0.27, 0.27]) + (0.35 * thing.size_m if kind != "keyboard" else 0.45)
        look = thing.appearance
        wood = bgr_from_hsv(look.get("wood_hsv", (0.07, 0.5, 0.5)))

        def block(low: tuple, high: tuple, bgr: np.ndarray) -> Cuboid:
            return Cuboid(np.array(low), np.array(high), bgr, "wood")

        x0, y0 = centre[:2] - half
        x1, y1 = centre[:2] + half
        legs = [
            block((x, y, floor), (x + 0.05, y + 0.05, top - 0.04), wood * 0.8)
            for x in (x0, x1 - 0.05)
            for y in (y0, y1 - 0.05)
        ]
        return [block((x0, y0, top - 0.04), (x1, y1, top), wood), *legs]

    def _light(self, foot: np.ndarray) -> Light:
        """Light on a sprite, from the windows' side as seen by the viewer, in steps."""
        azimuth_deg = np.degrees(np.arctan2(foot[1], foot[0]))
        relative = np.round((self.window_deg - azimuth_deg) / LIGHT_STEP_DEG) * LIGHT_STEP_DEG
        # relative 0: the window is behind the person; 90: to the viewer's left.
        side = np.deg2rad(relative)
        towards = (-np.sin(side) * 0.6, 0.62, 0.35 + 0.3 * -np.cos(side))
        across, ahead, up = (round(float(v), 3) for v in towards)
        return Light(direction=(across, ahead, up), tint=self.tint)

    def _sprite(self, source: int, pose: Pose, view_deg: float, light: Light) -> Sprite:
        key = (source, pose, view_deg, light.direction)
        sprite = self._sprites.get(key)
        if sprite is None:
            sprite = self.bodies[source].sprite(pose, view_deg, self.sprite_scale, light)
            self._sprites[key] = sprite
            if len(self._sprites) > SPRITE_CACHE:
                self._sprites.popitem(last=False)
        else:
            self._sprites.move_to_end(key)
        return sprite

    def _thing_sprite(self, motion: ThingMotion, time_s: float, centre: np.ndarray, pitch_deg: float) -> Sprite:
        thing = motion.thing
        active, step, opening = motion.state_at(time_s)
        light = self._light(centre)
        key = ("thing", thing.source, active, step, opening, pitch_deg, light.direction)
        if key not in self._sprites:
            self._sprites[key] = thing_sprite(
                thing.appearance,
                thing.size_m,
                above_floor_m=self._above_floor_m(thing),
                active=active,
                step=step,
                opening=opening,
                view_deg=motion.view_deg,
                pitch_deg=pitch_deg,
                # Small things are drawn finer.
                scale=float(np.clip(self.sprite_scale * 1.2, 60, 240 / thing.size_m)),
                light=light,
                pole=self.stands[thing.source] == "pole",
            )
        return self._sprites[key]

    def _items(self, time_s: float) -> list[_Item]:
        """Everything that is drawn over the room, from far to near."""
        items = []
        for motion in self.motions:
            foot = motion.feet_at(time_s)
            pose, view_deg = motion.pose_at(time_s)
            sprite = self._sprite(motion.person.source, pose, view_deg, self._light(foot))
            items.append(_Item(sprite, foot, motion.person.source, True))
        for moved in self.thing_motions:
            centre = moved.centre_at(time_s)
            pitch_deg = 0.0
            if str(moved.thing.appearance.get("kind")) not in UPRIGHT:
                # From above a thing shows its top; steps keep the number of sprites small while it moves.
                down_deg = np.degrees(np.arctan2(-centre[2], max(float(np.hypot(centre[0], centre[1])), NEAREST_M)))
                pitch_deg = float(np.clip(np.round(down_deg / 4) * 4, -60, 60))
            sprite = self._thing_sprite(moved, time_s, centre, pitch_deg)
            sunk_m = 1.0 if moved.at_wall else 0.3
            items.append(_Item(sprite, centre, moved.thing.source, False, sunk_m, pitch_deg))
        return sorted(items, key=lambda item: -item.distance_m)

    # ------------------------------------------------------------------------------------------- projection

    def _project(self, item: _Item, right_up: np.ndarray) -> np.ndarray:
        """Points on a sprite's plane (n, 2), metres -> pixels (n, 2); x goes on beyond the seam, NaN behind a lens."""
        point = item.origin + right_up @ item.axes[:2]
        pixel, _ = self.camera.project(point / np.linalg.norm(point, axis=1, keepdims=True))
        if isinstance(self.camera, Equirectangular):
            axis = self.camera.project(np.array([item.origin[0], item.origin[1], 0.0]))[0][0]
            pixel[:, 0] = (
                axis + np.mod(pixel[:, 0] - axis + self.camera.width / 2, self.camera.width) - self.camera.width / 2
            )
        return pixel

    def _patches(self, item: _Item, *, hide: bool = True) -> list[_Patch]:
        """Cast the pixels that a sprite can cover onto its plane and look its colours up."""
        sprite = item.sprite
        height, width = sprite.levels[0].shape[:2]
        right = sprite.left_m + np.linspace(0, width, 5) / sprite.scale
        up = sprite.top_m - np.linspace(0, height, 9) / sprite.scale
        pixel = self._project(item, np.stack(np.meshgrid(right, up), axis=-1).reshape(-1, 2))
        pixel = pixel[np.isfinite(pixel).all(axis=1)]
        if not len(pixel):
            return []
        top = max(int(np.floor(pixel[:, 1].min())) - 1, 0)
        bottom = min(int(np.ceil(pixel[:, 1].max())) + 1, self.camera.height)
        first, last = int(np.floor(pixel[:, 0].min())) - 1, int(np.ceil(pixel[:, 0].max())) + 1
        spans = [(first, last)]
        if isinstance(self.camera, Equirectangular):
            w = self.camera.width
            spans = [(first + k * w, last + k * w) for k in (-1, 0, 1)]
        # The reduced picture whose pixels are about as large as the screen's.
        shrink = height / max(float(np.ptp(pixel[:, 1])), 1.0)
        level = int(np.clip(np.floor(np.log2(max(shrink, 1.0)) + 0.3), 0, len(sprite.levels) - 1))
        scale = sprite.scale / 2**level
        right, up, ahead = item.axes.astype(np.float32)
        distance = np.float32(item.axes[2] @ item.origin)
        corner = item.origin + sprite.left_m * item.axes[0] + sprite.top_m * item.axes[1]
        left_m, top_m = np.float32(corner @ item.axes[0]), np.float32(corner @ item.axes[1])
        patches = []
        for start, end in spans:
            columns = slice(max(start, 0), min(end, self.camera.width))
            if columns.start >= columns.stop or top >= bottom:
                continue
            rows = slice(top, bottom)
            way = self.direction[rows, columns]
            # Pixels' directions meet the plane at `reach`; there, metres along its right and its up.
            forward = way @ ahead
            reach = distance / np.maximum(forward, np.float32(1e-6))
            map_x = ((way @ right) * reach - left_m) * np.float32(scale) - np.float32(0.5)
            map_y = (top_m - (way @ up) * reach) * np.float32(scale) - np.float32(0.5)
            picture = cv2.remap(
                sprite.levels[level],
                map_x,
                map_y,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(0, 0, 0, 0),
            )
            if hide:
                hidden = self.room.depth_m[rows, columns] < reach - np.float32(item.sunk_m)
                if hidden.any():
                    picture[hidden] = 0
            patches.append(_Patch(rows, columns, picture))
        return patches

    def _same_patches(self, item: _Item) -> list[_Patch]:
        """`_patches`, kept from the frame before where neither place nor pose has changed."""
        last = self._last.get(item.source)
        if last is None or last[0] is not item.sprite or not np.array_equal(last[1], item.foot):
            last = self._last[item.source] = (item.sprite, item.foot, self._patches(item))
        return last[2]

    def _shadow(self, frame: np.ndarray, item: _Item) -> None:
        """Darken the floor below somebody, in place: a soft spot."""
        floor = -self.scene.room.listener_m[2]
        radius, angle = 0.42, np.linspace(0, 2 * np.pi, 16, endpoint=False)
        ring = np.column_stack(
            [item.foot[0] + radius * np.cos(angle), item.foot[1] + radius * np.sin(angle), np.full(16, floor)]
        )
        if np.hypot(ring[:, 0], ring[:, 1]).min() < 0.25:
            return
        pixel, _ = self.camera.project(ring / np.linalg.norm(ring, axis=1, keepdims=True))
        if np.isnan(pixel).any():
            return
        top, bottom = max(int(pixel[:, 1].min()), 0), min(int(pixel[:, 1].max()) + 1, self.camera.height)
        x, width = pixel[:, 0], self.camera.width
        if isinstance(self.camera, Equirectangular) and np.ptp(x) > width / 2:
            spans = [(0, int(x[x < width / 2].max()) + 1), (int(x[x >= width / 2].min()), width)]
        else:
            spans = [(max(int(x.min()), 0), min(int(x.max()) + 1, width))]
        for first, last in spans:
            if first >= last or top >= bottom:
                continue
            way = self.direction[top:bottom, first:last]
            reach = np.float32(floor) / np.minimum(way[..., 2], np.float32(-1e-3))
            across = way[..., 0] * reach - np.float32(item.foot[0])
            along = way[..., 1] * reach - np.float32(item.foot[1])
            spot = np.float32(1.0) - np.float32(0.5) * np.exp((across**2 + along**2) * np.float32(-1 / 0.17**2))
            part = frame[top:bottom, first:last]
            np.copyto(part, (part * spot[..., None]).astype(np.uint8))

    # ------------------------------------------------------------------------------------------------ drawing

    def frame(self, time_s: float) -> np.ndarray:
        """The picture at a time: (h, w, 3) BGR uint8, a new array."""
        frame = self.room.bgr.copy()
        items = self._items(time_s)
        for item in items:
            if item.person:
                self._shadow(frame, item)
        for item in items:
            for patch in self._same_patches(item):
                part = frame[patch.rows, patch.columns]
                # Premultiplied: the sprite's colour plus what its alpha leaves of the picture.
                mixed = cv2.multiply(part, patch.keep, scale=1 / 255)
                np.copyto(part, cv2.add(patch.colour, mixed))
        return frame

    def boxes(self, time_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where people are in the picture, as a detector would see them: cut at the seam and at the borders.

        Returns
        -------
        boxes : (n, 4) x0, y0, x1, y1 in pixels
        source : (n,) number of the person
        visible : (n,) share of the person's pixels that lie in this box and that nothing hides

        A box surrounds what is seen: of somebody half behind a table, the upper half.
        """
        items = self._items(time_s)
        owner = np.full(self.room.depth_m.shape, -1, dtype=np.int32)
        covered: list[tuple[int, slice, slice, np.ndarray]] = []
        for index, item in enumerate(items):
            for patch in self._patches(item):
                solid = patch.picture[..., 3] > 127
                owner[patch.rows, patch.columns][solid] = index
                if item.person:
                    covered.append((index, patch.rows, patch.columns, solid))
        # How many pixels somebody would fill if nothing, furniture included, stood before them.
        whole = {
            index: sum(int((patch.picture[..., 3] > 127).sum()) for patch in self._patches(item, hide=False))
            for index, item in enumerate(items)
            if item.person
        }
        boxes, sources, shares = [], [], []
        for index, item in enumerate(items):
            if not item.person:
                continue
            parts = [entry for entry in covered if entry[0] == index]
            outline = self._project(item, item.sprite.outline_m)
            for _, rows, columns, solid in parts:
                count = int(solid.sum())
                if count < 3:
                    continue
                mine = (owner[rows, columns] == index) & solid
                share = mine.sum() / max(whole[index], 1)
                box = self._outline_box(outline, columns)
                if box is None or not mine.any():
                    continue
                if mine.sum() < 0.95 * count or count < 0.95 * whole[index]:
                    box = _cut_to(box, mine, rows, columns)
                boxes.append(box)
                sources.append(item.source)
                shares.append(float(share))
        return (
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
            np.array(sources, dtype=np.int64),
            np.array(shares, dtype=np.float64),
        )

    def _outline_box(self, outline: np.ndarray, columns: slice) -> np.ndarray | None:
        """Box of an outline (n, 2) cut to the picture, of the part on the columns' side of the seam."""
        outline = outline[np.isfinite(outline).all(axis=1)]
        if not len(outline):
            return None
        width, height = self.camera.width, self.camera.height
        low, high = outline.min(axis=0), outline.max(axis=0)
        if isinstance(self.camera, Equirectangular):
            middle = (columns.start + columns.stop) / 2
            shift = min(
                (-width, 0, width),
                key=lambda s: abs(np.clip((low[0] + high[0]) / 2 + s, low[0] + s, high[0] + s) - middle),
            )
            low, high = low + [shift, 0], high + [shift, 0]
        box = np.array([max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)])
        return box if box[2] - box[0] > 0.5 and box[3] - box[1] > 0.5 else None


def _cut_to(box: np.ndarray, seen: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """A box (4,) reduced, side by side, to the pixels that are seen of it; sides that are seen keep their fraction."""
    down, across = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    low = np.array([columns.start + across[0], rows.start + down[0]], dtype=np.float64)
    high = np.array([columns.start + across[-1] + 1, rows.start + down[-1] + 1], dtype=np.float64)
    first = np.where(low - box[:2] > 1.0, low, box[:2])
    last = np.where(box[2:] - high > 1.0, high, box[2:])
    return np.concatenate([first, last])


def frames(scene: Scene, camera: Camera, times_s: Sequence[float]) -> Iterator[np.ndarray]:
    """Pictures (h, w, 3) BGR uint8 of a scene at the given times."""
    painter = Painter(scene, camera)
    for time_s in times_s:
        yield painter.frame(float(time_s))


def person_boxes(scene: Scene, camera: Camera, time_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) in pixels, sources (n,), visible shares (n,) of the people at a time (see `Painter.boxes`)."""
    return Painter(scene, camera).boxes(time_s)


def render_video(scene: Scene, path: str | os.PathLike[str], *, camera: Camera, fps: Fraction | int = 10) -> None:
    """Write a scene's video; frame k shows the time (k + 0.5) / fps, the middle of the frame's interval.

    Raises
    ------
    InputError : the file cannot be written
    """
    from util.video import VideoWriter

    fps = Fraction(fps)
    count = round(scene.duration_s * fps)
    # One thread: the bytes then do not depend on the machine, and several clips are made at once anyway.
    with VideoWriter(path, camera.width, camera.height, fps, threads=1) as writer:
        for picture in frames(scene, camera, [float((k + Fraction(1, 2)) / fps) for k in range(count)]):
            writer.write(picture)


def label_overlay(
    frame: np.ndarray, events: EventTable, camera: Camera, *, label_frame: int, names: Sequence[str] | None = None
) -> np.ndarray:
    """A frame with the labels of one label frame drawn on it: a ring at each position, class and angles beside.

    Parameters
    ----------
    frame : (h, w, 3) BGR uint8; stays as it is
    events : labels in degrees
    label_frame : which label frame the picture shows
    names : of the classes; their numbers where None
    """
    picture = frame.copy()
    size = camera.height / 480
    table = events[events.frame == label_frame]
    for k in range(len(table)):
        azimuth, elevation = float(table.azimuth_deg[k]), float(table.elevation_deg[k])
        pixel, visible = camera.project(direction_from_degrees(azimuth, 0.0 if np.isnan(elevation) else elevation))
        if not visible or np.isnan(pixel).any():
            continue
        number = int(table.class_index[k])
        hue = np.array([[[int(number * 67 % 180), 210, 255]]], dtype=np.uint8)
        bgr = tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0])
        centre = tuple(round(float(v)) for v in pixel)
        cv2.circle(picture, centre, round(9 * size), (0, 0, 0), max(round(3 * size), 1), cv2.LINE_AA)
        cv2.circle(picture, centre, round(9 * size), bgr, max(round(1.5 * size), 1), cv2.LINE_AA)
        text = f"{names[number] if names is not None else number} {azimuth:.0f}, {elevation:.0f}"
        (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * size, 1)
        corner = (
            min(centre[0] + round(13 * size), camera.width - wide - 2),
            max(centre[1] - round(6 * size), tall + 2),
        )
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * size, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * size, (255, 255, 255), 1, cv2.LINE_AA)
    return picture
