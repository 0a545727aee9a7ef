"""What a feature must know of whole recordings, beside the feature itself: on the processor, in a loader's threads."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from feature.audio import AudioFeature


class Loudest:
    """Stretches of a recording -> the numbers by which a feature holds its values, see `AudioFeature.loudest`.

    Parameters
    ----------
    audio : the feature, on any device; a copy of it works on the processor
    """

    def __init__(self, audio: AudioFeature):
        self._audio = copy.deepcopy(audio).cpu()

    def __call__(self, waveform: Tensor) -> np.ndarray:
        """(1, channels, samples) -> (numbers,) float32."""
        with torch.inference_mode():
            found: np.ndarray = self._audio.loudest(self._audio(waveform))[0].numpy()
            return found
