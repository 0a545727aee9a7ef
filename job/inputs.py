"""What a command line of inference names: recordings with their videos, and a checkpoint."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dataset.layouts import layout_of_file
from job.data import check_framing
from seld_predictor import Inference, load
from util.audio import FILM_SUFFIXES
from util.errors import InputError
from util.find import SOUND_SUFFIXES, VIDEO_SUFFIXES, Found, beside, folder_names, walk
from util.job_arguments import Arguments
from util.microphone_arrays import FLAG_OF_ARRAY, Array, array_of_flag
from util.parallel import Opens, Where
from util.runs import named_checkpoint

SHIPPED = Path(__file__).resolve().parent.parent / "pretrained"


def shipped_checkpoint(array: Array | None) -> Path:
    """Where the checkpoint that comes with this project lies, for an array (None: Ambisonics); it may not be there."""
    return SHIPPED / f"{'foa' if array is None else FLAG_OF_ARRAY.get(array.name, array.name)}.pth"


@dataclass(frozen=True)
class SoundAndFilm:
    """One recording that the command line names, with the video that belongs to it.

    Attributes
    ----------
    folder : name of the folder for what is written, where there are several recordings
    """

    audio: Path
    video: Path | None
    folder: str

    @property
    def name(self) -> str:
        """What its files are called."""
        return self.audio.stem


def inference_arguments(given: Mapping[str, Any], **defaults: Any) -> Arguments:
    """Arguments of a job that predicts recordings as they are: flags, else `defaults`, else those of the table.

    Raises
    ------
    InputError : --boxes asks for boxes that only scores are compared with
    """
    args = Arguments.of({**defaults, **given})
    if args.boxes not in ("own", "empty"):
        rule = "a recording is predicted with its own boxes or with none (empty); -eval scores what others are worth"
        raise InputError(f"--boxes {args.boxes}: {rule}")
    return args.changed(no_video=args.no_video or args.boxes == "empty")


def open_checkpoint(args: Arguments, given: Mapping[str, Any]) -> tuple[Inference, Path]:
    """The checkpoint named by -em, ready for recordings; without -em that of the newest run, else the shipped one.

    Parameters
    ----------
    args : of `inference_arguments`
    given : the values that flags give, which the checkpoint has to fit or which go before its own

    Raises
    ------
    InputError : no checkpoint; a flag asks for another array or framing than it was trained with
    """
    array = array_of_flag(args.format)
    checkpoint = named_checkpoint(given, shipped=shipped_checkpoint(array))
    inference = load(
        checkpoint,
        device=args.device,
        precision="32" if args.precision == "auto" else args.precision,
        array=array,
        threshold_config=args.threshold_config,
        detector=given.get("detector"),
        # a newcomer's first picture must not fail for want of a network
        spare_detector="builtin" if checkpoint.resolve().parent == SHIPPED else None,
        person_class=args.person_class,
        detector_size=args.detector_size,
        latency_s=args.latency_s,
        views=args.views,
        overlap=args.overlap,
        batch_size=args.batch_size,
        workers=args.workers,
    )
    if checkpoint.parent == SHIPPED and not given.get("eval_model"):
        print(
            f"no run of your own: the shipped checkpoint {checkpoint.name}, {inference.model.system.title}, "
            f"{len(inference.model.classes)} classes, trained on simulated scenes (see {SHIPPED / 'README.md'}; "
            "-em takes another)",
            file=sys.stderr,
        )
    if array is None and inference.foreign:
        print(
            f"{checkpoint}: of another project, which does not say what its channels are; "
            "--format foa, mic or bin says it",
            file=sys.stderr,
        )
    check_framing(given, inference.model.hearing.plans, checkpoint)
    return inference, checkpoint


@dataclass(frozen=True)
class Opened(Opens):
    """A checkpoint for a job that works recording by recording: each of its processes opens it once.

    Attributes
    ----------
    args, given : as `open_checkpoint` takes them
    checkpoint : as the user named it, or as it was found
    """

    args: Arguments
    given: dict[str, Any]
    checkpoint: Path

    @classmethod
    def of(cls, args: Arguments, given: Mapping[str, Any]) -> Opened:
        """Opened here."""
        inference, checkpoint = open_checkpoint(args, given)
        files = {"eval_model": str(checkpoint), "threshold_config": args.threshold_config}
        if (given.get("detector") or "").endswith(".onnx"):
            files["detector"] = given["detector"]
        absolute = {name: os.path.abspath(path) for name, path in files.items() if path}
        made = cls(args.changed(threshold_config=absolute.get("threshold_config")), {**given, **absolute}, checkpoint)
        made.__dict__["inference"] = inference
        return made

    @cached_property
    def inference(self) -> Inference:
        """Ready for recordings."""
        return open_checkpoint(self.args, self.given)[0]

    @property
    def where(self) -> Where:
        """Where the flags say that recordings are worked on."""
        return Where(self.args.processes, self.args.cluster)


@dataclass(frozen=True)
class Inputs:
    """What files and folders on a command line name.

    Attributes
    ----------
    items : the recordings
    left_out : what folders hold besides them, one line a reason
    """

    items: list[SoundAndFilm]
    left_out: list[str]


def find_items(files: Sequence[str]) -> Inputs:
    """Recordings among files and folders, each with its video.

    One sound and one video file belong together whatever their names; else a video belongs to the sound file of the
    same stem, in the same folder or among the files named; else what the layout of a data root says. Videos alone are
    films with their own sound. Recordings of one name, of two cards perhaps, get folders of different names for what is
    written.

    Raises
    ------
    InputError : no such file, a folder without a sound file, a video without a sound file
    """
    sounds: list[Path] = []
    videos: list[Path] = []
    left_out: list[tuple[Path, Found]] = []
    for path in map(Path, files):
        if path.is_dir():
            found = walk(path, SOUND_SUFFIXES)
            if not found.files:
                raise InputError(_no_recording(found, path), path=path)
            sounds += found.files
            left_out.append((path, found))
        elif not path.exists():
            raise InputError("no such file", path=path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            videos.append(path)
        else:
            sounds.append(path)
    if not sounds:
        return Inputs(_films(videos), [])
    sounds = list({os.path.abspath(sound): sound for sound in sounds}.values())  # named, and in a folder that is named
    if len(sounds) == len(videos) == 1:
        return Inputs([SoundAndFilm(sounds[0], videos[0], sounds[0].stem)], [])
    by_stem = {_stem(video): video for video in videos}
    if left := by_stem.keys() - {_stem(sound) for sound in sounds}:
        raise InputError("belongs to none of the sound files: none has its name", path=by_stem[min(left)])
    folders = folder_names(sounds)
    items = [SoundAndFilm(sound, _video_beside(sound) or by_stem.get(_stem(sound)), folders[sound]) for sound in sounds]
    used = {os.path.abspath(item.video) for item in items if item.video is not None}
    lines = []
    for folder, found in left_out:
        others = found.left_out.pop("of another kind", [])
        if rest := [path for path in others if os.path.abspath(path) not in used]:
            found.left_out["of another kind"] = rest
        lines += found.remarks(folder)
    return Inputs(items, lines)


def _no_recording(found: Found, folder: Path) -> str:
    why = f" ({'; '.join(found.remarks(folder))})" if found.left_out else ""
    return f"holds no recording ({', '.join(SOUND_SUFFIXES)}){why}"


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _films(videos: Sequence[Path]) -> list[SoundAndFilm]:
    """Films whose own sound is the recording.

    Raises
    ------
    InputError : one without sound, two of one name
    """
    import av  # only where there are films

    from util.video import has_pictures

    items: dict[str, SoundAndFilm] = {}
    for path in videos:
        try:
            with av.open(os.path.abspath(path), metadata_errors="replace") as container:
                sound = bool(container.streams.audio)
        except (av.error.FFmpegError, OSError) as error:
            rule = f"is a video that cannot be opened ({error.strerror}), and no sound file is given"
            raise InputError(rule, path=path) from None
        if not sound or path.suffix.lower() not in FILM_SUFFIXES:
            raise InputError("is a video without sound of its own: give the multichannel sound file too", path=path)
        if path.stem in items:
            rule = f"has the name of {items[path.stem].audio}: predict them one after the other"
            raise InputError(rule, path=path)
        items[path.stem] = SoundAndFilm(path, path if has_pictures(path) else None, path.stem)
    return list(items.values())


def _video_beside(sound: Path) -> Path | None:
    found = beside(sound, VIDEO_SUFFIXES)
    return found or next((path for path in layout_of_file(sound).videos_of(sound) if path.is_file()), None)
