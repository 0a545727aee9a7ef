"""Physics of the simulated sound field, tested as physics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from simulation.diffuse import diffuse_noise
from simulation.figures import FIGURES
from simulation.figures import main as main_of_figures
from simulation.receivers import receiver_for
from simulation.render import GAIN, direct_delay_s, noise_rms, render
from simulation.room import (
    absorption_for_rt60,
    air_attenuation_per_m,
    image_sources,
    rt60_per_frequency,
    wall_absorption,
)
from simulation.scene import Event, Room, Scene, Trajectory
from util.angles import angle_between_deg, direction_from_degrees
from util.errors import InputError
from util.microphone_arrays import ARRAYS, SPEED_OF_SOUND_M_S, Array
from util.sphere_waves import mode_strengths, sphere_response

RATE_HZ = 24000
C = SPEED_OF_SOUND_M_S
ANECHOIC = {"max_order": 0, "tail": False, "noise": False}
CIRCLE = tuple((45.0 * k, 0.0) for k in range(8))
OPEN_8 = Array("open8", "capsules", CIRCLE, 0.05, "open")
RIGID_8 = Array("rigid8", "capsules", CIRCLE, 0.05, "rigid")


def a_room(rt60_s: float = 0.4, size_m=(6.2, 5.1, 2.9), listener_m=(2.8, 2.3, 1.4)) -> Room:
    return Room("room1", size_m, listener_m, rt60_s, absorption_for_rt60(size_m, rt60_s))


def a_scene(*events: Event, room: Room | None = None, duration_s: float = 1.0, noise_db: float = 25.0) -> Scene:
    return Scene("mix001", "train", 5, duration_s, RATE_HZ, room or a_room(), events, (), (), noise_db)


def an_event(sound: np.ndarray, path: np.ndarray | Trajectory, start_s: float = 0.0) -> Event:
    if not isinstance(path, Trajectory):
        path = Trajectory(np.zeros(1), np.asarray(path, dtype=np.float64).reshape(1, 3))
    return Event(0, "any", start_s, np.asarray(sound, dtype=np.float32), {}, path, "object", 0)


def click() -> np.ndarray:
    return np.eye(1, 16, dtype=np.float32)[0]


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ)).astype(np.float32) * 0.05


def impulse_response(position_m, array: Array, *, room: Room | None = None, seconds: float = 1.0, **options):
    """Response from the moment of emission, gain undone: (channels, samples)."""
    scene = a_scene(an_event(click(), position_m, start_s=0.01), room=room, duration_s=seconds)
    return render(scene, [array], noise=False, **options)[array.name][:, 240:] / GAIN


def intensity_deg_off(foa: np.ndarray, direction: np.ndarray) -> float:
    """Angle between the active intensity of W, Y, Z, X and a direction, in degrees."""
    w, y, z, x = foa.astype(np.float64)
    return float(angle_between_deg(np.array([w @ x, w @ y, w @ z]), direction))


DIRECTIONS = [(0, 0), (90, 0), (-90, 10), (135, -35), (-170, 42), (33, 71), (-45, -60), (180, 0)]


# ---- rooms


def test_absorption_gives_the_asked_reverberation_time():
    for rt60_s in (0.2, 0.35, 0.6):
        room = a_room(rt60_s)
        assert rt60_per_frequency(room, np.array([500.0, 1000.0])) == pytest.approx(rt60_s, rel=1e-6)
        assert np.all(np.diff(rt60_per_frequency(room, np.asarray(room.bands_hz))) <= 1e-9)


def test_air_attenuation_has_the_values_of_iso_9613():
    # ISO 9613-1, table for 20 degrees and 50 %: dB per km at 1, 4 and 8 kHz
    db_per_km = air_attenuation_per_m(np.array([1000.0, 4000.0, 8000.0])) * 1000 * 10 / np.log(10)
    assert db_per_km == pytest.approx([4.66, 29.7, 105.0], rel=0.05)


def test_images_are_the_source_mirrored_at_one_wall_after_the_other():
    """Every path of up to three mirrors; places that several paths lead to are one image, of the shortest of them."""
    room, source = a_room(), np.array([1.1, -0.7, 0.3])
    size, listener = np.asarray(room.size_m), np.asarray(room.listener_m)
    order_of, reached = {}, [tuple(listener + source)]
    for order in range(4):
        new = [place for place in reached if tuple(np.round(place, 9)) not in order_of]
        order_of |= {tuple(np.round(place, 9)): order for place in new}
        reached = []
        for place in new:
            for axis in range(3):
                for wall in (0.0, size[axis]):
                    mirrored = np.array(place)
                    mirrored[axis] = 2 * wall - mirrored[axis]
                    reached.append(tuple(mirrored))
    ours = image_sources(room, 3)
    places, orders = np.array(list(order_of)) - listener, np.array(list(order_of.values()))
    found = ours.positions(source)
    assert found.shape == places.shape == (63, 3)
    assert np.bincount(orders).tolist() == [1, 6, 18, 38]  # 4 k^2 + 2 of order k
    nearest = np.linalg.norm(found[:, None] - places[None], axis=-1)
    assert nearest.min(axis=1).max() < 1e-6 and len(set(nearest.argmin(axis=1).tolist())) == 63
    assert np.array_equal(ours.order, orders[nearest.argmin(axis=1)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: a_room(0.02, (20.0, 15.0, 8.0)), "absorb"),
        (lambda: a_room(60.0), "air"),
        (lambda: a_room(-1.0), "positive"),
        (lambda: a_room(0.4, (0.0, 5.0, 3.0)), "1 to 100 m"),
        (lambda: render(a_scene(an_event(click(), [9.0, 0, 0])), [ARRAYS["foa"]]), "outside"),
        (lambda: render(a_scene(an_event(click(), [np.nan, 0, 0])), [ARRAYS["foa"]]), "outside"),
        (lambda: render(a_scene(room=a_room(listener_m=(2.8, 7.0, 1.4))), [ARRAYS["foa"]]), "listener"),
        (lambda: render(a_scene(room=Room("r", (3, 3, 3), (1, 1, 1), 0.01)), [ARRAYS["foa"]]), "absorb"),
    ],
)
def test_an_impossible_room_is_one_clear_line(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


# ---- receivers


def test_mode_strengths_are_the_published_formula():
    frequency_hz = np.linspace(50.0, 11000.0, 200)
    kr = 2 * np.pi * frequency_hz * 0.042 / C
    cosine = np.cos(np.deg2rad(73.0))
    expected = 0.0
    for n in range(31):  # H(w) = 1/(wR/c)^2 sum i^(n-1) / h_n'^(2)(wR/c) (2n+1) P_n(cos gamma), STARSS23
        slope = spherical_jn(n, kr, True) - 1j * spherical_yn(n, kr, True)
        expected = expected + 1j ** (n - 1) / slope * (2 * n + 1) * eval_legendre(n, cosine) / kr**2
    found = sphere_response(frequency_hz, np.deg2rad([73.0]), 0.042, order=30)[0]
    assert np.abs(found - expected).max() < 1e-9


def test_sphere_limits():
    low = sphere_response(np.array([0.0, 20.0]), np.linspace(0, np.pi, 7), 0.042)
    assert np.abs(np.abs(low) - 1.0).max() < 0.01  # a long wave does not see the sphere
    front = sphere_response(np.array([11000.0]), np.array([0.0]), 0.0875)
    assert 20 * np.log10(np.abs(front[0, 0])) == pytest.approx(6.0, abs=0.7)  # pressure doubles at a wall
    frequency_hz = np.linspace(20.0, 11000.0, 50)
    free = sphere_response(frequency_hz, np.deg2rad([40.0]), 0.05, "open")
    exact = np.exp(2j * np.pi * frequency_hz * 0.05 * np.cos(np.deg2rad(40.0)) / C)
    assert np.abs(free[0] - exact).max() < 1e-9
    assert np.all(np.isfinite(mode_strengths(60, np.array([0.0, 1e-8, 1e-3, 20.0]), "rigid")))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (Array("odd", "capsules", CIRCLE, 0.05, "soft"), "baffle"),
        (Array("none", "capsules", (), 0.05, "open"), "capsules"),
        (Array("huge", "capsules", CIRCLE, 3.0, "open"), "too large"),
    ],
)
def test_an_impossible_array_is_one_clear_line(array, words):
    with pytest.raises(InputError, match=words):
        render(a_scene(), [array])


@pytest.mark.parametrize("array", [ARRAYS["mic"], ARRAYS["binaural"], RIGID_8, OPEN_8], ids=lambda a: a.name)
@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_capsules_follow_the_analytic_response(array, moving):
    """Delays and levels, as one complex ratio, of a plane wave: both ways of rendering against the closed form."""
    radius_m = 1.5
    for azimuth_deg, elevation_deg in ((20, 0), (-117, -20), (95, 33)):
        direction = direction_from_degrees(azimuth_deg, elevation_deg)
        path = direction * radius_m
        if moving:  # by the width of a hair: takes the other way through the code
            path = Trajectory(np.array([0.0, 1.0]), np.stack([path, path + 2e-6]))
        # W is the pressure in the array's absence: delay, distance and air are the same for both
        found = impulse_response(path, array, seconds=0.2, max_order=0, tail=False)
        free = impulse_response(path, ARRAYS["foa"], seconds=0.2, max_order=0, tail=False)[0]
        frequency_hz = np.fft.rfftfreq(found.shape[1], 1 / RATE_HZ)
        band = (frequency_hz > 40) & (frequency_hz < 10000)
        angle = np.arccos(np.clip(array.directions() @ direction, -1, 1))
        expected = sphere_response(frequency_hz[band], angle, array.radius_m, array.baffle)
        error = np.abs((np.fft.rfft(found) / np.fft.rfft(free))[:, band] - expected)
        assert error.max() < 0.002, (array.name, azimuth_deg, float(error.max()))


def test_foa_intensity_points_at_the_label():
    for azimuth_deg, elevation_deg in DIRECTIONS:
        direction = direction_from_degrees(azimuth_deg, elevation_deg)
        position = direction * 1.2
        foa = render(a_scene(an_event(noise(0.3), position)), [ARRAYS["foa"]], **ANECHOIC)["foa"]
        assert intensity_deg_off(foa, direction) < 0.01
        w, y, z, x = foa
        power = w @ w
        gains = np.array([y @ w, z @ w, x @ w]) / power
        assert gains == pytest.approx(direction[[1, 2, 0]], abs=1e-4)  # SN3D: sin az cos el, sin el, cos az cos el


def test_interaural_differences_have_the_right_sign_and_size():
    head_s = 0.0875 / C
    for azimuth_deg in (90, 45, 20, -20, -45, -90):
        position = direction_from_degrees(azimuth_deg, 0) * 1.5
        left, right = impulse_response(position, ARRAYS["binaural"], seconds=0.2, max_order=0, tail=False)
        frequency_hz = np.fft.rfftfreq(len(left), 1 / RATE_HZ)
        cross = np.fft.rfft(left) * np.conj(np.fft.rfft(right))
        low = (frequency_hz > 50) & (frequency_hz < 200)
        slope = np.polyfit(2 * np.pi * frequency_hz[low], np.unwrap(np.angle(cross[low])), 1)[0]
        # towards low frequencies a sphere delays by 3/2 of the geometric path (Kuhn 1977); ears at +-100 degrees
        geometric = np.sin(np.deg2rad(azimuth_deg)) * np.sin(np.deg2rad(100.0))
        assert slope == pytest.approx(3.0 * head_s * geometric, rel=0.1), azimuth_deg
        high = (frequency_hz > 4000) & (frequency_hz < 9000)
        energy = [np.sum(np.abs(np.fft.rfft(ear))[high] ** 2) for ear in (left, right)]
        level_db = 10 * np.log10(energy[0] / energy[1])
        assert np.sign(level_db) == np.sign(azimuth_deg)
        assert 3.0 < abs(level_db) < 25.0
        quiet = (frequency_hz > 50) & (frequency_hz < 200)
        energy = [np.sum(np.abs(np.fft.rfft(ear))[quiet] ** 2) for ear in (left, right)]
        assert abs(10 * np.log10(energy[0] / energy[1])) < 1.0  # long waves bend around the head
    left, right = impulse_response([1.5, 0, 0], ARRAYS["binaural"], seconds=0.2, max_order=0, tail=False)
    assert np.abs(left - right).max() < 1e-6 * np.abs(left).max() + 1e-7


# ---- propagation


def test_direct_sound_arrives_when_the_label_says_and_falls_with_distance():
    for distance_m in (0.5, 1.0, 2.3):
        position = np.array([0.6, -0.64, 0.48]) * distance_m
        response = impulse_response(position, ARRAYS["foa"], seconds=0.2, max_order=0, tail=False)[0]
        frequency_hz = np.fft.rfftfreq(len(response), 1 / RATE_HZ)
        band = (frequency_hz > 200) & (frequency_hz < 4000)
        spectrum = np.fft.rfft(response)[band]
        delay_s = -np.polyfit(2 * np.pi * frequency_hz[band], np.unwrap(np.angle(spectrum)), 1)[0]
        assert delay_s == pytest.approx(direct_delay_s(position), abs=2e-6)
        assert np.abs(spectrum).mean() == pytest.approx(np.linalg.norm(position) ** -1, rel=0.01)


def test_clicks_land_in_the_right_frame():
    starts_s = (0.003, 0.0995, 0.197, 0.55, 0.8939)
    for start_s in starts_s:
        position = np.array([2.0, 1.5, 0.4])
        foa = render(a_scene(an_event(click(), position, start_s)), [ARRAYS["foa"], ARRAYS["binaural"]], noise=False)
        arrival_s = start_s + direct_delay_s(position)
        for waveform in foa.values():
            loudest = np.argmax(np.abs(waveform).max(axis=0)) / RATE_HZ
            assert loudest == pytest.approx(arrival_s, abs=4e-4)  # half a head
            assert int(loudest / 0.1) == int(arrival_s / 0.1)
            before = waveform[:, : int((arrival_s - 0.002) * RATE_HZ)]
            assert np.sum(before**2) < 1e-4 * np.sum(waveform**2)


def a_circle(radius_m: float, speed_m_s: float, seconds: float = 3.0) -> Trajectory:
    time_s = np.linspace(0.0, seconds, int(50 * seconds) + 1)
    angle = speed_m_s / radius_m * time_s
    height = 0.4 * np.sin(2.0 * time_s)
    return Trajectory(time_s, np.stack([radius_m * np.cos(angle), radius_m * np.sin(angle), height], axis=-1))


@pytest.mark.parametrize("radius_m", [0.8, 2.0])
def test_moving_sources_are_where_the_label_is_at_each_frames_centre(radius_m):
    path = a_circle(radius_m, 1.2, 3.0)
    scene = a_scene(an_event(noise(3.0), path), duration_s=3.0)
    foa = render(scene, [ARRAYS["foa"]], **ANECHOIC)["foa"]
    for frame in range(1, 30):
        piece = foa[:, 2400 * frame : 2400 * (frame + 1)]
        assert intensity_deg_off(piece, path.at(0.1 * frame + 0.05)) < 1.0


def test_moving_and_still_rendering_agree_in_a_room():
    position = np.array([1.3, -0.9, 0.2])
    sound = noise(0.5)
    arrays = [*ARRAYS.values(), RIGID_8]
    still = render(a_scene(an_event(sound, position, 0.1234)), arrays, tail=False, noise=False)
    crawl = Trajectory(np.array([0.0, 1.0]), np.stack([position, position + 2e-6]))
    moving = render(a_scene(an_event(sound, crawl, 0.1234)), arrays, tail=False, noise=False)
    for name, expected in still.items():
        error = np.sum((moving[name] - expected) ** 2) / np.sum(expected**2)
        assert 10 * np.log10(error) < -30.0, name


def test_doppler_shift():
    speed_m_s = 2.0
    path = Trajectory(np.array([0.0, 1.0]), np.array([[3.0, 0, 0], [1.0, 0, 0]]))
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 2000.0 * time_s)
    w = render(a_scene(an_event(tone, path)), [ARRAYS["foa"]], **ANECHOIC)["foa"][0, 2400:21600]
    phase = np.unwrap(np.angle(signal.hilbert(w)))[2000:-2000]
    measured_hz = np.polyfit(np.arange(len(phase)) / RATE_HZ, phase, 1)[0] / (2 * np.pi)
    assert measured_hz == pytest.approx(2000.0 / (1.0 - speed_m_s / C), abs=0.05)


def test_moving_tone_is_clean():
    """A smoothly moving tone stays one line: cross-fades or steps would show as side bands."""
    path = a_circle(1.0, 1.5, 2.0)
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 6000.0 * time_s)
    scene = a_scene(an_event(tone, path), duration_s=2.0)
    for waveform in render(scene, [ARRAYS["foa"], ARRAYS["mic"]], **ANECHOIC).values():
        spectrum = np.abs(np.fft.rfft(waveform[0, 4800:43200] * np.hanning(38400))) ** 2
        frequency_hz = np.fft.rfftfreq(38400, 1 / RATE_HZ)
        line = np.abs(frequency_hz - 6000.0) < 45.0
        assert 10 * np.log10(spectrum[~line].sum() / spectrum[line].sum()) < -45.0


# ---- reverberation


def schroeder_rt60(response: np.ndarray, low_db: float = -5.0, high_db: float = -30.0) -> float:
    decay_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-20)
    decay_db -= decay_db[0]
    part = (decay_db < low_db) & (decay_db > high_db)
    slope = np.polyfit(np.flatnonzero(part) / RATE_HZ, decay_db[part], 1)[0]
    return -60.0 / slope


@pytest.mark.parametrize("rt60_s", [0.2, 0.3, 0.45, 0.6])
@pytest.mark.parametrize("size_m", [(4.0, 3.4, 2.5), (6.2, 5.1, 2.9), (9.0, 7.0, 3.5), (9.0, 9.0, 3.5)])
def test_energy_decays_with_the_asked_reverberation_time(rt60_s, size_m):
    listener = tuple(0.45 * side for side in size_m)
    room = a_room(rt60_s, size_m, listener)
    band = signal.butter(4, (350.0, 1400.0), "bandpass", fs=RATE_HZ, output="sos")
    for array in ARRAYS.values():
        found = []
        for position in ([1.0, 0.3, 0.1], [-1.2, 0.9, -0.3]):
            response = impulse_response(position, array, room=room, seconds=1.2)
            found.append(schroeder_rt60(signal.sosfilt(band, response[0])))
        assert np.mean(found) == pytest.approx(rt60_s, rel=0.15), (array.name, found)


def test_direct_to_reverberant_ratio_falls_with_distance():
    room = a_room(0.4, (8.0, 6.0, 3.0), (2.0, 2.6, 1.5))
    ratios = []
    for distance_m in (0.7, 1.4, 2.8, 5.6):
        position = np.array([0.98, 0.18, 0.0]) * distance_m
        response = impulse_response(position, ARRAYS["foa"], room=room)[0]
        arrival = round(direct_delay_s(position) * RATE_HZ)
        direct = np.sum(response[arrival - 24 : arrival + 36] ** 2)
        ratios.append(10 * np.log10(direct / np.sum(response[arrival + 36 :] ** 2)))
    assert np.all(np.diff(ratios) < -3.0), ratios
    assert np.all(np.diff(ratios) > -7.5), ratios  # 6 dB per doubling of distance, less what the reverberation loses


def test_late_energy_continues_the_image_sources():
    """Around the seam the energy is that of the complete image-source model (here up to order 16)."""
    room = a_room(0.45)
    reflect = 1.0 - np.interp(1000.0, room.bands_hz, wall_absorption(room))
    edges_s = np.array([0.02, 0.035, 0.05, 0.07, 0.09])
    ours, full = np.zeros(4), np.zeros(4)
    images = image_sources(room, 16)
    band = signal.butter(4, (700.0, 1400.0), "bandpass", fs=RATE_HZ, output="sos")
    reference = np.sum(signal.sosfilt(band, np.eye(1, 4800)[0]) ** 2)  # energy of a click of unit pressure in the band
    rng = np.random.default_rng(0)
    for _ in range(12):
        position = rng.uniform([-2, -2, -0.8], [2.5, 2, 0.8])
        response = signal.sosfilt(band, impulse_response(position, ARRAYS["foa"], room=room, seconds=0.4)[0])
        distance = np.linalg.norm(images.positions(position), axis=-1)
        for k in range(4):
            start, stop = (edges_s[k : k + 2] * RATE_HZ).astype(int)
            ours[k] += np.sum(response[start:stop] ** 2) / reference
            inside = (distance / C >= edges_s[k]) & (distance / C < edges_s[k + 1])
            full[k] += np.sum(reflect ** images.order[inside] / distance[inside] ** 2)
    assert np.abs(10 * np.log10(ours / full)).max() < 2.0, 10 * np.log10(ours / full)


@pytest.mark.parametrize("array", [*ARRAYS.values(), RIGID_8, OPEN_8], ids=lambda a: a.name)
def test_diffuse_noise_has_the_receivers_covariance(array):
    receiver = receiver_for(array, RATE_HZ)
    waveform = diffuse_noise(receiver, np.random.default_rng(1), 20 * RATE_HZ)
    frequency_hz, _, spectra = signal.stft(waveform, RATE_HZ, nperseg=512)
    spectra = spectra.transpose(1, 0, 2)  # bins, channels, frames
    found = (spectra @ spectra.conj().transpose(0, 2, 1)).real / spectra.shape[-1]
    expected = receiver.diffuse_covariance(frequency_hz)
    for low, high in ((300, 1000), (1000, 3000), (3000, 6000), (6000, 9000)):
        part = (frequency_hz >= low) & (frequency_hz < high)
        ratio = found[part].sum(axis=0) / found[part, 0, 0].sum()
        # noise and covariance vary over the band; compare at the noise's own spectrum
        weight = found[part, 0, 0] / expected[part, 0, 0]
        target = (expected[part] * weight[:, None, None]).sum(axis=0) / found[part, 0, 0].sum()
        assert np.abs(ratio - target).max() < 0.05, (low, high)


def test_diffuse_covariance_is_the_mean_over_plane_waves():
    """The closed form against an average of plane-wave responses over the sphere."""
    index = np.arange(4000) + 0.5
    cosine, azimuth = 1 - 2 * index / 4000, index * np.pi * (1 + 5**0.5)
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=-1)
    frequency_hz = np.array([200.0, 1000.0, 4000.0, 9000.0])
    for array in (*ARRAYS.values(), OPEN_8):
        receiver = receiver_for(array, RATE_HZ)
        response = receiver.response(direction, frequency_hz)
        mean = np.einsum("dcf,def->fce", response, response.conj()) / len(direction)
        assert np.abs(mean - receiver.diffuse_covariance(frequency_hz)).max() < 5e-3


def test_tail_and_noise_are_diffuse_at_every_receiver():
    response = impulse_response([1.0, 0.5, 0.0], ARRAYS["foa"], seconds=1.0, room=a_room(0.6))
    late = response[:, 2400:12000]
    power = np.mean(late**2, axis=1) / np.mean(late[0] ** 2)
    assert power[1:] == pytest.approx([1 / 3] * 3, rel=0.3)
    assert np.abs(np.corrcoef(late)[~np.eye(4, dtype=bool)]).max() < 0.15


def test_noise_level():
    scene = a_scene(an_event(noise(1.0), [1.5, 0, 0], 0.5), duration_s=2.0, noise_db=20.0)
    quiet = render(scene, [ARRAYS["foa"]], noise=False)["foa"]
    noisy = render(scene, [ARRAYS["foa"]])["foa"]
    ambient = noisy - quiet
    assert np.sqrt(np.mean(ambient[0] ** 2)) == pytest.approx(GAIN * noise_rms(scene), rel=0.1)
    during = quiet[0, 14000:35000]
    assert 10 * np.log10(np.mean(during**2) / np.mean(ambient[0] ** 2)) == pytest.approx(20.0, abs=1.5)
    assert np.mean(ambient[1] ** 2) / np.mean(ambient[0] ** 2) == pytest.approx(1 / 3, rel=0.15)


# ---- the whole


def busy_scene() -> Scene:
    return a_scene(
        an_event(noise(0.4, 1), [1.0, 0.4, 0.1], 0.05),
        an_event(noise(0.6, 2), a_circle(1.2, 1.0), 0.2),
        an_event(noise(0.5, 3), [-1.5, -0.8, 0.4], 0.8),  # outlasts the clip
        duration_s=1.0,
    )


def test_the_same_bytes_whatever_else_is_rendered():
    scene = busy_scene()
    together = render(scene, list(ARRAYS.values()))
    for array in ARRAYS.values():
        alone = render(scene, [array])[array.name]
        assert alone.dtype == np.float32 and alone.shape == (array.channels, RATE_HZ)
        assert np.array_equal(alone, together[array.name])
        assert not np.array_equal(alone, render(scene, [array], seed=6)[array.name])


def test_rendering_is_linear_in_the_events():
    scene = busy_scene()
    whole = render(scene, [ARRAYS["mic"]], noise=False, tail=False)["mic"]
    parts = sum(
        render(a_scene(event, room=scene.room), [ARRAYS["mic"]], noise=False, tail=False)["mic"]
        for event in scene.events
    )
    assert np.abs(whole - parts).max() < 1e-5


def test_long_moving_events_are_rendered_in_pieces_without_seams(monkeypatch):
    scene = a_scene(an_event(noise(0.9, 2), a_circle(1.2, 1.0), 0.0301))
    whole = render(scene, [ARRAYS["mic"]], noise=False, tail=False)["mic"]
    monkeypatch.setattr("simulation.render.PIECE_S", 0.31)
    pieces = render(scene, [ARRAYS["mic"]], noise=False, tail=False)["mic"]
    # a late image may take another step of air absorption in another piece; seams would be far louder
    assert np.sum((whole - pieces) ** 2) < 1e-4 * np.sum(whole**2)
    around = slice(int(0.33 * RATE_HZ), int(0.36 * RATE_HZ))
    assert np.sum((whole - pieces)[:, around] ** 2) < 2e-4 * np.sum(whole[:, around] ** 2)


def test_loud_clips_are_turned_down_together():
    scene = a_scene(an_event(noise(0.4) * 400, [0.6, 0, 0]))
    waveforms = render(scene, list(ARRAYS.values()))
    assert max(np.abs(w).max() for w in waveforms.values()) == pytest.approx(0.98, abs=1e-4)


def test_an_empty_scene_is_ambient_noise_alone():
    waveform = render(a_scene(), [ARRAYS["foa"]])["foa"]
    assert 1e-5 < waveform.std() < 1e-2
    assert not render(a_scene(), [ARRAYS["foa"]], noise=False)["foa"].any()


def test_other_rates():
    path = np.array([1.0, 1.0, 0.0])
    scene = Scene("a", "train", 1, 0.5, 48000, a_room(), (an_event(noise(0.1), path),), (), (), 25.0)
    waveforms = render(scene, list(ARRAYS.values()))
    assert waveforms["foa"].shape == (4, 24000)
    assert intensity_deg_off(render(scene, [ARRAYS["foa"]], **ANECHOIC)["foa"], path) < 0.01


@pytest.mark.slow
def test_figures_are_drawn(tmp_path):
    assert main_of_figures(["--out", str(tmp_path)]) is None
    for name in FIGURES:
        assert (tmp_path / name).stat().st_size > 20000
