"""Text files as people have them: marks, encodings, separators, headers; every reader gets the same rows from all."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset.classes import TUT_CLASSES, read_classes
from dataset.layouts import DataRoot
from dataset.lists import read_list
from dcase2022_task3_seld_metrics import MetricWarning, score
from tests.small_data import make_root
from util import text as text_module
from util.columns import Named, named
from util.dialects import DIALECTS, format_events, parse_events, read_columns, read_events
from util.errors import InputError
from util.files import read_json
from util.interval_csv import read_intervals
from util.text import decoded, parse_csv, shown

ROWS = "0,1,0,30,10,200\n1,1,0,31,-10,150\n12,2,1,-90,5,100\n"
NAMES = "frame,class,source,azimuth,elevation,distance\n"
POLAR = "".join(f"{frame},1,{30 + frame},10\n" for frame in range(31))
TRUTH = "".join(f"{frame},1,0,{30 + frame},10,200\n" for frame in range(31))
EVENTS = "sound_event_recording,start_time,end_time,ele,azi,dist\nknock,0.5,1.5,0,20,2\nspeech,1,2,10,-30,1\n"


def swapped(text: str, order: list[int]) -> str:
    """Columns in another order, line by line."""
    return "".join(",".join(line.split(",")[at] for at in order) + "\n" for line in text.splitlines())


FORMS = {  # a csv text without header -> bytes of the same rows
    "mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "spaces": lambda text: text.replace(",", "  ").encode(),
    "spaces around": lambda text: text.replace(",", " , ").encode(),
    "decimal commas": lambda text: re.sub(r"\b10\b", "10,0", text.replace(",", ";")).encode(),
    "empty cells": lambda text: text.replace("\n", ",,\n").encode(),
    "rows of empty cells": lambda text: (text + ",,,,\n,,,,\n").encode(),
    "quotation marks": lambda text: "".join(
        ",".join(f'"{field}"' for field in line.split(",")) + "\n" for line in text.splitlines()
    ).encode(),
    "the hint of Excel": lambda text: ("sep=;\n" + text.replace(",", ";")).encode(),
    "all at once": lambda text: text.replace(",", ";").replace("\n", ";;\r\n").encode("utf-16"),
}
NO_DECIMALS = {form: make for form, make in FORMS.items() if form != "decimal commas"}


@pytest.fixture(autouse=True)
def forget_what_was_said():
    text_module._said.clear()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("header", ["", NAMES])
def test_labels_of_every_form_are_the_same_events(tmp_path, form, header):
    path = tmp_path / "label.CSV"
    path.write_bytes(FORMS[form](header + ROWS))
    table, due = read_events(path), parse_events(ROWS, DIALECTS["starss23"])
    for name in due.COLUMNS:
        np.testing.assert_array_equal(getattr(table, name), getattr(due, name), err_msg=name)


@pytest.mark.parametrize("separator", ["|", ":", "\t"])
def test_the_hint_of_excel_may_name_any_separator(tmp_path, separator):
    path = tmp_path / "label.csv"
    path.write_text(f"sep={separator}\n" + ROWS.replace(",", separator))
    table, due = read_events(path), parse_events(ROWS, DIALECTS["starss23"])
    for name in due.COLUMNS:
        np.testing.assert_array_equal(getattr(table, name), getattr(due, name), err_msg=name)


@pytest.mark.parametrize("form", NO_DECIMALS)
def test_events_with_start_and_end_of_every_form(tmp_path, form):
    path = tmp_path / "label.csv"
    path.write_bytes(FORMS[form](EVENTS))
    table = read_intervals(path, "tau2019", TUT_CLASSES)
    assert table.start_s.tolist() == [0.5, 1.0] and table.azimuth_deg.tolist() == [20, -30]
    path.write_bytes(FORMS[form](swapped(EVENTS, [1, 0, 5, 4, 3, 2])))
    again = read_intervals(path, "tau2019", TUT_CLASSES)
    for name in table.COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name), err_msg=name)


def scores(folder, truth: bytes, found: bytes, **choices):
    for side, content in (("ref", truth), ("pred", found)):
        (folder / side).mkdir(exist_ok=True)
        (folder / side / "fold4_room1_mix001.csv").write_bytes(content)
    return score(folder / "ref", folder / "pred", **choices)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:.*blank line at the end")
def test_metrics_of_every_form(tmp_path, form):
    due = scores(tmp_path, TRUTH.encode(), POLAR.encode())
    assert due.overall["F"] == pytest.approx(1 / 13) and due.counts["Nref"].sum() == 3
    assert scores(tmp_path, FORMS[form](TRUTH), FORMS[form](POLAR)).overall == due.overall


ORDERS = {
    "pandas with its index": lambda text: (
        ",frame,class,azimuth,elevation\n" + "".join(f"{at},{line}\n" for at, line in enumerate(text.splitlines()))
    ),
    "elevation first": lambda text: swapped("frame,class,azimuth,elevation\n" + text, [0, 1, 3, 2]),
    "class first": lambda text: swapped("Frame,Class index,Azimuth (deg),ele\n" + text, [1, 0, 2, 3]),
    "a score at the end": lambda text: "frame,class,azi,ele,score\n" + text.replace("\n", ",0.5\n"),
    "a source": lambda text: "frame,class,source,azimuth,elevation\n" + text.replace(",1,", ",1,0,"),
    "a distance without a source": lambda text: (
        "frame,class,azimuth,elevation,distance_m\n" + text.replace("\n", ",2.0\n")
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("edition", ["2020", "2022", "2023"])
@pytest.mark.filterwarnings("ignore:.*column left out")
def test_a_header_decides_which_columns_are_taken(tmp_path, order, edition):
    due = scores(tmp_path, TRUTH.encode(), POLAR.encode(), edition=edition)
    assert scores(tmp_path, TRUTH.encode(), ORDERS[order](POLAR).encode(), edition=edition).overall == due.overall


def test_columns_that_are_left_out_are_named_once(tmp_path):
    for index in range(3):
        scores_text = ORDERS["a score at the end"](POLAR)
        for side, text in (("ref", TRUTH), ("pred", scores_text)):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / f"{index}.csv").write_text(text)
    with pytest.warns(MetricWarning) as told:
        score(tmp_path / "ref", tmp_path / "pred")
    assert [str(one.message) for one in told] == [
        f"{tmp_path / 'pred' / '0.csv'}: line 1: column left out: 'score' (and in 2 more files)"
    ]


def test_labels_say_once_what_is_left_out(tmp_path, caplog):
    path = tmp_path / "label.csv"
    path.write_text("," + NAMES + "".join(f"{at},{row}\n" for at, row in enumerate(ROWS.split())))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert format_events(read_events(path), DIALECTS["starss23"]) == ROWS
    assert [record.message for record in caplog.records] == [
        f"{path}: of dialect starss23: column left out: one without a name"
    ]


@pytest.mark.parametrize(
    ("edition", "truth", "found"),
    [
        ("2024", TRUTH, "frame,class,x,y,z,distance (m)\n" + "".join(f"{f},1,0.8,0.5,0.2,2\n" for f in range(31))),
        ("2023", TRUTH, "x,y,z,frame,class\n" + "".join(f"1,0,0,{f},1\n" for f in range(31))),
        ("2024", TRUTH, NAMES.replace("distance", "distance [m]") + TRUTH.replace(",200", ",20")),
        ("2023", TRUTH, NAMES + TRUTH.replace("10,200", "1,1").replace(",3", ",0.3")),
    ],
)
def test_a_header_settles_what_numbers_leave_open(tmp_path, edition, truth, found):
    result = scores(tmp_path, truth.encode(), found.encode(), edition=edition)
    title = result.layout["prediction"]
    assert ("x,y,z" in title) == ("x,y,z" in found.splitlines()[0])
    if "distance" in found.splitlines()[0] and edition == "2024":
        assert "(m)" in title


@pytest.mark.parametrize(
    ("edition", "found", "rule"),
    [
        ("2023", "frame,class,azimuth\n0,1,30\n", "line 1: the header names no column elevation"),
        ("2023", "frame,class,azimuth (rad),elevation\n0,1,1,1\n", "line 1: .*azimuth is in radians.*degrees are"),
        ("2023", "frame,class,frame,azimuth,elevation\n0,1,0,1,1\n", "line 1: the header names the column frame twice"),
        ("2023", "a,b,c,d\n0,1,30,10\n", "line 1: is no row of numbers and names no known column"),
        ("2023", "0.5,1,30,10\n1,1,30,10\n", "line 1: frame must be an integer, found '0.5'"),
        ("2023", "x,1,30,10\n1,1,30,10\n", "line 1: frame must be an integer, found 'x'"),
        ("2023", "\u22120,1,30,10\n1,1,30,10\n", r"line 1: frame must be an integer, found '\\u22120'"),
        ("2023", "0,1,30,10\n1,1,\xa0x,10\n", r"line 2: column 3 must be a number, found '\\xa0x'|found 'x'"),
        ("2023", "0,1,30,10\n1,1,,10\n", "line 2: column 3 must be a number, and is empty"),
        ("2023", "frame,class,azimuth,elevation\n0,1,30,10,5\n", "line 2: is not as wide as the header, which names 4"),
        ("2023", "0|1|30|10\n", r"line 1: has 1 columns.*found '0\|1\|30\|10'"),
        ("2023", '"0,1,30,10\n', "line 1: cannot be split into columns"),
        ("2022", f"0,1,30,10\n{'9' * 25},1,30,10\n", "line 2: frame is an integer beyond 64 bits"),
        ("2023", "0,1,30,95\n1,1,700,10\n", "line 1: elevation must be"),
        ("2023", "0,1,700,5\n1,1,70,100\n", "line 1: azimuth must be"),
        ("2025", "frame,class,source,azimuth,distance\n0,1,0,30,100\n", "line 1: .*no column onscreen"),
    ],
)
def test_what_is_not_clear_is_refused_with_its_line(tmp_path, edition, found, rule):
    truth = TRUTH if edition != "2025" else "frame,class,source,azimuth,distance,onscreen\n0,1,0,30,100,1\n"
    with pytest.raises(InputError, match=rule):
        scores(tmp_path, truth.encode(), found.encode(), edition=edition)


def test_the_official_layout_of_2025_refuses_a_header_of_another_order(tmp_path):
    good = "frame,class,source,azimuth,distance,onscreen\n0,1,0,30,100,1\n5,1,0,30,100,1\n"
    other = swapped(good, [0, 1, 2, 4, 3, 5])
    assert scores(tmp_path, good.encode(), other.encode(), edition="2025").overall["F"] > 0
    with pytest.raises(InputError, match="line 1: the header contradicts the layout"):
        scores(tmp_path, good.encode(), other.encode(), edition="2025", layout="m25")


def test_predictions_of_2019_with_a_header(tmp_path):
    frames = "".join(f"{frame},3,20,0\n" for frame in range(25, 76))
    events = EVENTS.replace("knock", "phone")
    due = scores(tmp_path, events.encode(), frames.encode(), edition="2019").overall
    found = "class,frame,elevation,azimuth,score\n" + swapped(frames, [1, 0, 3, 2]).replace("\n", ",1\n")
    with pytest.warns(MetricWarning, match="column left out: 'score'"):
        assert scores(tmp_path, events.encode(), found.encode(), edition="2019").overall == due


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("0,1,0,30,95\n1,50,0,30,10\n", "line 1", "elevation must be between"),
        ("0,1,0,30,95\n1,1,0,30\n", "line 1", "elevation must be between"),
        ("0,1,0,300,5\nx,1,0,30,5\n", "line 1", "azimuth must be between"),
        ("0,1,0,30,5\n1,1,0,x,5\n2,99,0,0,0\n", "line 2", "azimuth_deg must be a number, found 'x'"),
        ("0,1,0,,5\n", "line 1", "azimuth_deg is empty"),
        ("0,50,0,30,5\n1,0.5,0,30,5\n", "line 1", "class must be between 0 and 12, found 50"),
        ("frame,class,source,azimuth\n0,1,0,30\n", "line 1", "the header names no column elevation"),
        (NAMES.replace("distance", "distance_m") + ROWS, "line 1", "distance is in metres"),
        ("0,1,0,\u200b30,5\n", "line 1", r"found '\u200b30'"),
    ],
)
def test_the_first_bad_line_of_labels_is_named(text, place, rule):
    with pytest.raises(InputError) as caught:
        parse_events(text, DIALECTS["starss23"], class_count=13, path="label.csv")
    assert str(caught.value).startswith(f"label.csv: {place}: ") and rule in str(caught.value)


def test_columns_without_rules(tmp_path):
    path = tmp_path / "label.csv"
    path.write_text("0,1,0,10,300,2\n")
    assert read_columns(path, "starss23")["elevation_deg"].tolist() == [300]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"0,1,0,30,10\n1,1,0,30,\xb010\n", "line 2: is no csv: not a text file in UTF-8 .byte 0xb0."),
        ("0,1,0,30,10\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\xff\xfe0", "not a text file"),
        (b"0,1\x00,0", "not a text file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, rule):
    path = tmp_path / "label.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rule):
        read_events(path)


CLASS_FILES = [
    "speech\ndoor\n",
    "speech\r\ndoor\r\n\r\n",
    "speech\rdoor\r",
    "\ufeffspeech\ndoor",
    "speech,\ndoor,\n",
    '"speech"\n"door"\n',
    "0,speech\n1,door\n",
    "1;door\n0;speech\n",
    "class\tindex\ndoor\t1\nspeech\t0\n",
]


@pytest.mark.parametrize("text", CLASS_FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_names_of_classes(tmp_path, text, encoding):
    path = tmp_path / "classes.txt"
    path.write_bytes(text.encode(encoding))
    assert read_classes(path) == ("speech", "door")


def test_a_table_of_classes_with_a_gap(tmp_path):
    (tmp_path / "classes.txt").write_text("1,speech\n2,door\n")
    with pytest.raises(InputError, match="numbers must be 0 to 1, each once: 0 is missing"):
        read_classes(tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("Speech, male\nSpeech, female\n")
    assert read_classes(tmp_path / "classes.txt") == ("Speech, male", "Speech, female")


@pytest.mark.parametrize("write", [lambda p: p, lambda p: f'"{p}"', lambda p: f"{p},,", lambda p: p.replace("/", "\\")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_every_form(tmp_path, write, encoding, end):
    root = DataRoot(make_root(tmp_path / "data", seconds=0.2, videos=False))
    paths = [str(path.relative_to(root.path)) for path in root.audio_files()]
    path = tmp_path / "list.txt"
    path.write_bytes("".join(write(one) + end for one in paths).encode(encoding))
    assert read_list(path, [root]) == root.audio_files()


def test_json_with_a_mark(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "a.json").write_bytes('{"a": 1}'.encode(encoding))
        assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("frame number (int)", Named("frame")),
        ("Azimuth (deg)", Named("azimuth", "deg")),
        ("elevation°", Named("elevation", "deg")),
        ("azimuth_rad", Named("azimuth", "rad")),
        ("Distance [cm]", Named("distance", "cm")),
        ("distance_m", Named("distance", "m")),
        ("active class index", Named("class")),
        ("# Frame", Named("frame")),
        ("ele_dir", Named("ele_dir")),
        ("Unnamed: 0", Named("unnamed_0")),
        ("!", Named("")),
    ],
)
def test_names_of_columns(text, due):
    assert named(text) == due


def test_invisible_characters_are_shown():
    assert shown("\ufeff0 a\xa0b\u2212é\t") == "\\ufeff0 a\\xa0b\\u2212é\\t"


MUTATED = st.builds(
    lambda text, cuts: _mutated(text, cuts),
    st.sampled_from([ROWS, NAMES + ROWS, EVENTS, POLAR, TRUTH, ROWS.replace(",", ";"), "speech\ndoor\n"]).flatmap(
        lambda text: st.sampled_from([text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")])
    ),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), max_size=6),
)


def _mutated(content: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    for at, removed, put in cuts:
        at %= len(content) + 1
        content = content[:at] + put + content[at + removed :]
    return content


def test_an_empty_field_below_a_row_without_its_last_column_is_named():
    """Found by the test below: rows of five and six columns, and a field that is no number."""
    with pytest.raises(InputError, match="azimuth_deg is empty") as error:
        parse_events("1,0,0,30,10\n2,1,0,31,10,200\n3,1,0,,10,200\n", DIALECTS["starss23"], class_count=13)
    assert error.value.place == "line 3"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=MUTATED | st.binary(max_size=80), name=st.sampled_from(sorted(DIALECTS)))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path, content, name):
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    for read in (
        lambda: read_events(path, name, class_count=13),
        lambda: read_intervals(path, "tau2019", TUT_CLASSES),
        lambda: read_classes(path),
        lambda: read_list(path),
        lambda: read_json(path),
    ):
        try:
            read()
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=MUTATED | st.binary(max_size=80), edition=st.sampled_from(["2019", "2020", "2023", "2024", "2025"]))
@pytest.mark.filterwarnings("ignore")
def test_metrics_of_any_bytes_score_or_refuse_in_one_line(tmp_path, content, edition):
    try:
        scores(tmp_path, content, content, edition=edition)
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(-999, 999), min_size=2, max_size=7), max_size=8), st.sampled_from(",;\t "))
def test_rows_are_what_was_written(rows, separator):
    text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
    found = parse_csv(decoded(text.encode()))
    assert [[int(field) for field in row] for row in found.rows] == rows
    assert found.lines == list(range(1, len(rows) + 1)) and found.header is None
