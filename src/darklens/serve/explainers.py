"""Where a network looks, drawn beside its judgements and never in their way.

Methods reach into a network's layers while they look, and some look a thousand times: explanations are made by a second copy of
each network, one after the other, in a thread of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from darklens.errors import InputError, unknown
from darklens.explain import METHODS, Question, chosen_methods, maps_of
from darklens.serve.judges import Network
from darklens.serve.measures import Measures
from darklens.serve.settings import Limits
from darklens.serve.work import Workshop
from darklens.train.columns import refuse_columns
from darklens.train.config import Preprocess
from darklens.train.predictor import Predictor
from darklens.train.preprocess import prepare

DEFAULT = "grad-cam"
"""The quickest method, which needs nothing beyond PyTorch; `docs/explain.md` says what each is worth."""


@dataclass(frozen=True)
class Explanation:
    """What spoke for a class in an image.

    Args:
        explained: the class.
        map: `(H, W)` on the image's pixels, larger where a pixel matters more, zero where the network does not look.
        window: row, column, height and width of the part of the image that the network looks at, in pixels.
    """

    explained: str
    map: np.ndarray
    window: tuple[int, int, int, int]


class Explainers:
    """Explains the networks on offer.

    Args:
        limits: how many may wait, and for how long.
        measures: where to count those that are turned away.
    """

    def __init__(self, limits: Limits, measures: Measures) -> None:
        self.limits = limits
        self.shop = Workshop(replace(limits, threads=1, waiting=limits.explanations), measures)
        self._copies: dict[str, Predictor] = {}

    async def explain(self, network: Network, images: list[np.ndarray], method: str, target: str | None) -> list[Explanation]:
        """Explain the answers about checked images `(bands, H, W)`.

        Args:
            network: whose answers.
            images: one or more.
            method: key of `darklens.explain.METHODS`.
            target: class that is explained; None takes the one that each image is called.

        Raises:
            InputError: unknown method or class, too many images, a network that does not allow the method or sees columns.
            Busy: too many wait already.
            TookTooLong: it took longer than a request may.
        """
        check(network, method, target)
        if len(images) > self.limits.explained:
            raise InputError(
                f"{len(images)} images to explain at once, the limit is {self.limits.explained}: name one with image=NAME, "
                "or send them in parts"
            )
        return await self.shop.run(self._explained, network, np.stack(images), method, target)

    def _explained(self, network: Network, images: np.ndarray, method: str, target: str | None) -> list[Explanation]:
        predictor = self._copy(network)
        refuse_columns(predictor.columns, "an explanation")
        inputs, chi2 = predictor.see(images)
        called = predictor.answers_seen(inputs, chi2).called
        targets = called if target is None else np.full(len(images), predictor.classes.index(target))
        settings = predictor.preprocess
        prepared = prepare(torch.from_numpy(np.ascontiguousarray(inputs)), settings)
        wanted = torch.from_numpy(np.asarray(targets))
        question = Question.of(predictor.model, predictor.task, prepared, wanted, kind=settings.input)
        maps, shape = maps_of(METHODS[method], question), images.shape[2:]
        names = [predictor.classes[k] for k in targets]
        return [Explanation(name, *on_the_image(one, shape, settings)) for name, one in zip(names, maps, strict=True)]

    def _copy(self, network: Network) -> Predictor:
        """Return the second copy of a network; the shop's only thread is the only one here."""
        if network.name not in self._copies:
            self._copies[network.name] = Predictor(network.run, "cpu")
        return self._copies[network.name]

    def close(self) -> None:
        """Let go of the thread."""
        self.shop.close()


def check(network: Network, method: str, target: str | None) -> None:
    """Refuse an unknown method or class before any work.

    Raises:
        InputError: likewise.
    """
    chosen_methods([method])
    if target is not None and target not in network.described["classes"]:
        raise unknown("class", target[:80], network.described["classes"])


def on_the_image(found: np.ndarray, shape: tuple[int, int], settings: Preprocess) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return a map `(h, w)` of what a network sees on the pixels `(H, W)` of the image, and the window that it sees."""
    height, width = (side * settings.bin for side in found.shape)
    crop = shape if settings.crop is None else (settings.crop, settings.crop)
    top, left = (shape[0] - crop[0]) // 2, (shape[1] - crop[1]) // 2
    whole = np.zeros(shape, np.float32)
    whole[top : top + height, left : left + width] = np.kron(found, np.ones((settings.bin, settings.bin), np.float32))
    return whole, (top, left, height, width)
