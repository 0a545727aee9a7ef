"""What surrounds a YOLOX network: picture -> input tensor, raw output -> boxes of all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from util.boxes import MAX_BOXES
from util.things import KEPT_THINGS, NO_THINGS

STRIDES = (8, 16, 32)
PADDING = 114  # grey of the letterbox
PERSON = 0  # class index, COCO and `builtin`


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture, by descending score.

    Attributes
    ----------
    boxes : (n, 4) float32 x0, y0, x1, y1 in pixels of the picture, not clipped to it
    score : (n,) objectness times class probability
    label : (n,) class index
    """

    boxes: np.ndarray
    score: np.ndarray
    label: np.ndarray


class Look(NamedTuple):
    """What is kept of one picture: people, boxes (6, 4) and score (6,), and other things (k, 6); see `look_of`."""

    boxes: np.ndarray
    score: np.ndarray
    things: np.ndarray


NOTHING = Look(np.zeros((MAX_BOXES, 4), np.float32), np.zeros(MAX_BOXES, np.float32), NO_THINGS)


def letterbox_scale(width: int, height: int, input_width: int, input_height: int) -> float:
    """Factor from picture pixels to input pixels that makes the picture fit."""
    return min(input_height / height, input_width / width)


def letterbox_into(batch: np.ndarray, position: int, picture: np.ndarray) -> float:
    """Put one picture into a batch: bilinear, aspect kept, top left on grey; BGR 0..255, no mean, no division.

    Parameters
    ----------
    batch : (b, 3, input height, input width) float32, written at `position`
    picture : (h, w, 3) BGR uint8

    Returns
    -------
    the scale, input pixels per picture pixel

    Source: YOLOX data_augment.preproc.
    """
    height, width = picture.shape[:2]
    scale = letterbox_scale(width, height, batch.shape[3], batch.shape[2])
    # 360 * (416 / 360) is 415.99...: the reference has 416x208 for 360x180
    new_width, new_height = int(width * scale + 1e-6), int(height * scale + 1e-6)
    if (new_width, new_height) != (width, height):
        picture = cv2.resize(picture, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    for channel in range(3):  # three strided copies are four times as fast as one transposing one
        batch[position, channel, :new_height, :new_width] = picture[:, :, channel]
    batch[position, :, new_height:] = PADDING
    batch[position, :, :new_height, new_width:] = PADDING
    return scale


def anchor_points(input_width: int, input_height: int) -> np.ndarray:
    """(anchors, 3) float32: cell column, cell row, stride in pixels; strides 8, 16, 32, each row by row."""
    points = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: input_height // stride, : input_width // stride]
        points.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(points).astype(np.float32)


def detections(
    raw: np.ndarray, anchors: np.ndarray, scale: float, *, score_threshold: float = 0.01, nms_iou: float = 0.65
) -> Detections:
    """Raw output of one picture -> boxes of all classes.

    Parameters
    ----------
    raw : (anchors, 5 + classes): dx, dy, log w, log h, objectness, class probabilities (sigmoids already)
    anchors : of `anchor_points`
    scale : of `letterbox_into`
    score_threshold : boxes below it are dropped; each anchor has the one class of its largest probability
    nms_iou : of two boxes of one class that overlap by more the one with the smaller score is dropped
    """
    candidate = np.flatnonzero(raw[:, 4] >= score_threshold)  # a class probability is at most 1
    label = raw[candidate, 5:].argmax(axis=1)
    score = raw[candidate, 4] * raw[candidate, 5 + label]
    passed = score >= score_threshold
    candidate, label, score = candidate[passed], label[passed], score[passed]
    cells, strides = anchors[candidate, :2], anchors[candidate, 2:]
    centre = (raw[candidate, :2] + cells) * strides
    half = np.exp(raw[candidate, 2:4]) * (strides / 2)
    boxes = np.concatenate([centre - half, centre + half], axis=1) / np.float32(scale)
    kept = non_maximum_suppression(boxes, score, label, nms_iou)
    return Detections(boxes[kept], score[kept], label[kept])


def non_maximum_suppression(boxes: np.ndarray, score: np.ndarray, label: np.ndarray, nms_iou: float) -> np.ndarray:
    """Indices (kept,) of the boxes that survive, by descending score: greedy, within each class.

    Parameters
    ----------
    boxes : (n, 4) x0, y0, x1, y1
    score, label : (n,)
    """
    order = np.argsort(-score, kind="stable")
    overlapping = (box_iou(boxes[order], boxes[order]) > nms_iou) & (label[order][:, None] == label[order])
    alive = np.ones(len(order), dtype=bool)
    for position in range(len(order)):
        if alive[position]:
            alive[position + 1 :] &= ~overlapping[position, position + 1 :]
    return order[alive]


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) and (m, 4) -> intersection over union (n, m); 0 where both are empty."""
    x0, y0, x1, y1 = (first[:, None, side] for side in range(4))  # by side: sums over an axis of two are slow
    u0, v0, u1, v1 = (second[None, :, side] for side in range(4))
    width = np.maximum(np.minimum(x1, u1) - np.maximum(x0, u0), 0)
    common = width * np.maximum(np.minimum(y1, v1) - np.maximum(y0, v0), 0)
    union = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - common
    return common / np.maximum(union, 1e-12)


def person_boxes(
    found: Detections, width: int, height: int, *, score_threshold: float = 0.10, limit: int = MAX_BOXES
) -> tuple[np.ndarray, np.ndarray]:
    """The people among the detections: score strictly above the threshold, at most `limit`, in order of score.

    Returns
    -------
    boxes : (limit, 4) float32, fractions of the picture (width, height in pixels), unused rows zero
    score : (limit,) float32
    """
    person = np.flatnonzero((found.label == PERSON) & (found.score > score_threshold))[:limit]
    boxes, score = np.zeros((limit, 4), np.float32), np.zeros(limit, np.float32)
    boxes[: len(person)] = found.boxes[person] / np.array([width, height, width, height], np.float32)
    score[: len(person)] = found.score[person]
    return boxes, score


def other_things(
    found: Detections,
    coco: np.ndarray,
    width: int,
    height: int,
    *,
    score_threshold: float = 0.10,
    nms_iou: float = 0.45,
    limit: int = KEPT_THINGS,
) -> np.ndarray:
    """What is no person among the detections, by descending score.

    Parameters
    ----------
    coco : (labels,) class of COCO that a label means, -1 where it means none; labels beyond mean none either
    width, height : of the picture in pixels
    nms_iou : thinned once more within a class, to what YOLOX's own post-processing leaves

    Returns
    -------
    (k, 6) float32, as `util.things.Things` has it
    """
    known = np.flatnonzero((found.score > score_threshold) & (found.label >= 0) & (found.label < len(coco)))
    known = known[coco[found.label[known]] >= 0]
    if not len(known):
        return NO_THINGS
    boxes, score, label = found.boxes[known], found.score[known], coco[found.label[known]]
    kept = non_maximum_suppression(boxes, score, label, nms_iou)[:limit]
    size = np.array([width, height, width, height], np.float32)
    rows = np.column_stack([boxes[kept] / size, score[kept], label[kept]])
    return rows.astype(np.float16).astype(np.float32)  # as files keep them


def look_of(found: Detections, coco: np.ndarray, width: int, height: int, *, score_threshold: float = 0.10) -> Look:
    """What is kept of the detections in a picture, see `person_boxes` and `other_things`."""
    boxes, score = person_boxes(found, width, height, score_threshold=score_threshold)
    return Look(boxes, score, other_things(found, coco, width, height, score_threshold=score_threshold))
