"""SELDPredictor: recordings -> windows -> estimator -> raw output -> candidates -> events.

The one function behind validation during training, evaluation, inference and the library call (`load`).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataset.classes import STARSS23_CLASSES
from dataset.loader import Loader
from dataset.plans import EvaluationPlan, WindowGrid
from dataset.recordings import Labels, Recording
from dataset.seen import PackedObjects, Track
from dataset.source import Read, Source, Visual, read_file
from output_format.candidates import Candidates, merge
from output_format.contract import Matchable, shown_classes
from output_format.overlap import OverlapMean
from system.checkpoint import load_checkpoint, model_of, thresholds_of
from system.model import Model, StageModel
from util.audio import resample_stretch
from util.boxes import BoxTrack
from util.errors import InputError
from util.events import EventTable
from util.intervals import label_frame_of
from util.machine import make_fabric
from util.microphone_arrays import Array
from util.one_process import Processes
from util.runs import result_checkpoint
from util.thresholds import Thresholds
from util.waveform import as_waveform, zero_padded

Change = Callable[[Recording, np.ndarray], np.ndarray]  # raw output of a recording -> another one
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


class Block(NamedTuple):
    """The next items of a recording: its index, raw output (..., frames), loss of each, whether they are the last."""

    recording: int
    raw: np.ndarray
    losses: np.ndarray
    last: bool


class SELDPredictor:
    """Predict recordings with a model.

    Parameters
    ----------
    fabric : device and precision
    model : the stages of a system; already on the device
    thresholds : (classes,) activity above which a candidate is an event
    unification_deg : tracks of a class that are closer are one source
    frame_s : length of the frames of the events; None: that of the output format
    batch_size : items at a time
    workers : threads that read ahead
    change : made to the raw output of every recording before it is decoded
    """

    def __init__(
        self,
        fabric: Processes,
        model: Model,
        *,
        thresholds: Sequence[float],
        unification_deg: float,
        frame_s: float | None = None,
        batch_size: int = 16,
        workers: int = 1,
        change: Change | None = None,
    ):
        self.fabric, self.model, self.frame_s, self.change = fabric, model, frame_s, change
        self.thresholds, self.unification_deg = np.asarray(thresholds, dtype=np.float64), unification_deg
        self.batch_size, self.workers = batch_size, workers

    def predict(self, source: Source) -> Iterator[Prediction]:
        """Predictions in the order of the recordings, each as soon as its last item is done; losses where labels are.

        Items are batched across recordings; only unfinished recordings are in memory.
        """
        for index, raw, losses in _whole(self.blocks(source)):
            recording = source.recordings[index]
            if self.change is not None:
                raw = self.change(recording, raw)
            candidates = self.model.output_format.candidates(raw, frame_s=self.frame_s)
            events = merge(candidates, self.thresholds, self.unification_deg)
            loss = float(np.mean(losses)) if recording.labels is not None and source.labels is not None else None
            yield Prediction(recording, raw, candidates, events, loss)

    def raw(self, source: Source, stage: str) -> Iterator[tuple[Recording, np.ndarray]]:
        """Raw output (..., frames) of one stage that hears the source itself for every recording, in order."""
        with self._evaluating():
            for index, raw, _ in _whole(self._stage_blocks(self.model.stages[stage], source)):
                yield source.recordings[index], raw

    def blocks(self, source: Source) -> Iterator[Block]:
        """Raw output of every recording in order, in blocks; systems of one stage keep nothing, however long it is."""
        stages = self.model.stages
        with self._evaluating():
            if len(stages) == 1:
                yield from self._stage_blocks(self.model.last, source)
            else:
                yield from self._joined(source)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    def _stage_blocks(self, stage: StageModel, source: Source) -> Iterator[Block]:
        """What each batch holds of each recording."""
        return (blocks[0] for blocks in self._blocks_of([stage], source))

    def _blocks_of(self, stages: Sequence[StageModel], source: Source) -> Iterator[list[Block]]:
        """The same of stages that hear alike: recordings are read, and features computed, once; losses of the last."""
        stage = stages[-1]
        if stage.lacks_statistics:
            print(
                "the weights came without statistics of the features: those of the "
                f"{len(source.recordings)} recordings at hand are taken",
                file=sys.stderr,
            )
            stage.take_statistics(source, self.workers)
        source = source.levelled(stage.level)
        plan = stage.plans.evaluation(source.lengths(stage.rate_hz))
        with Loader(
            source,
            plan,
            batch_size=self.batch_size,
            encode=stage.output_format.encode,
            label_frame_s=stage.output_format.label_frame_s,
            of_whole=stage.of_whole,
            workers=self.workers,
        ) as loader:
            left, join = 0, [_joining(one, plan) for one in stages]
            for batch in loader:
                with self.fabric.autocast():
                    heard = stage.heard(batch)
                    made = [one.predict({**batch, "labels": None}, heard) for one in stages[:-1]]
                    made.append(stage.predict(batch, heard))
                recording = batch["recording"].numpy()
                for rows in np.split(np.arange(len(recording)), np.flatnonzero(np.diff(recording)) + 1):
                    index = int(recording[rows[0]])
                    left = (left or plan.windows_of(index)) - len(rows)
                    yield [
                        Block(index, join_rows([raw[row] for row in rows], not left), losses[rows], not left)
                        for join_rows, (raw, losses) in zip(join, made)
                    ]

    def _joined(self, source: Source) -> Iterator[Block]:
        """Recordings of a system of several stages, as its row joins their raw outputs."""
        stages = self.model.stages if self.model.whole else self.model.needed([self.model.last.stage.name])
        groups: list[list[str]] = []  # of stages that hear alike
        for name, stage in stages.items():
            if not stage.stage.takes:
                alike = next((group for group in groups if stages[group[0]].hears_like(stage)), None)
                groups.append([name]) if alike is None else alike.append(name)
        hearing = [name for group in groups for name in group]
        outputs = [_wholes(self._blocks_of([stages[name] for name in group], source)) for group in groups]
        for of_groups in zip(*outputs):
            parts = [part for of_group in of_groups for part in of_group]
            index = parts[0][0]
            raw = {name: part[1] for name, part in zip(hearing, parts)}
            losses = dict(zip(hearing, (part[2] for part in parts)))
            for name, stage in stages.items():
                if takes := stage.stage.takes:
                    taken = taken_source(source, takes, {source.recordings[index].name: raw}, [index])
                    ((_, raw[name], losses[name]),) = _whole(self._stage_blocks(stage, taken))
            ordered = {name: raw[name] for name in stages}
            yield Block(index, self.model.join(ordered), losses[list(stages)[-1]], True)


def taken_source(
    source: Source, takes: Sequence[str], raw: Mapping[str, Mapping[str, np.ndarray]], indices: Sequence[int]
) -> Source:
    """A source whose samples are the raw outputs of earlier stages: channels one after the other, a sample a frame.

    Parameters
    ----------
    takes : names of those stages, in the order of the channels
    raw : by name of the recording, then by stage: (..., frames)
    indices : the recordings of `source` to take
    """
    recordings = [source.recordings[index] for index in indices]
    frames = {one.name: min(raw[one.name][name].shape[-1] for name in takes) for one in recordings}

    def read(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
        parts = [raw[recording.name][name] for name in takes]
        total = frames[recording.name]
        stacked = np.concatenate([part.reshape(-1, part.shape[-1])[:, :total] for part in parts])
        return zero_padded(lambda first, last: stacked[:, first:last], channels, total, start, start + length)

    first = raw[recordings[0].name]
    channels = sum(first[name].size // first[name].shape[-1] for name in takes)
    return Source(
        recordings,
        source.labels,
        source.visual,
        read,
        channels,
        lambda recording, rate_hz: frames[recording.name],
    )


def _joining(stage: StageModel, plan: EvaluationPlan) -> Callable[[Sequence[np.ndarray], bool], np.ndarray]:
    """What joins raw outputs of successive items of a recording, given whether they are the last ones."""
    if isinstance(plan, WindowGrid) and plan.reach and isinstance(stage.output_format, Matchable):
        hop = plan.hop // plan.framing.frames_per_output
        return OverlapMean(stage.output_format.in_order_of, hop, plan.reach)
    return lambda rows, last: np.concatenate(rows, axis=-1) if len(rows) > 1 else rows[0]


Whole = tuple[int, np.ndarray, np.ndarray]  # of a recording: its index, raw output, losses of its items


def _whole(blocks: Iterable[Block]) -> Iterator[Whole]:
    """The blocks of each recording together."""
    return (made[0] for made in _wholes([block] for block in blocks))


def _wholes(blocks: Iterable[Sequence[Block]]) -> Iterator[list[Whole]]:
    """The blocks of each recording together, of each of several stages."""
    held: list[Sequence[Block]] = []
    for of_stages in blocks:
        held.append(of_stages)
        if of_stages[0].last:
            yield [
                (part[0].recording, np.concatenate([block.raw for block in part], axis=-1),
                 np.concatenate([block.losses for block in part]))
                for part in zip(*held)
            ]  # fmt: skip
            held = []


class Inference:
    """A checkpoint that is ready for recordings: what `load` gives, and what the command line uses.

    Parameters
    ----------
    fabric : device and precision
    model : already on the device
    detector : of people, for audio-visual models
    spare_detector : taken where the detector must be downloaded and cannot be; None: that is an error
    detector_options : keywords of `detection.detector.Detector`
    batch_size : windows at a time
    workers : threads that read ahead
    level_dbfs : of the recordings that the checkpoint was trained on (`doctor.levels`), None: unknown
    foreign : the checkpoint is another project's, which does not tell its array

    Attributes
    ----------
    rate_hz : that the model hears
    frame_s, label_frame_s : length of a frame of its output, and of the frames of the events
    """

    label_frame_s = Labels.FRAME_S

    def __init__(
        self,
        fabric: Processes,
        model: Model,
        thresholds: Thresholds,
        *,
        detector: str = "yolox_tiny",
        spare_detector: str | None = None,
        detector_options: Mapping[str, Any] | None = None,
        level_dbfs: float | None = None,
        foreign: bool = False,
        batch_size: int = 16,
        workers: int = 1,
    ):
        self.fabric, self.model, self.thresholds, self.detector = fabric, model, thresholds, detector
        self.spare_detector, self.detector_options = spare_detector, dict(detector_options or {})
        self.batch_size, self.workers = batch_size, workers
        self.level_dbfs, self.foreign = level_dbfs, foreign
        self.rate_hz = model.rate_hz
        self.frame_s = model.output_format.frame_s

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
        recording = Recording("waveform", Path("waveform"), None, None, self.model.array, waveform.shape[1], rate_hz)
        visual = None
        if frames is not None and (producer := self.model.producer) is not None and self.model.visual:
            track = _SEEN[producer.name](self, frames, self.look_times_s(recording))
            visual = lambda _, time_s: track.at(time_s)  # noqa: E731
        return self.recording_events(recording, visual=visual, read=_reader_of(waveform))

    def recording_events(
        self, recording: Recording, *, visual: Visual | None = None, read: Read = read_file
    ) -> EventTable:
        """The events of a recording."""
        blocks = self.blocks(recording, visual=visual, read=read)
        return self.events(Candidates.joined([self.candidates(block, first) for first, block in blocks]))

    @property
    def shown_classes(self) -> tuple[str, ...]:
        """What its events are called."""
        return shown_classes(self.model.output_format, self.model.classes)

    def open_detector(self, *, progress: bool = True) -> Any:
        """The `detection.detector.Detector` of people.

        Raises
        ------
        InputError : as it
        """
        from detection.detector import Detector  # onnxruntime, only where there are pictures
        from detection.models import NotDownloaded

        try:
            return Detector(self.detector, progress=progress, **self.detector_options)
        except NotDownloaded as error:
            if self.spare_detector is None:
                raise
            print(f"{error}\npeople are looked for with the detector {self.spare_detector} instead", file=sys.stderr)
            self.detector, self.spare_detector = self.spare_detector, None
            return self.open_detector(progress=progress)

    def blocks(
        self, recording: Recording, *, visual: Visual | None = None, read: Read = read_file
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Raw output of a recording from its start on, block by block; blocks end where a label frame does.

        Yields
        ------
        first frame of the block, raw output (..., frames)
        """
        first, held = 0, None
        for block in self._predictor(self.label_frame_s).blocks(self._source(recording, visual, read)):
            held = block.raw if held is None else np.concatenate([held, block.raw], axis=-1)
            end = held.shape[-1]
            if not block.last:  # up to the last frame that begins a label frame
                place = label_frame_of(first + np.arange(end + 1), self.frame_s, self.label_frame_s)
                end = int(np.flatnonzero(np.diff(place, prepend=place[0] - 1))[-1])
            if end:
                yield first, held[..., :end]
            first, held = first + end, held[..., end:]

    def prediction(
        self, recording: Recording, *, visual: Visual | None = None, frame_s: float | None = None
    ) -> Prediction:
        """What is said of a recording as a whole, events in frames of a length; None: that of the output format."""
        (made,) = self._predictor(frame_s).predict(self._source(recording, visual))
        return made

    def _predictor(self, frame_s: float | None) -> SELDPredictor:
        return SELDPredictor(
            self.fabric,
            self.model,
            thresholds=self.thresholds.presence,
            unification_deg=self.thresholds.unification_deg,
            frame_s=frame_s,
            batch_size=self.batch_size,
            workers=self.workers,
        )

    def _source(self, recording: Recording, visual: Visual | None = None, read: Read = read_file) -> Source:
        producer = self.model.producer
        looks = (visual or producer.nothing) if self.model.visual and producer is not None else None
        return Source([recording], visual=looks, read=read)

    def label_frames(self, recording: Recording) -> int:
        """Label frames of a recording."""
        return math.ceil(self.frame_count(recording) * self.frame_s / self.label_frame_s - 1e-6)

    def frame_count(self, recording: Recording) -> int:
        """Frames of the raw output of a recording, at most."""
        plan = self.model.evaluation_plan(self._source(recording).lengths(self.rate_hz))
        return round(plan.output_frames(0) * plan.framing.output_frame_s / self.frame_s)

    def look_times_s(self, recording: Recording) -> np.ndarray:
        """Times (looks,) in s at which the model looks at the picture, in order."""
        return self.model.look_times_s(self._source(recording).lengths(self.rate_hz))

    def candidates(self, raw: np.ndarray, first: int = 0) -> Candidates:
        """A block of raw output that begins with frame `first` -> candidates per label frame."""
        return self.model.output_format.candidates(raw, frame_s=self.label_frame_s, first=first)

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
    spare_detector: str | None = None,
    person_class: int | None = None,
    detector_size: tuple[int, int] | None = None,
    latency_s: float | None = None,
    views: int = 1,
    overlap: int = 1,
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
    spare_detector : of people, where that one must be downloaded and cannot be; None: that is an error
    person_class, detector_size : of the detector, see `detection.detector.Detector`
    latency_s : longest time from a frame to its row, two label frames at least; None: windows as far apart as usual
    views : predictions are the mean of those of the sound turned and mirrored in so many ways (Ambisonics: up to 16)
    overlap : windows (1, 3, 5 ...) that the prediction of a frame is the mean of

    Raises
    ------
    InputError : no checkpoint, or of another array; a latency or an overlap that its windows do not allow
    """
    checkpoint = Path(checkpoint)
    if checkpoint.is_dir():
        checkpoint = result_checkpoint(checkpoint)
    content = load_checkpoint(checkpoint, array=array)
    try:
        model = named_classes(model_of(content))
    except InputError as error:
        raise InputError(error.rule, path=checkpoint) from None
    if array is not None and array != model.array:
        raise InputError(f"was trained on {model.array.name} audio, not on {array.name}", path=checkpoint)
    model.predict_with(latency_s=latency_s, views=views, overlap=overlap)
    thresholds = thresholds_of(content, threshold_config, model)
    fabric = make_fabric(device, 1, precision, training=False)
    model.to(fabric.device).eval()
    return Inference(
        fabric,
        model,
        thresholds,
        detector=detector or content.arguments.get("detector", "yolox_tiny"),
        spare_detector=None if detector else spare_detector,
        detector_options={"person_class": person_class, "size": detector_size},
        level_dbfs=content.level_dbfs,
        foreign=content.foreign,
        batch_size=batch_size,
        workers=workers,
    )


def named_classes(model: Model) -> Model:
    """The model; of another project, which has no names, thirteen classes are those of STARSS23, as in all we know."""
    if model.classes == tuple(f"class {index}" for index in range(len(STARSS23_CLASSES))):
        model.classes = STARSS23_CLASSES
    return model


def _boxes_seen(inference: Inference, frames: Frames, times_s: np.ndarray) -> BoxTrack:
    from detection.at_times import detect_at  # onnxruntime and PyAV, only where there are pictures

    return detect_at(frames, inference.open_detector(progress=False), times_s, progress=False)


def _objects_seen(inference: Inference, frames: Frames, times_s: np.ndarray) -> Track:
    return PackedObjects(_boxes_seen(inference, frames, times_s))


def _looks_seen(inference: Inference, frames: Frames, times_s: np.ndarray) -> Track:
    from detection.resnet50 import Backbone, look_at_times

    backbone = Backbone(inference.detector, device=inference.fabric.device, progress=False)
    return look_at_times(frames, backbone, times_s)


_SEEN = {"boxes": _boxes_seen, "objects": _objects_seen, "resnet50": _looks_seen}  # by producer


def _reader_of(waveform: np.ndarray) -> Read:
    """A waveform in memory as a source of samples: those that its file would give."""

    def read(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
        def inside(first: int, last: int) -> np.ndarray:
            return resample_stretch(
                lambda begin, count: waveform[:, begin : begin + count],
                waveform.shape[1],
                first,
                last,
                recording.rate_hz,
                rate_hz,
            )

        total = recording.samples_at(rate_hz)
        return zero_padded(inside, len(waveform), total, start, start + length)

    return read
