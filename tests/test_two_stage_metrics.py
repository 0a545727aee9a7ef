"""Scores of two-stage SELD: golden scores of all files and of groups, average precision, nothing predicted."""

import json
import shutil
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from dcase2022_task3_seld_metrics import MetricWarning, score
from dcase2022_task3_seld_metrics.average_precision import average_precision
from tests import golden
from tests.two_stage_golden import scored
from util.errors import InputError

NAMES = {"ER": "ER", "F": "F", "DOA_error": "DOA_error_deg", "frame_recall": "frame_recall", "SELD": "SELD"}
PLACE = {"split": 5, "ov": 13}  # of the character that a group is named by


@pytest.mark.parametrize("variant", ["2019", "two-stage"])
@pytest.mark.parametrize("group", ["all", "split", "ov"])
def test_golden_scores(group: str, variant: str, tmp_path) -> None:
    expected = json.loads(golden.find("two_stage/metrics.json").read_text())[group]
    predictions = sorted(scored("metrics_pred").glob("*.csv"))
    assert len(predictions) == 8
    keys = sorted({path.name[PLACE[group]] for path in predictions} if group in PLACE else {""})
    for position, key in enumerate(keys):
        folder = tmp_path / f"group{key}"
        folder.mkdir()
        for path in predictions:
            if group == "all" or path.name[PLACE[group]] == key:
                shutil.copyfile(path, folder / path.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)  # references of the other groups are not scored
            found = score(scored("metrics_gt"), folder, edition="2019", variant=variant).overall
        for name, theirs in NAMES.items():
            assert len(expected[theirs]) == len(keys)
            np.testing.assert_allclose(found[name], expected[theirs][position], atol=1e-9, rtol=0, err_msg=name)


def test_a_model_that_says_nothing_has_a_score(tmp_path) -> None:
    """The reference divides by the number of predictions; 2019 itself has no value there."""
    name = min(path.name for path in scored("metrics_pred").glob("*.csv"))
    (tmp_path / name).write_text("")
    with pytest.warns(MetricWarning):
        result = score(scored("metrics_gt"), tmp_path, edition="2019", variant="two-stage").overall
        official = score(scored("metrics_gt"), tmp_path, edition="2019").overall
    assert result["DOA_error"] == 180 and result["ER"] == 1 and np.isnan(official["DOA_error"])
    assert result["SELD"] == pytest.approx((1 + 1 + 1 + 1 - result["frame_recall"]) / 4)


def test_golden_average_precision() -> None:
    data = np.load(golden.find("two_stage/map_input.npz"))
    expected = json.loads(golden.find("two_stage/metrics.json").read_text())["mAP"]
    binary = average_precision(data["gt"], data["prob"], threshold=0.3)
    np.testing.assert_allclose(binary.micro, expected["micro_on_binary"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(binary.macro, expected["macro_on_binary"], atol=1e-9, rtol=0)
    proper = average_precision(data["gt"], data["prob"])
    np.testing.assert_allclose(proper.macro, expected["macro_on_prob"], atol=1e-9, rtol=0)
    assert proper.macro == proper.macro_present == proper.classwise.mean() and proper.micro > binary.micro


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(2, 60), levels=st.integers(1, 9))
def test_average_precision_is_that_of_scikit_learn(seed: int, frames: int, levels: int) -> None:
    """Many equal scores, whose frames come in together."""
    rng = np.random.default_rng(seed)
    truth, probability = rng.random((frames, 4)) < 0.4, rng.integers(0, levels, (frames, 4)) / 8
    truth[0] = True
    ours = average_precision(truth, probability)
    for name in ("micro", "macro"):
        np.testing.assert_allclose(getattr(ours, name), average_precision_score(truth, probability, average=name))
    classwise = average_precision_score(truth, probability, average=None)
    np.testing.assert_allclose(ours.classwise, classwise)


def test_classes_that_never_occur() -> None:
    truth, probability = np.zeros((10, 3)), np.linspace(0, 1, 30).reshape(10, 3)
    truth[9, 0] = 1
    found = average_precision(truth, probability)
    assert found.classwise[0] == 1 and np.isnan(found.classwise[1:]).all()
    assert found.macro == pytest.approx(1 / 3) and found.macro_present == 1
    empty = average_precision(truth * 0, probability)
    assert empty.micro == empty.macro == 0 and np.isnan(empty.macro_present)


def test_arrays_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(InputError, match="one shape"):
        average_precision(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(InputError, match="NaN"):
        average_precision(np.zeros((3, 2)), np.full((3, 2), np.nan))
