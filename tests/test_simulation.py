"""Scenes: the label rule, what composed clips must satisfy, sounds and their splits, places and ways."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import librosa
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset.classes import STARSS23_CLASSES
from simulation.bank import Bank
from simulation.compose import compose
from simulation.labels import active_frames, active_intervals_s, label_table, rounded
from simulation.plan import deal, make_plan
from simulation.render import render
from simulation.scene import Event, Room, Scene, Trajectory
from simulation.settings import Settings
from simulation.sounds import CLASS_NAMES, GENERATORS, RATE_HZ, Range, levelled, sound_class, synthesize
from simulation.sounds.primitives import frame_times_s, shape_spectrum
from simulation.streams import stream
from util.errors import InputError
from util.microphone_arrays import ARRAYS

FAST = settings(max_examples=25, deadline=None)


def event(sound: np.ndarray, start_s: float, positions: np.ndarray, times: np.ndarray | None = None) -> Event:
    times = np.zeros(1) if times is None else times
    path = Trajectory(times, np.asarray(positions, dtype=np.float64).reshape(-1, 3))
    return Event(3, "Telephone", start_s, np.asarray(sound, dtype=np.float32), {}, path, "object", 0)


# --- labels -----------------------------------------------------------------------------------------------------------


def frames_by_counting(one: Event, rate_hz: int, frames: int) -> list[int]:
    """The label rule word by word, sample by sample."""
    loud = np.abs(one.sound) > 0.01 * np.abs(one.sound).max()
    sounding = loud.copy()
    at = np.flatnonzero(loud)
    for before, after in itertools.pairwise(at):
        if (after - before - 1) / rate_hz < 0.3:
            sounding[before:after] = True
    arrival = one.start_s + np.arange(len(loud)) / rate_hz
    arrival = arrival + np.linalg.norm(one.trajectory.at(arrival), axis=1) / 343.0
    frame = np.floor(arrival / 0.1 + 1e-9).astype(int)
    counts = Counter(frame[sounding & (frame < frames)].tolist())
    active = sorted(f for f, count in counts.items() if count / rate_hz >= 0.05 - 1e-9)
    if not active and counts:
        most = max(counts.values())
        active = [min(f for f, count in counts.items() if count == most)]
    return active


@FAST
@given(
    parts=st.lists(st.tuples(st.integers(1, 900), st.integers(1, 700)), min_size=1, max_size=5),
    start=st.integers(0, 3000),
    distance=st.floats(1, 8),
)
def test_label_rule_is_that_of_counting_samples(parts, start, distance):
    rate_hz = 1000
    sound = np.concatenate([np.concatenate([np.ones(on), np.zeros(off)]) for on, off in parts])
    one = event(sound, start / rate_hz, [distance, 0, 0])
    # a sample lasts a millisecond here: frames covered within two samples of 50 ms may go either way
    found, counted = set(active_frames(one, rate_hz, 60).tolist()), set(frames_by_counting(one, rate_hz, 60))
    for frame in found ^ counted:
        arrivals = active_intervals_s(one.sound, rate_hz) + one.start_s + distance / 343.0
        covered = np.clip(
            np.minimum(arrivals[:, 1], 0.1 * frame + 0.1) - np.maximum(arrivals[:, 0], 0.1 * frame), 0, None
        )
        assert abs(covered.sum() - 0.05) < 0.0021 or len(found) == len(counted) == 1
    assert found or not counted


def test_pauses_from_three_tenths_on_are_no_sound():
    rate_hz = 1000
    for pause, intervals in ((299, 1), (300, 2)):
        sound = np.concatenate([np.ones(200), np.zeros(pause), np.ones(200)])
        assert len(active_intervals_s(sound, rate_hz)) == intervals
    assert len(active_intervals_s(np.zeros(10), rate_hz)) == 0


def test_a_frame_needs_50_ms_or_to_be_the_only_one():
    rate_hz, here = 1000, [0.0343, 0, 0]  # 0.1 ms away

    def frames(start_s, length):
        return active_frames(event(np.ones(length), start_s - 1e-4, here), rate_hz, 50).tolist()

    assert frames(0.95, 150) == [9, 10]
    assert frames(0.951, 149) == [10]
    assert frames(1.02, 1) == [10]  # a click
    assert frames(1.08, 50) == [11]  # 20 ms here, 30 ms there
    assert frames(4.999, 1) == [49]
    assert frames(5.5, 100) == []  # after the end


def test_the_decay_below_40_db_is_over():
    sound = np.exp(-np.arange(2000) / 200)
    assert active_intervals_s(sound, 1000)[0, 1] == pytest.approx(0.2 * np.log(100), abs=0.002)


@settings(max_examples=8, deadline=None)
@given(tenth=st.integers(2, 7), early=st.booleans(), distance=st.floats(1.0, 3.5))
def test_a_click_sounds_in_the_frame_of_its_label(tenth, early, distance):
    """Emitted so that it arrives 3 ms before or after the edge of a frame."""
    arrival = tenth / 10 + (-0.003 if early else 0.003)
    click = np.zeros(24)
    click[0] = 0.5
    one = event(click, arrival - distance / 343.0, [distance, 0.3, 0.2])
    one = replace(one, start_s=arrival - float(np.linalg.norm(one.trajectory.position_m)) / 343.0)
    room = Room("room1", (9.0, 9.0, 3.0), (4.5, 4.5, 1.5), 0.3)
    scene = Scene("clip", "train", 1, 1.0, RATE_HZ, room, (one,), (), (), 60.0)
    wave = render(scene, [ARRAYS["foa"]], seed=1)["foa"][0]
    table = label_table(scene)
    assert table.frame.tolist() == [int(np.argmax(np.abs(wave)) / RATE_HZ / 0.1)] == [tenth - early]


def test_labels_stand_at_the_frames_centre_and_are_rounded_once():
    times = np.array([0.0, 2.0])
    one = event(np.ones(2 * RATE_HZ), 0.0, [[2, -0.5, 0], [-2, -0.5, 1]], times)
    room = Room("room1", (9.0, 9.0, 3.0), (4.5, 4.5, 1.5), 0.3)
    table = label_table(Scene("clip", "train", 1, 2.0, RATE_HZ, room, (one,), (), (), 60.0))
    centre = one.trajectory.at((table.frame + 0.5) * 0.1)
    assert np.allclose(table.azimuth_deg, np.rad2deg(np.arctan2(centre[:, 1], centre[:, 0])))
    assert np.allclose(table.distance_m, np.linalg.norm(centre, axis=1))
    whole = rounded(table.replace(azimuth_deg=np.full(len(table), 179.6)))
    assert set(whole.azimuth_deg) == {-180.0}
    assert np.array_equal(np.rint(whole.distance_m * 100), np.rint(table.distance_m * 100))


# --- the plan ---------------------------------------------------------------------------------------------------------


@FAST
@example(sizes=[0], spread=[8, 8, 8, 8], classes=13, seed=82)  # the first deal comes to a halt
@given(
    sizes=st.lists(st.integers(0, 15), min_size=1, max_size=12),
    spread=st.lists(st.integers(8, 13), min_size=4, max_size=10),
    classes=st.integers(1, 13),
    seed=st.integers(0, 99),
)
def test_the_deck_is_balanced_and_spread(sizes, spread, classes, seed):
    hands = deal(np.random.default_rng(seed), sizes, classes)
    assert [len(hand) for hand in hands] == sizes
    counts = Counter(card for hand in hands for card in hand)
    numbers = [counts[index] for index in range(classes)]
    assert max(numbers) - min(numbers) <= 1
    hands = deal(np.random.default_rng(seed), spread, classes)
    for index in range(classes):
        assert sum(index in hand for hand in hands) >= min(3, sum(hand.count(index) for hand in hands))


@pytest.mark.parametrize("seed", range(4))
def test_default_plan_keeps_its_promises(seed):
    plans = make_plan(Settings(seed=seed))
    train = [plan for plan in plans if plan.split == "train"]
    test = [plan for plan in plans if plan.split == "test"]
    assert (len(train), len(test)) == (24, 8)
    for index in range(13):
        assert sum(plan.classes.count(index) for plan in train) >= 20
        assert sum(plan.classes.count(index) for plan in test) >= 6
        assert sum(index in plan.classes for plan in test) >= 3
    assert len({plan.room.name for plan in train}) >= 4 and len({plan.room.name for plan in test}) >= 2
    assert not {plan.room.name for plan in train} & {plan.room.name for plan in test}
    assert len({plan.name for plan in plans}) == 32
    assert sum(plan.moving for plan in plans) == pytest.approx(0.3 * sum(len(p.classes) for p in plans), abs=1.5)


# --- composed clips ---------------------------------------------------------------------------------------------------


def check_clip(scene: Scene, asked: Settings) -> None:
    table = label_table(scene)
    frames = int(np.ceil(asked.seconds * 10 - 1e-9))
    assert len(table) == 0 or table.frame.max() < frames
    assert np.bincount(table.frame, minlength=frames).max(initial=0) <= asked.overlap
    near, far = asked.distance_m
    assert table.distance_m.min(initial=near) >= near - 1e-6 and table.distance_m.max(initial=far) <= far + 1e-6
    keys = list(zip(table.frame.tolist(), table.class_index.tolist(), table.source.tolist()))
    assert len(set(keys)) == len(keys)
    # every event has a label, and nothing else has one
    assert {(e.class_index, e.source) for e in scene.events} == {(k[1], k[2]) for k in keys}
    for one in scene.events:
        assert 0 <= one.start_s and one.start_s + len(one.sound) / RATE_HZ <= asked.seconds
        assert one.sound.dtype == np.float32 and 0 < np.abs(one.sound).max() <= 0.45 + 1e-6
    # people: half are silent, voices fit, parts of the body are where they belong
    people = {person.source: person for person in scene.people}
    mine = [one for one in scene.events if one.source in people]
    for one in mine:
        now = [o for o in mine if o.start_s <= one.start_s < o.start_s + len(o.sound) / RATE_HZ]
        assert 2 * len({o.source for o in now}) <= len(people) and len({o.source for o in now}) == len(now)
        feet = people[one.source].feet.at(one.trajectory.time_s)
        assert np.allclose(feet[:, :2], one.trajectory.position_m[:, :2])
        assert one.anchor == {0: "mouth", 1: "mouth", 2: "hands", 4: "mouth", 6: "feet"}[one.class_index]
        sex = people[one.source].appearance.get("sex")
        assert one.class_index > 1 or sex == ("female", "male")[one.class_index]
    assert {one.class_index for one in scene.events if one.source not in people} <= {3, 5, 7, 8, 9, 10, 11, 12}
    sources = [actor.source for actor in (*scene.people, *scene.things)]
    assert len(set(sources)) == len(sources)
    # everything is inside the room, nobody runs
    size, listener = np.array(scene.room.size_m), np.array(scene.room.listener_m)
    for path in (
        [p.feet for p in scene.people] + [t.centre for t in scene.things] + [e.trajectory for e in scene.events]
    ):
        corner = path.position_m + listener
        assert (corner >= -1e-9).all() and (corner <= size + 1e-9).all()
        if path.moving:
            way = np.linalg.norm(np.diff(path.position_m, axis=0), axis=1)
            speed = way / np.diff(path.time_s)
            assert np.quantile(speed, 0.9) < 2.5


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    seconds=st.sampled_from([1.0, 4.3, 12.0]),
    overlap=st.integers(1, 4),
    moving=st.sampled_from([0.0, 0.3, 1.0]),
    distance=st.sampled_from([(1.0, 4.0), (0.6, 2.5)]),
)
def test_composed_clips_keep_the_rules(seed, seconds, overlap, moving, distance):
    asked = Settings(seed=seed, train=1, test=1, seconds=seconds, overlap=overlap, polyphony=0.45 * overlap,
                     moving=moving, distance_m=distance)  # fmt: skip
    asked.check()
    for plan in make_plan(asked):
        scene = compose(asked, plan, Bank())
        check_clip(scene, asked)
        if moving == 0.0:
            assert not any(one.trajectory.moving for one in scene.events)


def test_default_clips_are_as_full_and_as_moving_as_asked():
    asked = Settings(seed=5)
    scenes = [compose(asked, plan, Bank()) for plan in make_plan(asked)[:8]]
    for scene in scenes:
        check_clip(scene, asked)
    polyphony = np.concatenate([np.bincount(label_table(s).frame, minlength=300) for s in scenes])
    assert 1.1 < polyphony.mean() < 1.6 and polyphony.max() == 3 and (polyphony == 0).mean() < 0.35
    events = [one for scene in scenes for one in scene.events]
    assert np.mean([one.trajectory.moving for one in events]) == pytest.approx(0.3, abs=0.05)
    azimuth = np.concatenate([label_table(scene).azimuth_deg for scene in scenes])
    assert np.histogram(azimuth, bins=8, range=(-180, 180))[0].min() > 0.03 * len(azimuth)
    # silent people walk as well: moving must not give away who sounds
    silent = [p for s in scenes for p in s.people if p.source not in {e.source for e in s.events}]
    assert np.mean([person.feet.moving for person in silent]) > 0.5


def test_same_class_overlaps_where_asked():
    asked = Settings(seed=2, train=6, test=0, same_class=1.0, train_rooms=1)
    both = 0
    for plan in make_plan(asked):
        table = label_table(compose(asked, plan, Bank()))
        pairs = Counter(zip(table.frame.tolist(), table.class_index.tolist()))
        both += max(pairs.values()) > 1
    assert both >= 4  # a deck may give a clip no pair


def test_direction_grid():
    asked = Settings(seed=3, train=3, test=0, seconds=20.0, doa_grid_deg=10.0, doa_offset_deg=5.0)
    for plan in make_plan(asked):
        scene = compose(asked, plan, Bank())
        check_clip(scene, asked)
        table = label_table(scene)
        for angle in (table.azimuth_deg, table.elevation_deg):
            assert np.abs((angle - 5.0) / 10.0 - np.rint((angle - 5.0) / 10.0)).max() < 1e-6
    with pytest.raises(InputError, match="no direction of this grid"):
        asked = Settings(seed=3, train=4, test=0, seconds=30.0, doa_grid_deg=90.0)
        for plan in make_plan(asked):
            compose(asked, plan, Bank())


def test_a_clip_depends_on_nothing_but_its_own_streams():
    asked = Settings(train=2, test=1, seconds=6.0)
    plans = make_plan(asked)
    backwards = {plan.name: compose(asked, plan, Bank()) for plan in reversed(plans)}
    for plan in plans:
        for one, other in zip(compose(asked, plan, Bank()).events, backwards[plan.name].events):
            assert one.start_s == other.start_s and one.made_of == other.made_of
            assert np.array_equal(one.sound, other.sound)
    other = make_plan(Settings(train=2, test=1, seconds=6.0, seed=1))
    assert [plan.room.size_m for plan in other] != [plan.room.size_m for plan in plans]
    assert stream(0, "a", "b").random() != stream(0, "ab").random()


# --- sounds -----------------------------------------------------------------------------------------------------------


def test_classes_are_those_that_readers_have():
    assert CLASS_NAMES == STARSS23_CLASSES


@FAST
@given(low=st.floats(0.01, 1e3), ratio=st.floats(1.01, 10), log=st.booleans(), seed=st.integers(0, 999))
def test_ranges_alternate_and_never_meet(low, ratio, log, seed):
    one = Range(low, low * ratio, log)
    rng = np.random.default_rng(seed)
    for split, other in (("train", "test"), ("test", "train")):
        value = one.draw(rng, split)
        assert any(a <= value <= b for a, b in one.intervals(split))
        assert not any(a <= value <= b for a, b in one.intervals(other))
    merged = sorted((edges, split) for split in ("train", "test") for edges in one.intervals(split))
    assert [split for _, split in merged] == ["train", "test"] * 4
    assert all(first[0][1] < second[0][0] for first, second in itertools.pairwise(merged))


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator(name):
    generator = GENERATORS[name]
    index = next(i for i in range(13) if generator in sound_class(i).generators)
    shortest, longest = sound_class(index).duration_s
    fits = generator.fits[0] if generator.fits else None
    for split, duration_s in (("train", 0.6), ("test", shortest), ("train", longest)):
        sound, made_of = synthesize(index, np.random.default_rng(4), split, duration_s, fits=fits)
        again, _ = synthesize(index, np.random.default_rng(4), split, duration_s, fits=fits)
        assert np.array_equal(sound, again)
        assert made_of["generator"] == name and set(made_of) - {"generator"} == set(generator.ranges)
        assert sound.shape == (round(duration_s * RATE_HZ),) and np.isfinite(sound).all()
        intervals = active_intervals_s(sound, RATE_HZ)
        assert intervals[0, 0] < 0.15 and intervals[-1, 1] > duration_s - max(0.65, 0.3 * duration_s)
        assert np.ptp(intervals, axis=1).sum() > 0.3 * duration_s
        assert abs(sound.mean()) < 0.1 * sound.std()


def test_levels():
    rng = np.random.default_rng(0)
    steady = levelled(rng.standard_normal(RATE_HZ), 6.0)
    assert steady.std() == pytest.approx(0.04 * 10 ** (6 / 20), rel=1e-3)
    click = np.zeros(RATE_HZ)
    click[::4000] = 1.0
    assert np.abs(levelled(click, 20.0)).max() == pytest.approx(0.45)
    assert not levelled(np.zeros(100), 0.0).any()


def test_spectral_shaping_keeps_time_and_level():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(5000)
    gains = np.ones((len(frame_times_s(5000)), 513))
    assert np.allclose(shape_spectrum(noise, gains), noise, atol=1e-9)
    click = np.zeros(5000)
    click[2500] = 1.0
    assert np.argmax(np.abs(shape_spectrum(click, gains * np.hanning(513)))) == 2500


def features(sound: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(y=sound, sr=RATE_HZ, n_fft=512, hop_length=240, n_mels=40)
    log = np.log(mel + 1e-6)
    level = log.mean(axis=0)
    loud = log[:, level > level.max() - 7]
    change = np.diff(log, axis=1)
    rhythm = (
        np.abs(np.fft.rfft((level - level.mean()) * np.hanning(len(level)), 2048))[10:420].reshape(41, 10).mean(axis=1)
    )
    return np.concatenate(
        [loud.mean(axis=1) - loud.mean(), loud.std(axis=1), change.std(axis=1), np.log(rhythm + 1e-3)]
    )


@pytest.mark.slow
def test_classes_can_be_told_apart_across_the_splits():
    """A linear classifier that hears 12 sounds of each class of train knows most of test's."""

    def make(split, count):
        rows = []
        for index in range(13):
            rng = stream(7, split, index)
            for _ in range(count):
                sound, _ = synthesize(index, rng, split, min(3.0, sound_class(index).duration_s[1]))
                rows.append((features(sound), index))
        return np.array([row for row, _ in rows]), np.array([index for _, index in rows])

    (x, y), (x_test, y_test) = make("train", 12), make("test", 4)
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, x_test = (x - mean) / spread, (x_test - mean) / spread
    weights = np.linalg.solve(x.T @ x + 30 * np.eye(x.shape[1]), x.T @ (np.eye(13)[y] - 1 / 13))
    found = (x_test @ weights).argmax(axis=1)
    assert (found == y_test).mean() > 0.8
