"""Metrics on bad input: every row of the table of official crashes, quirks that warn, layouts that are found out."""

import numpy as np
import pytest

from dcase2022_task3_seld_metrics import MetricWarning, score
from dcase2022_task3_seld_metrics.arrays import detection_on_blocks
from util.errors import InputError
from util.events import EventTable

NAME = "fold4_room1_mix001.csv"
POLAR = "0,1,0,10,20\n5,1,0,10,20\n12,2,0,-30,0\n"
POLAR_FAR = "0,1,0,10,20,150\n5,1,0,10,20,150\n12,2,0,-30,0,200\n"
VECTOR = "0,1,0,0.9,0.2,0.3\n5,1,0,0.9,0.2,0.3\n12,2,0,0.8,-0.5,0\n"
VECTOR_FAR = "0,1,0,0.9,0.2,0.3,1.5\n5,1,0,0.9,0.2,0.3,1.5\n12,2,0,0.8,-0.5,0,2.5\n"
STEREO = "frame,class,source,azimuth,distance,onscreen\n0,1,0,10,150,1\n5,1,0,10,150,0\n12,2,0,-30,200,0\n"
EVENTS = "sound_event_recording,start_time,end_time,ele,azi,dist\nknock,0.5,1.5,0,20,2\n"
FRAMES = "".join(f"{frame},0,20,0\n" for frame in range(25, 76))
OFFICIAL = {  # edition, layout -> reference, prediction
    ("2020", "m20"): (POLAR, POLAR),
    ("2021", "m21"): (POLAR, POLAR),
    ("2022", "m22"): (POLAR, VECTOR),
    ("2023", "m23"): (POLAR_FAR, VECTOR_FAR),
    ("2023", "m23s"): (POLAR_FAR, POLAR_FAR),
    ("2024", "m24"): (POLAR_FAR, VECTOR_FAR),
    ("2024-segment", "m24"): (POLAR_FAR, VECTOR_FAR),
    ("2025", "m25"): (STEREO, STEREO),
    ("2019", "m19"): (EVENTS, FRAMES),
}
BY_LABEL = [pytest.param(key, id="-".join(key)) for key in OFFICIAL]


class Folders:
    """Writes references and predictions, scores them."""

    def __init__(self, root):
        self.reference, self.estimated = root / "ref", root / "pred"
        self.reference.mkdir()
        self.estimated.mkdir()

    def write(self, reference: str | None, estimated: str | None, name: str = NAME) -> "Folders":
        for folder, text in ((self.reference, reference), (self.estimated, estimated)):
            if text is not None:
                (folder / name).write_bytes(text.encode())
        return self

    def score(self, edition: str = "2023", layout: str = "auto", **kwargs):
        return score(self.reference, self.estimated, edition=edition, layout=layout, **kwargs)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", BY_LABEL)
def test_good_files_pass_without_a_word(folders, key):
    result = folders.write(*OFFICIAL[key]).score(*key)
    assert result.overall["F"] > 0
    assert result.files == (NAME,)
    assert result.overall == folders.score(key[0]).overall


@pytest.mark.parametrize("key", BY_LABEL)
def test_empty_reference(folders, key):
    folders.write(EVENTS.splitlines()[0] if key[0] == "2019" else "", OFFICIAL[key][1])
    with pytest.warns(MetricWarning, match="empty"):
        result = folders.score(*key)
    if key[0] not in ("2019", "2020", "2021"):  # these score a fixed length
        assert result.counts["FP"].sum() == 0
    with pytest.raises(InputError, match="empty"):
        folders.score(*key, strict=True)


@pytest.mark.parametrize("key", BY_LABEL)
def test_prediction_without_reference(folders, key):
    folders.write(*OFFICIAL[key]).write(None, OFFICIAL[key][1], "fold4_room2_mix001.csv")
    with pytest.raises(InputError, match=r"fold4_room2_mix001\.csv: prediction without reference"):
        folders.score(*key)
    with pytest.warns(MetricWarning, match="left out"):
        assert folders.score(*key, skip_unmatched=True).files == (NAME,)


@pytest.mark.parametrize("key", BY_LABEL)
def test_reference_without_prediction_is_not_scored(folders, key):
    folders.write(*OFFICIAL[key]).write(OFFICIAL[key][0], None, "fold4_room2_mix001.csv")
    with pytest.warns(MetricWarning, match="without prediction"):
        result = folders.score(*key)
    assert result.unscored == ("fold4_room2_mix001.csv",)


def malformed():
    """Edition and layout, side, file with a wrong line, the line and the rule."""
    for key, sides in OFFICIAL.items():
        for side, text in enumerate(sides):
            lines = text.splitlines()
            if text == EVENTS:
                yield key, side, text.replace("0.5", "x"), 2, "must be numbers"
                yield key, side, text.replace("knock", "\nknock"), 2, "has 1 columns"
                continue
            header = text == STEREO
            at = 1 + header
            first, rest = lines[at].split(",", 1)
            wrong = {
                "is blank": ["", lines[at]],
                "frame must be an integer": [f"{first}.0,{rest}"],
                "class must be an integer": [f"{first},x,{rest.split(',', 1)[1]}"],
                "must be": [lines[at].rsplit(",", 1)[0] + ",x"],
            }
            if not header:
                wrong["frame must be an integer, found 'frame'"] = ["frame,class,x,y", lines[at]]
            for rule, replaced in wrong.items():
                yield key, side, "\n".join([*lines[:at], *replaced, *lines[at + 1 :]]) + "\n", at + 1, rule


@pytest.mark.parametrize(("key", "side", "text", "line", "rule"), list(malformed()))
def test_malformed_line(folders, key, side, text, line, rule):
    sides = list(OFFICIAL[key])
    sides[side] = text
    folders.write(*sides)
    with pytest.raises(InputError, match=f"{NAME}: line {line}: .*{rule}"):
        folders.score(*key)


def test_blank_line_at_the_end_is_skipped(folders):
    with pytest.warns(MetricWarning, match="line 4: blank line at the end is skipped"):
        result = folders.write(POLAR, VECTOR + "\n").score("2022", "m22")
    assert result.counts["TP"].sum() == 2
    with pytest.raises(InputError, match="blank"):
        folders.score("2022", "m22", strict=True)


@pytest.mark.parametrize(("edition", "layout", "polar"), [("2022", "m22", POLAR), ("2023", "m23", POLAR_FAR)])
@pytest.mark.parametrize("coordinates", ["polar", "cartesian"])
def test_polar_prediction_where_vectors_are_due(folders, edition, layout, polar, coordinates):
    with pytest.raises(InputError, match=r"line 1: is polar, predictions of layout .* are Cartesian"):
        folders.write(polar, polar).score(edition, layout, coordinates=coordinates)


def test_cartesian_reference(folders):
    with pytest.raises(InputError, match=r"line 1: is Cartesian .*references of layout m22 are polar"):
        folders.write(VECTOR, VECTOR).score("2022", "m22")


@pytest.mark.parametrize(("reference", "estimated"), [(POLAR, VECTOR_FAR), (POLAR_FAR, POLAR)])
@pytest.mark.parametrize("layout", ["m24", "auto"])
def test_missing_distance(folders, reference, estimated, layout):
    folders.write(reference, estimated)
    with pytest.raises(InputError, match="line 1: has no distance"):
        folders.score("2024", layout)
    assert folders.score("2024", layout, distance=False).overall["F"] > 0


def test_missing_distance_in_tables():
    table = EventTable.make(frame=[0, 1], class_index=[0, 0], azimuth_deg=[0, 0], elevation_deg=[0, 0])
    with pytest.raises(InputError, match="reference a: row 0: has no distance"):
        score({"a": table}, {"a": table}, edition="2024")


@pytest.mark.parametrize("classes", [1, 3, 14])
@pytest.mark.parametrize("key", [("2022", "m22"), ("2024", "m24"), ("2025", "m25")])
def test_jackknife_for_any_number_of_classes(folders, key, classes):
    for room in (1, 2, 3):
        folders.write(*(text.replace(",2,", ",0,") for text in OFFICIAL[key]), f"fold4_room{room}_mix001.csv")
    with pytest.warns(MetricWarning) if classes == 1 else pytest.MonkeyPatch.context():
        result = folders.score(*key, class_count=classes)
    for one in result.jackknife.classwise.values():
        assert one.low.shape == one.high.shape == (classes,)
    assert np.shape(result.jackknife.to_dict()["classwise_conf_interval"]["F"]) == (classes, 2)


def test_stereo_lines(folders):
    with pytest.raises(InputError, match="line 3: has 4 columns"):
        folders.write(STEREO, STEREO.replace("5,1,0,10,150,0", "5,1,0,10")).score("2025", "m25")
    with pytest.raises(InputError, match=r"line 2: column 6 must be an integer, found '1\.0'"):
        folders.write(STEREO.replace("150,1\n", "150,1.0\n"), STEREO).score("2025", "m25")


@pytest.mark.parametrize(
    ("events", "frames", "rule"),
    [
        (EVENTS.replace(",20,", ",180,"), FRAMES, f"{NAME}: line 2: direction is off the grid"),
        (EVENTS.replace(",0,20,", ",0.0,20,"), FRAMES, "line 2: .*whole numbers"),
        (EVENTS.replace("knock", "bang"), FRAMES, "line 2: unknown class 'bang'"),
        (EVENTS, FRAMES + "80,11,20,0\n", f"{NAME}: line 52: class must be between 0 and 10"),
        (EVENTS, FRAMES + "80,0,20.0,0\n", "line 52: column 3 must be an integer"),
        (EVENTS, FRAMES + "-3001,0,20,0\n", "line 52: frame must be -3000 or more"),
        (EVENTS, FRAMES + "80,0,20\n", "line 52: has 3 columns"),
    ],
)
def test_2019_refuses(folders, events, frames, rule):
    with pytest.raises(InputError, match=rule):
        folders.write(events, frames).score("2019")


@pytest.mark.parametrize("prediction", ["", POLAR])
def test_2020_without_references(folders, prediction):
    with pytest.warns(MetricWarning, match="are empty"):
        overall = folders.write("", prediction).score("2020", "m20").overall
    assert (overall["F"], overall["LE"], overall["LR"]) == (0, 180, 0)
    assert overall["ER"] > 1e15 if prediction else overall["ER"] == 0


def test_blocks_of_one_frame():
    with pytest.raises(InputError, match="2 frames or more"):
        detection_on_blocks(np.ones((3, 2)), np.ones((3, 2)), 1)


@pytest.mark.parametrize("key", BY_LABEL)
def test_negative_frames_warn_with_file_line_and_count(folders, key):
    reference, prediction = OFFICIAL[key]
    first = prediction.splitlines()[1]
    rest = first.split(",", 1)[1]
    folders.write(reference, prediction + f"-1,{rest}\n-2,{rest}\n")
    line = len(prediction.splitlines()) + 1
    with pytest.warns(MetricWarning, match=rf"{NAME}: line {line}: negative frame .*\(2 rows of this file\)"):
        folders.score(*key)
    with pytest.raises(InputError, match=rf"{NAME}: line {line}: negative frame"):
        folders.score(*key, strict=True)


def test_rows_of_unknown_width_are_dropped_and_counted(folders):
    with pytest.warns(MetricWarning, match=r"line 2: has 4 columns, .*\(2 rows of this file\)"):
        result = folders.write("0,1,0,10,20\n5,1,10,20\n31,1,10,20\n", VECTOR).score("2022", "m22")
    assert result.counts["Nref"].sum() == 1
    assert result.counts["FP"].sum() == 1  # frame 31 makes the recording four segments long (Q2)


def test_classes_out_of_range_are_counted(folders):
    with pytest.warns(MetricWarning, match=r"line 3: class outside 0 to 1 is not scored"):
        folders.write(POLAR, VECTOR.replace(",2,", ",1,")).score("2022", "m22", class_count=2)


@pytest.mark.parametrize(
    ("edition", "reference", "estimated", "words"),
    [
        ("2022", POLAR_FAR, POLAR, "frame,class,source,azimuth,elevation"),
        ("2022", POLAR, VECTOR_FAR, "frame,class,source,x,y,z,distance (unused)"),
        ("2023", POLAR_FAR, VECTOR, "frame,class,source,x,y,z"),
        ("2023", POLAR_FAR, "frame,class,source,x,y,z\n" + VECTOR, "frame,class,source,x,y,z"),
        ("2024", POLAR_FAR, VECTOR_FAR, "frame,class,source,x,y,z,distance (m: by their size"),
        ("2024", POLAR_FAR, POLAR_FAR, "frame,class,source,azimuth,elevation,distance (cm: by their size"),
        ("2024", POLAR_FAR, POLAR_FAR.replace(",150", ",1.5").replace(",200", ",2"), "distance (m: by their size"),
        ("2020", VECTOR, POLAR, "frame,class,source,azimuth,elevation"),
        ("2025", STEREO, STEREO.split("\n", 1)[1], "onscreen"),
    ],
)
def test_auto_converts_what_is_clear(folders, edition, reference, estimated, words):
    result = folders.write(reference, estimated).score(edition)
    assert words in result.layout["prediction"]
    assert result.counts["TP"].sum() >= 1
    if edition == "2024":
        assert result.overall["DistE"] < 0.3


@pytest.mark.parametrize(
    ("edition", "reference", "estimated", "rule"),
    [
        ("2023", POLAR_FAR, "0,1,0,1,0,0\n", "may be .*say which by --layout"),
        ("2023", POLAR_FAR, VECTOR + "20,1,0,10,20,150\n", "line 4: is no vector, as most rows are"),
        ("2023", POLAR_FAR, VECTOR + "20,1,0,0.1,0.2,0.3,2\n", "line 4: has another number of columns"),
        ("2023", POLAR_FAR, "0,1,0,10,20,150,1\n", "line 1: x, y and z must be at most 2"),
        ("2023", POLAR_FAR, "0,1,10\n", "line 1: has 3 columns"),
        ("2024", POLAR_FAR, POLAR_FAR.replace(",150", ",19").replace(",200", ",22"), "metres or centimetres"),
        ("2025", STEREO, POLAR, "has 5 columns, edition 2025 needs 6"),
    ],
)
def test_auto_refuses_what_is_not(folders, edition, reference, estimated, rule):
    with pytest.raises(InputError, match=rule):
        folders.write(reference, estimated).score(edition)


def test_unit_of_distances_is_said_or_given(folders):
    metres = POLAR_FAR.replace(",150", ",1.5").replace(",200", ",2")
    folders.write(POLAR_FAR, metres)
    by_size = folders.score("2024")
    assert "distance (m: by their size, median 1.5)" in by_size.layout["prediction"]
    assert folders.score("2024", distance_unit="m").layout["prediction"].endswith("distance (m)")
    as_centimetres = folders.score("2024", distance_unit="cm")
    assert as_centimetres.overall["DistE"] > 1 > by_size.overall["DistE"]  # 1.5 cm is not 1.5 m
    unclear = POLAR_FAR.replace(",150", ",19").replace(",200", ",22")
    folders.write(POLAR_FAR, unclear)
    with pytest.raises(InputError, match="--distance-unit or --layout"):
        folders.score("2024")
    assert "distance (cm)" in folders.score("2024", distance_unit="cm").layout["prediction"]
    folders.write(POLAR_FAR, "frame,class,source,azimuth,elevation,distance_m\n" + metres)
    assert "distance (m)" in folders.score("2024").layout["prediction"]  # the header says it
    with pytest.raises(InputError, match="the header gives distances in m, --distance-unit says otherwise"):
        folders.score("2024", distance_unit="cm")
    for layout, edition, rule in (("m24", "2024", "has a unit of its own"), ("auto", "2023", "are not compared")):
        with pytest.raises(InputError, match=rule):
            folders.score(edition, layout, distance_unit="m")


def test_centimetres_where_metres_are_due(folders):
    with pytest.warns(MetricWarning, match="look like centimetres"):
        folders.write(POLAR_FAR, POLAR_FAR).score("2024", "m24")


def test_vectors_taken_for_degrees(folders):
    with pytest.warns(MetricWarning, match="takes x and y for degrees"):
        folders.write(POLAR_FAR, VECTOR_FAR).score("2023", "m23s")
    with pytest.raises(InputError, match="degrees"):
        folders.score("2023", "m23s", strict=True)


def test_stereo_without_header_loses_a_row(folders):
    with pytest.warns(MetricWarning, match=r"line 1: no header.*\(Q14\)"):
        result = folders.write(STEREO, STEREO.split("\n", 1)[1]).score("2025", "m25")
    assert result.counts["TP"].sum() == 1


def test_eleventh_track_replaces_one(folders):
    many = STEREO + "".join(f"3,1,{source},{10 * source},100,0\n" for source in range(11))
    with pytest.warns(MetricWarning, match="11th row"):
        result = folders.write(many, STEREO).score("2025", "m25")
    assert result.counts["Nref"][1] == 12  # ten of frame 3, one of frames 0 and 5


@pytest.mark.parametrize(
    ("choice", "rule"),
    [
        ({"edition": "2026"}, "unknown edition"),
        ({"edition": "seldnet2018"}, r"`arrays\.seldnet2018`"),
        ({"average": "median"}, "no median average"),
        ({"edition": "2020", "average": "macro"}, "no macro average"),
        ({"edition": "2024", "coordinates": "polar"}, "compares cartesian"),
        ({"distance": True}, "knows no distance"),
        ({"onscreen_required": True}, "knows no onscreen"),
        ({"variant": "two-stage"}, "variant"),
        ({"classes": ["a"], "class_count": 2}, "class names"),
        ({"class_count": 0}, "1 or more"),
        ({"angle_threshold_deg": -1.0}, "threshold"),
        ({"layout": "m26"}, "unknown layout"),
        ({"layout": "m25"}, "does not fit"),
        ({"layout": "m19"}, "does not fit"),
        ({"edition": "2019", "layout": "m22"}, "does not fit"),
    ],
)
def test_choices_that_do_not_exist(folders, choice, rule):
    folders.write(POLAR_FAR, VECTOR_FAR)
    with pytest.raises(InputError, match=rule):
        score(folders.reference, folders.estimated, **choice)


def test_folders_that_hold_nothing(folders, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        score(tmp_path / "nowhere", folders.estimated)
    with pytest.raises(InputError, match="holds no csv file"):
        score(folders.reference, folders.estimated)


def test_same_name_in_two_splits(folders):
    folders.write(None, VECTOR)
    for split, text in (("a", POLAR), ("b", POLAR.replace(",1,0,", ",3,0,"))):
        (folders.reference / split).mkdir()
        (folders.reference / split / NAME).write_text(text)
    with pytest.warns(MetricWarning, match="replaces the file of the same name"):
        result = folders.score("2022", "m22")
    assert result.counts["Nref"][3] == 1


def test_tables_that_cannot_be_scored():
    table = EventTable.make(frame=[0, 1], class_index=[0, 0], azimuth_deg=[0, np.nan], elevation_deg=[0, 0])
    with pytest.raises(InputError, match="prediction a: row 1: direction must be finite"):
        score({"a": table[:1]}, {"a": table})
    with pytest.raises(InputError, match=r"b: prediction without reference"):
        score({"a": table[:1]}, {"b": table[:1]})
    other = EventTable.make(frame_s=0.02)
    with pytest.raises(InputError, match=r"frames of 0\.02 s"):
        score({"a": table[:1]}, {"a": other})
    with pytest.raises(InputError, match="frame must be below"):
        score({"a": table[:1].replace(frame=np.array([2**50]))}, {"a": table[:1]})
    with pytest.warns(MetricWarning, match="nothing to score"):
        assert score({}, {}).overall["SELD"] == pytest.approx(0.75)


def test_macro_over_the_classes_that_occur():
    frame = np.arange(21)
    table = EventTable.make(frame=frame, class_index=np.zeros(21), azimuth_deg=frame, elevation_deg=frame)
    result = score({"a": table}, {"a": table[:20]}, class_count=4)
    assert result.overall["F"] == pytest.approx(0.25)
    assert result.occurring["F"] == pytest.approx(1)
    assert result.overall["LE"] == pytest.approx(135, abs=1e-3)
    assert result.occurring["LE_matched"] == pytest.approx(0, abs=1e-3)
    assert result.occurs.tolist() == [True, False, False, False]
    with pytest.warns(MetricWarning, match="predictions are empty"):
        assert np.isnan(score({"a": table}, {"a": table[:0]}, class_count=4).occurring["LE_matched"])
