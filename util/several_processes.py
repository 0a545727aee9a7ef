"""Several processes that share a training: Lightning's Fabric."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy

from util.cpus import cpu_count
from util.one_process import Processes


class Autocast(MixedPrecision):
    """Mixed precision as `OneProcess` has it: Fabric would make the waveforms and labels bfloat16 as well."""

    def convert_input(self, data: Any) -> Any:
        """The data as they are."""
        return data


def launched(accelerator: str, devices: int, nodes: int, *, bfloat16: bool) -> Processes:
    """Processes on as many devices of each machine, started unless a launcher has done so.

    Parameters
    ----------
    accelerator : "cpu", "cuda" or "mps"
    nodes : machines
    """
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        # each keeps its own buffers between checkpoints, see `util.together.same_buffers`
        strategy=DDPStrategy(broadcast_buffers=False),
        plugins=[Autocast("bf16-mixed", accelerator)] if bfloat16 else [],
    )
    if accelerator == "cpu":
        torch.set_num_threads(max(1, cpu_count() // devices))
    fabric.launch()
    return cast(Processes, fabric)
