"""ResNet-50 without its pooling and classifier: what the DCASE baselines of 2024 and 2025 look at pictures with.

Written out here, with torchvision's names, since torchvision's wheels load only beside a CUDA build of PyTorch: its
published weights are all that is taken from there.
"""

from __future__ import annotations

from torch import Tensor, nn

CLASSIFIER = ("fc.weight", "fc.bias")  # in the published file, and not here


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, as in version 1.5) and 1x1 convolution beside a shortcut.

    Parameters
    ----------
    channels : that come in
    width : of the 3x3 convolution; four times as many go out
    """

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    """Pictures (batch, 3, 224, 224), normalised -> (batch, 2048, 7, 7), the last feature maps.

    Reference: He et al., 'Deep residual learning for image recognition', CVPR 2016; names and strides of torchvision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for number, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            made = []
            for block in range(blocks):
                made.append(Bottleneck(channels, width, 2 if number > 1 and block == 0 else 1))
                channels = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*made))

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return x
