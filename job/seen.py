"""What is seen: the files that a data set's producer lacks, and what it sees in a user's own video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.recordings import Recording
from dataset.seen import BOXES, PackedObjects, Producer
from dataset.source import Source, Visual
from job.picture import PlacedSight, boxes_of_video
from seld_predictor import Inference
from system.row import Plans
from util.boxes import BoxTrack
from util.errors import InputError
from util.job_arguments import Arguments
from util.looks import look_file, look_path, read_looks, write_looks
from util.one_process import Processes
from util.placement import Placement
from util.together import gathered, share

Due = dict[Path, np.ndarray | None]  # video -> times in s that are looked at; None: any


@dataclass(frozen=True)
class Seen:
    """What is seen in a video.

    Attributes
    ----------
    visual : for the predictor
    boxes : to be shown, where there are some
    """

    visual: Visual
    boxes: BoxTrack | None = None


def make_seen(
    producer: Producer,
    args: Arguments,
    recordings: Sequence[Recording],
    evaluated: Sequence[Recording] = (),
    plans: Sequence[Plans] = (),
    processes: Processes | None = None,
) -> None:
    """Make the files of what is seen that are missing.

    Parameters
    ----------
    recordings : that are looked at at any time
    evaluated : that are looked at where the windows of an evaluation are: their box files may hold no more than that
    plans : of the stages that evaluate
    processes : that share the videos; None: this one does it all

    Raises
    ------
    InputError : a video that cannot be read, a detector or weights that cannot be had
    """
    due: Due = {}
    for recording in evaluated:
        if recording.video is not None:
            looks = [_looks_s(recording, one, args.clip_s) for one in plans]
            due[recording.video] = np.unique(np.concatenate([due.get(recording.video, np.zeros(0)), *looks]))
    due |= {recording.video: None for recording in recordings if recording.video is not None}
    videos, make = sorted(due), _EYES[producer.name].make
    if processes is None:
        make(producer, args, {video: due[video] for video in videos}, True)
    else:
        own, first = {video: due[video] for video in share(processes, videos)}, processes.is_global_zero
        gathered(processes, lambda: make(producer, args, own, first))


def _looks_s(recording: Recording, plans: Plans, clip_s: float | None) -> np.ndarray:
    """Times in s at which an evaluation looks at the picture of a recording, in order."""
    lengths = Source([recording], clip_s=clip_s).lengths(plans.framing.rate_hz)
    return plans.evaluation(lengths).look_times_s()


def seen_in_video(inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path) -> Seen:
    """What the model's producer sees in a video, at least at the times that the model looks.

    Parameters
    ----------
    times_s : of the sound
    out : folder for the file that is written, where none lies beside the video

    Raises
    ------
    InputError : a video that cannot be read; no detector or weights; a picture that should be turned and cannot be
    """
    producer = inference.model.producer or BOXES
    return _EYES[producer.name].look(producer, inference, video, times_s, placement, out)


def _make_boxes(producer: Producer, args: Arguments, due: Due, progress: bool) -> None:
    from object_detection import box_rate, ensure_boxes  # onnxruntime and PyAV, only where there is a video

    rate_hz, times_s = box_rate(args.box_rate), list(due.values())
    ensure_boxes(list(due), args.detector, rate_hz=rate_hz, times_s=times_s, progress=progress, things=producer.things)


def _boxes_seen(
    producer: Producer, inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path
) -> Seen:
    track = boxes_of_video(video, inference.open_detector(), times_s, placement, out, things=producer.things)
    held = PackedObjects(track) if producer.things else track
    return Seen(PlacedSight(held, placement, producer), track)


def _make_looks(producer: Producer, args: Arguments, due: Due, progress: bool) -> None:
    """All of a video is looked at."""
    from detection.resnet50 import ensure_looks  # PyAV, only where there is a video

    ensure_looks(list(due), args.detector, device=args.device, progress=progress)


def _looks_seen(
    producer: Producer, inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path
) -> Seen:
    from detection.resnet50 import Backbone, is_current, look_at  # PyAV, only where there is a video
    from detection.videos import source_video

    if placement.yaw_deg:
        raise InputError(f"--video-yaw-deg {placement.yaw_deg:g}: features of pictures cannot be turned")
    backbone, source = Backbone(inference.detector, device=inference.fabric.device), source_video(video)
    path = look_file(video, backbone.label)
    if not is_current(path, source, backbone):
        path = out / look_path(video, backbone.label).name
        if not is_current(path, source, backbone):
            write_looks(path, look_at(source, backbone))
    return Seen(PlacedSight(read_looks(path), placement, producer))


@dataclass(frozen=True)
class _Eye:
    """How a producer looks.

    Attributes
    ----------
    make : (producer, arguments, what is due of which videos, whether progress is shown), files beside the videos
    look : (producer, inference, video, times of the sound, placement, folder) -> what is seen in a user's own video
    """

    make: Callable[[Producer, Arguments, Due, bool], None]
    look: Callable[[Producer, Inference, Path, np.ndarray, Placement, Path], Seen]


_DETECTION = _Eye(_make_boxes, _boxes_seen)
# by producer; pictures in memory, which the library call takes, have a table of their own in `seld_predictor`
_EYES = {"boxes": _DETECTION, "objects": _DETECTION, "resnet50": _Eye(_make_looks, _looks_seen)}
