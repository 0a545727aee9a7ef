"""Training curves of a run as one picture: losses and scores over the iterations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dcase2022_task3_seld_metrics.score_table import SCORES
from report.axes import INK, SOFT, Axes, draw_mark, log_ticks, ticks
from report.canvas import Canvas, shortened
from util.errors import InputError
from util.files import written_whole

_WIDTH, _HEIGHT = 1240, 860
_BLUE, _RED, _BEST = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito (2008)
_LOG_FROM = 20.0  # largest by smallest loss from which the axis is logarithmic


@dataclass(frozen=True)
class _Curve:
    """One line of a panel: the score's name in the history, what people call it, value = offset + factor * score."""

    score: str
    label: str
    factor: float = 1.0
    offset: float = 0.0

    def of(self, history: Sequence[dict[str, Any]]) -> np.ndarray:
        """(n,) float64, NaN where a line lacks the score."""
        values = [_number(line.get(self.score)) for line in history]
        return self.offset + self.factor * np.asarray(values)


@dataclass(frozen=True)
class _Panel:
    """Curves on one pair of axes; the first of several alternatives whose scores occur is drawn.

    Attributes
    ----------
    least : the y axis reaches at least to this value; None: as far as the values
    """

    label: str
    curves: tuple[_Curve, ...]
    least: float | None = None


def _of_score(name: str, remark: str = "") -> _Panel:
    """A panel of one score, as the table of scores has it."""
    score = SCORES[name]
    label = score.axis()[0].upper() + score.axis()[1:] + remark
    return _Panel(label, (_Curve(score.key, score.short, score.factor),), 100.0 if score.unit == "%" else None)


_SELD = SCORES["SELD"].key
_LOSS = _Panel("Loss", (_Curve("train_loss", "training"), _Curve("val_loss", "validation")))
# SELDnet 2018 and the baseline of 2019 score detection and directions apart, later editions jointly
_SCORES: tuple[tuple[_Panel, ...], ...] = (
    (_of_score("SELD", " (lower is better)"),),
    (_Panel("Detection errors", (_Curve("ER", "error rate ER"), _Curve("F", "1 - F", -1.0, 1.0)), 1.0),),
    (_of_score("DOA_error"), _of_score("LE")),
    (_of_score("frame_recall"), _of_score("LR")),
)


def draw_curves(history: Path, out: Path, *, title: str) -> None:
    """Losses, SELD error, detection errors, direction error and recall over the iterations, the best one marked.

    Parameters
    ----------
    history : history.jsonl of a run: a json object per line with "iteration", "train_loss", "val_loss" and scores
        (fractions and degrees); a value may be missing, null or NaN. Of lines with the same iteration, which a resumed
        run leaves, the last counts; a line that a crash cut short is passed over
    out : png file, written whole

    Raises
    ------
    InputError : no such file, or no line of it can be read
    """
    lines = read_history(history)
    canvas = Canvas(_WIDTH, _HEIGHT)
    canvas.text(70, 30, shortened(canvas, title, 18, _WIDTH - 100), INK, 18)
    best = best_line(lines)
    panels = [_LOSS, *(_chosen(alternatives, lines) for alternatives in _SCORES)]
    for index, panel in enumerate(panels):
        _draw(canvas, *_place(index), panel, lines, best)
    _summary(canvas, *_place(len(panels)), panels, lines, best)
    with written_whole(out) as temporary:
        if not cv2.imwrite(str(temporary), canvas.rgb()[..., ::-1]):
            raise OSError  # the disk is full


def read_history(path: Path) -> list[dict[str, Any]]:
    """Lines of a history by rising iteration, one per iteration.

    Raises
    ------
    InputError : no such file, or no line of it can be read
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    found: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        try:
            values = json.loads(line)
            found[int(values["iteration"])] = values
        except (ValueError, KeyError, TypeError):
            continue
    if not found:
        raise InputError("holds no line with an iteration and its scores", path=path)
    return [found[iteration] for iteration in sorted(found)]


def best_line(lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The first line with the lowest SELD error, as the checkpoint is chosen; None where no line has one."""
    scored = [line for line in lines if math.isfinite(_number(line.get(_SELD)))]
    return min(scored, key=lambda line: _number(line[_SELD]), default=None)


def _chosen(alternatives: Sequence[_Panel], lines: Sequence[dict[str, Any]]) -> _Panel:
    found = (p for p in alternatives if any(curve.score in line for curve in p.curves for line in lines))
    return next(found, alternatives[0])


def _place(index: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the index-th box of two columns and three rows."""
    row, column = divmod(index, 2)
    left, top = 70.0 + column * 610, 84.0 + row * 262
    return left, top, left + 530, top + 176


def _draw(
    canvas: Canvas,
    left: float,
    top: float,
    right: float,
    bottom: float,
    panel: _Panel,
    lines: Sequence[dict[str, Any]],
    best: dict[str, Any] | None,
) -> None:
    """One panel: axes, the best iteration, curves, legend."""
    iterations = [int(line["iteration"]) for line in lines]
    curves = [(curve, curve.of(lines)) for curve in panel.curves]
    y_limits, y_ticks, log = _scale(np.concatenate([values for _, values in curves]), panel)
    last = max(iterations)
    axes = Axes(canvas, left, top, right, bottom, (0, last) if last > 0 else (0, 1), y_limits, log)
    word = f"{panel.label}, logarithmic" if log else panel.label
    axes.frame(x_ticks=ticks(*axes.x_limits, most=7), y_ticks=y_ticks, x_label="iteration", y_label=word)
    if best is not None:
        _dashed(canvas, axes.x(int(best["iteration"])), top, bottom)
    styles = ((_BLUE, "disc"), (_RED, "ring"))
    for (_, values), (colour, mark) in zip(curves, styles):
        axes.line(iterations, values, colour, 2.2, mark=mark)
        if best is not None:
            value = values[iterations.index(int(best["iteration"]))]
            if math.isfinite(value):
                canvas.dot(axes.x(int(best["iteration"])), axes.y(value), 6.5, None, edge=_BEST, width=2.2)
    if not any(np.isfinite(values).any() for _, values in curves):
        canvas.text((left + right) / 2, (top + bottom) / 2, "no value yet", SOFT, 13, "mm")
    x = right
    for (curve, _), (colour, mark) in reversed(list(zip(curves, styles)) if len(curves) > 1 else []):
        x -= canvas.text_width(curve.label, 12.5)
        canvas.text(x, top - 9, curve.label, INK, 12.5, "ls")
        canvas.line([(x - 30, top - 13), (x - 6, top - 13)], colour, 2.2)
        draw_mark(canvas, x - 18, top - 13, colour, mark)
        x -= 46


def _scale(values: np.ndarray, panel: _Panel) -> tuple[tuple[float, float], list[float], bool]:
    """Limits and ticks of a y axis, and whether it is logarithmic."""
    values = values[np.isfinite(values)]
    high = max([*values.tolist(), panel.least or 0.0]) or 1.0
    positive = values[values > 0]
    if panel is _LOSS and len(positive) and high / positive.min() > _LOG_FROM:
        limits = (0.8 * float(positive.min()), 1.25 * high)
        return limits, log_ticks(*limits), True
    low = min(0.0, *values.tolist()) if len(values) else 0.0
    full = panel.least is not None and high <= panel.least  # a fixed range, which needs no room above
    limits = (1.05 * low, high if full else 1.06 * high)
    return limits, ticks(*limits, most=5), False


def _dashed(canvas: Canvas, x: float, top: float, bottom: float) -> None:
    for y in np.arange(top, bottom, 9):
        canvas.line([(x, y), (x, min(y + 5, bottom))], _BEST, 1.4)


def _summary(
    canvas: Canvas,
    left: float,
    top: float,
    right: float,
    bottom: float,
    panels: Sequence[_Panel],
    lines: Sequence[dict[str, Any]],
    best: dict[str, Any] | None,
) -> None:
    """The numbers of the best and of the last iteration."""
    columns = [(right - 20, "last", lines[-1])]
    if best is not None:
        columns.append((right - 150, "best", best))
        draw_mark(canvas, right - 150 - canvas.text_width("best", 14) - 14, top - 14, _BEST, "ring", 6)
    canvas.text(left, top + 6, "iteration", SOFT, 13)
    for x, word, line in columns:
        canvas.text(x, top - 14, word, INK, 14, "rm")
        canvas.text(x, top + 6, str(line["iteration"]), INK, 14, "rm")
    canvas.line([(left, top + 20), (right - 20, top + 20)], "#c9d1da", 1)
    y = top + 38
    for panel in panels:
        for curve in panel.curves:
            name = {"training": "training loss", "validation": "validation loss"}.get(curve.label, curve.label)
            unit = next((f" / {unit}" for unit in ("degrees", "%") if panel.label.endswith(unit)), "")
            canvas.text(left, y, name + unit, INK, 13.5)
            for x, _, line in columns:
                value = float(curve.of([line])[0])
                canvas.text(x, y, _text(value, unit), INK, 13.5, "rm")
            y += 23


def _text(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "none"
    return f"{value:.1f}" if unit else f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def _number(value: Any) -> float:
    """A score as it stands in the history; NaN where it is missing, null or no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
