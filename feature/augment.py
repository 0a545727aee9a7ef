"""Augmentation of features and targets: mixing of items, rectangles, stripes and holes, shift in frequency.

As the general network (Nguyen et al., ICASSP 2021, arXiv 2011.07859) was trained. Whatever is drawn comes from a random
source in the form of NumPy's legacy generator: of a training item from (seed, number of the item), so that resumed runs
draw the same; the reference's from one generator for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

Random = np.random.RandomState
Change = Callable[
    [Tensor, Random], Tensor
]  # feature (maps, T, bins) of an item -> another one; its own is left as it is

CUT_PROBABILITY = 0.5
_MIX_PROBABILITY, _MIX_LEAST, _MIX_SHAPE = 0.8, 0.2, 0.5


def random_of(seed: int, number: int) -> Random:
    """The random source of an item of a run."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, number))))


# one item -----------------------------------------------------------------------------------------------------------


def cutout(x: Tensor, random: Random, *, aspect: float | None = None) -> Tensor:
    """One rectangle over all maps becomes a value between the least and the largest of the item.

    Parameters
    ----------
    x : (maps, T, bins)
    aspect : longer (above 1) or shorter rectangles in time; None: T / bins, of 128 bins as published
    """
    _, frames, bins = x.shape
    aspect = frames / bins if aspect is None else aspect
    low, high = 0.3, 1 / 0.3
    low, high = (low * aspect, high) if aspect > 1 else (low, high * aspect)
    area, ratio = random.uniform(0.02, 0.3) * frames * bins, random.uniform(low, high)
    width, height = min(int(np.sqrt(area / ratio)), bins - 1), min(int(np.sqrt(area * ratio)), frames - 1)
    left, top = random.randint(0, bins - width), random.randint(0, frames - height)
    out = x.clone()
    out[:, top : top + height, left : left + width] = _value(x, random)
    return out


def stripes(x: Tensor, random: Random, *, time_share: float = 0.15, bin_share: float = 0.2) -> Tensor:
    """SpecAugment: a stripe of frames, then one of bins, each of one value; (maps, T, bins).

    Parameters
    ----------
    time_share, bin_share : bounds of the widths; stripes of 1 where they are below 2 (the reference fails there)
    """
    out = x.clone()
    for axis, share in ((1, time_share), (2, bin_share)):
        size, most = x.shape[axis], max(1, int(share * x.shape[axis]))
        width = int(random.randint(1, most, 1)[0]) if most > 1 else 1
        start = int(random.randint(0, size - width, 1)[0]) if size > width else 0
        out.narrow(axis, start, min(width, size))[:] = _value(x, random)
    return out


def holes(x: Tensor, random: Random, *, count: int = 8, size: int = 8) -> Tensor:
    """Square holes over all maps, each of one value; (maps, T, bins)."""
    _, frames, bins = x.shape
    out = x.clone()
    for _ in range(count):
        left, top = random.randint(0, max(bins - size, 1)), random.randint(0, max(frames - size, 1))
        out[:, top : top + size, left : left + size] = _value(x, random)
    return out


def one_cut(x: Tensor, random: Random) -> Tensor:
    """One of `cutout`, `stripes` and `holes`, with equal chances; (maps, T, bins)."""
    return CUTS[int(random.randint(0, len(CUTS), 1)[0])](x, random)


CUTS: tuple[Change, ...] = (cutout, stripes, holes)


def shift_bins(x: Tensor, random: Random, *, most: int | None = None) -> Tensor:
    """All maps up or down by some bins, what comes in is mirrored; (maps, T, bins).

    For bins that are frequencies; published, but not part of the default chain.

    Parameters
    ----------
    most : bound of the shift; None: 0.08 of the bins
    """
    bins = x.shape[2]
    most = int(0.08 * bins) if most is None else most
    shift = int(random.randint(1, most, 1)[0]) if most > 1 else 1
    if str(random.choice(["up", "down"], 1)[0]) == "up":
        return pad(x, (shift, 0), mode="reflect")[..., :bins]
    return pad(x, (0, shift), mode="reflect")[..., shift:]


def _value(x: Tensor, random: Random) -> Tensor:
    """A value between the least and the largest of the item, on its device."""
    low, high = torch.aminmax(x)
    return low + (high - low) * random.random_sample()


# items of a batch ---------------------------------------------------------------------------------------------------


def mix_draw(random: Random, count: int) -> tuple[float, int | None]:
    """Share of an item's own in a mixture, and which of `count` items it is mixed with; (1, None): with none."""
    share = float(random.beta(_MIX_SHAPE, _MIX_SHAPE))
    if random.rand() < _MIX_PROBABILITY and abs(share - 0.5) > _MIX_LEAST:
        return share, int(random.randint(0, count))
    return 1.0, None


def mixed(values: Tensor, shares: Sequence[float], partners: Sequence[int | None]) -> Tensor:
    """share x own + (1 - share) x partner's, of each item; (batch, ...)."""
    if all(partner is None for partner in partners):
        return values
    index = [row if partner is None else partner for row, partner in enumerate(partners)]
    share = torch.tensor(list(shares), dtype=values.dtype, device=values.device)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * values[index]


@dataclass(frozen=True)
class Augmentation:
    """What is done to the features and the targets of a training batch, item by item, in this order.

    Attributes
    ----------
    seed : of the run
    mix : mix items with others of the batch, activity and directions alike (the reference takes its partners from all
        chunks of the set, which a shuffled batch is a sample of)
    cut : `one_cut`, of half of the items
    shift : `shift_bins`
    """

    seed: int
    mix: bool = True
    cut: bool = True
    shift: bool = False

    def __call__(self, features: Tensor, target: Tensor, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Features (batch, maps, T, bins) and target (batch, ...) of the items of those numbers, changed."""
        sources = [random_of(self.seed, int(number)) for number in numbers]
        if self.mix:
            drawn = [mix_draw(random, len(features)) for random in sources]
            shares, partners = [share for share, _ in drawn], [partner for _, partner in drawn]
            features, target = mixed(features, shares, partners), mixed(target, shares, partners)
        changes: list[Change] = [*([sometimes_cut] if self.cut else []), *([shift_bins] if self.shift else [])]
        if changes:
            features = torch.stack([_changed(x, random, changes) for x, random in zip(features, sources)])
        return features, target


def sometimes_cut(x: Tensor, random: Random) -> Tensor:
    """`one_cut` of half of the items."""
    return one_cut(x, random) if random.rand() < CUT_PROBABILITY else x


def _changed(x: Tensor, random: Random, changes: Sequence[Change]) -> Tensor:
    for change in changes:
        x = change(x, random)
    return x
