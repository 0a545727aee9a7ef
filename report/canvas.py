"""A small anti-aliased drawing surface: lines, marks and text at any size, without a plotting library."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SUPERSAMPLE = 3
Point = tuple[float, float]


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)


class Canvas:
    """A picture under construction; coordinates in pixels of the finished picture, from the top left corner."""

    def __init__(self, width: int, height: int, background: str = "#ffffff"):
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * _SUPERSAMPLE, height * _SUPERSAMPLE), background)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: list[Point], colour: str, width: float = 1.0) -> None:
        """A polyline with round joints."""
        thick = max(1, round(width * _SUPERSAMPLE))
        scaled = [(x * _SUPERSAMPLE, y * _SUPERSAMPLE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=thick, joint="curve")

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        """A filled rectangle."""
        box = [value * _SUPERSAMPLE for value in (x0, y0, x1, y1)]
        self._draw.rectangle([box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)], fill=colour)

    def dot(
        self, x: float, y: float, radius: float, colour: str | None, edge: str | None = None, width: float = 1
    ) -> None:
        """A disc, a ring, or both."""
        box = [(x - radius), (y - radius), (x + radius), (y + radius)]
        thick = max(1, round(width * _SUPERSAMPLE))
        self._draw.ellipse(
            [value * _SUPERSAMPLE for value in box], fill=colour, outline=edge, width=thick if edge else 1
        )

    def cross(self, x: float, y: float, radius: float, colour: str, width: float = 1.5) -> None:
        """Two diagonal strokes."""
        for sign in (-1, 1):
            self.line([(x - radius, y - sign * radius), (x + radius, y + sign * radius)], colour, width)

    def text(self, x: float, y: float, text: str, colour: str, size: float = 12, anchor: str = "lm") -> None:
        """Text at a point; `anchor` as in Pillow: l, m, r and t, m, s, b ("lm": left end, vertical middle)."""
        font = _font(round(size * _SUPERSAMPLE))
        self._draw.text((x * _SUPERSAMPLE, y * _SUPERSAMPLE), text, fill=colour, font=font, anchor=anchor)

    def picture(self, x0: float, y0: float, x1: float, y1: float, rgb: np.ndarray) -> None:
        """A picture (height, width, 3) uint8, stretched into a rectangle."""
        left, top, right, bottom = (round(value * _SUPERSAMPLE) for value in (x0, y0, x1, y1))
        stretched = Image.fromarray(np.ascontiguousarray(rgb)).resize((right - left, bottom - top))
        self._image.paste(stretched, (left, top))

    def text_width(self, text: str, size: float = 12) -> float:
        """Width of a text in pixels."""
        return self._draw.textlength(text, font=_font(round(size * _SUPERSAMPLE))) / _SUPERSAMPLE

    def rgb(self) -> np.ndarray:
        """The finished picture (height, width, 3) uint8."""
        return np.asarray(self._image.resize((self.width, self.height), Image.Resampling.BOX))


def shortened(canvas: Canvas, text: str, size: float, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if canvas.text_width(text, size) <= width:
        return text
    while text and canvas.text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def nice_step(span: float, most: int = 10) -> float:
    """The smallest step of 1, 2, 5 times a power of ten (or of a minute) that cuts a span into at most `most` parts."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
    return next((step for step in steps if span / step <= most), 14400.0)


def clock(time_s: float, step_s: float) -> str:
    """A time for an axis: "12", "0.5" below a minute's span, "1:20" where the step is 10 s or more."""
    if step_s < 1:
        return f"{time_s:.1f}"
    if time_s < 60:
        return f"{time_s:.0f}"
    hours, rest = divmod(round(time_s), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
