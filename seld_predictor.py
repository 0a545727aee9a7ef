"""SELDPredictor: recordings -> windows -> estimator -> raw output -> candidates -> events.

The one function behind validation during training, evaluation, inference and the library call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from dataset.loader import EvaluationLoader
from dataset.recordings import Boxes, Labels, Recording
from dataset.windows import EvaluationPlan
from output_format.candidates import Candidates, merge
from system import Model
from util.events import EventTable


@dataclass(frozen=True)
class Prediction:
    """What the predictor says of one recording.

    Attributes
    ----------
    raw : network output (track, axis, class, 10 ms frame), float32
    candidates : activity and direction per label frame, class and track
    events : the candidates above the thresholds, merged
    loss : mean over the recording's windows, None without labels
    """

    recording: Recording
    raw: np.ndarray
    candidates: Candidates
    events: EventTable
    loss: float | None


class SELDPredictor:
    """Predict recordings with a model.

    Parameters
    ----------
    fabric : device and precision
    model : features, network and output format; already on the device
    thresholds : (classes,) activity above which a candidate is an event
    unification_deg : tracks of a class that are closer are one source
    boxes : where person boxes come from; None: no boxes (audio-only, or empty boxes)
    batch_size : windows at a time
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        *,
        thresholds: Sequence[float],
        unification_deg: float,
        boxes: Boxes | None = None,
        batch_size: int = 16,
        workers: int = 1,
    ):
        self.fabric, self.model, self.boxes = fabric, model, boxes
        self.thresholds, self.unification_deg = np.asarray(thresholds, dtype=np.float64), unification_deg
        self.batch_size, self.workers = batch_size, workers

    def predict(self, recordings: Sequence[Recording], *, labels: Labels | None = None) -> Iterator[Prediction]:
        """Predictions in the order of the recordings, each as soon as its last window is done.

        Windows are batched across recordings; only unfinished recordings are in memory.

        Parameters
        ----------
        labels : gives the loss of labelled recordings
        """
        plan = EvaluationPlan(recordings, batch_size=self.batch_size)
        output_format = self.model.output_format
        encode = None if labels is None else output_format.encode
        pending: dict[int, _Unfinished] = {}
        was_training = self.model.training
        self.model.eval()
        try:
            with EvaluationLoader(
                recordings, plan, labels=labels, encode=encode, boxes=self.boxes, workers=self.workers
            ) as loader:
                for batch in loader:
                    raw, losses = self._forward(batch)
                    for recording in torch.unique_consecutive(batch["recording"]).tolist():
                        of_recording = batch["recording"] == recording
                        unfinished = pending.setdefault(recording, _Unfinished(plan.windows_of(recording)))
                        unfinished.add(raw[of_recording.numpy()], losses[of_recording.numpy()])
                        if unfinished.complete:
                            yield self._finish(recordings[recording], pending.pop(recording))
        finally:
            self.model.train(was_training)

    @torch.inference_mode()
    def _forward(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Raw output of a batch cut to the frames that are kept, and the loss of each window (NaN without labels)."""
        device, output_format = self.fabric.device, self.model.output_format
        with self.fabric.autocast():
            output = self.model.evaluate(
                batch["waveform"].to(device, non_blocking=True),
                batch["valid"].to(device),
                batch["boxes"].to(device),
            )
        output = output.float()
        losses = np.full(len(output), np.nan)
        if batch.get("labels") is not None:
            target = output_format.target(batch["labels"], device)
            per_window = output_format.loss(output, target, reduction="window").float().cpu().numpy()
            labelled = batch["labelled"].numpy()
            losses[labelled] = per_window[labelled]
        return output_format.kept(output).cpu().numpy(), losses

    def _finish(self, recording: Recording, unfinished: _Unfinished) -> Prediction:
        raw = np.concatenate(unfinished.raw, axis=-1)
        candidates = self.model.output_format.candidates(raw)
        events = merge(candidates, self.thresholds, self.unification_deg)
        losses = np.array(unfinished.losses)
        loss = None if np.isnan(losses).any() or not len(losses) else float(losses.mean())
        return Prediction(recording, raw, candidates, events, loss)


class _Unfinished:
    """Windows of one recording that have been predicted so far."""

    def __init__(self, windows: int):
        self.windows, self.raw, self.losses = windows, [], []

    def add(self, raw: np.ndarray, losses: np.ndarray) -> None:
        self.raw.extend(raw)
        self.losses.extend(losses.tolist())

    @property
    def complete(self) -> bool:
        return len(self.raw) >= self.windows
