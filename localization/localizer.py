"""Directions of a recording, block by block: bands -> evidence of 100 ms -> sources of a second of evidence."""

from __future__ import annotations

from collections import deque

import numpy as np

from localization.ambisonics import AmbisonicBands
from localization.mixture import DirectionMixture, Peaks
from localization.steered import SteeredBands
from localization.tracking import Point, SourceTracker, TrackingSettings
from util.microphone_arrays import Array

FRAME_S = 0.1
RATE_HZ = 24000
FRAME = round(FRAME_S * RATE_HZ)
POOL = 5  # frames to each side whose evidence counts for a frame
LEAST_CONFIDENCE = 0.1
_MORE = 2  # peaks of a frame beyond the sources that are asked for


class Localizer:
    """The strongest sources of every 100 ms of a recording that comes in block by block, in bounded memory.

    Silence stands before and behind the recording.

    Parameters
    ----------
    array : what the channels are
    most : sources at a time

    Attributes
    ----------
    cannot_tell : what the array cannot tell, for people; ""
    latency_s : at most so long after the end of a frame its sources are known

    Raises
    ------
    InputError : the array has no directions
    """

    def __init__(self, array: Array, most: int = 3, settings: TrackingSettings | None = None):
        self.array, self.most = array, most
        self._bands: AmbisonicBands | SteeredBands
        if array.kind == "ambisonics":
            self._bands, grid, self.cannot_tell = AmbisonicBands(), None, ""
        else:
            self._bands = SteeredBands(array)
            grid, self.cannot_tell = self._bands.sources, self._bands.cannot_tell
        self._mixture = DirectionMixture(grid)
        self._tracker = SourceTracker(most, settings)
        self._held = np.zeros((array.channels, self._bands.before), dtype=np.float32)
        self._samples = self._frames = 0
        self._evidence: deque[np.ndarray] = deque([np.zeros((len(self._mixture.grid), 4), np.float32)] * POOL)

    @property
    def latency_s(self) -> float:
        """At most so long after the end of a frame its sources are known."""
        return (POOL + self._tracker.settings.lag) * FRAME_S + self._bands.behind / RATE_HZ

    def feed(self, waveform: np.ndarray) -> list[list[Point]]:
        """Sources of the frames that the next samples (channels, n) at 24 kHz complete, in order."""
        self._samples += waveform.shape[1]
        self._held = np.concatenate([self._held, waveform.astype(np.float32, copy=False)], axis=1)
        return self._tracker.feed(self._complete(last=False))

    def finish(self) -> list[list[Point]]:
        """Sources of the frames that are left when the recording has ended; a begun frame counts."""
        frames = -(-self._samples // FRAME)
        due = self._bands.before + (frames - self._frames) * FRAME + self._bands.behind
        self._held = np.pad(self._held, ((0, 0), (0, max(due - self._held.shape[1], 0))))[:, :due]
        return self._tracker.feed(self._complete(last=True)) + self._tracker.finish()

    def _complete(self, *, last: bool) -> list[Peaks]:
        around = self._bands.before + self._bands.behind
        while (whole := min((self._held.shape[1] - around) // FRAME, 100)) > 0:
            stretch = self._held[:, : around + whole * FRAME]
            direction, weight = self._bands(stretch)
            per = whole * FRAME // self._bands.hop
            self._evidence.extend(
                self._mixture.evidence(
                    direction[:per].reshape(whole, -1, 3), weight[:per].reshape(whole, -1)
                )
            )  # fmt: skip
            self._held = self._held[:, whole * FRAME :]
            self._frames += whole
        if last:
            self._evidence.extend([np.zeros((len(self._mixture.grid), 4), np.float32)] * POOL)
        found = []
        while len(self._evidence) > 2 * POOL:
            window = [self._evidence[place] for place in range(2 * POOL + 1)]
            heard = max(sum(bool(part.any()) for part in window), 1)
            mean = np.sum(window, axis=0) / heard
            found.append(self._mixture.peaks(mean, most=self.most + _MORE, least=LEAST_CONFIDENCE))
            self._evidence.popleft()
        return found
