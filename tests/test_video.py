"""Video files: reading, writing, resizing; broken ones."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import resize_video
from util.cli import run_main
from util.errors import InputError
from util.video import VideoWriter, decoded_frames, fitted_size, read_frames, video_info

NTSC = Fraction(30000, 1001)


def picture(index: int, width: int = 96, height: int = 48) -> np.ndarray:
    """A white square that moves by two pixels a frame over noise (so that the frames need some bytes)."""
    frame = np.random.default_rng(7).integers(0, 90, (height, width, 3)).astype(np.uint8)
    frame = np.roll(frame, index, axis=0)
    frame[8:24, 2 * index : 2 * index + 16] = 255
    return frame


def make_video(path: Path, count: int = 30, width: int = 96, height: int = 48, fps=NTSC, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width, height, fps, crf=12, **options) as writer:
        for index in range(count):
            writer.write(picture(index, width, height))
    return path


def cut_short(path: Path, share: float) -> Path:
    """The same file, its last part missing."""
    whole = path.read_bytes()
    out = path.with_name(f"cut_{path.name}")
    out.write_bytes(whole[: int(share * len(whole))])
    return out


def sound_only(path: Path) -> Path:
    """An mp4 that holds a sound stream and no pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=24000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 24000, 0, Fraction(1, 24000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4")


def test_facts_and_frames_of_a_video(clip):
    info = video_info(clip)
    assert (info.width, info.height, info.fps, info.frame_count) == (96, 48, NTSC, 30)
    assert info.duration_s == pytest.approx(1.001)
    frames = list(read_frames(clip))
    assert [index for index, _ in frames] == list(range(30))
    assert frames[5][1].shape == (48, 96, 3) and frames[5][1].dtype == np.uint8
    for index in (0, 11, 29):
        assert frames[index][1][12:20, 2 * index + 3 : 2 * index + 13].mean() > 240
    assert [time_s for _, time_s, _ in decoded_frames(clip)] == [float(n / NTSC) for n in range(30)]


def test_frames_in_another_size(clip):
    assert next(read_frames(clip, width=48))[1].shape == (24, 48, 3)
    assert next(read_frames(clip, width=40, height=40))[1].shape == (40, 40, 3)


def test_sizes_keep_the_aspect_ratio():
    assert fitted_size(1920, 960, 360, None) == (360, 180)
    assert fitted_size(1920, 1080, 360, None, multiple=2) == (360, 202)
    assert fitted_size(1920, 960, None, 180) == (360, 180)
    assert fitted_size(7, 5, None, None) == (7, 5)


def test_colours_survive(tmp_path):
    blue = np.full((32, 32, 3), (200, 60, 20), np.uint8)
    with VideoWriter(tmp_path / "blue.mp4", 32, 32, 10, crf=5) as writer:
        writer.write(blue)
    np.testing.assert_allclose(next(read_frames(tmp_path / "blue.mp4"))[1].mean((0, 1)), (200, 60, 20), atol=4)


@pytest.mark.parametrize("channels, kept", [(1, 1), (2, 2), (4, 1)])
def test_audio_beside_the_pictures(tmp_path, channels, kept):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal((24000, channels)), 24000)
    make_video(tmp_path / "a.mp4", audio=tmp_path / "a.wav")
    with av.open(tmp_path / "a.mp4") as container:
        assert container.streams.audio[0].codec_context.channels == kept
        heard = sum(frame.samples for frame in container.decode(audio=0))
    assert 24000 <= heard < 24000 + 4096
    assert len(list(read_frames(tmp_path / "a.mp4"))) == 30


def test_a_video_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", 96, 48, 10) as writer:
        writer.write(picture(0))
        raise RuntimeError
    with pytest.raises(InputError, match="frame 0: frame is 48x96, the video 96x48"):
        with VideoWriter(tmp_path / "a.mp4", 96, 48, 10) as writer:
            writer.write(np.zeros((96, 48, 3), np.uint8))
    with pytest.raises(InputError, match="even"):
        VideoWriter(tmp_path / "a.mp4", 95, 48, 10)
    with pytest.raises(InputError, match="audio"):
        VideoWriter(tmp_path / "a.mp4", 96, 48, 10, audio=tmp_path / "none.wav").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_broken_videos_name_the_file_and_the_frame(clip, tmp_path):
    for share in (0.4, 0.9):
        short = cut_short(clip, share)
        with pytest.raises(InputError, match=r"cut_clip.mp4: frame \d+: breaks off") as caught:
            list(read_frames(short))
        assert 0 < int(caught.value.place.split()[1]) < 30
    with pytest.raises(InputError, match="cannot be opened as a video"):
        video_info(cut_short(clip, 0.001))
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="0 bytes"):
        video_info(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be opened as a video"):
        video_info(tmp_path / "text.mp4")
    with pytest.raises(InputError, match="no such file"):
        video_info(tmp_path / "missing.mp4")
    soundfile.write(tmp_path / "sound.wav", np.zeros(100), 24000)
    with pytest.raises(InputError, match="no video stream"):
        list(read_frames(tmp_path / "sound.wav"))


def test_damage_in_the_middle_is_found(clip, tmp_path):
    whole = bytearray(clip.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4000] = bytes(4000)
    (tmp_path / "holes.mp4").write_bytes(whole)
    with pytest.raises(InputError, match=r"holes.mp4: frame \d+: breaks off"):
        list(read_frames(tmp_path / "holes.mp4"))


WRITE = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from util.video import VideoWriter

rng = np.random.default_rng(0)
ground = np.kron(rng.integers(40, 200, (30, 60, 3)), np.ones((16, 16, 1))).astype(np.uint8)
with VideoWriter(Path(sys.argv[1]), 960, 480, Fraction(10), threads=1) as writer:
    for index in range(24):
        frame = ground.copy()
        frame[100:300, 12 * index : 12 * index + 150] = rng.integers(0, 255, (200, 150, 3))
        writer.write(frame)
"""


def test_bytes_do_not_depend_on_what_memory_held_before(tmp_path):
    """glibc fills memory that is handed out with other bytes; elsewhere this is writing twice."""
    made = []
    for fill in ("1", "170"):
        path = tmp_path / f"{fill}.mp4"
        environment = {**os.environ, "MALLOC_PERTURB_": fill, "PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, env=environment)
        made.append(path.read_bytes())
    assert made[0] == made[1]


def test_resizing_keeps_frame_rate_and_count(tmp_path):
    large = make_video(tmp_path / "video_dev" / "dev-train" / "one.mp4", count=20, width=160, height=80)
    make_video(tmp_path / "video_dev" / "two.mp4", count=15, width=128, height=96, fps=10)
    assert resize_video.main(["--data-root", str(tmp_path), "--quiet"]) == 0
    made = video_info(tmp_path / "video_360x180_dev" / "dev-train" / "one.mp4")
    assert (made.width, made.height, made.fps, made.frame_count) == (360, 180, NTSC, 20)
    made = video_info(tmp_path / "video_360x180_dev" / "two.mp4")
    assert (made.width, made.height, made.fps, made.frame_count) == (360, 180, 10, 15)
    for (_, small), (_, wide) in zip(
        read_frames(tmp_path / "video_360x180_dev" / "dev-train" / "one.mp4", width=160), read_frames(large)
    ):
        assert np.abs(small.astype(int) - wide).mean() < 12


def test_finished_files_are_skipped_and_broken_ones_do_not_stop_the_others(tmp_path, capsys):
    good = make_video(tmp_path / "in" / "good.mp4")
    cut_short(good, 0.5)
    command = ["--source", str(tmp_path / "in"), "--target", str(tmp_path / "out"), "--width", "48", "--quiet"]
    assert resize_video.main(command) == 2
    printed = capsys.readouterr()
    assert "1 videos resized" in printed.out and "1 failed" in printed.out
    assert printed.err.startswith("error: ") and "cut_good.mp4: frame" in printed.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.mp4"]
    assert video_info(tmp_path / "out" / "good.mp4").height == 24
    before = (tmp_path / "out" / "good.mp4").stat().st_mtime_ns
    assert resize_video.main(command) == 2
    assert "0 videos resized" in capsys.readouterr().out
    assert (tmp_path / "out" / "good.mp4").stat().st_mtime_ns == before
    assert resize_video.main([*command[:-2], "24", "--quiet"]) == 2  # another size: made anew
    assert video_info(tmp_path / "out" / "good.mp4").width == 24


def test_a_copy_older_than_its_source_is_made_anew(tmp_path, capsys):
    large = make_video(tmp_path / "video_dev" / "a.mp4", count=5)
    command = ["--data-root", str(tmp_path), "--quiet"]
    assert resize_video.main(command) == 0
    with VideoWriter(large, 96, 48, NTSC) as writer:  # another video of the same length
        for _ in range(5):
            writer.write(np.full((48, 96, 3), 255, np.uint8))
    copy = tmp_path / "video_360x180_dev" / "a.mp4"
    os.utime(copy, ns=(0, large.stat().st_mtime_ns - 1))
    assert resize_video.main(command) == 0 and "1 videos resized" in capsys.readouterr().out
    assert next(read_frames(copy))[1].mean() > 250
    assert resize_video.main(command) == 0 and "0 videos resized" in capsys.readouterr().out


def test_the_default_folder_is_named_after_the_size(tmp_path, capsys):
    make_video(tmp_path / "video_dev" / "a.mp4", count=2)
    for flags, folder in (
        (["--width", "360"], "video_360x180_dev"),
        (["--height", "24"], "video_48x24_dev"),
        (["--width", "64", "--height", "64"], "video_64x64_dev"),
    ):
        assert resize_video.main(["--data-root", str(tmp_path), "--quiet", *flags]) == 0
        made = video_info(tmp_path / folder / "a.mp4")
        assert folder == f"video_{made.width}x{made.height}_dev"
    make_video(tmp_path / "video_dev" / "b.mp4", count=2, width=64, height=64)
    assert run_main(resize_video.main, ["--data-root", str(tmp_path), "--quiet", "--width", "40"]) == 2
    assert "several sizes (40x20, 40x40): give --target" in capsys.readouterr().err


def test_sound_without_pictures_is_told_in_one_line(tmp_path, capsys):
    sound_only(tmp_path / "video_dev" / "a.mp4")
    assert run_main(resize_video.main, ["--data-root", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("a.mp4: has no video stream\n")


def test_what_a_killed_run_left_is_swept(tmp_path):
    make_video(tmp_path / "video_dev" / "a.mp4", count=2)
    target = tmp_path / "video_360x180_dev"
    target.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    (target / f".a.partial-{gone.pid}.mp4").write_bytes(b"half")
    (target / f".a.partial-{os.getppid()}.mp4").write_bytes(b"of a run that goes on")
    (target / f".other.partial-{gone.pid}.mp4").write_bytes(b"not ours")
    assert resize_video.main(["--data-root", str(tmp_path), "--quiet"]) == 0
    assert sorted(path.name for path in target.iterdir()) == sorted(
        [f".a.partial-{os.getppid()}.mp4", f".other.partial-{gone.pid}.mp4", "a.mp4"]
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--data-root", "nowhere"], "nowhere/video_dev: no such folder"),
        (["--width", "361"], "--width 361: must be even"),
        (["--data-root", "nowhere", "--width", "480"], "nowhere/video_dev: no such folder"),
        (["--jobs", "0"], "--workers"),
        (["--source", "."], "--source needs --target"),
    ],
)
def test_bad_flags_end_in_one_line(arguments, message, capsys):
    assert run_main(resize_video.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
