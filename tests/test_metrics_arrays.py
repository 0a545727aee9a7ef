"""Array functions against the official ones: distances, assignment, folding, jackknife, 2018 and 2019."""

import json

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from dcase2022_task3_seld_metrics import arrays
from dcase2022_task3_seld_metrics.assignment import assign
from dcase2022_task3_seld_metrics.distances import (
    PolarDistance,
    cartesian_distance_deg,
    chord_distance_deg,
    fold_azimuth_deg,
    polar_distance_deg,
)
from dcase2022_task3_seld_metrics.jackknife import jackknife
from tests.golden import find
from tests.ties import optima
from util.errors import InputError


@pytest.fixture(scope="module")
def functions():
    return np.load(find("metrics/arrays/functions.npz"))


def test_distances(functions):
    polar = polar_distance_deg(functions["polar_a_rad"], functions["polar_b_rad"])
    np.testing.assert_allclose(polar, functions["polar_distance_deg"], rtol=0, atol=2e-6)
    cartesian = cartesian_distance_deg(functions["cart_a"], functions["cart_b"])
    np.testing.assert_allclose(cartesian, functions["cart_distance_deg"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        fold_azimuth_deg(functions["fold_in_deg"]), functions["fold_out_deg"], rtol=0, atol=1e-12
    )


def test_assignment_with_ties(functions):
    """The recorded pairs where one assignment is best; where several are, the total, and what SciPy takes here."""
    distance, clear, tied = PolarDistance(), 0, 0
    for index in range(len(functions["assign_n_ref"])):
        refs, ests = int(functions["assign_n_ref"][index]), int(functions["assign_n_pred"][index])
        first = distance.prepare(functions["assign_ref_deg"][index, :refs])
        second = distance.prepare(functions["assign_pred_deg"][index, :ests])
        cost = distance.between(first[:, None], second[None])
        row, column = (pairs[0] for pairs in assign(cost[None]))
        pairs = min(refs, ests)
        recorded = functions["assign_row"][index, :pairs], functions["assign_col"][index, :pairs]
        recorded_deg = functions["assign_cost_deg"][index, :pairs]
        np.testing.assert_allclose(cost[recorded], recorded_deg, rtol=0, atol=2e-6, err_msg=str(index))
        best = {(*map(int, rows), *map(int, columns)) for rows, columns in optima(cost)}
        assert (*row.tolist(), *column.tolist()) in best and (*recorded[0], *recorded[1]) in best, index
        np.testing.assert_allclose(cost[row, column].sum(), recorded_deg.sum(), rtol=0, atol=pairs * 2e-6)
        np.testing.assert_array_equal([row, column], linear_sum_assignment(cost), err_msg=str(index))
        clear, tied = clear + (len(best) == 1), tied + (len(best) > 1)
    assert clear > 80 and tied > 80


def test_jackknife(functions):
    found = jackknife(functions["jack_global"], functions["jack_partial"].T)
    for name, value in (("estimate", found.estimate), ("bias", found.bias), ("std_err", found.standard_error)):
        np.testing.assert_allclose(value, functions[f"jack_{name}"], rtol=1e-8, atol=1e-8)
    interval = np.stack([found.low, found.high], axis=-1)
    np.testing.assert_allclose(interval, functions["jack_conf_interval"], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("package", ["2019", "twostage"])
def test_2019(package):
    data = np.load(find("metrics/arrays/dcase2019_arrays.npz"))
    expected = json.loads(find("metrics/arrays/dcase2019_arrays_expected.json").read_text())[package]
    sed, whole = (data["gt_sed"], data["pred_sed"]), package == "twostage"
    for block in (50, 10):
        found = arrays.detection_on_blocks(*sed, block, whole_blocks=whole)
        np.testing.assert_allclose(found, expected[f"sed_block{block}"], rtol=1e-9)
    er, f_score = arrays.detection_on_frames(*sed)
    np.testing.assert_allclose([f_score, er], [expected["framewise_f1"], expected["framewise_er"]], rtol=1e-9)
    for key, estimated in (("doa_regr", sed[1]), ("doa_regr_no_prediction", np.zeros_like(sed[1]))):
        found = arrays.regressed_directions_2019(sed[0], estimated, data["gt_doa_rad"], data["pred_doa_rad"])
        values = [
            found.doa_error_deg,
            found.frame_recall,
            found.predicted,
            found.good_frames,
            found.surplus,
            found.deficit,
        ]
        np.testing.assert_allclose(values, expected[key], rtol=1e-9, atol=1e-9, err_msg=key)
    chord = chord_distance_deg(data["chord_a"], data["chord_b"])
    np.testing.assert_allclose(chord, data["chord_distance_deg"], rtol=0, atol=2e-6)


def test_seldnet2018():
    data = np.load(find("metrics/arrays/seldnet2018_arrays.npz"))
    cases = json.loads(find("metrics/arrays/seldnet2018_expected.json").read_text())
    assert cases
    for case, expected in cases.items():
        truth, found = data[f"{case}_gt_sed"], data[f"{case}_pred_sed"].astype(bool)
        block = expected["nb_frames_1s"]
        legacy = arrays.legacy_f1_blocks(truth, found, block)
        np.testing.assert_allclose(legacy, expected["f1_1sec_legacy_per_segment"], rtol=1e-9)
        framewise = arrays.legacy_f1_rows(truth, found).mean()
        np.testing.assert_allclose(framewise, expected["f1_framewise_legacy_mean"], rtol=1e-9)
        for axes, columns in (("xyz", 33), ("xy", 22)):
            doa = (data[f"{case}_{side}_doa"][:, :columns] for side in ("gt", "pred"))
            result = arrays.seldnet2018(truth, found, *doa, block=block)
            due = expected[axes]
            np.testing.assert_allclose([result.er, result.f1], [expected["ER"], expected["F1"]], rtol=1e-9)
            counts = [result.doa_loss_gt_count, result.doa_loss_pred_count, result.good_frames]
            assert counts == [due["doa_loss_gt_cnt"], due["doa_loss_pred_cnt"], due["good_frame_cnt"]]
            for name, value in (
                ("avg_accuracy", result.avg_accuracy),
                ("doa_loss_gt", result.doa_loss_gt),
                ("doa_loss_pred", result.doa_loss_pred),
                ("SELD", result.seld),
                ("frame_recall", result.frame_recall),
                ("confusion_matrix", result.confusion_matrix),
            ):
                value_due = np.nan if due[name] is None else due[name]
                np.testing.assert_allclose(value, value_due, rtol=1e-9, atol=1e-9, err_msg=f"{case} {axes} {name}")


def test_blocks_of_one_frame_are_refused():
    sed = np.ones((4, 2))
    with pytest.raises(InputError, match="2 frames or more"):
        arrays.detection_on_blocks(sed, sed, 1)


def test_assignment_equals_scipy_on_random_ties():
    rng = np.random.default_rng(0)
    for rows in range(1, 7):
        for columns in range(1, 7):
            cost = rng.integers(0, 4, (60, rows, columns)).astype(np.float64)
            row, column = assign(cost)
            for one, found_row, found_column in zip(cost, row, column):
                due_row, due_column = linear_sum_assignment(one)
                np.testing.assert_array_equal(found_row, due_row)
                np.testing.assert_array_equal(found_column, due_column)


def _source_counts(truth: list[int], found: list[int]):
    """Score of frames with so many sources."""
    sed = [np.arange(4) < np.array(counts)[:, None] for counts in (truth, found)]
    return arrays.seldnet2018(*sed, *np.zeros((2, len(truth), 12)), block=2)


def test_confusion_of_2018_runs_over_the_counts_that_occur():
    """The examples of docs/metrics.md: Q26 and Q27."""
    q26 = _source_counts([0, 0, 3, 3], [0, 0, 3, 0])
    np.testing.assert_allclose(q26.confusion_matrix, [[1, 0], [0.5, 0.5]])
    q27 = _source_counts([0, 1, 2], [0, 1, 0])
    np.testing.assert_allclose(q27.confusion_matrix, [[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    assert q27.avg_accuracy == pytest.approx(1.0)
