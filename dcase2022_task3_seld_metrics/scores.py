"""Scores from summed components: the formulas of each edition, and their averages over classes.

Sums come with a leading axis (n,), one entry for each set of recordings that is scored at once: arrays (n, classes), or
(n,) where a count spans the classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dcase2022_task3_seld_metrics.counting import Components
from dcase2022_task3_seld_metrics.distances import EPS

Values = dict[str, np.ndarray]


def _f_score(c: Components) -> np.ndarray:
    """TP / (TP + FP_spatial + (FP + FN) / 2): a misplaced event weighs as much as a correct one."""
    return c["TP"] / (EPS + c["TP"] + c["FP_spatial"] + 0.5 * (c["FP"] + c["FN"]))


def _recall(c: Components) -> np.ndarray:
    """Share of the reference tracks that were found, wherever: DE_TP / (DE_TP + DE_FN)."""
    return c["DE_TP"] / (EPS + c["DE_TP"] + c["DE_FN"])


def _mean_error(c: Components, total: str, nothing: float) -> np.ndarray:
    """A total over the matched tracks divided by their number; `nothing` where none was matched."""
    return np.where(c["DE_TP"] > 0, c[total] / (c["DE_TP"] + EPS), nothing)


def error_rate(c: Components) -> np.ndarray:
    """(S + D + I) / Nref over all classes (n,)."""
    return (c["S"] + c["D"] + c["I"]) / (np.sum(c["Nref"], axis=-1) + EPS)


def _nan_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of the values that are not NaN; NaN, without a warning, where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _seld(er: np.ndarray, f: np.ndarray, error_deg: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """The combined error: mean of ER, 1 - F, error / 180 degrees, 1 - recall."""
    return (er + (1 - f) + error_deg / 180 + (1 - recall)) / 4


def segment_rates(c: Components, er: np.ndarray, angle_name: str = "LE") -> Values:
    """2022 and 2023: SELD = mean(ER, 1 - F, LE / 180, 1 - LR); LE is 180 where nothing was matched."""
    f, le, lr = _f_score(c), _mean_error(c, "total_DE", 180.0), _recall(c)
    return {"ER": er, "F": f, angle_name: le, "LR": lr, "SELD": _seld(er, f, le, lr)}


def segment_rates_2024(c: Components, er: np.ndarray) -> Values:
    """Segment mode of 2024: as 2022, where the localization error is called AngE."""
    return segment_rates(c, er, "AngE")


def segment_rates_2021(c: Components, er: np.ndarray) -> Values:
    """2021: as 2022, but a misplaced event weighs one half, like any false positive."""
    f = c["TP"] / (EPS + c["TP"] + 0.5 * (c["FP"] + c["FP_spatial"] + c["FN"]))
    le, lr = _mean_error(c, "total_DE", 180.0), _recall(c)
    return {"ER": er, "F": f, "LE": le, "LR": lr, "SELD": _seld(er, f, le, lr)}


def _harmonic(found: np.ndarray, predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """F score of found / predicted and found / expected."""
    precision, recall = found / (predicted + EPS), found / (expected + EPS)
    return 2 * precision * recall / (precision + recall + EPS)


def segment_rates_2020(c: Components, er: np.ndarray) -> Values:
    """2020: F and LR are F scores of the correctly placed and of all matched segments."""
    f, lr = _harmonic(c["TP"], c["Nsys"], c["Nref"]), _harmonic(c["DE_TP"], c["Nsys"], c["Nref"])
    le = _mean_error(c, "total_DE", 180.0)
    return {"ER": er, "F": f, "LE": le, "LR": lr, "SELD": _seld(er, f, le, lr)}


def frame_rates_2024(c: Components, er: np.ndarray) -> Values:
    """2024 with distance: SELD = mean(1 - F, AngE / 180, RelDistE) of those that are not NaN."""
    f, angle, relative = _f_score(c), _mean_error(c, "total_AngE", np.nan), _mean_error(c, "total_RelDistE", np.nan)
    seld = _nan_mean(np.stack([1 - f, angle / 180, relative]))
    absolute = _mean_error(c, "total_DistE", np.nan)
    return {"ER": er, "F": f, "AngE": angle, "DistE": absolute, "RelDistE": relative, "LR": _recall(c), "SELD": seld}


def frame_rates_2024_without_distance(c: Components, er: np.ndarray) -> Values:
    """2024 without distance: SELD = mean(ER, 1 - F, AngE / 180, 1 - LR) of those that are not NaN."""
    f, angle, lr = _f_score(c), _mean_error(c, "total_AngE", np.nan), _recall(c)
    seld = _nan_mean(np.stack([np.broadcast_to(er, np.shape(f)), 1 - f, angle / 180, 1 - lr]))
    return {"ER": er, "F": f, "AngE": angle, "LR": lr, "SELD": seld}


def frame_rates_2025(c: Components, er: np.ndarray) -> Values:
    """2025: no error rate and no combined score; distances in centimetres."""
    names = {
        "AngE": "total_AngE",
        "DistE": "total_DistE",
        "RelDistE": "total_RelDistE",
        "OnscreenAcc": "total_OnscreenCorrect",
    }
    return {"F": _f_score(c), **{name: _mean_error(c, total, np.nan) for name, total in names.items()}}


def block_rates_2019(c: Components) -> Values:
    """2019: detection on 1 s blocks, direction on frames and without classes.

    ER has no epsilon (nothing to find: NaN or inf), nor has the DOA error (no prediction: NaN).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        er = (c["S"] + c["D"] + c["I"]) / c["Nref"]
        doa_error_deg = c["doa_loss_pred"] / c["doa_loss_pred_cnt"]
        recall = c["nb_good_pks"] / c["nb_frames"]
    f = _harmonic(c["TP"], c["Nsys"], c["Nref"])
    seld = _seld(er, f, doa_error_deg, recall)
    return {"ER": er, "F": f, "DOA_error": doa_error_deg, "frame_recall": recall, "SELD": seld}


def block_rates_two_stage(c: Components) -> Values:
    """As 2019, but 180 degrees where nothing is predicted, so that a model that says nothing has a score, a bad one."""
    values = block_rates_2019(c)
    worst = np.where(c["doa_loss_pred_cnt"] == 0, 180.0, values["DOA_error"])
    seld = _seld(values["ER"], values["F"], worst, values["frame_recall"])
    return values | {"DOA_error": worst, "SELD": seld}


def scores(
    sums: Components, rates: Callable[..., Values], average: str, nan_means: tuple[str, ...] = ()
) -> tuple[Values, Values]:
    """Overall (n,) and class-wise (n, classes) scores.

    Parameters
    ----------
    rates : one of the functions above
    average : "macro": the mean over all classes of their scores; "micro": the scores of the counts of all classes
    nan_means : scores whose macro average leaves out the classes where they are NaN (Q13)
    """
    if sums["TP"].ndim == 1:  # counted over all classes together, as in 2019
        return rates(sums), {}
    er = error_rate(sums)
    classes = sums["TP"].shape[-1]
    classwise = rates(sums, np.repeat(er[:, None], classes, axis=1))
    if average == "micro":
        overall = rates({name: value.sum(axis=1) if value.ndim == 2 else value for name, value in sums.items()}, er)
        return overall, classwise
    overall = {
        name: _nan_mean(value, axis=1) if name in nan_means else value.mean(axis=1) for name, value in classwise.items()
    }
    return overall, classwise


def over_classes(classwise: Values, chosen: np.ndarray, nan_means: tuple[str, ...]) -> Values:
    """Macro average over some of the classes: (classes,) arrays and a mask -> scalars (NaN where none is chosen)."""
    means = {}
    for name, value in classwise.items():
        some = value[chosen]
        means[name] = _nan_mean(some) if name in nan_means or not len(some) else some.mean()
    return means
