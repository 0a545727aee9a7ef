"""Which mistake in channels, orientation or timing would explain where the sound seems to come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

import numpy as np

from doctor.sound import CHANNEL_NAMES, Directions, Intensity, Phases, channel_names
from util.angles import angle_between_deg, direction_from_degrees, wrap_azimuth_deg
from util.boxes import BoxTrack
from util.microphone_arrays import Array

LEAST_FRAMES = 20  # two seconds of evidence
MOST_FRAMES = 400  # of one recording
_YAW_STEP_DEG = 10
_CLOSE = 0.03  # scores this close: the simpler explanation
_LABEL_LAGS = 20  # frames of 0.1 s to each side
_VIDEO_LAGS = 30
_BOX_SPREAD_DEG = 10.0
_SOUND_SPREAD_DEG = 15.0


@dataclass(frozen=True)
class Truth:
    """Where sound should come from: frames (n,), directions (n, m, 3), of which m are possible; NaN where fewer are."""

    frame: np.ndarray
    direction: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: np.ndarray) -> Truth:
        return Truth(self.frame[rows], self.direction[rows])


@dataclass(frozen=True)
class Hypothesis:
    """One explanation.

    Attributes
    ----------
    name : what is wrong, a sentence; "" for nothing
    order : true channel that each channel of the file holds
    sign : of each channel of the file
    yaw_deg : by how much the sound must be turned to the left
    tier : how far-fetched it is
    """

    name: str
    order: tuple[int, ...]
    sign: tuple[int, ...]
    yaw_deg: float = 0.0
    tier: int = 1


@dataclass(frozen=True)
class Verdict:
    """The best explanation, how well it fits (1 perfectly) and how well no mistake at all would; median errors."""

    hypothesis: Hypothesis
    score: float
    score_as_is: float
    error_deg: float | None
    error_as_is_deg: float | None


def truth_of_labels(frame: np.ndarray, azimuth_deg: np.ndarray, elevation_deg: np.ndarray) -> Truth:
    """Frames with one labelled source."""
    values, first, count = np.unique(frame, return_index=True, return_counts=True)
    rows = first[count == 1]
    return Truth(values[count == 1], direction_from_degrees(azimuth_deg[rows], elevation_deg[rows])[:, None])


def truth_of_boxes(track: BoxTrack, frames: int, frame_s: float) -> Truth:
    """Frames with one to three people in the picture; a voice is in the upper part of a box."""
    boxes = track.at((np.arange(frames) + 0.5) * frame_s)
    present = np.asarray(boxes.any(axis=-1))
    rows = np.flatnonzero((present.sum(axis=1) >= 1) & (present.sum(axis=1) <= 3))
    x0, y0, x1, y1 = np.moveaxis(boxes[rows, :3].astype(np.float64), -1, 0)
    azimuth_deg, elevation_deg = 180 - 180 * (x0 + x1), 90 - 180 * (0.8 * y0 + 0.2 * y1)
    direction = direction_from_degrees(azimuth_deg, elevation_deg)
    return Truth(rows, np.where(present[rows, :3, None], direction, np.nan))


def sample(evidence: Directions, truth: Truth, most: int) -> tuple[Directions, Truth]:
    """Loud frames alone, at most so many, with where they should come from: what a whole data root is judged by."""
    truth = truth[np.isin(truth.frame, evidence.loud())]
    truth = truth[np.linspace(0, len(truth) - 1, min(len(truth), most)).astype(np.int64)]
    return evidence.frames(truth.frame), Truth(np.arange(len(truth)), truth.direction)


def together(samples: Sequence[tuple[Directions, Truth]]) -> tuple[Directions, Truth]:
    """Samples of several recordings (of one array) as one, all equally loud."""
    width = max(truth.direction.shape[1] for _, truth in samples)
    padded = [
        np.pad(truth.direction, ((0, 0), (0, width - truth.direction.shape[1]), (0, 0)), constant_values=np.nan)
        for _, truth in samples
    ]
    first = samples[0][0]
    evidence = first.joined([one for one, _ in samples])
    return evidence, Truth(np.arange(len(evidence.energy)), np.concatenate(padded))


def judge(evidence: Directions, truth: Truth) -> Verdict | None:
    """The best explanation of the sound's directions; None where there is too little to tell.

    An explanation is only given where it fits much better than "nothing is wrong"; of those that fit equally well the
    simplest.
    """
    rows = np.isin(truth.frame, evidence.loud())
    truth = truth[rows]
    if len(truth) < LEAST_FRAMES:
        return None
    if len(truth) > MOST_FRAMES:
        truth = truth[np.linspace(0, len(truth) - 1, MOST_FRAMES).astype(np.int64)]
    if isinstance(evidence, Intensity):
        hypotheses = _ambisonic_hypotheses()
        fits: list[tuple[float, float | None]] = [_fit_intensity(evidence, truth, one) for one in hypotheses]
    elif isinstance(evidence, Phases):
        hypotheses = capsule_hypotheses(evidence.array)
        fits = _fit_phases(evidence, truth, hypotheses)
    else:
        raise TypeError(f"directions of {type(evidence).__name__}")
    scores = np.array([score for score, _ in fits])
    close = scores >= scores.max() - _CLOSE
    best = min(np.flatnonzero(close), key=lambda index: (hypotheses[index].tier, -scores[index]))
    score, error_deg = fits[best]
    as_is, error_as_is = fits[0]
    better = score > as_is + 0.15 and score > 1.4 * as_is and score > 0.2
    if error_deg is not None and error_as_is is not None and better:
        better = error_deg < 40 and error_as_is - error_deg > 12
    if truth.direction.shape[1] > 1 and better:
        # Those who are heard need not be among the people in the picture: without a good match nothing is said.
        matched, matched_as_is = (float(_match(evidence, truth, hypotheses[index]).mean()) for index in (best, 0))
        better = matched > max(0.35, matched_as_is + 0.2, 2 * matched_as_is) and hypotheses[best].yaw_deg % 90 == 0
    chosen = best if better else 0
    return Verdict(hypotheses[chosen], fits[chosen][0], as_is, fits[chosen][1], error_as_is)


def label_lag_s(evidence: Directions, truth: Truth, frame_s: float) -> float | None:
    """Seconds by which the sound comes after its labels (negative: before); None where they fit or nothing tells."""
    lags = np.arange(-_LABEL_LAGS, _LABEL_LAGS + 1)
    loud = np.zeros(len(evidence.energy), dtype=bool)
    loud[evidence.loud()] = True  # a pause in the sound below a label counts against it
    if len(truth) < LEAST_FRAMES:
        return None
    truth = truth[np.linspace(0, len(truth) - 1, min(len(truth), MOST_FRAMES)).astype(np.int64)]
    matches, due = [], _due(evidence, truth)
    most = evidence.most(np.arange(len(loud))) if isinstance(evidence, Phases) else None
    for lag in lags:
        there = (truth.frame + lag >= 0) & (truth.frame + lag < len(loud))
        moved = Truth(truth.frame[there] + lag, truth.direction[there])
        enough = there.sum() >= max(LEAST_FRAMES, 0.7 * len(truth))
        match = _match(evidence, moved, due=None if due is None else due[there], most=most) if enough else np.zeros(1)
        matches.append(float(np.mean(match * loud[moved.frame])) if enough else 0.0)
    best, as_is = int(np.argmax(matches)), matches[_LABEL_LAGS]
    if abs(lags[best]) < 3 or best in (0, len(lags) - 1):
        return None
    return float(lags[best] * frame_s) if matches[best] > as_is + 0.12 and matches[best] > 1.25 * as_is else None


def _match(
    evidence: Directions,
    truth: Truth,
    hypothesis: Hypothesis | None = None,
    *,
    due: np.ndarray | None = None,
    most: np.ndarray | None = None,
) -> np.ndarray:
    """How well the sound of each frame (n,) comes from where it should: 0..1.

    Parameters
    ----------
    due, most : `_due` of the truth, and `Phases.most` of all frames, where they are known already
    """
    if isinstance(evidence, Intensity):
        vector = _flow(evidence, truth, hypothesis or _ambisonic_hypotheses()[0])
        return np.exp(-np.square(_errors_deg(vector, truth) / _SOUND_SPREAD_DEG))
    if not isinstance(evidence, Phases):
        raise TypeError(f"directions of {type(evidence).__name__}")
    hypothesis = hypothesis or capsule_hypotheses(evidence.array)[0]
    due = evidence.due(_before(truth, hypothesis)) if due is None else due
    most = evidence.most(truth.frame) if most is None else most[truth.frame]
    return np.clip(_fitting(evidence, truth, hypothesis, due) / most, 0.0, 1.0)


@dataclass(frozen=True)
class VideoVerdict:
    """How the picture lies to directions that are known: flags of inference that would put it right; 0, 0: it fits."""

    yaw_deg: float
    offset_s: float
    score: float
    score_as_is: float


def judge_video(
    frame: np.ndarray, azimuth_deg: np.ndarray, track: BoxTrack, frame_s: float, *, least: float
) -> VideoVerdict | None:
    """Compare azimuths (n,) of frames (n,) with the nearest person in the picture; None where too little tells.

    The turn is looked for first, at no offset; the offset, of sources that move, at the turn found.

    Parameters
    ----------
    least : fit from which on a turn is believed; an offset from two thirds of it on
    """
    time_s = (np.asarray(frame) + 0.5) * frame_s

    def offsets(offset_s: float) -> np.ndarray:
        """Azimuth of each box minus that of the sound (n, 6), NaN without a box."""
        boxes = track.at(np.maximum(time_s - offset_s, 0)).astype(np.float64)
        box_deg = 180 - 180 * (boxes[..., 0] + boxes[..., 2])
        return np.where(boxes.any(axis=-1), wrap_azimuth_deg(box_deg - np.asarray(azimuth_deg)[:, None]), np.nan)

    def score(off_deg: np.ndarray, yaw_deg: float) -> float:
        near = np.abs(wrap_azimuth_deg(off_deg + yaw_deg))
        return float(np.exp(-np.square(np.nanmin(near, axis=1) / _BOX_SPREAD_DEG)).mean())

    seen = ~np.isnan(offsets(0.0)).all(axis=1)
    if seen.sum() < LEAST_FRAMES:
        return None
    time_s, azimuth_deg = time_s[seen], np.asarray(azimuth_deg)[seen]
    off_deg = offsets(0.0)
    as_is = score(off_deg, 0.0)
    yaws = np.arange(-180, 180, _YAW_STEP_DEG)
    turned = np.array([score(off_deg, float(yaw)) for yaw in yaws])
    yaw_deg = float(yaws[np.argmax(turned)])
    if not turned.max() > max(as_is + 0.2, 2 * as_is, least):
        yaw_deg = 0.0
    base = score(off_deg, yaw_deg)
    lags_s = np.arange(-_VIDEO_LAGS, _VIDEO_LAGS + 1) * frame_s
    shifted = []
    for lag_s in lags_s:
        off_deg = offsets(lag_s)
        whole = ~np.isnan(off_deg).all(axis=1)
        shifted.append(score(off_deg[whole], yaw_deg) if whole.sum() > 0.8 * len(whole) else 0.0)
    best = int(np.argmax(shifted))
    found = shifted[best] > max(base + 0.08, 1.2 * base, 0.67 * least) and abs(lags_s[best]) > 0.25
    if best in (0, len(lags_s) - 1) or not found:
        return VideoVerdict(yaw_deg, 0.0, base, as_is)
    return VideoVerdict(yaw_deg, round(float(lags_s[best]), 1), shifted[best], as_is)


def _flow(evidence: Intensity, truth: Truth, hypothesis: Hypothesis) -> np.ndarray:
    """Where the plane waves of the frames come from, by their strength (n, 3), as it would be without the mistake."""
    held = np.argsort(hypothesis.order)  # channel of the file that holds W, Y, Z, X
    sign = np.array(hypothesis.sign)[held]
    row = evidence.waves[truth.frame][:, held[0]][:, held] * (sign[0] * sign)
    return _turned(row.astype(np.float64)[:, [3, 1, 2]], hypothesis.yaw_deg)


def _turned(vector: np.ndarray, angle_deg: float) -> np.ndarray:
    """Vectors (..., 3) turned to the left."""
    angle = np.deg2rad(angle_deg)
    x, y, z = np.moveaxis(vector, -1, 0)
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], axis=-1)


def _errors_deg(vector: np.ndarray, truth: Truth) -> np.ndarray:
    """Angle (n,) between vectors (n, 3) and the nearest of the possible directions."""
    return np.nanmin(angle_between_deg(vector[:, None] + 1e-30, truth.direction), axis=1)


def _fit_intensity(evidence: Intensity, truth: Truth, hypothesis: Hypothesis) -> tuple[float, float]:
    """Share of the waves that comes from where it should (-1..1), median error in degrees."""
    vector = _flow(evidence, truth, hypothesis)
    energy = np.trace(evidence.waves[truth.frame], axis1=1, axis2=2).astype(np.float64) + 1e-30
    towards = np.nanmax(np.einsum("ni,nmi->nm", vector, truth.direction), axis=1)
    return float(np.mean(2 * towards / energy)), float(np.median(_errors_deg(vector, truth)))


def _fit_phases(evidence: Phases, truth: Truth, hypotheses: Sequence[Hypothesis]) -> list[tuple[float, float | None]]:
    """Of each explanation: mean fit of the phases that the directions ask for, over what the best delays give."""
    most = float(evidence.most(truth.frame).mean())
    due: dict[float, np.ndarray] = {}  # of the turn at hand, and of none
    made: list[tuple[float, float | None]] = []
    for one in hypotheses:
        if one.yaw_deg not in due:
            due = {yaw_deg: held for yaw_deg, held in due.items() if not yaw_deg}
            due[one.yaw_deg] = evidence.due(_before(truth, one))
        made.append((float(_fitting(evidence, truth, one, due[one.yaw_deg]).mean()) / most, None))
    return made


def _due(evidence: Directions, truth: Truth) -> np.ndarray | None:
    """What capsules hear of the directions; None of Ambisonics, which needs no such thing."""
    return evidence.due(np.nan_to_num(truth.direction)) if isinstance(evidence, Phases) else None


def _before(truth: Truth, hypothesis: Hypothesis) -> np.ndarray:
    """Directions (n, m, 3) as an array with the mistake hears them."""
    return np.nan_to_num(_turned(truth.direction, -hypothesis.yaw_deg))


def _fitting(evidence: Phases, truth: Truth, hypothesis: Hypothesis, due: np.ndarray) -> np.ndarray:
    """Fit of each frame (n,) to the direction that fits best of those that are possible."""
    fit = evidence.fit(truth.frame, due, hypothesis.order, hypothesis.sign)
    return np.where(np.isnan(truth.direction[..., 0]), -np.inf, fit).max(axis=1)


@lru_cache(maxsize=1)
def _ambisonic_hypotheses() -> list[Hypothesis]:
    """Nothing wrong first; then the usual mistakes; then every order with every sign."""
    as_is, plain = (0, 1, 2, 3), (1, 1, 1, 1)
    named = [
        Hypothesis("", as_is, plain, tier=0),
        *_turns(as_is, plain),
        Hypothesis("the channels are in FuMa order W X Y Z (--channel-order fuma)", (0, 3, 1, 2), plain),
        Hypothesis("left and right are exchanged: Y has the wrong sign", as_is, (1, -1, 1, 1)),
        Hypothesis("up and down are exchanged: Z has the wrong sign", as_is, (1, 1, -1, 1)),
        Hypothesis("front and back are exchanged: X has the wrong sign", as_is, (1, 1, 1, -1)),
        Hypothesis("W has the wrong sign (or Y, Z and X have)", as_is, (-1, 1, 1, 1), tier=2),
    ]
    seen = {(hypothesis.order, hypothesis.sign) for hypothesis in named}
    seen.add((as_is, (1, -1, 1, -1)))  # that is the turn by 180 degrees
    for order in permutations(range(4)):
        for signs in product((1, -1), repeat=3):
            sign = [0, 0, 0, 0]
            for channel, true in enumerate(order):
                sign[channel] = 1 if true == 0 else signs[true - 1]
            if (order, tuple(sign)) in seen:
                continue
            tier = 2 if all(value == 1 for value in sign) or order == as_is else 3
            named.append(Hypothesis(_described(order, sign, CHANNEL_NAMES["foa"]), order, tuple(sign), tier=tier))
    return named


@lru_cache(maxsize=8)
def capsule_hypotheses(array: Array) -> list[Hypothesis]:
    count = array.channels
    as_is, plain = tuple(range(count)), (1,) * count
    names = channel_names(array)
    found = [Hypothesis("", as_is, plain, tier=0), *_turns(as_is, plain)]
    for order in permutations(range(count)) if count <= 4 else [as_is]:
        if order != as_is:
            name = "left and right are exchanged" if count == 2 else _described(order, plain, names)
            found.append(Hypothesis(name, order, plain, tier=1 if count == 2 else 2))
    for channel in range(count if count > 2 else 1):
        sign = tuple(-1 if index == channel else 1 for index in range(count))
        which = f"channel {names[channel]} has" if count > 2 else "one of the two channels has"
        found.append(Hypothesis(f"{which} the wrong sign", as_is, sign))
    return found


def _turns(order: tuple[int, ...], sign: tuple[int, ...]) -> Iterator[Hypothesis]:
    """Whole quarters are the usual mistakes; with two channels an exchange explains as much as a half turn."""
    for yaw_deg in range(-180, 180, _YAW_STEP_DEG):
        if yaw_deg:
            side = "" if yaw_deg == -180 else " to the right" if yaw_deg > 0 else " to the left"
            name = f"the sound is turned by {abs(yaw_deg)} degrees{side} (yaw)"
            usual = yaw_deg % 90 == 0 and len(order) > 2
            yield Hypothesis(name, order, sign, float(yaw_deg), tier=1 if usual else 2)


def _described(order: tuple[int, ...], sign: tuple[int, ...] | list[int], names: tuple[str, ...]) -> str:
    held = " ".join(("-" if value < 0 else "") + names[true] for true, value in zip(order, sign))
    return f"the channels of the file are {held} instead of {' '.join(names)}"
