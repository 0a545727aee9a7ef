"""Data that cannot be written to: products go into a cache keyed by content, lists stay in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import object_detection
import resize_video
import seld
from dataset import __main__ as dataset_main
from dataset.layouts import DataRoot
from dataset.lists import MadeList, list_file, read_list
from dataset.recordings import Boxes, recordings_from_list
from detection.videos import source_video
from object_detection import ensure_boxes
from tests.checkpoints import untrained
from tests.test_vision_detect import FREE, yellow_video
from tests.tiny import tiny_root, tiny_video
from util import cache, text
from util.boxes import box_file, box_path
from util.cli import run_main
from util.runs import checkpoints_of


def listing(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    text._said.clear()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "users_cache"))
    yield tmp_path / "users_cache" / "products"
    cache.use(None)


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A data root that counts as one that cannot be written: tests may run as somebody who may write everywhere."""
    root = tiny_root(tmp_path / "data", video=True)
    tiny_video(next((root / "video_dev" / "dev-test-tiny").iterdir()), 3.5)
    really = cache.writable

    def writable(folder: Path) -> bool:
        return root not in [Path(folder), *Path(folder).parents] and really(folder)

    monkeypatch.setattr(cache, "writable", writable)
    return root


@pytest.mark.slow
def test_every_command_leaves_the_data_as_they_are(read_only, own_cache, tmp_path, caplog):
    before = listing(read_only)
    runs = tmp_path / "runs"
    flags = ["--data-root", str(read_only), "--device", "cpu", "-b", "2"]
    assert run_main(resize_video.main, ["--data-root", str(read_only), "--quiet"]) == 0
    assert run_main(object_detection.main, ["--data-root", str(read_only), "--detector", FREE, "--quiet"]) == 0
    made = sorted(path.name.split(".", 1)[1] for path in own_cache.iterdir())
    # two of the three videos are equal
    assert made == ["360x180.mp4", "360x180.mp4", "boxes-free.npz", "boxes-free.npz"]
    times = listing(own_cache)
    train = ["-train", "-val", "--detector", FREE, "-i", "1", "-s", "1", "-m", str(runs), "--precision", "32"]
    assert run_main(seld.main, [*train, *flags]) == 0
    (run,) = runs.iterdir()
    assert run_main(seld.main, ["-eval", "-em", str(checkpoints_of(run)[0]), *flags]) == 0
    assert run_main(dataset_main.main, ["check", str(read_only), "--detector", FREE, "--quiet"]) in (0, 1)
    assert listing(read_only) == before and listing(own_cache) == times  # nothing was made twice
    assert sum("lists of its recordings are made anew" in record.message for record in caplog.records) == 1


def test_where_products_go_is_said_once(read_only, own_cache, caplog):
    ensure_boxes(sorted((read_only / "video_dev").rglob("*.mp4")), FREE, progress=False)
    assert [record.message for record in caplog.records if "goes to" in record.message] == [
        f"{read_only / 'video_dev' / 'dev-test-tiny'}: cannot be written; what is made of its files goes to "
        f"{own_cache} (or --cache DIR)"
    ]


def test_lists_of_a_root_that_cannot_be_written(read_only, tmp_path):
    root = DataRoot(read_only)
    made = list_file("dcase2023t3_foa_devtrain.txt", [root])
    assert isinstance(made, MadeList) and made.stem == "dcase2023t3_foa_devtrain"
    assert read_list(made, [root]) == [path for path in root.audio_files() if "train" in str(path)]
    assert len(recordings_from_list(made, [root], need_labels=True, need_video=True)) == 2


def test_a_moved_video_is_known_and_a_changed_one_is_not(tmp_path, own_cache):
    cache.use(tmp_path / "chosen")
    video = yellow_video(tmp_path / "a" / "clip.mp4", 6)
    (path,) = ensure_boxes([video], FREE, progress=False)
    assert path.parent == tmp_path / "chosen" and not box_path(video, FREE).exists() and not own_cache.exists()
    written = path.stat().st_mtime_ns
    moved = tmp_path / "b" / "other name.mp4"
    moved.parent.mkdir()
    shutil.move(video, moved)
    assert ensure_boxes([moved], FREE, progress=False) == [path] and path.stat().st_mtime_ns == written
    yellow_video(moved, 7)
    (other,) = ensure_boxes([moved], FREE, progress=False)
    assert other != path and box_file(moved, FREE) == other


def test_boxes_beside_the_data_are_used_and_new_ones_go_to_the_folder_of_the_flag(tmp_path):
    video = yellow_video(tmp_path / "clip.mp4", 6)
    (beside,) = ensure_boxes([video], FREE, progress=False)
    assert beside == box_path(video, FREE)
    (tmp_path / "chosen").mkdir()
    cache.use(tmp_path / "chosen")
    assert ensure_boxes([video], FREE, progress=False) == [beside]
    (other,) = ensure_boxes([video], FREE, rate_hz="native", progress=False)
    assert other.parent == tmp_path / "chosen" and box_file(video, FREE) == other
    cache.use(None)
    assert box_file(video, FREE) == beside


def test_the_small_copy_in_the_cache_is_what_is_decoded(read_only, own_cache):
    video = sorted((read_only / "video_dev").rglob("*.mp4"))[0]
    assert source_video(video) == video
    assert run_main(resize_video.main, ["--data-root", str(read_only), "--quiet"]) == 0
    assert source_video(video).parent == own_cache
    tiny_video(video, 1.0)  # another content: no copy of it
    assert source_video(video) == video


def test_training_reads_boxes_of_the_cache(read_only, tmp_path):
    root = DataRoot(read_only)
    recordings = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]), [root])
    ensure_boxes([recording.video for recording in recordings], FREE, progress=False)
    assert Boxes(FREE)(recordings[0], [0.0]).shape == (1, 6, 4)
    assert Boxes(FREE, source="other")(recordings[0], [0.0]).shape == (1, 6, 4)


def test_runs_that_cannot_be_made_say_which_flag_helps(tmp_path, capsys):
    root = tiny_root(tmp_path / "data")
    (root / "model_monitor").write_text("in the way")
    command = ["-train", "--no-video", "--data-root", str(root), "-i", "1", "-s", "1", "-b", "1", "--device", "cpu"]
    assert run_main(seld.main, command) == 2
    assert "-m DIR: elsewhere" in capsys.readouterr().err.splitlines()[-1]


def test_keys_of_large_files_tell_pieces_apart(tmp_path):
    content = bytearray(3 << 20)
    (tmp_path / "a").write_bytes(content)
    content[-1] = 1
    (tmp_path / "b").write_bytes(content)
    (tmp_path / "c").write_bytes(content[:-1])
    assert len({cache.content_key(tmp_path / name) for name in "abc"}) == 3
    assert cache.cached(tmp_path / "nothing", "x.npz") is None


def test_inference_takes_boxes_of_the_cache(read_only, own_cache, tmp_path, monkeypatch):
    checkpoint = untrained(tmp_path / "av.pth", visual=True)
    video = sorted((read_only / "video_dev").rglob("*.mp4"))[0]
    ensure_boxes([video], "builtin", progress=False)
    sound = next((read_only / "foa_dev").rglob(f"{video.stem}.wav"))
    out = tmp_path / "out"
    command = ["-infer", str(sound), str(video), "-em", str(checkpoint), "--player", "never", "--out", str(out)]
    assert run_main(seld.main, command) == 0
    assert not list(out.glob("*.npz"))  # none were made anew
