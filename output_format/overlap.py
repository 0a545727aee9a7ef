"""The mean of windows that overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


class OverlapMean:
    """Raw outputs of the windows of one recording after the other -> of each frame the mean of all that heard it.

    Blocks of `hop` frames are in the middle of one window, and in up to `reach` windows before and after it. Tracks of
    those are brought into the order of the window whose middle the block is.

    Parameters
    ----------
    in_order_of : see `output_format.contract.Matchable`
    hop : frames of the output from one window to the next
    reach : windows before and after that say something of a block, see `dataset.plans.WindowGrid`
    """

    def __init__(self, in_order_of: Callable[[Tensor, Tensor], Tensor], hop: int, reach: int):
        self.in_order_of, self.hop, self.reach = in_order_of, hop, reach
        self._windows: list[np.ndarray] = []  # that blocks to come need, from window `_first` on
        self._first = self._done = 0

    def __call__(self, windows: Sequence[np.ndarray], last: bool) -> np.ndarray:
        """The frames that the next windows complete, often none; of all that is left with the last ones.

        Parameters
        ----------
        windows : (..., frames) of what each keeps, in order
        last : they are the last ones of the recording
        """
        self._windows += windows
        known = self._first + len(self._windows)
        ready = range(self._done, known if last else max(known - self.reach, self._done))
        if not ready:
            return self._windows[0][..., :0]
        first = torch.stack([self._of(block, block) for block in ready])
        total, count = first, torch.ones((len(first),) + (1,) * (first.ndim - 1))
        for offset in range(-self.reach, self.reach + 1):
            there = [place for place, block in enumerate(ready) if offset and 0 <= block + offset < known]
            if not there:
                continue
            other = torch.stack([self._of(ready[place] + offset, ready[place]) for place in there])
            index = torch.tensor(there)
            total = total.index_add(0, index, self.in_order_of(first[index], other))
            count[index] += 1
        short = self.hop - self._of(ready[-1], ready[-1], padded=False).shape[-1]
        made = (total / count).movedim(0, -2).flatten(-2).numpy()
        self._done = ready[-1] + 1
        forgotten = max(self._done - self.reach - self._first, 0)
        del self._windows[:forgotten]
        self._first += forgotten
        if last:
            self._windows, self._first, self._done = [], 0, 0
        return made[..., : made.shape[-1] - short]

    def _of(self, window: int, block: int, *, padded: bool = True) -> Tensor:
        """What a window says of a block (..., hop), zeros behind the end of the recording."""
        begin = (block - max(window - self.reach, 0)) * self.hop
        part = torch.from_numpy(self._windows[window - self._first][..., begin : begin + self.hop])
        missing = self.hop - part.shape[-1] if padded else 0
        return torch.nn.functional.pad(part, (0, missing)) if missing else part
