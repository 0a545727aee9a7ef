"""Labels and rows of two-stage SELD: golden labels, golden submission, stretches, motion, decimation, join."""

import json

import numpy as np
import pytest

from dataset.classes import TUT_CLASSES
from output_format.candidates import merge
from output_format.contract import ActivityApart
from output_format.formats import MultiAccdoa, SedDoa
from output_format.two_stage import (
    TAU2019,
    TwoStage,
    decimated,
    decode,
    distance_maps,
    frame_bounds,
    joined,
    label_maps,
    rounded,
    submission_rows,
)
from tests import golden
from tests.two_stage_golden import golden_of, raw_of
from util.dialects import dialect_named, format_events
from util.interval_csv import read_intervals
from util.intervals import IntervalTable


def table(*rows: tuple[float, float, int, float, float]) -> IntervalTable:
    names = ("start_s", "end_s", "class_index", "azimuth_deg", "elevation_deg")
    return IntervalTable.make(**{name: [row[i] for row in rows] for i, name in enumerate(names)})


def test_golden_labels() -> None:
    data = np.load(golden.find("two_stage/labels_and_batches.npz"))
    frames = json.loads(golden.find("two_stage/labels_and_batches.json").read_text())["frames"]
    folder = golden.find("two_stage/labels_csv")
    assert {path.stem for path in folder.glob("*.csv")} == set(frames) and len(frames) == 6
    for name, count in frames.items():
        intervals = read_intervals(folder / f"{name}.csv", "tau2019", TUT_CLASSES)
        events, doas = golden_of(label_maps(intervals, 11, clip_frames=count))
        np.testing.assert_array_equal(events, data[f"{name}_events"])
        np.testing.assert_array_equal(doas, data[f"{name}_doas"])
        np.testing.assert_array_equal(distance_maps(intervals, 11, clip_frames=count).T, data[f"{name}_dists"])


def test_times_in_single_precision_land_early() -> None:
    """About half of the times of two digits: the quirk that the labels depend on."""
    time_s = np.arange(6000) / 100
    rows = table(*((start, start + 0.01, 0, 0, 0) for start in time_s))
    start, end = frame_bounds(rows)
    early = np.arange(6000) - start
    assert set(early.tolist()) == {0, 1} and 0.45 < early.mean() < 0.51
    assert (end >= start).all()


def test_labels_of_a_stretch_are_a_part_of_the_whole() -> None:
    rows = table((0.1, 1.5, 0, 30, 10), (1.2, 2.0, 0, -40, -20), (0.5, 9.0, 2, 180, 40))
    whole = label_maps(rows, 3, clip_frames=300)
    assert whole.shape == (3, 3, 300) and whole.dtype == np.float32
    assert whole[1, 0, 130] == np.float32(np.deg2rad(-40)) and whole[0, 2, 299] == 1  # overwritten; cut at the end
    assert not whole[:, 1].any() and not whole[1:][:, whole[0] == 0].any()
    padded = np.pad(whole, ((0, 0), (0, 0), (50, 100)))
    for first, frames in ((-50, 100), (0, 300), (117, 60), (250, 150)):
        part = label_maps(rows, 3, clip_frames=300, first_frame=first, frames=frames)
        np.testing.assert_array_equal(part, padded[..., first + 50 : first + 50 + frames])
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        label_maps(rows, 2, clip_frames=300)
    assert not label_maps(IntervalTable.make(), 3, clip_frames=5).any()
    assert distance_maps(IntervalTable.make(), 3, clip_frames=5).shape == (3, 5)


def test_a_moving_event_is_where_it_is_in_the_middle_of_the_frame() -> None:
    rows = table((0.5, 1.5, 1, 170, 0), (0.0, 2.0, 0, 20, 10)).replace(angular_velocity_deg_s=np.array([30.0, np.nan]))
    maps = label_maps(rows, 2, clip_frames=200)
    frame = np.arange(50, 150)
    expected = (170 + 30 * (frame + 0.5 - 50) / 100 + 180) % 360 - 180
    np.testing.assert_allclose(np.rad2deg(maps[1, 1, frame]), expected, atol=1e-4)
    np.testing.assert_allclose(np.rad2deg(maps[1, 0]), 20, atol=1e-5)


def test_golden_submission() -> None:
    data = np.load(golden.find("two_stage/submission_input.npz"))
    rows = submission_rows(raw_of(data["events"], data["doas"]))
    text = format_events(rows, dialect_named("dcase2019"))
    assert text == golden.find("two_stage/submission/demo.csv").read_text()
    assert rows.azimuth_deg.max() > 180  # not wrapped
    wrapped = submission_rows(raw_of(data["events"], data["doas"]), wrap=True)
    assert wrapped.azimuth_deg.max() < 180
    assert np.all((wrapped.azimuth_deg - rows.azimuth_deg) % 360 == 0)


def test_candidates_score_as_the_submission_does() -> None:
    """Cut at the limits of the grid, where the scorer would cut: same events in the same cells."""
    data = np.load(golden.find("two_stage/submission_input.npz"))
    raw = raw_of(data["events"], data["doas"])
    submitted, events = submission_rows(raw), merge(TwoStage(11, beta=1).candidates(raw), 0.3).sorted()
    assert events.frame_s == submitted.frame_s == 0.02
    np.testing.assert_array_equal(events.frame, submitted.frame)
    np.testing.assert_array_equal(events.class_index, submitted.class_index)
    np.testing.assert_allclose(events.azimuth_deg, np.clip(submitted.azimuth_deg, -180, 170), atol=1e-9)
    np.testing.assert_allclose(events.elevation_deg, np.clip(submitted.elevation_deg, -40, 40), atol=1e-9)


def test_angles_off_the_grid_stay_and_are_wrapped() -> None:
    raw = np.zeros((3, 1, 4), dtype=np.float32)
    raw[0], raw[1], raw[2] = 0.9, np.deg2rad([190, -30.5, 3, 500])[None], np.deg2rad([10.5, 100, -95, 7])[None]
    candidates = decode(raw, label_frame_s=0.01, grid=None)
    np.testing.assert_allclose(candidates.azimuth_deg[:, 0, 0], [-170, -30.5, 3, 140], atol=1e-4)
    np.testing.assert_allclose(candidates.elevation_deg[:, 0, 0], [10.5, 90, -90, 7], atol=1e-4)
    coarse = decode(raw, label_frame_s=0.01, grid=TAU2019)
    np.testing.assert_array_equal(coarse.azimuth_deg[:, 0, 0], [170, -30, 0, 170])
    np.testing.assert_array_equal(coarse.elevation_deg[:, 0, 0], [10, 40, -40, 10])


def test_rounding_goes_to_the_even_tens() -> None:
    np.testing.assert_array_equal(rounded(np.array([5, 15, 25, -5, -15, 14.9, -175])), [0, 20, 20, 0, -20, 10, -180])
    assert not np.signbit(rounded(np.array([-4.0])))[0]


@pytest.mark.parametrize("frames, count", [(6000, 3000), (101, 50), (103, 52), (1, 0), (0, 0)])
def test_half_of_the_frames(frames: int, count: int) -> None:
    np.testing.assert_array_equal(decimated(np.arange(frames)), 2 * np.arange(count))


def test_longer_frames_take_what_lies_in_their_middle() -> None:
    np.testing.assert_array_equal(decimated(np.arange(36), label_frame_s=0.1), [4, 14, 24, 34])
    np.testing.assert_array_equal(decimated(np.arange(7), label_frame_s=0.01), np.arange(7))
    assert len(decimated(np.arange(35), label_frame_s=0.1)) == 4
    for bad in (0.005, 0.025):
        with pytest.raises(ValueError, match="cannot be made"):
            decimated(np.arange(7), label_frame_s=bad)


def test_join_takes_activity_and_angles_from_their_stages() -> None:
    sed, doa = np.random.default_rng(0).random((2, 3, 4, 32), dtype=np.float32)
    both = joined({"sed": sed, "doa": doa})
    np.testing.assert_array_equal(both[0], sed[0])
    np.testing.assert_array_equal(both[1:], doa[1:])
    batch = joined({"sed": np.stack([sed, doa]), "doa": np.stack([doa, sed])})
    np.testing.assert_array_equal(batch[0], both)
    with pytest.raises(ValueError, match="one shape"):
        joined({"sed": sed, "doa": doa[..., :16]})


def test_second_stage_with_activity() -> None:
    """Labels are longer than the output of a recording, or shorter by its last frames."""
    raw = np.random.default_rng(0).random((3, 2, 32)).astype(np.float32)
    for frames in (37, 32, 20):
        labels = label_maps(table((0, 9, 1, 0, 0)), 2, clip_frames=frames)
        made = TwoStage(2, beta=1.0).with_activity(raw, labels)
        assert made.shape == raw.shape and made[0].sum() == min(frames, 32) and not made[0, 0].any()
        np.testing.assert_array_equal(made[1:], raw[1:])
    assert raw[0].max() > 0.5 and raw[0, 0].any()


def test_format_by_its_description() -> None:
    made = TwoStage(11, beta=0.2, kind="MSE", frame_s=0.01, on_grid=False)
    again = TwoStage.from_description(json.loads(json.dumps(made.description())), 11)
    assert again.description() == made.description() and again.beta == 0.2 and not again.on_grid
    raw = np.random.default_rng(0).random((3, 11, 160)).astype(np.float32)
    assert made.candidates(raw, frame_s=0.1).activity.shape == (16, 11, 1)
    assert made.candidates(raw).activity.shape == (80, 11, 1)
    for settings in ({"beta": 1.5}, {"beta": 0.5, "kind": "L1"}):
        with pytest.raises(ValueError):
            TwoStage(11, **settings)
    with pytest.raises(ValueError, match="raw output"):
        decode(np.zeros((4, 11, 8), dtype=np.float32))


def test_activity_and_directions_can_be_looked_at_apart() -> None:
    """Raw outputs, labels in their form, and both frame by frame."""
    made = TwoStage(2, beta=1.0)
    assert isinstance(made, ActivityApart) and isinstance(SedDoa(2, frame_s=0.02), ActivityApart)
    assert not isinstance(MultiAccdoa(2), ActivityApart)
    rows = table((0.05, 0.2, 1, 30, -20))
    labels = made.encode_clip(rows, 40)
    np.testing.assert_array_equal(labels, label_maps(rows, 2, clip_frames=40))
    taught = made.taught(rows, 40)
    probability = made.probabilities(labels)
    assert probability.shape == (40, 2) and probability[:, 1].sum() == taught.activity.sum()
    active = taught.activity[1] > 0
    np.testing.assert_allclose(taught.azimuth_deg[1, active], 30, atol=1e-4)
    np.testing.assert_allclose(taught.elevation_deg[1, active], -20, atol=1e-4)
    assert np.isnan(taught.azimuth_deg[0]).all() and np.isnan(taught.azimuth_deg[1, ~active]).all()
    assert active.any() and taught.vectors.shape == (3, 2, 40)
    matrix = made.label_matrix(rows, 40)
    assert matrix.shape == (40, 6)
    np.testing.assert_allclose(matrix[active, 3], 30, atol=1e-4)
    raw = np.zeros((3, 2, 40), dtype=np.float32)
    raw[1, 0] = 4.0  # radians, beyond the turn: as the network says it
    assert made.frames_of(raw).azimuth_deg[0, 0] == pytest.approx(np.rad2deg(4.0))
