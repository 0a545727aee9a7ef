"""Systems at work: the features, network and output format of each stage, on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from dataset.augment import View, views_of
from dataset.plans import EvaluationPlan, Lengths
from dataset.seen import Producer
from dataset.source import Source
from feature.front import on_device
from output_format.contract import Matchable, OutputFormat, Turnable
from system.row import Plans, Stage, Statistics, System, last
from system.standardise import of_whole, running_statistics, statistics_of
from util.errors import InputError
from util.microphone_arrays import Array

Heard = tuple[torch.Tensor, torch.Tensor | None]  # what a network takes


class StageModel(nn.Module):
    """One stage at work.

    Parameters
    ----------
    stage : of the row
    settings : of the stage, see `system.row.Stage.settings`
    array : what the channels of the recordings are
    class_count : number of classes
    visual : whether the network takes what is seen
    statistics : of the features, where the stage needs some (`feature.statistics`)

    Attributes
    ----------
    views : further ones that predictions are the mean of
    """

    views: tuple[View, ...] = ()

    def __init__(
        self,
        stage: Stage,
        settings: Mapping[str, Any],
        array: Array,
        class_count: int,
        *,
        visual: bool,
        statistics: Statistics | None = None,
    ):
        super().__init__()
        self.stage, self.settings, self.statistics, self.visual = stage, dict(settings), statistics, visual
        self.array = array
        self.plans = stage.plans(self.settings)
        self.front = stage.front(self.settings, array, visual, statistics)
        self.of_whole = of_whole(self.front)
        self.augment = None if stage.augment is None else stage.augment(self.settings)
        self.output_format = stage.output_format(self.settings, class_count)
        self.network: nn.Module = (
            _First() if stage.network is None else stage.network(self.settings, self.front.audio, class_count, visual)
        )
        check_fit(self.plans, self.output_format)

    @property
    def rate_hz(self) -> int:
        """Sampling rate of the waveforms."""
        return self.plans.framing.rate_hz

    @property
    def level(self) -> float | None:
        """Standard deviation that recordings as a whole are brought to; None: they are heard as they are."""
        return self.stage.level(self.settings)

    @property
    def lacks_statistics(self) -> bool:
        """Whether its features are to be standardised and nobody has said by what, as of weights that come alone."""
        return self.stage.statistics and self.statistics is None

    def take_statistics(self, source: Source, workers: int = 1) -> None:
        """Standardise the features by those of recordings."""
        running = running_statistics(self.front, self.plans, source, workers=workers)
        made = statistics_of(running, self.front, self.settings["feature"])
        self.statistics = {**made, "of": f"the {len(source.recordings)} recordings that are predicted"}
        self.front = self.stage.front(self.settings, self.array, self.visual, self.statistics).to(self._place())
        self.of_whole = of_whole(self.front)

    def forward(self, batch: dict[str, Any]) -> torch.Tensor:
        """The loss of a training batch: what the trainer, and what divides the work among processes, call."""
        return self.loss(batch)

    def loss(self, batch: dict[str, Any]) -> torch.Tensor:
        """Mean loss of a batch of a loader, augmented in training."""
        features, seen = self.front(on_device(batch, self._place()))
        target = self.output_format.target(batch["labels"], features.device)
        if self.augment is not None and self.training:
            features, target = self.augment(features, target, batch["number"].tolist())
        return self.output_format.loss(self.network(features, seen).float(), target)

    def states(self, state: Any) -> dict[str, Any]:
        """What was trained (`system.checkpoint.StageState`), by stage."""
        return {self.stage.name: state}

    def hears_like(self, other: StageModel) -> bool:
        """Whether the features of another stage are those of this one, for any recording."""
        if (self.stage.plans, self.stage.front) != (other.stage.plans, other.stage.front):
            return False
        if (self.settings, self.visual, self.rate_hz) != (other.settings, other.visual, other.rate_hz):
            return False
        own, theirs = self.statistics, other.statistics
        if own is None or theirs is None:
            return own is theirs
        return all(torch.equal(torch.as_tensor(own[name]), torch.as_tensor(theirs[name])) for name in ("mean", "scale"))

    @torch.inference_mode()
    def heard(self, batch: dict[str, Any]) -> Heard:
        """What the network takes of a batch: features, and what is seen."""
        features, seen = self.front(on_device(batch, self._place()))
        return features, seen

    @torch.inference_mode()
    def predict(self, batch: dict[str, Any], heard: Heard | None = None) -> tuple[list[np.ndarray], np.ndarray]:
        """Raw output of each item cut to the frames that it keeps; the loss of each, NaN without labels.

        Parameters
        ----------
        heard : of the batch, by this stage or by one that `hears_like` it; None: it is still to be computed
        """
        output = self.network(*(self.heard(batch) if heard is None else heard)).float()
        if self.views and isinstance(self.output_format, Turnable):
            outputs = [output, *(self.network(*self.heard(view.of(batch))).float() for view in self.views)]
            output = self.output_format.joined_views(outputs, [np.eye(3), *(one.swap.matrix() for one in self.views)])
        losses = np.full(len(output), np.nan)
        if batch["labels"] is not None:
            target = self.output_format.target(batch["labels"], output.device)
            per_item = self.output_format.loss(output, target, reduction="window").float().cpu().numpy()
            labelled = batch["labelled"].numpy()
            losses[labelled] = per_item[labelled]
        keep = batch["keep"].tolist()
        low, high = min(first for first, _ in keep), max(end for _, end in keep)
        raw = output[..., low:high].cpu().numpy()
        return [row[..., first - low : end - low] for row, (first, end) in zip(raw, keep)], losses

    def _place(self) -> torch.device:
        return next((value.device for value in (*self.parameters(), *self.buffers())), torch.device("cpu"))


class _First(nn.Module):
    """In place of a network: the features (batch, maps, T, bins) are the output (batch, [maps,] bins, T)."""

    def forward(self, features: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        return features.squeeze(1).transpose(-1, -2)


class Model(nn.Module):
    """A system at work: its stages, of which some may still be missing while earlier ones are trained.

    Parameters
    ----------
    system : row of the table
    array : what the channels of the recordings are
    classes : names of the classes
    stages : by name, in the order of the row
    visual : whether it looks at pictures
    """

    def __init__(
        self,
        system: System,
        array: Array,
        classes: Sequence[str],
        stages: Mapping[str, StageModel],
        *,
        visual: bool,
    ):
        super().__init__()
        self.system, self.array, self.classes, self.visual = system, array, tuple(classes), visual
        self.stages = dict(stages)
        self._networks = nn.ModuleDict(self.stages)  # by this a device reaches all of them

    @property
    def last(self) -> StageModel:
        """The last stage, whose output format is that of the system."""
        return list(self.stages.values())[-1]

    @property
    def producer(self) -> Producer | None:
        """What makes what is seen; of systems that look at pictures, whether or not this model does."""
        return self.system.producer_by({name: stage.settings for name, stage in self.stages.items()})

    @property
    def points_at(self) -> tuple[str, ...]:
        """Classes of objects that it points at, since training has shown them; of systems that do not point: none."""
        return tuple(getattr(self.last.network, "shown_classes", ()))

    @property
    def output_format(self) -> OutputFormat:
        """What the raw output of the system means."""
        return self.last.output_format

    @property
    def hearing(self) -> StageModel:
        """The last stage that hears the sound itself."""
        return [stage for stage in self.stages.values() if not stage.stage.takes][-1]

    @property
    def rate_hz(self) -> int:
        """Sampling rate of the waveforms."""
        return self.hearing.rate_hz

    @property
    def whole(self) -> bool:
        """Whether no stage is missing."""
        return len(self.stages) == len(self.system.stages)

    def join(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Raw outputs by stage -> that of the system; of the last stage, where some are still missing."""
        return self.system.join(raw) if self.whole else last(raw)

    def needed(self, names: Sequence[str]) -> dict[str, StageModel]:
        """Those stages, and what they take, and what that takes; in the order of the row."""
        due = set(names)
        for stage in reversed(self.stages.values()):  # a stage takes earlier ones
            due |= set(stage.stage.takes) if stage.stage.name in due else set()
        return {name: stage for name, stage in self.stages.items() if name in due}

    def evaluation_plan(self, lengths: Lengths) -> EvaluationPlan:
        """The plan by which recordings of so many samples are heard."""
        return self.hearing.plans.evaluation(np.asarray(lengths, dtype=np.int64))

    def predict_with(self, *, latency_s: float | None = None, views: int = 1, overlap: int = 1) -> None:
        """How recordings are predicted from now on.

        Parameters
        ----------
        latency_s : no frame waits longer for its row, see `dataset.plans.WindowGrid.within`; None: as trained
        views : predictions are the mean of those of the sound turned and mirrored in so many ways
        overlap : windows that the prediction of a frame is the mean of, see `dataset.plans.WindowGrid.overlapping`

        Raises
        ------
        InputError : a time or an overlap that its windows do not allow, or it does not hear windows; the array has
            fewer symmetries, or the output of the system cannot be turned back, or not be averaged
        """
        if overlap > 1:
            if latency_s is not None:
                raise InputError("--overlap, --latency: one of the two; windows that overlap hear what comes after")
            if len(self.stages) > 1 or not isinstance(self.output_format, Matchable):
                raise InputError(f"--overlap: what {self.system.name} says of two windows cannot be averaged")
            self.last.plans = self.last.plans.overlapping(overlap)
        if latency_s is not None:
            for stage in self.stages.values():
                if not stage.stage.takes:
                    stage.plans = stage.plans.within(latency_s)
        if views == 1:
            return
        form, producer = self.output_format, self.producer if self.visual else None
        fixed = len(self.stages) > 1 or not isinstance(form, Turnable) or not form.turns
        if fixed or (producer is not None and not producer.turns):
            raise InputError(f"--views: what {self.system.name} says cannot be turned back")
        self.last.views = views_of(self.array, views, oriented=self.system.oriented)

    def look_times_s(self, lengths: Lengths) -> np.ndarray:
        """Times in s at which a prediction of one recording of so many samples looks at the picture, in order."""
        return self.evaluation_plan(lengths).look_times_s()

    @property
    def statistics(self) -> Statistics | None:
        """Statistics of the features of the last stage that has some."""
        found = [stage.statistics for stage in self.stages.values() if stage.statistics is not None]
        return found[-1] if found else None


def check_fit(plans: Plans, output_format: OutputFormat) -> None:
    """Refuse a plan and an output format that cannot be combined.

    Raises
    ------
    InputError : frames of the output of different lengths
    """
    planned, meant = plans.framing.output_frame_s, output_format.frame_s
    if abs(planned - meant) > 1e-9 * meant:
        rule = f"the plan has output frames of {1000 * planned:g} ms, the output format {1000 * meant:g} ms"
        raise InputError(rule)
