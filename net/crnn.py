"""The audio-visual CRNN of the DCASE 2023 baseline, and its audio-only form."""

from __future__ import annotations

from torch import Tensor, nn

from net.conv_block import conv_norm_relu_pool
from net.layers import EMBEDDING, AudioVisualNetwork


class ConvEncoder(nn.Module):
    """Three convolution blocks and the mean over frequency: (batch, channels, 128, 257) -> (batch, 64, 8)."""

    POOLS = ((4, 4), (2, 4), (2, 2))  # (time, frequency)

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, EMBEDDING, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(EMBEDDING)
        self.conv2 = nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(EMBEDDING)
        self.conv3 = nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        blocks = ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        for (conv, bn), pool in zip(blocks, self.POOLS):
            x = conv_norm_relu_pool(x, conv, bn, pool)
        return x.mean(dim=3)


class AudioVisualCRNN(AudioVisualNetwork):
    """Convolutional recurrent network of sony/audio-visual-seld-dcase2023 (arXiv 2306.09126), names as there.

    Without `visual` it is the same network without the video input (64 GRU inputs), the audio-only baseline.

    Parameters
    ----------
    in_channels : maps of the audio feature (7 for FOA and MIC, 3 for binaural)
    classes : number of classes
    """

    def __init__(self, in_channels: int, classes: int, *, visual: bool = True):
        super().__init__(ConvEncoder(in_channels), classes, visual=visual)
