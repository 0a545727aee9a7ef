"""The table of systems: which features, network, output format and recipe belong together.

A new system is a new row of `SYSTEMS`; trainer, validator and predictor know systems, not which one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from family import audio_visual, seldnet
from family.base import Stage, System
from feature.front import Batch, no_gradients
from net.weights import load_weights
from util.errors import InputError
from util.microphone_arrays import Array, array_named

SYSTEMS = {system.name: system for system in (*audio_visual.SYSTEMS, *seldnet.SYSTEMS)}


class Model(nn.Module):
    """Features, network and output format of one stage, on one device.

    Parameters
    ----------
    system : row of the table
    array : what the channels of the recordings are
    classes : names of the classes
    settings : of the stage, see `family.base.Stage.settings`
    visual : whether the network takes person boxes
    statistics : of the features, where the stage needs some (`feature.statistics`)
    """

    def __init__(
        self,
        system: System,
        array: Array,
        classes: Sequence[str],
        settings: Mapping[str, Any],
        *,
        visual: bool,
        statistics: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        stage = system.stages[0]
        self.system, self.array, self.classes, self.visual = system, array, tuple(classes), visual
        self.settings, self.statistics = dict(settings), statistics
        self.sampler = stage.sampler(self.settings)
        self.front = stage.front(self.settings, array, visual, statistics)
        self.network = stage.network(self.settings, self.front.audio, len(self.classes), visual)
        self.output_format = stage.output_format(self.settings, len(self.classes))

    @property
    def stage(self) -> Stage:
        """The stage that this model is of."""
        return self.system.stages[0]

    @property
    def feature(self) -> nn.Module:
        """The audio feature."""
        return self.front.audio

    def forward(self, batch: Batch) -> torch.Tensor:
        """A training batch of the stage's sampler -> raw output."""
        return self.network(*no_gradients(self.front, batch, training=True))

    def evaluate(self, batch: Batch) -> torch.Tensor:
        """An evaluation batch of the stage's sampler -> raw output."""
        return self.network(*no_gradients(self.front, batch, training=False))


def system_named(name: str) -> System:
    """The row of that name.

    Raises
    ------
    InputError : there is none
    """
    if name not in SYSTEMS:
        raise InputError(f"unknown system '{name}'; known are {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def recognise(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What a state dict of the reference networks was trained for, read off its names and shapes.

    Returns
    -------
    {"net", "array", "class_count", "visual"}

    Raises
    ------
    InputError : no network of the table has such weights
    """
    try:
        classes = weights["fc_xyz.weight"].shape[0] // 9
        array = {7: "foa", 3: "binaural"}[weights["audio_encoder.conv1.weight"].shape[1]]
    except (KeyError, IndexError):
        raise InputError("holds weights of no network that this project knows") from None
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    for name, system in SYSTEMS.items():
        for visual in (True, False):
            settings = system.stages[0].foreign
            if settings is None:
                continue
            model = Model(system, array_named(array), [str(index) for index in range(classes)], settings, visual=visual)
            if shapes == {key: tuple(value.shape) for key, value in model.network.state_dict().items()}:
                return {"net": name, "array": array, "class_count": classes, "visual": visual}
    raise InputError("holds weights of no network that this project knows")


def model_from_checkpoint(
    content: dict[str, Any], *, classes: Sequence[str] | None = None, array: Array | None = None
) -> Model:
    """The model of a checkpoint (as `util.checkpoint.load_checkpoint` gives it), weights loaded.

    Parameters
    ----------
    classes, array : for a file of another project, which holds neither names nor the array (FOA and MIC look alike)

    Raises
    ------
    InputError : unknown system, weights or statistics that do not fit it
    """
    stage = content["stages"][0]
    if content.get("foreign"):
        found = recognise(stage["model"])
        if classes is not None and len(classes) != found["class_count"]:
            raise InputError(f"is for {found['class_count']} classes, the data root has {len(classes)}")
        names = classes or [f"class {index}" for index in range(found["class_count"])]
        likely = array_named(found["array"])
        fitting = array if array is not None and array.channels == likely.channels else likely
        system = system_named(found["net"])
        model = Model(system, fitting, names, system.stages[0].foreign, visual=found["visual"])
    else:
        model = Model(
            system_named(content["system"]),
            Array.from_dict(content["array"]),
            content["classes"],
            content["model"] if "model" in content else _settings_before(content),
            visual=content["visual"],
            statistics=stage.get("statistics"),
        )
    load_weights(model.network, stage["model"])
    return model


def _settings_before(content: dict[str, Any]) -> dict[str, Any]:
    """Settings of a model whose checkpoint was written when the audio-visual systems were the only ones."""
    stored = {**content.get("settings", {}), **content.get("feature", {})}
    usual = system_named(content["system"]).stages[0].foreign or {}
    return {name: stored.get(name, value) for name, value in usual.items()}


def initialise(network: nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, list[str]]:
    """Copy the weights whose name and shape fit, leave the others as they are.

    Returns
    -------
    {"copied", "skipped" (in the file, of another shape or unknown), "new" (not in the file)}
    """
    own = network.state_dict()
    copied = [name for name in own if name in weights and weights[name].shape == own[name].shape]
    network.load_state_dict({name: weights[name] for name in copied}, strict=False)
    return {
        "copied": copied,
        "skipped": sorted(weights.keys() - set(copied)),
        "new": sorted(own.keys() - set(copied)),
    }
