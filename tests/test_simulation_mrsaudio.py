"""Synthetic sets in the form of MRSAudio, and what `python -m dataset prepare mrsaudio` makes of them."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import stft

from dataset.__main__ import main as dataset_main
from dataset.classes import MRSAUDIO_OBJECTS
from dataset.layouts import DataRoot
from dataset.lists import read_list
from dataset.recordings import recordings_from_list
from simulation.mrsaudio import METADATA, STANDS_FOR, MrsSettings, compose_recording, main
from simulation.picture import Painter
from util.angles import angle_between_deg, direction_from_degrees, wrap_azimuth_deg
from util.audio import RATE_HZ, read_audio
from util.camera import Equirectangular
from util.dialects import read_events
from util.position_tracks import class_of_item
from util.video import read_frames, video_info

SETTINGS = MrsSettings(recordings=2, items=3, width=480, height=270, seed=3, rt60_s=(0.2, 0.5))
CAMERA = Equirectangular(SETTINGS.width, SETTINGS.height)
FPS = Fraction(SETTINGS.fps)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mrs") / "set"
    flags = ["--recordings", "2", "--items", "3", "--width", "480", "--height", "270", "--seed", "3"]
    assert main(["--out", str(folder), *flags, "--processes", "1", "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "data"
    assert prepare(source, out, "--test", "1") == 0
    return out


def prepare(source: Path, out: Path, *flags: str, metadata: str = METADATA) -> int:
    command = ["prepare", "mrsaudio", "--metadata", str(source / metadata), "--source", str(source), "--out", str(out)]
    return dataset_main([*command, "--workers", "1", *flags])


def items():
    """(scene, take) of every item."""
    for number in range(SETTINGS.recordings):
        scene, takes = compose_recording(SETTINGS, number)
        yield from ((scene, take) for take in takes)


def made_of(root: Path, folder: str, name: str, suffix: str) -> Path:
    return next((root / folder).glob(f"*/{name}{suffix}"))


def test_every_object_has_a_sound():
    assert set(STANDS_FOR) == set(MRSAUDIO_OBJECTS)


def test_the_set_has_the_form_of_the_real_one(source):
    entries = json.loads((source / METADATA).read_text())
    assert len(entries) == 6
    for entry in entries.values():
        assert entry["item_name"].split("_")[0].startswith("sound") and entry["start"] < entry["stop"]
        files = {key: source / entry[key].removeprefix("./Spatial/MRSAudio/") for key in entry if key.endswith("_fn")}
        for key, channels in (("foa_fn", 4), ("wav_fn", 2)):
            info = soundfile.info(files[key])
            assert (info.samplerate, info.channels, info.subtype) == (48000, channels, "PCM_24")
        video = video_info(files["vid_fn"])
        assert (video.width, video.height, video.fps) == (480, 270, FPS)
        track = np.load(files["pos_fn"])
        assert track.shape == (int(np.ceil((entry["stop"] - entry["start"]) * 20)), 4)
        assert np.allclose(np.diff(track[:, 3]), 0.05) and track[0, 3] == 0


def test_lists_split_and_classes(prepared):
    root = DataRoot(prepared)
    assert root.synthetic and (prepared / "SYNTHETIC.txt").is_file() and len(root.classes) == 32
    names = sorted(take.item_name for _, take in items())
    for short in ("foa", "bin"):
        lists = {}
        for part in ("devtrain_audiovisual", "devtest"):
            path = prepared / f"list_dataset/dcase2023t3_{short}_{part}.txt"
            recordings = recordings_from_list(path, [root], need_labels=True, need_video=True)
            lists[part] = [audio.stem for audio in read_list(path, [root])]
            assert [recording.name for recording in recordings] == lists[part]
        assert len(lists["devtest"]) == 1 and sorted(name for listed in lists.values() for name in listed) == names


def test_sound_is_cut_to_the_sample_and_comes_from_where_the_labels_say(source, prepared):
    for scene, take in items():
        start, stop = round(take.start_s * RATE_HZ), round(take.stop_s * RATE_HZ)
        for folder, kind in (("foa_dev", "audio_foa"), ("binaural_dev", "audio")):
            whole = soundfile.read(source / f"MRSSound/{kind}/{scene.name}/all.wav", dtype="float32")[0]
            due = soxr.resample(whole, 48000, RATE_HZ, quality="HQ")[start:stop]
            cut = read_audio(made_of(prepared, folder, take.item_name, ".wav"))
            assert cut.shape[1] == stop - start and np.abs(cut.T - due).max() < 0.6 / 32768
        events = read_events(made_of(prepared, "metadata_dev", take.item_name, ".csv"), class_count=32)
        assert np.array_equal(events.frame, np.arange(np.ceil((stop - start) / (0.1 * RATE_HZ))))
        index = {name: number for number, name in enumerate(MRSAUDIO_OBJECTS, start=1)}
        assert set(events.class_index) == {class_of_item(take.item_name, index)}
        foa = read_audio(made_of(prepared, "foa_dev", take.item_name, ".wav"))
        towards, weight = intensity_direction(foa, len(events))
        error_deg = angle_between_deg(towards, direction_from_degrees(events.azimuth_deg, events.elevation_deg))
        assert np.average(error_deg, weights=weight) < 10
    moved = [np.ptp(take.track[:, :3], axis=0).max() for _, take in items()]
    assert min(moved) == 0 and max(moved) > 1


def intensity_direction(foa: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Acoustic intensity of what sets in, towards its source (frames of 100 ms, 3), and its energy (frames,).

    The walls answer later: only where a band has four times the energy of the 13 ms before it does the source speak.
    """
    _, time_s, spectrum = stft(foa, RATE_HZ, nperseg=256, noverlap=192)
    spectrum = spectrum[:, 5:86]  # 0.5 to 8 kHz
    pressure, velocity = spectrum[0], spectrum[[3, 1, 2]]
    energy = np.abs(pressure) ** 2
    before = np.max([np.pad(energy, ((0, 0), (lag, 0)))[:, : energy.shape[1]] for lag in range(2, 6)], axis=0)
    onset = energy > 4 * before
    intensity = (np.real(np.conj(pressure) * velocity) * onset).sum(axis=1)
    frame = np.minimum((time_s / 0.1).astype(int), frames - 1)
    towards = np.stack([np.bincount(frame, row, frames) for row in intensity], axis=-1)
    return towards, np.bincount(frame, (energy * onset).sum(axis=0), frames)


def test_video_is_cut_to_the_frame_and_shows_the_player_at_the_label(source, prepared):
    for number in range(SETTINGS.recordings):
        scene, takes = compose_recording(SETTINGS, number)
        empty = Painter(scene, CAMERA).room.bgr.astype(int)
        whole = [frame for _, frame in read_frames(source / f"MRSSound/video/{scene.name}.mp4")]
        for take in takes:
            cut = [frame for _, frame in read_frames(made_of(prepared, "video_dev", take.item_name, ".mp4"))]
            first, last = round(take.start_s * FPS), round(take.stop_s * FPS)
            assert len(cut) == last - first
            events = read_events(made_of(prepared, "metadata_dev", take.item_name, ".csv"), class_count=32)
            if np.ptp(take.track[:, :3], axis=0).max() > 1:  # somebody who walks looks different in every frame
                for shown in (0, len(cut) // 2, len(cut) - 1):
                    around = range(max(first + shown - 2, 0), min(first + shown + 3, len(whole)))
                    apart = {i: np.abs(whole[i].astype(int) - cut[shown]).mean() for i in around}
                    assert min(apart, key=apart.get) == first + shown
            for row in range(0, len(events), 3):
                frame = cut[min(int((events.frame[row] + 0.5) * 0.1 * FPS), len(cut) - 1)]
                other = np.abs(frame.astype(int) - empty).max(axis=-1)
                # without specks of the codec
                somebody = cv2.morphologyEx((other > 40).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0
                angle = np.deg2rad(180 - (np.arange(SETTINGS.width) + 0.5) / SETTINGS.width * 360)
                azimuth_deg = np.rad2deg(np.angle((somebody.sum(axis=0) * np.exp(1j * angle)).sum()))
                assert abs(wrap_azimuth_deg(azimuth_deg - events.azimuth_deg[row])) < 6
                column = round((180 - events.azimuth_deg[row]) / 360 * SETTINGS.width)
                rows = np.flatnonzero(other.take(range(column - 3, column + 4), axis=1, mode="wrap").max(axis=1) > 20)
                top_deg, bottom_deg = (90 - (y + 0.5) / SETTINGS.height * 180 for y in rows[[0, -1]])
                assert bottom_deg < events.elevation_deg[row] < top_deg


def test_making_goes_on_where_it_stopped(source, capsys):
    video = source / "MRSSound/video/20240101.mp4"
    before = video.stat().st_mtime_ns
    part = source / "provenance_parts/recording001.json"
    entries, kept = part.read_text(), json.loads((source / METADATA).read_text())
    part.unlink()
    (source / METADATA).unlink()
    flags = ["--recordings", "2", "--items", "3", "--width", "480", "--height", "270", "--seed", "3", "--quiet"]
    assert main(["--out", str(source), *flags, "--processes", "1"]) == 0
    assert video.stat().st_mtime_ns == before
    assert part.read_text() == entries and json.loads((source / METADATA).read_text()) == kept


def test_a_broken_item_is_listed_and_the_next_call_makes_it(source, tmp_path, capsys):
    out = tmp_path / "data"
    entry = json.loads((source / METADATA).read_text())["1"]
    track = source / entry["pos_fn"].removeprefix("./Spatial/MRSAudio/")
    whole = track.read_bytes()
    try:
        track.write_bytes(whole[:100])
        assert prepare(source, out, "--video", "none") == 1
        report = (out / "prepare_errors.txt").read_text()
        assert report.startswith(f"{entry['item_name']}: {track}: is no npy file") and report.count("\n") == 1
        assert len(list(out.glob("foa_dev/*/*.wav"))) == 5
    finally:
        track.write_bytes(whole)
    capsys.readouterr()
    assert prepare(source, out, "--video", "none") == 0
    assert "5 finished before, 1 to do" in capsys.readouterr().out
    assert len(list(out.glob("foa_dev/*/*.wav"))) == 6 and not (out / "prepare_errors.txt").exists()
