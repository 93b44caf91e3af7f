"""Smooth lenses like those that were fitted to training images, drawn and rendered: the physics of a generated image.

A network that makes what a smooth lens leaves over, in units of the noise, does not have to learn what a lens equation already
knows: arcs are as sharp and as consistent as the renderer makes them, and theta_E is what was asked for.

The fitted parameters become normal scores, each by its own rank (the margins of a Gaussian copula), so that a draw near a training
lens keeps the margins, and nearly keeps what the parameters have to do with each other: with z of a lens of the same class and
about the same numbers, and e a draw with the correlations of all, a new lens is `sqrt(1 - h^2) z + h e` (the smoothed bootstrap
that keeps the variance; Silverman & Young 1987, Biometrika 74, 469).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from torch import Tensor

from darklens.fit import Plan
from darklens.fit.lens_model import PARAMETERS
from darklens.train.generation.conditions import Conditions
from darklens.train.generation.intensity import Intensity
from darklens.train.seeds import seed_at

WIDTH = 0.5
"""h above: every parameter moves by about half of its spread, so that no lens is that of a training image. At 0.3 the images are as
good, and 4% instead of 3% of them are as near a training image as 1% of unseen real ones."""
NEIGHBOURS = 32
"""Training lenses of the class that was asked for, nearest in its numbers, one of which a draw begins with."""
KNOTS = 513
SOURCE_PLACE = ("source_x", "source_y")


@dataclass(frozen=True)
class Backdrop:
    """What a network sees of a smooth lens, and the unit of what it makes.

    Args:
        v0: variance of an empty pixel.
        v1: growth of the variance with the flux.
        intensity: map of the smooth image that is shown to the network.
    """

    v0: float
    v1: float
    intensity: Intensity

    def residual(self, images: Tensor, smooth: Tensor) -> Tensor:
        """Return what smooth lenses leave over of images, both in physical units, in units of the noise."""
        return (images - smooth) / self._sigma(smooth)

    def image(self, residual: Tensor, smooth: Tensor) -> Tensor:
        """Return the image of which a smooth lens leaves this residual over."""
        return smooth + residual * self._sigma(smooth)

    def _sigma(self, smooth: Tensor) -> Tensor:
        return (self.v0 + self.v1 * smooth.clamp_min(0)).sqrt()

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data that `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Backdrop:
        """Return the backdrop that `as_dict` described."""
        return cls(content["v0"], content["v1"], Intensity(**content["intensity"]))


@dataclass(frozen=True)
class SmoothLenses:
    """The density of a training set's smooth lenses.

    Args:
        plan: how they were fitted, and are rendered.
        conditions: what can be asked for.
        told: `(n, c)` what was told of the training images.
        scores: `(n, P)` normal scores of their free parameters.
        quantiles: `(KNOTS, P)` values at even probabilities from 0 to 1.
    """

    plan: Plan
    conditions: Conditions
    told: np.ndarray
    scores: np.ndarray
    quantiles: np.ndarray

    @classmethod
    def measured(cls, plan: Plan, conditions: Conditions, told: np.ndarray, parameters: np.ndarray) -> SmoothLenses:
        """Return the density of lenses with these parameters `(n, len(PARAMETERS))`; rows that are not finite were not found."""
        found = np.isfinite(parameters).all(1)
        free = parameters[found][:, plan.model.free_index]
        scores = ndtri(rankdata(free, axis=0) / (len(free) + 1))
        quantiles = np.quantile(free, np.linspace(0, 1, KNOTS), axis=0)
        return cls(plan, conditions, told[found].astype(np.float32), scores.astype(np.float32), quantiles.astype(np.float32))

    def draw(self, told: np.ndarray, seed: int, first: int = 0) -> np.ndarray:
        """Return normal scores `(n, P)` of new lenses for what is told `(n, c)`; row i is made by the seed and `first + i`."""
        scores = self.scores / np.maximum(self.scores.std(0), 1e-6)  # a parameter that is the same in all has no spread
        root = np.linalg.cholesky(scores.T @ scores / len(scores) + 1e-6 * np.eye(scores.shape[1]))
        found = []
        for i, wish in enumerate(told):
            rng = np.random.default_rng(seed_at(seed, first + i, 11))
            near = self._near(wish)
            z = self.scores[near[rng.integers(len(near))]]
            found.append((1 - WIDTH**2) ** 0.5 * z + WIDTH * root @ rng.standard_normal(len(z)))
        return np.array(found, dtype=np.float32).reshape(len(told), self.scores.shape[1])

    def parameters(self, scores: np.ndarray, told: np.ndarray) -> np.ndarray:
        """Return parameters `(n, len(PARAMETERS))` of normal scores, with the theta_E that is told.

        The source keeps its place in units of theta_E, so that an arc remains an arc.
        """
        values = self.plan.model.start(len(scores))
        levels = np.linspace(0, 1, KNOTS)
        for k, column in enumerate(self.plan.model.free_index):
            values[:, column] = np.interp(ndtr(scores[:, k]), levels, self.quantiles[:, k])
        names = [column.name for column in self.conditions.columns]
        if "theta_E" in names and "theta_E" in self.plan.model.free:
            k, own = names.index("theta_E"), PARAMETERS.index("theta_E")
            asked = self.conditions.columns[k].value(told[:, len(self.conditions.classes) + k].astype(np.float64))
            wanted = np.where(np.isfinite(asked), asked, values[:, own])
            for name in SOURCE_PLACE:
                values[:, PARAMETERS.index(name)] *= wanted / values[:, own]
            values[:, own] = wanted
        return values

    def render(self, scores: np.ndarray, told: np.ndarray, shape: tuple[int, int], device: torch.device) -> np.ndarray:
        """Return smooth images `(n, 1, H, W)` in physical units, without noise."""
        return self.plan.render(self.parameters(scores, told), shape, device)[:, None]

    def _near(self, wish: np.ndarray) -> np.ndarray:
        """Return rows of the training lenses of this class that are nearest in its numbers; what is not told does not count."""
        k, rows = len(self.conditions.classes), np.arange(len(self.told))
        if k and np.isfinite(wish[:k]).all():
            same = (self.told[:, :k] == wish[:k]).all(1)
            rows = rows[same] if same.any() else rows
        known = k + np.flatnonzero(np.isfinite(wish[k:]))
        if not len(known):
            return rows
        away = np.nan_to_num(self.told[rows][:, known] - wish[known], nan=np.inf)
        return rows[np.argsort((away**2).sum(1), kind="stable")[:NEIGHBOURS]]

    def tensors(self) -> dict[str, Tensor]:
        """Return what a run has to keep, of which `from_tensors` makes the same again."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ("told", "scores", "quantiles")}

    @classmethod
    def from_tensors(cls, plan: Plan, conditions: Conditions, tensors: dict[str, Tensor]) -> SmoothLenses:
        """Return the density that `tensors` kept."""
        return cls(plan, conditions, *(tensors[name].numpy() for name in ("told", "scores", "quantiles")))
