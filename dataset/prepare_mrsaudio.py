"""Material in the form of the MRSAudio set -> a data root: stretches cut out, resampled, labelled and split."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataset.classes import MRSAUDIO_CLASS_INDEX, MRSAUDIO_CLASSES
from dataset.layouts import DataRoot
from dataset.lists import write_lists
from util.audio import RATE_HZ, audio_info, read_audio, write_audio
from util.dialects import write_events
from util.errors import InputError
from util.files import read_json, write_json, write_text
from util.microphone_arrays import ARRAYS
from util.parallel import Progress, add_where, each, where_of
from util.position_tracks import class_of_item, read_track, track_events

LABEL_FRAMES_PER_S = 10
_FIELDS = {"foa": "foa_fn", "binaural": "wav_fn", "video": "vid_fn", "track": "pos_fn"}
SYNTHETIC_MARKER = "SYNTHETIC.txt"  # the simulator's: in the source, it goes with the data
_SHORTFALL_S = 0.1  # an audio file that ends this much before its stretch is padded; more is an error


@dataclass(frozen=True)
class SourceItem:
    """One entry of the metadata file.

    Attributes
    ----------
    name : stem of the files that are made of it
    start_s, stop_s : its stretch of the recording
    foa, binaural, video : source files, None where the metadata name none
    track : position track of the stretch at 20 Hz
    """

    name: str
    item_name: str
    start_s: float
    stop_s: float
    track: Path
    foa: Path | None = None
    binaural: Path | None = None
    video: Path | None = None
    split: str = ""


@dataclass(frozen=True)
class Options:
    """What all items are made with.

    Attributes
    ----------
    out : the data root
    video : "hd" (video_dev, size of the source), "small" (video_360x180_dev, 360 wide, aspect kept) or "none"
    first_frame : number of the first label frame
    """

    out: Path
    video: str = "hd"
    first_frame: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `python -m dataset prepare mrsaudio`."""
    add = parser.add_argument
    add("--metadata", required=True, metavar="JSON", help="the set's metadata file, with start and stop of each item")
    add("--source", required=True, metavar="DIR", help="folder that the paths in the metadata file lead from")
    add("--out", required=True, metavar="DIR", help="data root to make")
    add("--seed", type=int, default=2023, help="seed of the split [2023]")
    add(
        "--test",
        type=float,
        default=800,
        metavar="N",
        help="items for dev-test: a number, or a share below 1; never more than a fifth of all [800]",
    )
    add(
        "--video",
        choices=["hd", "small", "none"],
        default="hd",
        help="hd: video_dev in the source's size (then run resize_video.py); small: 360 wide at once [hd]",
    )
    add_where(parser, what="videos (with the items of each)")


def run(args: argparse.Namespace) -> int:
    """Make the data root; 1 if some items failed (they are listed at the end and in prepare_errors.txt), else 0.

    Raises
    ------
    InputError : unreadable metadata, no items, a root that was made with another split
    """
    where = where_of(args)
    options = Options(Path(args.out).absolute(), args.video)
    items, errors = read_metadata(args.metadata, args.source)
    names = sorted({item.name for item in items} | set(errors))
    split = split_names(names, args.test, args.seed)
    chosen = {"seed": args.seed, "test": sorted(n for n in names if split[n] == "dev-test")}
    _open_root(options.out, chosen, synthetic=(Path(args.source) / SYNTHETIC_MARKER).is_file())
    jobs = _jobs([replace(item, split=split[item.name]) for item in items], options)
    count = sum(len(job) for job in jobs)
    print(f"{len(names)} items, {len(items) - count} finished before, {count} to do", flush=True)
    bar = Progress("prepare", "item", [len(job) for job in jobs])
    outcome = each(partial(_do, options=options), jobs, where, bar, name=lambda job: job[0].name)
    for finished in outcome.results:
        errors |= {name: reason for name, reason in (finished or {}).items() if reason}
    for index, error in outcome.broken:
        errors |= {item.name: error.rule for item in jobs[index]}
    written = write_lists(DataRoot(options.out), overwrite=True)
    for path in written:
        print(path)
    report = options.out / "prepare_errors.txt"
    if not errors:
        report.unlink(missing_ok=True)
        return 0
    lines = [f"{name}: {reason}\n" for name, reason in sorted(errors.items())]
    write_text(report, "".join(lines))
    print(f"{len(errors)} of {len(names)} items failed (also in {report}):\n" + "".join(lines), end="")
    return 1


def read_metadata(
    path: str | os.PathLike[str], source: str | os.PathLike[str]
) -> tuple[list[SourceItem], dict[str, str]]:
    """Items of the metadata file, sorted by name, and what is wrong with the others by name.

    The file is one json object, key -> {"item_name", "start", "stop" in seconds, "pos_fn", and "foa_fn", "wav_fn"
    (binaural), "vid_fn" where there are such files}.

    Raises
    ------
    InputError : no json object, no items
    """
    entries = read_json(path)
    if not isinstance(entries, dict) or not entries:
        raise InputError("must be a json object with one entry per item", path=path)
    if not Path(source).is_dir():
        raise InputError("no such folder (flag --source)", path=source)
    names = {key: _name_of(key, entry) for key, entry in entries.items()}
    taken: dict[str, int] = {}
    for name in names.values():
        taken[name] = taken.get(name, 0) + 1
    items, errors = [], {}
    for key, entry in entries.items():
        name = names[key] if taken[names[key]] == 1 else _file_name(f"{names[key]}_{key}")
        try:
            items.append(_item(name, entry, Path(source)))
        except InputError as error:
            errors[name] = str(error)
    return sorted(items, key=lambda item: item.name), errors


def split_names(names: Sequence[str], test: float, seed: int) -> dict[str, str]:
    """Name -> "dev-train" or "dev-test": names are sorted first, so the order of a directory plays no part.

    Parameters
    ----------
    test : number of names for dev-test, or a share below 1; at most a fifth of the names
    """
    ordered = sorted(names)
    count = min(round(test * len(ordered)) if test < 1 else round(test), len(ordered) // 5)
    chosen = np.random.default_rng(seed).permutation(len(ordered))[:count]
    return {name: "dev-train" for name in ordered} | {ordered[index]: "dev-test" for index in chosen}


def _name_of(key: str, entry: Any) -> str:
    name = entry.get("item_name") if isinstance(entry, dict) else None
    return _file_name(name if isinstance(name, str) and name.strip() else key)


def _file_name(name: str) -> str:
    return name.strip().replace("/", "_").replace("\\", "_").replace("\0", "_").lstrip(".") or "_"


def _item(name: str, entry: Any, source: Path) -> SourceItem:
    if not isinstance(entry, dict):
        raise InputError("its entry is no json object")
    bounds: list[Any] = [entry.get("start"), entry.get("stop")]
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds):
        raise InputError(f"start and stop must be numbers of seconds, found {bounds[0]!r} and {bounds[1]!r}")
    start_s, stop_s = (float(bound) for bound in bounds)
    if not (0 <= start_s < stop_s < math.inf):
        raise InputError(f"start must lie before stop and not before 0, found {start_s} and {stop_s} s")
    if not isinstance(entry.get("item_name"), str):
        raise InputError("has no item_name")
    files = {
        kind: _locate(entry[field], source)
        for kind, field in _FIELDS.items()
        if isinstance(entry.get(field), str) and entry[field]
    }
    if "track" not in files:
        raise InputError("has no pos_fn")
    if "foa" not in files and "binaural" not in files:
        raise InputError("has neither foa_fn nor wav_fn")
    class_of_item(entry["item_name"], MRSAUDIO_CLASS_INDEX)
    track = files.pop("track")
    return SourceItem(name, entry["item_name"], start_s, stop_s, track, **files)  # type: ignore[arg-type]  # keys of _FIELDS


def _locate(text: str, source: Path) -> Path:
    """The file under `source` that a path of the metadata means; leading folders of it may be missing there."""
    parts = [part for part in Path(text).parts if part not in (".", "..", "/")]
    for skipped in range(len(parts)):
        candidate = source.joinpath(*parts[skipped:])
        if candidate.is_file():
            return candidate.absolute()
    raise InputError(f"names a file that is not under {source}: {text}")


def _open_root(out: Path, split: dict[str, Any], *, synthetic: bool = False) -> None:
    """Write what belongs to the whole root, unless it is there and agrees; synthetic material stays marked as such."""
    settings = out / "dataset.json"
    if settings.exists():
        if read_json(settings).get("prepared") != split:
            raise InputError("was made with another split or of other items; give another --out", path=out)
    elif out.is_dir() and any(out.iterdir()):
        raise InputError("is no folder of prepared data and not empty; give another --out", path=out)
    else:
        write_text(out / "classes.txt", "".join(f"{name}\n" for name in MRSAUDIO_CLASSES))
        described: dict[str, Any] = {"name": "MRSAudio", "layout": "starss23", "prepared": split}
        if synthetic:
            described |= {"name": "synthetic scenes in the form of MRSAudio", "synthetic": True}
            write_text(out / SYNTHETIC_MARKER, "Everything in this folder is made of synthetic scenes.\n")
        write_json(settings, described)


def _targets(item: SourceItem, options: Options) -> dict[str, Path]:
    """Files that are made of an item."""
    stem, out = f"{item.split}/{item.name}", options.out
    targets = {"labels": out / "metadata_dev" / f"{stem}.csv"}
    if item.foa is not None:
        targets["foa"] = out / "foa_dev" / f"{stem}.wav"
    if item.binaural is not None:
        targets["binaural"] = out / "binaural_dev" / f"{stem}.wav"
    if item.video is not None and options.video != "none":
        folder = "video_dev" if options.video == "hd" else "video_360x180_dev"
        targets["video"] = out / folder / f"{stem}.mp4"
    return targets


def _jobs(items: Iterable[SourceItem], options: Options) -> list[list[SourceItem]]:
    """Unfinished items, those of one video together: it is decoded once for all of them."""
    jobs: dict[Path, list[SourceItem]] = {}
    for item in items:
        if not all(path.exists() for path in _targets(item, options).values()):
            jobs.setdefault(item.video or item.track, []).append(item)
    return list(jobs.values())


def _do(job: list[SourceItem], options: Options) -> dict[str, str | None]:
    """Make the files of some items that share a video: name -> what went wrong, None if nothing."""
    result: dict[str, str | None] = {}
    for item in job:
        try:
            _make_sound_and_labels(item, options)
            result[item.name] = None
        except InputError as error:
            result[item.name] = str(error)
    due = [item for item in job if "video" in _targets(item, options)]
    due = [item for item in due if not _targets(item, options)["video"].exists()]
    if due and (video := due[0].video) is not None:
        try:
            missed = cut_video(
                video,
                [(item.start_s, item.stop_s, _targets(item, options)["video"]) for item in due],
                width=360 if options.video == "small" else None,
            )
            for item, reason in zip(due, missed):
                result[item.name] = result[item.name] or reason
        except InputError as error:
            for item in due:
                if not _targets(item, options)["video"].exists():
                    result[item.name] = result[item.name] or str(error)
    return result


def _make_sound_and_labels(item: SourceItem, options: Options) -> None:
    targets = _targets(item, options)
    if not targets["labels"].exists():
        class_index = class_of_item(item.item_name, MRSAUDIO_CLASS_INDEX)
        events = track_events(read_track(item.track), class_index, first_frame=options.first_frame)
        frames = math.ceil(round((item.stop_s - item.start_s) * LABEL_FRAMES_PER_S, 6))
        write_events(targets["labels"], events[events.frame < frames + options.first_frame])
    for format in ("foa", "binaural"):
        if format in targets and not targets[format].exists():
            waveform = cut_audio(getattr(item, format), item.start_s, item.stop_s, channels=ARRAYS[format].channels)
            write_audio(targets[format], waveform, RATE_HZ)


def cut_audio(path: Path, start_s: float, stop_s: float, *, channels: int, rate_hz: int = RATE_HZ) -> np.ndarray:
    """The stretch [start, stop) of a recording at `rate_hz`: samples round(start rate) to round(stop rate) - 1.

    Cut and resampled in one: the samples are those of the whole file resampled, with no edge effects at the cuts.

    Raises
    ------
    InputError : as `read_audio`; the file ends more than 0.1 s before the stretch does
    """
    info = audio_info(path, channels=channels)
    if info.duration_s < stop_s - _SHORTFALL_S:
        raise InputError(f"ends at {info.duration_s:.3f} s, the stretch at {stop_s:.3f} s", path=path)
    start, stop = round(start_s * rate_hz), round(stop_s * rate_hz)
    return read_audio(path, start=start, frames=stop - start, rate_hz=rate_hz, channels=channels)


def cut_video(
    path: Path, stretches: Sequence[tuple[float, float, Path]], *, width: int | None = None
) -> list[str | None]:
    """Cut stretches (start in s, stop in s, file to write) out of a video in one decode; None or what was missing.

    Frame i of the video, at i / fps, belongs to a stretch when its time, rounded to frames, does: each cut is at most
    half a frame early or late, and neighbouring stretches share no frame and miss none.

    Parameters
    ----------
    width : of the files written, the aspect is kept; None: that of the video

    Raises
    ------
    InputError : the video cannot be decoded
    """
    from util.video import VideoWriter, decoded_frames, fitted_size, video_info

    info = video_info(path)
    size = fitted_size(info.width, info.height, width or info.width // 2 * 2, None, multiple=2)
    half_frame_s = 0.5 / float(info.fps)
    last_s = max(stop for _, stop, _ in stretches)
    writers: dict[int, VideoWriter] = {}
    begun: set[int] = set()
    first_s: dict[int, float] = {}
    with ExitStack() as stack:
        for _, time_s, frame in decoded_frames(path, threads=1):
            if time_s >= last_s:
                break
            inside = {
                number
                for number, (start_s, stop_s, _) in enumerate(stretches)
                if start_s - half_frame_s <= time_s < stop_s - half_frame_s
            }
            for number in inside - begun:
                writers[number] = stack.enter_context(
                    VideoWriter(stretches[number][2], *size, info.fps, threads=1, timed=True)
                )
                begun.add(number)
            if inside:
                fitted = frame.reformat(width=size[0], height=size[1], format="yuv420p", interpolation="AREA")
            for number in inside:
                first_s[number] = first_s.get(number, time_s)
                writers[number].write(fitted, time_s - first_s[number])
    return [
        None if number in begun else f"{path}: ends before the stretch from {start_s:.3f} s"
        for number, (start_s, _, _) in enumerate(stretches)
    ]
