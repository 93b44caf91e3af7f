"""Learning from unequal classes: what the loss or the sampling makes of them, and the way back to the ratio of the images.

| word | what it does | the balance that the network then answers for |
|---|---|---|
| `none` | the plain cross-entropy | that of the training images |
| `weighted` | each image counts N / (k N_c) (King & Zeng 2001) | equal classes |
| `focal` | each image counts (1 - p)^gamma (Lin et al. 2017, arXiv:1708.02002, eq. 4) | that of the training images |
| `logit-adjusted` | log(N_c / N) is added to the logits in the loss (Menon et al. 2021, arXiv:2007.07314, eq. 10) | equal classes |
| `balanced-sampling` | every class is drawn equally often | equal classes |

A network that answers for equal classes calls far too many images lenses. `offsets` brings its logits to the ratio of the training
images (Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21, eq. 4), so that the probabilities of all runs mean the same
and are calibrated alike; the same shift takes them to the ratio of a survey (`prevalence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from darklens.errors import InputError

BALANCING = ("weighted", "logit-adjusted", "balanced-sampling")
"""Kinds after which a network answers for equal classes."""


@dataclass(frozen=True)
class Imbalance:
    """How unequal classes are learned.

    Args:
        kind: a word of the table above, but for `none`.
        counts: training images of each class, in the order of the logits.
        gamma: exponent of `focal`.
    """

    kind: str
    counts: tuple[int, ...]
    gamma: float = 2.0

    @property
    def prior(self) -> np.ndarray:
        """Fraction of each class in the training images, `(k,)`."""
        return np.array(self.counts) / sum(self.counts)

    @property
    def offsets(self) -> tuple[float, ...]:
        """What is added to the logits of a trained network for the ratio of the training images; empty where nothing is."""
        return tuple(float(v) for v in np.log(self.prior * len(self.counts))) if self.kind in BALANCING else ()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of a batch.

        The mean is over images, not over their weights, so that a batch may be computed in parts or on several devices.

        Args:
            logits: `(B, k)` float32.
            target: `(B, k)`, the probability of each class; rows add up to one.
        """
        if self.kind == "logit-adjusted":
            logits = logits + torch.log(torch.as_tensor(self.prior)).to(logits)
        log_p = functional.log_softmax(logits, dim=1)
        weight = torch.ones_like(log_p)
        if self.kind == "weighted":
            weight = (1 / torch.as_tensor(self.prior * len(self.counts))).to(log_p).expand_as(log_p)
        elif self.kind == "focal":
            weight = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** self.gamma
        return -(target * weight * log_p).sum(1).mean()

    def order(self, labels: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Return which images an epoch goes through, `(n,)`, each class equally often, the rarer ones again and again.

        Of a class that has to be repeated every image comes equally often, but for the last round; of one that has too many images,
        others come in every epoch.
        """
        shares = np.diff([len(labels) * k // len(self.counts) for k in range(len(self.counts) + 1)])
        chosen = []
        for k, wanted in enumerate(shares):
            members = np.flatnonzero(labels == k)
            rounds = [torch.randperm(len(members), generator=generator).numpy() for _ in range(-(-wanted // len(members)))]
            chosen.append(members[np.concatenate(rounds)[:wanted]])
        together = np.concatenate(chosen)
        return together[torch.randperm(len(together), generator=generator).numpy()]


def imbalance_of(kind: str, counts: Mapping[str, int], gamma: float = 2.0) -> Imbalance | None:
    """Return how a recipe wants unequal classes to be learned; None for `none`.

    Args:
        kind: `train.imbalance`.
        counts: class -> training images, in the order of the logits.
        gamma: `train.focal_gamma`.

    Raises:
        InputError: a class without a training image, whatever the kind: it could not be learned.
    """
    for name, count in counts.items():
        if not count:
            others = ", ".join(f"{n:,} of {other}" for other, n in counts.items() if other != name)
            raise InputError(f"class {name!r} has 0 training images (beside {others}): give at least 1, or leave the class out")
    return None if kind == "none" else Imbalance(kind, tuple(counts.values()), gamma)


def prevalence_offsets(prior: Mapping[str, float], prevalence: float) -> np.ndarray:
    """Return what is added to the logarithms of calibrated probabilities for another fraction of the second class, `(2,)`.

    Args:
        prior: class -> fraction that the probabilities hold for.
        prevalence: fraction of the second class where they shall hold.

    Raises:
        InputError: other than two classes, or a fraction outside 0 to 1.
    """
    if len(prior) != 2:
        raise InputError(
            f"a prevalence of one class needs two classes, and this run has {len(prior)} ({', '.join(prior)}): leave it out"
        )
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence {prevalence} is outside 0 to 1: give the fraction of {list(prior)[1]}, 0.001 for 1 in 1,000")
    return np.log([1 - prevalence, prevalence]) - np.log(list(prior.values()))
