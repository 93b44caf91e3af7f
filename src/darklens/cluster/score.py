"""Score a survey on a Ray cluster: Ray Data hands the missing parts to actors that hold the networks.

An actor does with a part what one machine does (`darklens.train.survey.Scorer`): it reads, scores and writes it under its final
name, and only numbers come back. An actor or a node that dies is replaced by Ray; a driver that dies is run again and does what is
missing.

Ray ends the process that drives it, without a word, when its node goes away, and waits for minutes for a head that is gone. So the
driver is a process of its own, which is listened to, and in it a thread looks whether the head still answers.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from darklens.cluster.session import answers_at, reachable, session
from darklens.errors import DarklensError, InputError, WorkError
from darklens.train.survey import Scorer

SECONDS_BETWEEN_LOOKS = 2.0
BLOCKS_AT_MOST = 2000
"""Tasks that Ray Data is given; a task of several parts that is done again passes over those that are finished."""
GONE = "the Ray cluster at {} went away: finished parts are kept, run it again when it is back"
PATIENCE = 20
"""Seconds that the driver has for taking leave of its cluster."""
NOTHING = object()
LOOKS_IN_VAIN = 5
"""Times that the head of a cluster may fail to answer, one after the other, before it is taken for gone."""


def score_on_cluster(
    scorer: Scorer,
    parts: Sequence[int],
    *,
    address: str,
    workers: int | None = None,
    device: str = "auto",
    progress: Callable[[int], None] = lambda images: None,
) -> None:
    """Score parts of a survey on a Ray cluster.

    Args:
        scorer: the work unit, its networks on the CPU; it is sent to the workers whole, weights included.
        parts: numbers of the parts to do.
        address: see `session`.
        workers: actors at most; by default one a GPU where the cluster has any and `device` allows it, else one a core.
        device: "auto", "cpu" or "cuda", on the workers.
        progress: called with the rows or files of each part that is done.

    Raises:
        InputError: no cluster there, or no GPU in it that `device` asks for.
        WorkError: a part could not be done, or the cluster went away; finished parts are kept, and the same command continues.
    """
    ray = reachable(address)
    if ray.is_initialized():
        address = ray.get_runtime_context().gcs_address
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, scorer, list(parts), address, workers, device)
    driver = context.Process(target=_drive, args=arguments, name="darklens-ray", daemon=True)
    driver.start()
    sender.close()  # the driver's alone: when it is gone, so is the pipe
    try:
        for images in _told(receiver, address):
            progress(images)
        driver.join(PATIENCE)
    finally:
        driver.kill()
        driver.join()


def _told(receiver: Connection, address: str) -> Iterator[int]:
    """Yield what the driver says; Ray ends the driver's process without a word when it loses its cluster."""
    while True:
        try:
            kind, value = receiver.recv()
        except EOFError:
            raise WorkError(GONE.format(address)) from None
        if kind == "done":
            return
        if kind == "images":
            yield value
        else:
            raise (InputError if kind == "input" else WorkError)(value)


def _drive(sender: Connection, scorer: Scorer, parts: list[int], address: str, workers: int | None, device: str) -> None:
    """Connect to the cluster, hand out the parts, and tell how many images each was; runs in a process of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Ray's own words about a cluster that it loses; ours go through the pipe
    try:
        with session(address) as ray:
            for images in _on(ray, scorer, parts, workers, device):
                sender.send(("images", images))
            sender.send(("done", 0))
    except InputError as error:
        sender.send(("input", str(error)))
    except DarklensError as error:
        sender.send(("work", str(error)))
    except Exception as error:  # Ray wraps what happens on a worker in classes of its own, some made on the fly
        sender.send(("work", f"a part could not be scored ({_cause(error)}): finished parts are kept, run it again"))


def _on(ray: Any, scorer: Scorer, parts: list[int], workers: int | None, device: str) -> Iterator[int]:
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if device.startswith("cuda") and not gpus:
        raise InputError("--device cuda: the cluster has no GPU; give --device cpu, or add a node that has one")
    on_gpu = gpus > 0 and device != "cpu"
    least = max(1, min(workers or (gpus if on_gpu else cores), len(parts)))
    head, shared = ray.get_runtime_context().gcs_address, ray.put(scorer)
    yield from _watched(lambda: _stream(ray, shared, parts, (least, workers), on_gpu), head)


def _stream(ray: Any, scorer: Any, parts: Sequence[int], actors: tuple[int, int | None], on_gpu: bool) -> Iterator[int]:
    """Yield the images of each part as it is done; actors are at first so many, and at most, as nodes may join."""
    import ray.data

    least, most = actors

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    items = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=min(len(parts), BLOCKS_AT_MOST))
    dataset = items.map_batches(
        _Actor,
        fn_constructor_args=([scorer], "cuda" if on_gpu else "cpu"),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=1,
        num_gpus=1 if on_gpu else 0,
    )
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        yield int(batch["images"].sum())


class _Actor:
    """The work unit on a worker: networks in its memory, parts in, numbers of images out."""

    def __init__(self, scorer: list[Any], device: str) -> None:
        import ray
        import torch

        if device == "cpu":
            torch.set_num_threads(1)  # an actor a core
        self.scorer: Scorer = ray.get(scorer[0]).on(device)  # once a process; in a list, a reference stays a reference

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        return {"images": np.array([self.scorer.score_once(int(part)) for part in batch["part"]])}


def _watched(work: Callable[[], Iterator[int]], head: str) -> Iterator[int]:
    """Yield what an iterator gives, from a thread, as long as the head of the cluster answers.

    Raises:
        WorkError: it has stopped to answer.
    """
    found: queue.Queue[Any] = queue.Queue()

    def run() -> None:
        try:
            for item in work():
                found.put(item)
            found.put(None)
        except BaseException as error:  # raised again below
            found.put(error)

    threading.Thread(target=run, name="darklens-ray", daemon=True).start()
    in_vain, looked = 0, time.monotonic()
    while True:
        try:
            item = found.get(timeout=SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            item = NOTHING
        if time.monotonic() - looked > SECONDS_BETWEEN_LOOKS:
            in_vain, looked = (0 if answers_at(head) else in_vain + 1), time.monotonic()
        if in_vain >= LOOKS_IN_VAIN or (isinstance(item, BaseException) and not answers_at(head)):
            raise WorkError(GONE.format(head))
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        if item is not NOTHING:
            yield item


def _cause(error: BaseException) -> str:
    """Return what went wrong on a worker, in one line: our own error where there is one, else the last line that Ray has."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DarklensError):
            return str(seen).strip().splitlines()[-1][:300]
        seen = getattr(seen, "cause", None) or seen.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
