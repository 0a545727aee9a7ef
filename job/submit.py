"""-submit and -check-submission: an entry for a DCASE challenge, and what its receivers would stumble over."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import Recording, recordings_from_list
from dcase2022_task3_seld_metrics.editions import DEFAULT, EDITIONS, Edition, Entry
from job.seen import seen_in_video
from output_format.contract import needed
from output_format.rows import events_in_file
from util.dialects import dialect_named, read_events, write_events
from util.errors import InputError
from util.events import EventTable
from util.files import folder_written_whole, write_text, written_whole
from util.find import files_under
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAY_OF_FORMAT, ARRAYS, Array
from util.parallel import Progress, each
from util.placement import Placement
from util.text import decoded, parse_csv, read_bytes, unusual_bytes, unusual_rows

if TYPE_CHECKING:
    from job.inputs import Opened

_LABEL = re.compile(r"[A-Za-z-]+_[A-Za-z0-9-]+_task3[ab]?_[1-4]")  # a, b: tracks without and with video, from 2023 on
_TO_FILL_IN = "TO FILL IN"
_LEFT = "places are still to fill in"


def submit(given: dict[str, Any], command: str) -> int:
    """Predict an evaluation set and pack the entry: csv files, metadata, zip."""
    from job.inputs import Opened, inference_arguments  # PyTorch and the networks

    args = inference_arguments(given, edition=DEFAULT)
    (edition, entry), label = _entry(args.scored_by), args.label
    _check_label(label)
    out = Path(args.out or f"submission_{args.scored_by}")
    opened = Opened.of(args, given)
    inference, checkpoint = opened.inference, opened.checkpoint
    model = inference.model
    if edition.distance and "distance_m" not in needed(model.output_format):
        rule = f"edition {edition.name} wants distances, {model.system.name} does not estimate them"
        raise InputError(rule, path=checkpoint)
    if len(model.classes) != len(edition.classes):
        rule = f"has {len(model.classes)} classes, edition {edition.name} {len(edition.classes)}"
        raise InputError(rule, path=checkpoint)
    recordings = evaluation_recordings(args, model.array.name)
    if edition.frame_s is not None and not model.output_format.makes(edition.frame_s):
        rule = f"edition {edition.name} wants frames of {1000 * edition.frame_s:g} ms, {model.system.name} has others"
        raise InputError(rule, path=checkpoint)
    visual = model.visual and not args.no_video
    if visual and (lacking := [recording for recording in recordings if recording.video is None]):
        rule = f"has no video ({len(lacking)} of {len(recordings)} have none); --no-video runs with empty boxes"
        raise InputError(rule, path=lacking[0].audio)

    folder = out / label
    with folder_written_whole(folder / f"{label}.output") as whole:
        places = whole.absolute(), (out / "boxes").absolute()
        predict = _PredictOne(opened, visual, edition.frame_s, entry.dialect, *places)
        progress = Progress("predicting", leave=False)
        sent = [recording.absolute() for recording in recordings]
        outcome = each(predict, sent, opened.where, progress, name=lambda one: str(one.audio))
        rows = sum(outcome.complete("recordings could not be predicted"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    about = (model.system.title, visual, model.array, inference.rate_hz, parameters)
    text = metadata(label, args.scored_by, *about, scores=entry.scores, checkpoint=checkpoint, command=command)
    write_text(folder / f"{label}.meta.yaml", text)
    archive = _zip(folder, out / f"{label}.zip")
    print(f"{len(recordings)} csv files with {rows} rows, dialect {entry.dialect} (edition {args.scored_by})")
    print(f"  csv       {folder / f'{label}.output'}")
    print(f"  metadata  {folder / f'{label}.meta.yaml'}  ({text.count(_TO_FILL_IN)} places to fill in)")
    print(f"  zip       {archive}")
    found = check_entry(folder, args.scored_by, recordings)
    _report(found)
    return 0 if all(_LEFT in line for line in found) else 1


@dataclass(frozen=True)
class _PredictOne:
    """Predicts one recording, anywhere, and writes its csv file; the number of its rows.

    Attributes
    ----------
    visual : boxes of people are used
    frame_s : length of the frames of the csv files
    out, boxes : folders of the csv files and of box files
    """

    opened: Opened
    visual: bool
    frame_s: float | None
    dialect: str
    out: Path
    boxes: Path

    def __call__(self, recording: Recording) -> int:
        inference, placed = self.opened.inference, None
        if self.visual and recording.video is not None:
            times_s = inference.look_times_s(recording)
            placed = seen_in_video(inference, recording.video, times_s, Placement(), self.boxes).visual
        made = inference.prediction(recording, visual=placed, frame_s=self.frame_s)
        thresholds = np.asarray(inference.thresholds.presence)
        output_format = inference.model.output_format
        events = events_in_file(made.events, dialect_named(self.dialect), output_format, made.raw, thresholds)
        table = with_sources(events)
        write_events(self.out / f"{recording.name}.csv", table, self.dialect)
        return len(table)


def evaluation_recordings(args: Arguments, array: str) -> list[Recording]:
    """The recordings of -evalwt, else those of the evaluation folder (foa_eval ...) of the data root.

    Raises
    ------
    InputError : there are none
    """
    roots = [DataRoot(path) for path in args.data_root]
    if args.eval_wav_txt:
        path = list_file(args.eval_wav_txt, roots)
        return recordings_from_list(path, roots, array=ARRAYS.get(array))
    files = roots[0].audio_files(array, "eval")
    if not files:
        rule = "holds no recordings; -evalwt LIST names others"
        raise InputError(rule, path=roots[0].audio_folder(array, "eval"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evaluation.txt"
        path.write_text("".join(f"{file.absolute()}\n" for file in files), encoding="utf-8")
        return recordings_from_list(path, roots, mixed=True)


def with_sources(table: EventTable) -> EventTable:
    """Sources of one class in one frame numbered 0, 1, 2."""
    table = table[np.lexsort((table.class_index, table.frame))]
    first = np.ones(len(table), dtype=bool)
    first[1:] = (np.diff(table.frame) != 0) | (np.diff(table.class_index) != 0)
    start = np.maximum.accumulate(np.where(first, np.arange(len(table)), 0))
    return table.replace(source=np.arange(len(table)) - start)


def metadata(
    label: str,
    edition: str,
    title: str,
    visual: bool,
    array: Array,
    rate_hz: int,
    parameters: int,
    *,
    scores: Sequence[str] = Entry.scores,
    checkpoint: Path,
    command: str,
) -> str:
    """Text of the metadata file (YAML); what only the authors know is marked.

    Its fields are those of metadata files that were submitted to DCASE 2022 task 3; what belongs to the video is ours.
    """
    text = json.dumps  # a json string is a YAML string, whatever it holds
    to_fill_in = text(_TO_FILL_IN)
    results = "\n".join(f"      {name}: {to_fill_in}" for name in scores)
    kind = "Ambisonic" if array.kind == "ambisonics" else "Microphone Array"
    return f"""# Metadata of a DCASE{edition} task 3 entry. Compare with the call of the challenge; fill in the marks.
# Made from the checkpoint {checkpoint.name}
# by {" ".join(command.split())}
submission:
  label: {text(label)}
  name: {text(title)}
  abbreviation: {to_fill_in}
  authors:
    - lastname: {to_fill_in}
      firstname: {to_fill_in}
      email: {to_fill_in}
      corresponding: true
      affiliation:
        abbreviation: {to_fill_in}
        institute: {to_fill_in}
        department: {to_fill_in}
        location: {to_fill_in}
system:
  description:
    input_format: {text(kind)}
    input_sampling_rate: {text(f"{rate_hz / 1000:g}kHz")}
    acoustic_features: {to_fill_in}
    visual_features: {text("person boxes as Gaussian-like vectors") if visual else "!!null"}
    data_augmentation: {to_fill_in}
    machine_learning_method: {text(title)}
  complexity:
    total_parameters: {parameters}
  external_datasets: {to_fill_in}
  source_code: {to_fill_in}
results:
  development_dataset:
    overall:
{results}
"""


def _evaluation_set(given: dict[str, Any], args: Arguments) -> list[Recording]:
    """The recordings that an entry should be of, in the format asked for or any that is there; none where none is."""
    root = Path(args.data_root[0])
    if not (root.is_dir() or given.get("data_root") or args.eval_wav_txt):
        return []
    arrays = [ARRAY_OF_FORMAT[args.format or "foa"]]
    if args.format is None and root.is_dir() and not args.eval_wav_txt:
        arrays = list(DataRoot(root).layout.formats)
    for array in arrays:
        try:
            return evaluation_recordings(args, array)
        except InputError:
            if args.eval_wav_txt:
                raise
    return []


def check_submission(given: dict[str, Any], command: str) -> int:
    """Check an entry, a folder or a zip; the exit status is 1 where something is wrong."""
    del command
    args = Arguments.of({"edition": DEFAULT, **given})
    path = Path(args.check_submission or ".")
    recordings = _evaluation_set(given, args)
    if not recordings:
        print("no evaluation set found (--data-root, -evalwt): lengths and names cannot be compared", file=sys.stderr)
    if path.is_file() and zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            return _report(check_entry(Path(folder), args.scored_by, recordings))
    if not path.is_dir():
        raise InputError("no such folder", path=path)
    return _report(check_entry(path, args.scored_by, recordings))


def check_entry(folder: Path, edition: str, recordings: Sequence[Recording] = ()) -> list[str]:
    """What is wrong with an entry, one sentence each.

    Parameters
    ----------
    recordings : the evaluation set, for names and lengths; without it only what the files themselves tell is checked

    Raises
    ------
    InputError : unknown edition
    """
    row, entry = _entry(edition)
    files = files_under(folder, [".csv"])
    if not files:
        return [f"{folder}: holds no csv file"]
    found: list[str] = []
    names: dict[str, Path] = {}
    for path in files:
        if path.stem in names:
            found.append(f"{path}: the same name as {names[path.stem]}")
        names[path.stem] = path
    due = {recording.name: recording for recording in recordings}
    if due:
        found += [f"{folder}: {name}.csv is missing" for name in sorted(due.keys() - names.keys())]
        found += [f"{names[name]}: belongs to no recording" for name in sorted(names.keys() - due.keys())]
    else:
        found += [
            f"{path}: files of edition {edition} are called {entry.file_name}.csv"
            for name, path in names.items()
            if not re.fullmatch(entry.file_name, name)
        ]
        if entry.clips is not None and len(names) != entry.clips:
            found.append(f"{folder}: {len(names)} csv files, the evaluation set of {edition} has {entry.clips}")
    empty = 0
    for name, path in names.items():
        try:
            table = read_events(path, entry.dialect, class_count=len(row.classes))
        except InputError as error:
            found.append(str(error))
            continue
        empty += not len(table)
        found += _of_form(path, entry)
        found += _of_rows(path, table, due.get(name))
    if empty == len(names):
        found.append(f"{folder}: no file has a row")
    described = [path for path in files_under(folder, [".yaml"]) if path.name.endswith(".meta.yaml")]
    for path in described:
        found += _of_metadata(path)
    if not described:
        found.append(f"{folder}: has no metadata file (*.meta.yaml)")
    return found


def _of_form(path: Path, entry: Entry) -> list[str]:
    """What is read here, and that programs of the receivers may stumble over."""
    content = read_bytes(path)
    text = decoded(content, path=path)
    forms = [*unusual_bytes(content), *unusual_rows(text, parse_csv(text, path=path))]
    if dialect_named(entry.dialect).header is not None:
        forms = [form for form in forms if form != "a header"]
    return [f"{path}: has {form}, which the official programs do not expect" for form in forms]


def _of_metadata(path: Path) -> list[str]:
    import yaml

    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        label = yaml.safe_load(text)["submission"]["label"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f"line {mark.line + 1}: "
        return [f"{path}: {place}is no YAML ({getattr(error, 'problem', None) or error})"]
    except (KeyError, TypeError):
        return [f"{path}: has no label (submission: label:)"]
    found = []
    if path.name != f"{label}.meta.yaml":
        found.append(f"{path}: its label is {label}: the file must be called {label}.meta.yaml")
    if left := text.count(_TO_FILL_IN):
        found.append(f"{path}: {left} {_LEFT}")
    return found


def _of_rows(path: Path, table: EventTable, recording: Recording | None) -> list[str]:
    found = []
    if recording is not None and len(table):
        frames = int(np.ceil(recording.duration_s / table.frame_s - 1e-6))
        if (last := int(table.frame.max())) >= frames:
            rule = f"goes on to frame {last}, the recording has {frames} ({recording.duration_s:.1f} s)"
            found.append(f"{path}: {rule}")
    if np.any(np.diff(table.frame) < 0):
        line = int(np.argmax(np.diff(table.frame) < 0)) + 2
        found.append(f"{path}: row {line}: frames must ascend")
    columns = np.stack([table.frame, table.class_index, table.source, table.azimuth_deg, table.elevation_deg], axis=1)
    if len(np.unique(columns, axis=0)) < len(columns):
        found.append(f"{path}: has equal rows")
    return found


def _entry(name: str) -> tuple[Edition, Entry]:
    edition = EDITIONS.get(name)
    if edition is None or edition.entry is None:
        known = ", ".join(one.name for one in EDITIONS.values() if one.entry is not None)
        raise InputError(f"--edition {name}: entries are known for {known}")
    return edition, edition.entry


def _check_label(label: str) -> None:
    if not _LABEL.fullmatch(label):
        form = "Lastname_Institute_task3_N with N from 1 to 4; editions with tracks: task3a, with video task3b"
        raise InputError(f"--label {label}: must be {form}")


def _zip(folder: Path, path: Path) -> Path:
    """Pack a folder, its own name in front of every file's."""
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                archive.write(file, file.relative_to(folder.parent))
    return path


def _report(found: Sequence[str]) -> int:
    for line in found:
        print(line)
    print("nothing wrong" if not found else f"{len(found)} thing{'s' * (len(found) != 1)} to put right")
    return 1 if found else 0
