"""SELDValidator: predict a list of recordings, score them, write csv files, raw output and the result file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset.recordings import Recording
from dataset.source import Source
from dcase2022_task3_seld_metrics import Result, score
from dcase2022_task3_seld_metrics.arrays import seldnet2018
from dcase2022_task3_seld_metrics.average_precision import average_precision
from dcase2022_task3_seld_metrics.editions import DEFAULT, EDITIONS, TRAINING_EDITIONS
from dcase2022_task3_seld_metrics.score_table import SCORES
from output_format.contract import ActivityApart, OneTask, OutputFormat, needed
from output_format.rows import events_in_file
from seld_predictor import Prediction, SELDPredictor
from util.dialects import dialect_named, write_events
from util.errors import InputError
from util.events import EventTable
from util.files import folder_written_whole, write_array, write_json, write_text
from util.together import gathered, share

ClipRule = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], tuple[dict[str, float], np.ndarray]]

_SHARED_AT_A_TIME = 16  # recordings of each of several processes


def check_edition(edition: str, output_format: OutputFormat) -> None:
    """Refuse an edition that a system cannot be scored by, before anything is computed.

    Raises
    ------
    InputError : training and evaluation do not score by that edition, or it wants other frames than the output has, or
        distances, which the system does not estimate
    """
    if edition not in TRAINING_EDITIONS:
        rule = f"--edition {edition}: training and evaluation score by {', '.join(TRAINING_EDITIONS)}; "
        raise InputError(rule + "python -m dcase2022_task3_seld_metrics scores csv folders by every edition")
    row = EDITIONS[edition]
    if row.frame_s is not None and not output_format.makes(row.frame_s):
        lengths = {name: EDITIONS[name].frame_s for name in TRAINING_EDITIONS}
        fitting = [name for name, one in lengths.items() if one is not None and output_format.makes(one)]
        frame_s = output_format.label_frame_s
        rule = f"scores frames of {1000 * row.frame_s:g} ms, the system's are {1000 * frame_s:g} ms"
        raise InputError(f"--edition {edition}: {rule}; --edition {fitting[-1] if fitting else '2018'} fits")
    if row.distance and "distance_m" not in needed(output_format):
        other = max(
            name
            for name in TRAINING_EDITIONS
            if not (one := EDITIONS[name]).distance and one.frame_s in (None, row.frame_s)
        )
        rule = "scores distances, which the system does not estimate"
        raise InputError(f"--edition {edition}: {rule}; --edition {other} does without")
    if not row.tables and not isinstance(output_format, ActivityApart | OneTask):
        raise InputError(f"--edition {edition}: scores detection and direction branches, which the system has not")


@dataclass(frozen=True)
class FrameScores:
    """Scores that are not counted by class: what `dcase2022_task3_seld_metrics.Result` offers, as far as it goes."""

    overall: dict[str, float]
    classwise: dict[str, np.ndarray]
    occurs: np.ndarray
    occurring: dict[str, float]
    clips: ScoredClips


@dataclass(frozen=True)
class Validation:
    """Result of predicting a list.

    Attributes
    ----------
    scores : result of the metrics, None when no recording has labels
    loss : mean over the windows of a clip, then over the labelled clips; None without labels
    reference, estimated : events by clip name
    recordings : that were predicted
    precision : average precision of the detection, of output formats whose activity stands apart: "mAP_micro",
        "mAP_macro", and of zeros and ones ("mAP_binary_..."); empty where there is none
    """

    scores: Result | FrameScores | None
    loss: float | None
    reference: dict[str, EventTable]
    estimated: dict[str, EventTable]
    recordings: tuple[Recording, ...] = ()
    precision: Mapping[str, float] = field(default_factory=dict)


class SELDValidator:
    """Predict and score recordings.

    Parameters
    ----------
    source : the recordings, with their labels
    classes : names of the classes
    edition, average : of the metrics
    raw_description : written beside every raw output (system, thresholds, checkpoint ...)
    precision : compute the average precision where the output format has one
    """

    def __init__(
        self,
        source: Source,
        *,
        classes: Sequence[str],
        edition: str = DEFAULT,
        average: str = "macro",
        raw_description: dict[str, Any] | None = None,
        precision: bool = True,
    ):
        self.source, self.classes, self.precision = source, list(classes), precision
        self.edition, self.average = EDITIONS[edition], average
        self.raw_description = raw_description or {}
        if self.edition.dialect is None:
            raise InputError(f"--edition {edition}: training and evaluation do not score by it")
        self.dialect = dialect_named(self.edition.dialect)

    def validate(
        self, predictor: SELDPredictor, *, csv_dir: Path, raw_dir: Path | None = None, description: str = "validating"
    ) -> Validation:
        """Predict every recording, write one csv each (and its raw output), score those that have labels.

        The folders hold exactly the recordings of this call afterwards; what they held stays until all is done. Several
        processes share the recordings; the first one gathers, writes and scores.
        """
        if not predictor.fabric.is_global_zero:
            for _ in self._predictions(predictor):
                pass
            return Validation(None, None, {}, {}, tuple(self.source.recordings))
        with contextlib.ExitStack() as stack:
            csv_whole = stack.enter_context(folder_written_whole(csv_dir))
            raw_whole = None if raw_dir is None else stack.enter_context(folder_written_whole(raw_dir))
            return self._validate(predictor, csv_whole, raw_whole, description)

    def _validate(self, predictor: SELDPredictor, csv_dir: Path, raw_dir: Path | None, description: str) -> Validation:
        reference, estimated, losses = {}, {}, []
        labels, dialect = self.source.labels, self.dialect
        output_format = predictor.model.output_format
        apart = output_format if isinstance(output_format, ActivityApart) and labels is not None else None
        alone = output_format if isinstance(output_format, OneTask) and labels is not None else None
        clips = None
        if alone is not None:
            clips = ScoredClips(alone, partial(_task_scores, alone, predictor.thresholds))
        elif apart is not None and not self.edition.tables:
            clips = ScoredClips(apart, partial(_frame_scores, apart))
        detection = _Detection(apart) if self.precision and apart is not None else None
        seconds = sum(recording.duration_s for recording in self.source.recordings)
        with tqdm(total=round(seconds), desc=description, unit="s", mininterval=0.5, leave=False) as progress:
            for prediction in self._predictions(predictor):
                recording = prediction.recording
                # scored is what the csv file says: 2019 writes whole degrees
                events = events_in_file(prediction.events, dialect, output_format, prediction.raw, predictor.thresholds)
                estimated[recording.name] = events
                write_events(csv_dir / f"{recording.name}.csv", events, dialect.name)
                if raw_dir is not None:
                    self._write_raw(raw_dir, prediction)
                if recording.labels is not None and labels is not None:
                    due = labels(recording)
                    if "elevation_deg" not in self.dialect.columns:
                        due = due.in_plane()
                    reference[recording.name] = due if alone is None else alone.reduced(due)
                    encoding = apart or alone
                    if encoding is not None and (clips is not None or detection is not None):
                        truth = encoding.encode_clip(labels.intervals(recording), prediction.raw.shape[-1])
                        if clips is not None:
                            clips.add(truth, prediction.raw)
                        if detection is not None:
                            detection.add(truth, prediction.raw)
                    if prediction.loss is not None:
                        losses.append(prediction.loss)
                progress.update(round(recording.duration_s))
        scores: Result | FrameScores | None = None
        if clips is not None:
            scores = clips.scores()
        elif reference:
            scored = {name: estimated[name] for name in reference}
            average = self.average if len(self.edition.averages) > 1 else None
            scores = score(reference, scored, edition=self.edition.name, average=average, classes=self.classes)
        loss = float(np.mean(losses)) if losses else None
        precision = {} if detection is None else detection.precision(predictor.thresholds)
        return Validation(scores, loss, reference, estimated, tuple(self.source.recordings), precision)

    def _predictions(self, predictor: SELDPredictor) -> Iterator[Prediction]:
        """In the order of the recordings; of several processes all must ask, and the first one is told of all.

        Each predicts its share of so many recordings at a time that their raw outputs fit into memory.
        """
        processes, recordings = predictor.fabric, self.source.recordings
        if processes.world_size == 1:
            yield from predictor.predict(self.source)
            return
        step = _SHARED_AT_A_TIME * processes.world_size
        for first in range(0, len(recordings), step):
            due = recordings[first : first + step]
            own = replace(self.source, recordings=share(processes, due))

            def made(own: Source = own) -> list[Prediction]:
                return list(predictor.predict(own)) if own.recordings else []

            parts = [iter(part) for part in gathered(processes, made, to_first=True)]
            if parts:
                yield from (next(parts[place % len(parts)]) for place in range(len(due)))

    def _write_raw(self, raw_dir: Path, prediction: Prediction) -> None:
        recording = prediction.recording
        write_array(raw_dir / f"{recording.name}.npy", prediction.raw)
        companions = {
            "recording": str(recording.audio),
            "video": recording.video and str(recording.video),
            "labels": recording.labels and str(recording.labels),
            "label_dialect": recording.dialect,
            "duration_s": recording.duration_s,
        }
        write_json(raw_dir / f"{recording.name}.json", {**self.raw_description, **companions})


class ScoredClips:
    """Encoded labels and raw outputs of recordings, scored together by what counts no events of csv files.

    Parameters
    ----------
    rule : (labels, raw outputs) of the recordings -> scores, and which classes occur
    """

    def __init__(self, output_format: ActivityApart | OneTask, rule: ClipRule):
        self.output_format, self.rule = output_format, rule
        self.truth: list[np.ndarray] = []
        self.found: list[np.ndarray] = []

    def add(self, truth: np.ndarray, found: np.ndarray) -> None:
        """Take one recording: (..., frames)."""
        self.truth.append(truth)
        self.found.append(found)

    def scores(self) -> FrameScores | None:
        """None where no recording has labels."""
        if not self.truth:
            return None
        overall, occurs = self.rule(self.truth, self.found)
        return FrameScores(overall, {}, occurs, {}, self)

    @classmethod
    def joined(cls, parts: Sequence[ScoredClips]) -> ScoredClips:
        """The recordings of all of them."""
        made = cls(parts[0].output_format, parts[0].rule)
        for part in parts:
            made.truth += part.truth
            made.found += part.found
        return made


class _Detection:
    """Activity of all recordings in every frame of the output, for its average precision."""

    def __init__(self, output_format: ActivityApart):
        self.output_format = output_format
        self.truth: list[np.ndarray] = []
        self.probability: list[np.ndarray] = []

    def add(self, truth: np.ndarray, found: np.ndarray) -> None:
        self.truth.append(self.output_format.probabilities(truth) > 0)
        self.probability.append(self.output_format.probabilities(found).astype(np.float32))  # not the whole output

    def precision(self, thresholds: np.ndarray) -> dict[str, float]:
        """Of the probabilities, and of zeros and ones, which the two-stage reference prints; none without labels."""
        if not self.truth:
            return {}
        truth, probability = np.concatenate(self.truth), np.concatenate(self.probability)
        made: dict[str, float] = {}
        for name, threshold in (("mAP", None), ("mAP_binary", thresholds)):
            found = average_precision(truth, probability, threshold=threshold)
            made |= {f"{name}_micro": found.micro, f"{name}_macro": found.macro}
        return made


def precision_line(precision: Mapping[str, float]) -> str:
    """Average precision in words: micro and macro, then those of zeros and ones."""
    proper, binary = (
        " ".join(f"{kind} {precision[f'{name}_{kind}']:.3f}" for kind in ("micro", "macro"))
        for name in ("mAP", "mAP_binary")
    )
    return f"average precision of the detection, frame by frame: {proper}; of zeros and ones, as published: {binary}"


def _task_scores(
    output_format: OneTask, thresholds: np.ndarray, truth: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> tuple[dict[str, float], np.ndarray]:
    """Scores of an output that only detects, or only says from where."""
    occurs = np.any([np.asarray(one).max(axis=-1, initial=0) > 0 for one in truth], axis=0)
    return output_format.scores(truth, found, thresholds), occurs


def _frame_scores(
    output_format: ActivityApart, truth: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> tuple[dict[str, float], np.ndarray]:
    """Detection and direction of all recordings, frame by frame behind each other, scored as SELDnet 2018 does.

    Parameters
    ----------
    truth, found : encoded labels and raw outputs (1 + axes, classes, frames)
    """
    whole = (np.concatenate(parts, axis=-1) for parts in (truth, found))
    (truth_sed, truth_doa), (found_sed, found_doa) = map(output_format.detections, whole)
    made = seldnet2018(truth_sed, found_sed, truth_doa, found_doa, block=int(1 / output_format.frame_s))
    # a distance beyond 2 would give no score at all (a defect of the seed): it counts as opposite
    angle_rad = 2 * np.arcsin(min(made.doa_loss_gt / 2, 1.0))
    overall = {
        "ER": made.er,
        "F": made.f1,
        "DOA_error": float(np.rad2deg(angle_rad)),
        "frame_recall": made.frame_recall,
        "SELD": (made.er + 1 - made.f1 + angle_rad / np.pi + 1 - made.frame_recall) / 4,
    }
    return overall, np.any(truth_sed, axis=0)


def pooled(found: Sequence[Validation]) -> Result | FrameScores:
    """Scores of several validations together, as if their recordings had been one list."""
    counted = [one.scores for one in found if isinstance(one.scores, Result)]
    if counted:
        return sum(counted[1:], counted[0])
    scores = ScoredClips.joined([one.scores.clips for one in found if isinstance(one.scores, FrameScores)]).scores()
    assert scores is not None  # they have been scored one by one
    return scores


def write_result(path: Path, validation: Validation, classes: Sequence[str], remarks: Sequence[str]) -> str:
    """Write result_*.txt in the form of the reference, class names and remarks added; the text.

    Parameters
    ----------
    remarks : lines that say how the scores were made; written behind `#`
    """
    text = result_text(validation, classes, remarks)
    write_text(path, text)
    return text


def result_text(validation: Validation, classes: Sequence[str], remarks: Sequence[str]) -> str:
    """The text of a result file: fractions and degrees, tab separated."""
    lines = []
    if validation.scores is not None:
        overall, classwise = validation.scores.overall, validation.scores.classwise
        columns = "\t".join(SCORES[name].key for name in overall)
        lines += ["SELD scores", f"All\t{columns}"]
        lines.append("\t".join(["All", *(f"{value:.2f}" for value in overall.values())]))
        if classwise:
            lines += ["Class-wise results", f"Class\t{columns}"]
            for index, class_name in enumerate(classes):
                values = [f"{classwise[name][index]:.2f}" for name in overall]
                lines.append("\t".join([f"{index} {class_name}", *values]))
    lines += [f"# {remark}" for remark in remarks]
    return "".join(line + "\n" for line in lines)
