"""One process on one device, under the names that Fabric has for several: importing Fabric takes half of a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")


class Processes(Protocol):
    """What jobs use of the process or the processes that share a training, and of their device."""

    @property
    def device(self) -> torch.device: ...
    @property
    def world_size(self) -> int: ...
    @property
    def global_rank(self) -> int: ...
    @property
    def is_global_zero(self) -> bool: ...

    def autocast(self) -> AbstractContextManager[Any]: ...
    def setup(self, module: nn.Module, *optimizers: torch.optim.Optimizer) -> Any: ...
    def backward(self, tensor: Tensor) -> None: ...
    def clip_gradients(self, module: Any, optimizer: Any, *, max_norm: float) -> Any: ...
    def broadcast(self, obj: Value) -> Value: ...
    def all_gather(self, data: Any) -> Any: ...
    def barrier(self) -> None: ...
    def rank_zero_first(self) -> AbstractContextManager[None]: ...


class OneProcess:
    """One process on one device.

    Parameters
    ----------
    device : where networks and batches are
    bfloat16 : compute in bfloat16 where that is safe (mixed precision)
    """

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device, *, bfloat16: bool = False):
        self.device, self.bfloat16 = device, bfloat16

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of what is computed."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bfloat16 else nullcontext()

    def setup(
        self, module: nn.Module, *optimizers: torch.optim.Optimizer
    ) -> tuple[Callable[..., Any], *tuple[torch.optim.Optimizer, ...]]:
        """The module on the device, called in the precision; the optimisers as they are."""
        module.to(self.device)

        def called(*args: Any, **kwargs: Any) -> Any:
            with self.autocast():
                return module(*args, **kwargs)

        return called, *optimizers

    def backward(self, tensor: Tensor) -> None:
        """Gradients of a scalar."""
        torch.autograd.backward(tensor)

    def clip_gradients(self, module: Any, optimizer: torch.optim.Optimizer, *, max_norm: float) -> Tensor:
        """Scale the gradients of an optimiser's parameters down to a norm, in place; the norm that they had."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        return nn.utils.clip_grad_norm_(parameters, max_norm, error_if_nonfinite=True)

    def broadcast(self, obj: Value) -> Value:
        """The thing itself."""
        return obj

    def all_gather(self, data: Any) -> Any:
        """The data themselves."""
        return data

    def barrier(self) -> None:
        """There is nobody to wait for."""

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """There is nobody behind."""
        yield
