"""Which recordings, classes and boxes the flags and the data roots ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataset.augment import Addition, ChannelSwap, all_swaps_of, check_swappable, swaps_of
from dataset.headers import LEAST, Checked, key_of
from dataset.layouts import DataRoot, ListNames
from dataset.lists import list_file
from dataset.loader import Augment, Loader
from dataset.plans import Mixed, Plan
from dataset.recordings import Labels, Recording, recordings_from_list, split_by_room
from dataset.source import Source, Visual
from dcase2022_task3_seld_metrics.editions import EDITIONS
from system.model import StageModel
from system.presets import ids_of, preset_of
from system.row import Plans
from system.table import system_named
from util.arguments import resolve
from util.errors import InputError
from util.events import EventTable
from util.flags import DEFAULTS, FLAGS, FRAMING
from util.job_arguments import Arguments
from util.microphone_arrays import FLAG_OF_ARRAY, Array, array_of_flag
from util.runs import MONITOR

VIDEO_FOLDERS = ("video_360x180_dev", "video_dev")


@dataclass(frozen=True)
class TrainingData:
    """Recordings of a run; by `selection` a checkpoint is chosen (empty unless --select val)."""

    train: list[Recording]
    selection: list[Recording]
    validation: list[Recording]
    train_name: str
    validation_name: str
    selection_name: str = "recordings split off the training list by room"


def open_roots(given: dict[str, Any]) -> tuple[list[DataRoot], Arguments]:
    """The data roots, and all arguments resolved.

    A value is taken from the flag, else from the preset of the task id, else from the published recipe of the system,
    else from the first root's dataset.json, else from the defaults.
    """
    preset = preset_of(given.get("net", DEFAULTS["net"]))
    ids = ids_of(preset, given.get("ids", []))
    task = preset.task(ids["task"]) if "task" in ids else {}
    recipe = {**preset.arguments, **task.get("arguments", {})}
    data_roots = given.get("data_root", recipe.get("data_root", DEFAULTS["data_root"]))
    if "data_root" not in given and not Path(data_roots[0]).is_dir():
        made = " or bash script/train_seld_foa.sh makes synthetic data"
        if preset.arguments:
            made = f" or make a synthetic set: python -m simulation --help (--layout) --out {data_roots[0]}"
        raise InputError(f"no such data root: name yours with --data-root,{made}", path=data_roots[0])
    roots = [DataRoot(path) for path in data_roots]
    args = resolve(given, roots[0].settings, recipe, dataset_file=str(roots[0].path / "dataset.json"))
    args.job_id, args.task_id = ids.get("job"), ids.get("task")
    args.task_settings = dict(task.get("settings", {}))
    args.no_video = args.no_video or system_named(args.net).visual is None
    args.edition = args.edition or roots[0].layout.edition
    args.clip_s = roots[0].clip_s
    edition = EDITIONS.get(args.edition)
    # editions that are not in this table are refused where something is scored
    args.label_frame_s = Labels.FRAME_S if edition is None else edition.frame_s
    return roots, args


def monitor_path(args: Arguments, roots: Sequence[DataRoot]) -> Path:
    """The folder of the runs: -m, else beside the data."""
    return Path(args.monitor_path or roots[0].path / MONITOR)


def check_framing(given: Mapping[str, Any], plans: Plans, checkpoint: Path) -> None:
    """Refuse flags that ask for another framing than a checkpoint was trained with.

    Raises
    ------
    InputError : they do
    """
    for name in FRAMING:
        flag, trained = FLAGS[name].option, plans.flags.get(name)
        if name not in given:
            continue
        if trained is None:
            raise InputError(f"{flag} means nothing to its system", path=checkpoint)
        if not math.isclose(given[name], trained):
            raise InputError(f"was trained with {flag} {trained:g}, {given[name]:g} does not fit", path=checkpoint)


def training_data(args: Arguments, roots: Sequence[DataRoot]) -> TrainingData:
    """Recordings of the training list, of the validation list (-val), and those set apart (--select val)."""
    mixed = args.mix is not None
    if args.mix is not None:
        _shares(args.mix, len(roots))
    if len(roots) > 1 and not mixed:
        raise InputError("several data roots need --mix, the share of the training windows of each (as 0.5,0.5)")
    if args.select != "last" and not args.val:
        raise InputError(f"--select {args.select} needs -val")
    seen = not args.no_video and not system_named(args.net).supposes  # every recording must have a video
    if seen and args.train_wav_txt is None:
        for root in roots:
            if not any((root.path / folder).is_dir() for folder in VIDEO_FOLDERS):
                folders = " or ".join(VIDEO_FOLDERS)
                rule = f"has no video ({folders}): add it, or train on the audio alone with --no-video"
                raise InputError(rule, path=root.path)
    due = default_lists(args, roots[0], video=seen)
    # one default list per root, or the one list that the user names
    name = args.train_wav_txt
    lists = [list_file(due.train, [root]) for root in roots] if name is None else [list_file(name, roots)]
    train_name = lists[0].stem
    if name is None and args.select == "last" and due.selection is not None:  # nothing is chosen by them
        lists += [list_file(due.selection, [root]) for root in roots]
        train_name += f", {Path(due.selection).stem}"
    labelled = partial(recordings_from_list, need_labels=True, mixed=mixed, array=array_of_flag(args.format))
    train = [recording for path in lists for recording in labelled(path, roots, need_video=seen)]
    arrays = sorted({recording.array.name for recording in train})
    if len(arrays) > 1:
        raise InputError(f"holds recordings of several formats ({', '.join(arrays)})", path=lists[0])
    if args.share != 1:
        train = share_of(train, args.share, seed=args.random_seed)
        train_name += f", {100 * args.share:g} % of it"
    selection: list[Recording] = []
    selection_name = TrainingData.selection_name
    if args.select == "val" and due.selection is not None and name is None:
        selection = labelled(list_file(due.selection, roots[:1]), roots)
        selection_name = f"the list {Path(due.selection).stem}"
    elif args.select == "val":
        train, selection = split_by_room(train, seed=args.random_seed)
    validation: list[Recording] = []
    validation_name = ""
    if args.val:
        # of the format that is trained, also where the user names the training list
        due = default_lists(args.changed(format=FLAG_OF_ARRAY.get(arrays[0], args.format)), roots[0])
        path = list_file(args.val_wav_txt or due.test, roots[:1])
        validation, validation_name = labelled(path, roots), path.stem
    return TrainingData(train, selection, validation, train_name, validation_name, selection_name)


def share_of(recordings: Sequence[Recording], share: float, *, seed: int) -> list[Recording]:
    """A share of recordings, one at least, in their order; a smaller share of the same seed is part of it.

    Raises
    ------
    InputError : more than all of them
    """
    if share > 1:
        raise InputError(f"--share {share:g}: must be 1 or less, 0.1 for a tenth")
    count = max(round(share * len(recordings)), 1)
    kept = np.random.default_rng((seed, 20)).permutation(len(recordings))[:count]
    return [recordings[index] for index in sorted(kept.tolist())]


def default_lists(args: Arguments, root: DataRoot, *, video: bool = False) -> ListNames:
    """Names of the lists that a data root's layout has for a format, a number of sources and a split."""
    split = args.split
    return root.layout.default_lists(
        args.format, video=video, ov=args.ov, split=None if split in (None, "all") else int(split)
    )


def _shares(mix: str, root_count: int) -> list[float]:
    """Share of the training windows of each data root, as --mix says it."""
    try:
        shares = [float(share) for share in mix.split(",")]
    except ValueError:
        raise InputError(f"--mix must be numbers separated by commas, found '{mix}'") from None
    if len(shares) != root_count or not all(0 <= share < math.inf for share in shares) or not sum(shares):
        raise InputError(f"--mix must give one share for each of the {root_count} data roots, found '{mix}'")
    return shares


def training_plan(args: Arguments, source: Source, roots: Sequence[DataRoot], plans: Plans) -> Plan:
    """The plan of the training items: the seed, the shares of --mix."""
    lengths, seed = source.lengths(plans.framing.rate_hz), args.random_seed
    if args.mix is None:
        return plans.training(lengths, args.batch_size, seed, None)
    paths: list[Path | None] = [root.path for root in roots]
    groups = [paths.index(recording.root) for recording in source.recordings]
    return Mixed(
        lambda members: plans.training(lengths, 1, seed, members),
        groups=groups,
        shares=_shares(args.mix, len(roots)),
        seed=seed,
    )


def augmentation(args: Arguments, array: Array, source: Source) -> Augment | None:
    """What --augment does to every item.

    Raises
    ------
    InputError : video or an array that cannot be swapped
    """
    if args.augment == "none":
        return None
    if source.visual is not None:
        producer = system_named(args.net).producer
        if producer is not None and not producer.turns:
            raise InputError(f"--augment {args.augment}: {producer.title} cannot be turned with the sound; --no-video")
    try:
        swaps = all_swaps_of(array) if args.augment == "full" else swaps_of(array)
    except ValueError as error:
        raise InputError(f"--augment {args.augment}: {error}") from None
    if source.visual is not None:
        check_swappable(source.recordings, swaps)
    return ChannelSwap(array, args.random_seed, swaps, oriented=system_named(args.net).oriented)


def addition(args: Arguments, plan: Plan) -> Addition | None:
    """Which windows get another one added, by --augment: up to a third of the way more and more of them.

    Raises
    ------
    InputError : windows of such a plan cannot be added
    """
    if args.augment != "full":
        return None
    if not plan.addable:
        rule = f"{args.net} does not begin its windows with label frames, which adding windows needs: use acs"
        raise InputError(f"--augment full: {rule}")
    return Addition(args.random_seed, after=args.max_iter * args.batch_size // 3)


def training_loader(
    args: Arguments,
    source: Source,
    plan: Plan,
    model: StageModel,
    array: Array,
    *,
    rank: int = 0,
    world: int = 1,
    first_step: int = 0,
) -> Loader:
    """Batches of one process from an optimisation step on."""
    return Loader(
        source,
        plan,
        batch_size=args.batch_size // world,
        encode=model.output_format.encode,
        label_frame_s=model.output_format.label_frame_s,
        augment=augmentation(args, array, source),
        add=addition(args, plan),
        of_whole=model.of_whole,
        first_step=first_step,
        rank=rank,
        world=world,
        workers=args.workers,
    )


def source_of(
    args: Arguments, recordings: Sequence[Recording], classes: Sequence[str], visual: Visual | None
) -> Source:
    """Recordings with their labels, at the length that the data root says."""
    return Source(recordings, labels_of(classes, args), visual, clip_s=args.clip_s)


def labels_of(classes: Sequence[str], args: Arguments) -> Labels:
    """The reader of labels, at the frame length that scores are computed at."""
    return Labels(len(classes), frame_s=args.label_frame_s or Labels.FRAME_S, classes=classes)


def check_labels(
    args: Arguments,
    classes: Sequence[str],
    recordings: Sequence[Recording],
    check: Callable[[Recording, EventTable], None],
    checked_for: Sequence[str],
) -> None:
    """Read labels that have changed since they were last read: a broken csv is named now, not when it is drawn.

    Parameters
    ----------
    check : raises where a recording's events will not do
    checked_for : what that depends on

    Raises
    ------
    InputError : as `dataset.recordings.Labels`
    """
    labels, named = labels_of(classes, args), [one for one in recordings if one.labels is not None]
    paths = [one.labels for one in named if one.labels is not None]
    lengths = [f"{one.dialect} {one.duration_s:.3f}" for one in named]
    if len(paths) < LEAST:
        for recording in recordings:
            check(recording, labels(recording))
        return
    checked = Checked(*classes, *checked_for, labels.frame_s, key_of(*lengths))
    marks = checked.marks(paths)
    for index in checked.unknown(marks):
        check(named[index], labels(named[index]))
    checked.remember(marks)


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
