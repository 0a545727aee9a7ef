"""What the networks of the DCASE baselines since 2022 share: convolutions, GRU, attention, visual branch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from net.conv_block import conv_norm_relu_pool

FILTERS, UNITS, DROPOUT = 64, 128, 0.05
FREQUENCY_POOLS = (4, 4, 2)
TIME_POOL = 5  # feature frames of 20 ms in a label frame
PICTURE = 7 * 7  # values of the visual feature of a label frame


class ConvBlock(nn.Module):
    """3x3 convolution and batch norm; pooling and dropout follow in `convolved`."""

    def __init__(self, in_channels: int, filters: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, 3, padding=1)
        self.bn = nn.BatchNorm2d(filters)


def blocks_as_published(in_channels: int) -> nn.ModuleList:
    """Three convolution blocks at 0, 3 and 6: the references of 2022 to 2024 count pooling and dropout among them."""
    layers: list[nn.Module] = []
    for width in (in_channels, FILTERS, FILTERS):
        layers += [ConvBlock(width, FILTERS), nn.Identity(), nn.Identity()]
    return nn.ModuleList(layers)


def convolved(x: Tensor, blocks: Sequence[ConvBlock], dropout: float, training: bool) -> Tensor:
    """(batch, maps, T, bins) -> (batch, T // 5, values), channel-major: with ReLU, max pooling, channel dropout."""
    for number, (block, pool) in enumerate(zip(blocks, FREQUENCY_POOLS)):
        x = conv_norm_relu_pool(x, block.conv, block.bn, (TIME_POOL if number == 0 else 1, pool))
        x = functional.dropout2d(x, dropout, training)
    return x.transpose(1, 2).flatten(2)


def values_of(bins: int) -> int:
    """Values of a label frame behind the convolutions.

    Raises
    ------
    ValueError : nothing is left of the bins
    """
    for pool in FREQUENCY_POOLS:
        bins //= pool
    if not bins:
        raise ValueError("nothing is left of the frequency bins behind the pooling")
    return FILTERS * bins


class MultiplyingGRU(nn.GRU):
    """Two bidirectional GRU layers; tanh of their output, the backward half times the forward half."""

    def __init__(self, size: int, units: int = UNITS, dropout: float = DROPOUT):
        super().__init__(size, units, num_layers=2, batch_first=True, bidirectional=True, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(batch, steps, size) -> (batch, steps, units)."""
        if x.device.type == "cpu":  # in bfloat16 it takes twice the time there
            with torch.autocast("cpu", enabled=False):
                made, _ = super().forward(x.float())
        else:
            made, _ = super().forward(x)
        forward, backward = torch.tanh(made).chunk(2, dim=-1)
        return backward * forward


def attended(x: Tensor, blocks: Sequence[nn.MultiheadAttention], norms: Sequence[nn.LayerNorm]) -> Tensor:
    """Blocks of self-attention, each added to what comes in and normalised; no positions are told."""
    for attention, norm in zip(blocks, norms):
        x = norm(x + attention(x, x, x, need_weights=False)[0])
    return x


def attention_blocks(count: int = 2, heads: int = 8) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Attention layers and their norms."""
    blocks = (nn.MultiheadAttention(UNITS, heads, dropout=DROPOUT, batch_first=True) for _ in range(count))
    return nn.ModuleList(blocks), nn.ModuleList(nn.LayerNorm(UNITS) for _ in range(count))


class VisualFusion(nn.Module):
    """What networks with pictures add: each label frame of sound looks at the pictures of its whole sequence.

    The layer that the decoder's layers are copies of stays registered, as in the reference: its weights stand in every
    published file, and nothing uses them.
    """

    def add_visual_branch(self) -> None:
        """Make its layers, behind those of the network."""
        self.visual_embed_to_d_model = nn.Linear(PICTURE, UNITS)
        self.transformer_decoder_layer = nn.TransformerDecoderLayer(UNITS, 8, batch_first=True)
        self.transformer_decoder_layer.requires_grad_(False)
        self.transformer_decoder = nn.TransformerDecoder(self.transformer_decoder_layer, 2)
        self.transformer_decoder.requires_grad_(True)

    def fused(self, x: Tensor, visual: Tensor | None) -> Tensor:
        """Sound (batch, steps, 128), pictures (batch, looks, 7, 7) or (batch, looks, 49) -> (batch, steps, 128)."""
        if visual is None:
            raise ValueError("this network looks at pictures: give visual (batch, looks, 7, 7)")
        return self.transformer_decoder(x, self.visual_embed_to_d_model(visual.flatten(2).to(x.dtype)))


def in_tracks(x: Tensor, tracks: int, classes: int) -> Tensor:
    """Outputs (batch, steps, tracks x elements x classes) -> (batch, tracks, elements, classes, steps)."""
    return x.transpose(1, 2).unflatten(1, (tracks, -1, classes))
