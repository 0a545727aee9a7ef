"""Activity thresholds per class, chosen on recordings that are not scored."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from dataset.recordings import Recording
from dataset.source import Source
from dcase2022_task3_seld_metrics import MetricWarning, score
from output_format.candidates import Candidates, merge
from seld_predictor import SELDPredictor
from util.events import EventTable
from util.thresholds import Thresholds

GRID = np.round(np.arange(0.1, 0.96, 0.05), 2)
ENOUGH_S = 1200.0  # of sound: thresholds on more of it hardly differ


def few_of(recordings: Sequence[Recording]) -> list[Recording]:
    """Recordings from all over a list, some 20 minutes of them."""
    order = sorted(range(len(recordings)), key=lambda index: (index * 0.6180339887498949) % 1.0)  # spread evenly
    chosen, seconds = [], 0.0
    for index in order:
        if seconds >= ENOUGH_S:
            break
        chosen.append(index)
        seconds += recordings[index].duration_s
    return [recordings[index] for index in sorted(chosen)]


def tuned_thresholds(
    predictor: SELDPredictor, source: Source, classes: Sequence[str], *, edition: str = "2023"
) -> tuple[Thresholds, np.ndarray]:
    """Thresholds of a model by its outputs on labelled recordings, and the F scores there, class by class.

    Parameters
    ----------
    predictor : of the model; its unification angle stays
    source : the recordings and their labels
    edition : whose F score
    """
    assert source.labels is not None
    candidates, reference = {}, {}
    total = round(sum(one.duration_s for one in source.recordings))
    with tqdm(total=total, desc="thresholds: predicting", unit="s", leave=False) as progress:
        for made in predictor.predict(source):
            name = made.recording.name
            candidates[name], reference[name] = made.candidates, source.labels(made.recording).in_plane()
            progress.update(round(made.recording.duration_s))
    angle_deg = predictor.unification_deg
    presence, scores = best_thresholds(candidates, reference, classes, unification_deg=angle_deg, edition=edition)
    presence = np.where(np.isnan(presence), predictor.thresholds, presence)
    return Thresholds(tuple(presence.tolist()), angle_deg), scores


def best_thresholds(
    candidates: dict[str, Candidates],
    reference: dict[str, EventTable],
    classes: Sequence[str],
    *,
    unification_deg: float,
    edition: str = "2023",
) -> tuple[np.ndarray, np.ndarray]:
    """Threshold of each class with the best F score of the edition, and that score; absent classes: the mean; NaN if
    no class is found anywhere.

    Parameters
    ----------
    candidates, reference : by recording
    """
    found = []
    for threshold in tqdm(GRID, desc="thresholds", leave=False):
        tables = {
            name: merge(one, np.full(len(classes), threshold), unification_deg).in_plane()
            for name, one in candidates.items()
        }
        with warnings.catch_warnings():  # that a threshold finds nothing is no news
            warnings.simplefilter("ignore", MetricWarning)
            found.append(
                score(reference, tables, edition=edition, average="macro", classes=list(classes)).classwise["F"]
            )
    scores = np.array(found)  # (thresholds, classes)
    smooth = np.apply_along_axis(
        lambda column: np.convolve(np.pad(column, 1, mode="edge"), np.ones(3) / 3, "valid"), 0, scores
    )
    chosen = GRID[smooth.argmax(axis=0)]
    occurs = scores.max(axis=0) > 0
    return np.where(occurs, chosen, chosen[occurs].mean() if occurs.any() else np.nan), scores.max(axis=0)
