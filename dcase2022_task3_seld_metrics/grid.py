"""Counting rule of 2019: detection on 1 s blocks, direction on frames over a 10 degree grid, without classes."""

from __future__ import annotations

import numpy as np

from dcase2022_task3_seld_metrics.assignment import assign
from dcase2022_task3_seld_metrics.batch import Batch, Cells, common
from dcase2022_task3_seld_metrics.distances import PolarDistance

BLOCK = 50
"""Frames of 20 ms in a block."""
AZIMUTHS, ELEVATIONS = 36, 9


def grid_cell(azimuth_deg: np.ndarray, elevation_deg: np.ndarray, *, clip: bool) -> np.ndarray:
    """Angles in degrees -> index of the cell: ((az + 180) // 10) * 9 + (el + 40) // 10.

    Parameters
    ----------
    clip : as for predictions: azimuth into [-180, 170] (180 becomes 170, Q20), elevation into [-40, 40]. References are
        not clipped: elevation 50 lands in the next azimuth's cell (Q19).
    """
    if clip:
        azimuth_deg, elevation_deg = np.clip(azimuth_deg, -180, 170), np.clip(elevation_deg, -40, 40)
    cell = np.floor_divide(azimuth_deg + 180, 10) * ELEVATIONS + np.floor_divide(elevation_deg + 40, 10)
    return cell.astype(np.int64)


def cell_angles_deg(cell: np.ndarray) -> np.ndarray:
    """Index of a cell -> azimuth and elevation of its corner (n, 2) in degrees."""
    return np.stack([cell // ELEVATIONS * 10.0 - 180.0, cell % ELEVATIONS * 10.0 - 40.0], axis=-1)


def _entries(batch: Batch, classes: int, frames: int, *, clip: bool) -> np.ndarray:
    """Sorted distinct keys ((recording * frames + frame) * classes + class) * cells + cell of the rows that count."""
    frame = np.where(batch.frame < 0, batch.frame + frames, batch.frame)  # negative frames index from the end (Q21)
    keep = (frame >= 0) & (frame < frames) & (batch.class_index >= 0) & (batch.class_index < classes)
    cell = grid_cell(batch.coordinates[:, 0], batch.coordinates[:, 1], clip=clip)
    keep &= (cell >= 0) & (cell < AZIMUTHS * ELEVATIONS)
    key = ((batch.file * frames + frame) * classes + batch.class_index) * (AZIMUTHS * ELEVATIONS) + cell
    return np.unique(key[keep])


def count_grid(
    reference: Batch, estimated: Batch, class_count: int, frames: int, *, two_stage: bool = False
) -> dict[str, np.ndarray]:
    """Components (recordings,) of 2019.

    Parameters
    ----------
    frames : frames of 20 ms that are scored in every recording
    two_stage : the error rate leaves out an incomplete last block (Q23)

    Returns
    -------
    S, D, I, TP, Nref, Nsys (blocks); doa_loss_pred (degrees), doa_loss_pred_cnt, nb_good_pks, nb_frames, less_est_cnt,
    less_est_frame_cnt, more_est_cnt, more_est_frame_cnt (frames)
    """
    files = len(reference.last_frame)
    sides = _entries(reference, class_count, frames, clip=False), _entries(estimated, class_count, frames, clip=True)
    return _count_blocks(*sides, files, class_count, frames, two_stage) | _count_directions(
        *sides, files, class_count, frames
    )


def _count_blocks(
    reference: np.ndarray, estimated: np.ndarray, files: int, classes: int, frames: int, two_stage: bool
) -> dict[str, np.ndarray]:
    blocks = -(-frames // BLOCK)

    def active(entries: np.ndarray) -> np.ndarray:
        frame, class_index = np.divmod(entries // (AZIMUTHS * ELEVATIONS), classes)
        file, frame = np.divmod(frame, frames)
        seen = frame % BLOCK != BLOCK - 1  # the last frame of every second is never looked at (Q22)
        grid = np.zeros((files, blocks, classes), dtype=bool)
        grid[file[seen], frame[seen] // BLOCK, class_index[seen]] = True
        return grid

    truth, found = active(reference), active(estimated)
    whole = slice(0, frames // BLOCK if two_stage else blocks)
    fn = (truth & ~found)[:, whole].sum(axis=2)
    fp = (found & ~truth)[:, whole].sum(axis=2)
    counts = {
        "S": np.minimum(fp, fn).sum(axis=1),
        "D": np.maximum(0, fn - fp).sum(axis=1),
        "I": np.maximum(0, fp - fn).sum(axis=1),
        "TP": (truth & found).sum(axis=(1, 2)),
        "Nref": truth.sum(axis=(1, 2)),
        "Nsys": found.sum(axis=(1, 2)),
    }
    return {name: count.astype(np.float64) for name, count in counts.items()}


def frame_losses_deg(
    truth: Cells, truth_points: np.ndarray, found: Cells, found_points: np.ndarray, frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assign points to points in every frame, whatever their class (Q24).

    Parameters
    ----------
    truth, found : cells whose key is the frame
    truth_points, found_points : prepared coordinates of all points, sorted by frame

    Returns
    -------
    Sum of the assigned distances in degrees, number of true and of found points; each (frames,)
    """
    distance = PolarDistance()
    counts = np.zeros((2, frames), dtype=np.int64)
    counts[0, truth.key], counts[1, found.key] = truth.count, found.count
    loss_deg = np.zeros(frames)
    in_truth, in_found = common(truth.key, found.key)
    rows, columns = truth.count[in_truth], found.count[in_found]
    for shape in np.unique(np.stack([rows, columns], axis=1), axis=0).tolist():
        chosen = np.flatnonzero((rows == shape[0]) & (columns == shape[1]))
        first = truth_points[truth.start[in_truth[chosen], None] + np.arange(shape[0])]
        second = found_points[found.start[in_found[chosen], None] + np.arange(shape[1])]
        cost = distance.between(first[:, :, None], second[:, None, :])
        row, column = assign(cost)
        loss_deg[truth.key[in_truth[chosen]]] = cost[np.arange(len(chosen))[:, None], row, column].sum(axis=1)
    return loss_deg, counts[0], counts[1]


def _count_directions(
    reference: np.ndarray, estimated: np.ndarray, files: int, classes: int, frames: int
) -> dict[str, np.ndarray]:
    def points(entries: np.ndarray) -> tuple[Cells, np.ndarray]:
        frame = entries // (AZIMUTHS * ELEVATIONS * classes)
        return Cells.of(frame), PolarDistance().prepare(cell_angles_deg(entries % (AZIMUTHS * ELEVATIONS)))

    sides = frame_losses_deg(*points(reference), *points(estimated), files * frames)
    loss_deg, expected, predicted = (side.reshape(files, frames) for side in sides)
    less, more = expected - predicted, predicted - expected
    per_frame = {
        "doa_loss_pred": loss_deg,
        "doa_loss_pred_cnt": predicted,  # every predicted entry, matched or not (Q25)
        "nb_good_pks": expected == predicted,
        "nb_frames": np.ones((files, frames)),
        "less_est_cnt": np.maximum(0, less),
        "less_est_frame_cnt": less > 0,
        "more_est_cnt": np.maximum(0, more),
        "more_est_frame_cnt": more > 0,
    }
    return {name: np.asarray(np.sum(value, axis=1, dtype=np.float64)) for name, value in per_frame.items()}
