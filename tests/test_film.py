"""What a video says of itself is honoured by boxes, copies, player and overlay alike, or refused with the way out."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import resize_video
from detection.at_times import detect_at
from detection.detector import Detector
from detection.videos import frames_on_grid, is_current
from report.media import browser_media
from report.overlay import write_overlay
from tests.films import HEIGHT, WIDTH, box, film, sphere, square, with_boxes
from util.boxes import box_path, write_boxes
from util.errors import InputError
from util.events import EventTable
from util.film_boxes import tracks_of
from util.placement import Placement, placed_track, placed_video
from util.video import decoded_frames, pictures_at, read_frames, video_info

EVEN = [index / 10 for index in range(12)]
UNEVEN = [index / 10 for index in range(8)] + [0.8, 1.3, 1.8, 1.8001, 2.5]  # a rate that changes, a stamp twice


def times(path) -> list[float]:
    return [time_s for _, time_s, _ in decoded_frames(path)]


def first(path) -> np.ndarray:
    return next(read_frames(path))[1]


def shown(picture: np.ndarray, share: float = 1.0) -> tuple[float, float]:
    """Middle of the white square, as fractions."""
    rows, columns = np.nonzero(picture.min(axis=2) > 200)
    return columns.mean() / picture.shape[1], rows.mean() / picture.shape[0]


def page_video(path, tmp_path):
    media = browser_media(audio=None, video=path)
    (tmp_path / "page.mp4").write_bytes(media.content)
    return tmp_path / "page.mp4"


def matrix(a, b, c, d):
    return [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]


STORED = {  # how a picture that is seen as `square` is stored under a display matrix
    (-1, 0, 0, -1): lambda seen: seen[::-1, ::-1],
    (0, 1, -1, 0): lambda seen: np.rot90(seen, 1),
    (0, -1, 1, 0): lambda seen: np.rot90(seen, -1),
    (-1, 0, 0, 1): lambda seen: seen[:, ::-1],
    (1, 0, 0, -1): lambda seen: seen[::-1],
    (0, 1, 1, 0): lambda seen: seen.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda seen: np.rot90(seen, 2).transpose(1, 0, 2),
}


@pytest.mark.parametrize("values", STORED)
def test_a_turned_video_is_seen_upright_everywhere(tmp_path, values):
    seen = film(tmp_path / "seen.mp4", EVEN)
    path = film(
        tmp_path / "in" / "turned.mp4",
        EVEN,
        picture=lambda index: np.ascontiguousarray(STORED[values](square(index))),
        matrix=matrix(*values),
    )
    info = video_info(path)
    assert (info.width, info.height, info.upright) == (WIDTH, HEIGHT, False) and video_info(seen).upright
    expected = shown(first(seen))
    assert shown(first(path)) == pytest.approx(expected, abs=0.02)
    assert np.abs(first(path).astype(int) - first(seen)).mean() < 6
    copy = tmp_path / "out" / "turned.mp4"
    resize_video.resize_video(path, copy, width=192, height=96)
    placed = placed_video(path, Placement(0.0, 0.2), 1.0, tmp_path / "placed.mp4")
    write_overlay(
        tmp_path / "overlay.mp4", estimated=EventTable.make(), classes=["a"], video=path, duration_s=0.3, progress=False
    )
    page = page_video(path, tmp_path)
    for other in (copy, page):
        assert shown(first(other)) == pytest.approx(expected, abs=0.02)
        with av.open(other) as container:
            assert next(container.decode(video=0)).rotation == 0
    assert shown(list(read_frames(placed))[4][1]) == pytest.approx(expected, abs=0.02)
    part = list(read_frames(tmp_path / "overlay.mp4"))[1][1][: 1280 * HEIGHT // WIDTH]
    _, columns = np.nonzero(part[150:, :].min(axis=2) > 220)
    assert columns.mean() / 1280 == pytest.approx(expected[0], abs=0.05)


def test_copies_and_boxes_from_before_are_made_anew(tmp_path):
    """Of turned videos and uneven times: pictures upside down, or in even steps."""
    source = tmp_path / "video_dev" / "a.mp4"
    command = ["--data-root", str(tmp_path), "--quiet"]
    copy = tmp_path / "video_360x180_dev" / "a.mp4"
    for options in ({"times_s": EVEN, "rotation": 180}, {"times_s": UNEVEN}):
        film(source, **options)
        film(copy, EVEN if "rotation" in options else [index / 10 for index in range(len(UNEVEN))],
             picture=lambda _: np.zeros((180, 360, 3), np.uint8))  # fmt: skip
        assert first(copy).max() < 60
        assert resize_video.main(command) == 0
        assert first(copy).max() > 200
        before = copy.stat().st_mtime_ns
        assert resize_video.main(command) == 0 and copy.stat().st_mtime_ns == before
    detector = Detector("builtin")
    for name, rotation in (("turned", 180), ("plain", 0)):
        path = film(tmp_path / f"{name}.mp4", EVEN, rotation=rotation)
        track = detect_at(path, detector, np.array([0.0]), progress=False, key="k")
        write_boxes(box_path(path, "builtin"), track)
        assert is_current(box_path(path, "builtin"), path, detector, "k")
        del track.meta["as_seen"]
        write_boxes(box_path(path, "builtin"), track)
        assert is_current(box_path(path, "builtin"), path, detector, "k") == (rotation == 0)


def test_another_angle_is_refused_with_the_command(tmp_path):
    path = film(tmp_path / "slanted.mp4", EVEN[:3], rotation=30)
    for read in (video_info, times):
        with pytest.raises(InputError, match=r"turned by -?30 degrees.*ffmpeg -noautorotate -i .*slanted\.mp4"):
            read(path)


def test_an_empty_matrix_is_none(tmp_path):
    path = film(tmp_path / "zero.mp4", EVEN[:3], matrix=[0] * 9)  # GoPro's second track has such a one
    assert video_info(path).upright and len(times(path)) == 3


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_pictures_keep_their_own_times(tmp_path, container):
    path = film(tmp_path / "in" / f"uneven.{container}", UNEVEN, bframes=2)
    assert times(path) == pytest.approx(UNEVEN, abs=0.002)
    info = video_info(path)
    assert info.frame_count == len(UNEVEN) and 2.5 < info.duration_s < 3.3
    copy = tmp_path / "copy.mp4"
    resize_video.resize_video(path, copy)
    assert times(copy) == pytest.approx(UNEVEN, abs=0.002)
    assert video_info(copy).frame_count == len(UNEVEN)
    assert video_info(copy).duration_s == pytest.approx(info.duration_s, abs=0.5)
    placed = placed_video(path, Placement(90.0, 0.5), 9.0, tmp_path / "placed.mp4")
    assert times(placed)[-len(UNEVEN) :] == pytest.approx([time_s + 0.5 for time_s in UNEVEN], abs=0.002)
    assert times(placed)[0] == 0
    assert times(page_video(path, tmp_path)) == pytest.approx(UNEVEN, abs=0.002)
    at = [picture.to_ndarray(format="bgr24")[-4, -4, 0] / 10 for picture in pictures_at(path, [0.75, 1.0, 1.5, 9.0])]
    assert np.rint(at).tolist() == [7, 8, 9, 12]


def test_boxes_lie_at_the_times_of_their_pictures(tmp_path):
    path = film(tmp_path / "late.mp4", [0.5 + index / 10 for index in range(10)])
    grid = list(frames_on_grid(decoded_frames(path), 10.0, 0.1))
    assert grid[0] == (None, [0.0, 0.1, 0.2, 0.3, 0.4]) and [when for _, when in grid[1:3]] == [[0.5], [0.6]]
    native = list(frames_on_grid(decoded_frames(path), "native", 0.1))
    assert native[0] == (None, [0.0]) and native[1][1] == [0.5]


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_a_picture_that_starts_late_lies_late_everywhere(tmp_path, container):
    late = [0.5 + index / 10 for index in range(10)]
    path = film(tmp_path / f"late.{container}", late)
    assert video_info(path).start_s == pytest.approx(0.5) and times(path) == pytest.approx(late, abs=0.002)
    copy = tmp_path / "copy.mp4"
    resize_video.resize_video(path, copy)
    assert times(copy) == pytest.approx(late, abs=0.002)
    page = page_video(path, tmp_path)
    assert times(page) == pytest.approx([0.0, *late], abs=0.002) and first(page).max() < 30
    assert next(pictures_at(path, [0.4])) is None
    track = detect_at(path, "builtin", np.array([0.0, 0.3, 0.6]), progress=False)
    assert track.end_s == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("pictures_s", "sound_s", "start_s"), [(0.0, 0.0, 0.0), (0.4, 0.0, 0.4), (0.0, 0.3, -0.3), (0.7, 0.3, 0.4)]
)
def test_the_picture_lies_to_the_sound_of_its_file(tmp_path, pictures_s, sound_s, start_s):
    path = film(
        tmp_path / "both.mp4",
        [pictures_s + index / 10 for index in range(12)],
        sound=np.zeros((1, 24000)),
        sound_s=sound_s,
    )
    found_s = video_info(path).start_s  # a coder that starts late begins with 43 ms of silence of its own
    assert found_s == pytest.approx(start_s, abs=0.045 if sound_s else 0.002)
    assert times(path) == pytest.approx([found_s + index / 10 for index in range(12)], abs=0.002)
    page = page_video(path, tmp_path)
    assert times(page)[0] == 0 and min(times(page)) >= 0
    transport = film(tmp_path / "both.ts", [pictures_s + i / 10 for i in range(12)], container="mpegts")
    assert video_info(transport).start_s == 0  # without sound its time 0 means nothing


def test_an_edit_list_that_cuts_the_beginning_is_obeyed(tmp_path):
    path = film(tmp_path / "cut.mp4", [-0.3 + index / 10 for index in range(10)], bframes=2)
    found = times(path)
    assert found[0] == pytest.approx(0.0, abs=0.002) and found[-1] == pytest.approx(0.6, abs=0.002)


def test_the_default_of_several_tracks_is_used_and_covers_are_not(tmp_path):
    def other(index):
        return np.full((64, 64, 3), 200, np.uint8)

    path = film(tmp_path / "two.mkv", EVEN, picture=other, more=[square])
    with av.open(path) as container:
        assert len(container.streams.video) == 2
    assert video_info(path).width == 64
    content = path.read_bytes()
    entry = content.index(b"\x88\x81") if b"\x88\x81" in content else -1  # FlagDefault of a track
    marked = tmp_path / "marked.mkv"
    with av.open(path) as source, av.open(marked, "w") as out:
        streams = {one.index: out.add_stream_from_template(one) for one in source.streams.video}
        streams[0].disposition, streams[1].disposition = 0, 1
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    assert entry >= -1 and video_info(marked).width == WIDTH and first(marked).shape == (HEIGHT, WIDTH, 3)
    assert first(page_video(marked, tmp_path)).shape == (HEIGHT, WIDTH, 3)


def test_the_spherical_box(tmp_path):
    def made(boxes: bytes):
        return with_boxes(film(tmp_path / "sphere.mp4", EVEN[:4]), boxes)

    assert video_info(made(sphere(b"equi"))).upright
    quarter = struct.pack(">4I", 0, 0, 2**30, 2**30)
    for boxes, words in (
        (sphere(b"cbmp", bytes(8)), r"cube map.*ffmpeg -i .*sphere\.mp4 -vf v360=c3x2:e"),
        (sphere(b"mshp", bytes(8)), "projection mesh.*equirectangular"),
        (sphere(b"equi", quarter), r"part of the sphere.*pad=iw/0\.5:ih/1:ow\*0\.25:oh\*0"),
        (sphere(b"equi", pose=(0, 10, 0)), "tilted.*pitch 10"),
        (box(b"st3d", bytes(4) + b"\1") + sphere(b"equi"), "two views.*top-bottom.*crop=iw:ih/2:0:0"),
        (box(b"st3d", bytes(4) + b"\2"), "two views.*left-right"),
    ):
        path = made(boxes)
        for read in (video_info, times):
            with pytest.raises(InputError, match=words):
                read(path)


def test_the_spherical_box_of_version_1(tmp_path):
    def made(xml: str):
        path = film(tmp_path / "v1.mp4", EVEN[:3])
        uuid = box(b"uuid", bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + xml.encode())
        content = path.read_bytes()
        moov = content.rindex(b"moov") - 4
        trak = content.index(b"trak", moov) - 4
        (length,) = struct.unpack_from(">I", content, trak)
        (whole,) = struct.unpack_from(">I", content, moov)
        content = bytearray(content)
        content[trak + length : trak + length] = uuid
        struct.pack_into(">I", content, trak, length + len(uuid))
        struct.pack_into(">I", content, moov, whole + len(uuid))
        path.write_bytes(content)
        return path

    plain = "<rdf><GSpherical:ProjectionType>{}</GSpherical:ProjectionType>{}</rdf>"
    assert video_info(made(plain.format("equirectangular", ""))).upright
    with pytest.raises(InputError, match="cube map"):
        video_info(made(plain.format("cubemap", "")))
    with pytest.raises(InputError, match="two views"):
        video_info(made(plain.format("equirectangular", "<GSpherical:StereoMode>top-bottom</GSpherical:StereoMode>")))


@pytest.mark.parametrize("yaw_deg", [90, -45, 180])
def test_a_sphere_whose_middle_shows_another_azimuth_is_brought_to_the_front(tmp_path, yaw_deg):
    path = with_boxes(film(tmp_path / "yaw.mp4", EVEN[:3]), sphere(b"equi", pose=(yaw_deg, 0, 0)))
    x, y = shown(square(0))
    found = shown(first(path))
    assert found == pytest.approx(((x - yaw_deg / 360) % 1, y), abs=0.02) and not video_info(path).upright
    assert shown(first(page_video(path, tmp_path))) == pytest.approx(found, abs=0.02)
    # the same as the flag does to a video without the box
    plain = placed_video(film(tmp_path / "plain.mp4", EVEN[:3]), Placement(yaw_deg, 0.0), 1.0, tmp_path / "placed.mp4")
    assert shown(first(plain)) == pytest.approx(found, abs=0.02)


def test_boxes_of_a_placed_video_lie_where_they_did(tmp_path):
    track = detect_at(film(tmp_path / "a.mp4", EVEN), "builtin", np.array([0.0, 1.0]), progress=False)
    assert placed_track(track, Placement(0.0, 0.5)).time_s.tolist() == [0.5, 1.5]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=6)), max_size=8), st.integers(0, 4000))
def test_any_bytes_are_tracks_or_none(tmp_path_factory, changes, end):
    path = tmp_path_factory.getbasetemp() / "fuzzed.mp4"
    good = tmp_path_factory.getbasetemp() / "good_film.mp4"
    if not good.exists():
        with_boxes(film(good, EVEN[:2], sound=np.zeros((1, 2048))), sphere(b"equi"))
    content = bytearray(good.read_bytes())
    moov = content.rindex(b"moov") - 4
    for place, other in changes:
        content[moov + place : moov + place + len(other)] = other
    path.write_bytes(content[: moov + end])
    for track in tracks_of(path):
        assert isinstance(track.kind, bytes)


def test_audio_files_have_no_tracks(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 24000)
    assert tracks_of(tmp_path / "a.wav") == [] and tracks_of(tmp_path / "none.mp4") == []
