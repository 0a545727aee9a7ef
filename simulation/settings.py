"""The settings of a synthetic data set, and which of them cannot be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any

from dataset import stereo
from dataset.layouts import LAYOUTS, Layout
from simulation.sounds import SoundClass, sound_classes
from util.camera import Camera, Equirectangular, Perspective
from util.errors import InputError
from util.microphone_arrays import ARRAYS, array_named

WALL_MARGIN_M = 0.35  # nearer to a wall nobody stands
LISTENER_OFF_CENTRE = 0.1  # share of the room's length and width
LISTENER_HEIGHT_M = (1.2, 1.6)
RATE_HZ = 24000


@dataclass(frozen=True)
class SceneLayout:
    """A layout of scenes with pictures.

    Attributes
    ----------
    real : how large the data set is
    defaults : settings that are others than those of STARSS23
    suffix : of the names of its clips
    """

    real: str
    defaults: dict[str, Any] = field(default_factory=dict)
    suffix: str = ""


SCENES = {
    "starss23": SceneLayout("168 recordings of 30 s to 9 min, 7.5 h"),
    "starss22": SceneLayout("121 recordings", {"formats": ("foa", "mic"), "video": False}),
    "dcase2024": SceneLayout("STARSS23 and synthetic recordings", {"formats": ("foa", "mic")}),
    "stereo2025": SceneLayout(
        "30,000 clips of 5 s",
        {
            "formats": ("stereo",),
            "seconds": stereo.CLIP_S,
            "train": 48,
            "test": 16,
            "view": "perspective",
            "width": stereo.WIDTH,
            "height": stereo.HEIGHT,
            "fov_deg": stereo.FOV_DEG,
        },
        suffix="_deg000_start0000",
    ),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides the bytes of a data set; see `python -m simulation --help` for what each means.

    Ranges are (lowest, highest). `layout` is a key of SCENES. Paths of banks are kept as text, as they were given.
    `classes` are the names of a user's own classes, all of which the sound bank has recordings of; None: those of
    STARSS23.
    """

    seed: int = 0
    train: int = 24
    test: int = 8
    seconds: float = 30.0
    formats: tuple[str, ...] = ("foa", "mic", "binaural")
    video: bool = True
    view: str = "equirectangular"
    width: int = 960
    height: int = 480
    fps: str = "10"
    fov_deg: float = 100.0
    yaw_deg: float = 0.0
    train_rooms: int = 6
    test_rooms: int = 2
    room_m: tuple[float, float] = (4.5, 9.0)
    room_height_m: tuple[float, float] = (2.5, 3.5)
    rt60_s: tuple[float, float] = (0.2, 0.6)
    noise_db: tuple[float, float] = (20.0, 30.0)
    overlap: int = 3
    polyphony: float = 1.4
    same_class: float = 0.25
    moving: float = 0.3
    distance_m: tuple[float, float] = (1.0, 4.0)
    doa_grid_deg: float | None = None
    doa_offset_deg: float = 0.0
    sound_bank: str | None = None
    image_bank: str | None = None
    allow_few: bool = False
    classes: tuple[str, ...] | None = None
    layout: str = "starss23"

    @classmethod
    def of(cls, layout: str) -> Settings:
        """The defaults of a layout.

        Raises
        ------
        KeyError : there are no scenes of this layout
        """
        return cls(layout=layout, **SCENES[layout].defaults)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for json; `classes` only where they are the user's own, `layout` where it is not STARSS23's."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        unsaid = {"classes": None, "layout": "starss23"}
        return {key: value for key, value in values.items() if key not in unsaid or value != unsaid[key]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Inverse of `to_dict`, also after a round through json.

        Raises
        ------
        InputError : a setting is missing or unknown
        """
        known = {one.name for one in fields(cls)}
        wrong = (values.keys() | {"classes", "layout"}) ^ known
        if wrong:
            raise InputError(f"settings missing or unknown: {', '.join(sorted(wrong))}")
        given: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
        return cls(**given)

    @property
    def frames_per_second(self) -> Fraction:
        """Frame rate of the video: "10", "29.97" or "30000/1001"."""
        return Fraction(self.fps)

    @property
    def camera(self) -> Camera:
        """The camera of the video."""
        if self.view == "perspective":
            return Perspective(self.width, self.height, self.fov_deg, self.yaw_deg)
        return Equirectangular(self.width, self.height)

    @property
    def sound_classes(self) -> tuple[SoundClass, ...]:
        """What is known of each class."""
        return sound_classes(self.classes)

    @property
    def facts(self) -> Layout:
        """What readers know of the layout: formats, dialect, edition."""
        return LAYOUTS[self.layout]

    def clips(self, split: str) -> int:
        """Number of clips of a split."""
        return self.train if split == "train" else self.test

    def rooms(self, split: str) -> int:
        """Number of rooms of a split: never more than it has clips."""
        return min(self.clips(split), self.train_rooms if split == "train" else self.test_rooms)

    def check(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        InputError : with the option at fault
        """
        for name in ("room_m", "room_height_m", "rt60_s", "noise_db", "distance_m"):
            low, high = getattr(self, name)
            option = _option(name)
            if not (math.isfinite(low) and math.isfinite(high)) or low > high:
                raise InputError(f"{option} must be LOW HIGH with LOW <= HIGH, got {low:g} {high:g}")
            if low <= 0 and name != "noise_db":
                raise InputError(f"{option} must be positive, got {low:g}")
        rules = (
            (
                self.train >= 0 and self.test >= 0 and self.train + self.test > 0,
                "--train and --test: at least one clip",
            ),
            (1.0 <= self.seconds <= 600.0, f"--seconds must be between 1 and 600, got {self.seconds:g}"),
            (bool(self.formats), "--formats names no array"),
            (len(set(self.formats)) == len(self.formats), "--formats names an array twice"),
            (1 <= self.overlap <= 8, f"--overlap must be between 1 and 8, got {self.overlap}"),
            (
                0 < self.polyphony <= 0.8 * self.overlap,
                f"--polyphony is above 0, at most 0.8 x --overlap: {0.8 * self.overlap:g}, got {self.polyphony:g}",
            ),
            (0 <= self.moving <= 1, f"--moving is a share between 0 and 1, got {self.moving:g}"),
            (0 <= self.same_class <= 1, f"--same-class is a share between 0 and 1, got {self.same_class:g}"),
            (self.train_rooms >= 1 and self.test_rooms >= 1, "--train-rooms and --test-rooms must be at least 1"),
            (self.view in ("equirectangular", "perspective"), f"--view: unknown view '{self.view}'"),
            (
                16 <= self.width <= 4096 and 16 <= self.height <= 2048 and self.width % 2 == self.height % 2 == 0,
                f"--width and --height must be even, 16 to 4096 and 2048, got {self.width} x {self.height}",
            ),
            (10 <= self.fov_deg <= 170, f"--fov must be between 10 and 170 degrees, got {self.fov_deg:g}"),
            (
                self.doa_grid_deg is None or 1 <= self.doa_grid_deg <= 90,
                f"--doa-grid must be between 1 and 90 degrees, got {self.doa_grid_deg}",
            ),
        )
        for holds, message in rules:
            if not holds:
                raise InputError(message)
        for name in self.formats:
            array_named(name)
            if name not in known_formats(self.layout):
                known = f"layout {self.layout} has no {name}; known are {', '.join(known_formats(self.layout))}"
                raise InputError(f"--formats: {known}" + ("; --layout stereo2025 has" if name == "stereo" else ""))
        if self.layout == "stereo2025" and (self.yaw_deg or self.view != "perspective"):
            raise InputError("--view and --yaw: the stereo pair of stereo2025 hears what its camera sees, to the front")
        try:
            rate = self.frames_per_second
        except (ValueError, ZeroDivisionError):
            raise InputError(f"--fps must be a number or a fraction such as 30000/1001, got '{self.fps}'") from None
        if not 1 <= rate <= 120:
            raise InputError(f"--fps must be between 1 and 120, got {self.fps}")
        self._check_space()

    def _check_space(self) -> None:
        """Somebody must be able to stand in the smallest room at the asked distances."""
        near, far = self.distance_m
        widest = (0.5 - LISTENER_OFF_CENTRE) * self.room_m[0] - WALL_MARGIN_M
        if widest < near + 0.1:
            needed = (near + 0.1 + WALL_MARGIN_M) / (0.5 - LISTENER_OFF_CENTRE)
            raise InputError(
                f"impossible room: {self.room_m[0]:g} m wide leaves no place {near:g} m from the listener; --room-size "
                f"must start at {needed:.1f} m or --distance nearer"
            )
        if self.room_height_m[0] < 2.2:
            raise InputError(f"impossible room: --room-height must be at least 2.2 m, got {self.room_height_m[0]:g} m")
        if math.sqrt(max(far**2 - LISTENER_HEIGHT_M[1] ** 2, 0.0)) < near + 0.1:
            needed = math.hypot(near + 0.1, LISTENER_HEIGHT_M[1])
            raise InputError(
                f"--distance {near:g} {far:g}: feet on the floor are farther away than that; the farthest must be at "
                f"least {needed:.2f} m"
            )


def known_formats(layout: str) -> tuple[str, ...]:
    """Arrays that may record a layout: its own; scenes as of STARSS23 any but the pair, whose labels are others."""
    if layout == "starss23":
        return tuple(name for name in ARRAYS if name != "stereo")
    return LAYOUTS[layout].formats


def _option(name: str) -> str:
    """Setting -> the option that sets it."""
    return {"room_m": "--room-size"}.get(name, "--" + name.rsplit("_", 1)[0].replace("_", "-"))
