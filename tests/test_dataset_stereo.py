"""The stereo form of 2025: formulas of sound, labels and picture, the simulator's sets, `python -m dataset convert`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import Labels, recordings_from_list
from dataset.stereo import camera_at, stereo_labels, stereo_sound, view_map
from dcase2022_task3_seld_metrics.distances import fold_azimuth_deg as folded_by_the_metrics
from simulation.__main__ import main as simulate
from simulation.receivers import receiver_for
from util.angles import direction_from_degrees, fold_azimuth_deg
from util.camera import Equirectangular
from util.cli import run_main
from util.dialects import read_events
from util.events import EventTable
from util.microphone_arrays import ARRAYS

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
        (["--formats", "stereo"], "--formats: layout starss23 has no stereo; known are foa, mic, binaural; --layout"),
    ],
)
def test_layouts_have_their_formats(tmp_path: Path, capsys, options, rule):
    assert run_main(simulate, ["--out", str(tmp_path / "out"), "--quiet", *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert rule in line and not (tmp_path / "out").exists()
