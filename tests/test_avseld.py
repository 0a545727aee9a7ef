"""The system of this project: measured directions, pointing at objects, added windows, and its command lines."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import seld
from dataset.augment import ALL_SWAPS, Addition, all_swaps_of, views_of
from dataset.classes import STARSS23_CLASSES
from dataset.framing import Framing
from dataset.loader import Loader
from dataset.plans import RandomWindows
from dataset.recordings import Labels, Recording, no_boxes, recording_of_file
from dataset.source import Source
from dataset.true_boxes import SupposedBoxes
from detection import models
from detection.yolox import Look
from feature.encoding import ambisonic_encoder, even_directions
from feature.logmel_direction import LogmelDirection, LogmelPair
from feature.objects import AZIMUTH, CLASS, ELEVATION, HEIGHT, SCORE, TOKEN, object_tokens
from job import ship
from job.tuning_thresholds import ENOUGH_S, best_thresholds, few_of
from net.avseld import CONTEXT, AvSeld, Pointer, firsthand, gathered_around
from output_format.candidates import Candidates
from output_format.detected_accdoa import THRESHOLD, DetectedAccdoa, detection_direction_loss
from output_format.multi_accdoa import MultiAccdoa
from seld_predictor import load
from simulation.receivers import receiver_for
from system.checkpoint import load_checkpoint, save_checkpoint
from system.presets import preset_of
from system.table import system_named
from tests.checkpoints import bursts, recording
from tests.runs import run_folder
from tests.small_data import make_root
from tests.small_sets import make_set
from tests.test_infer import same
from tests.tiny import tiny_root
from util import cache
from util.angles import direction_from_degrees
from util.audio import write_audio
from util.cli import run_main
from util.dialects import dialect_named, parse_events, read_events, write_events
from util.errors import InputError
from util.events import EventTable
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS
from util.runs import checkpoints_of
from util.things import NO_THINGS
from util.video import VideoWriter

RATE_HZ, N_FFT = 24000, 1024
DIRECTIONS = direction_from_degrees(
    np.array([0.0, 90.0, -135.0, 60.0, 170.0]), np.array([0.0, 30.0, -40.0, 80.0, -5.0])
)


def plane_wave(direction: np.ndarray, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    """Noise from one direction as FOA (4, samples)."""
    mono = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    x, y, z = direction
    return (np.array([1, y, z, x])[:, None] * mono).astype(np.float32)


def measured(feature: torch.nn.Module, waveform: np.ndarray) -> np.ndarray:
    """Mean measured direction (3,) over frames and bands."""
    return feature(torch.from_numpy(waveform)[None])[0, 1:].mean(dim=(1, 2)).numpy()


@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_the_feature_of_a_plane_wave_is_its_direction(direction):
    planes = LogmelDirection()(torch.from_numpy(plane_wave(direction))[None])[0]
    np.testing.assert_allclose(
        planes[1:].numpy(), np.broadcast_to(direction[:, None, None], planes[1:].shape), atol=1e-3
    )
    assert (planes[0] > 20).all()


def test_a_diffuse_field_has_short_vectors_and_silence_is_zero():
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal((4, RATE_HZ)) * np.array([1, *[3**-0.5] * 3])[:, None]).astype(np.float32)
    lengths = LogmelDirection()(torch.from_numpy(noise)[None])[0, 1:].norm(dim=0)
    assert lengths[:, 32:].mean() < 0.4
    assert not LogmelDirection()(torch.zeros(1, 4, RATE_HZ)).any()


@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_a_microphone_array_measures_the_same_directions(direction):
    """A plane wave from a direction on the capsules of the rigid sphere, through their encoder."""
    receiver, grid = receiver_for(ARRAYS["mic"], RATE_HZ), even_directions()
    frequency = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
    encoder = ambisonic_encoder(receiver.response(grid, frequency), grid)
    feature = LogmelDirection(encoder=encoder)
    samples = RATE_HZ // 2
    spectrum = np.fft.rfft(0.1 * np.random.default_rng(0).standard_normal(samples))
    response = receiver.response(direction[None], np.fft.rfftfreq(samples, 1 / RATE_HZ))[0]
    waveform = np.fft.irfft(response * spectrum, samples).astype(np.float32)
    planes = feature(torch.from_numpy(waveform)[None])[0, 1:, 1:-1, 8:28].mean(dim=(1, 2)).numpy()
    assert np.rad2deg(np.arccos(np.clip(planes @ direction / np.linalg.norm(planes), -1, 1))) < 5


def test_two_channels_have_levels_and_phases():
    feature, rng = LogmelPair(), np.random.default_rng(0)
    mono = 0.1 * rng.standard_normal(RATE_HZ)
    same_pair = feature(torch.from_numpy(np.stack([mono, mono]).astype(np.float32))[None])[0]
    np.testing.assert_allclose(same_pair[2].numpy(), 1, atol=1e-4)
    np.testing.assert_allclose(same_pair[[1, 3]].numpy(), 0, atol=1e-4)
    left = feature(torch.from_numpy(np.stack([mono, 0.5 * mono]).astype(np.float32))[None])[0]
    np.testing.assert_allclose(left[1].numpy(), 0.6, atol=1e-4)  # (1 - 1/4) / (1 + 1/4)


@pytest.mark.parametrize("kind", ["foa", "mic", "pair"])
def test_compiled_loops_make_the_features_of_the_operators(kind, monkeypatch):
    if kind == "mic":
        grid = even_directions()
        response = receiver_for(ARRAYS["mic"], RATE_HZ).response(grid, np.fft.rfftfreq(N_FFT, 1 / RATE_HZ))
        feature = LogmelDirection(encoder=ambisonic_encoder(response, grid))
    else:
        feature = LogmelPair() if kind == "pair" else LogmelDirection()
    waveform = 0.1 * torch.randn(2, feature.channels, RATE_HZ, generator=torch.Generator().manual_seed(0))
    waveform[0, :, :5000] = 0
    compiled = feature(waveform)
    monkeypatch.setattr("feature.logmel_direction.compiled_on", lambda device: None)
    torch.testing.assert_close(compiled, feature(waveform), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("swap", ALL_SWAPS)
def test_every_symmetry_of_ambisonics_moves_sound_and_feature_alike(swap):
    source, sign = swap.channels(ARRAYS["foa"])
    direction = DIRECTIONS[3]
    swapped = plane_wave(direction)[source] * sign[:, None]
    np.testing.assert_allclose(measured(LogmelDirection(), swapped), swap.matrix() @ direction, atol=1e-3)


def test_ambisonics_have_sixteen_symmetries_and_the_tetrahedron_eight():
    assert len({swap.matrix().tobytes() for swap in all_swaps_of(ARRAYS["foa"])}) == 16
    assert len(all_swaps_of(ARRAYS["mic"])) == 8 and len(all_swaps_of(ARRAYS["binaural"])) == 2


def network(**options) -> AvSeld:
    torch.manual_seed(0)
    return AvSeld(4, 13, **{"filters": (4, 4, 8, 8), "channels": 16, **options}).eval()


def window(seconds: float = 5.0, gain: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Feature (1, 4, frames, bins) of bursts."""
    waveform = gain * bursts(seconds + 0.1, seed=seed)
    return LogmelDirection()(torch.from_numpy(waveform)[None])[:, :, : round(50 * seconds)]


def test_the_output_is_multi_accdoa_whatever_the_level():
    net = network(visual=False)
    with torch.no_grad():
        made, louder = net(window()), net(window(gain=0.01))
    assert made.shape == (1, 3, 3, 13, 50) and made.norm(dim=2).max() <= 1 + 1e-5
    torch.testing.assert_close(made, louder, atol=1e-4, rtol=0)  # 40 dB lower


def test_measured_directions_turn_with_the_sound():
    """Without the correction an untrained network says where a single plane wave comes from."""
    net = network(visual=False)
    torch.nn.init.zeros_(net.correction.weight)
    for direction in DIRECTIONS:
        planes = LogmelDirection()(torch.from_numpy(plane_wave(direction, 1.1))[None])[:, :, :50]
        with torch.no_grad():
            made = torch.nn.functional.normalize(net(planes), dim=2)
        np.testing.assert_allclose(
            made.permute(0, 1, 3, 4, 2).reshape(-1, 3).numpy(), direction[None].repeat(390, 0), atol=2e-3
        )


def objects(*places: tuple[float, float], frames: int = 50) -> torch.Tensor:
    """Tokens (1, frames, 3, 6) of people at (azimuth, elevation) in degrees, the rest empty."""
    tokens = torch.zeros(1, frames, 3, TOKEN)
    for index, (azimuth, elevation) in enumerate(places):
        tokens[:, :, index, AZIMUTH], tokens[:, :, index, ELEVATION] = math.radians(azimuth), math.radians(elevation)
        tokens[:, :, index, HEIGHT] = math.radians(40)
        tokens[:, :, index, SCORE] = tokens[:, :, index, CLASS] = 1
    return tokens


@pytest.mark.parametrize("distance", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_every_weight_that_is_trained_gets_a_gradient(measured, distance):
    """Several processes wait for those of all: one that never comes ends their training at the second step."""
    net = network(measured=measured, distance=distance, things=True).train()
    net(window(), objects((20, 0))).sum().backward()
    assert [name for name, one in net.named_parameters() if one.requires_grad and one.grad is None] == []
    idle = {name for name, one in net.named_parameters() if not one.requires_grad}
    due = {"pointer.trust", "pointer.field_sharpness"} if not measured else set()
    assert idle == due | ({"pointer.nearer"} if not distance else set())


def test_nobody_to_be_seen_changes_nothing():
    net = network()
    with torch.no_grad():
        blind, empty = net(window(), None), net(window(), objects())
        none = net(window(), torch.zeros(1, 50, 0, TOKEN))
        seen = net(window(), objects((40, 0), (-100, 0)))
    torch.testing.assert_close(blind, empty, atol=1e-6, rtol=0)
    torch.testing.assert_close(blind, none, atol=1e-6, rtol=0)
    assert (seen - blind).abs().max() > 1e-4


def test_the_pointer_moves_towards_what_is_near_and_likely():
    pointer = Pointer(2, 4)
    with torch.no_grad():
        pointer.affinity.weight[1, 0], pointer.affinity.weight[1, 1] = 6.0, -20.0  # people make class 0, never class 1
        pointer.part[0] = 10.0  # at the top
    heard = torch.zeros(1, 1, 4)
    direction = torch.from_numpy(direction_from_degrees(np.array(30.0), np.array(12.0))).float()
    given = direction.expand(1, 1, 3, 2, 3)
    with torch.no_grad():
        moved, _ = pointer(given, heard, objects((38, 0), (-120, 0), frames=1))
    head = direction_from_degrees(np.array(38.0), np.array(20.0))
    assert np.rad2deg(np.arccos(moved[0, 0, 0, 0].numpy() @ head)) < 2
    np.testing.assert_allclose(moved[0, 0, 0, 1].numpy(), direction.numpy(), atol=1e-5)


def test_of_two_people_in_one_direction_the_one_that_is_heard_there_is_pointed_at():
    """The mean direction lies between two people; what the sound's own bands say decides."""
    pointer = Pointer(1, 4)
    people = objects((25, 0), (-25, 0), frames=1)
    between = torch.tensor([1.0, 0.0, 0.0]).expand(1, 1, 3, 1, 3)
    places = direction_from_degrees(np.array([25.0, -25.0]), np.array([0.0, 0.0]))
    field = torch.from_numpy(np.repeat(places, 32, axis=0)[None, None]).float()  # lower bands left, upper ones right
    bands = torch.zeros(1, 1, 3, 1, 64)
    bands[..., :32] = 1 / 32
    with torch.no_grad():
        share = pointer.heard_there(bands, field, people)
        moved, _ = pointer(between, torch.zeros(1, 1, 4), people, share)
    assert share.shape == (1, 1, 3, 1, 3) and share[0, 0, 0, 0, 0] > 0.95 and share[0, 0, 0, 0, 1] < 0.01
    assert np.rad2deg(np.arctan2(*moved[0, 0, 0, 0, [1, 0]].numpy())) > 15


def test_what_nobody_knows_of_is_not_pointed_at():
    """A chair where a voice is: objects of classes that training has not seen leave the direction alone."""
    chair = objects((38, 0), frames=1)
    chair[..., CLASS] *= 57
    direction = torch.from_numpy(direction_from_degrees(np.array(30.0), np.array(0.0))).float().expand(1, 1, 3, 2, 3)
    with torch.no_grad():
        moved, _ = Pointer(2, 4)(direction, torch.zeros(1, 1, 4), chair)
    torch.testing.assert_close(moved, direction, atol=0.01, rtol=0)


@pytest.mark.parametrize("heard_deg", [30.0, 150.0, -65.0])
def test_two_ears_take_front_or_back_from_the_person_that_is_seen(heard_deg):
    """A sound that two channels know the side of, and a person at that side in front or behind; nothing is learnt."""
    net = network(measured=False)
    planes = LogmelPair()(torch.from_numpy(bursts(5.1)[:2])[None])[:, :, :250]
    heard = torch.from_numpy(direction_from_degrees(np.array(heard_deg), np.array(0.0))).float()
    torch.nn.init.zeros_(net.correction.weight)
    with torch.no_grad():
        net.correction.bias.view(3, 13, 3).copy_(heard.expand(3, 13, 3))
        blind, nobody = net(planes), net(planes, objects())
        for box_deg in (heard_deg, math.copysign(180, heard_deg) - heard_deg):
            made = torch.nn.functional.normalize(net(planes, objects((box_deg, 0), (-heard_deg / 2, 0))), dim=2)
            assert (torch.sign(made[:, :, 0]) == math.copysign(1, 90 - abs(box_deg))).all()
            assert (made[:, :, 1] - heard[1]).abs().max() < 0.2
    torch.testing.assert_close(blind, nobody)
    away = torch.nn.functional.normalize(blind, dim=2) - heard[None, None, :, None, None]
    assert away.abs().max() < 1e-3


def test_beginnings_count_more_than_echoes():
    """A click from the left, then its reverberation from everywhere, louder in sum."""
    levels = torch.full((1, 1, 20, 4), 30.0)
    levels[:, :, 5] = 50.0
    levels[:, :, 6:] = 50.0 - 2.0 * torch.arange(14)[:, None]
    directions = torch.zeros(1, 3, 20, 4)
    directions[:, 1, 5] = 1.0
    directions[:, 0, 6:] = 0.6
    weighted = firsthand(levels, directions).sum(dim=(0, 2, 3))
    assert weighted[1] > 2 * weighted[0] > 0
    assert directions.sum(dim=(0, 2, 3))[0] > 2 * directions.sum(dim=(0, 2, 3))[1]
    assert not firsthand(torch.zeros(1, 1, 20, 4), torch.zeros(1, 3, 20, 4)).any()  # silence


def test_directions_are_gathered_from_the_frames_around():
    rng = torch.Generator().manual_seed(0)
    measured, gate = torch.randn(2, 9, 3, 2, 3, generator=rng), torch.randn(2, 9, 3, 2, generator=rng)
    offsets = torch.randn(2, 9, 3, 2, 2 * CONTEXT + 1, generator=rng)
    expected = torch.zeros_like(measured)
    for frame in range(9):
        near = [(one, one - frame + CONTEXT) for one in range(9) if abs(one - frame) <= CONTEXT]
        logits = torch.stack([offsets[:, frame, ..., place] + gate[:, one] for one, place in near], dim=-1)
        for weight, (one, _) in zip(logits.softmax(-1).unbind(-1), near):
            expected[:, frame] += weight[..., None] * measured[:, one]
    torch.testing.assert_close(gathered_around(measured, offsets, gate), expected)


def test_boxes_become_tokens():
    boxes = torch.zeros(1, 2, 6, 4)
    boxes[0, 1, 0] = torch.tensor([0.2, 0.4, 0.3, 0.8])
    tokens = object_tokens(boxes)
    assert tokens.shape == (1, 2, 6, TOKEN) and not tokens[0, 0].any() and not tokens[0, 1, 1:].any()
    found = tokens[0, 1, 0]
    assert math.degrees(found[AZIMUTH]) == pytest.approx(90, abs=1e-3)
    assert math.degrees(found[ELEVATION]) == pytest.approx(-18, abs=1e-3)
    assert math.degrees(found[HEIGHT]) == pytest.approx(72, abs=1e-3) and found[CLASS] == 1


def test_a_person_whose_box_is_half_as_high_is_twice_as_far():
    pointer = Pointer(2, 4)
    direction = torch.tensor([1.0, 0.0, 0.0]).expand(1, 1, 3, 2, 3)
    unknown = torch.zeros(1, 1, 3, 2, 1)
    found = []
    with torch.no_grad():
        pointer.none.bias -= 20  # surely somebody
        for away_m in (1.5, 3.0):
            person = objects((0, 0), frames=1)
            person[..., HEIGHT] *= 2 * math.atan(1.7 / 2 / away_m) / math.radians(40)
            _, log_distance = pointer(direction, torch.zeros(1, 1, 4), person, None, unknown)
            found.append(2.0 * log_distance.exp())
    torch.testing.assert_close(found[0], torch.full_like(found[0], 1.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1], torch.full_like(found[1], 3.0), atol=1e-3, rtol=0)


def test_distances_are_learnt_where_something_sounds():
    form = DetectedAccdoa(13, distance=True)
    target = torch.zeros(2, 6, 4, 13, 8)
    target[0, 0, 0, 2], target[0, 0, 3, 2] = 1.0, 2.0
    made = torch.zeros(2, 3, 4, 13, 8)
    made[:, :, 0] = 0.5
    made[:, :, 3] = 2.0
    right, off = form.loss(made, target), made.clone()
    off[0, :, 3, 2], off[1, :, 3] = 3.0, 9.0  # half too far where it sounds, anything where nothing does
    assert form.loss(off, target) - right == pytest.approx(0.3 * 0.5, abs=1e-5)
    windows = form.loss(off, target, reduction="window")
    assert windows.shape == (2,) and windows[1] == form.loss(made, target, reduction="window")[1]
    assert form.dialect == "dcase2024_m" and DetectedAccdoa(13).dialect == "dcase2023"


def test_a_head_stays_a_head_upside_down():
    """What a swap makes of a person's head is the head of the person that it makes."""
    boxes = np.zeros((6, 4), np.float32)
    boxes[0] = [0.6, 0.3, 0.65, 0.7]

    def head(rows: np.ndarray) -> np.ndarray:
        token = object_tokens(torch.from_numpy(rows))[0]
        up = token[ELEVATION] + 0.5 * token[HEIGHT]
        return direction_from_degrees(*np.rad2deg(np.array([token[AZIMUTH], up])))

    for swap in ALL_SWAPS:
        np.testing.assert_allclose(head(swap.boxes(boxes, oriented=True)), swap.matrix() @ head(boxes), atol=1e-5)


def target_of(azimuth_deg: float, frames: int = 4) -> torch.Tensor:
    target = torch.zeros(1, 6, 3, 13, frames)
    target[0, 0, :, 5] = torch.from_numpy(direction_from_degrees(np.array(azimuth_deg), np.array(0.0))).float()[:, None]
    return target


def test_the_loss_has_no_plateau_at_zero_and_is_least_at_the_truth():
    target = target_of(40.0)
    quiet = 0.02 * torch.nn.functional.normalize(torch.randn(1, 3, 3, 13, 4, generator=torch.manual_seed(0)), dim=2)
    quiet.requires_grad_()
    detection_direction_loss(quiet, target).backward()
    active = quiet.grad[0, :, :, 5]
    assert ((active * quiet[0, :, :, 5]).sum(dim=1) < 0).all()  # longer is better, wherever it points
    true = target[:, :1].expand(-1, 3, -1, -1, -1)
    other = target_of(100.0)[:, :1].expand(-1, 3, -1, -1, -1)
    least, wrong, none = (float(detection_direction_loss(x, target)) for x in (true, other, torch.zeros_like(true)))
    assert least < 1e-3 < wrong and none > 1
    per_item = detection_direction_loss(torch.cat([true, other]), target.repeat(2, 1, 1, 1, 1), reduction="window")
    np.testing.assert_allclose(per_item.numpy(), [least, wrong], rtol=1e-4)
    with pytest.raises(ValueError, match="reduction"):
        detection_direction_loss(true, target, reduction="sum")


def test_which_loss_is_a_setting_and_what_was_trained_before_keeps_its_own():
    stage, array = system_named("avseld").stage("main"), ARRAYS["foa"]

    def form(*changes):
        settings = stage.settings(Arguments.of({**preset_of("avseld").arguments, "set": list(changes)}), array)
        return stage.output_format(settings, 13), stage.output_format({**settings, "distance": True}, 13)

    assert [type(one) for one in form()] == [MultiAccdoa] * 2
    assert [type(one) for one in form("loss=detection")] == [DetectedAccdoa] * 2
    assert form()[1].dialect == form("loss=detection")[1].dialect == "dcase2024_m"
    assert type(stage.output_format({}, 13)) is DetectedAccdoa
    with pytest.raises(InputError, match="loss"):
        form("loss=other")


def test_added_windows_hold_both_sounds_and_both_labels(tmp_path):
    root = make_root(tmp_path / "root", train=3, test=0, seconds=8.0, videos=False)
    recordings = [recording_of_file(path) for path in sorted(root.rglob("*.wav"))]
    framing = Framing(RATE_HZ, 480, N_FFT, left=N_FFT // 2, frames_per_output=5)
    plan = RandomWindows(framing, [one.samples for one in recordings], frames=250, label_frame_s=0.1, visual_hop=5)
    assert plan.addable and all(item.pieces[0].begin % 2400 == 0 for item in plan.items(np.arange(20)))
    form = DetectedAccdoa(13, frame_s=0.1)
    source = Source(recordings, Labels(13), no_boxes)
    options = {"batch_size": 2, "encode": form.encode, "workers": 0, "first_step": 1, "stop_step": 2}
    add = Addition(0, most=1.0)
    (alone,), (both,) = list(Loader(source, plan, **options)), list(Loader(source, plan, add=add, **options))
    for row in range(2):
        number, gain = add(2 + row)
        other = plan.items(np.array([number]))
        (sound,) = Loader(source, _Only(plan, other), **{**options, "batch_size": 1, "first_step": 0, "stop_step": 1})
        expected = alone["waveform"][row] + gain * sound["waveform"][0]
        torch.testing.assert_close(both["waveform"][row], expected)
        (mine, theirs, summed) = (
            form.target(batch["labels"], torch.device("cpu"))[at].square().sum(dim=(0, 1)) > 0.1
            for batch, at in ((alone, row), (sound, 0), (both, row))
        )
        assert torch.equal(summed, mine | theirs) and (theirs & ~mine).any()
    assert Addition(0, most=0.5, after=1000)(0) is None


class _Only:
    """A plan of given items."""

    def __init__(self, plan, items):
        self._plan, self._items = plan, items

    def __getattr__(self, name):
        return getattr(self._plan, name)

    def items(self, numbers):
        return self._items


def test_supposed_boxes_show_the_speaker_all_the_time_and_others(tmp_path):
    recording(tmp_path / "r.wav", 6.0)
    frames = np.arange(5, 10)
    table = EventTable.make(frame=frames, class_index=0 * frames, azimuth_deg=0 * frames + 60, elevation_deg=0 * frames)
    write_events(tmp_path / "r.csv", table, "starss23")
    one = recording_of_file(tmp_path / "r.wav", labels=tmp_path / "r.csv")
    supposed = SupposedBoxes(STARSS23_CLASSES, no_boxes)
    counts = []
    for name in "abcdefgh":
        boxes = supposed(replace(one, name=name), np.array([0.7, 5.5]))
        centre = 360 * (0.5 - (boxes[..., 0] + boxes[..., 2]) / 2)
        assert (np.abs(centre - 60) < 1).any(axis=1).all()
        np.testing.assert_array_equal(boxes, supposed(replace(one, name=name), np.array([0.7, 5.5])))
        counts.append(int(boxes[0].any(axis=1).sum()))
    assert min(counts) == 1 and max(counts) > 1
    seen = SupposedBoxes(STARSS23_CLASSES, lambda recording, time_s: np.ones((len(time_s), 6, 4), np.float32))
    assert (seen(replace(one, video=tmp_path / "v.mp4"), np.array([0.0])) == 1).all()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tiny_root(tmp_path_factory.mktemp("data") / "data_tiny", seconds=5.5, video=True, formats=tuple(ARRAYS)[:3])


SMALL = [flag for change in ("filters=4,4,8,8", "channels=16") for flag in ("--set", change)]


def train(root: Path, *flags: str, status: int = 0) -> Path | None:
    options = ["--system", "avseld", *SMALL, "-b", "2", "-i", "2", "-s", "1", "--device", "cpu"]
    return run_folder(root, "-train", *options, *flags, status=status)


@pytest.fixture(scope="module")
def run(root) -> Path:
    return train(root, "-val", "--detector", "builtin")


def test_it_trains_scores_and_resumes(run, root, capsys):
    assert [path.stem[-7:] for path in checkpoints_of(run)] == ["0000001", "0000002"]
    content = load_checkpoint(checkpoints_of(run)[-1])
    assert content.visual and content.arguments["augment"] == "full"
    whole = content.stages["main"].trained["weights"]
    checkpoints_of(run)[-1].unlink()
    assert run_main(seld.main, ["-train", "-val", "--resume", str(run)]) == 0
    again = load_checkpoint(checkpoints_of(run)[-1]).stages["main"].trained["weights"]
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    capsys.readouterr()
    flags = ["--boxes", "empty", "--latency", "1", "--device", "cpu"]
    assert run_main(seld.main, ["-eval", "-em", str(run), *flags]) == 0
    assert next(run.glob("result_*_1s-latency.txt")).is_file()
    for boxes in ("own", "empty"):
        assert run_main(seld.main, ["-eval", "-em", str(run), "--boxes", boxes, "--device", "cpu"]) == 0
        assert "avseld" in next(run.glob("raw_*")).joinpath("fold4_room1_mix001.json").read_text()


def test_views_are_symmetric(run, tmp_path):
    """With all symmetries a recording that is turned gives the turned answer, which one view does not."""
    recording(tmp_path / "a.wav", 5.0)
    waveform = soundfile.read(tmp_path / "a.wav", dtype="float32")[0].T
    swap = ALL_SWAPS[6]
    source, sign = swap.channels(ARRAYS["foa"])
    turned = waveform[source] * sign[:, None]
    write_audio(tmp_path / "b.wav", turned, RATE_HZ, subtype="FLOAT")
    off = {}
    for views in (1, 16):
        inference = load(run, device="cpu", views=views)
        raw = [
            inference.prediction(recording_of_file(tmp_path / f"{name}.wav", array=ARRAYS["foa"])).raw for name in "ab"
        ]
        # as one vector for each class, since tracks may be exchanged
        mean = [one.mean(axis=0) for one in raw]
        off[views] = np.abs(np.einsum("ij,jcf->icf", swap.matrix(), mean[0]) - mean[1]).max()
    assert off[16] < 1e-3 < off[1]


def test_views_need_symmetries_and_directions(run, tmp_path, capsys):
    recording(tmp_path / "a.wav", 1.0)
    flags = ["-infer", str(tmp_path / "a.wav"), "-em", str(run), "--player", "never", "--device", "cpu"]
    flags += ["--out", str(tmp_path / "out")]
    assert run_main(seld.main, [*flags, "--views", "17"]) == 2
    assert "--views 17: foa has 1 to 16" in capsys.readouterr().err
    assert run_main(seld.main, [*flags, "--views", "4"]) == 0
    for array, most in (("mic", 8), ("binaural", 2)):
        assert len({view.swap for view in views_of(ARRAYS[array], most)}) == most - 1


@pytest.mark.parametrize("form", ["mic", "bin"])
def test_other_arrays_train(root, form):
    made = train(root, "--format", form, "--no-video", "-i", "1")
    assert (
        load_checkpoint(checkpoints_of(made)[-1]).array["name"] == ARRAYS["mic" if form == "mic" else "binaural"].name
    )


def test_stereo_with_a_camera_and_distances_trains_and_is_scored_by_2025(tmp_path, capsys):
    root = make_set(tmp_path / "data_stereo", "stereo2025", train=2, test=1, seconds=5.0)
    made = train(root, "-val", "--format", "stereo", "--set", "distance=true", "--detector", "builtin")
    content = load_checkpoint(checkpoints_of(made)[-1])
    assert content.visual and content.array["name"] == "stereo"
    assert run_main(seld.main, ["-eval", "-em", str(made), "--device", "cpu"]) == 0
    (raw,) = [np.load(path) for path in next(made.glob("raw_*")).glob("*.npy")]
    assert raw.shape == (3, 4, 13, 50) and (raw[:, 3] > 0).all()
    train(root, "-val", "--format", "stereo", status=2)
    assert "scores distances, which the system does not estimate" in capsys.readouterr().err


def test_recordings_without_video_are_trained_on_with_supposed_boxes(tmp_path):
    made = train(tiny_root(tmp_path / "data_blind", seconds=5.5), "-i", "1")
    assert load_checkpoint(checkpoints_of(made)[-1]).visual


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--set", "bands=40"], "divisible"),
        (["--set", "hop_frames=55"], "multiple of 10"),
        (["--set", "channels=12"], "multiple of 8"),
        (["--fft-size", "512"], "made for 1024"),
    ],
)
def test_settings_that_cannot_be_are_refused(root, flags, rule, capsys):
    train(root, *flags, status=2)
    assert rule in capsys.readouterr().err


def test_windows_that_begin_anywhere_cannot_be_added(root, capsys):
    flags = ["-train", "--data-root", str(root), "--no-video", "--augment", "full", "-i", "1"]
    assert run_main(seld.main, flags) == 2
    assert "use acs" in capsys.readouterr().err


def test_a_recording_with_its_video_streams_the_rows_of_the_offline_run(run, tmp_path, monkeypatch, capsys):
    import detection.at_times as at_times

    def people(picture, detector):
        boxes = np.zeros((6, 4), np.float32)
        if picture is not None:  # a person who walks
            x = 0.2 + 0.05 * float(picture.time)
            boxes[0] = [x - 0.05, 0.3, x + 0.05, 0.8]
        return Look(boxes, boxes[:, 3], NO_THINGS)

    monkeypatch.setattr(at_times, "_look", people)
    monkeypatch.chdir(tmp_path)
    recording(Path("a.wav"), 11.0)
    with VideoWriter("a.mp4", 64, 32, Fraction(7)) as writer:  # looks fall between pictures, and twice on one
        for index in range(77):
            writer.write(np.full((32, 64, 3), 20 + 2 * index, np.uint8))
    Path("t.json").write_text('{"threshold_presence": %s, "threshold_unification": 15}' % ([0.01] * 13))
    flags = ["-em", str(run), "--threshold-config", "t.json", "--device", "cpu"]
    assert run_main(seld.main, ["-infer", "a.wav", "a.mp4", "--player", "never", *flags]) == 0
    expected = read_events("a_seld/a.csv", "dcase2023")
    capsys.readouterr()
    assert run_main(seld.main, ["-infer", "a.wav", "a.mp4", "--stream", *flags]) == 0
    found = parse_events(capsys.readouterr().out, dialect_named("dcase2023"))
    assert len(expected) and same(found, expected)
    assert run_main(seld.main, ["-infer", "a.wav", "--no-video", "--player", "never", *flags]) == 0
    assert not same(read_events("a_seld/a.csv", "dcase2023"), expected)
    sooner = [*flags, "--latency", "1"]
    assert run_main(seld.main, ["-infer", "a.wav", "a.mp4", "--player", "never", *sooner]) == 0
    within = read_events("a_seld/a.csv", "dcase2023")
    capsys.readouterr()
    assert run_main(seld.main, ["-infer", "a.wav", "a.mp4", "--stream", *sooner]) == 0
    out, err = capsys.readouterr()
    assert same(parse_events(out, dialect_named("dcase2023")), within) and not same(within, expected)
    assert "a row comes 0.50 to 0.90 s after" in err
    assert run_main(seld.main, ["-infer", "a.wav", "--latency", "0.1", *flags]) == 2
    assert "--latency 0.1: must be 0.2 to 5 s for windows of 5 s" in capsys.readouterr().err


def test_a_shipped_checkpoint_is_small_and_says_the_same(run, root, tmp_path, monkeypatch, capsys):
    shipped = tmp_path / "pretrained" / "foa.pth"
    assert run_main(ship.main, [str(run), "--tune-on", str(root), "--out", str(shipped)]) == 0
    assert "threshold" in capsys.readouterr().out
    whole, small = load_checkpoint(checkpoints_of(run)[-1]), load_checkpoint(shipped)
    assert shipped.stat().st_size < 0.3 * checkpoints_of(run)[-1].stat().st_size
    assert str(root) not in str(small.arguments) and not small.recordings and not small.stages["main"].trained
    for name, value in whole.stages["main"].weights.items():
        torch.testing.assert_close(small.stages["main"].weights[name].float(), value.float(), atol=2e-3, rtol=2e-3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("job.inputs.SHIPPED", shipped.parent.resolve())
    recording(Path("a.wav"), 2.0)
    assert run_main(seld.main, ["-infer", "a.wav", "--player", "never", "--device", "cpu"]) == 0
    assert "the shipped checkpoint foa.pth" in capsys.readouterr().err
    assert Path("a_seld/a.csv").is_file()
    with VideoWriter("a.mp4", 64, 32, Fraction(10)) as writer:
        for _ in range(20):
            writer.write(np.full((32, 64, 3), 90, np.uint8))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(models.URL_VARIABLE, "http://127.0.0.1:9")  # the discard port: nobody listens
    small = replace(small, arguments={**small.arguments, "detector": "yolox_nano"})
    save_checkpoint(shipped, small)
    flags = ["-infer", "a.wav", "a.mp4", "--player", "never", "--device", "cpu"]
    assert run_main(seld.main, flags) == 0
    assert "looked for with the detector builtin instead" in capsys.readouterr().err
    assert '"detector": "builtin"' in Path("a_seld/a.json").read_text()
    assert run_main(seld.main, [*flags, "-em", str(Path("pretrained", "foa.pth"))]) == 0
    assert "looked for with the detector builtin instead" in capsys.readouterr().err
    assert run_main(seld.main, [*flags, "--detector", "yolox_nano"]) == 2
    assert "cannot be downloaded" in capsys.readouterr().err
    assert run_main(seld.main, ["-infer", "a.wav", "--format", "mic"]) == 2
    assert "no run with a checkpoint" in capsys.readouterr().err
    (tmp_path / "blank" / "foa_dev" / "dev-train-x").mkdir(parents=True)
    assert run_main(ship.main, [str(run), "--tune-on", "blank", "--out", "b.pth"]) == 2
    assert "no labelled training recording" in capsys.readouterr().err


def test_thresholds_are_those_of_the_best_score():
    """A class whose false activities stay below 0.6, its true ones above."""
    frames = np.arange(40)
    truth = EventTable.make(
        frame=frames[20:], class_index=0 * frames[20:], azimuth_deg=0.0 * frames[20:], elevation_deg=0.0 * frames[20:]
    )
    activity = np.zeros((40, 2, 1))
    activity[:, 0, 0] = np.where(frames < 20, 0.55, 0.9)
    made = Candidates(activity, np.zeros((40, 2, 1)), np.zeros((40, 2, 1)), 0.1)
    found, scores = best_thresholds({"a": made}, {"a": truth}, ["x", "y"], unification_deg=15.0)
    assert 0.6 <= found[0] < 0.9 and scores[0] == 1 and found[1] == found[0]


def test_a_training_gives_its_checkpoints_thresholds_of_their_own(root, tmp_path):
    """Chosen on recordings of the training; those of a file that is named stay, and those of who finds nothing."""
    shipped = Path(__file__).resolve().parents[1] / "pretrained" / "foa.pth"
    flags = ["-train", "-val", "--system", "avseld", "--init", str(shipped), "--device", "cpu"]
    flags += ["--no-video", "-b", "2", "-i", "1", "-s", "1", "-l", "1e-9"]
    presence = load_checkpoint(checkpoints_of(run_folder(root, *flags))[-1]).thresholds["presence"]
    assert presence not in ([0.5] * 13, [THRESHOLD] * 13, load_checkpoint(shipped).thresholds["presence"])
    assert all(0.1 <= value <= 0.95 for value in presence)
    named = tmp_path / "thresholds.json"
    named.write_text(json.dumps({"threshold_presence": [0.42] * 13, "threshold_unification": 20}))
    again = run_folder(root, *flags, "--threshold-config", str(named))
    assert load_checkpoint(checkpoints_of(again)[-1]).thresholds == {"presence": [0.42] * 13, "unification_deg": 20.0}
    fresh = load_checkpoint(checkpoints_of(train(root, "--no-video", "-i", "1"))[-1])
    assert fresh.thresholds["presence"] == [MultiAccdoa(13, frame_s=0.1).threshold] * 13


def test_few_recordings_are_from_all_over_the_list():
    of = [Recording(f"{i:03d}", Path("a.wav"), None, None, ARRAYS["foa"], 60 * RATE_HZ) for i in range(300)]
    names = [int(one.name) for one in few_of(of)]
    assert len(names) == ENOUGH_S / 60 and names == sorted(set(names))
    assert max(np.diff([-1, *names, 300])) < 2.5 * 300 / len(names)
    assert few_of(of[:3]) == of[:3] and few_of([]) == []


def test_the_checkpoint_that_comes_with_the_project_works(tmp_path):
    """Where it lies, it loads, is small, and hears where a sound comes from."""
    path = Path(__file__).resolve().parents[1] / "pretrained" / "foa.pth"
    assert path.stat().st_size < 8 * 2**20 and (path.parent / "credits.md").is_file()
    inference = load(path, device="cpu", precision="32")
    assert inference.model.classes == STARSS23_CLASSES and inference.model.system.name == "avseld"
    direction = DIRECTIONS[1]
    write_audio(tmp_path / "wave.wav", plane_wave(direction, 6.0), RATE_HZ, subtype="FLOAT")
    raw = inference.prediction(recording_of_file(tmp_path / "wave.wav", array=ARRAYS["foa"])).raw
    length = np.linalg.norm(raw, axis=1)
    loudest = np.unravel_index(length.argmax(), length.shape)
    vector = raw[loudest[0], :, loudest[1], loudest[2]]
    assert np.rad2deg(np.arccos(vector @ direction / np.linalg.norm(vector))) < 25
