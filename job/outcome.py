"""What is written of a recording whose events are known: json, csv, events, Audacity labels, player and overlay."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataset.recordings import Recording
from job.inputs import SoundAndFilm
from output_format.candidates import Candidates
from report.overlay import write_overlay
from report.player import write_player
from report.shown import Shown
from report.tracks import LinkedEvent, link_events, write_audacity_labels, write_events_json
from util.boxes import BoxTrack
from util.dialects import write_events
from util.errors import InputError
from util.events import EventTable
from util.files import write_json
from util.job_arguments import Arguments
from util.microphone_arrays import Array
from util.placement import Placement, placed_track, placed_video

PLAYER_LIMIT_S = 1800.0  # a page with sound and picture of more is too heavy for a browser


@dataclass(frozen=True)
class Outcome:
    """Events of a recording, and how they came about.

    Attributes
    ----------
    candidates, thresholds, unification_deg : of the player
    classes : names, as they are shown
    dialect : of the csv
    array : what the sound's channels are, after `matrix`
    description : what is written beside the csv
    about : what events.json says of itself
    details : what the player says of itself
    remarks : (what, text) that are printed first
    raw : file of the raw output; None: there is none
    linked : rows of `events` linked already; None: they are linked here
    extra : of each linked event, what events.json says of it besides
    names : of each linked event in the Audacity labels; None: those of the classes
    """

    recording: Recording
    events: EventTable
    candidates: Candidates
    thresholds: Sequence[float] | np.ndarray | float
    unification_deg: float
    classes: Sequence[str]
    dialect: str
    subtitle: str
    array: Array
    matrix: np.ndarray | None
    description: Mapping[str, Any]
    about: Mapping[str, Any]
    details: Mapping[str, Any]
    remarks: Sequence[tuple[str, str]] = ()
    raw: Path | None = None
    linked: Sequence[LinkedEvent] | None = None
    extra: Sequence[Mapping[str, Any]] = field(default_factory=list)
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class Ended:
    """What is said of a recording whose files are written, and what of it could not be shown."""

    lines: list[str]
    trouble: InputError | None


def out_dir(args: Arguments, item: SoundAndFilm, count: int) -> Path:
    """Folder of a recording's files: --out (below it where there are several), else NAME_seld here."""
    if args.out is None:
        return Path(f"{item.folder}_seld")
    return Path(args.out) / item.folder if count > 1 else Path(args.out)


def make_folder(path: Path) -> None:
    """Make a folder for what is written.

    Raises
    ------
    InputError : it cannot be made
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", path=path) from error


def write_outcome(
    outcome: Outcome, args: Arguments, placement: Placement, video: Path | None, track: BoxTrack | None, out: Path
) -> Ended:
    """Write everything about a result; what could not be shown is left out, and why is told."""
    recording, table = outcome.recording, outcome.events
    name = recording.name
    write_json(out / f"{name}.json", dict(outcome.description))
    write_events(out / f"{name}.csv", table, outcome.dialect)
    linked = link_events(table) if outcome.linked is None else outcome.linked
    about = {"recording": str(recording.audio), **outcome.about}
    write_events_json(
        out / "events.json", table, outcome.classes, events=linked, extra=outcome.extra, **about
    )  # fmt: skip
    write_audacity_labels(
        out / "audacity_labels.txt", table, outcome.classes, events=linked, names=outcome.names
    )  # fmt: skip
    lines = [
        *outcome.remarks,
        ("csv", f"{name}.csv"),
        ("events", "events.json"),
        ("Audacity", "audacity_labels.txt"),
        *([] if outcome.raw is None else [("raw", outcome.raw.name)]),
    ]
    files = len(outcome.remarks)
    with tempfile.TemporaryDirectory() as folder:
        shown, trouble = Shown(recording.audio, video, track, outcome.matrix), None
        if video is not None and placement != Placement() and (args.overlay or has_player(args, recording)):
            try:
                video = placed_video(video, placement, recording.duration_s, Path(folder) / "placed.mp4")
                track = None if track is None else placed_track(track, placement)
                shown = replace(shown, video=video, boxes=track)
            except InputError as error:
                shown, trouble = replace(shown, video=None, boxes=None), error
        if overlay := args.overlay:
            shown, problem = _without_what_breaks(shown, lambda one: _write_overlay(outcome, one, Path(overlay)))
            trouble = trouble or problem
            lines.append(("overlay", args.overlay))
        (out / "player.html").unlink(missing_ok=True)
        if has_player(args, recording):
            _, problem = _without_what_breaks(shown, lambda one: _write_player(outcome, one, out / "player.html"))
            trouble = trouble or problem
            lines.append(("player", "player.html"))
        elif args.player != "never":
            why = f"longer than {PLAYER_LIMIT_S / 60:.0f} min (--player always makes it all the same)"
            lines.append(("no player", why))
    frames = len(np.unique(table.frame))
    said = [f"{recording.audio}: {len(table)} rows in {frames} frames of {recording.duration_s:.1f} s"]
    for place, (what, text) in enumerate(lines):
        plain = place < files or what in ("overlay", "no player")
        said.append(f"  {what:10s}{text if plain else out / text}")
    return Ended(said, trouble)


def has_player(args: Arguments, recording: Recording) -> bool:
    """Whether the page is made of a recording."""
    return args.player != "never" and (args.player != "auto" or recording.duration_s <= PLAYER_LIMIT_S)


def _write_player(outcome: Outcome, shown: Shown, path: Path) -> None:
    write_player(
        path,
        candidates=outcome.candidates,
        thresholds=outcome.thresholds,
        unification_deg=outcome.unification_deg,
        classes=outcome.classes,
        title=outcome.recording.name,
        subtitle=outcome.subtitle,
        **shown.files,
        array=outcome.array,
        duration_s=outcome.recording.duration_s,
        details=outcome.details,
    )


def _write_overlay(outcome: Outcome, shown: Shown, path: Path) -> None:
    write_overlay(
        path,
        estimated=outcome.events,
        classes=outcome.classes,
        **shown.files,
        array=outcome.array,
        duration_s=outcome.recording.duration_s,
        title=outcome.recording.name,
    )


def _without_what_breaks(shown: Shown, write: Callable[[Shown], None]) -> tuple[Shown, InputError | None]:
    """Write something: with everything, else without the picture, else without the sound too; what was used, and why.

    Raises
    ------
    InputError : nothing can be written
    """
    try:
        write(shown)
        return shown, None
    except InputError as error:
        trouble = error
    silent = replace(shown, audio=None, video=None, boxes=None)
    for less in [replace(silent, audio=shown.audio), silent] if shown.video is not None else [silent]:
        try:
            write(less)
            return less, trouble
        except InputError:
            continue
    raise trouble
