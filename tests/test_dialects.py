"""csv dialects: what is written is read, and every bad row is refused with file, line and rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2022_task3_seld_metrics.editions import EDITIONS
from tests.shared import SHARED, needs_shared
from util.dialects import DIALECTS, dialect_named, format_events, parse_events, read_events, write_events
from util.errors import InputError
from util.events import EventTable

STARSS23 = DIALECTS["starss23"]


def rows(table: EventTable) -> list[tuple]:
    return list(
        zip(table.frame.tolist(), table.class_index.tolist(), table.source.tolist(), table.azimuth_deg.tolist())
    )


def test_labels_of_starss23():
    table = parse_events("0,1,0,-180,90,123\n0,1,0,180,-90,0\n7,12,2,30,0,250\n", STARSS23, class_count=13)
    assert rows(table) == [(0, 1, 0, -180.0), (0, 1, 0, 180.0), (7, 12, 2, 30.0)]
    assert table.distance_m.tolist() == [1.23, 0.0, 2.5]
    assert table.frame.dtype == table.class_index.dtype == table.source.dtype == np.int64


def test_rows_without_distance_and_numbers_with_a_point():
    table = parse_events("3.0, 2 ,1,10.5,-4\r\n\r\n4,2,1,11,5", STARSS23)
    assert rows(table) == [(3, 2, 1, 10.5), (4, 2, 1, 11.0)]
    assert np.isnan(table.distance_m).all()


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_file_has_no_events(tmp_path, text):
    (tmp_path / "empty.csv").write_text(text)
    assert len(read_events(tmp_path / "empty.csv")) == 0


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("0,0,0,10,0\n1,speech,0,10,0\n", "line 2", "class_index must be a number, found 'speech'"),
        ("0,0,0,nan,0\n", "line 1", "azimuth_deg must be a finite number"),
        ("0,0,0,10,inf\n", "line 1", "elevation_deg must be a finite number"),
        ("nan,0,0,10,0\n", "line 1", "frame must be an integer"),
        ("0.5,0,0,10,0\n", "line 1", "frame must be an integer, found 0.5"),
        ("\n0,13,0,10,0\n", "line 2", "class must be between 0 and 12, found 13"),
        ("0,-1,0,10,0\n", "line 1", "class must be between 0 and 12, found -1"),
        ("0,0,0,400,0\n", "line 1", "azimuth must be between -180 and 180 degrees, found 400"),
        ("0,0,0,0,-91\n", "line 1", "elevation must be between -90 and 90 degrees, found -91"),
        ("0,0,0,0,0\n-1,0,0,0,0\n", "line 2", "frame must be 0 or more, found -1"),
        ("0,0,0,0,0,-5\n", "line 1", "distance must be 0 or more"),
        ("0,0,0,0\n", "line 1", "has 4 columns, a row of dialect starss23 has 5 or 6"),
        ("0,0,0,0,0,0,0\n", "line 1", "has 7 columns"),
        ("0,0,0,0,0,1\n0,0,0,0\n", "line 2", "has 4 columns, a row of dialect starss23 has 5 or 6"),
        ("0,0,0,0,0\n0,0,0,0,0,nan\n", "line 2", "distance must be"),
        ("1e300,0,0,0,0\n", "line 1", "frame must be an integer"),
    ],
)
def test_bad_rows_are_refused_with_file_line_and_rule(tmp_path, text, place, rule):
    path = tmp_path / "label.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_events(path, class_count=13)
    assert str(path) in str(caught.value) and f"{place}: " in str(caught.value) and rule in str(caught.value)


def test_files_that_are_no_csv_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_events(tmp_path / "nothing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\x89PNG\r\n\x00\x01")
    with pytest.raises(InputError, match="not a text file"):
        read_events(tmp_path / "binary.csv")
    with pytest.raises(InputError, match="unknown csv dialect 'guess'"):
        dialect_named("guess")


def test_rows_with_and_without_a_distance_stand_in_one_file_as_the_official_reader_of_2023_takes_them(tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text("0,1,0,10,0\n0,2,0,20,5,150\n1,1,0,30,0\n")
    table = read_events(path, "starss23")
    np.testing.assert_array_equal(table.azimuth_deg, [10, 20, 30])
    np.testing.assert_array_equal(table.distance_m, [np.nan, 1.5, np.nan])


def test_dialect_with_header():
    dialect = dialect_named("dcase2025")
    table = EventTable.make(
        frame=[0, 3], class_index=[1, 2], source=[0, 1], azimuth_deg=[-10, 20], distance_m=[1.5, 2], onscreen=[0, 1]
    )
    text = format_events(table, dialect)
    assert text.split("\n")[0] == dialect.header
    back = parse_events(text, dialect)
    assert rows(back) == rows(table) and back.onscreen.tolist() == [0, 1] and back.distance_m.tolist() == [1.5, 2]
    assert len(parse_events(dialect.header + "\n", dialect)) == 0
    with pytest.raises(InputError, match="onscreen must be 0 or 1"):
        parse_events(text.replace(",1\n", ",2\n"), dialect)


def test_unknown_values_are_not_written_as_numbers():
    with pytest.raises(ValueError, match="unknown values"):
        format_events(EventTable.make(frame=[0], class_index=[0]), STARSS23)


integers = st.integers(0, 10**6)
whole_rows = st.lists(
    st.tuples(integers, st.integers(0, 12), st.integers(0, 9), st.integers(-180, 180), st.integers(-90, 90)),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(rows=whole_rows, distances=st.none() | st.integers(0, 2000))
def test_whole_labels_survive_writing_and_reading(tmp_path_factory, rows, distances):
    frame, class_index, source, azimuth, elevation = (list(column) for column in zip(*rows)) if rows else ([],) * 5
    columns = {"frame": frame, "class_index": class_index, "source": source}
    table = EventTable.make(**columns, azimuth_deg=azimuth, elevation_deg=elevation)
    if distances is not None:
        table = table.replace(distance_m=np.full(len(table), distances / 100))
    path = tmp_path_factory.getbasetemp() / "labels.csv"
    write_events(path, table)
    back = read_events(path, class_count=13)
    for name in EventTable.COLUMNS:
        np.testing.assert_allclose(getattr(back, name), getattr(table, name), rtol=1e-12, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(integers, st.integers(0, 12), st.floats(-180, 180), st.floats(-90, 90)), max_size=10))
def test_predictions_keep_every_digit(rows):
    frame, class_index, azimuth, elevation = (list(column) for column in zip(*rows)) if rows else ([],) * 4
    table = EventTable.make(frame=frame, class_index=class_index, azimuth_deg=azimuth, elevation_deg=elevation)
    back = parse_events(format_events(table, DIALECTS["dcase2023"]), DIALECTS["dcase2023"])
    assert np.array_equal(back.azimuth_deg, table.azimuth_deg) and np.array_equal(
        back.elevation_deg, table.elevation_deg
    )


field = st.one_of(
    st.integers(-500, 500).map(str),
    st.floats(width=32).map(str),
    st.sampled_from(["", " ", "nan", "-inf", "1e999", "0x10", "1_0", "speech", "\x00", "１", "--1"]),
    st.text(alphabet=st.characters(exclude_characters=",\n\r"), max_size=5),
)
line = st.lists(field, min_size=1, max_size=8).map(",".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(line, max_size=6).map("\n".join) | st.text(max_size=60), st.sampled_from(sorted(DIALECTS)))
def test_any_text_is_a_table_of_legal_rows_or_one_clear_error(text, name):
    try:
        table = parse_events(text, DIALECTS[name], class_count=13, path="some/label.csv")
    except InputError as error:
        assert "\n" not in str(error) and str(error).startswith("some/label.csv: line ")
    else:
        assert (table.frame >= 0).all() and ((table.class_index >= 0) & (table.class_index < 13)).all()
        assert np.isfinite(table.azimuth_deg).all() and (np.abs(table.azimuth_deg) <= 180).all()
        assert not (table.distance_m < 0).any() and not (np.abs(table.elevation_deg) > 90).any()


@needs_shared
@pytest.mark.parametrize("name", ["starss22_fold3_room21_mix001", "tau2021_fold1_room1_mix001"])
def test_real_labels_are_read_and_written_back(name):
    path = SHARED / "real/labels" / f"{name}.csv"
    table = read_events(path, "starss22")
    assert len(table) > 10
    assert format_events(table, DIALECTS["starss22"]).split() == path.read_text().split()


@pytest.mark.parametrize("edition", EDITIONS.values(), ids=lambda edition: edition.name)
def test_editions_name_dialects_of_their_own_frame_length(edition):
    for name in filter(None, (edition.dialect, edition.entry and edition.entry.dialect)):
        dialect = dialect_named(name)
        assert edition.frame_s is None or dialect.frame_s == edition.frame_s
    if edition.entry is not None:
        columns = dialect_named(edition.entry.dialect).columns
        assert ("distance" in columns, "onscreen" in columns) == (edition.distance, edition.onscreen)
