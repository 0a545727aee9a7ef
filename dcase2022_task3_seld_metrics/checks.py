"""What is compared and what cannot be: recordings matched by name, rows that the official rules do not score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dcase2022_task3_seld_metrics.batch import LARGEST_FRAME, Batch
from dcase2022_task3_seld_metrics.grid import AZIMUTHS, ELEVATIONS, grid_cell
from dcase2022_task3_seld_metrics.notices import Notices, refuse_first
from dcase2022_task3_seld_metrics.settings import ScoringSettings
from util.errors import InputError
from util.events import ANY_CLASS


def matched_names(
    reference: Mapping[str, object], estimated: Mapping[str, object], notices: Notices, skip_unmatched: bool
) -> list[str]:
    """Names of the recordings to score, sorted: those with a prediction.

    Raises
    ------
    InputError : a prediction without reference, unless `skip_unmatched`
    """
    lonely = sorted(set(estimated) - set(reference))
    if lonely and not skip_unmatched:
        more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise InputError(f"prediction without reference{more}", path=lonely[0])
    if lonely:
        notices.tell(f"predictions without reference are left out: {some(lonely)}")
    unscored = sorted(set(reference) - set(estimated))
    if unscored:
        notices.tell(f"references without prediction are not scored, not even as missed (Q5): {some(unscored)}")
    return sorted(set(estimated) & set(reference))


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_rows(
    batch: Batch,
    settings: ScoringSettings,
    notices: Notices,
    names: list[str],
    line: np.ndarray,
    unit: str,
    *,
    reference: bool,
) -> None:
    """Refuse or remark rows that the official rules cannot score, or pass over in silence.

    Parameters
    ----------
    names : what to call each recording in messages
    line : (n,) line or row number of each row; `unit` says which
    """

    broken: list[tuple[np.ndarray, str]] = []

    def refuse(rows: np.ndarray, rule: str) -> None:
        broken.append((rows, rule))

    edition, classes = settings.edition, len(settings.classes)
    refuse(~np.isfinite(batch.coordinates).all(axis=1), "direction must be finite numbers")
    refuse(np.abs(batch.frame) > LARGEST_FRAME, f"frame must be below {LARGEST_FRAME}")
    if settings.distance:
        refuse(
            ~np.isfinite(batch.distance),
            f"has no distance, and edition {edition.name} compares distances"
            + ("" if edition.onscreen else " (2024 can be scored without: distance=False)"),
        )
    if settings.limits.onscreen:
        refuse(np.isnan(batch.onscreen), "has no onscreen flag, and it is required to agree")
    negative = batch.frame < 0
    outside = (batch.class_index < 0) | (batch.class_index >= classes)
    if edition.unit == "block" and edition.fixed_frames is not None:
        refuse(outside, f"class must be between 0 and {classes - 1}")
        refuse(batch.frame < -edition.fixed_frames, f"frame must be {-edition.fixed_frames} or more")
        if reference:
            cell = grid_cell(batch.coordinates[:, 0], batch.coordinates[:, 1], clip=False)
            off_grid = (cell < 0) | (cell >= AZIMUTHS * ELEVATIONS)
            refuse(off_grid, "direction is off the grid: azimuth must be -180 to 170, elevation -40 to 40 degrees")
        refuse_first(broken, names, batch.file, line, unit)
        rule = "negative frame counts from the end of the recording (Q21)"
        notices.tell_rows(negative, rule, names, batch.file, line, unit)
        return
    refuse_first(broken, names, batch.file, line, unit)
    notices.tell_rows(negative, "negative frame is not scored", names, batch.file, line, unit)
    any_class = batch.class_index == ANY_CLASS
    notices.tell_rows(any_class, "class -1 (any class) is not scored", names, batch.file, line, unit)
    rule = f"class outside 0 to {classes - 1} is not scored, but counts for the length of the recording"
    notices.tell_rows(outside & ~any_class, rule, names, batch.file, line, unit)
