"""The catalogue of headers: a start opens no sound file again, and notices whatever changes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from dataset import headers, layouts, recordings
from dataset.headers import Checked
from dataset.layout_kinds import sounds_under
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.recordings import _PackedEvents
from tests.small_sets import make_set
from tests.tiny import tiny_root
from util.audio import audio_info, write_audio
from util.events import EventTable


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A data root, how it is opened, and which files are opened for it."""
    monkeypatch.setenv("AV_SELD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "LEAST", 1)
    root, looked = DataRoot(tiny_root(tmp_path / "data")), []
    monkeypatch.setattr(recordings, "audio_info", lambda path, **how: looked.append(path) or audio_info(path, **how))

    def open_them():
        looked.clear()
        found = recordings.recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]), [root])
        return found, len(looked)

    return open_them


def test_nothing_is_opened_twice_and_nothing_is_other(opened):
    first, count = opened()
    assert count == len(first) > 1
    again, count = opened()
    assert count == 0 and again == first and all(type(one.audio) is type(first[0].audio) for one in again)


def test_a_changed_sound_file_is_opened_again(opened):
    first, _ = opened()
    write_audio(first[1].audio, np.full((4, 36000), 0.1, np.float32), 24000)
    again, count = opened()
    assert count == 1 and again[1].samples == 36000 != first[1].samples and again[0] == first[0]
    assert opened() == (again, 0)


def test_labels_that_come_or_go_are_noticed(opened):
    first, _ = opened()
    kept = first[0].labels.read_bytes()
    first[0].labels.unlink()
    without, count = opened()
    assert count == len(first) and without[0].labels is None
    first[0].labels.write_bytes(kept)
    assert opened()[0] == first


def test_a_missing_sound_file_is_an_error_and_a_broken_catalogue_none(opened, tmp_path):
    first, _ = opened()
    for catalogue in (tmp_path / "cache" / "catalogues").iterdir():
        catalogue.write_bytes(b"nothing")
    assert opened()[0] == first
    first[1].audio.unlink()
    with pytest.raises(ValueError, match=first[1].audio.name):
        opened()


def test_checked_files_are_known_until_they_change(tmp_path, monkeypatch):
    monkeypatch.setenv("AV_SELD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "LEAST", 1)
    paths = [tmp_path / f"{index}.csv" for index in range(4)]
    for path in paths:
        path.write_text("0,0,0,0,0\n")

    def unknown(name: str) -> list[int]:
        checked = Checked(name)
        return checked.unknown(checked.marks(paths))

    assert unknown("a") == [0, 1, 2, 3]
    Checked("a").remember(Checked("a").marks(paths))
    assert unknown("a") == [] and unknown("b") == [0, 1, 2, 3]
    os.utime(paths[2], (1, 1))
    assert unknown("a") == [2]


def test_the_layout_of_a_root_is_found_once_and_again_when_files_come(tmp_path, monkeypatch):
    monkeypatch.setenv("AV_SELD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(headers, "LEAST", 1)
    looked = []
    monkeypatch.setattr(layouts, "sounds_under", lambda folder: looked.append(folder) or sounds_under(folder))
    root = make_set(tmp_path / "set", "tau2019", formats=("foa",), test=0, described=False)
    before = DataRoot(root).layout.name
    assert looked and before == "tau2019"
    looked.clear()
    assert DataRoot(root).layout.name == before and not looked
    for sound in (root / "foa_dev").iterdir():  # the same folders, files of another set
        sound.rename(sound.with_name(f"fold1_room1_mix00{sound.stem[-1]}.wav"))
    assert DataRoot(root).layout.name != before and looked


def test_labels_are_kept_in_few_bytes_and_come_back_as_they_were(tmp_path):
    count = 50
    table = EventTable.make(frame=np.arange(count), class_index=[3] * count, azimuth_deg=np.arange(count) - 25.5,
                            elevation_deg=np.full(count, 0.1), distance_m=[np.nan, *np.arange(count - 1)])  # fmt: skip
    for one in (table, table[:1], table[:0]):
        packed = _PackedEvents(one)
        again = packed.unpacked()
        assert len(again) == len(one) and again.frame_s == one.frame_s
        for name in EventTable.COLUMNS:
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name), strict=True)
    assert len(_PackedEvents(table)._content) < 6 * count
