"""Batch norm over frequency bins, and a convolution stage around it in pieces that stay in a CPU's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_PIECE = 2**21  # elements of convolution output per piece: 8 MB, which a last-level cache holds
_KEPT = 2**26  # elements of convolution output that are kept, where making them again takes longer than reading them
_KEPT_CHANNELS = 16  # input channels from which on it does
_SMALL = 1e-3  # least scale that can be divided by without losing the gradient's precision


class BinNorm(nn.BatchNorm1d):
    """Batch norm whose scales and statistics belong to the frequency bins of (batch, channels, T, bins).

    Keras' default axis, the last, in code that keeps its channels first. With Keras' eps and momentum; its momentum of
    0.99 is the share that stays.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    over_processes = False  # a kernel's own statistics are those of one process (`net.sync_norm`)

    def __init__(self, bins: int, eps: float = 1e-3, momentum: float = 0.01):
        super().__init__(bins, eps=eps, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """The normalised maps; everything but the last dimension counts as the batch."""
        return super().forward(x.reshape(-1, x.shape[-1])).view(x.shape)


def conv_binnorm_relu_pool(x: Tensor, conv: nn.Conv2d, norm: BinNorm, pool: int) -> Tensor:
    """max_pool2d(relu(norm(conv(x))), (1, pool)) for a 3x3 convolution with padding 1, stride 1 and a bias.

    On CPU the large intermediate maps (537 MB each for 16 sequences of 512 frames) are never made: the convolution is
    made piece by piece in the cache, first for the statistics, again for the pooled values, and in the backward pass
    once more; only where it has many input channels, and is small, is it kept. Values agree with the plain form up to
    rounding. Under autocast the CPU form stays in float32.

    Parameters
    ----------
    x : (batch, channels, T, bins)
    pool : bins

    Returns
    -------
    (batch, filters, T, bins // pool)
    """
    gradients = torch.is_grad_enabled()
    plain = x.device.type != "cpu" or torch.compiler.is_exporting() or norm.over_processes
    if plain or (gradients and norm.weight.detach().abs().min() < _SMALL):
        return functional.max_pool2d(functional.relu(norm(conv(x))), (1, pool))
    if conv.bias is None:
        raise ValueError("the convolution needs a bias")
    made: list[Tensor] | None = None
    x, count, share = x.to(conv.weight.dtype), 0, norm.momentum or 0.0
    with torch.autocast("cpu", enabled=False):
        if norm.training:
            if x.shape[1] >= _KEPT_CHANNELS and len(conv.weight) * x[:, 0].numel() <= _KEPT:
                made = []
            mean, variance, count = _statistics(x.detach(), conv.weight.detach(), conv.bias.detach(), made)
            with torch.no_grad():
                norm.num_batches_tracked.add_(1)
                norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
                unbiased = variance * (count / max(count - 1, 1))
                norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), share)
        else:
            mean, variance = norm.running_mean.double(), norm.running_var.double()
        inverse = torch.rsqrt(variance + norm.eps)
        if not gradients:
            return _pooled(x, conv.weight, conv.bias, *_affine(norm.weight, norm.bias, mean, inverse), pool, made)[0]
        return _ConvBinNormPool.apply(
            x, conv.weight, conv.bias, norm.weight, norm.bias, mean, inverse, pool, count, made
        )


def _pieces(x: Tensor, filters: int) -> Iterator[tuple[slice, slice]]:
    """(items, frames) of each piece: all frames of some items, or some frames of one."""
    batch, _, frames, bins = x.shape
    per_item = filters * frames * bins
    if per_item <= _PIECE:
        step = max(_PIECE // per_item, 1)
        yield from ((slice(first, min(first + step, batch)), slice(0, frames)) for first in range(0, batch, step))
        return
    step = max(_PIECE // (filters * bins), 1)
    for item in range(batch):
        for first in range(0, frames, step):
            yield slice(item, item + 1), slice(first, min(first + step, frames))


def _with_neighbours(x: Tensor, items: slice, frames: slice) -> tuple[Tensor, list[int]]:
    """A piece of x with the frames before and behind it, channels last; and the padding that the convolution adds."""
    first, last = max(frames.start - 1, 0), min(frames.stop + 1, x.shape[2])
    part, around = x[items, :, first:last], (first - (frames.start - 1), frames.stop + 1 - last)
    if all(around):
        return part.contiguous(memory_format=torch.channels_last), [1, 1]
    if any(around):
        part = functional.pad(part, (0, 0, *around))
    return part.contiguous(memory_format=torch.channels_last), [0, 1]


def _convolved(x: Tensor, weight: Tensor, bias: Tensor, items: slice, frames: slice) -> Tensor:
    """Convolution of a piece as (items x frames, bins, filters), contiguous."""
    part, padding = _with_neighbours(x, items, frames)
    return _rows(functional.conv2d(part, weight, bias, padding=padding))


def _rows(maps: Tensor) -> Tensor:
    """(items, filters, frames, bins) in channels-last memory -> (items x frames, bins, filters), the same memory."""
    return maps.permute(0, 2, 3, 1).contiguous().flatten(0, 1)


def _maps(rows: Tensor, items: int) -> Tensor:
    """The inverse of `_rows`."""
    return rows.unflatten(0, (items, -1)).permute(0, 3, 1, 2)


def _statistics(x: Tensor, weight: Tensor, bias: Tensor, made: list[Tensor] | None) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance of the convolution per bin (float64), and how many values each is made of.

    The pieces of the convolution are appended to `made`.
    """
    weight = weight.contiguous(memory_format=torch.channels_last)
    total = torch.zeros((2, x.shape[3]), dtype=torch.float64)
    for piece in _pieces(x, len(weight)):
        y = _convolved(x, weight, bias, *piece)
        total[0] += y.sum(dim=0).sum(dim=1, dtype=torch.float64)
        if made is not None:
            made.append(y)
        square = y.square_() if made is None else y.square()
        total[1] += square.sum(dim=0).sum(dim=1, dtype=torch.float64)
    count = x.shape[0] * x.shape[2] * len(weight)
    mean, square = total / count
    return mean, (square - mean.square()).clamp_(min=0), count


def _affine(weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (bins,) that normalise, in the precision of the weights."""
    scale = weight.detach().double() * inverse
    return scale.to(weight.dtype), (bias.detach().double() - mean * scale).to(weight.dtype)


def _pooled(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    pool: int,
    made: list[Tensor] | None,
    *,
    keep_bins: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Pooled maps (batch, filters, T, bins // pool) in channels-last memory, and the bin that each value came from."""
    weight = weight.contiguous(memory_format=torch.channels_last)
    batch, _, frames, bins = x.shape
    shape = (batch, frames, bins // pool, len(weight))
    out = torch.empty(shape, dtype=x.dtype)
    kept = torch.empty(shape, dtype=torch.int16) if keep_bins else None
    for number, (items, part) in enumerate(_pieces(x, len(weight))):
        if made is None:
            y = _convolved(x, weight, bias, items, part).mul_(scale[:, None])
        else:
            y = made[number] * scale[:, None]
        y.add_(shift[:, None])
        place = out[items, part]
        maps = _maps(y, len(place))
        if kept is None:
            place.copy_(functional.max_pool2d(maps, (1, pool)).permute(0, 2, 3, 1))
        else:
            pooled, index = functional.max_pool2d(maps, (1, pool), return_indices=True)
            place.copy_(pooled.permute(0, 2, 3, 1))
            starts = torch.arange(0, place.shape[1] * bins, bins)[:, None, None]
            kept[items, part] = index.permute(0, 2, 3, 1).sub_(starts).to(torch.int16)
        place.relu_()
    return out.permute(0, 3, 1, 2), kept


class _ConvBinNormPool(torch.autograd.Function):
    """Normalised, clipped and pooled convolution with the given statistics, which are functions of it in training."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        inverse: Tensor,
        pool: int,
        count: int,
        made: list[Tensor] | None,
    ) -> Tensor:
        scale, shift = _affine(gamma, beta, mean, inverse)
        out, kept = _pooled(x, weight, bias, scale, shift, pool, made, keep_bins=True)
        ctx.save_for_backward(x, weight, bias, gamma, beta, mean, inverse, out, kept, *(made or ()))
        ctx.count = count
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return _ConvBinNormPool._backward(ctx, grad)

    @staticmethod
    def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gamma, beta, mean, inverse, out, kept, *made = ctx.saved_tensors
        weight = weight.contiguous(memory_format=torch.channels_last)
        bins, filters = x.shape[3], len(weight)
        out = out.permute(0, 2, 3, 1)
        passed = torch.empty_like(out)  # gradient of the pooled values where they are not clipped
        torch.ops.aten.threshold_backward.grad_input(grad.permute(0, 2, 3, 1), out, 0, grad_input=passed)
        sums = torch.zeros((2, bins, filters), dtype=torch.float64)
        for item in range(len(x)):
            both = torch.zeros((2, bins, filters), dtype=x.dtype)
            index = kept[item].flatten(0, 1).long()
            both[0].scatter_add_(0, index, passed[item].flatten(0, 1))
            both[1].scatter_add_(0, index, (passed[item] * out[item]).flatten(0, 1))
            sums += both
        # Sums over each bin of d loss / d normalised value, plain and times (value - beta) / gamma, the normalised one.
        d_beta, weighted = sums.sum(dim=2)
        d_gamma = (weighted - beta.double() * d_beta) / gamma.double()
        # d loss / d y = scale x what pooling passes on + offset + slope y, since mean and variance depend on every y.
        scale = gamma.double() * inverse
        slope = -scale * inverse * d_gamma / ctx.count if ctx.count else torch.zeros_like(scale)
        offset = -scale * d_beta / ctx.count - slope * mean if ctx.count else torch.zeros_like(scale)
        scale, slope, offset = (value.to(x.dtype) for value in (scale, slope, offset))
        d_x = torch.zeros_like(x, memory_format=torch.channels_last) if ctx.needs_input_grad[0] else None
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for number, (items, frames) in enumerate(_pieces(x, filters)):
            part, padding = _with_neighbours(x, items, frames)
            if made:
                y = (made[number] * slope[:, None]).add_(offset[:, None])
            elif ctx.count:
                y = _rows(functional.conv2d(part, weight, bias, padding=padding))
                y.mul_(slope[:, None]).add_(offset[:, None])
            else:
                y = x.new_zeros(((items.stop - items.start) * (frames.stop - frames.start), bins, filters))
            index = kept[items, frames].flatten(0, 1).long()
            y.scatter_add_(1, index, passed[items, frames].flatten(0, 1).mul_(scale[index]))
            y = _maps(y, items.stop - items.start)
            need = [d_x is not None, True, True]
            d_part, d_w, d_b = torch.ops.aten.convolution_backward(
                y, part, weight, [filters], [1, 1], padding, [1, 1], False, [0, 0], 1, need
            )
            d_weight += d_w
            d_bias += d_b
            if d_x is not None:
                first, last = max(frames.start - 1, 0), min(frames.stop + 1, x.shape[2])
                lead = 0 if padding[0] else first - (frames.start - 1)
                d_x[items, :, first:last] += d_part[:, :, lead : lead + last - first]
        dtype = gamma.dtype
        return d_x, d_weight, d_bias, d_gamma.to(dtype), d_beta.to(dtype), None, None, None, None, None
