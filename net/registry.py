"""The networks by name, and loading weights into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from net.crnn import AudioVisualCRNN
from net.layers import AudioVisualNetwork
from net.vis_transformer import VisTransformer
from net.vit import VisionTransformer
from util.errors import InputError

NETWORKS: dict[str, type[AudioVisualNetwork]] = {
    "crnn": AudioVisualCRNN,
    "vis_transformer": VisTransformer,
    "vit": VisionTransformer,
}


def make_network(name: str, in_channels: int, classes: int, *, visual: bool = True) -> AudioVisualNetwork:
    """The network of that name, freshly initialised from torch's random generator; InputError for an unknown name."""
    if name not in NETWORKS:
        raise InputError(f"unknown network '{name}'; known are {', '.join(NETWORKS)}")
    return NETWORKS[name](in_channels, classes, visual=visual)


def load_weights(network: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load a state dict, or a reference checkpoint that holds one as `model_state_dict`, into the network.

    Raises
    ------
    InputError : it belongs to another architecture, or to other numbers of channels or classes; names the first entry
    """
    if "model_state_dict" in weights:
        weights = weights["model_state_dict"]
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    own = network.state_dict()
    for name, value in own.items():
        if name not in weights:
            raise InputError(f"weights of another architecture: '{name}' is missing")
        if tuple(weights[name].shape) != tuple(value.shape):
            found, due = tuple(weights[name].shape), tuple(value.shape)
            raise InputError(f"weights of another size: '{name}' is {found}, this network has {due}")
    extra = [name for name in weights if name not in own]
    if extra:
        raise InputError(f"weights of another architecture: '{extra[0]}' is unknown to this network")
    with torch.no_grad():
        network.load_state_dict(weights)
