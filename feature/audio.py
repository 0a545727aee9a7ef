"""What every audio feature is: a waveform in, planes of frames and bins out."""

from __future__ import annotations

from torch import Tensor, nn


class AudioFeature(nn.Module):
    """Waveform (batch, channels, samples) -> feature (batch, maps, frames, bins).

    Attributes
    ----------
    channels : of the waveform
    maps, bins : planes of the feature, and bins of each
    """

    channels: int
    maps: int
    bins: int

    def forward(self, waveform: Tensor) -> Tensor:
        """Feature of every frame that lies inside the samples given."""
        raise NotImplementedError
