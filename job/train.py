"""-train: a run folder with checkpoints; with -val also scores at every checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from dataset.layouts import DataRoot
from dataset.recordings import Labels
from job.data import (
    FLAG_OF_ARRAY,
    TrainingData,
    common_classes,
    detect_people,
    feature_settings,
    open_roots,
    random_windows,
    training_data,
    training_loader,
)
from job.evaluate import Evaluation, check_edition
from job.machine import make_fabric
from report.monitor import Monitor
from seld_trainer import SELDTrainer, TrainingSettings
from seld_validator import Validation, result_text
from system import Model, initialise, system_named
from util.checkpoint import load_checkpoint
from util.errors import InputError
from util.files import read_json, write_json
from util.runs import SELECTED, checkpoints_of, code_version, new_run_dir, result_checkpoint
from util.thresholds import read_thresholds

CHANGEABLE_ON_RESUME = ("train", "val", "max_iter", "device", "devices", "precision", "workers")
CLIPS_DRAWN = 3  # clips whose azimuth is drawn at every validation


def train(given: dict[str, Any], command: str) -> int:
    """Train from the beginning, or go on with an interrupted run (--resume)."""
    resumed = Path(given["resume"]) if given.get("resume") else None
    if resumed is not None:
        changed = {name: value for name, value in given.items() if name in CHANGEABLE_ON_RESUME}
        ignored = sorted(given.keys() - changed.keys() - {"resume"})
        if ignored:
            print(f"--resume goes on with the run's own settings; ignored: {', '.join(ignored)}", file=sys.stderr)
        given = {**_arguments_of_run(resumed), **changed}
    roots, args = open_roots(given)
    check_edition(args)
    fabric = make_fabric(args, training=True)
    torch.manual_seed(args["random_seed"])

    data = training_data(args, roots)
    array = data.train[0].array
    visual = system_named(args["net"]).visual and not args["no_video"]
    feature = feature_settings(args, array)
    if visual:
        with fabric.rank_zero_first():
            detect_people(args, [*data.train, *data.selection, *data.validation])
    classes = common_classes(roots, args["class_num"])
    labels = Labels(len(classes))
    for recording in (*data.train, *data.selection, *data.validation):
        labels(recording)  # a broken csv is named now, not when its window is drawn
    thresholds = read_thresholds(args["threshold_config"], len(classes))
    model = Model(system_named(args["net"]), array, classes, feature, visual=visual)
    interrupted = checkpoints_of(resumed)[-1:] if resumed is not None else []
    if args["init"] and not interrupted:
        _initialise_from(model, args["init"], fabric)
    model.to(fabric.device)

    run_dir = _run_dir(args, roots, fabric, resumed)
    if resumed is None and fabric.is_global_zero:
        write_json(run_dir / "args.json", {**args, "command": command, "code_version": code_version()})
    windows = random_windows(args, data.train, roots)
    results = _Results(Evaluation(fabric, model, args, thresholds, roots, command), data, run_dir)
    trainer = SELDTrainer(
        fabric,
        model,
        TrainingSettings(
            max_iter=args["max_iter"],
            model_save_interval=args["model_save_interval"],
            learning_rate=args["learning_rate"],
            weight_decay=args["weight_decay"],
            schedule=args["schedule"],
        ),
        make_loader=lambda step: training_loader(
            args, data.train, windows, model, first_step=step, rank=fabric.global_rank, world=fabric.world_size
        ),
        run_dir=run_dir,
        description={
            "system": args["net"],
            "array": array.to_dict(),
            "classes": list(classes),
            "feature": feature,
            "visual": visual,
            "thresholds": thresholds.to_dict(),
            "settings": args,
            "recordings": {name: [r.name for r in getattr(data, name)] for name in ("train", "selection")},
        },
        on_checkpoint=results.checkpoint,
        on_loss=results.loss,
    )
    if interrupted:
        trainer.restore(load_checkpoint(interrupted[0]))
    results.open(trainer.iteration if resumed is not None else None)
    if fabric.is_global_zero:
        _print_start(data, model, run_dir, trainer.iteration, fabric)
    try:
        trainer.train()
    except KeyboardInterrupt:
        print(f"\ninterrupted at iteration {trainer.iteration}; go on from the last checkpoint with:", file=sys.stderr)
        print(f"  python seld.py -train{' -val' if args['val'] else ''} --resume {run_dir}", file=sys.stderr)
        return 130
    finally:
        results.close()
    if fabric.is_global_zero:
        results.print_end()
    return 0


class _Results:
    """What happens to losses and checkpoints of a run: TensorBoard, validation, selection, the closing words."""

    def __init__(self, evaluation: Evaluation, data: TrainingData, run_dir: Path):
        self.evaluation, self.data, self.run_dir = evaluation, data, run_dir
        self.args, self.classes = evaluation.args, evaluation.model.classes
        self.last: tuple[Path, Validation] | None = None

    def open(self, resumed_at: int | None) -> None:
        self.monitor = Monitor(self.run_dir, purge_step=None if resumed_at is None else resumed_at + 1)

    def close(self) -> None:
        if self.last is not None and self.last[1].scores is not None:
            self.monitor.hparams(self.args, self.last[1].scores.overall)
        self.monitor.close()

    def loss(self, iteration: int, loss: float, learning_rate: float) -> None:
        self.monitor.scalars(iteration, {"Loss/train": loss, "Optimizer/lr": learning_rate})

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Validate a checkpoint, and offer it for selection."""
        if not self.args["val"]:
            return
        validation = self.evaluation.run(
            self.data.validation,
            self.run_dir / "pred_TMP4VAL",
            checkpoint=path,
            description=f"validating {iteration}",
        )
        self.last = (path, validation)
        self._write(iteration, validation)
        if self.args["select"] == "test":
            self._offer(path, validation)
        elif self.args["select"] == "val":
            apart = self.evaluation.run(
                self.data.selection, self.run_dir / "pred_TMP4SELECT", checkpoint=path, description="selecting"
            )
            self._offer(path, apart)

    def _write(self, iteration: int, validation: Validation) -> None:
        if validation.loss is not None:
            self.monitor.scalars(iteration, {"Loss/val": validation.loss})
        if validation.scores is None:
            return
        s = validation.scores.overall
        scores = {"SELD_error": s["SELD"], **{name: s[name] for name in ("ER", "F", "LE", "LR")}}
        occurs = validation.scores.occurs
        self.monitor.validation(iteration, scores, validation.scores.classwise, self.classes, occurs=occurs)
        for name in sorted(validation.reference)[:CLIPS_DRAWN]:
            reference, estimated = validation.reference[name], validation.estimated[name]
            self.monitor.azimuth_figure(iteration, name, reference, estimated, self.classes)
        seen = next((one for one in self.data.validation if one.video and one.name in validation.reference), None)
        if seen is not None:
            tables = validation.reference[seen.name], validation.estimated[seen.name]
            detector = self.args["detector"]
            self.monitor.clip_frame(iteration, seen.name, seen.video, *tables, self.classes, detector=detector)
        tqdm.write(
            f"{iteration:7d}  val loss {validation.loss:.4f}  ER {s['ER']:.2f}  F20 {100 * s['F']:.1f} %  "
            f"LE {s['LE']:.1f} deg  LR {100 * s['LR']:.1f} %  SELD error {s['SELD']:.3f}"
        )

    def _offer(self, path: Path, validation: Validation) -> None:
        """Remember the checkpoint if it has the lowest SELD error so far."""
        selected, error = self.run_dir / SELECTED, validation.scores.overall["SELD"]
        if not selected.is_file() or error < read_json(selected)["SELD_error"]:
            rule = self.args["select"]
            write_json(selected, {"checkpoint": path.name, "SELD_error": error, "selected_on": rule})

    def print_end(self) -> None:
        """Scores of the last validation, and what to type next."""
        if self.last is not None:
            path, validation = self.last
            remarks = self.evaluation.remarks(validation, self.data.validation, path, self.data.validation_name)
            print(f"\n{result_text(validation, self.classes, remarks)}", end="")
        chosen = result_checkpoint(self.run_dir)
        if self.args["select"] != "last":
            print(f"selected (--select {self.args['select']}): {chosen.name}")
        flag = FLAG_OF_ARRAY.get(self.evaluation.model.array.name, "foa")
        print("\nnext:")
        print(f"  bash script/eval_seld.sh {flag} {chosen}")
        print("      score it in float32; csv, raw output and result file beside it")
        print(f"  tensorboard --logdir {self.run_dir.parent}")


def _arguments_of_run(run_dir: Path) -> dict[str, Any]:
    """Arguments that a run was started with, without what belongs to its start alone."""
    if not (run_dir / "args.json").is_file():
        raise InputError("is no run folder: it holds no args.json", path=run_dir)
    stored = read_json(run_dir / "args.json")
    return {key: value for key, value in stored.items() if key not in ("command", "code_version", "resume")}


def _run_dir(args: dict[str, Any], roots: Sequence[DataRoot], fabric: Fabric, resumed: Path | None) -> Path:
    """The run folder, the same in all processes."""
    if resumed is not None:
        return resumed
    monitor_path = Path(args["monitor_path"] or Path(roots[0].path) / "model_monitor")
    return Path(fabric.broadcast(str(new_run_dir(monitor_path)) if fabric.is_global_zero else ""))


def _initialise_from(model: Model, path: str, fabric: Fabric) -> None:
    report = initialise(model.network, load_checkpoint(path)["stages"][0]["model"])
    if not report["copied"]:
        raise InputError("has no weight in common with the network", path=path)
    if fabric.is_global_zero:
        for what, names in report.items():
            listed = f": {', '.join(names)}" if names and what != "copied" else ""
            print(f"--init: {len(names)} weights {what}{listed}")


def _print_start(data: TrainingData, model: Model, run_dir: Path, iteration: int, fabric: Fabric) -> None:
    minutes = sum(recording.duration_s for recording in data.train) / 60
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    print(f"system     {model.system.title}{'' if model.visual else ' (audio only)'}, {parameters} parameters")
    print(f"training   {len(data.train)} recordings, {minutes:.0f} min of {model.array.name} audio ({data.train_name})")
    if data.selection:
        print(f"selection  {len(data.selection)} recordings of other rooms, split off the training list")
    if data.validation:
        print(f"validation {len(data.validation)} recordings ({data.validation_name})")
    print(f"device     {fabric.device.type}, {fabric._precision.precision}, {fabric.world_size} process(es)")
    print(f"run        {run_dir}" + (f", going on from iteration {iteration}" if iteration else ""), flush=True)
