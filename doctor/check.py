"""`python -m dataset check`: the doctor. What is wrong with recordings, and what would put it right."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset.layouts import LAYOUTS, DataRoot
from dataset.recordings import Labels, Recording, recording_of_file
from doctor.directions import (
    LEAST_FRAMES,
    Truth,
    Verdict,
    judge,
    judge_video,
    label_lag_s,
    sample,
    together,
    truth_of_boxes,
    truth_of_labels,
)
from doctor.labels import suspicions
from doctor.levels import level_remark
from doctor.sound import FRAME_S, Directions, Intensity, Levels, channel_names, levels_of, scan
from util import cache
from util.arguments import add_flags
from util.audio import FILM_SUFFIXES, audio_info
from util.boxes import BoxTrack, box_file, read_boxes
from util.channels import AS_THE_FILE_SAYS, Wanted, channels_of
from util.dialects import DIALECTS, read_columns
from util.errors import InputError
from util.events import EventTable
from util.find import SOUND_SUFFIXES, Found, beside, walk
from util.microphone_arrays import ARRAY_OF_FORMAT, ARRAYS, Array, array_of_flag
from util.parallel import HERE, Progress, Where, add_where, each, where_of

DETECTORS = ("yolox_tiny", "yolox_nano", "yolox_s", "builtin")
SILENT_RMS, _QUIET_RMS = 1e-5, 1e-3
_CHANNEL_DB = 26.0  # a channel this far below the others is no matter of direction any more
_OFFSET = 0.02
_OTHER_LENGTH = "is not as long as the sound"
_LEAST_CLIPPED = 12
_SHOWN = 3  # recordings named per problem
_ALONE_DB = (2.3, 3.9)  # weights of one recording from which on they are said to be those of FuMa, of N3D
_POOLED_FRAMES = 150  # of each recording
_POOLED_ROWS = 500  # of each label file
_LEAST_SPREAD = 0.15  # of the directions along an axis, whose slope is told
_GAIN_DB = 5.0
_ASPECT_OFF = 0.15  # of width over height of a whole sphere
_CAPSULES_OFF_DB = 3.0  # of the weights that their matrix makes
_CAPSULES_APART_DB = 6.0  # levels of the capsules of one microphone over a whole recording


@dataclass(frozen=True)
class Finding:
    """One problem of one recording (or of the whole root).

    Attributes
    ----------
    rule : what is wrong; the same words for the same problem, so that recordings can be counted
    detail : numbers of this recording
    note : worth knowing, no problem
    """

    path: Path
    rule: str
    detail: str = ""
    note: bool = False

    @property
    def in_brackets(self) -> str:
        """The numbers, as they stand behind the rule."""
        return f" ({self.detail})" if self.detail else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.description = (
        "Check recordings before anything is trained on them: levels, clipped or silent channels, files that are "
        "missing, labels beyond the end; and whether the sound comes from where labels (or people in the picture) "
        "say, or which channel order, sign, turn or delay would fit better. Exit status 1 where something is wrong."
    )
    parser.add_argument("paths", nargs="+", metavar="ROOT|FILE", help="data roots, folders of recordings, sound files")
    parser.add_argument(
        "--format",
        choices=sorted(ARRAY_OF_FORMAT),
        help="what the channels are, where no folder (foa_dev, mic_dev, binaural_dev) says it [4 channels: foa]",
    )
    parser.add_argument(
        "--detector", metavar="NAME", help=f"whose box files to use [the first found of {', '.join(DETECTORS)}]"
    )
    add_flags(parser, "person_class", "detector_size")
    parser.add_argument("--detect", action="store_true", help="detect people where there are no box files yet")
    parser.add_argument(
        "--channel-order", choices=["acn", "fuma"], help="as of seld.py -infer [what the file says, else acn]"
    )
    parser.add_argument("--norm", choices=["sn3d", "n3d"], help="as of seld.py -infer")
    add_flags(parser, "channels_used", "a_format")
    parser.add_argument(
        "-em", "--eval-model", metavar="CHECKPOINT", help="compare the level with that of its training recordings"
    )
    add_where(parser, workers=1, what="recordings")
    parser.add_argument("--cache", metavar="DIR", help="folder of boxes that do not lie beside the videos")
    parser.add_argument("--all", action="store_true", help=f"name every recording of a problem [the first {_SHOWN}]")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no notes")


def run(args: argparse.Namespace) -> int:
    """Check, print; 1 where something is wrong, else 0."""
    array, where = array_of_flag(args.format), where_of(args)
    cache.use(args.cache)
    wanted = Wanted(args.channel_order, args.norm, args.channels_used, args.a_format)
    trained_dbfs = None
    if args.eval_model is not None:
        from util.checkpoint import read_weights_file  # PyTorch, only where it is asked for

        trained_dbfs = read_weights_file(args.eval_model).get("level_dbfs")
        if trained_dbfs is None:
            print(f"{args.eval_model}: does not say how loud its training recordings were", file=sys.stderr)
    findings: list[Finding] = []
    checked = 0
    for given in map(Path, args.paths):
        found, count = check_path(
            given,
            array=array,
            detector=args.detector,
            detect={"person_class": args.person_class, "size": args.detector_size} if args.detect else False,
            progress=not args.quiet,
            wanted=wanted,
            trained_dbfs=trained_dbfs,
            where=where,
        )
        findings += found
        checked += count
    problems = [finding for finding in findings if not finding.note]
    for line in lines_of(problems, None if args.all else _SHOWN):
        print(line)
    if not args.quiet:
        for line in lines_of([finding for finding in findings if finding.note], _SHOWN):
            print(f"note: {line}")
    wrong = len({finding.path for finding in problems})
    recordings = f"{checked} recording{'s' * (checked != 1)}"
    print(
        f"{recordings} checked: "
        + (f"problems in {wrong} file{'s' * (wrong != 1)}" if problems else "no problem found")
    )
    return 1 if problems else 0


def lines_of(findings: Sequence[Finding], shown: int | None) -> list[str]:
    """One line per problem, with the recordings that have it."""
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_rule[finding.rule].append(finding)
    lines = []
    for rule, same in by_rule.items():
        if len(same) == 1:
            lines.append(f"{same[0].path}: {rule}{same[0].in_brackets}")
            continue
        lines.append(f"{len(same)} files: {rule}")
        for finding in same[:shown]:
            lines.append(f"    {finding.path}{finding.in_brackets}")
        if shown is not None and len(same) > shown:
            lines.append(f"    ... and {len(same) - shown} more")
    return lines


def check_path(
    path: Path,
    *,
    array: Array | None = None,
    detector: str | None = None,
    detect: bool | Mapping[str, Any] = False,
    progress: bool = False,
    wanted: Wanted = AS_THE_FILE_SAYS,
    trained_dbfs: float | None = None,
    where: Where = HERE,
) -> tuple[list[Finding], int]:
    """Check a data root, a folder or a file: what was found, and how many recordings were looked at.

    Parameters
    ----------
    detect : detect people where there are no boxes; keywords of `object_detection.ensure_boxes`

    Raises
    ------
    InputError : no such file or folder, no recording in it
    """
    files, findings, classes = _files_of(path)
    if detect is not False:
        findings += _detect(files, detector or DETECTORS[0], detect if isinstance(detect, Mapping) else {})
    look = Look(array, detector, classes, wanted, trained_dbfs)
    # each line names the path as it was given; workers may have another working directory
    sent = [file.absolute() for file in files] if where.cluster else files
    outcome = each(look, sent, where, Progress("checking", shown=progress, leave=False))
    pool = Pool()
    for file, result in zip(files, outcome.results):
        if result is not None:
            found, seen = result
            findings += [one if one.path != file.absolute() else replace(one, path=file) for one in found]
            pool.join(seen)
    findings += [Finding(files[index], error.rule) for index, error in outcome.broken]
    return findings + list(pool.findings(path)), len(files)


@dataclass(frozen=True)
class Look:
    """Checks one recording, anywhere: what is wrong with it, and what it says of the whole root."""

    array: Array | None
    detector: str | None
    classes: tuple[str, ...] | None
    wanted: Wanted
    trained_dbfs: float | None

    def __call__(self, file: Path) -> tuple[list[Finding], Pool]:
        pool = Pool()
        found = check_recording(
            file,
            array=self.array,
            detector=self.detector,
            classes=self.classes,
            pool=pool,
            wanted=self.wanted,
            trained_dbfs=self.trained_dbfs,
        )
        return found, pool


def _files_of(path: Path) -> tuple[list[Path], list[Finding], tuple[str, ...] | None]:
    """Sound files under a path; problems of the folder as a whole; the names of the classes, where they are known."""
    if path.is_file():
        return [path], [], None
    if not path.is_dir():
        raise InputError("no such file or folder", path=path)
    root = DataRoot(path)
    by_format = {
        name: [file for stage in root.layout.stages for file in root.audio_files(name, stage)]
        for name in ARRAYS
        if name in root.layout.audio
    }
    files = sorted(file for found in by_format.values() for file in found)
    if files:
        stages = root.layout.stages
        folders = {one for name in by_format for stage in stages for one in root.layout.folders(path, name, stage)}
        passed_over = [one for folder in sorted(folders) for one in _passed_over(folder, walk(folder, SOUND_SUFFIXES))]
        return files, [*_companions(root, files), *passed_over], root.classes
    loose = walk(path, SOUND_SUFFIXES)
    if not loose.files:
        raise InputError("holds no recording: neither foa_dev, mic_dev ... nor loose sound files", path=path)
    return loose.files, list(_passed_over(path, loose)), None


def _passed_over(folder: Path, found: Found) -> Iterator[Finding]:
    for line in found.remarks(folder):
        yield Finding(folder, line, note=True)


def _companions(root: DataRoot, files: Sequence[Path]) -> Iterator[Finding]:
    """Labels and videos that are missing, or that belong to no recording."""
    layout = root.layout
    labels = {layout.labels_of(file): file for file in files}
    videos = {video: file for file in files for video in layout.videos_of(file)}
    any_video = any(video.is_file() for video in videos)
    for file in files:
        place = layout.folder_of(file)
        due = layout.labels_of(file)
        if place is not None and place[1] == "dev" and due is not None and not due.is_file():
            yield Finding(file, "has no labels", str(due))
        if any_video and not any(video.is_file() for video in layout.videos_of(file)):
            yield Finding(file, "has no video, other recordings have one", str(layout.videos_of(file)[-1]))
    for path in layout.label_files(root.path):
        if path not in labels:
            yield Finding(path, "are labels of no recording")
    for path in layout.video_files(root.path):
        if path not in videos:
            yield Finding(path, "is a video of no recording")


def _detect(files: Sequence[Path], detector: str, options: Mapping[str, Any]) -> list[Finding]:
    from object_detection import ensure_boxes  # onnxruntime and PyAV, only where they are needed

    videos = sorted({video for file in files if (video := _video_of(file)) is not None})
    try:
        ensure_boxes(videos, detector, **options)
    except InputError as error:
        return [Finding(Path(error.path or videos[0]), error.rule)]
    return []


def _video_of(file: Path) -> Path | None:
    try:
        video = recording_of_file(file, as_it_is=True).video
    except InputError:  # of the sound, which the check of the recording tells
        video = None
    return video or _film_beside(file)


def _film_beside(file: Path) -> Path | None:
    """The mp4 of the same name; a film, whose own sound is looked at, where it has pictures."""
    if file.suffix.lower() not in FILM_SUFFIXES:
        return beside(file, [".mp4"])
    from util.video import has_pictures  # PyAV, only where there is a video

    return file if has_pictures(file) else None


def check_recording(
    file: Path,
    *,
    array: Array | None = None,
    detector: str | None = None,
    classes: Sequence[str] | None = None,
    pool: Pool | None = None,
    wanted: Wanted = AS_THE_FILE_SAYS,
    trained_dbfs: float | None = None,
) -> list[Finding]:
    """All that is wrong with one recording and what belongs to it; a pool gathers what it says of the whole root.

    Parameters
    ----------
    wanted : what the user says of the channels
    trained_dbfs : level of the training recordings of a checkpoint
    """
    try:
        chosen = array or (ARRAYS["foa"] if wanted != AS_THE_FILE_SAYS else None)
        recording = recording_of_file(file, array=chosen, as_it_is=True)
        info = audio_info(file)
        channels = channels_of(info, recording.array, wanted)
        if recording.video is None:
            recording = replace(recording, video=_film_beside(file))
        levels: Levels
        evidence: Directions | None = None
        if recording.array.localises:
            levels, evidence = scan(file, recording.array, matrix=channels.matrix)
        else:
            levels = levels_of(file, matrix=channels.matrix)
    except InputError as error:
        return [Finding(file, error.rule, error.place or "")]
    findings = list(of_levels(recording, levels, trained_dbfs=trained_dbfs))
    findings += [Finding(file, line, note=True) for line in (info.note, *channels.said) if line]
    rate_hz = LAYOUTS[recording.layout].rate_hz
    if recording.rate_hz != rate_hz:
        rule = f"is at {recording.rate_hz} Hz: it is resampled to {rate_hz} Hz whenever it is read"
        findings.append(Finding(file, rule, note=True))
    table = None
    if recording.labels is not None:
        if pool is not None:
            pool.add_labels(recording)
        try:
            table = Labels(None if classes is None else len(classes), classes=classes)(recording)
            findings += _of_label_times(recording, table)
        except InputError as error:
            findings.append(Finding(recording.labels, error.rule, error.place or ""))
    track, of_video = _boxes(recording, detector)
    findings += of_video
    if evidence is not None and (levels.rms > SILENT_RMS).all():
        findings += _of_directions(recording, evidence, table, track, pool or Pool())
    return findings


def of_levels(recording: Recording, levels: Levels, *, trained_dbfs: float | None = None) -> Iterator[Finding]:
    """What the levels of a recording say: silence, clipping, offsets, dead and doubled channels, too quiet or loud.

    Parameters
    ----------
    trained_dbfs : level of the training recordings of a checkpoint, None: unknown
    """
    file, names = recording.audio, channel_names(recording.array)
    level_db = 20 * np.log10(np.maximum(levels.rms, 1e-10))
    if (levels.rms <= SILENT_RMS).all():
        yield Finding(file, "is silent")
        return
    for index, name in enumerate(names):
        others = np.median(np.delete(level_db, index)) if len(names) > 1 else level_db[index]
        if levels.rms[index] <= SILENT_RMS:
            yield Finding(file, f"channel {name} is silent")
        elif level_db[index] < others - _CHANNEL_DB:
            yield Finding(file, f"channel {name} is far below the others", f"{others - level_db[index]:.0f} dB")
        if levels.clipped[index] >= _LEAST_CLIPPED:
            detail = f"{levels.clipped[index]} samples, first at {levels.first_clipped_s[index]:.3f} s"
            yield Finding(file, f"channel {name} is clipped", detail)
        if abs(levels.mean[index]) > _OFFSET:
            yield Finding(file, f"channel {name} has a constant offset", f"{levels.mean[index]:+.3f}")
    for first, second in levels.doubled():
        yield Finding(file, f"channels {names[first]} and {names[second]} hold the same signal")
    if remark := level_remark(levels.level_dbfs, trained_dbfs):
        yield Finding(file, remark)
    elif levels.rms.max() < _QUIET_RMS:
        yield Finding(file, "is very quiet", f"{-level_db.max():.0f} dB below full scale")


def of_length(recording: Recording) -> Iterator[Finding]:
    """A video that is not as long as the sound, or starts at another time; one that cannot be read."""
    from util.video import video_info  # PyAV, only where there is a video

    video = recording.video
    if video is None:
        return
    try:
        info = video_info(video)
    except InputError as error:
        yield Finding(video, error.rule, error.place or "")
        return
    if recording.view == "equirectangular" and abs(info.width / info.height - 2) > _ASPECT_OFF:
        detail = f"{info.width}x{info.height}"
        rule = "is not twice as wide as high: no whole equirectangular picture (360 x 180)? boxes lie elsewhere then"
        yield Finding(video, rule, detail)
    if abs(info.start_s) > 0.05:
        late = "later" if info.start_s > 0 else "earlier"
        rule = f"its picture starts {abs(info.start_s):.2f} s {late} than the sound, as the file says"
        yield Finding(video, rule, note=True)
    if abs(info.start_s + info.duration_s - recording.duration_s) > 0.5:
        detail = f"{info.start_s + info.duration_s:.1f} s, the sound {recording.duration_s:.1f} s"
        yield Finding(video, _OTHER_LENGTH, detail)


def of_ambisonics(path: Path, evidence: Intensity, *, w: int = 0) -> Iterator[Finding]:
    """What the levels of Ambisonics say of weights, or that it is none: capsules of a tetrahedral microphone."""
    if are_capsules(evidence):
        rule = (
            "the channels look like capsules, not like Ambisonics: A-format of a tetrahedral microphone? "
            "(--a-format FLU,FRD,BLD,BRU, in the order of its channels)"
        )
        yield Finding(path, rule)
        return
    yield from _of_gains(path, weights_db(evidence, w), *_ALONE_DB)


def are_capsules(evidence: Intensity) -> bool:
    """Whether four channels are capsules that look apart from one place (A-format) rather than Ambisonics.

    Cardioids hear everything with the same sign: every two of them go together in nearly every frame, all are about
    equally loud, and what the matrix of a tetrahedral microphone makes of them has the weights of Ambisonics, whatever
    their order: that needs their sum alone. Of W, Y, Z and X some two go apart, or (all sound in one eighth of the
    sphere) they are too much alike for it.
    """
    covariance = evidence.covariance[evidence.loud()].astype(np.float64)
    if len(covariance) < LEAST_FRAMES:
        return False
    power = np.diagonal(covariance, axis1=1, axis2=2)
    together = covariance / np.sqrt(np.maximum(power[:, :, None] * power[:, None, :], 1e-30))
    least = together[:, *np.triu_indices(4, 1)].min(axis=1)
    levels_db = 10 * np.log10(np.maximum(power.sum(axis=0), 1e-30))
    total, of_sum = power.sum(), covariance.sum()
    dipoles_db = 10 * np.log10(max(0.75 * (4 * total - of_sum), 1e-30) / max(of_sum / 4, 1e-30))
    alike = levels_db.max() - levels_db.min() < _CAPSULES_APART_DB
    return bool(alike and np.mean(least > 0.1) > 0.8 and abs(dipoles_db) < _CAPSULES_OFF_DB)


def _of_label_times(recording: Recording, table: EventTable) -> Iterator[Finding]:
    frames = int(np.ceil(recording.duration_s / table.frame_s - 1e-6))
    last, file = int(table.frame.max(initial=-1)), recording.labels or recording.audio
    if not len(table):
        yield Finding(file, "has no rows: a recording without any event?", note=True)
    elif last >= frames:
        detail = f"until {(last + 1) * table.frame_s:.1f} s, the sound ends at {recording.duration_s:.1f} s"
        yield Finding(file, "labels go on beyond the end of the sound", detail)


def _boxes(recording: Recording, detector: str | None) -> tuple[BoxTrack | None, list[Finding]]:
    """The boxes of a recording's video where there are some, and what is wrong with the video."""
    video = recording.video
    if video is None:
        return None, []
    findings = list(of_length(recording))
    if any(finding.rule != _OTHER_LENGTH and not finding.note for finding in findings):
        return None, findings  # it cannot be read, or boxes lie elsewhere in it
    for name in [detector] if detector else DETECTORS:
        if (path := box_file(video, name)).is_file():
            try:
                track = read_boxes(path)
            except InputError as error:
                return None, [*findings, Finding(path, error.rule)]
            if track.grid_hz is None:
                return track, findings
    rule = "no boxes yet: the picture was not compared with the sound (--detect)"
    return None, [*findings, Finding(video, rule, note=True)]


def _of_directions(
    recording: Recording,
    evidence: Directions,
    table: EventTable | None,
    track: BoxTrack | None,
    pool: Pool,
) -> Iterator[Finding]:
    """Compare sound with labels (else with the people in the picture), and the picture with either."""
    file, frames = recording.audio, len(evidence.energy)
    labels = table if table is not None and len(table) else None
    labelled = labels is not None
    truth = verdict = None
    if labels is not None:
        truth = truth_of_labels(labels.frame, labels.azimuth_deg, labels.elevation_deg)
        truth = truth[truth.frame < frames]
    elif track is not None:
        truth = truth_of_boxes(track, frames, FRAME_S)
    if truth is not None:
        verdict = judge(evidence, truth)
    if isinstance(evidence, Intensity):
        w = 0 if verdict is None else verdict.hypothesis.order.index(0)
        found = list(of_ambisonics(file, evidence, w=w))
        yield from found
        if found and are_capsules(evidence):
            return
    if truth is None:
        return
    if verdict is not None and verdict.hypothesis.name:
        rule = verdict.hypothesis.name
        if not labelled:
            rule = f"compared with the people in the picture {rule}"
        yield Finding(file, rule, _fit(verdict))
        return
    if labelled and (lag_s := label_lag_s(evidence, truth, FRAME_S)) is not None:
        late = "after" if lag_s > 0 else "before"
        yield Finding(file, f"the sound comes {late} its labels", f"{abs(lag_s):.1f} s")
        return
    pool.add(recording.array, evidence, truth)
    if verdict is not None and isinstance(evidence, Intensity):
        yield from _of_single_gains(file, evidence, truth, least_fit=0.75, least_opposite=0.75)
    if track is None:
        return
    if labels is not None:
        frame, azimuth_deg = labels.frame, labels.azimuth_deg
    else:
        frame = np.intersect1d(evidence.loud(), truth.frame)
        azimuth_deg = evidence.azimuth_deg(frame)
    video = judge_video(frame, azimuth_deg, track, FRAME_S, least=0.3 if labelled else 0.55)
    if video is None:
        return
    known, picture = "labels" if labelled else "sound", recording.video or file
    detail = f"fit {video.score:.2f} instead of {video.score_as_is:.2f}"
    if video.yaw_deg:
        rule = f"the picture is turned against the {known}: --video-yaw-deg {video.yaw_deg:.0f}"
        yield Finding(picture, rule, detail)
    if video.offset_s:
        late = "later" if video.offset_s > 0 else "earlier"
        rule = f"starts {abs(video.offset_s):.1f} s {late} than the {known}: --video-offset-s {video.offset_s:g}"
        yield Finding(picture, rule, detail)


def _fit(verdict: Verdict) -> str:
    if verdict.error_deg is None:
        return f"fit {verdict.score:.2f} instead of {verdict.score_as_is:.2f}"
    return f"median error {verdict.error_deg:.0f} instead of {verdict.error_as_is_deg:.0f} degrees"


class Pool:
    """What the recordings of a root say together, of those in which nothing was found alone."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[Directions, Truth]]] = defaultdict(list)
        self._labels: dict[str, list[dict[str, np.ndarray]]] = defaultdict(list)

    def add_labels(self, recording: Recording) -> None:
        """Remember some label rows as they stand in the file; a file that is no csv is told of elsewhere."""
        if recording.labels is not None and recording.dialect in DIALECTS:
            with contextlib.suppress(InputError):
                columns = read_columns(recording.labels, recording.dialect)
                step = max(1, len(next(iter(columns.values()), ())) // _POOLED_ROWS)
                self._labels[recording.dialect].append({name: column[::step] for name, column in columns.items()})

    def add(self, array: Array, evidence: Directions, truth: Truth) -> None:
        """Remember some frames of a recording."""
        most = _POOLED_FRAMES if isinstance(evidence, Intensity) else _POOLED_FRAMES // 3
        taken = sample(evidence, truth, most)
        if len(taken[1]):
            self._samples[array.name].append(taken)

    def join(self, other: Pool) -> None:
        """Remember what another pool remembers."""
        for name, samples in other._samples.items():
            self._samples[name] += samples
        for dialect, labels in other._labels.items():
            self._labels[dialect] += labels

    def findings(self, path: Path) -> Iterator[Finding]:
        """What is wrong with most of them."""
        for dialect, files in self._labels.items():
            files = [columns for columns in files if columns]
            names = set.intersection(*map(set, files)) if files else set()
            columns = {name: np.concatenate([one[name] for one in files]) for name in names}
            for found in suspicions(columns, distance_unit_m=DIALECTS[dialect].distance_unit_m):
                yield Finding(path, f"labels: {found.rule}", found.detail)
        for name, samples in self._samples.items():
            if len(samples) < 2:
                continue
            evidence, truth = together(samples)
            verdict = judge(evidence, truth)
            where = f"the {len(samples)} {name} recordings together: "
            if verdict is not None and verdict.hypothesis.name:
                yield Finding(path, where + verdict.hypothesis.name, _fit(verdict))
            elif isinstance(evidence, Intensity) and len(truth) >= 3 * _POOLED_FRAMES:
                for finding in _of_single_gains(path, evidence, truth, least_fit=0.5, least_opposite=0.3):
                    yield replace(finding, rule=where + finding.rule)


def weights_db(evidence: Intensity, w: int) -> float:
    """Median level of the other channels together against channel `w`, in dB: 0 in SN3D where that is W."""
    power = np.diagonal(evidence.covariance[evidence.loud()], axis1=1, axis2=2).astype(np.float64)
    if not len(power):
        return 0.0
    others = power.sum(axis=1) - power[:, w]
    return float(np.median(10 * np.log10(np.maximum(others, 1e-30) / np.maximum(power[:, w], 1e-30))))


def _of_gains(path: Path, ratio_db: float, fuma_db: float, n3d_db: float) -> Iterator[Finding]:
    """Weights of Ambisonics: Y, Z and X together have the energy of W in SN3D, in any sound field."""
    detail = f"Y, Z and X together are {ratio_db:+.1f} dB against W, SN3D has 0"
    if ratio_db > n3d_db:
        yield Finding(path, "Y, Z and X are too strong: weights of N3D? (--norm n3d)", detail)
    elif ratio_db > fuma_db:
        yield Finding(path, "W is too weak: weights of FuMa? (W 3 dB lower: --channel-order fuma)", detail)
    elif ratio_db < -4.0:
        yield Finding(path, "Y, Z and X are too weak against W", detail)


def _of_single_gains(
    path: Path, evidence: Intensity, truth: Truth, *, least_fit: float, least_opposite: float
) -> Iterator[Finding]:
    """One of Y, Z and X that is too strong, too weak or upside down: the flow along its axis against the direction.

    Parameters
    ----------
    least_fit : correlation of flow and direction from which on a slope is believed
    least_opposite : negative correlation from which on a sign is
    """
    truth = truth[np.isin(truth.frame, evidence.loud()) & (np.isfinite(truth.direction).all(axis=2).sum(axis=1) == 1)]
    if len(truth) < LEAST_FRAMES:
        return
    rows = evidence.covariance[truth.frame].astype(np.float64)
    flow = rows[:, 0, [3, 1, 2]] / np.maximum(rows[:, 0, :1], 1e-30)  # x, y, z
    direction = truth.direction[:, 0]
    spread = direction.std(axis=0)
    covariance = np.mean((flow - flow.mean(axis=0)) * (direction - direction.mean(axis=0)), axis=0)
    fit = covariance / np.maximum(spread * flow.std(axis=0), 1e-12)
    known = spread > _LEAST_SPREAD
    slope = np.where(known, covariance / np.maximum(spread, 1e-12) ** 2, np.nan)
    for axis, (name, ends) in enumerate((("X", "front and back"), ("Y", "left and right"), ("Z", "up and down"))):
        others = np.delete(slope, axis)[np.delete(known & (fit > least_fit), axis)]
        if not known[axis] or not len(others):
            continue
        if fit[axis] < -least_opposite:
            yield Finding(path, f"{ends} are exchanged: {name} has the wrong sign", f"correlation {fit[axis]:.2f}")
        elif fit[axis] > least_fit:
            off_db = 20 * np.log10(slope[axis] / np.median(others))
            if off_db < -_GAIN_DB or (off_db > _GAIN_DB and len(others) == 2):
                strong = "strong" if off_db > 0 else "weak"
                yield Finding(path, f"channel {name} is too {strong}", f"{off_db:+.1f} dB against the others")
