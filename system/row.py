"""What a row of the table of systems says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from dataset.framing import Framing
from dataset.plans import EvaluationPlan, Plan
from feature.audio import AudioFeature
from feature.front import Front
from output_format.contract import OutputFormat
from system.recipes import adam
from util.job_arguments import Arguments
from util.microphone_arrays import Array

Settings = dict[str, Any]  # plain values, stored in the checkpoint
Statistics = Mapping[str, Any]  # of the features, see `feature.statistics`
Parameters = Iterable[nn.Parameter]


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised; flags of the command line override what they can.

    Attributes
    ----------
    optimiser : (parameters, learning rate, weight decay) -> optimiser
    schedule : (step, last step) -> factor of the learning rate; None: by --schedule
    choice : score (of `dcase2022_task3_seld_metrics.score_table`) by which a checkpoint is chosen, where one is; None:
        that of the edition
    ema : decay of the moving average of the weights that is scored and stored; None: the weights themselves are
    clip_norm : largest norm of the gradient; None: as it is
    """

    optimiser: Callable[[Parameters, float, float], torch.optim.Optimizer] = adam
    schedule: Callable[[int, int], float] | None = None
    choice: str | None = None
    ema: float | None = None
    clip_norm: float | None = None


@dataclass(frozen=True)
class Init:
    """Where a stage's weights come from before it is trained.

    Attributes
    ----------
    stage : name of an earlier stage
    rename : name of a weight there -> its name here; None: it is not copied
    """

    stage: str
    rename: Callable[[str], str | None] = lambda name: name


@dataclass(frozen=True)
class Plans:
    """How items are cut from recordings.

    Attributes
    ----------
    framing : how frames lie on samples; its rate is that of the waveforms
    training : (samples of the recordings, items per step, seed, indices of the recordings to take or None) -> plan
    evaluation : (samples of the recordings) -> plan with an end
    flags : values of the flags of the command line that this stands for, by their names
    """

    framing: Framing
    training: Callable[[np.ndarray, int, int, np.ndarray | None], Plan]
    evaluation: Callable[[np.ndarray], EvaluationPlan]
    flags: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One network that is trained in one go, or a method without parameters.

    Attributes
    ----------
    settings : (arguments, array) -> settings of the stage, checked; everything below is made from them
    plans : how items are cut from recordings
    front : (settings, array, visual, statistics or None) -> features, see `feature.front`
    network : (settings, audio feature, class count, visual) -> network; None: the features are the output
    output_format : (settings, class count) -> what the output means
    statistics : whether the features are standardised with statistics of the recordings
    init : where the weights come from
    takes : earlier stages whose raw output, frozen, is this stage's input in place of the sound
    foreign : settings of weights that come without any, from another project's file; None: there are none
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
    foreign: Settings | None = None


def last(raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """The raw output of the last stage."""
    return list(raw.values())[-1]


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes
    ----------
    source : paper or repository
    stages : in the order in which they are trained
    join : raw output (..., frames) of a recording by stage -> that of the system, in the format of the last stage
    visual : what is seen: "boxes" of persons; None: it has no use for pictures
    streams : whether rows come as soon as a window is heard; else the recording is taken as a whole
    """

    name: str
    title: str
    source: str
    stages: tuple[Stage, ...]
    join: Callable[[Mapping[str, np.ndarray]], np.ndarray] = last
    visual: str | None = None
    streams: bool = True

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        Raises
        ------
        KeyError : there is none
        """
        return {stage.name: stage for stage in self.stages}[name]
