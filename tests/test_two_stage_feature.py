"""Features of two-stage SELD: golden values, librosa's formulas, windows, geometry, statistics, resampling."""

import sys
from itertools import combinations

import numpy as np
import pytest
import soundfile
import soxr
import torch

from bench.two_stage import plain_logmel_gcc
from feature.logmel_gcc import TWO_STAGE, TWO_STAGE_INTENSITY, Logmel, LogmelGCC
from feature.logmel_intensity import LogmelIntensity
from feature.statistics import RunningStatistics
from tests import golden
from tests.standardised import standardised
from util.angles import direction_from_degrees
from util.audio import read_audio
from util.microphone_arrays import SPEED_OF_SOUND_M_S, array_named

PRECISIONS = (torch.float32, torch.float64)
PAIRS = list(combinations(range(4), 2))


def recording() -> torch.Tensor:
    waveform, rate_hz = soundfile.read(golden.find_audio("two_stage/mic_32k"), dtype="float32")
    assert rate_hz == TWO_STAGE["rate_hz"]
    return torch.from_numpy(waveform.T.copy())[None]


def intensity(precision: torch.dtype = torch.float32) -> LogmelIntensity:
    return LogmelIntensity(4, **TWO_STAGE, **TWO_STAGE_INTENSITY, precision=precision)


def over_time(maps: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Mean and deviation of every map and bin, and what the golden file calls them."""
    return [(maps.mean(axis=1, dtype=np.float64), "time_mean"), (maps.std(axis=1, dtype=np.float64), "time_std")]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_logmel_and_gcc(precision: torch.dtype) -> None:
    data = np.load(golden.find("two_stage/features_logmelgcc.npz"))
    feature = LogmelGCC(4, **TWO_STAGE, precision=precision)
    maps = feature.whole(recording())[0].numpy()
    assert maps.shape == tuple(data["shape"]) == (feature.maps, len(maps[0]), feature.bins)
    ours, theirs, valid = maps[:, data["frame_index"]], data["logmelgcc"], data["gcc_valid"]
    np.testing.assert_allclose(ours[:4], theirs[:4], atol=2e-3, rtol=0)
    np.testing.assert_allclose(ours[4:][valid], theirs[4:][valid], atol=5e-4, rtol=0)
    assert valid.sum() > 50
    np.testing.assert_allclose(feature.mel_weights.sum(dim=0), data["mel_filter_rowsum"], atol=1e-6)
    if "time_mean" in data:  # over all frames: not in the cut, whose recording is silent elsewhere
        rows = np.concatenate([np.ones(4, dtype=bool), data["gcc_pair_all_valid"]])
        for values, name in over_time(maps):
            np.testing.assert_allclose(values[rows], data[name][rows], atol=1e-3, rtol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_intensity(precision: torch.dtype) -> None:
    data = np.load(golden.find("two_stage/features_logmeliv.npz"))
    maps = intensity(precision).whole(recording())[0].numpy()
    assert maps.shape == tuple(data["shape"])
    np.testing.assert_allclose(maps[4:, data["frame_index"]], data["iv"], atol=1e-4, rtol=0)
    if "time_mean" in data:
        for values, name in over_time(maps):
            np.testing.assert_allclose(values, data[name], atol=1e-3, rtol=0)


def test_golden_resampling() -> None:
    """The one reader of the project gives the rate that the system needs."""
    data, path = np.load(golden.find("two_stage/resample_48k_to_32k.npz")), golden.find_audio("two_stage/mono_48k")
    ours = read_audio(path, rate_hz=32000)[0]
    theirs = data["y32_soxr_hq"]
    np.testing.assert_allclose(ours[: len(theirs)], theirs, atol=1e-4, rtol=0)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(soxr.resample(samples, rate_hz, 32000, quality="HQ")[: len(theirs)], theirs, atol=1e-4)


def test_golden_statistics() -> None:
    data = np.load(golden.find("two_stage/scaler.npz"))
    statistics = RunningStatistics()
    for i in range(3):
        statistics.update_maps(torch.from_numpy(data[f"feat{i}"])[None])
    made = standardised(statistics, 3)
    np.testing.assert_allclose(made.mean[None].numpy(), data["mean"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(made.scale[None].numpy(), data["std"], atol=1e-5, rtol=0)
    ours = made(torch.from_numpy(data["feat0"])[None]).numpy()
    np.testing.assert_allclose(ours, data["normalised0"], atol=1e-5, rtol=1e-5)


def test_a_constant_bin_is_not_divided_by_zero() -> None:
    """A lag or band that never changes has no deviation: the reference divides by it."""
    statistics = RunningStatistics()
    for _ in range(3):
        statistics.update_maps(torch.full((1, 2, 7, 4), -100.0))
    made = standardised(statistics, 2)(torch.full((1, 2, 5, 4), -100.0))
    assert not made.any()


@pytest.mark.filterwarnings("ignore:n_fft")
@pytest.mark.parametrize("samples", [320 * 40, 320 * 40 + 319, 1025])
def test_whole_recordings_are_framed_as_librosa_frames_them(samples: int) -> None:
    waveform = np.random.default_rng(0).standard_normal((4, samples)) * 0.1
    ours = LogmelGCC(4, **TWO_STAGE, precision=torch.float64).whole(torch.from_numpy(waveform)[None])[0].numpy()
    theirs = plain_logmel_gcc(waveform)
    assert ours.shape == theirs.shape == (10, 1 + samples // 320, 96)
    np.testing.assert_allclose(ours[:4], theirs[:4], atol=1e-4, rtol=0)
    np.testing.assert_allclose(ours[4:], theirs[4:], atol=1e-5, rtol=0)
    plain = Logmel(4, **TWO_STAGE, precision=torch.float64).whole(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(plain, ours[:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [lambda: LogmelGCC(4, **TWO_STAGE), lambda: Logmel(4, **TWO_STAGE), intensity])
def test_windows_have_the_values_of_the_whole_recording(make) -> None:
    """Frame f needs the samples [320 f - left, 320 f - left + n_fft) and no others; a batch is its items."""
    feature = make()
    waveform = torch.randn(1, 4, 32000, generator=torch.Generator().manual_seed(0)) * 0.1
    whole = feature.whole(waveform)
    first = 40 * 320 - feature.left
    part = feature(torch.cat([waveform, waveform.flip(1)])[..., first : first + 19 * 320 + feature.n_fft])
    assert part.shape == (2, feature.maps, 20, 96) and part.dtype == torch.float32
    torch.testing.assert_close(part[:1], whole[:, :, 40:60], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(part[1, :4], part[0, :4].flip(0), atol=1e-4, rtol=1e-5)


def mic_delays_samples(direction: np.ndarray, rate_hz: int) -> np.ndarray:
    """Arrival of a plane wave at four free capsules, in samples, relative to the middle of the array."""
    array = array_named("mic")
    return -array.directions() @ direction * array.radius_m / SPEED_OF_SOUND_M_S * rate_hz


@pytest.mark.parametrize("azimuth_deg, elevation_deg", [(0, 0), (90, 10), (-120, 35), (40, -60), (180, 0)])
def test_correlation_peaks_at_the_delay_of_a_plane_wave(azimuth_deg: float, elevation_deg: float) -> None:
    rate_hz, samples = TWO_STAGE["rate_hz"], 32000
    delays = mic_delays_samples(direction_from_degrees(azimuth_deg, elevation_deg), rate_hz)
    assert np.abs(np.diff(delays)).max() > 1
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(samples))
    turned = spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(samples) * delays[:, None])
    waveform = torch.from_numpy(np.fft.irfft(turned).astype(np.float32) * 0.1)[None]
    lags = LogmelGCC(4, **TWO_STAGE)(waveform)[0, 4:].mean(dim=1).numpy()
    for values, (n, m) in zip(lags, PAIRS):
        place = values.argmax()
        left, middle, right = values[place - 1 : place + 2]
        peak = place + (right - left) / (2 * (2 * middle - left - right))  # of the parabola through three lags
        np.testing.assert_allclose(peak - 48, delays[m] - delays[n], atol=0.25)


@pytest.mark.parametrize("azimuth_deg, elevation_deg", [(0, 0), (90, 0), (-135, 30), (40, -60)])
def test_intensity_points_at_the_source(azimuth_deg: float, elevation_deg: float) -> None:
    """Maps Y, Z, X."""
    x, y, z = direction_from_degrees(azimuth_deg, elevation_deg)
    wave = np.random.default_rng(0).standard_normal(4096) * 0.1
    waveform = torch.from_numpy((wave * np.array([[1], [y], [z], [x]])).astype(np.float32))[None]
    feature = intensity()
    direction = (feature(waveform)[0, 4:] / feature.mel_weights.sum(dim=0)).mean(dim=(1, 2))
    np.testing.assert_allclose(direction, [y, z, x], atol=1e-3)


def test_the_compiled_loop_gives_what_pytorch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numba is missing, or on other devices: a batch with a silent channel and a silent stretch."""
    waveform = torch.randn(2, 4, 9600, generator=torch.Generator().manual_seed(0)) * 0.1
    waveform[0, 1] = 0
    waveform[1, :, 3000:8000] = 0
    feature = LogmelGCC(4, **TWO_STAGE)
    compiled = feature.whole(waveform)
    monkeypatch.setitem(sys.modules, "feature.logmel_gcc_cpu", None)
    torch.testing.assert_close(feature.whole(waveform), compiled, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_silence_and_a_silent_channel(precision: torch.dtype) -> None:
    """Phase 0 wherever either channel is zero: 1 at lag 0, nothing elsewhere."""
    impulse = torch.zeros(96)
    impulse[48] = 1
    feature = LogmelGCC(4, **TWO_STAGE, precision=precision)
    maps = feature.whole(torch.zeros(1, 4, 3200))[0]
    assert (maps[:4] == -100).all()
    torch.testing.assert_close(maps[4:], impulse.expand(6, 11, 96), atol=1e-6, rtol=0)
    waveform = torch.randn(1, 4, 3200, generator=torch.Generator().manual_seed(0)) * 0.1
    waveform[:, 2] = 0
    maps = feature.whole(waveform)[0]
    for values, pair in zip(maps[4:], PAIRS):
        if 2 in pair:
            torch.testing.assert_close(values, impulse.expand(11, 96), atol=1e-6, rtol=0)
        else:
            assert (values - impulse).abs().max() > 0.1
    assert torch.isfinite(maps).all()


def test_correlation_of_a_quiet_recording_is_that_of_a_loud_one() -> None:
    waveform = torch.randn(1, 4, 6400, generator=torch.Generator().manual_seed(0))
    feature = LogmelGCC(4, **TWO_STAGE)
    loud, quiet = (feature.whole(waveform * gain)[:, 4:] for gain in (0.5, 2.0**-40))
    torch.testing.assert_close(loud, quiet, atol=1e-6, rtol=0)


def test_other_channel_counts_and_settings_that_do_not_fit() -> None:
    assert LogmelGCC(2, **TWO_STAGE).whole(torch.zeros(1, 2, 3200)).shape == (1, 3, 11, 96)
    assert LogmelGCC(8, **TWO_STAGE).maps == 36
    with pytest.raises(ValueError, match="2 channels or more"):
        LogmelGCC(1, **TWO_STAGE)
    with pytest.raises(ValueError, match="lags"):
        LogmelGCC(4, **{**TWO_STAGE, "bands": 95})
    with pytest.raises(ValueError, match="cannot mirror 1024"):
        LogmelGCC(4, **TWO_STAGE).whole(torch.zeros(1, 4, 1024))
    with pytest.raises(ValueError, match="4 channels"):
        LogmelGCC(4, **TWO_STAGE)(torch.zeros(1, 2, 4096))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_feature_on_cuda_is_that_on_the_processor() -> None:
    waveform = recording()
    waveform[:, 1, :9000] = 0
    here = LogmelGCC(4, **TWO_STAGE).whole(waveform)
    there = LogmelGCC(4, **TWO_STAGE).cuda().whole(waveform.cuda()).cpu()
    torch.testing.assert_close(there, here, atol=5e-4, rtol=0)
