"""A compact YOLOX: convolutional backbone, feature pyramid with path aggregation, decoupled anchor-free head."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU (which onnxruntime fuses into the convolution, unlike SiLU)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.ReLU(inplace=True),
        )


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution with a shortcut."""

    def __init__(self, channels: int, shortcut: bool):
        super().__init__()
        self.reduce, self.conv, self.shortcut = Conv(channels, channels, 1), Conv(channels, channels), shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(self.reduce(x))
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Cross-stage partial block: half of the channels pass through bottlenecks, the other half around them."""

    def __init__(self, inputs: int, outputs: int, depth: int, *, shortcut: bool = True):
        super().__init__()
        half = outputs // 2
        self.through, self.around = Conv(inputs, half, 1), Conv(inputs, half, 1)
        self.blocks = nn.Sequential(*[Bottleneck(half, shortcut) for _ in range(depth)])
        self.join = Conv(2 * half, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.join(torch.cat([self.blocks(self.through(x)), self.around(x)], dim=1))


class PyramidPooling(nn.Module):
    """Maxima over 5x5, 9x9 and 13x13 neighbourhoods beside the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce, self.join = Conv(channels, channels // 2, 1), Conv(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.reduce(x)]
        for _ in range(3):
            levels.append(functional.max_pool2d(levels[-1], 5, stride=1, padding=2))
        return self.join(torch.cat(levels, dim=1))


class Head(nn.Module):
    """Objectness, class and box of each cell; one set of weights for all strides."""

    def __init__(self, channels: int, width: int, classes: int):
        super().__init__()
        self.class_conv = Conv(channels, width)
        self.box_conv = nn.Sequential(Conv(channels, width), Conv(width, width))
        self.class_out, self.box_out = nn.Conv2d(width, classes, 1), nn.Conv2d(width, 5, 1)
        rare = -math.log((1 - 0.01) / 0.01)  # nearly all cells are background: start from there
        class_bias, box_bias = torch.full((classes,), rare), torch.tensor([0.0] * 4 + [rare])
        self.class_out.bias, self.box_out.bias = nn.Parameter(class_bias), nn.Parameter(box_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) -> (B, h w, 5 + classes) logits: dx, dy, log w, log h, objectness, classes."""
        out = torch.cat([self.box_out(self.box_conv(x)), self.class_out(self.class_conv(x))], dim=1)
        return out.flatten(2).permute(0, 2, 1)


class CompactYolox(nn.Module):
    """Pictures -> raw YOLOX output.

    Parameters
    ----------
    classes : number of classes
    export : give probabilities instead of logits, as the official onnx files do
    """

    def __init__(self, classes: int = 1, *, export: bool = False):
        super().__init__()
        self.export = export
        self.stem = nn.Sequential(Conv(3, 16, 3, 2), Conv(16, 32, 3, 2), CrossStage(32, 32, 1))
        self.stage8 = nn.Sequential(Conv(32, 64, 3, 2), CrossStage(64, 64, 2))
        self.stage16 = nn.Sequential(Conv(64, 112, 3, 2), CrossStage(112, 112, 2))
        self.stage32 = nn.Sequential(Conv(112, 128, 3, 2), PyramidPooling(128), CrossStage(128, 128, 1, shortcut=False))
        width = 64
        self.lateral32, self.lateral16, self.lateral8 = Conv(128, width, 1), Conv(112, width, 1), Conv(64, width, 1)
        self.down16 = CrossStage(2 * width, width, 1, shortcut=False)
        self.down8 = CrossStage(2 * width, width, 1, shortcut=False)
        self.reduce8, self.reduce16 = Conv(width, width, 3, 2), Conv(width, width, 3, 2)
        self.up16 = CrossStage(2 * width, width, 1, shortcut=False)
        self.up32 = CrossStage(2 * width, width, 1, shortcut=False)
        self.head = Head(width, 48, classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """BGR 0..255 (B, 3, H, W), sides multiples of 32 -> (B, anchors, 5 + classes), strides 8, 16, 32."""
        x8 = self.stage8(self.stem((pictures - 114.0) / 64.0))
        x16 = self.stage16(x8)
        p32 = self.lateral32(self.stage32(x16))
        p16 = self.down16(torch.cat([self.lateral16(x16), functional.interpolate(p32, scale_factor=2.0)], dim=1))
        p8 = self.down8(torch.cat([self.lateral8(x8), functional.interpolate(p16, scale_factor=2.0)], dim=1))
        p16 = self.up16(torch.cat([p16, self.reduce8(p8)], dim=1))
        p32 = self.up32(torch.cat([p32, self.reduce16(p16)], dim=1))
        raw = torch.cat([self.head(p) for p in (p8, p16, p32)], dim=1)
        return torch.cat([raw[..., :4], raw[..., 4:].sigmoid()], dim=-1) if self.export else raw
