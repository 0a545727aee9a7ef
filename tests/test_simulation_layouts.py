"""Sets in the layouts of TUT 2018 and TAU 2019: files, grid, overlap, sound and label, splits, resume, bad input."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import pickle
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dataset.layouts import DataRoot
from dataset.recordings import Labels, recording_of_file
from simulation.__main__ import main
from simulation.labels import active_intervals_s
from simulation.render import render
from simulation.sounds import RATE_HZ, Range
from simulation.streams import stream
from simulation.tut_tau import command
from simulation.tut_tau.classes import OFFICE, URBAN, URBAN_IDS, synthesize
from simulation.tut_tau.compose import Motion, compose, directions_at
from simulation.tut_tau.layouts import LAYOUTS
from simulation.tut_tau.plan import clip_files, make_plan
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import make_clip, write_set
from tests.test_simulation import features
from util.angles import angle_between_deg, direction_from_degrees
from util.cli import run_main
from util.interval_csv import URBANSOUND8K, read_intervals
from util.intervals import IntervalTable
from util.microphone_arrays import ARRAYS, SPEED_OF_SOUND_M_S

DIALECT = {"real": "tut2018_real", "mansim": "mansim", "mreal": "mreal", "tau2019": "tau2019"}
SMALL = {
    "resim": {"train": 2, "test": 1, "overlaps": (1, 2, 3), "seconds": 8.0},
    "ansim": {"train": 2, "test": 2, "overlaps": (1, 2), "seconds": 8.0, "test_offset_deg": 5},
    "tau2019": {"train": 3, "test": 2, "seconds": 8.0},
    "real": {"train": 1, "test": 1, "overlaps": (2,), "splits": (8,), "seconds": 8.0},
    "cansim": {"train": 1, "test": 0, "overlaps": (1,), "seconds": 5.0},
    "cresim": {"train": 1, "test": 0, "overlaps": (3,), "seconds": 5.0},
    "mansim": {"train": 1, "test": 1, "overlaps": (1,), "seconds": 8.0},
    "mreal": {"train": 1, "test": 1, "overlaps": (1,), "seconds": 8.0},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Layout -> (folder, settings, plans) of a small set, made once."""
    kept: dict[str, tuple] = {}

    def of(layout: str) -> tuple[Path, SetSettings, list]:
        if layout not in kept:
            settings = SetSettings.of(layout, **SMALL[layout])
            out = tmp_path_factory.mktemp(layout) / "set"
            summary = write_set(out, settings, progress=False)
            plans = make_plan(settings)
            assert (summary.made, summary.skipped) == (len(plans), 0)
            kept[layout] = (out, settings, plans)
        return kept[layout]

    return of


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def table_of(layout: str, path: Path) -> IntervalTable:
    return read_intervals(path, DIALECT.get(layout, "tut2018"), LAYOUTS[layout].class_names)


def most_at_once(table: IntervalTable) -> int:
    return max(int(np.sum((table.start_s <= start) & (start < table.end_s))) for start in table.start_s)


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("layout", SMALL)
def test_files_and_labels(made, layout):
    """Every file is where the data set has it; labels lie on the grid, as many at once as the name says, no more."""
    out, settings, plans = made(layout)
    row = LAYOUTS[layout]
    low, high = row.elevation_deg
    for plan in plans:
        files = clip_files(out, plan)
        for form in settings.formats:
            info = soundfile.info(files[form])
            assert (info.samplerate, info.channels, info.subtype) == (row.rate_hz, ARRAYS[form].channels, "PCM_16")
            assert info.frames == round(settings.seconds * row.rate_hz)
            path = str(files[form].relative_to(out))
            if layout == "tau2019":
                assert re.fullmatch(rf"{form}_(dev/split[1-4]_ir[0-4]_ov[12]_\d+|eval/split0_\d+)\.wav", path)
            else:
                assert re.fullmatch(r"wav_ov[123]_split[1-9]_30db/(train|test)_\d+_desc_30\.wav", path)
        rows, table = read_rows(files["labels"]), table_of(layout, files["labels"])
        assert files["labels"].stem == files[settings.formats[0]].stem and tuple(rows[0]) == row.columns
        assert len(rows) >= 2 and np.all(np.diff(table.start_s) >= 0)
        assert np.all((table.start_s >= 0) & (table.start_s < table.end_s) & (table.end_s <= settings.seconds))
        for one in rows:
            assert all(re.fullmatch(r"-?\d+", one[name]) for name in ("ele", "azi"))
            name = one["sound_event_recording"]
            if layout == "tau2019":
                assert name in row.class_names and one["dist"] == ("1" if abs(int(one["ele"])) > 20 else one["dist"])
            elif row.classes is URBAN:
                assert re.fullmatch(r"\d{6}-\d-\d+-\d\.wav", name) and int(name.split("-")[1]) in URBAN_IDS
            else:
                assert re.fullmatch(r"[a-zA-Z]+\d{3}\.wav", name) and name[:-7] in row.class_names
        offset = plan.offset_deg
        assert np.all((table.azimuth_deg - offset) % 10 == 0) and np.all((table.elevation_deg - offset) % 10 == 0)
        assert np.all((table.azimuth_deg >= -180) & (table.azimuth_deg < 180))
        assert np.all((table.elevation_deg >= low) & (table.elevation_deg <= high))
        assert most_at_once(table) == plan.overlap
        towards = direction_from_degrees(table.azimuth_deg, table.elevation_deg)
        for one, other in itertools.combinations(range(len(table)), 2):
            if row.motion is None and table.start_s[other] < table.end_s[one]:
                assert angle_between_deg(towards[one], towards[other]) > 8.9
        for index in set(table.class_index):
            assert most_at_once(table[table.class_index == index]) == 1
    stored = json.loads((out / "dataset.json").read_text())
    assert stored["layout"] == layout and stored["synthetic"] is True and stored["clip_s"] == settings.seconds
    assert stored["classes"] == list(row.class_names)
    assert "ynthetic" in (out / "SYNTHETIC.txt").read_text()
    assert "12 kHz" in (out / "README.md").read_text()
    assert not [path for path in out.rglob("*") if ".partial" in path.name]


def test_classes_are_those_of_the_data_sets():
    assert [row.name for row in OFFICE] == ["knock", "drawer", "clearthroat", "phone", "keysDrop", "speech", "keyboard",
                                            "pageturn", "cough", "doorslam", "laughter"]  # fmt: skip
    assert dict(zip(map(str, URBAN_IDS), (row.name for row in URBAN))) == URBANSOUND8K


def test_2019_has_five_rooms_and_all_splits():
    plans = make_plan(SetSettings.of("tau2019", train=10, test=5))
    assert len(plans) == 45
    for split in "1234":
        mine = [plan for plan in plans if plan.name.startswith(f"split{split}_")]
        cells = {re.fullmatch(r"split\d_ir(\d)_ov(\d)_(\d+)", plan.name).groups() for plan in mine}
        assert {cell[:2] for cell in cells} == set(itertools.product("01234", "12"))
        assert sorted(int(cell[2]) for cell in cells) == list(range(1, 11))
    assert [plan.name for plan in plans[40:]] == [f"split0_{number}" for number in range(1, 6)]
    assert len({plan.room for plan in plans}) == 5 and {plan.room.name for plan in plans} == {
        f"ir{i}" for i in range(5)
    }


def intensity(waveform: np.ndarray, rate_hz: int, start_s: float, end_s: float) -> np.ndarray:
    """Mean of W times (X, Y, Z) over a stretch of a FOA recording (samples, 4) in the order W, Y, Z, X."""
    piece = waveform[round(start_s * rate_hz) : round(end_s * rate_hz)]
    return (piece[:, :1] * piece[:, [3, 1, 2]]).mean(axis=0)


@pytest.mark.parametrize(("layout", "limit_deg"), [("ansim", 2.0), ("resim", 25.0), ("tau2019", 20.0)])
def test_sound_comes_from_the_direction_of_its_label(made, layout, limit_deg):
    """Where an event is alone, its intensity points at the label; in rooms within what reflections turn it by."""
    out, _, plans = made(layout)
    errors = []
    for plan in plans:
        files = clip_files(out, plan)
        table = table_of(layout, files["labels"])
        for index in range(len(table)):
            others = np.arange(len(table)) != index
            start, end = table.start_s[index], table.end_s[index]
            if np.any((table.start_s[others] < end) & (table.end_s[others] + 0.3 > start)):
                continue
            label = direction_from_degrees(table.azimuth_deg[index], table.elevation_deg[index])
            errors.append(float(angle_between_deg(intensity(*soundfile.read(files["foa"]), start, end), label)))
    assert len(errors) >= 4 and np.median(errors) < 0.5 * limit_deg, errors
    assert (max(errors) if layout == "ansim" else np.quantile(errors, 0.8)) < limit_deg, errors


@pytest.mark.parametrize("layout", ["mansim", "mreal"])
def test_moving_sound_follows_its_label(made, layout):
    """Over tenths of a second, against the readers' own rule of motion; without the walls, whose echoes turn it."""
    out, settings, plans = made(layout)
    errors, went = [], []
    for plan in plans:
        files = clip_files(out, plan)
        table = table_of(layout, files["labels"])
        if layout == "mansim":
            waveform, rate = soundfile.read(files["foa"])
        else:
            scene, _ = compose(settings, plan)
            waveform, rate = render(scene, [ARRAYS["foa"]], max_order=0, tail=False)["foa"].T, RATE_HZ
        level = np.abs(waveform[:, 0]).max()
        for index in range(len(table)):
            steps = np.arange(0.0, table.end_s[index] - table.start_s[index] - 0.1, 0.1)
            azimuth, elevation = table.angles_at(index, steps + 0.05)
            label = direction_from_degrees(azimuth, elevation)
            went.append(float(angle_between_deg(label[0], label[-1])))
            for step, there in zip(steps, label):
                begin = table.start_s[index] + step
                found = intensity(waveform, rate, begin, begin + 0.1)
                if np.linalg.norm(found) > 1e-3 * level**2:  # not in a pause
                    errors.append(float(angle_between_deg(found, there)))
    assert max(went) > 30 and len(errors) > 20
    assert np.median(errors) < 1.0 and np.quantile(errors, 0.9) < 3.0, errors


def test_motion_of_the_golden_rows():
    """The rule of the readers and that of the simulator are one."""
    rows = [(20, 10, 50, 0, 51), (80, 10, 120, 50, 26), (-150, 30, -140, 40, 22)]
    age = np.linspace(0.0, 2.0, 21)
    for azimuth, elevation, azimuth_to, elevation_to, speed in rows:
        table = IntervalTable.make(
            start_s=[0.0], end_s=[2.0], class_index=[0], azimuth_deg=[azimuth], elevation_deg=[elevation],
            distance_m=[1.0], azimuth_direction_deg=[azimuth_to], elevation_direction_deg=[elevation_to],
            angular_velocity_deg_s=[speed],
        )  # fmt: skip
        mine = directions_at(azimuth, elevation, Motion((azimuth_to, elevation_to), speed), age)
        theirs = direction_from_degrees(*table.angles_at(0, age))
        assert angle_between_deg(mine, theirs).max() < 0.2
        assert angle_between_deg(mine[0], mine[-1]) == pytest.approx(2 * speed if speed < 90 else 180, abs=1e-6)


def test_sound_begins_and_ends_with_its_label(made):
    out, _, plans = made("ansim")
    for plan in (plan for plan in plans if plan.overlap == 1):
        files = clip_files(out, plan)
        table = table_of("ansim", files["labels"])
        waveform, rate = soundfile.read(files["foa"])
        power = waveform[:, 0] ** 2
        noise = 4 * np.quantile(power.reshape(-1, 441).mean(axis=1), 0.02)
        for start, end in zip(table.start_s, table.end_s):
            peak, mean = (f(power[round(start * rate) : round(end * rate)]) for f in (np.max, np.mean))
            for begin, stop in ((start - 0.1, start - 0.002), (end + 0.01, end + 0.1)):
                outside = power[max(round(begin * rate), 0) : round(stop * rate)]
                assert outside.size < 400 or outside.mean() < 1e-3 * mean + noise
            onset = power[round((start - 0.001) * rate) : round((start + 0.02) * rate)]
            assert onset.max() > 0.5e-4 * peak


def test_circular_array_delays(made):
    """Opposite capsules are a diameter apart: the delay between them is that of the label's direction."""
    out, _, plans = made("cansim")
    files = clip_files(out, plans[0])
    table = table_of("cansim", files["labels"])
    waveform, rate = soundfile.read(files["circular8"])
    assert waveform.shape[1] == 8
    errors = []
    for index in range(len(table)):
        piece = waveform[round(table.start_s[index] * rate) : round(table.end_s[index] * rate)]
        toward = direction_from_degrees(table.azimuth_deg[index], table.elevation_deg[index])
        for first in range(4):
            spectra = np.fft.rfft(piece[:, [first, first + 4]], 1 << 17, axis=0)
            cross = spectra[:, 0] * np.conj(spectra[:, 1])
            correlation = np.fft.irfft(cross * np.exp(-0.0), 8 << 17)  # interpolated eight times
            lag = (np.argmax(np.roll(correlation, 400)[:800]) - 400) / (8 * rate)
            capsule = ARRAYS["circular8"].directions()[first]
            expected = -2 * 0.05 * float(capsule @ toward) / SPEED_OF_SOUND_M_S
            errors.append(abs(lag - expected))
    assert len(errors) >= 8 and np.median(errors) < 5e-6 and max(errors) < 5e-5
    assert np.allclose(np.diff(ARRAYS["circular8"].directions() @ [0, 0, 1]), 0)


def test_unseen_directions(made):
    """Training on multiples of ten degrees, test half-way between, in azimuth and in elevation."""
    out, _, _ = made("ansim")
    seen: dict[str, list] = {"train": [], "test": []}
    for path in out.rglob("desc_*/*.csv"):
        table = table_of("ansim", path)
        seen[path.name.split("_")[0]] += zip(table.azimuth_deg, table.elevation_deg)
    assert len(seen["train"]) > 10 and len(seen["test"]) > 10
    assert all(azimuth % 10 == 0 and elevation % 10 == 0 for azimuth, elevation in seen["train"])
    assert all(azimuth % 10 == 5 and elevation % 10 == 5 for azimuth, elevation in seen["test"])
    grid = LAYOUTS["ansim"].directions_deg(5)
    assert grid.min(axis=0).tolist() == [-175, -55] and grid.max(axis=0).tolist() == [175, 45]
    assert len(LAYOUTS["ansim"].directions_deg()) == 36 * 12 and len(LAYOUTS["tau2019"].directions_deg()) == 36 * 9


@pytest.mark.parametrize("layout", ["resim", "tau2019"])
def test_splits_share_nothing(made, layout):
    out, _, plans = made(layout)
    parts = {plan.split: (plan.part, plan.parts) for plan in plans}
    ranges = {g.name: g.ranges for row in OFFICE for g in row.generators}
    rows = read_rows(out / "provenance.csv")
    assert {row["split"] for row in rows} == set(parts) and {row["clip"] for row in rows} == {p.clip for p in plans}
    events = sum(len(read_rows(clip_files(out, plan)["labels"])) for plan in plans)
    assert len(rows) == events
    values: dict[tuple, dict[str, set]] = {}
    for row in rows:
        for name, value in json.loads(row["parameters"]).items():
            low_high = ranges[row["made_of"]][name].intervals_of_part(*parts[row["split"]])
            assert any(low - 1e-6 <= value <= high + 1e-6 for low, high in low_high)
            values.setdefault((row["made_of"], name), {}).setdefault(row["split"], set()).add(value)
    for found in values.values():
        assert len(set.union(*found.values())) == sum(map(len, found.values()))
    if layout == "resim":
        rooms = {split: {row["room"] for row in rows if row["split"] == split} for split in parts}
        assert not set.intersection(*rooms.values())
        sizes = [plan.room.size_m for plan in plans]
        assert len(set(sizes)) == len({plan.room.name for plan in plans}) == 3


def test_parts_of_a_range_never_meet():
    one = Range(100.0, 800.0, log=True)
    edges = sorted((edge, part) for part in range(5) for edge in one.intervals_of_part(part, 5))
    assert [part for _, part in edges] == list(range(5)) * 4
    assert all(first[0][1] < second[0][0] for first, second in itertools.pairwise(edges))
    rng = np.random.default_rng(0)
    for part in range(5):
        inside = one.intervals_of_part(part, 5)
        assert all(any(a <= v <= b for a, b in inside) for v in (one.draw_part(rng, part, 5) for _ in range(50)))


def test_an_interrupted_set_goes_on_to_the_same_bytes(made, tmp_path, capsys):
    out, settings, plans = made("real")
    before = contents(out)
    files = clip_files(out, plans[0])
    files["labels"].unlink()
    files["foa"].unlink()
    half = files["foa"].with_name(".train_0_desc_30.partial-77.wav")
    half.write_bytes(b"half")
    (out / "provenance.csv").unlink()
    summary = write_set(out, settings, progress=False)
    assert (summary.made, summary.skipped) == (1, len(plans) - 1) and contents(out) == before
    # in another order and through what another process would be sent
    for plan in reversed(plans):
        pickle.loads(pickle.dumps(partial(make_clip, tmp_path, settings, None)))(pickle.loads(pickle.dumps(plan)))
    again = contents(tmp_path)
    assert again and all(before[name] == digest for name, digest in again.items())
    assert run_main(main, ["--layout", "real", "--out", str(out), "--seconds", "9", "--quiet"]) == 2
    assert "made with other settings" in capsys.readouterr().err and contents(out) == before


def test_seeds_splits_and_overlaps_give_other_recordings():
    def starts(**chosen) -> list[float]:
        settings = SetSettings.of("ansim", **{"train": 1, "test": 0, "seconds": 6.0, "overlaps": (1,), **chosen})
        return [one.start_s for one in compose(settings, make_plan(settings)[0])[1]]

    first = starts()
    assert first == starts() == starts(train=3) == starts(overlaps=(1, 2))
    assert not set(first) & set(starts(seed=1)) and not set(first) & set(starts(splits=(2,)))


def test_default_recordings_are_as_full_as_the_data_sets():
    """Events per minute and ov of the annotations of 2019 (23 with ov 1, 54 with ov 2), a third more or less."""
    settings = SetSettings.of("tau2019", train=4, splits=(1,), formats=("foa",))
    for plan in make_plan(settings):
        _, placed = compose(settings, plan)
        wanted = {1: 23, 2: 54}[plan.overlap]
        assert 0.67 * wanted < len(placed) < 1.34 * wanted


@pytest.mark.parametrize(
    "row",
    [row for row in (*OFFICE, *URBAN) if row.name not in ("phone", "speech", "laughter")],
    ids=lambda row: row.name,
)
def test_every_sound(row):
    for part, duration_s in ((0, row.duration_s[0]), (1, row.duration_s[1])):
        sound, made_of = synthesize(row, np.random.default_rng(4), part, 2, duration_s)
        again, _ = synthesize(row, np.random.default_rng(4), part, 2, duration_s)
        assert np.array_equal(sound, again) and np.isfinite(sound).all()
        assert made_of["generator"] in {generator.name for generator in row.generators}
        assert sound.shape == (round(duration_s * RATE_HZ),) and 0.02 < np.abs(sound).max() <= 0.4501
        intervals = active_intervals_s(sound, RATE_HZ)
        assert intervals[0, 0] < 0.1 and np.ptp(intervals, axis=1).sum() > 0.3 * duration_s
        assert abs(sound.mean()) < 0.1 * sound.std()


@pytest.mark.parametrize("classes", [OFFICE, URBAN], ids=["office", "urban"])
def test_classes_can_be_told_apart_across_the_splits(classes):
    """A linear classifier that hears 8 sounds of each class of train knows most of test's."""

    def make(part, count):
        rows = []
        for index, row in enumerate(classes):
            rng = stream(7, part, index)
            for _ in range(count):
                rows.append((features(synthesize(row, rng, part, 2, rng.uniform(*row.duration_s))[0]), index))
        return np.array([row for row, _ in rows]), np.array([index for _, index in rows])

    (x, y), (x_test, y_test) = make(0, 8), make(1, 3)
    mean, spread, count = x.mean(axis=0), x.std(axis=0) + 1e-6, len(classes)
    x, x_test = (x - mean) / spread, (x_test - mean) / spread
    weights = np.linalg.solve(x.T @ x + 30 * np.eye(x.shape[1]), x.T @ (np.eye(count)[y] - 1 / count))
    assert ((x_test @ weights).argmax(axis=1) == y_test).mean() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "resym"], "--layout: unknown layout 'resym'; known are starss23, starss22"),
        (["--layout"], "--layout: unknown layout ''"),
        (["--layout", "resim", "--ov", "4"], "--ov: layout resim has no 4; known are 1, 2, 3"),
        (["--layout", "resim", "--ov", "one"], "--ov must be numbers with commas between"),
        (["--layout", "tau2019", "--ov", "3"], "--ov: layout tau2019 has no 3"),
        (["--layout", "real", "--splits", "2"], "--splits: layout real has no 2; known are 1, 8, 9"),
        (["--layout", "resim", "--splits", "1,1"], "--splits names one twice"),
        (["--layout", "resim", "--splits", ","], "--splits: layout resim needs at least one"),
        (["--layout", "resim", "--formats", "mic"], "--formats: layout resim has no mic; known are foa"),
        (["--layout", "resim", "--train", "0", "--test", "0"], "at least one recording"),
        (["--layout", "resim", "--seconds", "1"], "--seconds must be between 3 and 600"),
        (["--layout", "resim", "--rt60", "0.5", "0.2"], "--rt60 must be LOW HIGH"),
        (["--layout", "resim", "--test-offset", "12"], "--test-offset must be whole degrees"),
        (["--layout", "mansim", "--test-offset", "5"], "--test-offset: sources of mansim leave the grid"),
        (["--layout", "resim", "--train-rooms", "0"], "--train-rooms and --test-rooms"),
        (["--layout", "resim", "--processes", "0"], "--workers must be at least 1"),
        (["--layout", "nigens2020", "--ov", "3"], "--ov: layout nigens2020 has no 3; known are 1, 2"),
        (["--layout", "nigens2021", "--splits", "7"], "--splits: layout nigens2021 has no 7; known are 1, 2, 3"),
        (["--layout", "nigens2020", "--test-offset", "5"], "--test-offset: sources of nigens2020 leave the grid"),
        (["--layout", "nigens2020", "--weak"], "--weak: layout nigens2020 has sounds and labels of its own"),
        (["--layout", "resim", "--classes", "real"], "--classes: layout resim has sounds and labels of its own"),
        (["--layout", "mono", "--classes", "birds"], "--classes: no classes of 'birds'; known are starss23"),
        (["--layout", "mono", "--splits", "1"], "--splits: layout mono has none"),
        (["--layout", "mono", "--formats", "foa"], "--formats: layout mono has no foa; known are mono"),
        (["--layout", "mono", "--sound-bank", "no_such"], "no_such: no such folder"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, options, message):
    assert run_main(main, ["--out", str(tmp_path / "out"), "--quiet", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not (tmp_path / "out").exists()


def test_command_line_makes_what_its_options_say(tmp_path, capsys):
    out = tmp_path / "set"
    options = ["--layout=mreal", "--train", "1", "--test", "0", "--splits", "9", "--ov", "1", "--seconds", "3"]
    assert run_main(main, ["--out", str(out), *options, "--processes", "1", "--quiet"]) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "desc_ov1_split9", "provenance_parts", "wav_ov1_split9_30db"]  # fmt: skip
    text = command.parser().format_help()
    assert all(action.help for action in command.parser()._actions) and all(key in text for key in LAYOUTS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    assert run_main(main, ["--out", str(tmp_path / "other"), *options]) == 2
    assert "holds something else (mine.txt)" in capsys.readouterr().err


@pytest.mark.parametrize("layout", SMALL)
def test_readers_know_the_sets(made, layout):
    """Layout, classes, lists, labels with start and end, and the frames they become."""
    out, settings, plans = made(layout)
    root = DataRoot(out)
    assert root.synthetic and root.layout.name == layout == LAYOUTS[layout].key
    assert root.classes == root.layout.classes == LAYOUTS[layout].class_names and root.clip_s == settings.seconds
    split = 1 if layout == "tau2019" else settings.splits[0]
    names = root.layout.default_lists(split=split, ov=plans[0].overlap)
    lists = root.layout.lists(out)
    form = settings.formats[0]
    kept = [plan for plan in plans if layout == "tau2019" or plan.overlap == plans[0].overlap]
    for name, wanted in ((names.train, (".* train", "split[34]")), (names.test, (".* test", "split1"))):
        mine = {clip_files(out, plan)[form] for plan in kept if any(re.fullmatch(w, plan.split) for w in wanted)}
        assert set(lists.get(name, ())) == mine
    labels = Labels(len(root.classes), classes=root.classes)
    for plan in plans:
        files = clip_files(out, plan)
        recording = recording_of_file(files[form])
        assert recording.array == ARRAYS[form] and recording.labels == files["labels"]
        table, events = labels.intervals(recording), labels(recording)
        assert len(table) == len(read_rows(files["labels"])) and set(events.class_index) == set(table.class_index)
        assert np.bincount(events.frame).max() <= plan.overlap + 1  # a frame is shared where one ends and one begins
