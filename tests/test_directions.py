"""python seld.py -infer X --directions: what is written, arrays of one's own, streams, people, bad input."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import seld
from bench.direction_scenes import Source, direction_scene
from job.people import People
from simulation.picture.painter import render_video
from simulation.picture.sampling import sample_appearance, sample_background
from simulation.render import render
from simulation.room import absorption_for_rt60
from simulation.scene import Event, Person, Room, Scene, Trajectory
from tests.shared import SHARED, needs_shared
from util.angles import angle_between_deg, direction_from_degrees
from util.array_file import read_array
from util.boxes import BoxTrack
from util.camera import Equirectangular
from util.cli import run_main
from util.dialects import dialect_named, parse_events, read_events
from util.errors import InputError
from util.events import EventTable
from util.microphone_arrays import ARRAYS, Array
from util.placement import Placement

SECONDS = 3.0
LINE = "x_m,y_m\n0,0.06\n0,0.02\n0,-0.02\n0,-0.06\n"


@pytest.fixture(scope="module")
def scene():
    """A voice at 60 degrees, in no room."""
    return direction_scene(
        [Source(60, 5)], [ARRAYS["foa"], ARRAYS["mic"], ARRAYS["circular8"]], rt60_s=None, snr_db=20, seconds=SECONDS
    )


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, scene):
    """Commands are typed in a folder that holds the scene."""
    monkeypatch.chdir(tmp_path)
    for name, waveform in scene.waveform.items():
        soundfile.write(f"{name}.wav", waveform.T, 24000, subtype="PCM_16")


def run(*flags: str) -> int:
    return run_main(seld.main, ["-infer", *flags, "--directions"])


def directions_of(table: EventTable) -> np.ndarray:
    return direction_from_degrees(table.azimuth_deg, table.elevation_deg)


def test_everything_is_written_and_agrees(capsys, caplog):
    assert run("foa.wav", "--sources", "2") == 0
    out, told = Path("foa_seld"), capsys.readouterr()
    assert "4 channels taken for Ambisonics" in caplog.text and "tracks    1, 3.0 s" in told.out
    names = {path.name for path in out.iterdir()}
    assert names == {"foa.csv", "foa.json", "events.json", "audacity_labels.txt", "player.html"}
    table = read_events(out / "foa.csv", "dcase2023")
    assert len(table) == 30
    off_deg = angle_between_deg(directions_of(table), direction_from_degrees(60, 5))
    assert np.median(off_deg) < 1
    (event,) = json.loads((out / "events.json").read_text())["events"]
    assert event["class"] == "source 1" and event["start_s"] == 0 and event["end_s"] == SECONDS
    assert 0.3 < event["activity"] <= 1
    assert (out / "audacity_labels.txt").read_text().startswith("0.000\t3.000\tsource 1  az +60 el +5")
    about = json.loads((out / "foa.json").read_text())
    assert about["classes"] == ["source 1", "source 2"] and "--directions" in about["command"]
    assert "directions without a model" in (out / "player.html").read_text()


@pytest.mark.parametrize("name", ["mic", "circular8"])
def test_capsules_by_flag_and_by_file(name):
    if name == "mic":
        assert run("mic.wav", "--format", "mic", "--player", "never") == 0
    else:
        rows = [f"{azimuth},{elevation},0.05" for azimuth, elevation in ARRAYS[name].capsules_deg]
        Path("ring.csv").write_text("azimuth_deg,elevation_deg,radius_m\n" + "\n".join(rows))
        assert run("circular8.wav", "--array", "ring.csv", "--player", "never") == 0
    table = read_events(f"{name}_seld/{name}.csv", "dcase2023")
    assert abs(np.median(table.azimuth_deg) - 60) < 2.5


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_stream_prints_the_rows_of_the_file(source, capsys, monkeypatch):
    assert run("foa.wav", "--player", "never") == 0
    expected = read_events("foa_seld/foa.csv", "dcase2023")
    capsys.readouterr()
    if source == "pipe":
        samples, _ = soundfile.read("foa.wav", dtype="int16")
        raw = io.BytesIO(samples.tobytes())
        Path("raw").write_bytes(raw.getvalue())
        with open("raw", "rb") as file:
            monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=file))
            assert run("-", "--stream", "--format", "foa") == 0
    else:
        assert run("foa.wav", "--stream") == 0
    told = capsys.readouterr()
    assert "at most 1.02 s after the end of its frame" in told.err
    table = parse_events(told.out, dialect_named("dcase2023"))
    assert np.array_equal(table.frame, expected.frame)
    assert angle_between_deg(directions_of(table), directions_of(expected)).max() < 0.1


def test_another_rate_gives_the_same_directions():
    samples, _ = soundfile.read("foa.wav")
    times = np.arange(int(SECONDS * 48000)) / 2
    soundfile.write(
        "fast.wav", np.stack([np.interp(times, np.arange(len(samples)), one) for one in samples.T], 1), 48000
    )
    assert run("fast.wav", "--player", "never") == 0
    table = read_events("fast_seld/fast.csv", "dcase2023")
    assert np.median(angle_between_deg(directions_of(table), direction_from_degrees(60, 5))) < 1


def test_silence_and_a_moment_are_empty_results(capsys):
    for name, samples in (("silence", np.zeros((24000, 4))), ("moment", np.full((1, 4), 0.1))):
        soundfile.write(f"{name}.wav", samples, 24000)
        assert run(f"{name}.wav") == 0
        assert "no direction stands out" in capsys.readouterr().out
        assert (Path(f"{name}_seld") / f"{name}.csv").read_text() == ""
        assert json.loads((Path(f"{name}_seld") / "events.json").read_text())["events"] == []


@pytest.mark.parametrize(
    ("channels", "flags", "rule"),
    [
        (1, [], "is mono: a direction takes two or more channels"),
        (2, [], "has two channels and does not say of what: --format bin"),
        (2, ["--format", "stereo"], "stereo of two cardioids"),
        (4, ["--format", "mono"], "is mono"),
        (6, [], "has 6 channels and nothing says where its capsules are: --array FILE"),
        (
            6,
            ["--array", "line.csv"],
            "has 6 channels, the array line has 4 capsules (--channels-used takes some, as 1-4)",
        ),
        (4, ["--array", "line.csv", "--format", "mic"], "give one of them"),
        (4, ["--array", "none.csv"], "none.csv"),
        (4, ["-em", "model.pth"], "--directions takes no model, so -em has no meaning"),
    ],
)
def test_bad_input_ends_in_one_line(channels, flags, rule, capsys):
    Path("line.csv").write_text(LINE)
    soundfile.write("x.wav", 0.1 * np.ones((4800, channels)), 24000)
    assert run("x.wav", *flags) == 2
    error = capsys.readouterr().err
    assert rule in error and error.count("\n") == 1


def test_flags_of_directions_alone(capsys):
    assert run_main(seld.main, ["-infer", "foa.wav", "--sources", "2"]) == 2
    assert "--sources is for -infer --directions" in capsys.readouterr().err


def test_a_line_of_capsules_says_what_it_cannot_tell(caplog):
    Path("line.csv").write_text(LINE)
    soundfile.write("x.wav", np.random.default_rng(0).standard_normal((24000, 4)) * 0.01, 24000)
    assert run("x.wav", "--array", "line.csv", "--player", "never") == 0
    assert "a line of capsules tells the angle to its axis alone (a cone)" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "x,y,z\n0,0,0\n", "has the columns x, y, z"),
        ("a.csv", "x_m,y_m\n0,0\n", "describes 1 capsules"),
        ("a.csv", "x_m,y_m\n0,0\n1\n", "capsule 2: 1 values, 2 expected"),
        ("a.csv", "x_m,y_m\n0,0\n0,left\n", "not a number"),
        ("a.csv", "x_m,y_m\n0,0\n0,0\n", "lies where capsule 1 is"),
        ("a.csv", "x_m,y_m\n0,0\n0,46\n", "positions are in metres"),
        ("a.csv", "x_m,y_m\n0,0\n0,nan\n", "not a finite number"),
        ("a.json", "[1, 2]", 'must be {"capsules"'),
        ("a.json", '{"capsules": [[0, 0], [0, 1]], "colour": 1}', "unknown: colour"),
        ("a.json", '{"capsules": [[0, 0.1], [0, 0.2]], "baffle": "rigid"}', "a rigid sphere carries all capsules"),
        ("a.json", '{"capsules": [[0, 0.1], "x"]}', "is no position"),
    ],
)
def test_bad_arrays_say_where_and_why(name, text, rule):
    Path(name).write_text(text)
    with pytest.raises(InputError) as error:
        read_array(Path(name))
    assert rule in str(error.value) and name in str(error.value)


def test_arrays_in_every_form():
    Path("a.csv").write_text("# ReSpeaker 4\nx_m, y_m\n0.03,0\n0,0.03\n-0.03,0\n0,-0.03\n")
    ring = read_array(Path("a.csv"))
    assert ring.channels == 4 and ring.radius_m == pytest.approx(0.03) and not ring.radii_m
    Path("a.json").write_text('{"name": "ball", "baffle": "rigid", "capsules": [[0.1, 0, 0], {"x_m": 0, "y_m": 0.1}]}')
    ball = read_array(Path("a.json"))
    assert ball.name == "ball" and ball.baffle == "rigid" and ball.radius_m == pytest.approx(0.1)
    Path("b.csv").write_text(LINE)
    line = read_array(Path("b.csv"))
    np.testing.assert_allclose(line.positions_m()[:, 1], [0.06, 0.02, -0.02, -0.06], atol=1e-12)
    assert Array.from_dict(json.loads(json.dumps(line.to_dict()))) == line


@given(st.text(alphabet='xyz_m,0123456789.-\n{}[]"capsule: ', max_size=80), st.sampled_from(["csv", "json"]))
@settings(max_examples=25, deadline=None)
def test_any_text_is_an_array_or_one_error(tmp_path_factory, text, kind):
    path = tmp_path_factory.mktemp("arrays") / f"a.{kind}"
    path.write_text(text)
    try:
        assert read_array(path).channels >= 2
    except InputError:
        pass


def test_the_nearest_person_is_named_by_the_box():
    """Somebody at 0 degrees all the time, somebody who comes at 2 s at 90: the sound is the second."""
    time_s = np.arange(40) / 10
    boxes = np.zeros((40, 6, 4), np.float32)
    boxes[:, 0] = [0.48, 0.4, 0.52, 0.8]
    boxes[20:, 1] = [0.23, 0.4, 0.27, 0.8]
    people = People.of(BoxTrack(time_s, boxes, np.ones((40, 6), np.float32), 4.0), Placement(), 40, 0.1)
    heard = EventTable.make(
        frame=np.arange(20, 40), class_index=np.zeros(20), azimuth_deg=np.full(20, 85.0), elevation_deg=np.zeros(20)
    )
    person = people.nearest(heard)
    assert person["name"] == "person 2" and person["share"] == 1 and person["box"] == [0.23, 0.4, 0.27, 0.8]
    away = heard.replace(azimuth_deg=np.full(20, -120.0))
    assert people.nearest(away) is None


@pytest.mark.slow
def test_who_talks_in_a_simulated_video_is_named_by_the_boxes_that_are_found():
    """Two people stand in a room; the one at the left talks, later the one behind at the right."""
    seconds, size = 5.0, (7.0, 6.0, 2.9)
    room = Room("room1", size, (3.5, 3.0, 1.5), 0.3, absorption_for_rt60(size, 0.3))
    places = {0: (1.4, 1.2), 1: (-0.4, -1.8)}  # x, y in metres: 41 degrees, -103 degrees
    people, events = [], []
    for source, (x, y) in places.items():
        feet = Trajectory(np.zeros(1), np.array([[x, y, -1.5]]))
        people.append(Person(source, feet, 1.75, sample_appearance(np.random.default_rng(source), "train")))
        sound = 0.1 * np.random.default_rng(source).standard_normal(2 * 24000).astype(np.float32)
        mouth = Trajectory(np.zeros(1), np.array([[x, y, 0.1]]))
        events.append(Event(0, "any", 0.3 + 2.5 * source, sound, {}, mouth, "mouth", source))
    look = sample_background(np.random.default_rng(0), "train")
    scene = Scene("clip", "train", 0, seconds, 24000, room, tuple(events), tuple(people), (), 30.0, look)
    soundfile.write("talk.wav", render(scene, [ARRAYS["foa"]])["foa"].T, 24000)
    render_video(scene, "talk.mp4", camera=Equirectangular(360, 180), fps=5)
    assert run("talk.wav", "talk.mp4", "--detector", "builtin", "--player", "never") == 0
    found = json.loads(Path("talk_seld/events.json").read_text())["events"]
    named = [one for one in found if one.get("person")]
    assert len(named) == 2 and named[0]["person"]["name"] != named[1]["person"]["name"]
    for one, (x, y) in zip(sorted(named, key=lambda event: event["start_s"]), places.values()):
        left, top, right, bottom = one["person"]["box"]
        azimuth_deg = 180 - 180 * (left + right)
        assert abs(azimuth_deg - np.rad2deg(np.arctan2(y, x))) < 5 and bottom - top > 0.2
        assert one["person"]["angle_deg"] < 10 and one["person"]["share"] > 0.6


@needs_shared
@pytest.mark.shared
@pytest.mark.slow
def test_recorded_voice_at_known_directions():
    """26 phrases, each from a direction of its own: FuMa order and weights, AAC."""
    name = "panned_speech_wxyz_fuma"
    assert (
        run(str(SHARED / f"real/spatial/{name}.mp4"), "--channel-order", "fuma", "--player", "never", "--out", "o") == 0
    )
    table = read_events(f"o/{name}.csv", "dcase2023")
    known = [(0.5, 45, 35), (3.0, 0, 35), (8, 45, 0), (13.25, -45, 0), (18.5, 0, -35), (30, 90, 0), (50, 180, 0)]
    off_deg = []
    for start_s, azimuth_deg, elevation_deg in known:
        true, nearest = direction_from_degrees(azimuth_deg, elevation_deg), []
        for frame in range(round(10 * start_s) + 5, round(10 * start_s) + 15):
            rows = directions_of(table[table.frame == frame])
            nearest.append(angle_between_deg(rows, true).min(initial=180.0))
        off_deg.append(np.median(nearest))
    assert np.median(off_deg) < 2 and max(off_deg) < 6
