"""SELDPredictor: recordings -> windows -> estimator -> raw output -> candidates -> events.

The one function behind validation during training, evaluation, inference and the library call (`load`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from dataset.classes import STARSS23_CLASSES
from dataset.loader import Read
from dataset.recordings import Boxes, Labels, Recording
from dataset.samplers import BoxesAt
from feature.front import on_device
from output_format.candidates import Candidates, merge
from system import Model, model_from_checkpoint
from util.arrays import Array
from util.audio import resample_stretch, resampled_frames
from util.checkpoint import load_checkpoint
from util.errors import InputError
from util.events import EventTable
from util.runs import result_checkpoint
from util.thresholds import Thresholds, read_thresholds
from util.waveform import as_waveform

Frames = str | os.PathLike[str] | Iterable[tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Prediction:
    """What the predictor says of one recording.

    Attributes
    ----------
    raw : network output, axes as its format says, the last one frames; float32
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
    read : where samples come from, see `dataset.loader.EvaluationLoader`; None: the recordings' files
    batch_size : windows at a time
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        *,
        thresholds: Sequence[float],
        unification_deg: float,
        boxes: Boxes | BoxesAt | None = None,
        read: Read | None = None,
        batch_size: int = 16,
        workers: int = 1,
    ):
        self.fabric, self.model, self.boxes, self.read = fabric, model, boxes, read
        self.thresholds, self.unification_deg = np.asarray(thresholds, dtype=np.float64), unification_deg
        self.batch_size, self.workers = batch_size, workers

    def predict(self, recordings: Sequence[Recording], *, labels: Labels | None = None) -> Iterator[Prediction]:
        """Predictions in the order of the recordings, each as soon as its last window is done.

        Windows are batched across recordings; only unfinished recordings are in memory.

        Parameters
        ----------
        labels : gives the loss of labelled recordings
        """
        pending: dict[int, _Unfinished] = {}
        for index, windows, raw, losses in self.blocks(recordings, labels=labels):
            unfinished = pending.setdefault(index, _Unfinished(windows))
            unfinished.add(raw, losses)
            if unfinished.complete:
                yield self._finish(recordings[index], pending.pop(index))

    def blocks(
        self, recordings: Sequence[Recording], *, labels: Labels | None = None
    ) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """What each batch holds of each recording, in order; nothing is kept, however long the recordings are.

        Yields
        ------
        index of the recording; number of its windows; raw output of the next ones of them (windows, ..., frames that
        are kept of a window); loss of each, NaN without labels
        """
        was_training = self.model.training
        self.model.eval()
        try:
            with self.model.sampler.evaluation(
                recordings,
                batch_size=self.batch_size,
                output_format=self.model.output_format,
                labels=labels,
                boxes=self.boxes,
                read=self.read,
                workers=self.workers,
            ) as loader:
                for batch in loader:
                    raw, losses = self._forward(batch)
                    for index in torch.unique_consecutive(batch["recording"]).tolist():
                        rows = (batch["recording"] == index).numpy()
                        yield index, loader.windows_of(index), raw[rows], losses[rows]
        finally:
            self.model.train(was_training)

    @torch.inference_mode()
    def _forward(self, batch: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Raw output of a batch cut to the frames that are kept, and the loss of each window (NaN without labels)."""
        device, output_format = self.fabric.device, self.model.output_format
        with self.fabric.autocast():
            output = self.model.evaluate(on_device(batch, device))
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
        raw = raw[..., : self.model.sampler.output_frames(recording.samples)]
        candidates = self.model.output_format.candidates(raw)
        events = merge(candidates, self.thresholds, self.unification_deg)
        losses = np.array(unfinished.losses)
        loss = float(losses.mean()) if recording.labels is not None and len(losses) else None
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


class Inference:
    """A checkpoint that is ready for recordings: what `load` gives, and what the command line uses.

    Parameters
    ----------
    fabric : device and precision
    model : already on the device
    detector : of people, for audio-visual models
    detector_options : keywords of `detection.detector.Detector`
    batch_size : windows at a time
    workers : threads that read ahead
    level_dbfs : of the recordings that the checkpoint was trained on (`dataset.levels`), None: unknown
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        thresholds: Thresholds,
        *,
        detector: str = "yolox_tiny",
        detector_options: Mapping[str, Any] | None = None,
        level_dbfs: float | None = None,
        batch_size: int = 16,
        workers: int = 1,
    ):
        self.fabric, self.model, self.thresholds, self.detector = fabric, model, thresholds, detector
        self.detector_options = dict(detector_options or {})
        self.batch_size, self.workers, self.level_dbfs = batch_size, workers, level_dbfs
        self.rate_hz = model.sampler.rate_hz
        about = model.output_format.description()
        self.frame_s, self.label_frame_s = float(about["frame_s"]), float(about["label_frame_s"])

    def __call__(self, waveform: np.ndarray, rate_hz: int, frames: Frames | None = None) -> EventTable:
        """The events of a recording.

        Parameters
        ----------
        waveform : (channels, samples), floats in [-1, 1] or integers of any size; channels as in the array of the
            checkpoint
        rate_hz : its rate; resampled where the model has another
        frames : the 360-degree video: its path, or pairs (time in s, picture (height, width, 3) uint8 BGR) by time; an
            audio-visual model without it runs with empty boxes

        Raises
        ------
        InputError : another number of channels, no samples, samples that are NaN or infinite; as the detector
        """
        waveform = self.check_waveform(waveform)
        if rate_hz <= 0 or not waveform.shape[1]:
            raise InputError(f"the waveform has {waveform.shape[1]} samples at {rate_hz} Hz")
        samples = max(1, resampled_frames(waveform.shape[1], rate_hz, self.rate_hz))
        recording = Recording(
            "waveform", Path("waveform"), None, None, self.model.array, samples, self.rate_hz, rate_hz
        )
        boxes = None
        if frames is not None and self.model.visual:
            from detection.at_times import detect_at  # onnxruntime and PyAV, only where there are pictures

            track = detect_at(
                frames, self.open_detector(progress=False), self.window_times_s(recording.samples), progress=False
            )
            boxes = lambda _, time_s: track.at(time_s)  # noqa: E731
        raw = [block for _, block in self.blocks(recording, boxes=boxes, read=_reader_of(waveform))]
        return self.events(self.candidates(np.concatenate(raw, axis=-1)))

    def open_detector(self, *, progress: bool = True) -> Any:
        """The `detection.detector.Detector` of people.

        Raises
        ------
        InputError : as it
        """
        from detection.detector import Detector  # onnxruntime, only where there are pictures

        return Detector(self.detector, progress=progress, **self.detector_options)

    def blocks(
        self, recording: Recording, *, boxes: BoxesAt | None = None, read: Read | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Raw output of a recording from its start on, block by block, up to the last label frame that begins in it.

        Yields
        ------
        first frame of the block (10 ms), raw output (track, axis, class, frames)
        """
        predictor = SELDPredictor(
            self.fabric,
            self.model,
            thresholds=self.thresholds.presence,
            unification_deg=self.thresholds.unification_deg,
            boxes=boxes,
            read=read,
            batch_size=self.batch_size,
            workers=self.workers,
        )
        first, end = 0, self.frame_count(recording.samples)
        for _, _, windows, _ in predictor.blocks([recording]):
            block = np.concatenate(list(windows), axis=-1)[..., : end - first]
            if block.shape[-1]:
                yield first, block
            first += block.shape[-1]

    def label_frames(self, samples: int) -> int:
        """Label frames that begin inside a recording, one at least."""
        return max(1, math.ceil(samples / (self.label_frame_s * self.rate_hz) - 1e-9))

    def frame_count(self, samples: int) -> int:
        """Frames of the raw output of a recording: those of its label frames."""
        own = self.model.sampler.output_frames(samples)
        return round(self.label_frame_s / self.frame_s) * self.label_frames(samples) if own is None else own

    def window_times_s(self, samples: int) -> np.ndarray:
        """Times (windows,) in s at which the windows of a recording look at the picture."""
        return self.model.sampler.window_times_s(samples)

    def candidates(self, raw: np.ndarray) -> Candidates:
        """Raw output (track, axis, class, frames) -> candidates per label frame."""
        return self.model.output_format.candidates(raw)

    def events(self, candidates: Candidates) -> EventTable:
        """The candidates above the thresholds, merged."""
        return merge(candidates, np.asarray(self.thresholds.presence), self.thresholds.unification_deg)

    def check_waveform(self, waveform: np.ndarray) -> np.ndarray:
        """The samples as (channels, samples) float32 in [-1, 1], see `util.waveform.as_waveform`.

        Raises
        ------
        InputError : another number of channels than the checkpoint's array has, samples that are NaN or infinite
        """
        return as_waveform(waveform, self.model.array.channels, self.model.array.name)


def load(
    checkpoint: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "32",
    array: Array | None = None,
    threshold_config: str | os.PathLike[str] | None = None,
    detector: str | None = None,
    person_class: int | None = None,
    detector_size: tuple[int, int] | None = None,
    batch_size: int = 16,
    workers: int = 1,
) -> Inference:
    """A checkpoint as a function: `load("checkpoint.pth")(waveform, rate_hz)` gives the table of events.

    Parameters
    ----------
    checkpoint : file, or a run folder (its last or selected checkpoint)
    device, precision : as the flags of `python seld.py`
    array : for a file of another project, which does not tell FOA from MIC
    threshold_config : file of thresholds; None: those of the checkpoint
    detector : of people; None: the one that the checkpoint was trained with
    person_class, detector_size : of the detector, see `detection.detector.Detector`

    Raises
    ------
    InputError : no checkpoint, or of another array
    """
    from job.machine import make_fabric  # knows PyTorch and devices alone

    checkpoint = Path(checkpoint)
    if checkpoint.is_dir():
        checkpoint = result_checkpoint(checkpoint)
    content = load_checkpoint(checkpoint)
    stored = content.get("settings", {})
    if "clip_s" in content.get("model", {}):  # recordings of any length, rows of 100 ms, whatever the data set had
        content["model"] |= {"clip_s": None, "label_frame_s": Labels.FRAME_S}
    try:
        model = _named_classes(model_from_checkpoint(content, array=array))
    except InputError as error:
        raise InputError(error.rule, path=checkpoint) from None
    if array is not None and array != model.array:
        raise InputError(f"was trained on {model.array.name} audio, not on {array.name}", path=checkpoint)
    if threshold_config is None and "thresholds" in content:
        thresholds = Thresholds.from_dict(content["thresholds"])
    else:
        thresholds = read_thresholds(threshold_config, len(model.classes), default=model.output_format.threshold)
    fabric = make_fabric({"device": device, "devices": 1, "precision": precision}, training=False)
    model.to(fabric.device).eval()
    return Inference(
        fabric,
        model,
        thresholds,
        detector=detector or stored.get("detector", "yolox_tiny"),
        detector_options={"person_class": person_class, "size": detector_size},
        level_dbfs=content.get("level_dbfs"),
        batch_size=batch_size,
        workers=workers,
    )


def _named_classes(model: Model) -> Model:
    """A file of another project has no names: thirteen classes are those of STARSS23, as in all that we know of."""
    if model.classes == tuple(f"class {index}" for index in range(len(STARSS23_CLASSES))):
        model.classes = STARSS23_CLASSES
    return model


def _reader_of(waveform: np.ndarray) -> Read:
    """A waveform in memory as a source of samples at the recording's rate: those that its file would give."""

    def read(recording: Recording, start: int, length: int) -> np.ndarray:
        out = np.zeros((len(waveform), length), dtype=np.float32)
        first, last = max(start, 0), min(start + length, recording.samples)
        if last > first:
            out[:, first - start : last - start] = resample_stretch(
                lambda begin, count: waveform[:, begin : begin + count],
                waveform.shape[1],
                first,
                last,
                recording.file_rate_hz,
                recording.rate_hz,
            )
        return out

    return read
