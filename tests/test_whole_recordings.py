"""Features that must know of whole recordings: found once, by any batch that needs it, whatever the stretches are."""

import numpy as np
import pytest
import torch
from torch import Tensor

import dataset.loader
from dataset.augment import ChannelSwap
from dataset.framing import Framing
from dataset.loader import Loader
from dataset.plans import Clips, Stream
from dataset.recordings import Recording
from dataset.source import Source
from feature.audio import AudioFeature
from feature.front import Front
from system.model import of_whole
from util.audio import write_audio
from util.microphone_arrays import ARRAYS

FRAMING = Framing(1000, 10, 20, left=10, mirror="both")


class Held(AudioFeature):
    """Root mean square of frames, at least half of the loudest of the channel in the recording."""

    channels, maps, bins, held_over = 4, 4, 1, "recording"

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.unfold(-1, 20, 10).square().mean(dim=-1).sqrt()[..., None]

    def loudest(self, features: Tensor) -> Tensor:
        return features.amax(dim=(2, 3))

    def held(self, features: Tensor, loudest: Tensor) -> Tensor:
        return torch.maximum(features, loudest.transpose(1, 2)[..., None] / 2)


def recordings(tmp_path) -> list[Recording]:
    made = []
    for number, length in enumerate((1000, 400, 2300)):
        noise = np.random.default_rng(number).standard_normal((4, length)) * 0.01 * 3.0 ** np.arange(4)[:, None]
        noise[:, length // 3 : length // 2] *= 10 ** (number - 1)
        path = tmp_path / f"{number}.wav"
        write_audio(path, noise.astype(np.float32), 1000, subtype="FLOAT")
        made.append(Recording(path.stem, path, None, None, ARRAYS["foa"], length, 1000))
    return made


def test_items_are_held_to_their_recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset.loader, "_WHOLE_FRAMES", 70)  # the longest is looked at in four parts
    source, front = Source(recordings(tmp_path)), Front(Held())
    lengths = source.lengths(1000)
    whole = {}
    for batch in Loader(
        source, Clips(FRAMING, lengths, frames=None), batch_size=1, workers=0, of_whole=of_whole(front)
    ):
        features = Held()(batch["waveform"])
        loudest = features.amax(dim=(2, 3))
        torch.testing.assert_close(batch["loudest"], loudest[:, None].expand(-1, features.shape[2], -1))
        whole[int(batch["recording"])] = torch.maximum(features, loudest[..., None, None] / 2)[0]
        torch.testing.assert_close(front(batch)[0][0], whole[int(batch["recording"])])

    # any sequences, of one recording or of several, are parts of that
    known = of_whole(front)
    for plan in (Clips(FRAMING, lengths, frames=30), Stream(FRAMING, lengths, frames=35, batch_size=2, seed=3)):
        stop = None if plan.count is not None else plan.steps_per_pass
        for batch in Loader(source, plan, batch_size=2, stop_step=stop, of_whole=known):
            made = front(batch)[0]
            for row, item in enumerate(plan.items(batch["number"].numpy())):
                done = 0
                for piece in item.pieces:
                    part = whole[piece.recording][:, piece.first : piece.first + piece.frames]
                    torch.testing.assert_close(made[row, :, done : done + piece.frames], part)
                    done += piece.frames
    assert len(known.known) == 3  # each file is looked at once, by all loaders together


def test_samples_of_no_file_are_not_taken_for_those_of_another(tmp_path):
    """Two waveforms in memory have the same name; what was found in one is forgotten with its loader."""
    front = Front(Held())
    known = of_whole(front)
    found = []
    for size in (0.1, 0.4):
        waveform = np.full((4, 500), size, dtype=np.float32)
        source = Source(
            [Recording("waveform", tmp_path / "waveform", None, None, ARRAYS["foa"], 500, 1000)],
            read=lambda recording, start, length, rate_hz, waveform=waveform: waveform[:, start : start + length],
        )
        (batch,) = Loader(source, Clips(FRAMING, source.lengths(1000), frames=None), batch_size=1, of_whole=known)
        found.append(batch["loudest"].max().item())
    np.testing.assert_allclose(found, [0.1, 0.4], rtol=1e-6)
    assert not known.known


@pytest.mark.parametrize("name", ["foa", "mic"])
def test_swapped_channels_are_held_to_what_they_were_before(name, tmp_path):
    """Swapping a stretch and then holding it is the same as holding it and then swapping."""
    source, front = Source(recordings(tmp_path)), Front(Held())
    plan = Clips(FRAMING, source.lengths(1000), frames=30)
    swap = ChannelSwap(ARRAYS[name], seed=3)
    plain, swapped = (
        Loader(source, plan, batch_size=4, workers=0, of_whole=of_whole(front), augment=one) for one in (None, swap)
    )
    permuted = 0
    for batch, other in zip(plain, swapped):
        held, found = front(batch)[0], front(other)[0]
        for number, before, after in zip(batch["number"].tolist(), held, found):
            source_channels = swap.of_whole(np.arange(4)[None], number)[0]
            permuted += not np.array_equal(source_channels, np.arange(4))
            torch.testing.assert_close(after, before[source_channels])
    assert permuted > 3
