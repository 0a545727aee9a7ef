"""The network of this project: it listens at 10 frames a second, and points at what it sees.

Hearing. A stem of convolutions pools to the frames of the output at once, a GRU and attention follow. For every track
and class the activity is a logistic output; the direction is a weighted mean of the directions that the feature
measures (`feature.logmel_direction`), with weights over the mel bands and the feature frames of a label frame that the
network chooses, and a correction. So the network learns which cells of the spectrogram belong to a sound, and physics
says where from; what it knows of one direction it knows of all.

Seeing. Objects are tokens (`feature.objects`). A pointer compares, per frame, track and class, what it hears with every
object: how far the sound's direction lies from the point of the object that sounds of the class come from (speech at
the head, steps at the feet: learnt), and how often such an object makes such a sound. Attention over the objects and
"none" moves the direction. No object, no change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from feature.logmel_direction import level_above_mean
from feature.objects import AZIMUTH, CLASS, ELEVATION, HEIGHT, SCORE, WIDTH
from net.conv_block import conv_norm_relu_pool
from net.layers import TransformerBlock

TRACKS, AXES = 3, 3
STEP_FRAMES = 5  # feature frames of a label frame
OBJECT_CLASSES = 81  # 80 of COCO from 1 on; 0 is none
_RARE = -4.0  # logit of an activity before anything is learnt: most cells are silent


class Stem(nn.Module):
    """(batch, maps, frames, bins) -> (batch, frames // 5, channels): convolutions, each pooling the bins by two."""

    def __init__(self, maps: int, bins: int, filters: tuple[int, ...], channels: int):
        super().__init__()
        sizes = zip((maps, *filters), filters)
        self.convs = nn.ModuleList(nn.Conv2d(size, out, 3, padding=1, bias=False) for size, out in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(out) for out in filters)
        self.out = nn.Linear(filters[-1] * (bins >> len(filters)), channels)

    def forward(self, x: Tensor) -> Tensor:
        pool = (STEP_FRAMES, 2)
        for conv, norm in zip(self.convs, self.norms):
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            x = conv_norm_relu_pool(x, conv, norm, pool)
            pool = (1, 2)
        return self.out(x.transpose(1, 2).flatten(2))


class Pointer(nn.Module):
    """Move directions towards the objects that are heard.

    Parameters
    ----------
    classes : of sounds
    channels : of what is heard
    """

    def __init__(self, classes: int, channels: int):
        super().__init__()
        self.classes = classes
        self.part = nn.Parameter(
            torch.zeros(classes)
        )  # where on an object its sound comes from: 0 the middle, 1 the top
        self.sharpness = nn.Parameter(torch.full((classes,), math.log(30.0)))  # 1 / (1 - cos 15 degrees)
        self.affinity = nn.Embedding(OBJECT_CLASSES, classes)
        self.none = nn.Linear(channels, classes)
        nn.init.zeros_(self.affinity.weight)
        nn.init.zeros_(self.none.weight)
        nn.init.constant_(self.none.bias, 1.0)

    def forward(self, direction: Tensor, heard: Tensor, objects: Tensor) -> Tensor:
        """Directions moved to what is seen.

        Parameters
        ----------
        direction : (batch, frames, 3 tracks, classes, 3) unit vectors
        heard : (batch, frames, channels)
        objects : (batch, frames or 1, n, 6) tokens

        Returns
        -------
        as `direction`
        """
        if not objects.shape[2]:
            return direction
        there = objects[..., CLASS] > 0
        elevation = objects[..., ELEVATION, None] + 0.5 * objects[..., HEIGHT, None] * torch.tanh(self.part)
        azimuth = objects[..., AZIMUTH, None].expand_as(elevation)  # (batch, frames, n, classes)
        flat = elevation.cos()
        points = torch.stack((flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()), dim=-1)
        near = torch.einsum("btkcx,btncx->btkcn", direction, points) - 1
        likely = self.affinity(objects[..., CLASS].long()) + objects[..., SCORE, None].clamp(min=1e-3).log()
        logits = near * self.sharpness.exp()[:, None] + likely.transpose(2, 3)[:, :, None]
        logits = logits.masked_fill(~there[:, :, None, None], -1e4)
        none = self.none(heard)[:, :, None, :, None].expand_as(logits[..., :1])
        share = torch.cat((none, logits), dim=-1).softmax(dim=-1)
        moved = share[..., :1] * direction + torch.einsum("btkcn,btncx->btkcx", share[..., 1:], points)
        return functional.normalize(moved, dim=-1, eps=1e-4)


class AvSeld(nn.Module):
    """Features and objects -> Multi-ACCDOA.

    Parameters
    ----------
    maps, bins : of the feature; the first plane holds levels in dB from 0 on
    classes : number of classes C
    visual : with the pointer
    measured : the planes 1 to 3 of the feature are directions x, y, z; without, directions are learnt alone
    filters, channels, layers : of the stem, of what follows it, blocks of attention
    dropout : share of the channels that training drops before the outputs
    masks : number of stripes of frames and of bands that training masks, each
    """

    def __init__(
        self,
        maps: int,
        classes: int,
        *,
        bins: int = 64,
        visual: bool = True,
        measured: bool = True,
        filters: tuple[int, ...] = (24, 32, 48, 64),
        channels: int = 128,
        layers: int = 1,
        dropout: float = 0.1,
        masks: int = 2,
    ):
        super().__init__()
        self.classes, self.bins, self.visual, self.measured, self.masks = classes, bins, visual, measured, masks
        self.stem = Stem(maps, bins, filters, channels)
        self.gru = nn.GRU(channels, channels // 2, batch_first=True, bidirectional=True)
        self.blocks = nn.ModuleList(TransformerBlock(channels, 4, 2 * channels) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.activity = nn.Linear(channels, TRACKS * classes)
        self.correction = nn.Linear(channels, TRACKS * classes * AXES)
        nn.init.constant_(self.activity.bias, _RARE)
        if measured:
            self.weights = nn.Linear(channels, TRACKS * classes * (bins + STEP_FRAMES))
            nn.init.normal_(self.correction.weight, std=0.01)
            nn.init.zeros_(self.correction.bias)
        self.pointer = Pointer(classes, channels) if visual else None

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """Features of windows and what is seen -> raw Multi-ACCDOA output.

        Parameters
        ----------
        audio : (batch, maps, frames, bins), frames a multiple of 5
        visual : (batch, frames // 5, n, 6) tokens of objects, n may be 0; None: nothing is seen

        Returns
        -------
        (batch, 3 tracks, 3 axes, classes, frames // 5)
        """
        level, rest = level_above_mean(audio[:, :1]), audio[:, 1:]
        if self.training:
            level, rest = self._varied(level, rest)
        heard = self._heard(torch.cat((level, rest), dim=1))
        batch, frames, _ = heard.shape
        shape = (batch, frames, TRACKS, self.classes)
        activity = self.activity(heard).float().sigmoid().view(*shape, 1)
        direction = self.correction(heard).float().view(*shape, AXES)
        if self.measured:
            direction = direction + self._measured(heard, audio[:, 1:4], shape)
        direction = functional.normalize(direction, dim=-1, eps=1e-4)
        if self.pointer is not None and visual is not None:
            seen = self._seen_varied(visual) if self.training else visual
            direction = self.pointer(direction, heard, seen[:, :frames])
        return (activity * direction).permute(0, 2, 4, 3, 1)

    def _heard(self, x: Tensor) -> Tensor:
        """(batch, frames // 5, channels)."""
        x = self.stem(x)
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            x = x + self.gru(x)[0]
        for block in self.blocks:
            x = block(x)
        return self.dropout(self.norm(x))

    def _measured(self, heard: Tensor, directions: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        """The measured directions in the cells that a track and class looks at: (batch, frames, tracks, classes, 3)."""
        weights = self.weights(heard).float().view(*shape, self.bins + STEP_FRAMES)
        bands, moments = weights[..., : self.bins].softmax(-1), weights[..., self.bins :].softmax(-1)
        batch, frames = shape[:2]
        cells = directions[:, :, : frames * STEP_FRAMES].view(batch, AXES, frames, STEP_FRAMES, self.bins)
        flat = cells.permute(0, 2, 4, 3, 1).reshape(batch, frames, self.bins, STEP_FRAMES * AXES)
        over_bands = (bands.flatten(2, 3) @ flat).view(*shape, STEP_FRAMES, AXES)
        return (moments.unsqueeze(-2) @ over_bands).squeeze(-2)

    def _varied(self, level: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Training: another equalisation of every window, stripes of frames and of bands masked."""
        batch, _, frames, bins = level.shape
        knots = torch.randn(batch, 1, 8, device=level.device) * (3 / 20)
        curve = functional.interpolate(knots, size=bins, mode="linear", align_corners=True)
        level = level + curve[:, :, None]
        keep = torch.ones(batch, 1, frames, bins, device=level.device)
        for _ in range(self.masks):
            for axis, length, most in ((2, frames, frames // 10), (3, bins, bins // 8)):
                width = torch.rand(batch, device=level.device) * most
                first = torch.rand(batch, device=level.device) * (length - width)
                place = torch.arange(length, device=level.device)
                inside = (place >= first[:, None]) & (place < (first + width)[:, None])
                shape = (batch, 1, length, 1) if axis == 2 else (batch, 1, 1, length)
                keep = keep.masked_fill(inside.view(shape), 0.0)
        return level * keep - 2 * (1 - keep), rest * keep

    def _seen_varied(self, objects: Tensor) -> Tensor:
        """Training: objects that the detector misses, misplaces by a degree or two, makes up; windows without any."""
        batch, frames, count, _ = objects.shape
        if not count:
            return objects
        place = objects.device
        made_up = torch.stack(
            (
                (torch.rand(batch, count, device=place) - 0.5) * 2 * math.pi,
                torch.randn(batch, count, device=place) * 0.15 - 0.15,
                0.1 + 0.2 * torch.rand(batch, count, device=place),
                0.4 + 0.8 * torch.rand(batch, count, device=place),
                torch.ones(batch, count, device=place),
                torch.ones(batch, count, device=place),
            ),
            dim=-1,
        )
        false = (torch.rand(batch, count, device=place) < 0.15)[:, None, :] & (objects[..., CLASS] == 0)
        objects = torch.where(false[..., None], made_up[:, None], objects)
        shift = torch.zeros_like(objects)
        shift[..., [AZIMUTH, ELEVATION]] = torch.randn(batch, 1, count, 2, device=place) * math.radians(1.0)
        scale = torch.ones_like(objects)
        scale[..., [WIDTH, HEIGHT]] = 1 + 0.08 * torch.randn(batch, 1, count, 2, device=place)
        missed = (torch.rand(batch, 1, count, device=place) < 0.1) | (
            torch.rand(batch, frames, count, device=place) < 0.1
        )
        blind = (torch.rand(batch, 1, 1, device=place) < 0.15).expand_as(missed)
        return torch.where((missed | blind)[..., None], 0.0, (objects + shift) * scale)
