"""Network of the DCASE 2025 baseline: stereo, directions in the plane, distances, and what is on the screen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from net.crnn_parts import (
    DROPOUT,
    FILTERS,
    UNITS,
    ConvBlock,
    MultiplyingGRU,
    VisualFusion,
    attended,
    attention_blocks,
    convolved,
    in_tracks,
    values_of,
)


class SELDnet2025(nn.Module):
    """CRNN of the DCASE 2025 baseline (DCASE2025_seld_baseline) for sound alone; its weights keep their names.

    Parameters
    ----------
    in_channels, bins : maps and bins of the audio feature
    classes : number of classes (the reference has 13 in its output layer, whatever is asked for)
    tracks : 3 (Multi-ACCDOA) or 1 (ACCDOA)
    elements : outputs of a track and class

    Raises
    ------
    ValueError : nothing is left of the bins
    """

    def __init__(self, in_channels: int, classes: int, *, bins: int = 64, tracks: int = 3, elements: int = 3):
        super().__init__()
        self.classes, self.tracks = classes, tracks
        self.conv_blocks = nn.ModuleList(ConvBlock(width, FILTERS) for width in (in_channels, FILTERS, FILTERS))
        self.gru = MultiplyingGRU(values_of(bins))
        self.mhsa_layers, self.layer_norms = attention_blocks()
        self.fnn_list = nn.ModuleList([nn.Linear(UNITS, UNITS), nn.Linear(UNITS, elements * tracks * classes)])

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """(batch, maps, T, bins) -> (batch, tracks, x y distance (onscreen), classes, T // 5)."""
        return self.activated(self.embedded(audio))

    def embedded(self, audio: Tensor) -> Tensor:
        """(batch, maps, T, bins) -> (batch, T // 5, 128), behind the self-attention."""
        x = convolved(audio, self.conv_blocks, DROPOUT, self.training)  # type: ignore[arg-type]
        return attended(self.gru(x), self.mhsa_layers, self.layer_norms)  # type: ignore[arg-type]

    def activated(self, x: Tensor) -> Tensor:
        """(batch, steps, 128) -> outputs in tracks: x and y within -1..1, a distance from 0, a probability."""
        for layer in self.fnn_list:
            x = layer(x)
        x = in_tracks(x, self.tracks, self.classes)
        parts = [torch.tanh(x[:, :, :2]), torch.relu(x[:, :, 2:3]), torch.sigmoid(x[:, :, 3:])]
        return torch.cat(parts, dim=2)


class AudioVisualSELDnet2025(VisualFusion, SELDnet2025):
    """The same with pictures, which say also what is on the screen.

    Parameters
    ----------
    others : see `SELDnet2025`
    """

    def __init__(self, in_channels: int, classes: int, *, bins: int = 64, tracks: int = 3, elements: int = 4):
        SELDnet2025.__init__(self, in_channels, classes, bins=bins, tracks=tracks, elements=elements)
        self.add_visual_branch()

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """As `SELDnet2025`, with visual (batch, looks, 7, 7)."""
        return self.activated(self.fused(self.embedded(audio), visual))
