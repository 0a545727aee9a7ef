"""Metrics of 2018 and 2019 on arrays, for outputs that no csv holds: detection on blocks, regressed directions.

Names: N frames, C classes. Detection arrays hold 0 and 1 (or bool).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcase2022_task3_seld_metrics.batch import Cells
from dcase2022_task3_seld_metrics.distances import EPS
from dcase2022_task3_seld_metrics.grid import frame_losses_deg
from util.errors import InputError

Pair = tuple[float, float]


def _pair(reference: np.ndarray, estimated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, estimated = np.asarray(reference), np.asarray(estimated)
    if reference.ndim != 2 or reference.shape != estimated.shape:
        rule = f"must be two arrays (frames, classes) of one shape, found {reference.shape} and {estimated.shape}"
        raise InputError(f"reference and estimated {rule}")
    return reference != 0, estimated != 0


def block_activity(active: np.ndarray, block: int, count: int) -> np.ndarray:
    """Block values (count, C): the maximum over the first block - 1 frames, never over the last (Q22)."""
    values = np.zeros((count, active.shape[1]), dtype=bool)
    for index in range(count):
        values[index] = active[index * block : index * block + block - 1].any(axis=0)
    return values


def _error_rate(truth: np.ndarray, found: np.ndarray) -> float:
    """(S + D + I) / Nref over the rows; no epsilon: NaN or inf where there is nothing to find."""
    fn, fp = (truth & ~found).sum(axis=1), (found & ~truth).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.maximum(fn, fp).sum() / np.float64(truth.sum()))  # min + |difference| is the larger one


def _f_score(truth: np.ndarray, found: np.ndarray) -> float:
    tp = (truth & found).sum()
    precision, recall = tp / (found.sum() + EPS), tp / (truth.sum() + EPS)
    return float(2 * precision * recall / (precision + recall + EPS))


def detection_on_blocks(
    reference: np.ndarray, estimated: np.ndarray, block: int, *, whole_blocks: bool = False
) -> Pair:
    """Error rate and F score of sound event detection on blocks.

    Parameters
    ----------
    reference, estimated : (N, C)
    block : frames in a block, int(1 s / hop)
    whole_blocks : the error rate leaves out an incomplete last block (SELDnet 2018, Two-Stage; Q23), the F score never

    Raises
    ------
    InputError : blocks of one frame, of which nothing is looked at (Q22)

    Examples
    --------
    >>> reference = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> estimated = np.array([[1, 0], [1, 0], [1, 0], [1, 0]])  # the second block has the wrong class
    >>> error_rate, f_score = detection_on_blocks(reference, estimated, 2)
    >>> error_rate, round(f_score, 6)
    (0.5, 0.5)
    """
    truth, found = _pair(reference, estimated)
    if block < 2:
        raise InputError(f"a block must have 2 frames or more, found {block}: its last frame is never looked at")
    count = -(-len(truth) // block)
    truth, found = block_activity(truth, block, count), block_activity(found, block, count)
    rated = len(np.asarray(reference)) // block if whole_blocks else count
    return _error_rate(truth[:rated], found[:rated]), _f_score(truth, found)


def detection_on_frames(reference: np.ndarray, estimated: np.ndarray) -> Pair:
    """Error rate and F score of sound event detection frame by frame; arrays (N, C)."""
    truth, found = _pair(reference, estimated)
    return _error_rate(truth, found), _f_score(truth, found)


def legacy_f1_rows(reference: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """F score of every row (N, C) -> (N,), with epsilon in numerators too (SELDnet's first form)."""
    truth, found = _pair(reference, estimated)
    tp, predicted, expected = (side.sum(axis=1) + EPS for side in (truth & found, found, truth))
    precision, recall = tp / predicted, tp / expected
    return 2 * precision * recall / (precision + recall + EPS)


def legacy_f1_blocks(reference: np.ndarray, estimated: np.ndarray, block: int) -> np.ndarray:
    """The same per whole block of 1 s -> (N // block,)."""
    truth, found = _pair(reference, estimated)
    count = len(truth) // block
    return legacy_f1_rows(block_activity(truth, block, count), block_activity(found, block, count))


@dataclass(frozen=True)
class RegressedDirections:
    """Directions of 2019 in regression form.

    Attributes
    ----------
    doa_error_deg : assigned distances over the number of *predicted* entries (Q25); 0 without prediction
    frame_recall : share of the frames with the right number of sources
    predicted, good_frames, surplus, deficit : predicted entries, frames with the right number, sources too many and few
    """

    doa_error_deg: float
    frame_recall: float
    predicted: int
    good_frames: int
    surplus: int
    deficit: int


def regressed_directions_2019(
    reference_sed: np.ndarray, estimated_sed: np.ndarray, reference_doa_rad: np.ndarray, estimated_doa_rad: np.ndarray
) -> RegressedDirections:
    """One direction per active class and frame, assigned without regard to class (Q24).

    Parameters
    ----------
    reference_sed, estimated_sed : (N, C)
    reference_doa_rad, estimated_doa_rad : (N, 2 C), azimuths then elevations in radians
    """
    truth, found = _pair(reference_sed, estimated_sed)
    classes = truth.shape[1]

    def points(active: np.ndarray, doa_rad: np.ndarray) -> tuple[Cells, np.ndarray]:
        doa_rad = np.asarray(doa_rad, dtype=np.float64)
        if doa_rad.shape != (len(active), 2 * classes):
            raise InputError(
                f"directions must be (frames, 2 classes) {len(active), 2 * classes}, found {doa_rad.shape}"
            )
        frame, class_index = np.nonzero(active)
        azimuth, elevation = doa_rad[frame, class_index], doa_rad[frame, classes + class_index]
        return Cells.of(frame), np.stack([azimuth, np.sin(elevation), np.cos(elevation)], axis=-1)

    loss_deg, expected, predicted = frame_losses_deg(
        *points(truth, reference_doa_rad), *points(found, estimated_doa_rad), len(truth)
    )
    total, good = int(predicted.sum()), int((expected == predicted).sum())
    return RegressedDirections(
        float(loss_deg.sum() / total) if total else 0.0,
        good / len(truth),
        total,
        good,
        int(np.maximum(0, predicted - expected).sum()),
        int(np.maximum(0, expected - predicted).sum()),
    )


@dataclass(frozen=True, eq=False)
class Seldnet2018:
    """Scores of SELDnet's own evaluation.

    Attributes
    ----------
    er, f1 : detection on blocks of 1 s
    seld : mean(ER, 1 - F1, 2 asin(doa_loss_gt / 2) / pi, 1 - frame_recall); NaN where doa_loss_gt > 2
    avg_accuracy : mean diagonal of the confusion matrix of source counts, up to (not with) the largest true count (Q27)
    doa_loss_gt, doa_loss_pred : mean distance of predicted and true vectors over the classes active in the truth, in
        the prediction; 0 where there are none (not degrees)
    doa_loss_gt_count, doa_loss_pred_count : their numbers
    good_frames : frames with the right number of sources; frame_recall is their share
    confusion_matrix : true by predicted number of sources, over the sorted numbers that occur (Q26), rows normalised
    """

    er: float
    f1: float
    seld: float
    avg_accuracy: float
    doa_loss_gt: float
    doa_loss_pred: float
    doa_loss_gt_count: int
    doa_loss_pred_count: int
    good_frames: int
    frame_recall: float
    confusion_matrix: np.ndarray


def seldnet2018(
    reference_sed: np.ndarray,
    estimated_sed: np.ndarray,
    reference_doa: np.ndarray,
    estimated_doa: np.ndarray,
    *,
    block: int,
) -> Seldnet2018:
    """Score one sequence of frames as SELDnet (2018) does.

    Parameters
    ----------
    reference_sed, estimated_sed : (N, C)
    reference_doa, estimated_doa : (N, 3 C), all x, then y, then z of the classes; or (N, 2 C), x then y
    block : frames in 1 s, int(1 / hop)
    """
    truth, found = _pair(reference_sed, estimated_sed)
    frames, classes = truth.shape
    vectors = []
    for doa in (reference_doa, estimated_doa):
        doa = np.asarray(doa, dtype=np.float64)
        if doa.ndim != 2 or len(doa) != frames or doa.shape[1] not in (2 * classes, 3 * classes):
            raise InputError(f"directions must be (frames, 2 or 3 classes) for {frames, classes}, found {doa.shape}")
        vectors.append(doa.reshape(frames, -1, classes))
    if vectors[0].shape != vectors[1].shape:
        raise InputError("true and predicted directions must have one number of axes")
    apart = np.sqrt(np.sum((vectors[0] - vectors[1]) ** 2, axis=1))
    loss_gt, loss_pred = (float(apart[active].mean()) if active.any() else 0.0 for active in (truth, found))
    er, f1 = detection_on_blocks(truth, found, block, whole_blocks=True)
    expected, predicted = truth.sum(axis=1), found.sum(axis=1)
    good = int((expected == predicted).sum())
    matrix = _count_confusion(expected, predicted)
    most = int(expected.max(initial=0))
    diagonal = np.diag(matrix[:most, :most])
    recall = good / frames
    angle = 2 * np.arcsin(loss_gt / 2) / np.pi if loss_gt <= 2 else np.nan
    return Seldnet2018(
        er=er,
        f1=f1,
        seld=float((er + (1 - f1) + angle + (1 - recall)) / 4),
        avg_accuracy=float(diagonal.mean()) if len(diagonal) else np.nan,
        doa_loss_gt=loss_gt,
        doa_loss_pred=loss_pred,
        doa_loss_gt_count=int(truth.sum()),
        doa_loss_pred_count=int(found.sum()),
        good_frames=good,
        frame_recall=recall,
        confusion_matrix=matrix,
    )


def _count_confusion(expected: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """True by predicted number of sources, over the sorted numbers that occur in either; rows normalised."""
    numbers, place = np.unique(np.concatenate([expected, predicted]), return_inverse=True)
    matrix = np.zeros((len(numbers), len(numbers)))
    np.add.at(matrix, (place[: len(expected)], place[len(expected) :]), 1)
    return matrix / (matrix.sum(axis=1, keepdims=True) + EPS)
