"""The stages of a system, one after the other: what each is trained on, from which weights, and where."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from dataset.layouts import DataRoot
from dataset.plans import Plan
from dataset.recordings import Boxes, Recording
from dataset.source import Source, Visual
from dataset.true_boxes import SupposedBoxes
from doctor.levels import training_level_dbfs
from job.data import (
    TrainingData,
    addition,
    augmentation,
    check_labels,
    common_classes,
    monitor_path,
    source_of,
    training_data,
    training_loader,
    training_plan,
)
from job.evaluate import Evaluation
from job.modules import check_takes, frozen, with_modules
from job.results import Results
from job.seen import make_seen
from job.statistics import gather_statistics
from job.tuning_thresholds import few_of
from output_format.contract import needed
from seld_predictor import SELDPredictor, taken_source
from seld_trainer import SELDTrainer, TrainingSettings
from seld_validator import check_edition
from system.checkpoint import (
    Checkpoint,
    StageState,
    Weights,
    initialise,
    load_checkpoint,
    stage_of,
    weights_of_other,
)
from system.exported import REFUSED
from system.model import Model, StageModel
from system.presets import preset_of
from system.row import Init, Stage, System
from system.table import system_named
from system.tuned import Tuned, hearing_framing
from util.errors import InputError
from util.events import EventTable
from util.files import write_array, write_json
from util.job_arguments import Arguments
from util.machine import launcher, precision_of
from util.microphone_arrays import FLAG_OF_ARRAY, Array
from util.one_process import Processes
from util.runs import (
    checkpoints_of,
    result_checkpoint,
)
from util.thresholds import Thresholds, read_thresholds
from util.together import OthersEnded, end_at_once, ended_by_others, first_to_say

_WORDS = {"distance_m": "distances", "onscreen": "column onscreen"}
FINISHED = "finished.json"  # in the folder of a stage that is trained to its end


@dataclass
class StagesRun:
    """A training of a system: its data, and the stages that are trained so far."""

    given: dict[str, Any]
    args: Arguments
    roots: Sequence[DataRoot]
    fabric: Processes
    command: str
    system: System
    data: TrainingData
    array: Array
    classes: tuple[str, ...]
    visual: bool
    settings: dict[str, dict[str, Any]]
    started: dict[str, StageState]  # of --init, or of the run that goes before
    foreign: Weights | None  # of --init, where it is another project's file
    level_dbfs: float | None = None  # how loud the training recordings are
    stages: dict[str, StageState] = field(default_factory=dict)
    folder: Path = Path()

    @classmethod
    def prepared(
        cls,
        given: dict[str, Any],
        args: Arguments,
        roots: Sequence[DataRoot],
        fabric: Processes,
        command: str,
        resumed: Path | None = None,
    ) -> StagesRun:
        """Data opened and checked, everything that can be refused refused; a run that is resumed goes on as it was
        begun, whatever presets say by now.
        """
        system = system_named(args.net)
        if args.stage is not None and args.stage not in [stage.name for stage in system.stages]:
            known = ", ".join(stage.name for stage in system.stages)
            raise InputError(f"--stage {args.stage}: the stages of {system.name} are {known}")
        data = training_data(args, roots)
        array, visual = data.train[0].array, system.visual is not None and not args.no_video
        classes = common_classes(roots, args.class_num)
        system, modules = with_modules(system, args, array, classes)
        settings = {
            stage.name: modules[stage.name].settings if stage.name in modules else stage.settings(args, array)
            for stage in system.stages
        }
        if resumed is not None:
            settings |= _settings_before(system, resumed)
        check_takes(system, settings)
        formats = [stage.output_format(settings[stage.name], len(classes)) for stage in system.stages]
        for output_format in formats:
            check_edition(args.scored_by, output_format)
        producer = system.producer_by(settings) if visual else None
        if producer is not None:
            plans = [stage.plans(settings[stage.name]) for stage in system.stages]
            make_seen(producer, args, data.train, [*data.selection, *data.validation], plans, fabric)
        columns = list({column: None for one in formats for column in needed(one)})

        def check(recording: Recording, table: EventTable) -> None:
            for column in columns:
                if np.isnan(getattr(table, column)).any():
                    rule = f"has no {_WORDS[column]}, which {system.name} learns"
                    raise InputError(rule, path=recording.labels)

        check_labels(args, classes, [*data.train, *data.selection, *data.validation], check, columns)
        started, foreign = _weights_to_start_from(args, system)
        level = training_level_dbfs(data.train)
        return cls(
            given,
            args,
            roots,
            fabric,
            command,
            system,
            data,
            array,
            classes,
            visual,
            settings,
            started,
            foreign,
            level,
            stages={name: frozen(state) for name, state in modules.items()},
        )

    def due(self, resumed: Path | None) -> list[Stage]:
        """The stages that are to be trained; those before them are taken from files, into `stages`.

        Raises
        ------
        InputError : --stage names one whose earlier stages are nowhere to be found
        """
        names = [stage.name for stage in self.system.stages]
        for stage in self.system.stages[:-1]:
            if stage.network is None:  # there is nothing to learn
                self.stages.setdefault(stage.name, StageState(self.settings[stage.name], {}))
        if resumed is not None:
            for stage in self.system.stages[:-1]:
                folder = resumed / stage.name
                if (folder / FINISHED).is_file():
                    self.stages[stage.name] = _trained(result_checkpoint(folder), stage.name)
        wanted = self.args.stage
        if wanted is not None:
            for name in names[: names.index(wanted)]:
                if name not in self.stages:
                    self.stages[name] = self._found(name, wanted)
        else:  # stages of --init that come before the first missing one stay, unless the run trains them itself
            for name in names[:-1]:
                if name in self.stages:
                    continue
                if name not in self.started or (resumed is not None and (resumed / name).is_dir()):
                    break
                self.stages[name] = frozen(self.started[name])
        return [stage for stage in self.system.stages if stage.name not in self.stages and wanted in (None, stage.name)]

    def check(self, due: Sequence[Stage]) -> None:
        """Refuse what cannot be drawn or combined, before anything is made."""
        if self.args.batch_size % self.fabric.world_size:
            rule = f"must divide by the {self.fabric.world_size} processes"
            raise InputError(f"the batch size {self.args.batch_size} {rule}")
        for stage in due:
            if stage.takes:
                if self.args.augment != "none":
                    rule = f"the stage {stage.name} of {self.system.name} hears none"
                    raise InputError(f"--augment changes sound, {rule}")
                continue
            if stage.network is None:
                continue
            source = source_of(self.args, self.data.train, self.classes, self._seen(blind=True))
            plan = training_plan(self.args, source, self.roots, stage.plans(self.settings[stage.name]))
            _set_iterations(self.args.changed(), self.given, plan, stage)
            augmentation(self.args, self.array, source)
            addition(self.args, plan)

    def _found(self, name: str, wanted: str) -> StageState:
        """A stage that comes before one that is to be trained: of --init, else of the newest run that has it."""
        if name in self.started:
            return frozen(self.started[name])
        runs = sorted(self._monitor_path().glob(f"*/{name}/{FINISHED}"), key=lambda path: path.stat().st_mtime)
        for path in reversed(runs):
            checkpoint = load_checkpoint(result_checkpoint(path.parent))
            if checkpoint.system == self.system.name and checkpoint.classes == list(self.classes):
                print(f"stage {name} of {path.parent}")
                return frozen(checkpoint.stages[name])
        rule = f"--stage {wanted} stands on {name}, of which {self._monitor_path()} holds no finished run"
        raise InputError(f"{rule}: train it first (--stage {name}), or name a checkpoint with --init")

    def _monitor_path(self) -> Path:
        return monitor_path(self.args, self.roots)

    def stage_folder(self, stage: Stage) -> Path:
        """Where a stage is trained: the last one, which is the result, in the folder of the run itself."""
        return self.folder if stage is self.system.stages[-1] else self.folder / stage.name

    def train(self, stage: Stage, resumed: Path | None) -> int:
        """Train one stage; the exit status."""
        fabric, args, folder = self.fabric, self.args.changed(), self.stage_folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        interrupted = checkpoints_of(folder)[-1:] if resumed is not None else []
        before = load_checkpoint(interrupted[0]).stages[stage.name] if interrupted else None
        torch.manual_seed(args.random_seed)
        model = self._model(stage, before)
        model.to(fabric.device)
        ranks = {"rank": fabric.global_rank, "world": fabric.world_size}
        thresholds = read_thresholds(args.threshold_config, len(self.classes), default=model.output_format.threshold)
        whole = Model(self.system, self.array, self.classes, self._stages(model), visual=self.visual)
        whole.to(fabric.device)
        if fabric.world_size > 1:  # each draws for itself what is drawn inside the network
            torch.manual_seed(args.random_seed + 1_000_003 * fabric.global_rank)
        learner = self._learner(whole, model)
        results = Results(
            Evaluation(fabric, whole, args, thresholds, self.roots, self.command),
            self.data,
            folder,
            stage,
            lambda state, tuned: self._checkpoint(learner.states(state), tuned, args),
            partial(self._tuned_on, learner) if stage.recipe.tunes and args.threshold_config is None else None,
        )
        if stage.network is None:
            self._keep(model, results)
            return 0
        source = self._source(learner)
        plan = training_plan(args, source, self.roots, learner.plans)
        _set_iterations(args, self.given, plan, stage)
        trainer = SELDTrainer(
            fabric,
            learner,
            TrainingSettings(
                max_iter=args.max_iter,
                model_save_interval=args.model_save_interval,
                learning_rate=args.learning_rate,
                weight_decay=args.weight_decay,
                schedule=args.schedule,
                seed=args.random_seed,
            ),
            make_loader=lambda step: training_loader(args, source, plan, learner, self.array, **ranks, first_step=step),
            on_checkpoint=results.checkpoint,
            on_loss=results.loss,
            sync_batchnorm=args.sync_batchnorm,
        )
        if before is not None:
            trainer.restore(before)
        results.open(trainer.iteration if resumed is not None else None)
        if fabric.is_global_zero:
            self._print_start(stage, learner, args, folder, trainer.iteration)
        try:
            with ended_by_others(fabric):
                trainer.train()
        except (KeyboardInterrupt, OthersEnded) as error:
            if not isinstance(error, OthersEnded):
                self._say_how_to_go_on(f"interrupted at iteration {trainer.iteration}")
                return 130
            if first_to_say(self.folder, trainer.iteration):
                self._say_how_to_go_on(f"another process ended at iteration {trainer.iteration} ({error})")
            end_at_once(1)  # without waiting for those that are gone
        finally:
            results.close()
        if fabric.is_global_zero:
            results.print_end()
            if folder != self.folder:
                write_json(folder / FINISHED, {"iterations": trainer.iteration})
        fabric.barrier()
        self.stages[stage.name] = _trained(result_checkpoint(folder), stage.name)
        return 0

    def _say_how_to_go_on(self, what: str) -> None:
        args = self.args
        several = f" --devices {args.devices}" * (args.devices > 1) + f" --nodes {args.nodes}" * (args.nodes > 1)
        command = f"python seld.py -train{' -val' if args.val else ''} --resume {self.folder}{several}"
        if self.fabric.world_size > 1 and launcher() == "torchrun":
            command = f"torchrun (options as before) {command.removeprefix('python ')}"
        elif self.fabric.world_size > 1 and launcher() is not None:
            command = f"{launcher()} (options as before) {command}"
        print(f"\n{what}; go on from the last checkpoint with:\n  {command}", file=sys.stderr, flush=True)

    def _model(self, stage: Stage, before: StageState | None) -> StageModel:
        """The stage with the weights that it begins with."""
        settings, statistics = self.settings[stage.name], None
        if stage.statistics:
            statistics = None if before is None else before.statistics
            statistics = statistics or gather_statistics(
                stage,
                settings,
                self.array,
                self.data,
                self.args,
                self.fabric,
                lambda source: self._heard(stage, source),
            )
        model = StageModel(stage, settings, self.array, len(self.classes), visual=self.visual, statistics=statistics)
        if before is not None:
            return model
        if self.started and (stage.name in self.started or len(self.system.stages) == 1):
            weights = self.started.get(stage.name) or list(self.started.values())[-1]
            report = initialise(model.network, weights.weights)
            if not report["copied"]:
                raise InputError("has no weight in common with the network", path=self.args.init)
            self._print_report("--init", report)
        elif (init := stage.init) is not None and init.stage is not None:
            report = initialise(model.network, self.stages[init.stage].weights, init.rename, due=init.due)
            self._print_report(f"stage {stage.name} from {init.stage}", report)
        elif init is not None and self.foreign is not None:
            report = _transferred(model, self.foreign, init, self.args.init)
            self._print_report(f"stage {stage.name} from {self.args.init}", report)
        return model

    @staticmethod
    def _learner(whole: Model, model: StageModel) -> StageModel:
        """What is trained: a stage, or a stage and those that it takes."""
        earlier = {name: one for name, one in whole.needed([model.stage.name]).items() if one is not model}
        plans = model.stage.tuned(model.settings, hearing_framing(earlier)) if earlier else None
        return model if plans is None else Tuned(model, earlier, plans)

    def _stages(self, model: StageModel) -> dict[str, StageModel]:
        """The stage that is trained, and those before it."""
        return {**self._earlier(model.stage), model.stage.name: model}

    def _earlier(self, stage: Stage) -> dict[str, StageModel]:
        """The stages before one."""
        before = self.system.stages[: self.system.stages.index(stage)]
        return {
            one.name: stage_of(self.stages[one.name], self.system, one.name, self.array, len(self.classes), self.visual)
            for one in before
        }

    def _source(self, model: StageModel) -> Source:
        """What a stage is trained on: the recordings, or what earlier stages say of them."""
        source = self._recordings(self.data.train)
        return source.levelled(model.level) if isinstance(model, Tuned) else self._heard(model.stage, source)

    def _recordings(self, recordings: Sequence[Recording]) -> Source:
        """Recordings as training hears and sees them."""
        seen, producer = self._seen(), self.system.producer_by(self.settings)
        if seen is not None and producer is not None and self.system.supposes:
            seen = SupposedBoxes(self.classes, seen, things=producer.things)
        return source_of(self.args, recordings, self.classes, seen)

    def _tuned_on(self, model: StageModel) -> Source:
        """Recordings by which thresholds are tuned: those that checkpoints are chosen on, else some of the training."""
        source = self._recordings(few_of(self.data.selection or self.data.train))
        return self._heard(model.stage, source)

    def _seen(self, *, blind: bool = False) -> Visual | None:
        """What is seen of the recordings, nothing where `blind`; None: it does not look."""
        producer = self.system.producer_by(self.settings)
        if producer is None or not self.visual:
            return None
        return producer.nothing if blind else Boxes(self.args.detector, producer=producer)

    def _heard(self, stage: Stage, source: Source) -> Source:
        """Recordings as a stage hears them."""
        if not stage.takes:
            return source.levelled(stage.level(self.settings[stage.name]))
        stages = self._earlier(stage)
        earlier = Model(self.system, self.array, self.classes, stages, visual=self.visual)
        earlier.to(self.fabric.device)
        predictor = SELDPredictor(
            self.fabric,
            earlier,
            thresholds=[0.5] * len(self.classes),
            unification_deg=0.0,
            batch_size=self.args.batch_size,
            workers=self.args.workers,
        )
        with self.fabric.rank_zero_first():
            outputs = kept_outputs(predictor, source, stage.takes, self.folder / "outputs")
        return taken_source(source, stage.takes, outputs, range(len(source.recordings)))

    def _keep(self, model: StageModel, results: Results) -> None:
        """A result that needs no training: one checkpoint, scored as others are."""
        results.open(None)
        try:
            results.checkpoint(0, StageState(model.settings, {}, model.statistics))
            if self.fabric.is_global_zero:
                print(f"nothing to learn: {self.folder}")
                results.print_end()
        finally:
            results.close()
        self.fabric.barrier()

    def _checkpoint(self, states: Mapping[str, StageState], thresholds: Thresholds, args: Arguments) -> Checkpoint:
        return Checkpoint(
            self.system.name,
            self.array.to_dict(),
            list(self.classes),
            self.visual,
            {**self.stages, **states},
            thresholds.to_dict(),
            args.to_dict(),
            {name: [r.name for r in getattr(self.data, name)] for name in ("train", "selection")},
            self.level_dbfs,
        )

    def _print_report(self, what: str, report: Mapping[str, Sequence[str]]) -> None:
        for kind, names in report.items() if self.fabric.is_global_zero else ():
            listed = f": {', '.join(names)}" if names and kind != "copied" else ""
            print(f"{what}: {len(names)} weights {kind}{listed}")

    def _print_start(self, stage: Stage, model: StageModel, args: Arguments, folder: Path, iteration: int) -> None:
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
        print(f"device     {fabric.device.type}, {precision_of(fabric)}, {fabric.world_size} process(es)")
        print(f"run        {folder}" + (f", going on from iteration {iteration}" if iteration else ""), flush=True)

    def print_next(self) -> None:
        """What to type when all stages are trained."""
        if self.args.epochs and self.args.select == "val":
            return  # the test list comes next
        flag = FLAG_OF_ARRAY.get(self.array.name, "foa")
        print("\nnext:")
        print(f"  bash script/eval_seld.sh {flag} {result_checkpoint(self.folder)}")
        print("      score it in float32; csv, raw output and result file beside it")
        print(f"  tensorboard --logdir {self.folder.parent}")


def _settings_before(system: System, run: Path) -> dict[str, dict[str, Any]]:
    """Settings of the stages that a run has begun to train."""
    found = {}
    for stage in system.stages:
        folder = run if stage is system.stages[-1] else run / stage.name
        for path in checkpoints_of(folder)[-1:]:
            found[stage.name] = dict(load_checkpoint(path).stages[stage.name].settings)
    return found


def kept_outputs(
    predictor: SELDPredictor, source: Source, stages: Sequence[str], folder: Path
) -> dict[str, dict[str, np.ndarray]]:
    """Raw outputs of stages for every recording, by its name: written once, mapped from the files afterwards.

    What they take is kept in the same way.
    """

    def outputs(names: Sequence[str], recordings: Sequence[Recording]) -> dict[str, dict[str, np.ndarray]]:
        return {
            one.name: {name: np.load(folder / name / f"{one.name}.npy", mmap_mode="r") for name in names}
            for one in recordings
        }

    for name, stage in predictor.model.needed(stages).items():
        missing = [one for one in source.recordings if not (folder / name / f"{one.name}.npy").is_file()]
        heard = replace(source, recordings=missing, labels=None)
        if stage.stage.takes and missing:
            heard = taken_source(heard, stage.stage.takes, outputs(stage.stage.takes, missing), range(len(missing)))
        with tqdm(total=len(missing), desc=f"output of stage {name}", unit="clip", leave=False) as progress:
            for recording, raw in predictor.raw(heard, name):
                write_array(folder / name / f"{recording.name}.npy", raw)
                progress.update()
    return outputs(stages, source.recordings)


def _weights_to_start_from(args: Arguments, system: System) -> tuple[dict[str, StageState], Weights | None]:
    """Stages of --init; or the weights in it, where it is another project's and a stage of the system takes such."""
    if not args.init:
        return {}, None
    if any(stage.init is not None and stage.init.stage is None for stage in system.stages):
        weights = weights_of_other(args.init)
        if weights is not None:
            return {}, weights
    checkpoint = load_checkpoint(args.init)
    if checkpoint.graphs:
        raise InputError(REFUSED, path=args.init)
    return checkpoint.stages, None


def _transferred(model: StageModel, weights: Weights, init: Init, path: str | None) -> dict[str, list[str]]:
    """Copy weights of another project's file; what was copied."""
    try:
        return initialise(model.network, weights, init.rename, due=init.due)
    except InputError as error:
        raise InputError(error.rule, path=path) from None


def _trained(checkpoint: Path, name: str) -> StageState:
    return frozen(load_checkpoint(checkpoint).stages[name])


def _set_iterations(args: Arguments, given: Mapping[str, Any], plan: Plan, stage: Stage) -> None:
    """Epochs as iterations, in the arguments; -i and -s of the command line go before them.

    Epochs are those of the command line or the task, else those of the stage's recipe, else those of the system's.

    Raises
    ------
    InputError : --epochs of a system that knows no passes
    """
    steps = plan.steps_per_pass
    if steps is None:
        if args.epochs:
            raise InputError("--epochs: this system draws windows at random and knows no passes; give -i and -s")
        return
    if stage.recipe.epochs is not None and args.epochs == preset_of(args.net).arguments.get("epochs"):
        args.epochs = stage.recipe.epochs
    interval = steps * args.passes_per_epoch
    if "max_iter" not in given:
        args.max_iter = interval * (args.epochs or 1)
    if "model_save_interval" not in given:
        args.model_save_interval = interval
