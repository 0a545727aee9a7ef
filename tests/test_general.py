"""The general network through the command line: modules, mixed and matched, scored, shown, and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import npy2csv
import seld
from job.data import share_of
from net.general import from_pann, pann_weights
from output_format.aligned import AlignedTracks, track_losses
from output_format.candidates import merge
from output_format.general_labels import azimuth_class, elevation_class
from output_format.general_modules import Detection, Directions
from report.__main__ import main as report
from seld_predictor import load
from system.checkpoint import load_checkpoint, save_checkpoint
from system.table import SYSTEMS, system_named
from tests.runs import run_folder
from tests.small_data import make_root
from util.cli import run_main
from util.dialects import read_events
from util.errors import InputError
from util.events import EventTable
from util.microphone_arrays import ARRAYS
from util.runs import checkpoints_of, result_checkpoint

SMALL = ["--set", "width=0.1", "--set", "align_units=8", "--device", "cpu", "--precision", "32"]
TINY = [*SMALL, "-b", "4", "-i", "2", "-s", "2", "--select", "last"]
CLASSES = 13


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("general") / "data"
    return make_root(made, formats=("foa", "mic"), train=3, test=1, seconds=2.3, videos=False)


def train(root: Path, *flags: str, status: int = 0) -> Path | None:
    """Train; the run folder."""
    return run_folder(root, "-train", *TINY, *flags, status=status)


@pytest.fixture(scope="module")
def runs(root) -> dict[str, Path]:
    """A run of some modules."""
    names = ("general_sed_m", "general_doa_iv", "general_doa_hist", "general_histogram")
    return {name: train(root, "-val", "--system", name) for name in names}


def raw_of(run: Path) -> Path:
    (made,) = next(run.glob("raw_*")).glob("*.npy")
    return made


def evaluate(run: Path, *flags: str) -> str:
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu", *flags]) == 0
    return max(run.glob("result_*.txt"), key=lambda path: path.stat().st_mtime_ns).read_text()


def test_modules_are_scored_by_what_they_say(runs):
    columns = {
        "general_sed_m": "ER\tF\tSED_error\tmAP",
        "general_doa_iv": "mAP_azimuth\tmAP_elevation\tmAP",
        "general_doa_hist": "mAP_azimuth\tmAP_elevation\tmAP",
        "general_histogram": "mAP_azimuth\tmAP_elevation\tmAP",
    }
    rows = {"general_sed_m": (CLASSES,), "general_doa_iv": (91,), "general_doa_hist": (91,), "general_histogram": (91,)}
    for name, run in runs.items():
        text = evaluate(run)
        assert text.splitlines()[1] == f"All\t{columns[name]}" and "alone" in text and "metrics edition" not in text
        raw = np.load(raw_of(run))
        assert raw.shape == (*rows[name], 26) and 0 <= raw.min() <= raw.max() <= 1  # a recording of 2.6 s
        about = json.loads(raw_of(run).with_suffix(".json").read_text())
        assert about["system"] == name and about["frame_s"] == 0.1
    histogram = load_checkpoint(result_checkpoint(runs["general_histogram"]))
    assert histogram.iteration == 0 and not histogram.stages["histogram"].weights
    apart = load_checkpoint(result_checkpoint(runs["general_doa_hist"])).stages
    assert list(apart) == ["hist", "azi", "ele"] and apart["azi"].statistics["mean"].shape == (1, 72)
    assert len(checkpoints_of(runs["general_doa_hist"] / "azi")) == 1


@pytest.mark.parametrize("name", ["general_sed_m", "general_doa_iv", "general_histogram"])
def test_modules_are_inferred_and_shown(name, root, runs, tmp_path):
    sound = next((root / "foa_dev" / "dev-test-x").glob("*.wav"))
    out, low = tmp_path / "out", tmp_path / "low.json"
    low.write_text(json.dumps({"threshold_presence": [0.05] * CLASSES, "threshold_unification": 15}))
    flags = ["--device", "cpu", "--out", str(out), "--threshold-config", str(low)]
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(runs[name]), *flags]) == 0
    events = json.loads((out / "events.json").read_text())
    found = read_events(out / f"{sound.stem}.csv", "dcase2023", class_count=CLASSES)
    assert len(found) and (out / "player.html").stat().st_size > 10000
    if name == "general_sed_m":
        assert not found.azimuth_deg.any() and len(set(found.class_index.tolist())) > 1
    else:
        assert not found.class_index.any() and len(set(found.azimuth_deg.tolist())) > 3
        assert {event["class"] for event in events["events"]} == {"any sound"}
    assert run_main(npy2csv.main, [str(out), "--out", str(tmp_path / "csv")]) == 0
    evaluate(runs[name])
    assert run_main(report, [str(runs[name]), "--out", str(tmp_path / "report.html")]) == 0
    assert (tmp_path / "report.html").stat().st_size > 10000


def test_modules_of_runs_are_aligned(root, runs, tmp_path, capsys):
    sed, doa = runs["general_sed_m"], runs["general_doa_hist"]
    run = train(root, "-val", "--system", "general", "--sed", str(sed), "--doa", str(result_checkpoint(doa)))
    content = load_checkpoint(result_checkpoint(run))
    assert content.system == "general:sed_m:doa_hist" and set(content.stages) == {"sed", "hist", "azi", "ele", "align"}
    own = load_checkpoint(result_checkpoint(sed)).stages["sed"]
    for name, value in own.weights.items():
        assert torch.equal(value, content.stages["sed"].weights[name])
    assert not (run / "sed").exists() and len(list((run / "outputs" / "azi").glob("*.npy"))) == 3
    capsys.readouterr()
    assert "metrics edition 2023" in evaluate(run)
    raw = np.load(raw_of(run))
    assert raw.shape == (4, CLASSES, 26)
    # by hand: what the modules say, behind each other, is what the alignment hears
    recording = load(run, device="cpu")
    model, heard = recording.model.eval(), []
    for module in (sed, doa):
        evaluate(module)
        heard.append(np.load(raw_of(module)))
    with torch.inference_mode():
        said = torch.from_numpy(np.concatenate(heard))[None, ..., None]
        aligned = model.stages["align"].network(said)[0]
    np.testing.assert_allclose(raw, aligned, atol=1e-5)
    sound = next((root / "foa_dev" / "dev-test-x").glob("*.wav"))
    flags = ["--device", "cpu", "--player", "never", "--out", str(tmp_path)]
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(run), *flags]) == 0
    np.testing.assert_allclose(np.load(tmp_path / raw_of(run).name), raw, atol=1e-6)
    # goes on from there, modules as they are
    assert train(root, "--resume", str(run), "-i", "3") is None
    assert load_checkpoint(result_checkpoint(run)).iteration == 3


def test_all_in_one_run_with_tracks_on_a_microphone_array(root):
    run = train(
        root, "-val", "--system", "general", "--format", "mic", "--set", "tracks=2", "--set", "standardise=scalar"
    )
    content = load_checkpoint(result_checkpoint(run))
    assert content.system == "general:sed_m:doa_gcc" and list(content.stages) == ["sed", "doa", "align"]
    assert content.stages["align"].settings["tracks"] == 2
    evaluate(run)
    assert np.load(raw_of(run)).shape == (2, CLASSES + 3, 26)
    assert json.loads((run / "doa" / "history.jsonl").read_text().splitlines()[0]).keys() >= {"mAP", "mAP_azimuth"}


def test_one_stage_by_itself_needs_no_histogram_of_another_run(root, capsys):
    run = train(root, "--system", "general_doa_hist", "--stage", "azi")
    assert list(load_checkpoint(result_checkpoint(run / "azi")).stages) == ["hist", "azi"]
    train(root, "--system", "general", "--sed", "sed_t", "--doa", "histogram", "--stage", "align", status=2)
    assert "--stage align stands on sed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["general_sed_l8", "general_sed_l6", "general_sed_l6f64"])
def test_released_encoders_train(name, root):
    run = train(root, "-val", "--system", name, "--set", "pool=avg_max")
    evaluate(run)
    assert np.load(raw_of(run)).shape == (CLASSES, 26)


# transfer -------------------------------------------------------------------------------------------------------------


def tagging_weights(width: float = 1.0, channels: int = 1) -> dict[str, torch.Tensor]:
    """Weights in the form of Cnn14's, made up: the blocks that are taken over, and some that are not."""
    made, before = {}, channels
    generator = torch.Generator().manual_seed(0)
    for block, filters in enumerate((64, 128, 256, 512), start=1):
        filters = max(round(width * filters), 1)
        for number, entering in ((1, before), (2, filters)):
            made[f"conv_block{block}.conv{number}.weight"] = torch.randn(filters, entering, 3, 3, generator=generator)
            for value in ("weight", "bias", "running_mean", "running_var"):
                made[f"conv_block{block}.bn{number}.{value}"] = torch.rand(filters, generator=generator)
            made[f"conv_block{block}.bn{number}.num_batches_tracked"] = torch.tensor(7)
        before = filters
    made["conv_block5.conv1.weight"] = torch.zeros(4, before, 3, 3)
    made["bn0.weight"] = torch.ones(64)
    made["fc_audioset.weight"] = torch.zeros(527, 8)
    return made


def test_blocks_of_audio_tagging_are_taken_over(root, tmp_path, capsys):
    weights = tagging_weights(0.1)
    assert set(pann_weights()) <= set(weights) and len(pann_weights()) == 4 * (2 + 2 * 5)
    assert from_pann("conv_block4.bn2.bias") == "conv_block4.bn2.bias" and from_pann("conv_block5.conv1.weight") is None
    torch.save({"model": weights}, tmp_path / "Cnn14.pth")
    # nothing is learned: what the checkpoint holds is what was taken over
    run = train(root, "--system", "general_sed_t", "--init", str(tmp_path / "Cnn14.pth"), "-l", "1e-30", "-w", "0")
    shown = capsys.readouterr().out
    assert f"{len(pann_weights())} weights copied" in shown
    assert "3 weights skipped: bn0.weight, conv_block5.conv1.weight, fc_audioset.weight" in shown
    assert "weights new" in shown and "gru.weight_ih_l0" in shown
    state = load_checkpoint(result_checkpoint(run)).stages["sed"].weights
    torch.testing.assert_close(state["conv_block3.conv2.weight"], weights["conv_block3.conv2.weight"])
    torch.testing.assert_close(state["conv_block1.bn1.bias"], weights["conv_block1.bn1.bias"])
    encoded = train(root, "--system", "general_sed_l8", "--init", str(tmp_path / "Cnn14.pth"), "-l", "1e-30")
    state = load_checkpoint(result_checkpoint(encoded)).stages["sed"].weights
    torch.testing.assert_close(state["encoder.conv_block4.conv1.weight"], weights["conv_block4.conv1.weight"])


def test_weights_that_do_not_fit_are_an_error(root, tmp_path, capsys):
    def refused(weights: dict[str, torch.Tensor], *words: str, flags: tuple[str, ...] = ()) -> None:
        torch.save({"model": weights}, tmp_path / "w.pth")
        train(root, "--system", "general_sed_t", "--init", str(tmp_path / "w.pth"), *flags, status=2)
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and all(word in error for word in ("w.pth", *words)), error

    refused(tagging_weights(0.1, 4), "conv_block1.conv1.weight", "it hears 1 maps, the weights are for 4")
    refused(tagging_weights(0.1), "hears 4 maps, the weights are for 1", flags=("--set", "feature=logmel"))
    refused(tagging_weights(0.2), "another size")
    missing = tagging_weights(0.1)
    del missing["conv_block4.bn2.running_var"]
    refused(missing, "'conv_block4.bn2.running_var' is missing")


# what is refused ------------------------------------------------------------------------------------------------------


def test_bad_input_is_one_clear_line(root, runs, tmp_path, capsys):
    def refused(flags: list[str], *words: str) -> None:
        capsys.readouterr()
        before = sorted((root / "model_monitor").glob("*"))
        assert run_main(seld.main, ["-train", "--data-root", str(root), *TINY, *flags]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and all(word in error for word in words), error
        assert sorted((root / "model_monitor").glob("*")) == before

    general = ["--system", "general"]
    sed, doa = str(runs["general_sed_m"]), str(runs["general_doa_iv"])
    refused([*general, "--sed", "sed_x"], "sed_x", "no such run", "sed_m, sed_t")
    refused([*general, "--sed", doa], "is doa_iv, a module for --doa")
    refused([*general, "--doa", sed], "is sed_m, a module for --sed")
    refused(["--system", "crnn", "--no-video", "--sed", sed], "--sed", "crnn is not made of modules")
    refused(["--system", "general_sed_m", "--doa", doa], "general_sed_m is not made of modules")
    refused([*general, "--format", "mic", "--sed", sed], "trained on foa audio, the recordings are mic")
    refused([*general, "--format", "mic", "--doa", "doa_iv"], "intensity vectors need Ambisonics", "mic")
    refused([*general, "--format", "mic", "--doa", "histogram"], "the histogram needs Ambisonics", "mic")
    refused([*general, "--format", "mic", "--doa", "doa_hist"], "the histogram needs Ambisonics", "mic")
    refused(["--system", "general_sed_m", "--set", "feature=cqt"], "feature=cqt", "logmel64")
    refused(["--system", "general_sed_m", "--set", "repeat=3"], "repeat", "16 frames")
    refused(["--system", "general_sed_l6", "--set", "chunk_frames=12"], "chunk_frames", "16 or more")
    refused([*general, "--set", "tracks=4"], "tracks")
    refused([*general, "-fs", "48000"], "48000", "24000")
    refused([*general, "--share", "1.5"], "--share", "1 or less")
    refused([*general, "--augment", "acs"], "--augment")

    # modules of other classes, of another frame rate, and one that is not finished
    content = load_checkpoint(result_checkpoint(Path(sed)))
    save_checkpoint(tmp_path / "classes.pth", replace(content, classes=["x", *content.classes[1:]]))
    refused([*general, "--sed", str(tmp_path / "classes.pth")], "class 0 is x there", "classes.pth")
    save_checkpoint(tmp_path / "fewer.pth", replace(content, classes=content.classes[:5]))
    refused([*general, "--sed", str(tmp_path / "fewer.pth")], "5 classes", "13")
    slow = replace(content.stages["sed"], settings={**content.stages["sed"].settings, "repeat": 1})
    save_checkpoint(tmp_path / "slow.pth", replace(content, stages={"sed": slow}))
    refused([*general, "--sed", str(tmp_path / "slow.pth")], "every 200 ms", "align takes frames of 100 ms")
    parts = load_checkpoint(result_checkpoint(runs["general_doa_hist"]))
    del parts.stages["ele"]
    save_checkpoint(tmp_path / "part.pth", parts)
    refused([*general, "--doa", str(tmp_path / "part.pth")], "ele is still to be trained")
    other = tmp_path / "joint.pth"
    save_checkpoint(other, replace(content, system="crnn", stages={"main": content.stages["sed"]}))
    refused([*general, "--sed", str(other)], "a checkpoint of crnn", "general_sed_m")


def test_a_mono_recording_is_refused_where_directions_are_due():
    from util.job_arguments import Arguments

    mono = ARRAYS["mono"]
    args = Arguments(fft_size=1024, stft_hop_size=300)
    rules = {"general_doa_iv": "Ambisonics", "general_doa_gcc": "2 channels", "general_histogram": "Ambisonics"}
    for name, words in rules.items():
        with pytest.raises(InputError, match=words):
            SYSTEMS[name].stages[0].settings(args, mono)
    settings = SYSTEMS["general_sed_t"].stages[0].settings(args, mono)  # detection learns from it
    assert settings["feature"] == "logmel64"


# parts ----------------------------------------------------------------------------------------------------------------


def test_assembled_systems_have_names():
    assert [stage.name for stage in system_named("general:sed_t:histogram").stages] == ["sed", "histogram", "align"]
    assert system_named("general:sed_l8:doa_hist").stages[-1].takes == ("sed", "azi", "ele")
    for name in ("general:sed_t", "general:doa_iv:sed_m", "crnn:sed_m:doa_iv", "general:sed_m:doa_iv:x"):
        with pytest.raises(InputError, match="unknown system"):
            system_named(name)


def test_classes_of_direction():
    azimuth = np.array([-180, -177.6, -177.4, 0, 177.4, 177.6, 180])
    np.testing.assert_array_equal(azimuth_class(azimuth), [0, 0, 1, 36, 71, 0, 0])
    np.testing.assert_array_equal(elevation_class(np.array([-45, -42.6, -42.4, 0, 45])), [0, 0, 1, 9, 18])


def events(rows: list[tuple[int, int, int, float, float]]) -> EventTable:
    frame, index, source, azimuth, elevation = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return EventTable.make(frame=frame, class_index=index, source=source, azimuth_deg=azimuth, elevation_deg=elevation)


def test_a_perfect_module_scores_perfectly():
    table = events([(f, f // 10 % 3, 0, 5 * (f // 10) - 60, 5 * (f // 20)) for f in range(60)])
    for made in (Detection(3), Directions(3)):
        labels = made.of_events(table, 0, 60)
        scores = made.scores([labels, labels], [labels, labels], np.full(3, 0.3))
        assert scores["mAP"] == pytest.approx(1)
        assert scores.get("SED_error", 0) == pytest.approx(0, abs=1e-6) and scores.get("F", 1) == pytest.approx(1)
    found = merge(Directions(3).candidates(Directions(3).of_events(table, 0, 60)), np.full(3, 0.3))
    np.testing.assert_array_equal(found.azimuth_deg, table.azimuth_deg)
    np.testing.assert_array_equal(found.elevation_deg, table.elevation_deg)
    two = Directions(3).of_events(events([(0, 0, 0, 40, 10), (0, 1, 1, -90, 10)]), 0, 1)
    found = merge(Directions(3).candidates(two), np.full(3, 0.3))
    assert sorted(found.azimuth_deg.tolist()) == [-90, 40] and found.elevation_deg.tolist() == [10, 10]
    slow = Detection(3, frame_s=0.2)  # 5 rows a second are heard as 10
    half = slow.of_events(table, 0, 60)[:, ::2]
    assert slow.scores([half], [half], np.full(3, 0.3))["ER"] == 0


def test_tracks_take_the_order_that_fits_best():
    made = AlignedTracks(3)
    table = events([(0, 1, 0, 90, 0), (0, 2, 1, -90, 0), (1, 2, 0, -90, 0), (1, 1, 1, 90, 0), (2, 0, 1, 0, 45)])
    target = torch.from_numpy(made.of_events(table, 0, 4))[None]
    assert target.shape == (1, 2, 6, 4) and target[0, :, :3].sum() == 5
    for output in (target, target.flip(1)):
        assert track_losses(output, target) == pytest.approx(0, abs=1e-6)
        assert track_losses(output, target, reduction="window").shape == (1,)
    wrong = target.clone()
    wrong[0, 0, 3:] *= -1
    assert track_losses(wrong, target) > 0.3
    found = merge(made.candidates(target[0].numpy()), np.full(3, 0.3), 15)
    assert sorted(zip(found.frame.tolist(), found.class_index.tolist(), np.rint(found.azimuth_deg).tolist())) == [
        (0, 1, 90), (0, 2, -90), (1, 1, 90), (1, 2, -90), (2, 0, 0),
    ]  # fmt: skip
    twice = made.of_events(events([(0, 1, 0, 10, 0), (0, 1, 1, 20, 0)]), 0, 1)
    assert merge(made.candidates(twice), np.full(3, 0.3), 15).azimuth_deg.tolist() == pytest.approx([15])
    assert len(merge(made.candidates(twice), np.full(3, 0.3), 5)) == 2


def test_training_items_follow_the_labels_of_the_reference(root):
    """A chunk that does not begin with a label frame takes the labels that its frames are nearest to."""
    stage = system_named("general_sed_m").stages[0]
    settings = {"feature": "logmel", "chunk_frames": 32, "chunk_hop": 8, "step_frames": 16, "repeat": 2}
    plan = stage.plans(settings).training(np.array([24000 + 300 * 5]), 4, 0, None)
    starts = plan.first.tolist()
    assert starts[-1] % 8 == 6 and all(start % 8 == 0 for start in starts[:-1])
    for number in range(len(starts)):
        (item,) = plan.items(np.array([number]))
        first = item.pieces[0].first
        due = (first + 8 * np.arange(4) + 4) // 8
        found = plan.grid([item], 0.1).frame[0]
        np.testing.assert_array_equal(found[found >= 0], due[: (found >= 0).sum()])


def test_augmentation_is_of_the_item(runs):
    model = load(runs["general_sed_m"], device="cpu").model.last
    assert model.augment is not None
    features, target = torch.rand(4, 4, 32, 128), torch.zeros(4, CLASSES, 4)
    target[0] = 1
    first = model.augment(features, target, [0, 1, 2, 3])
    again = model.augment(features, target, [0, 1, 2, 3])
    other = model.augment(features, target, [4, 5, 6, 7])
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[0], features)


def test_shares_of_the_recordings_are_parts_of_each_other():
    recordings = list(range(40))
    small, large = share_of(recordings, 0.1, seed=3), share_of(recordings, 0.25, seed=3)
    assert len(small) == 4 and len(large) == 10 and set(small) < set(large) and large == sorted(large)
    assert share_of(recordings, 1.0, seed=3) == recordings and share_of(recordings, 0.25, seed=4) != large
    assert len(share_of(recordings, 0.001, seed=0)) == 1
