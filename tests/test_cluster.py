"""`--cluster`: a real scheduler of Dask and its workers, started here, which share nothing with us but a data path."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("distributed", reason="no Dask: pip install -r requirements-cluster.txt -c constraints.txt")

import seld
from dataset.__main__ import main as dataset_command
from dcase2022_task3_seld_metrics.__main__ import main as metrics_command
from simulation.dataset_writer import write_dataset
from simulation.settings import Settings
from tests.checkpoints import recording, thresholds, untrained
from tests.errands import Write, tiny, where_from, write_pid
from tests.errands import threads as count_threads
from tests.test_parallel import ROOT
from util.audio import write_audio
from util.cli import run_main
from util.errors import InputError
from util.files import write_json, write_text
from util.parallel import Where, each
from util.video import VideoWriter


class Cluster:
    """A scheduler and workers of one thread, each a process of its own."""

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes: list[subprocess.Popen] = []
        settings = {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
        }
        self.environment = {**os.environ, **settings}
        self.environment.pop("PYTHONPATH", None)
        self._start(
            "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file), "--host", "127.0.0.1"
        )

    def worker(self) -> subprocess.Popen:
        """One more worker: without a nanny, so that it stays dead when it is killed."""
        folder = self.folder / f"worker{len(self.processes)}"
        folder.mkdir()
        options = [
            "--scheduler-file",
            str(self.file),
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--death-timeout",
            "60",
        ]
        return self._start("worker", *options, "--local-directory", str(folder), cwd=folder)

    def _start(self, what: str, *options: str, cwd: Path | None = None) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", what, *options]
        with open(self.folder / f"log_{len(self.processes)}.txt", "wb") as log:
            process = subprocess.Popen(command, cwd=cwd or self.folder, env=self.environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.worker()
        made.worker()
        until = time.monotonic() + 60
        while not made.file.is_file() and time.monotonic() < until:
            time.sleep(0.05)
        yield made
    finally:
        made.close()


def test_workers_have_our_code_and_their_own_folder(cluster):
    outcome = each(where_from, list(range(6)), Where(cluster=str(cluster.file)))
    for folder, code, process in outcome.results:
        assert Path(folder).parent == cluster.folder and process != os.getpid()
        assert Path(code).is_relative_to(cluster.folder) and not Path(code).is_relative_to(ROOT)


def test_a_killed_worker_is_replaced_by_another(cluster, tmp_path):
    """One of two is killed in the middle of an item; what it left is done by the other, to the same bytes."""
    one, two = tmp_path / "one", tmp_path / "two"
    paths = [Path(f"{number}.txt") for number in range(16)]
    each(write_pid, [one / path for path in paths])
    killed = cluster.processes[1]

    def kill() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if str(killed.pid) in [path.read_text() for path in two.glob("*.pid")]:
                os.kill(killed.pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    assassin = threading.Thread(target=kill)
    assassin.start()
    outcome = each(write_pid, [two / path for path in paths], Where(cluster=str(cluster.file)))
    assassin.join()
    assert killed.wait(10) == -signal.SIGKILL and not outcome.broken
    for path in paths:
        assert (one / path).read_bytes() == (two / path).read_bytes()
    workers = {path.read_text() for path in two.glob("*.pid")}
    assert str(killed.pid) not in workers  # nothing that it began was left as it was
    assert not [path for path in two.iterdir() if "partial" in path.name and str(killed.pid) not in path.name]


def test_an_item_that_kills_its_workers_is_listed_and_stops_nothing(cluster, tmp_path):
    for _ in range(2):  # one ends with the first attempt, one with the second
        cluster.worker()
    make = Write(tmp_path, always=(2,), broken=(1,))
    outcome = each(make, list(range(5)), Where(cluster=str(cluster.file)))
    assert [index for index, _ in outcome.broken] == [1, 2] and outcome.results[4] == 16
    assert "the workers that worked on it died" in str(outcome.broken[1][1])


def test_a_defect_on_a_worker_keeps_its_traceback(cluster, tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        each(Write(tmp_path, defect=(1,)), [0, 1, 2], Where(cluster=str(cluster.file)))
    assert any("errands.py" in note for note in caught.value.__notes__)
    assert (tmp_path / "2.txt").is_file()


def test_workers_have_as_many_threads_as_they_were_given(cluster):
    outcome = each(count_threads, [0], Where(cluster=str(cluster.file)))
    assert set(outcome.results[0].values()) == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_batch_system_starts_workers_and_ends_them(tmp_path, monkeypatch):
    """`slurm:FILE`, with commands in place of Slurm's that carry a job out here."""
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: pip install -r requirements-cluster.txt")
    commands = {
        "sbatch": 'cp "${@: -1}" job.sh\nsetsid bash job.sh > job.txt 2>&1 &\necho "Submitted batch job $!"',
        "scancel": 'for job; do kill -- -"$job"; done',
    }
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    settings = {"queue": "cpu", "account": "me", "cores": 2, "memory": "1GB", "walltime": "00:10:00", "jobs": 1}
    settings |= {"job_script_prologue": ["cd ."], "interface": "lo"}
    write_json(tmp_path / "slurm.yaml", settings)  # json is yaml
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    outcome = each(where_from, list(range(4)), Where(cluster="slurm:slurm.yaml"))
    workers = {process for _, _, process in outcome.results}
    assert os.getpid() not in workers and 1 <= len(workers) <= 2
    script = (tmp_path / "job.sh").read_text()
    for line in ("#SBATCH -p cpu", "#SBATCH -A me", "#SBATCH --cpus-per-task=2", "#SBATCH -t 00:10:00", "\ncd .\n"):
        assert line in script
    assert "--nthreads 1" in script and "--nworkers 2" in script
    until = time.monotonic() + 30
    while any(Path(f"/proc/{process}").exists() for process in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{process}").exists() for process in workers)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_simulated_set_has_the_same_bytes_and_goes_on(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(train=2, test=1, seconds=2.0, formats=("foa",), video=False)
    write_dataset("one", settings, progress=False)
    where = Where(cluster=str(cluster.file))
    write_dataset("two", settings, where=where, progress=False)
    made = contents(Path("two"))
    assert made == contents(Path("one"))
    lost = next(Path("two").rglob("fold3*.csv"))
    lost.unlink()
    summary = write_dataset("two", settings, where=where, progress=False)
    assert (summary.made, summary.skipped) == (1, 2) and contents(Path("two")) == made


def test_converted_clips_have_the_same_bytes(cluster, tmp_path, monkeypatch):
    """`python -m dataset convert stereo`, here and there; pictures too."""
    monkeypatch.chdir(tmp_path)
    root = Path("source")
    sound = 0.1 * np.random.default_rng(0).standard_normal((4, 6 * 24000))
    for split, fold in (("train", 3), ("test", 4)):
        name = f"fold{fold}_room1_mix001"
        write_audio(root / "foa_dev" / f"dev-{split}-sony" / f"{name}.wav", sound, 24000)
        write_text(root / "metadata_dev" / f"dev-{split}-sony" / f"{name}.csv", "20,5,0,30,10,150\n")
    with VideoWriter(root / "video_dev" / "dev-test-sony" / "fold4_room1_mix001.mp4", 128, 64, 5) as writer:
        for number in range(30):
            writer.write(np.full((64, 128, 3), number, np.uint8))
    given = ["convert", "stereo", str(root), "--clips", "3", "--quiet", "--out"]
    assert run_main(dataset_command, [*given, "here", "--workers", "1"]) == 0
    assert run_main(dataset_command, [*given, "there", "--cluster", str(cluster.file)]) == 0
    made = contents(Path("there"))
    assert made == contents(Path("here")) and len([name for name in made if name.endswith((".wav", ".mp4"))]) > 3


def test_folders_are_scored_alike(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dcase2022_task3_seld_metrics.parts.PART", 2)
    for number in range(5):
        write_text(Path(f"ref/{number}.csv"), f"0,1,0,{10 * number},20,100\n")
        write_text(Path(f"pred/{number}.csv"), "0,1,0,10,20,100\n" + "\n" * (number == 3))
    assert run_main(metrics_command, ["ref", "pred"]) == 0
    here = capsys.readouterr()
    assert run_main(metrics_command, ["ref", "pred", "--cluster", str(cluster.file)]) == 0
    there = capsys.readouterr()
    assert here.out == there.out and "pred/3.csv: line 2: blank line at the end" in there.err


@pytest.mark.slow
def test_recordings_predicted_on_a_cluster_and_in_processes_have_the_same_files(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        recording(tmp_path / "in" / f"r{number}.wav", seed=number)
    (tmp_path / "in" / "broken.wav").write_bytes(b"no sound")
    untrained(tmp_path / "foa.pth")
    options = [
        "-em",
        str(tmp_path / "foa.pth"),
        "--device",
        "cpu",
        "--threshold-config",
        str(thresholds(tmp_path / "t.json", 0.4)),
    ]

    def infer(out: str, *flags: str) -> tuple[dict[str, bytes], str]:
        assert run_main(seld.main, ["-infer", str(tmp_path / "in"), "--out", out, *options, *flags]) == 2
        printed = capsys.readouterr()
        assert "broken.wav" in printed.err and "3 of 4 recordings done" in printed.out
        files = contents(tmp_path / out)  # the command stands in two of them
        return {name: data for name, data in files.items() if not name.endswith(("player.html", "r.json"))
                and not re.fullmatch(r"r./r.\.json", name)}, printed.out  # fmt: skip

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are split by thread
    here, said = infer("here")
    torch.set_num_threads(threads)
    there, said_there = infer("there", "--cluster", str(cluster.file))
    beside, _ = infer("beside", "--processes", "2")
    assert here == there == beside and len(here) == 12
    assert "r1/r1.csv" in said and "r1/r1.csv" in said_there


@pytest.mark.parametrize(
    "address, message",
    [
        ("tcp://127.0.0.1:1", "no scheduler answers there"),
        ("localhost:8786", "give tcp://HOST:PORT"),
        ("nowhere.json", "nowhere.json: no such file"),
        ("slurm:nowhere.yaml", "nowhere.yaml: no such file"),
        ("ssh:", "names no host"),
        ("ssh:node*x", "give HOST, or HOST*N"),
    ],
)
def test_addresses_that_lead_nowhere(tmp_path, monkeypatch, address, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("util.cluster._TIMEOUT_S", 1)
    with pytest.raises(InputError, match=re.escape(message)):
        each(tiny, [1, 2], Where(cluster=address))
