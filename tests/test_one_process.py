"""One process computes as Fabric would, without it: importing Fabric takes as long as importing PyTorch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from util.machine import make_fabric, precision_of
from util.one_process import OneProcess
from util.several_processes import Autocast

ROOT = Path(__file__).resolve().parents[1]


def trained(processes, steps: int = 3) -> dict[str, torch.Tensor]:
    """Weights of a small network after some steps with clipped gradients."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    called, optimiser = processes.setup(module, torch.optim.Adam(module.parameters(), 0.1))
    for _ in range(steps):
        optimiser.zero_grad()
        loss = called(torch.randn(4, 8)).float().square().mean()
        processes.backward(loss)
        processes.clip_gradients(called, optimiser, max_norm=0.1)
        optimiser.step()
    return module.state_dict()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_one_process_trains_as_fabric_does(bfloat16):
    plugins = [Autocast("bf16-mixed", "cpu")] if bfloat16 else []
    ours = trained(OneProcess(torch.device("cpu"), bfloat16=bfloat16))
    theirs = trained(Fabric(accelerator="cpu", devices=1, plugins=plugins))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("plugins", [[], [Autocast("bf16-mixed", "cpu")]])
def test_what_is_heard_is_never_rounded_to_bfloat16(plugins):
    """Fabric's own mixed precision hands the network waveforms of 8 bits."""
    heard = []
    several = Fabric(accelerator="cpu", devices=1, plugins=plugins)
    for processes in (several, make_fabric("cpu", 1, "bf16", training=True)):
        listener = nn.Linear(1, 1)
        listener.register_forward_pre_hook(lambda _, args: heard.append(args[0].dtype))
        called = processes.setup(listener, torch.optim.SGD(listener.parameters(), 0.1))[0]
        called(torch.rand(2, 1))
    assert heard == [torch.float32, torch.float32]


def test_the_precision_is_told():
    assert precision_of(make_fabric("cpu", 1, "32", training=True)) == "float32"
    assert precision_of(make_fabric("cpu", 1, "bf16", training=True)) == "bfloat16"


def test_no_module_imports_fabric_before_there_are_several_processes():
    known = re.compile(r"^(from|import) (lightning_fabric|util\.several_processes)", re.MULTILINE)
    folders = ("job", "system", "net", "feature", "dataset", "output_format", "util", "report", "doctor")
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    found = {path.relative_to(ROOT).as_posix() for path in files if known.search(path.read_text())}
    assert found == {"util/several_processes.py"}
