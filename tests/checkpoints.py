"""Checkpoints of untrained networks and short recordings, for tests of what is done with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from dataset.classes import STARSS23_CLASSES
from system.checkpoint import Checkpoint, StageState, save_checkpoint
from system.model import StageModel
from system.table import system_named
from util.angles import direction_from_degrees
from util.audio import write_audio
from util.microphone_arrays import ARRAYS

RATE_HZ = 24000


def untrained(path: Path, *, array: str = "foa", visual: bool = False, net: str = "crnn", seed: int = 0) -> Path:
    """Write a checkpoint of an untrained network whose outputs are spread around the thresholds of `thresholds`."""
    torch.manual_seed(seed)
    settings = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
    (stage,) = system_named(net).stages
    model = StageModel(stage, settings, ARRAYS[array], len(STARSS23_CLASSES), visual=visual)
    with torch.no_grad():  # an untrained network hardly says anything; this one does, and differs from frame to frame
        model.network.fc_xyz.weight *= 4
    save_checkpoint(
        path,
        Checkpoint(
            net,
            ARRAYS[array].to_dict(),
            list(STARSS23_CLASSES),
            visual,
            {stage.name: StageState(settings, model.network.state_dict())},
            arguments={"detector": "builtin", "sampling_frequency": RATE_HZ},
        ),
    )
    return path


def thresholds(path: Path, presence: float) -> Path:
    """A threshold file with one number for all classes."""
    content = {"threshold_presence": [presence] * len(STARSS23_CLASSES), "threshold_unification": 15}
    path.write_text(json.dumps(content))
    return path


def bursts(seconds: float, *, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """FOA (4, samples): noise that changes its direction and level every half second, and faint noise in every channel.

    Without the latter the channels are exactly in phase, where phase differences jump between 0 and 2 pi by rounding.
    """
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate_hz)
    mono = rng.standard_normal(samples) * 0.1
    part = np.arange(samples) // (rate_hz // 2)
    azimuth_deg, level = rng.uniform(-180, 180, part[-1] + 1), rng.uniform(0.05, 1, part[-1] + 1)
    x, y, z = direction_from_degrees(azimuth_deg[part], 10.0).T
    noise = rng.standard_normal((4, samples)) * 0.01
    return (np.stack([np.ones(samples), y, z, x]) * mono * level[part] + noise).astype(np.float32)


def recording(path: Path, seconds: float = 2.5, *, channels: int = 4, rate_hz: int = RATE_HZ, seed: int = 0) -> Path:
    """Write such noise; of fewer channels the first ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = bursts(seconds, rate_hz=rate_hz, seed=seed)
    write_audio(path, waveform[np.arange(channels) % 4], rate_hz, subtype="FLOAT")
    return path
