"""The processes that train together: one a device, on one machine or many, started and connected by Lightning Fabric.

A batch is the batch of all processes together: each computes its share of it, losses and batch statistics are those of the whole
batch, and gradients are averaged, so that the number of processes changes the speed and nothing else.
"""

from __future__ import annotations

import atexit
import datetime
import logging
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from darklens.errors import InputError
from darklens.train.batch_norm import synchronised

if TYPE_CHECKING:
    import lightning_fabric

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=7)
"""How long a process waits for another: the first one simulates, fits and tests while the others wait."""
FAREWELL = 10.0
"""Seconds that a process gets to end by itself."""


class Team:
    """One or several processes, each with a device of its own.

    Args:
        fabric: launched already.
    """

    def __init__(self, fabric: lightning_fabric.Fabric) -> None:
        self.fabric = fabric
        self.rank, self.size, self.device = fabric.global_rank, fabric.world_size, fabric.device

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return which of `count` rows are this process's; shares differ by one row at most.

        Raises:
            InputError: there are fewer rows than processes.
        """
        if count < self.size:
            raise InputError(f"a batch of {count} images cannot be shared by {self.size} processes: raise train.batch_size")
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over all processes."""
        return value if self.size == 1 else cast(Tensor, self.fabric.all_reduce(value, reduce_op="sum"))  # of collections too

    def collect(self, own: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        """Return `(count, k)` float32 from the `rows` that each process has."""
        if self.size == 1:
            return own
        found = torch.zeros(count, own.shape[1])
        found[rows] = torch.from_numpy(own)
        return self.total(found.to(self.device)).cpu().numpy()

    def any(self, flag: bool) -> bool:
        """Return whether it is so for any process: what all have to do alike is decided by all."""
        return flag if self.size == 1 else bool(self.total(torch.tensor(float(flag), device=self.device)) > 0)

    def settle(self, value: float) -> float:
        """Return the first process's value."""
        own = value if self.leads else 0.0
        return value if self.size == 1 else float(self.total(torch.tensor(own, dtype=torch.float64, device=self.device)))

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do something in the first process, then in the others, which find the files that the first one has written."""
        if self.leads:
            done = work()
            self.wait()
            return done
        self.wait()
        return work()

    def wait(self) -> None:
        """Wait for all processes."""
        self.fabric.barrier()

    def adapted(self, model: nn.Module) -> nn.Module:
        """Return the model with batch normalisation over all processes; parameters, and their names, stay the same."""
        if self.size == 1:
            return model
        return nn.SyncBatchNorm.convert_sync_batchnorm(model) if self.device.type == "cuda" else synchronised(model)


def leads() -> bool:
    """Whether this process is the first one, or the only one."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def connect(device: str = "auto", devices: int | str = 1, nodes: int = 1) -> Team:
    """Start and connect the processes of a training; on a cluster with SLURM, connect those that srun has started.

    Processes that are started here run the same command again, from its beginning, and meet the first one in this function.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        devices: how many of them on each machine; "auto" takes all that there are. On processors, a number of processes.
        nodes: machines.

    Raises:
        InputError: there are fewer devices, or SLURM has started another number of processes.
    """
    import lightning_fabric  # takes a second, which those who only predict need not wait
    from lightning_fabric.strategies.ddp import DDPStrategy

    if str(devices) != "auto" and (not str(devices).isdigit() or int(devices) < 1):
        raise InputError(f"--devices {devices!r} is no number of devices: give 1 or more, or auto")
    if nodes < 1:
        raise InputError(f"--nodes {nodes} is no number of machines: give 1 or more")
    number: Any = "auto" if str(devices) == "auto" else int(devices)
    if number == "auto":
        number = torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 1
    alone = number == 1 and nodes == 1
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    strategy: Any = "auto" if alone else DDPStrategy(timeout=PATIENCE)
    try:
        fabric = lightning_fabric.Fabric(accelerator=device, devices=number, num_nodes=nodes, strategy=strategy)
        if alone:
            return Team(fabric)
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        what = f"{device}, {number} devices" + (f" on each of {nodes} machines" if nodes > 1 else "")
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{what} cannot be used ({reason}): darklens doctor says what there is") from error
    atexit.register(_part, getattr(strategy.launcher, "procs", []))
    return Team(fabric)


def _part(started: list[subprocess.Popen]) -> None:
    """Let the processes that were started here end, and end those that hang on to a failed one."""
    for process in started:
        try:
            process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            process.kill()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
