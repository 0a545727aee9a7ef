"""Sources over time: directions of frames linked into tracks by assignment, each followed by a Kalman filter.

The state is a direction and its angular velocity in the plane that touches the sphere there. Errors and accelerations
are as large one way as the other, so one 2 x 2 covariance (angle, velocity) serves both axes; an update moves the state
along a great circle and carries the velocity along.

A track begins with a direction that no track explains, is believed when enough evidence has come within the latency, is
carried through gaps, and ends when nothing is heard for too long. Rows come `lag` frames late, so that nothing is said
before it is known whether a track lives and whether a gap is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from localization.mixture import Peaks

_GATE = 9.0  # squared distance, in standard deviations, beyond which a direction is not of a track
_FAR = 1e6


@dataclass(frozen=True)
class TrackingSettings:
    """How sources behave.

    Attributes
    ----------
    frame_s : between two frames
    acceleration_deg : standard deviation of the change of the velocity in a second, degrees per second
    noise_deg : error of a direction of confidence 1/2
    birth : sum of confidences that a track must gather within `lag` frames to be believed
    start : confidence that a direction must have to begin a track
    gap_s : pause after which a track has ended
    apart_deg : a track that is not heard any more so near to another is that one
    lag : frames that rows come late
    """

    frame_s: float = 0.1
    acceleration_deg: float = 6.0
    noise_deg: float = 6.0
    birth: float = 0.8
    start: float = 0.15
    gap_s: float = 0.8
    apart_deg: float = 12.0
    lag: int = 5


@dataclass(frozen=True)
class Point:
    """One track in one frame: its number, direction (3,), confidence, and whether it was heard (else it is a gap).

    In a gap the confidence is half of what it was before.
    """

    track: int
    direction: np.ndarray
    confidence: float
    heard: bool


@dataclass
class _Track:
    number: int
    direction: np.ndarray
    velocity: np.ndarray  # radians per frame, tangent to the sphere at `direction`
    covariance: np.ndarray
    confidence: float
    gathered: float = 0.0
    age: int = 0
    missed: int = 0
    believed: bool = False
    points: dict[int, Point] = field(default_factory=dict)


class SourceTracker:
    """Tracks of at most `most` sources at a time, frame by frame.

    Parameters
    ----------
    most : sources that are given at a time; more are followed, so that one that fades is replaced
    """

    def __init__(self, most: int, settings: TrackingSettings | None = None):
        self.settings, self.most = settings or TrackingSettings(), most
        self._tracks: list[_Track] = []
        self._numbers = 0
        self._frame = 0
        self._given = 0
        self._waiting: deque[dict[int, Point]] = deque()
        step = np.deg2rad(self.settings.acceleration_deg) * self.settings.frame_s**1.5
        self._transition = np.array([[1.0, 1.0], [0.0, 1.0]])
        self._process = step**2 * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]])

    def feed(self, frames: Sequence[Peaks]) -> list[list[Point]]:
        """Take the next frames; points of those frames that are now known, in order (none for the last `lag`)."""
        out = []
        for peaks in frames:
            self._step(peaks)
            self._frame += 1
            if self._frame - self._given > self.settings.lag:
                out.append(self._give())
        return out

    def finish(self) -> list[list[Point]]:
        """The frames that are left."""
        return [self._give() for _ in range(self._frame - self._given)]

    def _step(self, peaks: Peaks) -> None:
        for track in self._tracks:
            self._predict(track)
        taken = self._assign(peaks)
        for track in self._tracks:
            place = taken.get(track.number)
            if place is None:
                track.missed += 1
                track.points[self._frame] = Point(track.number, track.direction, track.confidence / 2, False)
            else:
                self._update(track, peaks.direction[place], float(peaks.confidence[place]))
        self._end_and_join()
        used = set(taken.values())
        for place in range(len(peaks)):
            if place not in used and peaks.confidence[place] >= self.settings.start:
                self._begin(peaks.direction[place], float(peaks.confidence[place]))

    def _noise(self, confidence: np.ndarray | float) -> np.ndarray:
        """Variance of directions, radians squared: the less confident the larger."""
        return np.deg2rad(self.settings.noise_deg) ** 2 * np.clip((1 / np.maximum(confidence, 0.02) - 1), 0.2, 12)

    def _predict(self, track: _Track) -> None:
        track.direction, track.velocity = _moved(track.direction, track.velocity, track.velocity)
        track.covariance = self._transition @ track.covariance @ self._transition.T + self._process
        track.age += 1

    def _assign(self, peaks: Peaks) -> dict[int, int]:
        """Number of the track -> the peak that is its."""
        if not self._tracks or not len(peaks):
            return {}
        direction = np.array([track.direction for track in self._tracks])
        variance = np.array([track.covariance[0, 0] for track in self._tracks])[:, None]
        angle = np.arccos(np.clip(direction @ peaks.direction.T, -1, 1))
        variance = variance + self._noise(peaks.confidence)
        distance = angle**2 / variance
        # an old track goes before a new one, and no far pair is worth a near one
        cost = np.where(distance <= _GATE, distance + np.log(variance / variance.min()), _FAR)
        cost = cost + np.array([0.0 if track.believed else 4.0 for track in self._tracks])[:, None]
        pairs = zip(*linear_sum_assignment(cost))
        return {self._tracks[i].number: int(j) for i, j in pairs if distance[i, j] <= _GATE}

    def _update(self, track: _Track, direction: np.ndarray, confidence: float) -> None:
        spread = track.covariance[0, 0] + float(self._noise(confidence))
        gain = track.covariance[:, 0] / spread
        offset = _offset(track.direction, direction)
        velocity = track.velocity + gain[1] * offset
        track.direction, track.velocity = _moved(track.direction, gain[0] * offset, velocity)
        track.covariance = track.covariance - np.outer(gain, track.covariance[0])
        track.missed, track.confidence = 0, confidence
        track.gathered += confidence
        track.believed = track.believed or track.gathered >= self.settings.birth
        track.points[self._frame] = Point(track.number, track.direction, confidence, True)

    def _begin(self, direction: np.ndarray, confidence: float) -> None:
        near = np.cos(np.deg2rad(self.settings.apart_deg))
        if any(track.direction @ direction > near for track in self._tracks):
            return
        self._numbers += 1
        still = np.deg2rad(10.0) * self.settings.frame_s
        covariance = np.diag([float(self._noise(confidence)), still**2])
        point = Point(self._numbers, direction, confidence, True)
        track = _Track(self._numbers, direction, np.zeros(3), covariance, confidence, confidence)
        track.points[self._frame] = point
        self._tracks.append(track)

    def _end_and_join(self) -> None:
        """Drop tracks that nothing was heard of, those not believed in time, and those that became one with another."""
        gap = round(self.settings.gap_s / self.settings.frame_s)
        alive: list[_Track] = []
        near = np.cos(np.deg2rad(self.settings.apart_deg))
        for track in sorted(self._tracks, key=lambda one: (not one.believed, one.number)):
            late = not track.believed and track.age >= self.settings.lag
            # sources that cross are heard as one for a while; one that stays there is none of its own
            met = track.missed > gap // 2 and any(other.direction @ track.direction > near for other in alive)
            if track.missed > gap or late or met:
                if track.believed:
                    self._keep(track)
            else:
                alive.append(track)
        self._tracks = alive

    def _keep(self, track: _Track) -> None:
        """What is not given yet of a track that has ended: up to where it was last heard."""
        last = max((frame for frame, point in track.points.items() if point.heard), default=-1)
        for frame in range(self._given, last + 1):
            if frame in track.points:
                self._row(frame)[track.number] = track.points[frame]

    def _row(self, frame: int) -> dict[int, Point]:
        while len(self._waiting) <= frame - self._given:
            self._waiting.append({})
        return self._waiting[frame - self._given]

    def _give(self) -> list[Point]:
        """Points of the oldest frame that is not given yet; a gap is given if its track has been heard since."""
        frame = self._given
        points = dict(self._row(frame))
        for track in self._tracks:
            if track.believed and frame in track.points:
                since = any(point.heard for number, point in track.points.items() if number > frame)
                if track.points[frame].heard or since:
                    points[track.number] = track.points[frame]
            track.points.pop(frame, None)
        self._waiting.popleft()
        self._given += 1
        best = sorted(points.values(), key=lambda point: (not point.heard, -point.confidence))[: self.most]
        return sorted(best, key=lambda point: point.track)


def _offset(origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Tangent vector at `origin` whose end, along a great circle, is `direction`: its length is the angle."""
    across = direction - (origin @ direction) * origin
    length = float(np.linalg.norm(across))
    if length < 1e-12:
        return np.zeros(3)
    return across / length * np.arctan2(length, origin @ direction)


def _moved(direction: np.ndarray, offset: np.ndarray, tangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go along a tangent vector; the new direction, and another tangent vector carried along in parallel."""
    angle = float(np.linalg.norm(offset))
    if angle < 1e-12:
        return direction, tangent
    along = offset / angle
    there = np.cos(angle) * direction + np.sin(angle) * along
    turned = np.cos(angle) * along - np.sin(angle) * direction
    carried = tangent + (tangent @ along) * (turned - along)
    return there / np.linalg.norm(there), carried
