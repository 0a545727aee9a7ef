"""What a scene is: plain values that sound, picture and labels are all made from.

World axes are those of `util.angles` (x front, y left, z up), in metres, origin at the listener: array and camera are
one point. The floor is at z = -listener height.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Room:
    """A shoebox room.

    Attributes
    ----------
    name : unique over the data set ("room7"); a room belongs to one split
    size_m : length (x), width (y), height (z)
    listener_m : position of the listener from the corner with the smallest coordinates
    rt60_s : asked reverberation time at mid frequencies
    absorption : energy absorption of the walls per octave band of `bands_hz`
    bands_hz : centres of the octave bands
    """

    name: str
    size_m: tuple[float, float, float]
    listener_m: tuple[float, float, float]
    rt60_s: float
    absorption: tuple[float, ...] = ()
    bands_hz: tuple[float, ...] = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)


@dataclass(frozen=True)
class Trajectory:
    """A path: positions at given times, linear between them, constant before the first and after the last.

    Attributes
    ----------
    time_s : (n,) ascending
    position_m : (n, 3)
    """

    time_s: np.ndarray
    position_m: np.ndarray

    def at(self, time_s: np.ndarray | float) -> np.ndarray:
        """Times (...) in seconds -> positions (..., 3) in metres."""
        time_s = np.asarray(time_s, dtype=np.float64)
        return np.stack([np.interp(time_s, self.time_s, self.position_m[:, axis]) for axis in range(3)], axis=-1)

    @property
    def moving(self) -> bool:
        """Whether it leaves its first position."""
        return bool(np.ptp(self.position_m, axis=0).max() > 1e-6)


@dataclass(frozen=True)
class Event:
    """One sound event.

    Attributes
    ----------
    start_s : when the source begins to emit
    sound : dry mono waveform (samples,), float32, at the scene's rate, at its emitted level (1 m)
    made_of : what the sound is: {"sha256": ...} of a file or {"generator": ..., parameters}
    trajectory : path of the sounding point (mouth, hands, feet, object) over scene time
    anchor : "mouth", "hands", "feet" for events of a person, "object" otherwise
    source : number of the source in the scene: one per person or object, not one per event
    """

    class_index: int
    class_name: str
    start_s: float
    sound: np.ndarray
    made_of: dict
    trajectory: Trajectory
    anchor: str
    source: int


@dataclass(frozen=True)
class Person:
    """Somebody in the picture, sounding or not.

    Attributes
    ----------
    source : the number that this person's events carry
    feet : path of the point on the floor below the body
    height_m : body height
    appearance : what the person is drawn from: {"seed": ..., clothes...} or {"photo": path, "sha256": ...}
    """

    source: int
    feet: Trajectory
    height_m: float
    appearance: dict


@dataclass(frozen=True)
class Thing:
    """An object in the picture that makes the sounds of a class (telephone, door, tap, bell ...)."""

    source: int
    class_index: int
    class_name: str
    centre: Trajectory
    size_m: float
    appearance: dict


@dataclass(frozen=True)
class Scene:
    """One clip.

    Attributes
    ----------
    name : stem of its files, "fold3_room1_mix001"
    split : "train" or "test"
    seed : of everything random in the clip's rendering
    noise_db : level of the diffuse ambient noise below the events' mean level at the listener (positive number)
    background : what the room's walls and floor look like
    """

    name: str
    split: str
    seed: int
    duration_s: float
    rate_hz: int
    room: Room
    events: tuple[Event, ...]
    people: tuple[Person, ...]
    things: tuple[Thing, ...]
    noise_db: float
    background: dict = field(default_factory=dict)
