"""The picture: everything at the pixel of its direction, the same every time, people whom a detector finds."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.picture import (
    Painter,
    anchor_offset_m,
    frames,
    label_overlay,
    painter,
    person_boxes,
    render_video,
    sample_appearance,
    sample_background,
    sample_thing_appearance,
    thing_place,
)
from simulation.picture.figures import draw_cast
from simulation.picture.motion import PersonMotion
from simulation.picture.photos import PhotoBody, cut_out
from simulation.picture.room import draw_room
from simulation.picture.sampling import THING_KINDS, THING_PLACES, sample_range, split_of_value, thing_kinds
from simulation.picture.sprites import Light
from simulation.picture.training import training_frames
from simulation.scene import Event, Person, Room, Scene, Thing, Trajectory
from tests.shared import SHARED, needs_shared
from util.angles import direction_from_degrees
from util.camera import Equirectangular, Perspective, boxes_on_sphere
from util.errors import InputError
from util.events import EventTable
from util.video import read_frames, video_info

LISTENER_M = 1.4
SPHERE = Equirectangular(960, 480)
ROOM = Room("r", (9.0, 9.0, 3.0), (4.5, 4.5, LISTENER_M), 0.4)
RATE_HZ = 8000
TOLERANCE_PX = 2.0
ROOMS: dict = {}


@pytest.fixture(autouse=True)
def rooms_drawn_once(monkeypatch):
    """Most tests look at one unfurnished room: it is drawn once per camera."""

    def draw(room, look, camera, *, clear_xy=None, extra=()):
        key = (room, camera, repr(look))
        if extra or look["furniture"] > 0:
            return draw_room(room, look, camera, clear_xy=clear_xy, extra=extra)
        if key not in ROOMS:
            ROOMS[key] = draw_room(room, look, camera)
        return ROOMS[key]

    monkeypatch.setattr(painter, "draw_room", draw)


def still(azimuth_deg: float, distance_m: float, height_m: float = -LISTENER_M) -> Trajectory:
    point = distance_m * direction_from_degrees(azimuth_deg, 0.0)
    return Trajectory(np.zeros(1), np.array([[point[0], point[1], height_m]]))


def person(source: int = 0, azimuth_deg: float = 20.0, distance_m: float = 2.0, seed: int = 1, **look) -> Person:
    appearance = sample_appearance(np.random.default_rng(seed), "train") | look
    return Person(source, still(azimuth_deg, distance_m), 1.75, appearance)


def scene(people=(), things=(), events=(), **changes) -> Scene:
    background = sample_background(np.random.default_rng(3), "train") | {"furniture": 0.0}
    values = dict(
        name="clip", split="train", seed=1, duration_s=4.0, rate_hz=RATE_HZ, room=ROOM, events=tuple(events),
        people=tuple(people), things=tuple(things), noise_db=30.0, background=background,
    )  # fmt: skip
    return Scene(**(values | changes))


def event(
    source: int, anchor: str, *, sound: np.ndarray | None = None, name: str = "Male speech", start_s=0.0
) -> Event:
    sound = np.ones(4 * RATE_HZ, dtype=np.float32) if sound is None else sound
    return Event(1, name, start_s, sound, {}, still(0, 1), anchor, source)


def drawn(painter: Painter, time_s: float = 0.05, threshold: int = 12) -> np.ndarray:
    """Mask of the pixels that differ clearly from the empty room; shadows on the floor are fainter."""
    difference = np.abs(painter.frame(time_s).astype(int) - painter.room.bgr.astype(int)).max(axis=-1)
    return difference > threshold


# -------------------------------------------------------------------------------------------------- where things are


def test_anchor_heights():
    assert anchor_offset_m("mouth", 2.0) == pytest.approx(1.786)
    assert anchor_offset_m("feet", 1.7) < 0.06
    assert anchor_offset_m("mouth", 1.7) > anchor_offset_m("hands", 1.7) > 1.0
    with pytest.raises(InputError, match="anchor 'knee' is none of mouth, hands, feet"):
        anchor_offset_m("knee", 1.7)


@pytest.mark.parametrize("distance_m", [1.0, 2.3, 4.0])
@pytest.mark.parametrize("pose", ["relaxed", "folded", "phone", "hip"])
def test_box_centre_lies_on_the_azimuth(distance_m, pose):
    for azimuth_deg, facing_deg in ((0.0, 0.0), (-77.3, 60.0), (121.9, -90.0)):
        one = scene([person(azimuth_deg=azimuth_deg, distance_m=distance_m, idle=pose, facing_deg=facing_deg)])
        boxes, source, visible = person_boxes(one, SPHERE, 0.0)
        assert source.tolist() == [0] and visible[0] > 0.99
        centre = SPHERE.project(direction_from_degrees(azimuth_deg, 0.0))[0][0]
        assert (boxes[0, 0] + boxes[0, 2]) / 2 == pytest.approx(centre, abs=TOLERANCE_PX)


def test_boxes_are_those_of_the_drawn_pixels():
    for azimuth_deg, distance_m in ((33.0, 1.2), (-60.0, 3.1)):
        look = {
            "top_hsv": [0.0, 0.9, 0.9],
            "bottom_hsv": [0.7, 0.9, 0.6],
            "shoe_hsv": [0.9, 0.9, 0.9],
            "bottom": "trousers",
        }
        painter = Painter(scene([person(azimuth_deg=azimuth_deg, distance_m=distance_m, **look)]), SPHERE)
        mask = drawn(painter, threshold=25)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = painter.boxes(0.05)[0][0]
        assert columns[0] == pytest.approx(box[0], abs=TOLERANCE_PX)
        assert columns[-1] + 1 == pytest.approx(box[2], abs=TOLERANCE_PX)
        assert rows[0] == pytest.approx(box[1], abs=TOLERANCE_PX)


def test_a_walker_is_centred_in_every_phase():
    path = Trajectory(np.array([0.0, 4.0]), np.array([[1.5, -2.0, -LISTENER_M], [1.5, 2.0, -LISTENER_M]]))
    walker = dataclasses.replace(person(), feet=path)
    painter = Painter(scene([walker]), SPHERE)
    for time_s in np.linspace(0.4, 3.6, 12):
        feet = path.at(time_s)
        centre = SPHERE.project(feet)[0][0]
        box = painter.boxes(time_s)[0][0]
        assert (box[0] + box[2]) / 2 == pytest.approx(centre, abs=TOLERANCE_PX)
        # The head's top and the floor are where the walker's stature puts them; shoes seen in steps may lift a little.
        top = SPHERE.project(feet + [0, 0, 1.75])[0][1]
        assert box[1] == pytest.approx(top, abs=TOLERANCE_PX)
        assert box[3] == pytest.approx(SPHERE.project(feet)[0][1], abs=2 * TOLERANCE_PX)


@pytest.mark.parametrize("camera", [SPHERE, Perspective(960, 480, 100.0, -30.0)], ids=["sphere", "lens"])
@pytest.mark.parametrize("azimuth_deg,distance_m", [(-20.0, 1.1), (-45.0, 2.0), (5.0, 3.5)])
def test_the_mouth_is_at_the_label(camera, azimuth_deg, distance_m):
    """What changes when the mouth opens is the mouth: its centre is the label's pixel."""
    still_life = {"facing_deg": 0.0, "beard": False, "glasses": False, "hair_style": "short", "idle": "relaxed"}
    who = person(azimuth_deg=azimuth_deg, distance_m=distance_m, **still_life)
    painter = Painter(scene([who]), camera)
    body, motion = painter.bodies[0], painter.motions[0]
    pose, view_deg = motion.pose_at(0.0)
    pictures = []
    for mouth in (0, 2):
        motion.pose_at = lambda _, mouth=mouth: (dataclasses.replace(pose, mouth=mouth), view_deg)
        pictures.append(painter.frame(0.0).astype(float))
    change = np.abs(pictures[1] - pictures[0]).max(axis=-1)
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    found = np.array([np.average(x, weights=change), np.average(y, weights=change)])
    label = camera.project(who.feet.at(0.0) + [0, 0, anchor_offset_m("mouth", body.height_m)])[0]
    assert np.abs(found - label).max() < TOLERANCE_PX


def test_clapping_hands_are_at_the_label():
    who = person(azimuth_deg=10.0, distance_m=1.5, facing_deg=0.0)
    painter = Painter(scene([who]), SPHERE)
    pose, _ = painter.motions[0].pose_at(0.0)
    label = SPHERE.project(who.feet.at(0.0) + [0, 0, anchor_offset_m("hands", who.height_m)])[0]
    # Closed, both hands meet at the label.
    corners, _, _ = painter.bodies[0].quads(dataclasses.replace(pose, name="clap", step=0))
    palms = corners.reshape(-1, 3)
    palms = palms[(palms[:, 0] > 0.128) & (np.abs(palms[:, 1]) < 0.05)]
    high_m = who.height_m * (palms[:, 2].min() + palms[:, 2].max()) / 2
    assert SPHERE.project(who.feet.at(0.0) + [0, 0, high_m])[0][1] == pytest.approx(label[1], abs=TOLERANCE_PX)


def test_feet_stand_at_the_label():
    who = person(azimuth_deg=-100.0, distance_m=2.0)
    box = person_boxes(scene([who]), SPHERE, 0.0)[0][0]
    label = SPHERE.project(who.feet.at(0.0) + [0, 0, anchor_offset_m("feet", who.height_m)])[0]
    assert box[3] - 3 * TOLERANCE_PX < label[1] < box[3] + 0.5


@pytest.mark.parametrize("kind", sorted(THING_PLACES))
def test_things_are_at_their_labels(kind):
    low, high, size_m, _ = THING_PLACES[kind]
    look = sample_thing_appearance(np.random.default_rng(2), "test", "Bell") | {"kind": kind}
    thing = Thing(7, 11, "Bell", still(-48.0, 2.0, (low + high) / 2 - LISTENER_M), size_m, look)
    for events in ((), (dataclasses.replace(event(7, "object"), class_name="Bell"),)):
        painter = Painter(scene(things=[thing], events=events), SPHERE)
        item = painter._items(1.03)[0]
        outline = painter._project(item, item.sprite.outline_m)
        label = SPHERE.project(thing.centre.at(0.0))[0]
        assert (outline[:, 0].min() + outline[:, 0].max()) / 2 == pytest.approx(label[0], abs=TOLERANCE_PX)
        mask = np.zeros(SPHERE.height * SPHERE.width, dtype=bool).reshape(SPHERE.height, SPHERE.width)
        for patch in painter._patches(item):
            mask[patch.rows, patch.columns] |= patch.picture[..., 3] > 100
        x, y = np.round(label - 0.5).astype(int)
        assert mask[y - 2 : y + 3, x - 2 : x + 3].any(), "the sounding point lies on the thing"
        if not kind.endswith("door"):
            assert painter.frame(1.03).shape == (480, 960, 3)


def test_the_seam():
    behind = scene([person(azimuth_deg=180.0, distance_m=1.5, facing_deg=0.0, idle="relaxed")])
    ahead = scene([person(azimuth_deg=0.0, distance_m=1.5, facing_deg=0.0, idle="relaxed")])
    boxes, source, visible = person_boxes(behind, SPHERE, 0.0)
    assert len(boxes) == 2 and set(source) == {0}
    assert visible.sum() == pytest.approx(1.0, abs=0.02)
    left, right = boxes[np.argsort(boxes[:, 0])]
    assert left[0] == 0 and right[2] == 960
    whole = person_boxes(ahead, SPHERE, 0.0)[0][0]
    assert (left[2] - left[0]) + (right[2] - right[0]) == pytest.approx(whole[2] - whole[0], abs=1.0)
    mask = drawn(Painter(behind, SPHERE))
    assert mask[:, 0].sum() > 40 and mask[:, -1].sum() > 40 and not mask[:200, 200:760].any()
    # The halves fit: across the seam the picture is as smooth as within it.
    frame = Painter(behind, SPHERE).frame(0.0).astype(int)
    rows = np.flatnonzero(mask[:, 0] & mask[:, -1])
    jump = np.abs(frame[rows, 0] - frame[rows, -1]).mean()
    assert jump < 3 * np.abs(frame[rows, 1] - frame[rows, 0]).mean() + 6


def test_perspective_sees_ahead_only():
    camera = Perspective(640, 360, 100.0, 90.0)
    painter = Painter(
        scene([person(0, azimuth_deg=75.0), person(1, azimuth_deg=-90.0), person(2, azimuth_deg=139.0)]), camera
    )
    boxes, source, _ = painter.boxes(0.0)
    assert set(source) == {0, 2}
    centre = camera.project(direction_from_degrees(75.0, 0.0))[0][0]
    box = boxes[source == 0][0]
    assert (box[0] + box[2]) / 2 == pytest.approx(centre, abs=TOLERANCE_PX)
    assert boxes[source == 2][0, 0] == 0.0  # cut at the border
    turned = Painter(scene([person(1, azimuth_deg=-90.0)]), camera)
    assert np.array_equal(turned.frame(0.0), turned.room.bgr)


def test_near_hides_far():
    near, far = person(0, azimuth_deg=40.0, distance_m=1.5), person(1, azimuth_deg=40.0, distance_m=3.5, seed=2)
    _, source, visible = person_boxes(scene([near, far]), SPHERE, 0.0)
    assert visible[source == 0][0] > 0.99
    assert not (source == 1).any() or visible[source == 1][0] < 0.3


def test_furniture_leaves_people_free():
    background = sample_background(np.random.default_rng(8), "test") | {"furniture": 1.0}
    crowd = [person(k, azimuth_deg=60.0 * k, distance_m=3.2, seed=k) for k in range(6)]
    painter = Painter(scene(crowd, background=background), SPHERE)
    _, source, visible = painter.boxes(0.0)
    assert all(visible[source == k].sum() > 0.9 for k in range(6))
    assert painter.room.depth_m.min() > 0.3 and np.isfinite(painter.room.depth_m).all()


def test_the_room_has_its_walls_where_they_are():
    depth = Painter(scene(), SPHERE).room.depth_m
    assert depth[240, 480] == pytest.approx(4.5, rel=0.02)  # ahead, at the horizon
    assert depth[-1, 100] == pytest.approx(LISTENER_M, rel=0.02)  # below
    assert depth[0, 100] == pytest.approx(3.0 - LISTENER_M, rel=0.02)


# ----------------------------------------------------------------------------------------------------- what they do


def test_lips_follow_the_voice():
    half = 2 * RATE_HZ
    sound = np.concatenate([np.ones(half), 0.01 * np.ones(half)]).astype(np.float32)
    motion = PersonMotion(person(), scene([person()], events=[event(0, "mouth", sound=sound)]))
    assert [motion.pose_at(t)[0].mouth for t in (1.0, 3.0, 5.0)] == [2, 0, 0]
    assert motion.pose_at(1.0)[0].name == "talk" and motion.pose_at(5.0)[0].name != "talk"


def test_hands_meet_when_it_claps():
    sound = np.zeros(4 * RATE_HZ, dtype=np.float32)
    for clap_s in (0.5, 1.0, 1.5):
        sound[int(clap_s * RATE_HZ) : int((clap_s + 0.03) * RATE_HZ)] = 1.0
    motion = PersonMotion(person(), scene([person()], events=[event(0, "hands", sound=sound, name="Clapping")]))
    assert [motion.pose_at(t)[0].step for t in (0.515, 0.77, 1.015)] == [0, 3, 0]


def test_walkers_look_where_they_go():
    path = Trajectory(np.array([0.0, 3.0]), np.array([[2.0, 0.0, -LISTENER_M], [4.0, 0.0, -LISTENER_M]]))
    motion = PersonMotion(dataclasses.replace(person(), feet=path), scene())
    pose, view_deg = motion.pose_at(1.5)
    assert pose.name == "walk" and abs(view_deg) == 180.0  # away from the listener
    back = Trajectory(path.time_s, path.position_m[::-1])
    motion = PersonMotion(dataclasses.replace(person(), feet=back), scene())
    assert motion.pose_at(1.5)[1] == 0.0
    assert motion.pose_at(3.5)[0].name != "walk"


# --------------------------------------------------------------------------------------------------- same and different


def test_same_scene_same_bytes():
    path = Trajectory(np.array([0.0, 4.0]), np.array([[1.5, -2.0, -LISTENER_M], [1.5, 2.0, -LISTENER_M]]))
    look = sample_thing_appearance(np.random.default_rng(2), "train", "Telephone")
    things = [Thing(5, 3, "Telephone", still(90, 2, -0.5), 0.2, look)]
    busy = scene([dataclasses.replace(person(), feet=path), person(1, azimuth_deg=179.0)], things, [event(1, "mouth")])
    first = list(frames(busy, SPHERE, [0.5, 1.0, 1.5]))
    other_order = Painter(busy, SPHERE)
    second = {time_s: other_order.frame(time_s) for time_s in (1.5, 0.5, 3.0, 1.0)}
    for time_s, frame in zip((0.5, 1.0, 1.5), first):
        assert np.array_equal(frame, second[time_s])


def _numbers(value: object) -> list[float]:
    if isinstance(value, list):
        return [number for entry in value for number in _numbers(entry)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize(
    "sample", [sample_appearance, sample_background, lambda rng, split: sample_thing_appearance(rng, split, "Music")]
)
def test_train_and_test_look_different(sample):
    drawn_from = {}
    for split in ("train", "test"):
        rng = np.random.default_rng(4)
        drawn_from[split] = [sample(rng, split) for _ in range(150)]
    for key, value in drawn_from["train"][0].items():
        train, test = ([look[key] for look in drawn_from[split]] for split in ("train", "test"))
        if isinstance(value, list):  # colours: hue, saturation, value, each in its bins
            for k in range(len(value)):
                assert not {v[k] for v in train} & {v[k] for v in test}, key
        elif isinstance(value, float) or key == "seed":
            assert not set(train) & set(test), key
    train, test = ([look["seed"] % 2 for look in drawn_from[split]] for split in ("train", "test"))
    assert set(train) == {0} and set(test) == {1}
    with pytest.raises(InputError, match="split 'dev' is neither of train, test"):
        sample(np.random.default_rng(0), "dev")


def test_bins_alternate_between_splits():
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        values = [sample_range(rng, split, -2.0, 3.0) for _ in range(300)]
        assert {split_of_value(value, -2.0, 3.0) for value in values} == {split}
        assert min(values) < -1.5 and max(values) > 2.5


def test_every_class_has_its_things():
    names = [
        "Telephone",
        "Domestic sounds",
        "Door, open or close",
        "Music",
        "Musical instrument",
        "Water tap, faucet",
        "Bell",
        "Knock",
    ]
    kinds = [set(thing_kinds(name)) for name in names]
    assert all("box" not in group for group in kinds)
    assert not kinds[3] & kinds[4]
    assert thing_kinds("Bird song") == ("box",)
    assert {kind for group in THING_KINDS.values() for kind in group} < set(THING_PLACES)
    assert thing_place({"kind": "door"})[3] == "wall" and thing_place({})[3] == "table"


# ------------------------------------------------------------------------------------------------------------- outputs


def test_video(tmp_path):
    path = tmp_path / "clip.mp4"
    one = scene([person()], duration_s=0.7)
    camera = Equirectangular(240, 120)
    render_video(one, path, camera=camera, fps=10)
    info = video_info(path)
    assert (info.width, info.height, info.frame_count) == (240, 120, 7)
    decoded = [frame for _, frame in read_frames(path)]
    asked = next(iter(frames(one, camera, [0.35])))
    assert np.abs(decoded[3].astype(int) - asked.astype(int)).mean() < 6
    again = tmp_path / "again.mp4"
    render_video(one, again, camera=camera, fps=10)
    assert path.read_bytes() == again.read_bytes()


def test_labels_are_drawn_at_their_pixels():
    frame = np.zeros((480, 960, 3), dtype=np.uint8)
    table = EventTable.make(frame=[3, 4], class_index=[1, 2], azimuth_deg=[90.0, 0.0], elevation_deg=[-20.0, 0.0])
    marked = label_overlay(frame, table, SPHERE, label_frame=3, names=["a", "bell", "c"])
    x, y = SPHERE.project(direction_from_degrees(90.0, -20.0))[0]
    rows, columns = np.nonzero(marked[:, : int(x) + 11].any(axis=-1))
    assert np.abs(rows.mean() - y) < 3 and np.abs((columns.min() + columns.max()) / 2 - x) < 3
    assert not marked[200:280, 440:520].any() and not frame.any()


def test_the_sheet_of_people_and_things(tmp_path):
    draw_cast(tmp_path / "cast.jpg")
    sheet = cv2.imread(str(tmp_path / "cast.jpg"))
    assert sheet.shape == (350 + 2 * 175, 11 * 145, 3) and sheet.std() > 20


def test_nobody_and_somebody_too_near():
    assert person_boxes(scene(), SPHERE, 0.0)[0].shape == (0, 4)
    painter = Painter(scene([person(distance_m=0.05)]), SPHERE)
    assert painter.frame(0.0).shape == (480, 960, 3) and len(painter.boxes(0.0)[0]) == 1


def test_training_frames():
    first = list(training_frames(5, 5, "train"))
    assert len(first) == 5
    for frame, boxes in first:
        assert frame.shape == (180, 360, 3) and frame.dtype == np.uint8 and boxes.shape[1] == 4
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= 360).all() and (boxes[:, 3] <= 180).all()
        assert (boxes[:, 2] > boxes[:, 0]).all() and (boxes[:, 3] - boxes[:, 1] >= 9.9).all()
    assert sum(len(boxes) for _, boxes in first) > 0
    again = list(training_frames(5, 2, "train"))
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, again))
    assert not np.array_equal(next(iter(training_frames(5, 1, "test")))[0], first[0][0])
    with pytest.raises(InputError, match="split"):
        next(training_frames(5, 1, "all"))


# --------------------------------------------------------------------------------------------------------- photographs


@pytest.fixture
def photo(tmp_path):
    image = np.full((240, 90, 3), 180, dtype=np.uint8)
    cv2.ellipse(image, (45, 120), (25, 105), 0, 0, 360, (40, 60, 200), -1)
    path = tmp_path / "femaleSpeech_21_1.jpg"
    cv2.imwrite(str(path), image)
    return path


def test_photographs_stand_at_their_azimuth(photo):
    who = dataclasses.replace(person(azimuth_deg=-30.0), appearance={"photo": str(photo), "sha256": "0"})
    boxes, source, _ = person_boxes(scene([who]), SPHERE, 0.0)
    assert source.tolist() == [0]
    centre = SPHERE.project(direction_from_degrees(-30.0, 0.0))[0][0]
    assert (boxes[0, 0] + boxes[0, 2]) / 2 == pytest.approx(centre, abs=TOLERANCE_PX)
    top = SPHERE.project(who.feet.at(0.0) + [0, 0, who.height_m])[0][1]
    assert boxes[0, 1] == pytest.approx(top, abs=TOLERANCE_PX)
    sprite = PhotoBody(who.appearance, 1.75).sprite(None, 0.0, 150.0, Light())
    assert sprite.levels[0][0, 0, 3] < 60 and sprite.levels[0].shape[0] == pytest.approx(1.75 * 150 + 8, abs=2)


def test_cut_outs_have_soft_edges(photo):
    alpha = cut_out(cv2.imread(str(photo)))[..., 3]
    assert alpha[:3, :3].max() < 30 and alpha[120, 40:60].min() > 200
    assert ((alpha > 30) & (alpha < 225)).mean() > 0.01


@pytest.mark.parametrize(
    "content,message", [(None, "cannot be read"), (b"", "is no image"), (b"no image", "is no image")]
)
def test_bad_photographs(tmp_path, content, message):
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        PhotoBody({"photo": str(path)}, 1.7)


# ---------------------------------------------------------------------------------------------------------- detectors


@needs_shared
def test_a_coco_detector_takes_the_people_for_people():
    """Recall of the real YOLOX-nano at score > 0.3 on frames of unseen people, and its false alarms."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(SHARED / "real/yolox/yolox_nano_coco.onnx"), options)
    grids = []
    for stride in (8, 16, 32):
        count = 416 // stride
        y, x = np.mgrid[:count, :count]
        grids.append(np.stack([x.ravel(), y.ravel(), np.full(count**2, stride)], axis=-1).astype(float))
    grid = np.concatenate(grids)
    found = people = alarms = count = 0
    for frame, boxes in training_frames(17, 28, "test"):
        count += 1
        scale = 416 / 360
        image = np.full((416, 416, 3), 114, dtype=np.uint8)
        image[:208] = cv2.resize(frame, (416, 208))
        output = session.run(None, {"images": image.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        centre = (output[:, :2] + grid[:, :2]) * grid[:, 2:] / scale
        size = np.exp(output[:, 2:4]) * grid[:, 2:] / scale
        sure = output[:, 4] * output[:, 5] > 0.3
        guess = np.concatenate([centre - size / 2, centre + size / 2], axis=1)[sure]
        low = np.maximum(boxes[:, None, :2], guess[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], guess[None, :, 2:])
        common = np.clip(high - low, 0, None).prod(axis=-1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None] + (guess[:, 2:] - guess[:, :2]).prod(-1) - common
        overlap = common / union
        tall = boxes[:, 3] - boxes[:, 1] >= 35
        people += int(tall.sum())
        if len(guess):
            found += int((overlap[tall].max(axis=1) >= 0.4).sum())
            alarms += int((overlap.max(axis=0) < 0.1).any()) if len(boxes) else 1
    assert people >= 25
    assert found / people >= 0.7, f"{found} of {people}"
    assert alarms / count < 0.4


@given(st.floats(-45, 45), st.floats(-20, 20), st.floats(-170, 170))
def test_boxes_of_a_view_lie_on_the_sphere_where_their_things_are(azimuth_deg, elevation_deg, yaw_deg):
    camera = Perspective(640, 360, 100.0, yaw_deg)
    (x, y), seen = camera.project(direction_from_degrees(yaw_deg + azimuth_deg, elevation_deg))
    box = np.array([[x - 3, y - 4, x + 3, y + 4]]) / [640, 360, 640, 360]
    found = boxes_on_sphere(np.concatenate([box, np.zeros((1, 4))]), camera)
    x0, y0, x1, y1 = found[0].astype(np.float64)
    assert seen and 0 < x1 - x0 < 3 / 360 and 0 < y1 - y0 < 4 / 180 and not found[1].any()
    expected = 0.5 - (yaw_deg + azimuth_deg) / 360
    assert abs((x0 + x1) / 2 - expected) < 0.3 / 360 and abs((y0 + y1) / 2 - (0.5 - elevation_deg / 180)) < 0.3 / 180
