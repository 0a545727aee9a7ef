"""`python -m dataset prepare mrsaudio` on a small set of that form."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from dataset.__main__ import main
from dataset.layouts import DataRoot
from dataset.lists import list_file, read_list
from dataset.prepare_mrsaudio import cut_audio, cut_video, split_names
from dataset.recordings import recordings_from_list
from util.audio import audio_info, read_audio, write_audio
from util.dialects import read_events
from util.errors import InputError
from util.position_tracks import track_events
from util.video import VideoWriter, read_frames, video_info

FPS = Fraction(30000, 1001)
WIDTH, HEIGHT, BITS = 320, 180, 8  # 16:9, as in the set: 360 wide it is 202 high, not 180
STRETCHES = ((0.0, 1.25), (1.3, 2.0), (2.017, 3.4))  # of a recording of 3.5 s


def numbered_frame(index: int) -> np.ndarray:
    """A frame that shows its index in binary, in black and white bars."""
    frame = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for bit in range(BITS):
        frame[:, bit * WIDTH // BITS : (bit + 1) * WIDTH // BITS] = 255 * (index >> bit & 1)
    return frame


def number_of(frame: np.ndarray) -> int:
    """Inverse of `numbered_frame`, at any size."""
    centres = ((np.arange(BITS) + 0.5) * frame.shape[1] / BITS).astype(int)
    return int(sum((frame[frame.shape[0] // 2, x].mean() > 128) << bit for bit, x in enumerate(centres)))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Three recordings of 3.5 s with three items each, and a metadata file with entries that are wrong."""
    folder = tmp_path_factory.mktemp("mrs")
    classes = ("toy_car2", "woodenclapper", "WoodenClapper")
    entries = {}
    for recording in range(3):
        rng = np.random.default_rng(recording)
        date = f"2024010{recording + 1}"
        for kind, channels in (("audio_foa", 4), ("audio", 2)):
            waveform = 0.1 * rng.standard_normal((channels, 168000))
            write_audio(folder / f"MRSSound/{kind}/{date}/all.wav", waveform, 48000, subtype="PCM_24")
        video = folder / f"MRSSound/video/{date}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(video, WIDTH, HEIGHT, FPS, crf=18) as writer:
            for index in range(105):
                writer.write(numbered_frame(index))
        for number, (start, stop) in enumerate(STRETCHES):
            name = f"sound{recording}_{classes[number]}_a_b_{number}"
            rows = round((stop - start) * 20) + 4  # the track goes on for a little
            track = np.column_stack([rng.normal(0, 2, (rows, 3)), np.arange(rows) / 20])
            track_path = folder / f"MRSSound/audio_pos/{date}/{name}.npy"
            track_path.parent.mkdir(parents=True, exist_ok=True)
            np.save(track_path, track)
            entries[f"{recording}-{number}"] = {
                "item_name": name,
                "start": start,
                "stop": stop,
                "foa_fn": f"./Spatial/MRSAudio/MRSSound/audio_foa/{date}/all.wav",
                "wav_fn": f"./Spatial/MRSAudio/MRSSound/audio/{date}/all.wav",
                "vid_fn": f"./Spatial/MRSAudio/MRSSound/video/{date}.mp4",
                "pos_fn": f"./Spatial/MRSAudio/MRSSound/audio_pos/{date}/{name}.npy",
            }
    (folder / "metadata.json").write_text(json.dumps(entries))
    good = entries["0-0"]
    bad = {
        "class": {**good, "item_name": "s_piano_a_b_c"},
        "times": {**good, "item_name": "s_gong_a_b_1", "start": 3, "stop": 2},
        "late": {**good, "item_name": "s_gong_a_b_2", "start": 3, "stop": 9.5},
        "file": {**good, "item_name": "s_gong_a_b_3", "foa_fn": "nowhere.wav"},
        "text": "no object",
    }
    (folder / "bad.json").write_text(json.dumps({"0-0": good, "1-1": entries["1-1"], **bad}))
    return folder


def prepare(source: Path, out: Path, *flags: str, metadata: str = "metadata.json") -> int:
    return main(
        [
            "prepare",
            "mrsaudio",
            "--metadata",
            str(source / metadata),
            "--source",
            str(source),
            "--out",
            str(out),
            *flags,
        ]
    )


def test_the_set_becomes_a_data_root(source, tmp_path):
    out = tmp_path / "data"
    assert prepare(source, out, "--test", "2", "--workers", "2") == 0
    root = DataRoot(out)
    assert len(root.classes) == 32 and root.classes[10] == "woodenclapper"
    names = sorted(
        f"sound{r}_{c}_a_b_{n}" for r in range(3) for n, c in enumerate(("toy_car2", "woodenclapper", "WoodenClapper"))
    )
    split = split_names(names, 2, 2023)
    for format, short in (("foa", "foa"), ("binaural", "bin")):
        listed = {}
        for part in ("devtrain", "devtrain_audiovisual", "devtest"):
            path = out / f"list_dataset/dcase2023t3_{short}_{part}.txt"
            listed[part] = [audio.stem for audio in read_list(path, [root])]
            assert listed[part] == sorted(listed[part])
        assert (
            listed["devtest"] == [name for name in names if split[name] == "dev-test"] and len(listed["devtest"]) == 1
        )
        assert listed["devtrain"] == listed["devtrain_audiovisual"] == [n for n in names if split[n] == "dev-train"]
        recordings = recordings_from_list(
            list_file(f"dcase2023t3_{short}_devtrain.txt", [root]), [root], need_labels=True, need_video=True
        )
        assert {recording.array.name for recording in recordings} == {format}
    for name in names:
        recording, number = int(name[5]), int(name[-1])
        start, stop = STRETCHES[number]
        place = f"{split[name]}/{name}"
        for kind, folder in (("audio_foa", "foa_dev"), ("audio", "binaural_dev")):
            whole = soundfile.read(source / f"MRSSound/{kind}/2024010{recording + 1}/all.wav", dtype="float32")[0]
            expected = soxr.resample(whole, 48000, 24000, quality="HQ")[round(start * 24000) : round(stop * 24000)]
            cut = read_audio(out / folder / f"{place}.wav")
            assert audio_info(out / folder / f"{place}.wav").rate_hz == 24000
            assert cut.shape[1] == len(expected) and np.abs(cut.T - expected).max() < 0.6 / 32768
        shown = [number_of(frame) for _, frame in read_frames(out / "video_dev" / f"{place}.mp4")]
        assert shown == list(range(round(start * FPS), min(round(stop * FPS), 105)))
        assert video_info(out / "video_dev" / f"{place}.mp4").fps == FPS
        events = read_events(out / "metadata_dev" / f"{place}.csv", class_count=32)
        track = np.load(source / f"MRSSound/audio_pos/2024010{recording + 1}/{name}.npy")
        due = track_events(track, {0: 1, 1: 10, 2: 18}[number])
        due = due[due.frame < np.ceil(round((stop - start) * 10, 6))]
        assert np.array_equal(events.frame, due.frame) and np.array_equal(events.azimuth_deg, due.azimuth_deg)
        assert np.array_equal(events.class_index, due.class_index) and events.frame[0] == 0


def test_it_goes_on_where_it_was(source, tmp_path, capsys):
    out = tmp_path / "data"
    assert prepare(source, out, "--workers", "1", "--video", "small") == 0
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.suffix in (".wav", ".csv", ".mp4")}
    assert len(files) == 9 * 4
    video = next(path for path in files if path.suffix == ".mp4")
    info = video_info(video)
    assert (info.width, info.height) == (360, 202) and video.parts[-3] == "video_360x180_dev"
    video.unlink()
    capsys.readouterr()
    assert prepare(source, out, "--workers", "1", "--video", "small") == 0
    assert "8 finished before, 1 to do" in capsys.readouterr().out
    assert video.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in files.items() if path != video)
    with pytest.raises(InputError, match="another split"):
        prepare(source, out, "--seed", "5", "--test", "0.2")
    with pytest.raises(InputError, match="not empty"):
        prepare(source, source)


def test_what_fails_is_listed_and_the_rest_is_done(source, tmp_path, capsys):
    out = tmp_path / "data"
    assert prepare(source, out, "--workers", "1", "--video", "none", metadata="bad.json") == 1
    report = (out / "prepare_errors.txt").read_text()
    assert report in capsys.readouterr().out and len(report.split("\n")) == 6
    for message in (
        "s_piano_a_b_c: item 's_piano_a_b_c' is of the unknown class 'piano'",
        "s_gong_a_b_1: start must lie before stop",
        "ends at 3.500 s, the stretch at 9.500 s",
        "names a file that is not under",
        "text: its entry is no json object",
    ):
        assert message in report
    assert len(DataRoot(out).audio_files("foa")) == len(DataRoot(out).audio_files("binaural")) == 2


def test_videos_that_end_early_or_are_none(source, tmp_path):
    video = source / "MRSSound/video/20240101.mp4"
    targets = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    missed = cut_video(video, [(3.0, 9.0, targets[0]), (5.0, 6.0, targets[1])])
    assert missed[0] is None and "ends before the stretch from 5.000 s" in missed[1]
    assert [number_of(frame) for _, frame in read_frames(targets[0])] == list(range(90, 105))
    assert not targets[1].exists()
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"text\.mp4"):
        cut_video(tmp_path / "text.mp4", [(0, 1, tmp_path / "c.mp4")])
    with pytest.raises(InputError, match="has 4 channels, the format needs 2"):
        cut_audio(source / "MRSSound/audio_foa/20240101/all.wav", 0, 1, channels=2)


def test_splits_do_not_depend_on_the_order_of_names():
    names = [f"item{index}" for index in range(100)]
    split = split_names(names, 7, seed=1)
    assert split == split_names(names[::-1], 7, seed=1) and list(split.values()).count("dev-test") == 7
    assert split != split_names(names, 7, seed=2)
    assert list(split_names(names, 800, seed=1).values()).count("dev-test") == 20
    assert list(split_names(names, 0.1, seed=1).values()).count("dev-test") == 10


def test_command_line():
    result = subprocess.run([sys.executable, "-m", "dataset", "nonsense"], capture_output=True, text=True)
    assert result.returncode == 2 and "unknown command 'nonsense'" in result.stderr
    command = [
        sys.executable,
        "-m",
        "dataset",
        "prepare",
        "mrsaudio",
        "--metadata",
        "no.json",
        "--source",
        ".",
        "--out",
        "x",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr == "error: no.json: no such file\n"
