"""SELDValidator: predict a list of recordings, score them, write csv files, raw output and the result file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset.recordings import Labels, Recording
from dcase2022_task3_seld_metrics import score
from seld_predictor import Prediction, SELDPredictor
from util.dialects import write_events
from util.events import EventTable
from util.files import folder_written_whole, write_json, write_text, written_whole


@dataclass(frozen=True)
class Validation:
    """Result of predicting a list.

    Attributes
    ----------
    scores : result of the metrics, None when no recording has labels
    loss : mean over the windows of a clip, then over the labelled clips; None without labels
    reference, estimated : events by clip name
    """

    scores: Any | None
    loss: float | None
    reference: dict[str, EventTable]
    estimated: dict[str, EventTable]


class SELDValidator:
    """Predict and score recordings.

    Parameters
    ----------
    classes : names of the classes
    labels : reader of the recordings' labels
    edition, average : of the metrics
    dialect : of the csv files
    raw_description : written beside every raw output (system, thresholds, checkpoint ...)
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        classes: Sequence[str],
        labels: Labels,
        edition: str = "2023",
        average: str = "macro",
        dialect: str = "dcase2023",
        raw_description: dict[str, Any] | None = None,
    ):
        self.recordings, self.classes, self.labels = list(recordings), list(classes), labels
        self.edition, self.average, self.dialect = edition, average, dialect
        self.raw_description = raw_description or {}

    def validate(
        self, predictor: SELDPredictor, *, csv_dir: Path, raw_dir: Path | None = None, description: str = "validating"
    ) -> Validation:
        """Predict every recording, write one csv each (and its raw output), score those that have labels.

        The folders hold exactly the recordings of this call afterwards; what they held stays until all is done.
        """
        with contextlib.ExitStack() as stack:
            csv_whole = stack.enter_context(folder_written_whole(csv_dir))
            raw_whole = None if raw_dir is None else stack.enter_context(folder_written_whole(raw_dir))
            return self._validate(predictor, csv_whole, raw_whole, description)

    def _validate(self, predictor: SELDPredictor, csv_dir: Path, raw_dir: Path | None, description: str) -> Validation:
        reference, estimated, losses = {}, {}, []
        seconds = sum(recording.duration_s for recording in self.recordings)
        with tqdm(total=round(seconds), desc=description, unit="s", mininterval=0.5, leave=False) as progress:
            for prediction in predictor.predict(self.recordings, labels=self.labels):
                recording = prediction.recording
                estimated[recording.name] = prediction.events
                write_events(csv_dir / f"{recording.name}.csv", prediction.events, self.dialect)
                if raw_dir is not None:
                    self._write_raw(raw_dir, prediction)
                if recording.labels is not None:
                    reference[recording.name] = self.labels(recording)
                    if prediction.loss is not None:
                        losses.append(prediction.loss)
                progress.update(round(recording.duration_s))
        scores = None
        if reference:
            scored = {name: estimated[name] for name in reference}
            scores = score(reference, scored, edition=self.edition, average=self.average, classes=self.classes)
        loss = float(np.mean(losses)) if losses else None
        return Validation(scores, loss, reference, estimated)

    def _write_raw(self, raw_dir: Path, prediction: Prediction) -> None:
        recording = prediction.recording
        with written_whole(raw_dir / f"{recording.name}.npy") as temporary:
            np.save(temporary, prediction.raw, allow_pickle=False)
        companions = {
            "recording": str(recording.audio),
            "video": recording.video and str(recording.video),
            "labels": recording.labels and str(recording.labels),
            "label_dialect": recording.dialect,
            "duration_s": recording.duration_s,
        }
        write_json(raw_dir / f"{recording.name}.json", {**self.raw_description, **companions})


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
        names = ("ER", "F", "LE", "LR", "SELD")
        lines += ["SELD scores", "All\tER\tF\tLE\tLR\tSELD_error"]
        lines.append("\t".join(["All", *(f"{overall[name]:.2f}" for name in names)]))
        if classwise:
            lines += ["Class-wise results", "Class\tER\tF\tLE\tLR\tSELD_error"]
            for index, class_name in enumerate(classes):
                values = [f"{classwise[name][index]:.2f}" for name in names]
                lines.append("\t".join([f"{index} {class_name}", *values]))
    lines += [f"# {remark}" for remark in remarks]
    return "".join(line + "\n" for line in lines)
