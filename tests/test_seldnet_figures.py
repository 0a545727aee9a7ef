"""Training curves, and the figures of SELDnet 2018 and 2019, on small files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from output_format.formats import MultiAccdoa, SedDoa
from report.axes import log_ticks, runs, ticks
from report.colours import class_colours, pale, rgb
from report.curves import best_line, draw_curves, read_history
from report.seldnet_figures import _LEFT, _PANEL, _RIGHT, load_shown, main, seldnet_figure, spectrogram_db
from util.cli import run_main
from util.dialects import write_events
from util.errors import InputError
from util.events import EventTable
from util.files import write_json
from util.interval_csv import write_intervals
from util.intervals import IntervalTable

CLASSES = ("knock", "drawer", "clearthroat", "phone")
RATE_HZ, DURATION_S = 16000, 10.0
COORDINATES = {"polar": ("2019", 0.02), "xyz": ("2018", 256 / 44100), "xy": ("2018", 256 / 44100)}


# Training curves


def line(iteration: int, error: float | None = 0.5, **changes: float | None) -> dict:
    scores = {"train_loss": 3.0, "val_loss": 4.0, "ER": 0.5, "F": 0.6, "DOA_error": 40.0, "frame_recall": 0.7}
    return {"iteration": iteration, **scores, "SELD_error": error, **changes}


def drawn(folder: Path, lines: list[dict], tail: str = "") -> np.ndarray:
    """The picture of a history, (height, width, 3) uint8 RGB."""
    folder.mkdir(exist_ok=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines) + tail)
    draw_curves(folder / "history.jsonl", folder / "curves.png", title="a run")
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "history.jsonl"]
    return cv2.imread(str(folder / "curves.png"))[..., ::-1]


def count(picture: np.ndarray, colour: str) -> int:
    return int((picture == rgb(colour)).all(axis=-1).sum())


BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"


def test_the_last_line_of_an_iteration_counts_and_a_cut_line_does_not(tmp_path):
    lines = [line(10, 0.9), line(20, 0.1), line(20, 0.6), line(30, 0.7)]
    again = drawn(tmp_path / "a", lines, tail='{"iteration": 40, "SELD_er')
    assert np.array_equal(again, drawn(tmp_path / "b", [lines[0], *lines[2:]]))
    assert not np.array_equal(again, drawn(tmp_path / "c", [lines[0], lines[1], lines[3]]))
    history = read_history(tmp_path / "a" / "history.jsonl")
    assert [one["iteration"] for one in history] == [10, 20, 30]
    assert best_line(history)["iteration"] == 20


def test_the_first_of_equal_scores_is_best_and_missing_ones_never():
    lines = [line(1, float("nan")), line(2, 0.4), line(3, 0.4), line(4, None)]
    assert best_line(lines)["iteration"] == 2
    assert best_line([line(1, float("nan")), line(2, None)]) is None


def test_one_line_makes_marks_without_curves(tmp_path):
    picture = drawn(tmp_path / "one", [line(7)])
    many = drawn(tmp_path / "many", [line(i, 0.5 - 0.01 * i) for i in range(1, 8)])
    assert count(picture, GREEN) > 0  # the best iteration is marked
    assert 0 < count(picture, BLUE) < count(many, BLUE)
    assert 0 < count(picture, RED) < count(many, RED)


def test_a_missing_value_leaves_a_gap(tmp_path):
    lines = [line(i, 0.5) for i in range(1, 51)]
    holes = [{**one, "val_loss": None if one["iteration"] in (20, 21, 22) else 4.0} for one in lines]
    whole, gap = drawn(tmp_path / "whole", lines), drawn(tmp_path / "gap", holes)
    changed = (whole != gap).any(axis=-1)
    columns = np.flatnonzero(changed.any(axis=0))
    assert changed.any() and np.ptp(columns) < 530 * 5 / 50  # four intervals of one panel
    assert drawn(tmp_path / "nan", [{**one, "val_loss": float("nan")} for one in lines]).shape == whole.shape


def test_nothing_but_missing_values(tmp_path):
    empty = dict.fromkeys(("train_loss", "val_loss", "ER", "F", "DOA_error", "frame_recall"), float("nan"))
    picture = drawn(tmp_path / "nan", [line(5, float("nan"), **empty)])
    assert count(picture, GREEN) == 0


def test_joint_scores_have_their_own_panels(tmp_path):
    joint = {"iteration": 3, "train_loss": 1.0, "val_loss": 1.0, "ER": 0.7, "F": 0.2, "LE": 30.0, "LR": 0.4}
    apart = {**joint, "DOA_error": 30.0, "frame_recall": 0.4}
    pictures = [drawn(tmp_path / str(i), [{**one, "SELD_error": 0.5}]) for i, one in enumerate((joint, apart))]
    assert not np.array_equal(*pictures)  # other words, other names


def test_history_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        draw_curves(tmp_path / "history.jsonl", tmp_path / "curves.png", title="")
    (tmp_path / "history.jsonl").write_text('{"iter\n[1]\n3\n')
    with pytest.raises(InputError, match=r"history\.jsonl: holds no line"):
        draw_curves(tmp_path / "history.jsonl", tmp_path / "curves.png", title="")
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1.06, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 12, [0, 2, 4, 6, 8, 10, 12]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0, 4800, [0, 1000, 2000, 3000, 4000]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert np.allclose(ticks(low, high), expected)


def test_logarithmic_ticks_and_stretches():
    assert np.allclose(log_ticks(0.8, 30), [1, 2, 5, 10, 20])
    assert np.allclose(log_ticks(1e-4, 10), [1e-4, 1e-3, 1e-2, 0.1, 1, 10])
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.zeros(3, bool)) == []


# Figures of predictions

EVENTS = IntervalTable.make(
    start_s=[1.0, 4.0, 6.0],
    end_s=[3.0, 5.0, 9.0],
    class_index=[0, 2, 3],
    azimuth_deg=[90, -120, 30],
    elevation_deg=[20, -30, 0],
    distance_m=[1.0, 1.0, 1.0],
)


def write_clip(
    folder: Path,
    name: str = "clip1",
    *,
    coordinates: str = "polar",
    table: IntervalTable = EVENTS,
    truth: IntervalTable | None = None,
    **changes: object,
) -> Path:
    """Sound, labels (`truth`) and a raw output that says exactly `table`; path of the raw output."""
    style, frame_s = COORDINATES[coordinates]
    output_format = SedDoa(len(CLASSES), coordinates=coordinates, frame_s=frame_s, style=style)
    frames = round(DURATION_S / frame_s)
    time_s = np.arange(int(DURATION_S * RATE_HZ)) / RATE_HZ
    tone = np.where(time_s < DURATION_S / 2, 0, 0.5 * np.sin(2 * np.pi * 4000 * time_s))
    raw = folder / "raw_list" / f"{name}.npy"
    raw.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{name}.wav", np.stack([tone] * 4, axis=1), RATE_HZ)
    write_intervals(folder / f"{name}.csv", table if truth is None else truth, "tau2019", CLASSES)
    np.save(raw, output_format.encode_clip(table, frames))
    about = {
        "system": f"seldnet{style}",
        **output_format.description(),
        "classes": list(CLASSES),
        "thresholds": [0.5] * len(CLASSES),
        "unification_deg": 15.0,
        "recording": str(folder / f"{name}.wav"),
        "labels": str(folder / f"{name}.csv"),
        "label_dialect": "tau2019",
        **changes,
    }
    write_json(raw.with_suffix(".json"), about)
    return raw


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_reference_and_prediction_are_decoded_alike(tmp_path, coordinates):
    clip = load_shown(write_clip(tmp_path, coordinates=coordinates))
    flat = coordinates == "xy"
    assert clip.duration_s == pytest.approx(DURATION_S, abs=0.01)
    for index, azimuth, elevation, start_s, end_s in ((0, 90, 20, 1, 3), (2, -120, -30, 4, 5), (3, 30, 0, 6, 9)):
        for part in (clip.reference, clip.estimated):
            inside = slice(int(start_s / clip.frame_s) + 2, int(end_s / clip.frame_s) - 2)
            assert part.active[index, inside].all()
            assert part.active[index].sum() == pytest.approx((end_s - start_s) / clip.frame_s, abs=3)
            assert np.allclose(part.azimuth_deg[index, inside], azimuth, atol=1e-3)
            if part is clip.reference or not flat:
                assert np.allclose(part.elevation_deg[index, inside], elevation, atol=1e-3)
    active = clip.reference.active & np.isfinite(clip.reference.axes).all(axis=0)
    assert np.allclose(clip.reference.axes[:, active], clip.estimated.axes[:, active], atol=1e-5)


def seen(picture: np.ndarray, colour: str, left: int, top: int, height: int) -> np.ndarray:
    """Where a colour is in a panel: (height, panel) bool."""
    return (picture[top : top + height, left : left + _PANEL] == rgb(colour)).all(axis=-1)


def test_figure_2019_shows_every_event_where_it_is(tmp_path):
    picture = seldnet_figure(load_shown(write_clip(tmp_path)))
    colours = class_colours(len(CLASSES))
    below = 300  # the panels; above them is the legend
    for index, start_s, end_s in ((0, 1, 3), (2, 4, 5), (3, 6, 9)):
        places = [seen(picture, colours[index], left, below, len(picture) - below) for left in (_LEFT, _RIGHT)]
        # a perfect prediction; rounding in float32 may move an edge by a third of a pixel
        assert (places[0] != places[1]).sum() < 0.12 * places[0].sum()
        columns = np.flatnonzero(places[0].any(axis=0)) / _PANEL * DURATION_S
        assert columns.min() == pytest.approx(start_s, abs=0.08) and columns.max() == pytest.approx(end_s, abs=0.08)
        rows = np.flatnonzero(places[0].any(axis=1))
        assert len(np.flatnonzero(np.diff(rows) > 10)) == 2  # class, azimuth, elevation
    assert not seen(picture, colours[1], _LEFT, below, len(picture) - below).any()
    middle = [np.flatnonzero(seen(picture, colours[i], _LEFT, below, len(picture) - below).any(axis=1)) for i in (0, 2)]
    bands = [[band.mean() for band in np.split(rows, np.flatnonzero(np.diff(rows) > 10) + 1)] for rows in middle]
    class_px, azimuth_px, elevation_px = (low - high for low, high in zip(*bands))
    assert class_px == pytest.approx(2 / 6 * 200, abs=1)  # index 0 below index 2; -1 to 5 on 200 pixels
    assert azimuth_px == pytest.approx(-210 / 380 * 200, abs=1)
    assert elevation_px == pytest.approx(-50 / 100 * 170, abs=1)
    pale_reference = [seen(picture, pale(colours[0]), left, below, len(picture) - below) for left in (_LEFT, _RIGHT)]
    assert not pale_reference[0].any() and pale_reference[1].any()


def test_styles_and_coordinates(tmp_path):
    heights = {}
    for coordinates in COORDINATES:
        clip = load_shown(write_clip(tmp_path, coordinates, coordinates=coordinates))
        heights[coordinates] = [len(seldnet_figure(clip, style=style)) for style in ("2018", "2019")]
    assert heights["polar"] == heights["xyz"]  # either style of either system: detection, x, y, z
    assert heights["xy"][0] == heights["xyz"][0] - 182 and heights["xy"][1] == heights["xyz"][1]  # has no z


def test_prediction_that_misses_shows_the_reference_alone(tmp_path):
    one = EVENTS[np.array([0])]
    picture = seldnet_figure(load_shown(write_clip(tmp_path, table=one, truth=EVENTS)))
    colour = class_colours(len(CLASSES))[3]
    assert seen(picture, colour, _LEFT, 300, 700).any()
    assert not seen(picture, colour, _RIGHT, 300, 700).any()
    assert seen(picture, pale(colour), _RIGHT, 300, 700).any()


def test_without_labels(tmp_path):
    clip = load_shown(write_clip(tmp_path, labels=None))
    assert clip.reference is None
    picture, colour = seldnet_figure(clip), class_colours(len(CLASSES))[0]
    assert not seen(picture, colour, _LEFT, 300, 700).any()
    assert seen(picture, colour, _RIGHT, 300, 700).any()


def test_labels_of_frames(tmp_path):
    frame = np.arange(10, 30)
    angles = {"azimuth_deg": np.full(20, 90.0), "elevation_deg": np.full(20, 20.0)}
    events = EventTable.make(frame=frame, class_index=0 * frame, source=0 * frame, **angles)
    write_events(tmp_path / "frames.csv", events)
    given = {"labels": str(tmp_path / "frames.csv"), "label_dialect": "starss23"}
    clip = load_shown(write_clip(tmp_path, table=EVENTS[np.array([0])], **given))
    assert np.array_equal(clip.reference.active, clip.estimated.active)


def test_events_off_the_range_are_active_without_a_direction(tmp_path):
    steep = EVENTS.replace(elevation_deg=np.array([20.0, 60.0, 0.0]))
    clip = load_shown(write_clip(tmp_path, truth=steep))
    assert clip.reference.active[2].any()
    assert np.isnan(clip.reference.azimuth_deg[2]).all() and np.isnan(clip.reference.axes[:, 2]).all()
    assert seldnet_figure(clip).shape == seldnet_figure(load_shown(write_clip(tmp_path))).shape


def test_thresholds_of_the_run_are_taken(tmp_path):
    raw = write_clip(tmp_path, thresholds=[1.0, 0.5, 0.5, 0.5])
    active = load_shown(raw).estimated.active
    assert not active[0].any() and active[2].any()


def test_the_spectrogram_is_where_the_sound_is(tmp_path):
    write_clip(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        level_db = spectrogram_db(tmp_path / "clip1.wav", DURATION_S, 100, 80)
    assert level_db.shape == (80, 100) and level_db.max() == 0
    loudest = level_db[:, 55:].argmax(axis=0)
    assert ((loudest >= 39) & (loudest <= 40)).all()  # 4 kHz of 8 kHz, upwards
    assert np.isneginf(level_db[:, :49]).all()  # digital silence
    longer = spectrogram_db(tmp_path / "clip1.wav", 2 * DURATION_S, 100, 80)
    assert np.isneginf(longer[:, 51:]).all() and not np.isneginf(longer[:, 26:49]).any()
    soundfile.write(tmp_path / "silent.wav", np.zeros((RATE_HZ, 4)), RATE_HZ)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isneginf(spectrogram_db(tmp_path / "silent.wav", 1.0, 10, 10)).all()


def test_command_writes_a_picture_per_clip(tmp_path, capsys):
    raw = write_clip(tmp_path, "clip1")
    write_clip(tmp_path, "clip2", labels=None)
    assert run_main(main, [str(tmp_path)]) == 0  # a run folder: its newest raw outputs
    assert {path.name for path in (tmp_path / "figures_list").iterdir()} == {"clip1.png", "clip2.png"}
    assert str(tmp_path / "figures_list") in capsys.readouterr().out
    out = tmp_path / "chosen"
    assert run_main(main, [str(raw.parent), "--clip", "clip2", "--out", str(out), "--style", "2018"]) == 0
    assert [path.name for path in out.iterdir()] == ["clip2.png"]
    assert cv2.imread(str(out / "clip2.png")).shape[1] == 1600


def broken(folder: Path, kind: str) -> list[str]:
    """Arguments of a command that cannot succeed."""
    if kind == "folder":
        return [str(folder / "none")]
    if kind == "empty":
        return [str(folder)]
    raw = write_clip(folder)
    beside = raw.with_suffix(".json")
    about = json.loads(beside.read_text())
    if kind == "json":
        beside.unlink()
    elif kind == "format":
        write_json(beside, {**about, **MultiAccdoa(len(CLASSES)).description()})
    elif kind == "no description":
        write_json(beside, [1])
    elif kind == "shape":
        np.save(raw, np.zeros((4, len(CLASSES), 10), np.float32))
    elif kind == "classes":
        write_json(beside, {**about, "classes": [*CLASSES, "speech"], "thresholds": [0.5] * 5})
    elif kind == "incomplete":
        write_json(beside, {name: value for name, value in about.items() if name != "coordinates"})
    elif kind == "cut":
        raw.write_bytes(raw.read_bytes()[:200])
    elif kind == "recording":
        Path(about["recording"]).unlink()
    elif kind == "labels":
        Path(about["labels"]).unlink()
    elif kind == "row":
        Path(about["labels"]).write_text(Path(about["labels"]).read_text() + "bark,1,2,0,0,1\n")
    return [str(raw.parent), *(["--clip", "clip7"] if kind == "clip" else [])]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("folder", "none: no such folder"),
        ("empty", "evaluate the run first"),
        ("clip", "holds no raw output of clip 'clip7'; there are clip1"),
        ("json", "clip1.json: no such file"),
        ("format", "clip1.json: holds output of format multi_accdoa, whose activity and directions are one"),
        ("no description", "clip1.json: holds output of format None"),
        ("shape", "clip1.npy: is no raw output that its json describes"),
        ("classes", "clip1.npy: is no raw output that its json describes (4 classes, its json names 5)"),
        ("incomplete", "clip1.npy: is no raw output that its json describes ('coordinates')"),
        ("cut", "clip1.npy: is no raw output"),
        ("recording", "clip1.wav: no such file: it was moved"),
        ("labels", "clip1.csv: no such file: it was moved"),
        ("row", "clip1.csv: line 5: 'bark' names no known class"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, kind, rule):
    assert run_main(main, broken(tmp_path, kind)) == 2
    error = capsys.readouterr().err
    assert rule in error and error.count("\n") == 1


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "reference on the left" in text and "raw outputs" in text and "--clip" in text
