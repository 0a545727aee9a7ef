"""-train: a run folder with checkpoints; with -val also scores at every checkpoint."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from dataset.layouts import DataRoot
from dataset.plans import Plan
from dataset.recordings import Boxes, Recording, no_boxes
from dataset.source import Source
from dcase2022_task3_seld_metrics.editions import EDITIONS
from dcase2022_task3_seld_metrics.score_table import SCORES
from doctor.levels import training_level_dbfs
from job.data import (
    FLAG_OF_ARRAY,
    TrainingData,
    augmentation,
    common_classes,
    detect_people,
    labels_of,
    open_roots,
    source_of,
    training_data,
    training_loader,
    training_plan,
)
from job.evaluate import Evaluation, evaluate_checkpoint
from job.machine import make_fabric
from job.statistics import gather_statistics
from report.monitor import Monitor
from seld_predictor import SELDPredictor, taken_source
from seld_trainer import SELDTrainer, TrainingSettings
from seld_validator import Validation, check_edition, result_text
from system.checkpoint import Checkpoint, StageState, initialise, load_checkpoint, save_checkpoint, stage_of
from system.model import Model, StageModel
from system.presets import preset_of
from system.row import Stage, System
from system.table import system_named
from util.errors import InputError
from util.files import read_json, write_json, written_whole
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
from util.thresholds import Thresholds, read_thresholds

FINISHED = "finished.json"  # in the folder of a stage that is trained to its end
CLIPS_DRAWN = 3  # clips whose azimuth is drawn at every validation


def train(given: dict[str, Any], command: str, *, run_folder: Path | None = None, score_test: bool = True) -> int:
    """Train the stages of a system from the beginning, or go on with an interrupted run (--resume).

    Parameters
    ----------
    run_folder : folder of the run; None: named by its ids or by the time
    score_test : runs in epochs are scored on the test list at their end
    """
    resumed = Path(given["resume"]) if given.get("resume") else None
    if resumed is not None:
        given = _given_before(given, resumed)
    roots, args = open_roots(given)
    fabric = make_fabric(args, training=True)
    run = _Run.prepared(given, args, roots, fabric, command)
    due = run.due(resumed)
    if not due:
        raise InputError("every stage of its system is trained", path=resumed)
    run.check(due)
    run.folder = run_folder or _run_dir(args, roots, run.array, fabric, resumed)
    if resumed is None and fabric.is_global_zero:
        run.folder.mkdir(parents=True, exist_ok=True)
        about = {"given": sorted(given), "command": command, "code_version": code_version()}
        write_json(run.folder / "args.json", {**args, **about})
    for stage in due:
        status = run.train(stage, resumed)
        if status:
            return status
    if fabric.is_global_zero and run.system.stages[-1] in due:
        run.print_next()
        if score_test and args["epochs"] and args["val"]:  # scored on the test list once, at the end
            print()
            evaluate_checkpoint({"data_root": args["data_root"]}, result_checkpoint(run.folder), command)
    return 0


def _given_before(given: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Arguments of a run that is to go on, with the changes that are allowed."""
    changed = {name: value for name, value in given.items() if name in RESUMABLE}
    ignored = sorted(given.keys() - changed.keys() - {"resume"})
    if ignored:
        print(f"--resume goes on with the run's own settings; ignored: {', '.join(ignored)}", file=sys.stderr)
    given = {**_arguments_of_run(run_dir), **changed}
    if "epochs" in changed and "max_iter" not in changed:
        given.pop("max_iter", None)  # follows from the epochs
    return given


@dataclass
class _Run:
    """A training of a system: its data, and the stages that are trained so far."""

    given: dict[str, Any]
    args: dict[str, Any]
    roots: Sequence[DataRoot]
    fabric: Fabric
    command: str
    system: System
    data: TrainingData
    array: Array
    classes: tuple[str, ...]
    visual: bool
    settings: dict[str, dict[str, Any]]
    started: dict[str, StageState]  # of --init, or of the run that goes before
    level_dbfs: float | None = None  # how loud the training recordings are
    stages: dict[str, StageState] = field(default_factory=dict)
    folder: Path = Path()

    @classmethod
    def prepared(
        cls,
        given: dict[str, Any],
        args: dict[str, Any],
        roots: Sequence[DataRoot],
        fabric: Fabric,
        command: str,
    ) -> _Run:
        """Data opened and checked, everything that can be refused refused."""
        system = system_named(args["net"])
        if args["stage"] is not None and args["stage"] not in [stage.name for stage in system.stages]:
            known = ", ".join(stage.name for stage in system.stages)
            raise InputError(f"--stage {args['stage']}: the stages of {system.name} are {known}")
        data = training_data(args, roots)
        array, visual = data.train[0].array, system.visual is not None and not args["no_video"]
        settings = {stage.name: stage.settings(args, array) for stage in system.stages}
        classes = common_classes(roots, args["class_num"])
        for stage in system.stages:
            check_edition(args["edition"], stage.output_format(settings[stage.name], len(classes)))
        if visual:
            with fabric.rank_zero_first():
                detect_people(args, [*data.train, *data.selection, *data.validation])
        labels = labels_of(classes, args)
        for recording in (*data.train, *data.selection, *data.validation):
            labels(recording)  # a broken csv is named now, not when its window is drawn
        started = load_checkpoint(args["init"]).stages if args["init"] else {}
        level = training_level_dbfs(data.train)
        return cls(
            given, args, roots, fabric, command, system, data, array, classes, visual, settings, started, level
        )

    def due(self, resumed: Path | None) -> list[Stage]:
        """The stages that are to be trained; those before them are taken from files, into `stages`.

        Raises
        ------
        InputError : --stage names one whose earlier stages are nowhere to be found
        """
        names = [stage.name for stage in self.system.stages]
        if resumed is not None:
            for stage in self.system.stages[:-1]:
                folder = resumed / stage.name
                if (folder / FINISHED).is_file():
                    self.stages[stage.name] = _trained(result_checkpoint(folder), stage.name)
        wanted = self.args["stage"]
        if wanted is not None:
            for name in names[: names.index(wanted)]:
                if name not in self.stages:
                    self.stages[name] = self._found(name, wanted)
        else:  # stages of --init that come before the first missing one stay, unless the run trains them itself
            while len(self.stages) < len(names) - 1 and names[len(self.stages)] in self.started:
                name = names[len(self.stages)]
                if resumed is not None and (resumed / name).is_dir():
                    break
                self.stages[name] = _frozen(self.started[name])
        return [stage for stage in self.system.stages if stage.name not in self.stages and wanted in (None, stage.name)]

    def check(self, due: Sequence[Stage]) -> None:
        """Refuse what cannot be drawn or combined, before anything is made."""
        if self.args["batch_size"] % self.fabric.world_size:
            rule = f"must divide by the {self.fabric.world_size} processes"
            raise InputError(f"the batch size {self.args['batch_size']} {rule}")
        for stage in due:
            if stage.takes:
                if self.args["augment"] != "none":
                    rule = f"the stage {stage.name} of {self.system.name} hears none"
                    raise InputError(f"--augment changes sound, {rule}")
                continue
            source = source_of(self.args, self.data.train, self.classes, no_boxes if self.visual else None)
            plan = training_plan(self.args, source, self.roots, stage.plans(self.settings[stage.name]))
            _set_iterations(dict(self.args), self.given, plan)
            augmentation(self.args, self.array, source)

    def _found(self, name: str, wanted: str) -> StageState:
        """A stage that comes before one that is to be trained: of --init, else of the newest run that has it."""
        if name in self.started:
            return _frozen(self.started[name])
        runs = sorted(self._monitor_path().glob(f"*/{name}/{FINISHED}"), key=lambda path: path.stat().st_mtime)
        for path in reversed(runs):
            checkpoint = load_checkpoint(result_checkpoint(path.parent))
            if checkpoint.system == self.system.name and checkpoint.classes == list(self.classes):
                print(f"stage {name} of {path.parent}")
                return _frozen(checkpoint.stages[name])
        rule = f"--stage {wanted} stands on {name}, of which {self._monitor_path()} holds no finished run"
        raise InputError(f"{rule}: train it first (--stage {name}), or name a checkpoint with --init")

    def _monitor_path(self) -> Path:
        return Path(self.args["monitor_path"] or Path(self.roots[0].path) / "model_monitor")

    def stage_folder(self, stage: Stage) -> Path:
        """Where a stage is trained: the last one, which is the result, in the folder of the run itself."""
        return self.folder if stage is self.system.stages[-1] else self.folder / stage.name

    def train(self, stage: Stage, resumed: Path | None) -> int:
        """Train one stage; the exit status."""
        fabric, args, folder = self.fabric, dict(self.args), self.stage_folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        interrupted = checkpoints_of(folder)[-1:] if resumed is not None else []
        before = load_checkpoint(interrupted[0]).stages[stage.name] if interrupted else None
        torch.manual_seed(args["random_seed"])
        model = self._model(stage, before)
        source = self._source(stage, model)
        plan = training_plan(args, source, self.roots, model.plans)
        _set_iterations(args, self.given, plan)
        model.to(fabric.device)
        ranks = {"rank": fabric.global_rank, "world": fabric.world_size}
        thresholds = read_thresholds(
            args["threshold_config"], len(self.classes), default=model.output_format.threshold
        )
        whole = Model(self.system, self.array, self.classes, self._stages(model), visual=self.visual)
        whole.to(fabric.device)
        if fabric.world_size > 1:  # each draws for itself what is drawn inside the network
            torch.manual_seed(args["random_seed"] + 1_000_003 * fabric.global_rank)
        results = _Results(
            Evaluation(fabric, whole, args, thresholds, self.roots, self.command),
            self.data,
            folder,
            stage,
            lambda state: self._checkpoint(stage, state, thresholds, args),
        )
        trainer = SELDTrainer(
            fabric,
            model,
            TrainingSettings(
                max_iter=args["max_iter"],
                model_save_interval=args["model_save_interval"],
                learning_rate=args["learning_rate"],
                weight_decay=args["weight_decay"],
                schedule=args["schedule"],
                seed=args["random_seed"],
            ),
            make_loader=lambda step: training_loader(
                args, source, plan, model, self.array, **ranks, first_step=step
            ),
            on_checkpoint=results.checkpoint,
            on_loss=results.loss,
        )
        if before is not None:
            trainer.restore(before)
        results.open(trainer.iteration if resumed is not None else None)
        if fabric.is_global_zero:
            self._print_start(stage, model, args, folder, trainer.iteration)
        try:
            trainer.train()
        except KeyboardInterrupt:
            command = f"python seld.py -train{' -val' if args['val'] else ''} --resume {self.folder}"
            place = f"interrupted at iteration {trainer.iteration}"
            print(f"\n{place}; go on from the last checkpoint with:\n  {command}", file=sys.stderr)
            return 130
        finally:
            results.close()
        if fabric.is_global_zero:
            results.print_end()
            if folder != self.folder:
                write_json(folder / FINISHED, {"iterations": trainer.iteration})
        fabric.barrier()
        self.stages[stage.name] = _trained(result_checkpoint(folder), stage.name)
        return 0

    def _model(self, stage: Stage, before: StageState | None) -> StageModel:
        """The stage with the weights that it begins with."""
        settings, statistics = self.settings[stage.name], None
        if stage.statistics:
            statistics = None if before is None else before.statistics
            statistics = statistics or gather_statistics(
                stage, settings, self.array, self.data, self.args, self.fabric
            )
        model = StageModel(
            stage, settings, self.array, len(self.classes), visual=self.visual, statistics=statistics
        )
        if before is not None:
            return model
        if self.started and (stage.name in self.started or len(self.system.stages) == 1):
            weights = self.started.get(stage.name) or list(self.started.values())[-1]
            report = initialise(model.network, weights.weights)
            if not report["copied"]:
                raise InputError("has no weight in common with the network", path=self.args["init"])
            self._print_report("--init", report)
        elif stage.init is not None:
            report = initialise(model.network, self.stages[stage.init.stage].weights, stage.init.rename)
            self._print_report(f"stage {stage.name} from {stage.init.stage}", report)
        return model

    def _stages(self, model: StageModel) -> dict[str, StageModel]:
        """The stage that is trained, and those before it."""
        made: dict[str, StageModel] = {}
        for stage in self.system.stages:
            if stage is model.stage:
                return {**made, stage.name: model}
            made[stage.name] = stage_of(
                self.stages[stage.name], self.system, stage.name, self.array, len(self.classes), self.visual
            )
        raise AssertionError

    def _source(self, stage: Stage, model: StageModel) -> Source:
        """What a stage is trained on: the recordings, or what earlier stages say of them."""
        boxes = Boxes(self.args["detector"]) if model.visual else None
        source = source_of(self.args, self.data.train, self.classes, boxes)
        if not stage.takes:
            return source
        earlier = Model(self.system, self.array, self.classes, self._stages(model), visual=self.visual)
        earlier.to(self.fabric.device)
        predictor = SELDPredictor(
            self.fabric,
            earlier,
            thresholds=[0.5] * len(self.classes),
            unification_deg=0.0,
            batch_size=self.args["batch_size"],
            workers=self.args["workers"],
        )
        with self.fabric.rank_zero_first():
            outputs = kept_outputs(predictor, source, stage.takes, self.folder / "outputs")
        return taken_source(source, model, outputs, range(len(source.recordings)))

    def _checkpoint(
        self, stage: Stage, state: StageState, thresholds: Thresholds, args: Mapping[str, Any]
    ) -> Checkpoint:
        return Checkpoint(
            self.system.name,
            self.array.to_dict(),
            list(self.classes),
            self.visual,
            {**self.stages, stage.name: state},
            thresholds.to_dict(),
            dict(args),
            {name: [r.name for r in getattr(self.data, name)] for name in ("train", "selection")},
            self.level_dbfs,
        )

    def _print_report(self, what: str, report: Mapping[str, Sequence[str]]) -> None:
        for kind, names in report.items() if self.fabric.is_global_zero else ():
            listed = f": {', '.join(names)}" if names and kind != "copied" else ""
            print(f"{what}: {len(names)} weights {kind}{listed}")

    def _print_start(
        self, stage: Stage, model: StageModel, args: Mapping[str, Any], folder: Path, iteration: int
    ) -> None:
        data, fabric = self.data, self.fabric
        minutes = sum(recording.duration_s for recording in data.train) / 60
        parameters = sum(parameter.numel() for parameter in model.network.parameters())
        named = f", stage {stage.name}" if len(self.system.stages) > 1 else ""
        audio_only = "" if model.visual else " (audio only)"
        print(f"system     {self.system.title}{named}{audio_only}, {parameters} parameters")
        heard = f"{minutes:.0f} min of {self.array.name} audio"
        print(f"training   {len(data.train)} recordings, {heard} ({data.train_name})")
        if data.selection:
            print(f"selection  {len(data.selection)} recordings: {data.selection_name}")
        if data.validation:
            print(f"validation {len(data.validation)} recordings ({data.validation_name})")
        print(f"device     {fabric.device.type}, {fabric._precision.precision}, {fabric.world_size} process(es)")
        print(f"run        {folder}" + (f", going on from iteration {iteration}" if iteration else ""), flush=True)

    def print_next(self) -> None:
        """What to type when all stages are trained."""
        if self.args["epochs"] and self.args["select"] == "val":
            return  # the test list comes next
        flag = FLAG_OF_ARRAY.get(self.array.name, "foa")
        print("\nnext:")
        print(f"  bash script/eval_seld.sh {flag} {result_checkpoint(self.folder)}")
        print("      score it in float32; csv, raw output and result file beside it")
        print(f"  tensorboard --logdir {self.folder.parent}")


def kept_outputs(
    predictor: SELDPredictor, source: Source, stages: Sequence[str], folder: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Raw outputs of stages for every recording, by its name: written once, mapped from the files afterwards."""
    for stage in stages:
        missing = [one for one in source.recordings if not (folder / stage / f"{one.name}.npy").is_file()]
        with tqdm(total=len(missing), desc=f"output of stage {stage}", unit="clip", leave=False) as progress:
            for recording, raw in predictor.raw(replace(source, recordings=missing, labels=None), stage):
                with written_whole(folder / stage / f"{recording.name}.npy") as whole, open(whole, "wb") as file:
                    np.save(file, raw, allow_pickle=False)
                progress.update()
    return {
        one.name: {stage: np.load(folder / stage / f"{one.name}.npy", mmap_mode="r") for stage in stages}
        for one in source.recordings
    }


def _frozen(state: StageState) -> StageState:
    """A stage that is not trained any further."""
    return replace(state, trained={})


def _trained(checkpoint: Path, name: str) -> StageState:
    return _frozen(load_checkpoint(checkpoint).stages[name])


class _Results:
    """What happens to losses and checkpoints of a run: TensorBoard, validation, selection, the closing words."""

    def __init__(
        self,
        evaluation: Evaluation,
        data: TrainingData,
        run_dir: Path,
        stage: Stage,
        make: Callable[[StageState], Checkpoint],
    ):
        self.evaluation, self.data, self.run_dir, self.make = evaluation, data, run_dir, make
        self.args, self.classes = evaluation.args, evaluation.model.classes
        self.score = SCORES[stage.recipe.choice or EDITIONS[self.args["edition"]].best]
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

    def checkpoint(self, iteration: int, state: StageState) -> bool:
        """Write a checkpoint, validate it, and offer it for selection; whether it is time to stop."""
        path = self.run_dir / f"params_{self.run_dir.name}_{iteration:07d}.pth"
        save_checkpoint(path, self.make(state))
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
        since = 0 if best is None else (iteration - best) // self.args["model_save_interval"]
        if since > patience:
            tqdm.write(f"stopped: no better {self.score.label} since iteration {best} (--patience {patience})")
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
        scores |= validation.precision
        self._remember(iteration, {"val_loss": validation.loss, **scores})
        occurs = validation.scores.occurs
        self.monitor.validation(iteration, scores, validation.scores.classwise, self.classes, occurs=occurs)
        for name in sorted(validation.reference)[:CLIPS_DRAWN]:
            reference, estimated = validation.reference[name], validation.estimated[name]
            self.monitor.azimuth_figure(iteration, name, reference, estimated, self.classes)
        seen = next((one for one in self.validated if one.video and one.name in validation.reference), None)
        if seen is not None and seen.video is not None:
            tables = validation.reference[seen.name], validation.estimated[seen.name]
            detector = self.args["detector"]
            self.monitor.clip_frame(iteration, seen.name, seen.video, *tables, self.classes, detector=detector)
        tqdm.write(f"{iteration:7d}  val loss {validation.loss:.4f}  {score_line(s)}")

    def _remember(self, iteration: int, values: dict[str, float | None]) -> None:
        """One line of the history, which the curves are drawn from."""
        line = {"iteration": iteration, "train_loss": self.train_loss, **values}
        with open(self.run_dir / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _offer(self, path: Path, validation: Validation) -> None:
        """Remember the checkpoint if it is the best one so far, by the score of its stage or of the edition."""
        if validation.scores is None:
            return
        score, selected = self.score, self.run_dir / SELECTED
        value = validation.scores.overall[score.name]
        best = read_json(selected)[score.key] if selected.is_file() else None
        # 2019 gives no error where nothing is predicted: that is worse than any
        if best is None or score.beats(value, best):
            stored, rule = value if math.isfinite(value) else None, self.args["select"]
            apart = self.data.selection_name if rule == "val" else self.data.validation_name
            about = {"checkpoint": path.name, score.key: stored, "selected_on": rule, "recordings": apart}
            write_json(selected, about)

    def print_end(self) -> None:
        """Scores of the last validation."""
        if self.last is not None and self.validated is self.data.validation:
            path, validation = self.last
            remarks = self.evaluation.remarks(validation, self.data.validation, path, self.data.validation_name)
            print(f"\n{result_text(validation, self.classes, remarks)}", end="")
        chosen = result_checkpoint(self.run_dir)
        if self.args["select"] != "last":
            print(f"selected (--select {self.args['select']}): {chosen.name}")


def _arguments_of_run(run_dir: Path) -> dict[str, Any]:
    """Arguments that a run was started with, without what belongs to its start alone."""
    if not (run_dir / "args.json").is_file():
        raise InputError("is no run folder: it holds no args.json", path=run_dir)
    stored = read_json(run_dir / "args.json")
    own = {"command", "code_version", "resume", "given"}
    if "given" in stored:  # what follows from the epochs, or from the data set, follows from them again
        own |= {"max_iter", "model_save_interval"} - set(stored["given"])
    return {key: value for key, value in stored.items() if key not in own}


def _set_iterations(args: dict[str, Any], given: Mapping[str, Any], plan: Plan) -> None:
    """Epochs as iterations, in the arguments; -i and -s of the command line go before them.

    Raises
    ------
    InputError : --epochs of a system that knows no passes
    """
    steps = plan.steps_per_pass
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
