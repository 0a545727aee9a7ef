"""Layers that several networks share: transformer block, visual branch, recurrent decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING = 64
STEP_FRAMES = 16  # feature frames per step of the recurrent layer


class Attention(nn.Module):
    """Multi-head self-attention of (batch, tokens, dimension); queries, keys and values without bias."""

    def __init__(self, dimension: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dimension, 3 * dimension, bias=False)
        self.proj = nn.Linear(dimension, dimension)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dimension = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dimension // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, dimension))


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dimension: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dimension, hidden)
        self.fc2 = nn.Linear(hidden, dimension)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Pre-norm transformer block (batch, tokens, dimension) -> the same: x + attention(norm x), then x + mlp(norm x).

    Linear weights start from a normal distribution of deviation 0.02 cut at 2, biases from 0 (as in the ViT code that
    the reference took it from).
    """

    def __init__(self, dimension: int, heads: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dimension)
        self.attn = Attention(dimension, heads)
        self.norm2 = nn.LayerNorm(dimension)
        self.mlp = Mlp(dimension, hidden)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class AudioVisualNetwork(nn.Module):
    """Audio encoder, visual branch, bidirectional GRU and Multi-ACCDOA output; the encoder is what networks differ in.

    Parameters
    ----------
    audio_encoder : (batch, channels, frames, bins) -> (batch, 64, frames // 16)
    classes : number of classes C
    visual : with the visual branch; without, the GRU sees the 64 audio values alone
    """

    def __init__(self, audio_encoder: nn.Module, classes: int, *, visual: bool = True):
        super().__init__()
        self.classes, self.visual = classes, visual
        self.audio_encoder = audio_encoder
        if visual:
            # Two linear layers without activation between or after them, as the reference has them.
            self.vision_encoder = nn.Sequential(nn.Linear(2 * 6 * 37, EMBEDDING), nn.Linear(EMBEDDING, EMBEDDING))
        size = 2 * EMBEDDING if visual else EMBEDDING
        self.gru = nn.GRU(size, 256, num_layers=1, batch_first=True, bidirectional=True)
        self.fc_xyz = nn.Linear(512, 9 * classes)

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """Window features -> raw Multi-ACCDOA output.

        Parameters
        ----------
        audio : (batch, channels, 128 frames, 257 bins)
        visual : (batch, 2, 6, 37) vectors of the person boxes; None only for a network without visual branch

        Returns
        -------
        (batch, 3 tracks, 3 axes, classes, 128 frames)
        """
        x = self.steps(audio, visual)
        batch, steps, _ = x.shape
        x = x.transpose(1, 2).reshape(batch, 3, 3, self.classes, steps, 1)
        return x.expand(-1, -1, -1, -1, -1, STEP_FRAMES).reshape(batch, 3, 3, self.classes, steps * STEP_FRAMES)

    def steps(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """The output before each step is repeated 16 times: (batch, 8, 9 classes)."""
        x = self.audio_encoder(audio)
        if self.visual:
            if visual is None:
                raise ValueError("this network has a visual branch: give visual (batch, 2, 6, 37)")
            boxes = self.vision_encoder(visual.flatten(1))
            x = torch.cat((x, boxes.to(x.dtype)[:, :, None].expand(-1, -1, x.shape[2])), dim=1)
        x = x.transpose(1, 2)
        if x.device.type == "cpu":  # in bfloat16 it takes twice the time there (measured: 7.4 against 3.3 ms)
            with torch.autocast("cpu", enabled=False):
                x, _ = self.gru(x.to(self.gru.weight_ih_l0.dtype))
        else:
            x, _ = self.gru(x)
        return self.fc_xyz(x)
