"""Compose a recording: when its events sound, what they are, where they are and how they move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulation.bank import Bank, bank_sound
from simulation.labels import active_intervals_s
from simulation.scene import Event, Scene, Trajectory
from simulation.settings import RATE_HZ
from simulation.streams import stream
from simulation.tut_tau.classes import EventClass, synthesize
from simulation.tut_tau.layouts import DB, SetLayout
from simulation.tut_tau.plan import SetClipPlan, reach_m
from simulation.tut_tau.settings import SetSettings
from util.angles import direction_from_degrees
from util.microphone_arrays import SPEED_OF_SOUND_M_S

GAP_S = (0.2, 1.7)  # between two events of a lane: more than arrival delays differ by
FIRST_S = 1.5  # the latest start of a lane
END_S = 0.1  # room for the last arrival
APART_DEG = 9.0  # directions of sources that sound at once
LAYOUT_TRIES = 20
NEAR_M, FAR_M, FAR_ELEVATION_DEG = 1.0, 2.0, 20  # the distances of 2019
DEG_S = (10, 60)  # angular velocities
STEP_S = 0.02  # of the points of a way
UNLABELLED = -1  # class of sounds that have no label


@dataclass(frozen=True)
class Motion:
    """How a source moves on a sphere about the listener from where it starts; at rest by default.

    Attributes
    ----------
    toward_deg : (azimuth, elevation) that a rotation leads towards
    deg_s : angular velocity
    """

    toward_deg: tuple[int, int] | None = None
    deg_s: int = 0


@dataclass(frozen=True)
class Placed:
    """An event as its label says: in seconds of arrival of its direct sound, whole degrees and metres."""

    event: Event
    start_s: float
    end_s: float
    azimuth_deg: int
    elevation_deg: int
    distance_m: float
    motion: Motion


def compose(settings: SetSettings, plan: SetClipPlan, bank: Bank | None = None) -> tuple[Scene, list[Placed]]:
    """The scene of a recording, and its events in order of their start; those without labels have class -1.

    A function of its arguments alone: the same on any process, in any order of recordings.
    """

    def named(*purpose: str | int) -> np.random.Generator:
        return stream(settings.seed, settings.layout, plan.clip, *purpose)

    placed: list[Placed] = []
    classes = settings.row.classes
    sounds = {} if bank is None else bank.sounds
    for number, slot in enumerate(_lay_out(named("times"), settings, plan)):
        row, files, rng = classes[slot.class_index], sounds.get((slot.class_index, plan.split)), named("sound", number)
        if files:
            made = bank_sound(files, row.level_db, rng, slot.duration_s)
        else:
            made = synthesize(row, rng, plan.part, plan.parts, slot.duration_s)
        source = number if settings.row.columns else slot.lane  # labels of frames have a track
        named_class = (slot.class_index, row.name, source)
        placed.append(_place(named("place", number), settings, plan, slot, named_class, made, placed))
    others = settings.row.interference
    for number, slot in enumerate(_one_layout(named("interference"), others, settings.seconds, 1) if others else ()):
        row = others[slot.class_index]
        made = synthesize(row, named("interfering", number), plan.part, plan.parts, slot.duration_s)
        where = named("interfering at", number)
        placed.append(_place(where, settings, plan, slot, (UNLABELLED, row.name, plan.overlap), made, placed))
    placed.sort(key=lambda one: one.start_s)
    scene = Scene(
        name=plan.name,
        split=plan.split,
        seed=int(named("rendering").integers(1 << 31)),
        duration_s=settings.seconds,
        rate_hz=RATE_HZ,
        room=plan.room,
        events=tuple(one.event for one in placed),
        people=(),
        things=(),
        noise_db=float(DB),
    )
    return scene, placed


@dataclass(frozen=True)
class _Slot:
    class_index: int
    start_s: float
    duration_s: float
    lane: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


def _lay_out(rng: np.random.Generator, settings: SetSettings, plan: SetClipPlan) -> list[_Slot]:
    """When the events sound: never more than `overlap` at once, and that many somewhere unless the clip is too short.

    Each of `overlap` lanes holds one event after the other. Two of one class never sound at once: the systems of these
    data sets have one direction per class.
    """
    best: list[_Slot] = []
    for _ in range(LAYOUT_TRIES):
        best = _one_layout(rng, settings.row.classes, settings.seconds, plan.overlap)
        if max(sum(o.start_s <= one.start_s < o.end_s - 0.1 for o in best) for one in best) == plan.overlap:
            break
    return best


def _one_layout(rng: np.random.Generator, classes: Sequence[EventClass], seconds: float, overlap: int) -> list[_Slot]:
    cards = _deck(rng, len(classes))
    hand = [next(cards) for _ in range(2 * len(classes))]
    last_s = seconds - END_S
    ready = rng.uniform(0.05, min(FIRST_S, 0.15 * seconds), overlap)
    slots: list[_Slot] = []
    while ready.min() < last_s:
        lane = int(ready.argmin())
        start_s = float(ready[lane])
        sounding = {slot.class_index for slot in slots if slot.end_s + GAP_S[0] > start_s}
        fitting = [
            position
            for position, index in enumerate(hand)
            if index not in sounding and start_s + classes[index].duration_s[0] <= last_s
        ]
        if not fitting:
            ready[lane] = last_s if start_s + _shortest_s(classes) > last_s else start_s + GAP_S[0]
            continue
        index = hand.pop(fitting[0])
        hand.append(next(cards))
        length_s = float(min(rng.uniform(*classes[index].duration_s), last_s - start_s))
        slots.append(_Slot(index, start_s, length_s, lane))
        ready[lane] = slots[-1].end_s + rng.uniform(*GAP_S)
    return slots


def _deck(rng: np.random.Generator, classes: int) -> Iterator[int]:
    """Class indices without end: every one twice in each round, shuffled."""
    while True:
        yield from (int(index) for index in rng.permutation(np.repeat(np.arange(classes), 2)))


def _shortest_s(classes: Sequence[EventClass]) -> float:
    return min(row.duration_s[0] for row in classes)


def _place(
    rng: np.random.Generator,
    settings: SetSettings,
    plan: SetClipPlan,
    slot: _Slot,
    named: tuple[int, str, int],
    made: tuple[np.ndarray, dict],
    others: list[Placed],
) -> Placed:
    """Give an event its place or way; it keeps apart from those that start before it ends.

    Parameters
    ----------
    named : its class, what that is called, the number of its source
    made : its sound and what that is made of
    """
    (sound, made_of), row = made, settings.row
    active_s = active_intervals_s(sound, RATE_HZ)
    first_s, last_s = float(active_s[0, 0]), float(active_s[-1, 1])
    beside = [one for one in others if one.end_s + GAP_S[0] > slot.start_s and one.start_s < slot.end_s + GAP_S[0]]
    grid = row.directions_deg(plan.offset_deg)
    while True:
        azimuth, elevation = (int(angle) for angle in grid[rng.integers(len(grid))])
        motion = _motion(rng, row, grid)
        age_s = np.arange(0.0, last_s - first_s + STEP_S, STEP_S) if row.motion else np.zeros(1)
        way = directions_at(azimuth, elevation, motion, age_s)
        low, high = row.elevation_deg
        tilt = np.rad2deg(np.arcsin(np.clip(way[:, 2], -1, 1)))
        if tilt.min() < low - 0.5 or tilt.max() > high + 0.5:
            continue
        middle = way[len(way) // 2]
        if all(_angle_deg(middle, one) >= APART_DEG for one in beside):
            break
    distance = _distance_m(rng, settings, plan, elevation, way)
    delay_s = distance / SPEED_OF_SOUND_M_S
    start_s = slot.start_s + first_s + delay_s
    # the direct sound that arrives `age` after the label's start comes from way[age]: it left `delay` earlier
    path = Trajectory(start_s - delay_s + age_s, distance * way)
    index, name, source = named
    event = Event(index, name, slot.start_s, sound, made_of, path, "object", source)
    end_s = slot.start_s + last_s + delay_s
    return Placed(event, start_s, end_s, azimuth, elevation, distance, motion)


def _motion(rng: np.random.Generator, row: SetLayout, grid: np.ndarray) -> Motion:
    kind = row.motion
    if kind and row.motion_share < 1 and rng.uniform() >= row.motion_share:
        return Motion()
    speed = int(rng.integers(DEG_S[0], DEG_S[1] + 1)) if kind else 0
    if kind and row.speeds_deg_s:
        speed = int(rng.choice(row.speeds_deg_s))
    if kind == "azimuth":
        return Motion(deg_s=speed * int(rng.choice((-1, 1))))
    if kind == "rotation":
        azimuth, elevation = (int(angle) for angle in grid[rng.integers(len(grid))])
        return Motion((azimuth, elevation), speed)
    return Motion()


def directions_at(azimuth_deg: int, elevation_deg: int, motion: Motion, age_s: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) towards a source at times (n,) after its start.

    A rotation turns about the axis start x toward (SELDnet 2018's moving sets); where the two are one line there is no
    axis, and the source stays.
    """
    start = direction_from_degrees(azimuth_deg, elevation_deg)
    angle = np.deg2rad(motion.deg_s * age_s)[:, None]
    if motion.toward_deg is None:
        turned = azimuth_deg + np.rad2deg(angle[:, 0])
        return np.asarray(direction_from_degrees(turned, np.full(len(turned), float(elevation_deg))))
    axis = np.cross(start, direction_from_degrees(*motion.toward_deg))
    length = np.linalg.norm(axis)
    if length < 1e-6:
        return np.repeat(start[None], len(age_s), axis=0)
    axis = axis / length  # perpendicular to the start: two terms of Rodrigues' formula are enough
    return start * np.cos(angle) + np.cross(axis, start) * np.sin(angle)


def _angle_deg(direction: np.ndarray, other: Placed) -> float:
    """Between a direction and that of another event in the middle of its time."""
    age_s = np.array([0.5 * (other.end_s - other.start_s)])
    there = directions_at(other.azimuth_deg, other.elevation_deg, other.motion, age_s)[0]
    return float(np.rad2deg(np.arccos(np.clip(direction @ there, -1.0, 1.0))))


def _distance_m(
    rng: np.random.Generator, settings: SetSettings, plan: SetClipPlan, elevation_deg: int, way: np.ndarray
) -> float:
    limits = settings.row.distance_m
    if limits is None:
        return NEAR_M if abs(elevation_deg) > FAR_ELEVATION_DEG else float(rng.choice((NEAR_M, FAR_M)))
    near, far = limits
    far = max(near, min(far, reach_m(plan.room, way)))
    return float(np.floor(10 * rng.uniform(near, far)) / 10)
