"""The networks on offer: loaded when first asked for, each with its own thread, where requests that come together share a batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from darklens.errors import DarklensError, InputError, unknown
from darklens.evaluate.proportion import wilson
from darklens.runs import Run, locate, shipped
from darklens.serve.answers import Busy
from darklens.serve.measures import Measures
from darklens.serve.settings import Limits, Settings
from darklens.serve.work import within
from darklens.train.prediction_file import more_columns
from darklens.train.predictor import Predictor

BINS = 10
"""Bins of the probability in which validation images say how often it came true."""


@dataclass(frozen=True)
class Verdict:
    """What a network says of one image.

    Args:
        predicted: name of the class.
        probabilities: class -> calibrated probability.
        more: `set`, `unusual`, `unusual_because`, as far as the network knows them; see `predict_path`.
    """

    predicted: str
    probabilities: dict[str, float]
    more: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        found: dict[str, Any] = {"predicted": self.predicted, "probabilities": self.probabilities}
        if "set" in self.more:
            found["set"] = [name for name in self.more["set"].split("|") if name]
        if "unusual" in self.more:
            found |= {"unusual": bool(self.more["unusual"]), "unusual_because": self.more["unusual_because"]}
        return found


def judged(predictor: Predictor, images: list[np.ndarray]) -> list[Verdict | Exception]:
    """Judge a batch of checked images; where that fails each alone, so that nobody suffers for another's image."""
    try:
        answers = predictor.answers(np.stack(images))
    except Exception as error:
        if len(images) > 1:
            return [verdict for image in images for verdict in judged(predictor, [image])]
        return [error]
    more = more_columns(answers, predictor.classes)
    return [
        Verdict(
            predictor.classes[called],
            dict(zip(predictor.classes, (round(float(v), 6) for v in row), strict=True)),
            {name: column[i] for name, column in more.items()},
        )
        for i, (row, called) in enumerate(zip(answers.probabilities, answers.called, strict=True))
    ]


class Network:
    """One network on offer.

    Args:
        name: what requests call it.
        run: where it lies.
        limits: batch and waiting.
        measures: where to count.

    Attributes:
        elsewhere: judges a checked image on another machine; None while this one does.
    """

    elsewhere: Callable[[np.ndarray], Awaitable[Verdict]] | None = None

    def __init__(self, name: str, run: Run, limits: Limits, measures: Measures) -> None:
        self.name, self.run, self.limits, self.measures = name, run, limits, measures
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"darklens {name}")
        self.away = 0
        self.waiting: list[tuple[np.ndarray, asyncio.Future[Verdict]]] = []
        self.gathering: asyncio.Task[None] | None = None
        self._lock = threading.Lock()

    @cached_property
    def described(self) -> dict[str, Any]:
        """What the run says of itself: classes, shape, data, and how good it was on its own test images."""
        model, data, metrics = self.run.model, self.run.data or {}, self.run.metrics or {}
        keys = ("accuracy", "auc_macro", "ece")
        return {
            "name": self.name,
            "architecture": model["name"],
            "classes": list(model["classes"]),
            "shape": list(model["shape"]),
            "bands": list(model.get("band_names") or ()),
            "pixel_scale": model.get("pixel_scale"),
            "unit": model.get("flux_unit"),
            "fits_lenses": bool(model.get("fit")),
            "data": data.get("summary") or data.get("source"),
            "preset": data.get("preset"),
            "metrics": {key: metrics[key] for key in keys if key in metrics},
        }

    @cached_property
    def predictor(self) -> Predictor:
        """The network itself, loaded when it is first asked for."""
        return Predictor(self.run, "cpu")

    def loaded(self) -> Predictor:
        """Return the network; two who ask at once load it once."""
        with self._lock:
            return self.predictor

    def reliability(self) -> dict[str, list[dict[str, float]]]:
        """Return, for each class, how often it was true among validation images that were given it with about a probability."""
        held_out = self.loaded().held_out
        if held_out is None:
            return {}
        probabilities, labels = held_out
        found = {}
        for k, name in enumerate(self.loaded().classes):
            bins = np.minimum((probabilities[:, k] * BINS).astype(int), BINS - 1)
            rows = []
            for b in range(BINS):
                inside = bins == b
                n, hits = int(inside.sum()), int((labels[inside] == k).sum())
                low, high = wilson(hits, n) if n else (0.0, 1.0)
                rows.append({"from": b / BINS, "to": (b + 1) / BINS, "n": n, "low": low, "high": high})
            found[name] = rows
        return found

    async def judge(self, images: list[np.ndarray]) -> list[Verdict | DarklensError]:
        """Judge checked images `(bands, H, W)`, together with those of other requests; one that cannot be judged gets its error.

        Raises:
            Busy: too many are waiting.
            TookTooLong: it took longer than a request may.
        """
        waiting = len(self.waiting) + self.away
        if waiting + len(images) > max(self.limits.waiting, self.limits.images):
            self.measures.refused.inc()
            raise Busy(f"{waiting} images wait for {self.name}, and more than its limit may not: come again in a second")
        mine = [self._sent(image) for image in images] if self.elsewhere else self._queued(images)
        found = await within(asyncio.gather(*mine, return_exceptions=True), self.limits.seconds)
        if busy := next((one for one in found if isinstance(one, Busy)), None):
            raise busy  # elsewhere, which says nothing about the image
        return found  # type: ignore[return-value]

    async def _sent(self, image: np.ndarray) -> Verdict:
        """Let another machine judge an image; it is under way until it is answered, whether or not somebody waits."""
        assert self.elsewhere is not None
        self.away += 1
        try:
            verdict = await self.elsewhere(image)
        finally:
            self.away -= 1
        self.measures.images.labels(self.name).inc()
        return verdict

    def _queued(self, images: list[np.ndarray]) -> list[asyncio.Future[Verdict]]:
        loop = asyncio.get_running_loop()
        mine: list[asyncio.Future[Verdict]] = [loop.create_future() for _ in images]
        self.waiting += list(zip(images, mine, strict=True))
        if self.gathering is None or self.gathering.done():
            self.gathering = asyncio.create_task(self._gather())
        return mine

    async def _gather(self) -> None:
        """Take what waits in batches, until nothing does."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.limits.gather_seconds)
        while self.waiting:
            batch, self.waiting = self.waiting[: self.limits.batch], self.waiting[self.limits.batch :]
            found = await loop.run_in_executor(self.thread, self._judged, [image for image, _ in batch])
            for (_, future), verdict in zip(batch, found, strict=True):
                if not future.done():
                    future.set_exception(verdict) if isinstance(verdict, Exception) else future.set_result(verdict)

    def _judged(self, images: list[np.ndarray]) -> list[Verdict | Exception]:
        found = judged(self.loaded(), images)
        self.measures.images.labels(self.name).inc(sum(isinstance(one, Verdict) for one in found))
        self.measures.batches.observe(len(images))
        return found


class Judges:
    """All networks on offer, by name.

    Args:
        settings: which, and their limits.
        measures: where to count.

    Raises:
        InputError: a run that was asked for tells no classes apart.
    """

    def __init__(self, settings: Settings, measures: Measures) -> None:
        self.networks: dict[str, Network] = {}
        for reference in [*settings.runs, *shipped("classification")]:
            run = Run(locate(reference))
            if "classes" not in run.model:
                raise InputError(f"{run} is a run of {run.model['task']} and tells no classes apart: give a classifier")
            if any(network.run.path.resolve() == run.path.resolve() for network in self.networks.values()):
                continue
            name = run.name if run.name not in self.networks else f"{run.path.parent.name}/{run.name}"
            self.networks[name] = Network(name, run, settings.limits, measures)

    def get(self, name: str | None) -> Network:
        """Return the network of a name; the first one for no name.

        Raises:
            InputError: no such network.
        """
        if name is None or name == "":
            return next(iter(self.networks.values()))
        if name not in self.networks:
            raise unknown("model", name[:80], self.networks)
        return self.networks[name]

    def close(self) -> None:
        """Let go of the threads."""
        for network in self.networks.values():
            network.thread.shutdown(wait=False, cancel_futures=True)
