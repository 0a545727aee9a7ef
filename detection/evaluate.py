"""How good a detector is: AP50 on simulated frames, recall and false boxes on photographs pasted into such frames."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from detection.builtin.frames import TEST_SEED, load_frames, make_chunk
from detection.detector import Detector
from detection.videos import NMS_IOU, SCORE_THRESHOLD
from detection.yolox import PERSON, Detections, box_iou
from util.cli import run_main
from util.errors import InputError

IOU = 0.5
HEIGHTS_PX = (40, 80, 120)
COLLAGES_PER_PHOTO = 6


def average_precision(found: Sequence[Detections], truths: Sequence[np.ndarray], *, iou: float = IOU) -> float:
    """Area under precision (made monotone) over recall, of the persons found in all pictures together.

    Each detection, by descending score, takes the free true box that it overlaps most if by at least `iou`, else it is
    false (PASCAL VOC 2010 rule, all points).

    Parameters
    ----------
    found : per picture
    truths : per picture boxes (n, 4) in pixels

    Returns
    -------
    0..1, NaN without any true box
    """
    total = sum(len(truth) for truth in truths)
    if not total:
        return float("nan")
    entries = [
        (score, picture, box)
        for picture, one in enumerate(found)
        for score, box, label in zip(one.score, one.boxes, one.label)
        if label == PERSON
    ]
    entries.sort(key=lambda entry: -entry[0])
    free = [np.ones(len(truth), bool) for truth in truths]
    hit = np.zeros(len(entries))
    for rank, (_, picture, box) in enumerate(entries):
        if not len(truths[picture]):
            continue
        overlap = np.where(free[picture], box_iou(box[None], truths[picture])[0], -1.0)
        best = int(overlap.argmax())
        if overlap[best] >= iou:
            free[picture][best] = False
            hit[rank] = 1
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * hit).sum() / total)


def collage(
    picture: np.ndarray, boxes: np.ndarray, photo: np.ndarray, height_px: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Paste a photograph at a height, around the horizon, on no person: (picture, its box), None if no room."""
    tall, wide = height_px, max(1, round(photo.shape[1] * height_px / photo.shape[0]))
    if wide > picture.shape[1]:
        return None
    small = cv2.resize(photo, (wide, tall), interpolation=cv2.INTER_AREA)
    for _ in range(50):
        x = int(rng.integers(0, picture.shape[1] - wide + 1))
        y = int(np.clip(picture.shape[0] // 2 - tall * rng.uniform(0.3, 0.6), 0, picture.shape[0] - tall))
        box = np.array([x, y, x + wide, y + tall], np.float32)
        if not len(boxes) or not (box_iou(box[None], boxes) > 0).any():
            out = picture.copy()
            out[y : y + tall, x : x + wide] = small
            return out, box
    return None


@dataclass(frozen=True)
class CollageScore:
    """Of collages at one height.

    Attributes
    ----------
    recall : share of photographs with a box of score > 0.10 and IoU of at least 0.5
    false_per_frame : boxes that overlap neither a photograph nor a simulated person by IoU 0.5
    elsewhere_per_frame : those among them whose centre lies in neither
    """

    height_px: int
    collages: int
    recall: float
    false_per_frame: float
    elsewhere_per_frame: float


def read_photos(folder: Path) -> list[np.ndarray]:
    """The photographs of a folder, BGR, in order of their names."""
    read = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]
    photos = [np.asarray(photo) for photo in read if photo is not None]
    if not photos:
        raise InputError("has no readable jpg", path=folder)
    return photos


def score_collages(
    detector: Detector,
    pictures: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    photos: Sequence[np.ndarray],
    *,
    height_px: int,
    seed: int = 0,
) -> CollageScore:
    """Each photograph in COLLAGES_PER_PHOTO frames at one height."""
    rng = np.random.default_rng([seed, height_px])
    recalled = false = elsewhere = count = 0
    for photo in photos:
        for _ in range(COLLAGES_PER_PHOTO):
            number = int(rng.integers(len(pictures)))
            made = collage(pictures[number], boxes[number], photo, height_px, rng)
            if made is None:
                continue
            count += 1
            found = detector([made[0]], score_threshold=SCORE_THRESHOLD, nms_iou=NMS_IOU)[0]
            people = found.boxes[(found.label == PERSON) & (found.score > SCORE_THRESHOLD)]
            truths = np.concatenate([made[1][None], boxes[number]])
            overlap = box_iou(people, truths)
            recalled += bool(len(people)) and bool((overlap[:, 0] >= IOU).any())
            wrong = (overlap < IOU).all(axis=1)
            centre = (people[:, None, :2] + people[:, None, 2:]) / 2
            within = ((centre > truths[None, :, :2]) & (centre < truths[None, :, 2:])).all(-1).any(1)
            false += int(wrong.sum())
            elsewhere += int((wrong & ~within).sum())
    return CollageScore(height_px, count, recalled / count, false / count, elsewhere / count)


def draw(
    picture: np.ndarray, found: Detections, truths: Sequence[np.ndarray] | np.ndarray = (), *, zoom: int = 2
) -> np.ndarray:
    """Picture with the persons found (orange, with score) and the true boxes (thin, white)."""
    out = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    for box in truths:
        corners = (np.asarray(box) * zoom).round().astype(int)
        cv2.rectangle(out, corners[:2].tolist(), corners[2:].tolist(), (255, 255, 255), 1)
    for box, score, label in zip(found.boxes, found.score, found.label):
        if label == PERSON and score > SCORE_THRESHOLD:
            corners = (box * zoom).round().astype(int)
            cv2.rectangle(out, corners[:2].tolist(), corners[2:].tolist(), (0, 140, 255), 2)
            place = (int(corners[0]), max(12, int(corners[1]) - 4))
            cv2.putText(out, f"{score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(out, f"{score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 140, 255), 1, cv2.LINE_AA)
    return out


def main(argv: list[str] | None = None) -> int:
    """Command line: `python -m detection.evaluate builtin yolox_nano --frames FOLDER --photos FOLDER`."""
    parser = argparse.ArgumentParser(prog="python -m detection.evaluate", description=__doc__)
    parser.add_argument("detectors", nargs="+", help="names or onnx files")
    parser.add_argument("--frames", type=Path, required=True, help="folder of simulated frames, filled where empty")
    parser.add_argument("--count", type=int, default=200, help="test frames (%(default)s)")
    parser.add_argument("--photos", type=Path, help="folder of jpg photographs of people")
    parser.add_argument("--picture", type=Path, help="png to draw a simulated frame and a collage into, first detector")
    arguments = parser.parse_args(argv)
    for chunk in range(-(-arguments.count // 100)):
        make_chunk(arguments.frames, "test", TEST_SEED + chunk)
    pictures, boxes = load_frames(arguments.frames, "test")
    pictures, boxes = pictures[: arguments.count], boxes[: arguments.count]
    people = sum(len(one) for one in boxes)
    print(f"{len(pictures)} simulated test frames, {people} people")
    for number, name in enumerate(arguments.detectors):
        detector = Detector(name)
        found = [detector([picture])[0] for picture in tqdm(pictures, desc=detector.label, leave=False)]
        print(f"{detector.label}: AP50 {average_precision(found, boxes):.3f}")
        if arguments.photos is None:
            continue
        photos = read_photos(arguments.photos)
        for height_px in HEIGHTS_PX:
            score = score_collages(detector, pictures, boxes, photos, height_px=height_px)
            print(
                f"{detector.label}: {len(photos)} photographs {height_px} px high, {score.collages} collages: "
                f"recall {score.recall:.2f}, false boxes per frame {score.false_per_frame:.2f} "
                f"({score.elsewhere_per_frame:.2f} away from anybody)"
            )
        if number == 0 and arguments.picture is not None:
            _picture(arguments.picture, detector, pictures, boxes, photos)
    return 0


def _picture(
    path: Path, detector: Detector, pictures: list[np.ndarray], boxes: list[np.ndarray], photos: list[np.ndarray]
) -> None:
    rng = np.random.default_rng(1)
    number = next(n for n, one in enumerate(boxes) if len(one) >= 3)
    rows = [draw(pictures[number], detector([pictures[number]])[0], boxes[number])]
    number = next(n for n, one in enumerate(boxes) if len(one) == 1)
    picture, truths = pictures[number], boxes[number]
    for photo, height_px in zip((photos[2], photos[-8], photos[-3]), HEIGHTS_PX):
        made = collage(picture, truths, photo, height_px, rng)
        if made is not None:
            picture, truths = made[0], np.concatenate([truths, made[1][None]])
    rows.append(draw(picture, detector([picture])[0], truths))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows))


if __name__ == "__main__":
    sys.exit(run_main(main))
