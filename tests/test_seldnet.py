"""SELDnet 2018 and 2019 through the command line: every data set, every variant, tiny sets made by the simulator."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import npy2csv
import seld
from report.__main__ import main as report
from seld_predictor import load
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import write_set
from system.checkpoint import load_checkpoint, model_of
from system.presets import ids_of, preset_of, presets, with_changes
from system.table import SYSTEMS
from tests.runs import run_folder
from tests.test_seld import scalars
from tests.tiny import tiny_root
from util.cli import run_main
from util.dialects import read_events
from util.errors import InputError
from util.flags import FLAGS
from util.runs import checkpoints_of, result_checkpoint

# a small network on short sequences: the same code, a second of training
SMALL = ["sequence_frames=32", "filters=4,4,4", "rnn_units=8,8", "dense=8"]
TINY = [word for change in SMALL for word in ("--set", change)] + ["-b", "2", "--device", "cpu"]


def small_set(layout: str, out: Path, **options) -> Path:
    write_set(out, SetSettings.of(layout, seconds=3.0, **options), progress=False)
    return out


@pytest.fixture(scope="module")
def resim(tmp_path_factory) -> Path:
    return small_set("resim", tmp_path_factory.mktemp("sets") / "resim", train=5, test=2, overlaps=(1,), splits=(1,))


@pytest.fixture(scope="module")
def tau(tmp_path_factory) -> Path:
    return small_set("tau2019", tmp_path_factory.mktemp("sets") / "tau", train=1, formats=("foa",))


def run(root: Path, *flags: str, status: int = 0) -> Path | None:
    """Train; the run folder."""
    return run_folder(root, *flags, *TINY, status=status)


def test_seldnet2018_trains_chooses_scores_and_exports(resim, tmp_path, capsys):
    made = run(resim, "--system", "seldnet2018", "7", "3", "--epochs", "2", "--set", "coordinates=xyz")
    assert made.name == "resim_ov1_split1_regr0_3d0_7"
    shown = capsys.readouterr().out
    assert "DOA error" in shown and "frame recall" in shown
    assert (made / "training_curves.png").stat().st_size > 1000
    history = [json.loads(line) for line in (made / "history.jsonl").read_text().splitlines()]
    assert len(history) == 2 and all(np.isfinite(line["SELD_error"]) for line in history)
    chosen = json.loads((made / "selected.json").read_text())
    assert chosen["SELD_error"] == min(line["SELD_error"] for line in history)
    assert len(checkpoints_of(made)) <= 2  # the best and the newest

    (result,) = made.glob("result_*.txt")
    text = result.read_text()
    assert text.startswith("SELD scores\nAll\tER\tF\tDOA_error\tframe_recall\tSELD_error\n")
    assert "chosen on recordings split off the training list" in text and "metrics edition 2018" in text
    assert "standardised by the 4 training recordings" in text
    (raw_dir,), (csv_dir,) = made.glob("raw_*"), made.glob("pred_r*")
    raw = np.load(next(raw_dir.glob("*.npy")))
    assert raw.shape == (4, 11, 515)
    assert run_main(npy2csv.main, [str(raw_dir), "--out", str(tmp_path / "csv"), "--dialect", "dcase2018"]) == 0
    for path in csv_dir.glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "csv" / path.name).read_bytes()

    assert run_main(report, [str(made)]) == 0  # by the joint metrics, on frames of 100 ms
    page = (made / "report.html").read_text()
    assert "Scores of DCASE 2023" in page and "was scored by edition 2018" in page

    # the same numbers from the checkpoint, and nothing depends on the batch size
    before = text.splitlines()[:3]
    assert run_main(seld.main, ["-eval", "-em", str(made), "--device", "cpu", "-b", "1"]) == 0
    assert result.read_text().splitlines()[:3] == before

    # the same job again is not overwritten
    assert run_main(seld.main, ["--system", "seldnet2018", "7", "3", "--data-root", str(resim), *TINY]) == 2
    assert "choose another job id" in capsys.readouterr().err


def test_seldnet2019_is_cross_validated_and_pooled(tau, capsys):
    flags = ["--system", "seldnet2019", "4", "1", "--split", "all", "--epochs", "1", "--passes-per-epoch", "1"]
    made = run(tau, *flags)
    assert made.name == "4_1_foa_dev" and sorted(p.name for p in made.glob("split*")) == [f"split{n}" for n in "1234"]
    lines = (made / "result.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == ["split 1", "split 2", "split 3", "split 4", "pooled"]
    tested, chosen_on = set(), []
    for fold in (1, 2, 3, 4):
        content = load_checkpoint(result_checkpoint(made / f"split{fold}"))
        (csv_dir,) = (made / f"split{fold}").glob("pred_t*")
        names = {path.stem for path in csv_dir.glob("*.csv")}
        assert names and all(name.startswith(f"split{fold}_") for name in names)
        # nothing that is tested was trained on or chosen by
        assert not names & set(content.recordings["train"]) and not names & set(content.recordings["selection"])
        # the rows are those of the raw output, angles beyond 180 degrees among them
        (raw_dir,), out = (made / f"split{fold}").glob("raw_*"), made / f"csv{fold}"
        assert run_main(npy2csv.main, [str(raw_dir), "--out", str(out), "--dialect", "dcase2019"]) == 0
        assert all(path.read_bytes() == (out / path.name).read_bytes() for path in csv_dir.glob("*.csv"))
        tested |= names
        chosen_on += content.recordings["selection"]
    assert len(tested) == 4 and sorted(chosen_on) == sorted(tested)

    capsys.readouterr()
    assert run_main(seld.main, ["-eval", "-em", str(made)]) == 2
    assert "name one of them: split1, split2" in capsys.readouterr().err

    # interrupted in split 3: --resume of the folder trains what is missing, and the scores are the same
    (made / "result.txt").unlink()
    shutil.rmtree(made / "split4")
    for path in (made / "split3").glob("result_*"):
        path.unlink()
    assert run_main(seld.main, ["-train", "--resume", str(made)]) == 0
    assert (made / "result.txt").read_text().splitlines() == lines
    rows = [line.split(",") for path in made.glob("split*/pred_t*/*.csv") for line in path.read_text().splitlines()]
    assert all(len(row) == 4 and all(field.lstrip("-").isdigit() for field in row) for row in rows)


@pytest.mark.parametrize("system", [name for name, one in presets().items() if one.family == "seldnet2019" != name])
def test_tuned_variants_train_and_infer(system, tau, tmp_path):
    flags = ["--system", system, "1", system, "--split", "1", "--epochs", "1", "--passes-per-epoch", "1"]
    made = run(tau, *flags)
    sound = next((tau / "foa_dev").glob("*.wav"))
    out = tmp_path / "out"
    flags = ["-infer", str(sound), "-em", str(made), "--device", "cpu", "--out", str(out)]
    assert run_main(seld.main, flags) == 0
    events = json.loads((out / "events.json").read_text())
    assert events["frame_s"] == pytest.approx(0.1) and (out / f"{sound.stem}.csv").is_file()
    assert (out / "player.html").is_file() or list(out.glob("*.html"))
    inference = load(made, device="cpu")
    waveform = 0.1 * np.random.default_rng(0).standard_normal((4, 24000)).astype(np.float32)
    table = inference(waveform, 24000)  # another rate, another length
    assert table.frame_s == pytest.approx(0.1) and (len(table) == 0 or table.frame.max() < 10)


def test_seldnet_runs_on_starss23_data_and_scores_as_its_systems_do(tmp_path):
    root = tiny_root(tmp_path / "data", train=3, seconds=2.0)
    made = run(root, "-train", "-val", "--system", "seldnet2019_gru", "--epochs", "1", "--passes-per-epoch", "1")
    text = next(made.glob("result_*.txt")).read_text()
    assert "metrics edition 2023" in text and "Class-wise results" in text
    csv = read_events(next(next(made.glob("pred_d*")).glob("*.csv")), "dcase2023")
    assert csv.frame_s == 0.1


def test_a_killed_run_goes_on_exactly(resim):
    flags = ["-train", "-val", "--system", "seldnet2018", "-i", "6", "-s", "2"]
    whole = run(resim, *flags)
    part = run(resim, *flags[:-4], "-i", "4", "-s", "2")
    assert run_main(seld.main, ["-train", "--resume", str(part), "-i", "6"]) == 0
    first, second = scalars(whole, "Loss/train"), scalars(part, "Loss/train")
    assert first == second and len(first) >= 3


def test_a_finished_run_goes_on_for_more_epochs(resim):
    made = run(resim, "--system", "seldnet2018", "more", "1", "--epochs", "1")
    assert run_main(seld.main, ["-train", "-val", "--resume", str(made), "--epochs", "3"]) == 0
    lines = [json.loads(line) for line in (made / "history.jsonl").read_text().splitlines()]
    step = lines[0]["iteration"]
    assert [line["iteration"] for line in lines] == [step, 2 * step, 3 * step]


@pytest.mark.slow
def test_patience_stops_a_run(resim, capsys):
    made = run(resim, "--system", "seldnet2018", "patient", "1", "--epochs", "30", "--patience", "1", "-l", "1e-12")
    lines = (made / "history.jsonl").read_text().splitlines()
    shown = capsys.readouterr()
    assert len(lines) < 30 and "no better SELD" in shown.out + shown.err


def test_statistics_of_the_development_set_are_said(resim):
    made = run(resim, "--system", "seldnet2018", "all", "1", "--epochs", "1", "--statistics", "development")
    text = next(made.glob("result_*.txt")).read_text()
    assert "standardised by all 7 development recordings" in text


def test_bad_input_is_one_clear_line(resim, tau, tmp_path, capsys):
    def refused(flags: list[str], *words: str) -> None:
        capsys.readouterr()
        changed = [] if {"-infer", "-eval"} & set(flags) else ["--set", "sequence_frames=32"]
        assert run_main(seld.main, [*flags, "-b", "2", "--device", "cpu", *changed]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and all(word in error for word in words), error

    base = ["--system", "seldnet2018", "1", "1", "--data-root"]
    refused([*base, str(tmp_path / "nothing")], "no such data root")
    refused([*base, str(resim), "--split", "3"], "split3")
    refused([*base, str(resim), "--set", "pools=8"], "pools")
    refused([*base, str(resim), "--set", "pool=8"], "pool=8", "NAME=VALUE")
    refused([*base, str(resim), "--set", "rnn=transformer"], "gru, lstm")
    refused([*base, str(resim), "--set", "feature=logmel_intensity"], "frames of 2019")
    refused([*base, str(resim), "--mix", "1,1"], "--mix")
    refused([*base, str(resim), "--fft-size", "1024"], "512")
    refused(["--system", "seldnet2019", "77", "--data-root", str(tau)], "no task '77'")
    with pytest.raises(SystemExit):
        seld.main(["--system", "crnn", "1", "--data-root", str(tau)])
    assert "unknown: 1 (--system crnn takes no ids)" in capsys.readouterr().err
    refused(["-train", "--no-video", "--epochs", "3", "--edition", "2023", "--data-root", str(tau)], "--epochs")
    refused(["-train", "-val", "--no-video", "--data-root", str(tau)], "--edition 2019", "20 ms")
    refused(["-train", "-val", "--system", "seldnet2018", "--data-root", str(tau), "--edition", "1999"], "1999")
    refused(["-train", "--split", "all", "--system", "seldnet2018", "--data-root", str(tau)], "needs -val")

    made = run(resim, "--system", "seldnet2018", "bad", "1", "--epochs", "1", "--augment", "acs", "--mix", "1")
    checkpoint = result_checkpoint(made)
    refused(["-infer", str(next(resim.rglob("*.wav"))), "-em", str(checkpoint), "--stream"], "whole recording")

    content = load_checkpoint(checkpoint)
    content.stages["main"].statistics["feature"] = "logmel_intensity"
    with pytest.raises(InputError, match="statistics of another feature"):
        model_of(content)
    content = load_checkpoint(checkpoint)
    with pytest.raises(InputError):
        model_of(replace(content, classes=content.classes[:5]))
    other = tmp_path / "classes"
    shutil.copytree(resim, other, ignore=shutil.ignore_patterns("model_monitor"))
    (other / "classes.txt").write_text("\n".join([*content.classes[:10], "thunder"]) + "\n")
    refused(["-eval", "-em", str(checkpoint), "--data-root", str(other)])


def test_presets_are_those_of_the_seeds():
    assert ids_of(preset_of("seldnet2018"), ["5", "3"]) == {"job": "5", "task": "3"}
    assert ids_of(preset_of("seldnet2019"), ["3", "5"]) == {"task": "3", "job": "5"}
    assert preset_of("seldnet2018").task("5")["settings"] == {"sequence_frames": 256}
    assert set(presets()) <= set(SYSTEMS)
    for name, preset in presets().items():
        for arguments in (preset.arguments, *(task.get("arguments", {}) for task in preset.tasks.values())):
            for flag, value in ((FLAGS[key], value) for key, value in arguments.items()):
                assert "train" in flag.jobs, flag.name
                values = value if flag.many else [value]
                assert [flag.trouble(one) for one in values] == [None] * len(values), (name, flag.name)
        with pytest.raises(InputError, match="no task"):
            preset.task("12345")
    with pytest.raises(InputError, match="takes <job-id> <task-id>"):
        ids_of(preset_of("seldnet2018"), ["1", "2", "3"])
    settings = with_changes({"a": [1], "b": 0.5, "c": True, "d": "x"}, ["a=1,2", "b=1", "c=false", "d=y"])
    assert settings == {"a": [1, 2], "b": 1, "c": False, "d": "y"}
    for bad in ("a=x", "a=", "b=x", "c=2", "e=1", "a"):
        with pytest.raises(InputError, match="--set"):
            with_changes({"a": [1], "b": 0.5, "c": True}, [bad])


def test_bfloat16_trains_too(resim):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no fast bfloat16")
    made = run(resim, "--system", "seldnet2018", "bf", "1", "--epochs", "1", "--precision", "bf16")
    assert np.isfinite(json.loads((made / "history.jsonl").read_text().splitlines()[0])["val_loss"])
