"""Arrays: what the channels of a recording are. Simulator, channel pairs and channel swaps derive from this table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from util.angles import direction_from_degrees
from util.errors import InputError

SPEED_OF_SOUND_M_S = 343.0


@dataclass(frozen=True)
class Array:
    """A receiver.

    Attributes
    ----------
    name : "foa", "mic", "binaural" or a name of one's own
    kind : "ambisonics" (first order, ACN order W, Y, Z, X, SN3D), "capsules", or "cardioids" at one point, each of gain
        1 + cos(angle between the sound and where it looks)
    capsules_deg : (azimuth, elevation) of each capsule, or where a cardioid looks, in degrees; empty for ambisonics
    radius_m : radius of the sphere or circle that carries the capsules
    baffle : "rigid" (a sphere of that radius) or "open" (omnidirectional capsules in the free field)
    radii_m : of each capsule of an open array whose capsules lie at different distances; empty: all at `radius_m`
    """

    name: str
    kind: str
    capsules_deg: tuple[tuple[float, float], ...] = ()
    radius_m: float = 0.0
    baffle: str = "open"
    radii_m: tuple[float, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 4 if self.kind == "ambisonics" else len(self.capsules_deg)

    @property
    def localises(self) -> bool:
        """Whether directions can be told from its channels alone, all round: not of cardioids or of one capsule."""
        return self.kind == "ambisonics" or (self.kind == "capsules" and self.channels > 1)

    def directions(self) -> np.ndarray:
        """Unit vectors of the capsules (channels, 3)."""
        angles = np.array(self.capsules_deg, dtype=np.float64).reshape(-1, 2)
        return direction_from_degrees(angles[:, 0], angles[:, 1])

    def positions_m(self) -> np.ndarray:
        """Where the capsules are (channels, 3): x to the front, y to the left, z up."""
        radii_m = self.radii_m or (self.radius_m,) * len(self.capsules_deg)
        return self.directions() * np.array(radii_m, dtype=np.float64).reshape(-1, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and json."""
        values = asdict(self)
        if not self.radii_m:
            del values["radii_m"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Array:
        """Inverse of `to_dict`, also after a round through json."""
        capsules = tuple((float(azimuth), float(elevation)) for azimuth, elevation in values["capsules_deg"])
        return cls(**{**values, "capsules_deg": capsules, "radii_m": tuple(map(float, values.get("radii_m", ())))})


ARRAYS = {
    array.name: array
    for array in (
        Array("foa", "ambisonics"),
        # STARSS23: four Eigenmike capsules on a rigid sphere
        Array("mic", "capsules", ((45, 35), (-45, -35), (135, -35), (-135, 35)), 0.042, "rigid"),
        # a rigid-sphere head with ears a little behind the middle (Duda and Martens 1998 use 100 degrees)
        Array("binaural", "capsules", ((100, 0), (-100, 0)), 0.0875, "rigid"),
        # eight omnidirectional capsules on a horizontal circle, as in TUT-CANSIM and CRESIM 2018
        Array(
            "circular8",
            "capsules",
            ((0, 0), (45, 0), (90, 0), (135, 0), (-180, 0), (-135, 0), (-90, 0), (-45, 0)),
            0.05,
        ),
        # DCASE2025: left W + Y, right W - Y of first-order Ambisonics
        Array("stereo", "cardioids", ((90, 0), (-90, 0))),
        Array("mono", "capsules", ((0, 0),)),  # hears all directions alike
    )
}

# names of arrays by the flag --format
ARRAY_OF_FORMAT = {"foa": "foa", "mic": "mic", "bin": "binaural", "stereo": "stereo", "mono": "mono"}
FLAG_OF_ARRAY = {array: flag for flag, array in ARRAY_OF_FORMAT.items()}


def array_named(name: str) -> Array:
    """The array of that name.

    Raises
    ------
    InputError : there is none
    """
    if name not in ARRAYS:
        raise InputError(f"unknown array '{name}'; known are {', '.join(ARRAYS)}")
    return ARRAYS[name]


def array_of_flag(format: str | None) -> Array | None:
    """The array that --format names; None where it is not given."""
    return None if format is None else ARRAYS[ARRAY_OF_FORMAT[format]]
