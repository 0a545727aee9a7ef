"""Convolution, batch norm, ReLU and max pooling as one step, in pieces that stay in a CPU's cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_PIECE = 2**21  # elements of convolution output per piece: 8 MB, which allocators reuse and a last-level cache holds


def conv_norm_relu_pool(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, pool: tuple[int, int]) -> Tensor:
    """max_pool2d(relu(norm(conv(x)))) for a 3x3 convolution with padding 1 and stride 1, with or without a bias.

    On CPU the large intermediate maps (135 MB each for 16 windows) are never made: normalisation and ReLU are monotone
    per channel, so pooling can come first; where the scale of a channel is negative, its filter is negated beforehand.
    Values agree with the plain form up to rounding. Under autocast the CPU form stays in float32: measured on a
    processor with AVX512-BF16, bfloat16 convolutions of these sizes take twice the time.

    Parameters
    ----------
    x : (batch, channels, frames, bins)
    pool : (frames, bins)

    Returns
    -------
    (batch, filters, frames // pool[0], bins // pool[1])
    """
    running_mean, running_var, seen = norm.running_mean, norm.running_var, norm.num_batches_tracked
    plain = x.device.type != "cpu" or torch.compiler.is_exporting() or getattr(norm, "over_processes", False)
    if plain or norm.momentum is None or running_mean is None or running_var is None or seen is None:
        return functional.max_pool2d(functional.relu(norm(conv(x))), pool)
    x = x.to(conv.weight.dtype)
    with torch.autocast("cpu", enabled=False):
        if not norm.training and not torch.is_grad_enabled():
            return _folded(x, conv, norm, running_mean, running_var, pool)
        sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(norm.weight.dtype)
        weight = conv.weight * sign[:, None, None, None]
        pooled, mean, variance = _ConvPool.apply(x, weight, pool)
        bias = None if conv.bias is None else conv.bias * sign
        if norm.training:
            count = x.shape[0] * x.shape[2] * x.shape[3]
            mean = mean if bias is None else mean + bias
            with torch.no_grad():
                seen.add_(1)
                running_mean.lerp_(mean.detach() * sign, norm.momentum)
                running_var.lerp_(variance.detach() * (count / max(count - 1, 1)), norm.momentum)
        else:
            mean, variance = running_mean * sign, running_var
        scale = norm.weight * sign * torch.rsqrt(variance + norm.eps)
        shift = norm.bias - (mean if bias is None else mean - bias) * scale
        return torch.addcmul(shift[:, None, None], pooled, scale[:, None, None]).relu_()


def _pieces(x: Tensor, filters: int) -> range:
    """First items of the pieces of the batch."""
    per_piece = max(_PIECE // (filters * x.shape[2] * x.shape[3]), 1)
    return range(0, len(x), per_piece)


def _piece(x: Tensor, first: int, step: int) -> Tensor:
    return x[first : first + step].contiguous(memory_format=torch.channels_last)


def _folded(
    x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, pool: tuple[int, int]
) -> Tensor:
    """Evaluation: the normalisation is folded into the filters."""
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    weight = conv.weight * scale[:, None, None, None]
    bias = norm.bias - (mean if conv.bias is None else mean - conv.bias) * scale
    pieces = _pieces(x, len(weight))
    made = [
        functional.max_pool2d(functional.conv2d(_piece(x, first, pieces.step), weight, bias, padding=1), pool).relu_()
        for first in pieces
    ]
    return torch.cat(made) if len(made) > 1 else made[0]


class _ConvPool(torch.autograd.Function):
    """(x, weight) -> max-pooled convolution, and mean and biased variance of the convolution per filter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pool: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        pooled: list[Tensor] = []
        indices: list[Tensor] = []
        means, variances, weights = [], [], []
        pieces = _pieces(x, len(weight))
        for first in pieces:
            part = _piece(x, first, pieces.step)
            y = functional.conv2d(part, weight, padding=1)
            for made, value in zip((pooled, indices), functional.max_pool2d(y, pool, return_indices=True)):
                made.append(value)
            mean, variance = torch.batch_norm_update_stats(y, None, None, 0.0)
            means.append(mean)
            variances.append(variance)
            weights.append(len(part) / len(x))
        share = torch.tensor(weights, dtype=torch.float64)[:, None]
        each = torch.stack(means).double()
        mean = (each * share).sum(dim=0)
        variance = ((torch.stack(variances).double() + (each - mean).square()) * share).sum(dim=0)
        dtype = means[0].dtype
        mean, variance = mean.to(dtype), variance.to(dtype)
        # Making the convolution again in the backward pass is faster than keeping it, if it is larger than the cache.
        kept = y if len(indices) == 1 and ctx.needs_input_grad[1] else None
        ctx.save_for_backward(x, weight, mean, kept, *indices)
        ctx.set_materialize_grads(False)
        return torch.cat(pooled), mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_pooled: Tensor | None, grad_mean: Tensor | None, grad_variance: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, weight, mean, kept, *indices = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad[:2]
        count = x.shape[0] * x.shape[2] * x.shape[3]
        # d loss / d y = what pooling passes on + offset + slope y, since mean and variance depend on every y.
        dense = grad_mean is not None or grad_variance is not None
        if dense:
            slope = torch.zeros_like(mean) if grad_variance is None else grad_variance * (2 / count)
            offset = -slope * mean if grad_mean is None else grad_mean / count - slope * mean
            slope, offset = (value[None, :, None, None] for value in (slope, offset))
        grad_weight, grad_parts = None, []
        pieces = _pieces(x, len(weight))
        for first, index in zip(pieces, indices):
            part = _piece(x, first, pieces.step)
            shape = (len(part), len(weight), x.shape[2], x.shape[3])
            if dense and kept is not None:
                y = torch.addcmul(offset, kept, slope)
            elif dense:
                y = functional.conv2d(part, weight, padding=1)
                torch.addcmul(offset, y, slope, out=y)
            else:
                y = torch.zeros(shape, dtype=x.dtype).contiguous(memory_format=torch.channels_last)
            if grad_pooled is not None:
                passed = grad_pooled[first : first + pieces.step]
                y.flatten(2).scatter_add_(2, index.flatten(2), passed.flatten(2))
            grad_x, grad, _ = torch.ops.aten.convolution_backward(
                y, part, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [need_x, need_weight, False]
            )
            grad_parts.append(grad_x)
            if need_weight:
                grad_weight = grad if grad_weight is None else grad_weight.add_(grad)
        grad_x = (torch.cat(grad_parts) if len(grad_parts) > 1 else grad_parts[0]) if need_x else None
        return grad_x, grad_weight, None
