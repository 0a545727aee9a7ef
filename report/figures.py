"""Pictures of predictions against the reference: directions over time, and one frame of the video."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from report.canvas import Canvas, Point, clock, nice_step, shortened
from report.colours import STATUS, bgr, class_colours, pale
from report.matching import Match, match
from util.angles import direction_from_degrees
from util.camera import Camera, Equirectangular
from util.events import EventTable

_INK, _SOFT, _GRID = "#1b2430", "#5d6b7c", "#e3e8ee"
_DARK = (20, 14, 10)  # around marks, blue green red


def direction_figure(
    reference: EventTable,
    estimated: EventTable,
    classes: Sequence[str],
    *,
    title: str,
    column: str = "azimuth_deg",
    duration_s: float | None = None,
    width: int = 1100,
    height: int = 420,
) -> np.ndarray:
    """Azimuth or elevation over time, one colour per class -> picture (height, width, 3) uint8 RGB.

    The reference is a pale band, predictions are dots: dark edge within 20 degrees of their reference, a cross where
    there is none ("false"), without edge where they are misplaced.

    Parameters
    ----------
    column : "azimuth_deg" or "elevation_deg"
    duration_s : length of the time axis; None: up to the last event
    """
    canvas = Canvas(width, height)
    limit, step_deg, word = (180, 90, "azimuth") if column == "azimuth_deg" else (90, 45, "elevation")
    left, top, right, bottom = 62.0, 46.0, width - 196.0, height - 44.0
    ends = [(table.frame.max() + 1) * table.frame_s for table in (reference, estimated) if len(table)]
    duration_s = duration_s or max([1.0, *ends])
    colours = class_colours(len(classes))

    def x(time_s: float) -> float:
        return left + (right - left) * time_s / duration_s

    def y(angle_deg: float) -> float:
        return top + (bottom - top) * (limit - angle_deg) / (2 * limit)

    canvas.text(left, 22, shortened(canvas, title, 15, width - left - 20), _INK, 15)
    for angle in range(-limit, limit + 1, step_deg):
        canvas.line([(left, y(angle)), (right, y(angle))], _GRID, 1.4 if angle == 0 else 0.8)
        canvas.text(left - 8, y(angle), f"{angle:+d}°" if angle else "0°", _SOFT, 12, "rm")
    step_s = nice_step(duration_s)
    for tick in range(math.floor(duration_s / step_s + 1e-9) + 1):
        canvas.line([(x(tick * step_s), bottom), (x(tick * step_s), bottom + 4)], _SOFT, 1)
        canvas.text(x(tick * step_s), bottom + 14, clock(tick * step_s, step_s), _SOFT, 12, "mm")
    canvas.text((left + right) / 2, height - 12, "time / s" if duration_s < 60 else "time / min:s", _SOFT, 12, "mm")
    ends_word = ("left", "right") if word == "azimuth" else ("up", "down")
    for middle_deg, name in zip((limit / 2, -limit / 2), ends_word):
        canvas.text(12, y(middle_deg) + 14, name, _SOFT, 10, "lm")
    canvas.text(12, top - 12, f"{word} / degrees", _SOFT, 11, "lm")

    for row in range(len(reference)):
        start = reference.frame[row] * reference.frame_s
        place = y(getattr(reference, column)[row])
        colour = pale(colours[reference.class_index[row] % len(colours)])
        canvas.rectangle(x(start), place - 4.5, max(x(start + reference.frame_s), x(start) + 1.5), place + 4.5, colour)
    status = match(reference, estimated).estimated_status()
    for row in range(len(estimated)):
        centre = x((estimated.frame[row] + 0.5) * estimated.frame_s), y(getattr(estimated, column)[row])
        colour = colours[estimated.class_index[row] % len(colours)]
        if status[row] == "false":
            canvas.cross(*centre, 2.4, colour, 1.3)
        else:
            canvas.dot(*centre, 2.4, colour, edge=_INK if status[row] == "correct" else None, width=0.6)

    _legend(canvas, reference, estimated, classes, colours, right + 18, top, bottom)
    return canvas.rgb()


def _legend(
    canvas: Canvas,
    reference: EventTable,
    estimated: EventTable,
    classes: Sequence[str],
    colours: list[str],
    left: float,
    top: float,
    bottom: float,
) -> None:
    rows = [("reference", "band"), ("within 20°", "dot"), ("misplaced", "bare"), ("false", "cross")]
    for line, (name, shape) in enumerate(rows):
        middle = top + 6 + 17 * line
        if shape == "band":
            canvas.rectangle(left - 2, middle - 4.5, left + 14, middle + 4.5, "#c9d1da")
        elif shape == "cross":
            canvas.cross(left + 6, middle, 2.6, _SOFT, 1.3)
        else:
            canvas.dot(left + 6, middle, 2.8, _SOFT, edge=_INK if shape == "dot" else None, width=0.6)
        canvas.text(left + 22, middle, name, _INK, 11.5)
    present = sorted({*reference.class_index.tolist(), *estimated.class_index.tolist()})
    room = int((bottom - top - 84) // 17)
    shown = present if len(present) <= room else present[: room - 1]
    for line, index in enumerate(shown):
        middle = top + 90 + 17 * line
        canvas.dot(left + 6, middle, 4.5, colours[index % len(colours)])
        name = classes[index] if 0 <= index < len(classes) else str(index)
        canvas.text(left + 22, middle, shortened(canvas, name, 11.5, 150), _INK, 11.5)
    if len(shown) < len(present):
        canvas.text(left + 22, top + 90 + 17 * len(shown), f"and {len(present) - len(shown)} more", _SOFT, 11.5)


def draw_directions(
    picture: np.ndarray,
    reference: EventTable,
    estimated: EventTable,
    classes: Sequence[str],
    *,
    camera: Camera | None = None,
    boxes: np.ndarray | None = None,
    within_deg: float = 20.0,
    known: bool = True,
) -> np.ndarray:
    """One video frame with the events of one label frame drawn in, as the player draws them.

    Parameters
    ----------
    picture : (height, width, 3) uint8 BGR; a copy is drawn on
    reference, estimated : rows of one frame only
    camera : of the picture's own size; None: equirectangular
    boxes : (n, 4) x0, y0, x1, y1 as fractions of the image; zero rows are none
    known : whether there is a reference at all; without one, marks are coloured by class
    """
    picture = picture.copy()
    height, width = picture.shape[:2]
    camera = camera or Equirectangular(width, height)
    size = max(5.0, height / 42)
    for x0, y0, x1, y1 in [] if boxes is None else np.asarray(boxes).reshape(-1, 4):
        if x1 > x0 and y1 > y0:
            first, last = (int(x0 * width), int(y0 * height)), (int(x1 * width), int(y1 * height))
            cv2.rectangle(picture, first, last, (235, 225, 215), 1, cv2.LINE_AA)
    assigned = match(reference, estimated, within_deg=within_deg)
    colours = None if known else class_colours(len(classes), dark=True)
    places, labels = [], []
    for table in (reference, estimated):
        direction = direction_from_degrees(table.azimuth_deg, table.elevation_deg).reshape(-1, 3)
        places.append(camera.project(direction))
    for row in np.flatnonzero(assigned.reference >= 0):
        _join(picture, places[0], int(row), places[1], int(assigned.reference[row]), size, assigned, camera)
    for table, (pixels, visible), statuses, shape in (
        (reference, places[0], assigned.reference_status(), "ring"),
        (estimated, places[1], assigned.estimated_status(), "mark"),
    ):
        for row in np.flatnonzero(visible):
            index, status = int(table.class_index[row]), str(statuses[row])
            name = classes[index] if 0 <= index < len(classes) else ""
            place = float(pixels[row, 0]), float(pixels[row, 1])
            colour = STATUS[status] if colours is None else colours[index % len(colours)]
            for x in _wrapped(place[0], width, 3 * size, camera):
                _mark(picture, (x, place[1]), size, shape, status if known else "correct", colour)
            if name and (shape == "mark" or status == "missed"):
                angle = assigned.angle_deg[row] if shape == "mark" else np.nan
                text = name + ("" if np.isnan(angle) else f"  {angle:.0f}°")
                labels.append(
                    (place, text, colour, shape == "mark" and _reference_is_right(places, assigned, int(row), width))
                )
    _put_labels(picture, labels, size)
    return picture


def _reference_is_right(places: list, assigned: Match, row: int, width: int) -> bool:
    """Whether the reference of a prediction stands to the right of it: then its label goes to the left."""
    other = int(assigned.estimated[row])
    if other < 0:
        return False
    dx = places[0][0][other, 0] - places[1][0][row, 0]
    return bool((dx + width / 2) % width - width / 2 > 0.01 * width)


def _join(
    picture: np.ndarray,
    references: tuple[np.ndarray, np.ndarray],
    row: int,
    predictions: tuple[np.ndarray, np.ndarray],
    column: int,
    size: float,
    assigned: Match,
    camera: Camera,
) -> None:
    """A line from a reference to its prediction where they stand apart, the short way round."""
    if not (references[1][row] and predictions[1][column]):
        return
    width = picture.shape[1]
    (x, y), (x1, y1) = references[0][row], predictions[0][column]
    around = isinstance(camera, Equirectangular)
    dx = (x1 - x + width / 2) % width - width / 2 if around else x1 - x
    if math.hypot(dx, y1 - y) < 2 * size:
        return
    colour = bgr(STATUS[str(assigned.estimated_status()[column])])
    for shift in (-width, 0, width) if around else (0,):
        start, end = (round((x + shift) * 16), round(y * 16)), (round((x + shift + dx) * 16), round(y1 * 16))
        for paint, thick in ((_DARK, 4), (colour, 2)):
            cv2.line(picture, start, end, paint, thick, cv2.LINE_AA, shift=4)


def _wrapped(x: float, width: int, margin: float, camera: Camera) -> list[float]:
    """The places where a mark near the seam of a panorama shows: its own, and beyond the other edge."""
    if not isinstance(camera, Equirectangular):
        return [x]
    return [x, *([x + width] if x < margin else []), *([x - width] if x > width - margin else [])]


def _mark(
    picture: np.ndarray, centre: tuple[float, float], size: float, shape: str, status: str, colour_name: str
) -> None:
    """Reference: a ring (dashed where missed). Prediction: disc (correct), diamond (misplaced), cross (false)."""
    point = (round(centre[0] * 16), round(centre[1] * 16))
    thick = max(1, round(size / 4))
    colour = bgr(STATUS["missed"] if shape == "ring" else colour_name)

    def circle(radius: float, paint: tuple[int, int, int], width: int) -> None:
        cv2.circle(picture, point, round(radius * 16), paint, width, cv2.LINE_AA, shift=4)

    def strokes(paint: tuple[int, int, int], width: int) -> None:
        reach = round(0.62 * size * 16)
        for sign in (-1, 1):
            ends = (point[0] - reach, point[1] - sign * reach), (point[0] + reach, point[1] + sign * reach)
            cv2.line(picture, *ends, paint, width, cv2.LINE_AA, shift=4)

    if shape == "ring" and status == "missed":
        for start in range(0, 360, 45):
            for paint, width in ((_DARK, thick + 2), (colour, thick)):
                axes = (round(1.3 * size * 16),) * 2
                cv2.ellipse(picture, point, axes, 0, start, start + 26, paint, width, cv2.LINE_AA, shift=4)
    elif shape == "ring":
        circle(1.3 * size, _DARK, thick + 2)
        circle(1.3 * size, colour, thick)
    elif status == "correct":
        circle(0.72 * size, colour, -1)
        circle(0.72 * size, _DARK, 1)
    elif status == "misplaced":
        reach = 0.8 * size * 16
        corners = np.array([[0, -reach], [reach, 0], [0, reach], [-reach, 0]]).round().astype(np.int32) + point
        cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA, shift=4)
        cv2.polylines(picture, [corners], True, _DARK, 1, cv2.LINE_AA, shift=4)
    else:
        strokes(_DARK, thick + 3)
        strokes(colour, thick + 1)


def _put_labels(picture: np.ndarray, labels: list[tuple[Point, str, str, bool]], size: float) -> None:
    """Class names beside their marks, pushed down where two would cover each other, within the picture."""
    height, width = picture.shape[:2]
    taken: list[tuple[float, float, float]] = []  # left, right, top
    for (x, y), text, colour, leftwards in sorted(labels, key=lambda label: label[0][1]):
        patch = _label_patch(text, colour, round(max(11, 1.1 * size)))
        high, wide = patch.shape[:2]
        before, behind = round(x - 1.9 * size - wide), round(x + 1.9 * size)
        left = before if (leftwards and before > 0) or behind + wide > width else behind
        top = round(y - high / 2)
        for other_left, other_right, other_top in taken:
            if left < other_right and other_left < left + wide and abs(top - other_top) < high + 2:
                top = round(other_top + high + 2)
        taken.append((left, left + wide, top))
        top, left = max(0, min(top, height - high)), max(0, left)
        under = picture[top : top + high, left : left + wide]
        blended = 0.2 * under + 0.8 * patch[: under.shape[0], : under.shape[1]]
        under[:] = blended.astype(np.uint8)


@functools.lru_cache(maxsize=512)
def _label_patch(text: str, colour: str, size: int) -> np.ndarray:
    """A line of text on a dark ground with a coloured edge, BGR."""
    wide = math.ceil(Canvas(1, 1).text_width(text, size)) + 15
    canvas = Canvas(wide, round(1.6 * size), "#0b0f15")
    canvas.rectangle(0, 0, 3, canvas.height, colour)
    canvas.text(9, canvas.height / 2, text, "#eef2f7", size)
    return canvas.rgb()[..., ::-1]
