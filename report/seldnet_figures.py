"""python -m report.seldnet_figures RAW_DIR: predictions of systems with separate activity beside the reference."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from output_format.contract import ActivityApart, Frames
from output_format.formats import OUTPUT_FORMATS
from report.analysis import find_file, raw_folder
from report.axes import INK, SOFT, Axes, runs, ticks
from report.canvas import Canvas, clock, nice_step, shortened
from report.colours import class_colours, pale
from util.audio import audio_info, read_audio
from util.cli import run_main
from util.errors import InputError
from util.files import read_json, written_whole
from util.find import files_in
from util.intervals import IntervalTable
from util.label_sheet import Clip
from util.labels import read_label_intervals

STYLES = ("2018", "2019", "two_stage")
_WIDTH, _PANEL, _LEFT, _RIGHT = 1600, 690, 84, 860  # picture, panels and the left ends of their two columns
_RANGE_DB = 80  # of the spectrogram, below its loudest place
_WINDOW_S = 0.04
_SECONDS_TO = 120  # longer recordings have minutes at the time axis


@dataclass(frozen=True)
class Part:
    """What is active where: the reference, or a prediction.

    Attributes
    ----------
    active : (classes, frames) bool
    azimuth_deg, elevation_deg : (classes, frames), NaN where there is no direction
    axes : (2 or 3, classes, frames), x, y (and z)
    """

    active: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, frames: Frames, thresholds: np.ndarray) -> Part:
        """Frames of an output, or of labels, active above thresholds (classes,)."""
        active = frames.activity > thresholds[:, None]
        return cls(active, frames.azimuth_deg, frames.elevation_deg, frames.vectors)


@dataclass(frozen=True)
class ShownClip:
    """One recording with its raw output decoded frame by frame.

    Attributes
    ----------
    style : in which its publication draws the system, of `STYLES`
    reference : None without labels
    """

    name: str
    system: str
    style: str
    classes: tuple[str, ...]
    recording: Path
    frame_s: float
    reference: Part | None
    estimated: Part

    @property
    def duration_s(self) -> float:
        """Length of the output."""
        return self.estimated.active.shape[1] * self.frame_s


@dataclass(frozen=True)
class _Row:
    """One row of panels: a quantity of the classes over time.

    Attributes
    ----------
    values : (classes, frames) of a part, NaN where nothing is to be drawn
    texts : at the ticks; None: the numbers
    stroke : width of what is drawn, against the usual one
    """

    label: str
    limits: tuple[float, float]
    ticks: tuple[float, ...]
    height: int
    values: Callable[[Part], np.ndarray]
    texts: tuple[str, ...] | None = None
    stroke: float = 1.0


def load_shown(raw: Path) -> ShownClip:
    """A raw output <clip>.npy with the json beside it, its labels and the path of its sound.

    Raises
    ------
    InputError : a file is missing or damaged; an output of another format
    """
    if not raw.is_file():
        raise InputError("no such file", path=raw)
    beside = raw.with_suffix(".json")
    about = read_json(beside)
    name = about.get("format") if isinstance(about, dict) else None
    if name not in OUTPUT_FORMATS:
        raise InputError(f"holds output of format {name}; known are {', '.join(OUTPUT_FORMATS)}", path=beside)
    try:
        classes = tuple(about["classes"])
        output_format = OUTPUT_FORMATS[name].from_description(about, len(classes))
        if not isinstance(output_format, ActivityApart):
            rule = f"holds output of format {name}, whose activity and directions are one"
            raise InputError(f"{rule}: the player shows it (python -m report --player)", path=beside)
        thresholds = np.broadcast_to(np.asarray(about["thresholds"], dtype=np.float64), (len(classes),))
        output = np.load(raw, allow_pickle=False)
        frames = output_format.frames_of(output)
        if output.shape[1] != len(classes):
            raise ValueError(f"{output.shape[1]} classes, its json names {len(classes)}")
        estimated = Part.of(frames, thresholds)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise InputError(f"is no raw output that its json describes ({error})", path=raw) from None
    table = _labels(about, classes, raw)
    reference = None
    if table is not None:
        reference = Part.of(output_format.taught(table, output.shape[-1]), np.zeros(len(classes)))
    return ShownClip(
        name=raw.stem,
        system=str(about.get("system", "")),
        style=output_format.figure_style,
        classes=classes,
        recording=_found(about, "recording", raw),
        frame_s=output_format.frame_s,
        reference=reference,
        estimated=estimated,
    )


def _labels(about: dict[str, Any], classes: Sequence[str], raw: Path) -> IntervalTable | None:
    if not about.get("labels"):
        return None
    dialect = about.get("label_dialect", "starss23")
    return read_label_intervals(_found(about, "labels", raw), dialect, classes, clip=Clip.of(about))


def _found(about: dict[str, Any], kind: str, raw: Path) -> Path:
    """The recording or the labels of a raw output.

    Raises
    ------
    InputError : the file is not where the json says
    """
    given = about.get(kind)
    beside = raw.with_suffix(".json")
    if not given:
        raise InputError(f"names no {kind}", path=beside)
    path = find_file(given, raw)
    if path is None:
        rule = f'no such file: it was moved; put it back, or correct "{kind}" in {beside}'
        raise InputError(rule, path=given)
    return path


def seldnet_figure(clip: ShownClip, *, style: str | None = None) -> np.ndarray:
    """Spectrogram on top; below it the reference on the left, the prediction on the right, coloured by class.

    Rows of style "2018" are detection, x, y (and z), as in Adavanne et al. (JSTSP 2018); of style "2019" class,
    azimuth and elevation, as the baseline of DCASE2019 task 3 draws them; of style "two_stage" the same with the names
    of the classes and thick strokes, as Cao et al. (DCASE2019 workshop). The prediction lies on a pale reference.

    Parameters
    ----------
    style : None: that of the system

    Returns
    -------
    (height, width, 3) uint8 RGB
    """
    rows = _rows(clip, style or clip.style)
    shown = _spectrum_place()
    tops, bottom = [], shown[3] + 104
    for row in rows:
        tops.append(bottom)
        bottom += row.height + 42
    canvas = Canvas(_WIDTH, bottom + 14)
    step_s = nice_step(clip.duration_s)
    time_ticks = [index * step_s for index in range(int(clip.duration_s / step_s + 1e-9) + 1)]
    _words(canvas, clip)
    _spectrum_axes(canvas, clip, shown, time_ticks, step_s)
    for column, word, parts in (
        (_LEFT, "Reference", ((clip.reference, False),)),
        (_RIGHT, "Prediction", ((clip.reference, True), (clip.estimated, False))),
    ):
        canvas.text(column + _PANEL / 2, tops[0] - 32, word, INK, 19, "ms")
        for row, top in zip(rows, tops):
            box = column, top, column + _PANEL, top + row.height
            last = row is rows[-1]
            axes = Axes(canvas, *box, (0, clip.duration_s), row.limits)
            axes.frame(
                x_ticks=time_ticks,
                x_texts=_time_texts(clip, time_ticks, step_s) if last else [""] * len(time_ticks),
                x_label=_time_label(clip) if last else "",
                y_ticks=row.ticks,
                y_texts=row.texts,
                y_label=row.label,
                size=13 if row.texts is None else 12,
            )
            for part, under in parts:
                if part is not None:
                    _draw(axes, row.values(part), clip, under=under, stroke=row.stroke)
            if parts[0][0] is None and column == _LEFT:
                canvas.text((axes.left + axes.right) / 2, (axes.top + axes.bottom) / 2, "no labels", SOFT, 14, "mm")
    picture = canvas.rgb().copy()
    _put_spectrum(picture, clip, shown)
    return picture


def _rows(clip: ShownClip, style: str) -> list[_Row]:
    count = len(clip.classes)
    step = max(1, int(ticks(0, count, most=8)[1]))
    classes = _Row(
        "Sound event class, index" if style == "2019" else "SED: active classes, index",
        (-1, count + 1),
        tuple(range(0, count, step)),
        200,
        lambda part: np.where(part.active, np.arange(count)[:, None], np.nan),
    )
    if style == "2018":
        names = "xyz"[: len(clip.estimated.axes)]
        return [classes, *(_axis_row(index, name) for index, name in enumerate(names))]
    if style == "two_stage":
        return _rows_of_two_stage(clip, classes)
    part = clip.reference or clip.estimated  # a prediction beyond the labels' range is drawn at the edge
    steep = (np.abs(part.elevation_deg[part.active]) > 50).any()
    return [
        classes,
        _Row(
            "Azimuth / degrees (left is positive)",
            (-190, 190),
            (-180, -90, 0, 90, 180),
            200,
            lambda part: np.where(part.active, part.azimuth_deg, np.nan),
        ),
        _Row(
            "Elevation / degrees",
            (-95, 95) if steep else (-50, 50),
            (-90, -45, 0, 45, 90) if steep else (-40, -20, 0, 20, 40),
            170,
            lambda part: np.where(part.active, part.elevation_deg, np.nan),
        ),
    ]


def _rows_of_two_stage(clip: ShownClip, classes: _Row) -> list[_Row]:
    """Class names upwards by their index, all azimuths, elevations from -50 to 50 degrees."""
    count, width = len(clip.classes), 12  # letters that fit beside a panel
    names = tuple(name if len(name) <= width else f"{name[: width - 1]}…" for name in clip.classes)
    detection = replace(
        classes,
        label="SED",
        limits=(-0.7, count - 0.3),
        ticks=tuple(range(count)),
        height=max(200, 17 * count),
        texts=names,
        stroke=1.5,
    )
    angles = (("Azimuth / degrees", 180, 60, 200), ("Elevation / degrees", 50, 25, 170))
    rows = [
        _Row(label, (-1.05 * most, 1.05 * most), tuple(range(-most, most + 1, step)), height, values, stroke=1.5)
        for (label, most, step, height), values in zip(
            angles,
            (
                lambda part: np.where(part.active, part.azimuth_deg, np.nan),
                lambda part: np.where(part.active, part.elevation_deg, np.nan),
            ),
        )
    ]
    return [detection, *rows]


def _axis_row(index: int, name: str) -> _Row:
    toward = ("front", "left", "up")[index]
    return _Row(
        f"DOA: {name} ({toward} is positive)",
        (-1.1, 1.1),
        (-1, -0.5, 0, 0.5, 1),
        140,
        lambda part: np.where(part.active, part.axes[index], np.nan),
    )


def _draw(axes: Axes, values: np.ndarray, clip: ShownClip, *, under: bool, stroke: float = 1.0) -> None:
    """Values (classes, frames) as dots in the classes' colours; `under`: broad and pale."""
    colours = class_colours(len(clip.classes))
    radius = stroke * (3.8 if under else 2.0)
    for colour, line in zip(colours, values):
        colour = pale(colour) if under else colour
        for first, last in runs(np.isfinite(line)):
            begin = first
            for place in range(first + 1, last + 1):  # equal values are one bar: the same picture, drawn at once
                if place < last and line[place] == line[begin]:
                    continue
                y = axes.y(line[begin])
                x0, x1 = axes.x((begin + 0.5) * clip.frame_s), axes.x((place - 0.5) * clip.frame_s)
                axes.canvas.dot(x0, y, radius, colour)
                if place - begin > 1:
                    axes.canvas.rectangle(x0, y - radius, x1, y + radius, colour)
                    axes.canvas.dot(x1, y, radius, colour)
                begin = place


def _words(canvas: Canvas, clip: ShownClip) -> None:
    """What the figure shows, on the left of the spectrogram, and the classes that occur, on its right."""
    left, top, right, bottom = _spectrum_place()
    room = left - _LEFT - 40
    canvas.text(24, top + 4, shortened(canvas, clip.name, 20, room + 60), INK, 20)
    canvas.text(24, top + 34, shortened(canvas, clip.system, 15, room + 60), SOFT, 15)
    canvas.line([(28, top + 76), (56, top + 76)], SOFT, 4)
    canvas.text(68, top + 76, "active, frame by frame", SOFT, 14)
    if clip.reference is not None:
        canvas.line([(28, top + 100), (56, top + 100)], pale(SOFT), 7.6)
        canvas.text(68, top + 100, "reference, under the prediction", SOFT, 14)
    occurs = clip.estimated.active.any(axis=1)
    if clip.reference is not None:
        occurs = occurs | clip.reference.active.any(axis=1)
    present, colours = np.flatnonzero(occurs).tolist(), class_colours(len(clip.classes))
    most = 2 * int((bottom - top + 18) // 19)
    shown = present if len(present) <= most else present[: most - 1]
    half = -(-len(shown) // 2) if len(shown) > most // 2 else len(shown)
    for place, index in enumerate(shown):
        x = right + 108 + (170 if place >= half else 0)
        y = top + 4 + 19 * (place - half if place >= half else place)
        canvas.dot(x, y, 5, colours[index])
        canvas.text(x + 12, y, shortened(canvas, f"{index}  {clip.classes[index]}", 13.5, 145), INK, 13.5)
    if len(shown) < len(present):
        canvas.text(right + 278, bottom + 16, f"and {len(present) - len(shown)} more", SOFT, 13)


def _spectrum_place() -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the spectrogram: centred, as wide as a panel."""
    left = (_WIDTH - _PANEL) // 2 + 8
    return left, 46, left + _PANEL, 226


def _spectrum_axes(
    canvas: Canvas, clip: ShownClip, place: tuple[int, int, int, int], time_ticks: list[float], step_s: float
) -> None:
    top_khz = audio_info(clip.recording).rate_hz / 2000
    axes = Axes(canvas, *place, (0, clip.duration_s), (0, top_khz))
    axes.frame(
        x_ticks=time_ticks,
        x_texts=_time_texts(clip, time_ticks, step_s),
        y_ticks=ticks(0, top_khz, most=5),
        y_label="Frequency / kHz",
        title="first channel",
        x_label=_time_label(clip),
        grid=False,
        size=13,
    )
    _, top, right, bottom = place
    for share, text in ((0.0, "0 dB"), (0.5, f"{-_RANGE_DB // 2}"), (1.0, f"{-_RANGE_DB}")):
        canvas.text(right + 34, top + share * (bottom - top), text, SOFT, 13, "lm")


def _put_spectrum(picture: np.ndarray, clip: ShownClip, place: tuple[int, int, int, int]) -> None:
    """The spectrogram and its colour bar into a finished picture."""
    left, top, right, bottom = place
    high, wide = bottom - top - 1, right - left - 1
    level_db = spectrogram_db(clip.recording, clip.duration_s, wide, high)
    picture[top + 1 : bottom, left + 1 : right] = _coloured(level_db)
    bar = np.repeat(np.linspace(0, -_RANGE_DB, high)[:, None], 12, axis=1)
    picture[top + 1 : bottom, right + 14 : right + 26] = _coloured(bar)


def _coloured(level_db: np.ndarray) -> np.ndarray:
    """Levels -80 to 0 dB as (height, width, 3) uint8 RGB; dark is silent in any colour vision."""
    # 64 steps are more than the eye tells apart, and make small files
    grey = np.clip(np.rint((level_db / _RANGE_DB + 1) * 63), 0, 63) * (255 / 63)
    return cv2.applyColorMap(grey.astype(np.uint8), cv2.COLORMAP_MAGMA)[..., ::-1]


def spectrogram_db(recording: Path, duration_s: float, width: int, height: int) -> np.ndarray:
    """Spectrogram of the first channel for a picture: (height, width) in dB, 0 at the loudest place, frequency upwards.

    Windows of about 40 ms (Hann), power averaged over the windows and bins of a pixel; linear frequency up to half the
    sampling rate. Beyond the end of the recording, and where it is silent, -infinity.

    Raises
    ------
    InputError : as `read_audio`
    """
    rate_hz = audio_info(recording).rate_hz
    size = 2 ** round(np.log2(_WINDOW_S * rate_hz))
    columns = 2 * width
    centre = (np.arange(columns) + 0.5) * duration_s * rate_hz / columns
    begin = np.rint(centre).astype(np.int64)
    waveform = read_audio(recording, start=-(size // 2), frames=int(begin[-1]) + size, rate_hz=rate_hz)[0]
    power = np.empty((columns, size // 2 + 1))
    window = np.hanning(size)
    for first in range(0, columns, 256):
        stretch = waveform[begin[first : first + 256, None] + np.arange(size)]
        power[first : first + 256] = np.abs(np.fft.rfft(stretch * window, axis=1)) ** 2
    power = power.reshape(width, 2, -1).mean(axis=1)
    edge = np.floor(np.arange(height) * (size // 2) / height).astype(np.int64)
    power = np.add.reduceat(power[:, : size // 2], edge, axis=1) / np.diff(np.append(edge, size // 2))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(power / (power.max() or 1.0)).T[::-1]


def _time_texts(clip: ShownClip, time_ticks: list[float], step_s: float) -> list[str]:
    return [f"{tick:g}" if clip.duration_s <= _SECONDS_TO else clock(tick, step_s) for tick in time_ticks]


def _time_label(clip: ShownClip) -> str:
    return "time / s" if clip.duration_s <= _SECONDS_TO else "time / min:s"


def main(argv: list[str] | None = None) -> int:
    """Draw the figures of a folder of raw outputs."""
    args = _parser().parse_args(argv)
    folder = raw_folder(Path(args.raw_dir))
    files = files_in(folder, [".npy"])
    if not files:
        raise InputError("holds no raw output (.npy)", path=folder)
    if args.clip:
        known = {file.stem: file for file in files}
        for name in args.clip:
            if name not in known:
                some = ", ".join(list(known)[:5]) + (" ..." if len(known) > 5 else "")
                raise InputError(f"holds no raw output of clip '{name}'; there are {some}", path=folder)
        files = [known[name] for name in args.clip]
    out = Path(args.out) if args.out else folder.with_name(f"figures_{folder.name.removeprefix('raw_')}")
    for file in tqdm(files, desc="figures", unit="clip", disable=len(files) < 4):
        picture = seldnet_figure(load_shown(file), style=args.style)
        with written_whole(out / f"{file.stem}.png") as temporary:
            if not cv2.imwrite(str(temporary), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]):
                raise OSError  # the disk is full
    print(f"figures {out} ({len(files)} png)" if len(files) > 1 else f"figure  {out / files[0].stem}.png")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m report.seldnet_figures",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""One picture per recording of what a system heard, beside what was there, of systems whose
detection stands apart from their directions (SELDnet, two-stage): the spectrogram on top; below it,
reference on the left and prediction on the right, one colour per class.
  style 2018       detected classes; x, y (and z) of their directions    (SELDnet, JSTSP 2018)
  style 2019       class index, azimuth, elevation                       (baseline of DCASE2019 task 3)
  style two_stage  class names, azimuth, elevation                       (Cao et al., DCASE2019 workshop)""",
        epilog="""An evaluation leaves the raw outputs that this reads:
  python seld.py --system seldnet2019 -eval -em RUN_DIR
examples
  python -m report.seldnet_figures RUN_DIR                         all recordings of its newest evaluation
  python -m report.seldnet_figures RUN_DIR/raw_LIST_0000400 --clip split1_ir0_ov2_7 --out figures""",
    )
    parser.add_argument("raw_dir", metavar="RAW_DIR", help="a folder of raw outputs, or a run folder (its newest)")
    parser.add_argument(
        "--clip", metavar="NAME", action="append", help="only this recording; may be given again [all of them]"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the pictures [figures_... beside RAW_DIR]")
    parser.add_argument("--style", choices=STYLES, help="rows of the figure [those of the system]")
    return parser


if __name__ == "__main__":
    sys.exit(run_main(main))
