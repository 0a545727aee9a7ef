"""Networks of two-stage SELD: four blocks of two convolutions, with a recurrent layer (CRNN10) or without (VGG9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from util.errors import InputError

Pool = Literal["avg", "max", "none"]
FILTERS = (64, 128, 256, 512)
RNN_UNITS = 256
_BLOCKS = "conv_block"


class ConvBlock(nn.Module):
    """Twice a 3x3 convolution without bias, batch norm and ReLU, then pooling.

    Parameters
    ----------
    pool : "avg", "max" or "none"
    pool_size : (frames, bins), of the pooling and of its step
    """

    def __init__(self, in_channels: int, out_channels: int, pool: Pool = "avg", pool_size: tuple[int, int] = (2, 2)):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        self.pool, self.pool_size = _checked(pool), tuple(pool_size)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_uniform_(conv.weight)
        for norm in (self.bn1, self.bn2):
            nn.init.normal_(norm.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, frames, bins) -> (batch, out_channels, frames // pool, bins // pool)."""
        x = functional.relu_(self.bn1(self.conv1(x)))
        x = functional.relu_(self.bn2(self.conv2(x)))
        if self.pool == "avg":
            return functional.avg_pool2d(x, self.pool_size)
        return functional.max_pool2d(x, self.pool_size) if self.pool == "max" else x


class VGG9(nn.Module):
    """Convolution blocks, mean over frequency, one linear layer each for events, azimuths and elevations.

    Reference: Cao et al., 'Polyphonic Sound Event Detection and Localization using a Two-Stage Strategy', DCASE 2019
    workshop, arXiv 1905.00268. The names of its weights are kept, so that its checkpoints load (`net.weights`).

    The network of detection and that of localisation are the same; what is trained depends on the loss. The second
    starts from the convolution blocks of the first, see `transferred`.

    Initialisation as published: convolutions and linear layers Kaiming-uniform, their biases 0, scales of batch norms
    from a normal distribution about 1 of deviation 0.02.

    Parameters
    ----------
    in_channels : maps of the audio feature
    classes : N
    bins : of the audio feature; the linear layers do not depend on it
    pool : "avg", "max" or "none", of the blocks; the frequencies that are left are averaged ("avg") or their largest
        value is taken
    pool_size : (frames, bins) of each of the four poolings
    filters : of each of the four blocks
    rnn_units : of the recurrent layer, where there is one, in each direction

    Raises
    ------
    InputError : an unknown pooling, nothing left of the bins, another number of blocks
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        bins: int = 96,
        pool: Pool = "avg",
        pool_size: tuple[int, int] = (2, 2),
        filters: Sequence[int] = FILTERS,
        rnn_units: int = RNN_UNITS,
    ):
        super().__init__()
        if len(filters) != len(FILTERS) or min(*filters, rnn_units) < 1:
            rule = f"{len(FILTERS)} numbers of filters and one of units, each 1 or more"
            raise InputError(f"filters {list(filters)}, rnn_units {rnn_units}: must be {rule}")
        self.classes, self.pool = classes, _checked(pool)
        frames, frequencies = (1, 1) if pool == "none" else pool_size
        if frames < 1 or frequencies < 1 or bins < frequencies ** len(FILTERS):
            raise InputError(f"{type(self).__name__}: pool_size {tuple(pool_size)} leaves nothing of {bins} bins")
        self.step_frames = frames ** len(FILTERS)
        for number, width in enumerate(filters, start=1):
            setattr(self, f"{_BLOCKS}{number}", ConvBlock(in_channels, width, pool, pool_size))
            in_channels = width
        width = self._make_recurrent(in_channels, rnn_units)
        self.event_fc, self.azimuth_fc, self.elevation_fc = (nn.Linear(width, classes) for _ in range(3))
        for layer in (self.event_fc, self.azimuth_fc, self.elevation_fc):
            nn.init.kaiming_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _make_recurrent(self, width: int, units: int) -> int:
        """Layers between the blocks and the linear layers, none here; width that comes in -> width that goes out."""
        return width

    def _recurrent(self, x: Tensor) -> Tensor:
        """(batch, steps, width) -> the same, of the width that goes out."""
        return x

    def forward(self, audio: Tensor, visual: None = None) -> Tensor:
        """Feature of a chunk or a recording of any length -> event probabilities and directions.

        Parameters
        ----------
        audio : (batch, maps, T, bins)
        visual : not taken

        Returns
        -------
        (batch, 3, classes, 16 (T // 16)) float32: probability, azimuth, elevation in radians (any number, not wrapped);
            every step of the network is repeated over its 16 frames, frames beyond the last whole step have no output
        """
        return self.steps(audio).repeat_interleave(self.step_frames, dim=-1)

    def steps(self, audio: Tensor) -> Tensor:
        """The output before each step is repeated: (batch, 3, classes, T // 16)."""
        if audio.shape[2] < self.step_frames:
            raise InputError(f"{audio.shape[2]} frames of sound, the network takes {self.step_frames} or more")
        x = audio
        for number in range(1, len(FILTERS) + 1):
            x = getattr(self, f"{_BLOCKS}{number}")(x)
        x = (x.amax(dim=3) if self.pool == "max" else x.mean(dim=3)).transpose(1, 2)
        with torch.autocast(x.device.type, enabled=False):
            x = self._recurrent(x.to(self.event_fc.weight.dtype))
            events = torch.sigmoid(self.event_fc(x))
            return torch.stack((events, self.azimuth_fc(x), self.elevation_fc(x)), dim=1).transpose(2, 3).float()


class CRNN10(VGG9):
    """`VGG9` with a bidirectional GRU of 256 units before the linear layers.

    The forward direction starts from uniform and orthogonal matrices, the other as PyTorch has it (a quirk of the
    published initialisation, kept).

    Parameters
    ----------
    others : see `VGG9`
    """

    def _make_recurrent(self, width: int, units: int) -> int:
        self.gru = nn.GRU(width, units, batch_first=True, bidirectional=True)
        initialise_gru(self.gru)
        return 2 * units

    def _recurrent(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


def initialise_gru(gru: nn.GRU) -> None:
    """The published start of a GRU: input weights uniform, hidden ones too but orthogonal of the new gate, biases 0.

    Of a bidirectional one the forward direction alone; the other stays as PyTorch has it (a quirk, kept).
    """
    with torch.no_grad():
        for layer in range(gru.num_layers):
            for name in (f"weight_ih_l{layer}", f"weight_hh_l{layer}"):
                reset, update, new = getattr(gru, name).chunk(3)
                for gate in (reset, update, new):
                    bound = (3 / gate.shape[1]) ** 0.5
                    gate.uniform_(-bound, bound)
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(new)
            for name in (f"bias_ih_l{layer}", f"bias_hh_l{layer}"):
                getattr(gru, name).zero_()


NETWORKS: dict[str, type[VGG9]] = {"CRNN10": CRNN10, "VGG9": VGG9}


def transferred(name: str) -> str | None:
    """What the second stage calls a weight of the first: its own name in the convolution blocks, else None.

    Weights, batch norms and their running statistics are copied, recurrent and linear layers start anew; nothing is
    frozen.
    """
    return name if name.startswith(_BLOCKS) else None


def _checked(pool: str) -> str:
    if pool not in ("avg", "max", "none"):
        raise InputError(f'pool {pool!r}: "avg", "max" or "none"')
    return pool
