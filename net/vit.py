"""A vision transformer over time: the audio encoder that the fork's `vis_transformer` meant to be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from net.conv_block import conv_norm_relu_pool
from net.layers import EMBEDDING, AudioVisualNetwork, TransformerBlock


class TimeTokenEncoder(nn.Module):
    """(batch, channels, 128 frames, 257 bins) -> (batch, 64, 8 steps); one token per frame, then per 4 frames.

    Convolution 3x3 to 16 channels, batch norm, ReLU, pooling to 64 bands; a linear layer makes a 128-dimensional token
    of each frame; learned position embedding; two transformer blocks, each followed by max pooling of 4 over time.
    """

    FRAMES, BANDS, FILTERS, DIMENSION = 128, 64, 16, 128

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, self.FILTERS, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(self.FILTERS)
        self.embed = nn.Linear(self.FILTERS * self.BANDS, self.DIMENSION)
        self.position = nn.Parameter(torch.zeros(1, self.FRAMES, self.DIMENSION))
        self.block1 = TransformerBlock(self.DIMENSION, heads=4, hidden=512)
        self.block2 = TransformerBlock(self.DIMENSION, heads=4, hidden=512)
        self.project = nn.Linear(self.DIMENSION, EMBEDDING)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = conv_norm_relu_pool(x, self.conv1, self.bn1, (1, 4))
        x = self.embed(x.transpose(1, 2).flatten(2)) + self.position
        x = self.block1(x)
        x = functional.max_pool2d(x, (4, 1))
        x = self.block2(x)
        x = functional.max_pool2d(x, (4, 1))
        return self.project(x).transpose(1, 2)


class VisionTransformer(AudioVisualNetwork):
    """Audio-visual network with time tokens; parameters as `net.crnn.AudioVisualCRNN`."""

    def __init__(self, in_channels: int, classes: int, *, visual: bool = True):
        super().__init__(TimeTokenEncoder(in_channels), classes, visual=visual)
