"""Statistics of the features of a data set, gathered in one pass over its recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tqdm import tqdm

from dataset.loader import Loader
from dataset.recordings import Recording
from dataset.source import Source
from feature.front import on_device
from feature.statistics import RunningStatistics
from job.data import TrainingData
from system.model import of_whole
from system.row import Settings, Stage
from util.job_arguments import Arguments
from util.microphone_arrays import Array
from util.one_process import Processes
from util.together import gathered, share


def gather_statistics(
    stage: Stage,
    settings: Settings,
    array: Array,
    data: TrainingData,
    args: Arguments,
    fabric: Processes,
    heard: Callable[[Source], Source] = lambda source: source,
) -> dict[str, Any]:
    """Mean and scale of every map and bin of the features, float64, as they are stored with the checkpoint.

    With --statistics development the recordings that are tested count as well, as in the published systems.

    Parameters
    ----------
    heard : recordings -> what the stage hears of them, where that is not their sound

    Returns
    -------
    {"mean", "scale", "variance": (maps, bins) tensors, "count": frames, "feature": its name, "of": in words}
    """
    recordings, of = [*data.train], f"the {len(data.train)} training recordings"
    if args.statistics == "development":
        recordings = _distinct([*data.train, *data.selection, *data.validation])
        of = f"all {len(recordings)} development recordings, those tested among them (--statistics development)"
    front = stage.front(settings, array, False, None).to(fabric.device)
    plans = stage.plans(settings)

    def of_share() -> RunningStatistics:
        """Of this process's share of the recordings."""
        running = RunningStatistics()
        own = share(fabric, recordings)
        if not own:
            return running
        source = heard(Source(own, clip_s=args.clip_s))
        plan = plans.evaluation(source.lengths(plans.framing.rate_hz))
        seconds = sum(recording.duration_s for recording in own)
        with (
            tqdm(total=round(seconds), desc="statistics", unit="s", mininterval=0.5, leave=False,
                 disable=not fabric.is_global_zero) as progress,
            Loader(source, plan, batch_size=8, of_whole=of_whole(front), workers=args.workers) as loader,
            torch.inference_mode(),
        ):  # fmt: skip
            for batch in loader:
                features, padding = front.raw_features(on_device(batch, fabric.device))
                before = running.count
                running.update_maps(features, padding)
                progress.update(round((running.count - before) * plans.framing.hop_s))
        return running

    running, *others = map(RunningStatistics.from_dict, gathered(fabric, lambda: of_share().to_dict()))
    for other in others:
        running.join(other)
    shape = (front.audio.maps, front.audio.bins)
    made = {name: getattr(running, name).reshape(shape).cpu() for name in ("mean", "scale", "variance")}
    return {**made, "count": running.count, "feature": settings["feature"], "of": of}


def _distinct(recordings: Sequence[Recording]) -> list[Recording]:
    return list({recording.audio: recording for recording in recordings}.values())
