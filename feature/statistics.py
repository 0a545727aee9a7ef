"""Mean and variance of feature columns, gathered chunk by chunk, and the standardisation made from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class RunningStatistics:
    """Mean and population variance of each column over any number of chunks, in float64 and one pass.

    Same results as scikit-learn's StandardScaler after `partial_fit` with the same chunks (Chan, Golub and LeVeque,
    'Algorithms for computing the sample variance', 1983), which the SELDnet references use: a column whose variance is
    rounding error of its mean keeps the scale 1.

    Attributes
    ----------
    count : rows seen
    mean, variance : (columns,) float64 tensors; None before the first chunk
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None

    def update(self, x: Tensor | np.ndarray) -> None:
        """Take in a chunk of rows (n, columns), on any device.

        Raises
        ------
        ValueError : not a matrix, another number of columns than before, or values that are not finite
        """
        x = torch.as_tensor(x).to(torch.float64)
        if x.ndim != 2 or (self.mean is not None and x.shape[1] != len(self.mean)):
            due = "columns" if self.mean is None else len(self.mean)
            raise ValueError(f"rows of shape {tuple(x.shape)}, (n, {due}) expected")
        if not len(x):
            return
        total = x.sum(dim=0)
        if not torch.isfinite(total).all():
            raise ValueError("features with NaN or infinite values have no statistics")
        mean = total / len(x)
        off = x - mean
        # the second term is 0 but for rounding: it takes the error of the mean out again
        squares = off.square().sum(dim=0) - off.sum(dim=0).square() / len(x)
        self._take(len(x), mean, total, squares)

    def join(self, other: RunningStatistics) -> None:
        """Take in the rows that other statistics are of."""
        if other.mean is not None and other.variance is not None:
            self._take(other.count, other.mean, other.mean * other.count, other.variance * other.count)

    def _take(self, rows: int, mean: Tensor, total: Tensor, squares: Tensor) -> None:
        if self.mean is None or self.variance is None:
            self.count, self.mean, self.variance = rows, mean, squares / rows
            return
        before, count = self.count, self.count + rows
        known = self.mean.to(mean.device), self.variance.to(mean.device)
        ratio = before / rows
        squares = known[1] * before + squares + ratio / count * (known[0] * before / ratio - total).square()
        self.count, self.mean, self.variance = count, (known[0] * before + total) / count, squares / count

    def update_maps(self, features: Tensor, padding: Tensor | None = None) -> None:
        """Take in features (batch, maps, frames, bins): every frame is a row of maps x bins columns.

        Parameters
        ----------
        padding : (batch, frames), frames that are left out
        """
        rows = features.transpose(1, 2)
        rows = rows.flatten(0, 1) if padding is None else rows[~padding]
        self.update(rows.flatten(1))

    @property
    def scale(self) -> Tensor:
        """(columns,) standard deviation, 1 where the variance is 0 or rounding error."""
        if self.mean is None or self.variance is None:
            raise ValueError("statistics of no rows")
        eps = torch.finfo(torch.float64).eps
        noise = self.count * eps * self.variance + (self.count * self.mean * eps).square()
        return torch.where(self.variance <= noise, torch.ones_like(self.variance), self.variance.sqrt())

    def to_dict(self) -> dict[str, Any]:
        """Count, mean and variance as plain values and tensors on the processor, for a checkpoint."""
        if self.mean is None or self.variance is None:
            return {"count": 0}
        return {"count": self.count, "mean": self.mean.cpu(), "variance": self.variance.cpu()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunningStatistics:
        """The inverse of `to_dict`; mean and variance may be lists."""
        made = cls()
        made.count = int(values["count"])
        if made.count:
            made.mean, made.variance = (
                torch.as_tensor(values[name], dtype=torch.float64).clone() for name in ("mean", "variance")
            )
        return made


def of_maps(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of all values of each map, from those of its bins: (maps, bins) -> the same shape."""
    whole = mean.mean(dim=1, keepdim=True)
    spread = (variance + (mean - whole).square()).mean(dim=1, keepdim=True).sqrt()
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return whole.expand_as(mean).contiguous(), spread.expand_as(mean).contiguous()


class Standardise(nn.Module):
    """(features - mean) / scale, each (map, bin) by itself: (batch, maps, T, bins) -> the same in float32.

    Parameters
    ----------
    mean, scale : (maps, bins)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor):
        super().__init__()
        mean, scale = torch.as_tensor(mean), torch.as_tensor(scale)
        if mean.ndim != 2 or mean.shape != scale.shape:
            raise ValueError(f"mean {tuple(mean.shape)}, scale {tuple(scale.shape)}: both (maps, bins)")
        self.register_buffer("mean", mean.to(torch.float32)[:, None])
        self.register_buffer("scale", scale.to(torch.float32)[:, None])

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features; those given are left as they are."""
        return (features.float() - self.mean).div_(self.scale)
