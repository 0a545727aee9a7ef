"""Other systems, imitated: the commands run without the functions and modules that macOS or Windows lack.

Nothing here is a Mac or runs Windows; what is removed is what Python's documentation says of availability, and
processes start by "spawn", as they do on both.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkpoints import recording, thresholds, untrained
from tests.tiny import tiny_root, tiny_video
from util import leftovers
from util.video import video_info

ROOT = Path(__file__).resolve().parents[1]
NOT_ON_MACOS = """sched_getaffinity sched_setaffinity posix_fallocate posix_fadvise memfd_create eventfd
    pidfd_open splice copy_file_range getrandom"""
NOT_ON_WINDOWS = """pread pwrite preadv pwritev mkfifo mknod getgid getegid chown fchmod killpg setsid setpgid
    getpgid nice getpriority statvfs getloadavg posix_spawn openpty lockf sync wait3 wait4 ttyname sendfile"""
SIGNALS = "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGQUIT SIGCHLD SIGPIPE alarm setitimer pause sigwait"
MODULES = "fcntl resource pwd grp termios tty pty syslog"
MACOS = f"""
import multiprocessing, os
for name in {NOT_ON_MACOS.split()}:
    vars(os).pop(name, None)
if __name__ == "sitecustomize":
    multiprocessing.set_start_method("spawn", force=True)
"""
# These stay: the standard library, NumPy and platformdirs call them where sys.platform says Linux
KEPT = "fork getuid geteuid uname sysconf"
WINDOWS = f"""{MACOS}
import signal, sys
for module, names in ((os, {NOT_ON_WINDOWS.split()}), (signal, {SIGNALS.split()})):
    for name in names:
        vars(module).pop(name, None)
for name in {MODULES.split()}:
    sys.modules[name] = None
"""
# used where hasattr has asked for them
GUARDED = {("util/cpus.py", "sched_getaffinity"), ("job/infer.py", "posix_fallocate")}


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    """A checkpoint, a recording, a small data set."""
    folder = tmp_path_factory.mktemp("50% of #1, são") / "C:" / "with space"
    folder.mkdir(parents=True)
    untrained(folder / "foa.pth")
    thresholds(folder / "t.json", 0.5)
    recording(folder / "a #1 100%.wav", 1.3)
    tiny_root(folder / "data")
    return folder


def run(system: str, folder: Path, *arguments: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """A Python command line in which the functions of a system are missing, with `folder` as working directory."""
    (tmp_path / "sitecustomize.py").write_text(system)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *arguments]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


INFER = ["seld.py", "-infer", "a #1 100%.wav", "-em", "foa.pth", "--threshold-config", "t.json", "--device", "cpu"]
EVERYWHERE = {
    "infer": [*INFER, "--out", "out #1"],
    "check a file": ["-m", "dataset", "check", "a #1 100%.wav"],
    "check a root": ["-m", "dataset", "check", "data"],
    "metrics": ["-m", "dcase2022_task3_seld_metrics", "data/metadata_dev", "data/metadata_dev/dev-test-tiny"],
    "report": ["-m", "report", "--help"],
    "library": [
        "-c",
        "from seld_predictor import load; import numpy as np; "
        "print(load('foa.pth', device='cpu')(np.zeros((4, 24000), dtype=np.float32), 24000))",
    ],
}
TRAINING = {
    "train": [*"seld.py -train --no-video --data-root data -i 1 -s 1 -b 1 --device cpu".split()],
    "simulate": ["-m", "simulation", "--out", "sim", "--train", "1", "--test", "1", "--seconds", "5", "--no-video"],
    "simulate items": ["-m", "simulation.mrsaudio", "--help"],
    "resize": ["resize_video.py", "--data-root", "nowhere"],
    "detect": ["object_detection.py", "--data-root", "nowhere"],
}


@pytest.mark.parametrize(
    ("system", "name"),
    [("macOS", name) for name in (*EVERYWHERE, *TRAINING)] + [("Windows", name) for name in EVERYWHERE],
)
@pytest.mark.slow
def test_commands_do_without_what_a_system_lacks(system, name, material, tmp_path):
    words = {**EVERYWHERE, **TRAINING}[name]
    words = [str(ROOT / word) if word.endswith(".py") else word for word in words]
    (tmp_path / "site").mkdir()
    if name == "simulate":
        words[words.index("sim")] = str(tmp_path / "sim")
    done = run(MACOS if system == "macOS" else WINDOWS, material, *words, tmp_path=tmp_path / "site")
    assert "Traceback" not in done.stderr, done.stderr
    due = 2 if "nowhere" in words else 0
    assert done.returncode == due or name == "check a root", done.stderr


def test_what_is_removed_is_gone(material, tmp_path):
    code = "import os, sys; print(hasattr(os, 'pread'), hasattr(os, 'sched_getaffinity'), sys.modules['fcntl'])"
    assert run(WINDOWS, material, "-c", code, tmp_path=tmp_path).stdout.split() == ["False", "False", "None"]


def test_no_file_names_what_a_system_lacks():
    lacking = {*NOT_ON_MACOS.split(), *NOT_ON_WINDOWS.split(), *SIGNALS.split(), *KEPT.split()}
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("tests/", "bench/", ".")):  # measured on Linux only
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id in ("os", "signal") and node.attr in lacking:
                    found.add((name, node.attr))
    assert found <= GUARDED


def test_on_windows_no_process_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers.sys, "platform", "win32")
    monkeypatch.setattr(leftovers.os, "kill", lambda *_: pytest.fail("os.kill sends Ctrl-C there"))
    old, fresh = tmp_path / ".clip.partial-1.npz", tmp_path / ".clip.partial-2.npz"
    for path in (old, fresh):
        path.touch()
    before = time.time() - 3600
    os.utime(old, (before, before))
    leftovers.sweep_leftovers([tmp_path / "clip.npz"])
    assert not old.exists() and fresh.exists()


def test_a_drive_letter_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("C:") / "12:30 #1 %d.mp4"
    tiny_video(path, 0.5)
    assert video_info(path).frame_count == 5
