"""Optimisers and schedules that recipes are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn


def adam(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam with L2 weight decay added to the gradient, as the references have it (not decoupled)."""
    return torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay)


def keras_adam(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam with the epsilon of Keras."""
    return torch.optim.Adam(parameters, lr=rate, eps=1e-7, weight_decay=weight_decay)


def amsgrad(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam that divides by the largest second moment so far (AMSGrad)."""
    return torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay, amsgrad=True)


def adamw(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam with weight decay apart from the gradient."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay)


def constant(step: int, max_iter: int) -> float:
    """The learning rate as it is."""
    return 1.0


def cosine(step: int, max_iter: int) -> float:
    """From the learning rate down to a hundredth of it over all steps."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step / max_iter)))


def warm_cosine(step: int, max_iter: int) -> float:
    """Up to the learning rate over the first 5 % of all steps, then down to a hundredth of it as a cosine."""
    return min(1.0, (step + 1) / max(0.05 * max_iter, 1)) * cosine(step, max_iter)


def steps(step: int, max_iter: int) -> float:
    """0.9 of it at 32/54.1 of all steps, and again after every 2/54.1 of them.

    Cao et al. 2019 have 54100 steps and multiply by 0.9 at 32000, 34000, ...; shorter runs keep the proportions.
    """
    every = max(1, round(max_iter * 2000 / 54100))
    return 0.9 ** max(0, step // every - 15)


def geometric(step: int, max_iter: int) -> float:
    """As it is for the first half of all steps, then geometrically down to a tenth."""
    return 0.1 ** max(0.0, 2 * step / max_iter - 1)


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": constant,
    "cosine": cosine,
    "steps": steps,
    "geometric": geometric,
}
