"""Front ends: what stands between the batches of a loader and a network: audio feature, statistics, visual feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
PADDING = 1e-6  # of every standardised feature behind the end of a recording, as in the SELDnet references


def on_device(batch: dict[str, object], device: torch.device) -> Batch:
    """The inputs of a batch on a device: its tensors but the labels."""
    return {
        name: value.to(device, non_blocking=True)
        for name, value in batch.items()
        if name != "labels" and torch.is_tensor(value)
    }


class WindowFront(nn.Module):
    """Features of random windows ("waveform") and of evaluation windows ("waveform", "valid"), with "boxes".

    Parameters
    ----------
    audio : feature with `forward(waveform)` and `evaluation(waveform, valid)`
    visual : boxes (B, 6, 4) -> visual feature; None: the network takes none
    """

    def __init__(self, audio: nn.Module, visual: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self.audio: Any = audio
        self.visual = visual

    def training_features(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """(audio feature, visual feature or None) of training windows."""
        return self.audio(batch["waveform"]), self._visual(batch)

    def evaluation_features(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """(audio feature, visual feature or None) of evaluation windows."""
        return self.audio.evaluation(batch["waveform"], batch["valid"]), self._visual(batch)

    def _visual(self, batch: Batch) -> Tensor | None:
        boxes = batch.get("boxes")
        return None if self.visual is None or boxes is None else self.visual(boxes)


class SequenceFront(nn.Module):
    """Features of sequences: the frames that "frames" picks of the feature of "waveform", standardised.

    Parameters
    ----------
    audio : waveform (B, channels, samples) -> (B, maps, frames, bins)
    standardise : applied to every frame; None: not yet known (statistics are being gathered)
    """

    def __init__(self, audio: nn.Module, standardise: nn.Module | None = None):
        super().__init__()
        self.audio, self.standardise = audio, standardise

    def training_features(self, batch: Batch) -> tuple[Tensor, None]:
        """(audio feature (B, maps, T, bins), None)."""
        features, padding = self.raw_features(batch)
        if self.standardise is not None:
            features = self.standardise(features)
        return features.masked_fill(padding[:, None, :, None], PADDING), None

    evaluation_features = training_features

    def raw_features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (B, maps, T, bins) before standardisation, and which frames are padding (B, T)."""
        features, index = self.audio(batch["waveform"]), batch["frames"]
        picked = features.gather(
            2, index.clamp(min=0)[:, None, :, None].expand(-1, features.shape[1], -1, features.shape[3])
        )
        return picked, index < 0


def no_gradients(front: Any, batch: Batch, *, training: bool) -> tuple[Tensor, Tensor | None]:
    """Features of a batch without gradients, in the precision of the feature whatever the network's is."""
    waveform = batch["waveform"]
    with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
        return front.training_features(batch) if training else front.evaluation_features(batch)
