"""Command line of the simulator: python -m simulation --out DIR."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from dataset.layouts import LAYOUTS
from simulation.bank import own_classes
from simulation.dataset_writer import Summary, write_dataset
from simulation.settings import SCENES, Settings, known_formats
from simulation.tut_tau import command
from simulation.tut_tau.layouts import LAYOUTS as SETS
from simulation.tut_tau.layouts import layout_named
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import SetSummary, write_set
from util.cli import run_main
from util.errors import InputError
from util.parallel import add_where, where_of

log = logging.getLogger(__name__)
STARSS23 = "starss23"


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults in the help, except where there is none to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, True, argparse.SUPPRESS):
            return action.help
        return super()._get_help_string(action)


def parser(layout: str = STARSS23) -> argparse.ArgumentParser:
    """The options, grouped by what they are about, with the defaults of a layout."""
    options = argparse.ArgumentParser(
        prog="python -m simulation",
        description="Make a synthetic audio-visual data set with exact labels, in the layout of "
        f"{LAYOUTS[layout].title}: rooms with "
        "echoes, people who speak, clap, laugh and walk, objects that ring, knock and play, recorded by several arrays "
        "and a 360-degree camera at one point. An interrupted run continues where it stopped when called again.",
        epilog="Example: python -m simulation --out data_synthetic --train 24 --test 8 --seconds 30",
        formatter_class=_Formatter,
    )
    d = Settings.of(layout)
    group = options.add_argument_group("what to make")
    group.add_argument(
        "--layout",
        default=layout,
        metavar="NAME",
        help="scenes with pictures: "
        + "; ".join(f"{name} (the real one: {row.real})" for name, row in SCENES.items())
        + f". Without: {', '.join(SETS)}; those have options of their own: --layout resim --help",
    )
    group.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the data set: new, empty, or begun before"
    )
    group.add_argument("--train", type=int, default=d.train, metavar="N", help="training clips (fold3, dev-train-sim)")
    group.add_argument("--test", type=int, default=d.test, metavar="N", help="test clips (fold4, dev-test-sim)")
    group.add_argument("--seconds", type=float, default=d.seconds, metavar="S", help="length of a clip")
    group.add_argument(
        "--formats",
        default=",".join(d.formats),
        metavar="A,B",
        help=f"arrays that record every clip, of {', '.join(known_formats(layout))}",
    )
    group.add_argument(
        "--seed", type=int, default=d.seed, help="everything random derives from it: same seed, same bytes"
    )
    add_where(group, also=["--processes"])
    group.add_argument("--quiet", action="store_true", help="no progress bar")

    group = options.add_argument_group("scenes")
    group.add_argument(
        "--overlap",
        type=int,
        default=d.overlap,
        metavar="N",
        help="most events at one time; STARSS23 mostly has up to 3",
    )
    group.add_argument(
        "--polyphony",
        type=float,
        default=d.polyphony,
        metavar="X",
        help="mean number of events at one time; decides how many events a clip gets",
    )
    group.add_argument(
        "--same-class",
        type=float,
        default=d.same_class,
        metavar="SHARE",
        help="share of the clips in which two events of one class should sound at once (what Multi-ACCDOA is for)",
    )
    group.add_argument(
        "--moving",
        type=float,
        default=d.moving,
        metavar="SHARE",
        help="share of the events whose source moves; footsteps first",
    )
    group.add_argument(
        "--distance",
        type=float,
        nargs=2,
        default=d.distance_m,
        metavar=("NEAR", "FAR"),
        help="distances of the sources in metres",
    )
    group.add_argument(
        "--doa-grid",
        type=float,
        default=None,
        metavar="DEG",
        help="only directions whose azimuth and elevation are multiples of this; nothing moves then. With "
        "--doa-offset this makes the experiment with unseen directions: train on one grid, test between",
    )
    group.add_argument(
        "--doa-offset", type=float, default=d.doa_offset_deg, metavar="DEG", help="shifts the direction grid"
    )

    group = options.add_argument_group("rooms")
    group.add_argument(
        "--train-rooms",
        type=int,
        default=d.train_rooms,
        metavar="N",
        help="rooms of the training clips; several, so that a validation split by room is possible",
    )
    group.add_argument("--test-rooms", type=int, default=d.test_rooms, metavar="N", help="rooms of the test clips")
    group.add_argument(
        "--room-size", type=float, nargs=2, default=d.room_m, metavar=("LOW", "HIGH"), help="length and width in metres"
    )
    group.add_argument(
        "--room-height", type=float, nargs=2, default=d.room_height_m, metavar=("LOW", "HIGH"), help="in metres"
    )
    group.add_argument(
        "--rt60",
        type=float,
        nargs=2,
        default=d.rt60_s,
        metavar=("LOW", "HIGH"),
        help="reverberation time at mid frequencies in seconds: how long until an echo has fallen by 60 dB "
        "(0.2 a furnished bedroom, 0.6 an empty office)",
    )
    group.add_argument(
        "--noise",
        type=float,
        nargs=2,
        default=d.noise_db,
        metavar=("LOW", "HIGH"),
        help="how many dB the diffuse ambient noise lies below the events' mean level",
    )

    group = options.add_argument_group("picture")
    group.add_argument("--no-video", action="store_true", help="sound and labels only (several times as fast)")
    group.add_argument(
        "--view",
        choices=("equirectangular", "perspective"),
        default=d.view,
        help="the whole sphere as in STARSS23, or an ordinary camera as in the DCASE2025 stereo data",
    )
    group.add_argument("--width", type=int, default=d.width, metavar="PX", help="of the video")
    group.add_argument("--height", type=int, default=d.height, metavar="PX", help="of the video")
    group.add_argument(
        "--fps", default=d.fps, metavar="RATE", help="frames per second, a number or a fraction: 30000/1001"
    )
    group.add_argument(
        "--fov", type=float, default=d.fov_deg, metavar="DEG", help="horizontal field of view (perspective)"
    )
    group.add_argument(
        "--yaw",
        type=float,
        default=d.yaw_deg,
        metavar="DEG",
        help="azimuth that the camera looks to, counter-clockwise (perspective)",
    )

    group = options.add_argument_group("your own material")
    group.add_argument(
        "--sound-bank",
        default=None,
        metavar="DIR",
        help="dry recordings, one sub-folder per class named NN_anything after the class index, any rate; "
        "classes without a folder are made procedurally. Folders without numbers are classes of your own",
    )
    group.add_argument(
        "--own-classes",
        action="store_true",
        help="the folders of the sound bank are classes of your own, also where they are numbered as those of "
        "STARSS23; folders without numbers, and numbers beyond 12, are so without this flag",
    )
    group.add_argument(
        "--image-bank",
        default=None,
        metavar="DIR",
        help="photographs of people to draw them from; crops ID of one photograph are named NAME_ID_N, and "
        "names that begin with female or male go with such voices",
    )
    group.add_argument(
        "--allow-few",
        action="store_true",
        help="let train and test share files of a class that has too few for both: a smoke test, no honest "
        "split, and marked as such",
    )
    return options


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Options -> settings, checked.

    Raises
    ------
    InputError : an option makes no sense
    """
    if arguments.own_classes and arguments.sound_bank is None:
        raise InputError("--own-classes are those of a --sound-bank")
    settings = Settings(
        seed=arguments.seed,
        train=arguments.train,
        test=arguments.test,
        seconds=arguments.seconds,
        formats=tuple(name.strip() for name in arguments.formats.split(",") if name.strip()),
        video=Settings.of(arguments.layout).video and not arguments.no_video,
        view=arguments.view,
        width=arguments.width,
        height=arguments.height,
        fps=arguments.fps,
        fov_deg=arguments.fov,
        yaw_deg=arguments.yaw,
        train_rooms=arguments.train_rooms,
        test_rooms=arguments.test_rooms,
        room_m=tuple(arguments.room_size),
        room_height_m=tuple(arguments.room_height),
        rt60_s=tuple(arguments.rt60),
        noise_db=tuple(arguments.noise),
        overlap=arguments.overlap,
        polyphony=arguments.polyphony,
        same_class=arguments.same_class,
        moving=arguments.moving,
        distance_m=tuple(arguments.distance),
        doa_grid_deg=arguments.doa_grid,
        doa_offset_deg=arguments.doa_offset,
        sound_bank=arguments.sound_bank,
        image_bank=arguments.image_bank,
        allow_few=arguments.allow_few,
        classes=own_classes(arguments.sound_bank, always=True) if arguments.own_classes else None,
        layout=arguments.layout,
    )
    settings.check()
    return settings


def _layout_of(argv: list[str] | None) -> str:
    """The layout asked for, which decides what other options there are."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--layout", nargs="?", const="", default=STARSS23)
    return first.parse_known_args(argv)[0].layout


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    layout = _layout_of(argv)
    started = time.perf_counter()
    settings: Settings | SetSettings
    summary: Summary | SetSummary
    if layout in SCENES:
        arguments = parser(layout).parse_args(argv)
        settings, where = (single := settings_from(arguments)), where_of(arguments)
        summary = write_dataset(arguments.out, single, where=where, progress=not arguments.quiet)
    else:
        layout_named(layout)
        arguments = command.parser().parse_args(argv)
        settings, where = (several := command.settings_from(arguments)), where_of(arguments)
        summary = write_set(arguments.out, several, where=where, progress=not arguments.quiet)
    took = time.perf_counter() - started
    seconds = summary.made * settings.seconds
    rate = f", {seconds / took:.1f} times real time {where.words}" if summary.made else ""
    log.info("%s: %d clips made, %d were there%s", arguments.out, summary.made, summary.skipped, rate)
    for split, counts in summary.events.items():
        log.info("%s: %d events, %d to %d of each class", split, sum(counts), min(counts), max(counts))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
