"""Device, precision and processes."""

from __future__ import annotations

import logging
import warnings

import torch

from util.errors import InputError
from util.one_process import OneProcess, Processes


def make_fabric(accelerator: str, devices: int, precision: str, *, training: bool) -> Processes:
    """The process, or a launched Fabric of several, for the flags --device, --devices and --precision.

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
    if accelerator != "cpu" and torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: there are {torch.cuda.device_count()} CUDA devices")
    if precision == "auto":
        precision = "bf16" if training and fast_bfloat16(accelerator) else "32"
    kind = _kind_of_device(accelerator)
    if devices == 1:
        device = torch.device(kind) if kind == "cpu" else torch.device(kind, 0)
        return OneProcess(device, bfloat16=precision == "bf16")
    from util.several_processes import launched  # imports Fabric, which takes as long as PyTorch

    _quiet_libraries()
    return launched(kind, devices, bfloat16=precision == "bf16")


def _kind_of_device(accelerator: str) -> str:
    """"auto": a GPU where there is one."""
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
