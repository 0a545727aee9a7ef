"""Slow metrics, written from the rules in plain loops: 2019, 2022, 2024 and 2025. Nothing is shared with the fast ones.

A recording is a list of rows (frame, class, azimuth, elevation, distance, onscreen) in degrees and in the unit of the
edition; results are (overall, class-wise, counts). Sines and cosines are numpy's: where assignments tie, the last bit
decides, and the C library's may be another.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict

import numpy as np
from scipy.optimize import linear_sum_assignment

from util.events import EventTable

EPS = sys.float_info.epsilon
Row = tuple[int, int, float, float, float, float]
Recordings = dict[str, list[Row]]


def rows_of(table: EventTable, unit_m: float = 1.0) -> list[Row]:
    """Rows of an event table, distances in units of `unit_m` metres."""
    columns = (table.frame, table.class_index, table.azimuth_deg, table.elevation_deg, table.distance_m / unit_m)
    return list(zip(*(column.tolist() for column in (*columns, table.onscreen))))


def polar_distance(first: Row, second: Row) -> float:
    """Great-circle angle of two rows in degrees."""
    az1, el1, az2, el2 = (angle * math.pi / 180.0 for angle in (*first[2:4], *second[2:4]))
    cosine = np.sin(el1) * np.sin(el2) + np.cos(el1) * np.cos(el2) * np.cos(abs(az1 - az2))
    return np.arccos(min(1.0, max(-1.0, cosine))) * 180.0 / math.pi


def vector_distance(first: Row, second: Row) -> float:
    """The same by way of vectors that are almost normalised."""
    vectors = []
    for row in (first, second):
        azimuth, elevation = row[2] * math.pi / 180.0, row[3] * math.pi / 180.0
        x, y = np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation)
        z = np.sin(elevation)
        length = np.sqrt(x * x + y * y + z * z + 1e-10)
        vectors.append((x / length, y / length, z / length))
    (x, y, z), (x2, y2, z2) = vectors
    cosine = x * x2 + y * y2 + z * z2
    return np.arccos(min(1.0, max(-1.0, cosine))) * 180.0 / math.pi


def folded_distance(first: Row, second: Row) -> float:
    """Difference of left-right angles."""
    folded = []
    for azimuth in (first[2], second[2]):
        wrapped = (azimuth + 180.0) % 360.0 - 180.0
        if wrapped < -90:
            wrapped = -180.0 - wrapped
        elif wrapped > 90:
            wrapped = 180.0 - wrapped
        folded.append(wrapped)
    return abs(folded[0] - folded[1])


def assigned(references: list[Row], predictions: list[Row], distance) -> list[tuple[int, int, float]]:
    """(reference, prediction, distance) of each pair of the cheapest assignment."""
    cost = [[distance(reference, prediction) for prediction in predictions] for reference in references]
    return [(i, j, cost[i][j]) for i, j in zip(*(side.tolist() for side in linear_sum_assignment(cost)))]


def by_frame(rows: list[Row], class_index: int) -> dict[int, list[Row]]:
    """Rows of a class, by frame."""
    found = defaultdict(list)
    for row in rows:
        if row[1] == class_index:
            found[row[0]].append(row)
    return found


def counters(names: tuple[str, ...], classes: int) -> dict:
    """Zeros."""
    return {name: [0.0] * classes for name in names} | {name: 0 for name in "SDI"}


def add_substitutions(counts: dict, fp: float, fn: float) -> None:
    """S, D and I of a segment or frame."""
    counts["S"] += min(fp, fn)
    counts["D"] += max(0, fn - fp)
    counts["I"] += max(0, fp - fn)


def score_2022(
    references: Recordings, predictions: Recordings, classes: int, average: str, distance=polar_distance
) -> tuple[dict, dict, dict]:
    """Segment x class x track, 2022 and 2023."""
    names = ("TP", "FP", "FP_spatial", "FN", "Nref", "total_DE", "DE_TP", "DE_FP", "DE_FN")
    counts = counters(names, classes)
    for name, predicted in predictions.items():
        last = max((row[0] for row in references[name]), default=0)
        truth = [by_frame(references[name], c) for c in range(classes)]
        found = [by_frame(predicted, c) for c in range(classes)]
        for block in range(math.ceil(last / 10)):
            _count_segment(counts, truth, found, range(10 * block, 10 * block + 10), distance)
    er = (counts["S"] + counts["D"] + counts["I"]) / (sum(counts["Nref"]) + EPS)

    def one(c: dict) -> dict:
        f = c["TP"] / (EPS + c["TP"] + c["FP_spatial"] + 0.5 * (c["FP"] + c["FN"]))
        le = c["total_DE"] / (c["DE_TP"] + EPS) if c["DE_TP"] else 180.0
        lr = c["DE_TP"] / (EPS + c["DE_TP"] + c["DE_FN"])
        return {"ER": er, "F": f, "LE": le, "LR": lr, "SELD": (er + 1 - f + le / 180 + 1 - lr) / 4}

    return _averaged(counts, names, classes, average, one, ())


def _count_segment(counts: dict, truths: list[dict], founds: list[dict], frames: range, distance) -> None:
    fp = fn = 0
    for c, (truth, found) in enumerate(zip(truths, founds)):
        g = max(len(truth.get(frame, ())) for frame in frames)
        p = max(len(found.get(frame, ())) for frame in frames)
        counts["Nref"][c] += g
        if g and not p:
            missed, inserted, distances = g, 0, {}
        elif p and not g:
            missed, inserted, distances = 0, p, {}
        elif g and p:
            distances = defaultdict(list)
            for frame in frames:
                if truth.get(frame) and found.get(frame):
                    for i, _, angle in assigned(truth[frame], found[frame], distance):
                        distances[i].append(angle)
            missed = max(0, g - p) if distances else p
            inserted = max(0, p - g) if distances else 0
        else:
            continue
        for angles in distances.values():
            mean = sum(angles) / len(angles)
            counts["total_DE"][c] += mean
            counts["DE_TP"][c] += 1
            if mean <= 20:
                counts["TP"][c] += 1
            else:
                counts["FP_spatial"][c] += 1
                fp += 1
        for name in ("FN", "DE_FN"):
            counts[name][c] += missed
        for name in ("FP", "DE_FP"):
            counts[name][c] += inserted
        fp += inserted
        fn += missed
    add_substitutions(counts, fp, fn)


def score_frames(
    references: Recordings, predictions: Recordings, classes: int, average: str, year: str, onscreen: bool = False
) -> tuple[dict, dict, dict]:
    """Frame x class x track: 2024 with distance, 2025."""
    distance = vector_distance if year == "2024" else folded_distance
    totals = ("total_AngE", "total_DistE", "total_RelDistE", "total_OnscreenCorrect")
    names = ("TP", "FP", "FP_spatial", "FN", "Nref", *totals, "DE_TP", "DE_FP", "DE_FN")
    counts = counters(names, classes)
    for name, predicted in predictions.items():
        truth = [by_frame(references[name], c) for c in range(classes)]
        found = [by_frame(predicted, c) for c in range(classes)]
        for frame in range(max((row[0] for row in references[name]), default=0)):
            fp = fn = 0
            for c in range(classes):
                refs, ests = truth[c].get(frame, []), found[c].get(frame, [])
                bad = 0
                for i, j, angle in assigned(refs, ests, distance) if refs and ests else ():
                    absolute = abs(refs[i][4] - ests[j][4])
                    relative = absolute / (refs[i][4] + EPS)
                    agree = refs[i][5] == ests[j][5]
                    bad += angle > 20 or relative > 1 or (onscreen and not agree)
                    for total, value in zip(totals, (angle, absolute, relative, agree)):
                        counts[total][c] += value
                pairs = min(len(refs), len(ests))
                inserted, missed = max(0, len(ests) - len(refs)), max(0, len(refs) - len(ests))
                added = (pairs - bad, inserted, bad, missed, len(refs), pairs, inserted, missed)
                for key, value in zip(("TP", "FP", "FP_spatial", "FN", "Nref", "DE_TP", "DE_FP", "DE_FN"), added):
                    counts[key][c] += value
                fp += inserted + bad
                fn += missed
            if year == "2024":
                add_substitutions(counts, fp, fn)
    er = (counts["S"] + counts["D"] + counts["I"]) / (sum(counts["Nref"]) + EPS)

    def one(c: dict) -> dict:
        f = c["TP"] / (EPS + c["TP"] + c["FP_spatial"] + 0.5 * (c["FP"] + c["FN"]))
        errors = [c[total] / (c["DE_TP"] + EPS) if c["DE_TP"] else math.nan for total in totals]
        if year == "2025":
            return {"F": f, **dict(zip(("AngE", "DistE", "RelDistE", "OnscreenAcc"), errors))}
        lr = c["DE_TP"] / (EPS + c["DE_TP"] + c["DE_FN"])
        seld = nan_mean([1 - f, errors[0] / 180, errors[2]])
        scores = {"ER": er, "F": f, "AngE": errors[0], "DistE": errors[1], "RelDistE": errors[2]}
        return scores | {"LR": lr, "SELD": seld}

    return _averaged(counts, names, classes, average, one, ("AngE", "DistE", "RelDistE", "OnscreenAcc"))


def nan_mean(values: list[float]) -> float:
    """Mean of what is not NaN."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _averaged(counts: dict, names: tuple, classes: int, average: str, one, nan_means: tuple) -> tuple[dict, dict, dict]:
    each = [one({name: counts[name][c] for name in names}) for c in range(classes)]
    classwise = {name: [scores[name] for scores in each] for name in each[0]}
    if average == "micro":
        return one({name: sum(counts[name]) for name in names}), classwise, counts
    overall = {
        name: nan_mean(values) if name in nan_means else sum(values) / classes for name, values in classwise.items()
    }
    return overall, classwise, counts


def score_2019(references: Recordings, predictions: Recordings, classes: int, frames: int = 3000) -> tuple[dict, dict]:
    """1 s blocks for detection, frames and a 10 degree grid for direction -> overall, counts."""
    names = ("S", "D", "I", "TP", "Nref", "Nsys", "doa_loss_pred", "doa_loss_pred_cnt", "nb_good_pks", "nb_frames")
    counts = dict.fromkeys(names, 0.0)
    for name, predicted in predictions.items():
        truth, found = set(), set()
        for frame, c, azimuth, elevation, *_ in references[name]:
            if frame < frames:
                truth.add((frame, c, (azimuth + 180) // 10, (elevation + 40) // 10))
        for frame, c, azimuth, elevation, *_ in predicted:
            azimuth, elevation = min(170, max(-180, azimuth)), min(40, max(-40, elevation))
            if frame < frames:
                found.add((frame, c, (azimuth + 180) // 10, (elevation + 40) // 10))
        for block in range(frames // 50):
            seen = range(50 * block, 50 * block + 49)
            refs = {entry[1] for entry in truth if entry[0] in seen}
            ests = {entry[1] for entry in found if entry[0] in seen}
            counts["TP"] += len(refs & ests)
            counts["Nref"] += len(refs)
            counts["Nsys"] += len(ests)
            add_substitutions(counts, len(ests - refs), len(refs - ests))
        points: list[dict[int, list[Row]]] = [defaultdict(list), defaultdict(list)]
        for side, entries in zip(points, (truth, found)):
            for frame, c, azimuth, elevation in sorted(entries):
                side[frame].append((frame, c, azimuth * 10 - 180, elevation * 10 - 40, 0.0, 0.0))
        for frame in range(frames):
            refs, ests = points[0].get(frame, []), points[1].get(frame, [])
            if refs and ests:
                counts["doa_loss_pred"] += sum(angle for _, _, angle in assigned(refs, ests, polar_distance))
            counts["doa_loss_pred_cnt"] += len(ests)
            counts["nb_good_pks"] += len(refs) == len(ests)
            counts["nb_frames"] += 1
    precision, recall = counts["TP"] / (counts["Nsys"] + EPS), counts["TP"] / (counts["Nref"] + EPS)
    overall = {
        "ER": (counts["S"] + counts["D"] + counts["I"]) / counts["Nref"],
        "F": 2 * precision * recall / (precision + recall + EPS),
        "DOA_error": counts["doa_loss_pred"] / counts["doa_loss_pred_cnt"],
        "frame_recall": counts["nb_good_pks"] / counts["nb_frames"],
    }
    errors = (overall["ER"], 1 - overall["F"], overall["DOA_error"] / 180, 1 - overall["frame_recall"])
    return overall | {"SELD": sum(errors) / 4}, counts


def detection_on_blocks(truth: list, found: list, block: int, whole_blocks: bool) -> tuple[float, float]:
    """Error rate and F score on blocks of frames; with `whole_blocks` the error rate ignores an incomplete last one."""
    counts = dict.fromkeys(("S", "D", "I", "Nref", "TP", "expected", "predicted"), 0)
    for start in range(0, len(truth), block):
        seen = range(start, min(start + block - 1, len(truth)))  # never the last frame of a block
        refs = {c for frame in seen for c, active in enumerate(truth[frame]) if active}
        ests = {c for frame in seen for c, active in enumerate(found[frame]) if active}
        counts["TP"] += len(refs & ests)
        counts["expected"] += len(refs)
        counts["predicted"] += len(ests)
        if not whole_blocks or start + block <= len(truth):
            counts["Nref"] += len(refs)
            add_substitutions(counts, len(ests - refs), len(refs - ests))
    errors = counts["S"] + counts["D"] + counts["I"]
    er = errors / counts["Nref"] if counts["Nref"] else math.inf if errors else math.nan
    precision, recall = counts["TP"] / (counts["predicted"] + EPS), counts["TP"] / (counts["expected"] + EPS)
    return er, 2 * precision * recall / (precision + recall + EPS)
