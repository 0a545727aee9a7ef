"""The stereo form of 2025: formulas of sound, labels and picture, the simulator's sets, `python -m dataset convert`."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.__main__ import main as dataset
from dataset.augment import swaps_of
from dataset.convert_stereo import plan
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import Labels, recordings_from_list
from dataset.stereo import camera_at, stereo_labels, stereo_sound, view_map
from dcase2022_task3_seld_metrics.distances import fold_azimuth_deg as folded_by_the_metrics
from simulation.__main__ import main as simulate
from simulation.receivers import receiver_for
from util.angles import direction_from_degrees, fold_azimuth_deg
from util.audio import write_audio
from util.camera import Equirectangular
from util.cli import run_main
from util.dialects import read_events, write_events
from util.events import EventTable
from util.files import write_json
from util.microphone_arrays import ARRAYS
from util.video import VideoWriter, read_frames, video_info

angles = st.floats(-180, 180, allow_nan=False)


def plane_wave(azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    x, y, z = direction_from_degrees(azimuth_deg, elevation_deg)
    return np.array([[1.0], [y], [z], [x]])


@given(angles, st.floats(-90, 90), st.integers(0, 359))
def test_a_plane_wave_is_heard_where_the_label_says(azimuth, elevation, yaw):
    """L and R are 1 +- sin(folded azimuth) cos(elevation): of them the label's azimuth is known."""
    left, right = stereo_sound(plane_wave(azimuth, elevation), yaw)[:, 0]
    table = stereo_labels(EventTable.make(frame=[0], class_index=[0], azimuth_deg=[azimuth], elevation_deg=[elevation]),
                          camera_at(yaw))  # fmt: skip
    side = np.sin(np.deg2rad(table.azimuth_deg[0])) * np.cos(np.deg2rad(elevation))
    assert left + right == pytest.approx(2.0) and (left - right) / 2 == pytest.approx(side, abs=0.01)
    assert -90 <= table.azimuth_deg[0] <= 90 and np.isnan(table.elevation_deg[0])


@given(angles, st.floats(-89, 89), st.integers(0, 359))
@settings(max_examples=30, deadline=None)
def test_a_marker_pixel_lands_where_the_label_says(azimuth, elevation, yaw):
    """The nearest pixels of the view show the marker if and only if the source is on the screen."""
    sphere, camera = Equirectangular(720, 360), camera_at(yaw, 160, 90)
    picture = np.zeros((360, 720, 3), np.uint8)
    x, y = np.floor(sphere.project(direction_from_degrees(azimuth, elevation))[0]).astype(int)
    picture[max(y - 1, 0) : y + 2, np.arange(x - 1, x + 2) % 720] = 255
    view = cv2.remap(picture, *view_map(sphere, camera), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    place, _ = camera.project(direction_from_degrees(azimuth, elevation))
    table = stereo_labels(EventTable.make(frame=[0], class_index=[0], azimuth_deg=[azimuth], elevation_deg=[elevation]),
                          camera)  # fmt: skip
    bright = np.argwhere(view[..., 0] > 60)
    inside = 4 < place[0] < 156 and 4 < place[1] < 86 if np.isfinite(place).all() else False
    if inside:
        assert table.onscreen[0] == 1 and len(bright)
        assert np.abs(bright.mean(axis=0) + 0.5 - place[::-1]).max() < 1.5
    if table.onscreen[0] == 0:
        far = np.abs(bright + 0.5 - np.array([45, 80])) < [[42, 77]]
        assert not far.all(axis=1).any()  # at most a rim


def test_the_mirror_swaps_left_and_right():
    """--augment acs on stereo clips: the only symmetry that a pair has."""
    _, mirror = swaps_of(ARRAYS["stereo"])
    source, sign = mirror.channels(ARRAYS["stereo"])
    heard = stereo_sound(plane_wave(40, 10), 0)
    np.testing.assert_allclose(heard[source] * sign[:, None], stereo_sound(plane_wave(-40, 10), 0))
    table = mirror.events(EventTable.make(frame=[0], class_index=[0], azimuth_deg=[40], onscreen=[1]))
    assert table.azimuth_deg.tolist() == [-40] and table.onscreen.tolist() == [1]


@given(st.floats(-1000, 1000))
def test_folding_is_that_of_the_metrics(azimuth):
    assert fold_azimuth_deg(azimuth) == pytest.approx(folded_by_the_metrics(np.array(azimuth)), abs=1e-9)
    assert abs(fold_azimuth_deg(azimuth)) <= 90


def test_the_array_stereo_is_the_formula():
    """The simulator's receiver hears what the formula makes of what its FOA receiver hears; noise too."""
    azimuth, elevation = np.random.default_rng(0).uniform((-180, -90), (180, 90), (50, 2)).T
    towards = direction_from_degrees(azimuth, elevation)
    foa, pair = (receiver_for(ARRAYS[name], 24000) for name in ("foa", "stereo"))
    np.testing.assert_allclose(pair.weights(towards), stereo_sound(foa.weights(towards), 0), atol=1e-6)
    mix = np.array([[1, 1, 0, 0], [1, -1, 0, 0]])
    frequency = np.array([100.0, 5000.0])
    due = mix @ foa.diffuse_covariance(frequency) @ mix.T
    np.testing.assert_allclose(pair.diffuse_covariance(frequency), due, atol=1e-12)


@pytest.mark.parametrize(("layout", "dialect"), [("stereo2025", "dcase2025"), ("starss22", "starss22")])
def test_the_simulator_writes_kin_of_starss23(tmp_path, layout, dialect):
    out = tmp_path / "set"
    options = ["--train", "1", "--test", "1", "--seconds", "2", "--processes", "1", "--quiet", "--no-video"]
    assert run_main(simulate, ["--layout", layout, "--out", str(out), *options]) == 0
    root = DataRoot(out)
    assert root.layout.name == layout and root.layout.dialect == dialect and root.synthetic
    (first,) = recordings_from_list(list_file(root.layout.default_lists().train, [root]), [root], need_labels=True)
    table = Labels(13)(first)
    assert len(table) and len(read_events(first.labels, dialect)) == len(table)
    if layout == "stereo2025":
        assert first.name == "fold3_room1_mix001_deg000_start0000" and first.array.name == "stereo"
        assert root.clip_s == 2.0 and root.view == first.view == "perspective"
        assert np.abs(table.azimuth_deg).max() <= 90 and np.isfinite(table.onscreen).all()
        assert soundfile.info(first.audio).channels == 2
    else:
        assert np.isnan(table.distance_m).all() and first.view == "equirectangular"
    again = json.loads((out / "settings.json").read_text())
    assert again["layout"] == layout
    assert run_main(simulate, ["--layout", layout, "--out", str(out), *options]) == 0  # nothing to do


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--layout", "stereo2025", "--yaw", "30"], "--view and --yaw: the stereo pair of stereo2025"),
        (["--layout", "stereo2025", "--formats", "foa"], "--formats: layout stereo2025 has no foa; known are stereo"),
        (["--layout", "starss22", "--formats", "binaural"], "--formats: layout starss22 has no binaural"),
        (["--formats", "stereo"], "--formats: layout starss23 has no stereo; known are foa, mic, binaural"),
    ],
)
def test_layouts_have_their_formats(tmp_path: Path, capsys, options, rule):
    assert run_main(simulate, ["--out", str(tmp_path / "out"), "--quiet", *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert rule in line and not (tmp_path / "out").exists()


# `python -m dataset convert stereo`


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Two recordings of 8 and 6 s of a plane wave of noise that comes from the marker in the video."""
    root = tmp_path_factory.mktemp("source") / "data"
    rng = np.random.default_rng(1)
    for split, fold, seconds, azimuth in (("dev-train-sony", 3, 8.0, 70), ("dev-test-tau", 4, 6.0, -130)):
        name = f"fold{fold}_room1_mix001"
        noise = 0.1 * rng.standard_normal(round(seconds * 24000))
        write_audio(root / "foa_dev" / split / f"{name}.wav", plane_wave(azimuth, 10) * noise, 24000)
        frame = np.arange(10, round(seconds * 10))
        table = EventTable.make(
            frame=frame,
            class_index=np.full(len(frame), 5),
            source=np.ones(len(frame)),
            azimuth_deg=np.full(len(frame), azimuth),
            elevation_deg=np.full(len(frame), 10),
            distance_m=np.full(len(frame), 1.5),
        )
        write_events(root / "metadata_dev" / split / f"{name}.csv", table)
        sphere = Equirectangular(480, 240)
        x, y = np.floor(sphere.project(direction_from_degrees(azimuth, 10))[0]).astype(int)
        path = root / "video_dev" / split / f"{name}.mp4"
        with VideoWriter(path, 480, 240, 10) as writer:
            for number in range(round(seconds * 10)):
                picture = np.full((240, 480, 3), 40, np.uint8)
                if number >= 10:
                    picture[y - 4 : y + 5, np.arange(x - 4, x + 5) % 480] = 255
                writer.write(picture)
    write_json(root / "dataset.json", {"name": "made up", "synthetic": True})
    return root


def convert(*options: str | Path) -> int:
    return run_main(dataset, ["convert", "stereo", *map(str, options), "--workers", "1", "--quiet"])


@pytest.fixture(scope="module")
def clips(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clips") / "stereo"
    assert convert(source, "--out", out, "--clips", "8", "--seed", "3") == 0
    return out


def test_clips_are_heard_seen_and_labelled_alike(clips, source):
    """In every clip: the pair by the formula, sample for sample; the label where it sounds; the marker seen there."""
    root = DataRoot(clips)
    assert root.layout.name == "stereo2025" and root.view == "perspective" and root.synthetic
    lists = root.layout.lists(clips)
    recordings = [
        one for name in sorted(lists) if "audiovisual" not in name
        for one in recordings_from_list(list_file(name, [root]), [root], need_labels=True, need_video=True)
    ]  # fmt: skip
    assert len(recordings) == 8 and {one.split for one in recordings} == {"train", "test"}
    shown = 0
    for one in recordings:
        stem, yaw, start = re.fullmatch(r"(fold\d_room1_mix001)_deg(\d{3})_start(\d{4})", one.name).groups()
        yaw, start = int(yaw), int(start)
        foa, _ = soundfile.read(next(source.rglob(f"{stem}.wav")), dtype="float64", always_2d=True)
        due = stereo_sound(foa.T[:, start * 2400 : start * 2400 + 120000], yaw)
        sound, rate = soundfile.read(one.audio, dtype="float64", always_2d=True)
        assert rate == 24000 and np.abs(sound.T - due).max() <= 0.5 / 32768 + 1e-7
        table = read_events(one.labels, "dcase2025")
        azimuth = 70 if "fold3" in stem else -130
        assert (table.azimuth_deg == np.rint(fold_azimuth_deg(azimuth - yaw))).all() and (table.distance_m == 1.5).all()
        assert table.frame.tolist() == [frame for frame in range(50) if frame + start >= 10]
        place, visible = camera_at(yaw).project(direction_from_degrees(azimuth, 10))
        assert set(table.onscreen) == {float(visible)}
        info = video_info(one.video)
        assert (info.width, info.height, round(float(info.fps), 3)) == (640, 360, 10.0)
        pictures = [frame[..., 0] for _, frame in read_frames(one.video)]
        assert len(pictures) == 50
        bright = np.argwhere(pictures[-1] > 150)
        inside = 20 < place[0] < 620 and 20 < place[1] < 340 if np.isfinite(place).all() else False
        if inside:
            shown += 1
            assert np.abs(bright.mean(axis=0) + 0.5 - place[::-1]).max() < 3
        elif not visible:
            assert not len(bright) or np.abs(bright - [180, 320]).max(axis=0).max() > 140
        if start < 10:  # the marker comes with the sound
            assert (pictures[10 - start - 1] > 150).sum() == 0
    assert shown >= 1
    with open(clips / "provenance.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["clip"] for row in rows} == {one.name for one in recordings}
    assert all(row["clip"].endswith(f"start{round(float(row['start_s']) * 10):04d}") for row in rows)
    assert "seed 3" in (clips / "README.md").read_text()


def test_an_interrupted_conversion_goes_on_and_more_clips_are_the_same_and_more(clips, source, tmp_path, capsys):
    out = tmp_path / "again"
    assert convert(source, "--out", out, "--clips", "8", "--seed", "3", "--no-video") == 0
    names = sorted(path.stem for path in (out / "stereo_dev").rglob("*.wav"))
    assert names == sorted(path.stem for path in (clips / "stereo_dev").rglob("*.wav"))
    assert not (out / "video_dev").exists()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    next((out / "metadata_dev").rglob("*.csv")).unlink()
    capsys.readouterr()
    assert convert(source, "--out", out, "--clips", "8", "--seed", "3", "--no-video") == 0
    assert "8 clips of 2 recordings, 7 are there" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert convert(source, "--out", out, "--clips", "11", "--seed", "3", "--no-video") == 0
    more = {path.stem for path in (out / "stereo_dev").rglob("*.wav")}
    assert len(more) == 11 and more > set(names)
    assert convert(source, "--out", out, "--seed", "4", "--no-video") == 2
    assert "holds clips made with another seed" in capsys.readouterr().err


def test_default_covers_the_time_once_and_the_seed_decides(source):
    root = DataRoot(source)
    recordings = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]), [root])
    first = plan(recordings, 50, 0)
    assert first == plan(recordings, 50, 0) != plan(recordings, 50, 1)
    assert sum(len(job.clips) for job in plan(recordings, None, 0)) == 2  # 8 s by clips of 5 s
    (job,) = first
    assert len(set(job.clips)) == 50 and max(clip.start for clip in job.clips) <= 30
    yaws = [clip.yaw_deg for clip in plan(recordings, 4000, 0)[0].clips]
    assert min(yaws) == 0 and max(yaws) == 359 and 150 < np.mean(yaws) < 210


def test_what_cannot_be_converted_is_one_line(source, clips, tmp_path, capsys, monkeypatch):
    def said(*options: str | Path) -> str:
        assert convert(*options) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1
        return lines[0]

    out = tmp_path / "out"
    assert "no such data root" in said(tmp_path / "nowhere", "--out", out)
    assert "is of layout stereo2025; clips are made of STARSS23" in said(clips, "--out", out)
    (tmp_path / "empty").mkdir()
    assert "has no recordings with labels in foa_dev" in said(tmp_path / "empty", "--out", out)
    assert "is the source; --out needs a folder of its own" in said(source, "--out", source)
    assert "--clips must be at least 1, got 0" in said(source, "--out", out, "--clips", "0")
    assert "there are only" in said(source, "--out", out, "--clips", "999999")
    (tmp_path / "file").write_text("x")
    assert "is a file; --out needs a folder" in said(source, "--out", tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert "holds something else (thesis.tex)" in said(source, "--out", tmp_path / "full")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
        assert "of disk, 100 B are free" in said(source, "--out", tmp_path / "disk", "--no-video")
    copy = tmp_path / "copy"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("list_dataset", "dev-test-tau"))
    (video,) = copy.rglob("*.mp4")
    with VideoWriter(video, 160, 90, 10) as writer:
        writer.write(np.zeros((90, 160, 3), np.uint8))
    assert "is 160x90: a picture of all directions is twice as wide as high" in said(copy, "--out", tmp_path / "flat")
    with VideoWriter(video, 480, 240, 10) as writer:
        for _ in range(5):
            writer.write(np.zeros((240, 480, 3), np.uint8))
    assert "is shorter than its sound: no picture at" in said(copy, "--out", tmp_path / "short", "--clips", "3")
    (labels,) = copy.rglob("*.csv")
    labels.write_text("0,1,0,10,20\n")
    assert "has no distances, which labels of 2025 need" in said(copy, "--out", tmp_path / "old", "--no-video")
    labels.write_text("nonsense\n")
    assert "line 1" in said(copy, "--out", tmp_path / "bad", "--no-video")
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]
