"""The amplitude and phase-difference feature: golden values, framings, physics."""

import sys

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional

from feature.front import Front
from feature.phasediff import AmplitudePhaseDifference
from feature.phasediff_cpu import write_maps
from tests import golden

CASES = {"feat_foa_a": 4, "feat_bin_a": 2}


def check(ours: np.ndarray, theirs: np.ndarray, channels: int) -> None:
    """Compare features (maps, frames, bins) at the tolerance of the golden data."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[:channels], theirs[:channels], atol=5e-5, rtol=1e-4)
    clear = (theirs[1:channels] > 1e-2) & (theirs[:1] > 1e-2)
    turn = np.abs(ours[channels:] - theirs[channels:])
    circular = np.minimum(turn, np.abs(2 * np.pi - turn))
    assert circular[clear].max(initial=0) <= 1e-3
    assert clear.any()
    phases = ours[channels:]
    assert phases.min() >= 0 and phases.max() <= 2 * np.pi + 1e-6


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    data = np.load(golden.find(f"av_baseline/{case}.npz"))
    waveform, rate_hz = soundfile.read(golden.find_audio(f"av_baseline/{case}"), dtype="float32")
    assert rate_hz == 24000
    waveform = torch.from_numpy(waveform.T.copy())[None]
    channels = CASES[case]
    feature = AmplitudePhaseDifference(channels)
    compared = 0
    for name in ("train0", "train1"):
        if f"{name}_start" not in data:
            continue
        start = int(data[f"{name}_start"])
        ours = feature.window(waveform[..., start : start + 30480])[0].numpy()
        assert ours.shape[1:] == (128, 257) and ours.dtype == np.float32
        if f"{name}_spec" in data:
            check(ours, data[f"{name}_spec"].transpose(0, 2, 1), channels)
            compared += 1
        if f"{name}_frames" in data:
            theirs = data[f"{name}_spec_at_frames"].transpose(0, 2, 1)
            check(ours[:, data[f"{name}_frames"]], theirs, channels)
            compared += 1
        sums = ours[:channels].astype(np.float64).sum(axis=(1, 2))
        np.testing.assert_allclose(sums, data[f"{name}_sum"], rtol=1e-5)
    ours = feature.clip(waveform)[0].numpy()
    assert ours.shape == tuple(data["eval_shape"][[0, 2, 1]])
    theirs = data["eval_spec_at_frames"].transpose(0, 2, 1)
    padding = data["eval_frames"] >= 4
    padding &= data["eval_frames"] < ours.shape[1] - 128
    assert not ours[:, data["eval_frames"][~padding]].any() and not theirs[:, ~padding].any()
    check(ours[:, data["eval_frames"]], theirs, channels)
    np.testing.assert_allclose(ours[:channels].astype(np.float64).sum(axis=(1, 2)), data["eval_sum"], rtol=1e-5)
    assert compared


@pytest.mark.parametrize("samples", [24000, 24001, 24239, 240, 100])
def test_windows_have_the_values_of_the_whole_clip(samples: int) -> None:
    torch.manual_seed(0)
    waveform = torch.randn(1, 4, samples) * 0.1
    feature = AmplitudePhaseDifference(4)
    whole = feature.clip(waveform)
    frames = samples // 240
    assert whole.shape[2] == feature.clip_frames(samples) == 4 + frames + 128
    padded = functional.pad(waveform[..., : frames * 240], (272 + 4 * 240, 128 * 240))
    for first in range(0, frames + 5, 37):
        window = padded[..., 240 * first : 240 * first + 30992]
        place = torch.arange(128)
        inside = (place >= 4 - first) & (place < 4 + frames - first)
        ours, _ = Front(feature)({"waveform": window, "frames": torch.where(inside, place, -1)[None]})
        theirs = whole[:, :, first : first + 128]
        ours = ours[:, :, : theirs.shape[2]]
        torch.testing.assert_close(ours[:, :4], theirs[:, :4], atol=0, rtol=1e-6)
        torch.testing.assert_close(ours[:, 4:], theirs[:, 4:], atol=1e-6, rtol=0)


def test_wrong_channel_count_is_refused() -> None:
    with pytest.raises(ValueError, match="4 channels"):
        AmplitudePhaseDifference(2)(torch.zeros(1, 4, 1000))


@pytest.mark.parametrize("base_channel", [0, 1, 3])
def test_phase_differences_of_a_delay(base_channel: int) -> None:
    """A channel that lags by d samples has the phase -2 pi k d / 512 against the one that does not."""
    delays = np.array([0, 1, 2, 3])
    k = 20
    time = np.arange(4096)
    waveform = np.stack([np.cos(2 * np.pi * k * (time - d) / 512) for d in delays]).astype(np.float32)
    maps = AmplitudePhaseDifference(4, base_channel).window(torch.from_numpy(waveform)[None])[0, :, 8, k].numpy()
    others = [m for m in range(4) if m != base_channel]
    expected = np.mod(-2 * np.pi * k * (delays[others] - delays[base_channel]) / 512, 2 * np.pi)
    np.testing.assert_allclose(maps[4:], expected, atol=1e-4)
    np.testing.assert_allclose(maps[:4], 128, rtol=1e-4)


def test_silence_and_equal_channels_have_phase_zero() -> None:
    assert not AmplitudePhaseDifference(4)(torch.zeros(2, 4, 30480)).any()
    torch.manual_seed(1)
    same = torch.randn(1, 1, 30480).expand(-1, 4, -1)
    assert not AmplitudePhaseDifference(4)(same)[:, 4:].any()


@pytest.mark.parametrize("base_channel", [0, 2])
def test_the_processors_loop_gives_what_the_operators_of_other_devices_give(base_channel: int) -> None:
    torch.manual_seed(2)
    feature = AmplitudePhaseDifference(4, base_channel)
    window = torch.randn(2, 4, 5000) * 0.1
    window[1, 3] = window[1, base_channel]
    framed = functional.pad(window, (256, 256)).unfold(-1, 512, 240)
    operators = torch.empty(2, 7, framed.shape[2], 257)
    feature._block(framed, operators)
    loop = feature.window(window)
    torch.testing.assert_close(loop[:, :4], operators[:, :4], atol=1e-5, rtol=1e-5)
    turn = (loop[:, 4:] - operators[:, 4:]).abs()
    circular = torch.minimum(turn, (2 * np.pi - turn).abs())
    others = [m for m in range(4) if m != base_channel]
    clear = (operators[:, others] > 0.1) & (operators[:, base_channel, None] > 0.1)
    assert clear.float().mean() > 0.9 and circular[clear].max() < 2e-5


def test_phases_are_those_of_the_arc_tangent_in_every_direction() -> None:
    """Against float64, all around the circle and on its axes."""
    angle = np.concatenate([np.linspace(0, 2 * np.pi, 4001), np.arange(9) * np.pi / 4])
    spectrum = np.zeros((1, 2, 1, 2 * len(angle)), dtype=np.float32)
    spectrum[0, 0, 0, ::2] = 3
    spectrum[0, 1, 0, ::2], spectrum[0, 1, 0, 1::2] = 0.2 * np.cos(angle), 0.2 * np.sin(angle)
    out = np.zeros((1, 3, 1, len(angle)), dtype=np.float32)
    write_maps(spectrum, 0, out, 0, 0)
    x, y = spectrum[0, 1, 0].astype(np.float64).reshape(-1, 2).T
    expected = np.mod(np.arctan2(y, x), 2 * np.pi)
    np.testing.assert_allclose(out[0, 2, 0], expected, atol=6e-7)
    np.testing.assert_allclose(out[0, 1, 0], np.hypot(x, y), rtol=1e-6)


def test_without_numba_the_values_are_the_same(monkeypatch):
    waveform = torch.from_numpy(0.1 * np.random.default_rng(5).standard_normal((2, 4, 24000)).astype(np.float32))
    feature = AmplitudePhaseDifference(4)
    compiled = feature(waveform), feature.clip(waveform)
    monkeypatch.setitem(sys.modules, "feature.phasediff_cpu", None)
    for one, plain in zip(compiled, (feature(waveform), feature.clip(waveform))):
        torch.testing.assert_close(one[:, :4], plain[:, :4], rtol=1e-5, atol=1e-6)
        apart = (one[:, 4:] - plain[:, 4:]).abs()
        assert torch.minimum(apart, 2 * np.pi - apart).max() < 1e-3  # of two nearly silent channels any phase may come
