"""The task of telling classes apart: which substructure, or whether there is any.

A task (`darklens.train.task`) is the same code in training, validation, test and serving; this one also turns a table's label
names into class indices. The next task is a file beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from darklens.errors import InputError, unknown
from darklens.train.augment import augmented
from darklens.train.config import TrainConfig
from darklens.train.imbalance import Imbalance
from darklens.train.task import Images, random_order

if TYPE_CHECKING:
    from darklens.train.loop import Training


class Labelled(Images, Protocol):
    """A set of images whose class indices are known."""

    @property
    def labels(self) -> np.ndarray:
        """`(n,)`."""


@dataclass(frozen=True)
class Classification:
    """One of k classes: cross-entropy on k logits, or binary cross-entropy on a single one.

    Args:
        classes: names in logit order.
        group: label name in the data -> class, for labels that are not classes themselves; None is the name of no label.
        label_smoothing: of the cross-entropy.
        auxiliary: weight of the model's own physics loss, if it has one (`forward_with_auxiliary`).
        single_logit: two classes on one logit, the second class being the positive one.
        imbalance: how unequal classes are learned; None takes the images as they are.
        offsets: what is added to the logits when the network answers, so that they hold for the ratio of the training images
            whatever the loss has made of it; of `imbalance` where that is given.

    Raises:
        InputError: a single logit for other than two classes.
    """

    classes: tuple[str, ...]
    group: dict[str, str] | dict[str | None, str]
    label_smoothing: float = 0.0
    auxiliary: float = 0.0
    single_logit: bool = False
    imbalance: Imbalance | None = None
    offsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.single_logit and len(self.classes) != 2:
            raise InputError(
                f"task binary needs 2 classes and the images have {len(self.classes)} ({', '.join(self.classes)}): add images of "
                "another class, or group several into 2 with data.group"
            )
        if self.imbalance and not self.offsets:
            object.__setattr__(self, "offsets", self.imbalance.offsets)

    @property
    def kind(self) -> str:
        """As `train.task` of a recipe."""
        return "binary" if self.single_logit else "classification"

    @property
    def outputs(self) -> int:
        """Number of outputs that the network needs."""
        return 1 if self.single_logit else len(self.classes)

    def with_group(self, group: dict[str, str]) -> Classification:
        """Return the task for data with other label names.

        Raises:
            InputError: a label is mapped to a class that does not exist.
        """
        for label, name in group.items():
            if name not in self.classes:
                raise unknown(f"class (for label {label!r})", name, self.classes)
        return replace(self, group=self.group | group)

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """Return class indices of label names, -1 for none.

        Raises:
            InputError: a label that the run does not know.
        """
        index = {name: i for i, name in enumerate(self.classes)} | {None: -1}
        index |= {name: index[target] for name, target in self.group.items()}
        strange = sorted({str(v) for v in set(labels.tolist()) - set(index)})
        if strange:
            known = ", ".join(str(k) for k in index if k is not None)
            remedy = f"rename it, or map it with --group {strange[0]}=CLASS"
            raise InputError(f"the data have class {strange[0]!r} and this run knows {known}: {remedy}")
        return np.array([index[v] for v in labels.tolist()], dtype=np.int64)

    def order(self, images: Labelled, generator: torch.Generator) -> np.ndarray:
        """Return which images an epoch goes through, `(n,)`: all of them in random order, or each class equally often."""
        if self.imbalance and self.imbalance.kind == "balanced-sampling":
            return self.imbalance.order(images.labels, generator)
        return random_order(images, generator)

    def augment(
        self, inputs: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator, share: tuple[slice, int]
    ) -> tuple[Tensor, Tensor]:
        """Return images and labels as the recipe wants them augmented; see `darklens.train.augment.augmented`."""
        return augmented(inputs, targets, len(self.classes), config, generator, share)

    def judge(self, training: Training, images: Labelled) -> dict[str, float]:
        """Return the cross-entropy without smoothing or weights, and the accuracy, of the judged weights."""
        logits, labels = torch.from_numpy(training.answers(images)), torch.from_numpy(images.labels)
        accuracy = (logits.argmax(1) == labels).double().mean()
        return {"val_loss": float(functional.cross_entropy(logits, labels)), "val_accuracy": float(accuracy)}

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of a batch; labels are class indices `(B,)`, or probabilities `(B, k)` of mixed images."""
        answers, physics = self.losses(model, images, labels)
        return answers + physics

    def losses(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of the training loss: that of the answers, and the model's own physics loss, weighted."""
        if self.auxiliary and (forward := getattr(model, "forward_with_auxiliary", None)) is not None:
            output, extra = forward(images)
            return self._criterion(output, labels), self.auxiliary * extra.float()
        answers = self._criterion(model(images), labels)
        return answers, torch.zeros_like(answers)

    def predict(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return `(B, k)` float32 logits, for the ratio of the training images.

        A single logit gets a zero beside it, so that softmax is its sigmoid.
        """
        logits = self._logits(model(images))
        return logits + logits.new_tensor(self.offsets) if self.offsets else logits

    def _logits(self, output: Tensor) -> Tensor:
        output = output.float()
        return torch.cat([torch.zeros_like(output), output], dim=1) if self.single_logit else output

    def _criterion(self, output: Tensor, labels: Tensor) -> Tensor:
        if self.imbalance:
            return self.imbalance.loss(self._logits(output), self._smoothed(labels))
        if not self.single_logit:
            return functional.cross_entropy(output.float(), labels, label_smoothing=self.label_smoothing)
        positive = labels[:, 1] if labels.is_floating_point() else labels.float()
        target = positive * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return functional.binary_cross_entropy_with_logits(output.float().squeeze(1), target)

    def _smoothed(self, labels: Tensor) -> Tensor:
        """Return `(B, k)` probabilities of class indices `(B,)`, or of mixed labels `(B, k)`, smoothed."""
        target = labels if labels.is_floating_point() else functional.one_hot(labels, len(self.classes)).float()
        return target * (1 - self.label_smoothing) + self.label_smoothing / len(self.classes)
