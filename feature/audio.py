"""What every audio feature is: a waveform in, planes of frames and bins out."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn


class AudioFeature(nn.Module):
    """Waveform (batch, channels, samples) -> feature (batch, maps, frames, bins).

    Attributes
    ----------
    channels : of the waveform; 0: as many as there are
    maps, bins : planes of the feature, and bins of each
    held_over : what `held` compares with, where features depend on more than their frame: the "recording", which is
        read twice, or the "item" of a batch by itself; "": there is nothing of the kind
    jumps : whether values hang on the last bit of the transform, as phases at their seam and those of bins that hold
        next to nothing do: another transform gives others there
    """

    channels: int
    maps: int
    bins: int
    held_over: Literal["", "recording", "item"] = ""
    jumps: bool = False

    def forward(self, waveform: Tensor) -> Tensor:
        """Feature of every frame that lies inside the samples given."""
        raise NotImplementedError

    def loudest(self, features: Tensor) -> Tensor:
        """What features (batch, maps, frames, bins) say of their recording; of several stretches the largest counts.

        Returns
        -------
        (batch, channels) in dB
        """
        raise NotImplementedError

    def held(self, features: Tensor, loudest: Tensor) -> Tensor:
        """Features held to their range below the loudest (batch, T or 1, channels) of each frame's recording."""
        return features
