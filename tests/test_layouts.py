"""Layouts of 2018 and 2019: what lies where, lists and folds, labels with start and end, what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset.layouts import LAYOUTS, DataRoot, ListNames
from dataset.lists import list_file, write_lists
from dataset.recordings import Labels, recording_of_file, recordings_from_list
from doctor.check import check_path
from tests.small_data import make_root
from tests.small_sets import make_set
from util.audio import write_audio
from util.errors import InputError
from util.interval_csv import read_intervals
from util.labels import read_label_events, read_label_intervals

SETS_2018 = ["ansim", "resim", "cansim", "cresim", "real", "mansim", "mreal"]


@pytest.fixture(scope="module")
def tau(tmp_path_factory) -> Path:
    return make_set(tmp_path_factory.mktemp("tau"), "tau2019", train=2, test=1, seconds=0.5)


@pytest.mark.parametrize("name", SETS_2018)
def test_the_sets_of_2018(tmp_path, name):
    row = LAYOUTS[name]
    root = DataRoot(make_set(tmp_path / "root", name, overlaps=(1, 3), splits=row.folds[1:2], seconds=0.5))
    assert (root.layout.name, root.clip_s, root.layout.edition, root.layout.rate_hz) == (name, 0.5, "2018", 44100)
    split = row.folds[1]
    train, selection, test = root.layout.default_lists(ov=3, split=split)
    assert (train, selection) == (f"{name}_ov3_split{split}_train.txt", None)
    recordings = recordings_from_list(list_file(train, [root]), [root], need_labels=True)
    assert [recording.name for recording in recordings] == ["train_0_desc_30", "train_1_desc_30"]
    first = recordings[0]
    assert first.labels == root.path / f"desc_ov3_split{split}/train_0_desc_30.csv" and first.video is None
    assert (first.array.name, first.split, first.fold, first.overlap) == (row.formats[0], "train", split, 3)
    assert (first.layout, first.samples, first.root, first.folder) == (
        name,
        22050,
        root.path,
        f"wav_ov3_split{split}_30db",
    )
    (tested,) = recordings_from_list(list_file(test, [root]), [root], need_labels=True)
    assert tested.split == "test"
    written = sorted(path.name for path in (root.path / "list_dataset").iterdir())
    assert written == sorted(f"{name}_ov{ov}_split{split}_{part}.txt" for ov in (1, 3) for part in ("train", "test"))
    intervals = Labels(len(row.classes), classes=row.classes).intervals(first)
    assert len(intervals) == 2 and intervals.moving.any() == name.startswith("m")
    events = Labels(len(row.classes))(first)
    assert len(events) and events.frame.max() <= 5 and events.frame_s == 0.1


@pytest.mark.parametrize(
    ("name", "folder", "found"),
    [
        ("ansim", "data", "ansim"),
        ("resim", "my_resim_30db", "resim"),
        ("cansim", "data", "cansim"),
        ("cresim", "CRESIM", "cresim"),
        ("real", "ansim", "real"),
        ("mansim", "data", "mansim"),
        ("mreal", "data", "mreal"),
        ("tau2019", "data", "tau2019"),
        ("nigens2020", "data", "nigens2020"),
        ("nigens2021", "data", "nigens2021"),
        ("stereo2025", "data", "stereo2025"),
        ("starss22", "data", "starss23"),
    ],
)
def test_a_layout_is_told_by_what_lies_there(tmp_path, name, folder, found):
    root = DataRoot(make_set(tmp_path / folder, name, described=False, seconds=0.1))
    assert root.layout.name == found and root.clip_s == LAYOUTS[name].clip_s
    sound = root.audio_files()[0]
    alone = recording_of_file(sound)
    assert (alone.layout, alone.root, alone.dialect) == (found, root.path, root.layout.dialect)
    assert alone.labels == root.layout.labels_of(sound)
    assert len(Labels(None).intervals(alone)) >= 2


def test_other_roots_stay_what_they_are(tmp_path):
    assert DataRoot(tmp_path).layout.name == "starss23"
    root = DataRoot(make_root(tmp_path / "data", seconds=0.3, train=1, test=1))
    assert (root.layout.name, root.clip_s, root.layout.folds, root.layout.edition) == ("starss23", None, (), "2023")
    expected = ListNames("dcase2023t3_bin_devtrain_audiovisual.txt", None, "dcase2023t3_bin_devtest.txt")
    assert root.layout.default_lists("bin", video=True) == root.layout.default_lists("binaural", video=True) == expected
    assert root.layout.default_lists(ov=1, split=1).train == "dcase2023t3_foa_devtrain.txt"
    assert recording_of_file(root.audio_files("foa")[0]).layout == "starss23"


def test_folds_of_2019(tau):
    root = DataRoot(tau)
    assert (root.layout.folds, root.layout.edition, root.layout.rate_hz) == ((1, 2, 3, 4), "2019", 48000)
    folds = {
        1: ((3, 4), (2,), (1,)),
        2: ((4, 1), (3,), (2,)),
        3: ((1, 2), (4,), (3,)),
        4: ((2, 3), (1,), (4,)),
        0: ((2, 3, 4), (1,), (0,)),
    }
    for format in ("foa", "mic"):
        for split, parts in folds.items():
            names = root.layout.default_lists(format, split=split)
            assert names.train == f"tau2019_{format}_split{split}_train.txt"
            for name, expected in zip(names, parts):
                recordings = recordings_from_list(list_file(name, [root]), [root], need_labels=True)
                assert [recording.fold for recording in recordings] == [fold for fold in expected for _ in range(2)][
                    : len(recordings)
                ]
                assert len(recordings) == (1 if expected == (0,) else 2 * len(expected))
                assert {recording.array.name for recording in recordings} == {format}
    assert len(write_lists(root)) == 0 and len(list((tau / "list_dataset").iterdir())) == 30
    assert root.layout.default_lists() == root.layout.default_lists("foa", split=1)
    (evaluated,) = recordings_from_list(list_file("tau2019_mic_split0_test.txt", [root]), [root])
    assert (evaluated.split, evaluated.folder, evaluated.room, evaluated.overlap) == ("eval", "split0", "", None)
    second = recordings_from_list(list_file("tau2019_foa_split4_test.txt", [root]), [root])[1]
    assert (second.split, second.folder, second.room, second.overlap) == ("", "split4", "ir1", 2)


def test_frames_of_labels_with_start_and_end(tau):
    root = DataRoot(tau)
    (recording,) = recordings_from_list(list_file("tau2019_foa_split0_test.txt", [root]), [root])
    table = read_intervals(recording.labels, "tau2019", root.classes)
    counted = Labels(11, frame_s=0.02)(recording)  # the data set's own frames: from floor(start) to ceil(end)
    for row in range(len(table)):
        mine = counted.frame[counted.class_index == table.class_index[row]]
        due = np.arange(np.floor(table.start_s[row] * 50), min(np.ceil(table.end_s[row] * 50) + 1, 25))
        assert set(due) <= set(mine)
    coarse = Labels(11, classes=root.classes)(recording)
    assert set(coarse.frame) == {int(t * 10) for a, b in zip(table.start_s, table.end_s) for t in np.arange(a, b, 1e-3)}
    bare = Labels(11).intervals(recording)
    assert np.array_equal(bare.start_s, table.start_s)
    unlabelled = recording_of_file(recording.audio)
    unlabelled.labels.rename(unlabelled.labels.with_suffix(".away"))
    gone = recording_of_file(recording.audio)
    assert len(Labels(11).intervals(gone)) == 0 and Labels(11, frame_s=0.02)(gone).frame_s == 0.02
    unlabelled.labels.with_suffix(".away").rename(unlabelled.labels)
    other = Labels(11, classes=[f"class {index}" for index in range(11)])
    with pytest.raises(InputError, match=r"line 2: '\w+' names no known class; known are class 0"):
        other(recording)
    with pytest.raises(InputError, match="names no known class; known are knock"):
        Labels(1, classes=["knock"]).intervals(
            recordings_from_list(list_file("tau2019_foa_split1_train.txt", [root]), [root])[0]
        )


def test_labels_of_frames_at_other_lengths_and_as_intervals(tmp_path):
    path = tmp_path / "label.csv"
    path.write_text("3,1,0,10,20,100\n0,1,0,10,20,100\n1,1,0,10,20,100\n1,2,0,-30,0,100\n")
    fifth = read_label_events(path, "starss23", 13, frame_s=0.02)
    assert fifth.frame_s == 0.02 and fifth.frame[fifth.class_index == 1].tolist() == [*range(10), *range(15, 20)]
    assert fifth.frame[fifth.class_index == 2].tolist() == list(range(5, 10)) and (np.diff(fifth.frame) >= 0).all()
    odd = read_label_events(path, "starss23", None, frame_s=256 / 44100)
    middle_s = (odd.frame[odd.class_index == 1] + 0.5) * 256 / 44100
    assert set(np.floor(middle_s * 10)) == {0, 1, 3} and len(middle_s) in (51, 52)
    with pytest.raises(InputError, match=r"label.csv: has frames of 100 ms, they make no frames of 200 ms"):
        read_label_events(path, "starss23", 13, frame_s=0.2)
    table = read_label_intervals(path, "starss23", 13)
    found = np.stack([table.start_s, table.end_s, table.class_index], axis=1)
    np.testing.assert_allclose(found, [[0, 0.2, 1], [0.1, 0.2, 2], [0.3, 0.4, 1]])
    with pytest.raises(InputError, match="class must be between 0 and 1"):
        read_label_intervals(path, "starss23", 2)
    with pytest.raises(ValueError, match="need the names of the classes"):
        read_label_intervals(path, "tau2019", 13)
    root = DataRoot(make_root(tmp_path / "data", seconds=0.3, train=1, test=1))
    recording = recording_of_file(root.audio_files("foa")[0])
    same = Labels(13).intervals(recording)
    assert len(same) and set(np.floor(same.start_s * 10 + 0.5)) <= set(Labels(13)(recording).frame)


def test_splits_that_are_not_there_are_named(tmp_path, tau):
    some = tmp_path / "some"
    shutil.copytree(tau, some, ignore=shutil.ignore_patterns("split4_*", "*_eval", "list_dataset"))
    root = DataRoot(some)
    with pytest.raises(InputError, match=r"no recordings of split 4 \(split\*_ir\*_ov\*_\*; found 1, 2, 3\)"):
        list_file(root.layout.default_lists("foa").train, [root])
    assert list_file("tau2019_foa_split3_train.txt", [root]).is_file()  # trained on 1 and 2
    with pytest.raises(InputError, match=r"foa_eval holds no recordings"):
        list_file(root.layout.default_lists("foa", split=0).test, [root])
    with pytest.raises(InputError, match=r"--split 5: layout tau2019 has 1, 2, 3, 4, 0"):
        root.layout.default_lists("foa", split=5)
    with pytest.raises(InputError, match=r"unknown format 'bin'; layout tau2019 has foa, mic"):
        root.layout.default_lists("bin")
    with pytest.raises(InputError, match=r"unknown format 'binaural'"):
        root.audio_files("binaural")
    root = DataRoot(make_set(tmp_path / "ansim", "ansim", test=0, seconds=0.1))
    with pytest.raises(InputError, match=r"wav_ov1_split1_\*db holds no recordings with 'test' in their name"):
        list_file(root.layout.default_lists().test, [root])
    with pytest.raises(InputError, match=r"has no folder wav_ov2_split3_\*db; found wav_ov1_split1_30db"):
        list_file(root.layout.default_lists(ov=2, split=3).train, [root])
    for given, rule in (({"ov": 4}, "--ov 4: layout ansim has 1, 2, 3"), ({"split": 8}, "--split 8: layout ansim has")):
        with pytest.raises(InputError, match=rule):
            root.layout.default_lists(**given)
    with pytest.raises(InputError, match="nothing to make it from under"):
        list_file("list_dataset/of_my_own.txt", [root])


def test_wrong_layouts_are_refused(tmp_path, tau):
    wrong = tmp_path / "wrong"
    shutil.copytree(tau, wrong, ignore=shutil.ignore_patterns("list_dataset"))
    for layout, rule in (("ansim", "found no folder wav_ov"), ("starss23", "nothing to make it from")):
        (wrong / "dataset.json").write_text(json.dumps({"layout": layout}))
        root = DataRoot(wrong)
        with pytest.raises(InputError, match=rule):
            list_file(root.layout.default_lists().train, [root])
    (wrong / "dataset.json").write_text(json.dumps({"layout": "resin"}))
    with pytest.raises(InputError, match=r"unknown layout 'resin'; known are starss23, starss22"):
        DataRoot(wrong)
    for clip_s in ("30", -1, True):
        (wrong / "dataset.json").write_text(json.dumps({"layout": "ansim", "clip_s": clip_s}))
        with pytest.raises(InputError, match=r"dataset.json: clip_s must be a length in seconds"):
            _ = DataRoot(wrong).clip_s
    strange = make_set(tmp_path / "strange", "ansim", described=False, seconds=0.1)
    for path in (strange / "desc_ov1_split1").iterdir():
        path.write_text("frame,class\n")
    with pytest.raises(
        InputError, match=r"test_2_desc_30.wav and desc_ov1_split1/test_2_desc_30.csv fit no known layout"
    ):
        DataRoot(strange)
    (strange / "dataset.json").write_text('{"layout": "ansim"}')
    root = DataRoot(strange)
    recordings = recordings_from_list(list_file(root.layout.default_lists().train, [root]), [root])
    with pytest.raises(InputError, match="line 1: the first line must be the header of dialect tut2018"):
        Labels(11)(recordings[0])


@pytest.mark.parametrize(("name", "channels"), [("ansim", 2), ("cansim", 4), ("tau2019", 8)])
def test_wrong_channels_and_missing_labels_are_refused(tmp_path, name, channels):
    root = DataRoot(make_set(tmp_path, name, test=0, seconds=0.1))
    listed = list_file(root.layout.default_lists().train, [root])
    first = recordings_from_list(listed, [root], need_labels=True)[0]
    with pytest.raises(InputError, match=r"has no video: no video folder belongs to it \(or use --no-video\)"):
        recordings_from_list(listed, [root], need_video=True)
    first.labels.unlink()
    with pytest.raises(InputError, match=rf"has no labels: {first.labels} does not exist"):
        recordings_from_list(listed, [root], need_labels=True)
    write_audio(first.audio, np.zeros((channels, 500)), 44100)
    with pytest.raises(InputError, match=f"has {channels} channels, the format needs"):
        recordings_from_list(listed, [root])


@pytest.mark.parametrize("name", ["cansim", "mansim", "tau2019", "nigens2020", "nigens2021", "starss22", "stereo2025"])
def test_the_doctor_knows_the_layouts(tmp_path, name):
    root = DataRoot(make_set(tmp_path, name, train=1, test=1, splits=LAYOUTS[name].folds[:1] or None, seconds=2.0))
    extra = root.layout.label_files(root.path)[0].with_name("train_9.csv")
    extra.write_text("")
    findings, looked_at = check_path(root.path)
    assert looked_at == sum(len(root.audio_files(form, s)) for form in root.layout.formats for s in root.layout.stages)
    assert [finding.path for finding in findings if finding.rule == "are labels of no recording"] == [extra]
    assert not any("resampled" in finding.rule or "header" in finding.rule for finding in findings)
    extra.unlink()
    broken = root.layout.label_files(root.path)[0]
    broken.write_text(broken.read_text() + "nonsense\n")
    assert any(finding.path == broken and "columns" in finding.rule for finding in check_path(root.path)[0])


@pytest.mark.parametrize(
    ("name", "train", "val", "test"),
    [("nigens2020", (3, 4, 5, 6), (2,), (1,)), ("nigens2021", (1, 2, 3, 4), (5,), (6,))],
)
def test_folds_of_nigens(tmp_path, name, train, val, test):
    """Spec G1 and B20, B21: the published division, and the evaluation mode, which --split 0 asks for."""
    root = DataRoot(make_set(tmp_path, name, train=2, test=1, seconds=0.3))
    row = root.layout
    assert (row.rate_hz, row.clip_s, root.clip_s, row.edition) == (24000, 60.0, 0.3, name[-4:])
    evaluated = {"nigens2020": ((2, 3, 4, 5, 6), (1,), ()), "nigens2021": ((1, 2, 3, 4, 5), (6,), ())}[name]
    for split, due in ((None, (train, val, test)), (test[0], (train, val, test)), (0, evaluated)):
        names = row.default_lists("mic", split=split)
        for listed, folds in zip(names, due):
            recordings = recordings_from_list(list_file(listed, [root]), [root], need_labels=True)
            assert {recording.fold for recording in recordings} == set(folds or (None,))
            assert len(recordings) == (2 * len(folds) or 1)
            assert {(one.array.name, one.split, one.layout) for one in recordings} == {
                ("mic", "" if folds else "eval", name)
            }
    first = recordings_from_list(list_file(row.default_lists().test, [root]), [root])[1]
    assert (first.room, first.overlap) == ("room2", 2 if name == "nigens2020" else None)
    assert first.folder == f"fold{test[0]}"
    table = Labels(len(root.classes))(first)
    assert len(table) and np.isnan(table.distance_m).all() and np.abs(table.elevation_deg).max() <= 45
    with pytest.raises(InputError, match=rf"--split 3: layout {name} has {test[0]}, 0"):
        row.default_lists(split=3)
    for path in [*root.path.rglob(f"fold{val[0]}_*")]:
        path.unlink()
    shutil.rmtree(tmp_path / "list_dataset")
    with pytest.raises(InputError, match=rf"no recordings of fold {val[0]} \(fold\*_room\*_mix\*.*; found"):
        list_file(row.default_lists().selection, [root])


def test_stereo_clips_of_2025(tmp_path):
    root = DataRoot(make_set(tmp_path, "stereo2025", seconds=0.5))
    names = root.layout.default_lists(video=False)
    assert names == ListNames("dcase2025t3_stereo_devtrain.txt", None, "dcase2025t3_stereo_devtest.txt")
    first, _ = recordings_from_list(list_file(names.train, [root]), [root], need_labels=True)
    assert (first.array.name, first.array.channels, first.split, first.room) == ("stereo", 2, "train", "room1")
    table = Labels(13)(first)
    assert np.abs(table.azimuth_deg).max() <= 90 and np.isnan(table.elevation_deg).all()
    assert set(table.onscreen) == {0.0, 1.0} and (table.distance_m >= 0.5).all()
    first.labels.write_text("0,1,0,10,120,1\n")  # without its header: still of the dialect that the layout names
    assert Labels(13)(first).distance_m.tolist() == [1.2]
    first.labels.write_text("frame,class,source,azimuth,elevation,distance\n0,1,0,10,0,120\n")
    with pytest.raises(InputError, match="names no column onscreen"):
        Labels(13)(first)


def test_stereo_clips_beside_what_they_were_made_of(tmp_path):
    """A root of STARSS23 stays one; a clip alone is of 2025 all the same."""
    make_set(tmp_path, "starss23", formats=("foa",), seconds=0.3)
    make_set(tmp_path, "stereo2025", seconds=0.3, described=False)
    (tmp_path / "dataset.json").unlink()
    assert DataRoot(tmp_path).layout.name == "starss23"
    alone = recording_of_file(next((tmp_path / "stereo_dev").rglob("*.wav")))
    assert (alone.layout, alone.array.name, alone.dialect) == ("stereo2025", "stereo", "dcase2025")


@pytest.mark.parametrize(("name", "edition"), [("starss22", "2022"), ("dcase2024", "2024")])
def test_kin_of_starss23_is_named_by_the_root(tmp_path, name, edition):
    root = DataRoot(make_set(tmp_path, name, seconds=0.5))
    assert (root.layout.name, root.layout.edition, root.layout.formats) == (name, edition, ("foa", "mic"))
    for form in root.layout.formats:
        names = root.layout.default_lists(form)
        assert names.train == f"dcase{edition}t3_{form}_devtrain.txt"
        (tested,) = recordings_from_list(list_file(names.test, [root]), [root], need_labels=True)
        assert np.isnan(Labels(13)(tested).distance_m).all() == (name == "starss22")
