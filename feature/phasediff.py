"""Amplitudes and phase differences of a multichannel recording, the feature of the audio-visual baseline."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from feature.audio import AudioFeature
from feature.traced import angle, frames_of, spectrum

LEADING_FRAMES = 4  # zero frames before a clip in evaluation: half of the 8 frames by which a window exceeds its hop
TRAILING_FRAMES = 128  # zero frames behind it: the last window is always whole
_CPU_BLOCK_FRAMES = 512


class AmplitudePhaseDifference(AudioFeature):
    """Waveform -> M linear amplitude maps, then M - 1 phase differences to the base channel in [0, 2 pi] rad.

    Reference: the 'amp_phasediff' feature of sony/audio-visual-seld-dcase2023; STFT with a periodic Hann window, no
    normalisation, no logarithm. A frame depends on its own samples only; always computed in float32, without gradients.

    Parameters
    ----------
    channels : M, channels of the waveform (FOA and MIC 4 -> 7 maps, binaural 2 -> 3 maps)
    base_channel : the channel that phase differences refer to
    n_fft, hop_length : STFT window and hop in samples
    """

    jumps = True
    hann: Tensor
    pi: Tensor

    def __init__(self, channels: int, base_channel: int = 0, n_fft: int = 512, hop_length: int = 240):
        super().__init__()
        if not 0 <= base_channel < channels:
            raise ValueError(f"base channel {base_channel} of a recording with {channels} channels")
        self.channels, self.base_channel = channels, base_channel
        self.n_fft, self.hop_length = n_fft, hop_length
        self.maps, self.bins = 2 * channels - 1, n_fft // 2 + 1
        self.register_buffer("hann", torch.hann_window(n_fft, dtype=torch.float64).float(), persistent=False)
        self.register_buffer("pi", torch.tensor(math.pi, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Maps of the frames that lie inside the samples given; nothing is padded.

        Parameters
        ----------
        waveform : (batch, channels, samples); 30992 samples give 128 frames

        Returns
        -------
        (batch, 2 channels - 1, (samples - n_fft) // hop + 1, bins) float32; frame j covers the samples
            [hop j, hop j + n_fft). The last bit of a phase may differ from that of `clip` at the same frame: torch's
            vectorised loop ends elsewhere
        """
        return self._maps(waveform.float())

    def window(self, window: Tensor) -> Tensor:
        """Training framing of a window: frame t is centred at its sample hop t, zeros around the window.

        Parameters
        ----------
        window : (batch, channels, samples) float32; 30480 samples give 128 frames

        Returns
        -------
        (batch, 2 channels - 1, samples // hop + 1, bins) float32
        """
        half = self.n_fft // 2
        return self._maps(functional.pad(window.float(), (half, half)))

    def clip_frames(self, samples: int) -> int:
        """Frames of the padded evaluation feature of a clip: 4 + samples // hop + 128."""
        return LEADING_FRAMES + samples // self.hop_length + TRAILING_FRAMES

    def clip(self, waveform: Tensor) -> Tensor:
        """Evaluation framing of a whole clip: not centred, zero feature frames before and behind.

        The last samples % hop samples are dropped; frame LEADING_FRAMES + k covers the samples
        [hop (k + 1) - n_fft, hop (k + 1)) (two thirds of a millisecond earlier than in training, as the reference).

        Parameters
        ----------
        waveform : (batch, channels, samples)

        Returns
        -------
        (batch, 2 channels - 1, 4 + samples // hop + 128, bins) float32
        """
        whole = waveform.shape[-1] // self.hop_length
        out = waveform.new_zeros(
            (len(waveform), self.maps, self.clip_frames(waveform.shape[-1]), self.bins), dtype=torch.float32
        )
        if whole:
            lead = functional.pad(waveform[..., : whole * self.hop_length].float(), (self.n_fft - self.hop_length, 0))
            self._maps(lead, out, LEADING_FRAMES)
        return out

    @torch.no_grad()
    def _maps(self, padded: Tensor, out: Tensor | None = None, first_frame: int = 0) -> Tensor:
        """(batch, channels, samples) -> (batch, maps, frames, bins), every frame inside the samples given.

        Written to `out` from its frame `first_frame` on, if that is given.
        """
        if padded.shape[1] != self.channels:
            raise ValueError(f"waveform has {padded.shape[1]} channels, the feature is made for {self.channels}")
        if torch.compiler.is_exporting():
            return self._traced(frames_of(padded, self.n_fft, self.hop_length))
        framed = padded.unfold(-1, self.n_fft, self.hop_length)
        batch, _, frames, _ = framed.shape
        if out is None:
            out = torch.empty((batch, self.maps, frames, self.bins), device=padded.device)
        if padded.device.type == "cpu":
            self._maps_on_cpu(framed, out, first_frame)
        else:
            self._block(framed, out[:, :, first_frame : first_frame + frames])
        return out

    def _maps_on_cpu(self, framed: Tensor, out: Tensor, first_frame: int) -> None:
        """As `_block`, in blocks that stay in the processor's cache."""
        try:
            from feature.phasediff_cpu import write_maps  # here: elsewhere than on a CPU, numba is not needed
        except ImportError:  # a machine where nothing can be installed: a quarter of the speed
            self._block(framed, out[:, :, first_frame : first_frame + framed.shape[2]])
            return
        batch, frames = framed.shape[0], framed.shape[2]
        per_block = max(_CPU_BLOCK_FRAMES // frames, 1)
        maps = out.numpy()
        for item in range(0, batch, per_block):
            for frame in range(0, frames, _CPU_BLOCK_FRAMES):
                part = framed[item : item + per_block, :, frame : frame + _CPU_BLOCK_FRAMES]
                spectrum = torch.view_as_real(torch.fft.rfft(part * self.hann)).flatten(-2)
                write_maps(spectrum.numpy(), self.base_channel, maps, item, first_frame + frame)

    def _traced(self, framed: Tensor) -> Tensor:
        """As `_block`, for graphs that leave PyTorch."""
        real, imaginary = spectrum(framed, self.hann)
        base = slice(self.base_channel, self.base_channel + 1)
        before, after = slice(self.base_channel), slice(self.base_channel + 1, None)
        (real_0, imaginary_0), (real_m, imaginary_m) = (
            (part[:, base] for part in (real, imaginary)),
            (torch.cat((part[:, before], part[:, after]), dim=1) for part in (real, imaginary)),
        )
        phase = angle(imaginary_m * real_0 - real_m * imaginary_0, real_m * real_0 + imaginary_m * imaginary_0)
        phase = torch.where(phase < 0, phase + 2 * math.pi, phase)
        return torch.cat(((real * real + imaginary * imaginary).sqrt(), phase), dim=1)

    def _block(self, framed: Tensor, out: Tensor) -> None:
        """Frames (batch, channels, frames, n_fft) -> out (batch, maps, frames, bins), by PyTorch's operators."""
        spectrum = torch.view_as_real(torch.fft.rfft(framed * self.hann))
        # Real and imaginary parts apart: torch's complex functions (abs, angle) are several times slower on CPU.
        real, imaginary = spectrum[..., 0].contiguous(), spectrum[..., 1].contiguous()
        amplitude = out[:, : self.channels]
        torch.mul(real, real, out=amplitude)
        amplitude.addcmul_(imaginary, imaginary).sqrt_()
        base = slice(self.base_channel, self.base_channel + 1)
        real_0, imaginary_0 = real[:, base], imaginary[:, base]
        place = self.channels
        for first, last in ((0, self.base_channel), (self.base_channel + 1, self.channels)):
            if first == last:
                continue
            # X_m conj(X_0) = p + i q has the phase pi - atan2(q, -p), which lies in [0, 2 pi] and is exactly 0 for
            # silence and for equal channels.
            minus_p = (real[:, first:last] * real_0).addcmul_(imaginary[:, first:last], imaginary_0).neg_()
            q = (imaginary[:, first:last] * real_0).sub_(real[:, first:last] * imaginary_0)  # no fused product: exact 0
            phase = out[:, place : place + last - first]
            torch.atan2(q, minus_p, out=phase)
            torch.sub(self.pi, phase, out=phase)
            place += last - first
