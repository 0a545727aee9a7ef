"""Small synthetic sets in the form of MRSAudio: python -m simulation.mrsaudio --out DIR.

One recording is one room in which somebody plays one object after another, standing or walking: 48 kHz first-order
Ambisonics and binaural sound, one HD video, per object a position track at 20 Hz, and one metadata file with start and
stop of each. `python -m dataset prepare mrsaudio` makes a data root of it, as of the real set.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from simulation.labels import active_intervals_s, arrival_s
from simulation.picture import anchor_offset_m, render_video, sample_appearance
from simulation.places import Walk, during, free_spot
from simulation.plan import make_plan
from simulation.render import render
from simulation.scene import Event, Person, Scene
from simulation.set_folder import PARTS, claim, make_all, sweep
from simulation.settings import RATE_HZ, Settings
from simulation.sounds import CLASS_NAMES, sound_class, synthesize
from simulation.streams import stream
from util.audio import write_audio
from util.camera import Equirectangular
from util.cli import run_main
from util.errors import InputError
from util.files import read_json, write_array, write_json
from util.microphone_arrays import array_named
from util.parallel import HERE, Where, add_where, where_of

log = logging.getLogger(__name__)

RECORDING_RATE_HZ = 48000
TRACK_HZ = 20
METADATA = "_audio_metadata_all_split_with_prompt.json"
VERSION = 1  # of the generator: raised when the same settings give other bytes
PAUSE_S = (0.6, 1.5)  # between two objects
LONGEST_S = 3.0
DISTANCE_M = (1.0, 3.0)
SPEED_M_S = (0.4, 0.9)
HEIGHT_M = (1.55, 1.9)
# Object of MRSAudio -> class of the simulator's sounds and the kind among them that stands for it: the nearest there
# is. They share the class's name with the object, not its timbre.
STANDS_FOR = {
    "toy_car": (5, "blender"), "maracas": (2, ""), "handbell": (11, "hand_bell"), "stickbell": (11, "hand_bell"),
    "gong": (11, "wall_bell"), "Rattle": (2, ""), "slitdrum": (9, "drum"), "woodenshaker": (2, ""),
    "clash_cymbals": (11, "wall_bell"), "woodenclapper": (12, ""), "chinesecymbals": (11, "wall_bell"),
    "rainstick": (10, ""), "triangle": (11, "desk_bell"), "woodenfish": (12, ""), "tambourine": (9, "drum"),
    "bell": (11, "desk_bell"), "doubletoneblock": (12, ""), "WoodenClapper": (12, ""), "Claves": (12, ""),
    "whistle": (3, "wall_phone"), "birdwhistle": (3, "mobile_phone"), "squeakingrubberchicken": (4, "female"),
    "clap": (2, ""), "rotatingclapperboard": (12, ""), "thundertube": (9, "drum"), "fanwithpaper": (5, "kettle"),
    "hairdryer": (5, "vacuum"), "Cheerclappers": (2, ""), "Tear_off_tape": (5, "microwave"),
    "toy_train": (5, "blender"), "MultiPitchPercussionTube": (9, "keyboard"),
}  # fmt: skip


@dataclass(frozen=True)
class MrsSettings:
    """Everything that decides the bytes of a set.

    Attributes
    ----------
    recordings : rooms, one recording in each
    items : objects played in a recording
    moving : share of the items during which the player walks
    width, height, fps : of the video
    rt60_s : lowest and highest reverberation time
    """

    seed: int = 0
    recordings: int = 3
    items: int = 4
    moving: float = 0.5
    video: bool = True
    width: int = 1920
    height: int = 1080
    fps: str = "30000/1001"
    rt60_s: tuple[float, float] = (0.2, 0.5)

    def scenes(self) -> Settings:
        """The simulator's settings that give the rooms.

        Raises
        ------
        InputError : something is asked for that cannot be
        """
        if self.recordings < 1 or self.items < 1:
            raise InputError("--recordings and --items must be at least 1")
        settings = Settings(
            seed=self.seed, train=self.recordings, test=0, train_rooms=self.recordings, moving=self.moving,
            width=self.width, height=self.height, fps=self.fps, rt60_s=self.rt60_s,
        )  # fmt: skip
        settings.check()
        return settings


@dataclass(frozen=True)
class Take:
    """One object played in a recording.

    Attributes
    ----------
    item_name : "sound003_toy_car2_01_02_03": the class is its middle part, digits 1 to 5 are no part of it
    start_s, stop_s : from the arrival of its first sound at the listener to that of its last, in whole milliseconds
    track : (n, 4) x, y, z of the hands in metres at 20 Hz from `start_s` on, and the time since then
    """

    item_name: str
    start_s: float
    stop_s: float
    track: np.ndarray


def compose_recording(settings: MrsSettings, number: int) -> tuple[Scene, list[Take]]:
    """The scene of a recording and what is played in it; a function of its arguments alone."""
    plan = make_plan(settings.scenes())[number]

    def named(purpose: str) -> np.random.Generator:
        return stream(settings.seed, "mrsaudio", number, purpose)

    rng, room = named("takes"), plan.room
    height_m = float(rng.uniform(*HEIGHT_M))
    lift_m, floor_m = anchor_offset_m("hands", height_m), -room.listener_m[2]
    walk = Walk(room, free_spot(rng, room, rng.uniform(-180, 180), *DISTANCE_M), *DISTANCE_M)
    # one order for the whole set: no object comes twice before each has come
    order = stream(settings.seed, "mrsaudio", "objects").permutation(sorted(STANDS_FOR))
    played = []
    for index in range(settings.items):
        take = number * settings.items + index
        name = str(order[take % len(order)])
        walk.stand(walk.now_s + rng.uniform(*PAUSE_S))
        class_index, kind = STANDS_FOR[name]
        low, high = sound_class(class_index).duration_s
        duration_s = float(rng.uniform(low, min(high, LONGEST_S)))
        sound, made_of = synthesize(class_index, named(f"sound {index}"), "train", duration_s, fits=kind)
        sound = soxr.resample(sound, RATE_HZ, RECORDING_RATE_HZ, quality="HQ").astype(np.float32)
        start_s, end_s = walk.now_s, walk.now_s + len(sound) / RECORDING_RATE_HZ
        if rng.random() < settings.moving:
            walk.go(rng, end_s, rng.uniform(*SPEED_M_S))
        walk.stand(end_s)
        item_name = f"sound{take:03d}_{name}{1 + take % 5}_{number:02d}_{index:02d}_{take:02d}"
        played.append((item_name, class_index, start_s, end_s, sound, made_of))
    duration_s = math.ceil(walk.now_s + PAUSE_S[0])
    walk.stand(duration_s)
    feet = walk.trajectory(floor_m)
    events = tuple(
        Event(
            class_index, CLASS_NAMES[class_index], start_s, sound, made_of,
            during(feet, start_s, end_s, lift_m), "hands", 0,
        )
        for _, class_index, start_s, end_s, sound, made_of in played
    )  # fmt: skip
    person = Person(0, feet, height_m, sample_appearance(named("person"), "train"))
    scene = Scene(
        name=f"202401{number + 1:02d}", split="train", seed=int(named("rendering").integers(1 << 31)),
        duration_s=float(duration_s), rate_hz=RECORDING_RATE_HZ, room=room, events=events, people=(person,), things=(),
        noise_db=30.0, background=plan.background,
    )  # fmt: skip
    return scene, [_take(event, name) for event, (name, *_) in zip(events, played)]


def _take(event: Event, item_name: str) -> Take:
    """Where an event is from its first to its last direct sound."""
    sounding = active_intervals_s(event.sound, RECORDING_RATE_HZ)
    heard = arrival_s(event, event.start_s + sounding[[0, -1], [0, 1]])
    start_s, stop_s = (round(float(time_s), 3) for time_s in heard)
    times_s = np.arange(math.ceil((stop_s - start_s) * TRACK_HZ)) / TRACK_HZ
    return Take(item_name, start_s, stop_s, np.column_stack([event.trajectory.at(start_s + times_s), times_s]))


def write_set(
    out: str | os.PathLike[str], settings: MrsSettings, *, where: Where = HERE, progress: bool = True
) -> Path:
    """Make a set, or what an interrupted call with the same settings left to do; returns its metadata file.

    Raises
    ------
    InputError : bad settings, `out` holds something else or a set with other settings, the disk is full
    """
    settings.scenes()
    root = Path(out)
    claim(root, {"version": VERSION, "form": "mrsaudio", **asdict(settings)})
    sweep(root)
    numbers = range(settings.recordings)
    todo = [number for number in numbers if not _part(root, number).is_file()]
    make = partial(_make_recording, root.absolute(), settings)
    make_all(make, todo, where=where, progress=progress, name="recording {}".format)
    entries: dict[str, Any] = {}
    for number in numbers:
        for entry in read_json(_part(root, number)):
            entries[str(len(entries))] = entry
    write_json(root / METADATA, entries)
    return root / METADATA


def _part(root: Path, number: int) -> Path:
    return root / PARTS / f"recording{number:03d}.json"


def _make_recording(root: Path, settings: MrsSettings, number: int) -> None:
    """Write sound, video and tracks of a recording; its metadata entries last: where they are, it is whole."""
    scene, takes = compose_recording(settings, number)
    files = {
        "foa_fn": f"MRSSound/audio_foa/{scene.name}/all.wav",
        "wav_fn": f"MRSSound/audio/{scene.name}/all.wav",
    }
    waveforms = render(scene, [array_named("foa"), array_named("binaural")])
    for name, path in zip(("foa", "binaural"), files.values()):
        write_audio(root / path, waveforms[name], RECORDING_RATE_HZ, subtype="PCM_24")
    if settings.video:
        files["vid_fn"] = f"MRSSound/video/{scene.name}.mp4"
        camera = Equirectangular(settings.width, settings.height)
        render_video(scene, root / files["vid_fn"], camera=camera, fps=Fraction(settings.fps))
    entries = []
    for take in takes:
        track = f"MRSSound/audio_pos/{scene.name}/{take.item_name}.npy"
        write_array(root / track, take.track)
        entries.append(
            {"item_name": take.item_name, "start": take.start_s, "stop": take.stop_s}
            | {key: f"./Spatial/MRSAudio/{path}" for key, path in (files | {"pos_fn": track}).items()}
        )
    write_json(_part(root, number), entries)


def parser() -> argparse.ArgumentParser:
    """The options."""
    d = MrsSettings()
    command = argparse.ArgumentParser(
        prog="python -m simulation.mrsaudio",
        description="Make a small synthetic set in the form of MRSAudio, to try `python -m dataset prepare mrsaudio`: "
        "48 kHz FOA and binaural sound, HD 360-degree video, position tracks and one metadata file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = command.add_argument
    add("--out", required=True, metavar="DIR", help="folder of the set: new, empty, or begun before")
    add("--recordings", type=int, default=d.recordings, metavar="N", help="recordings, each in a room of its own")
    add("--items", type=int, default=d.items, metavar="N", help="objects played in a recording")
    add("--moving", type=float, default=d.moving, metavar="SHARE", help="share of the items played while walking")
    add("--no-video", action="store_true", help="sound and tracks only")
    add("--width", type=int, default=d.width, metavar="PX", help="of the video")
    add("--height", type=int, default=d.height, metavar="PX", help="of the video")
    add("--fps", default=d.fps, metavar="RATE", help="frames per second, a number or a fraction")
    add("--seed", type=int, default=d.seed, help="same seed, same bytes")
    add_where(command, also=["--processes"], what="recordings")
    add("--quiet", action="store_true", help="no progress bar")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = parser().parse_args(argv)
    settings = MrsSettings(
        seed=args.seed,
        recordings=args.recordings,
        items=args.items,
        moving=args.moving,
        video=not args.no_video,
        width=args.width,
        height=args.height,
        fps=args.fps,
    )
    metadata = write_set(args.out, settings, where=where_of(args), progress=not args.quiet)
    log.info("%s: %d recordings of %d items", metadata, settings.recordings, settings.items)
    log.info("next: python -m dataset prepare mrsaudio --metadata %s --source %s --out data_mrsaudio_synthetic",
             metadata, args.out)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
