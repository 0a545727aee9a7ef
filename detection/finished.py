"""Outputs of detectors that decode and suppress by themselves: boxes, scores and labels, as mmdeploy writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detection.yolox import Detections, non_maximum_suppression


@dataclass(frozen=True)
class Finished:
    """Which of a model's outputs is what.

    Attributes
    ----------
    boxes : (batch, n, 4) or (batch, n, 5) with the score, x0, y0, x1, y1 in pixels of the input
    scores, labels : (batch, n); None: scores are a column of the boxes
    count : (batch,) or (batch, 1), how many of the boxes exist; None: all
    """

    boxes: int
    scores: int | None
    labels: int
    count: int | None

    @classmethod
    def of(cls, names: Sequence[str], outputs: Sequence[np.ndarray]) -> Finished | None:
        """What the outputs of one picture are, by shapes and, where these are alike, names; None: unclear."""
        shapes = [one.shape if one.ndim and one.shape[0] == 1 else (1, *one.shape) for one in outputs]  # one picture
        boxes = [at for at, shape in enumerate(shapes) if len(shape) == 3 and shape[2] in (4, 5)]
        if len(boxes) != 1:
            return None
        due = shapes[boxes[0]][1]
        rows = [at for at, shape in enumerate(shapes) if at != boxes[0] and shape in ((1, due), (1, due, 1))]
        labels = [at for at in rows if "label" in names[at].lower() or "class" in names[at].lower()]
        labels = labels or [at for at in rows if outputs[at].dtype.kind in "iu"]
        scores = [at for at in rows if at not in labels and outputs[at].dtype.kind == "f"]
        in_boxes = shapes[boxes[0]][2] == 5
        if len(labels) != 1 or (not in_boxes and len(scores) != 1):
            return None
        single = [
            at
            for at, shape in enumerate(shapes)
            if at not in (boxes[0], labels[0], *scores) and shape in ((1, 1), (1,)) and outputs[at].dtype.kind in "iu"
        ]
        return cls(boxes[0], None if in_boxes else scores[0], labels[0], single[0] if single else None)

    def detections(
        self, outputs: Sequence[np.ndarray], picture: int, scale: float, *, score_threshold: float, nms_iou: float
    ) -> Detections:
        """Boxes of one picture of a batch, as `detection.yolox.detections` gives them."""
        boxes = _of_picture(outputs[self.boxes], picture, 2).astype(np.float32)
        label = _of_picture(outputs[self.labels], picture, 1).astype(np.int64)
        score = boxes[:, 4] if self.scores is None else _of_picture(outputs[self.scores], picture, 1).astype(np.float32)
        exist = np.arange(len(boxes)) < (
            len(boxes) if self.count is None else int(np.ravel(outputs[self.count])[picture])
        )
        passed = np.flatnonzero(exist & (score >= score_threshold) & np.isfinite(boxes).all(axis=1))
        boxes, score, label = boxes[passed, :4] / np.float32(scale), score[passed], label[passed]
        kept = non_maximum_suppression(boxes, score, label, nms_iou)
        return Detections(boxes[kept], score[kept], label[kept])


def _of_picture(output: np.ndarray, picture: int, axes: int) -> np.ndarray:
    """The rows of a picture, whether or not there is an axis of pictures; (n,) or (n, columns)."""
    if output.ndim > axes:
        output = output[picture]
    return output.reshape(len(output), -1) if axes == 2 else output.reshape(-1)
