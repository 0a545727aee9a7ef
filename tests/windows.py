"""Windows of the audio-visual systems on made-up recordings, and the labels of any table on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dataset.framing import Framing
from dataset.plans import Plan, RandomWindows, WindowGrid
from output_format.multi_accdoa import MultiAccdoa
from util.events import EventTable

FRAMING = Framing(left=512 - 240)


class Rows:
    """Labels of a table, whatever the recording."""

    def __init__(self, table: EventTable):
        self.table = table

    def events(self, frame_s: float, first: int = 0, end: int | None = None) -> EventTable:
        return self.table[(self.table.frame >= first) & (self.table.frame < (end or 10**9))]


class At(RandomWindows):
    """Training windows of one long recording that begin at given seconds."""

    def __init__(self, starts_s: Sequence[float]):
        super().__init__(FRAMING, [10**9], frames=128)
        self.starts = np.rint(np.asarray(starts_s) * 24000).astype(np.int64)
        assert np.array_equal(self.starts / 24000, starts_s)

    def at(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(numbers), dtype=np.int64), self.starts[numbers]


def grid_of(samples: Sequence[int], **options) -> WindowGrid:
    """Evaluation windows of recordings of so many samples."""
    return WindowGrid(FRAMING, samples, frames=128, hop=120, **options)


def labels_on(plan: Plan, count: int, table: EventTable, classes: int) -> np.ndarray:
    """Labels of the first items of a plan as the network is trained on them (items, 6, 3, classes, steps)."""
    output_format, grid = MultiAccdoa(classes), plan.grid(plan.items(np.arange(count)), 0.1)
    return output_format.target(output_format.encode([Rows(table)] * count, grid), torch.device("cpu")).numpy()
