"""Standardisation of a stage's features by the statistics that its checkpoint holds."""

from __future__ import annotations

import torch

from feature.statistics import Standardise, of_maps
from system.row import Statistics
from util.errors import InputError


def standardise_by(
    statistics: Statistics | None, feature: str, maps: int, bins: int, *, each_bin: bool = True
) -> Standardise | None:
    """What standardises a feature of so many maps and bins; None: its statistics are still to be gathered.

    Parameters
    ----------
    each_bin : every bin by itself, else every map as a whole

    Raises
    ------
    InputError : they are those of another feature
    """
    if statistics is None:
        return None
    mean, scale = (torch.as_tensor(statistics[name], dtype=torch.float32) for name in ("mean", "scale"))
    if tuple(mean.shape) != (maps, bins) or statistics.get("feature") != feature:
        found = f"{statistics.get('feature')} of {' x '.join(map(str, mean.shape))}"
        raise InputError(f"holds statistics of another feature: {found}, due is {feature} of {maps} x {bins}")
    if not each_bin:
        mean, scale = of_maps(*(torch.as_tensor(statistics[name]).double() for name in ("mean", "variance")))
    return Standardise(mean, scale)
