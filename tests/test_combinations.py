"""Any plan works with any output format, with and without pictures and augmentation: two steps of training of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import nn

from dataset.framing import Framing
from dataset.layouts import DataRoot
from dataset.lists import list_file
from dataset.plans import Clips, RandomWindows, Stream, WindowGrid
from dataset.recordings import Boxes, Recording, recordings_from_list
from feature.boxes import box_vectors
from feature.front import Front
from feature.phasediff import AmplitudePhaseDifference
from job.data import source_of, training_loader, training_plan
from output_format.multi_accdoa import MultiAccdoa
from output_format.sed_doa import SedDoa
from seld_predictor import SELDPredictor
from seld_trainer import SELDTrainer, TrainingSettings
from system.model import Model, StageModel
from system.row import Plans, Recipe, Stage, System
from tests.small_data import make_root
from util.boxes import BoxTrack, box_path, write_boxes
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS

FRAMES, CLASSES = 40, 13
HOPS = {"10 ms": 240, "20 ms": 480}


class Tiny(nn.Module):
    """A frame-wise network that sums what it hears and what it sees; `outputs` numbers a frame."""

    def __init__(self, bins: int, outputs: tuple[int, ...], ratio: int):
        super().__init__()
        self.outputs, self.ratio = outputs, ratio
        self.hear, self.see = nn.Linear(7 * bins, int(np.prod(outputs))), nn.Linear(2 * 6 * 37, int(np.prod(outputs)))

    def forward(self, audio: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        made = self.hear(audio.transpose(1, 2).flatten(2))
        if seen is not None:
            made = made + self.see(seen.flatten(2).mean(dim=1))[:, None]
        made = made.unflatten(1, (-1, self.ratio)).mean(dim=2).sigmoid()
        return made.unflatten(2, self.outputs).movedim(1, -1)


def stage_of(plan: str, form: str, hop: int, ratio: int, looks: int | None) -> Stage:
    """A stage made of one of each kind."""
    framing = Framing(24000, hop, 512, left=512 - hop, frames_per_output=ratio)
    frame_s = framing.output_frame_s
    outputs = (3, 3, CLASSES) if form == "multi_accdoa" else (4, CLASSES)
    common = {"frames": FRAMES, "visual_hop": looks}
    plans = Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: (
            RandomWindows(framing, lengths, seed=seed, members=members, **common)
            if plan == "windows"
            else Stream(framing, lengths, batch_size=batch_size, seed=seed, members=members, **common)
        ),
        evaluation=lambda lengths: (
            WindowGrid(framing, lengths, hop=FRAMES, **common)
            if plan == "windows"
            else Clips(framing, lengths, **common)
        ),
    )
    return Stage(
        "main",
        settings=lambda args, array: {},
        plans=lambda settings: plans,
        front=lambda settings, array, visual, statistics: Front(
            AmplitudePhaseDifference(4, hop_length=hop), visual=box_vectors if visual else None
        ),
        network=lambda settings, audio, classes, visual: Tiny(audio.bins, outputs, ratio),
        output_format=lambda settings, classes: (
            MultiAccdoa(classes, frame_s=frame_s) if form == "multi_accdoa" else SedDoa(classes, frame_s=frame_s)
        ),
        recipe=Recipe(ema=0.9, clip_norm=1.0),
    )


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> list[tuple[DataRoot, list[Recording]]]:
    made = []
    for index in range(2):
        root = DataRoot(make_root(tmp_path_factory.mktemp(f"root{index}"), train=3, test=1, seconds=1.5 + index))
        listed = recordings_from_list(list_file("dcase2023t3_foa_devtrain.txt", [root]), [root], need_labels=True)
        for recording in listed:
            times = np.arange(0, 3, 0.1)
            boxes = np.zeros((len(times), 6, 4), dtype=np.float32)
            boxes[:, 0] = [0.2, 0.3, 0.4, 0.6]
            track = BoxTrack(times, boxes, (boxes[..., 2] > 0).astype(np.float32), 3.0, {"detector": "builtin"})
            write_boxes(box_path(recording.video, "builtin"), track)
        made.append((root, listed))
    return made


@settings(max_examples=16, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.sampled_from(["windows", "sequences"]),
    form=st.sampled_from(["multi_accdoa", "sed_doa"]),
    hop=st.sampled_from(list(HOPS)),
    ratio=st.sampled_from([1, 5]),
    visual=st.booleans(),
    looks=st.sampled_from([None, 10]),
    augment=st.sampled_from(["none", "acs"]),
    mixed=st.booleans(),
)
def test_any_combination_trains_and_predicts(plan, form, hop, ratio, visual, looks, augment, mixed, roots):
    stage = stage_of(plan, form, HOPS[hop], ratio, looks)
    torch.manual_seed(0)
    model = StageModel(stage, {}, ARRAYS["foa"], CLASSES, visual=visual)
    used = roots if mixed else roots[:1]
    recordings = [recording for _, listed in used for recording in listed]
    args = Arguments(batch_size=2, mix="0.4,0.6" if mixed else None, augment=augment, workers=0)
    source = source_of(args, recordings, list(range(CLASSES)), Boxes("builtin") if visual else None)
    plan_made = training_plan(args, source, [root for root, _ in used], model.plans)
    fabric = Fabric(accelerator="cpu", devices=1)
    states = []
    trainer = SELDTrainer(
        fabric,
        model,
        TrainingSettings(2, 1, 1e-3, 0.0),
        make_loader=lambda step: training_loader(args, source, plan_made, model, ARRAYS["foa"], first_step=step),
        on_checkpoint=lambda iteration, state: bool(states.append(state)),
    )
    trainer.train()
    assert [state.iteration for state in states] == [1, 2]
    first, second = (state.weights["hear.weight"] for state in states)
    assert torch.isfinite(second).all() and not torch.equal(first, second)
    assert not torch.equal(second, states[1].trained["weights"]["hear.weight"])  # the moving average is another

    whole = Model(System("tiny", "tiny", "", (stage,)), ARRAYS["foa"], ["x"] * CLASSES, {"main": model}, visual=visual)
    predictor = SELDPredictor(fabric, whole, thresholds=[0.6] * CLASSES, unification_deg=15, batch_size=3)
    for recording, prediction in zip(recordings, predictor.predict(source), strict=True):
        assert prediction.recording is recording and np.isfinite(prediction.loss)
        seconds = prediction.raw.shape[-1] * model.output_format.frame_s
        assert abs(seconds - recording.duration_s) <= 0.1 + 1e-6
        assert len(prediction.candidates.activity) == round(seconds / prediction.candidates.frame_s)


def test_what_cannot_be_combined_is_refused_by_the_contract():
    with pytest.raises(InputError, match="output frames of 10 ms, the output format 20 ms"):
        stage = stage_of("windows", "sed_doa", 240, 1, None)
        wrong = Stage(**{**vars(stage), "output_format": lambda settings, classes: SedDoa(classes, frame_s=0.02)})
        StageModel(wrong, {}, ARRAYS["foa"], CLASSES, visual=False)
    with pytest.raises(ValueError, match="no whole number"):
        MultiAccdoa(3, frame_s=256 / 44100)
