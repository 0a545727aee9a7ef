"""-eval: csv folder, raw output and result file of a checkpoint on a list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import Boxes, Recording, recordings_from_list
from dataset.source import Source, Visual
from dataset.true_boxes import TrueBoxes
from dcase2022_task3_seld_metrics import Result
from dcase2022_task3_seld_metrics.editions import EDITIONS
from dcase2022_task3_seld_metrics.score_table import ANGLES
from job.data import (
    check_framing,
    common_classes,
    default_lists,
    labels_of,
    open_roots,
    source_of,
)
from job.seen import make_seen
from job.tuning_thresholds import tuned_thresholds
from output_format.contract import ActivityApart, OneTask
from seld_predictor import Change, SELDPredictor
from seld_validator import SELDValidator, Validation, check_edition, precision_line, write_result
from system.checkpoint import Checkpoint, load_checkpoint, model_of, thresholds_of
from system.model import Model
from util.errors import InputError
from util.files import read_json
from util.flags import INHERITED
from util.job_arguments import Arguments
from util.machine import make_fabric
from util.microphone_arrays import FLAG_OF_ARRAY, array_of_flag
from util.one_process import Processes
from util.runs import SELECTED, named_checkpoint
from util.thresholds import Thresholds

BOXES = {  # by --boxes
    "own": "the clip's own",
    "empty": "none (empty boxes)",
    "other": "another clip's",
    "true": "made from the labels (nobody missed, nobody who is silent)",
}
DETECTED = ("own", "other")
ACTIVITY = {"reference": "that of the labels (--activity reference): directions alone are scored"}  # by --activity


@dataclass(frozen=True)
class Evaluation:
    """One model on recordings: predict, write, score, and say how the scores were made."""

    fabric: Processes
    model: Model
    args: Arguments
    thresholds: Thresholds
    roots: Sequence[DataRoot]
    command: str

    def run(
        self,
        recordings: Sequence[Recording],
        csv_dir: Path,
        raw_dir: Path | None = None,
        *,
        checkpoint: Path,
        description: str,
    ) -> Validation:
        """Predict, write and score the recordings."""
        model, args = self.model, self.args
        predictor = self._predictor(None if args.activity == "own" else self._with_reference_activity())
        validator = SELDValidator(
            source_of(args, recordings, model.classes, self._seen(recordings)),
            classes=model.classes,
            edition=args.scored_by,
            average=args.average,
            raw_description=self.raw_description(checkpoint),
            precision=args.activity == "own",
        )
        return validator.validate(predictor, csv_dir=csv_dir, raw_dir=raw_dir, description=description)

    def tuned(self, source: Callable[[], Source]) -> Evaluation:
        """The same with thresholds tuned on recordings, by the first process for all."""
        thresholds = self.thresholds
        if self.fabric.is_global_zero:
            edition = self.args.scored_by
            thresholds, _ = tuned_thresholds(self._predictor(), source(), self.model.classes, edition=edition)
        return replace(self, thresholds=self.fabric.broadcast(thresholds))

    def _predictor(self, change: Change | None = None) -> SELDPredictor:
        args = self.args
        return SELDPredictor(
            self.fabric,
            self.model,
            thresholds=self.thresholds.presence,
            unification_deg=self.thresholds.unification_deg,
            frame_s=args.label_frame_s,
            batch_size=args.batch_size,
            workers=args.workers,
            change=change,
        )

    def _with_reference_activity(self) -> Change:
        """The activity of the labels in place of that of the system."""
        output_format = self.model.output_format
        labels = labels_of(self.model.classes, self.args)
        if not isinstance(output_format, ActivityApart):
            rule = f"{self.model.system.name} has no activity apart from its directions, which labels could replace"
            raise InputError(f"--activity {self.args.activity}: {rule}")

        def change(recording: Recording, raw: np.ndarray) -> np.ndarray:
            return output_format.with_activity(
                raw, output_format.encode_clip(labels.intervals(recording), raw.shape[-1])
            )

        return change

    def _seen(self, recordings: Sequence[Recording]) -> Visual | None:
        """Where what is seen comes from, by --boxes; None: nothing is looked at."""
        producer = self.model.producer
        if not self.model.visual or producer is None:
            return None
        if self.args.boxes == "true":
            if not producer.turns:
                raise InputError(f"--boxes true: {producer.title} cannot be made from labels")
            return TrueBoxes(self.model.classes, things=producer.things)
        if self.args.boxes == "empty":
            return producer.nothing
        return Boxes(self.args.detector, producer=producer, source=self.args.boxes, recordings=recordings)

    def raw_description(self, checkpoint: Path) -> dict[str, Any]:
        """What is written beside every raw output, so that it can be read without the checkpoint."""
        return {
            "system": self.model.system.name,
            **self.model.output_format.description(),
            "label_frame_s": self.args.label_frame_s or self.model.output_format.label_frame_s,
            "classes": list(self.model.classes),
            "thresholds": list(self.thresholds.presence),
            "unification_deg": self.thresholds.unification_deg,
            "array": self.model.array.to_dict(),
            "detector": self.args.detector if self.model.visual else None,
            "boxes": self.args.boxes if self.model.visual else None,
            "points_at": list(self.model.points_at),
            "activity": self.args.activity,
            "checkpoint": str(checkpoint),
            "edition": self.args.scored_by,
            "average": self.args.average,
            "command": self.command,
        }

    def remarks(
        self, validation: Validation, recordings: Sequence[Recording], checkpoint: Path, list_name: str
    ) -> list[str]:
        """How the scores were made, line by line."""
        args = self.args
        names = ", ".join(f"{root.name} ({root.path})" for root in self.roots)
        synthetic = ": synthetic scenes, no real recordings" if all(root.synthetic for root in self.roots) else ""
        edition = EDITIONS[args.scored_by]
        average = f"{args.average} average; " if len(edition.averages) > 1 else ""
        metrics = f"metrics edition {args.scored_by}, {average}{edition.remark}"
        if isinstance(self.model.output_format, OneTask):
            metrics = f"scores of the {self.model.output_format.scored_by}"
        folders = ", ".join(sorted({recording.folder for recording in recordings}))
        remarks = [
            f"data {names}{synthetic}",
            f"list {list_name}, {len(recordings)} recordings, folders {folders}",
            f"checkpoint {checkpoint}, seed {args.random_seed}, {_selection_remark(checkpoint, args.select)}",
            f"command {self.command}",
            metrics,
            str(self.thresholds),
        ]
        if self.model.statistics is not None:
            remarks.append(f"features standardised by {self.model.statistics['of']}")
        if self.model.visual and self.model.producer is not None:
            boxes = BOXES[args.boxes]
            builtin = " (small, trained by this project on simulated frames)" if args.detector == "builtin" else ""
            detector = f", detector {args.detector}{builtin}" if args.boxes in DETECTED else ""
            remarks.append(f"{self.model.producer.title} {boxes}{detector}")
            if self.model.points_at:
                remarks.append(f"points at what training has shown: {', '.join(self.model.points_at)}")
            blind = sum(recording.video is None for recording in recordings)
            if blind and args.boxes in DETECTED:
                remarks.append(f"{blind} of {len(recordings)} recordings have no video: nothing is seen there")
        else:
            remarks.append("audio only")
        if args.activity in ACTIVITY:
            remarks.append(f"activity {ACTIVITY[args.activity]}")
        remarks += occurring_remarks(validation)
        if validation.precision:
            remarks.append(precision_line(validation.precision))
        if validation.loss is not None:
            remarks.append(f"loss {validation.loss:.5f} (mean over the windows of a clip, then over clips)")
        return remarks


def occurring_remarks(validation: Validation) -> list[str]:
    """The averages that the official macro average hides: over the classes that occur, and over those matched."""
    scores = validation.scores
    if not isinstance(scores, Result) or not scores.occurring:
        return []
    mean, occurs, matched = scores.occurring, int(scores.occurs.sum()), int((scores.counts["DE_TP"] > 0).sum())
    lines = []
    if occurs:
        digits = {name: 2 if name in ANGLES else 3 for name in ("F", *ANGLES, "LR") if name in mean}
        averages = ", ".join(f"{name} {mean[name]:.{count}f}" for name, count in digits.items())
        lines.append(f"macro over the {occurs} classes that occur: {averages}")
    if matched:
        error = ", ".join(f"{mean[f'{name}_matched']:.2f} degrees" for name in ANGLES if name in mean)
        lines.append(f"localisation error, mean over the {matched} classes that were matched: {error}")
    return lines


def _selection_remark(checkpoint: Path, rule: str) -> str:
    selected = checkpoint.parent / SELECTED
    if rule == "last" or not selected.is_file() or read_json(selected)["checkpoint"] != checkpoint.name:
        return "the checkpoint was not chosen by any score"
    if rule == "val":
        return f"chosen on {read_json(selected)['recordings']}"
    return "CHOSEN ON THE VALIDATION LIST ITSELF (--select test): the score flatters"


def evaluate(given: dict[str, Any], command: str) -> int:
    """Evaluate a checkpoint (-em; default: the result of the newest run) on a list (-evalwt)."""
    checkpoint = named_checkpoint(given)
    evaluate_checkpoint(given, checkpoint, command)
    return 0


def evaluate_checkpoint(given: dict[str, Any], checkpoint: Path, command: str) -> tuple[Validation, Path]:
    """Predict a list, write csv, raw output and result file beside the checkpoint, print the result.

    Returns
    -------
    what was found, the folder of the csv files
    """
    content = load_checkpoint(checkpoint)
    stored = content.arguments
    inherited = {key: stored[key] for key in INHERITED if stored.get(key) is not None}
    roots, args = open_roots({**inherited, **given, "net": content.system})
    fabric = make_fabric(args.device, 1, args.precision, training=False)
    classes = common_classes(roots, args.class_num)

    args.format = args.format or (None if content.foreign else FLAG_OF_ARRAY.get(content.array["name"]))
    path = list_file(args.eval_wav_txt or default_lists(args, roots[0]).test, roots[:1])
    recordings = recordings_from_list(path, roots, mixed=len(roots) > 1, array=array_of_flag(args.format))
    if content.foreign:  # it tells neither the names of its classes nor its array
        content = load_checkpoint(checkpoint, classes=classes, array=recordings[0].array)
    model = _model_for(content, checkpoint, classes)
    check_edition(args.scored_by, model.output_format)
    check_framing(given, model.hearing.plans, checkpoint)
    model.predict_with(latency_s=args.latency_s, views=args.views, overlap=args.overlap)
    _check_arrays(recordings, model, checkpoint)
    model.to(fabric.device)
    if args.no_video and model.visual:
        raise InputError("takes person boxes: --boxes empty evaluates it without a video", path=checkpoint)
    if model.visual and args.boxes in DETECTED and model.producer is not None:
        if args.boxes == "own":
            make_seen(model.producer, args, [], recordings, [model.hearing.plans])
        else:  # another video is looked at, at times of this one
            make_seen(model.producer, args, recordings)
    thresholds = thresholds_of(content, args.threshold_config, model)

    if args.activity != "own" and (silent := [one for one in recordings if one.labels is None]):
        raise InputError(f"has no labels, which --activity {args.activity} takes", path=silent[0].audio)
    evaluation = Evaluation(fabric, model, args, thresholds, roots, command)
    iteration = content.iteration
    name = f"{path.stem}_{checkpoint.stem if iteration is None else f'{iteration:07d}'}"
    if model.visual and args.boxes != "own":
        name += f"_{args.boxes}-boxes"
    if args.activity != "own":
        name += f"_{args.activity}-activity"
    if args.latency_s is not None:
        name += f"_{args.latency_s:g}s-latency"
    if args.views > 1:
        name += f"_{args.views}-views"
    if args.overlap > 1:
        name += f"_{args.overlap}-overlap"
    csv_dir, raw_dir, result = (
        checkpoint.parent / part for part in (f"pred_{name}", f"raw_{name}", f"result_{name}.txt")
    )
    validation = evaluation.run(recordings, csv_dir, raw_dir, checkpoint=checkpoint, description="evaluating")
    remarks = evaluation.remarks(validation, recordings, checkpoint, path.stem)
    print(write_result(result, validation, model.classes, remarks), end="")
    if validation.scores is None:
        print("no recording has labels: csv files were written, there are no scores", file=sys.stderr)
    print(f"\ncsv     {csv_dir}\nraw     {raw_dir}\nresult  {result}")
    return validation, csv_dir


def _model_for(content: Checkpoint, checkpoint: Path, classes: Sequence[str]) -> Model:
    """The checkpoint's model, refused where the classes do not fit it."""
    try:
        model = model_of(content)
    except InputError as error:
        raise InputError(error.rule, path=checkpoint) from None
    if tuple(model.classes) != tuple(classes):
        rule = f"was trained on {len(model.classes)} classes, other than the {len(classes)} of the data root"
        raise InputError(rule, path=checkpoint)
    return model


def _check_arrays(recordings: Sequence[Recording], model: Model, checkpoint: Path) -> None:
    """Refuse recordings of another array than the model's."""
    for recording in recordings:
        if recording.array != model.array:
            rule = f"is {recording.array.name} audio, the checkpoint {checkpoint} was trained on {model.array.name}"
            raise InputError(rule, path=recording.audio)
