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
from dataset.loader import Loader
from dataset.plans import Mixed, RandomWindows, WindowGrid, label_grid, numbers_of
from dataset.recordings import Boxes, Labels, no_boxes, recordings_from_list
from dataset.source import Source
from feature.front import Front
from feature.phasediff import AmplitudePhaseDifference
from output_format.multi_accdoa import MultiAccdoa
from tests import golden
from tests.small_data import make_root
from tests.windows import FRAMING, grid_of
from util.audio import read_audio, write_audio
from util.boxes import BoxTrack, box_path, write_boxes
from util.dialects import read_events
from util.errors import InputError


def keep(clips, grid):
    """An encoder that hands over what it gets."""
    return clips, grid


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


def lengths(data) -> np.ndarray:
    return Source(data).lengths(24000)


def windows(data, **options) -> RandomWindows:
    """As the audio-visual systems draw them."""
    return RandomWindows(FRAMING, lengths(data), **{"frames": 128, **options})


def grid(data, **options) -> WindowGrid:
    return grid_of(lengths(data), **options)


def test_windows_are_pure_functions_of_seed_and_number(data):
    plan = windows(data, frames=41, seed=3)
    number = np.arange(5000)
    recording, start = plan.at(number)
    again = windows(data, frames=41, seed=3).at(number[::-1])
    assert (again[0][::-1] == recording).all() and (again[1][::-1] == start).all()
    other = windows(data, frames=41, seed=4).at(number)
    assert (other[1] != start).mean() > 0.9
    samples = np.array([r.samples for r in data])
    assert (start >= 0).all() and (start <= np.maximum(samples[recording] - 9601, 0)).all()
    counts = np.bincount(recording, minlength=len(data))
    assert (np.abs(counts / 5000 - 1 / len(data)) < 0.03).all()
    last = recording == len(data) - 1
    assert abs(start[last].mean() / (samples[-1] - 9600) - 0.5) < 0.05
    for item, (r, s) in zip(plan.items(number[:50]), zip(recording, start)):
        (piece,) = item.pieces
        assert (piece.recording, piece.begin, piece.end, piece.start) == (r, s, s + 9600, s - 256)


def test_the_first_and_the_last_start_of_the_reference_are_reached():
    plan = RandomWindows(FRAMING, [30483], frames=128)
    assert set(plan.at(np.arange(200))[1].tolist()) == {0, 1, 2}  # 3 = len - 30480 is never drawn


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400000), st.integers(10, 63))
def test_every_frame_is_kept_once_and_waits_no_longer_than_asked(samples, tenths):
    plan = grid_of([samples]).within(tenths * 0.02)
    kept = []
    for item in plan.items(np.arange(plan.count)):
        (piece,) = item.pieces
        first = piece.first * FRAMING.hop_s + item.keep[0] * FRAMING.output_frame_s
        kept += [
            round((first + step * FRAMING.output_frame_s) / FRAMING.output_frame_s)
            for step in range(item.keep[1] - item.keep[0])
        ]
        if kept and item.keep[1] > item.keep[0]:
            assert (piece.first + plan.frames) * FRAMING.hop_s - first <= tenths * 0.02 + 1e-9
    assert kept == list(range(len(kept)))
    assert plan.output_frames(0) - len(kept) in (0, 10)  # what is left of a label frame and makes no whole hop


def test_processes_share_the_items_of_one():
    for step in (0, 7):
        joint = numbers_of(step, 12)
        parts = [numbers_of(step, 4, rank, 3) for rank in range(3)]
        assert sorted(np.concatenate(parts)) == joint.tolist()
        assert all((part % 3 == rank).all() for rank, part in enumerate(parts))


def test_shares_of_groups(data):
    def mixed(shares: list[float]) -> Mixed:
        return Mixed(lambda members: windows(data, members=members), groups=[0, 0, 0, 0, 1, 1], shares=shares)

    drawn = np.array([item.pieces[0].recording for item in mixed([1, 3]).items(np.arange(4000))])
    assert abs((drawn >= 4).mean() - 0.75) < 0.03
    assert all(item.pieces[0].recording >= 4 for item in mixed([0, 1]).items(np.arange(100)))
    with pytest.raises(ValueError, match="shares"):
        mixed([0, 0])


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
    recordings = data[:-1]
    source = Source(recordings, Labels(13), Boxes("builtin"))
    with Loader(source, windows(recordings, seed=1), batch_size=8, encode=keep, stop_step=3, workers=2) as loader:
        batches = list(loader)
    assert len(batches) == 3
    for step, batch in enumerate(batches):
        assert batch["waveform"].shape == (8, 4, 30992) and batch["waveform"].dtype == torch.float32
        assert batch["visual"].shape == (8, 1, 6, 4) and batch["visual"].dtype == torch.float32
        assert batch["number"].tolist() == list(range(8 * step, 8 * step + 8)) and "frames" not in batch
        for item in range(8):
            recording, second = recordings[batch["recording"][item]], float(batch["time_s"][item])
            whole, start = read_audio(recording.audio), round(second * 24000)
            padded = np.pad(whole, ((0, 0), (0, 30480)))
            assert np.array_equal(batch["waveform"][item, :, 256:-256], padded[:, start : start + 30480])
            assert not batch["waveform"][item, :, :256].any() and not batch["waveform"][item, :, -256:].any()
            assert start == 0 or start < whole.shape[1] - 30480
            assert batch["visual"][item, 0, 0, 0] == pytest.approx(np.floor(second * 10 + 1e-9) / 100, abs=1e-6)
            clips, found = batch["labels"]
            frame = found.frame[item]
            expected = Labels(13)(recording)
            expected = expected[np.isin(expected.frame, frame[frame >= 0])]
            held = clips[item].events(0.1, int(frame[frame >= 0].min()), int(frame.max()) + 1)
            assert np.array_equal(held.azimuth_deg, expected.azimuth_deg)


def test_a_resumed_loader_goes_on_where_it_was(data):
    source, plan = Source(data, Labels(13)), windows(data, seed=5)
    with Loader(source, plan, batch_size=4, encode=keep, stop_step=6, workers=0) as loader:
        every = [batch["waveform"] for batch in loader]
    with Loader(source, plan, batch_size=4, encode=keep, first_step=4, stop_step=6, workers=2, prefetch=1) as loader:
        later = [batch["waveform"] for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(every[4:], later)) and len(later) == 2
    parts = []
    for rank in range(2):
        with Loader(source, plan, batch_size=2, encode=keep, stop_step=1, rank=rank, world=2, workers=0) as loader:
            parts.append(next(iter(loader))["waveform"])
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), every[0])


def test_loaders_stop_and_pass_errors_on(data):
    loader = Loader(Source(data, Labels(13)), windows(data), batch_size=2, encode=keep, workers=2)
    next(iter(loader))
    loader.close()
    with pytest.raises(TypeError, match="without an end"):
        len(loader)
    with Loader(Source(data, Labels(1)), windows(data), batch_size=8, encode=MultiAccdoa(1).encode) as loader:
        with pytest.raises(InputError, match="class must be"):
            next(iter(loader))
    with Loader(Source(data, visual=Boxes("builtin")), grid(data), batch_size=4) as loader:
        with pytest.raises(InputError, match="boxes-builtin"):
            list(loader)


def test_evaluation_windows_cover_every_clip(data):
    plan = grid(data)
    assert [plan.windows_of(index) for index in range(len(data))] == [
        -(-(recording.samples // 240) // 120) for recording in data
    ]
    whole = [read_audio(recording.audio) for recording in data]
    seen, kept = [], [0] * len(data)
    with Loader(Source(data, Labels(13), no_boxes), plan, batch_size=4, encode=keep) as loader:
        assert len(loader) == -(-plan.count // 4)
        for batch in loader:
            assert batch["labelled"].all() and not batch["visual"].any()
            index = batch.get("frames", torch.arange(128).expand(len(batch["number"]), -1))
            for item in range(len(batch["number"])):
                recording, window = int(batch["recording"][item]), round(float(batch["time_s"][item]) / 1.2)
                seen.append((recording, window))
                frames = whole[recording].shape[1] // 240
                clip = np.pad(whole[recording][:, : frames * 240], ((0, 0), (272, 128 * 240)))
                for frame in (0, 3, 4, 60, 127):
                    place = 120 * window - 4 + frame
                    assert int(index[item, frame]) == (frame if 0 <= place < frames else -1)
                    if 0 <= place < frames:
                        got = batch["waveform"][item, :, 240 * frame : 240 * frame + 512]
                        assert np.array_equal(got, clip[:, 240 * place : 240 * place + 512])
                first, end = batch["keep"][item].tolist()
                assert first == 4 and 120 * window == kept[recording]
                kept[recording] += end - first
    assert seen == [(r, w) for r in range(len(data)) for w in range(plan.windows_of(r))]
    # the output ends with the label frame in which the recording ends; the reference's with the last window
    assert kept == [10 * -(-recording.samples // 2400) for recording in data]
    assert kept == [plan.output_frames(index) for index in range(len(data))]
    whole_windows = grid(data, whole_windows=True)
    assert [whole_windows.output_frames(r) for r in range(len(data))] == [120 * plan.windows_of(r) for r in range(6)]
    assert all(item.keep == (4, 124) for item in whole_windows.items(np.arange(whole_windows.count)))


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
    recording = SimpleNamespace(video=tmp_path / "a.mp4", view="equirectangular")
    time_s = np.concatenate([rng.uniform(-0.5, 3.5, 50), times, [2.499, 2.5]])
    assert np.array_equal(Boxes("builtin")(recording, time_s), track.at(time_s))
    empty = BoxTrack(times[:0], boxes[:0], boxes[:0, :, 0], 0.0, {"detector": "builtin"})
    write_boxes(box_path(tmp_path / "b.mp4", "builtin"), empty)
    assert not Boxes("builtin")(SimpleNamespace(video=tmp_path / "b.mp4", view="equirectangular"), time_s).any()


def test_window_counts_of_the_reference_fixed():
    values = np.load(golden.find("av_baseline/detector.npz"))
    for duration_s, count in zip(values["durations"], values["durations_windows"]):
        assert grid_of([round(duration_s * 24000)]).windows_of(0) == count


def evaluation_frames(frames: int) -> np.ndarray:
    """Label frame of each step of the evaluation windows of a clip of so many frames of 10 ms."""
    plan = grid_of([240 * frames])
    return plan.grid(plan.items(np.arange(plan.count)), 0.1).frame


def test_label_grid_of_the_reference():
    values = np.load(golden.find("av_baseline/labels.npz"))
    table = read_events(golden.find("av_baseline/label_basic.csv"))
    occupied = set(table.frame.tolist())
    for frame, label in zip(label_grid(values["starts_sec"]), values["basic_label"]):
        active = (label != 0).any(axis=(0, 1, 2))
        assert np.array_equal(active, np.isin(frame, list(occupied)))
    for duration in (1.5, 3.0):
        full = values[f"basic_full_{duration}"]
        active = np.pad((full != 0).any(axis=(0, 1, 2)), (4, 128))
        for window, frame in enumerate(evaluation_frames(round(100 * duration))):
            assert np.array_equal(active[120 * window : 120 * window + 128], np.isin(frame, list(occupied)))


def test_framing_of_the_specification():
    plan = grid_of([10**6])
    assert RandomWindows(FRAMING, [10**6], frames=128).samples == 30480
    assert (plan.lead, plan.window_samples) == (4, 30992)
    assert plan.window_start(1) == 240 * 117 - 512 and plan.first_frame(2) == 236


def test_evaluation_windows_give_the_features_of_the_whole_clip(data):
    front = Front(AmplitudePhaseDifference(4))
    with Loader(Source(data), grid(data), batch_size=5) as loader:
        for batch in loader:
            features, seen = front(batch)
            assert seen is None
            for item in range(len(features)):
                whole = torch.from_numpy(read_audio(data[batch["recording"][item]].audio))[None]
                first = round(100 * float(batch["time_s"][item]))
                due = front.audio.clip(whole)[0, :, first : first + 128]
                assert torch.allclose(features[item], due, atol=1e-5)


def test_bad_samples_and_bad_labels_reach_the_user(tmp_path):
    root = DataRoot(make_root(tmp_path, train=1, test=1, seconds=2.0))
    (recording,) = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]))
    plan, source = windows([recording]), Source([recording], Labels(13))
    waveform = read_audio(recording.audio)
    waveform[1, 20000:25000] = np.nan
    write_audio(recording.audio, waveform, 24000, subtype="FLOAT")
    with Loader(source, plan, batch_size=4, encode=keep) as loader:
        with pytest.raises(InputError, match=r"room1_mix001\.wav: 0\.8\d\d s: has samples that are NaN"):
            next(iter(loader))
    write_audio(recording.audio, np.zeros((4, 48000)), 24000)
    recording.labels.write_text("0,0,0,10,0\n3,0,0,400,0\n")
    with Loader(source, plan, batch_size=4, encode=MultiAccdoa(13).encode) as loader:
        with pytest.raises(InputError, match=r"room1_mix001\.csv: line 2: azimuth must be between"):
            next(iter(loader))


@pytest.mark.parametrize("rate_hz", [48000, 44100])
def test_files_at_another_rate_give_windows_at_24_khz(tmp_path, rate_hz):
    root = DataRoot(make_root(tmp_path, train=1, test=1, seconds=2.0, rate_hz=rate_hz))
    (recording,) = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]))
    assert (recording.samples_at(24000), recording.rate_hz) == (48000, rate_hz)
    with Loader(Source([recording]), windows([recording], seed=2), batch_size=4, stop_step=1) as loader:
        (batch,) = loader
    whole = soxr.resample(soundfile.read(recording.audio, dtype="float32")[0], rate_hz, 24000, quality="HQ").T
    for window, time_s in zip(batch["waveform"], batch["time_s"].tolist()):
        start = round(time_s * 24000)
        assert np.abs(window[:, 256:-256].numpy() - whole[:, start : start + 30480]).max() < 1e-6


def test_memory_for_labels_and_boxes_is_bounded(data):
    labels = Labels(13, limit_mb=0.005)
    for recording in data:
        labels(recording)
    sizes = [size for _, size in labels._cache._values.values()]
    assert len(sizes) < len(data) and sum(sizes) <= 0.005 * 2**20
