"""The main job through its command line where videos end before or after their audio."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import seld
from report.analysis import load_clip
from report.shown import clip_boxes
from simulation.picture import frames, sample_appearance, sample_background
from simulation.room import absorption_for_rt60
from simulation.scene import Person, Room, Scene, Trajectory
from tests.tiny import tiny_root
from util.boxes import box_path, read_boxes
from util.camera import Equirectangular
from util.cli import run_main
from util.video import VideoWriter, video_info

AUDIO_S, SHORT_S, LONG_S = 4.8, 1.5, 6.0
WINDOW = 120  # frames of 10 ms that a window of the evaluation gives


def picture() -> np.ndarray:
    """Somebody who stands 1.8 m away in a room."""
    size = (6.0, 5.0, 2.8)
    room = Room("room1", size, (3.0, 2.5, 1.5), 0.4, absorption_for_rt60(size, 0.4))
    feet = Trajectory(np.zeros(1), np.array([[1.7, 0.6, -1.5]]))
    person = Person(0, feet, 1.75, sample_appearance(np.random.default_rng(0), "train"))
    look = sample_background(np.random.default_rng(0), "train")
    scene = Scene("clip", "train", 0, 1.0, 24000, room, (), (person,), (), 20.0, look)
    return next(frames(scene, Equirectangular(360, 180), [0.0]))


def standing_video(path: Path, shown: np.ndarray, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 360, 180, Fraction(10)) as writer:
        for _ in range(round(seconds * 10)):
            writer.write(shown)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Three training clips and three equal test clips whose videos are shorter, longer, and as long as their audio."""
    root = tiny_root(tmp_path_factory.mktemp("lengths") / "data", train=3, test=1, seconds=AUDIO_S)
    for number in (2, 3):
        for folder, suffix in (("foa_dev", "wav"), ("metadata_dev", "csv")):
            test = root / folder / "dev-test-tiny"
            shutil.copy(test / f"fold4_room1_mix001.{suffix}", test / f"fold4_room{number}_mix001.{suffix}")
    shown = picture()
    for number, seconds in enumerate((SHORT_S, LONG_S, AUDIO_S), start=1):
        for fold, part in ((3, "train"), (4, "test")):
            standing_video(root / f"video_dev/dev-{part}-tiny/fold{fold}_room{number}_mix001.mp4", shown, seconds)
    return root


@pytest.fixture(scope="module")
def run(root) -> Path:
    flags = ["--detector", "builtin", "--precision", "32", "--device", "cpu", "-i", "2", "-s", "2", "-b", "4"]
    assert run_main(seld.main, ["-train", "-val", "--data-root", str(root), *flags]) == 0
    (run,) = (root / "model_monitor").iterdir()
    return run


def raw_output(run: Path, capsys, boxes: str = "own") -> dict[int, np.ndarray]:
    """Evaluate; the raw output of the three clips by number."""
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu", "--boxes", boxes]) == 0
    assert "error" not in capsys.readouterr().err
    (folder,) = run.glob(f"raw_dcase*devtest_0000002{'' if boxes == 'own' else '_empty-boxes'}")
    return {number: np.load(folder / f"fold4_room{number}_mix001.npy") for number in (1, 2, 3)}


@pytest.mark.slow
def test_validation_covers_the_whole_audio_whatever_the_video_is(run, root):
    assert {path.name for path in (run / "pred_TMP4VAL").iterdir()} == {f"fold4_room{n}_mix001.csv" for n in (1, 2, 3)}
    for number, seconds in enumerate((SHORT_S, LONG_S, AUDIO_S), start=1):
        video = root / f"video_dev/dev-test-tiny/fold4_room{number}_mix001.mp4"
        assert video_info(video).duration_s == pytest.approx(seconds)
        track = read_boxes(box_path(video, "builtin"))
        assert track.end_s == pytest.approx(seconds)
        # of a recording that is only scored, the picture is looked at where the windows are
        windows_s = np.unique(np.minimum([0.0, 1.2, 2.4, 3.6], seconds - 0.1))
        assert track.grid_hz == 10.0 and track.time_s == pytest.approx(windows_s)
        trained = read_boxes(box_path(root / f"video_dev/dev-train-tiny/fold3_room{number}_mix001.mp4", "builtin"))
        assert trained.grid_hz is None and len(trained.time_s) == round(10 * seconds)
        assert track.boxes.any(axis=(1, 2)).all(), "the detector must see somebody for the rest to mean anything"


def test_boxes_stay_for_a_second_after_the_video_and_then_there_are_none(run, capsys):
    own = raw_output(run, capsys)
    empty = raw_output(run, capsys, "empty")
    count = round(AUDIO_S / 1.2)
    assert all(raw.shape == (3, 3, 13, count * WINDOW) for raw in (*own.values(), *empty.values()))
    # windows look at the picture where they begin, 0, 1.2, 2.4 and 3.6 s: the short video's end, 1.5 s, plus one
    # second lies between the third and the fourth
    seen = 3 * WINDOW
    same = {"rtol": 0, "atol": 1e-4}  # the codec's frames differ by a grey level here and there
    np.testing.assert_allclose(own[1][..., :seen], own[3][..., :seen], **same)
    np.testing.assert_allclose(own[1][..., seen:], empty[1][..., seen:], rtol=0, atol=1e-6)
    assert np.abs(own[3][..., seen:] - empty[3][..., seen:]).max() > 1e-3
    # the longer video's surplus changes nothing
    np.testing.assert_allclose(own[2], own[3], **same)
    for window in range(count):
        part = slice(window * WINDOW, (window + 1) * WINDOW)
        assert np.abs(own[2][..., part] - empty[2][..., part]).max() > 1e-3


def test_predictions_end_with_the_audio(run, capsys, tmp_path):
    low = tmp_path / "low.json"
    low.write_text(json.dumps({"threshold_presence": [0.0] * 13, "threshold_unification": 15}))
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu", "--threshold-config", str(low)]) == 0
    (folder,) = run.glob("pred_dcase*devtest_0000002")
    for path in folder.iterdir():
        assert set(np.loadtxt(path, delimiter=",")[:, 0]) == set(range(round(AUDIO_S * 10))), path.name


def test_the_player_fills_the_boxes_of_the_times_between_the_windows(run, root, capsys):
    """What the score was computed with stays as it was."""
    own = raw_output(run, capsys)
    video = root / "video_dev/dev-test-tiny/fold4_room3_mix001.mp4"
    (raw,) = run.glob("raw_dcase*devtest_0000002/fold4_room3_mix001.npy")
    before = read_boxes(box_path(video, "builtin"))
    assert before.grid_hz == 10.0
    boxes = clip_boxes(load_clip(raw))
    assert boxes.grid_hz is None and len(boxes.time_s) == round(10 * AUDIO_S)
    assert read_boxes(box_path(video, "builtin")).grid_hz is None
    np.testing.assert_array_equal(boxes.at(before.time_s), before.at(before.time_s))
    np.testing.assert_array_equal(raw_output(run, capsys)[3], own[3])
