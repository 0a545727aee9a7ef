"""Data roots, lists and recordings: what is found, what is written, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.classes import MRSAUDIO_CLASS_INDEX, MRSAUDIO_CLASSES, STARSS23_CLASSES, read_classes
from dataset.layouts import LAYOUTS, DataRoot
from dataset.lists import list_file, read_list, write_lists
from dataset.recordings import Labels, recording_of_file, recordings_from_list, split_by_room
from job.sound import open_sound
from tests.small_data import make_root
from util.audio import write_audio
from util.dialects import read_events
from util.errors import InputError
from util.events import EventTable
from util.microphone_arrays import ARRAYS

FOA_TRAIN = "list_dataset/dcase2023t3_foa_devtrain.txt"
FOA_TEST = "list_dataset/dcase2023t3_foa_devtest.txt"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make_root(tmp_path_factory.mktemp("small"), formats=("foa", "mic", "binaural"), seconds=1.5)


def test_lists_are_written_from_what_is_found(tmp_path):
    root = DataRoot(make_root(tmp_path / "root", formats=("foa", "binaural"), train=3, test=2, seconds=0.3))
    (root.path / "video_360x180_dev/dev-train-x/fold3_room2_mix001.mp4").unlink()
    (root.path / "video_dev/dev-train-x").mkdir(parents=True)
    (root.path / "video_dev/dev-train-x/fold3_room1_mix001.mp4").touch()  # counts as video too
    write_audio(root.path / "foa_eval/mix001.wav", np.zeros((4, 100)), 24000)
    written = {path.name: path.read_text().split() for path in write_lists(root)}
    assert {name: len(lines) for name, lines in written.items()} == {
        "dcase2023t3_foa_devtrain.txt": 3,
        "dcase2023t3_foa_devtrain_audiovisual.txt": 2,
        "dcase2023t3_foa_devtest.txt": 2,
        "dcase2023t3_foa_eval.txt": 1,
        "dcase2023t3_bin_devtrain.txt": 3,
        "dcase2023t3_bin_devtrain_audiovisual.txt": 2,
        "dcase2023t3_bin_devtest.txt": 2,
    }
    assert written["dcase2023t3_foa_devtrain.txt"][0] == "./foa_dev/dev-train-x/fold3_room1_mix001.wav"
    assert written["dcase2023t3_foa_eval.txt"] == ["./foa_eval/mix001.wav"]
    own = root.path / FOA_TEST
    own.write_text("./foa_dev/dev-test-x/fold4_room4_mix001.wav\n")
    assert write_lists(root) == []  # what is there stays
    assert len(recordings_from_list(list_file(FOA_TEST, [root]), [root])) == 1
    (evaluated,) = recordings_from_list(list_file("dcase2023t3_foa_eval.txt", [root]), [root])
    assert (evaluated.split, evaluated.labels, evaluated.video, evaluated.array.name) == ("eval", None, None, "foa")


def test_a_recording_knows_its_companions(root):
    data_root = DataRoot(root)
    recordings = recordings_from_list(list_file(FOA_TRAIN, [data_root]), [data_root], need_labels=True, need_video=True)
    first = recordings[0]
    assert (first.name, first.split, first.folder, first.room) == (
        "fold3_room1_mix001",
        "train",
        "dev-train-x",
        "room1",
    )
    assert first.labels == root / "metadata_dev/dev-train-x/fold3_room1_mix001.csv"
    assert first.video == root / "video_360x180_dev/dev-train-x/fold3_room1_mix001.mp4"
    assert first.array.name == "foa" and first.samples == 36000 and first.root == root
    for format, array in (("mic", "mic"), ("bin", "binaural")):
        other = recordings_from_list(list_file(f"dcase2023t3_{format}_devtest.txt", [data_root]), [data_root])
        assert other[0].array.name == array and other[0].labels is not None and other[0].video is not None


def test_paths_are_told_by_component_not_by_text(tmp_path):
    strange = tmp_path / "dynamic_foa_dev.wav_mic" / "foa"
    root = DataRoot(make_root(strange, seconds=0.3, train=1, test=1))
    (recording,) = recordings_from_list(list_file(FOA_TRAIN, [root]), [root], need_labels=True, need_video=True)
    assert recording.labels.parts[-3:] == ("metadata_dev", "dev-train-x", "fold3_room1_mix001.csv")
    assert recording.root == strange


def test_lists_resolve_against_working_directory_list_and_root(tmp_path, monkeypatch):
    root = DataRoot(make_root(tmp_path / "data", seconds=0.3, train=1, test=1))
    line = "foa_dev/dev-train-x/fold3_room1_mix001.wav"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list_dataset").mkdir()
    as_reference = tmp_path / "list_dataset/own.txt"
    as_reference.write_text(f"\n./data/{line}\r\n\n")
    assert read_list("list_dataset/own.txt", [root])[0].samefile(root.path / line)
    as_reference.write_text(line)
    assert read_list(as_reference, [root])[0].samefile(root.path / line)
    assert list_file("list_dataset/own.txt", [root]) == Path("list_dataset/own.txt")
    # a list of another data set in the working directory is not taken for this root's
    other = make_root(tmp_path / "other", seconds=0.3, train=1, test=1)
    default = tmp_path / "list_dataset/dcase2023t3_foa_devtrain.txt"
    default.write_text(f"./other/{line}\n")
    assert list_file(FOA_TRAIN, [root]) == root.path / FOA_TRAIN
    assert list_file(FOA_TRAIN, [DataRoot(other)]) == Path(FOA_TRAIN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("./foa_dev/nothing.wav\n", "line 1: names a file that does not exist: ./foa_dev/nothing.wav"),
        ("\n  \n", "the list is empty"),
        ("", "the list is empty"),
    ],
)
def test_bad_lists_are_refused_with_their_line(tmp_path, text, message):
    path = tmp_path / "list_dataset" / "bad.txt"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_list(path)
    assert str(path) in str(caught.value)


def test_missing_lists_and_roots_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such data root"):
        DataRoot(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such list"):
        list_file(tmp_path / "nowhere.txt", [])
    with pytest.raises(InputError, match="nothing to make it from"):
        list_file(FOA_TRAIN, [DataRoot(tmp_path)])
    with pytest.raises(InputError, match="no such list"):
        read_list(tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_list(tmp_path / "binary.txt")


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from(["a.wav", "./a.wav", "", "\x00", "b" * 300, "."])).map("\n".join)
)
def test_any_text_is_a_list_or_one_clear_error(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "lists"
    folder.mkdir(exist_ok=True)
    (folder.parent / "a.wav").touch()
    path = folder / "any.txt"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        found = read_list(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert found and all(item.is_file() for item in found)


def test_two_roots_need_a_mix(tmp_path):
    roots = [DataRoot(make_root(tmp_path / name, seconds=0.3, train=2, test=1)) for name in ("one", "two")]
    both = tmp_path / "both.txt"
    both.write_text("".join(f"{path}\n" for root in roots for path in root.audio_files("foa")))
    with pytest.raises(InputError, match="two data roots"):
        recordings_from_list(both, roots)
    mixed = recordings_from_list(both, roots, mixed=True)
    assert [recording.root.name for recording in mixed] == ["one"] * 3 + ["two"] * 3


def test_missing_companions_are_refused_only_where_needed(tmp_path):
    root = DataRoot(make_root(tmp_path, seconds=0.3, train=1, test=1, videos=False))
    path = list_file(FOA_TRAIN, [root])
    with pytest.raises(InputError, match=r"has no video.*no-video"):
        recordings_from_list(path, [root], need_video=True)
    (recording,) = recordings_from_list(path, [root], need_labels=True)
    recording.labels.unlink()
    with pytest.raises(InputError, match=r"has no labels: .*metadata_dev.* does not exist"):
        recordings_from_list(path, [root], need_labels=True)
    assert recordings_from_list(path, [root])[0].labels is None


def test_wrong_channels_name_what_was_found(tmp_path):
    root = DataRoot(make_root(tmp_path, seconds=0.3, train=1, test=1))
    write_audio(root.audio_files("foa")[1], np.zeros((2, 500)), 24000)
    with pytest.raises(InputError, match="has 2 channels, the format needs 4"):
        recordings_from_list(list_file(FOA_TRAIN, [root]), [root])


def test_any_file_can_be_a_recording(tmp_path):
    write_audio(tmp_path / "meeting.wav", np.zeros((4, 48000)), 48000)
    write_audio(tmp_path / "head.wav", np.zeros((2, 24000)), 24000)
    write_audio(tmp_path / "mono.wav", np.zeros((1, 24000)), 24000)
    foa = recording_of_file(tmp_path / "meeting.wav")
    assert (foa.array.name, foa.samples, foa.rate_hz, foa.labels, foa.root) == ("foa", 48000, 48000, None, None)
    with pytest.raises(InputError, match=r"has 2 channels, and nothing says of what: --format bin .* binaural_dev"):
        recording_of_file(tmp_path / "head.wav")
    assert recording_of_file(tmp_path / "head.wav", array=ARRAYS["binaural"]).array == ARRAYS["binaural"]
    with pytest.raises(InputError, match="has 1 channels"):
        recording_of_file(tmp_path / "mono.wav")
    with pytest.raises(InputError, match="no such file"):
        recording_of_file(tmp_path / "meeting.wav", video=tmp_path / "no.mp4")


def test_pairs_of_channels_are_what_their_folder_or_a_flag_says(tmp_path):
    """A stereo microphone is no head of 8.75 cm."""
    for name in ("binaural_dev", "stereo_dev", "loose"):
        write_audio(tmp_path / name / "dev-train-tau" / "a.wav", np.zeros((2, 24000)), 24000)
        listed = f"{tmp_path / name / 'dev-train-tau' / 'a.wav'}\n"
        (tmp_path / f"{name}.txt").write_text(listed)
    ears = ARRAYS["binaural"]
    (head,) = recordings_from_list(tmp_path / "binaural_dev.txt")
    assert head.array == ears
    for options in ({}, {"array": ears}):
        (pair,) = recordings_from_list(tmp_path / "stereo_dev.txt", **options)
        assert pair.array == ARRAYS["stereo"]
    with pytest.raises(InputError, match="nothing says of what"):
        recordings_from_list(tmp_path / "loose.txt")
    assert recordings_from_list(tmp_path / "loose.txt", array=ears)[0].array == ears
    with pytest.raises(InputError, match="lies in a folder of stereo audio; the checkpoint is for binaural audio"):
        open_sound(tmp_path / "stereo_dev" / "dev-train-tau" / "a.wav", ears)
    # what a folder says goes before the flag
    write_audio(tmp_path / "mic_dev" / "dev-train-tau" / "a.wav", np.zeros((4, 24000)), 24000)
    (tmp_path / "mic.txt").write_text(f"{tmp_path / 'mic_dev' / 'dev-train-tau' / 'a.wav'}\n")
    assert recordings_from_list(tmp_path / "mic.txt", array=ARRAYS["foa"])[0].array.name == "mic"


def test_rooms_are_split_whole(root):
    data_root = DataRoot(root)
    recordings = recordings_from_list(
        root / FOA_TRAIN if (root / FOA_TRAIN).exists() else list_file(FOA_TRAIN, [data_root])
    )
    kept, chosen = split_by_room(recordings, share=0.3, seed=1)
    assert kept and chosen and len(kept) + len(chosen) == len(recordings)
    assert not {r.room for r in kept} & {r.room for r in chosen}
    assert split_by_room(recordings, share=0.3, seed=1) == (kept, chosen)
    with pytest.raises(InputError, match="one room"):
        split_by_room(recordings[:1])


def test_labels_are_sorted_cached_and_checked(root, tmp_path):
    recordings = recordings_from_list(list_file(FOA_TRAIN, [DataRoot(root)]))
    labels = Labels(13)
    table = labels(recordings[0])
    assert (np.diff(table.frame) >= 0).all() and len(table)
    own = read_events(recordings[0].labels)
    for name in EventTable.COLUMNS:  # kept in small types, but every value is exact
        assert np.array_equal(
            getattr(table, name), getattr(own[np.argsort(own.frame, kind="stable")], name), equal_nan=True
        )
        assert getattr(table, name).dtype == getattr(own, name).dtype
    recordings[0].labels.rename(recordings[0].labels.with_suffix(".away"))
    assert len(labels(recordings[0])) == len(table)  # read once
    recordings[0].labels.with_suffix(".away").rename(recordings[0].labels)
    with pytest.raises(InputError, match="class must be between 0 and 1"):
        Labels(2)(recordings[0])
    tiny = Labels(13, limit_mb=1e-6)  # keeps only the last one
    tiny(recordings[0])
    tiny(recordings[1])
    assert len(tiny._cache._values) == 1


def test_classes_come_from_file_then_json_then_layout(tmp_path):
    assert DataRoot(tmp_path).classes == STARSS23_CLASSES
    (tmp_path / "dataset.json").write_text('{"classes": ["rain", "car"], "detector": "builtin"}')
    assert DataRoot(tmp_path).classes == ("rain", "car")
    assert DataRoot(tmp_path).settings["detector"] == "builtin"
    (tmp_path / "classes.txt").write_text("dog\ncat\nrain drop\n\n")
    assert DataRoot(tmp_path).classes == ("dog", "cat", "rain drop")
    for text, message in (
        ("a\n\nb\n", "line 2"),
        ("a\nb\na\n", "line 3: class 'a' occurs twice"),
        ("\n", "no classes"),
    ):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            read_classes(tmp_path / "classes.txt")
    for text, message in (("[1]", "json object"), ('{"layout": "x"}', "unknown layout"), ("{", "no json")):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(InputError, match=message):
            DataRoot(tmp_path)


def test_class_tables():
    assert len(STARSS23_CLASSES) == 13 and len(MRSAUDIO_CLASSES) == 32
    assert MRSAUDIO_CLASS_INDEX["woodenclapper"] == 10 and MRSAUDIO_CLASS_INDEX["WoodenClapper"] == 18
    assert 0 not in MRSAUDIO_CLASS_INDEX.values() and sorted(MRSAUDIO_CLASS_INDEX.values()) == list(range(1, 32))


def test_layout_tells_formats_apart():
    layout = LAYOUTS["starss23"]
    assert layout.folder_of("data/foa_dev/dev-test/a.wav")[:2] == ("foa", "dev")
    assert layout.folder_of("foa_dev/mic_eval/a.wav")[:2] == ("mic", "eval")
    assert layout.folder_of("foa_dev.wav") is None and layout.folder_of("foa_user/a.wav") is None
    assert layout.split_of(Path("foa_dev/a.wav")) == ("", "")
