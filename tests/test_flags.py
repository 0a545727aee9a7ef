"""Flags of the framing and of single values: what works, and what is refused in one line before anything is made."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import npy2csv
import seld
from seld_predictor import load
from system.audio_visual import FOREIGN, plans_of
from tests.tiny import tiny_root
from util.arguments import resolve
from util.cli import run_main
from util.errors import InputError
from util.files import read_json
from util.flags import DEFAULTS, FLAGS, FRAMING, JOBS
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS
from util.runs import checkpoints_of
from util.thresholds import read_thresholds

TINY = ["--no-video", "-i", "1", "-s", "1", "-b", "2", "--device", "cpu", "--precision", "32"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tiny_root(tmp_path_factory.mktemp("data") / "data_tiny", seconds=2.0)


def refused(capsys, root: Path, *flags: str) -> str:
    """Training with these flags ends in one line and makes no run folder; that line."""
    before = sorted((root / "model_monitor").glob("*"))
    capsys.readouterr()
    assert run_main(seld.main, ["-train", "--data-root", str(root), *TINY, *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and sorted((root / "model_monitor").glob("*")) == before
    return line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-fs", "48000"], "-fs 48000 needs --stft-hop-size 480"),
        (["--stft-hop-size", "120"], "-fs 24000 needs --stft-hop-size 240"),
        (["-fs", "22050"], "multiple of 100 Hz"),
        (["-fs", "100000000", "--stft-hop-size", "1000000"], "192000 at most"),
        (["--train-wav-length", "2.55"], "128 frames"),
        (["--train-wav-length", "0.5"], "128 frames"),
        (["--eval-wav-hop-length", "0.6"], "1.2 s apart"),
        (["--eval-wav-hop-length", "2.4"], "1.2 s apart"),
        (["--fft-size", "511"], "must be even"),
        (["--fft-size", "128"], "240 (the hop)"),
        (["--fft-size", "100000"], "30480 (a window)"),
        (["--fft-size", "1024", "-n", "vit"], "the network vit cannot take 513 bins"),
        (["--fft-size", "1024", "-n", "vis_transformer"], "the network vis_transformer cannot take 513 bins"),
        (["-fs", "1000", "--stft-hop-size", "10", "--fft-size", "20"], "the network crnn cannot take 11 bins"),
        (["-rs", "-1"], "0 to 2^63 - 1"),
        (["-rs", str(2**63)], "0 to 2^63 - 1"),
        (["--mix", "nan"], "--mix"),
        (["--mix", "inf"], "--mix"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_line(flags, words, root, capsys):
    assert words in refused(capsys, root, *flags)


@pytest.mark.parametrize("base_channel", [4, -1, 1.5, "0", True, None])
def test_base_channel_must_be_a_channel(base_channel, root, tmp_path, capsys):
    config = tmp_path / "feature.json"
    config.write_text(json.dumps({"base_channel": base_channel, "amp_phasediff": {"ch": 7}}))
    assert "base_channel must be a channel of foa audio, 0 to 3" in refused(
        capsys, root, "--feature-config", str(config)
    )


@pytest.mark.parametrize("rate", ["-1", "0", "nan", "inf", "often"])
def test_box_rate_must_be_positive(rate, tmp_path, capsys):
    root = tiny_root(tmp_path / "data", train=1, test=0, seconds=1.5, video=True)
    flags = ["-train", "--data-root", str(root), "--detector", "builtin", "--device", "cpu", "--box-rate", rate]
    assert run_main(seld.main, flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--box-rate" in line and not (root / "model_monitor").exists()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_thresholds_must_be_finite(value, tmp_path):
    path = tmp_path / "threshold.json"
    for presence, unification in ((value, "15"), ("0.3", value)):
        path.write_text(f'{{"threshold_presence": [{presence}], "threshold_unification": {unification}}}')
        with pytest.raises(InputError, match="NaN or infinite"):
            read_thresholds(path, 1)


def test_json_that_is_a_folder_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)


def test_class_index_below_zero_is_refused(tmp_path, capsys):
    track = tmp_path / "take.npy"
    np.save(track, np.ones((4, 4)))
    flags = ["--tracks", str(track), "--out", str(tmp_path / "out"), "--class-index", "-1"]
    assert run_main(npy2csv.main, flags) == 2
    assert "--class-index -1" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_default_flags_are_the_framing_of_the_networks():
    plans = plans_of(FOREIGN)
    assert (plans.training([50000], 1, 0, None).samples, plans.evaluation([50000]).hop) == (30480, 120)
    assert plans.flags == {name: DEFAULTS[name] for name in FRAMING} and len(FRAMING) == 5


def ended(capsys, *argv: str) -> tuple[int, str]:
    """Status and text of a command line that the parser answers."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        seld.parse(list(argv))
    shown = capsys.readouterr()
    return end.value.code, shown.out + shown.err


@pytest.mark.parametrize("flag", FLAGS.values(), ids=lambda flag: flag.name)
def test_every_row_is_a_flag_that_some_job_takes(flag):
    assert flag.description and flag.jobs and set(flag.jobs) <= set(JOBS)
    assert flag.role in ("setting", "machine", "data", "system", "job") and flag.search in ("", "grid", "budget")
    values = flag.default if flag.many else [] if flag.default is None else [flag.default]
    assert [flag.trouble(value) for value in values] == [None] * len(values)
    due = list[flag.kind] if flag.many else flag.kind if flag.default is not None else flag.kind | None
    assert flag.annotation == due and isinstance(DEFAULTS[flag.name], due if not flag.many else list)
    if flag.dataset or flag.search:
        assert "train" in flag.jobs and not flag.many and flag.role == "setting"
    assert not flag.framing or {"train", "eval", "infer"} <= set(flag.jobs)


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_help_of_a_job_names_the_flags_that_it_takes_and_no_other(job, capsys):
    status, shown = ended(capsys, job.option, "--help")
    words = {word for line in shown.split("examples")[0].splitlines() for word in line.replace(",", " ").split()}
    assert status == 0
    for flag in FLAGS.values():
        if not flag.options:
            continue
        assert (flag.options[-1] in words) == (job.name in flag.jobs), flag.name
    for command, meaning in job.examples:
        assert f"python seld.py {command}" in shown and meaning in shown
        seld.parse(shlex.split(command))  # what the help teaches is understood
    assert f"  {job.usage} " in ended(capsys, "--help")[1]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-infer", "a.wav", "--max-iter", "5"], "-infer does not take --max-iter; it belongs to -train and -tune"),
        (["-infer", "a.wav", "-i", "5"], "-infer does not take -i;"),
        (["-eval", "--max-iter=5"], "-eval does not take --max-iter;"),
        (["-eval", "--player", "never"], "-eval does not take --player; it belongs to -infer"),
        (["-tune", "--resume", "RUN"], "-tune does not take --resume; it belongs to -train"),
        (["--system", "seldnet2019", "4", "1", "--stream"], "-train does not take --stream; it belongs to -infer"),
        (["-check-submission", "DIR", "-em", "a.pth"], "it belongs to -eval, -infer and -submit"),
        (["-train", "-b", "0"], "-b/--batch-size: must be 1 or more, found 0"),
        (["-train", "-b", "many"], "-b/--batch-size: invalid int value: 'many'"),
        (["-train", "-l", "nan"], "must be a finite number, found nan"),
        (["-train", "-l", "0"], "must be above 0, found 0"),
        (["-train", "--schedule", "linear"], "invalid choice: 'linear'"),
        (["-train", "--no-vid"], "unrecognized arguments: --no-vid"),
    ],
)
def test_what_a_job_does_not_take_is_refused_by_name(argv, words, capsys):
    status, shown = ended(capsys, *argv)
    assert status == 2 and len(shown.splitlines()) == 2 and words in shown.splitlines()[1]


def test_what_is_given_is_all_that_parsing_returns():
    assert seld.parse(["-train", "-i", "5", "--data-root", "a", "--data-root", "b", "--no-video"]) == {
        "train": True,
        "max_iter": 5,
        "data_root": ["a", "b"],
        "no_video": True,
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": "16"}, "batch_size must be of type int, found '16'"),
        ({"batch_size": 0}, "batch_size must be 1 or more, found 0"),
        ({"batch_size": True}, "batch_size must be of type int"),
        ({"learning_rate": -1}, "learning_rate must be above 0, found -1"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine, steps, geometric, found 'linear'"),
    ],
)
def test_dataset_json_may_say_only_what_the_flag_could(settings, words):
    with pytest.raises(InputError, match=r"dataset\.json") as error:
        resolve({}, settings)
    assert words in str(error.value)
    assert resolve({}, {"learning_rate": 1, "edition": "1999"}).learning_rate == 1.0
    assert resolve({}, {"edition": "1999"}).edition is None  # dataset.json does not choose what is scored


def test_a_run_at_48_khz_trains_validates_evaluates_and_infers(root, tmp_path, capsys):
    before = set((root / "model_monitor").glob("*"))
    wanted = ["-fs", "48000", "--stft-hop-size", "480", "--fft-size", "1024"]
    assert run_main(seld.main, ["-train", "-val", "--data-root", str(root), *TINY, *wanted]) == 0
    (run,) = set((root / "model_monitor").glob("*")) - before
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu"]) == 0
    (raw,) = (run / "raw_dcase2023t3_foa_devtest_0000001").glob("*.npy")
    evaluated = np.load(raw)
    assert evaluated.shape == (3, 3, 13, 200) and np.isfinite(evaluated).all()

    # -infer and --stream take the framing from the checkpoint too: the same output
    sound = next((root / "foa_dev" / "dev-test-tiny").glob("*.wav"))
    common = ["-infer", str(sound), "-em", str(run), "--device", "cpu", "--no-video"]
    out = tmp_path / "out"
    assert run_main(seld.main, [*common, "--out", str(out), "--player", "never"]) == 0
    np.testing.assert_allclose(np.load(next(out.glob("*.npy"))), evaluated, atol=1e-5)
    assert run_main(seld.main, [*common, "--stream", "--out", str(tmp_path / "stream")]) == 0

    inference = load(run, device="cpu")
    assert inference.rate_hz == 48000 and inference.model.look_times_s([3 * 48000]).tolist() == [0.0, 1.2, 2.4]
    assert inference.model.last.front.audio.n_fft == 1024 and inference.model.array == ARRAYS["foa"]

    # flags that contradict the checkpoint are refused
    capsys.readouterr()
    # also where the flag says what is the default of a training
    sound = str(next((root / "foa_dev").rglob("*.wav")))
    for job in (["-eval"], ["-infer", sound], ["-infer", sound, "--stream"], ["-submit"]):
        assert run_main(seld.main, [*job, "-em", str(run), "--device", "cpu", "-fs", "24000"]) == 2
        assert "was trained with -fs 48000, 24000 does not fit" in capsys.readouterr().err
    assert run_main(seld.main, [*common, "--eval-wav-hop-length", "0.6"]) == 2
    assert "--eval-wav-hop-length 1.2, 0.6 does not fit" in capsys.readouterr().err
    assert len(checkpoints_of(run)) == 1


def test_arguments_are_the_rows_of_the_table():
    """Every row is a field of its type and default; what else there is comes from task ids and data roots."""
    found = {one.name: one for one in dataclasses.fields(Arguments)}
    assert [name for name in found if name not in FLAGS] == [
        "job_id", "task_id", "task_settings", "clip_s", "label_frame_s",
    ]  # fmt: skip
    for name, value in Arguments().to_dict().items():
        if name in FLAGS:
            assert value == DEFAULTS[name] and found[name].type.split("[")[0].split(" ")[0] in (
                FLAGS[name].kind.__name__,
                "list" if FLAGS[name].many else "",
                "float" if FLAGS[name].kind is object else "",
            ), name
    assert Arguments.of({"max_iter": 3, "command": "x"}).changed(val=True) == Arguments(max_iter=3, val=True)
