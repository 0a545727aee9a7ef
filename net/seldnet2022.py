"""Network of the DCASE 2022 baseline: convolutions, GRU, optionally one block of self-attention, ACCDOA outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from net.crnn_parts import DROPOUT, UNITS, MultiplyingGRU, blocks_as_published, convolved, in_tracks, values_of


class SELDnet2022(nn.Module):
    """CRNN of the DCASE 2022 baseline (repository sharathadavanne/seld-dcase2022); its weights keep their names.

    Parameters
    ----------
    in_channels, bins : maps and bins of the audio feature
    classes : number of classes
    tracks : 3 (Multi-ACCDOA) or 1 (ACCDOA)
    attention_heads : of a block of self-attention behind the GRU, without residual; 0: none, as published

    Raises
    ------
    ValueError : nothing is left of the bins
    """

    def __init__(self, in_channels: int, classes: int, *, bins: int = 64, tracks: int = 3, attention_heads: int = 0):
        super().__init__()
        self.classes, self.tracks = classes, tracks
        self.conv_block_list = blocks_as_published(in_channels)
        self.gru = MultiplyingGRU(values_of(bins))
        self.attn = Attention(attention_heads) if attention_heads else None
        self.fnn_list = nn.ModuleList([nn.Linear(UNITS, UNITS), nn.Linear(UNITS, 3 * tracks * classes)])

    def forward(self, audio: Tensor, visual: None = None) -> Tensor:
        """(batch, maps, T, bins) -> (batch, tracks, 3, classes, T // 5); of one track (batch, 3, classes, T // 5)."""
        x = convolved(audio, self.conv_block_list[::3], DROPOUT, self.training)  # type: ignore[arg-type]
        x = self.gru(x)
        if self.attn is not None:
            x = torch.tanh(self.attn(x))
        for layer in self.fnn_list:
            x = layer(x)
        made = in_tracks(torch.tanh(x), self.tracks, self.classes)
        return made if self.tracks > 1 else made[:, 0]


class Attention(nn.Module):
    """Multi-head self-attention with layers of its own for queries, keys, values and output."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.fc_q, self.fc_k, self.fc_v, self.fc_o = (nn.Linear(UNITS, UNITS) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, steps, 128) -> the same."""
        parts = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.fc_q, self.fc_k, self.fc_v))
        return self.fc_o(functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
