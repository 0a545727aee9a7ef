"""Untrained checkpoints of any system, and exports of them, for tests of ONNX files."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from system.checkpoint import Checkpoint, StageState, save_checkpoint
from system.model import StageModel
from system.presets import preset_of
from system.table import system_named
from tests.checkpoints import bursts
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS

CLASSES = ("one", "two", "three")


def untrained_system(
    path: Path,
    net: str,
    *,
    array: str = "foa",
    visual: bool = False,
    settings: Mapping[str, Any] | None = None,
    stirred: bool = True,
) -> Path:
    """Write a checkpoint of a system's untrained networks, features of sound standardised by those of some noise.

    Parameters
    ----------
    settings : changes of the system's own
    stirred : weights that an untrained network has alike are moved
    """
    torch.manual_seed(0)
    system, preset = system_named(net), preset_of(net)
    arguments = {"net": net, "edition": "2023", **({} if preset is None else preset.arguments)}
    args = Arguments.of({**arguments, "set": [f"{name}={value}" for name, value in (settings or {}).items()]})
    states = {}
    for stage in system.stages:
        made, statistics = stage.settings(args, ARRAYS[array]), None
        front, plans = stage.front(made, ARRAYS[array], visual, None), stage.plans(made)
        if stage.statistics:
            mean, deviation = torch.zeros((front.audio.maps, front.audio.bins)), torch.tensor(1.0)
            if not stage.takes:  # else it hears no sound
                noise = torch.from_numpy(bursts(2.0, rate_hz=plans.framing.rate_hz))[None, : ARRAYS[array].channels]
                features = front.audio(noise)[0]
                mean, deviation = features.mean(1), features.std(1)
            statistics = {"feature": made["feature"], "mean": mean, "scale": (deviation + 1e-3).expand_as(mean)}
        model = StageModel(stage, made, ARRAYS[array], len(CLASSES), visual=visual, statistics=statistics)
        if stirred:
            _stir(model.network)
        states[stage.name] = StageState(made, model.network.state_dict(), statistics)
    checkpoint = Checkpoint(
        net, ARRAYS[array].to_dict(), list(CLASSES), visual, states, arguments={"detector": "builtin"}
    )
    save_checkpoint(path, checkpoint)
    return path


def _stir(network: torch.nn.Module) -> None:
    """Move all weights that an untrained network has alike, zeros and ones: a graph could get them wrong unseen."""
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            if weight.is_floating_point() and weight.numel() > 1 and bool((weight == weight.flatten()[0]).all()):
                size = 0.1 if name.endswith(("bias", "mean", "var")) else 0.3
                weight += size * torch.rand_like(weight)


def exporter_is_there() -> bool:
    """Whether the packages of requirements-export.txt can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxscript"))


def angles_apart_deg(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of azimuths in degrees, across the seam too."""
    return float(np.abs((first - second + 180) % 360 - 180).max(initial=0))
