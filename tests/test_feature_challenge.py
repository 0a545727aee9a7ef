"""Features of the DCASE baselines since 2022: golden values, what a recording holds its levels to, physics."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch

from feature.logmel_gcc import DCASE2022, DCASE2022_INTENSITY, DCASE2025, Logmel, LogmelGCC
from feature.logmel_intensity import LogmelIntensity
from feature.mel import mel_weights
from feature.salsa_lite import SalsaLite
from tests import golden
from tests.test_feature_seldnet import recording

HOP, N_FFT = DCASE2022["hop_length"], DCASE2022["n_fft"]
PRECISIONS = (torch.float64, torch.float32)


def features(precision: torch.dtype, **changes) -> dict:
    """The features by name; in double precision with the offset of the reference."""
    how = {"precision": precision, "offset": 1e-8 if precision == torch.float64 else 0.0, **changes}
    common = {**DCASE2022, **how}
    return {
        "iv": LogmelIntensity(**{**common, **DCASE2022_INTENSITY}),
        "gcc": LogmelGCC(**common, own_transform=False),
        "salsa": SalsaLite(**how),
    }


def clip(feature, waveform: torch.Tensor) -> np.ndarray:
    """(frames, maps, bins)."""
    return feature.clip(waveform, waveform.shape[-1] // HOP)[0].transpose(0, 1).numpy()


def levels_atol(precision: torch.dtype) -> float:
    return 1e-4 if precision == torch.float64 else 5e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_intensity(precision: torch.dtype) -> None:
    data = np.load(golden.find("seldnet/C_foa.npz"))
    atol = 1e-6 if precision == torch.float64 else 1e-4
    found = clip(features(precision)["iv"], recording("foa24k"))
    assert len(found) == len(data["logmel"]) == 100
    np.testing.assert_allclose(found[:, :4], data["logmel"], atol=levels_atol(precision), rtol=0)
    np.testing.assert_allclose(found[:, 4:], data["iv"], atol=atol, rtol=0)
    mirrored = clip(features(precision, pad_mode="reflect")["iv"], recording("foa24k"))[0]
    np.testing.assert_allclose(mirrored[:4], data["frame0_logmel_reflect"], atol=levels_atol(precision), rtol=0)
    np.testing.assert_allclose(mirrored[4:], data["frame0_iv_reflect"], atol=atol, rtol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_correlations(precision: torch.dtype) -> None:
    """Pairs with one dead channel are left out: nothing but rounding errors decides them."""
    data = np.load(golden.find("seldnet/C_mic_gcc.npz"))
    waveform = recording("mic24k")
    found = clip(features(precision)["gcc"], waveform)
    assert len(found) == int(data["n_frames"])
    found = found[data["frame_idx"]]
    np.testing.assert_allclose(found[:, :4], data["logmel"], atol=levels_atol(precision), rtol=0)
    atol = 1e-6 if precision == torch.float64 else 1e-5
    alive = ~dead_pairs(waveform, data["frame_idx"])
    assert alive.mean() > 0.9
    np.testing.assert_allclose(found[:, 4:][alive], data["gcc"][alive], atol=atol, rtol=0)
    mirrored = clip(features(precision, pad_mode="reflect")["gcc"], waveform)[0, 4:]
    np.testing.assert_allclose(mirrored, data["frame0_gcc_reflect"], atol=atol, rtol=0)


def dead_pairs(waveform: torch.Tensor, frames: np.ndarray) -> np.ndarray:
    """(frames, pairs): exactly one channel of the pair is silent in the whole frame."""
    padded = torch.nn.functional.pad(waveform[0], (N_FFT // 2, N_FFT))
    silent = np.stack([(padded[:, HOP * f : HOP * f + N_FFT] == 0).all(dim=1).numpy() for f in frames])
    first, second = np.triu_indices(4, 1)
    return silent[:, first] != silent[:, second]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_salsa(precision: torch.dtype) -> None:
    data = np.load(golden.find("seldnet/C_mic_salsalite.npz"))
    feature, index = features(precision)["salsa"], data["frame_idx"]
    assert feature.bins == int(data["n_bins"]) and feature.phase_bins == int(data["upper_bin"])
    found, due = clip(feature, recording("mic24k"))[index], data["features"]
    loud = due[:, :4] > -80
    np.testing.assert_allclose(found[:, :4][loud], due[:, :4][loud], atol=levels_atol(precision), rtol=0)
    # phases of +-pi are one, scaled by the bin
    bins = np.arange(feature.bins) + int(data["lower_bin"])
    turn = 2 * np.pi / (float(data["delta"]) * bins)
    off = np.abs(found[:, 4:] - due[:, 4:])
    off = np.minimum(off, np.abs(off - turn))
    clear = (due[:, 1:4] > -80) & (due[:, :1] > -80)
    assert off[clear].max() <= (1e-5 if precision == torch.float64 else 1e-3)
    assert not found[:, 4:, feature.phase_bins :].any() and found[:, 4:, feature.phase_bins - 1].any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_golden_stereo(precision: torch.dtype) -> None:
    data = np.load(golden.find("seldnet/D25_stereo_logmel.npz"))["logmel"]
    found = Logmel(2, **DCASE2025, precision=precision).clip(recording("mic24k")[:, :2], data.shape[1])
    np.testing.assert_allclose(found[0], data, atol=5e-3, rtol=0)


def test_golden_mel_weights() -> None:
    due = np.load(golden.find("seldnet/C_melbank.npz"))["mel_weights"]
    np.testing.assert_allclose(mel_weights(24000, N_FFT, 64, 0.0).T, due, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", ["iv", "gcc", "salsa"])
def test_compiled_loops_are_the_operators(name: str, monkeypatch) -> None:
    """A machine without numba gives the same features."""
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, HOP * 40)).astype(np.float32) * 0.1)
    fast = features(torch.float32)[name].clip(waveform, 40)
    before = builtins.__import__

    def without(module, *args, **kwargs):
        if module.endswith("_cpu") or "mel_cpu" in (args[2] if len(args) > 2 and args[2] else ()):
            raise ImportError(module)
        return before(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    plain = features(torch.float32)[name].clip(waveform, 40)
    monkeypatch.undo()
    levels = 4
    np.testing.assert_allclose(fast[:, :levels], plain[:, :levels], atol=2e-3, rtol=0)
    np.testing.assert_allclose(fast[:, levels:], plain[:, levels:], atol=2e-4, rtol=0)


@pytest.mark.parametrize("layout", ["paper", "reference"])
def test_levels_are_held_to_the_loudest_of_the_recording(layout: str) -> None:
    """Windows of a recording, held to its loudest level, are the recording's features."""
    rng, frames = np.random.default_rng(0), 60
    waveform = rng.standard_normal((1, 4, HOP * frames)).astype(np.float32) * 1e-6
    waveform[..., HOP * 20 : HOP * 25] *= 1e5
    waveform, feature = (
        torch.from_numpy(waveform),
        LogmelIntensity(**DCASE2022, **{**DCASE2022_INTENSITY, "layout": layout}),
    )
    whole = feature.clip(waveform, frames)
    free = feature(torch.nn.functional.pad(waveform, (N_FFT // 2, N_FFT - HOP - N_FFT // 2 + HOP)))[:, :, :frames]
    loudest = torch.maximum(feature.loudest(free[:, :, :30].clone()), feature.loudest(free[:, :, 30:].clone()))
    assert loudest.shape == (1, 4)
    levels = feature._planes(whole)[0]
    assert (
        float((levels.amax(dim=(2, 3)) - levels.amin(dim=(2, 3)) - 80).abs().max()) < 1e-3
    )  # to the range, no further
    for part in (slice(0, 30), slice(30, None)):
        torch.testing.assert_close(feature.held(free[:, :, part].clone(), loudest[:, None]), whole[:, :, part])


def test_one_floor_of_both_channels() -> None:
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, HOP * 20)).astype(np.float32))
    waveform[:, 1] *= 1e-6
    feature = Logmel(2, **DCASE2025)
    found = feature.clip(waveform, 20)
    assert found[:, 1].min() == found[:, 1].max() == found.max() - 80
    own = Logmel(2, **DCASE2022).clip(waveform, 20)
    assert own[:, 1].max() < found[:, 1].min() and feature.held_over == "item"


@pytest.mark.parametrize("azimuth_deg, elevation_deg", [(30, 10), (-120, -40), (90, 0)])
def test_a_plane_wave_comes_from_where_its_intensity_points(azimuth_deg: float, elevation_deg: float) -> None:
    az, el = np.deg2rad([azimuth_deg, elevation_deg])
    direction = np.array([np.sin(az) * np.cos(el), np.sin(el), np.cos(az) * np.cos(el)])  # Y, Z, X
    sound = np.random.default_rng(0).standard_normal(HOP * 30).astype(np.float32)
    waveform = torch.from_numpy(np.stack([sound, *(sound * axis for axis in direction)]).astype(np.float32))[None]
    found = LogmelIntensity(**DCASE2022, **DCASE2022_INTENSITY)(waveform)[0, 4:].mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(found / np.linalg.norm(found), direction, atol=1e-3)


@pytest.mark.parametrize("delay", [-5, 0, 7])
def test_lags_and_phases_of_a_delay(delay: int) -> None:
    """The second capsule hears the sound so many samples later: that bin of GCC, that path of SALSA-lite."""
    sound = np.random.default_rng(0).standard_normal(HOP * 30 + 100).astype(np.float32)
    first, second = sound[50 : 50 + HOP * 30], sound[50 - delay : 50 - delay + HOP * 30]
    waveform = torch.from_numpy(np.stack([first, second]))[None]
    gcc = LogmelGCC(2, **DCASE2022, own_transform=False)(waveform)[0, 2]
    assert (gcc.argmax(dim=1) == 32 + delay).all()
    feature = SalsaLite(2)
    near = feature(waveform)[0, 2, :, 4:20].median()  # below 600 Hz nothing wraps
    assert float(near) == pytest.approx(-delay / 24000 * 343, abs=2e-3)


def test_silence() -> None:
    silence = torch.zeros(1, 4, HOP * 5)
    made = {name: feature.clip(silence, 5)[0] for name, feature in features(torch.float32).items()}
    assert (made["iv"][:4] == -100).all() and not made["iv"][4:].any()
    assert (made["gcc"][4:, :, 32] > 0.999).all() and made["gcc"][4:, :, :32].abs().max() < 1e-6
    assert not made["salsa"][4:].any()


def test_refused() -> None:
    with pytest.raises(ValueError, match="2 channels"):
        SalsaLite(1)
    with pytest.raises(ValueError, match="norm"):
        LogmelIntensity(norm="other")


@pytest.mark.parametrize("name", ["iv", "gcc", "salsa"])
def test_features_are_those_of_librosa(name: str) -> None:
    """The published form, written down with librosa in double precision, on noise that fades by 100 dB."""
    from bench import challenge_features as plain

    rng, samples = np.random.default_rng(0), HOP * 60 + 77
    waveform = (rng.standard_normal((4, samples)) * 10 ** np.linspace(-1, -6, samples)).astype(np.float32)
    due = {"iv": plain.logmel_iv, "gcc": plain.logmel_gcc, "salsa": plain.salsa_lite}[name](waveform)
    found = features(torch.float64)[name].clip(torch.from_numpy(waveform)[None], samples // HOP)[0].numpy()
    np.testing.assert_allclose(found[:4], due[:4], atol=1e-3, rtol=0)
    np.testing.assert_allclose(found[4:], due[4:], atol=1e-4, rtol=0)
