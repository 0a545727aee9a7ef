"""Networks of the general SELD network (DCASE 2020): modules of detection and of direction, and what aligns them.

Reference: Nguyen et al., 'A General Network Architecture for Sound Event Localization and Detection Using Transfer
Learning and Recurrent Neural Network', ICASSP 2021, arXiv 2011.07859. The names of weights are those of its public
repository where that has the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from net.two_stage import ConvBlock, initialise_gru
from util.errors import InputError

AZIMUTHS, ELEVATIONS = 72, 19  # classes of direction, 5 degrees each
_BLOCKS = "conv_block"
FrequencyPool = Literal["avg", "max", "avg_max"]


@dataclass(frozen=True)
class Width:
    """Layers of a module: filters of the four blocks, layers and units (of each direction) of the GRU."""

    filters: tuple[int, ...]
    rnn_layers: int
    rnn_units: int

    def scaled(self, factor: float) -> Width:
        """So many times as wide, at least one filter and unit."""
        filters = tuple(max(round(factor * width), 1) for width in self.filters)
        return Width(filters, self.rnn_layers, max(round(factor * self.rnn_units), 1))


DETECTION = Width((64, 128, 256, 512), 1, 128)  # SED-M, SED-T
DIRECTION = Width((32, 64, 128, 256), 2, 128)  # DOA-iv, DOA-gcc, AZI-hist
ELEVATION = Width((16, 32, 64, 128), 2, 64)  # ELE-hist


def _xavier(network: nn.Module) -> None:
    """The published start: Xavier-uniform convolutions and linear layers, biases 0, batch norms 1 and 0, the GRU."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.GRU):
            initialise_gru(layer)


def _blocks(module: nn.Module, in_channels: int, filters: Sequence[int], pool_size: tuple[int, int], bins: int) -> None:
    """Give a module its convolution blocks.

    Raises
    ------
    InputError : they leave nothing of the bins
    """
    if bins < pool_size[1] ** len(filters):
        raise InputError(f"{len(filters)} poolings by {pool_size[1]} leave nothing of {bins} bins")
    for number, width in enumerate(filters, start=1):
        setattr(module, f"{_BLOCKS}{number}", ConvBlock(in_channels, width, "avg", pool_size))
        in_channels = width


def _check_frames(audio: Tensor, due: int) -> None:
    if audio.shape[2] < due:
        raise InputError(f"{audio.shape[2]} frames of sound, the network takes {due} or more")


class Module(nn.Module):
    """Four convolution blocks, mean over frequency, bidirectional GRU, dropout, a linear layer for each output.

    SED-M, SED-T, DOA-iv, DOA-gcc, AZI-hist and ELE-hist of the paper: they differ in what they hear, in `width` and
    in `outputs`. One step of the network is 16 frames and is given `repeat` times.

    Parameters
    ----------
    in_channels, bins : maps of the feature, and bins of each
    outputs : numbers of classes of each linear layer, fc1, fc2
    dropout : behind the GRU
    repeat : frames of the output for each step
    """

    STEP_FRAMES = 16

    def __init__(
        self,
        in_channels: int,
        bins: int,
        outputs: Sequence[int],
        *,
        width: Width = DETECTION,
        dropout: float = 0.2,
        repeat: int = 2,
    ):
        super().__init__()
        _blocks(self, in_channels, width.filters, (2, 2), bins)
        self.repeat, self._depth = repeat, len(width.filters)
        self.gru = nn.GRU(width.filters[-1], width.rnn_units, width.rnn_layers, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self._heads = [f"fc{number}" for number in range(1, len(outputs) + 1)]
        for name, count in zip(self._heads, outputs):
            setattr(self, name, nn.Linear(2 * width.rnn_units, count))
        _xavier(self)

    def forward(self, audio: Tensor, visual: None = None) -> Tensor:
        """Feature (batch, maps, T, bins) -> probabilities (batch, sum of the outputs, repeat x (T // 16)) float32.

        Raises
        ------
        InputError : less than 16 frames
        """
        made = torch.cat(self.steps(audio), dim=2).transpose(1, 2)
        return made.repeat_interleave(self.repeat, dim=-1) if self.repeat > 1 else made

    def steps(self, audio: Tensor) -> list[Tensor]:
        """The probabilities of each output before steps are repeated: (batch, T // 16, classes)."""
        _check_frames(audio, self.STEP_FRAMES)
        x = audio
        for number in range(1, self._depth + 1):
            x = getattr(self, f"{_BLOCKS}{number}")(x)
        x = x.mean(dim=3).transpose(1, 2)
        with torch.autocast(x.device.type, enabled=False):
            x = self.dropout(self.gru(x.to(next(self.gru.parameters()).dtype))[0])
            return [torch.sigmoid(getattr(self, name)(x)).float() for name in self._heads]


class Encoder(nn.Module):
    """Convolution blocks of a released SED network: dropout behind each.

    Parameters
    ----------
    pool_size : (frames, bins) of each pooling
    dropout : behind every block
    """

    def __init__(
        self,
        in_channels: int,
        bins: int,
        filters: Sequence[int],
        pool_size: tuple[int, int] = (2, 2),
        *,
        dropout: float = 0.2,
    ):
        super().__init__()
        _blocks(self, in_channels, filters, pool_size, bins)
        self.dropout, self._depth = nn.Dropout(dropout), len(filters)
        self.step_frames = pool_size[0] ** len(filters)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, maps, T, bins) -> (batch, filters, T // step_frames, bins that are left)."""
        _check_frames(x, self.step_frames)
        for number in range(1, self._depth + 1):
            x = self.dropout(getattr(self, f"{_BLOCKS}{number}")(x))
        return x


class Decoder(nn.Module):
    """Pooling over frequency, bidirectional GRU of half as many units as filters, dropout, linear layer.

    Parameters
    ----------
    pool : over frequency: "avg", "max", or the sum of both, "avg_max" (the reference adds a tensor that is not pooled)
    """

    def __init__(self, channels: int, classes: int, *, pool: FrequencyPool = "avg", dropout: float = 0.2):
        super().__init__()
        if pool not in ("avg", "max", "avg_max"):
            raise InputError(f'pool {pool!r}: "avg", "max" or "avg_max"')
        self.pool = pool
        units = max(channels // 2, 1)
        self.gru = nn.GRU(channels, units, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.event_fc = nn.Linear(2 * units, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, steps, bins) -> logits (batch, steps, classes)."""
        parts = [x.mean(dim=3)] if self.pool != "max" else []
        parts += [x.amax(dim=3)] if self.pool != "avg" else []
        x = sum(parts[1:], parts[0]).transpose(1, 2)
        with torch.autocast(x.device.type, enabled=False):
            x = self.dropout(self.gru(x.to(next(self.gru.parameters()).dtype))[0])
            return self.event_fc(x).float()


# filters and pooling of the released encoders
ENCODERS: Mapping[str, tuple[tuple[int, ...], tuple[int, int]]] = {
    "PannCnn14L8": ((64, 128, 256, 512), (2, 2)),
    "PannCnn14L6": ((64, 128, 256), (2, 2)),
    "PannCnn14L6F64": ((64, 128, 256), (2, 4)),
}


class ReleasedDetection(nn.Module):
    """The released SED network: an encoder of `ENCODERS` and the decoder.

    Parameters
    ----------
    encoder : name of the encoder
    width : factor of the filters
    dropout : behind every block and the GRU
    repeat : frames of the output for each step of the network, which is 16 frames of PannCnn14L8, 8 of the others
    """

    def __init__(
        self,
        in_channels: int,
        bins: int,
        classes: int,
        *,
        encoder: str = "PannCnn14L8",
        pool: FrequencyPool = "avg",
        width: float = 1.0,
        dropout: float = 0.2,
        repeat: int = 1,
    ):
        super().__init__()
        filters, pool_size = ENCODERS[encoder]
        filters = tuple(max(round(width * count), 2) for count in filters)
        self.encoder = Encoder(in_channels, bins, filters, pool_size, dropout=dropout)
        self.decoder = Decoder(filters[-1], classes, pool=pool, dropout=dropout)
        self.repeat = repeat
        _xavier(self)

    def forward(self, audio: Tensor, visual: None = None) -> Tensor:
        """Feature (batch, maps, T, bins) -> probabilities (batch, classes, repeat x steps) float32."""
        made = torch.sigmoid(self.logits(audio)).transpose(1, 2)
        return made.repeat_interleave(self.repeat, dim=-1) if self.repeat > 1 else made

    def logits(self, audio: Tensor) -> Tensor:
        """(batch, steps, classes), as released."""
        return self.decoder(self.encoder(audio))


class Alignment(nn.Module):
    """Which sound is where, from what frozen modules say: GRU of two layers, a head for activity and each of x, y, z.

    Parameters
    ----------
    classes : N
    inputs : numbers of a frame: N probabilities, azimuths, elevations
    tracks : 0: a direction for each class; more: so many tracks, each with a probability of every class and a direction
    dropout : before every head
    """

    def __init__(self, classes: int, *, inputs: int, rnn_units: int = 128, tracks: int = 0, dropout: float = 0.2):
        super().__init__()
        self.classes, self.tracks = classes, tracks
        self.gru = nn.GRU(inputs, rnn_units, num_layers=2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        size = 2 * rnn_units
        if tracks:
            for track in range(1, tracks + 1):
                setattr(self, f"event_fc{track}", nn.Linear(size, classes))
                setattr(self, f"xyz_fc{track}", nn.Linear(size, 3))
        else:
            self.event_fc, self.x_fc, self.y_fc, self.z_fc = (nn.Linear(size, classes) for _ in range(4))
        _xavier(self)

    def forward(self, audio: Tensor, visual: None = None) -> Tensor:
        """What modules say (batch, inputs, T, 1) -> output of the alignment.

        Returns
        -------
        (batch, 4, classes, T) float32: probability, x, y, z; of tracks (batch, tracks, classes + 3, T)
        """
        with torch.autocast(audio.device.type, enabled=False):
            x = self.gru(audio[..., 0].transpose(1, 2).to(next(self.gru.parameters()).dtype))[0]
            return (self._of_tracks(x) if self.tracks else self._of_classes(x)).float()

    def _of_classes(self, x: Tensor) -> Tensor:
        events = torch.sigmoid(self.event_fc(self.dropout(x)))
        axes = [layer(self.dropout(x)) for layer in (self.x_fc, self.y_fc, self.z_fc)]
        return torch.stack((events, *axes), dim=1).transpose(2, 3)

    def _of_tracks(self, x: Tensor) -> Tensor:
        tracks = []
        for track in range(1, self.tracks + 1):
            events = torch.sigmoid(getattr(self, f"event_fc{track}")(self.dropout(x)))
            tracks.append(torch.cat((events, getattr(self, f"xyz_fc{track}")(self.dropout(x))), dim=2))
        return torch.stack(tracks, dim=1).transpose(2, 3)


# transfer from audio tagging ------------------------------------------------------------------------------------------

PANN_BLOCKS = 4  # of the six of Cnn14 that are taken over


def pann_weights() -> tuple[str, ...]:
    """Names of the weights of Cnn14 (PANN, Kong et al. 2020) that a module of detection starts from."""
    parts = [f"conv{number}.weight" for number in (1, 2)]
    values = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    parts += [f"bn{number}.{value}" for number in (1, 2) for value in values]
    return tuple(f"{_BLOCKS}{block}.{part}" for block in range(1, PANN_BLOCKS + 1) for part in parts)


def from_pann(name: str) -> str | None:
    """What SED-T calls a weight of Cnn14; None: it is not taken over (spectrogram, its batch norm, tagging layers)."""
    return name if name in pann_weights() else None


def from_pann_encoded(name: str) -> str | None:
    """What the released PannCnn14L8 calls a weight of Cnn14; None: it is not taken over."""
    return f"encoder.{name}" if name in pann_weights() else None
