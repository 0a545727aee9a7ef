"""Batch norm over the windows of all processes that train together, on processors and GPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from net.bin_norm import BinNorm


class Synced:
    """Marks a batch norm whose statistics are those of all processes: kernels that take their own leave it alone."""

    over_processes = True


class _Gathered(torch.autograd.Function):
    """A tensor of each process (processes, ...); the gradient of each is the sum of what all processes have for it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        torch.distributed.all_reduce(total)
        return total[torch.distributed.get_rank()]


def _normalised(norm: nn.modules.batchnorm._NormBase, x: Tensor) -> Tensor:
    """(n, channels, ...) normalised in training by the mean and variance of all processes' values, as many in each."""
    if not norm.training or torch.distributed.get_world_size() == 1:
        statistics = norm.running_mean, norm.running_var
        rate = norm.momentum or 0.0
        return nn.functional.batch_norm(x, *statistics, norm.weight, norm.bias, norm.training, rate, norm.eps)
    values = x.float()
    others = [axis for axis in range(x.dim()) if axis != 1]
    spread, mean = torch.var_mean(values, others, correction=0)
    means, spreads = _Gathered.apply(torch.stack([mean, spread])).unbind(1)
    mean = means.mean(0)
    spread = (spreads + (means - mean).square()).mean(0)
    count = x.numel() // x.shape[1] * torch.distributed.get_world_size()
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            rate = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
            norm.running_mean.lerp_(mean, rate)
            norm.running_var.lerp_(spread * (count / max(count - 1, 1)), rate)
    shape = [1, -1] + [1] * (x.dim() - 2)
    scale = torch.rsqrt(spread + norm.eps) * norm.weight
    made = (values - mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)
    return made.to(x.dtype)


class SyncNorm1d(Synced, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels) or (n, channels, length) -> the same."""
        return _normalised(self, x)


class SyncNorm2d(Synced, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, height, width) -> the same."""
        return _normalised(self, x)


class SyncBinNorm(Synced, BinNorm):
    """`net.bin_norm.BinNorm` over all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, T, bins) -> the same; everything but the last dimension counts as the batch."""
        return _normalised(self, x.reshape(-1, x.shape[-1])).view(x.shape)


_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SyncNorm1d,
    nn.BatchNorm2d: SyncNorm2d,
    BinNorm: SyncBinNorm,
}


def synchronise(network: nn.Module) -> int:
    """Make every batch norm of a network one over all processes, parameters and names as they were; how many."""
    found = [module for module in network.modules() if type(module) in _FORMS]
    for module in found:
        module.__class__ = _FORMS[type(module)]
    return len(found)
