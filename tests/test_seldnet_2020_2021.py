"""The DCASE baselines of 2020 and 2021 against the golden outputs of their code: labels, networks, losses, csv."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from dataset.framing import Framing
from dataset.loader import Loader
from dataset.plans import Clips, Stream
from dataset.recordings import Recording
from dataset.source import Source
from feature.audio import AudioFeature
from feature.front import PADDING, Front
from feature.interleaved import Interleaved
from feature.statistics import RunningStatistics
from feature.stft import SpectralFeature
from net.seldnet import SELDnet
from output_format.accdoa import Accdoa
from output_format.formats import OUTPUT_FORMATS
from output_format.frame_labels import frame_labels
from output_format.rows import vector_text
from output_format.sed_vector import SedVector, vector_error
from system.model import of_whole
from system.presets import presets
from system.seldnet2020 import audio_feature
from system.table import system_named
from tests import golden
from util.angles import degrees_from_direction
from util.audio import write_audio
from util.dialects import read_events
from util.events import EventTable
from util.microphone_arrays import ARRAYS

FOLDER = "seldnet_2020_2021"
CLASSES = {"B20": 14, "B21": 12}
YEARS = tuple(CLASSES)
FEATURES = {"foa": "logmel_intensity", "mic": "logmel_gcc"}


def data(name: str) -> np.lib.npyio.NpzFile:
    return np.load(golden.find(f"{FOLDER}/{name}.npz"))


def target_of(matrix: np.ndarray, classes: int) -> torch.Tensor:
    """Label matrices (..., L, 4 N) -> targets (..., 4, N, L)."""
    return torch.from_numpy(matrix).unflatten(-1, (4, classes)).movedim(-3, -1)


def matrix_of(output: torch.Tensor) -> np.ndarray:
    """(batch, numbers, N, L) -> (batch, L, numbers N), as the references have it."""
    return output.movedim(-1, 1).flatten(2).detach().numpy()


def feature_of(year: str, form: str, edges: str, exact: bool, **changes) -> AudioFeature:
    """The feature of a year's row; `exact`: in double precision throughout."""
    settings = {**presets()[f"seldnet20{year[1:]}"].settings, "edges": edges, "feature": FEATURES[form], **changes}
    made = audio_feature(settings, 4)
    for module in made.modules():
        if exact and isinstance(module, SpectralFeature):
            module.precision = torch.float64
    return made


def clip(feature: AudioFeature, waveform: torch.Tensor, frames: int) -> torch.Tensor:
    """Features (1, maps, frames, bins) of a whole recording."""
    if isinstance(feature, Interleaved):
        return feature.interleaved(feature.inner.clip(waveform, frames))
    return feature.clip(waveform, frames)


def waveform_of(form: str) -> torch.Tensor:
    samples, _ = soundfile.read(golden.find_audio(f"{FOLDER}/audio/{form}24k"), dtype="float32")
    return torch.from_numpy(samples.T.copy())[None]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("form", FEATURES)
@pytest.mark.parametrize("year", YEARS)
def test_features(year: str, form: str, exact: bool) -> None:
    due, waveform = data(f"features_{form}"), waveform_of(form)
    levels_atol, atol = (1e-4, 1e-6) if exact else (5e-3, 1e-4)
    other = "gcc" if form == "mic" else f"iv_{year}"
    made = {edges: clip(feature_of(year, form, edges, exact, layout="paper"), waveform, 500)[0].transpose(0, 1)
            for edges in ("zeros", "reflect")}  # fmt: skip
    assert int(due["n_frames"]) == 500
    found = made["zeros"][due["frame_idx"]].numpy()
    np.testing.assert_allclose(found[:, :4], due["logmel"], atol=levels_atol, rtol=0)
    np.testing.assert_allclose(found[:, 4:], due[other], atol=atol, rtol=0)
    first = made["reflect"][0].numpy()
    np.testing.assert_allclose(first[:4], due["frame0_logmel_reflect"], atol=levels_atol, rtol=0)
    np.testing.assert_allclose(first[4:], due[f"frame0_{other}_reflect"], atol=atol, rtol=0)
    torch.testing.assert_close(made["reflect"][1:], made["zeros"][1:], atol=1e-4, rtol=0)

    if f"row_{year}" not in due.files:
        return  # the compact cut has no whole recording
    # rows in the year's own order; standardised over the clip and the clip rolled by half of it
    feature = feature_of(year, form, "zeros", exact)
    statistics = RunningStatistics()
    rows = []
    for samples in (waveform, waveform.roll(120_000, dims=2)):
        features = clip(feature, samples, 500)
        rows.append(
            features.permute(0, 2, 3, 1).flatten(2)[0] if year == "B20" else features.transpose(1, 2).flatten(2)[0]
        )
        statistics.update(rows[-1])
    row = rows[0][due["row_frames"]]
    levels = 256
    np.testing.assert_allclose(row[:, :levels], due[f"row_{year}"][:, :levels], atol=levels_atol, rtol=0)
    np.testing.assert_allclose(row[:, levels:], due[f"row_{year}"][:, levels:], atol=atol, rtol=0)
    if exact:
        # means near 0 of numbers up to 1 that are held in single precision
        np.testing.assert_allclose(statistics.mean, due[f"scaler_mean_{year}"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(statistics.variance, due[f"scaler_var_{year}"], rtol=1e-6)
        np.testing.assert_allclose(statistics.scale, due[f"scaler_scale_{year}"], rtol=1e-6)
        scaled = (row.double() - statistics.mean) / statistics.scale
        np.testing.assert_allclose(scaled, due[f"norm_row_{year}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", FEATURES)
def test_a_recording_in_sequences_is_the_recording(form: str, tmp_path) -> None:
    """Plan, loader and front end give the features of the whole recording, levels held to its loudest."""
    row = system_named("seldnet2020").stages[0]
    settings = {**presets()["seldnet2020"].settings, "feature": FEATURES[form], "validation": "all"}
    waveform = waveform_of(form)[..., : 480 * 433]
    path = tmp_path / "one.wav"
    write_audio(path, waveform[0].numpy(), 24000)
    recording = Recording("one", path, None, None, ARRAYS[form], waveform.shape[2], 24000)
    front, source = row.front(settings, ARRAYS[form], False, None), Source([recording])
    plan = row.plans(settings).evaluation(source.lengths(24000))
    (batch,) = Loader(source, plan, batch_size=4, of_whole=of_whole(front))
    assert plan.output_frames(0) == 87 and batch["keep"].tolist() == [[0, 60], [0, 27]]
    features, outside = front.raw_features(batch)
    whole = clip(front.audio, waveform, 433)
    joined = torch.cat(tuple(features), dim=1)[:, :433]
    torch.testing.assert_close(joined, whole[0], atol=2e-4, rtol=0)
    assert outside[1, 133:].all() and not outside[1, :133].any()


def test_short_recordings_are_filled_up_with_the_same_noise(tmp_path) -> None:
    """2020 and 2021 have 60 s; the reference's numbers differ from run to run, these do not."""
    row = system_named("seldnet2020").stages[0]
    plans = row.plans({**presets()["seldnet2020"].settings, "feature": "logmel_gcc"})
    path = tmp_path / "short.wav"
    write_audio(path, np.full((4, 12_000), 0.25, dtype=np.float32), 24000)
    recording = Recording("short", path, None, None, ARRAYS["mic"], 12_000, 24000)
    source = Source([recording], clip_s=1.0)
    made = []
    for frames in (300, 10):
        plan = Clips(plans.framing, source.lengths(24000), frames=frames)
        batches = [batch["waveform"][:, :, 512:] for batch in Loader(source, plan, batch_size=1)]
        made.append(torch.cat([samples[..., : 480 * min(frames, 50)] for samples in batches], dim=2)[0, :, :24_000])
    torch.testing.assert_close(made[0], made[1], atol=0, rtol=0)
    noise = made[0][:, 12_000:] + 1e-8  # the feature adds it to every sample
    assert (made[0][:, :12_000] == 0.25).all() and 0 <= noise.min() < 1e-10 and 9e-9 < noise.max() < 1e-8
    assert len(noise.unique()) > 40_000  # channels and samples differ


@pytest.mark.parametrize("year", YEARS)
def test_labels(year: str) -> None:
    due, classes = data(f"labels/{year}_labels"), CLASSES[year]
    events = read_events(golden.find(f"{FOLDER}/labels/{year}.csv"), "starss22", class_count=classes)
    order = np.argsort(events.frame, kind="stable")
    for table in (events, events[order]):
        made = frame_labels(table, classes, frames=100)
        np.testing.assert_allclose(made.transpose(2, 0, 1).reshape(100, -1), due["labels"], atol=1e-12, rtol=0)
        part = frame_labels(table, classes, first=30, frames=25)
        np.testing.assert_array_equal(part, made[..., 30:55])
    assert events.frame.max() >= 100  # rows behind the last frame are left out
    if year == "B21":
        target = Accdoa(classes).target(torch.from_numpy(made)[None], torch.device("cpu"))
        np.testing.assert_allclose(matrix_of(target)[0], due["accdoa"], atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="outside"):
        frame_labels(events, 3, frames=100)


class Rows(AudioFeature):
    """Stored rows of features as "samples" -> planes, by the layout of a year."""

    channels, maps, bins = 56, 7, 8

    def __init__(self, year: str):
        super().__init__()
        self.year = year

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        if self.year == "B21":
            return waveform.unflatten(1, (7, 8)).transpose(2, 3)
        parts = waveform.split((32, 24), dim=1)
        planes = torch.cat([part.unflatten(1, (8, -1)).transpose(1, 2) for part in parts], dim=1)
        mixed = Interleaved(SimpleNamespace(channels=4, maps=7, bins=8, held_over="", jumps=False), 4)
        made = mixed.interleaved(planes.transpose(2, 3))
        torch.testing.assert_close(mixed.apart(made), planes.transpose(2, 3), atol=0, rtol=0)
        return made


@pytest.mark.parametrize("way", ["stream", "perfile"])
@pytest.mark.parametrize("year", YEARS)
def test_batches(year: str, way: str, tmp_path) -> None:
    """Features and targets of the published generators, through plan, loader, front and output formats."""
    found, classes = data(f"generator_{year}"), CLASSES[year]
    rows = [found[f"feat{index}"].astype(np.float32).T for index in range(3)]
    recordings = [
        Recording(str(index), tmp_path / f"{index}.wav", tmp_path, None, ARRAYS["foa"], 50, 50) for index in range(3)
    ]
    events = {str(index): events_of(found[f"label{index}"], classes) for index in range(3)}
    source = Source(
        recordings,
        SimpleNamespace(of_frames=lambda recording, frame_s: events[recording.name]),
        read=lambda recording, start, length, rate_hz: rows[int(recording.name)][:, start : start + length],
        channels=56,
    )
    framing = Framing(50, 1, 1, frames_per_output=5)
    lengths = source.lengths(50)
    if way == "stream":
        plan, batch_size = Stream(framing, lengths, frames=20, batch_size=2, shuffle=False), 2
    else:
        plan, batch_size = Clips(framing, lengths, frames=20), 3
    formats = [Accdoa(classes), SedVector(classes)]
    front = Front(Rows(year), padding=PADDING)
    with Loader(source, plan, batch_size=batch_size, encode=formats[0].encode, stop_step=3) as loader:
        batches = list(loader)
    assert len(batches) == 3
    for batch, features in zip(batches, found[f"{way}_feat"]):
        np.testing.assert_array_equal(front(batch)[0].numpy(), features)
    accdoa, both = (
        np.stack([matrix_of(one.target(batch["labels"], torch.device("cpu"))) for batch in batches]) for one in formats
    )
    if year == "B20":
        np.testing.assert_allclose(both, found[f"{way}_doa_target"], atol=1e-7, rtol=0)  # carried in single precision
    else:
        np.testing.assert_allclose(accdoa, found[f"{way}_accdoa"], atol=1e-7, rtol=0)
        np.testing.assert_allclose(both[..., classes:], found[f"{way}_doa_target"], atol=1e-7, rtol=0)
    np.testing.assert_array_equal(both[..., :classes], found[f"{way}_sed"])


def events_of(matrix: np.ndarray, classes: int) -> EventTable:
    """A label matrix (L, 4 N) as a table."""
    labels = matrix.reshape(len(matrix), 4, classes)
    frame, index = np.nonzero(labels[:, 0])
    azimuth, elevation = degrees_from_direction(labels[frame, 1:, index])
    return EventTable.make(frame=frame, class_index=index, azimuth_deg=azimuth, elevation_deg=elevation)


# names of the golden weights -> those of `SELDnet.load_keras`
LAYERS = {
    "doa_hidden": "Dense1",
    "doa_out": "Dense3",
    "sed_hidden": "Dense0",
    "sed_out": "Dense2",
    **{f"conv{i}": f"Conv2D{i}" for i in range(3)},
    **{f"bn{i}": f"BatchNormalization{i}" for i in range(3)},
    **{f"gru{i}": f"Bidirectional{i}" for i in range(2)},
}


def network_of(name: str, gate: str, **sizes) -> SELDnet:
    """A network of year and format, "B20_foa"."""
    year, form = name.split("_")[:2]
    return SELDnet(
        7 if form == "foa" else 10,
        CLASSES[year],
        bins=64,
        pools=(4, 4, 2),
        time_pool=5,
        accdoa=year == "B21",
        gate=gate,
        **sizes,
    )


def fill(network: SELDnet, weights: dict[str, np.ndarray]) -> None:
    renamed = {}
    for name, value in weights.items():
        layer, _, part = name.partition("/")
        if layer in LAYERS:
            renamed[f"{LAYERS[layer]}/{'kernel_hwio' if layer.startswith('conv') and part == 'kernel' else part}"] = (
                value
            )
    network.load_keras(renamed)


def formula_weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """The rule of the golden README for networks of full size."""
    made = {}
    for j, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        k = np.arange(np.prod(shape))
        u = np.abs(np.sin(12.9898 * (k + 1) + 78.233 * (j + 1)) * 43758.5453)
        v = 2 * (u - np.floor(u)) - 1
        if name.endswith("moving_variance"):
            v = 1 + 0.5 * v
        elif name.endswith("gamma"):
            v = 1 + 0.3 * v
        elif len(shape) == 1:
            v = 0.1 * v
        else:
            v = v * 2.5 / np.sqrt(np.prod(shape[:-1]))
        made[name] = v.astype(np.float32).reshape(shape)
    return made


def inputs_of(form: str) -> torch.Tensor:
    inputs = data("networks/inputs")
    if f"{form}_x16" not in inputs.files:
        pytest.skip("the compact cut has Ambisonics only")
    return torch.from_numpy(inputs[f"{form}_x16"].astype(np.float32) / 16)


def compare(network: SELDnet, x: torch.Tensor, due: np.lib.npyio.NpzFile, gate: str) -> None:
    with torch.no_grad():
        output = network.eval()(x)
    short = {"hard_sigmoid": "hard", "sigmoid": "sigmoid"}[gate]
    if network.sed is None:
        np.testing.assert_allclose(matrix_of(output), due[f"accdoa_{short}"], atol=2e-5, rtol=0)
    else:
        np.testing.assert_allclose(matrix_of(output[:, :1]), due[f"sed_{short}"], atol=2e-5, rtol=0)
        np.testing.assert_allclose(matrix_of(output[:, 1:]), due[f"doa_{short}"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("gate", ["hard_sigmoid", "sigmoid"])
@pytest.mark.parametrize("form", ["foa", "mic"])
@pytest.mark.parametrize("year", YEARS)
def test_small_networks(year: str, form: str, gate: str) -> None:
    due = data(f"networks/{year}_{form}_small")
    network = network_of(f"{year}_{form}", gate, filters=(6, 6, 6), rnn_units=(8, 8), dense=(9,))
    fill(network, due)
    compare(network, inputs_of(form), due, gate)


@pytest.mark.parametrize("form", ["foa", "mic"])
@pytest.mark.parametrize("year", YEARS)
def test_networks_of_full_size(year: str, form: str) -> None:
    about = json.loads(golden.find(f"{FOLDER}/networks/param_counts_and_names.json").read_text())[f"{year}_{form}"]
    due = data(f"networks/{year}_{form}_full")
    weights = formula_weights(about["weights"])
    for gate in ("hard_sigmoid", "sigmoid"):
        network = network_of(f"{year}_{form}", gate)
        fill(network, weights)
        compare(network, inputs_of(form)[:1], due, gate)


@pytest.mark.parametrize("form", ["foa", "mic"])
def test_parameter_counts(form: str) -> None:
    found = json.loads(golden.find(f"{FOLDER}/networks/param_counts_and_names.json").read_text())
    for name, accdoa in ((f"B20_{form}", False), (f"B21_{form}", True), (f"B21_{form}_noaccdoa", False)):
        network = SELDnet(
            7 if form == "foa" else 10, CLASSES[name[:3]], bins=64, pools=(4, 4, 2), time_pool=5, accdoa=accdoa
        )
        assert network.parameter_count == found[name]["total"]
        moving = sum(buffer.numel() for key, buffer in network.named_buffers() if "running" in key)
        assert moving == found[name]["bn_statistics"]


@pytest.mark.parametrize("year", YEARS)
def test_losses(year: str) -> None:
    found, classes = data("losses"), CLASSES[year]
    if f"{year}_target" not in found.files:
        pytest.skip("the compact cut has 2020 only")
    target = target_of(found[f"{year}_target"], classes)
    sed, doa = (torch.from_numpy(found[f"{year}_{name}"]) for name in ("sed", "doa"))
    output = torch.cat((sed[:, :, None], doa.unflatten(2, (3, classes))), dim=2).movedim(1, 3).contiguous()
    output.requires_grad_()

    def value(name: str) -> float:
        return float(found[f"{year}_{name}"])

    masked = vector_error(output, target, "reference")
    assert masked.item() == pytest.approx(value("masked"), rel=1e-6)
    (gradient,) = torch.autograd.grad(masked, output)
    np.testing.assert_allclose(matrix_of(gradient[:, 1:]), found[f"{year}_masked_grad"], atol=1e-7, rtol=0)
    assert vector_error(output, target, "classwise").item() == pytest.approx(value("masked_classwise"), rel=1e-6)
    assert SedVector(classes, weights=(1, 0)).loss(output, target).item() == pytest.approx(value("bce"), rel=1e-6)
    assert SedVector(classes).loss(output, target).item() == pytest.approx(value("total"), rel=1e-6)
    # B20's other objective compares with all 4 N numbers, which cannot be: 3 N
    mse = SedVector(classes, weights=(0, 1), objective="mse").loss(output, target).item()
    assert mse == pytest.approx(value("mse"), rel=1e-6)
    assert Accdoa(classes).loss(output[:, 1:], target[:, 1:]).item() == pytest.approx(value("mse"), rel=1e-6)


@pytest.mark.parametrize("mask", ["reference", "classwise"])
def test_nothing_active_and_nothing_wrong_are_no_loss(mask: str) -> None:
    output = torch.full((2, 4, 5, 7), 0.25, requires_grad=True)
    silent, right = torch.zeros(2, 4, 5, 7), output.detach().clone()
    right[:, 0] = 1
    for target in (silent, right):
        loss = vector_error(output, target, mask)
        (gradient,) = torch.autograd.grad(loss, output)
        assert loss == 0 and not gradient.any()
    right[1, 1] = 0.75
    apart = vector_error(output, right, mask, reduction="window")
    assert apart[0] == 0 and apart[1] == vector_error(output[1:], right[1:], mask) > 0
    # a lone event of a class in the middle is taught nothing of itself by the published mask
    lone = torch.zeros(1, 4, 5, 1)
    lone[0, :2, 3] = 1
    moved = torch.zeros(1, 4, 5, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(vector_error(moved + 0.1, lone, mask), moved)
    assert bool(gradient[0, 1:, 3].any()) == (mask == "classwise")


@pytest.mark.parametrize("year", YEARS)
def test_csv_rows(year: str) -> None:
    found, classes = data(f"postproc/{year}"), CLASSES[year]
    if year == "B20":
        sed, doa = (found[name].reshape(40, -1, classes) for name in ("sed", "doa"))
        raw = np.concatenate((sed, doa), axis=1).transpose(1, 2, 0)
        output_format = SedVector(classes)
    else:
        raw = found["accdoa"].reshape(40, 3, classes).transpose(1, 2, 0)
        output_format = Accdoa(classes)
    rows = output_format.vector_rows(raw, 0.5)
    assert vector_text(rows) == golden.find(f"{FOLDER}/postproc/{year}.csv").read_text()
    per_class = output_format.vector_rows(raw, np.full(classes, 0.5))
    assert vector_text(per_class) == vector_text(rows)
    polar = np.column_stack((rows.frame, rows.class_index, *degrees_from_direction(rows.vector)))
    np.testing.assert_allclose(polar, found["polar_rows"], atol=1e-9, rtol=0)

    # what is scored, and any description, say the same
    again = OUTPUT_FORMATS[output_format.name].from_description(output_format.description(), classes)
    assert again.description() == output_format.description()
    candidates = again.candidates(raw, frame_s=0.1)
    frame, index, _ = np.nonzero(candidates.activity > 0.5)
    np.testing.assert_array_equal(np.column_stack((frame, index)), found["polar_rows"][:, :2])
    np.testing.assert_allclose(candidates.azimuth_deg[frame, index, 0], found["polar_rows"][:, 2], atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="label frames"):
        again.candidates(raw, frame_s=0.02)
    with pytest.raises(ValueError, match="raw output"):
        again.candidates(raw[:2])
    assert vector_text(output_format.vector_rows(0 * raw, 0.5)) == ""
