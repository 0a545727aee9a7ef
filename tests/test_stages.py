"""Systems of several stages: trained in order, from each other, on what others say; checkpoints of all kinds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import seld
from dataset.framing import Framing
from dataset.plans import Clips, Stream
from feature.audio import AudioFeature
from feature.front import Front
from output_format.sed_doa import SedDoa
from seld_predictor import load
from system import table
from system.checkpoint import Checkpoint, StageState, initialise, load_checkpoint, save_checkpoint
from system.recipes import SCHEDULES, amsgrad, steps
from system.row import Init, Plans, Recipe, Stage, System
from tests.checkpoints import recording
from tests.test_seld import scalars
from tests.tiny import tiny_root
from util import flags
from util.cli import run_main
from util.errors import InputError
from util.runs import checkpoints_of, result_checkpoint

DATA = Path(__file__).with_name("data")
HOP, OUT_HZ, CLASSES = 2400, 10, 13


class Energy(AudioFeature):
    """Level of each channel in each frame of 100 ms; `needs_grad` of nothing."""

    maps, bins = 4, 1

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return waveform.unfold(-1, HOP, HOP).square().mean(dim=-1).add(1e-6).log()[..., None]


class Through(AudioFeature):
    """What comes in, a frame a sample."""

    maps, bins = 8 * CLASSES, 1

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return waveform[..., None]


class Tiny(nn.Module):
    """Two layers; the first is what a later stage takes over."""

    def __init__(self, maps: int):
        super().__init__()
        self.body, self.drop, self.head = nn.Linear(maps, 8), nn.Dropout(0.5), nn.Linear(8, 4 * CLASSES)

    def forward(self, audio: torch.Tensor, seen: None) -> torch.Tensor:
        made = self.head(self.drop(self.body(audio[..., 0].transpose(1, 2)).relu()))
        return made.unflatten(2, (4, CLASSES)).movedim(1, -1).sigmoid()


def stage(name: str, takes: tuple[str, ...] = (), **options) -> Stage:
    framing = Framing(OUT_HZ, 1, 1) if takes else Framing(24000, HOP, HOP)
    plans = Plans(
        framing,
        lambda lengths, batch, seed, members: Stream(
            framing, lengths, frames=10, batch_size=batch, seed=seed, members=members
        ),
        lambda lengths: Clips(framing, lengths, frames=10),
    )
    return Stage(
        name,
        settings=lambda args, array: {},
        plans=lambda settings: plans,
        front=lambda settings, array, visual, statistics: Front(Through() if takes else Energy()),
        network=lambda settings, audio, classes, visual: Tiny(audio.maps),
        output_format=lambda settings, classes: SedDoa(classes, frame_s=0.1),
        takes=takes,
        **options,
    )


def joined(raw):
    """Activity of one stage, directions of another."""
    return np.concatenate([raw["align"][:1], raw["doa"][1:]])


ROW = System(
    "three",
    "three stages",
    "this test",
    (
        stage("sed", recipe=Recipe(amsgrad, choice="F", ema=0.5)),
        stage("doa", init=Init("sed", lambda name: name if name.startswith("body") else None)),
        stage("align", takes=("sed", "doa"), recipe=Recipe(schedule=steps)),
    ),
    join=joined,
    streams=False,
)


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setitem(table.SYSTEMS, "three", ROW)
    flag = flags.FLAGS["net"]
    monkeypatch.setitem(flags.FLAGS, "net", replace(flag, choices=(*flag.choices, "three")))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tiny_root(tmp_path_factory.mktemp("data") / "data_tiny", train=3)


def train(root: Path, *flags: str, status: int = 0) -> Path | None:
    before = set((root / "model_monitor").glob("*"))
    common = ["-train", "--data-root", str(root), "--device", "cpu", "--precision", "32"]
    if "--resume" not in flags:
        common += ["--system", "three", "-b", "2"]
    assert run_main(seld.main, [*common, *flags]) == status
    made = set((root / "model_monitor").glob("*")) - before
    return made.pop() if made else None


def test_stages_are_trained_in_order_and_joined(three, root, tmp_path, capsys):
    run = train(root, "-val", "-i", "4", "-s", "2", "--select", "test")
    shown = capsys.readouterr().out
    assert "stage doa from sed: 2 weights copied" in shown and "new: head.bias, head.weight" in shown
    assert [path.name for path in checkpoints_of(run / "sed")] == ["params_sed_0000002.pth", "params_sed_0000004.pth"]
    assert json.loads((run / "sed" / "selected.json").read_text()).keys() >= {"F", "checkpoint"}
    assert "SELD_error" in json.loads((run / "selected.json").read_text())
    content = load_checkpoint(result_checkpoint(run))
    assert list(content.stages) == ["sed", "doa", "align"] and not content.missing
    assert not content.stages["sed"].trained and content.stages["align"].trained
    chosen = load_checkpoint(result_checkpoint(run / "sed")).stages["sed"]
    for name, value in chosen.weights.items():  # the earlier stage is the one that was chosen, frozen
        assert torch.equal(value, content.stages["sed"].weights[name])
        assert not torch.equal(value, chosen.trained["weights"][name])  # and the moving average of what was trained
    assert sorted(path.name for path in (run / "outputs" / "sed").iterdir()) == [
        f"fold3_room{n}_mix001.npy" for n in (1, 2, 3)
    ]

    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu"]) == 0
    (raw,) = next(run.glob("raw_*")).glob("*.npy")
    sound = next((root / "foa_dev" / "dev-test-tiny").glob("*.wav"))
    flags = ["-infer", str(sound), "-em", str(run), "--device", "cpu", "--player", "never", "--out", str(tmp_path)]
    assert run_main(seld.main, flags) == 0
    np.testing.assert_allclose(np.load(tmp_path / raw.name), np.load(raw), atol=1e-6)
    # by hand: frozen stages on the sound, the last one on what they say
    inference = load(run, device="cpu")
    stages = inference.model.stages
    import soundfile

    waveform = torch.from_numpy(soundfile.read(sound, dtype="float32")[0].T.copy())[None]
    parts = {}
    with torch.inference_mode():
        for name in ("sed", "doa"):
            features = stages[name].front.audio(waveform)
            parts[name] = stages[name].network(features, None)[0]
        heard = torch.cat([parts["sed"].flatten(0, 1), parts["doa"].flatten(0, 1)])[None]
        aligned = stages["align"].network(stages["align"].front.audio(heard), None)[0]
    np.testing.assert_allclose(np.load(raw), torch.cat([aligned[:1], parts["doa"][1:]]), atol=1e-5)


def test_an_interrupted_run_goes_on_in_its_stage_bit_for_bit(three, root, monkeypatch):
    whole = train(root, "-val", "-i", "4", "-s", "1")
    from job import results as job

    def breaks(at: str, iteration: int):
        original = job.Results.checkpoint

        def checkpoint(self, number, state):
            stop = original(self, number, state)
            if self.run_dir.name == at and number == iteration:
                raise KeyboardInterrupt
            return stop

        return checkpoint

    with monkeypatch.context() as patch:
        patch.setattr(job.Results, "checkpoint", breaks("doa", 2))
        killed = train(root, "-val", "-i", "4", "-s", "1", status=130)
    assert checkpoints_of(killed / "doa")[-1].name.endswith("0000002.pth") and not checkpoints_of(killed)
    before = (killed / "sed").stat().st_mtime_ns
    assert train(root, "-val", "--resume", str(killed)) is None
    assert (killed / "sed").stat().st_mtime_ns == before  # a finished stage is not touched
    for folder in ("doa", ""):
        first, second = scalars(whole / folder, "Loss/train"), scalars(killed / folder, "Loss/train")
        assert len(first) == 4 and first == second
    one, two = (load_checkpoint(result_checkpoint(run)) for run in (whole, killed))
    for name in one.stages:
        for weight, value in one.stages[name].weights.items():
            assert torch.equal(value, two.stages[name].weights[weight]), (name, weight)


def test_one_stage_by_itself(three, tmp_path, capsys):
    root = tiny_root(tmp_path / "data_tiny", train=2)
    flags = ("-i", "2", "-s", "2")
    train(root, *flags, "--stage", "doa", status=2)
    assert "--stage doa stands on sed" in capsys.readouterr().err
    train(root, *flags, "--stage", "other", status=2)
    assert "the stages of three are sed, doa, align" in capsys.readouterr().err
    first = train(root, *flags, "--stage", "sed")
    assert checkpoints_of(first / "sed") and not checkpoints_of(first) and not (first / "doa").exists()
    second = train(root, *flags, "--stage", "doa")  # on the newest run that has the stage before
    assert "stage sed of" in capsys.readouterr().out
    content = load_checkpoint(result_checkpoint(second / "doa"))
    assert list(content.stages) == ["sed", "doa"] and content.missing
    assert run_main(seld.main, ["-eval", "-em", str(result_checkpoint(second / "doa")), "--device", "cpu"]) == 2
    assert "align is still to be trained" in capsys.readouterr().err
    third = train(root, *flags, "--init", str(result_checkpoint(second / "doa")))  # what is missing, from a file
    assert list(load_checkpoint(result_checkpoint(third)).stages) == ["sed", "doa", "align"]
    assert not (third / "sed").exists() and not (third / "doa").exists()
    kept = load_checkpoint(result_checkpoint(third)).stages["sed"].weights
    train(root, "--resume", str(third), "-i", "4")  # goes on with the last stage, those of the file stay
    content = load_checkpoint(result_checkpoint(third))
    assert content.iteration == 4 and not (third / "sed").exists()
    assert all(torch.equal(value, content.stages["sed"].weights[name]) for name, value in kept.items())


def test_checkpoints_of_the_earlier_form_load(tmp_path):
    """Written when every system had one stage, by the code of that time; the output is that code's."""
    sound = recording(tmp_path / "a.wav", 1.0)
    old = DATA / "checkpoint_of_one_stage.pth"
    assert torch.load(old, weights_only=True)["format"] == "seld-checkpoint-1"
    content = load_checkpoint(old)
    assert (content.system, content.iteration, content.classes[12]) == ("seldnet2019", 2, "Knock")
    assert list(content.stages) == ["main"] and "clip_s" not in content.stages["main"].settings
    flags = ["-infer", str(sound), "-em", str(old), "--device", "cpu", "--player", "never"]
    assert run_main(seld.main, [*flags, "--out", str(tmp_path / "o")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "o" / "a.npy"), np.load(old.with_suffix(".npy")), atol=1e-5)
    save_checkpoint(tmp_path / "new.pth", content)
    again = load_checkpoint(tmp_path / "new.pth")
    assert replace(again, stages={}) == replace(content, stages={})
    for name, value in content.stages["main"].weights.items():
        assert torch.equal(again.stages["main"].weights[name], value)


def test_a_damaged_checkpoint_of_ours_is_named(tmp_path):
    save_checkpoint(tmp_path / "a.pth", Checkpoint("crnn", {}, [], False, {"main": StageState({}, {})}))
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    for change in ({"stages": {"main": {"weight": 1}}}, {"stages": None}, {"surprise": 1}):
        torch.save({**content, **change}, tmp_path / "b.pth")
        with pytest.raises(InputError, match=r"b\.pth: is no checkpoint of this project"):
            load_checkpoint(tmp_path / "b.pth")


def test_weights_are_renamed_and_the_report_says_what_happened():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    weights = {"encoder.weight": torch.ones(3, 3), "encoder.bias": torch.ones(2), "other": torch.ones(1)}
    rename = lambda name: name.replace("encoder", "0") if name != "other" else None  # noqa: E731
    report = initialise(network, weights, rename)
    assert report == {
        "copied": ["0.weight"],
        "skipped": ["encoder.bias", "other"],
        "new": ["0.bias", "1.bias", "1.weight"],
    }
    assert (network[0].weight == 1).all()


def test_schedules():
    rate = SCHEDULES["steps"]
    factors = [rate(step, 54100) for step in (0, 31999, 32000, 33999, 34000, 54000)]
    assert factors == pytest.approx([1, 1, 0.9, 0.9, 0.81, 0.9**12])
    assert SCHEDULES["cosine"](0, 10) == pytest.approx(1) and SCHEDULES["cosine"](10, 10) == pytest.approx(0.01)
