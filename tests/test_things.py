"""Other things than people: what detectors find of them, and the files that keep them."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import object_detection
from detection.at_times import detect_at
from detection.detector import Detector
from detection.videos import detect_videos, is_current
from detection.yolox import NOTHING, Detections, look_of, other_things, person_boxes
from object_detection import ensure_boxes
from tests.shared import SHARED, needs_shared
from tests.test_boxes import track
from tests.test_vision_yolox import ONNX
from util.boxes import BoxTrack, box_path, read_boxes, read_meta, write_boxes
from util.coco import COCO_CLASSES, coco_number
from util.errors import InputError
from util.things import NO_THINGS, Things
from util.video import VideoWriter

TV = str(ONNX / "person_and_tv.onnx")  # yellow is a person, magenta a television
PERSON_ONLY = str(ONNX / "free.onnx")  # the same person
YELLOW, MAGENTA = (0, 255, 255), (255, 0, 255)


def colours(path: Path, count: int = 20) -> Path:
    """A yellow square that moves, and a magenta one that stands, ten pictures a second."""
    with VideoWriter(path, 256, 128, Fraction(10), crf=5) as writer:
        for index in range(count):
            frame = np.full((128, 256, 3), 20, np.uint8)
            frame[32:64, 4 * index : 4 * index + 32] = YELLOW
            frame[64:96, 192:224] = MAGENTA
            writer.write(frame)
    return path


def before_things(path: Path, times: slice = slice(None), grid_hz: float | None = None) -> None:
    """Make a box file what it was before things were kept."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("thing_")}
    made = read_boxes(path)
    meta = {name: value for name, value in made.meta.items() if name != "things"}
    if grid_hz is not None:
        meta |= {"rate_hz": f"{grid_hz:g}, in part"}
    write_boxes(path, BoxTrack(made.time_s[times], made.boxes[times], made.score[times], made.end_s, meta, grid_hz))
    with np.load(path) as file:
        assert file.files == list(arrays)  # the same arrays, and no others


def a_things(rng: np.random.Generator, times: int) -> Things:
    looks = []
    for count in rng.integers(0, 9, times):
        rows = np.column_stack(
            [rng.uniform(-0.1, 1.1, (count, 4)), np.sort(rng.uniform(0.1, 1, count))[::-1], rng.integers(1, 80, count)]
        )
        looks.append(rows.astype(np.float16).astype(np.float32))
    return Things.of(looks)


def test_the_names_of_coco():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    for name, number in (("person", 0), ("dog", 16), ("chair", 56), ("tv", 62), ("cell phone", 67), ("sink", 71)):
        assert COCO_CLASSES[number] == name and coco_number(name) == number  # as in YOLOX's and COCO's lists
    assert coco_number("TVmonitor") == 62 and coco_number("Potted_Plant") == 58 and coco_number("violin") is None


def test_files_give_back_things_and_the_same_people(tmp_path):
    made, things = track(57), a_things(np.random.default_rng(2), 57)
    write_boxes(
        tmp_path / "with.npz", BoxTrack(made.time_s, made.boxes, made.score, made.end_s, made.meta, things=things)
    )
    write_boxes(tmp_path / "without.npz", made)
    read, old = read_boxes(tmp_path / "with.npz"), read_boxes(tmp_path / "without.npz")
    assert read.things is not None and old.things is None
    np.testing.assert_array_equal(read.things.count, things.count)
    np.testing.assert_array_equal(read.things.rows, things.rows)
    for name in ("time_s", "boxes", "score"):
        np.testing.assert_array_equal(getattr(read, name), getattr(old, name))
    assert read_meta(tmp_path / "with.npz")["things"] and not read_meta(tmp_path / "without.npz")["things"]
    for index, look in enumerate(read.things.looks()):
        np.testing.assert_array_equal(look, read.things.look(index))
    (late,) = read.index_at(read.end_s + 2)
    assert things.count[-1] and read.things.look(int(late)).shape == (0, 6)


def test_things_take_eleven_bytes_each(tmp_path):
    made, things = track(2000), a_things(np.random.default_rng(3), 2000)
    sizes = []
    for one in (None, things):
        write_boxes(tmp_path / "a.npz", BoxTrack(made.time_s, made.boxes, made.score, 200.0, made.meta, things=one))
        sizes.append((tmp_path / "a.npz").stat().st_size)
    assert sizes[1] - sizes[0] - 2000 <= 11 * len(things.rows) + 2000


def test_a_track_of_no_time_and_one_without_anything(tmp_path):
    for times in (0, 3):
        made = BoxTrack(np.arange(times) / 10, np.zeros((times, 6, 4)), np.zeros((times, 6)), 0.3, {}, None,
                        Things.of([NO_THINGS] * times))  # fmt: skip
        write_boxes(tmp_path / "a.npz", made)
        read = read_boxes(tmp_path / "a.npz").things
        assert read is not None and read.count.tolist() == [0] * times and read.rows.shape == (0, 6)
        assert len(read.looks()) == times and read.chosen(5, 2).count.tolist() == [0] * times


@pytest.mark.parametrize("change", ["count", "class", "missing"])
def test_damaged_things_end_in_one_clear_line(tmp_path, change):
    made, path = track(9), tmp_path / "a.npz"
    things = a_things(np.random.default_rng(4), 9)
    write_boxes(path, BoxTrack(made.time_s, made.boxes, made.score, 1.0, made.meta, things=things))
    with np.load(io.BytesIO(path.read_bytes())) as file:
        arrays = {name: file[name] for name in file.files}
    if change == "count":
        arrays["thing_count"][3] += 1
    elif change == "class":
        arrays["thing_class"][0] = 80
    else:
        del arrays["thing_score"]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="damaged"):
        read_boxes(path)


def test_the_best_things_are_chosen_and_few_of_a_class():
    rng = np.random.default_rng(5)
    things = a_things(rng, 40)
    things.rows[:, 5] = rng.integers(1, 4, len(things.rows))
    made = things.chosen(5, 2)
    for look, chosen in zip(things.looks(), made.looks()):
        due: list[np.ndarray] = []
        for row in sorted(look, key=lambda row: -row[4]):
            if len(due) < 5 and sum(one[5] == row[5] for one in due) < 2:
                due.append(row)
        np.testing.assert_array_equal(chosen, np.reshape(due, (-1, 6)))
    assert made.count.max() == 5 and made.count.sum() < things.count.sum()


def test_things_are_thinned_within_a_class_and_counted_strictly_above_the_threshold():
    box, moved = [0, 0, 10, 10], [0, 0, 10, 18]  # overlap by 10 / 18
    found = Detections(
        np.array([box, moved, moved, box, box], np.float32),
        np.array([0.9, 0.8, 0.7, 0.6, 0.10], np.float32),
        np.array([1, 1, 2, 0, 3]),
    )
    coco = np.array([-1, 62, 63, 64])
    things = other_things(found, coco, 20, 40)
    assert things[:, 5].tolist() == [62, 63] and things[0, :4].tolist() == [0, 0, 0.5, 0.25]
    assert things[:, 4] == pytest.approx([0.9, 0.7], abs=1e-3)
    assert other_things(found, coco[:2], 20, 40)[:, 5].tolist() == [62]  # labels that mean nothing
    look = look_of(found, coco, 20, 40)
    for mine, theirs in zip(look[:2], person_boxes(found, 20, 40)):
        np.testing.assert_array_equal(mine, theirs)


def test_what_a_label_means_is_told_by_names_or_by_eighty_classes():
    assert Detector(TV).coco.tolist() == [-1, 62] and not Detector(TV).people_only
    asked = Detector(TV, person_class=1)  # labels are exchanged: what the file calls a person is nothing then
    assert asked.coco.tolist() == [-1, -1] and asked.people_only
    for name in ("named_classes", "two_classes", "free", "dets_labels"):  # a head is no class of COCO
        assert Detector(str(ONNX / f"{name}.onnx")).people_only


@needs_shared
def test_real_weights_find_the_dog_the_bicycle_and_the_car():
    """YOLOX's own picture; people as before, whatever else is kept."""
    folder = SHARED / "real" / "yolox"
    picture = cv2.imread(str(folder / "dog.jpg"))
    detector = Detector(str(folder / "yolox_nano_coco.onnx"), device="cpu")
    assert detector.coco.tolist() == [-1, *range(1, 80)]
    (found,) = detector([picture], score_threshold=0.1, nms_iou=0.65)
    look = look_of(found, detector.coco, picture.shape[1], picture.shape[0])
    sure = [COCO_CLASSES[int(row[5])] for row in look.things if row[4] > 0.7]
    assert sorted(sure) == ["bicycle", "car", "dog"]
    dog = look.things[look.things[:, 5] == 16][0]
    np.testing.assert_allclose(
        dog[:4] * [768, 576, 768, 576], [131, 220, 311, 540], atol=25
    )  # as darknet's picture has it
    (person,) = look.boxes[look.score > 0]
    np.testing.assert_array_equal(person_boxes(found, 768, 576)[0][0], person)
    other = Detector(str(folder / "yolox_nano_coco.onnx"), device="cpu", person_class=16)  # dogs are people
    (found,) = other([picture], score_threshold=0.1, nms_iou=0.65)
    assert other.people_only and person_boxes(found, 768, 576)[1][0] > 0.7  # of an order of classes that nobody knows


def test_videos_have_things_and_the_people_that_they_had(tmp_path):
    video = colours(tmp_path / "a.mp4")
    (path,), (people,) = ensure_boxes([video], TV, progress=False), ensure_boxes([video], PERSON_ONLY, progress=False)
    made, alone = read_boxes(path), read_boxes(people)
    assert made.things is not None and (made.things.count > 0).all() and set(made.things.rows[:, 5]) == {62.0}
    best = np.stack([look[0] for look in made.things.looks()])
    assert np.abs((best[:, 0] + best[:, 2]) / 2 - 208 / 256).max() < 0.1
    np.testing.assert_allclose(made.boxes[:, 0], alone.boxes[:, 0], atol=0.07)  # the most yellow cell
    assert alone.things is not None and not alone.things.count.any()  # looked for, none
    at = detect_at(video, TV, np.array([0.0, 0.75, 5.0]), progress=False)
    for index, place in ((0, 0), (1, 7)):
        np.testing.assert_array_equal(at.things.look(index), made.things.look(place))
        np.testing.assert_array_equal(at.boxes[index], made.boxes[place])
    assert not at.things.count[2] and not detect_at(video, TV, np.zeros(0), progress=False).things.count.size
    assert not any(part.any() for part in NOTHING)


def test_files_of_people_only_serve_who_looks_at_people_and_are_made_anew_for_others(tmp_path, capsys):
    video = colours(tmp_path / "a.mp4")
    detector = Detector(TV)
    (path,) = ensure_boxes([video], TV, progress=False)
    whole = read_boxes(path)
    before_things(path)
    stamp = path.stat().st_mtime_ns
    assert is_current(path, video, detector, 10.0) and not is_current(path, video, detector, 10.0, things=True)
    ensure_boxes([video], TV, progress=False)
    assert path.stat().st_mtime_ns == stamp and read_boxes(path).things is None
    ensure_boxes([video], TV, progress=True, times_s=[np.array([0.5])], things=True)
    assert "1 box files of an earlier version hold people only and are made anew" in capsys.readouterr().err
    again = read_boxes(path)  # all of the grid, as it was
    for name in ("time_s", "boxes", "score"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    np.testing.assert_array_equal(again.things.rows, whole.things.rows)
    before_things(path)
    assert object_detection.main([str(video), "--detector", TV, "--quiet"]) == 0  # the command keeps everything
    assert read_boxes(path).things is not None


def test_a_detector_of_people_only_need_not_look_again(tmp_path):
    video = colours(tmp_path / "a.mp4")
    (path,) = ensure_boxes([video], PERSON_ONLY, progress=False)
    before_things(path)
    assert is_current(path, video, Detector(PERSON_ONLY), 10.0, things=True)


@pytest.mark.parametrize("things", [False, True])
def test_files_of_people_at_some_times_are_filled(tmp_path, things):
    video, detector = colours(tmp_path / "a.mp4"), Detector(TV)
    (path,) = ensure_boxes([video], TV, progress=False)
    whole = read_boxes(path)
    before_things(path, slice(0, 20, 5), 10.0)
    detect_videos([video], detector, progress=False, times_s=[np.array([0.7])], things=things)
    made = read_boxes(path)
    assert made.time_s.tolist() == pytest.approx([0.0, 0.5, 0.7, 1.0, 1.5]) and made.things is not None
    for time_s in (0.0, 0.7, 1.5):
        np.testing.assert_array_equal(made.at(time_s), whole.at(time_s))
        np.testing.assert_array_equal(
            made.things.look(int(made.index_at(time_s)[0])), whole.things.look(int(whole.index_at(time_s)[0]))
        )
    detect_videos([video], detector, progress=False)
    np.testing.assert_array_equal(read_boxes(box_path(video, TV)).things.rows, whole.things.rows)
