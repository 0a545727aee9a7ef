"""Statistics of the features of a data set, gathered in one pass over its recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dataset.recordings import Recording
from dataset.source import Source
from feature.statistics import RunningStatistics
from job.data import TrainingData
from system.row import Settings, Stage
from system.standardise import running_statistics, statistics_of
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
        own = share(fabric, recordings)
        if not own:
            return RunningStatistics()
        source = heard(Source(own, clip_s=args.clip_s))
        return running_statistics(front, plans, source, workers=args.workers, shown=fabric.is_global_zero)

    running, *others = map(RunningStatistics.from_dict, gathered(fabric, lambda: of_share().to_dict()))
    for other in others:
        running.join(other)
    return {**statistics_of(running, front, settings["feature"]), "of": of}


def _distinct(recordings: Sequence[Recording]) -> list[Recording]:
    return list({recording.audio: recording for recording in recordings}.values())
