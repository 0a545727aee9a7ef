"""Planes of a feature interleaved, as a reshape in the code of the DCASE 2020 baseline does (a quirk, kept)."""

from __future__ import annotations

import torch
from torch import Tensor

from feature.audio import AudioFeature


class Interleaved(AudioFeature):
    """The planes of a feature mixed up: a row [band x levels + channel | band x others + plane] as (bands, planes).

    Place (q, f) of the planes has column f P + q of the row, with P planes in all: the first bins of every plane are
    levels of all bands, the last ones what stands beside them. The published numbers of 2020 were made with it.

    Parameters
    ----------
    inner : the feature, its planes one after the other
    levels : how many of them are levels
    """

    def __init__(self, inner: AudioFeature, levels: int):
        super().__init__()
        self.inner, self.levels = inner, levels
        self.channels, self.maps, self.bins = inner.channels, inner.maps, inner.bins
        self.held_over, self.jumps = inner.held_over, inner.jumps

    def forward(self, waveform: Tensor) -> Tensor:
        """As `AudioFeature.forward`."""
        return self.interleaved(self.inner(waveform))

    def loudest(self, features: Tensor) -> Tensor:
        """As `AudioFeature.loudest`."""
        return self.inner.loudest(self.apart(features))

    def held(self, features: Tensor, loudest: Tensor) -> Tensor:
        """As `AudioFeature.held`."""
        return self.interleaved(self.inner.held(self.apart(features), loudest))

    def interleaved(self, planes: Tensor) -> Tensor:
        """Planes one after the other (batch, maps, T, bins) -> mixed up."""
        parts = planes.split((self.levels, self.maps - self.levels), dim=1)
        rows = torch.cat([part.permute(0, 2, 3, 1).flatten(2) for part in parts], dim=2)
        return rows.unflatten(2, (self.bins, self.maps)).permute(0, 3, 1, 2)

    def apart(self, features: Tensor) -> Tensor:
        """The inverse of `interleaved`."""
        rows = self.columns(features)
        parts = rows.split((self.levels * self.bins, (self.maps - self.levels) * self.bins), dim=2)
        return torch.cat([part.unflatten(2, (self.bins, -1)).permute(0, 3, 1, 2) for part in parts], dim=1)

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, maps, T, bins) as the rows (batch, T, maps bins) that the reference stores."""
        return features.permute(0, 2, 3, 1).flatten(2)
