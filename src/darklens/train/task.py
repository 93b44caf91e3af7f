"""What a training asks of its task and of its sets of images: all that `Training` knows about what a network learns.

A task is a file beside this one, a set of images for it is too, and an experiment in `darklens.recipes.experiments` brings them
together. Everything else (bitwise resume, processes, budget, averaged weights, parts of a batch) is the loop's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from darklens.train.config import Preprocess, TrainConfig
    from darklens.train.loop import Training


def random_order(images: Any, generator: torch.Generator) -> np.ndarray:
    """Return the order `(n,)` in which an epoch goes through n things: a random one, as most tasks want it."""
    return torch.randperm(len(images), generator=generator).numpy()


class Lessons(Protocol):
    """A set of things to learn from, stored or drawn while a network trains.

    A set whose images are drawn by a thread ahead of the training says so by `ahead`, the number of batches; others need not.
    """

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(bands, H, W)` of an image."""

    def batch(self, index: np.ndarray, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return inputs `(B, bands, H, W)`, before `prepare`, and targets `(B, ...)` of these rows, on a device."""

    def epoch(
        self, number: int, order: np.ndarray, batch_size: int, device: torch.device | str = "cpu", part: slice = slice(None)
    ) -> Generator[tuple[Tensor, Tensor]]:
        """Yield this part of the batches of an epoch; what does not fill a batch is left out."""

    def seen_as(self, settings: Preprocess) -> Lessons:
        """Return the same set for a network with these settings."""


class Images(Lessons, Protocol):
    """A set to judge on as well, as validation and test images are: `ImageSet`, or a class of its own beside it."""

    def inputs(self, index: np.ndarray | slice) -> np.ndarray:
        """Return the inputs alone (asked by `Training.answers`)."""

    def take(self, index: np.ndarray) -> Images:
        """Return the same set with these rows only."""

    def seen_as(self, settings: Preprocess) -> Images:
        """Return the same set for a network with these settings."""


@runtime_checkable
class Task(Protocol):
    """What a network is asked. `losses` only ever sees what `augment` has returned.

    Whatever is drawn in `augment` comes from its generator, for the whole batch, of which `share` names this process's part: then a
    training is the same on any number of processes. In `losses` torch's own random numbers may be used (dropout does): they are a
    function of (seed, epoch, process), and a resumed training repeats them to the last bit.
    """

    @property
    def kind(self) -> str:
        """As `train.task` of a recipe."""

    def order(self, images: Any, generator: torch.Generator) -> np.ndarray:
        """Return which rows an epoch goes through, `(n,)`."""

    def augment(
        self, inputs: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Return prepared inputs and targets of a training batch, changed; both begin with the batch."""

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of the answers, which history.csv shows, and a further one that is learned from as well, or 0."""

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return what the trained network answers to prepared inputs, `(B, ...)` float32."""

    def judge(self, training: Training, images: Any) -> dict[str, float]:
        """Return `val_loss`, which says which weights are best, and other columns `val_...` of the history.

        Must not depend on when it is asked: what has to be drawn for it comes from a fixed seed. `Training.answers` and
        `Training.measured` give the judged weights' answers, from all processes.
        """
