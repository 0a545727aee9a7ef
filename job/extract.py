"""`python -m dataset extract`: standardised features and labels of a whole set as files, for those who want files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from tqdm import tqdm

from dataset.lists import list_file
from dataset.loader import Loader
from dataset.recordings import Recording, recordings_from_list
from dataset.source import Source
from job.data import TrainingData, default_lists, labels_of, open_roots
from job.statistics import gather_statistics
from output_format.contract import ActivityApart
from system.row import Stage, System
from system.table import SYSTEMS, system_named
from util.errors import InputError
from util.files import read_json, write_array, write_json, written_whole
from util.machine import make_fabric

MARKER = "extract.json"


@runtime_checkable
class _Columns(Protocol):
    """An audio feature whose publication says in what order files have it."""

    def columns(self, features: torch.Tensor) -> torch.Tensor:
        """Features (batch, maps, T, bins) as rows (batch, T, columns)."""
        ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the sub-command."""
    able = [name for name, system in SYSTEMS.items() if _with_statistics(system)]
    parser.description = (
        "Write the standardised features and the labels of every recording of a set as npy files: "
        "OUT/FORMAT_dev_norm/CLIP.npy (frames, columns) float32 in the column order of the published system, "
        "OUT/FORMAT_dev_label/CLIP.npy (frames, 3 classes) float32: activity, azimuth, elevation in degrees; "
        "OUT/FORMAT_wts.npz: mean and scale of the columns. Training needs none of these files: it computes what it "
        "needs. An interrupted run goes on when called again."
    )
    parser.add_argument("--system", choices=able, default="seldnet2019", help="whose features [seldnet2019]")
    parser.add_argument("--data-root", metavar="DIR", help="the data set [the system's own]")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files: new, or begun before")
    parser.add_argument("--format", choices=["foa", "mic"], help="audio format [foa]")
    parser.add_argument("--ov", type=int, metavar="N", help="events at one time, of sets in parts [1]")
    parser.add_argument("--split", metavar="N", help="split that is tested, which decides what is trained on [1]")
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="a setting of the system: layout=paper ..."
    )
    parser.add_argument(
        "--statistics",
        choices=["train", "development"],
        default="development",
        help="recordings that mean and scale are of: of the split's training, or all, as published [development]",
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="recordings at the same time [2]")


def run(options: argparse.Namespace) -> int:
    """Write what is not there yet."""
    given = {"net": options.system, "statistics": options.statistics}
    given |= {name: getattr(options, name) for name in ("format", "ov", "split", "set") if getattr(options, name)}
    if options.data_root:
        given["data_root"] = [options.data_root]
    if options.workers < 1:
        raise InputError(f"--workers {options.workers}: must be 1 or more")
    roots, args = open_roots(given)
    system, classes = system_named(options.system), roots[0].classes
    due = default_lists(args, roots[0])
    names = [name for name in (due.train, due.selection, due.test) if name is not None]
    parts = [recordings_from_list(list_file(name, roots), roots) for name in names]
    recordings = list({one.audio: one for part in parts for one in part}.values())
    apart = [one for part in parts[1:-1] for one in part]
    trained = parts[0]
    if args.select == "last":  # nothing is chosen by them: they are trained on
        trained, apart = [*trained, *apart], []
    data = TrainingData(trained, apart, parts[-1], names[0], names[-1])
    stage, array = _with_statistics(system)[0], recordings[0].array
    settings = stage.settings(args, array)
    output_format, labels = stage.output_format(settings, len(classes)), labels_of(classes, args)
    unpublished = InputError(f"--system {system.name}: its publication has no such files")
    if not isinstance(output_format, ActivityApart):
        raise unpublished
    about = {
        "system": options.system,
        "settings": settings,
        "classes": list(classes),
        "data": str(roots[0].path),
        "statistics": options.statistics,
        "recordings": [one.name for one in recordings],
        "trained_on": [one.name for one in data.train] if options.statistics == "train" else "all",
    }
    out = Path(options.out)
    _claim(out, about)
    scaler = out / f"{array.name}_wts.npz"
    if scaler.is_file():
        with np.load(scaler, allow_pickle=False) as stored:
            statistics: dict[str, Any] = {key: torch.from_numpy(stored[key]) for key in ("mean", "scale")}
        statistics["feature"] = settings["feature"]
    else:
        fabric = make_fabric("cpu", 1, "32", training=False)
        statistics = gather_statistics(stage, settings, array, data, args, fabric)
        with written_whole(scaler) as temporary, open(temporary, "wb") as file:
            np.savez(file, mean=statistics["mean"].numpy(), scale=statistics["scale"].numpy())
    front, plans = stage.front(settings, array, False, statistics), stage.plans(settings)
    audio, standardise = front.audio, front.standardise
    if not isinstance(audio, _Columns) or standardise is None:
        raise unpublished
    todo = [one for one in recordings if not _files(out, one)[1].is_file()]
    if len(todo) < len(recordings):
        print(f"{len(recordings) - len(todo)} of {len(recordings)} recordings are there already")

    def rows(source: Source) -> Iterator[np.ndarray]:
        """Standardised rows (frames, columns) of a recording, sequence by sequence."""
        plan = plans.evaluation(source.lengths(plans.framing.rate_hz))
        with torch.inference_mode():
            for batch in Loader(source, plan, batch_size=4, workers=0):
                features, padding = front.raw_features(batch)
                made = audio.columns(standardise(features))
                yield (made.flatten(0, 1) if padding is None else made[~padding]).numpy()

    def extract(recording: Recording) -> None:
        features, label = _files(out, recording)
        source = Source([recording], clip_s=args.clip_s)
        frames = int(plans.framing.clip_frames(source.lengths(plans.framing.rate_hz))[0])
        write_array(features, np.concatenate(list(rows(source))))
        matrix = output_format.label_matrix(labels.intervals(recording), frames)
        write_array(label, matrix.astype(np.float32))  # the last: it says that the recording is done

    with ThreadPoolExecutor(options.workers) as pool:
        for _ in tqdm(pool.map(extract, todo), total=len(todo), desc="extracting", unit="clip"):
            pass
    print(f"{len(recordings)} recordings in {out}: {array.name}_dev_norm, {array.name}_dev_label, {scaler.name}")
    return 0


def _claim(out: Path, about: dict[str, Any]) -> None:
    """Make the folder ours, or find that it is.

    Raises
    ------
    InputError : it holds something else, or features made with other settings
    """
    marker = out / MARKER
    if marker.is_file():
        found = read_json(marker)
        different = [key for key in about if not isinstance(found, dict) or found.get(key) != about[key]]
        if different:
            rule = f"holds features made otherwise ({', '.join(different)} differ); choose another --out or delete it"
            raise InputError(rule, path=out)
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("holds something else; --out must be a new or empty folder", path=out)
    write_json(marker, about)


def _files(out: Path, recording: Recording) -> tuple[Path, Path]:
    kind = f"{recording.array.name}_{'eval' if recording.split == 'eval' else 'dev'}"
    feature, label = (out / f"{kind}_{what}" / f"{recording.name}.npy" for what in ("norm", "label"))
    return feature, label


def _with_statistics(system: System) -> list[Stage]:
    """The stages of a system whose features are standardised."""
    return [stage for stage in system.stages if stage.statistics]
