"""The ViT of the MRSAudio fork, with its exchanged axes: for parity with its checkpoints, not for new work."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from net.layers import AudioVisualNetwork, TransformerBlock


class FrequencyTokenEncoder(nn.Module):
    """(batch, channels, 128, 257) -> (batch, 64, 8), whose 8 are frequency bands and whose 64 are pairs of frames.

    The tokens are frequency bands with the 128 frames as embedding, so the recurrent layer behind runs along frequency
    where it should run along time. The fork published it so; `net.vit` has time tokens.
    """

    FRAMES = 128

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(self.FRAMES)
        self.conv2 = TransformerBlock(self.FRAMES, heads=4, hidden=512)
        self.conv3 = TransformerBlock(self.FRAMES, heads=4, hidden=512)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x).squeeze(1)))
        x = functional.max_pool1d(x, 4).transpose(1, 2)
        x = self.conv2(x)
        x = self.conv3(functional.max_pool2d(x, (4, 1)))
        return functional.max_pool2d(x, 2).transpose(1, 2)


class VisTransformer(AudioVisualNetwork):
    """The fork's audio-visual network with the encoder above; parameters as `net.crnn.AudioVisualCRNN`."""

    def __init__(self, in_channels: int, classes: int, *, visual: bool = True):
        super().__init__(FrequencyTokenEncoder(in_channels), classes, visual=visual)
