"""Several processes that share a training: Lightning's Fabric."""

from __future__ import annotations

import os
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from util.one_process import Processes


class Autocast(MixedPrecision):
    """Mixed precision as `OneProcess` has it: Fabric would make the waveforms and labels bfloat16 as well."""

    def convert_input(self, data: Any) -> Any:
        """The data as they are."""
        return data


def launched(accelerator: str, devices: int, *, bfloat16: bool) -> Processes:
    """Processes on as many devices of this machine, started.

    Parameters
    ----------
    accelerator : "cpu", "cuda" or "mps"
    """
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy="ddp",
        plugins=[Autocast("bf16-mixed", accelerator)] if bfloat16 else [],
    )
    if accelerator == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // devices))
    fabric.launch()
    return cast(Processes, fabric)
