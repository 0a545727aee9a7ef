"""Directions of the time-frequency bins that hold one source alone, and histograms of them: localization untrained.

The single-source method of the general SELD network (arXiv 2011.07859) with the constants of the authors' SALSA code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from feature.stft import SpectralFeature
from util.angles import angle_between_deg, degrees_from_direction, direction_from_degrees

RATE_HZ, N_FFT, HOP = 24000, 1024, 300
STEP_DEG = 5.0
AZIMUTHS = 72  # cells, centred at -180, -175 ... 175 degrees
LOWEST_DEG, ELEVATIONS = -45.0, 19  # cells, centred at -45, -40 ... 45 degrees
NEAR_DEG = 10.0  # directions this near to a peak are averaged
APART_DEG = 25.0  # no two peaks are nearer to each other
_LEAST_HZ, _MOST_HZ = 50.0, 9000.0
_FLOOR_FRAMES = 5
_BLOCK_FRAMES = 128
_FIRST_BIN = int(_LEAST_HZ * N_FFT / RATE_HZ)
_END_BIN = int(_MOST_HZ * N_FFT / RATE_HZ)

Axis = Literal["azimuth", "elevation", "both"]
BINS: dict[Axis, int] = {"azimuth": AZIMUTHS, "elevation": ELEVATIONS, "both": AZIMUTHS + ELEVATIONS}


@dataclass(frozen=True)
class SingleSources:
    """Bins that hold one source alone.

    Attributes
    ----------
    frames : of the stretch that was looked at
    frame, bin : (n,) of each, ascending by frame; bin 0 is the first that is looked at
    direction : (n, 3) float32 unit vectors
    """

    frames: int
    frame: np.ndarray
    bin: np.ndarray
    direction: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def between(self, first: int, end: int) -> SingleSources:
        """Those of the frames first <= frame < end, counted from `first`."""
        rows = slice(*np.searchsorted(self.frame, (first, end)))
        return SingleSources(end - first, self.frame[rows] - first, self.bin[rows], self.direction[rows])

    def histogram(self) -> np.ndarray:
        """Bins of each frame by direction: (frames, 72, 19) float32."""
        azimuth, elevation, inside = cells(self.direction)
        place = (self.frame * AZIMUTHS + azimuth) * ELEVATIONS + elevation
        counts = np.bincount(place[inside], minlength=self.frames * AZIMUTHS * ELEVATIONS)
        return counts.reshape(self.frames, AZIMUTHS, ELEVATIONS).astype(np.float32)

    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """Histograms by azimuth (frames, 72) and by elevation (frames, 19), float32."""
        azimuth, elevation, inside = cells(self.direction)
        frame = self.frame[inside]
        by_azimuth = np.bincount(frame * AZIMUTHS + azimuth[inside], minlength=self.frames * AZIMUTHS)
        by_elevation = np.bincount(frame * ELEVATIONS + elevation[inside], minlength=self.frames * ELEVATIONS)
        return (
            by_azimuth.reshape(self.frames, AZIMUTHS).astype(np.float32),
            by_elevation.reshape(self.frames, ELEVATIONS).astype(np.float32),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[SingleSources]) -> SingleSources:
        """Stretches one after the other."""
        if not parts:
            return cls(0, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
        starts = np.cumsum([0, *(part.frames for part in parts)])
        frame = np.concatenate([part.frame + start for part, start in zip(parts, starts)])
        return cls(
            int(starts[-1]),
            frame,
            np.concatenate([part.bin for part in parts]),
            np.concatenate([part.direction for part in parts]),
        )


def cells(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions (n, 3) -> cell of the azimuth, cell of the elevation (0 where outside), whether it is inside (n,)."""
    azimuth_deg, elevation_deg = degrees_from_direction(direction)
    azimuth = np.floor((azimuth_deg + 180) / STEP_DEG + 0.5).astype(np.int64) % AZIMUTHS
    elevation = np.floor((elevation_deg - LOWEST_DEG) / STEP_DEG + 0.5).astype(np.int64)
    inside = (elevation >= 0) & (elevation < ELEVATIONS)
    return azimuth, np.where(inside, elevation, 0), inside


def strongest(sources: SingleSources, count: int) -> np.ndarray:
    """Directions of the `count` strongest sources of a stretch, the strongest first: (m <= count, 3) unit vectors.

    The histogram over all frames is smoothed with a box of 3 x 3 cells; the direction of a peak is the mean of those
    of all bins within 10 degrees of it; the next peak is more than 25 degrees away.
    """
    azimuth, elevation, inside = cells(sources.direction)
    place = azimuth[inside] * ELEVATIONS + elevation[inside]
    counts = np.bincount(place, minlength=AZIMUTHS * ELEVATIONS).reshape(AZIMUTHS, ELEVATIONS).astype(np.float64)
    around = np.pad(np.pad(counts, ((1, 1), (0, 0)), mode="wrap"), ((0, 0), (1, 1)))
    shifted = [around[i : i + AZIMUTHS, j : j + ELEVATIONS] for i in range(3) for j in range(3)]
    smooth = np.sum(shifted, axis=0).ravel()
    centre = cell_centres()
    found: list[np.ndarray] = []
    for _ in range(count):
        peak = int(np.argmax(smooth))
        if smooth[peak] <= 0:
            break
        near = sources.direction @ centre[peak] >= np.cos(np.deg2rad(NEAR_DEG))
        mean = sources.direction[near].sum(axis=0, dtype=np.float64) if near.any() else centre[peak]
        found.append(mean / np.linalg.norm(mean))
        smooth = np.where(angle_between_deg(centre, centre[peak]) <= APART_DEG, 0.0, smooth)
    return np.array(found).reshape(-1, 3)


def cell_centres() -> np.ndarray:
    """Directions of the middles of all cells (72 * 19, 3), azimuth first."""
    azimuth_deg = -180 + STEP_DEG * np.arange(AZIMUTHS)
    elevation_deg = LOWEST_DEG + STEP_DEG * np.arange(ELEVATIONS)
    return direction_from_degrees(azimuth_deg[:, None], elevation_deg).reshape(-1, 3)


class SingleSourceHistogram(SpectralFeature):
    """Waveform in ACN order W, Y, Z, X -> histogram of the directions of the bins that hold one source alone.

    A bin counts where it stands out from the noise floor that follows it from frame to frame, and where the first
    singular value of its covariance over 7 frames is more than 5 times the second; its direction is that of the
    principal eigenvector. 24 kHz, frames of 1024 samples every 300, 47 Hz to 9 kHz. No gradients.

    Frame indices wrap around at both ends of the stretch given, as in the authors' code: the first and last three
    frames know of each other, and the noise floor begins with them. It is a feature of whole recordings (`whole`), in
    bounded memory but for waveform and result; what comes in bit by bit goes through `SingleSourceStream`.

    Parameters
    ----------
    axis : "azimuth" (72 cells of 5 degrees from -180), "elevation" (19 from -45), "both": one after the other (91)
    precision : of the transform
    """

    def __init__(self, channels: int = 4, *, axis: Axis = "both", precision: torch.dtype = torch.float32):
        if channels != 4:
            raise ValueError(f"the histogram needs the 4 channels of first-order Ambisonics, found {channels}")
        super().__init__(
            channels,
            n_fft=N_FFT,
            win_length=N_FFT,
            hop_length=HOP,
            window="periodic",
            center=True,
            pad_mode="reflect",
            ortho=False,
            first_bin=_FIRST_BIN,
            bins=_END_BIN - _FIRST_BIN,
            maps=1,
            out_bins=BINS[axis],
            precision=precision,
        )
        self.axis: Axis = axis

    def whole_sources(self, waveform: Tensor) -> SingleSources:
        """Bins of a whole recording (4, samples), more than 512 samples, framed as by `whole`."""
        if waveform.shape[-1] <= self.left:
            raise ValueError(f"{waveform.shape[-1]} samples cannot mirror {self.left}")
        padded = functional.pad(waveform[None], (self.left, self.left), mode="reflect")[0]
        with torch.no_grad():
            return SingleSources.concatenate(list(self._blocks(padded.unfold(-1, self.n_fft, self.hop_length))))

    def _frames(self, waveform: Tensor) -> Tensor:
        framed = self._framed(waveform)
        out = torch.empty((len(framed), self.maps, framed.shape[2], self.bins))
        for item, recording in enumerate(framed):
            first = 0
            for block in self._blocks(recording):
                by_axis = dict(zip(("azimuth", "elevation"), block.marginals()))
                columns = [values for axis, values in by_axis.items() if self.axis in (axis, "both")]
                out[item, 0, first : first + block.frames] = torch.from_numpy(np.concatenate(columns, axis=1))
                first += block.frames
        return out.to(waveform.device)

    def _blocks(self, framed: Tensor) -> Iterator[SingleSources]:
        """Frames (4, frames, n_fft) of a recording, block by block; they wrap around at the ends."""
        from feature.histogram_cpu import LEAD

        tracker, frames = SingleSourceTracker(self), framed.shape[1]
        starts = list(range(0, max(frames - 1, 1), _BLOCK_FRAMES))  # no block of one frame behind another
        for first, end in zip(starts, [*starts[1:], frames]):
            yield tracker(framed[:, torch.arange(first - LEAD, end + LEAD) % frames], min(_FLOOR_FRAMES, frames))

    def spectrum(self, framed: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Frames (4, frames, n_fft) -> real and imaginary part (4, frames, bins), float32."""
        real, imaginary = self._spectrum(framed[None])
        return real[0].cpu().numpy(), imaginary[0].cpu().numpy()


class SingleSourceTracker:
    """Both tests on successive frames; the noise floor is carried on from call to call."""

    def __init__(self, feature: SingleSourceHistogram):
        self.feature, bins = feature, _END_BIN - _FIRST_BIN
        self._floor, self._count = np.zeros(bins), np.full(bins, 3, dtype=np.int64)
        self._started = False

    def __call__(self, framed: Tensor, floor_frames: int = _FLOOR_FRAMES) -> SingleSources:
        """Bins of the next frames.

        Parameters
        ----------
        framed : (4, 3 + frames + 3, n_fft); three frames before and behind those that are asked for
        floor_frames : of the first call: frames that the noise floor begins with
        """
        from feature.histogram_cpu import LEAD, find_single_sources, start_floor  # here: numba takes half a second

        real, imaginary = self.feature.spectrum(framed)
        if not self._started:
            head = slice(LEAD - 2, LEAD + floor_frames)
            start_floor(real[:, head], imaginary[:, head], self._floor)
            self._started = True
        frames, bins = real.shape[1] - 2 * LEAD, real.shape[2]
        passed = np.empty((frames, bins), dtype=np.uint8)
        direction = np.empty((frames, bins, 3), dtype=np.float32)
        find_single_sources(real, imaginary, self._floor, self._count, passed, direction)
        frame, place = np.nonzero(passed == 2)
        return SingleSources(frames, frame, place, direction[frame, place])


class SingleSourceStream:
    """Bins of a recording that comes in block by block, in bounded memory.

    Unlike in the feature of a whole clip nothing wraps around: silence stands before and behind the recording. The
    noise floor then begins with the first five frames alone, and remembers for seconds what it began with: of the
    golden clips, whose ends are much louder than their beginnings, one bin in six changes sides; where they point
    does not. With silence at both ends, where nothing wraps, all bins are the same (a test). A frame is known 0.06 s
    after its middle.
    """

    def __init__(self) -> None:
        from feature.histogram_cpu import LEAD

        self._feature, self._lead = SingleSourceHistogram(), LEAD
        self._tracker = SingleSourceTracker(self._feature)
        self._held = np.zeros((4, self._feature.left + LEAD * HOP), dtype=np.float32)
        self._samples = self._given = 0

    def feed(self, waveform: np.ndarray) -> SingleSources:
        """Frames that the next samples (4, n) at 24 kHz complete; frame t of all is centred at sample 300 t."""
        self._samples += waveform.shape[1]
        self._held = np.concatenate([self._held, waveform.astype(np.float32, copy=False)], axis=1)
        return SingleSources.concatenate(list(self._complete()))

    def finish(self) -> SingleSources:
        """The frames that are left when the recording has ended: there are 1 + samples // 300 in all."""
        behind = np.zeros((4, self._feature.left + (self._lead + _FLOOR_FRAMES) * HOP), dtype=np.float32)
        self._held = np.concatenate([self._held, behind], axis=1)
        left = 1 + self._samples // HOP - self._given
        return SingleSources.concatenate(list(self._complete())).between(0, left)

    def _complete(self) -> Iterator[SingleSources]:
        """Frames of what is held, but not of fewer samples than the noise floor begins with."""
        while True:
            known = (self._held.shape[1] - N_FFT) // HOP + 1 - 2 * self._lead
            if known < (1 if self._given else _FLOOR_FRAMES):
                return
            known = min(known, _BLOCK_FRAMES)
            framed = torch.from_numpy(self._held).unfold(-1, N_FFT, HOP)[:, : known + 2 * self._lead]
            with torch.no_grad():
                yield self._tracker(framed)
            self._given += known
            self._held = self._held[:, known * HOP :]
