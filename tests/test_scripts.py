"""The shell scripts: environment, flags, data; with stand-ins for the interpreter, pip and training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation.dataset_writer import is_complete, stored_settings, write_dataset
from simulation.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("python3.11", "python3.12", "python3.13", "python3", "python")
TINY = Settings(train=1, test=1, seconds=1.0, formats=("foa",), video=False, train_rooms=1, test_rooms=1)

TOO_OLD = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.2" && exit 0
exit 1
"""
# An interpreter whose venv holds an interpreter whose pip ends with $PIP_STATUS; calls are noted in calls.txt.
NEW_ENOUGH = """#!/bin/sh
case "$*" in
--version) echo "Python 3.12.1" ;;
"-m venv"*)
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    ;;
"-m pip install"*)
    echo pip >>calls.txt
    [ "$PIP_STATUS" = 0 ] && exit 0
    echo "WARNING: Retrying after connection broken"
    echo "ERROR: Could not find a version that satisfies the requirement numpy>=2.0"
    exit "$PIP_STATUS"
    ;;
*check_requirements.py*) exit 1 ;;
esac
exit 0
"""
# The running interpreter; the long jobs are only noted.
NOTING = f"""#!/bin/sh
case "$1" in
seld.py | resize_video.py) echo "$@" >>calls.txt ;;
*) exec {sys.executable} "$@" ;;
esac
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of what the scripts need, in a folder whose name has a space."""
    folder = tmp_path / "the project"
    shutil.copytree(ROOT / "script", folder / "script", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "constraints.txt", folder)
    (folder / "requirements.txt").write_text("numpy>=2.0\npytest>=8\n")
    probe = 'set -euo pipefail\nsource "$(dirname "${BASH_SOURCE[0]}")/setup.sh"\ncommand -v python\n'
    (folder / "script/probe.sh").write_text(probe)
    return folder


def interpreters(folder: Path, text: str) -> Path:
    """A folder for PATH in which every name of Python is the same stand-in."""
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def run(
    project: Path, script: str, *arguments: str, path: Path, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON", "PYTHONPATH")}
    environment = {**kept, "PATH": f"{path}:/usr/bin:/bin", "OMP_NUM_THREADS": "1", **variables}
    command = ["bash", str(project / "script" / script), *arguments]
    return subprocess.run(command, cwd=cwd or project, env=environment, capture_output=True, text=True, timeout=120)


def train(project: Path, *arguments: str, script: str = "train_seld_foa.sh") -> subprocess.CompletedProcess[str]:
    """A training script in an active environment that has everything; training itself is only noted."""
    path = interpreters(project.parent / "noting", NOTING)
    return run(project, script, *arguments, path=path, VIRTUAL_ENV=sys.prefix, PYTHONPATH=str(ROOT))


def calls(project: Path) -> list[str]:
    """What was noted since the last look."""
    noted = project / "calls.txt"
    lines = noted.read_text().splitlines() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return lines


def test_a_python_that_is_too_old_is_named(project, tmp_path):
    result = run(project, "probe.sh", path=interpreters(tmp_path / "old", TOO_OLD))
    assert result.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed; found Python 3.9.2" in result.stderr
    assert "PYTHON=/path/to/python3.12" in result.stderr
    chosen = interpreters(tmp_path / "new", NEW_ENOUGH) / "python3.12"
    result = run(project, "probe.sh", path=tmp_path / "old", PYTHON=str(chosen), PIP_STATUS="0")
    assert result.returncode == 0 and result.stdout.strip() == str(project / ".venv/bin/python")


def test_without_a_network_the_message_says_so_and_the_next_call_goes_on(project, tmp_path):
    path = interpreters(tmp_path / "new", NEW_ENOUGH)
    result = run(project, "probe.sh", path=path, PIP_STATUS="1")
    assert result.returncode == 1 and result.stdout == ""
    assert "ERROR: Could not find a version" in result.stderr and "Is there a network" in result.stderr
    assert ".venv/install.log" in result.stderr and "Retrying" in (project / ".venv/install.log").read_text()
    assert run(project, "probe.sh", path=path, PIP_STATUS="0").returncode == 0
    assert calls(project) == ["pip", "pip"]
    taken_s = []
    for _ in range(3):
        started = time.perf_counter()
        result = run(project, "probe.sh", path=path, PIP_STATUS="1", cwd=tmp_path)
        taken_s.append(time.perf_counter() - started)
        assert (result.returncode, result.stdout.strip()) == (0, str(project / ".venv/bin/python"))
        assert result.stderr == "" and calls(project) == []
    assert min(taken_s) < 2.0  # once undisturbed
    (project / "requirements.txt").write_text("numpy>=2.1\n")
    assert run(project, "probe.sh", path=path, PIP_STATUS="0").returncode == 0 and calls(project) == ["pip"]


def test_an_active_environment_is_used_if_it_has_everything(project, tmp_path):
    path = interpreters(tmp_path / "active", NOTING)
    result = run(project, "probe.sh", path=path, VIRTUAL_ENV=sys.prefix)
    assert result.returncode == 0 and result.stdout.strip() == str(path / "python") and result.stderr == ""
    assert not (project / ".venv").exists()
    result = run(project, "probe.sh", path=interpreters(tmp_path / "lacking", NEW_ENOUGH), VIRTUAL_ENV=sys.prefix,
                 PIP_STATUS="0")  # fmt: skip
    assert "lacks something" in result.stderr and result.stdout.strip() == str(project / ".venv/bin/python")


def test_requirements_that_are_not_met_are_listed(tmp_path):
    (tmp_path / "some.txt").write_text("numpy>=999\nno-such-package-here\npytest>=8  # a comment\n")
    command = [sys.executable, str(ROOT / "script/check_requirements.py"), str(tmp_path / "some.txt")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 2 and "numpy>=999 (found: " in lines[0] and "no-such-package-here (found: nothing)" in lines[1]


def test_wrong_arguments_are_told_before_anything_is_made(project, tmp_path):
    path = interpreters(tmp_path / "old", TOO_OLD)  # whatever went on to the environment would fail otherwise
    for script, arguments, message in (
        ("eval_seld.sh", ["foa"], "eval_seld.sh foa needs a checkpoint"),
        ("eval_seld.sh", ["bin", "--no-video"], "eval_seld.sh bin needs a checkpoint"),
        ("eval_seld.sh", ["run.pth"], "'run.pth' is none of foa, mic and bin"),
        ("submit.sh", [], "submit.sh needs a checkpoint"),
        ("train_seld_vit.sh", ["mic"], "'mic' is neither foa nor bin"),
    ):
        result = run(project, script, *arguments, path=path)
        assert result.returncode == 2 and result.stdout == "", script
        assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
    assert not (project / ".venv").exists()


def test_a_checkpoint_is_taken_from_where_one_is(project, tmp_path):
    path = interpreters(tmp_path / "noting", NOTING)
    variables = {"path": path, "cwd": tmp_path, "VIRTUAL_ENV": sys.prefix, "CDPATH": str(tmp_path)}
    run(project, "eval_seld.sh", "foa", "my run/a.pth", "-b", "2", **variables)
    run(project, "eval_seld.sh", "bin", "/b.pth", **variables)
    run(project, "eval_seld.sh", **variables)
    run(project, "submit.sh", "c.pth", **variables)
    assert calls(project) == [
        f"seld.py -eval --format foa -em {tmp_path}/my run/a.pth -b 2",
        "seld.py -eval --format bin -em /b.pth",
        "seld.py -eval",
        f"seld.py -submit -em {tmp_path}/c.pth",
    ]


def test_mistyped_flags_end_before_data_are_made(project):
    for flags in (["--max-itre", "5"], ["--no-vid"], ["-i", "many"], ["nonsense"]):
        result = train(project, *flags)
        assert result.returncode == 2 and "error: " in result.stderr and "synthetic" not in result.stderr
    assert calls(project) == [] and not (project / "data_synthetic").exists()
    assert train(project, "--help").returncode == 0
    assert calls(project) == ["seld.py -train -val --format foa --help"]


def test_recordings_get_their_iterations_and_small_videos(project):
    own = project / "my data"
    (own / "video_dev").mkdir(parents=True)
    train(project, "--data-root", "my data", "--no-video")
    train(project, "--data-root=my data", "-i", "5")
    assert calls(project) == [
        "seld.py -train -val --format foa -i 20000 --data-root my data --no-video",
        "resize_video.py --data-root my data",
        "seld.py -train -val --format foa -i 20000 --data-root=my data -i 5",
    ]
    (own / "dataset.json").write_text("{}")
    train(project, "--data-root", "my data")
    train(project, "--resume", "run", script="train_seld_vit.sh")
    assert calls(project) == [
        "seld.py -train -val --format foa --data-root my data",
        "seld.py -train -val -n vit --format foa --resume run",
    ]
    for folder in ("foa_dev", "metadata_dev", "video_dev", "video_360x180_dev"):
        (project / "data_dcase2023_task3" / folder).mkdir(parents=True)
    assert train(project, "-b", "4").stderr == ""
    assert calls(project) == ["seld.py -train -val --format foa --data-root data_dcase2023_task3 -i 20000 -b 4"]


@pytest.mark.slow
def test_synthetic_data_are_made_once_and_edits_stay(project):
    root = project / "data_synthetic"
    assert stored_settings(root) is None and not is_complete(root)
    write_dataset(root, TINY, progress=False)
    assert stored_settings(root) == TINY and is_complete(root)
    description = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**description, "max_iter": 77}))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    (project / "data_dcase2023_task3/metadata_dev").mkdir(parents=True)
    result = train(project, "bin", script="train_seld_vit.sh")
    assert result.returncode == 0 and "made with other settings" not in result.stderr
    assert result.stderr.startswith("no binaural_dev in data_dcase2023_task3: using synthetic scenes")
    assert len(result.stderr.splitlines()) == 2
    assert calls(project) == ["seld.py -train -val -n vit --format bin --data-root data_synthetic"]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before

    labels = next((root / "metadata_dev").rglob("*.csv"))
    text = labels.read_text()
    labels.unlink()
    assert not is_complete(root)
    shutil.rmtree(project / "data_dcase2023_task3")
    result = train(project)
    assert result.returncode == 0 and result.stderr.startswith("No STARSS23 here")
    assert is_complete(root) and labels.read_text() == text
    assert json.loads((root / "dataset.json").read_text())["max_iter"] == 77


# The running interpreter; training, evaluation and the making of data are only noted.
NOTING_DATA = f"""#!/bin/sh
case "$1 $2" in
"seld.py "* | "-m simulation" | "-m dataset" | "-m bench.general_results") echo "$@" >>calls.txt ;;
*) exec {sys.executable} "$@" ;;
esac
"""


def two_stage(project: Path, script: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    path = interpreters(project.parent / "noting data", NOTING_DATA)
    variables = {"VIRTUAL_ENV": sys.prefix, "PYTHONPATH": str(ROOT), **options}
    return run(project, f"two_stage/{script}", *arguments, path=path, **variables)


def test_two_stage_scripts_take_the_data_where_they_lie(project):
    (project / "data_tau2019").mkdir()
    assert two_stage(project, "2_train.sh").stderr == ""
    two_stage(project, "2_train.sh", "1", "a", "--split", "all")
    two_stage(project, "2_train.sh", "4", "--data-root", "my data", "--system", "two_stage_joint")
    two_stage(project, "2_train.sh", "--resume", "my run")
    two_stage(project, "3_evaluation.sh", "my run", "--activity", "reference", cwd=project.parent)
    two_stage(project, "3_evaluation.sh", "/a.pth")
    two_stage(project, "3_evaluation.sh", "-b", "1")
    (project / "data_tau2019/model_monitor").mkdir()
    two_stage(project, "3_evaluation.sh", "-b", "1")
    two_stage(project, "3_evaluation.sh", "-em", "b.pth")
    two_stage(project, "1_extract_features.sh", "--out", "files", "--format", "mic")
    two_stage(project, "1_extract_features.sh", "--out", "files", "--data-root", "other")
    assert calls(project) == [
        "seld.py -train -val --system two_stage --data-root data_tau2019",
        "seld.py -train -val --system two_stage 1 a --data-root data_tau2019 --split all",
        "seld.py -train -val --system two_stage 4 --data-root my data --system two_stage_joint",
        "seld.py -train -val --system two_stage --resume my run",
        f"seld.py -eval -em {project.parent}/my run --activity reference",
        "seld.py -eval -em /a.pth",
        "seld.py -eval -b 1",
        "seld.py -eval --data-root data_tau2019 -b 1",
        "seld.py -eval -em b.pth",
        "-m dataset extract --system two_stage --data-root data_tau2019 --out files --format mic",
        "-m dataset extract --system two_stage --out files --data-root other",
    ]
    said = two_stage(project, "1_extract_features.sh").stdout
    assert "made on the fly" in said and calls(project) == []
    said = two_stage(project, "0_directories.sh").stdout
    assert said.splitlines()[0].split() == ["data", "data_tau2019"] and calls(project) == []


def test_two_stage_scripts_make_a_small_set_where_there_is_none(project):
    result = two_stage(project, "2_train.sh", "2", "-i", "5")
    assert result.returncode == 0 and result.stderr.startswith("No TAU 2019 here (data_tau2019 is missing)")
    made, trained = calls(project)
    assert made == "-m simulation --layout tau2019 --train 4 --seconds 30 --out data_tau2019_simulated"
    words = trained.split()
    assert words[:7] == ["seld.py", "-train", "-val", "--system", "two_stage", "2", "--data-root"]
    assert words[7] == "data_tau2019_simulated" and "rnn_units=64" in words and words[-2:] == ["-i", "5"]
    for flags in (["--max-itre", "5"], ["-i", "many"]):  # before minutes of making data
        result = two_stage(project, "2_train.sh", *flags)
        assert result.returncode == 2 and "error: " in result.stderr and "TAU 2019" not in result.stderr
    assert calls(project) == []
    assert two_stage(project, "2_train.sh", "--help").returncode == 0
    assert calls(project) == ["seld.py -train -val --system two_stage --help"]


def general(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = interpreters(project.parent / "noting data", NOTING_DATA)
    return run(project, "general/run_all.sh", *arguments, path=path, VIRTUAL_ENV=sys.prefix, PYTHONPATH=str(ROOT))


def test_the_general_network_is_mixed_and_matched_on_what_there_is(project):
    result = general(project)
    assert result.returncode == 0 and result.stderr.startswith("No TAU-NIGENS 2020 here (data_nigens2020 is missing)")
    joint, mono, tables = calls(project)
    assert joint.startswith("-m simulation --layout nigens2020 ") and joint.endswith(" --out data_nigens2020_simulated")
    assert mono.startswith("-m simulation --layout mono --classes nigens2020 ")
    words = tables.split()
    roots = ["--data-root", "data_nigens2020_simulated", "--mono-root", "data_mono_simulated"]
    assert words[:6] == ["-m", "bench.general_results", *roots] and "mixup=false" in words
    (project / "data_nigens2020").mkdir()
    assert general(project, "--mono-root", "my mono", "--tables", "1").stderr == ""
    assert calls(project) == ["-m bench.general_results --data-root data_nigens2020 --mono-root my mono --tables 1"]
    general(project, "--data-root", "mine", "--mono-root=m")
    assert calls(project) == ["-m bench.general_results --data-root mine --mono-root=m"]
    general(project, "--help")
    assert calls(project) == ["-m bench.general_results --help"]
