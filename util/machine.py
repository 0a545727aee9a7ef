"""Device, precision and processes."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Literal

import torch
from lightning_fabric import Fabric

from util.errors import InputError

_PRECISIONS: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "32": "32-true"}


def make_fabric(accelerator: str, devices: int, precision: str, *, training: bool) -> Fabric:
    """A launched Fabric for the flags --device, --devices and --precision.

    Precision "auto" is bfloat16 for training where the machine is fast at it, float32 otherwise: quoted scores are
    float32.

    Raises
    ------
    InputError : the device is not there
    """
    _quiet_libraries()
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device here; --device cpu works everywhere")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps: PyTorch finds no Apple GPU here; --device cpu works everywhere")
    if accelerator != "cpu" and torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: there are {torch.cuda.device_count()} CUDA devices")
    if precision == "auto":
        precision = "bf16" if training and fast_bfloat16(accelerator) else "32"
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=_PRECISIONS[precision],
    )
    if fabric.device.type == "cpu" and devices > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // devices))
    fabric.launch()
    return fabric


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
