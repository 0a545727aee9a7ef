"""The staged search: values of a file of stages, a search end to end, killed and resumed, and what is refused."""

from __future__ import annotations

import ast
import contextlib
import csv
import json
import math
import re
import shlex
import sys
from pathlib import Path

import pytest

import job.tune
import seld
from report.tuning import Table, TrialRow, best_row, stage_figure, table, winners
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import write_set
from system.presets import preset_of, with_changes
from system.tuning import FILE, Point, changed, changes, read_plan
from util.cli import run_main
from util.errors import InputError

STAGES = Path(__file__).with_name("tuning.toml")
SMALL = ["--set", "filters=4,4,4", "--set", "rnn_units=8,8", "--set", "dense=8", "--device", "cpu"]


@pytest.fixture(scope="module")
def tau(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "tau"
    write_set(root, SetSettings.of("tau2019", seconds=3.0, train=1, formats=("foa",)), progress=False)
    return root


def flags(root: Path, out: Path, *more: str) -> list[str]:
    """A command line of a search."""
    base = ["-tune", "--system", "seldnet2019_gru", "--data-root", str(root), "--out", str(out)]
    return [*base, "--stages", str(STAGES), *SMALL, *more]


class Killed(BaseException):
    """What no code catches: nothing is written after it, as when the process is killed."""


# ---- values ----------------------------------------------------------------------------------------------------------


def point(**settings) -> Point:
    defaults = dict(preset_of("seldnet2019_gru").settings)
    return Point({**defaults, **settings}, {"batch_size": 16, "learning_rate": 0.001, "weight_decay": 0.0})


def test_values_of_a_grid_become_settings():
    start = point()
    assert changed(start, {"filters": 32}).settings["filters"] == [32, 32, 32]
    assert changed(start, {"filters": [1, 2, 3]}).settings["filters"] == [1, 2, 3]
    shorter = changed(start, {"layers": 2, "pools": [8, 8, 2], "filters": [64, 128, 256]}).settings
    assert shorter["filters"] == [64, 128] and shorter["pools"] == [8, 8]
    longer = changed(start, {"layers": 5, "pools": [8, 8, 2]}).settings
    assert longer["filters"] == [64] * 5 and longer["pools"] == [8, 8, 2, 1, 1]
    three = changed(start, {"rnn_layers": 3, "rnn_units": 32})
    assert three.settings["rnn_units"] == [32, 32, 32]
    assert changed(three, {"rnn_units": 256}).settings["rnn_units"] == [256] * 3  # as many layers as there are by now
    assert changed(start, {"learning_rate": 1}).flags["learning_rate"] == 1.0
    assert changed(start, {"loss_weights": [1, 5]}).key == changed(start, {"loss_weights": [1.0, 5.0]}).key
    assert start == point()  # nothing is changed in place


@pytest.mark.parametrize(("frames", "batch"), [(32, 64), (64, 32), (128, 16), (256, 8), (512, 4), (4096, 1)])
def test_the_batch_keeps_its_frames(frames, batch):
    made = changed(point(), {"sequence_frames": frames}, constant_frames=True)
    assert made.flags["batch_size"] == batch
    assert changed(point(), {"sequence_frames": frames}).flags["batch_size"] == 16
    both = {"sequence_frames": frames, "batch_size": 3}
    assert changed(point(), both, constant_frames=True).flags["batch_size"] == 3


def test_changes_lead_back_to_the_settings():
    defaults = preset_of("seldnet2019_gru").settings
    values = {"filters": 8, "rnn": "lstm", "dropout": 0.1, "attention": True, "loss_weights": [1, 5], "layers": 2}
    due = changed(point(), values).settings
    assert with_changes(defaults, changes(due, defaults)) == due
    assert changes(defaults, defaults) == []


@pytest.mark.parametrize("name", ["seldnet2018", "seldnet2019", "seldnet2019_gru", "seldnet2019_final"])
def test_the_stages_of_the_project_fit_every_system(name):
    plan = read_plan(FILE, preset_of(name))
    assert [len(stage) for stage in plan.stages] == [5, 5, 15, 24, 2, 4, 5, 2]
    assert plan.constant_frames and plan.final_split == "all" and plan.final == {"epochs": 100, "patience": 10}
    quick = read_plan(FILE.with_name("tuning_quick.toml"), preset_of(name))
    assert [stage.name for stage in quick.stages] == [stage.name for stage in plan.stages]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[stage]]\ngrid.pool = [1]", "stage 1 'stage 1': knows no setting 'pool'; known are feature"),
        ("[[stage]]\nname='a'\ngrid.dropout = ['much']", "stage 1 'a'"),
        ("[[stage]]\nname='a'\ngrid.dropout = 0.1", "must be a list of values"),
        ("[[stage]]\nname='a'\ngrid.dropout = []", "must be a list of values"),
        ("[[stage]]\nname='a'\ngrid.dropout = [0.1, 0.1]", "names a value twice"),
        ("[[stage]]\nname='a'\ngrid.layers = [0]", "whole number above 0"),
        ("[[stage]]\nname='a'\ngrid.batch_size = [1.5]", "batch_size must be a number above 0"),
        ("[[stage]]\nname='a'", "has no grid"),
        ("[[stage]]\nname='a'\nvalues=[1]\ngrid.layers=[1]", "knows no 'values'"),
        ("[[stage]]\nname='a'\ngrid.layers=[1]\n[[stage]]\nname='a'\ngrid.layers=[2]", "two stages are named 'a'"),
        ("[search]\nepochs = 2", "names no [[stage]]"),
        ("[search]\nepochs = 'two'\n[[stage]]\ngrid.layers=[1]", "[search]: epochs must be of type int"),
        ("[final]\nepochs = 0\n[[stage]]\ngrid.layers=[1]", "[final]: epochs must be above 0"),
        ("[seach]\nepochs = 2\n[[stage]]\ngrid.layers=[1]", "knows no 'seach'"),
        ("[[stage]\n", "is no toml"),
    ],
)
def test_a_file_of_stages_that_does_not_fit_is_refused(text, words, tmp_path):
    path = tmp_path / "stages.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_plan(path, preset_of("seldnet2019_gru"))
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def row(number: int, index: int, seld: float | None, **more) -> TrialRow:
    scores = {} if seld is None else {"SELD_error": seld}
    about = {"settings": {}, "flags": {}, "state": "scored" if scores else "no score"}
    return TrialRow(stage=f"s{number}", number=number, index=index, values={"dropout": 0.1 * index}, scores=scores,
                    **{**about, **more})  # fmt: skip


def test_the_best_so_far_leads_and_equal_ones_go_to_the_smaller_network():
    rows = [row(1, 0, 0.5, parameters=9), row(1, 1, 0.4, parameters=9), row(1, 2, 0.4, parameters=5), row(1, 3, None)]
    rows += [row(2, 0, 0.45), row(2, 1, None, state="impossible", note="nothing is left")]
    assert best_row(rows) is rows[2]
    assert winners(rows) == {1: rows[2], 2: rows[2]}  # stage 2 found nothing better
    notes = [line["note"] for line in table(rows)]
    assert notes == ["", "", "best so far", "no score", "", "nothing is left"]
    assert best_row(rows[3:4]) is None and winners(rows[3:4]) == {}
    json.dumps(stage_figure(rows, 2), allow_nan=False)
    assert TrialRow.from_dict(json.loads(json.dumps(rows[2].to_dict()))) == rows[2]


# ---- a search --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tau, tmp_path_factory):
    """A search that is interrupted, killed, and then ends: (folder, its command, trainings that ended, outputs)."""
    out = tmp_path_factory.mktemp("search") / "folder"
    ended: list[Path] = []
    begun: list[Path] = []
    train = job.tune.train
    stops = {2: KeyboardInterrupt, 4: Killed}  # at the n-th training

    def watched(given, command, *, run_folder, score_test):
        begun.append(run_folder)
        assert not score_test and given["select"] == "val"
        if stop := stops.pop(len(begun), None):
            (run_folder / "history.jsonl").write_text("{}\n")  # half of a run lies there
            raise stop
        status = train(given, command, run_folder=run_folder, score_test=score_test)
        ended.append(run_folder)
        return status

    argv = flags(tau, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job.tune, "train", watched)
        assert run_main(seld.main, argv) == 130
        assert len(ended) == 1
        with contextlib.suppress(Killed):
            seld.main(argv)
            raise AssertionError("was not killed")
        assert len(ended) == 2
        assert run_main(seld.main, argv) == 0
        first = list(ended)
        assert run_main(seld.main, argv) == 0  # once more: everything is known
        assert ended == first
    return out, argv, ended, begun


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_repeats_nothing(searched):
    out, _, ended, begun = searched
    names = [str(path.relative_to(out)) for path in ended]
    assert sorted(names) == sorted({*names})
    counts = {stage: sum(name.startswith(f"stage{stage}/") for name in names) for stage in (1, 2, 3, 4, 5)}
    assert counts == {1: 2, 2: 4, 3: 2, 4: 0, 5: 0}
    repeated = [path for path in set(begun) if begun.count(path) == 2]
    assert len(begun) == len(ended) + 2 and len(repeated) == 2  # the two that were stopped, and no other


def test_every_trial_is_recorded_with_all_that_it_was(searched, tau):
    out, *_ = searched
    rows = list(csv.DictReader((out / "tuning.csv").open()))
    assert [int(one["stage_number"]) for one in rows] == [1] * 2 + [2] * 4 + [3] * 2 + [4] * 2 + [5]
    scored = [one for one in rows if one["state"] in ("scored", "same")]
    for one in scored:
        er, f, recall, doa = (float(one[name]) for name in ("ER", "F", "frame_recall", "DOA_error"))
        assert math.isclose(float(one["SELD_error"]), (er + 1 - f + doa / 180 + 1 - recall) / 4, abs_tol=1e-9)
        assert int(one["parameters"]) > 1000 and one["seed"] == "0" and one["epochs"] == one["best_epoch"] == "1"
    assert {one["state"] for one in rows if one["stage_number"] == "4"} == {"impossible"}
    assert rows[-1]["state"] == "same" and float(rows[-1]["seconds"]) == 0
    frames = {json.loads(one["settings"])["sequence_frames"] * json.loads(one["flags"])["batch_size"] for one in scored}
    assert frames == {128}  # frames per batch
    # the next stage starts from the best so far
    best = min(rows[:2], key=lambda one: float(one["SELD_error"]))
    start = json.loads(best["settings"])
    for one in rows[2:6]:
        settings = json.loads(one["settings"])
        assert {name for name in settings if settings[name] != start[name]} <= {"filters", "pools"}
    assert (out / "tuning.md").read_text().count("\n| ") == len(rows)
    page = (out / "tuning.html").read_text()
    assert "Plotly.newPlot" in page and all(f'id="stage{number}"' in page for number in range(1, 6))
    assert "synthetic" in page


def test_the_test_recordings_are_not_looked_at_before_the_choice(searched):
    _, _, ended, _ = searched
    for folder in ended:
        (predicted,) = folder.glob("pred_*")
        assert {path.name.split("_")[0] for path in predicted.glob("*.csv")} == {"split2"}  # its validation fold
        assert not list(folder.glob("result_*")) and not list(folder.glob("params_*"))
        assert "tau2019_foa_split1_val" in (folder / "log.txt").read_text()


def test_the_choice_is_trained_and_its_command_says_how(searched, capsys):
    out, *_ = searched
    command = re.search(r"Train it: (.*)", (out / "tuning.md").read_text()).group(1)
    given = seld.parse(shlex.split(command)[2:])
    args = json.loads((out / "final" / "split2" / "args.json").read_text())
    assert given["train"] and given["val"] and given["split"] == "2" and given["epochs"] == 2
    for name, value in given.items():
        if name != "set":
            assert args[name] == value, name
    settings = preset_of("seldnet2019_gru").settings
    assert with_changes(settings, given["set"]) == with_changes(settings, args["set"])
    rows = list(csv.DictReader((out / "tuning.csv").open()))
    best = min((one for one in rows if one["SELD_error"]), key=lambda one: float(one["SELD_error"]))
    assert with_changes(settings, given["set"]) == json.loads(best["settings"])
    assert (out / "final" / "result.txt").read_text().startswith("split 2: ER")


def test_a_database_of_another_search_is_refused(searched, tau, tmp_path, capsys):
    out, argv, *_ = searched
    before = (out / "tuning.csv").read_bytes()
    for more, words in (
        (["--epochs", "5"], "(epochs 1 there, 5 here)"),
        (["--set", "dense=9"], "settings"),
        (["-rs", "3"], "random_seed 0 there, 3 here"),
    ):
        capsys.readouterr()
        assert run_main(seld.main, [*argv, *more]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "holds another search" in line and words in line and "--out" in line
    fewer = tmp_path / "fewer.toml"
    fewer.write_text(STAGES.read_text().replace("[32, 64]", "[32]"))
    assert run_main(seld.main, [*argv, "--stages", str(fewer)]) == 2
    assert "other values" in capsys.readouterr().err
    assert (out / "tuning.csv").read_bytes() == before


def test_changes_that_only_go_together_are_a_start(tau, tmp_path):
    """As many pools as filters: neither fits the defaults alone, and -train takes both."""
    given = seld.parse(flags(tau, tmp_path / "out", "--set", "filters=16,32", "--set", "pools=4,4"))
    start = job.tune.Search(given, "two layers").start.settings
    assert start["filters"] == [16, 32] and start["pools"] == [4, 4] and start["rnn_units"] == [8, 8]


def test_two_processes_do_not_search_in_one_folder(searched, tau, capsys):
    fcntl = pytest.importorskip("fcntl")
    out, argv, *_ = searched
    with open(out / "tuning.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run_main(seld.main, argv) == 2
    assert "another process searches here" in capsys.readouterr().err


def test_bad_input_is_one_clear_line(tau, tmp_path, capsys, monkeypatch):
    def refused(argv: list[str], *words: str) -> None:
        capsys.readouterr()
        assert run_main(seld.main, argv) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and all(word in error for word in words), error

    out = tmp_path / "out"
    refused([*flags(tau, out), "--stages", "nowhere.toml"], "nowhere.toml", "no such file of stages", "tuning.toml")
    refused([*flags(tau, out), "--split", "all"], "--split all")
    refused([*flags(tau, out), "--select", "test"], "--select test")
    refused([*flags(tau, out), "--devices", "2"], "--devices 2")
    for name in ("resume", "init"):  # that a notebook gives; the command line refuses them by name
        with pytest.raises(InputError, match="same command"):
            job.tune.Search({**seld.parse(flags(tau, out)), name: "RUN"}, "notebook")
    refused([*flags(tau, out), "--system", "crnn"], "crnn has no settings to search")
    refused([*flags(tau, out), "--set", "rnn=transformer"], "gru, lstm")
    refused([*flags(tau, out), "--data-root", str(tmp_path / "nothing")], "no such data root")
    refused([*flags(tau, out), "--storage", "postgre//x"], "--storage", "postgre//x")
    text = tmp_path / "text.db"
    text.write_text("this is no database, it is a text that is long enough to be taken for one" * 20)
    refused([*flags(tau, out), "--storage", f"sqlite:///{text}"], "--storage", "no database")
    words = tmp_path / "words.toml"
    words.write_text(STAGES.read_text().replace('"lstm"', '"lstn"'))
    refused([*flags(tau, out), "--stages", str(words)], str(words), "stage 3 'recurrent layers'", "gru, lstm")
    # a trial that cannot begin says which
    refused([*flags(tau, out), "-b", "500"], "stage 1 'sequence length', sequence frames", "batch")
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused(flags(tau, out), "pip install optuna")


def test_networks_that_predict_nothing_do_not_win(tau, tmp_path, capsys, monkeypatch):
    def silent(given, command, *, run_folder, score_test):
        line = {
            "iteration": 1,
            "train_loss": 1.0,
            "val_loss": 1.0,
            "ER": 1.0,
            "DOA_error": math.nan,
            "SELD_error": math.nan,
        }
        (run_folder / "history.jsonl").write_text(json.dumps(line) + "\n")
        return 0

    monkeypatch.setattr(job.tune, "train", silent)
    out = tmp_path / "out"
    for more in ([], ["--epochs", "2"]):  # where nothing was scored, another budget is no other search
        assert run_main(seld.main, [*flags(tau, out), *more]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "stage 1 'sequence length'" in error and "--epochs" in error
        rows = list(csv.DictReader((out / "tuning.csv").open()))
        assert [one["state"] for one in rows] == ["no score", "no score"]


# ---- the notebook ----------------------------------------------------------------------------------------------------

NOTEBOOK = Path(__file__).parents[1] / "notebook" / "tuning.ipynb"
# The stages of the notebook, with one or two values each.
FEW = {
    "sequence length": "sequence_frames = [32, 64]",
    "filters": "filters = [4]",
    "pooling and layers": "layers = [2, 3]",
    "recurrent layers": 'rnn = ["gru", "lstm"]',
    "dense layers": "dense = [[8]]",
    "dropout": "dropout = [0.0]",
    "loss weights": "loss_weights = [[1.0, 50.0]]",
    "attention": "attention = [false, true]",
}


def notebook_cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run_cell(source: str, space: dict, place: str):
    """Run a cell as a notebook does; the value of its last line, where that is an expression."""
    tree = ast.parse(source, place)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, "exec"), space)
    return None if last is None else eval(compile(ast.Expression(last.value), place, "eval"), space)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """In this process, cell by cell: a kernel of its own would bring thirty packages that nothing else needs."""
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    stages = tmp_path / "stages.toml"
    tables = [f'[[stage]]\nname = "{name}"\ngrid.{values}\n' for name, values in FEW.items()]
    head = "[search]\nepochs = 1\npasses_per_epoch = 1\nconstant_frames_per_batch = true\n"
    stages.write_text(head + "".join(tables) + '[final]\nsplit = "1"\nepochs = 1\npasses_per_epoch = 1\n')
    write_set(tmp_path / "tau", SetSettings.of("tau2019", seconds=3.0, train=1, formats=("foa",)), progress=False)

    cells = [cell for cell in notebook_cells() if cell["cell_type"] == "code"]
    assert "parameters" in cells[0]["metadata"]["tags"] and not any(cell["outputs"] for cell in cells)
    space: dict = {}
    shown = []
    for number, cell in enumerate(cells):
        shown.append(run_cell("".join(cell["source"]), space, f"cell {number}"))
        if number == 0:  # the user's values
            assert space["working_dir"] == "" and (NOTEBOOK.parents[1] / space["stages_file"]).is_file()
            space |= {"working_dir": str(tmp_path / "tau"), "stages_file": str(stages)}
            space |= {"flags": {"batch_size": 1, "device": "cpu"}}
            space |= {"changes": ["filters=4,4,4", "rnn_units=8,8", "dense=8"]}
    figures = [one for one in shown if type(one).__name__ == "Figure"]
    frames = [one for one in shown if isinstance(one, Table)]
    assert len(figures) == 8 + 2 and all(figure.to_json() for figure in figures)
    assert len(frames) == 3 + 8 + 1 and all("<td>" in frame._repr_html_() for frame in frames)
    folder = tmp_path / "tau" / "model_monitor" / "tune_seldnet2019_gru"
    assert len(list(folder.glob("stage*/trial*"))) == 2 + 1 + 1 + 1  # the other values are those of the best before
    assert (folder / "tuning.html").is_file() and (folder / "final" / "result.txt").is_file()
    assert capsys.readouterr().out.rstrip().splitlines()[-2].startswith("split 1: ER")  # of the last cell
    # the command line goes on with what the notebook did: nothing is left
    monkeypatch.setattr(job.tune, "train", None)
    argv = ["-tune", "--system", "seldnet2019_gru", "--data-root", str(tmp_path / "tau"), "--stages", str(stages)]
    assert run_main(seld.main, [*argv, "-b", "1", *SMALL]) == 0


def test_the_notebook_knows_the_stages_of_the_project():
    text = "".join("".join(cell["source"]) for cell in notebook_cells())
    for path in (FILE, FILE.with_name("tuning_quick.toml")):
        for stage in read_plan(path, preset_of("seldnet2019_gru")).stages:
            assert f'run("{stage.name}")' in text and f'plot("{stage.name}")' in text
