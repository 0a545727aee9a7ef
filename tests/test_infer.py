"""Inference on recordings of one's own: what is written, whatever the file is like; the library call; memory."""

from __future__ import annotations

import json
import re
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

import npy2csv
import seld
from dataset.recordings import Recording
from detection.at_times import held_at
from detection.yolox import Look
from job.inputs import find_items, inference_arguments, open_checkpoint
from job.picture import PlacedSight
from net.crnn import AudioVisualCRNN
from seld_predictor import Inference, load
from system.model import StageModel
from tests.checkpoints import RATE_HZ, bursts, recording, thresholds, untrained
from tests.tiny import tiny_video
from util.audio import write_audio
from util.boxes import BoxTrack
from util.cli import run_main
from util.dialects import read_events
from util.errors import InputError
from util.microphone_arrays import ARRAYS
from util.placement import Placement, placed_video
from util.things import NO_THINGS
from util.video import VideoWriter, read_frames, video_info

PRESENCE = 0.5


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Untrained checkpoints foa.pth, mic.pth, binaural.pth and av.pth, and a threshold file."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("foa", "mic", "binaural"):
        untrained(folder / f"{name}.pth", array=name)
    untrained(folder / "av.pth", visual=True)
    thresholds(folder / "t.json", PRESENCE)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands are typed in an empty folder."""
    monkeypatch.chdir(tmp_path)


def infer(models: Path, *flags: str, model: str = "foa") -> int:
    options = ["-em", str(models / f"{model}.pth"), "--threshold-config", str(models / "t.json"), "--device", "cpu"]
    return run_main(seld.main, ["-infer", *flags, *options])


def rows(path: Path | str):
    return read_events(path, "dcase2023")


def same(first, second, within_deg: float = 0.01) -> bool:
    """Whether two tables agree in frames and classes, and in angles within a tolerance."""
    if len(first) != len(second) or not len(first):
        return False
    turn = np.abs((first.azimuth_deg - second.azimuth_deg + 180) % 360 - 180)
    return (
        np.array_equal(first.frame, second.frame)
        and np.array_equal(first.class_index, second.class_index)
        and turn.max() < within_deg
        and np.abs(first.elevation_deg - second.elevation_deg).max() < within_deg
    )


def test_all_files_are_written_and_agree(models, capsys):
    recording(Path("talk.wav"), 2.53)
    assert infer(models, "talk.wav") == 0
    out = Path("talk_seld")
    names = {"talk.csv", "talk.npy", "talk.json", "events.json", "audacity_labels.txt", "player.html"}
    assert {path.name for path in out.iterdir()} == names
    shown = capsys.readouterr().out
    assert all(str(out / name) in shown for name in names - {"talk.json"})

    raw, about = np.load(out / "talk.npy", allow_pickle=False), json.loads((out / "talk.json").read_text())
    assert raw.shape == (3, 3, 13, 260) and raw.dtype == np.float32
    assert about["format"] == "multi_accdoa" and about["thresholds"] == [PRESENCE] * 13
    table = rows(out / "talk.csv")
    assert 20 < len(table) and table.frame.max() < 26
    assert npy2csv.main([str(out), "--out", "again"]) == 0
    assert Path("again/talk.csv").read_bytes() == (out / "talk.csv").read_bytes()

    events = json.loads((out / "events.json").read_text())
    assert sum(len(event["trajectory"]["time_s"]) for event in events["events"]) == len(table)
    assert len((out / "audacity_labels.txt").read_text().splitlines()) == len(events["events"])
    assert not list(out.glob(".*"))


def test_library_call_gives_the_rows_of_the_command_line(models):
    recording(Path("talk.wav"), 2.5)
    assert infer(models, "talk.wav", "--player", "never") == 0
    assert not Path("talk_seld/player.html").exists()
    inference = load(models / "foa.pth", device="cpu", threshold_config=models / "t.json")
    waveform, rate_hz = soundfile.read("talk.wav", dtype="float32", always_2d=True)
    assert same(inference(waveform.T, rate_hz), rows("talk_seld/talk.csv"))
    with pytest.raises(InputError, match="4 channels"):
        inference(waveform.T[:2], rate_hz)
    with pytest.raises(InputError, match="NaN"):
        inference(waveform.T * np.nan, rate_hz)


def test_a_detector_that_is_named_is_taken_also_where_it_is_the_default(models):
    given = {"eval_model": str(models / "av.pth"), "device": "cpu"}
    for detector, taken in ((None, "builtin"), ("yolox_tiny", "yolox_tiny"), ("yolox_s", "yolox_s")):
        flags = given | ({} if detector is None else {"detector": detector})
        inference, _ = open_checkpoint(inference_arguments(flags), flags)
        assert inference.detector == taken  # the checkpoint was trained with boxes of builtin


def test_boxes_of_another_clip_are_refused_and_none_are_taken(models, capsys):
    recording(Path("talk.wav"), 1.3)
    tiny_video(Path("talk.mp4"), 1.3)
    for boxes in ("other", "true"):
        for extra in ([], ["--stream"]):
            assert infer(models, "talk.wav", "--boxes", boxes, *extra, model="av") == 2
            assert f"--boxes {boxes}: a recording is predicted with its own boxes" in capsys.readouterr().err
    assert infer(models, "talk.wav", "--boxes", "empty", "--player", "never", "--out", "empty", model="av") == 0
    assert infer(models, "talk.wav", "--no-video", "--player", "never", "--out", "blind", model="av") == 0
    assert not list(Path("empty").glob("*boxes*"))
    np.testing.assert_array_equal(np.load("empty/talk.npy"), np.load("blind/talk.npy"))


def test_evaluation_grid_is_kept(models):
    """The raw output is that of the predictor, cut behind the last label frame."""
    recording(Path("talk.wav"), 2.5)
    infer(models, "talk.wav", "--player", "never", "-b", "1")
    first = np.load("talk_seld/talk.npy")
    infer(models, "talk.wav", "--player", "never", "-b", "3", "--out", "other")
    np.testing.assert_allclose(np.load("other/talk.npy"), first, atol=1e-5)


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_other_rates_are_resampled(models, rate_hz):
    recording(Path("high.wav"), 2.0, rate_hz=rate_hz)
    waveform, rate = soundfile.read("high.wav", dtype="float32", always_2d=True)
    write_audio("low.wav", soxr.resample(waveform, rate_hz, RATE_HZ, quality="HQ").T, RATE_HZ, subtype="FLOAT")
    for name in ("low.wav", "high.wav"):
        assert infer(models, name, "--player", "never") == 0
    assert np.load("high_seld/high.npy").shape == (3, 3, 13, 200)
    assert same(rows("low_seld/low.csv"), rows("high_seld/high.csv"))
    inference = load(models / "foa.pth", device="cpu", threshold_config=models / "t.json")
    assert same(inference(waveform.T, rate), rows("high_seld/high.csv"))


def test_fuma_and_n3d_files_give_what_acn_sn3d_gives(models):
    waveform = bursts(1.5)
    w, y, z, x = waveform
    write_audio("acn.wav", waveform, RATE_HZ, subtype="FLOAT")
    write_audio("fuma.wav", np.stack([w / 2**0.5, x, y, z]), RATE_HZ, subtype="FLOAT")
    write_audio("n3d.wav", np.stack([w, *(3**0.5 * waveform[1:])]), RATE_HZ, subtype="FLOAT")
    write_audio("mixed.wav", np.stack([w, x * 3**0.5, y * 3**0.5, z * 3**0.5]), RATE_HZ, subtype="FLOAT")
    flags = {
        "acn": [],
        "fuma": ["--channel-order", "fuma"],
        "n3d": ["--norm", "n3d"],
        "mixed": ["--channel-order", "fuma", "--norm", "n3d"],
    }
    for name, extra in flags.items():
        assert infer(models, f"{name}.wav", "--player", "never", *extra) == 0
        np.testing.assert_allclose(np.load(f"{name}_seld/{name}.npy"), np.load("acn_seld/acn.npy"), atol=1e-4)
    assert infer(models, "acn.wav", "--channel-order", "fuma", model="mic") == 2


@pytest.mark.parametrize(("model", "channels"), [("mic", 4), ("binaural", 2)])
def test_microphone_arrays_and_binaural(models, model, channels):
    recording(Path("r.wav"), 1.3, channels=channels)
    assert infer(models, "r.wav", model=model) == 0
    assert json.loads(Path("r_seld/r.json").read_text())["array"]["name"] == model
    assert Path("r_seld/player.html").stat().st_size > 10_000


@pytest.mark.parametrize("seconds", [0.5, 0.004])
def test_short_clips_are_padded(models, seconds):
    recording(Path("short.wav"), seconds)
    assert infer(models, "short.wav") == 0
    frames = max(1, round(seconds * 10))
    assert np.load("short_seld/short.npy").shape == (3, 3, 13, 10 * frames)
    assert rows("short_seld/short.csv").frame.max(initial=-1) < frames


def test_wrong_channel_count_and_folder_are_named(models, capsys):
    recording(Path("six.wav"), 1.0, channels=6)
    assert infer(models, "six.wav") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: six.wav: has 6 channels; the checkpoint is for foa audio, 4 channels (6 may be FOA")
    recording(Path("mic_dev/x.wav"), 1.0)
    assert infer(models, "mic_dev/x.wav") == 2
    assert "lies in a folder of mic audio" in capsys.readouterr().err
    assert infer(models, "nothing.wav") == 2
    assert "nothing.wav: no such file" in capsys.readouterr().err


def test_folder_with_a_broken_file_does_the_rest_and_names_it(models, capsys):
    for name in ("a", "b", "c"):
        recording(Path(f"takes/{name}.wav"), 1.2)
    whole = Path("takes/b.wav").read_bytes()
    Path("takes/b.wav").write_bytes(whole[: len(whole) // 2])
    assert infer(models, "takes", "--out", "done", "--player", "never") == 2
    shown = capsys.readouterr()
    assert "error: takes/b.wav: is shorter than its header says" in shown.err
    assert "2 of 3 recordings done" in shown.out
    assert {path.parent.name for path in Path("done").rglob("*.csv")} == {"a", "c"}
    assert len(list(Path("done").rglob("events.json"))) == 2


def test_files_and_videos_are_paired(tmp_path):
    for name in ("a.wav", "b.wav", "b.mp4", "other.mp4", "foa_eval/c.wav", "video_eval/c.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert [item.video for item in find_items(["a.wav", "other.mp4"]).items] == [Path("other.mp4")]
    assert [item.video for item in find_items(["a.wav", "b.wav"]).items] == [None, Path("b.mp4")]
    assert [item.video for item in find_items(["foa_eval"]).items] == [Path("video_eval/c.mp4")]
    with pytest.raises(InputError, match="belongs to none"):
        find_items(["a.wav", "b.wav", "other.mp4"])
    with pytest.raises(InputError, match="sound file"):
        find_items(["other.mp4"])


def test_audio_visual_system_without_video_says_it_once(models, capsys):
    recording(Path("takes/a.wav"), 1.2)
    recording(Path("takes/b.wav"), 1.2)
    assert infer(models, "takes", "--player", "never", model="av") == 0
    assert capsys.readouterr().err.count("runs with empty boxes") == 1
    assert json.loads(Path("a_seld/a.json").read_text())["boxes"] == "empty"
    assert infer(models, "takes", "--player", "never", "--no-video", model="av") == 0
    assert "empty boxes" not in capsys.readouterr().err


def test_boxes_are_detected_only_where_windows_look(models, monkeypatch, capsys):
    import detection.at_times as at_times

    recording(Path("a.wav"), 3.0)
    tiny_video(Path("a.mp4"), 3.0)
    detected = []
    look = at_times._look

    def counting(picture, detector):
        detected.append(picture)
        return look(picture, detector)

    monkeypatch.setattr(at_times, "_look", counting)
    assert infer(models, "a.wav", model="av") == 0
    assert len(detected) == 3  # windows at 0, 1.2 and 2.4 s
    assert Path("a_seld/a.boxes-builtin.npz").is_file() and not list(Path().glob("*.npz"))
    assert infer(models, "a.wav", "--player", "never", model="av") == 0
    assert len(detected) == 3  # those of the run before
    assert infer(models, "a.wav", "--player", "never", "--video-offset-s", "0.5", model="av") == 0
    assert [picture is None for picture in detected[3:]] == [False] * 2  # at 0.7 and 1.9 s of the video


def test_library_call_takes_pictures(models, monkeypatch):
    """A path, or pairs of time and picture: the rows of the command line, other ones than without."""
    import detection.at_times as at_times

    def people(picture, detector):
        bgr = picture if picture is None or isinstance(picture, np.ndarray) else picture.to_ndarray(format="bgr24")
        boxes = np.zeros((6, 4), np.float32)
        if bgr is not None:  # a person who walks as the picture grows brighter
            x = float(bgr.mean()) / 255
            boxes[0] = [x - 0.05, 0.3, x + 0.05, 0.8]
        return Look(boxes, boxes[:, 3], NO_THINGS)

    monkeypatch.setattr(at_times, "_look", people)
    recording(Path("a.wav"), 3.0)
    with VideoWriter("a.mp4", 64, 32, Fraction(10)) as writer:
        for index in range(30):
            writer.write(np.full((32, 64, 3), 40 + 6 * index, np.uint8))
    assert infer(models, "a.wav", "--player", "never", model="av") == 0
    inference = load(models / "av.pth", device="cpu", threshold_config=models / "t.json")
    waveform, rate_hz = soundfile.read("a.wav", dtype="float32", always_2d=True)
    expected = rows("a_seld/a.csv")
    assert same(inference(waveform.T, rate_hz, frames="a.mp4"), expected)
    pictures = ((index / 10, bgr) for index, bgr in read_frames("a.mp4"))
    assert same(inference(waveform.T, rate_hz, frames=pictures), expected)
    assert not same(inference(waveform.T, rate_hz), expected)


def test_checkpoint_of_another_project_is_told_its_array(models, capsys):
    content = torch.load(models / "mic.pth", weights_only=True)
    torch.save({"model_state_dict": content["stages"]["main"]["weights"]}, "theirs.pth")
    recording(Path("a.wav"), 1.2)
    flags = ["-infer", "a.wav", "-em", "theirs.pth", "--device", "cpu", "--player", "never"]
    assert run_main(seld.main, flags) == 0
    assert "--format foa, mic or bin says it" in capsys.readouterr().err
    assert run_main(seld.main, [*flags, "--format", "mic"]) == 0
    about = json.loads(Path("a_seld/a.json").read_text())
    assert about["array"]["name"] == "mic" and about["classes"][0] == "Female speech"
    assert run_main(seld.main, [*flags, "--format", "bin"]) == 2


def test_checkpoints_of_the_first_layout_still_load(models, capsys):
    """They held the settings of the audio feature, and those of the command line, in place of the model's."""
    made = torch.load(models / "av.pth", weights_only=True)
    content = {name: made[name] for name in ("system", "array", "classes", "visual")}
    content |= {"format": "seld-checkpoint-1", "iteration": 0, "settings": made["arguments"]}
    content["stages"] = [{"name": "main", "model": made["stages"]["main"]["weights"]}]
    content["feature"] = {"name": "amp_phasediff", "base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
    torch.save(content, "old.pth")
    recording(Path("a.wav"), 1.3)
    for checkpoint, out in (("old.pth", "old"), (str(models / "av.pth"), "new")):
        flags = ["-infer", "a.wav", "-em", checkpoint, "--device", "cpu", "--player", "never", "--no-video"]
        assert run_main(seld.main, [*flags, "--out", out]) == 0
    np.testing.assert_array_equal(np.load("old/a.npy"), np.load("new/a.npy"))
    content["feature"]["stft_hop_size"], content["settings"]["sampling_frequency"] = 480, 48000
    torch.save(content, "old48.pth")
    assert load("old48.pth", device="cpu").rate_hz == 48000


def test_overlay_is_rendered_for_one_recording(models, capsys):
    recording(Path("a.wav"), 0.6)
    assert infer(models, "a.wav", "--player", "never", "--overlay", "a_overlay.mp4") == 0
    assert video_info("a_overlay.mp4").duration_s == pytest.approx(0.6, abs=0.06)
    recording(Path("b.wav"), 0.6)
    assert infer(models, "a.wav", "b.wav", "--overlay", "a_overlay.mp4") == 2
    assert "one recording" in capsys.readouterr().err


@pytest.mark.parametrize("extra", [[], ["--video-yaw-deg", "90"]])
def test_broken_video_keeps_the_sound_and_is_told(models, capsys, extra):
    for name in ("a", "b"):
        recording(Path(f"takes/{name}.wav"), 0.6)
    Path("takes/a.mp4").write_bytes(b"no video")
    assert infer(models, "takes", "--out", "done", *extra) == 2
    shown = capsys.readouterr()
    assert "takes/a.mp4" in shown.err and "1 of 2 recordings done" in shown.out
    assert '"mime":"audio/mp4"' in Path("done/a/player.html").read_text(encoding="utf-8")
    assert Path("done/a/a.csv").is_file() and Path("done/b/player.html").is_file()
    assert infer(models, "takes/a.wav", *extra) == 2
    assert '"mime":"audio/mp4"' in Path("a_seld/player.html").read_text(encoding="utf-8")


def test_broken_video_of_an_audio_visual_system_stops_its_recording_alone(models, capsys):
    """Empty boxes in place of the video would be predictions of something else than what was asked for."""
    for name in ("a", "b", "c"):
        recording(Path(f"takes/{name}.wav"), 0.6)
    tiny_video(Path("takes/b.mp4"), 0.6)
    whole = Path("takes/b.mp4").read_bytes()
    for name, content in (("a", b"no video"), ("c", whole[: len(whole) // 2])):
        Path(f"takes/{name}.mp4").write_bytes(content)
    assert infer(models, "takes", "--out", "done", "--player", "never", model="av") == 2
    shown = capsys.readouterr()
    for name in ("a", "c"):
        assert re.search(rf"error: takes/{name}\.mp4: .*not predicted \(--no-video predicts it", shown.err)
    assert "1 of 3 recordings done" in shown.out
    assert {path.parent.name for path in Path("done").rglob("*.csv")} == {"b"}
    assert infer(models, "takes/a.wav", "--out", "one", "--player", "never", model="av") == 2
    assert infer(models, "takes", "--no-video", "--out", "deaf", "--player", "never", model="av") == 0
    assert {path.parent.name for path in Path("deaf").rglob("*.csv")} == {"a", "b", "c"}


def test_boxes_move_with_yaw_and_offset():
    boxes = np.zeros((2, 6, 4), np.float32)
    boxes[:, 0] = [[0.45, 0.4, 0.55, 0.9], [0.0, 0.4, 0.1, 0.9]]
    track = BoxTrack(np.array([0.0, 1.0]), boxes, boxes[..., 0], 2.0)
    placed = PlacedSight(track, Placement(yaw_deg=90, offset_s=0.5))
    one = Recording("a", Path("a.wav"), None, Path("a.mp4"), ARRAYS["foa"], 48000, 24000)
    found = placed(one, np.array([0.0, 0.6, 1.6]))
    assert not found[0].any()  # the video has not started
    np.testing.assert_allclose(found[1, 0], [0.20, 0.4, 0.30, 0.9], atol=1e-6)  # middle of the picture: azimuth +90
    np.testing.assert_allclose(found[2, 0], [0.75, 0.4, 0.85, 0.9], atol=1e-6)  # across the seam, as wide as before
    assert not found[:, 1:].any()


def test_video_to_be_looked_at_is_turned_and_shifted(tmp_path):
    with VideoWriter("v.mp4", 64, 32, Fraction(10)) as writer:
        for _ in range(10):
            picture = np.zeros((32, 64, 3), np.uint8)
            picture[:, 28:36] = 255  # the middle of the picture
            writer.write(picture)
    placed_video(Path("v.mp4"), Placement(yaw_deg=90, offset_s=0.3), 1.0, Path("p.mp4"))
    frames = [bgr for _, bgr in read_frames("p.mp4")]
    assert len(frames) == 10 and frames[0].max() < 40 and frames[2].max() < 40
    assert frames[3][16, 12:20].min() > 150 and frames[3][16, 28:36].max() < 90  # azimuth +90: a quarter from the left


def test_pictures_are_read_only_as_far_as_needed():
    taken = []

    def pictures():
        for index in range(100):
            taken.append(index)
            yield index * 0.1, index

    times = held_at(pictures(), iter([-1.0, 0.0, 0.55, 1.0]), 0.1)
    assert [picture for _, picture in times] == [None, 0, 5, 10]
    assert taken[-1] == 11
    ended = held_at(((t, t) for t in (0.0, 0.1)), [0.1, 1.1, 1.3], 0.1)
    assert [picture for _, picture in ended] == [0.1, 0.1, None]


def test_memory_is_bounded_on_long_recordings(models, monkeypatch):
    """Twenty minutes of silence; the network is replaced, the reading, decoding and writing are the real ones."""
    long = 1200 * RATE_HZ
    write_audio("long.wav", np.zeros((4, 1)), RATE_HZ)
    header = bytearray(Path("long.wav").read_bytes()[:44])
    header[4:8], header[40:44] = (36 + 8 * long).to_bytes(4, "little"), (8 * long).to_bytes(4, "little")
    with open("long.wav", "wb") as file:  # a sparse file
        file.write(header)
        file.truncate(44 + 8 * long)
    monkeypatch.setattr(StageModel, "heard", lambda self, batch: (torch.zeros(len(batch["waveform"]), 1), None))
    empty = lambda self, features, seen: torch.zeros(len(features), 3, 3, 13, 128)  # noqa: E731
    monkeypatch.setattr(AudioVisualCRNN, "forward", empty)
    seen = []
    monkeypatch.setattr(Inference, "candidates", _watched(Inference.candidates, seen))
    tracemalloc.start()
    try:
        assert infer(models, "long.wav", "--player", "never") == 0
        peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    raw = np.load("long_seld/long.npy", mmap_mode="r")
    assert raw.shape == (3, 3, 13, 120000) and max(seen) <= 16 * 120
    assert peak_mb < 50  # the raw output alone is 54 MB, the sound 439 MB as float32


def _watched(function, seen: list[int]):
    def watched(self, raw, first=0):
        seen.append(raw.shape[-1])
        return function(self, raw, first)

    return watched
