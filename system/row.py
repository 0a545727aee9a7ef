"""What a row of the table of systems says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from dataset.framing import Framing
from dataset.plans import EvaluationPlan, Plan, WindowGrid
from dataset.seen import PRODUCERS, Producer
from feature.audio import AudioFeature
from feature.front import Front
from output_format.contract import OutputFormat
from system.recipes import adam
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

Settings = dict[str, Any]  # plain values, stored in the checkpoint
Statistics = Mapping[str, Any]  # of the features, see `feature.statistics`
Parameters = Iterable[nn.Parameter]
# features (batch, maps, T, bins), targets of the output format, numbers of the items -> the first two, changed
FeatureAugment = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised; flags of the command line override what they can.

    Attributes
    ----------
    optimiser : (parameters, learning rate, weight decay) -> optimiser
    schedule : (step, last step) -> factor of the learning rate; None: by --schedule
    epochs : passes over the recordings, where the user names none; None: those of the preset
    choice : score (of `dcase2022_task3_seld_metrics.score_table`) by which a checkpoint is chosen, where one is; None:
        that of the edition
    ema : decay of the moving average of the weights that is scored and stored; None: the weights themselves are
    clip_norm : largest norm of the gradient; None: as it is
    tunes : every checkpoint gets thresholds per class, by recordings that it is chosen on, else by some of the training
    """

    optimiser: Callable[[Parameters, float, float], torch.optim.Optimizer] = adam
    schedule: Callable[[int, int], float] | None = None
    choice: str | None = None
    epochs: int | None = None
    ema: float | None = None
    clip_norm: float | None = None
    tunes: bool = False


@dataclass(frozen=True)
class Init:
    """Where a stage's weights come from before it is trained.

    Attributes
    ----------
    stage : name of an earlier stage; None: another project's file, where --init names one
    rename : name of a weight there -> its name here; None: it is not copied
    due : names there that must be there and fit, else it is an error
    """

    stage: str | None
    rename: Callable[[str], str | None] = lambda name: name
    due: tuple[str, ...] = ()


@dataclass(frozen=True)
class Foreign:
    """What weights of another project's file, which holds nothing else, were trained for.

    Attributes
    ----------
    settings : of the stage
    array : name of the likely array, of `util.microphone_arrays.ARRAYS`
    class_count : number of classes
    visual : whether the network takes what is seen
    """

    settings: Settings
    array: str
    class_count: int
    visual: bool


@dataclass(frozen=True)
class Plans:
    """How items are cut from recordings.

    Attributes
    ----------
    framing : how frames lie on samples; its rate is that of the waveforms
    training : (samples of the recordings, items per step, seed, indices of the recordings to take or None) -> plan
    evaluation : (samples of the recordings) -> plan with an end
    flags : values of the flags of the command line that this stands for, by their names
    validated : (samples of the recordings, items per step) -> how many of them, from the first on, every checkpoint is
        scored on; None: all
    """

    framing: Framing
    training: Callable[[np.ndarray, int, int, np.ndarray | None], Plan]
    evaluation: Callable[[np.ndarray], EvaluationPlan]
    flags: Mapping[str, float] = field(default_factory=dict)
    validated: Callable[[np.ndarray, int], int] | None = None

    def within(self, latency_s: float) -> Plans:
        """The same, evaluated so that no frame waits longer than a time for its row, see `WindowGrid.within`.

        Raises
        ------
        InputError : a time that the windows do not allow; evaluation is not by windows
        """
        return self._regridded("--latency", lambda grid: grid.within(latency_s))

    def overlapping(self, count: int) -> Plans:
        """The same, evaluated so that so many windows say something of every frame, see `WindowGrid.overlapping`.

        Raises
        ------
        InputError : a number that the windows do not allow; evaluation is not by windows
        """
        return self._regridded("--overlap", lambda grid: grid.overlapping(count))

    def _regridded(self, flag: str, change: Callable[[WindowGrid], WindowGrid]) -> Plans:
        def evaluation(lengths: np.ndarray) -> EvaluationPlan:
            plan = self.evaluation(lengths)
            if not isinstance(plan, WindowGrid):
                raise InputError(f"{flag} is for systems that hear windows, this one hears recordings as a whole")
            return change(plan)

        evaluation(np.ones(1, dtype=np.int64))
        return replace(self, evaluation=evaluation)


@dataclass(frozen=True)
class Stage:
    """One network that is trained in one go, or a method without parameters.

    Attributes
    ----------
    settings : (arguments, array) -> settings of the stage, checked; everything below is made from them
    plans : how items are cut from recordings
    front : (settings, array, visual, statistics or None) -> features, see `feature.front`
    network : (settings, audio feature, class count, visual) -> network; None: the features are the output, frames last
    output_format : (settings, class count) -> what the output means
    statistics : whether the features are standardised with statistics of the recordings
    init : where the weights come from
    takes : earlier stages whose raw output, frozen, is this stage's input in place of the sound
    tuned : (settings, framing of what they hear) -> plans of the sound by which the stages that it takes are trained on
        together with it (`system.tuned`); None: they stay as they are
    level : settings -> standard deviation that recordings as a whole are brought to before they are heard; None: they
        are heard as they are
    augment : settings -> what is done to the features and targets of a training batch; None: nothing is
    foreign : settings of weights that come without any, from another project's file; None: there are none
    recognise : weights of another project's file -> what they were trained for; None: they are of another network
    """

    name: str
    settings: Callable[[Arguments, Array], Settings]
    plans: Callable[[Settings], Plans]
    front: Callable[[Settings, Array, bool, Statistics | None], Front]
    network: Callable[[Settings, AudioFeature, int, bool], nn.Module] | None
    output_format: Callable[[Settings, int], OutputFormat]
    recipe: Recipe = Recipe()
    statistics: bool = False
    init: Init | None = None
    takes: tuple[str, ...] = ()
    tuned: Callable[[Settings, Framing], Plans | None] = lambda settings, framing: None
    level: Callable[[Settings], float | None] = lambda settings: None
    augment: Callable[[Settings], FeatureAugment | None] | None = None
    foreign: Settings | None = None
    recognise: Callable[[Mapping[str, torch.Tensor]], Foreign | None] | None = None


def last(raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """The raw output of the last stage."""
    return list(raw.values())[-1]


@dataclass(frozen=True)
class Module:
    """A system that can be part of another one.

    Attributes
    ----------
    name : short, as flags and names of assembled systems have it
    title : as its publication calls it
    system : name of its row
    outputs : its stages whose raw outputs, one after the other, are what it says
    any_array : settings of its first stage -> whether it hears the same of every array, its first channel alone
    """

    name: str
    title: str
    system: str
    outputs: tuple[str, ...]
    any_array: Callable[[Settings], bool] = lambda settings: False


@dataclass(frozen=True)
class Slots:
    """What a system is assembled of: one module in each slot, trained before or together with the rest.

    Attributes
    ----------
    modules : by slot, which is also the flag that names one; of a slot by name
    default : (slot, array of the recordings) -> name of the module that is taken where none is named
    assemble : (names of the modules, in the order of the slots) -> the whole system
    """

    modules: Mapping[str, Mapping[str, Module]]
    default: Callable[[str, Array], str]
    assemble: Callable[[Sequence[str]], System]


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes
    ----------
    source : paper or repository
    stages : in the order in which they are trained
    join : raw output (..., frames) of a recording by stage -> that of the system, in the format of the last stage
    visual : what is seen, a row of `dataset.seen`; None: it has no use for pictures
    visual_by : settings of the last stage -> what is seen, where that depends on them
    oriented : it knows which side of a box is the head's, see `dataset.augment.Swap.boxes`
    supposes : recordings without video may be trained on, with boxes supposed from their labels
    streams : whether rows come as soon as a window is heard; else the recording is taken as a whole
    slots : of a system that is assembled of modules
    """

    name: str
    title: str
    source: str
    stages: tuple[Stage, ...]
    join: Callable[[Mapping[str, np.ndarray]], np.ndarray] = last
    visual: str | None = None
    visual_by: Callable[[Settings], str] | None = None
    supposes: bool = False
    oriented: bool = False
    streams: bool = True
    slots: Slots | None = None

    @property
    def producer(self) -> Producer | None:
        """What makes what is seen, whatever the settings."""
        return None if self.visual is None else PRODUCERS[self.visual]

    def producer_by(self, settings: Mapping[str, Settings]) -> Producer | None:
        """What makes what is seen, with settings by stage."""
        if self.visual_by is None:
            return self.producer
        return PRODUCERS[self.visual_by(settings[self.stages[-1].name])]

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        Raises
        ------
        KeyError : there is none
        """
        return {stage.name: stage for stage in self.stages}[name]
