"""Directions without a model: bands, mixtures, tracks; figures on simulated scenes; geometry of arrays."""

import numpy as np
import pytest

from bench.direction_scenes import Source, direction_scene
from bench.directions import judged
from localization.ambisonics import AmbisonicBands
from localization.localizer import Localizer
from localization.mixture import DirectionMixture, Peaks
from localization.steered import SteeredBands, grid_of, steering
from localization.tracking import SourceTracker
from simulation.receivers import receiver_for
from util.angles import angle_between_deg, degrees_from_direction, direction_from_degrees
from util.errors import InputError
from util.microphone_arrays import ARRAYS, Array

RESPEAKER = Array("respeaker", "capsules", ((45, 0), (135, 0), (-135, 0), (-45, 0)), 0.0325)
LINE = Array("line", "capsules", ((90, 0), (90, 0), (-90, 0), (-90, 0)), 0.06, "open", (0.06, 0.02, 0.02, 0.06))


def open_field(array: Array, direction: np.ndarray, samples: int = 12000, seed: int = 0) -> np.ndarray:
    """A plane wave of noise at the capsules of an open array (channels, samples), exact delays."""
    noise = np.random.default_rng(seed).standard_normal(samples)
    frequency = np.fft.rfftfreq(samples, 1 / 24000)
    early_s = array.positions_m() @ direction / 343.0
    return np.fft.irfft(np.fft.rfft(noise) * np.exp(2j * np.pi * early_s[:, None] * frequency), samples) * 0.1


@pytest.mark.parametrize("angles_deg", [(0, 0), (-179, 20), (90, 88), (37, -60)])
def test_plane_waves_in_ambisonics(angles_deg):
    """Bands of a plane wave all point to it and weigh 1; of silence none weighs anything."""
    direction = direction_from_degrees(*angles_deg)
    noise = np.random.default_rng(1).standard_normal(4000)
    found, weight = AmbisonicBands()(np.array([1, *direction[[1, 2, 0]]])[:, None] * noise)
    assert angle_between_deg(found[weight > 0.1], direction).max() < 0.1 and weight.mean() > 0.99
    assert not AmbisonicBands()(np.zeros((4, 4000)))[1].any()


@pytest.mark.parametrize(("array", "angles_deg"), [(RESPEAKER, (-100, 0)), (RESPEAKER, (30, 40)), (LINE, (-50, 0))])
def test_plane_waves_at_open_arrays(array, angles_deg):
    direction = direction_from_degrees(*angles_deg)
    rows = localized(array, open_field(array, direction))
    found = np.array([points[0].direction for points in rows])
    # how high a source near its plane is a flat array hardly tells
    assert np.median(angle_between_deg(found, direction)) < (12 if array is RESPEAKER and not angles_deg[1] else 2.5)
    off_deg = degrees_from_direction(found)[0] - angles_deg[0]
    assert np.median(np.abs(off_deg)) < 2.5


def test_the_sphere_of_the_simulator_is_that_of_the_steering():
    """Phases of the rigid array are those that the simulator gives plane waves."""
    direction, frequency_hz = direction_from_degrees([20.0, -130.0], [10.0, -40.0]), np.array([500.0, 2000.0, 6000.0])
    response = receiver_for(ARRAYS["mic"], 24000).response(direction, frequency_hz)
    ours = steering(ARRAYS["mic"], direction, frequency_hz)
    assert np.abs(response / np.abs(response) - ours).max() < 0.03  # angles are rounded to half degrees


def test_what_arrays_cannot_tell():
    grid, told = grid_of(LINE)
    azimuth_deg, elevation_deg = degrees_from_direction(grid)
    assert "cone" in told and np.abs(elevation_deg).max() < 1e-6 and np.abs(azimuth_deg).max() <= 90.01
    grid, told = grid_of(RESPEAKER)
    assert "below from above" in told and grid[:, 2].min() > -1e-9
    assert grid_of(ARRAYS["mic"])[1] == ""
    assert "cone" in grid_of(ARRAYS["binaural"])[1]
    # a source behind a line of capsules shows mirrored
    behind = direction_from_degrees(130, 0)
    rows = localized(LINE, open_field(LINE, behind))
    assert abs(degrees_from_direction(rows[3][0].direction)[0] - 50) < 3
    upright = Array("mast", "capsules", ((0, 90), (0, -90)), 0.1)
    assert "elevation alone" in grid_of(upright)[1]
    for capsules in (((0, 0),), ((0, 0), (0, 0))):
        with pytest.raises(InputError, match="capsule"):
            SteeredBands(Array("one", "capsules", capsules, 0.05))


def test_mixture_tells_near_sources_apart():
    """Two heaps 30 degrees apart that make one hill are two; one heap twice as wide is one."""
    rng, mixture = np.random.default_rng(0), DirectionMixture()
    centre = direction_from_degrees([10.0, 40.0], [0.0, 0.0])

    def heap(middle, spread_deg, count=1000):
        found = middle + np.deg2rad(spread_deg) * rng.standard_normal((count, 3))
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    both = np.concatenate([heap(one, 8) for one in centre])
    peaks = mixture.peaks(mixture.evidence(both[None], np.full((1, len(both)), 0.15))[0], most=5, least=0.1)
    assert len(peaks) == 2
    assert (angle_between_deg(peaks.direction[:, None], centre).min(axis=0) < 6).all()
    one = heap(centre[0], 8, 2000)
    peaks = mixture.peaks(mixture.evidence(one[None], np.full((1, len(one)), 0.15))[0], most=5, least=0.1)
    assert len(peaks) == 1 and angle_between_deg(peaks.direction[0], centre[0]) < 2
    assert len(mixture.peaks(np.zeros((1000, 4), np.float32), most=5, least=0.0)) == 0


def localized(array, waveform, most=1, block=5000):
    localizer = Localizer(array, most)
    parts = [localizer.feed(waveform[:, start : start + block]) for start in range(0, waveform.shape[1], block)]
    return [points for part in parts for points in part] + localizer.finish()


def test_stream_is_one_whatever_the_blocks():
    scene = direction_scene([Source(40)], [ARRAYS["foa"]], rt60_s=0.3, snr_db=20, seconds=1.6)
    rows = [localized(ARRAYS["foa"], scene.waveform["foa"], block=block) for block in (777, 40000)]
    assert len(rows[0]) == len(rows[1]) == 16
    for first, second in zip(*rows):
        assert [one.track for one in first] == [one.track for one in second]
        for one, other in zip(first, second):
            assert angle_between_deg(one.direction, other.direction) < 0.01


def frames_of(paths, confidence=0.6):
    """Peaks of sources: each a function of the frame, None where it is silent."""
    out = []
    for frame in range(60):
        there = [where for path in paths if (where := path(frame)) is not None]
        direction = direction_from_degrees(there, np.zeros(len(there))).reshape(-1, 3)
        out.append(Peaks(direction, np.full(len(there), confidence)))
    return out


def tracked(paths, most=3):
    tracker = SourceTracker(most)
    return tracker.feed(frames_of(paths)) + tracker.finish()


def test_tracks_are_born_cross_pause_and_die():
    """Two sources that cross keep their numbers; a short pause is a gap of one track, a long one ends it."""
    rows = tracked([lambda f: -60 + 2 * f, lambda f: 60 - 2 * f])
    azimuth_deg = {
        number: [float(degrees_from_direction(p.direction)[0]) for r in rows for p in r if p.track == number]
        for number in (1, 2)
    }
    assert {p.track for r in rows[:25] + rows[40:] for p in r} <= {1, 2} and all(rows)
    assert azimuth_deg[1][-1] > 40 and azimuth_deg[2][-1] < -40
    rows = tracked([lambda f: None if 20 <= f < 25 else 30])
    assert {p.track for r in rows for p in r} == {1} and all(rows) and not rows[22][0].heard
    rows = tracked([lambda f: None if 20 <= f < 40 else 30])
    assert {p.track for r in rows for p in r} == {1, 2}
    assert not any(rows[20:40]) and rows[19] and rows[40]
    rows = tracked([lambda f: 30 if f in (10, 30) else None])  # a flash is no source
    assert not any(rows)
    rows = tracked([lambda f, at=at: at for at in (-150, -60, 0, 60, 150)], most=2)
    assert max(map(len, rows)) == 2


def test_a_steady_walk_is_followed_without_lag():
    rows = tracked([lambda f: -170 + 3 * f])  # 30 degrees a second
    off_deg = [angle_between_deg(r[0].direction, direction_from_degrees(-170 + 3 * f, 0)) for f, r in enumerate(rows)]
    assert max(off_deg[20:]) < 1.5


# points of the table of bench/directions.py; the limits leave room for other processors
@pytest.mark.parametrize(
    ("array", "rt60_s", "snr_db", "to_deg", "within_deg"),
    [
        ("foa", None, 20, None, 1.0),
        ("foa", 0.3, 20, None, 3.0),
        ("foa", 0.4, 30, None, 3.0),
        ("foa", 0.4, 30, 110.0, 4.0),
        ("mic", None, 20, None, 1.5),
        ("mic", 0.4, 30, None, 3.0),
    ],
)
def test_one_source_in_rooms(array, rt60_s, snr_db, to_deg, within_deg):
    scene = direction_scene([Source(50, 10, to_deg)], [ARRAYS[array]], rt60_s=rt60_s, snr_db=snr_db, seconds=5)
    result = judged(scene, ARRAYS[array])
    assert result.median_deg < within_deg and result.resolved > 0.95 and result.wrong < 0.6


def test_two_sources_in_a_room():
    scene = direction_scene([Source(10), Source(-80)], [ARRAYS["foa"]], rt60_s=0.3, snr_db=30, seconds=5)
    result = judged(scene, ARRAYS["foa"])
    assert result.resolved > 0.8 and result.median_deg < 6
