"""Entries for a challenge: made, packed, and every fault found that their receivers would stumble over."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

import seld
from job.submit import check_entry, metadata, with_sources
from tests.checkpoints import recording, thresholds, untrained
from tests.tiny import tiny_video
from util.cli import run_main
from util.dialects import read_events
from util.events import EventTable
from util.microphone_arrays import ARRAYS

LABEL = "Muster_TU_task3_1"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Checkpoints and an evaluation set of two recordings with video."""
    folder = tmp_path_factory.mktemp("entry")
    untrained(folder / "foa.pth")
    untrained(folder / "av.pth", visual=True)
    thresholds(folder / "t.json", 0.5)
    for name in ("mix001", "mix002"):
        recording(folder / "data" / "foa_eval" / f"{name}.wav", 1.7)
        tiny_video(folder / "data" / "video_eval" / f"{name}.mp4", 1.7)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def submit(root: Path, *flags: str, model: str = "foa") -> int:
    options = ["-em", str(root / f"{model}.pth"), "--threshold-config", str(root / "t.json"), "--device", "cpu"]
    return run_main(seld.main, ["-submit", "--data-root", str(root / "data"), "--label", LABEL, *options, *flags])


def check(root: Path, folder: Path | str, *flags: str) -> int:
    return run_main(seld.main, ["-check-submission", str(folder), "--data-root", str(root / "data"), *flags])


def test_an_entry_is_made_packed_and_checked(root, capsys):
    assert submit(root) == 0
    shown = capsys.readouterr().out
    out = Path("submission_2023")
    assert "2 csv files" in shown and "places are still to fill in" in shown and str(out / f"{LABEL}.zip") in shown
    table = read_events(out / LABEL / f"{LABEL}.output" / "mix001.csv", "dcase2023")
    assert len(table) > 20 and table.frame.max() < 17
    with zipfile.ZipFile(out / f"{LABEL}.zip") as archive:
        assert set(archive.namelist()) == {
            f"{LABEL}/{LABEL}.meta.yaml",
            f"{LABEL}/{LABEL}.output/mix001.csv",
            f"{LABEL}/{LABEL}.output/mix002.csv",
        }
    meta = out / LABEL / f"{LABEL}.meta.yaml"
    about = yaml.safe_load(meta.read_text())
    assert about["submission"]["label"] == LABEL and about["submission"]["authors"][0]["corresponding"] is True
    assert about["system"]["description"]["input_format"] == "Ambisonic"
    assert about["system"]["description"]["visual_features"] is None
    assert about["system"]["complexity"]["total_parameters"] > 100_000
    assert set(about["results"]["development_dataset"]["overall"]) == {"ER_20", "F_20", "LE_CD", "LR_CD"}
    meta.write_text(meta.read_text().replace("TO FILL IN", "x"))
    assert check(root, out) == 0
    assert "nothing wrong" in capsys.readouterr().out
    assert check(root, out / f"{LABEL}.zip") == 1  # the zip has the old metadata
    assert "still to fill in" in capsys.readouterr().out


def test_audio_visual_entry_of_another_edition(root, capsys):
    assert submit(root, "--edition", "2022", "--detector", "builtin", model="av") == 0
    table = read_events(f"submission_2022/{LABEL}/{LABEL}.output/mix002.csv", "starss22")
    assert set(table.source) <= {0, 1, 2}
    assert sorted(path.name for path in Path("submission_2022/boxes").iterdir())[0] == "mix001.boxes-builtin.npz"
    assert submit(root, "--edition", "2024") == 2
    assert "does not estimate them" in capsys.readouterr().err
    assert submit(root, "--edition", "1999") == 2
    assert submit(root, "--label", "nobody") == 2


def test_an_entry_has_the_boxes_of_its_own_clips_or_none(root, capsys):
    for boxes in ("other", "true"):
        assert submit(root, "--boxes", boxes, model="av") == 2
        assert f"--boxes {boxes}: " in capsys.readouterr().err
    assert submit(root, "--boxes", "empty", model="av") == 0
    about = yaml.safe_load(next(Path("submission_2023").rglob("*.meta.yaml")).read_text())
    assert about["system"]["description"]["visual_features"] is None
    assert not Path("submission_2023/boxes").exists()


def test_metadata_is_yaml_whatever_names_hold():
    about = metadata(
        "A_B_task3b_1",
        "2023",
        'net: "a" # b, \\ c',
        True,
        ARRAYS["mic"],
        48000,
        7,
        checkpoint=Path("p.pth"),
        command="python seld.py -submit --label 'x: y'\n",
    )
    parsed = yaml.safe_load(about)
    assert parsed["submission"]["name"] == 'net: "a" # b, \\ c'
    assert parsed["system"]["description"]["input_format"] == "Microphone Array"
    assert parsed["system"]["description"]["input_sampling_rate"] == "48kHz"
    assert "Gaussian" in parsed["system"]["description"]["visual_features"] and "--label 'x: y'" in about


@pytest.mark.parametrize("label", ["A_B_task3_1", "Mc-Do_TU-X_task3a_4", "A_B_task3b_2"])
def test_labels_of_all_tracks_are_known(label, root, capsys):
    assert submit(root, "--label", label, "--edition", "2024") == 2
    assert "--label" not in capsys.readouterr().err  # it is the edition that is refused
    assert submit(root, "--label", label.replace("task3", "task4")) == 2
    assert "--label" in capsys.readouterr().err


def test_sources_are_numbered():
    table = EventTable.make(
        frame=[0, 0, 0, 1, 1], class_index=[2, 1, 2, 2, 2], azimuth_deg=[0.0] * 5, elevation_deg=[0.0] * 5
    )
    numbered = with_sources(table)
    assert numbered.class_index.tolist() == [1, 2, 2, 2, 2] and numbered.source.tolist() == [0, 0, 1, 0, 1]


FAULTS = {
    "missing": (lambda output: (output / "mix002.csv").unlink(), "mix002.csv is missing"),
    "another name": (lambda output: (output / "mix002.csv").rename(output / "mix2.csv"), "belongs to no recording"),
    "too long": (lambda output: append(output, "17,0,10,10"), "goes on to frame 17, the recording has 17"),
    "azimuth": (lambda output: append(output, "16,0,200,10"), "azimuth must be between -180 and 180"),
    "class": (lambda output: append(output, "16,13,20,10"), "class must be between 0 and 12"),
    "columns": (lambda output: append(output, "16,1,20,10,5"), "5 columns"),
    "order": (lambda output: append(output, "3,1,20,10"), "frames must ascend"),
    "equal rows": (lambda output: append(output, "16,1,20,10", "16,1,20,10"), "has equal rows"),
    "twice": (lambda output: copy(output, "mix001.csv"), "the same name as"),
    "no yaml": (lambda output: write_meta(output, "submission:\n  label: a: b\n"), "line 2: is no YAML"),
    "no label": (lambda output: write_meta(output, "system: x\n"), "has no label"),
    "other label": (lambda output: write_meta(output, "submission: {label: A_B_task3b_2}\n"), "A_B_task3b_2.meta.yaml"),
    "no metadata": (lambda output: next(output.parent.glob("*.yaml")).unlink(), "no metadata file"),
    "empty": (lambda output: [path.write_text("") for path in output.iterdir()], "no file has a row"),
}


def write_meta(output: Path, text: str) -> None:
    next(output.parent.glob("*.yaml")).write_text(text)


def append(output: Path, *rows: str) -> None:
    path = output / "mix001.csv"
    path.write_text(path.read_text() + "".join(f"{row}\n" for row in rows))


def copy(output: Path, name: str) -> None:
    (output / "again").mkdir()
    shutil.copy(output / name, output / "again" / name)


@pytest.fixture(scope="module")
def entry(root, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    submit(root, "--out", str(out))
    meta = out / LABEL / f"{LABEL}.meta.yaml"
    meta.write_text(meta.read_text().replace("TO FILL IN", "x"))
    return out / LABEL


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault, root, entry, tmp_path, capsys):
    change, said = FAULTS[fault]
    shutil.copytree(entry, tmp_path / LABEL)
    change(tmp_path / LABEL / f"{LABEL}.output")
    capsys.readouterr()
    assert check(root, tmp_path / LABEL) == 1
    assert said in capsys.readouterr().out


def test_without_the_evaluation_set_names_and_count_are_checked(entry):
    found = check_entry(entry, "2023")
    assert len(found) == 1 and "2 csv files, the evaluation set of 2023 has 79" in found[0]
    (entry / f"{LABEL}.output" / "mix002.csv").rename(entry / f"{LABEL}.output" / "clip.csv")
    assert any("are called mix" in line for line in check_entry(entry, "2023"))


def test_what_cannot_be_checked_at_all(root, tmp_path, capsys):
    assert check(root, tmp_path / "nothing") == 2
    assert "no such folder" in capsys.readouterr().err
    assert check(root, tmp_path) == 1
    assert "holds no csv file" in capsys.readouterr().out


def test_forms_that_receivers_stumble_over_are_named(tmp_path):
    """They are read here all the same: an entry must be what the official programs expect."""
    text = "0,1,35,10\n1,1,36,10\n"
    contents = {
        "mix001": (text.encode("utf-8-sig"), ["a byte order mark"]),
        "mix002": (b"frame;class;azimuth;elevation\n" + text.replace(",", ";").encode(), ["a header", "semicolons"]),
        "mix003": (text.replace("\n", "\r\n").encode("utf-16"), ["UTF-16"]),
        "mix004": (text.replace("\n", ",,\n").encode(), ["commas at the end of rows"]),
        "mix005": (text.replace("\n", "\r").encode(), ["line ends of old Macs"]),
        "mix006": (text.encode(), []),
    }
    for name, (content, _) in contents.items():
        (tmp_path / f"{name}.CSV").write_bytes(content)
        (tmp_path / f"._{name}.csv").write_bytes(b"\0")
    found = check_entry(tmp_path, "2023")
    for name, (_, due) in contents.items():
        lines = [line for line in found if f"{name}.CSV: " in line]
        assert len(lines) == len(due) and all(any(words in line for line in lines) for words in due), lines
    assert not any("._mix" in line for line in found)
