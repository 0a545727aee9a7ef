"""-train: a run folder with checkpoints; with -val also scores at every checkpoint."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from dataset.layouts import DataRoot
from dataset.recordings import Recording
from dcase2022_task3_seld_metrics.editions import EDITIONS
from dcase2022_task3_seld_metrics.score_table import SCORES
from family.presets import preset_of
from job.data import (
    FLAG_OF_ARRAY,
    TrainingData,
    common_classes,
    detect_people,
    drawing,
    labels_of,
    open_roots,
    training_data,
    training_loader,
)
from job.evaluate import Evaluation, evaluate_checkpoint
from job.machine import make_fabric
from job.statistics import gather_statistics
from report.monitor import Monitor
from seld_trainer import SELDTrainer, TrainingSettings
from seld_validator import Validation, check_edition, result_text
from system import Model, initialise, system_named
from util.checkpoint import load_checkpoint
from util.errors import InputError
from util.files import read_json, write_json
from util.flags import RESUMABLE
from util.microphone_arrays import Array
from util.runs import (
    SELECTED,
    checkpoints_of,
    code_version,
    iteration_of,
    named_run_dir,
    new_run_dir,
    result_checkpoint,
)
from util.thresholds import read_thresholds

CLIPS_DRAWN = 3  # clips whose azimuth is drawn at every validation


def train(given: dict[str, Any], command: str, *, run_folder: Path | None = None, score_test: bool = True) -> int:
    """Train from the beginning, or go on with an interrupted run (--resume).

    Parameters
    ----------
    run_folder : folder of the run; None: named by its ids or by the time
    score_test : runs in epochs are scored on the test list at their end
    """
    resumed = Path(given["resume"]) if given.get("resume") else None
    if resumed is not None:
        changed = {name: value for name, value in given.items() if name in RESUMABLE}
        ignored = sorted(given.keys() - changed.keys() - {"resume"})
        if ignored:
            print(f"--resume goes on with the run's own settings; ignored: {', '.join(ignored)}", file=sys.stderr)
        given = {**_arguments_of_run(resumed), **changed}
        if "epochs" in changed and "max_iter" not in changed:
            del given["max_iter"]  # follows from the epochs
    roots, args = open_roots(given)
    fabric = make_fabric(args, training=True)
    torch.manual_seed(args["random_seed"])

    system = system_named(args["net"])
    data = training_data(args, roots)
    array = data.train[0].array
    visual = system.visual and not args["no_video"]
    settings = system.stages[0].settings(args, array)
    classes = common_classes(roots, args["class_num"])
    check_edition(args["edition"], system.stages[0].output_format(settings, len(classes)))
    _set_iterations(args, given, data, system.stages[0].sampler(settings))
    if visual:
        with fabric.rank_zero_first():
            detect_people(args, [*data.train, *data.selection, *data.validation])
    labels = labels_of(classes, args)
    for recording in (*data.train, *data.selection, *data.validation):
        labels(recording)  # a broken csv is named now, not when its window is drawn
    interrupted = checkpoints_of(resumed)[-1:] if resumed is not None else []
    content = load_checkpoint(interrupted[0]) if interrupted else None
    statistics = None
    if system.stages[0].statistics:
        stored = content and content["stages"][0]["statistics"]
        statistics = stored or gather_statistics(system.stages[0], settings, array, data, args, fabric)
    model = Model(system, array, classes, settings, visual=visual, statistics=statistics)
    thresholds = read_thresholds(args["threshold_config"], len(classes), default=model.output_format.threshold)
    if args["init"] and not interrupted:
        _initialise_from(model, args["init"], fabric)
    model.to(fabric.device)
    drawn = drawing(args, data.train, roots, model, rank=fabric.global_rank, world=fabric.world_size)
    training_loader(args, data.train, drawn, model).close()  # what cannot be drawn is refused now

    run_dir = run_folder or _run_dir(args, roots, array, fabric, resumed)
    if resumed is None and fabric.is_global_zero:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_json(run_dir / "args.json", {**args, "command": command, "code_version": code_version()})
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
        make_loader=lambda step: training_loader(args, data.train, drawn, model, first_step=step),
        run_dir=run_dir,
        description={
            "system": args["net"],
            "array": array.to_dict(),
            "classes": list(classes),
            "model": settings,
            "visual": visual,
            "thresholds": thresholds.to_dict(),
            "settings": args,
            "recordings": {name: [r.name for r in getattr(data, name)] for name in ("train", "selection")},
        },
        on_checkpoint=results.checkpoint,
        on_loss=results.loss,
    )
    if interrupted:
        trainer.restore(content)
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
        if score_test and args["epochs"] and args["val"]:  # scored on the test list once, at the end
            print()
            evaluate_checkpoint({"data_root": args["data_root"]}, result_checkpoint(run_dir), command)
    return 0


class _Results:
    """What happens to losses and checkpoints of a run: TensorBoard, validation, selection, the closing words."""

    def __init__(self, evaluation: Evaluation, data: TrainingData, run_dir: Path):
        self.evaluation, self.data, self.run_dir = evaluation, data, run_dir
        self.args, self.classes = evaluation.args, evaluation.model.classes
        self.last: tuple[Path, Validation] | None = None
        self.train_loss = float("nan")

    def open(self, resumed_at: int | None) -> None:
        self.monitor = Monitor(self.run_dir, purge_step=None if resumed_at is None else resumed_at + 1)

    def close(self) -> None:
        if self.last is not None and self.last[1].scores is not None:
            self.monitor.hparams(self.args, self.last[1].scores.overall)
        self.monitor.close()

    def loss(self, iteration: int, loss: float, learning_rate: float) -> None:
        self.train_loss = loss
        self.monitor.scalars(iteration, {"Loss/train": loss, "Optimizer/lr": learning_rate})

    def checkpoint(self, iteration: int, path: Path) -> bool:
        """Validate a checkpoint, and offer it for selection; whether it is time to stop."""
        if not self.args["val"]:
            return False
        validation = self.evaluation.run(
            self.validated,
            self.run_dir / "pred_TMP4VAL",
            checkpoint=path,
            description=f"validating {iteration}",
        )
        self.last = (path, validation)
        self._write(iteration, validation)
        if self.args["select"] == "test" or self.validated is self.data.selection:
            self._offer(path, validation)
        elif self.args["select"] == "val":
            apart = self.evaluation.run(
                self.data.selection, self.run_dir / "pred_TMP4SELECT", checkpoint=path, description="selecting"
            )
            self._offer(path, apart)
        if self.args["epochs"]:
            self._draw_curves()
            self._keep_few(path)
        return self._out_of_patience(iteration)

    @property
    def validated(self) -> list[Recording]:
        """Recordings that every checkpoint is scored on: of runs in epochs those that it is chosen by."""
        apart = self.args["epochs"] and self.args["select"] == "val"
        return self.data.selection if apart else self.data.validation

    def _out_of_patience(self, iteration: int) -> bool:
        """Whether the best checkpoint is more than `patience` checkpoints old."""
        selected, patience = self.run_dir / SELECTED, self.args["patience"]
        if patience is None or not selected.is_file():
            return False
        best = iteration_of(Path(read_json(selected)["checkpoint"]))
        since = (iteration - best) // self.args["model_save_interval"]
        if since > patience:
            tqdm.write(f"stopped: no better SELD score since iteration {best} (--patience {patience})")
        return since > patience

    def _keep_few(self, newest: Path) -> None:
        """Of runs in epochs, which have many, only the best and the newest checkpoint stay."""
        kept = {newest, result_checkpoint(self.run_dir)}
        for path in checkpoints_of(self.run_dir):
            if path not in kept:
                path.unlink()

    def _draw_curves(self) -> None:
        """The curves of the run so far, as a picture."""
        from report.curves import draw_curves  # Pillow, only where runs have curves

        draw_curves(self.run_dir / "history.jsonl", self.run_dir / "training_curves.png", title=self.run_dir.name)

    def _write(self, iteration: int, validation: Validation) -> None:
        if validation.loss is not None:
            self.monitor.scalars(iteration, {"Loss/val": validation.loss})
        if validation.scores is None:
            return
        s = validation.scores.overall
        scores = {SCORES[name].key: value for name, value in s.items()}
        self._remember(iteration, {"val_loss": validation.loss, **scores})
        occurs = validation.scores.occurs
        self.monitor.validation(iteration, scores, validation.scores.classwise, self.classes, occurs=occurs)
        for name in sorted(validation.reference)[:CLIPS_DRAWN]:
            reference, estimated = validation.reference[name], validation.estimated[name]
            self.monitor.azimuth_figure(iteration, name, reference, estimated, self.classes)
        seen = next((one for one in self.validated if one.video and one.name in validation.reference), None)
        if seen is not None:
            tables = validation.reference[seen.name], validation.estimated[seen.name]
            detector = self.args["detector"]
            self.monitor.clip_frame(iteration, seen.name, seen.video, *tables, self.classes, detector=detector)
        tqdm.write(f"{iteration:7d}  val loss {validation.loss:.4f}  {score_line(s)}")

    def _remember(self, iteration: int, values: dict[str, float]) -> None:
        """One line of the history, which the curves are drawn from."""
        line = {"iteration": iteration, "train_loss": self.train_loss, **values}
        with open(self.run_dir / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _offer(self, path: Path, validation: Validation) -> None:
        """Remember the checkpoint if it has the best score so far."""
        score = SCORES[EDITIONS[self.args["edition"]].best]
        selected, error = self.run_dir / SELECTED, validation.scores.overall[score.name]
        best = read_json(selected)[score.key] if selected.is_file() else None
        # 2019 gives no error where nothing is predicted: that is worse than any
        if best is None or score.beats(error, best):
            error = error if math.isfinite(error) else None
            rule = self.args["select"]
            name = self.data.selection_name if rule == "val" else self.data.validation_name
            about = {"checkpoint": path.name, score.key: error, "selected_on": rule, "recordings": name}
            write_json(selected, about)

    def print_end(self) -> None:
        """Scores of the last validation, and what to type next."""
        if self.last is not None and self.validated is self.data.validation:
            path, validation = self.last
            remarks = self.evaluation.remarks(validation, self.data.validation, path, self.data.validation_name)
            print(f"\n{result_text(validation, self.classes, remarks)}", end="")
        chosen = result_checkpoint(self.run_dir)
        if self.args["select"] != "last":
            print(f"selected (--select {self.args['select']}): {chosen.name}")
        if self.validated is not self.data.validation:
            return  # the test list comes next
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


def _set_iterations(args: dict[str, Any], given: Mapping[str, Any], data: TrainingData, sampler: Any) -> None:
    """Epochs as iterations, in the arguments; -i and -s of the command line go before them.

    Raises
    ------
    InputError : --epochs of a system that knows no passes
    """
    steps = sampler.steps_per_pass(data.train, args["batch_size"])
    if steps is None:
        if args["epochs"]:
            raise InputError("--epochs: this system draws windows at random and knows no passes; give -i and -s")
        return
    interval = steps * args["passes_per_epoch"]
    if "max_iter" not in given:
        args["max_iter"] = interval * (args["epochs"] or 1)
    if "model_save_interval" not in given:
        args["model_save_interval"] = interval


def score_line(scores: Mapping[str, float]) -> str:
    """Scores in one line: fractions that users know as percent are given so."""
    return "  ".join(SCORES[name].line(value) for name, value in scores.items())


def _run_dir(
    args: dict[str, Any], roots: Sequence[DataRoot], array: Array, fabric: Fabric, resumed: Path | None
) -> Path:
    """The run folder, the same in all processes: named by the job id where there is one, else by the time."""
    if resumed is not None:
        return resumed
    monitor_path = Path(args["monitor_path"] or Path(roots[0].path) / "model_monitor")
    if not fabric.is_global_zero:
        return Path(fabric.broadcast(""))
    if args["job_id"] is None:
        made = new_run_dir(monitor_path)
    else:
        made = named_run_dir(monitor_path, run_name(args, roots[0].layout.name, array.name))
    return Path(fabric.broadcast(str(made)))


def run_name(args: Mapping[str, Any], dataset: str, format: str) -> str:
    """Name of a run by its ids, in the form of the system's seed."""
    mode = "eval" if args["split"] == "0" else "dev"
    split = args["split"] or "1"
    parts = {"dataset": dataset, "format": format, "mode": mode, "ov": args["ov"], "split": split}
    return preset_of(args["net"]).run_name.format(**parts, task=args["task_id"] or "1", job=args["job_id"])


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
        print(f"selection  {len(data.selection)} recordings: {data.selection_name}")
    if data.validation:
        print(f"validation {len(data.validation)} recordings ({data.validation_name})")
    print(f"device     {fabric.device.type}, {fabric._precision.precision}, {fabric.world_size} process(es)")
    print(f"run        {run_dir}" + (f", going on from iteration {iteration}" if iteration else ""), flush=True)
