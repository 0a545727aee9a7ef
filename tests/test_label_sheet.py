"""One csv with the labels of many recordings: forms, classes and maps, splits, lists, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seld
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import Labels, recording_of_file, recordings_from_list
from doctor.check import check_path
from util.audio import write_audio
from util.cli import run_main
from util.errors import InputError
from util.intervals import IntervalTable
from util.label_sheet import Clip, is_sheet, read_sheet, sheet_intervals, write_sheet
from util.labels import read_label_events, read_label_intervals

CLASSES = ("Dog", "Female speech", "Knock")


def root_with(
    folder: Path, *, classes: bool = True, names: tuple[str, ...] = ("a", "b", "c.d"), **files: str
) -> DataRoot:
    for name in names:
        write_audio(folder / "audio" / f"{name}.wav", np.random.default_rng(0).uniform(-0.1, 0.1, (1, 48000)), 24000)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    if classes:
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return DataRoot(folder)


MEOW = "filename,labels,split\na,Meow,train\nb,Dog,train\nc.d,Dog,test\n"
STRONG = "filename,onset_s,offset_s,label\na.wav,0.5,1.25,Dog\na.wav,1,1.5,Knock\nb.wav,0,2,Female_speech\nc.d.wav,,,\n"


def test_strong_labels(tmp_path):
    root = root_with(tmp_path, labels=STRONG)
    assert root.layout.name == "mono" and root.classes == CLASSES
    recordings = recordings_from_list(list_file("mono_train.txt", [root]), [root], need_labels=True)
    assert [one.name for one in recordings] == ["a", "b", "c.d"] and {one.array.name for one in recordings} == {"mono"}
    labels = Labels(3, classes=CLASSES)
    tables = [labels.intervals(one) for one in recordings]
    assert tables[0].start_s.tolist() == [0.5, 1.0] and tables[0].class_index.tolist() == [0, 2]
    assert tables[1].class_index.tolist() == [1] and len(tables[2]) == 0
    assert np.isnan(tables[0].azimuth_deg).all() and labels(recordings[0]).frame.tolist()[:3] == [5, 6, 7]
    assert len(Labels(None).intervals(recordings[0])) == 2  # the root's own classes
    alone = recording_of_file(recordings[0].audio)
    assert (alone.layout, alone.labels, alone.root) == ("mono", tmp_path / "labels.csv", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        'fname,labels,mids,split\na,"Dog,Knock",/m/1,train\nb,Knock,/m/2,val\nc.d,Female_speech,/m/3,test\n',  # FSD50K
        "filename\tevent_labels\na.wav\tDog,Knock\nb.wav\tKnock\nc.d.wav\tFemale speech\n",  # DESED
    ],
)
def test_weak_labels_hold_for_the_whole_recording(tmp_path, text):
    root = root_with(tmp_path, labels=text)
    (first, *_) = recordings_from_list(list_file("mono_train.txt", [root]), [root], need_labels=True)
    table = Labels(3, classes=CLASSES).intervals(first)
    assert table.class_index.tolist() == [0, 2] and set(table.start_s) == {0.0} and set(table.end_s) == {2.0}
    assert set(Labels(3, classes=CLASSES)(first).frame) == set(range(20))


def test_splits_of_a_column_and_of_names(tmp_path):
    root = root_with(tmp_path / "one", labels="filename,labels,split\na,Dog,train\nb,Dog,val\nc.d,Dog,eval\n")
    lists = {name: [path.stem for path in paths] for name, paths in root.layout.lists(root.path).items()}
    assert lists == {"mono_train.txt": ["a", "b"], "mono_val.txt": ["b"], "mono_test.txt": ["c.d"]}
    root = root_with(tmp_path / "two", dev="filename,labels\na,Dog\nb,Dog\n", eval="filename,labels\nc.d,Dog\n")
    lists = {name: [path.stem for path in paths] for name, paths in root.layout.lists(root.path).items()}
    assert lists == {"mono_train.txt": ["a", "b"], "mono_test.txt": ["c.d"]}
    root = root_with(tmp_path / "three", labels="filename,labels\na,Dog\n")
    with pytest.raises(InputError, match=r"labels.csv: no column split has 'test', and no csv is called test.csv"):
        list_file(root.layout.default_lists().test, [root])
    root = root_with(tmp_path / "four", train="filename,labels\na,Dog\n", test="filename,labels\na,Dog\n")
    with pytest.raises(InputError, match=r"train.csv: names a, as test.csv does"):
        root.layout.lists(root.path)


def test_a_map_makes_labels_classes(tmp_path, caplog):
    text = "filename,labels\na,Bark\nb,Speech\nc.d,Whistle\n"
    root = root_with(tmp_path, labels=text, label_map="label,class\nBark,Dog\nSpeech,\n")
    clips = [Clip(name, 2.0) for name in ("a", "b", "c.d")]
    found = [sheet_intervals(tmp_path / "labels.csv", CLASSES, clip).class_index.tolist() for clip in clips]
    assert found == [[0], [], []]  # Speech has no class, Whistle is not named
    (tmp_path / "label_map.csv").unlink()
    with pytest.raises(
        InputError, match=r"labels.csv: line 2: 'Bark' is no class of classes.txt, and there is no label_"
    ):
        sheet_intervals(tmp_path / "labels.csv", CLASSES, clips[0])
    for rows, rule in (
        ("Bark,Cat\n", "label_map.csv: maps 'Bark' to 'Cat', which is no class; known are"),
        ("Bark,Dog\nbark,Knock\n", "label_map.csv: line 3: maps 'bark' twice"),
        ("Bark,Dog,more\n", "label_map.csv: line 2: needs two columns, label,class; has 3"),
    ):
        (tmp_path / "label_map.csv").write_text("label,class\n" + rows)
        with pytest.raises(InputError, match=rule):
            sheet_intervals(tmp_path / "labels.csv", CLASSES, clips[0])
    assert root.layout.name == "mono"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a.wav,0,1,Dog\n", "the first line must be the header filename,onset_s,offset_s,label or filename,labels"),
        ("filename,onset_s,label\na,0,Dog\n", "of onset and offset one is missing"),
        ("filename,onset_s,offset_s,label\na,zero,1,Dog\n", "line 2: onset must be a number of seconds, found 'zero'"),
        (
            "filename,onset_s,offset_s,label\na,0,nan,Dog\n",
            "line 2: offset must be a time in seconds from 0, found nan",
        ),
        ("filename,onset_s,offset_s,label\na,-1,1,Dog\n", "line 2: onset must be a time in seconds from 0, found -1"),
        ("filename,onset_s,offset_s,label\na,2,1,Dog\n", r"line 2: the event ends \(1 s\) before it starts \(2 s\)"),
        ("filename,onset_s,offset_s,label\na,0,1,\n", "line 2: names no label"),
        ("filename,onset_s,offset_s,label\na,,,Dog\n", "line 2: has no onset and no offset"),
        ("filename,onset_s,offset_s,label\n,0,1,Dog\n", "line 2: names no file"),
        ("filename,labels,split\na,Dog,best\n", "line 2: split must be one of train, dev, val"),
        ("filename,labels,split\na,Dog,train\na,Knock,test\n", "line 3: gives 'a' to a second split"),
        ("filename,labels\nx/a.wav,Dog\ny/a.wav,Knock\n", "line 3: 'y/a.wav' and 'x/a.wav' are files of one name"),
    ],
)
def test_bad_sheets_are_refused(tmp_path, text, rule):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=rule):
        read_sheet(path)


def test_what_is_missing_is_said(tmp_path, capsys):
    root = root_with(tmp_path / "a", classes=False, labels=STRONG)
    with pytest.raises(InputError, match=r"classes.txt: no such file; layout mono has no classes of its own"):
        _ = root.classes
    root = root_with(tmp_path / "b", names=("z",), labels=STRONG)
    with pytest.raises(InputError, match="names 3 of 3 recordings that are not in audio"):
        root.layout.lists(root.path)
    root = root_with(tmp_path / "c", names=("a",), labels=STRONG)
    assert [path.stem for path in root.layout.lists(root.path)["mono_train.txt"]] == ["a"]
    with pytest.raises(InputError, match="no such file"):
        read_sheet(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="has the labels of many recordings: which one"):
        read_label_intervals(tmp_path / "c" / "labels.csv", "sheet", CLASSES)
    events = read_label_events(tmp_path / "c" / "labels.csv", "sheet", CLASSES, clip=Clip("a", 2.0), frame_count=6)
    assert events.frame.tolist() == [5]
    write_audio(tmp_path / "c" / "audio" / "a.wav", np.zeros((2, 24000)), 24000)
    with pytest.raises(InputError, match="has 2 channels, the format needs 1"):
        recordings_from_list(list_file("mono_train.txt", [DataRoot(tmp_path / "c")]), [DataRoot(tmp_path / "c")])


def test_the_doctor_looks_at_mono_sets(tmp_path):
    root_with(tmp_path, labels=STRONG)
    findings, looked_at = check_path(tmp_path)
    assert looked_at == 3 and not any("label" in finding.rule for finding in findings)
    (tmp_path / "labels.csv").write_text(STRONG + "a.wav,1,0.5,Dog\n")
    findings, _ = check_path(tmp_path)
    assert any("before it starts" in finding.rule for finding in findings)


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 1), st.integers(0, 2)), max_size=6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, rows, weak):
    path = tmp_path_factory.mktemp("sheet") / "labels.csv"
    table = IntervalTable.make(
        start_s=[round(start, 4) for start, _, _ in rows],
        end_s=[round(start, 4) + round(length, 4) for start, length, _ in rows],
        class_index=[index for _, _, index in rows],
    )
    write_sheet(
        path, {"x.wav": table, "y.wav": IntervalTable.make()}, CLASSES, {"x.wav": "train", "y.wav": "test"}, weak=weak
    )
    assert is_sheet(path) and read_sheet(path).splits == {"x": "train", "y": "test"}
    again = sheet_intervals(path, CLASSES, Clip("x", 10.0))
    if weak:
        assert again.class_index.tolist() == sorted(set(table.class_index.tolist()))
    else:
        assert again.class_index.tolist() == table.class_index.tolist()
        np.testing.assert_allclose(again.start_s, table.start_s, atol=1e-4)
        np.testing.assert_allclose(again.end_s, table.end_s, atol=1e-4)
    assert len(sheet_intervals(path, CLASSES, Clip("y", 10.0))) == 0


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "labels.csv"
    path.write_text("filename,onset_s,offset_s,label\n" + text, newline="")
    try:
        read_sheet(path)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda folder: (folder / "classes.txt").unlink(), "classes.txt: no such file; layout mono has no classes"),
        (
            lambda folder: (folder / "labels.csv").write_text(MEOW),
            "'Meow' is no class of classes",
        ),
        (lambda folder: (folder / "labels.csv").write_text(STRONG.replace("1.25", "soon")), "line 2: offset must be a"),
        (
            lambda folder: (folder / "labels.csv").write_text(STRONG.replace("a.wav", "q.wav")),
            "no column split has 'test'",
        ),
        (lambda folder: (folder / "audio" / "a.wav").write_bytes(b"no sound"), "a.wav"),
    ],
)
def test_bad_mono_sets_end_the_command_in_one_line(tmp_path, capsys, change, rule):
    folder = tmp_path / "mono"
    split = (
        STRONG.replace("label\n", "label,split\n").replace("Dog\n", "Dog,train\n").replace("Knock\n", "Knock,train\n")
    )
    root_with(folder, labels=split.replace("Female_speech\n", "Female_speech,test\n").replace(",,,\n", ",,,,train\n"))
    change(folder)
    options = ["-train", "-val", "--system", "general_sed_t", "--data-root", str(folder), "-m", str(tmp_path / "runs")]
    assert run_main(seld.main, [*options, "--max-iter", "1", "--batch-size", "1"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and rule in lines[0]
