"""Several processes train as one: the same windows together, the same weights, the gradients of the joint batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

import seld
from dataset.lists import list_file
from dataset.loader import Loader
from dataset.recordings import recordings_from_list
from job.data import open_roots, source_of, training_loader, training_plan
from seld_trainer import SELDTrainer, TrainingSettings
from system.checkpoint import load_checkpoint
from system.model import StageModel
from system.table import system_named
from tests.test_avseld import SMALL
from tests.test_things import TV, colours
from tests.tiny import tiny_root
from util.cli import run_main
from util.coco import COCO_CLASSES
from util.machine import launched_by_others, launcher
from util.runs import checkpoints_of, iteration_of

ROOT = Path(__file__).resolve().parents[1]
STEPS, BATCH = 2, 4
SETTINGS = TrainingSettings(max_iter=STEPS, model_save_interval=STEPS, learning_rate=1e-3, weight_decay=1e-6)


def _train(fabric: Fabric, root: str, out: str, resumed: bool = False) -> None:
    """Some steps, batch norm over all processes; windows, first gradients and last weights go to a file per process.

    One process takes twice as many steps as two do, or goes on where two of them ended.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    roots, args = open_roots({"data_root": [root], "batch_size": BATCH, "no_video": True})
    listed = list_file("dcase2023t3_foa_devtrain.txt", roots)
    recordings = recordings_from_list(listed, roots, need_labels=True)
    array = recordings[0].array
    settings = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
    model = StageModel(system_named("crnn").stage("main"), settings, array, len(roots[0].classes), visual=False)
    source = source_of(args, recordings, roots[0].classes, None)
    plan, ranks = training_plan(args, source, roots, model.plans), (fabric.global_rank, fabric.world_size)
    windows, gradients = [], None

    def loader(step: int) -> Loader:
        return training_loader(args, source, plan, model, array, rank=ranks[0], world=ranks[1], first_step=step)

    trainer = SELDTrainer(fabric, model, SETTINGS, make_loader=loader, sync_batchnorm=True)
    if resumed:
        trainer.restore(torch.load(Path(out) / "state.pth", weights_only=False))
    last = STEPS if fabric.world_size > 1 else 2 * STEPS
    model.train()
    with trainer.make_loader(trainer.iteration) as batches:
        for batch in batches:
            windows.append(torch.stack([batch["number"], batch["recording"], (1e6 * batch["time_s"]).long()]))
            trainer.step(batch)
            trainer.iteration += 1
            if gradients is None:
                gradients = {name: value.grad.clone() for name, value in model.network.named_parameters()}
            if trainer.iteration == STEPS:
                weights = {name: value.clone() for name, value in model.network.state_dict().items()}
            if trainer.iteration == last:
                break
    state = trainer.state()
    if fabric.world_size > 1 and fabric.is_global_zero:
        torch.save(state, Path(out) / "state.pth")
    torch.save(
        {"windows": windows, "gradients": gradients, "weights": weights if not resumed else None},
        Path(out) / f"{fabric.world_size}_{fabric.global_rank}{'_resumed' * resumed}.pth",
    )


@pytest.mark.slow
def test_two_processes_train_as_one_and_one_goes_on_with_their_windows(tmp_path):
    root = str(tiny_root(tmp_path / "data"))
    threads = torch.get_num_threads()
    Fabric(accelerator="cpu", devices=1).launch(_train, root, str(tmp_path))
    strategy = DDPStrategy(start_method="spawn", process_group_backend="gloo")
    Fabric(accelerator="cpu", devices=2, strategy=strategy).launch(_train, root, str(tmp_path))
    Fabric(accelerator="cpu", devices=1).launch(_train, root, str(tmp_path), resumed=True)
    torch.set_num_threads(threads)
    names = ("1_0", "2_0", "2_1", "1_0_resumed")
    one, first, second, resumed = (torch.load(tmp_path / f"{name}.pth") for name in names)
    assert len(one["windows"]) == 2 * STEPS and one["windows"][0].shape == (3, BATCH)
    for step in range(STEPS):  # item numbers, recordings, times
        together = torch.cat([first["windows"][step], second["windows"][step]], dim=1)
        assert torch.equal(together[:, together[0].argsort()], one["windows"][step])
    assert len(resumed["windows"]) == STEPS
    for step, windows in enumerate(resumed["windows"]):
        assert torch.equal(windows, one["windows"][STEPS + step])
    for name, value in one["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name]), name
        torch.testing.assert_close(first["gradients"][name], value, rtol=1e-4, atol=1e-7)
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


@pytest.mark.slow
def test_what_any_process_was_shown_the_checkpoint_remembers(tmp_path):
    """A television in one of the videos; people, yellow, in all of them."""
    root = tiny_root(tmp_path / "data", seconds=5.5, video=True)
    colours(sorted(root.rglob("video_dev/dev-train*/*.mp4"))[-1], 55)
    flags = ["--system", "avseld", *SMALL, "-b", "2", "-i", "2", "-s", "2", "--detector", TV, "--data-root", str(root)]
    command = [sys.executable, "seld.py", "-train", "--device", "cpu", "--devices", "2", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (run,) = (root / "model_monitor").glob("*")
    state = load_checkpoint(checkpoints_of(run)[-1]).stages["main"]
    for weights in (state.weights, state.trained["weights"]):
        assert weights["pointer.shown"].nonzero().flatten().tolist() == [1, 1 + COCO_CLASSES.index("tv")]


def _machine(rank: int, port: int, *flags: str, torchrun: bool = False) -> subprocess.Popen:
    """The command line on one of two machines, both of them this one."""
    launcher: list[str] = []
    if torchrun:
        launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        launcher += ["--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    else:
        flags = ("--nodes", "2", *flags)
    command = [sys.executable, *launcher, "seld.py", "-train", "-val", "--device", "cpu", *flags]
    # no path to ports or nodes of a cluster that this test itself may run on
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(rank)}
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.mark.slow
def test_two_machines_train_into_one_run_and_one_that_dies_ends_the_other(tmp_path, capsys):
    """Started by torchrun first, then without a launcher."""
    root, port = tiny_root(tmp_path / "data"), _free_port()
    flags = ["--data-root", str(root), "--no-video", "-i", "2", "-s", "1", "-b", "4"]
    machines = [_machine(rank, port, *flags, torchrun=True) for rank in (0, 1)]
    (status, out, err), (other, out_other, err_other) = map(_ended, machines)
    assert (status, other) == (0, 0), err + err_other
    (run_dir,) = (root / "model_monitor").iterdir()
    assert [iteration_of(path) for path in checkpoints_of(run_dir)] == [1, 2]
    # torchrun itself may write a traceback where the other machine's store is gone before its last barrier
    own = [line for line in (err + err_other).splitlines() if "torch/distributed/elastic" not in line]
    assert "2 process(es)" in out and not out_other.strip() and not any(line.startswith("Traceback") for line in own)
    assert len(list(run_dir.glob("events.*"))) == 1 and not list(run_dir.glob("*partial*"))
    # both validated: the same scores as one process gives
    line = next(line for line in out.splitlines() if line.startswith("All\t") and "\tER" not in line)
    assert run_main(seld.main, ["-eval", "-em", str(run_dir), "--data-root", str(root), "--device", "cpu"]) == 0
    assert line in capsys.readouterr().out.splitlines()

    # going on, one is killed: the other ends and says how to go on
    port, more = _free_port(), ["--resume", str(run_dir), "-i", "2000"]
    machines = [_machine(rank, port, *more) for rank in (0, 1)]
    until = time.monotonic() + 200
    while len(checkpoints_of(run_dir)) < 3 and time.monotonic() < until and machines[0].poll() is None:
        time.sleep(0.05)
    machines[1].kill()
    (status, _, err), _ = map(_ended, machines)
    assert status == 1, err
    said = [line for line in err.splitlines() if "go on from the last checkpoint" in line]
    assert len(said) == 1 and "another process ended at iteration" in said[0] and "Traceback" not in err
    assert f"python seld.py -train -val --resume {run_dir} --nodes 2" in err

    # one process goes on with the windows that two would have drawn
    newest = iteration_of(checkpoints_of(run_dir)[-1])
    assert newest >= 3
    options = ["--nodes", "1", "-i", str(newest + 1), "--device", "cpu"]
    assert run_main(seld.main, ["-train", "--resume", str(run_dir), *options]) == 0
    assert f"going on from iteration {newest}" in capsys.readouterr().out


def test_several_machines_must_know_the_first_one(tmp_path, capsys, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    root = str(tiny_root(tmp_path / "data"))
    assert run_main(seld.main, ["-train", "--data-root", root, "--nodes", "2", "--device", "cpu"]) == 2
    assert "--nodes 2: set MASTER_ADDR, MASTER_PORT, NODE_RANK on each machine" in capsys.readouterr().err


def test_launchers_say_how_many_there_are(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert launcher() is None
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert launcher() == "srun" and launched_by_others(1, 2) == (1, 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert launcher() == "torchrun" and launched_by_others(1, 1) == (4, 2)
