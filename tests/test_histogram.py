"""Single-source histogram: golden masks, the numpy form, plane waves, streams, degenerate sound."""

import json

import numpy as np
import pytest
import soundfile
import torch

from bench.histogram import plain_single_sources, talk
from feature.histogram import (
    AZIMUTHS,
    ELEVATIONS,
    SingleSourceHistogram,
    SingleSources,
    SingleSourceStream,
    cell_centres,
    cells,
    strongest,
)
from tests import golden
from tests.shared import SHARED
from util.angles import angle_between_deg, direction_from_degrees


def recording(name: str) -> np.ndarray:
    """A golden recording (4, samples); of the cut where ../shared is not there."""
    path = SHARED / "golden/general_network" / f"foa_{name}_24k.wav"
    if not path.exists():
        path = golden.find(f"general_network/histogram_{name}_24k.flac")
    waveform, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 24000
    return waveform.T.copy()


def mask_of(sources: SingleSources) -> np.ndarray:
    mask = np.zeros((sources.frames, 382), dtype=bool)
    mask[sources.frame, sources.bin] = True
    return mask


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["one", "two"])
def test_golden_bins_and_histograms(name: str, precision: torch.dtype) -> None:
    data = np.load(golden.find("general_network/histogram.npz"))
    if f"{name}_mask_packed" not in data:
        pytest.skip("this recording is in ../shared only")
    shape = data[f"{name}_mask_shape"]
    theirs = np.unpackbits(data[f"{name}_mask_packed"])[: np.prod(shape)].reshape(shape).astype(bool).T
    waveform = torch.from_numpy(recording(name))
    feature = SingleSourceHistogram(precision=precision)
    sources = feature.whole_sources(waveform)
    # the tolerance of the golden README; where a ratio lies on its limit the last bit decides
    assert (mask_of(sources)[: len(theirs)] != theirs).mean() <= 0.002
    columns = feature.whole(waveform[None])[0, 0].numpy()[: len(theirs)]
    for ours, key in ((columns[:, :AZIMUTHS], "azi"), (columns[:, AZIMUTHS:], "ele")):
        hist = data[f"{name}_{key}_hist"]
        assert np.abs(ours - hist).sum() <= 0.01 * hist.sum()


def test_golden_estimates() -> None:
    truth = json.loads(golden.find("general_network/histogram_truth.json").read_text())
    for name, known in truth.items():
        sources = SingleSourceHistogram().whole_sources(torch.from_numpy(recording(name)))
        true = direction_from_degrees(*np.transpose(known["sources_azi_ele_deg"]))
        stored = direction_from_degrees(*np.transpose(known["estimate_whole_clip_azi_ele_deg"]))
        found = strongest(sources, len(true))
        assert (angle_between_deg(found, stored) < 0.3).all()  # strongest first
        assert (angle_between_deg(found[:, None], true).min(axis=0) < 2).all()


def test_equals_the_numpy_form() -> None:
    """Closed forms and the plain decomposition say the same of each bin; the whole is that of its axes."""
    waveform = talk(3.0)
    both, _, direction = plain_single_sources(waveform)
    batch = torch.from_numpy(waveform)[None]
    sources = SingleSourceHistogram().whole_sources(batch[0])
    assert both.sum() > 10000 and (mask_of(sources) != both).mean() < 1e-4
    same = both[sources.frame, sources.bin]
    off_deg = angle_between_deg(sources.direction[same], direction[sources.frame, sources.bin][same])
    assert off_deg.max() < 0.01
    parts = [SingleSourceHistogram(axis=axis).whole(batch) for axis in ("azimuth", "elevation")]
    assert parts[0].shape == (1, 1, 241, AZIMUTHS) and parts[1].shape == (1, 1, 241, ELEVATIONS)
    torch.testing.assert_close(SingleSourceHistogram().whole(batch), torch.cat(parts, dim=3), rtol=0, atol=0)
    full = sources.histogram()
    np.testing.assert_array_equal(full.sum(axis=2), parts[0][0, 0].numpy())
    np.testing.assert_array_equal(full.sum(axis=1), parts[1][0, 0].numpy())


def test_a_plane_wave_lands_in_its_cell() -> None:
    """Cells are the classes of the general network: multiples of 5 degrees; above 47.5 degrees there is none."""
    rng = np.random.default_rng(1)
    for azimuth_deg, elevation_deg in ((-180, 0), (177.6, -45), (62.4, 45), (0, 30)):
        direction = direction_from_degrees(azimuth_deg, elevation_deg)
        burst = np.concatenate([np.zeros(4800), rng.standard_normal(7200)])
        waveform = np.array([1, *direction[[1, 2, 0]]])[:, None] * burst
        full = SingleSourceHistogram().whole_sources(torch.from_numpy(waveform).float()).histogram()
        azimuth, elevation = np.unravel_index(full.sum(axis=0).argmax(), full.shape[1:])
        assert angle_between_deg(cell_centres()[azimuth * ELEVATIONS + elevation], direction) < 3.6
        assert full.sum() > 3000
    _, _, inside = cells(direction_from_degrees([0, 0, 0], [47.4, 47.6, -47.6]))
    assert inside.tolist() == [True, False, False]


@pytest.mark.parametrize("block", [37, 2400, 10**6])
def test_stream_is_one_whatever_the_blocks(block: int) -> None:
    """The same bins for any blocks, and the directions of the whole clip; every frame comes."""
    waveform = recording("one")[:, :30000]
    stream = SingleSourceStream()
    parts = [stream.feed(waveform[:, i : i + block]) for i in range(0, waveform.shape[1], block)]
    streamed = SingleSources.concatenate([*parts, stream.finish()])
    at_once = SingleSourceStream()
    expected = SingleSources.concatenate([at_once.feed(waveform), at_once.finish()])
    assert streamed.frames == expected.frames == 101
    assert (mask_of(streamed) != mask_of(expected)).mean() < 1e-4
    whole = SingleSourceHistogram().whole_sources(torch.from_numpy(waveform))
    assert angle_between_deg(strongest(streamed, 1), strongest(whole, 1)) < 0.5


def test_stream_differs_from_the_whole_clip_by_what_lies_behind_its_ends_alone() -> None:
    """Frame indices wrap around in a whole clip: with silence at both ends nothing wraps, and all bins agree."""
    sound = recording("one")[:, :30000]
    differing = []
    for silence in (0, 6000):  # samples: the noise floor begins with five frames, and with two of the other end
        waveform = np.pad(sound, ((0, 0), (silence, silence)))
        stream = SingleSourceStream()
        streamed = SingleSources.concatenate([stream.feed(waveform), stream.finish()])
        whole = mask_of(SingleSourceHistogram().whole_sources(torch.from_numpy(waveform)))
        differing.append(int((mask_of(streamed) != whole).sum()) / whole.sum())
    assert differing[0] > 0.02 and differing[1] < 1e-4


def test_silence_noise_and_what_is_too_short() -> None:
    feature = SingleSourceHistogram()
    assert not feature.whole(torch.zeros(1, 4, 2400)).any()
    for samples in (513, 700, 1300):  # 2, 3 and 5 frames: fewer than those before and behind a frame
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4, samples)).astype(np.float32))
        assert feature.whole(noise).shape == (1, 1, 1 + samples // 300, 91)
    with pytest.raises(ValueError, match="512 samples cannot mirror"):
        feature.whole_sources(torch.zeros(4, 512))
    with pytest.raises(ValueError, match="4 channels of first-order"):
        SingleSourceHistogram(2)
    stream = SingleSourceStream()
    assert len(stream.feed(np.zeros((4, 100), np.float32))) == 0
    assert stream.finish().frames == 1
    assert strongest(SingleSources.concatenate([]), 2).shape == (0, 3)
