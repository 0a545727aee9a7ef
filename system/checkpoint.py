"""What a checkpoint holds, of this project and of others, and the model that is made from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from net.weights import load_weights
from system import exported
from system.model import Model, StageModel
from system.row import Foreign, Statistics, System
from system.table import SYSTEMS, system_named
from util.checkpoint import read_weights_file, write_weights_file
from util.errors import InputError
from util.microphone_arrays import Array, array_named
from util.thresholds import Thresholds, read_thresholds

FORMAT = "seld-checkpoint-2"
_BEFORE = "seld-checkpoint-1"  # one stage, its settings outside of it
Weights = dict[str, torch.Tensor]


@dataclass
class StageState:
    """What a checkpoint holds of one stage.

    Attributes
    ----------
    settings : that features, network and output format were made with
    weights : that are used (the moving average of those that were trained, where there is one)
    statistics : of the features
    trained : {"weights", "optimiser", "random_states"}: what going on with its training needs; empty afterwards
    iteration : steps that it was trained
    """

    settings: dict[str, Any]
    weights: Weights
    statistics: Statistics | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    iteration: int = 0


@dataclass
class Checkpoint:
    """Everything that continuing, evaluating and inference need.

    Attributes
    ----------
    system : name of its row
    array : what the channels of the recordings were
    classes : names
    visual : whether the networks take what is seen
    stages : by name; stages that are not trained yet are missing
    thresholds : see `util.thresholds`
    arguments : resolved arguments of the training
    recordings : names of those it was trained on, and of those it was chosen by
    level_dbfs : how loud the training recordings were (`doctor.levels`); None: unknown
    foreign : it is another project's file, which tells neither names nor array
    graphs : files of the stages that are graphs in place of weights, see `system.exported`
    """

    system: str
    array: dict[str, Any]
    classes: list[str]
    visual: bool
    stages: dict[str, StageState]
    thresholds: dict[str, Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    recordings: dict[str, list[str]] = field(default_factory=dict)
    level_dbfs: float | None = None
    foreign: bool = False
    graphs: dict[str, Path] = field(default_factory=dict)

    @property
    def iteration(self) -> int | None:
        """Steps of the stage trained last; None where that is not known."""
        return None if self.foreign else list(self.stages.values())[-1].iteration

    @property
    def missing(self) -> list[str]:
        """Stages of the system that are still to be trained."""
        return [stage.name for stage in system_named(self.system).stages if stage.name not in self.stages]


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all."""
    stored = Checkpoint.__dataclass_fields__.keys() - {"foreign", "graphs"}
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__ if name in stored}
    content["stages"] = {name: _as_dict(state) for name, state in checkpoint.stages.items()}
    write_weights_file(path, {"format": FORMAT, **content})


def load_checkpoint(
    path: str | os.PathLike[str], *, classes: Sequence[str] | None = None, array: Array | None = None
) -> Checkpoint:
    """Read a checkpoint of this project, of its earlier form, an exported one, or the weights of another project.

    Parameters
    ----------
    classes, array : for a file of another project, which holds neither names nor the array (FOA and MIC look alike)

    Raises
    ------
    InputError : as `util.checkpoint.read_weights_file`; weights of no system that is known
    """
    if Path(path).suffix == exported.SUFFIX:
        return _of_graphs(Path(path))
    content = read_weights_file(path)
    try:
        if content.get("format") == FORMAT:
            stages = {name: StageState(**state) for name, state in content["stages"].items()}
            return Checkpoint(**{k: v for k, v in content.items() if k not in ("format", "stages")}, stages=stages)
        if content.get("format") == _BEFORE:
            return _of_one_stage(content)
    except (KeyError, TypeError, IndexError, AttributeError):
        raise InputError("is no checkpoint of this project, or of a later version of it", path=path) from None
    try:
        return _of_weights(foreign_weights(content), classes, array)
    except InputError as error:
        raise InputError(error.rule, path=path) from None


def foreign_weights(content: Mapping[str, Any]) -> Weights:
    """The weights in a file of another project; everything else in it is dropped.

    Raises
    ------
    InputError : it holds none
    """
    weights = next((content[key] for key in ("model_state_dict", "state_dict", "model") if key in content), content)
    if not isinstance(weights, dict) or not weights or not all(torch.is_tensor(value) for value in weights.values()):
        raise InputError("is no checkpoint: neither of this project nor a state dict of weights")
    return {str(name).removeprefix("module."): value for name, value in weights.items()}


def thresholds_of(checkpoint: Checkpoint, file: str | os.PathLike[str] | None, model: Model) -> Thresholds:
    """Thresholds of a checkpoint: those of a file, else those it was trained with, else the default."""
    if file is None and checkpoint.thresholds is not None:
        return Thresholds.from_dict(checkpoint.thresholds)
    return read_thresholds(file, len(model.classes), default=model.output_format.threshold)


def model_of(checkpoint: Checkpoint) -> Model:
    """The model of a checkpoint, weights loaded.

    Raises
    ------
    InputError : unknown system, a stage that is missing, weights or statistics that do not fit
    """
    system = system_named(checkpoint.system)
    if checkpoint.missing:
        held, missing = ", ".join(checkpoint.stages), ", ".join(checkpoint.missing)
        rule = f"holds the stages {held} of {system.name} only, {missing} "
        raise InputError(rule + "is still to be trained: python seld.py -train --resume RUN")
    array = Array.from_dict(checkpoint.array)
    stages = {
        stage.name: stage_of(
            checkpoint.stages[stage.name],
            system,
            stage.name,
            array,
            len(checkpoint.classes),
            checkpoint.visual,
            checkpoint.graphs.get(stage.name),
        )
        for stage in system.stages
    }
    return Model(system, array, checkpoint.classes, stages, visual=checkpoint.visual)


def stage_of(
    state: StageState,
    system: System,
    name: str,
    array: Array,
    class_count: int,
    visual: bool,
    graph: Path | None = None,
) -> StageModel:
    """One stage of a checkpoint: weights loaded, or the graph that it was exported to."""
    if graph is not None:
        return exported.ExportedStage(graph, system.stage(name), state.settings, array, class_count, visual=visual)
    made = StageModel(
        system.stage(name), state.settings, array, class_count, visual=visual, statistics=state.statistics
    )
    load_weights(made.network, state.weights)
    return made


def recognise(weights: Weights) -> tuple[str, Foreign]:
    """Name of the system, and what a state dict of another project was trained for, read off its names and shapes.

    Raises
    ------
    InputError : no network of the table has such weights
    """
    for name, system in SYSTEMS.items():
        for stage in system.stages:
            found = None if stage.recognise is None else stage.recognise(weights)
            if found is not None:
                return name, found
    raise InputError("holds weights of no network that this project knows")


def _of_weights(weights: Weights, classes: Sequence[str] | None, array: Array | None) -> Checkpoint:
    """A file of another project, which holds weights alone."""
    name, found = recognise(weights)
    if classes is not None and len(classes) != found.class_count:
        raise InputError(f"is for {found.class_count} classes, the data root has {len(classes)}")
    likely = array_named(found.array)
    stage = system_named(name).stages[-1]
    return Checkpoint(
        name,
        (array if array is not None and array.channels == likely.channels else likely).to_dict(),
        list(classes or [f"class {index}" for index in range(found.class_count)]),
        found.visual,
        {stage.name: StageState(dict(found.settings), weights)},
        foreign=True,
    )


def _of_one_stage(content: dict[str, Any]) -> Checkpoint:
    """A checkpoint of the time when every system had one stage."""
    (stored,) = content["stages"]
    system = system_named(content["system"])
    if "model" in content:
        settings = {name: value for name, value in content["model"].items() if name not in ("clip_s", "label_frame_s")}
    else:  # of the time when the audio-visual systems were the only ones
        found = {**content.get("settings", {}), **content.get("feature", {})}
        settings = {name: found.get(name, value) for name, value in (system.stages[-1].foreign or {}).items()}
    iteration = int(content.get("iteration", 0))
    trained = {}
    if "optimiser" in stored:
        states = {"cpu": content["random_state"][None]}
        trained = {"weights": stored["model"], "optimiser": stored["optimiser"], "random_states": states}
    state = StageState(settings, stored["model"], stored.get("statistics"), trained, iteration)
    return Checkpoint(
        content["system"],
        content["array"],
        list(content["classes"]),
        bool(content["visual"]),
        {system.stages[-1].name: state},
        content.get("thresholds"),
        content.get("settings", {}),
        content.get("recordings", {}),
    )


def _of_graphs(path: Path) -> Checkpoint:
    """One of the files of an exported system, with the others."""
    metadata = exported.read_metadata(path)
    try:
        stages = {
            name: StageState(state["settings"], {}, iteration=state["iteration"])
            for name, state in metadata["stages"].items()
        }
        return Checkpoint(
            metadata["system"],
            metadata["array"],
            metadata["classes"],
            metadata["visual"],
            stages,
            metadata["thresholds"],
            metadata["arguments"],
            metadata["recordings"],
            metadata["level_dbfs"],
            graphs=exported.stage_files(path, metadata),
        )
    except (KeyError, TypeError, AttributeError):
        raise InputError("has metadata that this version cannot read", path=path) from None


def _as_dict(state: StageState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in StageState.__dataclass_fields__}


def weights_of_other(path: str | os.PathLike[str]) -> Weights | None:
    """The weights in a file of another project, see `foreign_weights`; None: it is a checkpoint of this one."""
    content = read_weights_file(path)
    if content.get("format") in (FORMAT, _BEFORE):
        return None
    try:
        return foreign_weights(content)
    except InputError as error:
        raise InputError(error.rule, path=path) from None


def initialise(
    network: nn.Module,
    weights: Weights,
    rename: Callable[[str], str | None] = lambda name: name,
    *,
    due: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Copy the weights whose name (after renaming) and shape fit, leave the others as they are.

    Parameters
    ----------
    due : names of weights that must be there and fit

    Returns
    -------
    {"copied", "skipped" (in the file, of another shape or unknown), "new" (not in the file)}

    Raises
    ------
    InputError : one of those that are due is missing or of another shape
    """
    own = network.state_dict()
    for name in due:
        here = own.get(rename(name) or "")
        if name not in weights or here is None:
            where = "is missing" if name not in weights else "has no place in the network"
            raise InputError(f"weights of another architecture: '{name}' {where}")
        if weights[name].shape != here.shape:
            found, wanted = tuple(weights[name].shape), tuple(here.shape)
            rule = f"weights of another size: '{name}' is {found}, this network has {wanted}"
            maps = f": it hears {wanted[1]} maps, the weights are for {found[1]}" if len(wanted) == 4 else ""
            raise InputError(rule + maps)
    renamed = {rename(name): value for name, value in weights.items()}
    copied = {n: value for n, value in renamed.items() if n in own and value.shape == own[n].shape}
    network.load_state_dict(copied, strict=False)
    skipped = [name for name in weights if rename(name) not in copied]
    return {"copied": list(copied), "skipped": sorted(skipped), "new": sorted(own.keys() - copied.keys())}
