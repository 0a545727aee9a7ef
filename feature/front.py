"""Front ends: what stands between the batches of a loader and a network: audio feature, statistics, visual feature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from feature.audio import AudioFeature

Batch = dict[str, Tensor]
PADDING = 1e-6  # of every standardised feature behind the end of a recording, as in the SELDnet references


def on_device(batch: dict[str, object], device: torch.device) -> Batch:
    """The inputs of a batch on a device: its tensors but the labels."""
    return {
        name: value.to(device, non_blocking=True)
        for name, value in batch.items()
        if name != "labels" and torch.is_tensor(value)
    }


class Front(nn.Module):
    """Features of a batch: of the frames that its "frames" picks of its "waveform", and of its "visual".

    What a feature must know of whole recordings (`AudioFeature.held_over`) is the "loudest" of the batch.

    Parameters
    ----------
    audio : waveform (B, channels, samples) -> (B, maps, frames, bins), of every frame inside the samples
    standardise : applied to every frame; None: nothing is (or statistics are still to be gathered)
    padding : value of every feature of frames that lie outside of a recording
    visual : what is seen (B, looks, ...) -> visual feature; None: the network takes none
    """

    def __init__(
        self,
        audio: AudioFeature,
        standardise: nn.Module | None = None,
        *,
        padding: float = 0.0,
        visual: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.audio, self.standardise, self.padding, self.visual = audio, standardise, padding, visual

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """(audio feature (B, maps, T, bins), visual feature or None), without gradients unless what is heard has some.

        Computed in the precision of the features, whatever the network's is.
        """
        followed = batch["waveform"].requires_grad
        with torch.set_grad_enabled(followed), torch.autocast(batch["waveform"].device.type, enabled=False):
            features, outside = self.raw_features(batch)
            if self.standardise is not None:
                features = self.standardise(features)
            if outside is not None:
                fill = features.masked_fill if followed else features.masked_fill_
                features = fill(outside[:, None, :, None], self.padding)
            seen = batch.get("visual")
            return features, None if self.visual is None or seen is None else self.visual(seen)

    def raw_features(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Features (B, maps, T, bins) before standardisation, and which frames are padding (B, T); None: none is."""
        features, index, outside = self.audio(batch["waveform"]), batch.get("frames"), None
        if index is not None:
            outside = index < 0
            in_place = torch.arange(index.shape[1], device=index.device)
            if index.shape[1] != features.shape[2] or not bool((outside | (index == in_place)).all()):
                place = index.clamp(min=0)[:, None, :, None]
                features = features.gather(2, place.expand(-1, features.shape[1], -1, features.shape[3]))
        if self.audio.held_over == "recording":
            features = self.audio.held(features, batch["loudest"])
        elif self.audio.held_over == "item":
            features = self.audio.held(features, self.audio.loudest(features)[:, None])
        return features, outside
