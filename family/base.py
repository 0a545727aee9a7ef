"""What a row of the table of systems says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from util.microphone_arrays import Array

Settings = dict[str, Any]  # plain values, stored in the checkpoint


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised; flags of the command line override what they can.

    Attributes
    ----------
    betas, eps : of Adam
    arguments : defaults of flags that go before those of a data root, by their names in `util.flags.FLAGS`
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One network that is trained in one go.

    Attributes
    ----------
    settings : (arguments, array) -> settings of the stage, checked; everything below is made from them
    sampler : how items are cut from recordings, see `dataset.samplers`
    front : (settings, array, visual, statistics or None) -> features, see `feature.front`
    network : (settings, audio feature, class count, visual) -> network
    output_format : (settings, class count) -> what the network's output means
    statistics : whether the features are standardised with statistics of the recordings
    foreign : settings of weights that come without any, from another project's file; None: there are none
    """

    name: str
    settings: Callable[[Mapping[str, Any], Array], Settings]
    sampler: Callable[[Settings], Any]
    front: Callable[[Settings, Array, bool, Any], nn.Module]
    network: Callable[[Settings, nn.Module, int, bool], nn.Module]
    output_format: Callable[[Settings, int], Any]
    recipe: Recipe = Recipe()
    statistics: bool = False
    foreign: Settings | None = None


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes
    ----------
    source : paper or repository
    visual : whether it can use person boxes
    streams : whether rows come as soon as a window is heard; else the recording is taken as a whole
    """

    name: str
    title: str
    source: str
    stages: tuple[Stage, ...]
    visual: bool = True
    streams: bool = True
