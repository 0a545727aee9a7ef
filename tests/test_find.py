"""Finding files: links, hidden files, suffixes and accents; recordings of one name keep their outputs apart."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from dataset.layouts import DataRoot
from dataset.lists import list_file, read_list, write_lists
from dataset.recordings import recordings_from_list
from doctor.check import check_path
from job.inputs import find_items
from object_detection import videos_of_root
from tests.small_data import make_root
from util.audio import write_audio
from util.find import SOUND_SUFFIXES, existing, files_in, files_under, folder_names, video_remarks, walk

links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
ACCENTS = "caf\u00e9"  # composed


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hidden_files_and_other_kinds_are_left_out_and_named(tmp_path):
    touch(*(tmp_path / name for name in ("b.WAV", "in/a.caf", "._b.WAV", ".ipynb_checkpoints/b.wav", "in/notes.txt")))
    found = walk(tmp_path, SOUND_SUFFIXES)
    assert found.files == [tmp_path / "b.WAV", tmp_path / "in/a.caf"]
    assert sorted(found.remarks(tmp_path)) == [
        "left out, hidden: ._b.WAV, .ipynb_checkpoints",
        f"left out, of another kind: {os.path.join('in', 'notes.txt')}",
    ]
    assert files_in(tmp_path, [".wav"]) == [tmp_path / "b.WAV"]
    assert files_under(tmp_path / "nowhere", [".wav"]) == []


@links
def test_links_are_followed_once(tmp_path):
    touch(tmp_path / "disk/deep/a.wav", tmp_path / "data/b.wav")
    (tmp_path / "data/linked").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/deep/up").symlink_to(tmp_path / "disk")
    (tmp_path / "data/self").symlink_to(tmp_path / "data")
    (tmp_path / "data/gone.wav").symlink_to(tmp_path / "nothing.wav")
    found = walk(tmp_path / "data", SOUND_SUFFIXES)
    assert found.files == [tmp_path / "data/b.wav", tmp_path / "data/linked/deep/a.wav"]
    assert found.left_out["a link back to a folder above"] == [
        tmp_path / "data/linked/deep/up",
        tmp_path / "data/self",
    ]
    assert found.left_out["a link that leads nowhere"] == [tmp_path / "data/gone.wav"]


@links
def test_a_root_of_links_is_a_root(tmp_path, monkeypatch):
    disk = make_root(tmp_path / "disk", train=2, test=0, seconds=0.3)
    mine = make_root(tmp_path / "mine", train=1, test=0, seconds=0.3, seed=5)
    for kind in ("foa_dev", "metadata_dev", "video_360x180_dev"):
        (mine / kind / "dev-train-x").rename(mine / kind / "dev-train-mine")
        (mine / kind / "dev-train-x").symlink_to(disk / kind / "dev-train-x")
    root = DataRoot(mine)
    write_lists(root)
    named = list_file("dcase2023t3_foa_devtrain_audiovisual.txt", [root])
    assert len(read_list(named, [root])) == 3
    recordings = recordings_from_list(named, [root], need_labels=True, need_video=True)
    assert {recording.folder for recording in recordings} == {"dev-train-x", "dev-train-mine"}
    assert len(videos_of_root(mine)) == 3
    assert check_path(mine)[1] == 3
    # a list in the working directory that leads through the links belongs to the root
    own = mine / "list_dataset" / named.name
    moved = tmp_path / named.name
    own.rename(moved)
    moved.write_text("".join(f"{mine}/{line[2:]}\n" for line in moved.read_text().splitlines()))
    monkeypatch.chdir(tmp_path)
    assert list_file(named.name, [root]) == Path(named.name)


def test_suffixes_and_accents_in_any_form(tmp_path):
    root = make_root(tmp_path / "data", train=1, test=1, seconds=0.3)
    split = "dev-train-x"
    name = "fold3_room1_mix001"
    for kind, old in (("foa_dev", ".wav"), ("metadata_dev", ".csv"), ("video_360x180_dev", ".mp4")):
        new = old.upper()
        accents = unicodedata.normalize("NFD" if kind == "foa_dev" else "NFC", ACCENTS)
        (root / kind / split / f"{name}{old}").rename(root / kind / split / f"{name}_{accents}{new}")
        (root / kind / split).rename(root / kind / f"{split}-{accents}")
    data = DataRoot(root)
    (train,) = recordings_from_list(list_file("dcase2023t3_foa_devtrain_audiovisual.txt", [data]), [data])
    assert train.labels.name.endswith(".CSV") and train.video.name.endswith(".MP4")
    assert train.room == "room1" and train.split == "train"
    assert videos_of_root(root)[1] == train.video
    assert not [finding for finding in check_path(root)[0] if "has no" in finding.rule or "of no" in finding.rule]
    assert existing(root / "nothing" / "a.wav") is None and existing(train.labels.with_suffix(".npy")) is None


def test_every_sound_file_of_a_folder_and_what_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["take1.WAV", "take2.caf", "take3.w64", "take4.aiff", "take5.rf64", "take6.amb", "take7.flac"]
    touch(*(tmp_path / "card" / name for name in [*names, "take1.MP4", "notes.txt", "._take1.WAV"]))
    inputs = find_items(["card"])
    assert [item.audio.name for item in inputs.items] == names
    assert inputs.items[0].video == Path("card/take1.MP4")
    assert inputs.left_out == ["left out, hidden: ._take1.WAV", "left out, of another kind: notes.txt"]


def test_videos_that_are_left_out_are_named(tmp_path):
    touch(*(tmp_path / name for name in ("a.MP4", "a.boxes-builtin.npz", "b.mov", "._a.mp4")))
    assert sorted(video_remarks(tmp_path)) == ["left out, hidden: ._a.mp4", "left out, of another kind: b.mov"]


def test_two_cards_with_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(*(tmp_path / name for name in ("A/ZOOM1.wav", "B/ZOOM1.WAV", "B/ZOOM1.mp4", "B/zoom1.flac", "B/ZOOM2.wav")))
    inputs = find_items(["A", "B"])
    assert [(item.audio, item.folder) for item in inputs.items] == [
        (Path("A/ZOOM1.wav"), "A_ZOOM1"),
        (Path("B/ZOOM1.WAV"), "B_ZOOM1_wav"),
        (Path("B/ZOOM2.wav"), "ZOOM2"),
        (Path("B/zoom1.flac"), "B_zoom1_flac"),
    ]
    assert [item.video for item in inputs.items[:2]] == [None, Path("B/ZOOM1.mp4")]
    assert [item.audio for item in find_items(["A", "A/ZOOM1.wav"]).items] == [Path("A/ZOOM1.wav")]


def test_recordings_of_one_name_in_two_splits_are_told_apart(tmp_path):
    root = make_root(tmp_path / "data", train=0, test=2, seconds=0.3, videos=False)
    for kind, suffix in (("foa_dev", ".wav"), ("metadata_dev", ".csv")):
        folder = root / kind / "dev-test-y"
        folder.mkdir()
        one, other = sorted((root / kind / "dev-test-x").iterdir())
        other.rename(folder / f"{one.stem}{suffix}")
    data = DataRoot(root)
    recordings = recordings_from_list(list_file("dcase2023t3_foa_devtest.txt", [data]), [data], need_labels=True)
    names = [recording.name for recording in recordings]
    assert names == ["dev-test-x_fold4_room1_mix001", "dev-test-y_fold4_room1_mix001"]
    assert recordings[0].room == recordings[1].room == "room1"


def test_folder_names_are_never_alike():
    paths = [Path(name) for name in ("a/b/x.wav", "c/b/x.wav", "x.wav", "b_x.wav", "a/b/x.flac", "a/b/X.WAV")]
    names = folder_names(paths)
    assert len({name.casefold() for name in names.values()}) == len(paths)
    assert folder_names([Path("a/x.wav"), Path("b/y.wav")]) == {Path("a/x.wav"): "x", Path("b/y.wav"): "y"}


@pytest.mark.parametrize("name", ["100%.wav", "a#b.wav", "with space.wav", "%d %s {x}.wav", "Ärger.wav"])
def test_names_with_signs_that_mean_something_elsewhere(tmp_path, name):
    folder = tmp_path / "C:" / "50% #1 são"
    folder.mkdir(parents=True)
    write_audio(folder / name, np.zeros((4, 24000), dtype=np.float32) + 0.1, 24000)
    assert [item.audio for item in find_items([str(folder)]).items] == [folder / name]
    (tmp_path / "list.txt").write_text(f"{folder / name}\n", encoding="utf-8")
    assert recordings_from_list(tmp_path / "list.txt")[0].samples == 24000
