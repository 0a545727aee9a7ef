"""Counting rules on 1 s segments (2020 to 2023) and on frames (2024, 2025): rows -> components per recording.

Components are additive over recordings: arrays (recordings, classes), or (recordings,) where a count spans the classes.
Scores are computed from sums of them (`scores`), confidence intervals from sums that leave one recording out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcase2022_task3_seld_metrics.batch import Batch, Cells
from dcase2022_task3_seld_metrics.distances import EPS, Distance
from dcase2022_task3_seld_metrics.pairing import Pairs, pair

SEGMENT = 10
"""Frames of 100 ms in a segment."""

Components = dict[str, np.ndarray]


@dataclass(frozen=True)
class Limits:
    """When a located event counts as correct.

    Attributes
    ----------
    angle_deg : largest angular distance, itself still correct
    distance, relative_distance : largest distance error (unit of the table) and ratio of it to the true distance
    onscreen : the flag must agree
    """

    angle_deg: float = 20.0
    distance: float = np.inf
    relative_distance: float = np.inf
    onscreen: bool = False


class _Sums:
    """Sums weights into components (recordings, classes) by recording and class of some items."""

    def __init__(self, files: int, classes: int, file: np.ndarray, class_index: np.ndarray) -> None:
        self.shape = (files, classes)
        self.bin = file * classes + class_index

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        total = np.bincount(self.bin, weights=weight.astype(np.float64, copy=False), minlength=np.prod(self.shape))
        return total.reshape(self.shape)


def _substitutions(files: int, file: np.ndarray, unit: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> Components:
    """S, D and I per recording from false positives and negatives per class and unit (segment or frame).

    Parameters
    ----------
    file, unit, fp, fn : (groups,) of one length; `unit` ascending
    """
    starts = np.flatnonzero(np.diff(unit, prepend=-1)) if len(unit) else np.zeros(0, dtype=np.int64)
    if not len(starts):
        return {name: np.zeros(files) for name in "SDI"}
    fp, fn, file = np.add.reduceat(fp, starts), np.add.reduceat(fn, starts), file[starts]
    parts = {"S": np.minimum(fp, fn), "D": np.maximum(0, fn - fp), "I": np.maximum(0, fp - fn)}
    return {name: np.bincount(file, weights=part, minlength=files) for name, part in parts.items()}


def _merged(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Union of two ascending arrays without repetitions, and where the items of each are in it."""
    union = np.union1d(first, second)
    return union, np.searchsorted(union, first), np.searchsorted(union, second)


def _placed(size: int, place: np.ndarray, value: np.ndarray) -> np.ndarray:
    out = np.zeros(size, dtype=value.dtype)
    out[place] = value
    return out


def _scored(batch: Batch, class_count: int, frames: np.ndarray) -> Batch:
    """The rows that count: classes from 0 to class_count - 1, frames from 0 to below `frames` (recordings,)."""
    inside = (batch.frame >= 0) & (batch.class_index >= 0) & (batch.class_index < class_count)
    inside &= batch.frame < frames[batch.file]
    return batch if inside.all() else batch.rows(inside)


@dataclass(frozen=True, eq=False)
class _Groups:
    """Segments x classes where either side has something.

    Attributes
    ----------
    segment, file, class_index : (groups,); segments are numbered through all recordings
    reference, estimated : (groups,) G and P, the largest number of rows of the class in a frame of the segment
    pairs, pair_group : the assigned pairs and the group (k,) of each
    """

    segment: np.ndarray
    file: np.ndarray
    class_index: np.ndarray
    reference: np.ndarray
    estimated: np.ndarray
    pairs: Pairs
    pair_group: np.ndarray


def _segment_groups(
    reference: Batch, estimated: Batch, class_count: int, segments: np.ndarray, distance: Distance
) -> _Groups:
    first_segment = np.cumsum(segments) - segments

    def cells_of(batch: Batch) -> tuple[Batch, Cells]:
        batch = _scored(batch, class_count, segments * SEGMENT)
        segment, frame = np.divmod(batch.frame, SEGMENT)
        return batch, Cells.of(
            ((first_segment[batch.file] + segment) * class_count + batch.class_index) * SEGMENT + frame
        )

    def most_rows(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        group = cells.key // SEGMENT
        starts = np.flatnonzero(np.diff(group, prepend=-1)) if len(group) else np.zeros(0, dtype=np.int64)
        return group, group[starts], np.maximum.reduceat(cells.count, starts) if len(starts) else starts

    reference, reference_cells = cells_of(reference)
    estimated, estimated_cells = cells_of(estimated)
    group_of_cell, reference_groups, reference_most = most_rows(reference_cells)
    _, estimated_groups, estimated_most = most_rows(estimated_cells)
    groups, in_reference, in_estimated = _merged(reference_groups, estimated_groups)
    pairs = pair(reference, estimated, reference_cells, estimated_cells, distance)
    segment, class_index = np.divmod(groups, class_count)
    return _Groups(
        segment=segment,
        file=np.searchsorted(first_segment + segments, segment, side="right"),
        class_index=class_index,
        reference=_placed(len(groups), in_reference, reference_most),
        estimated=_placed(len(groups), in_estimated, estimated_most),
        pairs=pairs,
        pair_group=np.searchsorted(groups, group_of_cell[pairs.cell]),
    )


def labelled_segments(reference: Batch) -> np.ndarray:
    """Segments per recording (2022 on): ceil(L / 10) with L the largest frame number, Q4 (one less than the frames)."""
    return np.maximum(0, -(-reference.last_frame // SEGMENT))


def labelled_frames(reference: Batch) -> np.ndarray:
    """Frames per recording that the frame metrics score: 0 to L - 1, Q4 (the last labelled frame is left out)."""
    return np.maximum(0, reference.last_frame)


def count_segments(
    reference: Batch, estimated: Batch, class_count: int, segments: np.ndarray, distance: Distance, limits: Limits
) -> Components:
    """Segment x class x track (2021, 2022, 2023 and the segment mode of 2024).

    Parameters
    ----------
    segments : (recordings,) number of segments that are scored

    Returns
    -------
    TP, FP, FP_spatial, FN, Nref, total_DE (degrees), DE_TP, DE_FP, DE_FN (recordings, classes); S, D, I (recordings,)
    """
    files = len(segments)
    groups = _segment_groups(reference, estimated, class_count, segments, distance)
    refs, ests = groups.reference, groups.estimated
    # a track is a position among the rows of one class in a frame, not a source number (Q6)
    first_track = np.cumsum(refs) - refs
    track = first_track[groups.pair_group] + groups.pairs.position
    tracks = int(refs.sum())
    frames = np.bincount(track, minlength=tracks)
    total = np.bincount(track, weights=groups.pairs.angle_deg, minlength=tracks)
    found = frames > 0
    mean_deg = np.divide(total, frames, out=np.zeros(tracks), where=found)
    group_of_track = np.repeat(np.arange(len(refs)), refs)

    def per_group(weight: np.ndarray) -> np.ndarray:
        return np.bincount(group_of_track, weights=weight.astype(np.float64), minlength=len(refs))

    located, correct = per_group(found), per_group(found & (mean_deg <= limits.angle_deg))
    misplaced = located - correct
    apart = (
        (refs > 0) & (ests > 0) & (located == 0)
    )  # both there, in no common frame: costs P, although G was meant (Q7)
    fn = np.where(apart, ests, np.maximum(0, refs - ests))
    fp = np.where(apart, 0, np.maximum(0, ests - refs))
    add = _Sums(files, class_count, groups.file, groups.class_index)
    false_positive, false_negative = add(fp), add(fn)
    return {
        "TP": add(correct),
        "FP": false_positive,
        "FP_spatial": add(misplaced),
        "FN": false_negative,
        "Nref": add(refs),
        **_substitutions(files, groups.file, groups.segment, fp + misplaced, fn),
        "total_DE": add(per_group(mean_deg)),
        "DE_TP": add(located),
        "DE_FP": false_positive,
        "DE_FN": false_negative,
    }


def count_binary_segments(
    reference: Batch, estimated: Batch, class_count: int, segments: np.ndarray, distance: Distance, limits: Limits
) -> Components:
    """Segment x class, present or not (2020); arguments as `count_segments`.

    Returns
    -------
    TP, FP, FN, TN, Nref, Nsys, total_DE (degrees), DE_TP (recordings, classes); S, D, I (recordings,)
    """
    files = len(segments)
    groups = _segment_groups(reference, estimated, class_count, segments, distance)
    in_reference, in_estimated = groups.reference > 0, groups.estimated > 0
    # per frame the *sum* over its pairs (Q17), then the mean over the frames in common
    total = np.bincount(groups.pair_group, weights=groups.pairs.angle_deg, minlength=len(groups.file))
    first_of_frame = np.diff(groups.pairs.cell, prepend=-1) != 0
    frames = np.bincount(groups.pair_group, weights=first_of_frame, minlength=len(groups.file))
    located = frames > 0
    mean_deg = np.divide(total, frames, out=np.zeros(len(total)), where=located)
    correct = located & (mean_deg <= limits.angle_deg)
    fn, fp = in_reference & ~correct, in_estimated & ~in_reference
    add = _Sums(files, class_count, groups.file, groups.class_index)
    return {
        "TP": add(correct),
        "FP": add(fp),
        "FN": add(fn),
        "Nref": add(in_reference),
        **_substitutions(files, groups.file, groups.segment, fp.astype(np.float64), fn.astype(np.float64)),
        "total_DE": add(mean_deg),
        "DE_TP": add(located),
        "TN": segments[:, None] - add(in_reference | in_estimated),
        "Nsys": add(in_estimated),
    }


def count_frames(
    reference: Batch,
    estimated: Batch,
    class_count: int,
    frames: np.ndarray,
    distance: Distance,
    limits: Limits,
    *,
    with_distance: bool = True,
) -> Components:
    """Frame x class x track (2024, 2025).

    Parameters
    ----------
    frames : (recordings,) number of frames that are scored
    with_distance : False: distances are neither compared nor needed

    Returns
    -------
    TP, FP, FP_spatial, FN, Nref, total_AngE (degrees), total_DistE (unit of the table), total_RelDistE,
    total_OnscreenCorrect, DE_TP, DE_FP, DE_FN (recordings, classes); S, D, I (recordings,)
    """
    files = len(frames)
    first_frame = np.cumsum(frames) - frames

    def cells_of(batch: Batch) -> tuple[Batch, Cells]:
        batch = _scored(batch, class_count, frames)
        return batch, Cells.of((first_frame[batch.file] + batch.frame) * class_count + batch.class_index)

    reference, reference_cells = cells_of(reference)
    estimated, estimated_cells = cells_of(estimated)
    pairs = pair(reference, estimated, reference_cells, estimated_cells, distance)
    bad = pairs.angle_deg > limits.angle_deg
    distance_error = relative_error = np.zeros(len(bad))
    if with_distance:
        true = reference.distance[pairs.reference]
        distance_error = np.abs(true - estimated.distance[pairs.estimated])
        relative_error = distance_error / (true + EPS)  # 100 % too far stays just below 1; a true 0 explodes: kept
        bad |= (distance_error > limits.distance) | (relative_error > limits.relative_distance)
    shown, expected = estimated.onscreen[pairs.estimated], reference.onscreen[pairs.reference]
    agree = (shown == expected).astype(np.float64)
    if limits.onscreen:
        bad |= agree == 0
    agree[np.isnan(shown) | np.isnan(expected)] = np.nan  # unknown stays unknown

    cells, in_reference, in_estimated = _merged(reference_cells.key, estimated_cells.key)
    refs = _placed(len(cells), in_reference, reference_cells.count)
    ests = _placed(len(cells), in_estimated, estimated_cells.count)
    fp, fn, located = np.maximum(0, ests - refs), np.maximum(0, refs - ests), np.minimum(refs, ests)
    misplaced = np.bincount(in_reference[pairs.cell], weights=bad, minlength=len(cells))
    frame, class_index = np.divmod(cells, class_count)
    file = np.searchsorted(first_frame + frames, frame, side="right")
    add = _Sums(files, class_count, file, class_index)
    add_pairs = _Sums(files, class_count, reference.file[pairs.reference], reference.class_index[pairs.reference])
    false_positive, false_negative = add(fp), add(fn)
    return {
        "TP": add(located - misplaced),
        "FP": false_positive,
        "FP_spatial": add(misplaced),
        "FN": false_negative,
        "Nref": add(refs),
        **_substitutions(files, file, frame, fp + misplaced, fn),
        "total_AngE": add_pairs(pairs.angle_deg),
        "total_DistE": add_pairs(distance_error),
        "total_RelDistE": add_pairs(relative_error),
        "total_OnscreenCorrect": add_pairs(agree),
        "DE_TP": add(located),
        "DE_FP": false_positive,
        "DE_FN": false_negative,
    }
