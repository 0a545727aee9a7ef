"""Metrics on random scenes: fast equals slow, and what must not change a score does not."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dcase2022_task3_seld_metrics import MetricWarning, score
from dcase2022_task3_seld_metrics.arrays import detection_on_blocks
from tests import metrics_reference as slow
from util.events import EventTable

CLASSES = 4
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32 - 1)
SEGMENT_AND_FRAME = ["2022", "2023", "2024", "2024-segment"]
TURNING = ["2020", "2021", *SEGMENT_AND_FRAME]  # the scene may be turned about the vertical axis


def random_table(rng, *, rows: int, frames: int, frame_s: float = 0.1, grid: bool = False) -> EventTable:
    """Random rows, often several of a class in a frame; `grid`: few directions, so that distances tie."""
    if grid:
        azimuth, elevation = rng.integers(-18, 18, rows) * 10.0, rng.integers(-4, 5, rows) * 10.0
    else:
        azimuth, elevation = rng.uniform(-180, 180, rows), rng.uniform(-80, 80, rows)
    return EventTable.make(
        frame=np.sort(rng.integers(0, frames, rows)),
        class_index=rng.integers(0, CLASSES, rows),
        source=rng.integers(0, 3, rows),
        azimuth_deg=azimuth,
        elevation_deg=elevation,
        distance_m=rng.integers(50, 500, rows) / 100.0,
        onscreen=rng.integers(0, 2, rows),
        frame_s=frame_s,
    )


def random_scene(seed: int, *, frame_s: float = 0.1, grid: bool = False, frames: int = 35, rows: int = 60):
    """Two or three recordings: references, and predictions that lie near some of them."""
    rng = np.random.default_rng(seed)
    references, predictions = {}, {}
    for index in range(int(rng.integers(2, 4))):
        truth = random_table(rng, rows=int(rng.integers(1, rows)), frames=frames, frame_s=frame_s, grid=grid)
        kept = truth[rng.random(len(truth)) < 0.7]
        step = 10.0 if grid else 1.0
        kept = kept.replace(
            azimuth_deg=kept.azimuth_deg + step * np.rint(rng.normal(0, 15 / step, len(kept))),
            elevation_deg=np.clip(kept.elevation_deg + step * np.rint(rng.normal(0, 10 / step, len(kept))), -90, 90),
            class_index=np.where(rng.random(len(kept)) < 0.85, kept.class_index, rng.integers(0, CLASSES, len(kept))),
            distance_m=kept.distance_m * rng.uniform(0.3, 2.5, len(kept)),
        )
        extra = random_table(rng, rows=int(rng.integers(0, rows // 3)), frames=frames + 8, frame_s=frame_s, grid=grid)
        name = f"fold4_room{index + 1}_mix001"
        references[name], predictions[name] = truth, EventTable.concatenate([kept, extra])
    return references, predictions


def quiet(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        return score(*args, class_count=kwargs.pop("class_count", CLASSES), **kwargs)


def assert_same(first, second, *, atol: float = 1e-9) -> None:
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9, atol=atol, err_msg=name)


def slow_rows(tables, unit_m: float = 1.0):
    return {name: slow.rows_of(table, unit_m) for name, table in tables.items()}


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize("coordinates", ["polar", "cartesian"])
@FEW
@given(seed=SEEDS, grid=st.booleans())
def test_2022_equals_slow(average, coordinates, seed, grid):
    references, predictions = random_scene(seed, grid=grid)
    distance = slow.polar_distance if coordinates == "polar" else slow.vector_distance
    if grid:  # a mean of ten equal distances may round to either side of the threshold
        references = {name: table.replace(azimuth_deg=table.azimuth_deg + 3.0) for name, table in references.items()}
    due = slow.score_2022(slow_rows(references), slow_rows(predictions), CLASSES, average, distance)
    found = quiet(references, predictions, edition="2022", average=average, coordinates=coordinates)
    assert_same(found.overall, due[0], atol=2e-6)
    assert_same(found.classwise, due[1], atol=2e-6)
    assert_same(found.counts, due[2], atol=2e-5)


@pytest.mark.parametrize("average", ["macro", "micro"])
@FEW
@given(seed=SEEDS, grid=st.booleans())
def test_2024_equals_slow(average, seed, grid):
    references, predictions = random_scene(seed, grid=grid)
    if grid:  # many pairs tie; 3 degrees keep their angles off the threshold of 20
        references = {name: table.replace(azimuth_deg=table.azimuth_deg + 3.0) for name, table in references.items()}
    due = slow.score_frames(slow_rows(references), slow_rows(predictions), CLASSES, average, "2024")
    found = quiet(references, predictions, edition="2024", average=average)
    assert_same(found.overall, due[0], atol=2e-6)
    assert_same(found.classwise, due[1], atol=2e-6)
    assert_same({name: found.counts[name] for name in due[2]}, due[2], atol=2e-5)


@pytest.mark.parametrize(("average", "onscreen"), [("macro", False), ("macro", True), ("micro", False)])
@FEW
@given(seed=SEEDS, grid=st.booleans())
def test_2025_equals_slow(average, onscreen, seed, grid):
    references, predictions = random_scene(seed, grid=grid)
    due = slow.score_frames(
        slow_rows(references, 0.01), slow_rows(predictions, 0.01), CLASSES, average, "2025", onscreen
    )
    found = quiet(references, predictions, edition="2025", average=average, onscreen_required=onscreen)
    assert_same(found.overall, due[0])
    assert_same(found.classwise, due[1])
    assert_same(found.counts, due[2])


@pytest.mark.parametrize("variant", ["2019", "two-stage"])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=SEEDS)
def test_2019_equals_slow(variant, seed):
    references, predictions = random_scene(seed, frame_s=0.02, grid=True, frames=3050, rows=400)
    references = {
        name: table.replace(azimuth_deg=np.clip(table.azimuth_deg, -180, 170)) for name, table in references.items()
    }
    due = slow.score_2019(slow_rows(references), slow_rows(predictions), CLASSES)
    found = quiet(references, predictions, edition="2019", variant=variant)
    assert_same(found.overall, due[0], atol=2e-6)
    assert_same({name: found.counts[name] for name in due[1]}, due[1], atol=1e-3)


@pytest.mark.parametrize("whole_blocks", [False, True])
@FEW
@given(seed=SEEDS, frames=st.integers(1, 130), block=st.integers(2, 50))
def test_detection_on_blocks_equals_slow(whole_blocks, seed, frames, block):
    """2019, and Two-Stage, whose error rate leaves out an incomplete last block (Q23)."""
    rng = np.random.default_rng(seed)
    truth, found = rng.random((2, frames, CLASSES)) < rng.uniform(0.01, 0.2)
    due = slow.detection_on_blocks(truth.tolist(), found.tolist(), block, whole_blocks)
    np.testing.assert_allclose(detection_on_blocks(truth, found, block, whole_blocks=whole_blocks), due)


@pytest.mark.parametrize("edition", SEGMENT_AND_FRAME)
@FEW
@given(seed=SEEDS)
def test_perfect_prediction(edition, seed):
    rng = np.random.default_rng(seed)
    frame = np.arange(41)  # all classes in all frames, then one frame more, which is not scored
    table = EventTable.make(
        frame=np.repeat(frame, CLASSES),
        class_index=np.tile(np.arange(CLASSES), len(frame)),
        azimuth_deg=rng.uniform(-180, 180, CLASSES * len(frame)),
        elevation_deg=rng.uniform(-80, 80, CLASSES * len(frame)),
        distance_m=np.full(CLASSES * len(frame), 2.0),
    )
    found = quiet({"a": table}, {"a": table[table.frame < 40]}, edition=edition).overall
    errors = [found[name] for name in ("ER", "SELD")] + [1 - found["F"], 1 - found["LR"]]
    np.testing.assert_allclose(errors, 0, atol=1e-5)
    np.testing.assert_allclose(found.get("LE", found.get("AngE")), 0, atol=1e-3)


@pytest.mark.parametrize("edition", [*TURNING, "2025"])
@FEW
@given(seed=SEEDS)
def test_order_of_rows_where_each_class_has_one_row_a_frame(edition, seed):
    references, predictions = random_scene(seed)

    def thinned(table: EventTable) -> EventTable:
        cell = table.frame * CLASSES + table.class_index
        return table[np.unique(cell, return_index=True)[1]]

    references = {name: thinned(table) for name, table in references.items()}
    predictions = {name: thinned(table) for name, table in predictions.items()}
    rng = np.random.default_rng(seed + 1)
    shuffled = [
        {name: table[rng.permutation(len(table))] for name, table in side.items()} for side in (references, predictions)
    ]
    first, second = quiet(references, predictions, edition=edition), quiet(*shuffled, edition=edition)
    assert_same(first.overall, second.overall)
    assert_same(first.counts, second.counts)


@pytest.mark.parametrize("edition", [*TURNING, "2025"])
@FEW
@given(seed=SEEDS)
def test_order_of_files_and_several_calls(edition, seed):
    references, predictions = random_scene(seed)
    whole = quiet(references, predictions, edition=edition)
    backwards = quiet(dict(reversed(references.items())), dict(reversed(predictions.items())), edition=edition)
    assert whole.files == backwards.files
    assert whole.overall == pytest.approx(backwards.overall, rel=0, abs=0, nan_ok=True)
    parts = [quiet(references, {name: table}, edition=edition) for name, table in reversed(predictions.items())]
    added = sum(parts[1:], start=parts[0])
    assert added.files == whole.files
    assert added.unscored == ()
    assert_same(added.overall, whole.overall)
    assert_same(added.counts, whole.counts)
    for name, part in zip(reversed(predictions), parts):
        assert_same(part.overall, whole.per_file[name].overall)


@pytest.mark.parametrize("edition", TURNING)
@FEW
@given(seed=SEEDS, turn_deg=st.floats(-180, 180))
def test_rotation_about_the_vertical_axis(edition, seed, turn_deg):
    references, predictions = random_scene(seed)
    before = quiet(references, predictions, edition=edition)
    for threshold in (20.0 - 1e-3, 20.0 + 1e-3):  # away from thresholds
        near = quiet(references, predictions, edition=edition, angle_threshold_deg=threshold)
        assume(np.array_equal(near.counts["TP"], before.counts["TP"]))
    turned = [
        {name: table.replace(azimuth_deg=table.azimuth_deg + turn_deg) for name, table in side.items()}
        for side in (references, predictions)
    ]
    after = quiet(*turned, edition=edition)
    assert_same(before.overall, after.overall, atol=1e-5)


@FEW
@given(seed=SEEDS)
def test_jackknife_equals_scoring_again(seed):
    references, predictions = random_scene(seed)
    for edition in ("2022", "2024", "2025"):
        whole = quiet(references, predictions, edition=edition)
        intervals = whole.jackknife
        for index, name in enumerate(whole.files):
            rest = {other: table for other, table in predictions.items() if other != name}
            again = quiet(references, rest, edition=edition)
            left_out = {key: one.leave_one_out[index] for key, one in intervals.overall.items()}
            assert_same(left_out, again.overall, atol=1e-8)
            left_out = {key: one.leave_one_out[index] for key, one in intervals.classwise.items()}
            assert_same(left_out, again.classwise, atol=1e-8)


@pytest.mark.parametrize("edition", SEGMENT_AND_FRAME)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_macro_seld_is_the_mean_of_the_class_wise_one(edition, seed):
    result = quiet(*random_scene(seed), edition=edition)
    assert result.overall["SELD"] == pytest.approx(np.mean(result.classwise["SELD"]))


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_recall_of_2020_is_an_f_score_of_matched_segments(seed):
    result = quiet(*random_scene(seed), edition="2020")
    found, predicted, expected = (np.sum(result.counts[name]) for name in ("DE_TP", "Nsys", "Nref"))
    precision, recall = found / max(predicted, 1), found / expected if expected else 0.0
    due = 2 * precision * recall / (precision + recall) if found else 0.0
    assert result.overall["LR"] == pytest.approx(due)
