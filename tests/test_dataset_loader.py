"""Window plans and loaders: what they draw, that they read the right samples, that processes share the work exactly."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset import draws
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.loader import EvaluationLoader, TrainingLoader
from dataset.recordings import Boxes, Labels, recordings_from_list
from dataset.windows import EvaluationPlan, Framing, RandomWindows, clip_label_grid, label_grid
from feature.phasediff import AmplitudePhaseDifference
from output_format.formats import MultiAccdoa
from tests import golden
from tests.small_data import make_root
from util.audio import read_audio, write_audio
from util.boxes import BoxTrack, box_path, write_boxes
from util.dialects import read_events
from util.errors import InputError


def keep(events, grid):
    """An encoder that hands over what it gets."""
    return {"events": events, "grid": torch.from_numpy(grid)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Recordings of 0.6, 1.1, 1.6 ... seconds: some shorter than a window."""
    root = tmp_path_factory.mktemp("loader")
    make_root(root, train=6, test=1, seconds=3.0)
    for index, path in enumerate(DataRoot(root).audio_files("foa")[1:]):
        waveform = read_audio(path)[:, : round((0.6 + 0.5 * index) * 24000) + 7]
        write_audio(path, waveform, 24000)
    recordings = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [DataRoot(root)]))
    for index, recording in enumerate(recordings[:-1]):  # the last has no boxes
        times = np.arange(0, 3, 0.1)
        boxes = np.zeros((len(times), 6, 4), dtype=np.float32)
        boxes[:, 0] = np.stack([times / 10, times / 10, times / 10 + 0.1, 0 * times + 0.01 * (index + 1) + 0.5], axis=1)
        score = np.zeros((len(times), 6), dtype=np.float32)
        score[:, 0] = 0.5
        write_boxes(box_path(recording.video, "builtin"), BoxTrack(times, boxes, score, 3.0, {"detector": "builtin"}))
    return recordings


def test_windows_are_pure_functions_of_seed_and_number(data):
    plan = RandomWindows(data, length=9600, seed=3)
    number = np.arange(5000)
    recording, start = plan.at(number)
    again = RandomWindows(data, length=9600, seed=3).at(number[::-1])
    assert (again[0][::-1] == recording).all() and (again[1][::-1] == start).all()
    other = RandomWindows(data, length=9600, seed=4).at(number)
    assert (other[1] != start).mean() > 0.9
    samples = np.array([r.samples for r in data])
    assert (start >= 0).all() and (start <= np.maximum(samples[recording] - 9601, 0)).all()
    counts = np.bincount(recording, minlength=len(data))
    assert (np.abs(counts / 5000 - 1 / len(data)) < 0.03).all()
    last = recording == len(data) - 1
    assert abs(start[last].mean() / (samples[-1] - 9600) - 0.5) < 0.05


def test_the_first_and_the_last_start_of_the_reference_are_reached(tmp_path):
    write_audio(tmp_path / "a.wav", np.zeros((4, 30483)), 24000)
    from dataset.recordings import recording_of_file

    plan = RandomWindows([recording_of_file(tmp_path / "a.wav")], length=30480)
    assert set(plan.at(np.arange(200))[1].tolist()) == {0, 1, 2}  # 3 = len - 30480 is never drawn


def test_processes_share_the_windows_of_one(data):
    for step in (0, 7):
        joint = RandomWindows.numbers(step, 12)
        parts = [RandomWindows.numbers(step, 4, rank, 3) for rank in range(3)]
        assert sorted(np.concatenate(parts)) == joint.tolist()
        assert all((part % 3 == rank).all() for rank, part in enumerate(parts))


def test_shares_of_groups(data):
    groups = [0, 0, 0, 0, 1, 1]
    plan = RandomWindows(data, length=9600, groups=groups, shares=[1, 3])
    drawn = plan.at(np.arange(4000))[0]
    assert abs((drawn >= 4).mean() - 0.75) < 0.03
    only = RandomWindows(data, length=9600, groups=groups, shares=[0, 1]).at(np.arange(100))[0]
    assert (only >= 4).all()
    with pytest.raises(ValueError, match="shares"):
        RandomWindows(data, groups=groups, shares=[0, 0])


@given(st.integers(0, 2**63), st.integers(0, 100), st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_draws_do_not_depend_on_company(seed, stream, numbers):
    together = draws.uniform(seed, stream, np.array(numbers))
    assert ((together >= 0) & (together < 1)).all()
    assert all(draws.uniform(seed, stream, number)[0] == value for number, value in zip(numbers, together))


def test_draws_are_uniform_and_streams_independent():
    numbers = np.arange(20000)
    a, b, c = draws.uniform(0, 0, numbers), draws.uniform(0, 1, numbers), draws.uniform(1, 0, numbers)
    assert np.abs(np.histogram(a, 20, (0, 1))[0] - 1000).max() < 150
    assert np.abs(np.corrcoef([a, b, c, np.roll(a, 1)]) - np.eye(4)).max() < 0.03


def test_training_batches_hold_what_they_say(data):
    plan = RandomWindows(data, seed=1)
    boxes = Boxes("builtin")
    common = dict(batch_size=8, labels=Labels(13), encode=keep)
    recordings = data[:-1]
    plan = RandomWindows(recordings, seed=1)
    with TrainingLoader(recordings, plan, **common, boxes=boxes, stop_step=3, workers=2) as loader:
        batches = list(loader)
    assert len(batches) == 3
    for step, batch in enumerate(batches):
        assert batch["waveform"].shape == (8, 4, 30480) and batch["waveform"].dtype == torch.float32
        assert batch["boxes"].shape == (8, 6, 4) and batch["boxes"].dtype == torch.float32
        assert batch["window"].tolist() == list(range(8 * step, 8 * step + 8))
        for item in range(8):
            recording, start = recordings[batch["recording"][item]], int(batch["start"][item])
            whole = read_audio(recording.audio)
            padded = np.pad(whole, ((0, 0), (0, 30480)))
            assert np.array_equal(batch["waveform"][item], padded[:, start : start + 30480])
            assert start == 0 or start < whole.shape[1] - 30480
            second = start / 24000
            assert batch["boxes"][item, 0, 0] == pytest.approx(np.floor(second * 10 + 1e-9) / 100, abs=1e-6)
            grid = batch["labels"]["grid"][item].numpy()
            frames = set(grid[grid >= 0].tolist())
            table = Labels(13)(recording)
            expected = table[np.isin(table.frame, sorted(frames))]
            assert np.array_equal(batch["labels"]["events"][item].azimuth_deg, expected.azimuth_deg)


def test_a_resumed_loader_goes_on_where_it_was(data):
    plan = RandomWindows(data, seed=5)
    common = dict(batch_size=4, labels=Labels(13), encode=keep)
    with TrainingLoader(data, plan, **common, stop_step=6, workers=0) as loader:
        all_windows = [batch["waveform"] for batch in loader]
    with TrainingLoader(data, plan, **common, start_step=4, stop_step=6, workers=2, prefetch=1) as loader:
        later = [batch["waveform"] for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(all_windows[4:], later)) and len(later) == 2
    parts = []
    for rank in range(2):
        with TrainingLoader(
            data, plan, batch_size=2, labels=Labels(13), encode=keep, stop_step=1, rank=rank, world=2, workers=0
        ) as loader:
            parts.append(next(iter(loader))["waveform"])
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), all_windows[0])


def test_loaders_stop_and_pass_errors_on(data, tmp_path):
    loader = TrainingLoader(data, RandomWindows(data), batch_size=2, labels=Labels(13), encode=keep, workers=2)
    iterator = iter(loader)
    next(iterator)
    loader.close()
    with TrainingLoader(data, RandomWindows(data), batch_size=8, labels=Labels(1), encode=keep) as loader:
        with pytest.raises(InputError, match="class must be"):
            next(iter(loader))
    with EvaluationLoader(data, EvaluationPlan(data), boxes=Boxes("builtin")) as loader:
        with pytest.raises(InputError, match="boxes-builtin"):
            list(loader)


def test_evaluation_windows_cover_every_clip(data):
    plan = EvaluationPlan(data, batch_size=4)
    assert [plan.windows_of(index) for index in range(len(data))] == [
        -(-(recording.samples // 240) // 120) for recording in data
    ]
    whole = [read_audio(recording.audio) for recording in data]
    seen = []
    with EvaluationLoader(data, plan, labels=Labels(13), encode=keep, boxes=Boxes("builtin", source="empty")) as loader:
        for batch in loader:
            assert batch["labelled"].all() and not batch["boxes"].any()
            for item in range(len(batch["window"])):
                recording, window = int(batch["recording"][item]), int(batch["window"][item])
                seen.append((recording, window))
                frames = whole[recording].shape[1] // 240
                clip = np.pad(whole[recording][:, : frames * 240], ((0, 0), (272, 128 * 240)))
                for frame in (0, 3, 4, 60, 127):
                    place = 120 * window - 4 + frame
                    first, end = batch["valid"][item].tolist()
                    assert (first <= frame < end) == (0 <= place < frames)
                    if first <= frame < end:
                        got = batch["waveform"][item, :, 240 * frame : 240 * frame + 512]
                        assert np.array_equal(got, clip[:, 240 * place : 240 * place + 512])
    assert seen == [(r, w) for r in range(len(data)) for w in range(plan.windows_of(r))]


def test_boxes_of_another_clip(data):
    other = Boxes("builtin", source="other", recordings=data[:3])
    own = Boxes("builtin")
    time_s = np.array([0.0, 0.55])
    assert np.array_equal(other(data[0], time_s), own(data[1], time_s))
    assert np.array_equal(other(data[2], time_s), own(data[0], time_s))
    assert np.array_equal(Boxes("builtin", source="other")(data[0], time_s), own(data[1], time_s))
    assert own(data[0], np.array([0.19, 0.2]))[:, 0, 0] == pytest.approx([0.01, 0.02])


def test_boxes_are_those_of_the_box_track(tmp_path):
    rng = np.random.default_rng(0)
    times = np.arange(0, 2, 0.1)
    boxes = rng.random((20, 6, 4)).astype(np.float32)
    count = rng.integers(0, 7, 20)
    boxes[np.arange(6) >= count[:, None]] = 0
    track = BoxTrack(
        times, boxes, np.where(boxes.any(axis=-1), 0.5, 0).astype(np.float32), 1.5, {"detector": "builtin"}
    )
    (tmp_path / "a.mp4").touch()
    write_boxes(box_path(tmp_path / "a.mp4", "builtin"), track)
    recording = SimpleNamespace(video=tmp_path / "a.mp4")
    time_s = np.concatenate([rng.uniform(-0.5, 3.5, 50), times, [2.499, 2.5]])
    assert np.array_equal(Boxes("builtin")(recording, time_s), track.at(time_s))
    empty = BoxTrack(times[:0], boxes[:0], boxes[:0, :, 0], 0.0, {"detector": "builtin"})
    write_boxes(box_path(tmp_path / "b.mp4", "builtin"), empty)
    assert not Boxes("builtin")(SimpleNamespace(video=tmp_path / "b.mp4"), time_s).any()


def test_window_counts_of_the_reference_fixed():
    values = np.load(golden.find("av_baseline/detector.npz"))
    for duration_s, windows in zip(values["durations"], values["durations_windows"]):
        recording = SimpleNamespace(samples=round(duration_s * 24000))
        assert EvaluationPlan([recording]).windows_of(0) == windows


def test_label_grid_of_the_reference():
    values = np.load(golden.find("av_baseline/labels.npz"))
    table = read_events(golden.find("av_baseline/label_basic.csv"))
    occupied = set(table.frame.tolist())
    grids = label_grid(values["starts_sec"])
    for grid, label in zip(grids, values["basic_label"]):
        active = (label != 0).any(axis=(0, 1, 2))
        assert np.array_equal(active, np.isin(grid, list(occupied)))
    for duration in (1.5, 3.0):
        full = values[f"basic_full_{duration}"]
        active = np.pad((full != 0).any(axis=(0, 1, 2)), (4, 128))
        frames = round(100 * duration)
        windows = np.arange(-(-frames // 120))
        grid = clip_label_grid(windows, np.full(len(windows), frames), Framing())
        for window in windows:
            assert np.array_equal(active[120 * window : 120 * window + 128], np.isin(grid[window], list(occupied)))


def test_framing_of_the_specification():
    framing = Framing()
    assert (framing.window_samples, framing.window_frames, framing.eval_hop_frames) == (30480, 128, 120)
    assert (framing.leading_frames, framing.eval_samples) == (4, 30992)
    assert framing.eval_start(1) == 240 * 117 - 512 and framing.eval_first_frame(2) == 236


def test_evaluation_windows_give_the_features_of_the_whole_clip(data):
    feature = AmplitudePhaseDifference(4)
    with EvaluationLoader(data, EvaluationPlan(data, batch_size=5)) as loader:
        for batch in loader:
            features = feature.evaluation(batch["waveform"], batch["valid"])
            for item in range(len(features)):
                whole = torch.from_numpy(read_audio(data[batch["recording"][item]].audio))[None]
                first = 120 * int(batch["window"][item])
                due = feature.clip(whole)[0, :, first : first + 128]
                assert torch.allclose(features[item], due, atol=1e-5)


@pytest.mark.parametrize("name", ["basic", "sameclass", "dense5col"])
def test_grid_and_output_format_give_the_labels_of_the_reference(name):
    values = np.load(golden.find("av_baseline/labels.npz"))
    table = read_events(golden.find(f"av_baseline/label_{name}.csv"), class_count=13)
    table = table[np.argsort(table.frame, kind="stable")]
    output_format = MultiAccdoa(13)
    grid = label_grid(values["starts_sec"])
    events = [table[np.isin(table.frame, row[row >= 0])] for row in grid]
    target = output_format.target(output_format.encode(events, grid), torch.device("cpu"))
    assert np.abs(target.numpy() - values[f"{name}_label"]).max() < 1e-6
    for duration_s in (1.5, 3.0):
        padded = np.pad(values[f"{name}_full_{duration_s}"], ((0, 0), (0, 0), (0, 0), (4, 128)))
        frames = round(100 * duration_s)
        windows = np.arange(-(-frames // 120))
        grid = clip_label_grid(windows, np.full(len(windows), frames), Framing())
        events = [table[np.isin(table.frame, row[row >= 0])] for row in grid]
        target = output_format.target(output_format.encode(events, grid), torch.device("cpu")).numpy()
        for window in windows:
            assert np.abs(target[window] - padded[..., 120 * window : 120 * window + 128]).max() < 1e-6


def test_bad_samples_and_bad_labels_reach_the_user(tmp_path):
    root = DataRoot(make_root(tmp_path, train=1, test=1, seconds=2.0))
    (recording,) = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]))
    plan = RandomWindows([recording])
    waveform = read_audio(recording.audio)
    waveform[1, 20000:25000] = np.nan
    write_audio(recording.audio, waveform, 24000, subtype="FLOAT")
    with TrainingLoader([recording], plan, batch_size=4, labels=Labels(13), encode=keep) as loader:
        with pytest.raises(InputError, match=r"room1_mix001\.wav: 0\.8\d\d s: has samples that are NaN"):
            next(iter(loader))
    write_audio(recording.audio, np.zeros((4, 48000)), 24000)
    recording.labels.write_text("0,0,0,10,0\n3,0,0,400,0\n")
    with TrainingLoader([recording], plan, batch_size=4, labels=Labels(13), encode=keep) as loader:
        with pytest.raises(InputError, match=r"room1_mix001\.csv: line 2: azimuth must be between"):
            next(iter(loader))


@pytest.mark.parametrize("rate_hz", [48000, 44100])
def test_files_at_another_rate_give_windows_at_24_khz(tmp_path, rate_hz):
    root = DataRoot(make_root(tmp_path, train=1, test=1, seconds=2.0, rate_hz=rate_hz))
    (recording,) = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]))
    assert (recording.samples, recording.file_rate_hz) == (48000, rate_hz)
    plan = RandomWindows([recording], seed=2)
    with TrainingLoader([recording], plan, batch_size=4, labels=Labels(13), encode=keep, stop_step=1) as loader:
        (batch,) = loader
    whole = soxr.resample(soundfile.read(recording.audio, dtype="float32")[0], rate_hz, 24000, quality="HQ").T
    for window, start in zip(batch["waveform"], batch["start"].tolist()):
        assert np.abs(window.numpy() - whole[:, start : start + 30480]).max() < 1e-6


def test_memory_for_labels_and_boxes_is_bounded(data):
    labels = Labels(13, limit_mb=0.005)
    for recording in data:
        labels(recording)
    sizes = [size for _, size in labels._cache._values.values()]
    assert len(sizes) < len(data) and sum(sizes) <= 0.005 * 2**20
