"""The doctor: every fault that it names, planted in simulated material; and silence where nothing is wrong."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dataset.__main__ import main
from doctor.check import check_path, check_recording
from simulation.labels import label_table, rounded
from simulation.render import render
from simulation.scene import Event, Room, Scene, Trajectory
from util.angles import degrees_from_direction, direction_from_degrees, wrap_azimuth_deg
from util.audio import read_audio, write_audio
from util.boxes import BoxTrack, box_path, write_boxes
from util.cli import run_main
from util.dialects import read_events, write_events
from util.events import EventTable
from util.microphone_arrays import ARRAYS
from util.video import VideoWriter

RATE_HZ = 24000
DURATION_S = 12.0
ROOM = Room("room1", (7.0, 6.0, 3.0), (3.5, 3.0, 1.5), 0.35)
FOLDERS = {"foa": "foa_dev", "mic": "mic_dev", "binaural": "binaural_dev"}
SPLIT = "dev-train-sim"


def _event(index: int, start_s: float, seconds: float, path: Trajectory) -> Event:
    noise = np.random.default_rng(index).standard_normal(int(seconds * RATE_HZ)).astype(np.float32) * 0.05
    return Event(0, "any", start_s, noise, {}, path, "mouth", index)


def _still(azimuth_deg: float, elevation_deg: float, distance_m: float = 1.5) -> Trajectory:
    return Trajectory(np.zeros(1), distance_m * direction_from_degrees([azimuth_deg], [elevation_deg]))


def _walk() -> Trajectory:
    """From the right to the left in front of the array, and back, 1.5 m away."""
    time_s = np.arange(0, DURATION_S + 0.1, 0.1)
    azimuth_deg = 70 * np.sin(2 * np.pi * (time_s - 6.5) / 5.0)
    return Trajectory(time_s, 1.5 * direction_from_degrees(azimuth_deg, np.zeros(len(time_s))))


@pytest.fixture(scope="module")
def scene() -> Scene:
    events = (
        _event(0, 0.3, 1.5, _still(35, 20)),
        _event(1, 2.2, 1.5, _still(-100, -25)),
        _event(2, 4.1, 1.5, _still(150, 10)),
        _event(3, 6.1, 5.5, _walk()),
    )
    return Scene("fold3_room1_mix001", "train", 5, DURATION_S, RATE_HZ, ROOM, events, (), (), 30.0)


@pytest.fixture(scope="module")
def waveforms(scene) -> dict[str, np.ndarray]:
    return render(scene, list(ARRAYS.values()))


@pytest.fixture(scope="module")
def labels(scene) -> EventTable:
    return rounded(label_table(scene))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "grey.mp4"
    with VideoWriter(path, 64, 32, Fraction(10)) as writer:
        for _ in range(round(10 * DURATION_S)):
            writer.write(np.full((32, 64, 3), 90, dtype=np.uint8))
    return path


def boxes(scene: Scene, *, yaw_deg: float = 0.0, late_s: float = 0.0) -> BoxTrack:
    """The sounding person as a video shows it that is turned and starts late; another person who is silent."""
    time_s = np.arange(0, DURATION_S, 0.1)
    found = np.zeros((len(time_s), 6, 4), np.float32)
    for index, now_s in enumerate(time_s + late_s):
        event = next((event for event in reversed(scene.events) if event.start_s <= now_s), scene.events[0])
        (azimuth_deg,), (elevation_deg,) = degrees_from_direction(event.trajectory.at(np.array([now_s])))
        for row, azimuth in enumerate((azimuth_deg, -60.0)):
            x = (180 - float(wrap_azimuth_deg(azimuth - yaw_deg))) / 360
            top = (90 - elevation_deg) / 180 - 0.05
            found[index, row] = [x - 0.03, top, x + 0.03, top + 0.25]
    return BoxTrack(time_s, found, np.where(found.any(axis=-1), 0.9, 0).astype(np.float32), DURATION_S)


def root(
    folder: Path,
    scene: Scene,
    waveforms: dict[str, np.ndarray],
    labels: EventTable | None,
    *,
    formats: tuple[str, ...] = ("foa",),
    video: Path | None = None,
    track: BoxTrack | None = None,
) -> Path:
    """One clip as a data root; its folder."""
    for name in formats:
        write_audio(folder / FOLDERS[name] / SPLIT / f"{scene.name}.wav", waveforms[name], RATE_HZ)
    if labels is not None:
        write_events(folder / "metadata_dev" / SPLIT / f"{scene.name}.csv", labels)
    if video is not None:
        path = folder / "video_dev" / SPLIT / f"{scene.name}.mp4"
        path.parent.mkdir(parents=True)
        shutil.copy(video, path)
        if track is not None:
            write_boxes(box_path(path, "builtin"), track)
    return folder


def problems(folder: Path) -> list[str]:
    """What the doctor says of a root, without notes."""
    return [f"{finding.rule} ({finding.detail})" for finding in check_path(folder)[0] if not finding.note]


def test_nothing_is_wrong_with_simulated_recordings(tmp_path, scene, waveforms, labels, video):
    formats = ("foa", "mic", "binaural")
    made = root(tmp_path, scene, waveforms, labels, formats=formats, video=video, track=boxes(scene))
    assert problems(made) == []


FOA_FAULTS = {
    "FuMa order": (lambda w: w[[0, 3, 1, 2]], "FuMa order W X Y Z"),
    "Y and Z exchanged": (lambda w: w[[0, 2, 1, 3]], "the channels of the file are W Z Y X"),
    "all in another order": (lambda w: w[[2, 3, 0, 1]], "the channels of the file are Z X W Y"),
    "Y upside down": (lambda w: w * [[1], [-1], [1], [1]], "left and right are exchanged"),
    "Z upside down": (lambda w: w * [[1], [1], [-1], [1]], "up and down are exchanged"),
    "X upside down": (lambda w: w * [[1], [1], [1], [-1]], "front and back are exchanged"),
    "W upside down": (lambda w: w * [[-1], [1], [1], [1]], "W has the wrong sign"),
    "turned around": (lambda w: w * [[1], [-1], [1], [-1]], "turned by 180 degrees"),
    "turned to the left": (lambda w: np.stack([w[0], w[3], w[2], -w[1]]), "turned by 90 degrees to the left"),
    "late": (lambda w: np.roll(w, RATE_HZ // 2, axis=1), "the sound comes after its labels (0.5 s)"),
    "early": (lambda w: np.roll(w, -RATE_HZ // 2, axis=1), "the sound comes before its labels (0.5 s)"),
    "N3D": (lambda w: w * [[0.5], [0.866], [0.866], [0.866]], "weights of N3D"),
    "W of FuMa": (lambda w: w * [[0.7071], [1], [1], [1]], "weights of FuMa"),
    "Y weak": (lambda w: w * [[1], [0.4], [1], [1]], "channel Y is too weak"),
}


@pytest.mark.parametrize("fault", FOA_FAULTS)
def test_faults_of_ambisonics_against_labels(fault, tmp_path, scene, waveforms, labels):
    change, said = FOA_FAULTS[fault]
    found = problems(root(tmp_path, scene, {"foa": change(waveforms["foa"])}, labels))
    assert any(said in line for line in found), found
    assert len(found) == 1, found


MIC_FAULTS = {
    "two exchanged": (lambda w: w[[1, 0, 2, 3]], "the channels of the file are 2 1 3 4"),
    "all in another order": (lambda w: w[[2, 0, 3, 1]], "the channels of the file are 3 1 4 2"),
    "one upside down": (lambda w: w * [[1], [1], [-1], [1]], "channel 3 has the wrong sign"),
    "turned around": (lambda w: w[[3, 2, 1, 0]], "turned by 180 degrees"),
    "late": (lambda w: np.roll(w, RATE_HZ // 2, axis=1), "the sound comes after its labels (0.5 s)"),
}


@pytest.mark.parametrize("fault", MIC_FAULTS)
def test_faults_of_capsules_against_labels(fault, tmp_path, scene, waveforms, labels):
    change, said = MIC_FAULTS[fault]
    found = problems(root(tmp_path, scene, {"mic": change(waveforms["mic"])}, labels, formats=("mic",)))
    assert len(found) == 1 and said in found[0], found


def test_ears_that_are_exchanged(tmp_path, scene, waveforms, labels):
    found = problems(root(tmp_path, scene, {"binaural": waveforms["binaural"][::-1]}, labels, formats=("binaural",)))
    assert len(found) == 1 and "left and right are exchanged" in found[0], found


@pytest.mark.parametrize("name", ["foa", "mic"])
def test_without_labels_people_in_the_picture_are_compared(name, tmp_path, scene, waveforms, video):
    assert problems(
        root(tmp_path / "good", scene, waveforms, None, formats=(name,), video=video, track=boxes(scene))
    ) == [f"has no labels ({tmp_path}/good/metadata_dev/{SPLIT}/{scene.name}.csv)"]
    turned = {"foa": lambda w: w * [[1], [-1], [1], [-1]], "mic": lambda w: w[[3, 2, 1, 0]]}[name](waveforms[name])
    found = problems(
        root(tmp_path / "bad", scene, {name: turned}, None, formats=(name,), video=video, track=boxes(scene))
    )
    assert any("compared with the people in the picture" in line and "180 degrees" in line for line in found), found


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("late_s", "said"), [(1.0, "later"), (-0.8, "earlier")])
def test_picture_that_is_early_or_late(labelled, late_s, said, tmp_path, scene, waveforms, labels, video):
    track = boxes(scene, late_s=late_s)
    found = problems(root(tmp_path, scene, waveforms, labels if labelled else None, video=video, track=track))
    found = [line for line in found if "has no labels" not in line]
    assert len(found) == 1 and f"s {said} than the {'labels' if labelled else 'sound'}" in found[0], found
    assert abs(float(found[0].split("--video-offset-s ")[1].split()[0]) - late_s) < 0.15


@pytest.mark.parametrize("yaw_deg", [180, 90])
def test_picture_that_is_turned(yaw_deg, tmp_path, scene, waveforms, labels, video):
    found = problems(root(tmp_path, scene, waveforms, labels, video=video, track=boxes(scene, yaw_deg=yaw_deg)))
    assert len(found) == 1 and "the picture is turned against the labels" in found[0], found
    flag = int(found[0].split("--video-yaw-deg ")[1].split()[0])
    assert (flag - yaw_deg) % 360 == 0


def test_recordings_too_short_to_tell_alone_tell_together(tmp_path, scene, waveforms, labels):
    """Pieces of 1.5 s, each with one source."""
    turned = waveforms["mic"][[1, 0, 2, 3]]
    for index, start_s in enumerate((0.3, 2.2, 4.1, 6.5, 8.0, 9.5)):
        piece = turned[:, round(start_s * RATE_HZ) :][:, : round(1.5 * RATE_HZ)]
        write_audio(tmp_path / "mic_dev" / SPLIT / f"piece{index}.wav", piece, RATE_HZ)
        first = round(start_s * 10)
        rows = labels[(labels.frame >= first) & (labels.frame < first + 15)]
        write_events(tmp_path / "metadata_dev" / SPLIT / f"piece{index}.csv", rows.replace(frame=rows.frame - first))
    found = problems(tmp_path)
    assert len(found) == 1 and "6 mic recordings together: the channels of the file are 2 1 3 4" in found[0], found


def test_levels(tmp_path, scene, waveforms, labels):
    loud = waveforms["foa"] / np.abs(waveforms["foa"]).max()
    faults = {
        "silent": (loud * 0, ["is silent"]),
        "one silent": (loud * [[1], [1], [0], [1]], ["channel Z is silent"]),
        "one far below": (loud * [[1], [1], [1], [0.005]], ["channel X is far below the others"]),
        "clipped": (loud * [[4], [1], [1], [1]], ["channel W is clipped"]),
        "clipped and turned down": (np.clip(loud * [[4], [1], [1], [1]], -1, 1) * 0.5, ["channel W is clipped"]),
        "offset": (loud * 0.5 + [[0.1], [0], [0], [0]], ["channel W has a constant offset"]),
        "quiet": (loud * 0.001, ["is very quiet"]),
    }
    for name, (waveform, said) in faults.items():
        path = tmp_path / f"{name}.wav"
        write_audio(path, waveform, RATE_HZ, subtype="FLOAT" if name == "quiet" else "PCM_16")
        found = [finding.rule for finding in check_recording(path) if "too" not in finding.rule]
        assert found == said, (name, found)


def test_files_that_are_missing_or_do_not_fit(tmp_path, scene, waveforms, labels, video):
    made = root(tmp_path, scene, waveforms, labels, formats=("foa", "mic"), video=video)
    for folder in ("foa_dev", "mic_dev"):
        shutil.copy(made / folder / SPLIT / f"{scene.name}.wav", made / folder / SPLIT / "other.wav")
    broken = made / "foa_dev" / SPLIT / "broken.wav"
    broken.write_bytes((made / "foa_dev" / SPLIT / "other.wav").read_bytes()[:100_000])
    longer = EventTable.concatenate(
        [labels, EventTable.make(frame=[125], class_index=[0], azimuth_deg=[0], elevation_deg=[0], distance_m=[1.0])]
    )
    write_events(made / "metadata_dev" / SPLIT / f"{scene.name}.csv", longer)
    write_events(made / "metadata_dev" / SPLIT / "nobody.csv", labels)
    found = check_path(made)[0]
    said = {(finding.path.name, finding.rule.split(":")[0]) for finding in found}
    assert {
        ("other.wav", "has no labels"),
        ("other.wav", "has no video, other recordings have one"),
        ("nobody.csv", "are labels of no recording"),
        (f"{scene.name}.csv", "labels go on beyond the end of the sound"),
        ("broken.wav", "is shorter than its header says"),
    } <= said
    (beyond,) = {finding.detail for finding in found if "beyond" in finding.rule}
    assert beyond == "until 12.6 s, the sound ends at 12.0 s"


def test_command_line(tmp_path, scene, waveforms, labels, video, capsys):
    made = root(tmp_path / "data", scene, waveforms, labels)
    assert run_main(main, ["check", str(made), "--quiet"]) == 0
    assert capsys.readouterr().out == "1 recording checked: no problem found\n"
    file = made / "foa_dev" / SPLIT / f"{scene.name}.wav"
    write_audio(file, read_audio(file)[[0, 3, 1, 2]], RATE_HZ)
    assert run_main(main, ["check", str(file)]) == 1
    assert "--channel-order fuma" in capsys.readouterr().out
    shutil.copy(video, file.with_suffix(".mp4"))
    assert run_main(main, ["check", str(file), "--detect", "--detector", "builtin", "--quiet"]) == 1
    assert box_path(file.with_suffix(".mp4"), "builtin").is_file()
    assert run_main(main, ["check", str(tmp_path / "nothing")]) == 2
    assert len(read_events(made / "metadata_dev" / SPLIT / f"{scene.name}.csv")) == len(labels)
