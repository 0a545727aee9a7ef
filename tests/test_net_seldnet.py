"""SELDnet: golden outputs, parameter counts, recurrent layers against their formulas, initialisation, training."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from net import bin_norm
from net.bin_norm import BinNorm, conv_binnorm_relu_pool
from net.recurrent import BidirectionalTF2, KerasGRU, KerasLSTM
from net.seldnet import SELDnet
from system.presets import presets
from system.seldnet import SYSTEMS
from tests import golden
from util.errors import InputError

DOUBLE = torch.float64
TUNED = {"bins": 64, "pools": (4, 4, 2), "doa_axes": 2, "doa_activation": "linear", "conventions": "tf2"}
ATTENTION = {**TUNED, "attention": True, "sequence_frames": 128}
WIDE = {"filters": (64, 128, 256)}
DEEP = {"rnn_units": (256, 256), "dense": (256, 128)}
COUNTS = {
    "2018 xyz": (8, 11, {"bins": 256}, 513_148, 584),
    "2018 xy": (8, 11, {"bins": 256, "doa_axes": 2}, 511_729, 584),
    "2018 circular array": (16, 11, {"bins": 256}, 517_756, 584),
    "2018 real, 8 classes": (8, 8, {"bins": 256}, 511_600, 584),
    "2019": (8, 11, {"bins": 1024, "pools": (8, 8, 4), "doa_axes": 2, "doa_activation": "linear"}, 613_537, 2336),
    "tuned GRU": (7, 11, TUNED, 512_289, 384),
    "tuned LSTM": (7, 11, {**TUNED, "rnn": "lstm"}, 642_337, 384),
    "tuned attention": (7, 11, ATTENTION, 528_801, 384),
    "tuned wide": (7, 11, {**ATTENTION, **WIDE, "pools": (3, 3, 3)}, 1_119_905, 896),
    "tuned deep": (7, 11, {**ATTENTION, **DEEP}, 1_679_265, 384),
    "tuned wide and deep": (7, 11, {**ATTENTION, **WIDE, **DEEP}, 2_565_281, 896),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    channels, classes, settings, total, moving = COUNTS[name]
    network = SELDnet(channels, classes, **settings)
    assert network.parameter_count == total
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == total - moving


@pytest.mark.parametrize(
    "name, maps, bins, total",
    [
        ("seldnet2018", 8, 256, 511_729),
        ("seldnet2019", 8, 1024, 613_537),
        ("seldnet2019_gru", 7, 64, 512_289),
        ("seldnet2019_lstm", 7, 64, 642_337),
        ("seldnet2019_attention", 7, 64, 528_801),
        ("seldnet2019_final", 7, 64, 2_565_281),
    ],
)
def test_systems_have_the_published_sizes(name: str, maps: int, bins: int, total: int) -> None:
    (stage,) = next(system for system in SYSTEMS if system.name == name).stages
    network = stage.network(presets()[name].settings, SimpleNamespace(maps=maps, bins=bins), 11, False)
    assert network.parameter_count == total


def load(name: str, **settings) -> tuple[SELDnet, np.lib.npyio.NpzFile]:
    data = np.load(golden.find(f"seldnet/networks/{name}.npz"))
    network = SELDnet(
        data["input"].shape[1],
        data["sed"].shape[2],
        bins=data["input"].shape[3],
        filters=(6, 6, 6),
        pools=data["pool"].tolist(),
        rnn_units=(8, 8),
        dense=(9,),
        doa_axes=data["doa"].shape[2] // data["sed"].shape[2],
        doa_activation="linear" if name == "B" else "tanh",
        **settings,
    )
    network.load_keras(data)
    return network.eval(), data


@pytest.mark.parametrize("precision", [torch.float32, DOUBLE])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("name", ["A_xy", "A_xyz", "B"])
def test_golden_outputs(name: str, gradients: bool, precision: torch.dtype) -> None:
    network, data = load(name)
    network.to(precision)
    x = torch.from_numpy(data["input"]).to(precision)
    with torch.set_grad_enabled(gradients):
        output = network(x)
        for number, stage in enumerate([*network.convolutions, *network.recurrent]):
            if number == len(network.convolutions):
                x = x.transpose(1, 2).flatten(2)
            x = stage(x)
            np.testing.assert_allclose(x.detach(), data[f"mid{number}"], atol=1e-5, rtol=0)
    assert output.dtype == torch.float32
    output = output.detach().transpose(1, 3).transpose(2, 3).numpy()  # (batch, T, 1 + axes, classes)
    np.testing.assert_allclose(output[:, :, 0], data["sed"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(output[:, :, 1:].reshape(data["doa"].shape), data["doa"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["A_xy", "B"])
def test_golden_losses(name: str) -> None:
    network, data = load(name)
    with torch.no_grad():
        output = network(torch.from_numpy(data["input"])).double().permute(0, 3, 1, 2)
    sed = output[:, :, 0].clamp(1e-7, 1 - 1e-7)
    target = torch.from_numpy(data["sed_target"]).double()
    bce = functional.binary_cross_entropy(sed, target).item()
    mse = functional.mse_loss(output[:, :, 1:].flatten(2), torch.from_numpy(data["doa_target"]).double()).item()
    np.testing.assert_allclose([bce, mse, bce + 50 * mse], [data[f"loss_{k}"] for k in ("bce", "mse", "total")], 1e-5)


def hard_sigmoid(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)


def gru(x: Tensor, layer: KerasGRU, direction: int, masks: Tensor, states: Tensor) -> Tensor:
    """The textbook loop: x (T, batch, size), dropout masks of input and state (gates, batch, ...)."""
    w_z, w_r, w_h = layer.kernel[direction].chunk(3, dim=1)
    u_z, u_r, u_h = layer.recurrent[direction].chunk(3, dim=1)
    b_z, b_r, b_h = layer.bias[direction].chunk(3)
    h, out = x.new_zeros(x.shape[1], layer.units), []
    for x_t in x:
        z = hard_sigmoid((x_t * masks[0]) @ w_z + b_z + (h * states[0]) @ u_z)
        r = hard_sigmoid((x_t * masks[1]) @ w_r + b_r + (h * states[1]) @ u_r)
        candidate = torch.tanh((x_t * masks[2]) @ w_h + b_h + (r * h * states[2]) @ u_h)
        h = z * h + (1 - z) * candidate
        out.append(h)
    return torch.stack(out)


def lstm(x: Tensor, layer: KerasLSTM, direction: int, masks: Tensor, states: Tensor) -> Tensor:
    kernel, recurrent = layer.kernel[direction].chunk(4, dim=1), layer.recurrent[direction].chunk(4, dim=1)
    bias = layer.bias[direction].chunk(4)
    h = cell = x.new_zeros(x.shape[1], layer.units)
    out = []
    for x_t in x:
        i, f, c, o = ((x_t * masks[g]) @ kernel[g] + bias[g] + (h * states[g]) @ recurrent[g] for g in range(4))
        cell = hard_sigmoid(f) * cell + hard_sigmoid(i) * torch.tanh(c)
        h = hard_sigmoid(o) * torch.tanh(cell)
        out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("kind, loop", [(KerasGRU, gru), (KerasLSTM, lstm)])
def test_recurrence_is_the_textbook_loop(kind: type, loop, dropout: float) -> None:
    """Values and all gradients, with gates at both of their ends, with and without dropout masks."""
    torch.manual_seed(0)
    layer = kind(5, 4, dropout=dropout).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(3).add_(torch.randn_like(parameter) * 0.3)
    x = torch.randn(3, 9, 5, dtype=DOUBLE, requires_grad=True)
    pull = torch.randn(3, 9, 4, dtype=DOUBLE)
    torch.manual_seed(1)
    y = layer(x)
    ours = [y, *torch.autograd.grad((y * pull).sum(), [x, *layer.parameters()])]
    torch.manual_seed(1)
    states, masks = (
        layer._mask(3, values) if dropout else torch.ones(2, layer.gates, 3, values, dtype=DOUBLE)
        for values in (layer.units, layer.size)
    )
    time_first = x.transpose(0, 1)
    forward = loop(time_first, layer, 0, masks[0], states[0])
    backward = loop(time_first.flip(0), layer, 1, masks[1], states[1]).flip(0)
    y = (forward * backward).transpose(0, 1)
    theirs = [y, *torch.autograd.grad((y * pull).sum(), [x, *layer.parameters()])]
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    gates = torch.cat([hard_sigmoid(time_first @ w + b).flatten() for w, b in zip(layer.kernel, layer.bias)])
    assert (gates == 0).any() and (gates == 1).any()
    layer.eval()
    torch.testing.assert_close(layer(x), layer(x), rtol=0, atol=0)


def gru23(x: Tensor, layer: KerasGRU, direction: int, mask: Tensor, state: Tensor) -> Tensor:
    """The loop of Keras 2.3: logistic gates, one mask (1, batch, ...) of input and state each."""
    w_z, w_r, w_h = layer.kernel[direction].chunk(3, dim=1)
    u_z, u_r, u_h = layer.recurrent[direction].chunk(3, dim=1)
    b_z, b_r, b_h = layer.bias[direction].chunk(3)
    h, out = x.new_zeros(x.shape[1], layer.units), []
    for x_t in x * mask:
        h = h * state[0]
        z = torch.sigmoid(x_t @ w_z + b_z + h @ u_z)
        r = torch.sigmoid(x_t @ w_r + b_r + h @ u_r)
        h = z * h + (1 - z) * torch.tanh(x_t @ w_h + b_h + (r * h) @ u_h)
        out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_recurrence_with_logistic_gates(dropout: float) -> None:
    torch.manual_seed(0)
    layer = KerasGRU(5, 4, dropout=dropout, gate="sigmoid").double()
    x = torch.randn(3, 9, 5, dtype=DOUBLE, requires_grad=True)
    pull = torch.randn(3, 9, 4, dtype=DOUBLE)
    torch.manual_seed(1)
    y = layer(x)
    ours = [y, *torch.autograd.grad((y * pull).sum(), [x, *layer.parameters()])]
    torch.manual_seed(1)
    states, masks = (
        layer._mask(3, values) if dropout else torch.ones(2, 1, 3, values, dtype=DOUBLE)
        for values in (layer.units, layer.size)
    )
    assert states.shape == (2, 1, 3, 4)
    time_first = x.transpose(0, 1)
    forward = gru23(time_first, layer, 0, masks[0], states[0])
    backward = gru23(time_first.flip(0), layer, 1, masks[1], states[1]).flip(0)
    y = (forward * backward).transpose(0, 1)
    theirs = [y, *torch.autograd.grad((y * pull).sum(), [x, *layer.parameters()])]
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="hard_sigmoid"):
        KerasGRU(5, 4, gate="relu")


@pytest.mark.parametrize("kind", [KerasGRU, KerasLSTM])
def test_dropout_masks_stay_over_time_and_differ_between_gates(kind: type) -> None:
    torch.manual_seed(0)
    layer = kind(40, 30, dropout=0.25)
    masks = layer._mask(200, 40)
    assert masks.shape == (2, layer.gates, 200, 40)
    assert set(masks.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert abs(masks.mean().item() - 1) < 0.02
    assert not torch.equal(masks[0, 0], masks[0, 1]) and not torch.equal(masks[0], masks[1])
    x = torch.randn(2, 7, 40)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_recurrence_of_tensorflow_2(kind: str) -> None:
    """Logistic gates; the GRU's reset gate acts behind the matrix; directions reversed back before the product."""
    torch.manual_seed(0)
    layer = BidirectionalTF2(kind, 5, 4).double()
    x = torch.randn(2, 6, 5, dtype=DOUBLE)
    made = []
    for direction, inputs in zip(layer.directions, (x, x.flip(1))):
        w, u = direction.weight_ih_l0, direction.weight_hh_l0
        b, a = direction.bias_ih_l0, direction.bias_hh_l0
        h = cell = x.new_zeros(2, 4)
        out = []
        for x_t in inputs.unbind(1):
            p, q = x_t @ w.T + b, h @ u.T + a
            if kind == "gru":
                (r, z, n), (q_r, q_z, q_n) = p.chunk(3, dim=1), q.chunk(3, dim=1)
                z = torch.sigmoid(z + q_z)
                h = z * h + (1 - z) * torch.tanh(n + torch.sigmoid(r + q_r) * q_n)
            else:
                i, f, c, o = (p + q).chunk(4, dim=1)
                cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(c)
                h = torch.sigmoid(o) * torch.tanh(cell)
            out.append(h)
        made.append(torch.stack(out, dim=1))
    torch.testing.assert_close(layer(x), made[0] * made[1].flip(1), rtol=1e-10, atol=1e-12)
    if kind == "lstm":
        assert all((d.bias_ih_l0[4:8] == 1).all() and not d.bias_hh_l0.requires_grad for d in layer.directions)
    dropping = BidirectionalTF2(kind, 5, 4, dropout=0.5)
    x = x.float()
    assert not torch.equal(dropping(x), dropping(x))
    assert torch.equal(dropping.eval()(x), dropping(x))


def test_bin_norm_pools_batch_channel_and_time() -> None:
    torch.manual_seed(0)
    norm = BinNorm(4)
    x = torch.randn(3, 5, 7, 4) * torch.arange(1, 5) + torch.arange(4)
    y = norm(x)
    mean, variance = x.mean(dim=(0, 1, 2)), x.var(dim=(0, 1, 2), correction=0)
    torch.testing.assert_close(y, (x - mean) / (variance + 1e-3).sqrt(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, 0.01 * mean)
    torch.testing.assert_close(norm.running_var, 0.99 + 0.01 * x.var(dim=(0, 1, 2), correction=1))
    norm.eval()
    expected = (x - norm.running_mean) / (norm.running_var + 1e-3).sqrt()
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("piece", [10**6, 2 * 9 * 13 * 6, 4 * 13 * 6])
@pytest.mark.parametrize("pool, keep", [(4, False), (2, True)])
def test_convolution_stage_is_the_plain_one(
    pool: int, keep: bool, piece: int, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, all gradients and running statistics: all at once, some items at a time, some frames of an item."""
    monkeypatch.setattr(bin_norm, "_PIECE", piece)
    monkeypatch.setattr(bin_norm, "_KEPT_CHANNELS", 1 if keep else 99)
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 6, 3, padding=1).double(), BinNorm(13).double().train(training)
    with torch.no_grad():
        norm.weight.uniform_(-2, 2).mul_(norm.weight.abs() > 0.01)
        norm.bias.uniform_(-1, 1)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        norm.weight[norm.weight == 0] = 1

    def plain(x: Tensor, conv_: nn.Conv2d, norm_: BinNorm, pool_: int) -> Tensor:
        return functional.max_pool2d(functional.relu(norm_(conv_(x))), (1, pool_))

    results = []
    for block in (plain, conv_binnorm_relu_pool):
        conv_, norm_ = copy.deepcopy(conv), copy.deepcopy(norm)
        x = torch.linspace(-2, 3, 5 * 3 * 9 * 13, dtype=DOUBLE).reshape(5, 3, 9, 13).mul(50).sin().requires_grad_()
        y = block(x, conv_, norm_, pool)
        (y * torch.linspace(0, 1, y.numel(), dtype=DOUBLE).reshape(y.shape).sqrt()).sum().backward()
        values = [y, x.grad, *(p.grad for p in (*conv_.parameters(), *norm_.parameters())), *norm_.buffers()]
        with torch.no_grad():
            values.append(block(x, conv_, norm_.eval(), pool))
        results.append([value.detach() for value in values])
    for theirs, ours in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_convolution_stage_with_scales_of_zero() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 4, 3, padding=1), BinNorm(6)
    with torch.no_grad():
        norm.weight[2] = 0
        norm.bias.fill_(0.5)
    y = conv_binnorm_relu_pool(torch.randn(2, 2, 5, 6), conv, norm, 2)
    y.sum().backward()
    assert torch.isfinite(norm.weight.grad).all() and norm.weight.grad[2] != 0


def test_initialisation_is_that_of_keras() -> None:
    torch.manual_seed(0)
    network = SELDnet(8, 11, bins=64, pools=(4, 4, 2))
    bounds = {
        "convolutions.1.conv.weight": (2 * 64 * 9, 1),
        "sed.0.weight": (128 + 128, 1),
        "doa.2.weight": (128 + 33, 1),
        "recurrent.0.kernel": (128 + 3 * 128, 2),
    }
    parameters = dict(network.named_parameters())
    for name, (fans, _) in bounds.items():
        bound = (6 / fans) ** 0.5
        largest = parameters[name].abs().max().item()
        assert 0.98 * bound < largest <= bound, name
        assert abs(parameters[name].std().item() / (bound / 3**0.5) - 1) < 0.03
    for name, parameter in parameters.items():
        if name.endswith("bias"):
            assert not parameter.any(), name
    for direction in network.recurrent[0].recurrent:
        torch.testing.assert_close(direction @ direction.T, torch.eye(128), atol=1e-5, rtol=0)
    assert (KerasLSTM(3, 4).bias[:, 4:8] == 1).all() and KerasLSTM(3, 4).bias.sum() == 8
    tuned = SELDnet(7, 11, **TUNED)
    recurrent = tuned.recurrent[0].directions[0].weight_hh_l0
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(128), atol=1e-5, rtol=0)


SMALL = {"filters": (5, 6), "pools": (2, 2), "bins": 10, "rnn_units": (4, 4), "dense": (7, 6)}


@pytest.mark.parametrize("conventions", ["keras2", "tf2"])
@pytest.mark.parametrize("rnn", ["gru", "lstm"])
@pytest.mark.parametrize("axes, attention", [(2, False), (3, True)])
def test_shapes_and_training_step(rnn: str, conventions: str, axes: int, attention: bool) -> None:
    torch.manual_seed(0)
    network = SELDnet(
        3,
        5,
        **SMALL,
        rnn=rnn,
        conventions=conventions,
        doa_axes=axes,
        attention=attention,
        sequence_frames=9,
        dropout=0.1,
    )
    x = torch.randn(2, 3, 9, 10)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    target = torch.zeros(2, 1 + axes, 5, 9)
    target[:, :, 2] = 0.6
    losses = []
    for _ in range(60):
        output = network(x)
        assert output.shape == (2, 1 + axes, 5, 9) and output.dtype == torch.float32
        loss = functional.mse_loss(output, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters() if p.requires_grad)
    assert losses[-1] < 0.3 * losses[0]
    probability = network.eval()(x)[:, 0]
    assert probability.min() >= 0 and probability.max() <= 1


def test_time_attention_by_its_formula() -> None:
    torch.manual_seed(0)
    network = SELDnet(3, 5, **SMALL, attention=True, sequence_frames=9)
    layer, x = network.attention, torch.randn(2, 9, 4)
    scores = torch.einsum("btd,st->bds", x, layer.dense.weight) + layer.dense.bias
    weights = (scores.exp() / scores.exp().sum(dim=2, keepdim=True)).mean(dim=1)
    torch.testing.assert_close(layer(x), x * weights[:, :, None])
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    with pytest.raises(ValueError, match="made for 9"):
        network(torch.randn(2, 3, 8, 10))


def test_any_length_without_attention_and_batch_of_one() -> None:
    network = SELDnet(3, 5, **SMALL).eval()
    x = torch.randn(1, 3, 20, 10)
    assert network(x[:, :, :1]).shape == (1, 4, 5, 1)
    whole = network(torch.cat((x, x)))
    torch.testing.assert_close(whole[:1], network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("conventions", ["keras2", "tf2"])
def test_network_under_autocast_stays_near_float32(conventions: str) -> None:
    torch.manual_seed(0)
    network = SELDnet(3, 5, **SMALL, conventions=conventions, attention=True, sequence_frames=9)
    x = torch.randn(2, 3, 9, 10)
    plain = copy.deepcopy(network)(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(x)
        output.square().mean().backward()
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, plain, atol=0.05, rtol=0)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.requires_grad)


def test_checkpoint_round_trip() -> None:
    network, data = load("A_xyz")
    other = SELDnet(8, 11, bins=32, filters=(6, 6, 6), pools=(4, 2, 2), rnn_units=(8, 8), dense=(9,)).eval()
    other.load_state_dict(network.state_dict())
    x = torch.from_numpy(data["input"])
    assert torch.equal(network(x), other(x))


def test_keras_weights_of_another_network_are_refused() -> None:
    network, data = load("A_xyz")
    weights = {name: data[name] for name in data.files}
    for broken, message in (
        ({**weights, "Dense3/kernel": weights["Dense3/kernel"][:, :22]}, "Dense3/kernel"),
        ({k: v for k, v in weights.items() if k != "Bidirectional1/bw_bias"}, "missing"),
    ):
        with pytest.raises(InputError, match=message):
            network.load_keras(broken)
    with pytest.raises(InputError, match="keras2"):
        SELDnet(3, 5, **SMALL, conventions="tf2").load_keras(weights)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"filters": (4, 4)}, "one of each"),
        ({"pools": (8, 8, 8)}, "nothing of 256 bins"),
        ({"rnn": "rnn"}, "rnn"),
        ({"doa_axes": 4}, "doa_axes"),
        ({"doa_activation": "relu"}, "doa_activation"),
        ({"conventions": "keras3"}, "conventions"),
        ({"rnn_units": ()}, "rnn_units"),
        ({"attention": True}, "sequence_frames"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SELDnet(8, 11, **{"bins": 256, **settings})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", [KerasGRU, KerasLSTM])
def test_recurrence_on_cuda_is_that_on_the_processor(kind: type) -> None:
    torch.manual_seed(0)
    layer, x = kind(16, 8).double(), torch.randn(2, 50, 16, dtype=DOUBLE)
    made = []
    for device in ("cpu", "cuda"):
        moved: nn.Module = copy.deepcopy(layer).to(device)
        y = moved(x.to(device))
        y.square().sum().backward()
        made.append([y.detach().cpu(), *(p.grad.cpu() for p in moved.parameters())])
    for one, other in zip(*made):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
