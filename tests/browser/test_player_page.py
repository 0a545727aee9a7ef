"""The player in a real browser: it plays, seeks, marks the right pixels, thresholds as Python does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import npy2csv
from output_format.candidates import Candidates, merge
from report.analysis import load_clip
from report.colours import STATUS, rgb
from report.matching import match
from report.page import write_clip_player
from report.player import write_player
from tests.browser.conftest import wait_until
from tests.report_material import (
    CLASSES,
    DISC_BGR,
    HEIGHT,
    LONG_CLASSES,
    NUMBER_BITS,
    WIDTH,
    Clip,
    make_clip,
    make_long_clip,
    make_run,
)
from util.angles import direction_from_degrees
from util.camera import Equirectangular, Perspective
from util.dialects import read_events
from util.events import EventTable
from util.microphone_arrays import ARRAYS

_READY = "player.media === null || player.media.readyState >= 3"


def _write(path: Path, clip: Clip, **changes) -> Path:
    settings = {
        "candidates": clip.candidates,
        "thresholds": 0.3,
        "unification_deg": 15.0,
        "classes": CLASSES,
        "title": "clip <1> </script>",
        "reference": clip.reference,
        "audio": clip.audio,
        "video": clip.video,
        "boxes": clip.boxes,
        "array": ARRAYS["foa"],
    }
    write_player(path, **(settings | changes))
    return path


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> tuple[Path, Clip]:
    folder = tmp_path_factory.mktemp("noisy")
    clip = make_clip(folder)
    return _write(folder / "player.html", clip), clip


@pytest.fixture(scope="module")
def perfect(tmp_path_factory) -> tuple[Path, Clip]:
    folder = tmp_path_factory.mktemp("perfect")
    clip = make_clip(folder, perfect=True)
    return _write(folder / "player.html", clip), clip


def _seek(page, time_s: float) -> None:
    page.evaluate("t => player.seek(t)", time_s)
    wait_until(page, "player.media === null || (!player.media.seeking && player.media.readyState >= 2)")
    page.evaluate("player.drawNow()")


def test_plays_and_seeks_by_click(noisy, opened):
    page = opened(noisy[0])
    wait_until(page, _READY)
    assert page.title() == "clip <1> </script>" and page.inner_text("h1") == "clip <1> </script>"
    page.click("#play")
    wait_until(page, "player.time > 0.5")
    page.keyboard.press("Space")
    wait_until(page, "player.media.paused")
    for wanted in (0.75, 3.21, 7.4):
        x, y = page.evaluate("t => [player.xOf(t), player.layout.azimuth.top + 20]", wanted)
        page.click("#lanes", position={"x": x, "y": y})
        wait_until(page, "!player.media.seeking")
        assert abs(page.evaluate("player.time") - wanted) < 0.1
    frame = page.evaluate("player.frame()")
    page.keyboard.press("ArrowRight")
    wait_until(page, "!player.media.seeking")
    assert page.evaluate("player.frame()") == frame + 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_until(page, "!player.media.seeking")
    assert page.evaluate("player.frame()") == frame - 1


def test_sound_is_stereo_and_audible(noisy, opened):
    page = opened(noisy[0], free=True)
    sides = page.evaluate(
        """async () => {
            const bytes = await (await fetch(player.media.src)).arrayBuffer();
            const sound = await new OfflineAudioContext(2, 1, 24000).decodeAudioData(bytes);
            const at = (channel, t) => {
                const part = sound.getChannelData(channel).slice(t * 24000, (t + 0.3) * 24000);
                return Math.sqrt(part.reduce((sum, v) => sum + v * v, 0) / part.length);
            };
            return [sound.duration, at(0, 6.22), at(1, 6.22), at(0, 7), at(1, 7)];
        }"""
    )
    duration_s, left_at_door, right_at_door, left_at_speech, right_at_speech = sides
    assert abs(duration_s - 8) < 0.1
    assert left_at_door > 1.1 * right_at_door  # door at +90 while a voice speaks at -40
    assert right_at_speech > 1.2 * left_at_speech > 0.002


@pytest.mark.parametrize("time_s", [1.05, 2.95, 3.05, 4.55, 6.35])  # 2.95 and 3.05 s: on both sides of the seam
def test_marks_are_at_the_pixel_of_the_label(perfect, opened, time_s):
    path, clip = perfect
    page = opened(path)
    wait_until(page, _READY)
    _seek(page, time_s)
    width, height = page.evaluate(
        "[document.getElementById('overlay').clientWidth, document.getElementById('overlay').clientHeight]"
    )
    now = clip.reference[clip.reference.frame == int(time_s * 10)]
    due, _ = Equirectangular(width, height).project(direction_from_degrees(now.azimuth_deg, now.elevation_deg))
    marks = page.evaluate("player.markers()")
    for kind in ("reference", "prediction"):
        found = np.array([[mark["x"], mark["y"]] for mark in marks if mark["kind"] == kind])
        assert len(found) == len(now)
        distance = np.abs(found[:, None] - due[None]).max(axis=-1)
        assert (distance.min(axis=0) < 0.51).all() and (distance.min(axis=1) < 0.51).all()
    painted = page.evaluate(
        """points => {
            const canvas = document.getElementById('overlay'), scale = canvas.width / canvas.clientWidth;
            const film = document.createElement('canvas');
            [film.width, film.height] = [player.media.videoWidth, player.media.videoHeight];
            film.getContext('2d').drawImage(player.media, 0, 0);
            const at = (c, x, y) => [...c.getContext('2d').getImageData(x, y, 1, 1).data];
            return points.map(([x, y, fx, fy]) => [at(canvas, x * scale, y * scale), at(film, fx, fy)]);
        }""",
        [[x, y, x / width * WIDTH, y / height * HEIGHT] for x, y in due],
    )
    for overlay, film in painted:  # our disc, and below it the disc that the video shows at that time
        assert np.abs(np.array(overlay[:3]) - rgb(STATUS["correct"])).max() < 12
        assert np.abs(np.array(film[:3]) - DISC_BGR[::-1]).max() < 60


def test_marks_wrap_at_the_seam(perfect, opened):
    page = opened(perfect[0])
    wait_until(page, _READY)
    _seek(page, 3.05)  # the walker is at azimuth 180: half of the mark at either edge
    mark = next(mark for mark in page.evaluate("player.markers()") if mark["class_index"] == 0)
    colours = page.evaluate(
        """y => { const c = document.getElementById('overlay'), s = c.width / c.clientWidth, g = c.getContext('2d');
            return [1, c.width - 2].map(x => [...g.getImageData(x, y * s, 1, 1).data]); }""",
        mark["y"],
    )
    for colour in colours:
        assert np.abs(np.array(colour[:3]) - rgb(STATUS["correct"])).max() < 12 and colour[3] == 255


def test_looking_around_keeps_marks_on_the_picture(perfect, opened):
    page = opened(perfect[0])
    wait_until(page, _READY)
    _seek(page, 3.05)
    page.click("#views >> text=Look around")
    # towards the walker on the seam, a little to the side
    page.evaluate("player.state.look.azimuth = -165; player.state.look.elevation = 0; player.drawNow()")
    mark = next(mark for mark in page.evaluate("player.markers()") if mark["class_index"] == 0)
    width, height = page.evaluate(
        "[document.getElementById('overlay').clientWidth, document.getElementById('overlay').clientHeight]"
    )
    camera = Perspective(width, height, fov_deg=95.0, yaw_deg=-165.0)
    due, visible = camera.project(direction_from_degrees(180.0, 5.0))
    assert visible and np.abs(np.array([mark["x"], mark["y"]]) - due).max() < 0.51
    colour = page.evaluate(
        """([x, y]) => {
            player.drawNow(); // WebGL forgets its picture after each turn of the event loop
            const canvas = document.getElementById('around'), copy = document.createElement('canvas');
            [copy.width, copy.height] = [canvas.clientWidth, canvas.clientHeight];
            const g = copy.getContext('2d');
            g.drawImage(canvas, 0, 0, copy.width, copy.height);
            return [...g.getImageData(x, y, 1, 1).data];
        }""",
        due.tolist(),
    )
    assert np.abs(np.array(colour[:3]) - DISC_BGR[::-1]).max() < 60
    page.evaluate(
        "player.state.look.azimuth = 0; player.drawNow()"
    )  # the walker is behind: no mark, a name at the edge
    assert all(mark["class_index"] != 0 for mark in page.evaluate("player.markers()"))


def test_threshold_slider_gives_the_events_of_python(noisy, opened):
    path, clip = noisy
    page = opened(path)
    for threshold in (0.05, 0.1, 0.2, 0.3, 0.37, 0.5, 0.64, 0.8, 0.95):
        page.locator("#threshold").fill(str(threshold))
        rows = page.evaluate("player.rows()")
        due = merge(clip.candidates, threshold, 15.0)
        assert len(rows) == len(due)
        statuses = match(clip.reference, due)
        status = statuses.estimated_status()

        def key(row):
            return row[0], row[1], round(row[2], 2), round(row[3], 2)

        found = sorted(rows, key=key)
        wanted = sorted(
            zip(due.frame.tolist(), due.class_index.tolist(), due.azimuth_deg, due.elevation_deg, status), key=key
        )
        for row, other in zip(found, wanted):
            assert row[:2] == list(other[:2])
            np.testing.assert_allclose(row[2:4], [float(other[2]), float(other[3])], atol=1e-3)
            assert row[4] == other[4]
        assert page.evaluate("player.referenceStatus()") == statuses.reference_status().tolist()


def test_threshold_slider_gives_the_csv_of_npy2csv(opened, tmp_path):
    """Raw output -> player -> slider, against raw output -> python npy2csv.py --threshold-config."""
    run = make_run(tmp_path, "run", clips=1)
    (raw,) = run.glob("raw_*/*.npy")
    write_clip_player(tmp_path / "player.html", load_clip(raw))
    page = opened(tmp_path / "player.html")
    counts = []
    for threshold in (0.05, 0.12, 0.21, 0.3, 0.38, 0.5, 0.64, 0.77, 0.9):
        config = {"threshold_presence": [threshold] * len(CLASSES), "threshold_unification": 15}
        (tmp_path / "t.json").write_text(json.dumps(config))
        flags = [str(raw.parent), "--out", str(tmp_path / "csv"), "--threshold-config", str(tmp_path / "t.json")]
        assert npy2csv.main(flags) == 0
        due = read_events(tmp_path / "csv" / f"{raw.stem}.csv", "dcase2023")
        page.locator("#threshold").fill(str(threshold))
        found = np.array([row[:4] for row in page.evaluate("player.rows()")]).reshape(-1, 4)
        wanted = np.stack([due.frame, due.class_index, due.azimuth_deg, due.elevation_deg], axis=1)
        assert len(found) == len(wanted)
        found, wanted = (rows[np.lexsort(np.round(rows.T[::-1], 1))] for rows in (found, wanted))
        np.testing.assert_allclose(found, wanted, atol=0.01)
        counts.append(len(found))
    assert counts[0] > 2 * counts[4] > 4 * counts[-1] > 0


def test_toggles(noisy, opened):
    page = opened(noisy[0])
    wait_until(page, _READY)
    _seek(page, 4.25)
    kinds = page.evaluate("player.markers().map(m => [m.kind, m.class_index])")
    assert ["reference", 0] in kinds and ["reference", 1] in kinds
    page.click("#classes .class >> nth=0")
    assert all(index != 0 for _, index in page.evaluate("player.markers().map(m => [m.kind, m.class_index])"))
    page.click("#classes .class >> nth=0")
    page.click("#layers >> text=Reference")
    assert all(kind == "prediction" for kind, _ in page.evaluate("player.markers().map(m => [m.kind, m.class_index])"))
    page.keyboard.press("r")
    page.keyboard.press("p")
    assert all(kind == "reference" for kind, _ in page.evaluate("player.markers().map(m => [m.kind, m.class_index])"))
    assert page.get_attribute("#layers >> text=Prediction", "aria-pressed") == "false"
    page.click("#noclasses")
    assert page.evaluate("player.markers()") == []
    page.click("#views >> text=Sphere")
    page.click("#allclasses")
    assert page.evaluate("player.state.view") == "sphere" and page.evaluate("player.markers().length") > 0


def test_without_video_reference_or_sound_it_draws_the_sphere(noisy, opened, tmp_path):
    _, clip = noisy
    bare = {"video": None, "audio": None, "boxes": None, "reference": None}
    page = opened(_write(tmp_path / "bare.html", clip, **bare))
    assert page.evaluate("player.state.view") == "sphere"
    page.keyboard.press("Space")
    wait_until(page, "player.time > 0.25")
    page.keyboard.press("Space")
    _seek(page, 4.2)
    before = page.evaluate("player.markers().map(m => m.x)")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 210)
    page.mouse.up()
    assert before and page.evaluate("player.markers().map(m => m.x)") != before
    wait_until(opened(_write(tmp_path / "sound.html", clip, video=None, boxes=None)), _READY)


def test_ten_minutes_with_video_open_play_and_seek(opened, tmp_path):
    """Functions only; `python bench/player.py` says how large such a page is and how smoothly it runs."""
    clip = make_long_clip(tmp_path, seconds=600, width=280, height=140, fps=5, rate_hz=8000)
    page = opened(_write(tmp_path / "long.html", clip, classes=LONG_CLASSES))
    wait_until(page, _READY, seconds=30)
    assert abs(page.evaluate("player.media.duration") - 600) < 0.2 and page.evaluate("player.state.view") == "picture"
    for wanted in (599.31, 0.44, 301.77):
        page.evaluate("t => player.show(Math.max(t - 10, 0), Math.min(t + 10, 600))", wanted)
        x, y = page.evaluate("t => [player.xOf(t), player.layout.azimuth.top + 20]", wanted)
        page.click("#lanes", position={"x": x, "y": y})
        wait_until(page, "!player.media.seeking && player.media.readyState >= 2")
        time_s = page.evaluate("player.time")
        assert abs(time_s - wanted) < 0.1
        bright = page.evaluate(
            """bits => {
                const film = document.createElement('canvas');
                [film.width, film.height] = [player.media.videoWidth, player.media.videoHeight];
                const g = film.getContext('2d');
                g.drawImage(player.media, 0, 0);
                const side = film.width / bits;
                return [...Array(bits).keys()].map(b => g.getImageData((b + 0.5) * side, side / 2, 1, 1).data[0] > 128);
            }""",
            NUMBER_BITS,
        )
        shown = sum(1 << bit for bit, one in enumerate(bright) if one)
        assert abs(shown - int(5 * time_s)) <= 1 and page.evaluate("player.frame()") == int(10 * time_s + 1e-6)
    page.click("#play")
    wait_until(page, "player.time > 302.5")


def test_a_picture_costs_little_of_what_moving_the_threshold_of_ten_minutes_does(opened, tmp_path):
    generator = np.random.default_rng(1)
    shape = (6000, 13, 3)
    activity = generator.uniform(0, 1, shape) ** 4
    clip = Clip(None, None, None, None, None)
    candidates = Candidates(activity, generator.uniform(-180, 180, shape), generator.uniform(-60, 60, shape))
    frame = np.repeat(np.arange(6000), 2)
    size = len(frame)
    reference = EventTable.make(
        frame=frame,
        class_index=generator.integers(0, 13, size),
        azimuth_deg=generator.integers(-180, 180, size),
        elevation_deg=generator.integers(-60, 60, size),
    )
    path = _write(
        tmp_path / "long.html",
        clip,
        candidates=candidates,
        reference=reference,
        classes=[f"class {index}" for index in range(13)],
        **{"video": None, "audio": None, "boxes": None, "array": None},
    )
    assert path.stat().st_size < 8e6  # more than half of the cells are above the slider's lowest position: a worst case
    page = opened(path)
    page.evaluate("player.show(0, 600)")
    cost_ms, frame_ms = page.evaluate(
        """() => {
            const timed = (values, run) => {
                const start = performance.now();
                for (const value of values) run(value);
                return (performance.now() - start) / values.length;
            };
            const moved = timed([0.4, 0.5, 0.6], (v) => { player.setThreshold(v); player.drawNow(); });
            const frames = Array.from({ length: 50 }, (_, i) => i);
            return [moved, timed(frames, (t) => { player.seek(t); player.tick(); })];
        }"""
    )
    print(f"threshold moved: {cost_ms:.0f} ms, one picture: {frame_ms:.1f} ms, page {path.stat().st_size / 1e6:.1f} MB")
    # how long either takes is the machine's (python -m bench.player); a picture must not work through all of the clip
    assert frame_ms < cost_ms / 10
