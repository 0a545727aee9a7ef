"""Sequences of frames: the published stream, frames across recordings, edges of a recording."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.framing import Framing
from dataset.loader import Loader
from dataset.plans import Clips, Stream
from dataset.recordings import Recording
from dataset.source import Source
from feature.front import PADDING, Front
from feature.magnitude_phase import SELDNET2018, SELDNET2019, MagnitudePhase
from tests.golden import find
from util.audio import write_audio
from util.errors import InputError
from util.microphone_arrays import ARRAYS

FRAMINGS = {
    "2018": Framing(44100, 256, 512, count="covering"),
    "2019": Framing(48000, 960, 2048, left=1024, mirror="start"),
}
PLAIN = Framing(rate_hz=1, hop=1, n_fft=1)  # a frame a sample
ANALYSIS = {"2018": SELDNET2018, "2019": SELDNET2019}


@pytest.fixture
def recordings(tmp_path):
    """Three short recordings of noise at 48 kHz, or 44.1 kHz where a test asks for that rate."""

    def make(rate_hz: int, samples=(30000, 21000, 47000)) -> list[Recording]:
        made = []
        for number, length in enumerate(samples):
            path = tmp_path / f"{rate_hz}_{number}.wav"
            noise = 0.1 * np.random.default_rng(number).standard_normal((4, length))
            write_audio(path, noise.astype(np.float32), rate_hz, subtype="FLOAT")
            made.append(Recording(path.stem, path, None, None, ARRAYS["foa"], length, rate_hz))
        return made

    return make


@pytest.mark.parametrize("name", ["A", "B"])
def test_stream_is_the_published_generator(name):
    golden = np.load(find(f"seldnet/{name}_generator_layout.npz"))
    stored = [golden[f"feat{index}"] for index in range(3)]
    expected = golden["out_feat"] if name == "A" else golden["perfile0_feat"]
    batches, batch_size, planes, length, bins = expected.shape
    plan = Stream(PLAIN, [len(rows) for rows in stored], frames=length, batch_size=batch_size, shuffle=False)
    assert plan.steps_per_pass == batches
    for item in plan.items(np.arange(batches * batch_size)):
        rows = np.concatenate([stored[p.recording][p.first : p.first + p.frames] for p in item.pieces])
        tensor = rows.reshape(length, bins, planes).transpose(2, 0, 1)
        np.testing.assert_array_equal(tensor, expected[divmod(item.number, batch_size)])


@settings(max_examples=60, deadline=None)
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    length=st.integers(1, 12),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_pass_holds_each_frame_at_most_once(frames, length, batch_size, seed):
    try:
        plan = Stream(PLAIN, frames, frames=length, batch_size=batch_size, seed=seed)
    except InputError:
        assert sum(frames) < length * batch_size
        return
    for number in range(2):
        seen = []
        count = plan.steps_per_pass * batch_size
        for item in plan.items(number * count + np.arange(count)):
            assert plan.item_frames(item) == sum(piece.frames for piece in item.pieces) == length
            assert all(piece.frames > 0 for piece in item.pieces)
            seen += [(p.recording, p.first + index) for p in item.pieces for index in range(p.frames)]
        assert len(seen) == len(set(seen)) == plan.steps_per_pass * length * batch_size
        assert all(frame < frames[recording] for recording, frame in seen)


@pytest.mark.parametrize("name", FRAMINGS)
def test_frames_of_the_stream_are_those_of_the_whole_recording(name, recordings):
    framing = FRAMINGS[name]
    listed = recordings(framing.rate_hz)
    front = Front(MagnitudePhase(4, **ANALYSIS[name]), padding=PADDING)
    source = Source(listed)
    lengths = source.lengths(framing.rate_hz)
    whole = []
    for recording, count in zip(listed, framing.clip_frames(lengths).tolist()):
        import soundfile

        waveform = torch.from_numpy(soundfile.read(recording.audio, dtype="float32")[0].T.copy())[None]
        whole.append(front.audio.clip(waveform, count)[0])
    plan = Stream(framing, lengths, frames=16, batch_size=2, seed=3)
    crossing = 0
    for batch in Loader(source, plan, batch_size=2, stop_step=plan.steps_per_pass):
        features, _ = front(batch)
        for row, item in enumerate(plan.items(batch["number"].numpy())):
            crossing += len(item.pieces) > 1
            expected = torch.cat([whole[p.recording][:, p.first : p.first + p.frames] for p in item.pieces], dim=1)
            torch.testing.assert_close(features[row], expected, rtol=1e-6, atol=1e-6)
    assert crossing > 0

    found = {index: [] for index in range(len(listed))}
    for batch in Loader(source, Clips(framing, lengths, frames=16), batch_size=3):
        features, _ = front(batch)
        index = batch.get("frames", torch.zeros(len(features), 16))
        for row, recording in enumerate(batch["recording"].tolist()):
            real = int((index[row] >= 0).sum())
            assert torch.all(features[row, :, real:] == PADDING) and batch["keep"][row].tolist() == [0, real]
            found[recording].append(features[row, :, :real])
    for index, parts in found.items():
        torch.testing.assert_close(torch.cat(parts, dim=1), whole[index], rtol=1e-6, atol=1e-6)

    (one, *_) = Loader(source, Clips(framing, lengths, frames=None), batch_size=3)  # whole recordings, one by one
    torch.testing.assert_close(front(one)[0][0], whole[0], rtol=1e-6, atol=1e-6)


def test_long_recordings_are_taken_in_few_equal_parts():
    plan = Clips(PLAIN, [7, 25, 31], frames=None, limit=10)
    items = plan.items(np.arange(plan.count))
    found = [(p.recording, p.first, p.frames) for item in items for p in item.pieces]
    assert found == [(0, 0, 7), (1, 0, 9), (1, 9, 9), (1, 18, 7), (2, 0, 8), (2, 8, 8), (2, 16, 8), (2, 24, 7)]
    assert plan.max_batch == 1


def test_processes_share_the_stream(recordings):
    framing = FRAMINGS["2018"]
    source = Source(recordings(44100))
    plan = Stream(framing, source.lengths(44100), frames=16, batch_size=4, seed=1)

    def batches(rank: int, world: int) -> list:
        loader = Loader(source, plan, batch_size=4 // world, stop_step=3, rank=rank, world=world)
        return [batch["waveform"][..., : 15 * 256 + 512] for batch in loader]

    one, first, second = batches(0, 1), batches(0, 2), batches(1, 2)
    for step in range(3):
        assert torch.equal(one[step][0::2], first[step]) and torch.equal(one[step][1::2], second[step])


@pytest.mark.parametrize("samples", [1, 2, 700, 5000])
def test_both_ends_are_mirrored(samples, tmp_path):
    waveform = np.random.default_rng(0).standard_normal((4, samples)).astype(np.float32) * 0.1
    write_audio(tmp_path / "a.wav", waveform, 8000, subtype="FLOAT")
    source = Source([Recording("a", tmp_path / "a.wav", None, None, ARRAYS["foa"], samples, 8000)])
    framing = Framing(8000, 100, 512, left=256, mirror="both", count="centred")
    (batch,) = Loader(source, Clips(framing, source.lengths(8000), frames=None), batch_size=1)
    frames = 1 + samples // 100
    padded = np.pad(waveform, ((0, 0), (256, 512)), mode="reflect")
    assert batch["waveform"].shape == (1, 4, framing.samples_of(frames))
    np.testing.assert_array_equal(batch["waveform"][0], padded[:, : framing.samples_of(frames)])


def test_length_of_a_clip_is_forced(recordings):
    (recording, *_) = recordings(44100)
    framing = FRAMINGS["2018"]
    source = Source([recording], clip_s=30.0)
    assert framing.clip_frames(source.lengths(44100)).tolist() == [5166]  # as published
    assert FRAMINGS["2019"].clip_frames(60 * 48000) == 3000
    batch = next(iter(Loader(source, Clips(framing, source.lengths(44100), frames=16), batch_size=1)))
    assert batch["waveform"].shape[-1] == 15 * 256 + 512


def test_a_stream_too_short_for_a_batch_is_refused():
    with pytest.raises(InputError, match="lower the batch size"):
        Stream(PLAIN, [10, 10], frames=16, batch_size=2)
