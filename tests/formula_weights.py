"""Weights by the formula of the golden data, so that networks are compared without a file of weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def fill(network: nn.Module) -> nn.Module:
    """The network with the weights of the formula, in inference mode."""
    made = {}
    for number, (name, value) in enumerate(sorted(network.state_dict().items()), start=1):
        k = np.arange(1, value.numel() + 1, dtype=np.float64)
        u = np.abs(np.sin(12.9898 * k + 78.233 * number) * 43758.5453)
        v = 2 * (u - np.floor(u)) - 1
        if name.endswith("running_var"):
            v = 1 + 0.5 * v
        elif name.endswith("num_batches_tracked"):
            v = 0 * v
        elif value.ndim == 1:
            v = 1 + 0.3 * v if name.endswith("weight") else 0.1 * v
        else:
            v = v * 2.5 / np.sqrt(np.prod(value.shape[1:]))
        made[name] = torch.from_numpy(v.reshape(tuple(value.shape))).to(value.dtype)
    network.load_state_dict(made)
    return network.eval()
