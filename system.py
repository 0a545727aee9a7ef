"""The table of systems: which features, network, output format and recipe belong together.

A new system is a new row of `SYSTEMS`; trainer, validator and predictor know systems, not which one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from feature.boxes import box_vectors
from feature.phasediff import AmplitudePhaseDifference
from net.crnn import AudioVisualCRNN
from net.vis_transformer import VisTransformer
from net.vit import VisionTransformer
from net.weights import load_weights
from output_format.formats import MultiAccdoa
from util.arrays import Array, array_named
from util.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised; flags of the command line override it."""

    optimiser: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


@dataclass(frozen=True)
class Stage:
    """One network that is trained in one go.

    Attributes
    ----------
    feature : settings and array -> audio feature
    network : (in_channels, classes, visual=) -> network
    output_format : class count -> what the network's output means
    """

    name: str
    feature: Callable[[dict[str, Any], Array], nn.Module]
    network: Callable[..., nn.Module]
    output_format: Callable[[int], Any]
    recipe: Recipe = Recipe()


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes
    ----------
    visual : whether it can use person boxes
    source : paper or repository
    """

    name: str
    title: str
    source: str
    stages: tuple[Stage, ...]
    visual: bool = True


def _amplitude_phase(settings: dict[str, Any], array: Array) -> nn.Module:
    return AmplitudePhaseDifference(
        array.channels,
        base_channel=settings["base_channel"],
        n_fft=settings["fft_size"],
        hop_length=settings["stft_hop_size"],
    )


def _baseline(name: str, title: str, source: str, network: Callable[..., nn.Module]) -> System:
    return System(name, title, source, (Stage("main", _amplitude_phase, network, MultiAccdoa),))


SYSTEMS = {
    system.name: system
    for system in (
        _baseline(
            "crnn",
            "audio-visual CRNN, Multi-ACCDOA",
            "audio-visual baseline of DCASE 2023 task 3, arXiv 2306.09126",
            AudioVisualCRNN,
        ),
        _baseline("vit", "audio-visual time-token ViT, Multi-ACCDOA", "this project", VisionTransformer),
        _baseline(
            "vis_transformer",
            "audio-visual ViT of the MRSAudio fork with its exchanged axes (parity only)",
            "audio-visual SELD fork in the MRSAudio repository",
            VisTransformer,
        ),
    )
}


class Model(nn.Module):
    """Features, network and output format of one stage, on one device.

    Parameters
    ----------
    system : row of the table
    array : what the channels of the recordings are
    classes : names of the classes
    settings : "base_channel", "fft_size", "stft_hop_size"
    visual : whether the network takes person boxes
    """

    def __init__(self, system: System, array: Array, classes: Sequence[str], settings: dict[str, Any], *, visual: bool):
        super().__init__()
        stage = system.stages[0]
        self.system, self.array, self.classes, self.visual = system, array, tuple(classes), visual
        self.feature = stage.feature(settings, array)
        self.network = stage.network(self.feature.maps, len(self.classes), visual=visual)
        self.output_format = stage.output_format(len(self.classes))

    def forward(self, waveform: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor:
        """Training windows (B, channels, samples) and boxes (B, 6, 4) -> raw output."""
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            features, visual = self.feature(waveform), self._visual(boxes)
        return self.network(features, visual)

    def evaluate(self, waveform: torch.Tensor, valid: torch.Tensor, boxes: torch.Tensor | None) -> torch.Tensor:
        """Evaluation windows (B, channels, samples), the frames of each that lie inside its clip (B, 2), boxes."""
        with torch.autocast(waveform.device.type, enabled=False):
            features, visual = self.feature.evaluation(waveform, valid), self._visual(boxes)
        return self.network(features, visual)

    def _visual(self, boxes: torch.Tensor | None) -> torch.Tensor | None:
        return box_vectors(boxes) if self.visual and boxes is not None else None


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
        in_channels = weights["audio_encoder.conv1.weight"].shape[1]
        array = {7: "foa", 3: "binaural"}[in_channels]
    except (KeyError, IndexError):
        raise InputError("holds weights of no network that this project knows") from None
    for name in SYSTEMS:
        for visual in (True, False):
            network = SYSTEMS[name].stages[0].network(in_channels, classes, visual=visual)
            expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
            if expected == {key: tuple(value.shape) for key, value in weights.items()}:
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
    InputError : unknown system, weights that do not fit it
    """
    weights = content["stages"][0]["model"]
    if content.get("foreign"):
        found = recognise(weights)
        if classes is not None and len(classes) != found["class_count"]:
            raise InputError(f"is for {found['class_count']} classes, the data root has {len(classes)}")
        names = classes or [f"class {index}" for index in range(found["class_count"])]
        settings = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
        likely = array_named(found["array"])
        fitting = array if array is not None and array.channels == likely.channels else likely
        model = Model(system_named(found["net"]), fitting, names, settings, visual=found["visual"])
    else:
        model = Model(
            system_named(content["system"]),
            Array.from_dict(content["array"]),
            content["classes"],
            content["feature"],
            visual=content["visual"],
        )
    load_weights(model.network, weights)
    return model


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
