"""Loading weights into a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from util.errors import InputError


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
