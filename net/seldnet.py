"""SELDnet of 2018 to 2021: convolutions, bidirectional recurrent layers, branches for events and for directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from net.bin_norm import BinNorm, conv_binnorm_relu_pool
from net.conv_block import conv_norm_relu_pool
from net.recurrent import GATES, BidirectionalTF2, KerasGRU, KerasLSTM
from util.errors import InputError

_EPS, _MOMENTUM = 1e-3, 0.01  # Keras' defaults; its momentum of 0.99 is the share that stays


class SELDnet(nn.Module):
    """SELDnet of 2018 (arXiv 1807.00129), of the DCASE baselines of 2019 to 2021 (arXiv 1905.08546), tuned variants.

    Conventions "keras2" are those of the published systems: the batch norms index frequency bins (a quirk of the
    channels-first code, kept), the recurrent layers are those of Keras 2.2 (see `net.recurrent`). Conventions "tf2" are
    those of public tuning experiments (aru-2044922/aml_project_seld): the batch norms index channels, the recurrent
    layers are those of TensorFlow 2. Judging by their parameter counts, those experiments had a GRU wherever they had
    attention, also where they say LSTM.

    Initialisation as in Keras: Glorot-uniform kernels, orthogonal recurrent kernels, biases 0. The moving variance of a
    batch norm is corrected by n / (n - 1), Keras' by n / (n - 1 - eps): the same to 1e-6 at the sizes in use.

    Parameters
    ----------
    in_channels : maps of the audio feature
    classes : N
    bins : of the audio feature
    filters : of each convolution stage
    pools : frequency bins that each stage pools into one; as many as `filters`
    time_pool : frames that the first stage pools into one
    rnn : "gru" or "lstm"
    rnn_units : of each recurrent layer
    dense : values of each hidden dense layer, in both branches; they have no activation
    doa_axes : 2 (x, y or azimuth, elevation) or 3 (x, y, z)
    doa_activation : "tanh" (2018, 2020, 2021) or "linear" (2019)
    accdoa : there is no branch for events: the length of a direction says how active its class is (2021)
    attention : weigh the frames by time attention before the recurrent layers
    sequence_frames : T, which attention is made for and fixes; others take any
    dropout : probability, after each convolution stage and hidden dense layer and inside the recurrent layers
    conventions : "keras2" or "tf2"
    gate : of a GRU with conventions "keras2", see `net.recurrent.KerasGRU`

    Raises
    ------
    InputError : sizes that do not go together
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        bins: int,
        filters: Sequence[int] = (64, 64, 64),
        pools: Sequence[int] = (8, 8, 2),
        time_pool: int = 1,
        rnn: Literal["gru", "lstm"] = "gru",
        rnn_units: Sequence[int] = (128, 128),
        dense: Sequence[int] = (128,),
        doa_axes: int = 3,
        doa_activation: Literal["tanh", "linear"] = "tanh",
        accdoa: bool = False,
        attention: bool = False,
        sequence_frames: int | None = None,
        dropout: float = 0.0,
        conventions: Literal["keras2", "tf2"] = "keras2",
        gate: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid",
    ):
        super().__init__()
        left = _checked(bins, filters, pools)
        for name, value, due in (
            ("rnn", rnn, ("gru", "lstm")),
            ("doa_axes", doa_axes, (2, 3)),
            ("doa_activation", doa_activation, ("tanh", "linear")),
            ("conventions", conventions, ("keras2", "tf2")),
            ("gate", gate, GATES),
        ):
            if value not in due:
                raise InputError(f"SELDnet: {name} {value!r}, must be {due[0]!r} or {due[1]!r}")
        if not rnn_units:
            raise InputError("SELDnet: rnn_units names no recurrent layer")
        if attention and not sequence_frames:
            raise InputError("SELDnet: attention needs sequence_frames, the length T that its dense layer is made for")
        self.classes, self.bins, self.doa_axes, self.conventions = classes, bins, doa_axes, conventions
        self.squash_doa = doa_activation == "tanh"
        self.convolutions = nn.ModuleList()
        for width, pool in zip(filters, pools):
            norm: BinNorm | nn.BatchNorm2d
            if conventions == "keras2":
                norm = BinNorm(bins, _EPS, _MOMENTUM)
            else:
                norm = nn.BatchNorm2d(width, _EPS, _MOMENTUM)
            self.convolutions.append(ConvolutionStage(in_channels, width, norm, pool, dropout, time_pool=time_pool))
            in_channels, bins, time_pool = width, bins // pool, 1
        size = in_channels * left
        self.attention = TimeAttention(sequence_frames) if attention and sequence_frames else None
        self.recurrent = nn.ModuleList()
        for units in rnn_units:
            if conventions == "tf2":
                self.recurrent.append(BidirectionalTF2(rnn, size, units, dropout=dropout))
            elif rnn == "gru":
                self.recurrent.append(KerasGRU(size, units, dropout=dropout, gate=gate))
            else:
                self.recurrent.append(KerasLSTM(size, units, dropout=dropout))
            size = units
        self.sed = None if accdoa else _branch(size, dense, classes, dropout)
        self.doa = _branch(size, dense, doa_axes * classes, dropout)
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, audio: Tensor, visual: None = None) -> Tensor:
        """Sequence features -> event probabilities and directions.

        Parameters
        ----------
        audio : (batch, maps, T, bins)
        visual : not taken

        Returns
        -------
        (batch, 1 + doa_axes, classes, T) float32: the probability, then the coordinates (with `accdoa` these alone).
            Each of the T frames of the output is `time_pool` of the input's
        """
        x = self.steps(audio)
        with torch.autocast(x.device.type, enabled=False):
            doa = self.doa(x).unflatten(2, (self.doa_axes, self.classes))
            if self.squash_doa:
                doa = torch.tanh(doa)
            if self.sed is not None:
                doa = torch.cat((torch.sigmoid(self.sed(x))[:, :, None], doa), dim=2)
            return doa.permute(0, 2, 3, 1).float()

    def steps(self, audio: Tensor) -> Tensor:
        """What both branches start from: (batch, maps, frames, bins) -> (batch, T, units of the last layer)."""
        x = audio
        for stage in self.convolutions:
            x = stage(x)
        # (batch, filters, T, bins) -> (batch, T, values): channel-major in Keras 2.2's channels-first code, else by bin
        x = (x.transpose(1, 2) if self.conventions == "keras2" else x.permute(0, 2, 3, 1)).flatten(2)
        if self.attention is not None:
            x = self.attention(x)
        for layer in self.recurrent:
            x = layer(x)
        return x

    @property
    def parameter_count(self) -> int:
        """Parameters as Keras counts them: all that are trained, and the moving statistics of the batch norms."""
        trained = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        return trained + sum(buffer.numel() for name, buffer in self.named_buffers() if "running" in name)

    @torch.no_grad()
    def load_keras(self, weights: Mapping[str, Any]) -> None:
        """Take the weights of Keras 2 code, arrays by layer and name, numbered in the order of the layers.

        Names: `Conv2D{i}/kernel_hwio`, `Conv2D{i}/bias`; `BatchNormalization{i}/gamma`, `beta`, `moving_mean`,
        `moving_variance`; `Bidirectional{i}/fw_kernel`, `fw_recurrent`, `fw_bias`, `bw_...`; `Dense{i}/kernel`, `bias`,
        i even in the SED branch, odd in the DOA branch. Others are ignored.

        Raises
        ------
        InputError : a network of other conventions or with attention, a weight that is missing or of another shape
        """
        if self.conventions != "keras2" or self.attention is not None:
            raise InputError('Keras weights are for a SELDnet with the conventions "keras2" and without attention')

        def take(name: str, out: Any, order: tuple[int, ...] | None = None) -> None:
            if name not in weights:
                raise InputError(f"Keras weights of another network: '{name}' is missing")
            value = torch.as_tensor(weights[name])
            value = value if order is None or value.ndim != len(order) else value.permute(order)
            if value.shape != out.shape:
                found, due = tuple(value.shape), tuple(out.shape)
                raise InputError(f"Keras weights of another size: '{name}' is {found}, this network has {due}")
            out.copy_(value)

        stages = [stage for stage in self.convolutions if isinstance(stage, ConvolutionStage)]
        for i, stage in enumerate(stages):
            take(f"Conv2D{i}/kernel_hwio", stage.conv.weight, (3, 2, 0, 1))
            take(f"Conv2D{i}/bias", stage.conv.bias)
            norm = stage.norm
            for name, out in zip(
                ("gamma", "beta", "moving_mean", "moving_variance"),
                (norm.weight, norm.bias, norm.running_mean, norm.running_var),
            ):
                take(f"BatchNormalization{i}/{name}", out)
        for i, layer in enumerate(self.recurrent):
            for direction, short in enumerate(("fw", "bw")):
                for name in ("kernel", "recurrent", "bias"):
                    take(f"Bidirectional{i}/{short}_{name}", getattr(layer, name)[direction])
        for odd, branch in enumerate((self.sed, self.doa)):
            dense = [layer for layer in branch or () if isinstance(layer, nn.Linear)]
            for i, layer in enumerate(dense):
                take(f"Dense{2 * i + odd}/kernel", layer.weight, (1, 0))
                take(f"Dense{2 * i + odd}/bias", layer.bias)


class ConvolutionStage(nn.Module):
    """3x3 convolution, batch norm, ReLU, max pooling over frequency (and time), dropout."""

    def __init__(
        self,
        in_channels: int,
        filters: int,
        norm: BinNorm | nn.BatchNorm2d,
        pool: int,
        dropout: float,
        *,
        time_pool: int = 1,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, 3, padding=1)
        self.norm, self.pool, self.time_pool, self.dropout = norm, pool, time_pool, dropout

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, T, bins) -> (batch, filters, T // time_pool, bins // pool)."""
        if isinstance(self.norm, BinNorm):
            x = conv_binnorm_relu_pool(x, self.conv, self.norm, self.pool)
        else:
            x = conv_norm_relu_pool(x, self.conv, self.norm, (1, self.pool))
        if self.time_pool > 1:  # the largest of a frame's bins, then the largest of its frames
            x = functional.max_pool2d(x, (self.time_pool, 1))
        return functional.dropout(x, self.dropout, self.training)


class TimeAttention(nn.Module):
    """One weight per frame, shared by all values: (batch, T, values) -> the same times (batch, T, 1).

    A dense layer from T to T frames and a softmax over T for each value; the weight is the mean over the values.
    """

    def __init__(self, frames: int):
        super().__init__()
        self.dense = nn.Linear(frames, frames)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, values) -> the same; T must be the length that the layer is made for."""
        if x.shape[1] != self.dense.in_features:
            found, due = x.shape[1], self.dense.in_features
            raise ValueError(f"sequence of {found} frames: the attention of this network is made for {due}")
        weights = torch.softmax(self.dense(x.transpose(1, 2)), dim=2).mean(dim=1)
        return x * weights[:, :, None]


def _branch(size: int, dense: Sequence[int], out: int, dropout: float) -> nn.Sequential:
    """Dense layers without activation, dropout behind each but the last."""
    layers: list[nn.Module] = []
    for width in dense:
        layers += [nn.Linear(size, width), nn.Dropout(dropout)]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, out))


def _checked(bins: int, filters: Sequence[int], pools: Sequence[int]) -> int:
    """Frequency bins that the convolution stages leave."""
    if not filters or len(filters) != len(pools):
        raise InputError(f"SELDnet: {len(filters)} filters and {len(pools)} pools, one of each per stage")
    left = bins
    for pool in pools:
        left //= pool
    if left < 1:
        raise InputError(f"SELDnet: pools {tuple(pools)} leave nothing of {bins} bins")
    return left
