"""Folders of csv files: which file belongs to which, read both sides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcase2022_task3_seld_metrics import layout2019
from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.checks import check_rows, matched_names
from dcase2022_task3_seld_metrics.csvrows import Grammar, read_csv_rows
from dcase2022_task3_seld_metrics.layouts import AUTO_FORMS, STEREO, UNITS_M, CsvLayout, layout_for, read_side
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.settings import ScoringSettings
from util.errors import InputError
from util.find import same_name, walk
from util.parallel import HERE, Where

Folder = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Folders:
    """Both sides of the recordings that have a prediction, in the order of their names."""

    names: list[str]
    reference: Batch
    estimated: Batch
    unscored: list[str]
    layout: dict[str, str]


def read_folders(
    reference: Folder,
    estimated: Folder,
    settings: ScoringSettings,
    layout: str,
    notices: Notices,
    skip_unmatched: bool = False,
    where: Where = HERE,
    distance_unit: str | None = None,
) -> Folders:
    """Read the csv files of two folders.

    Parameters
    ----------
    reference : holds the csv files, or folders that hold them (the later one wins where a name comes twice)
    estimated : holds the csv files
    where : they are read; on a cluster messages have absolute paths
    distance_unit : of the predictions, "m" or "cm", with layout auto; None: what their header or their size says

    Raises
    ------
    InputError : no such folder, no csv in it, a prediction without reference, malformed files, an unfit layout
    """
    if where.cluster is not None:  # its workers have other working directories
        reference, estimated = Path(reference).absolute(), Path(estimated).absolute()
    in_2019 = settings.edition.unit == "block"
    if in_2019 != layout.startswith("m19") and not (in_2019 and layout == "auto"):
        raise InputError(f"layout {layout} does not fit edition {settings.edition.name}")
    chosen = None if in_2019 else layout_for(layout, settings)
    if distance_unit is not None and (layout != "auto" or not settings.distance):
        rule = f"layout {layout} has a unit of its own" if settings.distance else "distances are not compared"
        raise InputError(f"--distance-unit {distance_unit}: {rule}")
    if distance_unit not in (None, *UNITS_M):
        raise InputError(f"--distance-unit {distance_unit}: must be {' or '.join(UNITS_M)}")
    references = find_csv(reference, notices, nested=True)
    predictions = find_csv(estimated, notices)
    if chosen is not None and chosen.prefixes:
        predictions = _named_officially(predictions, chosen, notices)
    names = matched_names(references, predictions, notices, skip_unmatched)
    unscored = sorted(set(references) - set(names))
    paths = [references[name] for name in names], [predictions[name] for name in names]
    if in_2019:
        sides = (
            layout2019.read_references(paths[0], settings.classes, notices, where, training=layout == "m19-training"),
            layout2019.read_predictions(paths[1], notices, where, header="names" if layout == "auto" else "no"),
        )
        words = {"reference": layout2019.HEADER, "prediction": layout2019.PREDICTION}
        batches, lines = [side[0] for side in sides], [side[1] for side in sides]
    else:
        batches, lines, words = _read(paths, chosen, settings, notices, where, distance_unit)
    for batch, line, some in zip(batches, lines, paths):
        check_rows(batch, settings, notices, [str(path) for path in some], line, "line", reference=some is paths[0])
    return Folders(names, batches[0], batches[1], unscored, words)


def _read(
    paths: tuple[list[Path], list[Path]],
    layout: CsvLayout | None,
    settings: ScoringSettings,
    notices: Notices,
    where: Where,
    distance_unit: str | None,
) -> tuple[list[Batch], list[np.ndarray], dict[str, str]]:
    batches, lines, words = [], [], {}
    for side, some in zip(("reference", "prediction"), paths):
        rows = read_csv_rows(some, layout.grammar() if layout else _auto_grammar(settings), notices, where)
        reference, unit = side == "reference", distance_unit if side == "prediction" else None
        batch, words[side] = read_side(rows, layout, settings, notices, reference=reference, unit=unit)
        batches.append(batch)
        lines.append(rows.line)
    return batches, lines, words


def _auto_grammar(settings: ScoringSettings) -> Grammar:
    if settings.coordinates == "folded":
        columns = STEREO.columns
        return Grammar({6: (0, 1, 2, 5)}, "names", narrow="edition 2025 needs 6", columns=columns, whole=True)
    integers = {width: (0, 1, 2)[: 2 + (width > 4)] for width in AUTO_FORMS}
    return Grammar(integers, "names", narrow="the known layouts have 4 to 7", whole=True)


def find_csv(folder: Folder, notices: Notices, *, nested: bool = False) -> dict[str, Path]:
    """File name -> path of the csv files in a folder; `nested`: also one level down.

    Raises
    ------
    InputError : no such folder, or no csv in it
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("no such folder", path=folder)
    found: dict[str, Path] = {}
    files = walk(folder, [".csv"], levels=1 + nested).files
    for path in sorted(files, key=lambda path: (path.parent != folder, path)):
        name = same_name(path.name)
        if name in found:
            notices.tell(f"replaces the file of the same name in {found[name].parent}", path=path)
        found[name] = path
    if not found:
        raise InputError("holds no csv file" + (", nor do the folders in it" if nested else ""), path=folder)
    return found


def _named_officially(predictions: dict[str, Path], layout: CsvLayout, notices: Notices) -> dict[str, Path]:
    kept = {name: path for name, path in predictions.items() if name.startswith(layout.prefixes)}
    left_out: Sequence[str] = sorted(set(predictions) - set(kept))
    if left_out:
        start = " or ".join(layout.prefixes)
        notices.tell(
            f"{len(left_out)} predictions are left out: layout {layout.name} wants names that start with {start}"
        )
    return kept
