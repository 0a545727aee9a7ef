"""Sets in the layouts of TAU-NIGENS 2020 and 2021, and mono ones: files, labels, sound and label, splits, readers."""

from __future__ import annotations

import csv
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dataset.classes import NIGENS_CLASSES, NIGENS_CLASSES_2021, STARSS23_CLASSES
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import Labels, recordings_from_list
from simulation.__main__ import main
from simulation.labels import active_intervals_s, label_table
from simulation.sounds import RATE_HZ
from simulation.tut_tau.classes import CLASS_SETS, INTERFERENCE, NIGENS, NIGENS_2021, STARSS, synthesize
from simulation.tut_tau.compose import UNLABELLED, compose
from simulation.tut_tau.labels import labelled
from simulation.tut_tau.plan import clip_files, make_plan
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import write_set
from util.angles import angle_between_deg, direction_from_degrees
from util.audio import write_audio
from util.cli import run_main
from util.dialects import read_events


@pytest.fixture(scope="module")
def nigens(tmp_path_factory) -> tuple[Path, SetSettings]:
    settings = SetSettings.of("nigens2021", train=1, test=1, splits=(1, 6), seconds=4.0, train_rooms=1)
    out = tmp_path_factory.mktemp("nigens") / "set"
    write_set(out, settings, progress=False)
    return out, settings


def test_classes_are_those_of_the_readers():
    assert [row.name for row in NIGENS] == list(NIGENS_CLASSES) and len(NIGENS) == 14
    assert [row.name for row in NIGENS_2021] == list(NIGENS_CLASSES_2021) and len(NIGENS_2021) == 12
    assert [row.name for row in STARSS] == list(STARSS23_CLASSES)
    assert {row.name for row in INTERFERENCE} == {"engine", "fire"}


@pytest.mark.parametrize(
    "row", [row for row in NIGENS if row.name not in ("phone", "knock", "footsteps")], ids=lambda row: row.name
)
def test_every_sound(row):
    for part, duration_s in ((0, row.duration_s[0]), (6, row.duration_s[1])):
        sound, made_of = synthesize(row, np.random.default_rng(4), part, 7, duration_s)
        again, _ = synthesize(row, np.random.default_rng(4), part, 7, duration_s)
        assert np.array_equal(sound, again) and np.isfinite(sound).all() and made_of["generator"]
        assert sound.shape == (round(duration_s * RATE_HZ),) and 0.02 < np.abs(sound).max() <= 0.4501
        intervals = active_intervals_s(sound, RATE_HZ)
        assert intervals[0, 0] < 0.15 and np.ptp(intervals, axis=1).sum() > 0.3 * duration_s
        assert abs(sound.mean()) < 0.1 * sound.std()


def test_files_and_labels(nigens):
    out, settings = nigens
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.wav"))
    forms = ("foa", "mic")
    assert len(names) == 6
    for name in names:
        assert re.fullmatch(
            r"(foa|mic)_(dev/dev-train/fold1_room\d+_mix001|dev/dev-test/fold6_room\d+_mix001|eval/eval-test/mix001)\.wav",
            name,
        )
        info = soundfile.info(out / name)
        assert (info.samplerate, info.channels, info.frames) == (24000, 4, 96000)
    root = DataRoot(out)
    assert root.layout.name == "nigens2021" and root.classes == NIGENS_CLASSES_2021 and root.clip_s == 4.0
    for form in forms:
        (tested,) = recordings_from_list(list_file(root.layout.default_lists(form).test, [root]), [root])
        assert tested.fold == 6 and tested.folder == "fold6" and tested.array.name == form
    for plan in make_plan(settings):
        table = read_events(clip_files(out, plan)["labels"], "starss22", class_count=12)
        assert len(table) and set(table.source) <= set(range(plan.overlap))
        assert np.bincount(table.frame).max() <= plan.overlap
        assert np.abs(table.elevation_deg).max() <= 45 and np.isnan(table.distance_m).all()


def test_interference_is_heard_and_has_no_label(nigens):
    out, settings = nigens
    with open(out / "provenance.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {row["kind"] for row in rows}
    assert kinds == {"event", "interference"}
    assert {row["class_name"] for row in rows if row["kind"] == "interference"} <= {"engine", "fire"}
    assert all((row["class"] == "") == (row["kind"] == "interference") for row in rows)
    longer = replace(settings, seconds=40.0)
    moving = []
    for plan in make_plan(longer):
        scene, placed = compose(longer, plan)
        others = [one for one in placed if one.event.class_index == UNLABELLED]
        assert len(others) >= 3 and len(scene.events) == len(placed)
        spans = sorted((one.start_s, one.end_s) for one in others)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))  # one at a time
        moving += [bool(one.motion.deg_s) for one in others]
        assert set(label_table(replace(scene, events=tuple(o.event for o in labelled(placed)))).class_index) <= set(
            range(12)
        )
    assert 0 < sum(moving) < len(moving)  # at rest or moving


def test_sources_move_as_in_2020_and_labels_follow():
    settings = SetSettings.of("nigens2020", train=4, test=0, splits=(2,), formats=("foa",), seconds=30.0)
    speeds, spans = [], []
    for plan in make_plan(settings):
        assert re.fullmatch(r"fold2_room\d+_mix00[1-4]_ov[12]", plan.name) and plan.overlap == int(plan.name[-1])
        scene, placed = compose(settings, plan)
        speeds += [abs(one.motion.deg_s) for one in placed]
        for one in placed:
            if not one.motion.deg_s:
                continue
            table = label_table(replace(scene, events=(one.event,)))
            turned = one.azimuth_deg + one.motion.deg_s * ((table.frame + 0.5) * 0.1 - one.start_s)
            inside = ((table.frame + 0.5) * 0.1 > one.start_s) & ((table.frame + 0.5) * 0.1 < one.end_s)
            there = direction_from_degrees(turned, np.full(len(turned), one.elevation_deg))[inside]
            found = direction_from_degrees(table.azimuth_deg, table.elevation_deg)[inside]
            spans.append(float(angle_between_deg(found, there).max()))
    assert set(speeds) == {0, 10, 20, 40} and 0.2 < np.mean(np.array(speeds) > 0) < 0.8
    assert max(spans) < 1.5  # the label's time is that of the emission, some milliseconds before


def test_folds_share_nothing():
    settings = SetSettings.of("nigens2020", train=2, test=2, seconds=6.0, train_rooms=2, test_rooms=5)
    plans = make_plan(settings)
    rooms: dict[str, set] = {}
    values: dict[tuple, dict[str, set]] = {}
    for plan in plans:
        rooms.setdefault(plan.split, set()).add((plan.room.name, plan.room.size_m))
        for one in compose(settings, plan)[1]:
            for name, value in one.event.made_of.items():
                if name != "generator":
                    key = (one.event.made_of["generator"], name)
                    values.setdefault(key, {}).setdefault(plan.split, set()).add(value)
    assert len(rooms) == 7 and len(set.union(*rooms.values())) == sum(map(len, rooms.values()))
    assert len({name for found in rooms.values() for name, _ in found}) == sum(map(len, rooms.values()))
    for found in values.values():
        assert len(set.union(*found.values())) == sum(map(len, found.values()))


def test_sound_comes_from_the_direction_of_its_label(nigens):
    """Frames of a source that is alone, its nearest second without echoes from the walls: by the intensity."""
    from simulation.render import render
    from util.microphone_arrays import ARRAYS

    settings = SetSettings.of("nigens2020", train=1, test=0, splits=(1,), overlaps=(1,), formats=("foa",), seconds=6.0)
    (plan,) = make_plan(settings)
    scene, _ = compose(settings, plan)
    waveform = render(scene, [ARRAYS["foa"]], max_order=0, tail=False)["foa"]
    table = label_table(scene)
    errors = []
    for frame, azimuth, elevation in zip(table.frame, table.azimuth_deg, table.elevation_deg):
        piece = waveform[:, frame * 2400 : (frame + 1) * 2400].astype(np.float64)
        found = (piece[0] * piece[[3, 1, 2]]).mean(axis=1)
        if np.linalg.norm(found) > 1e-3 * np.abs(waveform[0]).max() ** 2:
            errors.append(float(angle_between_deg(found, direction_from_degrees(azimuth, elevation))))
    assert len(errors) > 10 and np.median(errors) < 1.0


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    for number, name in enumerate(("drip", "whirr")):
        for take in range(4):
            tone = np.sin(2 * np.pi * (300 + 400 * number + 37 * take) / 24000 * np.arange(24000)) * 0.3
            write_audio(folder / name / f"{name}_{take}.wav", tone[None], 24000)
    return folder


@pytest.fixture(scope="module")
def mono(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("mono") / "set"
    options = [
        "--train",
        "3",
        "--test",
        "2",
        "--seconds",
        "3",
        "--processes",
        "1",
        "--quiet",
        "--classes",
        "nigens2020",
    ]
    assert run_main(main, ["--layout", "mono", "--out", str(out), *options]) == 0
    return out


def test_a_mono_set_is_one_folder_and_one_csv(mono):
    root = DataRoot(mono)
    assert root.layout.name == "mono" and root.classes == NIGENS_CLASSES and root.synthetic
    names = root.layout.default_lists()
    assert tuple(names) == ("mono_train.txt", None, "mono_test.txt")
    labels = Labels(14, classes=root.classes)
    for name, count, split in ((names.train, 3, "train"), (names.test, 2, "test")):
        recordings = recordings_from_list(list_file(name, [root]), [root], need_labels=True)
        assert len(recordings) == count and {one.split for one in recordings} == {split}
        for one in recordings:
            assert (one.array.name, one.array.channels, one.rate_hz, one.duration_s) == ("mono", 1, 24000, 3.0)
            table, events = labels.intervals(one), labels(one)
            assert len(table) and (table.end_s <= 3.0).all() and np.isnan(table.azimuth_deg).all()
            assert set(events.class_index) == set(table.class_index) and np.isnan(events.azimuth_deg).all()
            sound, _ = soundfile.read(one.audio)
            loud = [
                np.abs(sound[round(a * 24000) : round(b * 24000)]).max() for a, b in zip(table.start_s, table.end_s)
            ]
            assert min(loud) > 5 * np.quantile(np.abs(sound), 0.02)
    first = {str(one.name): labels.intervals(one).start_s.tolist() for one in recordings}
    assert len({str(starts) for starts in first.values()}) == len(first)  # each has its own rows of the one csv


def test_mono_train_and_test_share_nothing(mono, bank, tmp_path):
    rows = [dict(row) for row in csv.DictReader(open(mono / "provenance.csv", newline=""))]
    rooms = {split: {row["room"] for row in rows if row["split"] == split} for split in ("train", "test")}
    assert rooms["train"] and rooms["test"] and not rooms["train"] & rooms["test"]
    out = tmp_path / "own"
    options = [
        "--train",
        "3",
        "--test",
        "2",
        "--seconds",
        "3",
        "--processes",
        "1",
        "--quiet",
        "--sound-bank",
        str(bank),
    ]
    assert run_main(main, ["--layout", "mono", "--weak", "--out", str(out), *options]) == 0
    root = DataRoot(out)
    assert root.classes == ("drip", "whirr")
    rows = [dict(row) for row in csv.DictReader(open(out / "provenance.csv", newline=""))]
    used = {split: {row["sha256"] for row in rows if row["split"] == split} for split in ("train", "test")}
    assert (
        used["train"]
        and used["test"]
        and not {one for two in used["train"] for one in two.split(";")}
        & {one for two in used["test"] for one in two.split(";")}
    )
    assert (out / "labels.csv").read_text().startswith("filename,labels,split\n")
    (first, *_) = recordings_from_list(list_file("mono_test.txt", [root]), [root], need_labels=True)
    table = Labels(2, classes=root.classes).intervals(first)
    assert set(table.start_s) == {0.0} and set(table.end_s) == {3.0}
    # what was interrupted goes on to the same bytes, and other settings are refused
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    (out / "labels.csv").unlink()
    next(iter((out / "audio").iterdir())).unlink()
    assert run_main(main, ["--layout", "mono", "--weak", "--out", str(out), *options]) == 0
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before
    assert run_main(main, ["--layout", "mono", "--out", str(out), *options]) == 2  # strong now


def test_class_sets_have_the_names_of_their_layouts():
    from dataset.layouts import LAYOUTS

    for name, rows in CLASS_SETS.items():
        assert tuple(row.name for row in rows) == LAYOUTS[name].classes
    assert json.loads(json.dumps(SetSettings.of("mono", classes="real").to_dict()))["classes"] == "real"
    assert "classes" not in SetSettings.of("resim").to_dict()
