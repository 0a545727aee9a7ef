"""Front or back? What two ears cannot hear and a person who is seen may tell: the share of frames on the right side.

python bench/front_back.py CHECKPOINT --data-root ROOT [--detector NAME|FILE] [--list LIST]

CHECKPOINT is a file, or a run folder, of a system that hears two channels (of others the script works as well, and says
how little they need it). Every recording of the test list is predicted with its own boxes, with none and with another
clip's; a system that does not look is predicted once. Counted are label frames of people (speech, laughter, clapping,
steps ...) that lie 15 degrees or more before or behind the plane through both ears, and that the system has matched: an
event of the same class in the same frame. Where one class has several, pairs are made by the angle to the side, which
two channels know, so that the match itself favours neither half. "Seen" are those of the matched frames in which a box
of the clip's own picture, whatever the system was given, stands within 15 degrees of the labelled azimuth and no other
one within 15 degrees of its mirror image. "Mean" is that of front and back: 50 % for who always says the front.

Stereo sets of 2025 cannot be asked: their labels fold the back into the front.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from bench.machine import machine
from dataset.layouts import DataRoot
from dataset.recordings import Recording
from dataset.seen import PRODUCERS
from dataset.true_boxes import SOUNDING_SHARE
from dcase2022_task3_seld_metrics.assignment import assign
from util.angles import direction_from_degrees, wrap_azimuth_deg
from util.boxes import box_file, read_boxes
from util.cli import run_main
from util.errors import InputError
from util.events import EventTable
from util.runs import named_checkpoint

BOXES = {"own": "own", "empty": "none", "other": "another clip's"}
AWAY_DEG = 15.0  # from the plane through both ears
NEAR_DEG = 15.0  # of a box
_TIE = 1e-3  # weight of the whole angle among those of one lateral angle


@dataclass(frozen=True)
class Counts:
    """Label frames of people: in front and behind (2,), of those matched, of those on the right side; and seen ones."""

    labelled: np.ndarray
    matched: np.ndarray
    right: np.ndarray
    seen: int
    seen_right: int

    def __add__(self, other: Counts) -> Counts:
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Counts(*(one + two for one, two in pairs))


NOTHING = Counts(np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64), 0, 0)


def main(argv: list[str] | None = None) -> int:
    """Predict with every kind of boxes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="file or run folder")
    parser.add_argument("--data-root", type=Path, required=True, metavar="ROOT", help="whose test list is predicted")
    parser.add_argument("--list", metavar="LIST", help="another list of it")
    parser.add_argument("--detector", metavar="NAME|FILE", help="of people [that of the checkpoint]")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs [cpu]")
    args = parser.parse_args(argv)
    from system.checkpoint import load_checkpoint

    if DataRoot(args.data_root).layout.dialect == "dcase2025":
        raise InputError(
            "its labels fold the back into the front: they cannot tell who confuses them", path=args.data_root
        )
    checkpoint = named_checkpoint({"eval_model": args.checkpoint})
    content = load_checkpoint(checkpoint)
    detector = args.detector or content.arguments.get("detector") or "builtin"
    found: dict[str, Counts] = {}
    for kind in BOXES if content.visual else ("own",):
        looked = {"detector": detector, "boxes": kind} if content.visual else {}
        estimated, reference, recordings = _predicted(args, checkpoint, looked)
        people = _people(content.classes)
        found[kind] = NOTHING
        for recording in recordings:
            truth, made = reference[recording.name], estimated[recording.name]
            found[kind] += counted(
                truth[np.isin(truth.class_index, people)],
                made[np.isin(made.class_index, people)],
                _boxes_deg(recording, truth, detector),
            )
    seconds = sum(one.duration_s for one in recordings)
    array = content.array.get("name")
    print(f"{machine(args.device)}; {content.system}, {array}, {Path(args.checkpoint).name}")
    by = f", boxes by {Path(detector).name}" if content.visual else ", nothing is seen"
    print(f"{args.data_root.name}: {len(recordings)} recordings, {seconds / 60:.1f} min{by}\n")
    print(table(found if content.visual else {"audio only": found["own"]}))
    return 0


def _predicted(
    args: argparse.Namespace, checkpoint: Path, looked: dict[str, str]
) -> tuple[dict[str, EventTable], dict[str, EventTable], Sequence[Recording]]:
    """Estimated and labelled events by recording, as `python seld.py -eval` has them; files go to a folder for now.

    Parameters
    ----------
    looked : flags of what is seen
    """
    from job.evaluate import evaluate_checkpoint

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        shutil.copy(checkpoint, folder)
        given = {"data_root": [str(args.data_root)], "device": args.device, "eval_wav_txt": args.list}
        given |= looked
        given = {name: value for name, value in given.items() if value is not None}
        found, _ = evaluate_checkpoint(given, Path(folder) / checkpoint.name, "bench/front_back.py")
    if not found.reference:
        raise InputError("no recording of the list has labels", path=args.data_root)
    return found.estimated, found.reference, [one for one in found.recordings if one.name in found.reference]


def _people(classes: Sequence[str]) -> list[int]:
    people = [index for index, name in enumerate(classes) if name.strip().lower() in SOUNDING_SHARE]
    if not people:
        raise InputError(f"people make none of the checkpoint's classes: {', '.join(classes)}")
    return people


def _boxes_deg(recording: Recording, truth: EventTable, detector: str) -> dict[int, np.ndarray]:
    """Azimuths of the boxes in the clip's own picture at the middle of the labelled frames."""
    if recording.video is None or not box_file(recording.video, detector).is_file():
        return {}
    frames = np.unique(truth.frame)
    boxes = read_boxes(box_file(recording.video, detector)).held().at((frames + 0.5) * truth.frame_s)
    boxes = PRODUCERS["boxes"].of_view(recording.view, boxes)
    azimuth_deg = 360 * (0.5 - (boxes[..., 0] + boxes[..., 2]) / 2)
    return {int(frame): row[there] for frame, row, there in zip(frames, azimuth_deg, np.any(boxes, axis=-1))}


def counted(truth: EventTable, found: EventTable, boxes_deg: dict[int, np.ndarray]) -> Counts:
    """Frames of one recording's people.

    Parameters
    ----------
    truth, found : labelled and estimated events
    boxes_deg : frame -> azimuths (n,) of the boxes that are there

    Examples
    --------
    >>> one = EventTable.make(frame=[0, 1], class_index=[0, 0], azimuth_deg=[30, 120], elevation_deg=[0, 0])
    >>> made = one.replace(azimuth_deg=one.azimuth_deg * 0 + 40)
    >>> counts = counted(one, made, {1: np.array([115.0])})
    >>> counts.matched.tolist(), counts.right.tolist(), counts.seen, counts.seen_right
    ([1, 1], [1, 0], 1, 0)
    """
    labelled, matched, right = np.zeros((3, 2), np.int64)
    seen = seen_right = 0
    at, made_at = (direction_from_degrees(one.azimuth_deg, one.in_plane().elevation_deg) for one in (truth, found))
    clear = np.abs(at[:, 0]) >= np.sin(np.deg2rad(AWAY_DEG))
    behind = (at[:, 0] < 0).astype(np.int64)
    np.add.at(labelled, behind[clear], 1)
    for rows, made_rows in _groups(truth, found):
        for row, made_row in _pairs(rows, at[rows], made_rows, made_at[made_rows]):
            if not clear[row]:
                continue
            is_right = int((at[row, 0] > 0) == (made_at[made_row, 0] > 0))
            matched[behind[row]] += 1
            right[behind[row]] += is_right
            if _seen_there(truth.azimuth_deg[row], boxes_deg.get(int(truth.frame[row]), np.zeros(0))):
                seen += 1
                seen_right += is_right
    return Counts(labelled, matched, right, seen, seen_right)


def _groups(truth: EventTable, found: EventTable) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Rows of both that share a frame and a class."""
    places: list[dict[tuple[int, int], list[int]]] = [{}, {}]
    for table, of in zip((truth, found), places):
        for row, key in enumerate(zip(table.frame.tolist(), table.class_index.tolist())):
            of.setdefault(key, []).append(row)
    for key, rows in places[0].items():
        if key in places[1]:
            yield np.array(rows), np.array(places[1][key])


def _pairs(rows: np.ndarray, at: np.ndarray, made_rows: np.ndarray, made_at: np.ndarray) -> list[tuple[int, int]]:
    """Rows that belong together by the angle to the side; of those that agree in it by the whole angle."""
    side, made_side = (np.arcsin(np.clip(one[:, 1], -1, 1)) for one in (at, made_at))
    whole = np.arccos(np.clip(at @ made_at.T, -1, 1))
    first, second = assign((np.abs(side[:, None] - made_side) + _TIE * whole)[None])
    return list(zip(rows[first[0]].tolist(), made_rows[second[0]].tolist()))


def _seen_there(azimuth_deg: float, boxes_deg: np.ndarray) -> bool:
    """Whether a box is near an azimuth, and none near the one that has it mirrored at the plane through both ears."""
    near, mirrored = (np.abs(wrap_azimuth_deg(boxes_deg - one)) <= NEAR_DEG for one in (azimuth_deg, 180 - azimuth_deg))
    return bool(near.any() and not (mirrored & ~near).any())


def table(found: dict[str, Counts]) -> str:
    """Markdown, a row for each kind of boxes."""
    lines = ["| boxes | frames | matched | right side | front | back | mean | seen | right side, seen |"]
    lines.append("|---" * 9 + "|")
    for kind, counts in found.items():
        halves = [_percent(*pair) for pair in zip(counts.right, counts.matched)]
        mean = (counts.right / np.maximum(counts.matched, 1)).mean() if counts.matched.all() else None
        cells = [
            BOXES.get(kind, kind),
            f"{counts.labelled[0]} front, {counts.labelled[1]} back",
            _percent(counts.matched.sum(), counts.labelled.sum()),
            _percent(counts.right.sum(), counts.matched.sum()),
            *halves,
            "-" if mean is None else f"{100 * mean:.1f} %",
            f"{counts.seen}",
            _percent(counts.seen_right, counts.seen),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(part: int, of: int) -> str:
    return f"{100 * part / of:.1f} %" if of else "-"


if __name__ == "__main__":
    raise SystemExit(run_main(main))
