"""Is an image like those that a model was trained on? Two scores, with thresholds that raise a false alarm in one image of 100.

- **fit**: the reduced chi^2 of the smooth fit, for networks that see what is left of one. Too high: no smooth lens of the family
  looks like this. Too low: the noise is not the one that was assumed (images that were resampled or smoothed, for example).
- **features**: the Mahalanobis distance of what the last layer sees to the nearest class mean, with one covariance for all classes
  (Lee et al. 2018, arXiv:1807.03888, eq. 2), over the square root of the number of dimensions: about 1 for training images. The
  common covariance is that of the frequent classes; each class therefore has a spread of its own, in units of which its distances
  count: without it, rare lenses are called unusual many times as often as the galaxies that they are sought among.

Means and covariance (shrunk, Ledoit & Wolf 2004) come from training images; the thresholds from validation images, all scores at
one and the same rate, so that together they flag one in a hundred there. No labels and no other data are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darklens.runs import NOVELTY, Run
from darklens.train.checkpoint import load_weights, save_weights

RATE = 0.01
"""False alarms wanted on images of the model's own kind."""
SPREAD, FEW = 0.95, 40
"""Quantile of a class's distances that its spread is taken from, and the fewest training images that it is taken from."""
MOST = 256
"""Directions of the features that are kept, those that the most features share."""
WORDS = {"fit_high": "fit chi2 {} > {}", "fit_low": "fit chi2 {} < {}", "features": "features {} > {}"}
"""The scores, and how they are said."""


@dataclass(frozen=True)
class Unusual:
    """Which of n images are unlike the training images.

    Args:
        flags: `(n,)` bool.
        because: why, in a few words each; empty for the others.
        beyond: score -> `(n,)` bool, whether it is beyond its threshold.
    """

    flags: np.ndarray
    because: tuple[str, ...]
    beyond: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> Unusual:
        """Return what is known of some of them."""
        beyond = {name: flags[rows] for name, flags in self.beyond.items()}
        return Unusual(self.flags[rows], tuple(self.because[i] for i in rows), beyond)

    @property
    def counts(self) -> dict[str, int]:
        """How many images each score finds unusual."""
        return {name: int(found.sum()) for name, found in self.beyond.items()}


@dataclass(frozen=True)
class Novelty:
    """What a model's own images are like.

    Args:
        means: `(k, d)` of the features, one a class.
        axes: `(m, d)`: `axes @ (features - mean)` has about unit covariance.
        thresholds: score -> value beyond which an image is unusual; keys as in `WORDS`.
        spread: `(k,)` of the classes' distances, 1 for that of all images; None where it is 1 for each.
    """

    means: np.ndarray
    axes: np.ndarray
    thresholds: dict[str, float]
    spread: np.ndarray | None = None

    @classmethod
    def learn(cls, features: np.ndarray, labels: np.ndarray) -> Novelty:
        """Return means and covariance of training images, without thresholds yet.

        Args:
            features: `(n, d)`.
            labels: `(n,)` class indices.
        """
        from sklearn.covariance import ledoit_wolf

        present, index = np.unique(labels, return_inverse=True)
        means = np.stack([features[index == k].mean(0) for k in range(len(present))])
        scatter = features - means[index]
        unit = np.maximum(scatter.std(0), 1e-6 * max(float(np.abs(features).max()), 1e-30))
        covariance, _ = ledoit_wolf(scatter / unit, assume_centered=True)  # in units of each: shrinking would drown narrow ones
        values, vectors = np.linalg.eigh(covariance)
        kept = np.flatnonzero(values > 1e-10 * max(values[-1], 1e-30))[-MOST:]
        axes = (vectors[:, kept] / np.sqrt(values[kept])).T / unit
        own = np.sqrt(((scatter @ axes.T) ** 2).mean(1))
        whole = max(float(np.quantile(own, SPREAD)), 1e-30)
        parts = [own[index == k] for k in range(len(present))]
        spread = np.array([np.quantile(part, SPREAD) / whole if len(part) >= FEW else 1.0 for part in parts])
        return cls(means.astype(np.float32), axes.astype(np.float32), {}, np.maximum(spread, 1e-3).astype(np.float32))

    def with_thresholds(self, features: np.ndarray, chi2: np.ndarray | None, rate: float = RATE) -> Novelty:
        """Return the same with thresholds that flag at most this fraction of validation images; arguments as in `scores`."""
        return replace(self, thresholds=_thresholds(self.scores(features, chi2), rate))

    def scores(self, features: np.ndarray, chi2: np.ndarray | None) -> dict[str, np.ndarray]:
        """Return the scores, `(n,)` each; larger is stranger.

        Args:
            features: `(n, d)`.
            chi2: `(n,)` reduced chi^2 of the smooth fit; None for networks that see the image.
        """
        found = {} if chi2 is None else {"fit_high": chi2, "fit_low": -chi2}
        return found | {"features": self.distance(features)}

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return the distance `(n,)` of features `(n, d)` to the nearest class mean, in units of that class's spread."""
        projected = features @ self.axes.T
        spreads = np.ones(len(self.means)) if self.spread is None else self.spread
        squares = [((projected - mean @ self.axes.T) ** 2).sum(1) / s**2 for mean, s in zip(self.means, spreads, strict=True)]
        return np.sqrt(np.min(squares, axis=0) / len(self.axes))

    def judge(self, features: np.ndarray, chi2: np.ndarray | None) -> Unusual:
        """Compare the scores with their thresholds; arguments as in `scores`."""
        scores = {k: v for k, v in self.scores(features, chi2).items() if k in self.thresholds}
        beyond = {name: ~(values <= self.thresholds[name]) for name, values in scores.items()}  # what is no number is strange

        def why(i: int) -> str:
            strange = [name for name in scores if beyond[name][i]]
            return "; ".join(WORDS[name].format(_short(scores[name][i]), _short(self.thresholds[name])) for name in strange)

        return Unusual(np.any(list(beyond.values()), axis=0), tuple(why(i) for i in range(len(features))), beyond)

    def save(self, run: Run, about: dict[str, Any]) -> None:
        """Write `novelty.safetensors` and `novelty.json`."""
        arrays = {"means": self.means, "axes": self.axes} | ({} if self.spread is None else {"spread": self.spread})
        save_weights(run.path / NOVELTY, {name: torch.from_numpy(array) for name, array in arrays.items()})
        run.write("novelty", {"thresholds": self.thresholds} | about)

    @classmethod
    def load(cls, run: Run) -> Novelty | None:
        """Read what `save` wrote, None where a run has nothing of the kind."""
        if run.novelty is None or not (run.path / NOVELTY).is_file():
            return None
        tensors = load_weights(run.path / NOVELTY)
        spread = tensors["spread"].numpy() if "spread" in tensors else None  # runs of earlier versions have none
        return cls(tensors["means"].numpy(), tensors["axes"].numpy(), dict(run.novelty["thresholds"]), spread)


def _thresholds(scores: dict[str, np.ndarray], rate: float) -> dict[str, float]:
    """Let every score flag equally many validation images, as many as together are no more than the rate allows.

    With n images, `rate (n + 1)` of them may be flagged: the threshold is then exceeded by a further image with that probability.
    """
    ordered = {name: np.sort(values)[::-1] for name, values in scores.items()}
    n = len(next(iter(ordered.values())))
    best = 0
    for count in range(1, n):
        flagged = np.any([values > ordered[name][count] for name, values in scores.items()], axis=0)
        if flagged.sum() > rate * (n + 1):
            break
        best = count
    return {name: float(values[best]) for name, values in ordered.items()}


def _short(value: float) -> str:
    return f"{abs(value):.4g}"


class Features:
    """Collects what the last linear layer of a network sees, while it is used as a context.

    A network without such a layer is judged by its logits.

    Args:
        network: the classifier.
        outputs: number of its outputs.
        views: how often each batch goes through it; only the first time counts.
    """

    def __init__(self, network: nn.Module, outputs: int, views: int = 1) -> None:
        linear = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == outputs]
        self.network, self.layer, self.views = network, linear[-1] if linear else None, views
        self.parts: list[np.ndarray] = []
        self.seen = 0

    def __enter__(self) -> Features:
        if self.layer is not None:
            self.handle = self.layer.register_forward_pre_hook(lambda module, args: self._keep(args[0]))
        else:
            self.handle = self.network.register_forward_hook(lambda module, args, output: self._keep(output))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.handle.remove()

    def _keep(self, tensor: Tensor) -> None:
        if self.seen % self.views == 0:
            rows = tensor.flatten(1, -2).mean(1) if tensor.ndim > 2 else tensor
            self.parts.append(rows.detach().float().cpu().numpy())
        self.seen += 1

    def array(self) -> np.ndarray:
        """Return the features, `(n, d)` float32."""
        return np.concatenate(self.parts)
