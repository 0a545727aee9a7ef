"""Person boxes made from labels: where a camera sees who is heard; the score with them as a ceiling of the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import seld
from dataset.classes import STARSS23_CLASSES
from dataset.recordings import recording_of_file
from dataset.true_boxes import HEIGHT_M, PRESENT_S, USUAL_M, WIDTH_M, TrueBoxes
from report.analysis import load_evaluation, with_other_boxes
from report.page import write_report
from simulation.picture import anchor_offset_m, person_boxes
from tests.checkpoints import recording, untrained
from tests.test_picture import LISTENER_M, SPHERE, person, scene
from tests.tiny import tiny_root
from util.angles import degrees_from_direction, direction_from_degrees
from util.cli import run_main
from util.dialects import write_events
from util.errors import InputError
from util.events import EventTable

SPEECH, CLAPPING, STEPS, MUSIC = 0, 2, 6, 8


def labelled(folder: Path, rows: list[tuple], *, distance: bool = True, frames: range = range(0, 20)):
    """A recording with sources that stand: rows of (class, source, azimuth, elevation[, distance in m])."""
    recording(folder / "r.wav", 2.0)
    table = [(frame, *row) for frame in frames for row in rows]
    names = ("frame", "class_index", "source", "azimuth_deg", "elevation_deg", "distance_m")[: 6 if distance else 5]
    write_events(folder / "r.csv", EventTable.make(**dict(zip(names, np.array(table).T))), "starss23")
    return recording_of_file(folder / "r.wav", labels=folder / "r.csv")


def found(one, time_s: float = 1.0, classes=STARSS23_CLASSES) -> np.ndarray:
    boxes = TrueBoxes(classes)(one, np.array([time_s]))
    assert boxes.shape == (1, 6, 4) and boxes.dtype == np.float32
    return boxes[0][boxes[0].any(axis=-1)]


def test_a_speaker_stands_where_the_label_says(tmp_path):
    (box,) = found(labelled(tmp_path, [(SPEECH, 0, 90, 0, 2.0)]))
    assert (box[0] + box[2]) / 2 == pytest.approx(0.25, abs=1e-6)  # +90 degrees: a quarter from the left
    assert box[2] - box[0] == pytest.approx(2 * np.rad2deg(np.arctan2(WIDTH_M / 2, 2.0)) / 360, abs=1e-6)
    mouth = 0.5  # elevation 0
    above, below = 0.107 * HEIGHT_M, 0.893 * HEIGHT_M
    assert mouth - box[1] == pytest.approx(np.rad2deg(np.arctan2(above, 2.0)) / 180, abs=1e-6)
    assert box[3] - mouth == pytest.approx(np.rad2deg(np.arctan2(below, 2.0)) / 180, abs=1e-6)


@pytest.mark.parametrize("anchor, class_index", [("mouth", SPEECH), ("hands", CLAPPING), ("feet", STEPS)])
@pytest.mark.parametrize("azimuth_deg, distance_m", [(20.0, 1.2), (-100.0, 2.5), (150.0, 4.0)])
def test_boxes_are_near_those_of_a_drawn_person(tmp_path, anchor, class_index, azimuth_deg, distance_m):
    """The painter's boxes, of a person with arms and a stature of their own, at the sounding point's direction."""
    drawn = person_boxes(scene([person(azimuth_deg=azimuth_deg, distance_m=distance_m)]), SPHERE, 1.0)[0]
    point = distance_m * direction_from_degrees(azimuth_deg, 0.0)
    point[2] = anchor_offset_m(anchor, 1.75) - LISTENER_M
    direction = [float(angle) for angle in degrees_from_direction(point)]
    (box,) = found(labelled(tmp_path, [(class_index, 0, *direction, np.linalg.norm(point))]))
    truth = drawn[0] / np.tile([SPHERE.width, SPHERE.height], 2)
    sides = np.minimum(box[2:], truth[2:]) - np.maximum(box[:2], truth[:2])
    both = np.prod(np.maximum(sides, 0))
    assert both / (np.prod(box[2:] - box[:2]) + np.prod(truth[2:] - truth[:2]) - both) > 0.6


def test_what_nobody_makes_has_no_box_and_people_who_are_one_have_one(tmp_path):
    rows = [(SPEECH, 0, 10, 5, 1.5), (MUSIC, 1, -60, 0, 2.0), (STEPS, 0, 10, -43, 2.05)]
    one = labelled(tmp_path, rows)
    assert len(found(one)) == 1  # a voice and its steps; nobody at the music
    assert (
        len(found(one, classes=[f"toy {index}" for index in range(13)])) > 1
    )  # no class of people: whoever plays them
    rows = [(SPEECH, 0, 10, 5, 1.5), (SPEECH, 1, 60, 5, 3.0), (CLAPPING, 2, -60, 0, 2.0)]
    boxes = found(labelled(tmp_path, rows))
    heights = boxes[:, 3] - boxes[:, 1]
    assert len(boxes) == 3 and (np.diff(heights) < 0).all()  # the nearest first
    crowd = [(SPEECH, index, 45 * index - 170, 0, 2.0) for index in range(8)]
    assert len(found(labelled(tmp_path, crowd))) == 6


def test_labels_without_distance_and_pauses(tmp_path):
    plain, far = labelled(tmp_path, [(SPEECH, 0, 10, 0)], distance=False), tmp_path / "far"
    np.testing.assert_allclose(found(plain), found(labelled(far, [(SPEECH, 0, 10, 0, USUAL_M)])), atol=1e-6)
    short = labelled(tmp_path / "short", [(SPEECH, 0, 10, 0, 2.0)], frames=range(10, 12))
    assert len(found(short, 1.0)) == len(found(short, 1.05 - PRESENT_S + 0.01)) == 1
    assert not len(found(short, 1.05 - PRESENT_S - 0.01)) and not len(found(short, 1.15 + PRESENT_S + 0.01))


@pytest.mark.parametrize("azimuth_deg", [180, -180, 178])
def test_a_person_across_the_seam_is_cut_as_a_detector_sees_it(tmp_path, azimuth_deg):
    boxes = found(labelled(tmp_path, [(SPEECH, 0, azimuth_deg, 0, 1.0)]))
    assert len(boxes) == 2 and boxes.min() == 0 and boxes.max() == 1
    whole = 2 * np.rad2deg(np.arctan2(WIDTH_M / 2, 1.0)) / 360
    assert (boxes[:, 2] - boxes[:, 0]).sum() == pytest.approx(whole, abs=1e-6)
    assert len(found(labelled(tmp_path, [(SPEECH, 0, 0, 89, 0.1)]))) == 1  # overhead and near: inside the picture


def test_without_labels_or_panorama_it_says_so(tmp_path):
    one = labelled(tmp_path, [(SPEECH, 0, 10, 5, 1.5)])
    with pytest.raises(InputError, match="has no labels"):
        TrueBoxes(STARSS23_CLASSES)(replace(one, labels=None), np.zeros(1))
    with pytest.raises(InputError, match="360-degree"):
        TrueBoxes(STARSS23_CLASSES)(replace(one, view="perspective", video=one.audio), np.zeros(1))


def test_an_evaluation_with_them_stands_in_the_report(tmp_path, capsys):
    root = tiny_root(tmp_path / "data", train=1, seconds=2.0, video=True)
    run = root / "model_monitor" / "run"
    run.mkdir(parents=True)
    checkpoint = untrained(run / "params_0000000.pth", visual=True)
    common = ["-eval", "--data-root", str(root), "-em", str(checkpoint), "--device", "cpu", "--detector", "builtin"]
    for source in ("own", "true"):
        assert run_main(seld.main, [*common, "--boxes", source]) == 0
    assert "person boxes made from the labels" in capsys.readouterr().out
    name = "dcase2023t3_foa_devtest_0000000"
    assert (run / f"result_{name}_true-boxes.txt").is_file() and any((run / f"raw_{name}_true-boxes").glob("*.npy"))
    one = load_evaluation(run)
    assert one.folder.name == f"raw_{name}" and [other.name for other in with_other_boxes(one)] == ["true"]
    write_report(tmp_path / "report.html", [one], players=0, progress=False)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "run, true boxes" in page and "misses nobody who sounds" in page
