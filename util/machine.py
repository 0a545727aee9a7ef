"""Device, precision and processes."""

from __future__ import annotations

import logging
import os
import warnings

import torch

from util.errors import InputError
from util.one_process import OneProcess, Processes


def make_fabric(accelerator: str, devices: int, precision: str, *, training: bool, nodes: int = 1) -> Processes:
    """The process, or a launched Fabric of several, for the flags --device, --devices, --nodes and --precision.

    A launcher (torchrun, srun) that has started the processes says how many there are.

    Precision "auto" is bfloat16 for training where the machine is fast at it, float32 otherwise: quoted scores are
    float32.

    Raises
    ------
    InputError : the device is not there
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device here; --device cpu works everywhere")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps: PyTorch finds no Apple GPU here; --device cpu works everywhere")
    if training:
        devices, nodes = launched_by_others(devices, nodes)
    if accelerator != "cpu" and torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: there are {torch.cuda.device_count()} CUDA devices")
    if precision == "auto":
        precision = "bf16" if training and fast_bfloat16(accelerator) else "32"
    kind = _kind_of_device(accelerator)
    if devices == 1 and nodes == 1:
        device = torch.device(kind) if kind == "cpu" else torch.device(kind, 0)
        return OneProcess(device, bfloat16=precision == "bf16")
    from util.several_processes import launched  # imports Fabric, which takes as long as PyTorch

    _quiet_libraries()
    return launched(kind, devices, nodes, bfloat16=precision == "bf16")


def launcher() -> str | None:
    """The command that has started this process beside others; None: there is none."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun"
    return "srun" if "SLURM_NTASKS" in os.environ else None


def launched_by_others(devices: int, nodes: int) -> tuple[int, int]:
    """(processes on this machine, machines): as the flags say, or as the launcher that started this process does.

    Raises
    ------
    InputError : several machines, and nothing says where the first one is
    """
    environment = os.environ
    if launcher() == "torchrun":
        return int(environment["LOCAL_WORLD_SIZE"]), int(environment["GROUP_WORLD_SIZE"])
    if nodes > 1 and launcher() is None:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in environment]
        if missing:
            rule = f"set {', '.join(missing)} on each machine (address and free port of the first one; 0, 1, ...)"
            raise InputError(f"--nodes {nodes}: {rule}, or start with torchrun --nnodes {nodes} or srun")
    return devices, nodes


def _kind_of_device(accelerator: str) -> str:
    """ "auto": a GPU where there is one."""
    if accelerator != "auto":
        return accelerator
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def precision_of(processes: Processes) -> str:
    """The precision that is computed in, for people."""
    with processes.autocast():
        return "bfloat16" if torch.is_autocast_enabled(processes.device.type) else "float32"


def fast_bfloat16(accelerator: str) -> bool:
    """Whether bfloat16 makes training faster on this machine: on GPUs that have it.

    On CPU it does not: measured with AVX512-BF16, batch 16, a step takes the same time for the CRNN (its convolutions
    stay in float32, see `net.conv_block`) and 1.4 times as long for the ViT.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False


def _quiet_libraries() -> None:
    """Lightning announces devices, PyTorch warns of its own calls; none of it concerns the user."""
    for name in ("lightning_fabric", "lightning.fabric", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric.*")
