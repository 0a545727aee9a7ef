"""What several tests of two-stage SELD share: how the golden networks are filled, the order of the golden arrays."""

from __future__ import annotations

import functools
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from net.two_stage import NETWORKS, VGG9
from tests import golden
from tests.shared import SHARED

CLASSES = 11
_unpacked = tempfile.TemporaryDirectory(prefix="golden_two_stage_")  # goes when the tests end


@functools.cache
def scored(name: str) -> Path:
    """A folder of csv files, "metrics_gt" or "metrics_pred", from ../shared or unpacked from the cut."""
    if (SHARED / "golden" / "two_stage").is_dir():
        return golden.find(f"two_stage/{name}")
    with tarfile.open(golden.find("two_stage/metrics.tar.xz")) as tar:
        tar.extractall(_unpacked.name, filter="data")
    return Path(_unpacked.name) / name


def hash_fill(name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Numbers in [low, high) that depend on name and place only, float32 (rule of the golden README)."""
    place = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint32)
    with np.errstate(over="ignore"):
        h = place * np.uint32(2654435761) + np.uint32(zlib.crc32(name.encode()))
        h = (h ^ (h >> np.uint32(15))) * np.uint32(2246822519)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(3266489917)
        h ^= h >> np.uint32(16)
    return (low + (high - low) * (h / 2.0**32)).astype(np.float32).reshape(shape)


def fill(network: nn.Module) -> None:
    """Fill all weights and running statistics by the rule."""
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            value.zero_()
            continue
        if value.ndim > 1:
            high = (6 / value[0].numel()) ** 0.5 if value.ndim == 4 else (3 / value.shape[1]) ** 0.5
            low = -high
        elif ".bn" in name and name.endswith(".weight"):
            low, high = 0.8, 1.2
        elif name.endswith("running_var"):
            low, high = 0.5, 1.5
        else:
            low, high = -0.2, 0.2
        value.copy_(torch.from_numpy(hash_fill(name, tuple(value.shape), low, high)))


def filled(name: str, pool: str = "avg") -> VGG9:
    """A network of 10 maps and 11 classes, filled."""
    network = NETWORKS[name](10, CLASSES, pool=pool)
    fill(network)
    return network


def network_input() -> Tensor:
    """The input of the golden networks (2, 10, 69, 96)."""
    data = np.load(golden.find("two_stage/networks_filled.npz"))
    shape = tuple(data["x_shape"])
    envelope = 0.25 + 0.5 * (np.arange(shape[2]) // 16 % 4)
    values = hash_fill("input", shape, -1, 1) * envelope[:, None].astype(np.float32)
    np.testing.assert_allclose(values.reshape(-1)[:64], data["x_head"], atol=1e-7)
    return torch.from_numpy(values)


def raw_of(events: np.ndarray, doas: np.ndarray) -> np.ndarray:
    """Golden (..., T, N) and (..., T, 2 N) -> raw (..., 3, N, T)."""
    azimuth, elevation = np.split(np.asarray(doas, dtype=np.float32), 2, axis=-1)
    stacked = np.stack((np.asarray(events, dtype=np.float32), azimuth, elevation), axis=-3)
    return np.ascontiguousarray(np.swapaxes(stacked, -1, -2))


def golden_of(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `raw_of`."""
    events, azimuth, elevation = np.moveaxis(np.swapaxes(np.asarray(raw), -1, -2), -3, 0)
    return events, np.concatenate((azimuth, elevation), axis=-1)
