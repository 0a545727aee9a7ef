"""Channel swaps: sound, labels and boxes move together, for every array and every swap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.augment import ALL_SWAPS, MIRROR, SWAPS, ChannelSwap, added_looks, check_swappable, swaps_of
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import recordings_from_list
from tests.small_data import make_root
from util.angles import direction_from_degrees
from util.camera import Equirectangular
from util.errors import InputError
from util.events import EventTable
from util.files import write_json
from util.intervals import IntervalTable
from util.microphone_arrays import ARRAYS, Array

# the table of the data set page: source channels with signs, FOA as (W, Y, Z, X), MIC as M1..M4
FOA = ("W,-X,-Z,Y", "W,-X,Z,-Y", "W,Y,Z,X", "W,-Y,-Z,X", "W,X,-Z,-Y", "W,X,Z,Y", "W,-Y,Z,-X", "W,Y,-Z,-X")
MIC = ("3142", "4231", "1234", "2143", "2413", "1324", "4321", "3412")


@pytest.mark.parametrize("number", range(8))
def test_channels_of_the_table(number):
    source, sign = SWAPS[number].channels(ARRAYS["foa"])
    names = [("-" if s < 0 else "") + "WYZX"[c] for c, s in zip(source, sign)]
    assert ",".join(names) == FOA[number]
    source, sign = SWAPS[number].channels(ARRAYS["mic"])
    assert "".join(str(c + 1) for c in source) == MIC[number] and (sign == 1).all()


def heard(array: Array, azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    """What each channel hears of a unit plane wave, as a number that depends on the direction (and on nothing else)."""
    direction = direction_from_degrees(azimuth_deg, elevation_deg)
    if array.kind == "ambisonics":
        x, y, z = direction
        return np.array([1.0, y, z, x])
    cosine = array.directions() @ direction
    return 1 + cosine + 0.5 * cosine**2


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["foa", "mic", "binaural"]), st.floats(-180, 179.9), st.floats(-90, 90))
def test_swapped_sound_comes_from_the_swapped_label(name, azimuth_deg, elevation_deg):
    array = ARRAYS[name]
    table = EventTable.make(frame=[0], class_index=[0], azimuth_deg=[azimuth_deg], elevation_deg=[elevation_deg])
    for swap in swaps_of(array):
        moved = swap.events(table)
        assert -180 <= moved.azimuth_deg[0] < 180
        source, sign = swap.channels(array)
        swapped = heard(array, azimuth_deg, elevation_deg)[source] * sign
        assert np.allclose(swapped, heard(array, moved.azimuth_deg[0], moved.elevation_deg[0]), atol=1e-9)
        expected = swap.matrix() @ direction_from_degrees(azimuth_deg, elevation_deg)
        new = direction_from_degrees(moved.azimuth_deg[0], moved.elevation_deg[0])
        assert np.allclose(new, expected, atol=1e-9)


@settings(max_examples=80, deadline=None)
@given(st.floats(-176, 176), st.floats(-80, 80))
def test_a_marker_in_the_picture_lands_on_its_label(azimuth_deg, elevation_deg):
    camera = Equirectangular(360, 180)
    pixel, _ = camera.project(direction_from_degrees(azimuth_deg, elevation_deg))
    centre, half = pixel / [360, 180], np.array([0.01, 0.01])
    boxes = np.zeros((6, 4), dtype=np.float32)
    boxes[0] = [*(centre - half), *(centre + half)]
    table = EventTable.make(frame=[0], class_index=[0], azimuth_deg=[azimuth_deg], elevation_deg=[elevation_deg])
    for swap in (*SWAPS, *MIRROR):
        moved_table, moved = swap.events(table), swap.boxes(boxes)
        due, _ = camera.project(direction_from_degrees(moved_table.azimuth_deg[0], moved_table.elevation_deg[0]))
        kept = moved[moved.any(axis=1)]
        assert np.allclose((kept[:, 1] + kept[:, 3]) / 2 * 180, due[1], atol=1e-3)
        inside = [x0 * 360 - 1e-2 <= due[0] <= x1 * 360 + 1e-2 for x0, x1 in kept[:, [0, 2]]]
        at_seam = min(due[0], 360 - due[0]) < 3.7  # split there, or its narrow part dropped
        assert any(inside) or at_seam
        if not at_seam and len(kept) == 1:
            assert (kept[0, 0] + kept[0, 2]) / 2 * 360 == pytest.approx(due[0], abs=1e-3)


def test_a_box_across_the_seam_is_split():
    boxes = np.zeros((6, 4), dtype=np.float32)
    boxes[0] = [0.40, 0.2, 0.70, 0.6]
    boxes[1] = [0.10, 0.3, 0.20, 0.5]
    half_turn = SWAPS[6].boxes(boxes)
    assert half_turn[0] == pytest.approx([0.0, 0.2, 0.2, 0.6], abs=1e-6)  # the wider part keeps the row
    assert half_turn[1] == pytest.approx([0.6, 0.3, 0.7, 0.5], abs=1e-6)
    assert half_turn[2] == pytest.approx([0.9, 0.2, 1.0, 0.6], abs=1e-6)
    assert not half_turn[3:].any()
    full = np.tile(boxes[:1], (6, 1))
    assert (SWAPS[6].boxes(full)[:, 2] <= 0.2 + 1e-6).all()  # no row is free for the other parts


def test_boxes_reaching_out_of_the_picture_stay_there_without_a_roll():
    boxes = np.zeros((6, 4), dtype=np.float32)
    boxes[0] = [-0.02, 0.1, 0.1, 1.05]
    assert SWAPS[3].boxes(boxes)[0] == pytest.approx([0.9, -0.05, 1.02, 0.9], abs=1e-6)
    assert not SWAPS[3].boxes(np.zeros((6, 4))).any()


def test_swaps_of_arrays():
    assert swaps_of(ARRAYS["foa"]) == swaps_of(ARRAYS["mic"]) == SWAPS
    assert swaps_of(ARRAYS["binaural"]) == MIRROR
    assert MIRROR[1].channels(ARRAYS["binaural"])[0].tolist() == [1, 0]
    lopsided = Array("lopsided", "capsules", ((0, 0), (40, 10), (100, 20)), 0.05, "open")
    with pytest.raises(ValueError, match="allow no swap"):
        swaps_of(lopsided)


def test_perspective_video_is_refused(tmp_path):
    root = make_root(tmp_path, train=1, test=1, seconds=0.3)
    listed = list_file("dcase2023t3_foa_devtrain.txt", [DataRoot(root)])
    check_swappable(recordings_from_list(listed, [DataRoot(root)]), SWAPS)
    for written in ({"view": "perspective"}, {"settings": {"view": "perspective"}}):
        write_json(root / "dataset.json", written)
        with pytest.raises(InputError, match="needs 360-degree video"):
            check_swappable(recordings_from_list(listed, [DataRoot(root)]), SWAPS)
    check_swappable(recordings_from_list(listed, [DataRoot(root)]), MIRROR)  # left and right can be exchanged


class Clip:
    """Labels of a table, turned as the loader's are."""

    def __init__(self, table: EventTable):
        self.table = table

    def turned(self, swap) -> "Clip":
        return Clip(swap.events(self.table))


def test_the_swap_of_an_item_depends_on_seed_and_number_only():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal((4, 50)).astype(np.float32)
    labels = [Clip(EventTable.make(frame=[0], class_index=[0], azimuth_deg=[33], elevation_deg=[11]))]
    boxes = np.zeros((2, 6, 4), dtype=np.float32)
    boxes[1, 0] = [0.1, 0.2, 0.3, 0.4]
    swap, again = ChannelSwap(ARRAYS["foa"], seed=1), ChannelSwap(ARRAYS["foa"], seed=1)
    seen = set()
    for number in range(100):
        one, two = swap(waveform, labels, boxes, number), again(waveform, labels, None, number)
        assert np.array_equal(one[0], two[0]) and two[2] is None and one[2].shape == (2, 6, 4)
        assert one[1][0].table.azimuth_deg == two[1][0].table.azimuth_deg
        assert one[0].dtype == np.float32 and not one[2][0].any() and one[2][1].any()
        seen.add((float(one[1][0].table.azimuth_deg[0]), float(one[1][0].table.elevation_deg[0])))
    assert len(seen) == 8


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 179), st.floats(-80, 80), st.floats(-60, 60), st.booleans(), st.floats(0, 2))
def test_moving_events_move_where_the_swap_takes_them(azimuth_deg, elevation_deg, velocity, great_circle, at_s):
    toward = {"azimuth_direction_deg": [70.0], "elevation_direction_deg": [-20.0]} if great_circle else {}
    table = IntervalTable.make(
        start_s=[0], end_s=[2], class_index=[0], azimuth_deg=[azimuth_deg], elevation_deg=[elevation_deg],
        angular_velocity_deg_s=[velocity], **toward,
    )  # fmt: skip
    before = direction_from_degrees(*table.angles_at(0, np.array(at_s)))
    for swap in SWAPS:
        after = direction_from_degrees(*swap.intervals(table).angles_at(0, np.array(at_s)))
        assert np.allclose(after, swap.matrix() @ before, atol=1e-6)


def people(rng: np.random.Generator, most: float) -> np.ndarray:
    """Looks (40, 6, 4) at boxes up to so wide, with holes between rows, and at nobody."""
    corner = rng.random((40, 6, 2)) * 0.9
    looks = np.concatenate([corner, corner + rng.random((40, 6, 2)) * most], axis=-1).astype(np.float32)
    looks[rng.random((40, 6)) < 0.4] = 0
    looks[:3] = 0
    return looks


def one_by_one(swap, boxes: np.ndarray, oriented: bool) -> np.ndarray:
    """Boxes (6, 4) turned in plain steps: each moved, cut at the border, the narrower parts in the rows left."""
    rows, parts = [], []
    for x0, y0, x1, y1 in boxes[boxes.any(axis=1)].astype(np.float64):
        if swap.elevation_sign < 0:
            y0, y1 = (1 - y0, 1 - y1) if oriented else (1 - y1, 1 - y0)
        if swap.azimuth_sign < 0:
            x0, x1 = 1 - x1, 1 - x0
        if swap.rotation_deg:
            x0, x1 = (np.clip(x, 0, 1) - swap.rotation_deg / 360 for x in (x0, x1))
            x0, x1 = x0 - np.floor(x0), x1 - np.floor(x0)
        if swap.rotation_deg and x1 > 1 + 1e-9:
            at_right, at_left = (x0, 1.0), (0.0, x1 - 1)
            wide, narrow = (at_left, at_right) if at_left[1] > 1 - x0 else (at_right, at_left)
            rows.append([wide[0], y0, wide[1], y1])
            if narrow[1] - narrow[0] >= 1 / 360:
                parts.append([narrow[0], y0, narrow[1], y1])
        else:
            rows.append([x0, y0, min(x1, 1.0) if swap.rotation_deg else x1, y1])
    made = np.zeros((6, 4), np.float32)
    both = (rows + parts)[:6]
    made[: len(both)] = np.array(both).reshape(-1, 4)
    return made


@pytest.mark.parametrize("swap", ALL_SWAPS)
@pytest.mark.parametrize("oriented", [False, True])
def test_looks_turned_together_are_those_turned_one_by_one(swap, oriented):
    for most in (0.01, 0.1, 0.9):
        looks = people(np.random.default_rng(0), most)
        expected = np.stack([one_by_one(swap, look, oriented) for look in looks])
        np.testing.assert_array_equal(swap.looks(looks, oriented=oriented), expected)


def test_who_is_seen_in_an_added_window_takes_the_rows_that_are_free():
    rng = np.random.default_rng(1)
    looks, others = people(rng, 0.1), people(rng, 0.1)
    found = added_looks(looks, others)
    for made, mine, theirs in zip(found, looks, others):
        there, new = mine.any(axis=1), theirs[theirs.any(axis=1)]
        np.testing.assert_array_equal(made[there], mine[there])
        free = made[~there]
        np.testing.assert_array_equal(free[: len(new)], new[: len(free)])
        assert not free[len(new) :].any()
