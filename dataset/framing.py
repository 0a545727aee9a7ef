"""Framing: how feature frames lie on the samples of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Framing:
    """Lengths that frames are made of, in samples at `rate_hz`.

    Frame f of a recording covers the samples [hop f - left, hop f - left + n_fft).

    Attributes
    ----------
    rate_hz : sampling rate of the waveforms
    hop : samples from one frame to the next
    n_fft : samples of a frame
    left : samples by which a frame begins before its time
    mirror : ends of a recording beyond which lies its mirror image, as librosa pads; elsewhere lie zeros
    count : frames of a recording: "whole" hops, "begun" hops, "covering" as many as cover it, "centred" one more than
        whole hops
    fill : recordings that are filled up have uniform random numbers in [-fill, 0) there, always the same; 0: zeros
    frames_per_output : feature frames per frame of the network's output
    """

    rate_hz: int = 24000
    hop: int = 240
    n_fft: int = 512
    left: int = 0
    mirror: Literal["", "start", "both"] = ""
    count: Literal["whole", "begun", "covering", "centred"] = "whole"
    fill: float = 0.0
    frames_per_output: int = 1

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.rate_hz

    @property
    def output_frame_s(self) -> float:
        """Seconds of a frame of the output."""
        return self.hop_s * self.frames_per_output

    def samples_of(self, frames: int) -> int:
        """Samples that so many consecutive frames cover."""
        return (frames - 1) * self.hop + self.n_fft

    def clip_frames(self, samples: np.ndarray | int) -> np.ndarray:
        """Frames of recordings of so many samples, one at least."""
        samples = np.asarray(samples, dtype=np.int64)
        if self.count == "covering":
            return np.maximum(-(-(samples - self.n_fft) // self.hop), 1)
        if self.count == "begun":
            return np.maximum(-(-samples // self.hop), 1)
        return np.maximum(samples // self.hop + (self.count == "centred"), 1)

    @property
    def gap_frames(self) -> int:
        """Frames of a joined waveform that belong to no stretch, between one stretch and the next."""
        return -(-self.n_fft // self.hop) - 1
