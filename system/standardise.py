"""Standardisation of a stage's features: the statistics that its checkpoint holds, gathered in one pass."""

from __future__ import annotations

from typing import Any

import torch
from tqdm import tqdm

from dataset.loader import Loader, OfWhole
from dataset.source import Source
from feature.front import Front, on_device
from feature.loudest import Loudest
from feature.statistics import RunningStatistics, Standardise, of_maps
from system.row import Plans, Statistics
from util.errors import InputError


def of_whole(front: Front) -> OfWhole | None:
    """What a loader must find in whole recordings for a front end; None: nothing."""
    return OfWhole(Loudest(front.audio)) if front.audio.held_over == "recording" else None


def running_statistics(
    front: Front, plans: Plans, source: Source, *, workers: int = 1, shown: bool = True
) -> RunningStatistics:
    """Statistics of the features of recordings.

    Parameters
    ----------
    front : without statistics, on any device
    shown : with a progress bar
    """
    running = RunningStatistics()
    device = next((value.device for value in front.buffers()), torch.device("cpu"))
    plan = plans.evaluation(source.lengths(plans.framing.rate_hz))
    seconds = sum(recording.duration_s for recording in source.recordings)
    with (
        tqdm(total=round(seconds), desc="statistics", unit="s", mininterval=0.5, leave=False,
             disable=not shown) as progress,
        Loader(source, plan, batch_size=8, of_whole=of_whole(front), workers=workers) as loader,
        torch.inference_mode(),
    ):  # fmt: skip
        for batch in loader:
            features, padding = front.raw_features(on_device(batch, device))
            before = running.count
            running.update_maps(features, padding)
            progress.update(round((running.count - before) * plans.framing.hop_s))
    return running


def statistics_of(running: RunningStatistics, front: Front, feature: str) -> dict[str, Any]:
    """{"mean", "scale", "variance": (maps, bins) tensors, "count": frames, "feature": its name}, for a checkpoint."""
    shape = (front.audio.maps, front.audio.bins)
    made = {name: getattr(running, name).reshape(shape).cpu() for name in ("mean", "scale", "variance")}
    return {**made, "count": running.count, "feature": feature}


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
