"""`python -m dataset extract`: standardised features and labels of a whole set as files, for those who want files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from dataset.lists import list_file
from dataset.loader import Loader
from dataset.recordings import Labels, Recording, recordings_from_list
from dataset.source import Source
from feature.front import Front
from job.data import TrainingData, default_lists, open_roots
from job.statistics import gather_statistics
from output_format.contract import ActivityApart, OutputFormat
from output_format.frame_labels import VectorFormat
from system.model import of_whole
from system.row import Plans, Settings, Stage, System
from system.table import SYSTEMS, system_named
from util.errors import InputError
from util.files import read_json, write_array, write_json, written_whole
from util.machine import make_fabric
from util.microphone_arrays import Array
from util.parallel import Opens, Progress, add_where, each, where_of

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
        "OUT/FORMAT_dev_label/CLIP.npy float32: (frames, 3 classes) activity, azimuth, elevation in degrees, or, of "
        "systems that learn vectors of 100 ms, (frames, 4 classes) activity, x, y, z; "
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
    add_where(parser, what="recordings")


def run(options: argparse.Namespace) -> int:
    """Write what is not there yet."""
    given = {"net": options.system, "statistics": options.statistics}
    given |= {name: getattr(options, name) for name in ("format", "ov", "split", "set") if getattr(options, name)}
    if options.data_root:
        given["data_root"] = [options.data_root]
    where = where_of(options)
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
    about = {
        "system": options.system,
        "settings": settings,
        "classes": list(classes),
        "data": str(roots[0].path),
        "statistics": options.statistics,
        "recordings": [one.name for one in recordings],
        "trained_on": [one.name for one in data.train] if options.statistics == "train" else "all",
    }
    out = Path(options.out).absolute()
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
    framing = args.label_frame_s, args.clip_s
    extraction = Extraction(system.name, settings, array, statistics, tuple(classes), *framing, out)
    extraction.check()
    todo = [one.absolute() for one in recordings if not _files(out, one)[1].is_file()]
    if len(todo) < len(recordings):
        print(f"{len(recordings) - len(todo)} of {len(recordings)} recordings are there already")
    outcome = each(extraction, todo, where, Progress("extracting"), name=lambda one: str(one.audio))
    outcome.complete("recordings could not be extracted")
    folders = f"{array.name}_dev_norm, {array.name}_dev_label"
    print(f"{len(recordings)} recordings in {options.out}: {folders}, {scaler.name}")
    return 0


@dataclass(frozen=True)
class Extraction(Opens):
    """Writes the features and the labels of a recording; fit to be sent to other processes.

    Attributes
    ----------
    statistics : mean and scale of the features
    label_frame_s, clip_s : as `job.data.labels_of` and `dataset.source.Source` take them
    """

    system: str
    settings: Settings
    array: Array
    statistics: dict[str, Any]
    classes: tuple[str, ...]
    label_frame_s: float | None
    clip_s: float | None
    out: Path

    @cached_property
    def _stage(self) -> Stage:
        return _with_statistics(system_named(self.system))[0]

    @cached_property
    def _front(self) -> Front:
        return self._stage.front(self.settings, self.array, False, self.statistics)

    def check(self) -> None:
        """Refuse a system whose publication has no such files."""
        known = isinstance(self._front.audio, _Columns) and self._front.standardise is not None
        if not known or not isinstance(self._format, ActivityApart | VectorFormat):
            raise InputError(f"--system {self.system}: its publication has no such files")

    def __call__(self, recording: Recording) -> None:
        """The features, then the labels, which say that the recording is done."""
        plans = self._stage.plans(self.settings)
        features, label = _files(self.out, recording)
        source = Source([recording], clip_s=self.clip_s)
        frames = int(plans.framing.clip_frames(source.lengths(plans.framing.rate_hz))[0])
        write_array(features, np.concatenate(list(self._rows(source, plans))))
        labels = Labels(len(self.classes), frame_s=self.label_frame_s or Labels.FRAME_S, classes=self.classes)
        output_format = self._format
        if isinstance(output_format, VectorFormat):
            matrix = output_format.label_rows(labels(recording), -(-frames // plans.framing.frames_per_output))
        else:
            assert isinstance(output_format, ActivityApart)
            matrix = output_format.label_matrix(labels.intervals(recording), frames)
        write_array(label, matrix.astype(np.float32))

    @cached_property
    def _format(self) -> OutputFormat:
        return self._stage.output_format(self.settings, len(self.classes))

    def _rows(self, source: Source, plans: Plans) -> Iterator[np.ndarray]:
        """Standardised rows (frames, columns) of a recording, sequence by sequence."""
        audio, standardise = self._front.audio, self._front.standardise
        assert isinstance(audio, _Columns) and standardise is not None
        plan = plans.evaluation(source.lengths(plans.framing.rate_hz))
        with torch.inference_mode():
            for batch in Loader(source, plan, batch_size=4, workers=0, of_whole=of_whole(self._front)):
                features, padding = self._front.raw_features(batch)
                made = audio.columns(standardise(features))
                yield (made.flatten(0, 1) if padding is None else made[~padding]).numpy()


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
