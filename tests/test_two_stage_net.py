"""Networks of two-stage SELD: golden outputs, sizes and names, initialisation, transfer, lengths, training."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from net.two_stage import CRNN10, NETWORKS, VGG9, ConvBlock, transferred
from net.weights import load_weights
from tests import golden
from tests.two_stage_golden import filled, golden_of, network_input
from util.errors import InputError


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("name", NETWORKS)
def test_golden_output(name: str, pool: str) -> None:
    data = np.load(golden.find("two_stage/networks_filled.npz"))
    network = filled(name, pool).eval()
    with torch.no_grad():
        raw = network(network_input())
    assert raw.dtype == torch.float32 and raw.shape == (2, 3, 11, int(data[f"{name}_{pool}_T_out"]))
    assert torch.equal(raw, raw[..., ::16].repeat_interleave(16, dim=-1))
    events, doas = golden_of(raw[..., ::16].numpy())
    np.testing.assert_allclose(events, data[f"{name}_{pool}_events"], atol=2e-5, rtol=0)
    np.testing.assert_allclose(doas, data[f"{name}_{pool}_doas"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "pool, size", [("avg", (2, 2)), ("max", (2, 2)), ("avg", (1, 2)), ("none", (2, 2))], ids=lambda value: str(value)
)
def test_golden_convolution_block(pool: str, size: tuple[int, int]) -> None:
    data = np.load(golden.find("two_stage/conv_block.npz"))
    block = ConvBlock(10, 16, pool, size).eval()
    state = {name[3:]: torch.from_numpy(data[name]).float() for name in data.files if name.startswith("sd.")}
    missing, unexpected = block.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    with torch.no_grad():
        ours = block(torch.from_numpy(data["x"]).float())
    np.testing.assert_allclose(ours, data[f"out_{pool}_{size[0]}x{size[1]}"], atol=1e-5, rtol=0)


def test_golden_sizes_and_names() -> None:
    info = json.loads(golden.find("two_stage/network_info.json").read_text())
    for name, make in NETWORKS.items():
        assert sum(parameter.numel() for parameter in make(10, 11).parameters()) == info[name]
    assert [name for name, _ in CRNN10(10, 11).named_parameters()] == info["param_names_order"]
    assert info["CRNN10"] == 5_890_977 and info["VGG9"] == 4_708_257


@pytest.mark.parametrize(
    "make, maps, total",
    [(CRNN10, 10, 5_890_977), (CRNN10, 7, 5_889_249), (CRNN10, 4, 5_887_521), (VGG9, 10, 4_708_257)],
)
def test_parameter_counts(make: type[VGG9], maps: int, total: int) -> None:
    network = make(maps, 11)
    assert sum(parameter.numel() for parameter in network.parameters()) == total
    blocks = [sum(p.numel() for p in getattr(network, f"conv_block{i}").parameters()) for i in range(1, 5)]
    assert blocks[1:] == [221_696, 885_760, 3_540_992]


def test_initialisation_is_the_published_one() -> None:
    torch.manual_seed(0)
    network = CRNN10(10, 11)
    for name, parameter in network.named_parameters():
        if ".bn" in name and name.endswith("weight"):
            assert abs(parameter.mean() - 1) < 0.01 and 0.01 < parameter.std() < 0.03
        elif name.endswith("bias") or ("bias" in name and "reverse" not in name):
            assert not parameter.any(), name
        elif parameter.ndim == 4 or name.endswith("fc.weight"):
            bound = (6 / parameter[0].numel()) ** 0.5
            assert 0.97 * bound < parameter.abs().max() <= bound, name
    for name, columns in (("weight_ih_l0", 512), ("weight_hh_l0", 256)):
        reset, update, new = getattr(network.gru, name).chunk(3)
        bound = (3 / columns) ** 0.5
        for gate in (reset, update) if "hh" in name else (reset, update, new):
            assert 0.99 * bound < gate.abs().max() <= bound
        if "hh" in name:
            torch.testing.assert_close(new @ new.T, torch.eye(256), atol=1e-5, rtol=0)
    plain = 256**-0.5  # PyTorch's own bound: the reverse direction keeps it
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        assert 0.97 * plain < getattr(network.gru, f"{name}_l0_reverse").abs().max() <= plain


@pytest.mark.parametrize("name", NETWORKS)
def test_second_stage_takes_the_blocks_of_the_first(name: str) -> None:
    torch.manual_seed(0)
    first = NETWORKS[name](10, 11)
    first.train()(torch.randn(2, 10, 32, 96))  # running statistics move
    torch.manual_seed(1)
    second = NETWORKS[name](10, 11)
    before = copy.deepcopy(second.state_dict())
    taken = {own: value for key, value in first.state_dict().items() if (own := transferred(key)) is not None}
    missing, unexpected = second.load_state_dict(taken, strict=False)
    anew = {"gru", "event_fc", "azimuth_fc", "elevation_fc"}
    assert not unexpected and {key.split(".")[0] for key in missing} <= anew
    for key, value in second.state_dict().items():
        assert torch.equal(value, (first.state_dict() if key.startswith("conv_block") else before)[key]), key
    assert second.state_dict()["conv_block1.bn1.num_batches_tracked"] == 1
    assert all(parameter.requires_grad for parameter in second.parameters())


def test_a_checkpoint_of_the_reference_loads() -> None:
    """As its trainer saves it: a dictionary that holds the weights as model_state_dict."""
    saved = {"model_state_dict": filled("CRNN10").state_dict(), "rng_state": torch.get_rng_state()}
    network = CRNN10(10, 11)
    load_weights(network, saved)
    assert torch.equal(network.gru.weight_hh_l0_reverse, saved["model_state_dict"]["gru.weight_hh_l0_reverse"])
    with pytest.raises(InputError, match=r"gru|unknown"):
        load_weights(VGG9(10, 11), saved)


@pytest.mark.parametrize("frames, out", [(16, 16), (69, 64), (200, 192), (31, 16)])
def test_frames_behind_the_last_whole_step_have_no_output(frames: int, out: int) -> None:
    network = VGG9(4, 3).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 4, frames, 96)).shape == (1, 3, 3, out)


@pytest.mark.parametrize("size, pool, step", [((1, 2), "avg", 1), ((2, 1), "max", 16), ((2, 2), "none", 1)])
def test_other_poolings(size: tuple[int, int], pool: str, step: int) -> None:
    network = VGG9(2, 3, bins=16, pool=pool, pool_size=size).eval()
    with torch.no_grad():
        assert network.step_frames == step and network(torch.randn(1, 2, 33, 16)).shape[-1] == 33 // step * step


@pytest.mark.parametrize(
    "settings, message",
    [({"pool": "mean"}, "avg"), ({"bins": 15}, "nothing of 15"), ({"pool_size": (2, 4)}, "nothing")],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CRNN10(10, 11, **settings)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="16 or more"):
        VGG9(2, 3)(torch.randn(1, 2, 15, 96))


@pytest.mark.parametrize("name", NETWORKS)
def test_network_under_autocast_stays_near_float32(name: str) -> None:
    network, x = filled(name), network_input()
    plain = copy.deepcopy(network)(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(x)
        output.square().mean().backward()
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, plain, atol=0.05, rtol=0)
    unused = {n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()}
    assert not unused


def test_training_learns_a_chunk() -> None:
    torch.manual_seed(0)
    network = CRNN10(3, 2, bins=16)
    x = torch.randn(2, 3, 32, 16)
    target = torch.zeros(2, 3, 2, 32)
    target[:, :, 1, 16:] = 0.7
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = nn.functional.mse_loss(network(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
