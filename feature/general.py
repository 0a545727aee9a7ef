"""Features of the general network (DCASE 2020) by name, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from feature.audio import AudioFeature
from feature.histogram import ELEVATIONS, SingleSourceHistogram
from feature.logmel_gcc import (
    GENERAL,
    GENERAL_CORRELATION,
    TWO_STAGE_INTENSITY,
    Logmel,
    LogmelGCC,
    correlation_samples,
)
from feature.logmel_intensity import LogmelIntensity

HOP_S = GENERAL["hop_length"] / GENERAL["rate_hz"]
_INTENSITY = {**GENERAL, "bands": 128, **TWO_STAGE_INTENSITY, "precision": torch.float32}
_GCC = {**GENERAL, "bands": 128, **GENERAL_CORRELATION}
_SHORT, _LONG = GENERAL["n_fft"], correlation_samples(GENERAL["n_fft"])
_FEW_VOTES = 30.0  # that make half a share of themselves: what stands there by chance is no direction


@dataclass(frozen=True)
class GeneralFeature:
    """A feature.

    Attributes
    ----------
    make : channels -> the feature
    frame_samples : that a frame takes
    least_channels : of the recordings
    ambisonics : it needs them
    first_channel : it hears the first channel alone, so that every recording will do
    """

    make: Callable[[int], AudioFeature]
    frame_samples: int = _SHORT
    least_channels: int = 1
    ambisonics: bool = False
    first_channel: bool = False


FEATURES = {
    "logmel": GeneralFeature(lambda channels: Logmel(channels, **GENERAL, bands=128)),
    "logmel64": GeneralFeature(lambda channels: Logmel(channels, **GENERAL, bands=64, levels=1), first_channel=True),
    "iv": GeneralFeature(lambda channels: LogmelIntensity(channels, **_INTENSITY, levels=False), ambisonics=True),
    "logmeliv": GeneralFeature(lambda channels: LogmelIntensity(channels, **_INTENSITY), ambisonics=True),
    "gcc": GeneralFeature(lambda channels: LogmelGCC(channels, **_GCC, levels=0), _LONG, least_channels=2),
    "logmelgcc": GeneralFeature(lambda channels: LogmelGCC(channels, **_GCC), _LONG, least_channels=2),
}


class VoteShares(AudioFeature):
    """Waveform of a whole Ambisonics recording -> shares of the single-source bins by direction, every 100 ms.

    Of the votes of 8 frames for each of 72 azimuths and of 19 elevations the share in all of them; few votes count
    less. What `SingleSourceHistogram` says, as numbers from 0 to 1 that an alignment can hear, without training.
    """

    maps = 1

    def __init__(self, channels: int = 4, *, frames: int = 8):
        super().__init__()
        self.channels, self.frames = channels, frames
        self.histogram = SingleSourceHistogram(channels)
        self.bins = self.histogram.bins

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, channels, samples), frames as for the histogram -> (batch, 1, frames // 8, 91) float32."""
        votes = self.histogram(waveform)
        count = votes.shape[2] // self.frames
        votes = votes[:, :, : count * self.frames].unflatten(2, (count, self.frames)).sum(dim=3)
        shares = [part / (part.sum(dim=3, keepdim=True) + _FEW_VOTES) for part in votes.split(self._parts(), dim=3)]
        return torch.cat(shares, dim=3)

    def _parts(self) -> list[int]:
        return [self.bins - ELEVATIONS, ELEVATIONS]


class Taken(AudioFeature):
    """What earlier stages say (batch, channels, frames) as a feature, unchanged.

    Parameters
    ----------
    rows : of the channels that are taken; None: all, however many there are
    image : one map whose bins they are; else maps of one bin
    """

    def __init__(self, rows: slice | None = None, *, image: bool = False):
        super().__init__()
        self.rows, self.image = slice(None) if rows is None else rows, image
        self.channels = 0
        count = 0 if rows is None else rows.stop - rows.start
        self.maps, self.bins = (1, count) if image else (count, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, channels, frames) -> (batch, 1, frames, rows) or (batch, rows, frames, 1)."""
        taken = waveform[:, self.rows]
        return taken.transpose(1, 2)[:, None] if self.image else taken[..., None]
