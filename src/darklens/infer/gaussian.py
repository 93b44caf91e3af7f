r"""What is known of a density that is nearly Gaussian, its mean and covariance, and how they are learned.

From values alone: `narrowed` before anything else is known, `learned` from the states of chains.

From slopes, where they are to be had: a Gaussian of mean m and precision P has the slope `-P (x - m)`, so that p numbers come from
each evaluation, and p (p + 3) / 2 unknowns are settled by a few draws a parameter. Draws come from the Gaussian as it is known so
far, m and P from least squares of their slopes, again and again until they stay: the Gaussian nearest to the density by the Fisher
divergence (Modi et al. 2023, Variational inference with Gaussian score matching, NeurIPS; Cai et al. 2024, Batch and match, ICML).
It is what the density looks like as far out as its draws lie, not its curvature at the top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

CORRELATED = 3.0
"""States of a warm-up that count as one independent draw."""
CAUTION = 5.0
"""Draws for each number that is learned before it is trusted by half: many small errors together spoil long steps."""
BEARABLE = 4.0
"""How much faster than a Gaussian a density may fall beside its top: it does so where a ridge bends, whose ends lie far out."""

MATCHES = 15
"""Times that a Gaussian is matched to slopes, at most."""
DRAWN = 8
"""Draws for a match at least; else one for each parameter."""
STEADY = 1.3
"""Change of any variance by a match below which the Gaussian stays."""
SOFTEST = 0.3
"""Least precision after a match, in units of that before: no direction grows wider than twofold at once."""
HELD = 5.0
"""Draws that the Gaussian before a match counts for."""
KNOWN = 20.0
"""Draws a parameter that a Gaussian counts for which was matched."""

LogDensity = Callable[[np.ndarray], float]
Slope = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""ln density, and its derivatives `(p,)`."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A mean and a covariance.

    Args:
        mean: `(p,)`.
        root: `(p, p)` Cholesky factor of the covariance.
        inverse: of the root.
        known: draws that it counts for where states of chains are to change it.
    """

    mean: np.ndarray
    root: np.ndarray
    inverse: np.ndarray
    known: float

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray, known: float | None = None) -> Gaussian:
        """Return a Gaussian whose covariance has no direction without a width."""
        scale = np.sqrt(np.diag(covariance))
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1e-6)
        # a direction without information would be an infinite step
        value, vector = np.linalg.eigh(0.5 * (covariance + covariance.T) / np.outer(scale, scale))
        root = scale[:, None] * np.linalg.cholesky((vector * np.clip(value, 1e-8, None)) @ vector.T)
        return cls(mean, root, np.linalg.inv(root), len(mean) if known is None else known)

    @property
    def covariance(self) -> np.ndarray:
        """`(p, p)`."""
        return self.root @ self.root.T

    def narrowed(self, density: LogDensity) -> Gaussian:
        """Return the Gaussian with less width along parameters where the density falls much faster than it says.

        Each parameter moves by one standard deviation to both sides, the others held: two evaluations a parameter.
        """
        stiffness = self.inverse.T @ self.inverse
        top = density(self.mean)
        for k, own in enumerate(np.diag(stiffness).copy()):
            move = np.zeros(len(self.mean))
            move[k] = own**-0.5
            fall = 2 * top - density(self.mean + move) - density(self.mean - move)
            if math.isfinite(fall):
                stiffness[k, k] += max(fall / BEARABLE - 1, 0.0) * own
        return Gaussian.of(self.mean, np.linalg.inv(stiffness))

    def matched(self, slope: Slope, generator: np.random.Generator) -> Gaussian:
        """Return the Gaussian whose slopes are those of a density."""
        gaussian = self
        vectors: list[np.ndarray] = []
        values: list[float] = []
        slopes: list[np.ndarray] = []
        for _ in range(MATCHES):
            for _ in range(max(DRAWN, len(self.mean))):
                vector = gaussian.drawn(generator)
                value, own = slope(vector)
                if math.isfinite(value) and np.isfinite(own).all():
                    vectors.append(vector)
                    values.append(value)
                    slopes.append(own)
            if len(values) < DRAWN:
                break
            gaussian, steady = gaussian._match(np.array(vectors), np.array(values), np.array(slopes))
            if steady:
                break
        return gaussian

    def _match(self, vectors: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> tuple[Gaussian, bool]:
        """Return the Gaussian that slopes `(n, p)` ask for, and whether it hardly differs from this one.

        In this one's standard deviations, slopes are `-w` but for `b - D w`, whose least squares in a symmetric D are a Lyapunov
        equation. Far down, slopes stray from those of any Gaussian, and count for less.
        """
        p = len(self.mean)
        depth = np.maximum(2 * (values.max() - values) / p - 1, 0.0)  # beyond that of a typical draw
        weight = (1 + depth) ** -4.0
        places = (vectors - self.mean) @ self.inverse.T
        beyond = slopes @ self.root + places
        middle, level = (weight @ a / weight.sum() for a in (places, beyond))
        offset = places - middle
        spread = (weight[:, None] * offset).T @ offset + HELD * np.eye(p)
        tilt = (weight[:, None] * (beyond - level)).T @ offset
        D = solve_continuous_lyapunov(spread, -(tilt + tilt.T))
        value, vector = np.linalg.eigh(np.eye(p) + 0.5 * (D + D.T))
        covariance = (vector / np.maximum(value, SOFTEST)) @ vector.T
        shift = covariance @ (level + D @ middle)
        shift *= min(1.0, math.sqrt(p) / max(float(np.linalg.norm(shift)), 1e-300))  # no farther than where draws lie
        steady = bool(value.min() > 1 / STEADY and value.max() < STEADY)
        return Gaussian.of(self.mean + self.root @ shift, self.root @ covariance @ self.root.T, KNOWN * p), steady

    def drawn(self, generator: np.random.Generator, heat: float = 1.0) -> np.ndarray:
        """Return a draw at a temperature."""
        return self.mean + math.sqrt(heat) * self.root @ generator.standard_normal(len(self.mean))

    @property
    def heat(self) -> float:
        """Temperature at which draws lie lower, in ln density, by as much as it scatters among them: `1 + 1 / sqrt(p / 2)`."""
        return 1 + math.sqrt(2 / len(self.mean))

    def square(self, vector: np.ndarray) -> float:
        """Return the squared distance from the mean in standard deviations."""
        return float(((self.inverse @ (vector - self.mean)) ** 2).sum())

    def learned(self, path: np.ndarray, heat: float = 1.0) -> Gaussian:
        """Return the Gaussian of the states of a warm-up, as far as they determine it: shrunk to what was there before.

        n independent states know a mean, or widths along given directions, of p numbers; a whole covariance has p (p + 1) / 2.
        """
        size, p = len(np.unique(path, axis=0)) / CORRELATED, len(self.mean)
        few, many = size / (size + CAUTION * self.known), size / (size + CAUTION * p * self.known)
        mean = (size * path.mean(axis=0) + self.known * self.mean) / (size + self.known)
        white = (path - path.mean(axis=0)) @ self.inverse.T
        measured = white.T @ white / len(path) / heat
        widths = np.diag(few * np.diag(measured) + (1 - few))
        return Gaussian.of(mean, self.root @ (many * measured + (1 - many) * widths) @ self.root.T, self.known)

    def widened(self, other: Gaussian) -> Gaussian:
        """Return another Gaussian, in no direction narrower than this one."""
        relative = self.inverse @ other.root
        value, vector = np.linalg.eigh(relative @ relative.T)
        return Gaussian.of(other.mean, self.root @ (vector * np.maximum(value, 1.0)) @ vector.T @ self.root.T, self.known)
