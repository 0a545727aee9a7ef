"""Which recordings, classes, features and boxes the flags and the data roots ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dataset.augment import ChannelSwap, check_swappable
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.loader import TrainingLoader
from dataset.recordings import Boxes, Labels, Recording, recordings_from_list, split_by_room
from dataset.windows import Framing, RandomWindows
from output_format.multi_accdoa import FRAME_S, HOP_FRAMES, LEADING_FRAMES
from system import system_named
from util.arguments import DEFAULTS, resolve
from util.arrays import Array
from util.errors import InputError
from util.files import read_json

FLAG_OF_ARRAY = {"foa": "foa", "mic": "mic", "binaural": "bin"}
VIDEO_FOLDERS = ("video_360x180_dev", "video_dev")
MAX_RATE_HZ = 192000
WINDOW_FRAMES = HOP_FRAMES + 2 * LEADING_FRAMES  # that the networks take
FRAMING_FLAGS = {
    "sampling_frequency": ("-fs", "rate_hz"),
    "fft_size": ("--fft-size", "n_fft"),
    "stft_hop_size": ("--stft-hop-size", "hop"),
    "train_wav_length": ("--train-wav-length", "window_s"),
    "eval_wav_hop_length": ("--eval-wav-hop-length", "eval_hop_s"),
}
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


def framing_of(args: Mapping[str, Any]) -> Framing:
    """The framing that the flags ask for: windows of 128 frames of 10 ms, 1.2 s apart in evaluation.

    Raises
    ------
    InputError : they ask for another, which the networks do not take or the output format does not join
    """
    framing = Framing.from_settings(args)
    rate_hz, window_s, hop_s = framing.rate_hz, (WINDOW_FRAMES - 1) * FRAME_S, HOP_FRAMES * FRAME_S
    due, left = divmod(rate_hz, round(1 / FRAME_S))
    if left or rate_hz > MAX_RATE_HZ:
        rule = f"must be a multiple of {round(1 / FRAME_S)} Hz (frames of 10 ms), {MAX_RATE_HZ} at most"
        raise InputError(f"-fs {rate_hz}: {rule}")
    if framing.hop != due:
        raise InputError(f"-fs {rate_hz} needs --stft-hop-size {due} (frames of 10 ms), found {framing.hop}")
    if not math.isclose(args["train_wav_length"], window_s):
        rule = f"the networks take windows of {WINDOW_FRAMES} frames of 10 ms: {window_s:g}"
        raise InputError(f"--train-wav-length {args['train_wav_length']:g}: {rule}")
    if not math.isclose(args["eval_wav_hop_length"], hop_s):
        rule = f"the output format joins windows that are {hop_s:g} s apart"
        raise InputError(f"--eval-wav-hop-length {args['eval_wav_hop_length']:g}: {rule}")
    if framing.n_fft % 2 or not framing.hop <= framing.n_fft <= framing.window_samples:
        rule = f"must be even, {framing.hop} (the hop) to {framing.window_samples} (a window)"
        raise InputError(f"--fft-size {framing.n_fft}: {rule}")
    return framing


def check_framing(args: Mapping[str, Any], framing: Framing, checkpoint: Path) -> None:
    """Refuse flags that ask for another framing than a checkpoint was trained with.

    Raises
    ------
    InputError : they do
    """
    for name, (flag, attribute) in FRAMING_FLAGS.items():
        trained = getattr(framing, attribute)
        if name in args and not math.isclose(args[name], trained):
            raise InputError(f"was trained with {flag} {trained:g}, {args[name]:g} does not fit", path=checkpoint)


def training_data(args: dict[str, Any], roots: Sequence[DataRoot]) -> TrainingData:
    """Recordings of the training list, of the validation list (-val), and those set apart (--select val)."""
    framing_of(args)  # before all files are looked at
    mixed = args["mix"] is not None
    if mixed:
        _shares(args["mix"], len(roots))
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
    length = framing_of(args).window_samples
    if args["mix"] is None:
        return RandomWindows(train, length=length, seed=args["random_seed"])
    shares = _shares(args["mix"], len(roots))
    paths = [Path(root.path) for root in roots]
    groups = [paths.index(Path(recording.root)) for recording in train]
    return RandomWindows(train, length=length, seed=args["random_seed"], groups=groups, shares=shares)


def _shares(mix: str, root_count: int) -> list[float]:
    """Share of the training windows of each data root, as --mix says it."""
    try:
        shares = [float(share) for share in mix.split(",")]
    except ValueError:
        raise InputError(f"--mix must be numbers separated by commas, found '{mix}'") from None
    if len(shares) != root_count or not all(0 <= share < math.inf for share in shares) or not sum(shares):
        raise InputError(f"--mix must give one share for each of the {root_count} data roots, found '{mix}'")
    return shares


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
    about = config.get(name) if isinstance(config, dict) else None
    if not isinstance(about, dict) or about.get("ch") != maps:
        raise InputError(f'must hold "{name}": {{"ch": {maps}}} for {array.name} audio', path=path)
    base_channel = config.get("base_channel", 0)
    if type(base_channel) is not int or not 0 <= base_channel < array.channels:
        rule = (
            f"base_channel must be a channel of {array.name} audio, 0 to {array.channels - 1}, found {base_channel!r}"
        )
        raise InputError(rule, path=path)
    if args["fft_size"] != Framing.n_fft:  # which the networks are made for
        _check_bins(args, maps)
    return {
        "name": name,
        "base_channel": base_channel,
        "fft_size": args["fft_size"],
        "stft_hop_size": args["stft_hop_size"],
    }


def _check_bins(args: dict[str, Any], maps: int) -> None:
    """Refuse an STFT window whose number of bins the network cannot take; no random number is drawn for it."""
    bins = args["fft_size"] // 2 + 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = system_named(args["net"]).stages[0].network(maps, 1, visual=False).eval()
        try:
            frames = network(torch.zeros(1, maps, WINDOW_FRAMES, bins), None).shape[-1]
        except RuntimeError:
            frames = 0
    if frames != WINDOW_FRAMES:
        rule = f"the network {args['net']} cannot take {bins} bins, {Framing.n_fft} works"
        raise InputError(f"--fft-size {args['fft_size']}: {rule}")


def detect_people(args: dict[str, Any], recordings: Sequence[Recording]) -> None:
    """Make the box files that are missing."""
    from object_detection import box_rate, ensure_boxes  # onnxruntime and PyAV, only where there is a video

    rate_hz = box_rate(args["box_rate"])
    videos = sorted({recording.video for recording in recordings if recording.video is not None})
    if videos:
        ensure_boxes(videos, args["detector"], rate_hz=rate_hz)
