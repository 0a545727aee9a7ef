"""Compose a clip: when its events sound, who or what makes them, where they are and how they move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulation.bank import Bank, BankFile, bank_sound
from simulation.picture import anchor_offset_m, sample_appearance, sample_thing_appearance, thing_place
from simulation.places import (
    Spot,
    Walk,
    during,
    free_spot,
    grid_spot,
    radii_m,
    slots_deg,
    wall_distance_m,
)
from simulation.plan import ClipPlan
from simulation.scene import Event, Person, Room, Scene, Thing, Trajectory
from simulation.settings import RATE_HZ, Settings
from simulation.sounds import SoundClass, sound_classes, synthesize
from simulation.streams import stream

LEAST_GAP_S = 0.15  # between two events of a lane: more than arrival delays differ by, so lanes never overlap in labels
END_S = 0.05  # room for the last arrival
SEXES = ("female", "male")
HEIGHT_M = {"female": (1.52, 1.78), "male": (1.64, 1.93)}
GRID_HEIGHT_M = (1.3, 1.95)  # statures that the direction grid may ask for
WALL_THING_M = 0.12  # from the wall to the middle of what hangs at it
SPEED_M_S = (0.5, 1.2)
CARRYING_M_S = (0.3, 0.8)
# What stands for a class when it is carried or rolls about.
MOBILE_KINDS = {3: "mobile_phone", 5: "vacuum", 8: "radio", 9: "guitar", 11: "hand_bell"}
LAYOUT_TRIES = 12
SAME_CLASS_S = 0.5  # of overlap make two events of a class simultaneous


@dataclass
class Slot:
    """An event before it has a sound and a place."""

    class_index: int
    start_s: float
    duration_s: float
    moving: bool = False

    @property
    def end_s(self) -> float:
        """When it ends at the latest."""
        return self.start_s + self.duration_s


@dataclass
class Actor:
    """A person or an object with the events that it makes, in order."""

    source: int
    sex: str = ""  # of a person
    class_index: int = -1  # of an object
    slots: list[Slot] = field(default_factory=list)

    def free(self, slot: Slot, gap_s: float) -> bool:
        """Whether it makes nothing during the slot and shortly around it."""
        return all(slot.start_s >= one.end_s + gap_s or one.start_s >= slot.end_s + gap_s for one in self.slots)


def compose(settings: Settings, plan: ClipPlan, bank: Bank) -> Scene:
    """The scene of a clip: everything that sound, picture and labels are made from.

    A function of its arguments alone: the same on any process, in any order of clips.
    """

    def named(purpose: str) -> np.random.Generator:
        return stream(settings.seed, plan.split, plan.name, purpose)

    people, things, photos = clip_cast(settings, plan, bank)
    maker = _Maker(settings, plan, bank, named)
    azimuth = slots_deg(named("places"), len(people) + len(things))
    events: list[Event] = []
    scene_people, scene_things = [], []
    for actor, where in zip(people, azimuth[: len(people)]):
        person, made = maker.person(actor, float(where), photos.get(actor.source))
        scene_people.append(person)
        events += made
    for actor, where in zip(things, azimuth[len(people) :]):
        thing, made = maker.thing(actor, float(where))
        scene_things.append(thing)
        events += made
    events.sort(key=lambda event: (event.start_s, event.source))
    return Scene(
        name=plan.name,
        split=plan.split,
        seed=int(named("rendering").integers(1 << 31)),
        duration_s=settings.seconds,
        rate_hz=RATE_HZ,
        room=plan.room,
        events=tuple(events),
        people=tuple(scene_people),
        things=tuple(scene_things),
        noise_db=float(named("noise").uniform(*settings.noise_db)),
        background=plan.background,
    )


def clip_cast(settings: Settings, plan: ClipPlan, bank: Bank) -> tuple[list[Actor], list[Actor], dict[int, BankFile]]:
    """People and objects of a clip with their events, and the photographs by source of the people who get one."""
    where = (settings.seed, plan.split, plan.name)
    slots = lay_out(stream(*where, "times"), plan, settings)
    one_anchor = settings.doa_grid_deg is not None
    people, things = cast(stream(*where, "cast"), slots, rows=settings.sound_classes, one_anchor=one_anchor)
    return people, things, _photos(stream(*where, "photos"), plan.split, bank, people)


def lay_out(rng: np.random.Generator, plan: ClipPlan, settings: Settings) -> list[Slot]:
    """When the events of a clip sound: never more than `overlap` at once, by construction.

    Every event goes into one of `overlap` lanes, in each of which one follows another; what is left of a lane becomes
    the pauses between. Where two of a class should sound at once, the first of several layouts that does so is taken.
    """
    best: list[Slot] = []
    wish = plan.same_class and len(set(plan.classes)) < len(plan.classes)
    for _ in range(LAYOUT_TRIES if wish else 1):
        best = _one_layout(rng, plan, settings)
        if wish and _same_class_s(best) >= SAME_CLASS_S:
            break
    best.sort(key=lambda slot: (slot.start_s, slot.class_index))
    # those who walk by nature first: a random key per event, divided by its mobility
    weights = np.array([settings.sound_classes[slot.class_index].mobility for slot in best])
    keys = np.where(weights > 0, rng.exponential(size=len(best)) / np.maximum(weights, 1e-9), np.inf)
    for index in np.argsort(keys)[: min(plan.moving, int((weights > 0).sum()))]:
        best[index].moving = True
    return best


def _one_layout(rng: np.random.Generator, plan: ClipPlan, settings: Settings) -> list[Slot]:
    total_s = settings.seconds - END_S
    order = [int(index) for index in rng.permutation(plan.classes)]
    longest = 0.6 * total_s
    durations = np.array([min(rng.uniform(*settings.sound_classes[index].duration_s), longest) for index in order])
    while True:
        lanes: list[list[int]] = [[] for _ in range(settings.overlap)]
        left = np.full(settings.overlap, total_s)
        for index in np.argsort(-durations, kind="stable"):
            need = durations[index] + LEAST_GAP_S
            room = np.clip(left - need, 0.0, None)
            if not room.any():
                break
            lane = int(rng.choice(settings.overlap, p=room / room.sum()))
            lanes[lane].append(int(index))
            left[lane] -= need
        else:
            break
        durations *= 0.9  # too much for the lanes: everything a little shorter
    slots = []
    for members, spare in zip(lanes, left):
        now = 0.0
        pauses = rng.dirichlet(np.ones(len(members) + 1)) * spare
        for index, pause in zip(rng.permutation(members), pauses):
            slots.append(Slot(order[index], now + pause, float(durations[index])))
            now = slots[-1].end_s + LEAST_GAP_S
    return slots


def _same_class_s(slots: list[Slot]) -> float:
    """Longest time that two events of one class sound at once."""
    return max(
        (
            min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
            for index, one in enumerate(slots)
            for other in slots[:index]
            if one.class_index == other.class_index
        ),
        default=0.0,
    )


def cast(
    rng: np.random.Generator, slots: list[Slot], *, rows: Sequence[SoundClass] | None = None, one_anchor: bool = False
) -> tuple[list[Actor], list[Actor]]:
    """Who makes the events: people, silent ones too, and objects.

    There are twice as many people as ever sound at once, at least two: at least as many are silent as sound, always.

    Parameters
    ----------
    rows : the classes; None: those of STARSS23
    one_anchor : nobody makes sounds with two parts of the body (whose directions could not both lie on a grid)
    """
    rows = rows or sound_classes()
    people: list[Actor] = []
    things: list[Actor] = []
    for slot in sorted(slots, key=lambda slot: slot.start_s):
        row = rows[slot.class_index]
        if row.anchor == "object":
            same = [one for one in things if one.class_index == slot.class_index and one.free(slot, 0.5)]
            reuse = [one for one in same if not slot.moving and not any(other.moving for other in one.slots)]
            if reuse and rng.random() < 0.5:
                reuse[0].slots.append(slot)
            else:
                things.append(Actor(0, class_index=slot.class_index, slots=[slot]))
            continue
        free = [one for one in people if one.free(slot, 0.3) and row.sex in (None, one.sex)]
        if one_anchor:
            free = [one for one in free if all(rows[other.class_index].anchor == row.anchor for other in one.slots)]
        if free and (len(people) >= 3 or rng.random() < 0.6):
            free[int(rng.integers(len(free)))].slots.append(slot)
        else:
            people.append(Actor(0, sex=row.sex or SEXES[int(rng.integers(2))], slots=[slot]))
    loudest = most_at_once([slot for one in people for slot in one.slots])
    wanted = max(2, 2 * loudest, len(people) + int(rng.integers(2)))
    while len(people) < wanted:
        people.append(Actor(0, sex=SEXES[int(rng.integers(2))]))
    people = [people[int(index)] for index in rng.permutation(len(people))]
    for source, actor in enumerate([*people, *things]):
        actor.source = source
    return people, things


def most_at_once(slots: list[Slot]) -> int:
    """Largest number of slots that share a moment."""
    return max((sum(o.start_s <= one.start_s < o.end_s for o in slots) for one in slots), default=0)


def _photos(rng: np.random.Generator, split: str, bank: Bank, people: list[Actor]) -> dict[int, BankFile]:
    """A photograph for every person, different ones as far as they go; who has none of their sex is drawn."""
    files = bank.photos.get(split, ())
    chosen: dict[int, BankFile] = {}
    for actor in people:
        fitting = [file for file in files if file.sex in (None, actor.sex)]
        fresh = [file for file in fitting if file not in chosen.values()] or fitting
        if fresh:
            chosen[actor.source] = fresh[int(rng.integers(len(fresh)))]
    return chosen


class _Maker:
    """Turns actors into people and things with places, ways and sounds."""

    def __init__(self, settings: Settings, plan: ClipPlan, bank: Bank, named: Callable[[str], np.random.Generator]):
        self._settings, self._plan, self._bank, self._named = settings, plan, bank, named
        self._room: Room = plan.room
        self._rows = settings.sound_classes

    def person(self, actor: Actor, azimuth_deg: float, photo: BankFile | None) -> tuple[Person, list[Event]]:
        """A person with their way through the clip and their events."""
        rng = self._named(f"person {actor.source}")
        height = float(rng.uniform(*HEIGHT_M[actor.sex]))
        floor = -self._room.listener_m[2]
        # chords cut the arcs that people walk on: a centimetre keeps them outside the nearest distance
        near, far = self._settings.distance_m[0] + 0.01, radii_m(self._settings.distance_m, floor)[1]
        if self._settings.doa_grid_deg is not None and actor.slots:
            spot, height = self._person_on_grid(rng, actor, azimuth_deg)
            feet = Walk(self._room, spot, near, far).trajectory(floor)
        else:
            walk = Walk(self._room, free_spot(rng, self._room, azimuth_deg, near, far), near, far)
            self._live(rng, walk, actor)
            feet = walk.trajectory(floor)
        if photo is None:
            appearance = sample_appearance(rng, self._plan.split, sex=actor.sex)
        else:
            appearance = {"photo": photo.path, "sha256": photo.sha256, "source": photo.source}
        events = []
        for slot in actor.slots:
            anchor = self._rows[slot.class_index].anchor
            path = during(feet, slot.start_s, slot.end_s, anchor_offset_m(anchor, height))
            events.append(self._event(slot, actor.source, anchor, path, actor.sex))
        return Person(actor.source, feet, height, appearance), events

    def _person_on_grid(self, rng: np.random.Generator, actor: Actor, azimuth_deg: float) -> tuple[Spot, float]:
        """Spot and stature of somebody whose sounding part lies in a direction of the grid."""
        anchor = self._rows[actor.slots[0].class_index].anchor
        share, floor = anchor_offset_m(anchor, 1.0), -self._room.listener_m[2]
        low, high = (floor + share * height for height in GRID_HEIGHT_M)
        spot, raised = self._spot_on_grid(rng, azimuth_deg, (low, high))
        return spot, (raised - floor) / share

    def _spot_on_grid(
        self, rng: np.random.Generator, azimuth_deg: float, heights_m: tuple[float, float]
    ) -> tuple[Spot, float]:
        grid, offset = self._settings.doa_grid_deg, self._settings.doa_offset_deg
        if grid is None:
            raise ValueError("these settings have no grid of directions")
        return grid_spot(rng, self._room, azimuth_deg, heights_m, self._settings.distance_m, grid, offset)

    def _live(self, rng: np.random.Generator, walk: Walk, actor: Actor) -> None:
        """Stand during events of standing people, walk during those of walking ones, do either in between.

        The silent do the same, so that moving does not give away who sounds.
        """
        settings = self._settings
        if settings.moving == 0 or settings.doa_grid_deg is not None:
            return
        for slot in sorted(actor.slots, key=lambda slot: slot.start_s):
            self._pass_time(rng, walk, slot.start_s)
            if slot.moving:
                walk.go(rng, slot.end_s, rng.uniform(*SPEED_M_S))
            else:
                walk.stand(slot.end_s)
        self._pass_time(rng, walk, settings.seconds)

    def _pass_time(self, rng: np.random.Generator, walk: Walk, until_s: float) -> None:
        """Stand and walk in turns without a sound until a time; whoever then stands for a moment is there."""
        while until_s - walk.now_s > 2.5:
            walk.stand(walk.now_s + min(rng.uniform(1.0, 8.0), until_s - walk.now_s - 1.0))
            if until_s - walk.now_s > 1.5 and rng.random() < 0.6:
                walk.go(
                    rng, walk.now_s + rng.uniform(1.0, min(5.0, until_s - walk.now_s - 0.3)), rng.uniform(*SPEED_M_S)
                )
        walk.stand(until_s)

    def thing(self, actor: Actor, azimuth_deg: float) -> tuple[Thing, list[Event]]:
        """An object with its place or way and its events."""
        rng = self._named(f"thing {actor.source}")
        name = self._rows[actor.class_index].name
        appearance = sample_thing_appearance(rng, self._plan.split, name)
        moving = any(slot.moving for slot in actor.slots)
        if moving:
            # a thing of the user's own is carried as what it is
            own = self._settings.classes is not None
            appearance["kind"] = appearance["kind"] if own else MOBILE_KINDS[actor.class_index]
        low, high, size_m, where = thing_place(appearance)
        floor = -self._room.listener_m[2]
        height = float(rng.uniform(low, high)) + floor
        if self._settings.doa_grid_deg is not None:
            spot, height = self._spot_on_grid(rng, azimuth_deg, (floor + 0.2, self._room.size_m[2] + floor - 0.2))
            near, far = self._settings.distance_m
        else:
            near, far = radii_m(self._settings.distance_m, height)
            wall = float(wall_distance_m(self._room, azimuth_deg, WALL_THING_M))
            # what hangs at a wall hangs there if the wall is near enough
            beside = where == "wall" and near <= wall <= far
            spot = Spot(azimuth_deg, wall) if beside else free_spot(rng, self._room, azimuth_deg, near, far)
        walk = Walk(self._room, spot, near, far)
        if moving:
            slot = actor.slots[0]
            walk.stand(slot.start_s)
            walk.go(rng, slot.end_s, rng.uniform(*CARRYING_M_S))
            walk.stand(self._settings.seconds)
        centre = walk.trajectory(height)
        events = [
            self._event(slot, actor.source, "object", during(centre, slot.start_s, slot.end_s), str(appearance["kind"]))
            for slot in actor.slots
        ]
        return Thing(actor.source, actor.class_index, name, centre, size_m, appearance), events

    def _event(self, slot: Slot, source: int, anchor: str, path: Trajectory, fits: str) -> Event:
        index, split = slot.class_index, self._plan.split
        rng = self._named(f"sound {source} {slot.start_s!r}")
        files = self._bank.sounds.get((index, split))
        if files:
            sound, made_of = bank_sound(files, self._rows[index].level_db, rng, slot.duration_s)
        else:
            sound, made_of = synthesize(index, rng, split, slot.duration_s, fits=fits)
        return Event(index, self._rows[index].name, slot.start_s, sound, made_of, path, anchor, source)
