"""Interval tables and their csv files: frames of any length, what is written is read, bad rows are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import golden
from util.angles import angle_between_deg, direction_from_degrees
from util.errors import InputError
from util.events import EventTable
from util.interval_csv import (
    INTERVAL_DIALECTS,
    URBANSOUND8K,
    format_intervals,
    interval_dialect_named,
    parse_intervals,
    read_intervals,
    write_intervals,
)
from util.intervals import IntervalTable, frames_per_second, from_events, to_events

TUT = "knock drawer clearthroat phone keysDrop speech keyboard pageturn cough doorslam laughter".split()
URBAN = list(URBANSOUND8K.values())
STATIC = "sound_event_recording,start_time,end_time,ele,azi,dist\n"


def classes_of(dialect: str) -> list[str]:
    return URBAN if INTERVAL_DIALECTS[dialect].naming == "urbansound8k" else TUT


def one(start_s: float, end_s: float, **columns) -> IntervalTable:
    filled = {"class_index": 0, "azimuth_deg": 10, "elevation_deg": 20, **columns}
    return IntervalTable.make(start_s=[start_s], end_s=[end_s], **{name: [value] for name, value in filled.items()})


def test_rows_of_every_dialect():
    static = read_intervals(golden.find("seldnet/labels/A_ansim.csv"), "tut2018", TUT)
    assert (static.class_index[0], static.start_s[0], static.azimuth_deg[0], static.elevation_deg[0]) == (
        2,
        17.06704,
        20,
        -10,
    )
    assert static.distance_m[0] == 5.5 and not static.moving.any()
    real = read_intervals(golden.find("seldnet/labels/A_real.csv"), "tut2018_real", URBAN)
    assert real.class_index[:2].tolist() == [0, 5]  # of the UrbanSound8K classes 1, 3, 4, 5, 6, 7, 8, 9
    moved = read_intervals(golden.find("seldnet/labels/A_mansim.csv"), "mansim", TUT)
    assert moved.moving.all() and (moved.azimuth_direction_deg[0], moved.elevation_direction_deg[0]) == (50, 0)
    assert (moved.angular_velocity_deg_s[0], moved.distance_m[0]) == (51, 9.95)
    turned = read_intervals(golden.find("seldnet/labels/A_mreal.csv"), "mreal", URBAN)
    assert turned.angular_velocity_deg_s[0] == -19 and np.isnan(turned.azimuth_direction_deg).all()
    bare = read_intervals(golden.find("seldnet/labels/B_ov1.csv"), "tau2019", TUT)
    assert bare.class_index[:2].tolist() == [7, 6] and bare.end_s[0] == 6.580734609308
    assert len(static[:3]) == 3 and static[static.class_index == 10].class_index.tolist() == [10, 10]


@pytest.mark.parametrize(
    ("dialect", "text", "place", "rule"),
    [
        ("tau2019", "speech,0,1,0,0,1\n", "line 1", "the first line must be the header of dialect tau2019: sound_"),
        ("tut2018", STATIC.replace(",dist", ""), "line 1", "the first line must be the header of dialect tut2018"),
        ("mansim", STATIC, "line 1", "ele,azi,ele_dir,azi_dir,ang_vel,dist"),
        ("tau2019", STATIC + "speech,0,1,0,0\n", "line 2", "has 5 columns, a row of dialect tau2019 has 6"),
        (
            "tau2019",
            STATIC + "\nspeech001.wav,0,1,0,0,1\n",
            "line 3",
            "'speech001.wav' names no known class; known are",
        ),
        ("tut2018", STATIC + "speech,0,1,0,0,1\n", "line 2", "'speech' names no known class"),
        ("tut2018_real", STATIC + "100-2-0-0.wav,0,1,0,0,1\n", "line 2", "'100-2-0-0.wav' names no known class"),
        ("tut2018_real", STATIC + "speech.wav,0,1,0,0,1\n", "line 2", "'speech.wav' names no known class"),
        ("tau2019", STATIC + "speech,2,1.5,0,0,1\n", "line 2", "the event ends (1.5 s) before it starts (2 s)"),
        ("tau2019", STATIC + "speech,soon,1,0,0,1\n", "line 2", "start_time must be a number, found 'soon'"),
        ("tau2019", STATIC + "speech,-1,1,0,0,1\n", "line 2", "start_time must be a time in seconds from 0, found -1"),
        ("tau2019", STATIC + "speech,0,inf,0,0,1\n", "line 2", "end_time must be a finite number"),
        ("tau2019", STATIC + "speech,0,1,0,190,1\n", "line 2", "azi must be between -180 and 180 degrees, found 190"),
        ("tau2019", STATIC + "speech,0,1,-91,0,1\n", "line 2", "ele must be between -90 and 90 degrees, found -91"),
        ("tau2019", STATIC + "speech,0,1,0,0.5,1\n", "line 2", "azi must be a whole number, found 0.5"),
        ("tau2019", STATIC + "speech,0,1,nan,0,1\n", "line 2", "ele must be a finite number"),
        ("tut2018", STATIC + "speech001.wav,0,1,0,0,-2\n", "line 2", "dist must be 0 or more"),
    ],
)
def test_bad_files_are_refused_with_file_line_and_rule(tmp_path, dialect, text, place, rule):
    path = tmp_path / "label.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_intervals(path, dialect, classes_of(dialect))
    assert str(caught.value).startswith(f"{path}: {place}: ") and rule in str(caught.value)


def test_files_that_are_no_csv_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_intervals(tmp_path / "nothing.csv", "tau2019", TUT)
    with pytest.raises(InputError, match="cannot be read"):
        read_intervals(tmp_path, "tau2019", TUT)
    (tmp_path / "binary.csv").write_bytes(b"\x89PNG\r\n\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        read_intervals(tmp_path / "binary.csv", "tau2019", TUT)
    with pytest.raises(InputError, match="unknown csv dialect 'starss23'"):
        interval_dialect_named("starss23")


@pytest.mark.parametrize("text", ["", "\n \n", STATIC, "\ufeff" + STATIC.replace(",", " , ").replace("\n", "\r\n")])
def test_an_empty_file_has_no_events(tmp_path, text):
    (tmp_path / "empty.csv").write_text(text, newline="")
    assert len(read_intervals(tmp_path / "empty.csv", "tut2018", TUT)) == 0


number = st.one_of(
    st.integers(-500, 500).map(str),
    st.floats(width=32).map(str),
    st.sampled_from(["", " ", "nan", "-inf", "1e999", "0x10", "1_0", "\x00", "１", "--1"]),
)
first = st.sampled_from(["speech", "speech001.wav", "1-3-0-0.wav", "..", "---", ""]) | st.text(max_size=8)
row = st.tuples(first, st.lists(number, max_size=9)).map(lambda parts: ",".join([parts[0], *parts[1]]))


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(sorted(INTERVAL_DIALECTS)), st.booleans())
def test_any_text_is_a_table_of_legal_rows_or_one_clear_error(data, name, headed):
    dialect = INTERVAL_DIALECTS[name]
    text = data.draw(st.lists(row, max_size=4).map("\n".join) | st.text(max_size=60))
    try:
        table = parse_intervals(
            dialect.header + "\n" + text if headed else text, dialect, classes_of(name), path="a/label.csv"
        )
    except InputError as error:
        assert "\n" not in str(error) and str(error).startswith("a/label.csv: line ")
    else:
        assert ((table.start_s >= 0) & (table.end_s >= table.start_s) & np.isfinite(table.end_s)).all()
        assert (np.abs(table.azimuth_deg) <= 180).all() and (np.abs(table.elevation_deg) <= 90).all()
        assert ((table.class_index >= 0) & (table.class_index < len(classes_of(name)))).all()


times = st.floats(0, 60)
directions = st.tuples(st.integers(-180, 180), st.integers(-90, 90))
event = st.tuples(st.integers(0, 7), times, times, directions, directions, st.integers(-90, 90), st.floats(0, 10))


@settings(max_examples=100, deadline=None)
@given(st.lists(event, max_size=6), st.sampled_from(sorted(INTERVAL_DIALECTS)))
def test_what_is_written_is_read(tmp_path_factory, rows, name):
    dialect = INTERVAL_DIALECTS[name]
    class_index, a, b, at, toward, velocity, distance = (list(column) for column in zip(*rows)) if rows else ([],) * 7
    columns = {"azimuth_deg": [x for x, _ in at], "elevation_deg": [x for _, x in at], "distance_m": distance}
    if "ang_vel" in dialect.columns:
        columns["angular_velocity_deg_s"] = velocity
    if "azi_dir" in dialect.columns:
        columns |= {"azimuth_direction_deg": [x for x, _ in toward], "elevation_direction_deg": [x for _, x in toward]}
    start, end = np.minimum(a, b), np.maximum(a, b)
    table = IntervalTable.make(start_s=start, end_s=end, class_index=class_index, **columns)
    path = tmp_path_factory.getbasetemp() / "intervals.csv"
    write_intervals(path, table, name, classes_of(name))
    back = read_intervals(path, name, classes_of(name))
    for column in IntervalTable.COLUMNS:
        np.testing.assert_array_equal(getattr(back, column), getattr(table, column), err_msg=column)


def test_what_would_not_be_read_back_is_not_written():
    static = one(0, 1, distance_m=1)
    text = format_intervals(static, INTERVAL_DIALECTS["tut2018"], ["knock"], ["knock233.wav"])
    assert text == STATIC + "knock233.wav,0,1,20,10,1\n"
    for table, dialect, classes, rule in (
        (one(0, 1), "tau2019", ["knock"], "column dist has unknown values"),
        (static.replace(azimuth_deg=np.array([0.5])), "tau2019", ["knock"], "whole angles"),
        (static, "tut2018", ["kno.ck"], "does not name class"),
        (static, "tau2019", ["kno,ck"], "does not name class"),
        (one(0, 1, distance_m=1, angular_velocity_deg_s=5), "tau2019", ["knock"], "no moving events"),
    ):
        with pytest.raises(ValueError, match=rule):
            format_intervals(table, INTERVAL_DIALECTS[dialect], classes)
    with pytest.raises(ValueError, match="does not name class"):
        format_intervals(static, INTERVAL_DIALECTS["tut2018"], ["knock"], ["speech233.wav"])
    with pytest.raises(ValueError, match="unknown interval columns"):
        IntervalTable.make(begin=[1])
    with pytest.raises(ValueError, match="one length"):
        IntervalTable.make(start_s=[1.0], class_index=[0, 1])


def test_frames_by_each_rounding():
    table = one(0.31, 0.50)
    for rounding, frames in (("covered", [3, 4]), ("floor_ceil", [3, 4, 5]), ("trunc", [3, 4, 5])):
        assert to_events(table, 0.1, rounding=rounding).frame.tolist() == frames
    assert to_events(one(0.0, 0.0), 0.1).frame.tolist() == [0]  # an event of no length still is somewhere
    assert to_events(one(0.3, 0.1 * 3 + 0.3), 0.1).frame.tolist() == [3, 4, 5]  # sums of decimals are not exact
    assert to_events(table, 0.1, 4).frame.tolist() == [3]
    assert len(to_events(IntervalTable.make(), 0.1)) == 0
    with pytest.raises(ValueError, match="rounding must be one of"):
        to_events(table, 0.1, rounding="up")
    for frame_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="longer than 0"):
            frames_per_second(frame_s)
    assert [frames_per_second(x) for x in (0.02, 0.1, 256 / 44100)] == [50, 10, 172.265625]


def test_rows_of_a_frame_keep_the_order_of_the_table():
    table = IntervalTable.make(
        start_s=[0.2, 0.0, 0.1], end_s=[0.4, 0.3, 0.3], class_index=[5, 3, 3], azimuth_deg=[180, 20, 30]
    )
    events = to_events(table, 0.1)
    assert events.frame.tolist() == [0, 1, 1, 2, 2, 2, 3] and events.class_index.tolist() == [3, 3, 3, 5, 3, 3, 5]
    assert events.azimuth_deg.tolist() == [20, 20, 30, -180, 20, 30, -180]


def test_a_moving_event_is_where_it_is_in_the_middle_of_a_frame():
    table = one(
        1.0, 2.0, azimuth_direction_deg=80, elevation_direction_deg=-30, angular_velocity_deg_s=40.0, elevation_deg=0
    )
    events = to_events(table, 0.1)
    vectors = direction_from_degrees(events.azimuth_deg, events.elevation_deg)
    np.testing.assert_allclose(
        angle_between_deg(vectors, direction_from_degrees(10, 0)), 40 * (np.arange(10) + 0.5) / 10
    )
    turned = one(1.0, 2.0, azimuth_deg=170, angular_velocity_deg_s=100.0)
    azimuth = to_events(turned, 0.5).azimuth_deg
    np.testing.assert_allclose(azimuth, [-165, -115])
    np.testing.assert_allclose(to_events(turned.static(), 0.5).azimuth_deg, 170)
    last = to_events(turned, 0.5, rounding="floor_ceil").azimuth_deg[-1]
    np.testing.assert_allclose(last, -90)  # no further than its end


def test_events_of_frames_become_intervals_and_back():
    rows = [(0, 1, 0), (1, 1, 0), (3, 1, 0), (1, 2, 0), (2, 2, 10), (3, 2, 10), (0, 1, 50)]
    frame, class_index, azimuth = zip(*rows)
    events = EventTable.make(frame=frame, class_index=class_index, azimuth_deg=azimuth, elevation_deg=np.zeros(7))
    table = from_events(events)
    found = np.stack([table.start_s, table.end_s, table.class_index, table.azimuth_deg], axis=1)
    expected = [[0, 0.2, 1, 0], [0, 0.1, 1, 50], [0.1, 0.2, 2, 0], [0.2, 0.4, 2, 10], [0.3, 0.4, 1, 0]]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(table.distance_m).all() and len(from_events(EventTable.make())) == 0


frames = st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(-180, 179), st.integers(-90, 90))


@settings(max_examples=60, deadline=None)
@given(st.sets(frames, max_size=30), st.sampled_from([0.1, 0.02, 256 / 44100]))
def test_frames_survive_as_intervals(rows, frame_s):
    frame, class_index, azimuth, elevation = (list(column) for column in zip(*sorted(rows))) if rows else ([],) * 4
    events = EventTable.make(
        frame=frame, class_index=class_index, azimuth_deg=azimuth, elevation_deg=elevation, frame_s=frame_s
    )
    back = to_events(from_events(events), frame_s)
    columns = back.columns()
    names = ("frame", "class_index", "azimuth_deg", "elevation_deg")
    found = set(zip(*(columns[name].astype(float).tolist() for name in names)))
    assert found == {tuple(map(float, row)) for row in rows} and len(back) == len(rows)
