"""Networks: parameter counts, golden outputs and training steps of the reference, loading of weights."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from net import conv_block
from net.crnn import AudioVisualCRNN
from net.vis_transformer import VisTransformer
from net.vit import VisionTransformer
from net.weights import load_weights
from output_format.multi_accdoa import adpit_loss
from tests import golden
from util.errors import InputError

NETWORKS = {"crnn": AudioVisualCRNN, "vis_transformer": VisTransformer, "vit": VisionTransformer}
GOLDEN = {"net_crnn_foa13": "crnn", "net_crnn_bin3": "crnn", "net_vit_bin3": "vis_transformer"}
COUNTS = [
    ("crnn", 7, 3, 717_531),
    ("crnn", 7, 13, 763_701),
    ("crnn", 7, 32, 851_424),
    ("crnn", 3, 3, 715_227),
    ("crnn", 3, 13, 761_397),
    ("crnn", 3, 32, 849_120),
    ("vis_transformer", 7, 3, 1_035_482),
    ("vis_transformer", 7, 13, 1_081_652),
    ("vis_transformer", 7, 32, 1_169_375),
    ("vis_transformer", 3, 3, 1_035_446),
    ("vis_transformer", 3, 13, 1_081_616),
    ("vis_transformer", 3, 32, 1_169_339),
]


def load(case: str, name: str):
    """Network with the weights of a golden file, and its inputs (audio (B, ch, 128, 257), visual)."""
    data = np.load(golden.find(f"av_baseline/{case}.npz"))
    weights = {
        key[2:]: torch.from_numpy(data[key].astype(np.float32) if data[key].dtype == np.float16 else data[key])
        for key in data.files
        if key.startswith("w:")
    }
    audio = torch.from_numpy(data["input_audio"].astype(np.float32)).transpose(2, 3).contiguous()
    visual = torch.from_numpy(data["input_visual"].astype(np.float32))
    network = NETWORKS[name](audio.shape[1], data["output"].shape[3])
    load_weights(network, {"model_state_dict": weights})
    return network, audio, visual, data


@pytest.mark.parametrize("name, channels, classes, count", COUNTS)
def test_parameter_counts(name: str, channels: int, classes: int, count: int) -> None:
    network = NETWORKS[name](channels, classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", GOLDEN)
def test_golden_outputs(case: str, precision: torch.dtype, channels_last: bool) -> None:
    network, audio, visual, data = load(case, GOLDEN[case])
    assert sum(parameter.numel() for parameter in network.parameters()) == int(data["n_params"])
    network = network.eval().to(precision)
    audio, visual = audio.to(precision), visual.to(precision)
    if channels_last:
        network, audio = (
            network.to(memory_format=torch.channels_last),
            audio.contiguous(memory_format=torch.channels_last),
        )
    for inference in (False, True):
        with torch.inference_mode(inference):
            close(network.audio_encoder(audio), data["mid_audio_embed"])
            close(network.vision_encoder(visual.flatten(1)), data["mid_visual_embed"])
            close(network.steps(audio, visual), data["mid_fc_out"])
            close(network(audio, visual), data["output"])
            close(network(audio[:1], visual[:1]), data["output"][:1])


def close(ours: torch.Tensor, theirs: np.ndarray, atol: float = 2e-5) -> None:
    np.testing.assert_allclose(ours.detach().float().numpy(), theirs, atol=atol, rtol=0)


@pytest.mark.parametrize("case", ["crnn_bin3", "vit_bin3"])
def test_golden_training_steps(case: str) -> None:
    step = np.load(golden.find(f"av_baseline/trainstep_{case}.npz"))
    name = GOLDEN[str(step["weights_from"]).removesuffix(".npz")]
    network, audio, visual, _ = load(str(step["weights_from"]).removesuffix(".npz"), name)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-6)
    target = torch.from_numpy(step["label"])
    losses = []
    for number in range(4):
        output = network(audio, visual)
        loss = adpit_loss(output, target)
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if number == 0:
            close(output[..., ::16], step["train_output_fc_steps"])
            for key, parameter in network.named_parameters():
                gradient = parameter.grad
                np.testing.assert_allclose(gradient.double().norm().item(), step[f"gradnorm:{key}"], rtol=1e-4)
                close(gradient.flatten()[:8], step[f"gradhead:{key}"], 1e-6)
        optimiser.step()
        if number == 0:
            for key, parameter in network.named_parameters():
                clear = np.abs(step[f"gradhead:{key}"]) > 1e-5
                ours = parameter.detach().flatten()[:8].numpy()
                np.testing.assert_allclose(ours[clear], step[f"newhead:{key}"][clear], atol=1e-5, rtol=0)
            for key, buffer in network.named_buffers():
                close(buffer.flatten()[:8], step[f"newbuf:{key}"], 1e-5)
    np.testing.assert_allclose(losses[0], step["loss"], rtol=1e-6)
    np.testing.assert_allclose(losses, step["loss_first4_steps"], rtol=1e-4)


@pytest.mark.parametrize("visual", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_batch_of_one(name: str, visual: bool) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name](7, 5, visual=visual)
    boxes = torch.rand(1, 2, 6, 37) if visual else None
    for mode in (True, False):
        network.train(mode)
        output = network(torch.rand(1, 7, 128, 257), boxes)
        assert output.shape == (1, 3, 3, 5, 128) and torch.isfinite(output).all()
    assert network.gru.input_size == (128 if visual else 64)


def test_visual_network_needs_its_boxes() -> None:
    with pytest.raises(ValueError, match="visual"):
        NETWORKS["crnn"](3, 2)(torch.rand(1, 3, 128, 257))


def test_weights_of_another_network_are_refused() -> None:
    crnn = NETWORKS["crnn"](7, 13)
    for other in (
        NETWORKS["vit"](7, 13),
        NETWORKS["crnn"](3, 13),
        NETWORKS["crnn"](7, 3),
        NETWORKS["crnn"](7, 13, visual=False),
    ):
        before = {name: value.clone() for name, value in crnn.state_dict().items()}
        with pytest.raises(InputError, match="another"):
            load_weights(crnn, other.state_dict())
        assert all(torch.equal(value, before[name]) for name, value in crnn.state_dict().items())


def test_time_token_network_runs_along_time() -> None:
    """A change in the last frames of a window must show most in the last steps of the encoder."""
    torch.manual_seed(0)
    encoder = NETWORKS["vit"](3, 2).eval().audio_encoder
    audio = torch.rand(1, 3, 128, 257)
    changed = audio.clone()
    changed[:, :, 112:] = 0
    change = (encoder(changed) - encoder(audio)).abs().mean(dim=1)[0]
    assert change[-1] > 3 * change[:-1].max()


def plain(x: torch.Tensor, conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d, pool: tuple[int, int]) -> torch.Tensor:
    return functional.max_pool2d(functional.relu(norm(conv(x))), pool)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "pool, items, bias",
    [((4, 4), 2, False), ((1, 4), 2, True), ((2, 2), 2, False), ((2, 2), 5, False), ((2, 2), 5, True)],
)
def test_convolution_block_is_the_plain_one(
    pool: tuple[int, int], items: int, bias: bool, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, all gradients and running statistics, with negative scales, odd sizes, in several pieces and in one."""
    monkeypatch.setattr(conv_block, "_PIECE", items * 6 * 9 * 13)
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 6, 3, padding=1, bias=bias).double()
    norm = torch.nn.BatchNorm2d(6).double().train(training)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -1.0, 0.5, -2.0, 0.1, 1.5]))
        norm.bias.uniform_(-1, 1)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    results = []
    for block in (plain, conv_block.conv_norm_relu_pool):
        conv_, norm_ = copy.deepcopy(conv), copy.deepcopy(norm)
        x = torch.linspace(-2, 3, 5 * 3 * 9 * 13, dtype=torch.float64).reshape(5, 3, 9, 13).sin().mul(3)
        x = (x * torch.arange(1, 6).view(5, 1, 1, 1)).requires_grad_()
        y = block(x, conv_, norm_, pool)
        (y * torch.linspace(0, 1, y.numel(), dtype=torch.float64).reshape(y.shape)).sum().backward()
        values = [
            y,
            x.grad,
            *(parameter.grad for parameter in conv_.parameters()),
            norm_.weight.grad,
            norm_.bias.grad,
            *norm_.buffers(),
        ]
        with torch.no_grad():
            values += [block(x, conv_, norm_.eval(), pool)]
        results.append([value.detach() for value in values])
    for theirs, ours in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_network_under_autocast_stays_near_float32() -> None:
    network, audio, visual, data = load("net_crnn_bin3", "crnn")
    network.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output = network(audio, visual)
    close(output, data["output"], 0.05)
