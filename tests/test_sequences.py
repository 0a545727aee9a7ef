"""Sequences of frames: the published stream, frames across recordings, edges of a recording."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.recordings import Recording
from dataset.samplers import Drawing, SequenceSampler
from dataset.sequences import ClipLoader, SequenceFraming, StreamLoader, StreamPlan
from feature.front import PADDING, SequenceFront
from feature.magnitude_phase import SELDNET2018, SELDNET2019, MagnitudePhase
from tests.golden import find
from util.audio import write_audio
from util.errors import InputError
from util.microphone_arrays import ARRAYS

FRAMINGS = {
    "2018": SequenceFraming(44100, 256, 512, frames=16),
    "2019": SequenceFraming(48000, 960, 2048, left=1024, reflect=True, frames=16),
}
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
            made.append(Recording(path.stem, path, None, None, ARRAYS["foa"], length, rate_hz, rate_hz))
        return made

    return make


@pytest.mark.parametrize("name", ["A", "B"])
def test_stream_is_the_published_generator(name):
    golden = np.load(find(f"seldnet/{name}_generator_layout.npz"))
    stored = [golden[f"feat{index}"] for index in range(3)]
    expected = golden["out_feat"] if name == "A" else golden["perfile0_feat"]
    batches, batch_size, planes, length, bins = expected.shape
    plan = StreamPlan([len(rows) for rows in stored], length=length, batch_size=batch_size, shuffle=False)
    assert plan.steps_per_pass == batches
    for step in range(batches):
        for item in range(batch_size):
            rows = np.concatenate([stored[p.recording][p.first : p.first + p.count] for p in plan.pieces(step, item)])
            tensor = rows.reshape(length, bins, planes).transpose(2, 0, 1)
            np.testing.assert_array_equal(tensor, expected[step, item])


@settings(max_examples=60, deadline=None)
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    length=st.integers(1, 12),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_pass_holds_each_frame_at_most_once(frames, length, batch_size, seed):
    try:
        plan = StreamPlan(frames, length=length, batch_size=batch_size, seed=seed)
    except InputError:
        assert sum(frames) < length * batch_size
        return
    for number in range(2):
        seen = []
        for step in range(number * plan.steps_per_pass, (number + 1) * plan.steps_per_pass):
            for item in range(batch_size):
                pieces = plan.pieces(step, item)
                assert sum(piece.count for piece in pieces) == length and all(piece.count > 0 for piece in pieces)
                seen += [(p.recording, p.first + index) for p in pieces for index in range(p.count)]
        assert len(seen) == len(set(seen)) == plan.steps_per_pass * length * batch_size
        assert all(frame < frames[recording] for recording, frame in seen)


@pytest.mark.parametrize("name", FRAMINGS)
def test_frames_of_the_stream_are_those_of_the_whole_recording(name, recordings):
    framing = FRAMINGS[name]
    listed = recordings(framing.rate_hz)
    front = SequenceFront(MagnitudePhase(4, **ANALYSIS[name]))
    frames = [framing.clip_frames(recording.samples) for recording in listed]
    whole = []
    for recording, count in zip(listed, frames):
        import soundfile

        waveform = torch.from_numpy(soundfile.read(recording.audio, dtype="float32")[0].T.copy())[None]
        whole.append(front.audio.clip(waveform, count)[0])
    plan = StreamPlan(frames, length=framing.frames, batch_size=2, seed=3)
    loader = StreamLoader(listed, framing, plan, labels=None, encode=None, stop_step=plan.steps_per_pass)
    crossing = 0
    for step, batch in enumerate(loader):
        features, _ = front.training_features(batch)
        for item in range(2):
            pieces = plan.pieces(step, item)
            crossing += len(pieces) > 1
            expected = torch.cat([whole[p.recording][:, p.first : p.first + p.count] for p in pieces], dim=1)
            torch.testing.assert_close(features[item], expected, rtol=1e-6, atol=1e-6)
    assert crossing > 0

    found = {index: [] for index in range(len(listed))}
    for batch in ClipLoader(listed, framing, batch_size=3):
        features, _ = front.evaluation_features(batch)
        for row, index in enumerate(batch["recording"].tolist()):
            real = int((batch["frames"][row] >= 0).sum())
            assert torch.all(features[row, :, real:] == PADDING)
            found[index].append(features[row, :, :real])
    for index, parts in found.items():
        torch.testing.assert_close(torch.cat(parts, dim=1), whole[index], rtol=1e-6, atol=1e-6)


def test_processes_share_the_stream(recordings):
    framing = FRAMINGS["2018"]
    listed = recordings(44100)
    sampler = SequenceSampler(framing)
    plan = sampler._plan(listed, Drawing(4, seed=1))

    def batches(rank: int, world: int) -> list:
        loader = StreamLoader(listed, framing, plan, labels=None, encode=None, stop_step=3, rank=rank, world=world)
        return [batch["waveform"][..., : 15 * 256 + 512] for batch in loader]

    one, first, second = batches(0, 1), batches(0, 2), batches(1, 2)
    for step in range(3):
        assert torch.equal(one[step][0::2], first[step]) and torch.equal(one[step][1::2], second[step])


def test_length_of_a_clip_is_forced(recordings):
    (recording, *_) = recordings(44100)
    framing = replace(FRAMINGS["2018"], clip_s=30.0)
    assert framing.clip_frames(recording.samples) == 5166  # as published
    assert replace(FRAMINGS["2019"], clip_s=60.0).clip_frames(1) == 3000
    batch = next(iter(ClipLoader([recording], framing, batch_size=1)))
    assert batch["waveform"].shape[-1] == 15 * 256 + 512


def test_what_a_stream_cannot_do_is_refused(recordings):
    listed = recordings(44100)
    with pytest.raises(InputError, match="lower the batch size"):
        StreamPlan([10, 10], length=16, batch_size=2)
    with pytest.raises(InputError, match="divide by the 2 processes"):
        Drawing(3, world=2)
    sampler = SequenceSampler(FRAMINGS["2018"])
    for drawing, word in ((Drawing(2, shares=[0.5, 0.5]), "--mix"), (Drawing(2, augment=lambda *x: x), "--augment")):
        with pytest.raises(InputError, match=word):
            sampler.training(listed, drawing, labels=None, output_format=None)
    assert Path(listed[0].audio).exists()
