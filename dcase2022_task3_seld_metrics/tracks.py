"""At most ten tracks of a class in a frame, as the programs of 2025 keep them."""

from __future__ import annotations

import numpy as np

from dcase2022_task3_seld_metrics.batch import Batch, Cells

TRACKS = 10


def limit_tracks(batch: Batch) -> tuple[Batch, np.ndarray]:
    """Drop what the official dictionary of tracks overwrites.

    A row takes its source number as key where that is free and below 10, else the lowest free key; where none is free
    it overwrites key 0 and keeps key 0's place among the rows (Q15).

    Returns
    -------
    The batch with the rows in the places of their tracks, and the rows (k,) of the input that overwrote another
    """
    width = int(batch.class_index.max(initial=0)) - int(batch.class_index.min(initial=0)) + 1
    span = int(batch.frame.max(initial=0)) - int(batch.frame.min(initial=0)) + 1
    frame, class_index = batch.frame - batch.frame.min(initial=0), batch.class_index - batch.class_index.min(initial=0)
    cells = Cells.of((batch.file * span + frame) * width + class_index)
    taken, overwriting = np.arange(len(batch)), []
    for cell in np.flatnonzero(cells.count > TRACKS).tolist():
        rows = cells.order[cells.start[cell] : cells.start[cell] + cells.count[cell]].tolist()
        keys: dict[int, int] = {}  # key -> place among the rows
        for place, row in enumerate(rows):
            source = int(batch.source[row])
            if source < TRACKS and source not in keys:
                keys[source] = place
                continue
            free = [key for key in range(TRACKS) if key not in keys]
            if free:
                keys[free[0]] = place
                continue
            taken[rows[keys[0]]] = row
            overwriting.append(row)
    kept = np.ones(len(batch), dtype=bool)
    kept[overwriting] = False
    return batch.rows(taken[kept]) if overwriting else batch, np.array(overwriting, dtype=np.int64)
