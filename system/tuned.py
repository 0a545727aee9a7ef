"""A stage that is trained together with the stages that it takes: their networks go on learning by its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from dataset.framing import Framing
from feature.front import Batch, on_device
from system.checkpoint import StageState
from system.model import StageModel, check_fit
from system.row import Plans
from util.errors import InputError


class Tuned(StageModel):
    """A stage that hears the sound through the stages that it takes.

    Its network holds those of all of them by name, so that one optimiser moves them. Their features and statistics stay
    as they are; a feature of whole recordings is that of the item here.

    Parameters
    ----------
    model : the stage
    earlier : the stages that it takes, and what those take, in the order of the row
    plans : of the sound; see `hearing_framing`

    Raises
    ------
    InputError : the stages hear sound of different loudness
    """

    def __init__(self, model: StageModel, earlier: Mapping[str, StageModel], plans: Plans):
        nn.Module.__init__(self)
        self.stage, self.settings, self.statistics = model.stage, model.settings, model.statistics
        self.array, self.visual, self.augment, self.of_whole = model.array, model.visual, None, None
        self.front, self.output_format, self.plans = model.front, model.output_format, plans
        self.parts = {**earlier, model.stage.name: model}
        self.network = nn.ModuleDict({name: part.network for name, part in self.parts.items()})
        check_fit(plans, self.output_format)
        levels = {part.level for part in earlier.values() if not part.stage.takes}
        if len(levels) != 1:
            raise InputError("modules that hear recordings as they are and at one loudness cannot be tuned together")
        (self._level,) = levels

    @property
    def level(self) -> float | None:
        """Of what the stages hear."""
        return self._level

    def loss(self, batch: dict[str, Any]) -> torch.Tensor:
        """Mean loss of a batch of sound."""
        inputs = on_device(batch, self._place())
        said: dict[str, torch.Tensor] = {}
        for name, part in self.parts.items():
            features, seen = part.front(self._heard_by(part, inputs, said))
            said[name] = part.network(features, seen).float()
        target = self.output_format.target(batch["labels"], said[name].device)
        return self.output_format.loss(said[name], target)

    def states(self, state: StageState) -> dict[str, StageState]:
        """The states of all stages, of one of them together; training goes on from that of the last."""
        made = {}
        for name, part in self.parts.items():
            weights = {
                key.removeprefix(f"{name}."): value
                for key, value in state.weights.items()
                if key.startswith(f"{name}.")
            }
            made[name] = replace(state, settings=part.settings, weights=weights, statistics=part.statistics, trained={})
        made[self.stage.name].trained = state.trained
        return made

    def _heard_by(self, part: StageModel, inputs: Batch, said: Mapping[str, torch.Tensor]) -> Batch:
        """What a stage hears of a batch: the sound, or what those say that it takes; and which frames are padding."""
        frames, framing = inputs.get("frames"), part.plans.framing
        if part.stage.takes:
            waveform = torch.cat([said[name].flatten(1, -2) for name in part.stage.takes], dim=1)
            step = 1 if frames is None else frames.shape[1] // waveform.shape[2]
        else:  # frames of all stages have one middle
            aside = (self.plans.framing.n_fft - framing.n_fft) // 2
            waveform = inputs["waveform"][..., aside : inputs["waveform"].shape[2] - aside]
            step = framing.frames_per_output if part.stage.network is None else 1  # else the network makes its steps
        if frames is None:
            return {"waveform": waveform}
        if not part.stage.takes:  # a recording shorter than the chunk
            waveform = functional.pad(waveform, (0, framing.samples_of(frames.shape[1]) - waveform.shape[2]))
        frames = frames[:, ::step][:, : frames.shape[1] // step]
        return {
            "waveform": waveform,
            "frames": torch.where(frames < 0, frames, torch.arange(frames.shape[1], device=frames.device)),
        }


def hearing_framing(earlier: Mapping[str, StageModel]) -> Framing:
    """How the frames lie of those stages that hear the sound: that of the longest frames.

    Raises
    ------
    InputError : they lie differently
    """
    framings = [part.plans.framing for part in earlier.values() if not part.stage.takes]
    longest = max(framings, key=lambda framing: framing.n_fft)
    for framing in framings:
        if (framing.rate_hz, framing.hop) != (longest.rate_hz, longest.hop):
            raise InputError("modules with frames of different lengths apart cannot be tuned together")
    return longest
