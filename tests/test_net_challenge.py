"""Networks of the DCASE baselines since 2022 against golden outputs; the published weights of 2024."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from net.seldnet2022 import SELDnet2022
from net.seldnet2023 import SELDnet2023
from net.seldnet2024 import AudioVisualSELDnet2024, SELDnet2024
from net.seldnet2025 import AudioVisualSELDnet2025, SELDnet2025
from net.weights import load_weights
from tests import golden
from tests.formula_weights import fill
from tests.shared import SHARED
from util.checkpoint import read_weights_file

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "C22_foa_accdoa": lambda: SELDnet2022(7, 13, tracks=1),
    "C22_foa_multi": lambda: SELDnet2022(7, 13),
    "C22_micgcc_multi": lambda: SELDnet2022(10, 13),
    "C22_salsalite_multi": lambda: SELDnet2022(7, 13, bins=382),
    "C22_foa_multi_selfattn4": lambda: SELDnet2022(7, 13, attention_heads=4),
    "C23_foa_accdoa": lambda: SELDnet2023(7, 13, tracks=1),
    "C23_foa_multi": lambda: SELDnet2023(7, 13),
    "C23_micgcc_multi": lambda: SELDnet2023(10, 13),
    "C23_salsalite_multi": lambda: SELDnet2023(7, 13, bins=382),
    "D24_foa_av": lambda: AudioVisualSELDnet2024(7, 13),
    "D24_pretrained_foa": lambda: SELDnet2024(7, 13),
    "D24_pretrained_micgcc": lambda: SELDnet2024(10, 13),
    "D25_audio_multi": lambda: SELDnet2025(2, 13),
    "D25_audio_single": lambda: SELDnet2025(2, 13, tracks=1),
    "D25_audio_visual_multi": lambda: AudioVisualSELDnet2025(2, 13),
    "D25_audio_visual_single": lambda: AudioVisualSELDnet2025(2, 13, tracks=1),
}
PRETRAINED = {
    "D24_pretrained_foa": "3_1_dev_split0_multiaccdoa_foa_model.h5",
    "D24_pretrained_micgcc": "6_1_dev_split0_multiaccdoa_mic_gcc_model.h5",
}


def info() -> dict:
    return json.loads(golden.find("seldnet/networks/param_counts_and_names.json").read_text())


def inputs(names: np.ndarray) -> list[torch.Tensor]:
    """The inputs of that name, "in0" or "in0,in3"."""
    held = np.load(golden.find("seldnet/networks/inputs.npz"))
    made = []
    for name in str(names).split(","):
        exact = name.strip() in held.files
        made.append(torch.from_numpy(held[name.strip()] if exact else held[f"{name.strip()}_x16"] / np.float32(16)))
    return made


def rows(output: torch.Tensor) -> np.ndarray:
    """As the references have outputs: (batch, frames, outputs)."""
    return output.flatten(1, -2).transpose(1, 2).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_names_shapes_and_counts(name: str) -> None:
    due, network = info(), NETWORKS[name]()
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert shapes == dict(due["state_dict_names"][name])
    assert sum(one.numel() for one in network.parameters()) == due["param_counts"][f"torch/{name}"]["total"]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in PRETRAINED])
def test_golden_output(name: str) -> None:
    data = np.load(golden.find(f"seldnet/networks/{name}.npz"))
    with torch.inference_mode():
        found = fill(NETWORKS[name]())(*inputs(data["inputs"]))
    np.testing.assert_allclose(rows(found), data["output"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", PRETRAINED)
def test_published_weights(name: str) -> None:
    """They load strictly, and give the outputs that were recorded."""
    path = SHARED / "golden" / "seldnet" / "pretrained" / PRETRAINED[name]
    if not path.exists():
        pytest.skip("the published weights are in ../shared only")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == info()["param_counts"][f"sha256/{path.name}"]
    data, network = np.load(golden.find(f"seldnet/networks/{name}.npz")), NETWORKS[name]()
    load_weights(network, read_weights_file(path))
    network.eval()
    for number, one in enumerate(inputs(data["inputs"])):
        due = data[f"output{number}"]
        with torch.inference_mode():
            found = rows(network(one))
        np.testing.assert_allclose(found, due, atol=2e-5 * max(1, np.abs(due).max()), rtol=0)


@pytest.mark.parametrize("name", ["C22_foa_multi", "C23_salsalite_multi", "D24_foa_av", "D25_audio_visual_multi"])
def test_every_weight_learns(name: str) -> None:
    """But those of the layer that the reference registers and never uses."""
    network = NETWORKS[name]().train()
    maps = network.state_dict()[next(key for key in network.state_dict() if key.endswith("conv.weight"))].shape[1]
    audio = torch.randn(2, maps, 50, 382 if "salsa" in name else 64)
    seen = [torch.rand(2, 10, 7, 7)] if "AudioVisual" in type(network).__name__ else []
    network(audio, *seen).square().sum().backward()
    for key, value in network.named_parameters():
        assert (value.grad is None) == key.startswith("transformer_decoder_layer."), key


def test_any_number_of_classes() -> None:
    assert SELDnet2025(2, 5)(torch.zeros(1, 2, 50, 64)).shape == (1, 3, 3, 5, 10)
    with pytest.raises(ValueError, match="nothing is left"):
        SELDnet2023(7, 13, bins=16)
    with pytest.raises(ValueError, match="pictures"):
        AudioVisualSELDnet2024(7, 13)(torch.zeros(1, 7, 50, 64))
