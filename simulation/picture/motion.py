"""What people and things do at a time, in step with the sounds of their events."""

from __future__ import annotations

import numpy as np
from scipy.signal import find_peaks

from simulation.picture.people import WALK_PHASES, Pose
from simulation.picture.things import OPENINGS, STEPS
from simulation.scene import Event, Person, Room, Scene, Thing

ENVELOPE_HZ = 50
WALKING_MPS = 0.15
VIEW_STEP_DEG = 15.0
GESTURE_HZ = 0.7
GESTURE_STEPS = 8
NEAR_WALL_M = 0.35


class _EventMotion:
    """Envelope and onsets of one event's sound, for lips, hands and feet."""

    def __init__(self, event: Event, rate_hz: int):
        self.event = event
        hop = max(rate_hz // ENVELOPE_HZ, 1)
        count = len(event.sound) // hop
        power = np.square(event.sound[: count * hop], dtype=np.float64).reshape(count, hop).mean(axis=1)
        self.start_s, self.end_s = event.start_s, event.start_s + len(event.sound) / rate_hz
        level = np.sqrt(power)
        smooth = np.convolve(level, [0.25, 0.5, 0.25], mode="same") if count >= 3 else level
        self.level = smooth / max(float(np.quantile(smooth, 0.95)), 1e-12) if count else np.zeros(1)
        peaks, _ = find_peaks(np.pad(self.level, 1), height=0.35, distance=max(ENVELOPE_HZ // 8, 1))
        self.onset_s = self.start_s + (peaks - 1) / ENVELOPE_HZ

    def active(self, time_s: float) -> bool:
        return self.start_s <= time_s < self.end_s

    def level_at(self, time_s: float) -> float:
        index = int((time_s - self.start_s) * ENVELOPE_HZ)
        return float(self.level[np.clip(index, 0, len(self.level) - 1)])


class PersonMotion:
    """Where a person stands, which way the body faces and what it does, as functions of time."""

    def __init__(self, person: Person, scene: Scene):
        self.person = person
        own = [event for event in scene.events if event.source == person.source and event.anchor != "object"]
        self.events = [_EventMotion(event, scene.rate_hz) for event in own]
        path = np.asarray(person.feet.position_m, dtype=np.float64)[:, :2]
        self.walked_m = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        self.moving = person.feet.moving
        self.speaks = any(motion.event.anchor in ("mouth", "hands") for motion in self.events)

    def feet_at(self, time_s: float) -> np.ndarray:
        """(3,) metres."""
        return self.person.feet.at(time_s)

    def _velocity(self, time_s: float, half_s: float) -> np.ndarray:
        ends = self.person.feet.at(np.array([time_s - half_s, time_s + half_s]))
        return (ends[1] - ends[0])[:2] / (2 * half_s)

    def _active(self, time_s: float, anchor: str) -> _EventMotion | None:
        return next((m for m in self.events if m.event.anchor == anchor and m.active(time_s)), None)

    def pose_at(self, time_s: float) -> tuple[Pose, float]:
        """The pose, and the body's angle from the way to the listener (degrees, counter-clockwise, in steps)."""
        feet = self.feet_at(time_s)
        towards_deg = np.degrees(np.arctan2(-feet[1], -feet[0]))
        facing = float(self.person.appearance.get("facing_deg", 0.0))
        if self.speaks:
            facing *= 0.5
        name, step, mouth = str(self.person.appearance.get("idle", "relaxed")), 0, 0
        steps = self._active(time_s, "feet")
        if self.moving:
            velocity = self._velocity(time_s, 0.06)
            walking = float(np.hypot(*velocity)) > WALKING_MPS
            wide = self._velocity(time_s, 0.3)
            if walking:
                turn = np.degrees(np.arctan2(wide[1], wide[0])) - towards_deg
                facing = float(np.mod(turn + 180.0, 360.0) - 180.0)
                name, step = "walk", self._stride(time_s, steps)
        if name != "walk" and steps is not None:
            name, step = "march", self._stride(time_s, steps)
        hands, voice = self._active(time_s, "hands"), self._active(time_s, "mouth")
        if name not in ("walk", "march"):
            if hands is not None:
                gap_s = float(np.abs(hands.onset_s - time_s).min()) if len(hands.onset_s) else 1.0
                name, step = "clap", int(np.searchsorted([0.045, 0.09, 0.14], gap_s))
            elif voice is not None:
                name = "laugh" if "laugh" in voice.event.class_name.lower() else "talk"
                step = int(time_s * GESTURE_HZ * GESTURE_STEPS) % GESTURE_STEPS
        if voice is not None:
            mouth = int(np.searchsorted([0.18, 0.6], voice.level_at(time_s)))
        return Pose(name, step, mouth), float(np.round(facing / VIEW_STEP_DEG) * VIEW_STEP_DEG)

    def _stride(self, time_s: float, steps: _EventMotion | None) -> int:
        """Phase of the legs: by the sound's steps while they sound (a heel lands on each), else by the way walked."""
        if steps is not None and len(steps.onset_s) >= 2:
            half = float(np.interp(time_s, steps.onset_s, np.arange(len(steps.onset_s))))
            cycle = 0.25 + half / 2
        else:
            walked = float(np.interp(time_s, self.person.feet.time_s, self.walked_m))
            cycle = walked / (0.82 * self.person.height_m)
            if not self.moving:
                cycle = time_s * 0.9
        return int(np.floor(cycle * WALK_PHASES)) % WALK_PHASES


def wall_normal_deg(thing: Thing, room: Room) -> float | None:
    """Azimuth of the inward normal of the wall that a thing is close to, None where it stands free."""
    place = thing.centre.position_m[0, :2]
    low = -np.array(room.listener_m)[:2]
    gaps = np.concatenate([place - low, low + np.array(room.size_m)[:2] - place])
    nearest = int(gaps.argmin())
    return (0.0, 90.0, 180.0, -90.0)[nearest] if gaps[nearest] < NEAR_WALL_M else None


class ThingMotion:
    """Where a thing is and what it does, as functions of time."""

    def __init__(self, thing: Thing, scene: Scene):
        self.thing = thing
        self.events = [_EventMotion(event, scene.rate_hz) for event in scene.events if event.source == thing.source]
        centre = thing.centre.position_m[0]
        normal_deg = wall_normal_deg(thing, scene.room) if not thing.centre.moving else None
        self.at_wall = normal_deg is not None
        if self.at_wall:
            # What hangs at a wall is parallel to it; what is seen too much from the side is turned a little.
            turn = normal_deg - np.degrees(np.arctan2(-centre[1], -centre[0]))
            self.view_deg = float(np.clip(np.mod(turn + 180, 360) - 180, -65, 65))
        else:
            # Turned a little away from the listener, so that it is seen to be a solid.
            rng = np.random.default_rng(int(thing.appearance.get("seed", 0)))
            self.view_deg = float(np.round(rng.uniform(-28, 28)))

    def centre_at(self, time_s: float) -> np.ndarray:
        """(3,) metres."""
        return self.thing.centre.at(time_s)

    def state_at(self, time_s: float) -> tuple[bool, int, int]:
        """Whether it sounds, the step of its movement, how far a door is open (0 to OPENINGS - 1)."""
        event = next((m for m in self.events if m.active(time_s)), None)
        if event is None:
            return False, 0, 0
        share = (time_s - event.start_s) / max(event.end_s - event.start_s, 1e-3)
        opening = round((OPENINGS - 1) * np.sin(np.pi * share) ** 0.7)
        if "knock" in event.event.class_name.lower():
            near_s = float(np.abs(event.onset_s - time_s).min()) if len(event.onset_s) else 1.0
            return True, int(near_s < 0.06), 0
        is_door = str(self.thing.appearance.get("kind")) == "door"
        return True, 0 if is_door else int(time_s * 10 + 0.5) % STEPS, opening if is_door else 0
