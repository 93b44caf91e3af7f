"""Simulate a table on a Ray cluster: shards as work units, exactly the rows and the files of one machine.

A worker makes one shard in a temporary folder with the very code that one machine runs, brings it to its place under its final
name, and leaves a receipt beside it. The driver enters shards in the manifest in their order. A worker that dies is replaced by
Ray; a driver that dies is run again and finds the receipts: at most the shards in flight are made twice. Memory does not grow
with the table.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darklens.cluster.session import session
from darklens.data import MANIFEST, is_ours, same_table
from darklens.data.filesystem import Folder
from darklens.errors import InputError, WorkError
from darklens.simulate import Preset
from darklens.simulate.write import check_rows, rows_per_shard, write_rows

RECEIPT = ".done"
IN_FLIGHT = 2
"""Shards that wait for each core of the cluster."""
SECONDS_BETWEEN_MANIFESTS = 5.0
PATIENCE = 60
"""Seconds to wait for a cluster that has lost its last core: a batch system may bring another."""
RETRIES = 10
"""Times that Ray replaces a worker that died, for each shard."""


def simulate_on_cluster(
    preset: Preset,
    n: int,
    *,
    seed: int,
    out: str,
    address: str,
    force: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Simulate n images of a preset on a Ray cluster.

    Args:
        preset: what is simulated; it is sent to the workers whole.
        n: number of images.
        seed: every row is a pure function of `(seed, row)`.
        out: folder that every node sees, or URL of an object store.
        address: see `session`.
        force: replace what is there.
        progress: called with the number of new rows done.

    Returns:
        The manifest of the table.

    Raises:
        InputError: no cluster there, or `out` cannot be written or holds something else.
        WorkError: a shard could not be made; the others are kept, and the same command continues.
    """
    check_rows(n)
    size = rows_per_shard(n)
    shards = [(k, first, min(size, n - first)) for k, first in enumerate(range(0, n, size))]
    folder = Folder(out)
    folder.make()
    state = _State(folder, shards, _template(preset, n, seed, size), force)
    progress(state.rows_done)
    if not state.complete:
        with session(address) as ray:
            _run(ray, preset, seed, folder, state, progress)
        state.finish()
    return state.manifest


def _run(ray: Any, preset: Preset, seed: int, folder: Folder, state: _State, progress: Callable[[int], None]) -> None:
    make = ray.remote(num_cpus=1, max_retries=RETRIES)(_make_shard)
    shared, waiting = ray.put(preset), state.missing()
    flying: dict[Any, tuple[int, int, int]] = {}
    last_seen = time.monotonic()
    try:
        while waiting or flying:
            cores = int(ray.cluster_resources().get("CPU", 0))
            last_seen = time.monotonic() if cores else last_seen
            if time.monotonic() - last_seen > PATIENCE:
                raise WorkError(f"the cluster has had no CPU for {PATIENCE} s: add a node, then run it again to continue")
            cores = max(1, cores)
            while waiting and len(flying) < IN_FLIGHT * cores:
                shard = waiting.pop(0)
                flying[make.remote(shared, seed, folder, *shard)] = shard
            done, _ = ray.wait(list(flying), num_returns=1, timeout=SECONDS_BETWEEN_MANIFESTS)
            for reference in done:
                index, _, rows = flying.pop(reference)
                state.enter(index, ray.get(reference))
                progress(rows)
    except (ray.exceptions.RayTaskError, ray.exceptions.RayError) as error:
        cause = getattr(error, "cause", None)
        text = str(cause) if isinstance(cause, InputError | WorkError) else (str(error).strip().splitlines() or ["?"])[-1]
        raise WorkError(f"a shard could not be made ({text[:200]}): finished shards are kept, run it again to continue") from error
    finally:
        state.write()


def _make_shard(preset: Preset, seed: int, folder: Folder, index: int, first: int, rows: int) -> dict[str, Any]:
    """Make one shard and bring it to its place; runs on a worker."""
    import torch

    torch.set_num_threads(1)
    name = shard_name(index)
    with tempfile.TemporaryDirectory(prefix="darklens-") as work:
        made = write_rows(preset, seed, first, rows, Path(work))
        shard = made["shards"][0] | {"file": name}
        folder.write(name, Path(work) / made["shards"][0]["file"])
        folder.write_json(name + RECEIPT, shard)
    return shard


def shard_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"part-{index:05d}.parquet"


def _template(preset: Preset, n: int, seed: int, size: int) -> dict[str, Any]:
    """Return the manifest that one machine would write at the start of this simulation: made by making one row."""
    with tempfile.TemporaryDirectory(prefix="darklens-") as work:
        made = write_rows(preset, seed, 0, 1, Path(work))
    return made | {"rows": n, "rows_per_shard": size, "shards": [], "complete": False}


class _State:
    """What is done: the manifest, and receipts of shards that are not in it yet."""

    def __init__(self, folder: Folder, shards: list[tuple[int, int, int]], template: dict[str, Any], force: bool) -> None:
        self.folder, self.shards = folder, shards
        self.manifest = template
        names = folder.names()
        ours = {name for name in names if is_ours(name)}
        if force:
            folder.remove(*sorted(ours))
            names = set()
        elif MANIFEST in names:
            old = folder.read_json(MANIFEST)
            same_table(old, template, folder.url)
            self.manifest = old
        elif any(not (name in ours and name.endswith(".tmp")) for name in names):
            raise InputError(f"{folder.url} holds something that is not a table: choose another folder or give --force")
        self.done: dict[int, dict[str, Any]] = dict(enumerate(self.manifest["shards"]))
        for name in sorted(n for n in names & ours if n.endswith(RECEIPT)):
            index = int(name.removeprefix("part-").split(".")[0])
            if index not in self.done and name.removesuffix(RECEIPT) in names:
                self.done[index] = folder.read_json(name)
        self._written = 0.0
        self.write()

    @property
    def complete(self) -> bool:
        return self.manifest["complete"]

    @property
    def rows_done(self) -> int:
        return sum(shard["rows"] for shard in self.done.values())

    def missing(self) -> list[tuple[int, int, int]]:
        return [shard for shard in self.shards if shard[0] not in self.done]

    def enter(self, index: int, shard: dict[str, Any]) -> None:
        self.done[index] = shard
        if time.monotonic() - self._written > SECONDS_BETWEEN_MANIFESTS:
            self.write()

    def write(self) -> None:
        """Enter in the manifest every shard that has all those before it."""
        if self.complete:
            return
        shards = self.manifest["shards"]
        while len(shards) in self.done:
            shards.append(self.done[len(shards)])
        self.folder.write_json(MANIFEST, self.manifest)
        self._written = time.monotonic()

    def finish(self) -> None:
        """Declare the table complete and clear the receipts away."""
        if len(self.manifest["shards"]) != len(self.shards):
            raise WorkError(f"{self.folder.url} has {len(self.manifest['shards'])} of {len(self.shards)} shards: run it again")
        names = self.folder.names()
        unseen = [shard["file"] for shard in self.manifest["shards"] if shard["file"] not in names]
        if unseen:
            raise WorkError(
                f"{len(unseen)} shards, the first {unseen[0]}, were written but are not in {self.folder.url} as this machine "
                "sees it: give --out a folder or an object store that all nodes share, with --force"
            )
        self.manifest["complete"] = True
        self.folder.write_json(MANIFEST, self.manifest)
        self.folder.remove(*sorted(n for n in names if is_ours(n) and n.endswith((RECEIPT, ".tmp"))))
