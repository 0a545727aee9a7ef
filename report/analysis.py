"""What an evaluation page shows, as numbers: scores, confusion, errors by place, floors and ceilings of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from dcase2022_task3_seld_metrics import Comparison, Result, score
from dcase2022_task3_seld_metrics.editions import DEFAULT, EDITIONS
from dcase2022_task3_seld_metrics.score_table import in_order
from output_format.candidates import Candidates, merge
from output_format.contract import OneTask
from output_format.formats import OUTPUT_FORMATS
from output_format.multi_accdoa import LABEL_FRAME_S
from report.matching import match
from util.angles import angle_between_deg, degrees_from_direction, direction_from_degrees
from util.audio import audio_info, read_audio
from util.dialects import as_written, dialect_named
from util.errors import InputError
from util.events import EventTable
from util.files import read_json
from util.find import files_in
from util.label_sheet import Clip
from util.labels import read_label_events
from util.microphone_arrays import Array


@dataclass(frozen=True, eq=False)
class ClipResult:
    """One recording: what the network said and what the labels say.

    Attributes
    ----------
    description : the json beside the raw output
    raw : path of the raw output
    """

    name: str
    description: dict[str, Any]
    raw: Path
    candidates: Candidates
    estimated: EventTable
    reference: EventTable

    def path(self, kind: str) -> Path | None:
        """The recording's file of a kind ("recording", "video", "labels") if it is still there."""
        given = self.description.get(kind)
        return find_file(given, self.raw) if given else None

    @property
    def array(self) -> Array | None:
        """What the channels of its audio are."""
        return Array.from_dict(self.description["array"]) if self.description.get("array") else None


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """One evaluation of one run: the clips of a raw_* folder and what is known of the run.

    Attributes
    ----------
    name : what the page calls it
    folder : the raw_* folder
    remarks : lines of its result file that say how the scores were made
    args : the run's resolved configuration
    """

    name: str
    folder: Path
    clips: tuple[ClipResult, ...]
    classes: tuple[str, ...]
    thresholds: np.ndarray
    unification_deg: float
    remarks: tuple[str, ...]
    args: dict[str, Any]

    @property
    def edition(self) -> tuple[str, str]:
        """Edition and average of the metrics: as the raw output names them, else as of the run's training.

        An average that the edition has not is its own: those of 2020 and 2021 have but one.

        Editions that know no scores of classes (2018, 2019), and those with distances where the labels or the network
        have none, are shown by the joint metrics of 2023.
        """
        about = self.clips[0].description
        edition, average = (about.get(name) or self.args.get(name) for name in ("edition", "average"))
        known = EDITIONS.get(str(edition))
        fits = known is not None and known.has_classes and (not known.distance or self._has_distances)
        row = known if known is not None and fits else EDITIONS[DEFAULT]
        return row.name, str(average) if average in row.averages else row.averages[0]

    @property
    def _has_distances(self) -> bool:
        """Whether every event has one, of the labels and of the network."""
        return all(
            clip.candidates.distance_m is not None and not np.isnan(clip.reference.distance_m).any()
            for clip in self.clips
        )

    def score(self, estimate: Callable[[ClipResult], EventTable] | None = None) -> Result:
        """Official scores of the clips, of the run's own events or of those that `estimate` gives."""
        reference = {clip.name: clip.reference for clip in self.clips}
        estimated = {clip.name: clip.estimated if estimate is None else estimate(clip) for clip in self.clips}
        edition, average = self.edition
        return score(reference, estimated, classes=self.classes, edition=edition, average=average)

    @cached_property
    def result(self) -> Result:
        """Official scores of the run's own events."""
        return self.score()

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores of its edition, as pages show them."""
        return in_order(self.result.overall)


def load_evaluation(path: Path, *, name: str | None = None, only: str | None = None) -> EvaluatedRun:
    """Read an evaluation.

    Parameters
    ----------
    path : a run folder (its newest raw_* folder is taken), or a raw_* folder
    only : of a run folder, the raw_* folder whose name holds this text

    Raises
    ------
    InputError : there is no raw output, or none with labels; a file is damaged
    """
    folder = raw_folder(Path(path), only)
    files = files_in(folder, [".npy"])
    if not files:
        raise InputError("holds no raw output (.npy)", path=folder)
    clips = [clip for clip in map(_load_clip, files) if clip is not None]
    if not clips:
        raise InputError("no recording of it has labels: there is nothing to compare with", path=folder)
    about = clips[0].description
    run_dir = folder.parent
    args = read_json(run_dir / "args.json") if (run_dir / "args.json").is_file() else {}
    result_file = run_dir / f"result_{folder.name.removeprefix('raw_')}.txt"
    remarks: tuple[str, ...] = ()
    if result_file.is_file():
        lines = result_file.read_text(encoding="utf-8").splitlines()
        remarks = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    return EvaluatedRun(
        name=name or run_dir.name,
        folder=folder,
        clips=tuple(clips),
        classes=tuple(about["classes"]),
        thresholds=np.asarray(about["thresholds"], dtype=np.float64),
        unification_deg=float(about["unification_deg"]),
        remarks=remarks,
        args=args,
    )


def raw_folder(path: Path, only: str | None = None) -> Path:
    """A raw_* folder: the path itself, or the newest one of a run folder (whose name holds `only`).

    Raises
    ------
    InputError : there is none
    """
    if not path.is_dir():
        raise InputError("no such folder", path=path)
    if files_in(path, [".npy"]):
        return path
    folders = [folder for folder in path.glob("raw_*") if folder.is_dir() and (only is None or only in folder.name)]
    if not folders:
        wanted = "" if only is None else f" whose name holds '{only}'"
        raise InputError(f"holds no raw_* folder{wanted}: evaluate the run first (python seld.py -eval)", path=path)
    # A score with the clips' own boxes and the network's own activity is the run's; others are shown beside it.
    own = [folder for folder in folders if not folder.name.endswith(("-boxes", "-activity"))] or folders
    return max(own, key=lambda folder: folder.stat().st_mtime)


def with_other_boxes(evaluation: EvaluatedRun) -> list[EvaluatedRun]:
    """The same checkpoint on the same list with other person boxes, where it was evaluated so."""
    folders = sorted(evaluation.folder.parent.glob(f"{evaluation.folder.name}_*-boxes"))
    others = []
    for folder in folders:
        boxes = folder.name.removeprefix(evaluation.folder.name + "_").removesuffix("-boxes")
        others.append(load_evaluation(folder, name=boxes))
    return others


def load_clip(raw: Path) -> ClipResult:
    """One raw output with its json; without labels the reference is empty.

    Raises
    ------
    InputError : a file is missing or damaged
    """
    about = read_json(raw.with_suffix(".json"))
    try:
        output_format = OUTPUT_FORMATS[about["format"]].from_description(about, len(about["classes"]))
        thresholds = np.asarray(about["thresholds"], dtype=np.float64)
        candidates = output_format.candidates(np.load(raw, allow_pickle=False), frame_s=LABEL_FRAME_S)
        estimated = merge(candidates, thresholds, float(about["unification_deg"]))
        edition = EDITIONS.get(str(about.get("edition")))
        if edition is not None and edition.distance and edition.dialect is not None:
            estimated = as_written(estimated, dialect_named(edition.dialect))  # what is scored: whole numbers in 2025
    except (KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise InputError(f"is no raw output that its json describes ({error})", path=raw) from None
    reference = EventTable.make(frame_s=candidates.frame_s)
    labels = find_file(about["labels"], raw) if about.get("labels") else None
    if labels is not None:
        dialect = about.get("label_dialect", "starss23")
        reference = read_label_events(
            labels, dialect, about["classes"], frame_s=candidates.frame_s, clip=Clip.of(about)
        ).in_plane()
    if isinstance(output_format, OneTask):  # beside the labels as far as it can say them
        reference = output_format.reduced(reference)
        about = {**about, "classes": list(output_format.shown_classes(about["classes"]))}
    return ClipResult(raw.stem, about, raw, candidates, estimated, reference)


def find_file(given: str, raw: Path) -> Path | None:
    """A file that a raw output's json names, None where it is not.

    A relative path was written from where the evaluation was started: it is looked for in the working directory, then
    in each folder above the raw output, nearest first (one of them holds the data root).
    """
    path = Path(given)
    if path.is_file():
        return path
    if path.is_absolute():
        return None
    return next((found for folder in raw.resolve().parents if (found := folder / path).is_file()), None)


def _load_clip(raw: Path) -> ClipResult | None:
    clip = load_clip(raw)
    if clip.description.get("labels") and clip.path("labels") is None:
        raise InputError("the labels of a recording are not there any more; run this where they are", path=clip.raw)
    return clip if clip.description.get("labels") else None


def paired(first: Result, second: Result) -> Comparison:
    """The comparison of two runs (second minus first) on the recordings that both have, by recording and by room.

    Raises
    ------
    InputError : they have no recording in common, or other settings of the metrics
    """
    if first.settings != second.settings:
        raise InputError("runs scored by different editions or averages cannot be compared")
    common = [name for name in first.files if name in set(second.files)]
    if not common:
        raise InputError("runs without a common recording cannot be compared pairwise")
    return Comparison(first.select(common), second.select(common))


# ---- floors and ceilings ---------------------------------------------------------------------------------------------


def bounds(evaluation: EvaluatedRun) -> list[tuple[str, str, Result]]:
    """Scores that say what the run's scores are worth: (name, explanation, result), floors before ceilings."""
    in_front = _Usual.of(evaluation)
    rows = [
        (
            "class prior",
            "the most frequent classes, always in front at the median distance: hears nothing (chosen on these labels)",
            _always_the_same(evaluation, in_front),
        ),
        (
            "constant front",
            "every event detected, always in front, at the median distance: knows no place",
            lambda clip: in_front.at(clip.reference, np.zeros((len(clip.reference), 2))),
        ),
        (
            "intensity direction, true activity",
            "every event detected, at the direction of the sound intensity: no learning (FOA only)",
            partial(_intensity, usual=in_front) if all(_is_foa(clip) for clip in evaluation.clips) else None,
        ),
        (
            "true activity, predicted direction",
            "every event detected, where the network points: ceiling of detection",
            partial(_true_activity, usual=in_front),
        ),
        (
            "predicted activity, true direction",
            "what the network detects, at its true place: ceiling of localisation",
            _true_direction,
        ),
    ]
    return [(name, text, evaluation.score(rule)) for name, text, rule in rows if rule is not None]


@dataclass(frozen=True)
class _Usual:
    """What the labels mostly say beside the direction.

    Attributes
    ----------
    distance_m : median; NaN where they have none
    onscreen : 1 where most events are on the screen, else 0; NaN where they do not say
    """

    distance_m: float
    onscreen: float

    @classmethod
    def of(cls, evaluation: EvaluatedRun) -> _Usual:
        """Of all labels of an evaluation."""
        distance, onscreen = (
            np.concatenate([getattr(clip.reference, name) for clip in evaluation.clips])
            for name in ("distance_m", "onscreen")
        )
        known = [column[np.isfinite(column)] for column in (distance, onscreen)]
        middle = [float(np.median(column)) if len(column) else math.nan for column in known]
        return cls(middle[0], middle[1] if math.isnan(middle[1]) else float(middle[1] > 0.5))

    def at(self, table: EventTable, directions_deg: np.ndarray) -> EventTable:
        """The events of a table at other directions (n, 2), as far away and as visible as most are."""
        azimuth_deg, elevation_deg = directions_deg.T
        others = {name: np.full(len(table), getattr(self, name)) for name in ("distance_m", "onscreen")}
        return table.replace(azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, **others)


def _always_the_same(evaluation: EvaluatedRun, usual: _Usual) -> Callable[[ClipResult], EventTable]:
    count = np.zeros(len(evaluation.classes))
    frames = 0
    for clip in evaluation.clips:
        count += np.bincount(clip.reference.class_index, minlength=len(count))
        frames += len(np.unique(clip.reference.frame))
    sources = max(1, round(count.sum() / max(frames, 1)))
    chosen = np.argsort(-count, kind="stable")[:sources]

    def rule(clip: ClipResult) -> EventTable:
        length = int(clip.reference.frame.max(initial=-1)) + 1
        frame = np.repeat(np.arange(length), len(chosen))
        index = np.tile(chosen, length)
        table = EventTable.make(frame=frame, class_index=index, frame_s=clip.reference.frame_s)
        return usual.at(table, np.zeros((len(frame), 2)))

    return rule


def _is_foa(clip: ClipResult) -> bool:
    audio = clip.path("recording")
    return audio is not None and clip.array is not None and clip.array.kind == "ambisonics"


def _intensity(clip: ClipResult, usual: _Usual) -> EventTable:
    """The labels' activity at the direction of the active intensity of each frame, 100 Hz to 5 kHz."""
    table, audio = clip.reference, clip.path("recording")
    if not len(table) or audio is None:
        return table
    rate = 24000
    hop = round(table.frame_s * rate)
    count = int(table.frame.max()) + 1
    frames = max(count, math.ceil(audio_info(audio).duration_s / table.frame_s))
    waveform = read_audio(audio, frames=frames * hop, rate_hz=rate, channels=4)
    window = np.hanning(hop).astype(np.float32)
    spectrum = np.fft.rfft(waveform.reshape(4, frames, hop) * window, axis=-1)
    hertz = np.fft.rfftfreq(hop, 1 / rate)
    w, y, z, x = spectrum[..., (hertz > 100) & (hertz < 5000)]
    intensity = np.stack([np.sum((np.conj(w) * axis).real, axis=-1) for axis in (x, y, z)], axis=-1)
    return usual.at(table, np.stack(degrees_from_direction(intensity), axis=-1)[table.frame])


def _true_activity(clip: ClipResult, usual: _Usual) -> EventTable:
    """Each label at the place of the network's track for it: tracks are assigned to labels, strongest first."""
    candidates = clip.candidates
    table = usual.at(clip.reference, np.zeros((len(clip.reference), 2)))
    found = {
        name: getattr(table, name).copy()
        for name in ("azimuth_deg", "elevation_deg", "distance_m", "onscreen")
        if getattr(candidates, name) is not None
    }
    inside = table.frame < len(candidates.activity)
    order = np.lexsort((table.class_index, table.frame))
    keys = table.frame[order] * len(clip.description["classes"]) + table.class_index[order]
    for rows in np.split(order, np.flatnonzero(np.diff(keys)) + 1) if len(order) else []:
        if not inside[rows[0]]:
            continue
        cell = table.frame[rows[0]], table.class_index[rows[0]]
        strongest = np.argsort(-candidates.activity[cell], kind="stable")
        picked = np.resize(strongest[: len(rows)], len(rows))
        for name, column in found.items():
            column[rows] = getattr(candidates, name)[cell][picked]
    if "onscreen" in found:
        found["onscreen"] = (found["onscreen"] > 0.5).astype(np.float64)
    return table.replace(**found)


def _true_direction(clip: ClipResult) -> EventTable:
    table, found = clip.estimated, match(clip.reference, clip.estimated).estimated
    matched, columns = found >= 0, {}
    for name in ("azimuth_deg", "elevation_deg", "distance_m", "onscreen"):
        columns[name] = getattr(table, name).copy()
        columns[name][matched] = getattr(clip.reference, name)[found[matched]]
    return table.replace(**columns)


# ---- where the errors are --------------------------------------------------------------------------------------------


def confusion(evaluation: EvaluatedRun, *, within_deg: float = 20.0) -> np.ndarray:
    """Rows of the reference by what stands at their place: (classes + 1, classes + 1) counts.

    In every frame references and predictions of any class are assigned to each other within `within_deg`, those of one
    class first. Last column: reference with nothing there; last row: prediction where nothing is.
    """
    count = len(evaluation.classes)
    matrix = np.zeros((count + 1, count + 1), dtype=np.int64)
    for clip in evaluation.clips:
        reference, estimated = clip.reference, clip.estimated
        first = direction_from_degrees(reference.azimuth_deg, reference.elevation_deg).reshape(-1, 3)
        second = direction_from_degrees(estimated.azimuth_deg, estimated.elevation_deg).reshape(-1, 3)
        lonely = np.ones(len(reference), dtype=bool)
        false = np.ones(len(estimated), dtype=bool)
        at_reference, at_estimated = _rows_by_frame(reference), _rows_by_frame(estimated)
        for frame, rows in at_reference.items():
            columns = at_estimated.get(frame)
            if columns is None:
                continue
            angle = angle_between_deg(first[rows][:, None], second[columns][None])
            other = reference.class_index[rows][:, None] != estimated.class_index[columns][None]
            cost = np.where(angle <= within_deg, angle + 1e3 * other, 1e7)
            for row, column in zip(*linear_sum_assignment(cost)):
                if angle[row, column] <= within_deg:
                    r, e = rows[row], columns[column]
                    matrix[reference.class_index[r], estimated.class_index[e]] += 1
                    lonely[r] = false[e] = False
        matrix[:count, count] += np.bincount(reference.class_index[lonely], minlength=count)
        matrix[count, :count] += np.bincount(estimated.class_index[false], minlength=count)
    return matrix


def _rows_by_frame(table: EventTable) -> dict[int, np.ndarray]:
    order = np.argsort(table.frame, kind="stable")
    frames, starts = np.unique(table.frame[order], return_index=True)
    return dict(zip(frames.tolist(), np.split(order, starts[1:])))


@dataclass(frozen=True)
class Binned:
    """A quantity of matched pairs by bins: (bins,) arrays; NaN where a bin is empty.

    `count` and `references` are the pairs and the reference rows of a bin; `recall` is count / references.
    """

    centre: np.ndarray
    label: list[str]
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    references: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """Share of the reference rows of a bin that were detected, at any distance."""
        return self.count / np.where(self.references > 0, self.references, np.nan)


def errors_by_place(evaluation: EvaluatedRun) -> dict[str, Binned]:
    """Angular error of matched pairs (same frame and class) against what the reference says of the source.

    "azimuth", "elevation", "sources" (sounding at once), and "distance" where the labels know it.
    """
    angles: list[np.ndarray] = []
    values: dict[str, list[np.ndarray]] = {}
    every: dict[str, list[np.ndarray]] = {}
    for clip in evaluation.clips:
        table = clip.reference
        found = match(table, clip.estimated)
        paired = found.reference >= 0
        angles.append(found.angle_deg[found.reference[paired]])
        sources = np.bincount(table.frame)[table.frame] if len(table) else np.zeros(0)
        columns = {"azimuth": table.azimuth_deg, "elevation": table.elevation_deg, "distance": table.distance_m}
        for name, column in {**columns, "sources": sources.astype(np.float64)}.items():
            values.setdefault(name, []).append(column[paired])
            every.setdefault(name, []).append(column)
    angle = np.concatenate(angles)
    bins: dict[str, Binned] = {}
    edges = {
        "azimuth": (np.arange(-180, 181, 30), _degrees_label),
        "elevation": (np.array([-90, -45, -30, -15, 0, 15, 30, 45, 90.001]), _degrees_label),
        "distance": (np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 6, 1e3]), _distance_label),
        "sources": (np.array([0.5, 1.5, 2.5, 3.5, 4.5, 1e3]), lambda a, b: "5 or more" if a > 4 else f"{a + 0.5:.0f}"),
    }
    for name, (limits, label) in edges.items():
        value, whole = np.concatenate(values[name]), np.concatenate(every[name])
        if not np.isfinite(whole).any():
            continue
        if name == "azimuth":  # the label 180 is -180
            value, whole = (np.where(column >= 180, column - 360, column) for column in (value, whole))
        bins[name] = _binned(angle, value, whole, limits.astype(np.float64), label)
    return bins


def _degrees_label(low: float, high: float) -> str:
    return " to ".join("0°" if abs(edge) < 0.5 else f"{edge:+.0f}°" for edge in (low, high))


def _distance_label(low: float, high: float) -> str:
    return f"above {low:g} m" if high > 100 else f"{low:g} to {high:g} m"


def _binned(
    angle: np.ndarray, value: np.ndarray, every: np.ndarray, edges: np.ndarray, label: Callable[[float, float], str]
) -> Binned:
    place = np.digitize(value, edges) - 1
    groups = [angle[place == index] for index in range(len(edges) - 1)]
    quartiles = np.array([np.percentile(g, [25, 50, 75]) if len(g) else [np.nan] * 3 for g in groups])
    count = np.array([len(group) for group in groups])
    references = np.histogram(every[np.isfinite(every)], edges)[0]
    centre = (edges[:-1] + np.minimum(edges[1:], 2 * edges[-2] - edges[-3])) / 2
    labels = [label(low, high) for low, high in itertools.pairwise(edges)]
    kept = references > 0
    return Binned(
        centre[kept],
        [one for one, keep in zip(labels, kept) if keep],
        quartiles[kept, 1],
        quartiles[kept, 0],
        quartiles[kept, 2],
        count[kept],
        references[kept],
    )


def _table_of(tables: Mapping[str, EventTable], clip: ClipResult) -> EventTable:
    return tables[clip.name]


def by_threshold(evaluation: EvaluatedRun, thresholds: Sequence[float]) -> dict[str, np.ndarray]:
    """Scores with one threshold for all classes: score -> (thresholds,), and "precision", "recall" of frame rows."""
    out: dict[str, list[float]] = {name: [] for name in (*evaluation.scores, "precision", "recall")}
    for threshold in thresholds:
        common, limit_deg = np.array(threshold), evaluation.unification_deg
        tables = {clip.name: merge(clip.candidates, common, limit_deg) for clip in evaluation.clips}
        result = evaluation.score(partial(_table_of, tables))
        for name in evaluation.scores:
            out[name].append(float(result.overall[name]))
        correct = predicted = expected = 0
        for clip in evaluation.clips:
            status = match(clip.reference, tables[clip.name]).estimated_status()
            correct += int(np.sum(status == "correct"))
            predicted += len(status)
            expected += len(clip.reference)
        out["precision"].append(correct / predicted if predicted else math.nan)
        out["recall"].append(correct / expected if expected else math.nan)
    return {name: np.array(values) for name, values in out.items()}
