"""The player's page as a file, its sound and picture, matching, linked events, overlay video. No browser needed."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile

from report.analysis import load_clip
from report.colours import STATUS, class_colours, rgb
from report.matching import match
from report.media import browser_media, stereo_blocks, stereo_gains
from report.overlay import write_clip_overlay, write_overlay
from report.page import write_clip_player
from report.player import player_page, write_player
from report.shown import shown_of
from report.tracks import events_as_json, link_events, write_audacity_labels, write_events_json
from tests.report_material import (
    CLASSES,
    DURATION_S,
    HEIGHT,
    WIDTH,
    make_candidates,
    make_clip,
    make_reference,
    make_run,
)
from util.angles import angle_between_deg, direction_from_degrees
from util.boxes import BoxTrack, write_boxes
from util.camera import Perspective
from util.channels import channel_matrix
from util.errors import InputError
from util.events import EventTable
from util.microphone_arrays import ARRAYS
from util.video import VideoWriter, read_frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"))


def _data(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def _array(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def test_page_is_self_contained_and_holds_the_numbers(clip, tmp_path):
    settings = {"thresholds": 0.3, "unification_deg": 15.0, "classes": CLASSES, "title": 'a <"clip">'}
    path = tmp_path / "player.html"
    size = write_player(
        path,
        candidates=clip.candidates,
        reference=clip.reference,
        audio=clip.audio,
        video=clip.video,
        boxes=clip.boxes,
        array=ARRAYS["foa"],
        **settings,
    )
    page = path.read_text(encoding="utf-8")
    assert size == path.stat().st_size < 400_000
    assert not re.search(r'(src|href)="(?!data:,)', page) and "http" not in page.replace("http-equiv", "")
    data = _data(page)
    assert data["classes"] == CLASSES and data["title"] == 'a <"clip">'
    assert page.count("</script>") == 3  # the class name that holds one has not ended a script
    key, activity = _array(data["cells"]["key"], "<u4"), _array(data["cells"]["activity"], "<f8")
    frame, index, track = np.unravel_index(key, clip.candidates.activity.shape)
    np.testing.assert_array_equal(activity, clip.candidates.activity[frame, index, track])
    assert len(key) == np.sum(clip.candidates.activity > 0.05)
    boxes = _array(data["boxes"]["boxes"], "<i2").reshape(-1, data["boxes"]["per"], 4) / 8192
    np.testing.assert_allclose(boxes, clip.boxes.boxes[:, : data["boxes"]["per"]], atol=1 / 8192)


def test_page_refuses_what_does_not_fit(clip):
    settings = {"thresholds": 0.3, "unification_deg": 15.0, "classes": CLASSES, "title": ""}
    with pytest.raises(ValueError, match="class names"):
        player_page(candidates=clip.candidates, **{**settings, "classes": ["one"]})
    with pytest.raises(ValueError, match="classes outside"):
        wrong = EventTable.make(frame=[0], class_index=[9], azimuth_deg=[0], elevation_deg=[0])
        player_page(candidates=clip.candidates, reference=wrong, **settings)
    with pytest.raises(ValueError, match="frames of"):
        player_page(candidates=clip.candidates, reference=EventTable.make(frame_s=0.02), **settings)


def test_thresholds_below_the_floor_keep_their_candidates(clip):
    page = player_page(
        candidates=clip.candidates, thresholds=[0.01, 0.3, 0.3, 0.3], unification_deg=15, classes=CLASSES, title=""
    )
    data = _data(page)
    assert len(_array(data["cells"]["key"], "<u4")) == np.sum(clip.candidates.activity > 0.01)
    assert data["slider"][0] == 0.01 and data["thresholds"] == [0.01, 0.3, 0.3, 0.3]


def test_media_of_any_recording(clip, tmp_path):
    assert browser_media(audio=None, video=None) is None
    both = browser_media(audio=clip.audio, video=clip.video, array=ARRAYS["foa"])
    with av.open(io.BytesIO(both.content)) as container:
        sound, picture = container.streams.audio[0], container.streams.video[0]
        assert (sound.codec_context.name, sound.codec_context.channels) == ("aac", 2)
        assert (picture.codec_context.name, picture.width, picture.height) == ("h264", WIDTH, HEIGHT)
        assert picture.frames == int(DURATION_S * 10)
    assert both.video and both.mime == "video/mp4" and both.duration_s == DURATION_S
    with VideoWriter(tmp_path / "large.mp4", 1920, 960, 5) as writer:
        for _ in range(3):
            writer.write(np.zeros((960, 1920, 3), np.uint8))
    large = browser_media(audio=None, video=tmp_path / "large.mp4")
    with av.open(io.BytesIO(large.content)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (1024, 512)
        assert sum(1 for _ in container.decode(video=0)) == 3
    for rate, due in ((44100, 44100), (48000, 48000), (96000, 48000), (7000, 48000)):
        soundfile.write(tmp_path / "mono.wav", np.zeros(2 * rate), rate)
        mono = browser_media(audio=tmp_path / "mono.wav", video=None)
        with av.open(io.BytesIO(mono.content)) as container:
            assert mono.mime == "audio/mp4" and container.streams.audio[0].rate == due
            assert float(container.duration / av.time_base) == pytest.approx(2, abs=0.05)
    with pytest.raises(InputError, match="no such file"):
        browser_media(audio=tmp_path / "none.wav", video=None)


def test_stereo_hears_left_on_the_left():
    for azimuth_deg, sign in ((90, 1), (-90, -1), (0, 0), (180, 0)):
        x, y, z = direction_from_degrees(azimuth_deg, 0)
        left, right = stereo_gains(4, ARRAYS["foa"]) @ np.array([1, y, z, x])
        assert np.sign(np.round(left - right, 9)) == sign
    acn = np.array([1, 0.3, -0.2, 0.5])  # W, Y, Z, X
    fuma = np.array([acn[0] / 2**0.5, acn[3], acn[1], acn[2]])
    matrix = channel_matrix(ARRAYS["foa"], "fuma", None)
    np.testing.assert_allclose(
        stereo_gains(4, ARRAYS["foa"], matrix) @ fuma, stereo_gains(4, ARRAYS["foa"]) @ acn, atol=1e-7
    )
    np.testing.assert_allclose(stereo_gains(4, ARRAYS["mic"]), [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]])
    np.testing.assert_allclose(stereo_gains(2, None), np.eye(2))
    np.testing.assert_allclose(stereo_gains(1, None), [[1], [1]])


def test_matching_is_the_best_assignment():
    generator = np.random.default_rng(3)

    def table(size: int) -> EventTable:
        return EventTable.make(
            frame=generator.integers(0, 12, size),
            class_index=generator.integers(0, 2, size),
            azimuth_deg=generator.uniform(-180, 180, size),
            elevation_deg=generator.uniform(-90, 90, size),
        )

    reference, estimated = table(40), table(50)
    found = match(reference, estimated)
    for row, other in enumerate(found.reference):
        if other >= 0:
            assert found.estimated[other] == row
            assert reference.frame[row] == estimated.frame[other]
            assert reference.class_index[row] == estimated.class_index[other]
    for frame in range(12):
        for index in range(2):
            rows = np.flatnonzero((reference.frame == frame) & (reference.class_index == index))
            columns = np.flatnonzero((estimated.frame == frame) & (estimated.class_index == index))
            assert np.sum(found.reference[rows] >= 0) == min(len(rows), len(columns))
    near = found.angle_deg <= 20
    assert set(found.estimated_status()[near]) <= {"correct"}
    assert np.sum(found.reference_status() == "missed") == np.sum(found.reference < 0)
    empty = match(EventTable.make(), estimated)
    assert set(empty.estimated_status()) == {"false"} and len(empty.reference) == 0


def test_linking_gives_one_event_per_source():
    reference = make_reference()
    events = link_events(reference)
    assert [(event.class_index, event.start_s, event.end_s) for event in events] == [
        (0, 0.5, 6.0),  # across the seam in one piece
        (1, 2.0, 7.5),
        (1, 4.0, 5.5),
        (2, 6.2, 6.6),
    ]
    assert len({event.track for event in events[:3]}) == 3
    gaps = reference[~np.isin(reference.frame, (30, 31))]
    assert len(link_events(gaps)) == 4 and len(link_events(gaps, max_gap_s=0.1)) == 6
    for one in link_events(EventTable.concatenate([reference, reference.replace(frame=reference.frame + 200)])):
        steps = direction_from_degrees(reference.azimuth_deg, reference.elevation_deg)
        rows = one.rows % len(reference)
        assert angle_between_deg(steps[rows[:-1]], steps[rows[1:]]).max(initial=0) <= 30
    assert link_events(EventTable.make()) == []


def test_events_json_and_audacity_labels(tmp_path):
    reference = make_reference()
    write_events_json(tmp_path / "events.json", reference, CLASSES, recording="clip.wav", system="av")
    content = json.loads((tmp_path / "events.json").read_text())
    assert (content["recording"], content["system"], content["frame_s"]) == ("clip.wav", "av", 0.1)
    first = content["events"][0]
    assert (first["class"], first["start_s"], first["end_s"]) == ("female speech", 0.5, 6.0)
    assert len(first["trajectory"]["time_s"]) == 55 and first["trajectory"]["azimuth_deg"][0] == 155
    rows = sum(len(event["trajectory"]["time_s"]) for event in content["events"])
    assert rows == len(reference)
    assert events_as_json([], reference, CLASSES)["events"] == []
    write_audacity_labels(tmp_path / "labels.txt", reference, CLASSES)
    lines = (tmp_path / "labels.txt").read_text().splitlines()
    assert lines[1] == "2.000\t7.500\tmale speech  az -40 el -10" and len(lines) == 4


def test_overlay_keeps_sound_and_marks_the_pixel(clip, tmp_path):
    from output_format.candidates import merge

    perfect = merge(make_candidates(clip.reference, perfect=True), 0.3, 15.0)
    write_overlay(
        tmp_path / "overlay.mp4",
        estimated=perfect,
        reference=clip.reference,
        classes=CLASSES,
        audio=clip.audio,
        video=clip.video,
        boxes=clip.boxes,
        array=ARRAYS["foa"],
        duration_s=3.0,
        title="clip",
        progress=False,
    )
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 30 and pictures[0].shape[1] == 1280
    picture = pictures[25]  # frame 25: the speaker at (-40, -10)
    x, y = (180 + 40) / 360 * 1280, (90 + 10) / 180 * 640
    assert np.abs(picture[round(y), round(x)].astype(int) - rgb(STATUS["correct"])).max() < 40
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert sound.shape[0] == 2 and np.abs(sound).max() > 0.05


def test_raw_output_is_shown_as_its_json_says(tmp_path):
    run = make_run(tmp_path, "run", clips=1, video=True)
    raw = next(run.glob("raw_*/*.npy"))
    about = json.loads(raw.with_suffix(".json").read_text())
    w, y, z, x = soundfile.read(about["recording"])[0].T
    soundfile.write(tmp_path / "fuma.wav", np.stack([w / 2**0.5, x, y, z], axis=1), 24000)
    boxes = np.zeros((80, 6, 4), np.float32)
    boxes[:, 0] = (0.45, 0.4, 0.55, 0.9)
    track = BoxTrack(np.arange(80) / 10, boxes, boxes[..., 3], 8.0)
    write_boxes(raw.with_name("clip.boxes-builtin.npz"), track)  # beside the raw output, as -infer leaves them
    with shown_of(load_clip(raw)) as plain:
        assert plain.matrix is None and str(plain.video) == about["video"]
    about |= {"recording": str(tmp_path / "fuma.wav"), "channel_order": "fuma", "norm": None, "detector": "builtin"}
    about |= {"video_yaw_deg": 90.0, "video_offset_s": 0.5}
    raw.with_suffix(".json").write_text(json.dumps(about))
    clip = load_clip(raw)
    with shown_of(clip) as shown:
        first = next(stereo_blocks(plain.audio, clip.array))
        np.testing.assert_allclose(next(stereo_blocks(shown.audio, clip.array, shown.matrix)), first, atol=1e-3)
        np.testing.assert_allclose(shown.boxes.boxes[0, 0], [0.2, 0.4, 0.3, 0.9], atol=1e-6)
        assert shown.boxes.time_s[0] == 0.5
        before, after = (dict(read_frames(path))[index] for path, index in ((plain.video, 25), (shown.video, 30)))
        assert np.abs(np.roll(before, -WIDTH // 4, axis=1).astype(int) - after).mean() < 6
        assert next(read_frames(shown.video))[1].max() < 40  # the video has not started
    write_clip_player(tmp_path / "p.html", clip)
    data = _data((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert data["boxes"]["per"] == 1 and data["media"]["video"]
    write_clip_overlay(tmp_path / "o.mp4", replace(clip, description=about | {"duration_s": 1.0}))
    assert (tmp_path / "o.mp4").stat().st_size > 1000


def test_overlay_without_video_or_reference(tmp_path):
    reference = make_reference()
    write_overlay(
        tmp_path / "bare.mp4", estimated=reference, classes=CLASSES, duration_s=0.2, camera=None, progress=False
    )
    with av.open(str(tmp_path / "bare.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


def test_camera_of_a_perspective_video_is_kept(clip):
    camera = Perspective(640, 360, fov_deg=90.0, yaw_deg=10.0)
    page = player_page(
        candidates=clip.candidates, thresholds=0.3, unification_deg=15, classes=CLASSES, title="", camera=camera
    )
    assert _data(page)["camera"] == {
        "kind": "perspective",
        "width": 640,
        "height": 360,
        "fov_deg": 90.0,
        "yaw_deg": 10.0,
    }


def test_class_colours_differ():
    for dark in (False, True):
        colours = class_colours(40, dark=dark)
        assert len(set(colours)) == 40 and all(re.fullmatch("#[0-9A-Fa-f]{6}", colour) for colour in colours)
