"""SELDTrainer: the one optimisation loop, for every system."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from family.base import Recipe
from feature.front import on_device
from system import Model
from util.checkpoint import save_checkpoint
from util.errors import InputError


class Loader(Protocol):
    """What the trainer needs of a loader: batches from a given step on, for one process."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class TrainingSettings:
    """Numbers of the optimisation.

    Attributes
    ----------
    schedule : "constant", or "cosine" (from the learning rate down to a hundredth of it over max_iter)
    """

    max_iter: int
    model_save_interval: int
    learning_rate: float
    weight_decay: float
    schedule: str = "constant"


def learning_rate_at(step: int, settings: TrainingSettings) -> float:
    """Learning rate of optimisation step `step` (from 0): a pure function, so that a resumed run continues exactly."""
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = step / settings.max_iter
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimiser(model: Model, settings: TrainingSettings, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam with L2 weight decay added to the gradient, as the reference has it (not decoupled)."""
    return torch.optim.Adam(
        model.network.parameters(),
        lr=settings.learning_rate,
        betas=recipe.betas,
        eps=recipe.eps,
        weight_decay=settings.weight_decay,
    )


class SELDTrainer:
    """Train one stage of a system.

    Parameters
    ----------
    fabric : device, precision, processes; already launched
    model : on the fabric's device
    make_loader : first step -> batches of this process from that step on
    run_dir : checkpoints are written there, as params_<run>_<iteration>.pth
    description : plain values stored in every checkpoint (system, classes, array, settings, recordings ...)
    on_checkpoint : called on the first process with (iteration, checkpoint path) after each checkpoint; validates, and
        returns True where training should stop
    on_loss : called on the first process with (iteration, loss, learning rate) every `log_interval` iterations, with
        the mean loss of the iterations since the last call
    """

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        settings: TrainingSettings,
        *,
        make_loader: Callable[[int], Loader],
        run_dir: Path,
        description: dict[str, Any],
        on_checkpoint: Callable[[int, Path], bool] | None = None,
        on_loss: Callable[[int, float, float], None] | None = None,
        log_interval: int = 20,
    ):
        self.fabric, self.model, self.settings = fabric, model, settings
        self.make_loader, self.run_dir, self.description = make_loader, Path(run_dir), description
        self.on_checkpoint, self.on_loss = on_checkpoint, on_loss
        self.log_interval = min(log_interval, settings.model_save_interval)
        optimiser = make_optimiser(model, settings, model.stage.recipe)
        self.wrapped, self.optimiser = fabric.setup(model, optimiser)
        self.iteration = 0

    def restore(self, content: dict[str, Any]) -> None:
        """Continue from a checkpoint of the same run: weights, optimiser, iteration and random state."""
        stage = content["stages"][0]
        self.model.network.load_state_dict(stage["model"])
        self.optimiser.load_state_dict(stage["optimiser"])
        self.iteration = int(content["iteration"])
        torch.set_rng_state(content["random_state"])

    def train(self) -> None:
        """Run to the last iteration; a checkpoint at every interval and at the end."""
        settings, fabric = self.settings, self.fabric
        loader = self.make_loader(self.iteration)
        progress = tqdm(
            total=settings.max_iter,
            initial=self.iteration,
            desc="training",
            unit="it",
            disable=not fabric.is_global_zero,
            mininterval=1.0,
            smoothing=0.05,
        )
        losses: list[torch.Tensor] = []
        try:
            self.model.train()
            for batch in loader:
                if self.iteration >= settings.max_iter:
                    break
                losses.append(self.step(batch))
                self.iteration += 1
                progress.update()
                save = self.iteration % settings.model_save_interval == 0 or self.iteration == settings.max_iter
                # Every checkpoint is a point of the log too, so that a resumed run averages the same losses.
                if save or self.iteration % self.log_interval == 0:
                    self._log(losses, progress)
                if save and self._save(progress):
                    break
        finally:
            progress.close()
            loader.close()

    def step(self, batch: dict[str, Any]) -> torch.Tensor:
        """One optimisation step on the windows of this process; the loss as a tensor on the device."""
        device, output_format = self.fabric.device, self.model.output_format
        inputs = on_device(batch, device)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(self.iteration, self.settings)
        target = output_format.target(batch["labels"], device)
        self.optimiser.zero_grad(set_to_none=True)
        output = self.wrapped(inputs)
        loss = output_format.loss(output.float(), target)
        self.fabric.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def _log(self, losses: list[torch.Tensor], progress: tqdm) -> None:
        mean = float(torch.stack(losses).mean())
        losses.clear()
        progress.set_postfix(loss=f"{mean:.4f}", refresh=False)
        if self.on_loss is not None and self.fabric.is_global_zero:
            self.on_loss(self.iteration, mean, learning_rate_at(self.iteration - 1, self.settings))
        if not math.isfinite(mean):
            raise InputError(
                f"the training loss is {mean} at iteration {self.iteration}: lower the learning rate (-l), or use "
                "--precision 32; the last checkpoint before is kept"
            )

    def _save(self, progress: tqdm) -> bool:
        """Write a checkpoint and have it looked at; whether training should stop, the same in all processes."""
        stop = False
        if self.fabric.is_global_zero:
            path = self.run_dir / f"params_{self.run_dir.name}_{self.iteration:07d}.pth"
            save_checkpoint(path, self.checkpoint())
            if self.on_checkpoint is not None:
                start = time.monotonic()
                progress.clear()
                stop = bool(self.on_checkpoint(self.iteration, path))
                progress.start_t += time.monotonic() - start  # the estimate is of training alone
        stop = bool(self.fabric.broadcast(stop)) if self.fabric.world_size > 1 else stop
        self.model.train()
        return stop

    def checkpoint(self) -> dict[str, Any]:
        """Everything that continuing, evaluating and inference need."""
        return {
            **self.description,
            "iteration": self.iteration,
            "random_state": torch.get_rng_state(),
            "stages": [
                {
                    "name": self.model.stage.name,
                    "model": {name: value.cpu() for name, value in self.model.network.state_dict().items()},
                    "optimiser": self.optimiser.state_dict(),
                    "statistics": self.model.statistics,
                }
            ],
        }
