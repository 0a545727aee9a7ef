"""Network of the DCASE 2023 baseline: convolutions, GRU, two blocks of self-attention, ACCDOA outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from net.crnn_parts import (
    DROPOUT,
    UNITS,
    MultiplyingGRU,
    attended,
    attention_blocks,
    blocks_as_published,
    convolved,
    in_tracks,
    values_of,
)


class SELDnet2023(nn.Module):
    """CRNN of the DCASE 2023 baseline (repository sharathadavanne/seld-dcase2023); its weights keep their names.

    Parameters
    ----------
    in_channels, bins : maps and bins of the audio feature
    classes : number of classes
    tracks : 3 (Multi-ACCDOA) or 1 (ACCDOA)
    elements : outputs of a track and class

    Raises
    ------
    ValueError : nothing is left of the bins
    """

    def __init__(self, in_channels: int, classes: int, *, bins: int = 64, tracks: int = 3, elements: int = 3):
        super().__init__()
        self.classes, self.tracks = classes, tracks
        self.conv_block_list = blocks_as_published(in_channels)
        self.gru = MultiplyingGRU(values_of(bins))
        self.mhsa_block_list, self.layer_norm_list = attention_blocks()
        self.fnn_list = nn.ModuleList([nn.Linear(UNITS, UNITS), nn.Linear(UNITS, elements * tracks * classes)])

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """(batch, maps, T, bins) -> (batch, tracks, 3, classes, T // 5); of one track (batch, 3, classes, T // 5)."""
        made = in_tracks(torch.tanh(self.outputs(self.embedded(audio))), self.tracks, self.classes)
        return made if self.tracks > 1 else made[:, 0]

    def embedded(self, audio: Tensor) -> Tensor:
        """(batch, maps, T, bins) -> (batch, T // 5, 128), behind the self-attention."""
        x = convolved(audio, self.conv_block_list[::3], DROPOUT, self.training)  # type: ignore[arg-type]
        return attended(self.gru(x), self.mhsa_block_list, self.layer_norm_list)  # type: ignore[arg-type]

    def outputs(self, x: Tensor) -> Tensor:
        """(batch, steps, 128) -> (batch, steps, outputs), without activation."""
        for layer in self.fnn_list:
            x = layer(x)
        return x
