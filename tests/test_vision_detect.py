"""Videos -> box files: time grids, caching, restarting, broken videos, the command line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import object_detection
from detection.detector import Detector
from detection.videos import detect_video, detect_videos, frames_on_grid, source_video
from object_detection import ensure_boxes
from tests.test_video import NTSC, cut_short, sound_only
from util import cache
from util.boxes import box_path, read_boxes
from util.cli import run_main
from util.errors import InputError
from util.video import VideoWriter

ONNX = Path(__file__).parent / "onnx"
FREE, FIXED = str(ONNX / "free.onnx"), str(ONNX / "fixed.onnx")  # a cell is a person where the picture is yellow


def yellow_video(path: Path, count: int = 40, width: int = 256, height: int = 128, fps=NTSC) -> Path:
    """A yellow square of a quarter of the picture's height that moves right by 1/64 of the width each frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width, height, fps, crf=5) as writer:
        for index in range(count):
            frame = np.full((height, width, 3), 20, np.uint8)
            left = (index * width) // 64
            frame[height // 4 : height // 2, left : left + height // 4] = (0, 255, 255)
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return yellow_video(tmp_path_factory.mktemp("detect") / "clip.mp4")


def detect(video: Path, model: str = FREE, rate_hz="native", workers: int = 2, batch: int | None = None):
    with ThreadPoolExecutor(workers) as pool:
        return detect_video(video, Detector(model), rate_hz, pool=pool, workers=workers, batch=batch)


def test_boxes_follow_what_moves_in_order_of_time(clip):
    track = detect(clip)
    assert track.boxes.shape == (40, 6, 4) and track.end_s == pytest.approx(40 * 1001 / 30000)
    np.testing.assert_allclose(track.time_s, np.arange(40) * 1001 / 30000, atol=1e-9)
    best = track.boxes[:, 0]  # the cell that is most yellow lies on the square
    centre = (best[:, 0] + best[:, 2]) / 2
    assert np.abs(centre - (np.arange(40) / 64 + 1 / 16)).max() < 1 / 12
    assert (np.diff(track.score, axis=1) <= 0).all()


def test_every_arrangement_gives_the_same_boxes(clip):
    wanted = detect(clip, workers=1, batch=1)
    for model, workers, batch in ((FREE, 2, 4), (FREE, 3, 7), (FIXED, 2, None), (FIXED, 1, None)):
        track = detect(clip, model, workers=workers, batch=batch)
        np.testing.assert_allclose(track.boxes, wanted.boxes, atol=1e-4)
        np.testing.assert_allclose(track.score, wanted.score, atol=1e-4)


def test_the_grid_takes_the_frame_of_the_reference(clip):
    """floor(fps * t) of each grid time."""
    native, grid = detect(clip), detect(clip, rate_hz=10.0)
    assert len(grid.time_s) == 14 and grid.time_s[-1] == 1.3
    for row, time_s in enumerate(grid.time_s):
        np.testing.assert_array_equal(grid.boxes[row], native.boxes[int(NTSC * Fraction(row, 10))])
        assert time_s == row / 10
    fast = detect(clip, rate_hz=100.0)  # more grid times than frames: frames are repeated
    assert len(fast.time_s) == 134
    np.testing.assert_array_equal(fast.boxes[[0, 3, 4, 10]], native.boxes[[0, 0, 1, 2]])


def test_frames_between_grid_times_are_not_even_converted():
    frames = [(index, index / 30, f"frame{index}") for index in range(31)]
    chosen = list(frames_on_grid(iter(frames), 10.0, 1 / 30))
    assert [frame for frame, _ in chosen] == [f"frame{index}" for index in range(0, 31, 3)]
    assert [times for _, times in chosen] == [[index / 10] for index in range(11)]
    gap = [(0, 0.0, "a"), (1, 0.5, "b")]  # a frame that stands for half a second
    assert list(frames_on_grid(iter(gap), 10.0, 0.1)) == [("a", [0.0, 0.1, 0.2, 0.3, 0.4]), ("b", [0.5])]
    assert list(frames_on_grid(iter([]), 10.0, 0.1)) == []


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(60), Fraction(10)])
def test_other_frame_rates(tmp_path, fps):
    track = detect(yellow_video(tmp_path / "a.mp4", count=30, fps=fps), rate_hz=10.0)
    np.testing.assert_array_equal(track.time_s, np.arange(int(np.ceil(300 / fps))) / 10)


def test_boxes_are_fractions_whatever_the_size(tmp_path, clip):
    """Half the size, and 1920x1080 shrunk to a width of 360, which is 202 high (the reference divides by 180)."""
    wanted = detect(clip)
    for width, height in ((128, 64), (360, 180)):
        track = detect(yellow_video(tmp_path / f"{width}.mp4", width=width, height=height))
        shift = np.abs(track.boxes[:, 0] - wanted.boxes[:, 0])  # of all tied cells on the square one is the best
        assert shift[:, 0::2].max() < 0.07 and shift[:, 1::2].max() < 0.13
    odd = detect(yellow_video(tmp_path / "odd.mp4", width=360, height=202, count=5))
    np.testing.assert_allclose(odd.boxes[:, 0, 3] - odd.boxes[:, 0, 1], 8 / 64, atol=1e-5)  # a cell of 8 of 64 rows
    assert odd.boxes[:, 0, 1].min() >= 0.24 and odd.boxes[:, 0, 3].max() <= 0.51


def test_a_box_file_lies_beside_each_video_and_current_ones_are_kept(tmp_path, clip):
    videos = [Path(shutil.copy(clip, tmp_path / f"{name}.mp4")) for name in "ab"]
    paths = ensure_boxes(videos, FREE, progress=False)
    assert paths == [tmp_path / "a.boxes-free.npz", tmp_path / "b.boxes-free.npz"]
    track = read_boxes(paths[0], detector=FREE)
    assert track.meta["rate_hz"] == 10.0 and len(track.time_s) == 14 and track.meta["fps"] == "30000/1001"
    assert len(track.meta["model_sha256"]) == len(track.meta["video_sha256"]) == 64
    stamps = [path.stat().st_mtime_ns for path in paths]
    os.utime(videos[0])  # touched, but the same bytes
    paths[1].unlink()  # as if interrupted: only the second one is done again
    assert ensure_boxes(videos, FREE, progress=False) == paths
    assert paths[0].stat().st_mtime_ns == stamps[0] and paths[1].is_file()


def test_boxes_are_made_anew_when_the_video_the_model_or_the_rate_changes(tmp_path, clip):
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    (path,) = ensure_boxes([video], FREE, progress=False)
    ensure_boxes([video], FREE, rate_hz="native", progress=False)
    assert len(read_boxes(path).time_s) == 40
    yellow_video(video, count=20)
    ensure_boxes([video], FREE, rate_hz="native", progress=False)
    assert len(read_boxes(path).time_s) == 20
    other = tmp_path / "free.onnx"  # same name, another network
    shutil.copy(ONNX / "decoded.onnx", other)
    ensure_boxes([video], str(other), rate_hz="native", progress=False)
    assert read_boxes(path).meta["model_sha256"] == Detector(str(other)).sha256


def test_a_cache_written_by_another_detector_is_replaced(tmp_path, clip):
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    (path,) = ensure_boxes([video], FIXED, progress=False)
    stolen = box_path(video, FREE)
    path.rename(stolen)
    with pytest.raises(InputError, match="holds boxes of the detector 'fixed'"):
        read_boxes(stolen, detector=FREE)
    assert ensure_boxes([video], FREE, progress=False) == [stolen]
    assert read_boxes(stolen, detector=FREE).meta["detector"] == "free"


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_damaged_caches_are_replaced(tmp_path, clip, content):
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    box_path(video, FREE).write_bytes(content)
    (path,) = ensure_boxes([video], FREE, progress=False)
    assert len(read_boxes(path).time_s) == 14


def test_the_resized_copy_is_decoded_where_there_is_one(tmp_path, clip):
    large = tmp_path / "video_dev" / "dev-train" / "a.mp4"
    large.parent.mkdir(parents=True)
    shutil.copy(clip, large)
    assert source_video(large) == large and source_video(clip) == clip
    small = yellow_video(tmp_path / "video_360x180_dev" / "dev-train" / "a.mp4", width=128, height=64)
    assert source_video(large) == small and source_video(small) == small
    (path,) = ensure_boxes([large], FREE, progress=False)
    assert path.parent == large.parent
    assert (
        read_boxes(path).meta["video"] == "video_360x180_dev/dev-train/a.mp4" and read_boxes(path).meta["width"] == 128
    )


def test_a_copy_older_than_its_source_is_not_decoded(tmp_path, clip, caplog):
    small = yellow_video(tmp_path / "video_360x180_dev" / "a.mp4", width=128, height=64)
    large = tmp_path / "video_dev" / "a.mp4"
    large.parent.mkdir()
    shutil.copy(clip, large)
    os.utime(small, ns=(0, large.stat().st_mtime_ns))
    assert source_video(large) == source_video(small) == small and not caplog.records
    os.utime(small, ns=(0, large.stat().st_mtime_ns - 1))
    assert source_video(large) == source_video(small) == large
    assert object_detection.main(["--data-root", str(tmp_path), "--detector", FREE, "--quiet"]) == 0
    assert read_boxes(box_path(small, FREE)).meta["width"] == 256  # where training looks, of the video as it is
    assert [record.message.split(":")[0] for record in caplog.records] == [str(small)]


def test_what_a_killed_run_left_is_swept(tmp_path, clip):
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".a.boxes-free.partial-{gone.pid}.npz").write_bytes(b"half")
    ensure_boxes([video], FREE, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.boxes-free.npz", "a.mp4"]


def test_sound_without_pictures_is_told_in_one_line(tmp_path, capsys):
    video = sound_only(tmp_path / "a.mp4")
    assert run_main(object_detection.main, [str(video), "--detector", FREE, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("a.mp4: has no video stream\n")


@pytest.mark.parametrize("content", ["[1, 2]", '"text"', '{"detector": 3}', '{"detector": ["yolox_tiny"]}'])
def test_a_dataset_json_that_names_no_detector(tmp_path, clip, capsys, content):
    (tmp_path / "video_dev").mkdir()
    shutil.copy(clip, tmp_path / "video_dev" / "a.mp4")
    (tmp_path / "dataset.json").write_text(content)
    assert run_main(object_detection.main, ["--data-root", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'dataset.json'}: ") and error.count("\n") == 1


def test_a_video_that_breaks_off_does_not_stop_the_others(tmp_path, clip):
    good = Path(shutil.copy(clip, tmp_path / "good.mp4"))
    broken = cut_short(good, 0.5)
    with pytest.raises(InputError, match=r"cut_good.mp4: frame \d+: breaks off"):
        ensure_boxes([broken, good], FREE, progress=False)
    assert box_path(good, FREE).is_file() and not box_path(broken, FREE).exists()
    (tmp_path / "sound.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"\(and 1 more videos that cannot be read\)"):
        ensure_boxes([broken, good, tmp_path / "sound.mp4"], FREE, progress=False)


def test_command_line_on_a_data_root(tmp_path, clip, capsys):
    for name in ("video_dev/dev-train/a", "video_dev/dev-test/b", "video_360x180_dev/dev-test/b"):
        path = tmp_path / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
    (tmp_path / "dataset.json").write_text(json.dumps({"detector": FREE}))
    assert object_detection.main(["--data-root", str(tmp_path), "--box-rate", "native"]) == 0
    printed = capsys.readouterr()
    assert "2 of 2 videos have boxes of free" in printed.out
    assert "detecting people: 2 videos, 80 frames, free: about" in printed.err
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npz"))
    assert made == ["video_360x180_dev/dev-test/b.boxes-free.npz", "video_dev/dev-train/a.boxes-free.npz"]
    assert object_detection.main(["--data-root", str(tmp_path), "--detector", FIXED, "--quiet"]) == 0  # the flag wins
    assert capsys.readouterr().err == ""
    assert len(list(tmp_path.rglob("*.boxes-fixed.npz"))) == 2


def test_command_line_reports_broken_videos_and_goes_on(tmp_path, clip, capsys):
    good = Path(shutil.copy(clip, tmp_path / "good.mp4"))
    broken = cut_short(good, 0.6)
    assert object_detection.main([str(broken), str(good), "--detector", FREE, "--quiet"]) == 2
    printed = capsys.readouterr()
    assert "1 of 2 videos" in printed.out
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1 and "cut_good.mp4: frame" in printed.err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--data-root", "nowhere"], "nowhere: no such data root"),
        (["--data-root", "tests"], "tests: has no mp4"),
        (["a.mp4", "--box-rate", "fast"], '--box-rate fast: give boxes per second (10), or "native"'),
        (["a.mp4", "--box-rate", "-1"], "--box-rate -1"),
        (["a.mp4", "--detector", "missing.onnx"], "missing.onnx: no such file"),
        (["a.mp4", "--detector", "yolo9"], "no detector 'yolo9'"),
        (["a.mp4", "--detector", str(ONNX / "identity.onnx")], "is no YOLOX"),
        (["a.mp4", "--detector", FREE, "--device", "cuda"], "has no CUDA"),
        (["a.mp4", "--detector", FREE, "--workers", "0"], "--workers"),
        (["missing.mp4", "--detector", FREE, "--quiet"], "missing.mp4: no such file"),
    ],
)
def test_bad_flags_end_in_one_line(arguments, message, capsys):
    import onnxruntime

    if "--device" in arguments and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA")
    assert run_main(object_detection.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_the_command_runs_as_users_type_it(tmp_path, clip):
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    command = [sys.executable, "object_detection.py", str(video), "--detector", FREE]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 videos have boxes of free" in done.stdout and "about" in done.stderr


class Counting(Detector):
    """A detector that counts the pictures it is given."""

    pictures = 0

    def detect(self, inputs, *args, **kwargs):
        self.pictures += len(inputs)
        return super().detect(inputs, *args, **kwargs)


@pytest.mark.parametrize("rate_hz", [10.0, 3.0, 50.0])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_looking_only_at_the_times_that_matter_gives_the_boxes_of_the_whole_grid(clip, rate_hz, data):
    """The clip lasts 1.33 s: some times lie behind its end, some behind the second for which boxes stay."""
    times_s = np.array(data.draw(st.lists(st.floats(0, 3), max_size=4)))
    whole = detect(clip, rate_hz=rate_hz)
    with ThreadPoolExecutor(2) as pool:
        part = detect_video(clip, Detector(FREE), rate_hz, pool=pool, workers=2, times_s=times_s)
        assert part.knows(times_s).all()
        np.testing.assert_array_equal(part.at(times_s), whole.at(times_s))
        filled = detect_video(clip, Detector(FREE), rate_hz, pool=pool, workers=2, known=part)
    for name in ("time_s", "boxes", "score", "meta", "end_s", "grid_hz"):
        np.testing.assert_array_equal(getattr(filled, name), getattr(whole, name))


def test_a_box_file_is_filled_as_more_of_it_is_asked_for(tmp_path, clip):
    video = Path(shutil.copy(clip, tmp_path / "a.mp4"))
    detector = Counting(FREE)

    def looked(times_s: list[float] | None) -> int:
        """Pictures that were looked at."""
        before = detector.pictures
        asked = None if times_s is None else [np.array(times_s)]
        paths, broken = detect_videos([video], detector, rate_hz=10.0, progress=False, times_s=asked)
        assert paths == [box_path(video, FREE)] and not broken
        return detector.pictures - before

    assert looked([0.0, 1.2]) == 2
    assert looked([1.2, 0.05]) == 0  # the grid time that counts at 0.05 s is 0 s
    part = read_boxes(box_path(video, FREE))
    assert part.grid_hz == 10.0 and part.time_s.tolist() == [0.0, 1.2]
    with pytest.raises(InputError, match=r"0.5 s: has boxes at the times of an evaluation only; python object_det"):
        part.at(np.array([0.0, 0.5]))
    np.testing.assert_array_equal(part.held().at(0.5), part.at(0.0))
    assert looked([0.5]) == 1
    assert looked(None) == 14 - 3
    assert looked([0.7]) == 0 and looked(None) == 0
    track = read_boxes(box_path(video, FREE))
    np.testing.assert_array_equal(track.boxes, detect(clip, rate_hz=10.0).boxes)
    assert track.grid_hz is None and track.meta["rate_hz"] == 10.0


def test_equal_videos_with_one_file_in_the_cache_are_looked_at_where_each_is(tmp_path, clip):
    videos = [Path(shutil.copy(clip, tmp_path / f"{name}.mp4")) for name in "ab"]
    cache.use(tmp_path / "chosen")
    try:
        paths = ensure_boxes(videos, FREE, progress=False, times_s=[np.array([0.3]), np.array([0.9])])
        assert len(set(paths)) == 1 and read_boxes(paths[0]).time_s.tolist() == pytest.approx([0.3, 0.9])
    finally:
        cache.use(None)


def test_a_detector_goes_to_workers_with_its_file():
    detector = Detector("builtin", progress=False)
    received = pickle.loads(pickle.dumps(detector))
    picture = np.random.default_rng(0).uniform(0, 255, (1, 3, detector.height, detector.width)).astype(np.float32)
    np.testing.assert_array_equal(received.infer(picture), detector.infer(picture))
    assert (received.sha256, received.label, received.settings) == (detector.sha256, "builtin", {})
