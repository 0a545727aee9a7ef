"""The network of this project: it listens at 10 frames a second, and points at what it sees.

Hearing. A stem of convolutions pools to the frames of the output at once, a GRU and attention follow. For every track
and class the activity is a logistic output; the direction is a weighted mean of the directions that the feature
measures (`feature.logmel_direction`), and a correction. Cells of the spectrogram count by how far their level rises,
since a beginning is heard before its echoes, and by weights that the network chooses: over the mel bands and the
feature frames of a label frame, and over the label frames half a second to either side, because most sources stay
where they are. So the network learns which cells belong to a sound, and physics says where from; what it knows of one
direction it knows of all.

Seeing. Objects are tokens (`feature.objects`). A pointer compares, per frame, track and class, what it hears with every
object: how much of what is heard in the sound's bands comes from the object's azimuth, how far the sound's direction
lies from the point of the object that sounds of the class come from (speech at the head, steps at the feet: learnt),
and how often such an object makes such a sound. Attention over the objects and "none" moves the direction. No object,
no change; and none by an object of a class that training has not shown, which the weights remember (`Pointer.shown`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from feature.logmel_direction import level_above_mean
from feature.objects import AZIMUTH, CLASS, ELEVATION, HEIGHT, SCORE, WIDTH
from feature.traced import plus
from net.conv_block import conv_norm_relu_pool
from net.layers import TransformerBlock
from util.coco import COCO_CLASSES, USUAL_HEIGHTS_M
from util.objects import PEOPLE_ROWS, PERSON

TRACKS, AXES = 3, 3
STEP_FRAMES = 5  # feature frames of a label frame
OBJECT_CLASSES = 1 + len(COCO_CLASSES)  # from 1 on; 0 is none
_UNLIKELY = -6.0  # logit of a sound from an object of a class of which nothing is learnt
_FURNITURE = -4.0  # the same of things, before training has said which of them sound
CONTEXT = 5  # label frames before and after one whose measured directions count for it
SMOOTHED = 7  # label frames over which the field is averaged that objects are compared with
_STEADY, _RISE_DB = 0.3, 6.0  # weight in dB of a cell whose level does not rise, and the rise that counts at most
_UNSEEN = -2.0  # logit of "none" for two ears: who stands where they cannot tell front from back is taken to be heard
_QUICK = 10.0  # few numbers of a pointer have a long way to go
_SHIFT = 3  # mel bands by which training moves a window at most
_EQUALISED_DB = 5.0  # standard deviation of the curve that training adds to the levels
_USUAL_M = 2.0  # distance of a source of which nothing is known
_CHEST = 0.7  # a place on an object before tanh
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


def firsthand(levels: Tensor, directions: Tensor) -> Tensor:
    """Measured directions as vectors whose length says how much a cell tells of the direct sound.

    A cell counts by its level's rise in dB over the two frames before, and by how little diffuse it is: echoes come
    after the direct sound. Of single sources in rooms of 0.15 to 0.9 s the mean over 1.1 s was 4.4 degrees off in the
    median so, and 5.5 with equal weights.

    Parameters
    ----------
    levels : (batch, 1, frames, bins) in dB
    directions : (batch, 3, frames, bins), shorter the more diffuse

    Returns
    -------
    (batch, 3, frames, bins), the mean weight of a window is 1
    """
    before = functional.pad(levels, (0, 0, 2, 0), mode="replicate")
    # 0.0: of an int and a float the exporter makes nothing
    rise_db = (levels - torch.maximum(before[:, :, 1:-1], before[:, :, :-2])).clamp(0.0, _RISE_DB)
    weight = (_STEADY + rise_db) * directions.square().sum(dim=1, keepdim=True).sqrt()
    return directions * (weight / weight.mean(dim=(2, 3), keepdim=True).clamp(min=1e-6))


def _quick(count: int, value: float) -> nn.Parameter:
    """A parameter that an optimiser moves `_QUICK` times as fast as its step would, stored divided by that."""
    return nn.Parameter(torch.full((count,), value / _QUICK))


class Pointer(nn.Module):
    """Move directions towards the objects that are heard.

    Parameters
    ----------
    classes : of sounds
    channels : of what is heard
    measured : directions are measured; else they are known by their lateral angle at best, as two ears know them
    things : objects may be other things than people

    Attributes
    ----------
    shown : (81,) bool, classes of objects that training has shown, the others are not pointed at; None: people alone
    """

    shown: Tensor | None
    height_m: Tensor

    def __init__(self, classes: int, channels: int, *, measured: bool = True, things: bool = False):
        super().__init__()
        self.classes = classes
        people = torch.zeros(OBJECT_CLASSES, dtype=torch.bool)
        people[PERSON] = True
        self.register_buffer("shown", people if things else None)
        self.register_buffer("height_m", torch.tensor([math.nan, *USUAL_HEIGHTS_M]), persistent=False)
        # where on an object its sound comes from: 0 the middle, 1 the top; the chest of a person, until more is known
        self.part = _quick(classes, _CHEST)
        # 1 / (1 - cos angle): how far from an object a direction may lie in azimuth and in elevation, a cell in azimuth
        # of two ears, what they know alone: how far to the side
        self.azimuth_sharpness = _quick(classes, math.log(20.0 if measured else 0.1))
        self.elevation_sharpness = _quick(classes, math.log(5.0 if measured else 0.1))
        self.lateral_sharpness = _quick(classes, math.log(0.1 if measured else 20.0))
        self.field_sharpness = _quick(1, math.log(16.0))
        self.nearer = _quick(classes, 0.0)  # logarithm: a sound's distance in those that boxes say
        self.trust = _quick(classes, 4.0)  # in the field
        self.affinity = nn.Embedding(OBJECT_CLASSES, classes)
        self.none = nn.Linear(channels, classes)
        nn.init.constant_(self.affinity.weight, _UNLIKELY)
        nn.init.zeros_(self.affinity.weight[PERSON])
        # the same of things; at the common rate most would have stayed where they began
        initial = torch.full((OBJECT_CLASSES, classes), _FURNITURE / _QUICK)
        self.thing = nn.Parameter(initial) if things else None
        nn.init.zeros_(self.none.weight)
        nn.init.constant_(self.none.bias, 0.0 if measured else _UNSEEN)

    def heard_there(self, bands: Tensor, field: Tensor, objects: Tensor) -> Tensor:
        """Which share of what a track and class listens to comes from the azimuth of each object, in 0 to 1.

        Parameters
        ----------
        bands : (batch, frames, 3 tracks, classes, bins) weights
        field : (batch, frames, bins, 3) measured directions
        objects : (batch, frames, n, 6) tokens

        Returns
        -------
        (batch, frames, tracks, classes, n)
        """
        azimuth = objects[..., AZIMUTH]
        flat = field[..., :2]
        length = plus(flat.square().sum(dim=-1, keepdim=True), 1e-8).sqrt()
        along = flat @ torch.stack((azimuth.cos(), azimuth.sin()), dim=-2)  # (batch, frames, bins, n)
        near = length * torch.exp((_QUICK * self.field_sharpness).exp() * (along / length - 1))
        weights = bands.flatten(2, 3)
        share = (weights @ near) / (weights @ length + 1e-6)
        return share.unflatten(2, bands.shape[2:4])

    def forward(
        self,
        direction: Tensor,
        heard: Tensor,
        objects: Tensor,
        share: Tensor | None = None,
        log_distance: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Directions, and distances, moved to what is seen.

        Parameters
        ----------
        direction : (batch, frames, 3 tracks, classes, 3) unit vectors
        heard : (batch, frames, channels)
        objects : (batch, frames or 1, n, 6) tokens
        share : (batch, frames, 3 tracks, classes, n) see `heard_there`, where directions are measured
        log_distance : (batch, frames, 3 tracks, classes, 1) logarithms of distances in 2 m; None: there are none

        Returns
        -------
        as `direction`, as `log_distance`
        """
        if not objects.shape[2]:
            return direction, log_distance
        kind = objects[..., CLASS].long()
        person = kind == PERSON
        there = person if self.shown is None else self.shown[kind]
        # of other things the middle sounds
        part = 0.5 * (objects[..., HEIGHT] * person)[..., None] * torch.tanh(_QUICK * self.part)
        elevation = objects[..., ELEVATION, None] + part
        azimuth = objects[..., AZIMUTH, None].expand_as(elevation)  # (batch, frames, n, classes)
        flat = elevation.cos()
        points = torch.stack((flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()), dim=-1)
        logits = self._nearness(direction, points)
        likely = self.affinity(kind)
        if self.thing is not None:
            likely = torch.where(person[..., None], likely, _QUICK * self.thing[kind])
        likely = likely + objects[..., SCORE, None].clamp(min=1e-3).log()
        logits = logits + likely.transpose(2, 3)[:, :, None]
        if share is not None:
            logits = logits + share * (_QUICK * self.trust[:, None])
        logits = logits.masked_fill(~there[:, :, None, None], -1e4)
        none = self.none(heard)[:, :, None, :, None].expand_as(logits[..., :1])
        chosen = torch.cat((none, logits), dim=-1).softmax(dim=-1)
        moved = chosen[..., :1] * direction + torch.einsum("btkcn,btncx->btkcx", chosen[..., 1:], points)
        if log_distance is not None:
            # so far is what has the usual height and whose box is that high
            half = (0.5 * objects[..., HEIGHT]).abs().clamp(0.05, 1.5)
            away = (self.height_m[kind] / (2 * _USUAL_M * half.tan())).log()[:, :, None, None]
            away = torch.where(away.isnan(), log_distance, away)
            seen = (chosen[..., 1:] * away).sum(dim=-1, keepdim=True)
            log_distance = chosen[..., :1] * log_distance + seen + _QUICK * self.nearer[:, None] * (1 - chosen[..., :1])
        return functional.normalize(moved, dim=-1, eps=1e-4), log_distance

    def remember(self, objects: Tensor) -> None:
        """Training: classes of these tokens (..., 6) have been shown."""
        if self.shown is not None:
            self.shown[objects[..., CLASS].long().flatten()] = True
            self.shown[0] = False

    def _nearness(self, direction: Tensor, points: Tensor) -> Tensor:
        """Logits of directions (batch, frames, tracks, classes, 3) and points (batch, frames, n, classes, 3), by angle.

        Azimuth tells people apart, elevation hardly does.
        """
        flat, flat_points = (one[..., :2].square().sum(dim=-1).clamp(min=1e-6).sqrt() for one in (direction, points))
        round_ = torch.einsum("btkcx,btncx->btkcn", direction[..., :2], points[..., :2])
        azimuth = round_ / (flat[..., None] * flat_points.transpose(2, 3)[:, :, None])
        upright = points[..., 2].transpose(2, 3)[:, :, None]
        elevation = direction[..., 2, None] * upright + flat[..., None] * flat_points.transpose(2, 3)[:, :, None]
        beside = direction[..., 1, None] - points[..., 1].transpose(2, 3)[:, :, None]
        return (
            (azimuth - 1) * (_QUICK * self.azimuth_sharpness).exp()[:, None]
            + (elevation - 1) * (_QUICK * self.elevation_sharpness).exp()[:, None]
            - beside.square() * (_QUICK * self.lateral_sharpness).exp()[:, None]
        )


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
    distance : tracks have a distance in metres as a fourth element
    things : it looks at other things than people too
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
        distance: bool = False,
        things: bool = False,
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
        self.distance = nn.Linear(channels, TRACKS * classes) if distance else None
        if measured:
            # over bands, over the frames of a label frame, over the label frames around; how much a label frame tells
            self.weights = nn.Linear(channels, TRACKS * classes * (bins + STEP_FRAMES + 2 * CONTEXT + 2))
            nn.init.normal_(self.correction.weight, std=0.01)
            nn.init.zeros_(self.correction.bias)
        self.pointer = Pointer(classes, channels, measured=measured, things=things) if visual else None
        if self.pointer is not None:  # several processes would wait for gradients that never come
            self.pointer.nearer.requires_grad_(distance)
            self.pointer.trust.requires_grad_(measured)
            self.pointer.field_sharpness.requires_grad_(measured)

    @property
    def shown_classes(self) -> tuple[str, ...]:
        """Classes of COCO that it points at: those of the objects that training has shown."""
        if self.pointer is None:
            return ()
        if self.pointer.shown is None:
            return (COCO_CLASSES[PERSON - 1],)
        return tuple(COCO_CLASSES[kind - 1] for kind in self.pointer.shown.nonzero().flatten().tolist())

    def forward(self, audio: Tensor, visual: Tensor | None = None) -> Tensor:
        """Features of windows and what is seen -> raw Multi-ACCDOA output.

        Parameters
        ----------
        audio : (batch, maps, frames, bins), frames a multiple of 5
        visual : (batch, frames // 5, n, 6) tokens of objects, n may be 0; None: nothing is seen

        Returns
        -------
        (batch, 3 tracks, 3 axes and the distance in metres, if it has some, classes, frames // 5)
        """
        if self.training:
            audio = _transposed(audio)
        level, rest = level_above_mean(audio[:, :1]), audio[:, 1:]
        if self.training:
            level, rest = self._varied(level, rest)
        heard = self._heard(torch.cat((level, rest), dim=1))
        batch, frames, _ = heard.shape
        shape = (batch, frames, TRACKS, self.classes)
        activity = self.activity(heard).float().sigmoid().view(*shape, 1)
        direction, share = self.correction(heard).float().view(*shape, AXES), None
        seen = None
        if self.pointer is not None and visual is not None and visual.shape[2]:
            if self.training:
                self.pointer.remember(visual)
            seen = (self._seen_varied(visual) if self.training else visual)[:, :frames]
        if self.measured:
            cells = firsthand(audio[:, :1].float(), audio[:, 1:4].float())[:, :, : frames * STEP_FRAMES]
            weights = self.weights(heard).float().view(*shape, -1)
            bands, moments, offsets, gate = weights.split((self.bins, STEP_FRAMES, 2 * CONTEXT + 1, 1), dim=-1)
            bands = bands.softmax(-1)
            direction = direction + gathered_around(_measured(cells, bands, moments.softmax(-1)), offsets, gate[..., 0])
            if self.pointer is not None and seen is not None:
                share = self.pointer.heard_there(bands, _field(cells), seen)
        direction = functional.normalize(direction, dim=-1, eps=1e-4)
        log_distance = None if self.distance is None else self.distance(heard).float().view(*shape, 1)
        if self.pointer is not None and seen is not None:
            direction, log_distance = self.pointer(direction, heard, seen, share, log_distance)
        made = activity * direction
        if log_distance is not None:
            made = torch.cat((made, _USUAL_M * log_distance.clamp(-3.0, 3.0).exp()), dim=-1)
        return made.permute(0, 2, 4, 3, 1)

    def _heard(self, x: Tensor) -> Tensor:
        """(batch, frames // 5, channels)."""
        x = self.stem(x)
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            x = x + self.gru(x)[0]
        for block in self.blocks:
            x = block(x)
        return self.dropout(self.norm(x))

    def _varied(self, level: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Training: another equalisation of every window, stripes of frames and of bands masked."""
        batch, _, frames, bins = level.shape
        knots = torch.randn(batch, 1, 8, device=level.device) * (_EQUALISED_DB / 20)
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
        """Training: objects missed, misplaced by a degree or two, made up; windows without any, or with another's."""
        batch, frames, count, _ = objects.shape
        if not count:
            return objects
        place = objects.device
        others = (torch.rand(batch, device=place) < 0.12)[:, None, None, None]
        objects = torch.where(others, objects.roll(1, dims=0), objects)
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
        false[..., PEOPLE_ROWS:] = False  # people are made up in the places of people
        objects = torch.where(false[..., None], made_up[:, None], objects)
        shift = torch.zeros_like(objects)
        shift[..., [AZIMUTH, ELEVATION]] = torch.randn(batch, 1, count, 2, device=place) * math.radians(2.0)
        scale = torch.ones_like(objects)
        scale[..., [WIDTH, HEIGHT]] = 1 + 0.08 * torch.randn(batch, 1, count, 2, device=place)
        missed = (torch.rand(batch, 1, count, device=place) < 0.1) | (
            torch.rand(batch, frames, count, device=place) < 0.1
        )
        blind = (torch.rand(batch, 1, 1, device=place) < 0.15).expand_as(missed)
        return torch.where((missed | blind)[..., None], 0.0, (objects + shift) * scale)


def _transposed(planes: Tensor) -> Tensor:
    """Training: every window (batch, maps, frames, bins) moved by up to 3 mel bands, as a higher or lower voice."""
    bins = planes.shape[-1]
    shift = torch.randint(-_SHIFT, _SHIFT + 1, (len(planes), 1), device=planes.device)
    place = (torch.arange(bins, device=planes.device) + shift).clamp(0, bins - 1)
    return planes.gather(3, place[:, None, None].expand_as(planes))


def _measured(cells: Tensor, bands: Tensor, moments: Tensor) -> Tensor:
    """The measured directions in the cells that a track and class looks at: (batch, frames, tracks, classes, 3)."""
    batch, frames, *_ = bands.shape
    parts = cells.view(batch, AXES, frames, STEP_FRAMES, -1)
    flat = parts.permute(0, 2, 4, 3, 1).flatten(3)  # (batch, frames, bins, 5 frames x axes)
    over_bands = (bands.flatten(2, 3) @ flat).view(*bands.shape[:4], STEP_FRAMES, AXES)
    return (moments.unsqueeze(-2) @ over_bands).squeeze(-2)


def gathered_around(measured: Tensor, offsets: Tensor, gate: Tensor) -> Tensor:
    """Directions gathered from the label frames around each.

    Parameters
    ----------
    measured : (batch, frames, tracks, classes, 3)
    offsets : (batch, frames, tracks, classes, 11) logits of the frames around; gate : (...,) of what a frame tells
    """
    sides = (CONTEXT, CONTEXT)
    gates = functional.pad(gate.movedim(1, -1), sides, value=-1e4).unfold(-1, 2 * CONTEXT + 1, 1)
    weights = (offsets + gates.movedim(-2, 1)).softmax(-1)
    near = functional.pad(measured.movedim(1, -1), sides).unfold(-1, 2 * CONTEXT + 1, 1).movedim(-2, 1)
    return (near @ weights.unsqueeze(-1)).squeeze(-1)


def _field(cells: Tensor) -> Tensor:
    """(batch, label frames, bins, 3): the mean over each label frame and those around it."""
    batch, _, frames, bins = cells.shape
    flat = cells.permute(0, 3, 1, 2).reshape(batch, bins * AXES, frames)
    means = functional.avg_pool1d(
        flat, SMOOTHED * STEP_FRAMES, STEP_FRAMES, padding=SMOOTHED // 2 * STEP_FRAMES, count_include_pad=False
    )
    return means.view(batch, bins, AXES, -1).permute(0, 3, 1, 2)
