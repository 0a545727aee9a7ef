"""Which recordings, classes, features and boxes the flags and the data roots ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset.augment import ChannelSwap, check_swappable
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.loader import TrainingLoader
from dataset.recordings import Boxes, Labels, Recording, recordings_from_list, split_by_room
from dataset.windows import RandomWindows
from util.arguments import DEFAULTS, resolve
from util.arrays import Array
from util.errors import InputError
from util.files import read_json

FLAG_OF_ARRAY = {"foa": "foa", "mic": "mic", "binaural": "bin"}
VIDEO_FOLDERS = ("video_360x180_dev", "video_dev")
FEATURE_OF_CHANNELS = {4: "amp_phasediff", 2: "binaural_phasediff"}


@dataclass(frozen=True)
class TrainingData:
    """Recordings of a run; `selection` is split off the training list by room (empty unless --select val)."""

    train: list[Recording]
    selection: list[Recording]
    validation: list[Recording]
    train_name: str
    validation_name: str


def open_roots(given: dict[str, Any]) -> tuple[list[DataRoot], dict[str, Any]]:
    """The data roots, and all arguments resolved: flags, then the first root's dataset.json, then the defaults."""
    if "data_root" not in given and not Path(DEFAULTS["data_root"][0]).is_dir():
        rule = (
            "no such data root: name yours with --data-root, or type bash script/train_seld_foa.sh for synthetic data"
        )
        raise InputError(rule, path=DEFAULTS["data_root"][0])
    roots = [DataRoot(path) for path in given.get("data_root", DEFAULTS["data_root"])]
    args = resolve(given, roots[0].settings, dataset_file=str(roots[0].path / "dataset.json"))
    return roots, args


def training_data(args: dict[str, Any], roots: Sequence[DataRoot]) -> TrainingData:
    """Recordings of the training list, of the validation list (-val), and those set apart (--select val)."""
    mixed = args["mix"] is not None
    if len(roots) > 1 and not mixed:
        raise InputError("several data roots need --mix, the share of the training windows of each (as 0.5,0.5)")
    if args["select"] != "last" and not args["val"]:
        raise InputError(f"--select {args['select']} needs -val")
    kind = "devtrain" if args["no_video"] else "devtrain_audiovisual"
    name = args["train_wav_txt"] or f"dcase2023t3_{args['format'] or 'foa'}_{kind}.txt"
    if not args["no_video"] and args["train_wav_txt"] is None:
        for root in roots:
            if not any((root.path / folder).is_dir() for folder in VIDEO_FOLDERS):
                folders = " or ".join(VIDEO_FOLDERS)
                rule = f"has no video ({folders}): add it, or train on the audio alone with --no-video"
                raise InputError(rule, path=root.path)
    # one default list per root, or the one list that the user names
    lists = [list_file(name, [root]) for root in roots] if args["train_wav_txt"] is None else [list_file(name, roots)]
    options = {"rate_hz": args["sampling_frequency"], "need_labels": True, "mixed": mixed}
    train = [
        recording
        for path in lists
        for recording in recordings_from_list(path, roots, need_video=not args["no_video"], **options)
    ]
    arrays = sorted({recording.array.name for recording in train})
    if len(arrays) > 1:
        raise InputError(f"holds recordings of several formats ({', '.join(arrays)})", path=lists[0])
    selection: list[Recording] = []
    if args["select"] == "val":
        train, selection = split_by_room(train, seed=args["random_seed"])
    validation, validation_name = [], ""
    if args["val"]:
        name = args["val_wav_txt"] or f"dcase2023t3_{FLAG_OF_ARRAY.get(arrays[0], 'foa')}_devtest.txt"
        path = list_file(name, roots[:1])
        validation, validation_name = recordings_from_list(path, roots, **options), path.stem
    return TrainingData(train, selection, validation, lists[0].stem, validation_name)


def random_windows(args: dict[str, Any], train: Sequence[Recording], roots: Sequence[DataRoot]) -> RandomWindows:
    """The plan of training windows, with the shares of --mix."""
    length = round(args["train_wav_length"] * args["sampling_frequency"])
    if args["mix"] is None:
        return RandomWindows(train, length=length, seed=args["random_seed"])
    try:
        shares = [float(share) for share in args["mix"].split(",")]
    except ValueError:
        raise InputError(f"--mix must be numbers separated by commas, found '{args['mix']}'") from None
    if len(shares) != len(roots) or min(shares) < 0 or sum(shares) <= 0:
        raise InputError(f"--mix must give one share for each of the {len(roots)} data roots, found '{args['mix']}'")
    paths = [Path(root.path) for root in roots]
    groups = [paths.index(Path(recording.root)) for recording in train]
    return RandomWindows(train, length=length, seed=args["random_seed"], groups=groups, shares=shares)


def training_loader(
    args: dict[str, Any],
    train: Sequence[Recording],
    windows: RandomWindows,
    model: Any,
    *,
    first_step: int = 0,
    rank: int = 0,
    world: int = 1,
) -> TrainingLoader:
    """Batches of one process from an optimisation step on."""
    if args["batch_size"] % world:
        raise InputError(f"the batch size {args['batch_size']} must divide by the {world} processes")
    if args["augment"] == "acs" and model.visual:
        check_swappable(train)
    return TrainingLoader(
        train,
        windows,
        batch_size=args["batch_size"] // world,
        labels=Labels(len(model.classes)),
        encode=model.output_format.encode,
        boxes=Boxes(args["detector"]) if model.visual else None,
        augment=ChannelSwap(model.array, seed=args["random_seed"]) if args["augment"] == "acs" else None,
        start_step=first_step,
        rank=rank,
        world=world,
        workers=args["workers"],
    )


def common_classes(roots: Sequence[DataRoot], class_num: int | None) -> tuple[str, ...]:
    """Class names of the data roots, which must agree."""
    classes = tuple(roots[0].classes)
    for root in roots[1:]:
        if tuple(root.classes) != classes:
            raise InputError(f"has other classes than {roots[0].path}", path=root.path)
    if class_num is not None and class_num != len(classes):
        rule = f"has {len(classes)} classes, --class-num says {class_num}; name your own in its classes.txt, one a line"
        raise InputError(rule, path=roots[0].path)
    return classes


def feature_settings(args: dict[str, Any], array: Array) -> dict[str, Any]:
    """Settings of the audio feature, checked against the array and the feature configuration."""
    name = FEATURE_OF_CHANNELS.get(array.channels, "amp_phasediff")
    if args["feature"] not in (None, name):
        rule = f"--feature {args['feature']} does not fit {array.name} audio ({array.channels} channels): use {name}"
        raise InputError(rule)
    path = Path(args["feature_config"])
    if not path.is_file():  # the default is meant relative to the project, wherever the command is typed
        path = Path(__file__).resolve().parent.parent / args["feature_config"]
    config = read_json(path)
    maps = 2 * array.channels - 1
    if not isinstance(config, dict) or config.get(name, {}).get("ch") != maps:
        raise InputError(f'must hold "{name}": {{"ch": {maps}}} for {array.name} audio', path=path)
    return {
        "name": name,
        "base_channel": int(config.get("base_channel", 0)),
        "fft_size": args["fft_size"],
        "stft_hop_size": args["stft_hop_size"],
    }


def detect_people(args: dict[str, Any], recordings: Sequence[Recording]) -> None:
    """Make the box files that are missing."""
    from object_detection import ensure_boxes  # onnxruntime and PyAV, only where there is a video

    rate = args["box_rate"]
    try:
        rate_hz = rate if rate == "native" else float(rate)
    except ValueError:
        raise InputError(f"--box-rate must be a number or 'native', found '{rate}'") from None
    videos = sorted({recording.video for recording in recordings if recording.video is not None})
    if videos:
        ensure_boxes(videos, args["detector"], rate_hz=rate_hz)
