"""Features of the SELDnet family: golden values, layouts, framings, physics, statistics."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
from sklearn.preprocessing import StandardScaler

from feature.logmel_intensity import LogmelIntensity
from feature.magnitude_phase import SELDNET2018, SELDNET2019, MagnitudePhase, maps_of_rows, rows_of_maps
from feature.statistics import RunningStatistics, Standardise
from tests import golden
from tests.standardised import standardised

LAYOUTS = ("reference", "paper")


def recording(name: str, channels: int = 4) -> torch.Tensor:
    waveform, _ = soundfile.read(golden.find_audio(f"seldnet/audio/{name}"), dtype="float32")
    assert waveform.shape[1] == channels
    return torch.from_numpy(waveform.T.copy())[None]


def circular(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(np.angle(np.exp(1j * (a.astype(np.float64) - b))))


def assert_phases(ours: np.ndarray, theirs: np.ndarray, magnitude: np.ndarray, least: float, precision: torch.dtype):
    """Phases (frames, columns) agree where the recorded magnitude is above `least`.

    In double precision they are those of the reference up to the float32 that both are kept in, 2.4e-7 rad near pi. The
    rounding errors of a transform in single precision are a share of the loudest bin of the frame, the same in every
    bin (2.4e-7 measured with AVX-512, AVX2 and neither; four times that is allowed), and turn a bin by error /
    magnitude: phases of bins near zero are noise.
    """
    clear = magnitude > least
    assert clear.sum() > 4000
    share = 0 if precision == torch.float64 else 1e-6
    limit = 5e-7 + share * magnitude.max(axis=1, keepdims=True) / np.maximum(magnitude, least)
    assert (circular(ours, theirs) / limit)[clear].max() <= 1


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_golden_2018(layout: str, precision: torch.dtype) -> None:
    data = np.load(golden.find("seldnet/A_magphase.npz"))
    feature = MagnitudePhase(4, **SELDNET2018, layout=layout, precision=precision)
    waveform, frames, index = recording("foa44k"), int(data["n_frames"]), data["frame_idx"]
    maps = feature.clip(waveform, frames)
    assert maps.shape == (1, 8, frames, int(data["n_bins"])) and maps.dtype == torch.float32
    ours, theirs = feature.columns(maps)[0, index].numpy(), data["features"]
    np.testing.assert_allclose(ours[:, :1024], theirs[:, :1024], atol=1e-6, rtol=0)
    if "spec_real" in data:
        spectrum = np.hypot(data["spec_real"], data["spec_imag"]).reshape(len(index), -1)
        np.testing.assert_allclose(ours[:, :1024], spectrum, atol=1e-6, rtol=0)
    silent = theirs[:, :1024] < 1e-12
    assert_phases(ours[:, 1024:], theirs[:, 1024:], theirs[:, :1024], 1e-4, precision)
    assert silent.any() and not ours[:, 1024:][silent].any()
    assert index[-1] == frames - 1 and not ours[-1].any() and not theirs[-1].any()


def test_golden_2018_from_windows() -> None:
    """Frames of a stretch are those of the clip, whatever is asked for at once."""
    waveform = recording("foa44k")
    feature = MagnitudePhase(4, **SELDNET2018)
    whole = feature(waveform)
    part = feature(waveform[..., 256 * 40 : 256 * 40 + 512 + 256 * 29])
    assert part.shape[2] == 30
    torch.testing.assert_close(part, whole[:, :, 40:70], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_golden_2019(layout: str, precision: torch.dtype) -> None:
    data = np.load(golden.find("seldnet/B_magphase.npz"))
    feature = MagnitudePhase(4, **SELDNET2019, layout=layout, precision=precision)
    index, waveform = data["frame_idx"], recording("foa48k")
    maps = feature.clip(waveform, int(index.max()) + 3)
    ours, theirs = feature.columns(maps)[0, index].numpy(), data["features"]
    half = theirs.shape[1] // 2
    assert int(data["n_bins"]) == feature.bins and index[0] == 0
    np.testing.assert_allclose(ours[:, :half], theirs[:, :half], rtol=1e-5, atol=1e-5)
    assert_phases(ours[:, half:], theirs[:, half:], theirs[:, :half], 1e-3, precision)


def test_golden_2019_with_zeros_before_the_clip() -> None:
    data = np.load(golden.find("seldnet/B_magphase.npz"))
    spectrum = data["frame0_spec_real_constantpad"] + 1j * data["frame0_spec_imag_constantpad"]
    feature = MagnitudePhase(4, **{**SELDNET2019, "pad_mode": "constant"}, layout="paper")
    ours = feature.clip(recording("foa48k"), 4)[0, :, 0].numpy()
    np.testing.assert_allclose(ours[:4], np.abs(spectrum).T, rtol=1e-5, atol=1e-5)
    clear = np.abs(spectrum).T > 1e-3
    assert circular(ours[4:], np.angle(spectrum).T)[clear].max() <= 1e-4
    reflected = MagnitudePhase(4, **SELDNET2019, layout="paper").clip(recording("foa48k"), 4)[0, :, 0].numpy()
    assert np.abs(reflected[:4] - ours[:4]).max() > 1e-3


def test_centred_frames_of_a_full_clip_are_those_of_librosa() -> None:
    """Both ends are mirrored, at the length to which the clip is cut."""
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal((2, 960 * 12 + 77)).astype(np.float32) * 0.1
    for mode in ("reflect", "constant"):
        feature = MagnitudePhase(2, **{**SELDNET2019, "pad_mode": mode}, layout="paper")
        ours = feature.clip(torch.from_numpy(waveform)[None], 12)[0].numpy()
        cut = waveform[:, : 960 * 12].astype(np.float64)
        spectrum = librosa.stft(cut, n_fft=2048, hop_length=960, win_length=1920, center=True, pad_mode=mode)
        spectrum = spectrum[:, 1:, :12].transpose(0, 2, 1)
        np.testing.assert_allclose(ours[:2], np.abs(spectrum), rtol=1e-5, atol=1e-5)
        assert circular(ours[2:], np.angle(spectrum))[np.abs(spectrum) > 1e-3].max() <= 1e-4


@pytest.mark.parametrize("letter, name", [("A", "out_feat"), ("B", "perfile0_feat")])
def test_golden_layout(letter: str, name: str) -> None:
    """The reshape of the reference's generator: a continuous stream of rows, cut into batches of 2 sequences of 4."""
    data = np.load(golden.find(f"seldnet/{letter}_generator_layout.npz"))
    rows = torch.from_numpy(np.concatenate([data[f"feat{i}"] for i in range(3)]))
    theirs = data[name]
    ours = maps_of_rows(rows[: len(theirs) * 8].view(-1, 4, 48), channels=4)
    np.testing.assert_array_equal(ours.numpy().reshape(theirs.shape), theirs)


@pytest.mark.parametrize("bins", [6, 5])
def test_layouts_hold_the_same_values(bins: int) -> None:
    rows = torch.arange(2 * 3 * 8 * bins).view(2, 3, -1)
    for layout in LAYOUTS:
        maps = maps_of_rows(rows, 4, layout)
        assert maps.shape == (2, 8, 3, bins)
        assert torch.equal(rows_of_maps(maps, layout), rows)
    settings = {**SELDNET2018, "bins": bins}
    waveform = torch.randn(1, 4, 2000, generator=torch.Generator().manual_seed(0))
    features = [MagnitudePhase(4, **settings, layout=layout) for layout in LAYOUTS]
    made = [feature(waveform) for feature in features]
    assert torch.equal(features[0].columns(made[0]), features[1].columns(made[1]))
    assert not torch.equal(*made)


def test_reference_layout_says_which_bin_lies_where() -> None:
    """maps[ch, t, f] = row[t, f 2C + ch]: even bins in the lower planes, odd ones above, phases in the upper half."""
    made = {
        layout: MagnitudePhase(4, **SELDNET2018, layout=layout)(
            torch.randn(1, 4, 2000, generator=torch.Generator().manual_seed(1))
        )[0]
        for layout in LAYOUTS
    }
    for place, plane in ((0, 0), (128, 4)):
        block = made["reference"][:, :, place : place + 128]
        assert torch.equal(block[:4], made["paper"][plane : plane + 4, :, 0::2])
        assert torch.equal(block[4:], made["paper"][plane : plane + 4, :, 1::2])


def test_phase_of_a_tone_and_of_silence() -> None:
    """A cosine at bin k with phase p gives phase p at that bin; an ideal delay turns it by -2 pi k d / N."""
    k, p = 40, 0.7
    time = np.arange(512 + 256)
    tone = np.stack([np.cos(2 * np.pi * k * (time - d) / 512 + p) for d in (0, 1, 2, 3)]).astype(np.float32)
    maps = MagnitudePhase(4, **SELDNET2018, layout="paper")(torch.from_numpy(tone)[None])[0]
    expected = p - 2 * np.pi * k * np.arange(4) / 512
    assert circular(maps[4:, 0, k].numpy(), expected).max() < 1e-3
    np.testing.assert_allclose(maps[:4, 0, k], 511 / 4 / np.sqrt(512), rtol=1e-3)
    assert not MagnitudePhase(4, **SELDNET2018)(torch.zeros(2, 4, 1024)).any()


def test_eight_channels_and_bad_waveforms() -> None:
    feature = MagnitudePhase(8, **SELDNET2018)
    assert feature(torch.zeros(1, 8, 1024)).shape == (1, 16, 3, 256)
    with pytest.raises(ValueError, match="8 channels"):
        feature(torch.zeros(1, 4, 1024))
    with pytest.raises(ValueError, match="a frame takes 512"):
        feature(torch.zeros(1, 8, 511))
    with pytest.raises(ValueError, match="layout"):
        MagnitudePhase(4, **SELDNET2018, layout="planes")
    with pytest.raises(ValueError, match="mirror"):
        MagnitudePhase(4, **SELDNET2019).clip(torch.zeros(1, 4, 100), 1)


def notebook_rows(waveform: np.ndarray, frames: int, top_db: float | None) -> np.ndarray:
    """The tuning notebook's columns by its formulas with librosa, (frames, 448)."""
    spectra = np.stack(
        [
            librosa.stft(channel, n_fft=2048, hop_length=960, win_length=1920, window="hann", pad_mode="reflect")
            for channel in waveform.astype(np.float64)
        ],
        axis=-1,
    )[:, :frames].transpose(1, 0, 2)
    weights = librosa.filters.mel(sr=48000, n_fft=2048, n_mels=64).T
    levels = [librosa.power_to_db(np.abs(spectra[..., channel]) ** 2 @ weights, top_db=top_db) for channel in range(4)]
    intensity = np.stack([np.real(np.conj(spectra[..., 0]) * spectra[..., channel]) for channel in (3, 1, 2)])
    intensity = intensity / (np.sqrt((intensity**2).sum(axis=0)) + np.spacing(1e-16))
    intensity = np.stack(list(intensity @ weights), axis=-1)
    return np.concatenate((np.stack(levels, axis=-1).reshape(frames, -1), intensity.reshape(frames, -1)), axis=1)


@pytest.mark.parametrize("top_db", [None, 80.0, 20.0])
def test_logmel_and_intensity_by_the_formulas(top_db: float | None) -> None:
    waveform, frames = recording("foa48k"), 20
    theirs = notebook_rows(waveform[0, :, : frames * 960].numpy(), frames, top_db)
    for layout in LAYOUTS:
        feature = LogmelIntensity(layout=layout, top_db=top_db)
        maps = feature.clip(waveform, frames)
        assert maps.shape == (1, 7, frames, 64) and maps.dtype == torch.float32
        ours = feature.columns(maps)[0].numpy()
        if layout == "paper":  # map by map; the notebook has the channels of a band beside each other
            levels, intensity = ours[:, :256].reshape(frames, 4, 64), ours[:, 256:].reshape(frames, 3, 64)
            ours = np.concatenate([part.swapaxes(1, 2).reshape(frames, -1) for part in (levels, intensity)], axis=1)
        np.testing.assert_allclose(ours[:, :256], theirs[:, :256], atol=1e-3, rtol=0)
        np.testing.assert_allclose(ours[:, 256:], theirs[:, 256:], atol=1e-4, rtol=0)
        if layout == "reference":  # the notebook's reshape to (64, 7)
            np.testing.assert_array_equal(maps[0].permute(1, 2, 0).reshape(frames, -1).numpy(), ours)


@pytest.mark.parametrize("azimuth_deg, elevation_deg", [(0, 0), (90, 0), (-135, 30), (40, -60)])
def test_intensity_points_at_the_source(azimuth_deg: float, elevation_deg: float) -> None:
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    x, y, z = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
    wave = np.random.default_rng(0).standard_normal(4096) * 0.1
    waveform = torch.from_numpy((wave * np.array([[1], [y], [z], [x]])).astype(np.float32))[None]
    feature = LogmelIntensity(layout="paper")
    intensity = feature(waveform)[0, 4:]
    total = feature.mel_weights.sum(dim=0)  # the norm of each bin is 1
    direction = (intensity / total).mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(direction, [x, y, z], atol=1e-3)


def test_silence_and_channels_of_logmel_intensity() -> None:
    maps = LogmelIntensity(layout="paper")(torch.zeros(1, 4, 4096))[0]
    assert (maps[:4] == -100).all() and not maps[4:].any()
    with pytest.raises(ValueError, match="Ambisonics"):
        LogmelIntensity(8)


def test_golden_statistics() -> None:
    data = np.load(golden.find("seldnet/scaler.npz"))
    statistics = RunningStatistics()
    ordinary = np.arange(12) != 7
    for i in range(3):
        statistics.update(data[f"x{i}"])
        np.testing.assert_allclose(statistics.mean, data[f"mean_after{i}"], rtol=1e-9)
        np.testing.assert_allclose(statistics.variance[ordinary], data[f"var_after{i}"][ordinary], rtol=1e-9)
        np.testing.assert_allclose(statistics.scale, data[f"scale_after{i}"], rtol=1e-9)
        assert statistics.scale[[3, 5, 7]].tolist() == [1, 1, 1]
    for i in range(3):
        ours = (torch.from_numpy(data[f"x{i}"]) - statistics.mean) / statistics.scale
        # a mean of 1e4 with a spread of 1e-3: the last bit of the mean is 2e-9 of the spread
        np.testing.assert_allclose(ours, data[f"y{i}"], rtol=1e-9, atol=4e-9)
    again = RunningStatistics.from_dict(statistics.to_dict())
    listed = RunningStatistics.from_dict({k: v if k == "count" else v.tolist() for k, v in again.to_dict().items()})
    for other in (again, listed):
        assert other.count == 60 and torch.equal(other.scale, statistics.scale)


def test_statistics_are_those_of_scikit_learn() -> None:
    """Chunks of any size, in any number, with columns that are constant or nearly so."""
    rng = np.random.default_rng(3)
    offsets = np.array([0, 1e8, -3, 1e12, 0.5, 0])
    spreads = np.array([1, 1e-7, 0, 1e-3, 1e-9, 1e-30])
    theirs, ours = StandardScaler(), RunningStatistics()
    for rows in (1, 2, 500, 3, 100):
        x = offsets + spreads * rng.standard_normal((rows, 6))
        theirs.partial_fit(x)
        ours.update(torch.from_numpy(x))
        np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-9, atol=1e-30)
        np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-6)
        np.testing.assert_array_equal(ours.scale == 1, theirs.scale_ == 1)


def test_statistics_of_maps_standardise_them() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 2, 50, 4) * torch.tensor([1.0, 5, 0.1, 0]) + torch.arange(2)[:, None, None]
    statistics = RunningStatistics()
    for chunk in features.split(1):
        padded = torch.nn.functional.pad(chunk, (0, 0, 0, 3), value=1e6)
        statistics.update_maps(padded, torch.arange(53)[None] >= 50)
    assert statistics.count == 150
    before = features.clone()
    made = standardised(statistics, 2)(features)
    assert made.dtype == torch.float32 and torch.equal(features, before)
    torch.testing.assert_close(made.mean(dim=(0, 2)), torch.zeros(2, 4), atol=1e-5, rtol=0)
    spread = made.std(dim=(0, 2), correction=0)
    torch.testing.assert_close(spread, torch.tensor([1.0, 1, 1, 0]).expand(2, 4), atol=1e-5, rtol=0)


def test_bad_statistics_are_refused() -> None:
    statistics = RunningStatistics()
    with pytest.raises(ValueError, match="no rows"):
        _ = statistics.scale
    statistics.update(np.zeros((0, 3)))
    statistics.update(np.zeros((2, 3)))
    for rows, message in ((np.zeros((2, 4)), "3"), (np.zeros(3), "shape"), (np.full((1, 3), np.nan), "NaN")):
        with pytest.raises(ValueError, match=message):
            statistics.update(rows)
    assert statistics.count == 2
    with pytest.raises(ValueError, match="both"):
        Standardise(torch.zeros(2, 3), torch.ones(3, 2))
