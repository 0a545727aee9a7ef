"""The general network (DCASE 2020) against recorded outputs of its reference, from features to losses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from dataset.chunks import chunk_starts
from dcase2022_task3_seld_metrics.segments import SegmentCounts
from feature import augment
from feature.logmel_gcc import GENERAL, GENERAL_CORRELATION, TWO_STAGE_INTENSITY, Logmel, LogmelGCC
from feature.logmel_intensity import LogmelIntensity
from feature.statistics import RunningStatistics
from net.general import DETECTION, DIRECTION, ELEVATION, ENCODERS, Alignment, Module, ReleasedDetection
from output_format.aligned import alignment_losses
from output_format.general_labels import feature_labels, resampled, xyz_target
from output_format.general_modules import entropy
from tests import golden
from tests.standardised import standardised
from tests.two_stage_golden import fill, hash_fill
from util.dialects import read_events

CLASSES, BATCH, FRAMES = 14, 2, 69
MODULES = {
    "SED-M": (4, 128, (14,), DETECTION),
    "SED-T": (1, 64, (14,), DETECTION),
    "DOA-iv": (3, 128, (72, 19), DIRECTION),
    "DOA-gcc": (6, 128, (72, 19), DIRECTION),
    "AZI-hist": (1, 72, (72,), DIRECTION),
    "ELE-hist": (1, 19, (19,), ELEVATION),
}
RELEASED = (
    "PannCnn14L8_ch1_mel64_avg",
    "PannCnn14L8_ch4_mel128_max",
    "PannCnn14L6_ch1_mel64_avg",
    "PannCnn14L6F64_ch4_mel128_avg",
)
INTENSITY = {**GENERAL, "bands": 128, **TWO_STAGE_INTENSITY, "precision": torch.float32}


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(golden.find(f"general_network/{name}.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def sound() -> torch.Tensor:
    samples, rate_hz = soundfile.read(golden.find_audio("general_network/foa_two_24k"), dtype="float32")
    assert rate_hz == 24000
    return torch.from_numpy(samples.T.copy())[None]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("logmeliv", lambda: LogmelIntensity(4, **INTENSITY)),
        ("logmel64", lambda: Logmel(4, **GENERAL, bands=64, levels=1)),
        ("gcc", lambda: LogmelGCC(4, **GENERAL, bands=128, levels=0, **GENERAL_CORRELATION)),
    ],
)
def test_features(name, make, sound):
    due = read("features")
    found = make().whole(sound)[0].numpy()
    assert found.shape[1] == due["shape_logmeliv"][1] == 201
    tolerance = {"gcc": 5e-4, "logmel64": 2e-3}.get(name, 1e-3)
    np.testing.assert_allclose(found[4:][:, due["frame_index"]], due[name][4:], atol=tolerance)
    np.testing.assert_allclose(found[:4][:, due["frame_index"]], due[name][:4], atol=max(tolerance, 5e-4))
    if f"{name}_time_mean" in due:
        np.testing.assert_allclose(found.mean(axis=1), due[f"{name}_time_mean"], atol=tolerance)


def test_parts_of_a_feature_are_those_of_the_whole(sound):
    both = LogmelIntensity(4, **INTENSITY).whole(sound)
    torch.testing.assert_close(LogmelIntensity(4, **INTENSITY, levels=False).whole(sound), both[:, 4:], atol=0, rtol=0)
    torch.testing.assert_close(Logmel(4, **GENERAL, bands=128).whole(sound), both[:, :4], atol=1e-4, rtol=0)
    joined = LogmelGCC(4, **GENERAL, bands=128, **GENERAL_CORRELATION).whole(sound)
    apart = LogmelGCC(4, **GENERAL, bands=128, levels=0, **GENERAL_CORRELATION).whole(sound)
    torch.testing.assert_close(joined[:, 4:], apart, atol=1e-6, rtol=0)
    torch.testing.assert_close(joined[:, :4], both[:, :4], atol=1e-4, rtol=0)
    # what hears one channel does the same on a mono recording
    one = Logmel(1, **GENERAL, bands=64).whole(sound[:, :1])
    torch.testing.assert_close(one, Logmel(4, **GENERAL, bands=64, levels=1).whole(sound), atol=1e-5, rtol=0)


def test_standardisation_of_bins_and_of_maps():
    due, running = read("scaler"), RunningStatistics()
    for name in ("feat0", "feat1", "feat2"):
        running.update_maps(torch.from_numpy(due[name])[None])
    vector, scalar = standardised(running, 2), standardised(running, 2, each_bin=False)
    for made, prefix in ((vector, ""), (scalar, "scalar_")):
        mean, scale = made.mean.numpy(), made.scale.numpy()
        np.testing.assert_allclose(np.broadcast_to(due[f"{prefix}mean"], mean.shape), mean, atol=1e-5)
        np.testing.assert_allclose(np.broadcast_to(due[f"{prefix}std"], scale.shape), scale, atol=1e-5)


def test_labels_and_chunks():
    due = read("labels")
    files = sorted(golden.find("general_network/labels_csv").glob("*.csv"))
    assert [path.name[:11] for path in files] == ["fold1_room1", "fold1_room2"]
    active, xyz, polar = [], [], []
    for path, frames in zip(files, due["n_frames"].tolist()):
        found, azimuth, elevation = feature_labels(read_events(path, "starss23", class_count=CLASSES), CLASSES, frames)
        active.append(found)
        xyz.append(xyz_target(azimuth, elevation))
        polar.append(np.deg2rad(np.concatenate((azimuth, elevation), axis=1)))
    np.testing.assert_array_equal(np.concatenate(active), due["sed_targets"])
    np.testing.assert_allclose(np.concatenate(xyz), due["doa_xyz"], atol=1e-6)
    np.testing.assert_allclose(np.concatenate(polar), due["doa_polar"], atol=1e-6)
    for name in (one for one in due if one.startswith("interp_")):
        made = resampled(due["sed_targets"][:320], float(name.removeprefix("interp_")))
        np.testing.assert_array_equal(made, due[name])
    for kind, hop in (("train", 40), ("test", 320)):
        recording, first = chunk_starts(due["n_frames"].tolist(), length=320, hop=hop)
        offset = np.cumsum(due["n_frames"]) - due["n_frames"]
        np.testing.assert_array_equal(offset[recording] + first, due[f"{kind}_chunk_idxes"])
        assert (recording == recording[-1]).sum() == due[f"{kind}_test_batch_size"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_augmentation_of_an_item(seed):
    due = read("augment")
    changes = {
        "RandomCutout": lambda x, random: augment.cutout(x, random, aspect=60 / 32),
        "RandomCutout_square": lambda x, random: augment.cutout(x, random, aspect=0.4),
        "SpecAugment": augment.stripes,
        "RandomCutoutHole": augment.holes,
        "CompositeCutout": augment.sometimes_cut,
        "RandomShiftUpDown": lambda x, random: augment.shift_bins(x, random, most=6),
    }
    x = torch.from_numpy(due["x"])
    for name, change in changes.items():
        if f"{name}_seed{seed}" not in due:
            pytest.skip("this draw is in ../shared only")
        made = change(x, np.random.RandomState(seed))
        np.testing.assert_allclose(made, due[f"{name}_seed{seed}"], atol=1e-6, err_msg=name)
    assert torch.equal(x, torch.from_numpy(due["x"]))  # what is given stays


def test_items_are_mixed():
    due, chunks, frames = read("mixup"), 6, 8
    random = np.random.RandomState(7)
    drawn = [augment.mix_draw(random, chunks) for _ in range(chunks)]
    shares, partners = zip(*drawn)
    own = {
        "x": torch.from_numpy(due["features"]).unflatten(1, (chunks, frames)).movedim(1, 0),
        "sed": torch.from_numpy(due["sed"]).unflatten(0, (chunks, frames)),
        "doa": torch.from_numpy(due["doa"]).unflatten(0, (chunks, frames)),
    }
    for name, values in own.items():
        for number, made in enumerate(augment.mixed(values, shares, partners)):
            np.testing.assert_allclose(made, due[f"{name}{number}"], atol=1e-6)


def network_input(name: str, maps: int, bins: int) -> torch.Tensor:
    envelope = (0.25 + 0.5 * (np.arange(FRAMES) // 16 % 4)).astype(np.float32)
    return torch.from_numpy(hash_fill(name, (BATCH, maps, FRAMES, bins), -1, 1) * envelope[:, None])


def check_network(name: str, network: torch.nn.Module) -> None:
    """Names, shapes and number of the weights; then they are filled."""
    (about,) = [json.loads(golden.find("general_network/network_info.json").read_text())[name]]
    own = {key: list(value.shape) for key, value in network.state_dict().items() if "num_batches" not in key}
    assert own == about["keys"] and sum(one.numel() for one in network.parameters()) == about["n_params"]
    fill(network)
    network.eval()


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_the_paper(name):
    maps, bins, outputs, width = MODULES[name]
    network = Module(maps, bins, outputs, width=width)
    check_network(name, network)
    with torch.no_grad():
        found = network(network_input(f"inputP_{name}", maps, bins)).split(outputs, dim=1)
    due = read("networks_filled")
    for number, made in enumerate(found):
        np.testing.assert_allclose(made.transpose(1, 2), due[f"{name}_out{number}"], atol=1e-4)


@pytest.mark.parametrize("name", RELEASED)
def test_released_networks(name):
    encoder, maps, bins, pool = name.split("_")
    maps, bins = int(maps[2:]), int(bins[3:])
    assert encoder in ENCODERS
    network = ReleasedDetection(maps, bins, CLASSES, encoder=encoder, pool=pool)
    check_network(name, network)
    x = network_input(f"inputP_{maps}", maps, bins)
    with torch.no_grad():
        logits = network.logits(x)
        np.testing.assert_allclose(logits, read("networks_filled")[f"{name}_out0"], atol=1e-4)
        torch.testing.assert_close(network(x).transpose(1, 2), logits.sigmoid())


def test_alignment():
    network = Alignment(CLASSES, inputs=105)
    check_network("Alignment", network)
    x = torch.from_numpy(hash_fill("inputP_align", (BATCH, 60, 105), 0, 1))
    with torch.no_grad():
        found = network(x.transpose(1, 2)[..., None])
    due = read("networks_filled")
    np.testing.assert_allclose(found[:, 0].transpose(1, 2), due["Alignment_out0"], atol=1e-4)
    np.testing.assert_allclose(found[:, 1:].flatten(1, 2).transpose(1, 2), due["Alignment_out1"], atol=1e-4)


def test_losses_and_gradients():
    due = {name: torch.from_numpy(np.asarray(value)) for name, value in read("losses").items()}
    logit = due["logit"].clone().requires_grad_()
    loss = entropy(torch.sigmoid(logit), due["soft_target"])
    loss.backward()
    np.testing.assert_allclose(loss.item(), due["bce"], atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(logit.grad, due["bce_grad"], atol=1e-6, rtol=1e-5)

    def raw(probability: torch.Tensor, xyz: torch.Tensor) -> torch.Tensor:
        return torch.cat((probability.transpose(1, 2)[:, None], xyz.unflatten(2, (3, CLASSES)).permute(0, 2, 3, 1)), 1)

    logit, xyz = due["logit"].clone().requires_grad_(), due["xyz"].clone().requires_grad_()
    losses = alignment_losses(raw(torch.sigmoid(logit), xyz), raw(due["target"], due["xyz_target"]))
    np.testing.assert_allclose([loss.item() for loss in losses], due["align_losses"], atol=1e-6, rtol=1e-5)
    losses[0].backward()
    np.testing.assert_allclose(logit.grad, due["align_grad_logit"], atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(xyz.grad, due["align_grad_xyz"], atol=1e-6, rtol=1e-5)


def test_scores_of_detection_on_segments():
    due = read("sed_metrics")
    counts = SegmentCounts.of(due["target"], due["pred"], 10)
    names = ("substituted", "deleted", "inserted", "hits", "reference", "estimated")
    np.testing.assert_array_equal([getattr(counts, name) for name in names], due["counts_S_D_I_TP_Nref_Nsys"])
    np.testing.assert_allclose([counts.error_rate, counts.f_score], due["ER_F"], atol=1e-9)
    assert counts.error == pytest.approx((counts.error_rate + 1 - counts.f_score) / 2)
    nothing = SegmentCounts.of(np.zeros((25, 3)), np.zeros((25, 3)), 10)
    assert (nothing.error_rate, nothing.f_score) == (0, 0)
    halves = [SegmentCounts.of(due["target"][part], due["pred"][part], 10) for part in (slice(40), slice(40, 80))]
    assert halves[0] + halves[1] == counts
