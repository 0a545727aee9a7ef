"""Position tracks of sources become label rows."""

import numpy as np
import pytest

from dataset.classes import MRSAUDIO_CLASS_INDEX
from tests import golden
from util.errors import InputError
from util.position_tracks import class_name_of_item, class_of_item, read_track, track_events


def test_rows_are_those_of_the_fork():
    values = np.load(golden.find("av_baseline/fork_extras.npz"))
    for index in (0, 1):
        table = track_events(values[f"pos{index}"], 5 + index, first_frame=1)
        distance_cm = np.rint(table.distance_m * 100)
        columns = [table.frame, table.class_index, table.source, table.azimuth_deg, table.elevation_deg, distance_cm]
        assert np.array_equal(np.stack(columns, axis=1), values[f"rows{index}"])
        assert np.array_equal(track_events(values[f"pos{index}"], 5).frame, values[f"rows{index}"][:, 0] - 1)


def test_averaging_is_safe_behind():
    behind = np.array([[-1.0, 0.05, 0.0], [-1.0, -0.06, 0.0]])
    assert abs(track_events(behind, 1).azimuth_deg[0]) > 178
    assert len(track_events(np.zeros((0, 3)), 1)) == 0


def test_bad_tracks_are_refused(tmp_path):
    path = tmp_path / "track.npy"
    with pytest.raises(InputError, match="no such file"):
        read_track(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no npy file of numbers"):
        read_track(path)
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="no npy file"):
        read_track(path)
    np.save(path, np.zeros(5))
    with pytest.raises(InputError, match=r"must be an array \(n, 4\)"):
        read_track(path)
    np.save(path, np.array([[0, 0, 1, 0], [0, np.nan, 1, 0]]))
    with pytest.raises(InputError, match="row 1: has positions that are NaN"):
        read_track(path)


def test_classes_of_items():
    assert class_name_of_item("sound012_toy_car3_1_2_007") == "toy_car"
    assert class_of_item("sound012_Tear_off_tape_1_2_007", MRSAUDIO_CLASS_INDEX) == 29
    assert class_of_item("s_WoodenClapper2_a_b_c", MRSAUDIO_CLASS_INDEX) == 18
    assert class_of_item("s_woodenclapper2_a_b_c", MRSAUDIO_CLASS_INDEX) == 10
    with pytest.raises(InputError, match="unknown class 'piano'"):
        class_of_item("s_piano_a_b_c", MRSAUDIO_CLASS_INDEX)
