"""One panel of a figure on a canvas: a box with scales, ticks, lines with gaps and dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from report.canvas import Canvas

INK, SOFT, GRID, EDGE = "#1b2430", "#5d6b7c", "#e3e8ee", "#aab4c0"
_MOST_MARKED = 40  # points of a line up to which each is marked


@dataclass(frozen=True)
class Axes:
    """Data coordinates in a box of a canvas (pixels); values outside of the limits are drawn at the edge.

    Attributes
    ----------
    x_limits, y_limits : values at left and right, at bottom and top
    log : the y axis is logarithmic (its limits are above 0)
    """

    canvas: Canvas
    left: float
    top: float
    right: float
    bottom: float
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    log: bool = False

    def x(self, value: float) -> float:
        """Pixel of a value of the x axis."""
        return self.left + (self.right - self.left) * _share(value, self.x_limits)

    def y(self, value: float) -> float:
        """Pixel of a value of the y axis."""
        limits = self.y_limits
        if self.log:
            value, limits = math.log(max(value, 1e-300)), (math.log(limits[0]), math.log(limits[1]))
        return self.bottom - (self.bottom - self.top) * _share(value, limits)

    def frame(
        self,
        *,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        x_label: str = "",
        y_label: str = "",
        title: str = "",
        x_texts: Sequence[str] | None = None,
        y_texts: Sequence[str] | None = None,
        grid: bool = True,
        size: float = 12,
    ) -> None:
        """Box, ticks and words; to be drawn before the data.

        Parameters
        ----------
        x_label, y_label : quantity and unit; that of y stands above the box, at its left end
        title : above the box, right-hand side
        x_texts, y_texts : what stands at the ticks; default: the numbers
        """
        canvas = self.canvas
        for tick, text in zip(y_ticks, y_texts or _numbers(y_ticks)):
            if grid:
                canvas.line([(self.left, self.y(tick)), (self.right, self.y(tick))], GRID, 1)
            canvas.line([(self.left - 4, self.y(tick)), (self.left, self.y(tick))], EDGE, 1)
            canvas.text(self.left - 8, self.y(tick), text, SOFT, size, "rm")
        for tick, text in zip(x_ticks, x_texts or _numbers(x_ticks)):
            if grid:
                canvas.line([(self.x(tick), self.top), (self.x(tick), self.bottom)], GRID, 1)
            canvas.line([(self.x(tick), self.bottom), (self.x(tick), self.bottom + 4)], EDGE, 1)
            if x_texts is None or text:
                canvas.text(self.x(tick), self.bottom + 7, text, SOFT, size, "mt")
        corners = [(self.left, self.top), (self.right, self.top), (self.right, self.bottom), (self.left, self.bottom)]
        canvas.line([*corners, corners[0]], EDGE, 1)
        if x_label:
            canvas.text((self.left + self.right) / 2, self.bottom + 12 + size, x_label, SOFT, size, "mt")
        canvas.text(self.left, self.top - 9, y_label, INK, size + 1, "ls")
        canvas.text(self.right, self.top - 9, title, SOFT, size, "rs")

    def line(self, x: ArrayLike, y: ArrayLike, colour: str, width: float = 2, *, mark: str | None = None) -> None:
        """A polyline with gaps where a value is missing (NaN, infinite).

        Parameters
        ----------
        mark : "disc" or "ring" at every point of a line of few points, and at points without neighbours; None: none
        """
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        for first, last in runs(np.isfinite(xs) & np.isfinite(ys)):
            points = [(self.x(xs[i]), self.y(ys[i])) for i in range(first, last)]
            if len(points) > 1:
                self.canvas.line(points, colour, width)
            if mark and (len(xs) <= _MOST_MARKED or len(points) == 1):
                for point in points:
                    draw_mark(self.canvas, *point, colour, mark)


def draw_mark(canvas: Canvas, x: float, y: float, colour: str, mark: str, radius: float = 3.6) -> None:
    """A "disc", or a "ring" with white inside."""
    if mark == "ring":
        canvas.dot(x, y, radius, "#ffffff", edge=colour, width=1.6)
    else:
        canvas.dot(x, y, radius, colour)


def runs(where: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [first, last) in which a (n,) bool array is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(where, dtype=bool), [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if span / (factor * power) <= most + 1e-9)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times the powers of ten between two positive limits; powers of ten alone where those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return 0.5 if high == low else min(max((value - low) / (high - low), 0.0), 1.0)


def _numbers(values: Sequence[float]) -> list[str]:
    return [f"{round(value, 10):g}" if abs(value) < 1e5 else f"{value:.0f}" for value in values]
