"""Objects of all classes as tokens: rows of people and things, swaps and sums, the pointer, what is supposed."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seld
from dataset.augment import ALL_SWAPS, added_looks, views_of
from dataset.classes import STARSS23_CLASSES
from dataset.recordings import Boxes, Labels, no_boxes, recording_of_file
from dataset.seen import BOXES, OBJECTS, PackedBoxes, PackedObjects
from dataset.stereo import camera_at
from dataset.true_boxes import FURNITURE, SOUNDING_THINGS, SupposedBoxes, TrueBoxes
from detection.detector import Detector
from feature.objects import AZIMUTH, CLASS, HEIGHT, SCORE, TOKEN, WIDTH, object_tokens
from job.picture import PlacedSight, boxes_as_needed
from net.avseld import OBJECT_CLASSES, Pointer
from object_detection import ensure_boxes
from seld_predictor import load
from system.checkpoint import load_checkpoint
from system.export import export_stage
from system.exported import open_session
from system.presets import presets
from system.table import system_named
from tests.checkpoints import bursts, recording
from tests.exports import exporter_is_there, untrained_system
from tests.runs import run_folder
from tests.test_avseld import SMALL, network, objects, window
from tests.test_infer import same
from tests.test_things import TV, before_things, colours
from tests.test_things import track as people_track
from tests.test_true_boxes import MUSIC, SPEECH, labelled
from tests.tiny import tiny_root
from util import text
from util.angles import direction_from_degrees
from util.boxes import BoxTrack, read_boxes, write_boxes
from util.camera import boxes_on_sphere
from util.cli import run_main
from util.coco import COCO_CLASSES, USUAL_HEIGHTS_M, USUAL_SIZES_M, coco_number
from util.dialects import dialect_named, parse_events, read_events
from util.microphone_arrays import ARRAYS
from util.objects import (
    MOST_OF_A_CLASS,
    NUMBERS,
    PEOPLE_ROWS,
    PERSON,
    ROWS,
    THING_ROWS,
    example_rows,
    object_rows,
    rows_of_people,
)
from util.placement import Placement
from util.runs import checkpoints_of
from util.things import Things

TELEPHONE, DOMESTIC, TAP = 3, 5, 10  # of STARSS23
PHONE, SINK = (1 + COCO_CLASSES.index(name) for name in ("cell phone", "sink"))  # classes of tokens
PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"


def crowded(times: int = 30) -> BoxTrack:
    """People, and at every time more things than there are rows, many of them of one class."""
    rng = np.random.default_rng(7)
    looks = []
    for _ in range(times):
        count = 32
        box = rng.uniform(0, 0.8, (count, 2))
        rows = np.column_stack([box, box + 0.1, np.sort(rng.uniform(0.2, 1, count))[::-1], rng.integers(56, 72, count)])
        rows[rng.random(count) < 0.5, 5] = 56  # chairs
        looks.append(rows.astype(np.float16).astype(np.float32))
    return replace(people_track(times), things=Things.of(looks))


def test_rows_hold_the_people_as_they_were_and_the_best_things():
    track = crowded()
    time_s = np.array([-1.0, 0.0, 0.14, 1.0, 2.95, 3.9, 4.0, 9.0])
    rows, people = PackedObjects(track).at(time_s), PackedBoxes(track).at(time_s)
    assert rows.shape == (8, ROWS, NUMBERS) == (8, *OBJECTS.shape) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, :PEOPLE_ROWS, :4], people)
    np.testing.assert_array_equal(people, track.at(time_s))
    there = people.any(axis=-1)
    np.testing.assert_array_equal(rows[:, :PEOPLE_ROWS, 4:], np.repeat(there[..., None], 2, axis=-1))
    for row, index in zip(rows, track.index_at(time_s)):
        things = row[PEOPLE_ROWS:]
        if index < 0:
            assert not row.any()
            continue
        assert len(things) == THING_ROWS and (things[:, 5] > PERSON).all() and (np.diff(things[:, 4]) <= 0).all()
        assert (things[:, 5] == 57).sum() <= MOST_OF_A_CLASS
        best = track.things.look(int(index))
        np.testing.assert_array_equal(things[0], best[0] + [0, 0, 0, 0, 0, 1])
    assert not PackedObjects(replace(track, things=None)).at(time_s)[:, PEOPLE_ROWS:].any()
    assert PackedObjects(track).nbytes > PackedBoxes(track).nbytes


def test_a_file_of_people_only_is_said_to_be_one(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(text, "_said", set())
    recording(tmp_path / "a.wav", 1.0)
    video = tmp_path / "a.mp4"
    one = replace(recording_of_file(tmp_path / "a.wav"), video=video)
    write_boxes(BOXES.file(video, "builtin"), people_track())
    with caplog.at_level(logging.WARNING):
        rows = Boxes("builtin", producer=OBJECTS)(one, np.array([0.0, 0.5]))
    assert "holds people only" in caplog.text and not rows[:, PEOPLE_ROWS:].any()
    np.testing.assert_array_equal(rows[:, :PEOPLE_ROWS, :4], Boxes("builtin")(one, np.array([0.0, 0.5])))


def test_objects_in_the_view_of_a_camera_are_brought_to_the_sphere(tmp_path):
    recording(tmp_path / "a.wav", 1.0)
    video = tmp_path / "a.mp4"
    write_boxes(BOXES.file(video, "builtin"), crowded())
    plain = replace(recording_of_file(tmp_path / "a.wav"), video=video)
    rows, seen = (Boxes("builtin", producer=OBJECTS)(replace(plain, view=view), np.array([0.3]))
                  for view in ("equirectangular", "perspective"))  # fmt: skip
    np.testing.assert_array_equal(seen[..., :4], boxes_on_sphere(rows[..., :4], camera_at()))
    np.testing.assert_array_equal(seen[..., 4:], rows[..., 4:])
    assert seen[..., 5].max() > PERSON


@pytest.mark.parametrize("swap", ALL_SWAPS)
@pytest.mark.parametrize("oriented", [False, True])
def test_swaps_move_people_as_before_and_things_with_their_classes(swap, oriented):
    track = crowded(8)
    rows = PackedObjects(track).at(track.time_s)
    turned = swap.looks(rows, oriented=oriented)
    np.testing.assert_array_equal(
        turned[..., :PEOPLE_ROWS, :4], swap.looks(rows[..., :PEOPLE_ROWS, :4], oriented=oriented)
    )
    for before, after in zip(object_tokens(torch.from_numpy(rows)), object_tokens(torch.from_numpy(turned))):
        for old, new in zip(before.numpy(), after.numpy()):
            if old[CLASS] == new[CLASS] > 0 and abs(new[HEIGHT]) == pytest.approx(abs(old[HEIGHT]), abs=1e-4):
                if new[WIDTH] == pytest.approx(old[WIDTH], abs=1e-4):  # as wide: the seam has not cut it
                    place = swap.matrix() @ direction_from_degrees(*np.rad2deg(old[:2]))
                    np.testing.assert_allclose(direction_from_degrees(*np.rad2deg(new[:2])), place, atol=1e-4)
    kinds = [set(look[:, 5]) - {0} for look in turned]
    assert kinds == [set(look[:, 5]) - {0} for look in rows]


def test_of_two_pictures_things_never_take_the_places_of_people():
    track = crowded(4)
    rows = PackedObjects(track).at(track.time_s)
    alone = np.zeros_like(rows)
    alone[:, 0] = [0.1, 0.2, 0.2, 0.9, 1, PERSON]
    made = added_looks(rows, np.flip(rows, axis=0))
    assert ((made[:, :PEOPLE_ROWS, 5] == PERSON) | ~made[:, :PEOPLE_ROWS].any(axis=-1)).all()
    np.testing.assert_array_equal(made[:, PEOPLE_ROWS:], rows[:, PEOPLE_ROWS:])  # full already
    made = added_looks(alone, rows)
    np.testing.assert_array_equal(made[:, PEOPLE_ROWS:], rows[:, PEOPLE_ROWS:])
    np.testing.assert_array_equal(made[..., :PEOPLE_ROWS, :4], added_looks(alone[:, :6, :4], rows[:, :6, :4]))


def test_rows_become_tokens():
    rows = object_rows(np.zeros((6, 4)), np.array([[0.2, 0.4, 0.3, 0.5, 0.75, PHONE - 1]], np.float32))
    tokens = object_tokens(torch.from_numpy(rows))
    assert tokens.shape == (ROWS, TOKEN) and not tokens[:PEOPLE_ROWS].any() and not tokens[PEOPLE_ROWS + 1 :].any()
    found = tokens[PEOPLE_ROWS]
    assert (
        found[CLASS] == PHONE and found[SCORE] == 0.75 and math.degrees(found[AZIMUTH]) == pytest.approx(90, abs=1e-3)
    )
    boxes = people_track(5).boxes
    torch.testing.assert_close(
        object_tokens(torch.from_numpy(rows_of_people(boxes)))[:, :PEOPLE_ROWS], object_tokens(torch.from_numpy(boxes)),
        atol=0, rtol=0,
    )  # fmt: skip
    example = example_rows(np.random.default_rng(0).random((50, *OBJECTS.shape)))
    assert set(example[:, PEOPLE_ROWS:, 5].ravel()) == set(range(2, OBJECT_CLASSES))


def thing(azimuth_deg: float, elevation_deg: float, kind: int, frames: int = 1) -> torch.Tensor:
    token = objects((azimuth_deg, elevation_deg), frames=frames)
    token[:, :, 0, CLASS] = kind
    return token


def sure_pointer(classes: int = 2, **options) -> Pointer:
    """One that takes what it sees: every object makes every sound."""
    pointer = Pointer(classes, 4, **options)
    with torch.no_grad():
        pointer.affinity.weight.fill_(6.0)
        if pointer.thing is not None:
            pointer.thing.fill_(0.6)
    return pointer


def test_classes_that_training_has_not_shown_are_not_pointed_at_at_all():
    """Whatever the weights say of them."""
    direction = torch.from_numpy(direction_from_degrees(np.array(30.0), np.array(0.0))).float().expand(1, 1, 3, 2, 3)
    heard, sink = torch.zeros(1, 1, 4), thing(33, 0, SINK)
    share = torch.ones(1, 1, 3, 2, 3)
    for pointer in (sure_pointer(), sure_pointer(things=True)):
        with torch.no_grad():
            moved, _ = pointer(direction, heard, sink, share)
            torch.testing.assert_close(moved, direction, atol=1e-6, rtol=0)
            person, _ = pointer(direction, heard, thing(33, 0, PERSON), share)
        assert (person - direction).abs().max() > 0.01
    pointer.remember(sink)
    with torch.no_grad():
        moved, _ = pointer(direction, heard, sink, share)
        still, _ = pointer(direction, heard, thing(33, 0, PHONE), share)
    middle = direction_from_degrees(np.array(33.0), np.array(0.0))
    np.testing.assert_allclose(moved[0, 0, 0, 0].numpy(), middle, atol=0.01)  # in the middle, not at the top
    torch.testing.assert_close(still, direction, atol=1e-6, rtol=0)
    assert pointer.shown.nonzero().flatten().tolist() == [PERSON, SINK]


def test_it_is_learnt_soon_which_thing_makes_which_sound():
    """Telephones sound where they are seen, taps beside them: a hundred steps as training takes them."""
    torch.manual_seed(0)
    pointer = Pointer(2, 4, things=True)
    token = thing(20, 0, PHONE)
    pointer.remember(token)
    heard, none_there = torch.zeros(1, 1, 4), direction_from_degrees(np.array([0.0]), np.array([0.0]))
    given = torch.from_numpy(none_there).float().expand(1, 1, 3, 2, 3)
    due = direction_from_degrees(np.array([20.0, -10.0]), np.array([0.0, 0.0]))
    target = torch.from_numpy(due).float().expand(1, 1, 3, 2, 3)
    optimiser = torch.optim.AdamW(pointer.parameters(), lr=0.002, weight_decay=0.01)
    share = torch.full((1, 1, 3, 2, 3), 0.5)
    for _ in range(100):
        optimiser.zero_grad()
        (pointer(given, heard, token, share)[0] - target).square().sum().backward()
        optimiser.step()
    telephone, tap = 10 * pointer.thing[PHONE].detach()
    assert telephone > -3.0 and tap < -4.5  # from -4
    assert (10 * pointer.thing[SINK] + 4).abs().max() < 0.05  # of what was not shown


def test_a_thing_is_as_far_as_its_usual_height_says():
    pointer = sure_pointer(things=True)
    direction, unknown = torch.tensor([1.0, 0.0, 0.0]).expand(1, 1, 3, 2, 3), torch.full((1, 1, 3, 2, 1), 0.3)
    fridge, kite = (1 + COCO_CLASSES.index(name) for name in ("refrigerator", "kite"))
    found = {}
    with torch.no_grad():
        pointer.none.bias -= 20
        for kind in (fridge, PHONE, kite):
            token = thing(0, 0, kind)
            pointer.remember(token)
            height_m = USUAL_HEIGHTS_M[kind - 1]
            token[..., HEIGHT] *= 2 * math.atan(height_m / 2 / 1.4) / math.radians(40) if kind != kite else 1
            found[kind] = 2.0 * pointer(direction, torch.zeros(1, 1, 4), token, None, unknown)[1].exp()
    for kind in (fridge, PHONE):
        torch.testing.assert_close(found[kind], torch.full_like(found[kind], 1.4), atol=2e-3, rtol=0)
    torch.testing.assert_close(found[kite], 2.0 * unknown.exp(), atol=1e-3, rtol=0)  # of which no height is known


def test_training_remembers_what_it_has_been_shown():
    net = network(things=True).train()
    net(window(), torch.cat([thing(20, 0, PHONE, 50), objects((40, 0))], dim=2))
    assert net.pointer.shown.nonzero().flatten().tolist() == [PERSON, PHONE]
    weights = net.state_dict()
    again = network(things=True)
    again.load_state_dict(weights)
    assert torch.equal(again.pointer.shown, net.pointer.shown)
    assert not {"pointer.shown", "pointer.thing"} & network().state_dict().keys()  # those of before keep their names
    with pytest.raises(RuntimeError, match="Unexpected key"):
        network().load_state_dict(net.state_dict())


@pytest.mark.parametrize("name", ["foa", "mic"])
def test_the_shipped_checkpoints_look_at_people_and_at_nothing_else(name, tmp_path):
    """They say so, and a sink in front of them, or where a sound is, changes nothing."""
    inference = load(PRETRAINED / f"{name}.pth", device="cpu", precision="32")
    model = inference.model
    assert model.producer is BOXES and model.last.network.pointer.shown is None and model.points_at == ("person",)
    one = window(seed=3)
    with torch.no_grad():
        people = objects((40, 0), (-100, 0))
        due = model.last.network(one, people)
        for azimuth in (-170, -100, -20, 35, 40, 90):
            sinks = torch.cat([people, thing(azimuth, -10, SINK, 50), thing(azimuth, 0, PHONE, 50)], dim=2)
            torch.testing.assert_close(model.last.network(one, sinks), due, atol=1e-6, rtol=0)
        assert (model.last.network(one, None) - due).abs().max() > 1e-3  # people do change it


def test_every_thing_that_is_supposed_is_one_of_coco_and_has_a_size():
    for names in (*SOUNDING_THINGS.values(), FURNITURE):
        assert all(coco_number(name) is not None and name in USUAL_SIZES_M for name in names)
    assert set(USUAL_SIZES_M) <= set(COCO_CLASSES)
    assert all(name == name.lower() for name in SOUNDING_THINGS)
    sounding = {name for names in SOUNDING_THINGS.values() for name in names}
    assert {"cell phone", "tv", "sink", "refrigerator"} <= sounding & set(FURNITURE)  # they stand about silently too


def placed(rows: np.ndarray, kinds: tuple[str, ...]) -> np.ndarray:
    """Azimuth and elevation in degrees of the rows of some classes."""
    mine = rows[np.isin(rows[:, 5], [1 + COCO_CLASSES.index(kind) for kind in kinds])]
    return np.stack([180 - 180 * (mine[:, 0] + mine[:, 2]), 90 - 90 * (mine[:, 1] + mine[:, 3])], axis=1)


def test_things_that_make_labelled_sounds_are_supposed_where_they_are_labelled(tmp_path):
    """Telephones in three of five recordings; people as without things; others stand about, sounding or not."""
    one = labelled(tmp_path, [(TELEPHONE, 0, 60, 10, 2.0), (SPEECH, 0, -30, 5, 2.0), (TAP, 0, -120, -20, 1.5)])
    plain, supposed = SupposedBoxes(STARSS23_CLASSES, no_boxes), SupposedBoxes(STARSS23_CLASSES, no_boxes, things=True)
    time_s, heard, others, sinks = np.array([0.0, 0.7, 1.9]), 0, [], 0
    for number in range(60):
        named = replace(one, name=f"clip{number}")
        rows = supposed(named, time_s)
        assert rows.shape == (3, ROWS, NUMBERS) and rows.dtype == np.float32
        np.testing.assert_array_equal(rows[:, :PEOPLE_ROWS, :4], plain(named, time_s))
        np.testing.assert_array_equal(rows, supposed(named, time_s))
        things = rows[0, PEOPLE_ROWS:]
        things = things[things.any(axis=-1)]
        assert (things[:, 4] >= 0.2).all() and (things[:, 4] <= 1).all() and (np.diff(things[:, 4]) <= 0).all()
        heard += bool((np.abs(placed(things, ("cell phone",)) - [60, 10]) < 1).all(axis=1).any())
        sinks += bool((np.abs(placed(things, ("sink",)) - [-120, -20]) < 1).all(axis=1).any())
        others.append(len(things))
    assert 0.4 * 60 < heard < 0.8 * 60 and 0.4 * 60 < sinks < 0.8 * 60
    assert min(others) <= 1 and 6 <= max(others) <= THING_ROWS and 3 < np.mean(others) < 7
    seen = replace(one, video=tmp_path / "v.mp4")
    given = np.ones((3, ROWS, NUMBERS), np.float32)
    assert (SupposedBoxes(STARSS23_CLASSES, lambda *_: given, things=True)(seen, time_s) == 1).all()


def test_a_supposed_thing_has_its_usual_size(tmp_path):
    one = labelled(tmp_path, [(TELEPHONE, 0, 179.9, 0, 2.0)])
    rows = TrueBoxes(STARSS23_CLASSES, things=True)(one, np.array([1.0]))[0, PEOPLE_ROWS:]
    (left, right) = sorted(rows[rows.any(axis=-1)].tolist())  # in two at the seam
    wide, high = USUAL_SIZES_M["cell phone"]
    assert left[0] == 0 and right[2] == 1 and left[4:] == right[4:] == [1, PHONE]
    assert left[2] + 1 - right[0] == pytest.approx(math.degrees(2 * math.atan(wide / 2 / 2.0)) / 360, rel=1e-3)
    assert right[3] - right[1] == pytest.approx(math.degrees(2 * math.atan(high / 2 / 2.0)) / 180, rel=1e-3)


def test_true_boxes_show_things_while_they_sound(tmp_path):
    one = labelled(tmp_path, [(MUSIC, 0, 45, 0, 3.0), (DOMESTIC, 1, -45, 0, 3.0), (SPEECH, 0, 100, 0, 2.0)],
                   frames=range(2, 5))  # fmt: skip
    one = replace(one, samples=100 * 24000, rate_hz=24000)
    rows = TrueBoxes(STARSS23_CLASSES, things=True)(one, np.array([0.3, 1.4, 3.0]))
    np.testing.assert_array_equal(rows[:, :6, :4], TrueBoxes(STARSS23_CLASSES)(one, np.array([0.3, 1.4, 3.0])))
    assert (rows[:, PEOPLE_ROWS:].any(axis=-1).sum(axis=1) == [2, 2, 0]).all()  # up to a second longer
    np.testing.assert_allclose(placed(rows[0, PEOPLE_ROWS:], ("tv",)), [[45, 0]], atol=1e-3)


def test_sources_whose_elevation_nobody_knows_are_no_things(tmp_path, monkeypatch):
    """As in stereo sets; and no number is NaN."""
    one = labelled(tmp_path, [(TELEPHONE, 0, 60, 0, 2.0)])
    table = Labels(13)(one)
    table = table.replace(elevation_deg=np.full(len(table), np.nan))
    monkeypatch.setattr(Labels, "__call__", lambda self, recording: table)
    time_s = np.array([0.5])
    assert not TrueBoxes(STARSS23_CLASSES, things=True)(one, time_s).any()
    for number in range(20):
        rows = SupposedBoxes(STARSS23_CLASSES, no_boxes, things=True)(replace(one, name=str(number)), time_s)
        assert np.isfinite(rows).all() and (np.abs(placed(rows[0], ("cell phone",))[:, :1] - 60) > 1).all()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tiny_root(tmp_path_factory.mktemp("data") / "data_tiny", seconds=5.5, video=True)


def trained(root: Path, *flags: str) -> Path:
    options = ["--system", "avseld", *SMALL, "-b", "2", "-i", "2", "-s", "2", "--device", "cpu", "--detector", TV]
    made = run_folder(root, "-train", *options, *flags)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def run(root) -> Path:
    for video in sorted(root.rglob("video_dev/dev-train*/*.mp4")):
        colours(video, 55)
    return trained(root, "-val")


def test_a_system_that_looks_at_things_trains_streams_and_makes_old_files_anew(
    run, root, tmp_path, monkeypatch, capsys
):
    content = load_checkpoint(checkpoints_of(run)[-1])
    assert content.stages["main"].settings["things"] is True
    assert load(run, device="cpu").model.producer is OBJECTS
    files = sorted(root.rglob("*.boxes-person_and_tv.npz"))
    assert files and all(read_boxes(path).things is not None for path in files)
    test = next(path for path in files if "test" in path.parent.name)
    before_things(test)
    flags = ["-eval", "-em", str(run), "--device", "cpu"]
    assert run_main(seld.main, flags) == 0
    assert read_boxes(test).things is not None
    capsys.readouterr()
    for boxes in ("empty", "true"):
        assert run_main(seld.main, [*flags, "--boxes", boxes]) == 0
    said = capsys.readouterr().out
    assert "people and things" in said and "points at what training has shown: person, tv" in said
    monkeypatch.chdir(tmp_path)
    recording(Path("a.wav"), 11.0)
    colours(Path("a.mp4"), 100)
    Path("t.json").write_text('{"threshold_presence": %s, "threshold_unification": 15}' % ([0.01] * 13))
    flags = ["-em", str(run), "--threshold-config", "t.json", "--device", "cpu", "--detector", TV]
    assert run_main(seld.main, ["-infer", "a.wav", "a.mp4", "--player", "never", *flags]) == 0
    expected = read_events("a_seld/a.csv", "dcase2023")
    about = json.loads(Path("a_seld/a.json").read_text())
    assert about["points_at"] == ["person", "tv"]
    assert len(expected) and read_boxes(next(Path("a_seld").glob("*.npz"))).things.count.any()
    capsys.readouterr()
    assert run_main(seld.main, ["-infer", "a.wav", "a.mp4", "--stream", *flags]) == 0
    assert same(parse_events(capsys.readouterr().out, dialect_named("dcase2023")), expected)
    assert run_main(seld.main, ["-infer", "a.wav", "--no-video", "--player", "never", *flags]) == 0
    assert not same(read_events("a_seld/a.csv", "dcase2023"), expected)


def test_a_training_on_people_alone_keeps_to_boxes(root):
    made = trained(root, "--set", "things=false", "-i", "1", "-s", "1")
    content = load_checkpoint(checkpoints_of(made)[-1])
    assert load(made, device="cpu").model.producer is BOXES
    assert not any("shown" in name for name in content.stages["main"].weights)


def test_a_run_that_was_begun_before_there_were_things_goes_on_without(root, monkeypatch):
    with monkeypatch.context() as before:
        before.setitem(presets()["avseld"].settings, "things", False)
        made = trained(root, "-s", "1")
    whole = load_checkpoint(checkpoints_of(made)[-1]).stages["main"].trained["weights"]
    checkpoints_of(made)[-1].unlink()
    files = sorted(root.rglob("*.boxes-person_and_tv.npz"))
    for path in files:
        before_things(path)
    assert run_main(seld.main, ["-train", "--resume", str(made)]) == 0
    assert files and all(read_boxes(path).things is None for path in files)  # nor looks for any
    state = load_checkpoint(checkpoints_of(made)[-1]).stages["main"]
    assert state.settings["things"] is False and state.trained["weights"].keys() == whole.keys()
    assert all(torch.equal(value, whole[name]) for name, value in state.trained["weights"].items())


@pytest.mark.slow
@pytest.mark.skipif(not exporter_is_there(), reason="needs requirements-export.txt")
def test_a_graph_looks_at_things_too(tmp_path):
    """The exporter's own comparison draws things of all classes; here one is put where it hears something."""
    settings = {"filters": "4,4,8,8", "channels": 16}
    path = untrained_system(tmp_path / "a.pth", "avseld", visual=True, settings=settings)
    stage = load(path, device="cpu").model.last
    stage.network.pointer.shown[1:] = True
    with torch.no_grad():
        stage.network.pointer.thing.fill_(1.0)
    session = open_session(export_stage(stage, 4, OBJECTS), torch.device("cpu"))
    sound = {one.name: one.shape for one in session.get_inputs()}
    assert list(sound["visual"][1:]) == [50, ROWS, NUMBERS]
    waveform = bursts(6.0)[None, :, : int(sound["waveform"][2])]
    fed = {"waveform": waveform, "inside": np.ones((1, 250), dtype=bool)}
    rows = np.zeros((1, 50, ROWS, NUMBERS), dtype=np.float32)
    (blind,) = session.run(["raw"], {**fed, "visual": rows})
    rows[:, :, PEOPLE_ROWS] = [0.2, 0.45, 0.22, 0.5, 0.9, SINK]
    (seen,) = session.run(["raw"], {**fed, "visual": rows})
    assert np.abs(seen - blind).max() > 1e-3


def test_which_producer_a_system_has_is_told_by_its_settings():
    avseld, crnn = system_named("avseld"), system_named("crnn")
    assert avseld.producer_by({"main": {"things": True}}) is OBJECTS
    assert avseld.producer_by({"main": {}}) is avseld.producer_by({"main": {"things": False}}) is BOXES
    assert crnn.producer_by({}) is BOXES


def test_views_turn_things_with_the_sound():
    track = crowded(3)
    batch = {"waveform": torch.zeros(1, 4, 10), "visual": torch.from_numpy(PackedObjects(track).at(track.time_s)[None])}
    for view in views_of(ARRAYS["foa"], 3, oriented=True):
        made = view.of(batch)["visual"]
        assert made.shape == batch["visual"].shape
        np.testing.assert_array_equal(made[0].numpy(), view.swap.looks(batch["visual"][0].numpy(), oriented=True))


def test_rows_come_as_they_are_needed(tmp_path):
    video = colours(tmp_path / "a.mp4")
    found = boxes_as_needed(video, Detector(TV), Placement(yaw_deg=90.0), 0.5, producer=OBJECTS)
    first, second = next(found), next(found)
    assert first.shape == OBJECTS.shape and (second[PEOPLE_ROWS:, 5] == 1 + COCO_CLASSES.index("tv")).any()
    plain = next(boxes_as_needed(video, Detector(TV), Placement(yaw_deg=90.0), 0.5))
    np.testing.assert_array_equal(first[:PEOPLE_ROWS, :4], plain)


@pytest.mark.parametrize("producer", [BOXES, OBJECTS])
@pytest.mark.parametrize("view", ["equirectangular", "perspective"])
def test_a_recording_by_itself_and_as_a_stream_is_seen_as_in_its_data_set(producer, view, tmp_path):
    """In a stereo set the camera has a view, which is brought to the sphere, whoever asks."""
    recording(tmp_path / "a.wav", 1.0)
    video, detector = colours(tmp_path / "a.mp4"), Detector(TV)
    one = replace(recording_of_file(tmp_path / "a.wav"), video=video, view=view)
    (path,) = ensure_boxes([video], TV, progress=False)
    time_s = np.array([0.0, 0.5, 1.0])
    due = Boxes(TV, producer=producer)(one, time_s)
    track = read_boxes(path)
    held = PackedObjects(track) if producer.things else track
    np.testing.assert_array_equal(PlacedSight(held, Placement(), producer)(one, time_s), due)
    stream = boxes_as_needed(video, detector, Placement(), 0.5, producer=producer, view=view)
    np.testing.assert_array_equal(np.stack([next(stream) for _ in time_s]), due)
    plain = track.at(time_s)
    assert plain.any() and np.array_equal(due[:, :PEOPLE_ROWS, :4], plain) == (view == "equirectangular")
