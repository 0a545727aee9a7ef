"""Several processes train as one: the same windows together, the same weights, the gradients of the joint batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from dataset.lists import list_file
from dataset.recordings import recordings_from_list
from job.data import open_roots, source_of, training_loader, training_plan
from seld_trainer import SELDTrainer, TrainingSettings
from system.model import StageModel
from system.table import system_named
from tests.tiny import tiny_root
from util.runs import checkpoints_of, iteration_of

ROOT = Path(__file__).resolve().parents[1]
STEPS, BATCH = 2, 4
SETTINGS = TrainingSettings(max_iter=STEPS, model_save_interval=STEPS, learning_rate=1e-3, weight_decay=1e-6)


def _train(fabric: Fabric, root: str, out: str) -> None:
    """Two steps, batch-norm statistics frozen; windows, first gradients and last weights go to a file per process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    roots, args = open_roots({"data_root": [root], "batch_size": BATCH, "no_video": True})
    listed = list_file("dcase2023t3_foa_devtrain.txt", roots)
    recordings = recordings_from_list(listed, roots, need_labels=True)
    array = recordings[0].array
    settings = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
    model = StageModel(system_named("crnn").stages[0], settings, array, len(roots[0].classes), visual=False)
    trainer = SELDTrainer(fabric, model, SETTINGS, make_loader=lambda step: None)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    windows, gradients = [], None
    source = source_of(args, recordings, roots[0].classes, None)
    plan, ranks = training_plan(args, source, roots, model.plans), (fabric.global_rank, fabric.world_size)
    with training_loader(args, source, plan, model, array, rank=ranks[0], world=ranks[1]) as loader:
        for batch in loader:
            windows.append(batch["number"])
            trainer.step(batch)
            trainer.iteration += 1
            if gradients is None:
                gradients = {name: value.grad.clone() for name, value in model.network.named_parameters()}
            if trainer.iteration == STEPS:
                break
    torch.save(
        {"windows": torch.cat(windows), "gradients": gradients, "weights": model.network.state_dict()},
        Path(out) / f"{fabric.world_size}_{fabric.global_rank}.pth",
    )


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    root = str(tiny_root(tmp_path / "data"))
    threads = torch.get_num_threads()
    Fabric(accelerator="cpu", devices=1).launch(_train, root, str(tmp_path))
    torch.set_num_threads(threads)
    strategy = DDPStrategy(start_method="spawn", process_group_backend="gloo")
    Fabric(accelerator="cpu", devices=2, strategy=strategy).launch(_train, root, str(tmp_path))
    one, first, second = (torch.load(tmp_path / f"{name}.pth") for name in ("1_0", "2_0", "2_1"))
    together = torch.cat([first["windows"], second["windows"]]).sort().values
    assert torch.equal(together, one["windows"].sort().values) and len(together) == STEPS * BATCH
    for name, value in one["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name]), name
        torch.testing.assert_close(first["gradients"][name], value, rtol=1e-4, atol=1e-7)
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


@pytest.mark.slow
def test_the_command_line_trains_with_two_processes_into_one_run(tmp_path):
    root = tiny_root(tmp_path / "data")
    command = [sys.executable, "seld.py", "-train", "--data-root", str(root), "--no-video", "--device", "cpu"]
    command += ["--devices", "2", "-i", "2", "-s", "1", "-b", "4"]
    # no path to ports or nodes of a cluster that this test itself may run on
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
    result = subprocess.run(
        command, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    (run_dir,) = (root / "model_monitor").iterdir()
    assert [iteration_of(path) for path in checkpoints_of(run_dir)] == [1, 2]
    assert len(list(run_dir.glob("*.pth"))) == 2
    assert result.stdout.count(run_dir.name) and "Traceback" not in result.stderr
