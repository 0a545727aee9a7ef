"""SELDTrainer: the one optimisation loop, for every stage of every system."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from net.sync_norm import synchronise
from system.checkpoint import StageState
from system.model import StageModel
from system.recipes import SCHEDULES
from util.errors import InputError
from util.one_process import Processes
from util.together import same_buffers


class Batches(Protocol):
    """What the trainer needs of a loader: batches from a given step on, for one process."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class TrainingSettings:
    """Numbers of the optimisation.

    Attributes
    ----------
    schedule : name in `system.recipes.SCHEDULES`, where the recipe of the stage has none of its own
    seed : of what the processes draw for themselves (dropout)
    """

    max_iter: int
    model_save_interval: int
    learning_rate: float
    weight_decay: float
    schedule: str = "constant"
    seed: int = 0


class SELDTrainer:
    """Train one stage of a system.

    Parameters
    ----------
    fabric : device, precision, processes; already launched
    model : the stage, on the fabric's device
    make_loader : first step -> batches of this process from that step on
    on_checkpoint : called on every process with (iteration, state of the stage) at every interval and at the end: the
        first stores, all validate; returns True where training should stop, which counts on the first
    on_loss : called on the first process with (iteration, loss, learning rate) every `log_interval` iterations, with
        the mean loss of the iterations since the last call
    sync_batchnorm : batch norm over the windows of all processes
    """

    def __init__(
        self,
        fabric: Processes,
        model: StageModel,
        settings: TrainingSettings,
        *,
        make_loader: Callable[[int], Batches],
        on_checkpoint: Callable[[int, StageState], bool] | None = None,
        on_loss: Callable[[int, float, float], None] | None = None,
        log_interval: int = 20,
        sync_batchnorm: bool = False,
    ):
        self.fabric, self.model, self.settings, self.recipe = fabric, model, settings, model.stage.recipe
        self.make_loader, self.on_checkpoint, self.on_loss = make_loader, on_checkpoint, on_loss
        self.log_interval = min(log_interval, settings.model_save_interval)
        self._factor = self.recipe.schedule or SCHEDULES[settings.schedule]
        if sync_batchnorm and fabric.world_size > 1:
            synchronise(model.network)
        optimiser = self.recipe.optimiser(model.network.parameters(), settings.learning_rate, settings.weight_decay)
        self.wrapped, self.optimiser = fabric.setup(model, optimiser)
        self.average: AveragedModel | None = None
        if self.recipe.ema is not None:
            average = get_ema_multi_avg_fn(self.recipe.ema)
            self.average = AveragedModel(model.network, multi_avg_fn=average, use_buffers=True)
        self.iteration = 0

    def restore(self, state: StageState) -> None:
        """Go on where a checkpoint of the same run was written: weights, optimiser, iteration and random states.

        With another number of processes than before the windows are the same, what is drawn inside the network
        (dropout) is not.
        """
        trained = state.trained
        self.model.network.load_state_dict(trained["weights"])
        if self.average is not None:
            self.average.module.load_state_dict(state.weights)
            self.average.n_averaged.fill_(state.iteration)
        self.optimiser.load_state_dict(trained["optimiser"])
        self.iteration = state.iteration
        rank, states = self.fabric.global_rank, trained["random_states"]
        if len(states["cpu"]) == self.fabric.world_size:
            torch.set_rng_state(states["cpu"][rank].cpu().clone())  # a row of a matrix would be read from its first
            if self.fabric.device.type == "cuda" and "cuda" in states:
                torch.cuda.set_rng_state(states["cuda"][rank].cpu().clone(), self.fabric.device)
        else:
            torch.manual_seed(self.settings.seed + 1_000_003 * self.iteration + rank)

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step (from 0): a pure function, so that a resumed run continues exactly."""
        return self.settings.learning_rate * self._factor(step, self.settings.max_iter)

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
        """One optimisation step on the items of this process; the loss as a tensor on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate_at(self.iteration)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.wrapped(batch)
        self.fabric.backward(loss)
        if self.recipe.clip_norm is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimiser, max_norm=self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model.network)
        return loss.detach()

    def _log(self, losses: list[torch.Tensor], progress: tqdm) -> None:
        mean = self._over_processes(torch.stack(losses).mean())
        losses.clear()
        progress.set_postfix(loss=f"{mean:.4f}", refresh=False)
        if self.on_loss is not None and self.fabric.is_global_zero:
            self.on_loss(self.iteration, mean, self.learning_rate_at(self.iteration - 1))
        if not math.isfinite(mean):
            raise InputError(
                f"the training loss is {mean} at iteration {self.iteration}: lower the learning rate (-l), or use "
                "--precision 32; the last checkpoint before is kept"
            )

    def _over_processes(self, value: torch.Tensor) -> float:
        """The mean over the processes, whose windows are as many."""
        if self.fabric.world_size == 1:
            return float(value)
        return float(self.fabric.all_gather(value).mean())

    def _save(self, progress: tqdm) -> bool:
        """Have the state of the stage stored and looked at; whether training should stop, the same in all processes."""
        same_buffers(self.fabric, self.model)
        if self.average is not None:
            same_buffers(self.fabric, self.average)
        stop, state = False, self.state()
        if self.on_checkpoint is not None:
            start = time.monotonic()
            progress.clear()
            with self._averaged():
                stop = bool(self.on_checkpoint(self.iteration, state))
            if not progress.disable:
                progress.start_t += time.monotonic() - start  # the estimate is of training alone
        stop = bool(self.fabric.broadcast(stop)) if self.fabric.world_size > 1 else stop
        self.model.train()
        return stop

    def state(self) -> StageState:
        """The stage as it is now, for a checkpoint; all processes ask for it together."""
        own = _copied(self.model.network)
        average = None if self.average is None else _copied(self.average.module)
        states = {"cpu": self._gathered(torch.get_rng_state())}
        if self.fabric.device.type == "cuda":
            states["cuda"] = self._gathered(torch.cuda.get_rng_state(self.fabric.device))
        trained = {"weights": own, "optimiser": self.optimiser.state_dict(), "random_states": states}
        return StageState(self.model.settings, average or own, self.model.statistics, trained, self.iteration)

    def _gathered(self, random_state: torch.Tensor) -> torch.Tensor:
        """Random states of all processes (processes, bytes)."""
        if self.fabric.world_size == 1:
            return random_state[None]
        gathered = self.fabric.all_gather(random_state.to(self.fabric.device))
        assert isinstance(gathered, torch.Tensor)  # of a tensor; collections come back as what they are
        return gathered.cpu()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The network has the weights that are stored as its result: the moving average, where there is one."""
        if self.average is None:
            yield
            return
        network = self.model.network
        own = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.average.module.state_dict())
        try:
            yield
        finally:
            network.load_state_dict(own)


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a network as they are now."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
