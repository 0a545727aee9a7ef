"""The data set on disk: layout, provenance, one seed, interruptions, banks, bad input."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from dataset.layouts import DataRoot
from simulation.__main__ import main, parser
from simulation.bank import Bank, bank_sound, open_banks, own_classes, photo_source
from simulation.compose import clip_cast, compose
from simulation.dataset_writer import (
    description,
    provenance_rows,
    readme,
    stored_settings,
    write_dataset,
)
from simulation.plan import make_plan
from simulation.set_folder import MARKER, write_provenance
from simulation.settings import Settings
from simulation.sounds import GENERATORS, RATE_HZ
from tests.limits import needs_file_limit
from tests.shared import SHARED, needs_shared
from util.audio import audio_info
from util.cli import run_main
from util.dialects import read_events
from util.errors import InputError
from util.video import video_info

ROOT = Path(__file__).resolve().parents[1]
SMALL = Settings(train=3, test=2, seconds=3.0, formats=("foa", "mic", "binaural"), width=160, height=80, fps="5")
SMALL_OPTIONS = ["--train", "3", "--test", "2", "--seconds", "3", "--formats", "foa,mic,binaural",
                 "--width", "160", "--height", "80", "--fps", "5", "--quiet"]  # fmt: skip


def contents(root: Path) -> dict[str, str]:
    """Relative path -> hash of every file below a folder."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A small data set with everything, made by one process."""
    out = tmp_path_factory.mktemp("small") / "set"
    summary = write_dataset(out, SMALL, progress=False)
    assert (summary.made, summary.skipped) == (5, 0)
    return out


@pytest.fixture(scope="module")
def sounding(tmp_path_factory) -> Path:
    """The default number of clips, short, and no more than sound: for provenance."""
    out = tmp_path_factory.mktemp("sounding") / "set"
    write_dataset(out, Settings(seconds=4.0, formats=("foa",), video=False, polyphony=2.0), progress=False)
    return out


def test_layout_is_that_of_starss23(small):
    names = {"train": {"fold3_room1_mix001", "fold3_room2_mix001", "fold3_room3_mix001"},
             "test": {"fold4_room7_mix001", "fold4_room8_mix001"}}  # fmt: skip
    root = DataRoot(small)
    assert root.synthetic and root.layout.name == "starss23" and len(root.classes) == 13
    for form, channels in (("foa", 4), ("mic", 4), ("binaural", 2)):
        files = root.audio_files(form)
        assert {path.stem for path in files} == names["train"] | names["test"]
        for path in files:
            split, folder = root.layout.split_of(path)
            assert path.stem in names[split] and folder == f"dev-{split}-sim"
            info = audio_info(path, channels=channels)
            assert (info.rate_hz, info.frames, info.subtype) == (24000, 72000, "PCM_16")
            video = next(video for video in root.layout.videos_of(path) if video.is_file())
            assert (video_info(video).width, video_info(video).frame_count) == (160, 15)
            labels = read_events(root.layout.labels_of(path), "starss23", class_count=13)
            assert len(labels) and labels.frame.max() < 30 and not np.isnan(labels.distance_m).any()
            assert labels.azimuth_deg.max() < 180
            for line in root.layout.labels_of(path).read_text().splitlines():
                assert re.fullmatch(r"\d+,\d+,\d+,-?\d+,-?\d+,\d+", line)
    settings = json.loads((small / "dataset.json").read_text())
    assert settings["synthetic"] is True and settings["detector"] == "builtin"
    assert isinstance(settings["max_iter"], int) and isinstance(settings["model_save_interval"], int)
    assert Settings.from_dict(settings["settings"]) == SMALL
    assert "ynthetic" in (small / "README.md").read_text() and (small / MARKER).is_file()


def rows_of(root: Path) -> list[dict[str, str]]:
    with open(root / "provenance.csv", newline="") as file:
        return list(csv.DictReader(file))


def numbers_in(value: object) -> set[float]:
    """Every number that is no count or switch, at any depth."""
    if isinstance(value, dict):
        return set().union(*(numbers_in(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(numbers_in(one) for one in value))
    return {value} if isinstance(value, float) else set()


def test_splits_share_nothing(sounding):
    rows = rows_of(sounding)
    split = {name: [row for row in rows if row["split"] == name] for name in ("train", "test")}
    assert len({row["clip"] for row in split["train"]}) == 24 and len({row["clip"] for row in split["test"]}) == 8
    for column in ("clip", "room", "background_seed", "image"):
        assert not {row[column] for row in split["train"]} & {row[column] for row in split["test"]}
    made: dict[tuple, dict[str, set]] = {}
    for row in rows:
        parameters = json.loads(row["parameters"])
        for name, value in parameters.items():
            values = {value} if name == "seed" else numbers_in(value)
            made.setdefault((row["made_of"], name), {"train": set(), "test": set()})[row["split"]] |= values
            if row["kind"] == "event":
                intervals = GENERATORS[row["made_of"]].ranges[name].intervals(row["split"])
                assert any(low - 1e-6 <= value <= high + 1e-6 for low, high in intervals)
    assert len(made) > 60 and all(row["image"] for row in rows)
    for values in made.values():
        assert not values["train"] & values["test"]
    events = [row for row in rows if row["kind"] == "event"]
    for index in range(13):
        assert len([row for row in events if int(row["class"]) == index and row["split"] == "train"]) >= 2
    assert {row["made_of"] for row in events} <= set(GENERATORS)


def test_every_event_is_labelled_and_every_label_has_an_event(sounding):
    rows = [row for row in rows_of(sounding) if row["kind"] == "event"]
    for path in sorted((sounding / "metadata_dev").rglob("*.csv")):
        table = read_events(path)
        mine = [row for row in rows if row["clip"] == path.stem]
        assert set(zip(table.class_index.tolist(), table.source.tolist())) == {
            (int(row["class"]), int(row["source"])) for row in mine
        }
        for frame, index, source in zip(table.frame.tolist(), table.class_index.tolist(), table.source.tolist()):
            spans = [
                (float(row["start_s"]), float(row["start_s"]) + float(row["duration_s"]))
                for row in mine
                if (int(row["class"]), int(row["source"])) == (index, source)
            ]
            assert any(start - 0.1 < frame / 10 < end + 0.02 for start, end in spans)


@pytest.mark.slow
def test_same_bytes_on_several_processes_and_after_a_kill(small, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "simulation", "--out", str(out), *SMALL_OPTIONS, "--processes", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    labels = out / "metadata_dev"
    for _ in range(1200):
        if process.poll() is not None or (labels.is_dir() and list(labels.rglob("fold*.csv"))):
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    process.stderr.close()
    done = {path.stem: path.stat().st_mtime_ns for path in labels.rglob("fold*.csv")}
    assert done
    time.sleep(1.2)  # its processes notice and end
    (out / "foa_dev" / "dev-train-sim" / ".fold3_room1_mix001.partial-1.wav").write_bytes(b"half")
    assert run_main(main, ["--out", str(out), *SMALL_OPTIONS, "--processes", "1"]) == 0
    assert contents(out) == contents(small)
    after = {path.stem: path.stat().st_mtime_ns for path in labels.rglob("fold*.csv")}
    assert all(after[name] == changed for name, changed in done.items())  # finished clips stay


def test_a_finished_set_is_left_alone(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("fold*")}
    summary = write_dataset(small, SMALL, progress=False)
    assert (summary.made, summary.skipped) == (0, 5)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("fold*")} == before


def test_another_seed_is_another_set(small, tmp_path):
    other = Settings(**{**SMALL.__dict__, "seed": 1, "train": 1, "test": 0, "video": False})
    write_dataset(tmp_path / "other", other, progress=False)
    names = [name for name in contents(tmp_path / "other") if name.endswith((".wav", ".csv"))]
    hashes = {path.read_bytes() for path in small.rglob("*.wav")}
    assert names and all((tmp_path / "other" / name).read_bytes() not in hashes for name in names)


# --- banks ------------------------------------------------------------------------------------------------------------


def sound_folder(root: Path, folders: dict[str, int], rate_hz: int = 16000) -> Path:
    rng = np.random.default_rng(len(folders))
    for name, count in folders.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            sound = rng.standard_normal((rate_hz, 2)) * 0.1
            soundfile.write(root / name / f"take{number}.wav", np.pad(sound, ((800, 800), (0, 0))), rate_hz)
    return root


def test_recordings_go_to_one_split_and_the_rest_is_procedural(tmp_path):
    bank = sound_folder(tmp_path / "bank", {"12_knock": 5, "03 phone": 2})
    out = tmp_path / "set"
    asked = Settings(train=3, test=2, seconds=6.0, formats=("foa",), video=False, sound_bank=str(bank), polyphony=2.0)
    write_dataset(out, asked, progress=False)
    rows = [row for row in rows_of(out) if row["kind"] == "event"]
    recorded = {row["sha256"] for row in rows if row["class"] in ("12", "3")}
    assert all(row["sha256"] for row in rows if row["class"] in ("12", "3")) and recorded
    assert not any(row["sha256"] for row in rows if row["class"] not in ("12", "3"))
    sums = {name: {sha for row in rows if row["split"] == name for sha in row["sha256"].split(";") if sha}
            for name in ("train", "test")}  # fmt: skip
    assert not sums["train"] & sums["test"]
    text = (out / "README.md").read_text()
    assert "classes 3 Telephone, 12 Knock" in text and "Filled procedurally" in text and "0 Female speech" in text
    soundfile.write(bank / "12_knock" / "new.wav", np.full(4000, 0.1), 16000)
    with pytest.raises(InputError, match="other settings"):
        write_dataset(out, asked, progress=False)


def test_bank_division(tmp_path):
    folder = sound_folder(tmp_path / "bank", {"00_a": 8, "01_b": 1})
    with pytest.raises(InputError, match=r"01_b: class 1 .* 1 source for 2 splits"):
        open_banks(folder, None, seed=0)
    bank = open_banks(folder, None, seed=0, allow_few=True)
    assert bank.shared == ("class 1 (Male speech)",) and bank.sounds[1, "train"] == bank.sounds[1, "test"]
    train, test = ({file.sha256 for file in bank.sounds[0, split]} for split in ("train", "test"))
    assert len(train) == 6 and len(test) == 2 and not train & test
    assert open_banks(folder, None, seed=0, allow_few=True) == bank
    assert not open_banks(folder, None, seed=0, splits=["train"]).shared  # one split needs no second source
    copy = tmp_path / "copies"
    sound_folder(copy, {"00_a": 1})
    (copy / "00_a" / "again.wav").write_bytes((copy / "00_a" / "take0.wav").read_bytes())
    with pytest.raises(InputError, match="1 source for 2 splits"):  # the same recording under two names
        open_banks(copy, None, seed=0)


def test_a_bank_of_ones_own_classes(tmp_path):
    bank = sound_folder(tmp_path / "bank", {"dog": 4, "car_horn": 4, "Tür": 4})
    assert own_classes(bank) == ("Tür", "car horn", "dog")
    asked = Settings(train=2, test=1, seconds=6.0, formats=("foa",), video=False, sound_bank=str(bank), polyphony=2.0)
    summary = write_dataset(tmp_path / "out", asked, progress=False)
    root = DataRoot(tmp_path / "out")
    assert root.classes == ("Tür", "car horn", "dog") and len(summary.events["train"]) == 3
    rows = [row for row in rows_of(root.path) if row["kind"] == "event"]
    assert {(row["class"], row["class_name"]) for row in rows} <= {("0", "Tür"), ("1", "car horn"), ("2", "dog")}
    assert all(row["sha256"] for row in rows)  # nothing is made procedurally
    assert stored_settings(root.path).classes == root.classes
    assert write_dataset(root.path, asked, progress=False).made == 0


def test_which_classes_a_bank_means(tmp_path, caplog):
    numbered = sound_folder(tmp_path / "numbered", {"00_dog": 1, "01 car horn": 1, "2": 1})
    with caplog.at_level("INFO"):
        assert own_classes(numbered) is None  # as it always was: numbers of STARSS23
    assert "class 00 is 'Female speech' (--own-classes: 'dog')" in caplog.text
    assert own_classes(numbered, always=True) == ("dog", "car horn", "2")
    beyond = sound_folder(tmp_path / "beyond", {f"{index:02d}_c{index}": 1 for index in range(14)})
    assert own_classes(beyond) == tuple(f"c{index}" for index in range(14))
    (beyond / "13_c13").rename(beyond / "14_c13")
    with pytest.raises(InputError, match="must be 0 to 13, each once"):
        own_classes(beyond)
    named = sound_folder(tmp_path / "named", {"a": 1, "b": 1})
    (named / "classes.txt").write_bytes("b\r\na\r\n".encode("utf-8-sig"))
    assert own_classes(named) == ("b", "a")
    (named / "classes.txt").write_text("b\nc\n")
    with pytest.raises(InputError, match=r"classes\.txt: .*different classes: a, c"):
        own_classes(named)
    known = sound_folder(tmp_path / "known", {"clapping": 2, "water_tap": 2})
    assert own_classes(known) is None and set(open_banks(known, None, seed=0).sounds) == {
        (index, split) for index in (2, 10) for split in ("train", "test")
    }
    mixed = sound_folder(tmp_path / "mixed", {"00_a": 1, "b": 1})
    with pytest.raises(InputError, match="'b' does not"):
        own_classes(mixed)
    with pytest.raises(InputError, match="two class folders name the class 'a b'"):
        own_classes(sound_folder(tmp_path / "twice", {"a_b": 1, "a b": 1}))


def test_bank_sounds_are_trimmed_levelled_and_long_enough(tmp_path):
    folder = sound_folder(tmp_path / "bank", {"00_a": 2})
    bank = open_banks(folder, None, seed=0, splits=["train"])
    for duration_s, expected in ((3.0, (1.5, 3.0)), (0.5, (0.4, 0.5))):
        sound, made_of = bank_sound(bank.sounds[0, "train"], 0.0, np.random.default_rng(1), duration_s)
        assert expected[0] <= len(sound) / RATE_HZ <= expected[1] + 1e-4 and sound.dtype == np.float32
        assert np.abs(sound[: RATE_HZ // 100]).max() > 0  # the silence before is gone
        assert set(made_of["sha256"].split(";")) <= {file.sha256 for file in bank.sounds[0, "train"]}


def photo_folder(root: Path, names: list[str], height: int = 60) -> Path:
    root.mkdir(parents=True)
    for name in names:
        shades = np.random.default_rng(list(name.encode())).integers(0, 255, (height, 24, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f"{name}.jpg"), shades)
    return root


FEW_WOMEN = [f"maleSpeech_{number}_0" for number in range(9)] + ["femaleSpeech_20_0", "femaleSpeech_21_0"]
BOTH = ["female_1_0", "male_1_1", "female_2_0", "female_2_1", "male_3_0", "male_3_1"]


@pytest.mark.parametrize("names", [FEW_WOMEN, BOTH, [*BOTH, "somebody_2_7"]])
def test_photographs_of_both_sexes_go_to_both_splits(tmp_path, names):
    folder = photo_folder(tmp_path / "bank", names)
    for seed in range(12):
        bank = open_banks(None, folder, seed=seed)
        sources = {}
        for split in ("train", "test"):
            assert {file.sex for file in bank.photos[split]} >= {"female", "male"}
            sources[split] = {file.source for file in bank.photos[split]}
        assert not sources["train"] & sources["test"] and not bank.shared
        assert sorted(Path(file.path).stem for files in bank.photos.values() for file in files) == sorted(names)


def test_one_source_of_a_sex_is_refused(tmp_path):
    folder = photo_folder(tmp_path / "bank", ["female_1_0", "female_1_1", *(f"male_{number}_0" for number in range(5))])
    with pytest.raises(InputError, match="photographs of female people: 1 source for 2 splits"):
        open_banks(None, folder, seed=0)
    assert open_banks(None, folder, seed=0, allow_few=True).shared == ("photographs",)
    assert len(open_banks(None, folder, seed=0, splits=["train"]).photos["train"]) == 7


def test_equal_pictures_join_their_sources(tmp_path):
    folder = photo_folder(tmp_path / "bank", ["female_1_0", "female_2_0", "female_3_0", "male_4_0", "male_5_0"])
    (folder / "female_2_1.jpg").write_bytes((folder / "female_1_0.jpg").read_bytes())
    for seed in range(6):
        bank = open_banks(None, folder, seed=seed)
        split = {file.source: name for name, files in bank.photos.items() for file in files}
        assert split["1"] == split["2"] != split["3"]


def test_photographs_show_people_of_their_sex(tmp_path):
    folder = photo_folder(tmp_path / "bank", FEW_WOMEN)
    asked = Settings(train=4, test=3, image_bank=str(folder))
    bank, plans = open_banks(None, folder, seed=0), make_plan(asked)
    shown = []
    for plan in plans:
        people, _, photos = clip_cast(asked, plan, bank)
        assert all(photos[actor.source].sex == actor.sex for actor in people)
        shown += [photos[actor.source].sha256 for actor in people if plan.split == "test"]
    text = readme(asked, plans, bank)
    assert "| test | female | 1 | 1 |" in text and "| train | female | 1 | 1 |" in text
    assert f"| test | all | {len(set(shown))} used, {len(shown)} times |" in text
    men = photo_folder(tmp_path / "men", ["male_1_0", "male_2_0"])
    people, _, photos = clip_cast(asked, plans[0], open_banks(None, men, seed=0))
    assert {actor.source for actor in people if actor.sex == "male"} == set(photos)  # women are drawn


def test_a_bank_is_its_files_wherever_they_lie(tmp_path, capsys):
    folder = photo_folder(tmp_path / "bank", BOTH)
    asked = {"train": 1, "test": 1, "seconds": 1.0, "formats": ("foa",), "video": False}
    out = tmp_path / "set"
    write_dataset(out, Settings(**asked, image_bank=str(folder)), progress=False)
    again = folder.rename(tmp_path / "moved")
    assert write_dataset(out, Settings(**asked, image_bank=f"{again}/."), progress=False).made == 0
    (again / "male_3_1.jpg").unlink()
    with pytest.raises(InputError, match="other settings: bank"):
        write_dataset(out, Settings(**asked, image_bank=str(again)), progress=False)


def test_a_photograph_that_cannot_be_read_is_one_line(tmp_path, capsys, monkeypatch):
    folder = photo_folder(tmp_path / "bank", BOTH)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    (folder / "female_0_0.jpg").symlink_to(tmp_path / "gone.jpg")
    out = ["--out", str(tmp_path / "out"), "--image-bank", str(folder)]
    assert "female_0_0.jpg: cannot be read (No such file or directory)" in refused(capsys, *out)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "female_0_0.jpg: cannot be read (Permission denied)" in refused(capsys, *out)


def test_only_what_sees_all_around_recommends_turning_it():
    assert description(Settings(), Bank())["augment"] == "acs"
    assert "augment" not in description(Settings(view="perspective"), Bank())


def test_crops_of_one_photograph_stay_together():
    assert photo_source("femaleSpeech_49_0") == photo_source("maleSpeech_49_1") == "49"
    assert photo_source("me_at_home") == "me_at_home"


@pytest.mark.slow
@needs_shared
def test_with_real_recordings_and_photographs(tmp_path):
    out = tmp_path / "real"
    options = ["--out", str(out), "--train", "2", "--test", "1", "--seconds", "4", "--formats", "foa", "--width", "320",
               "--height", "160", "--fps", "2", "--quiet", "--processes", "1", "--sound-bank",
               str(SHARED / "real" / "sound_bank"), "--image-bank", str(SHARED / "real" / "person_images")]  # fmt: skip
    assert run_main(main, options) == 0
    rows = rows_of(out)
    photos = [row for row in rows if row["kind"] == "person"]
    assert photos and all(row["sha256"] for row in photos)
    sources = {name: {json.loads(row["parameters"])["source"] for row in photos if row["split"] == name}
               for name in ("train", "test")}  # fmt: skip
    assert not sources["train"] & sources["test"]
    assert any(row["sha256"] for row in rows if row["kind"] == "event")


# --- bad input --------------------------------------------------------------------------------------------------------


def refused(capsys, *options: str) -> str:
    """The one line of a command that must end with status 2."""
    assert run_main(main, ["--quiet", "--processes", "1", "--no-video", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "0", "--test", "0"], "at least one clip"),
        (["--seconds", "0.2"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--formats", "foa,quad"], "unknown array 'quad'"),
        (["--formats", ","], "--formats"),
        (["--formats", "foa,foa"], "twice"),
        (["--overlap", "0"], "--overlap"),
        (["--polyphony", "2.9"], "--polyphony"),
        (["--moving", "1.5"], "--moving"),
        (["--fps", "fast"], "--fps"),
        (["--fps", "0"], "--fps"),
        (["--width", "321"], "even"),
        (["--processes", "0"], "--workers must be at least 1"),
        (["--doa-grid", "0"], "--doa-grid"),
        (["--rt60", "0.6", "0.2"], "--rt60 must be LOW HIGH"),
        (["--rt60", "-1", "0.2"], "--rt60 must be positive"),
        (["--room-size", "2", "3"], "impossible room: 2 m wide leaves no place 1 m"),
        (["--room-height", "1.5", "3"], "impossible room: --room-height"),
        (["--distance", "1", "1.5"], "--distance 1 1.5"),
        (["--rt60", "0.02", "0.02"], "a reverberation time of 0.02 s in a room of"),
        (["--rt60", "50", "50"], "a reverberation time of 50 s in a room of"),
    ],
)
def test_settings_that_cannot_be(capsys, tmp_path, options, message):
    out = tmp_path / "out"
    assert message in refused(capsys, "--out", str(out), *options)
    assert not out.exists()


def test_foreign_folders_stay_as_they_are(capsys, tmp_path):
    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    assert "holds something else (thesis.txt)" in refused(capsys, "--out", str(foreign))
    assert contents(foreign) == {"thesis.txt": hashlib.sha256(b"mine").hexdigest()}
    assert "is a file" in refused(capsys, "--out", str(foreign / "thesis.txt"))


def test_a_set_with_other_settings_stays_as_it_is(capsys, small):
    before = contents(small)
    line = refused(capsys, "--out", str(small), "--seed", "8", "--train", "3", "--test", "2", "--seconds", "3")
    assert ("made with other settings" in line and "seed" in line) or "formats" in line
    assert contents(small) == before


def test_bad_banks(capsys, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty sound bank" in refused(capsys, *out, "--sound-bank", str(empty))
    assert "empty image bank" in refused(capsys, *out, "--image-bank", str(empty))
    assert "no such folder" in refused(capsys, *out, "--sound-bank", str(tmp_path / "nowhere"))
    broken = sound_folder(tmp_path / "broken", {"02_clap": 2})
    (broken / "02_clap" / "torn.wav").write_bytes(b"RIFF....WAVE")
    assert "02_clap/torn.wav" in refused(capsys, *out, "--sound-bank", str(broken))
    (broken / "02_clap" / "torn.wav").unlink()
    soundfile.write(broken / "02_clap" / "silent.wav", np.zeros(4000), 16000)
    assert "silent.wav: is silent" in refused(capsys, *out, "--sound-bank", str(broken))
    folder = sound_folder(tmp_path / "named 77", {"77_x": 2})
    assert "must be 0 to 0, each once" in refused(capsys, *out, "--sound-bank", str(folder))
    assert "second folder of class 2" in refused(
        capsys, *out, "--sound-bank", str(sound_folder(tmp_path / "twice", {"02_a": 2, "2_b": 2}))
    )
    hollow = tmp_path / "hollow"
    (hollow / "02_clap").mkdir(parents=True)
    assert "holds no recording" in refused(capsys, *out, "--sound-bank", str(hollow))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "a_1_0.jpg"), np.zeros((8, 8, 3), np.uint8))
    assert "1 source for 2 splits" in refused(capsys, *out, "--image-bank", str(pictures))
    (pictures / "b_2_0.jpg").write_bytes(b"no picture")
    assert "b_2_0.jpg: is no picture" in refused(capsys, *out, "--image-bank", str(pictures))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@needs_file_limit
def test_a_full_disk_is_one_line_and_nothing_half_written(tmp_path):
    """A limit on the size of files stands for the end of the disk."""
    out = tmp_path / "full"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from simulation.__main__ import main; from util.cli import run_main; sys.exit(run_main(main))"
    )
    options = ["--out", str(out), *SMALL_OPTIONS, "--no-video"]
    for processes in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code, *options, "--processes", processes], cwd=ROOT, capture_output=True, text=True
        )
        assert run.returncode == 2, run.stderr
        assert re.fullmatch(r"error: \S+\.wav: cannot be written \(.*\)", run.stderr.strip()), run.stderr
        assert not list(out.rglob("*.wav")) and not list(out.rglob("*.partial*"))
        assert not list(out.rglob("fold*.csv"))


@pytest.mark.slow
@needs_file_limit
def test_a_disk_that_fills_with_the_video_is_one_line(tmp_path):
    """The limit comes with the video: the sound of the clip is whole, its label file never appears."""
    out = tmp_path / "full"
    code = (
        "import resource, sys; from simulation import picture; whole = picture.render_video\n"
        "def limited(*args, **options):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); return whole(*args, **options)\n"
        "picture.render_video = limited\n"
        "from simulation.__main__ import main; from util.cli import run_main; sys.exit(run_main(main))"
    )
    options = ["--out", str(out), *SMALL_OPTIONS, "--processes", "1"]
    run = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert re.fullmatch(r"error: \S+\.mp4: .*", run.stderr.strip()), run.stderr
    assert len(list(out.rglob("*.wav"))) == 3
    assert not [*out.rglob("*.mp4"), *out.rglob("*.partial*"), *out.rglob("fold*.csv")]


def test_provenance_of_the_default_set_counts_every_class(tmp_path):
    """Six events of each class in three clips of test, counted from the file; nothing is rendered."""
    asked = Settings()
    scenes = (compose(asked, plan, Bank()) for plan in make_plan(asked) if plan.split == "test")
    write_provenance(tmp_path / "provenance.csv", [row for scene in scenes for row in provenance_rows(scene)])
    events = [row for row in rows_of(tmp_path) if row["kind"] == "event"]
    for index in range(13):
        clips = [row["clip"] for row in events if row["class"] == str(index)]
        assert len(clips) >= 6 and len(set(clips)) >= 3


def test_help_teaches():
    text = parser().format_help()
    for option in ("--rt60", "--doa-grid", "--sound-bank", "--allow-few", "--view", "--overlap"):
        assert option in text
    assert all(action.help for action in parser()._actions)


def test_smoke_as_a_command():
    run = subprocess.run([sys.executable, "-m", "simulation", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and "STARSS23" in run.stdout


def test_settings_round_trip():
    for asked in (Settings(), SMALL, Settings(doa_grid_deg=10.0, view="perspective")):
        assert Settings.from_dict(json.loads(json.dumps(asked.to_dict()))) == asked
    with pytest.raises(InputError, match="missing or unknown: colour"):
        Settings.from_dict({**Settings().to_dict(), "colour": 1})
