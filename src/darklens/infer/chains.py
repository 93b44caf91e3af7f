r"""Posterior samples of a density that is dear to evaluate and nearly Gaussian, and whether to trust them.

A linear inversion a step costs too much for the thousands of gradients that NUTS spends, and its evidence has small steps where
rays cross the edges of source cells, which derivatives do not see and Hamiltonian trajectories stumble over. What is cheap here is
a good guess, the Gauss-Newton matrix of the fit. Chains move by steps of three kinds about the Gaussian of mean m and covariance C:

- leaps, independent draws from a t distribution about m, whose tails are heavier than those of a posterior: where nearly all is
  Gaussian they are nearly independent samples;
- preconditioned Crank-Nicolson steps (Cotter, Roberts, Stuart & White 2013, Stat. Sci. 28, 424),
  `x' = m + sqrt(1 - b^2) (x - m) + b C^(1/2) normal`, refused only for what the posterior has beyond the Gaussian;
- random walks, which know C but not m: without them chains would see nothing of a bent ridge beyond the Gaussian, and R-hat would
  not notice, all of them being blind alike.

m and C are re-estimated in a warm-up whose states are thrown away, then frozen: every state after it is an exact posterior sample
in the limit. Chains start wide and are judged by rank-normalised split R-hat and the effective sample size (Vehtari et al. 2021,
Bayesian Analysis 16, 667). Chains that do not pass are thrown away and go on for twice as long, about a Gaussian that they may
have widened: never a narrower one, which would lose what only some of them have seen. Of a strongly bent ridge, chains that pass
are still a little too narrow: by 5% where a parabola bends the second of two numbers by 1.7 of the scatter across it (1,000
samples, 30 runs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from darklens.errors import InputError

STEPS = {"leap": 0.4, "glide": 0.3, "walk": 0.3}
"""Kinds of steps, with how often each is tried."""
TAILS = 5.0
"""Degrees of freedom of the t distribution of which leaps are drawn."""
GLIDE = 0.5
"""Length b of a Crank-Nicolson step."""
WALK, PACES = 2.38, (1.0, 0.3)
"""Scale of a random walk, in standard deviations over the root of the number of parameters (Roberts & Rosenthal 2001, Stat. Sci.
16, 351), and factors of it."""
ROUNDS = 4
"""Of the warm-up; each is an eighth of the samples long, and re-estimates the Gaussian from all that came before."""
CORRELATED = 3.0
"""States of a warm-up that count as one independent draw."""
CAUTION = 5.0
"""Draws for each number that is learned before it is trusted by half: many small errors together spoil long steps."""
WIDE = 1.5
"""Of the starting points, in standard deviations."""
R_HAT_AT_MOST = 1.03
ESS_AT_LEAST = 100.0
"""What a converged set of chains has in every parameter."""
CHAINS = 4
LENGTHS = 1, 2, 4
"""In units of the samples that were asked for, of which every second or fourth is kept."""
LEAST = 100
"""Samples below which nothing can be diagnosed."""

LogDensity = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a posterior.

    Args:
        names: the p parameters.
        values: `(chains, n, p)`.
        log_density: `(chains, n)`.
        accepted: share of the steps that were taken.
        evaluations: of the density, those of the adaptation included.
        moves: `(chains, n, p)` by which samples move for what the density does not know; None for none. Chains are judged without.
    """

    names: tuple[str, ...]
    values: np.ndarray
    log_density: np.ndarray
    accepted: float
    evaluations: int
    moves: np.ndarray | None = None

    @property
    def flat(self) -> np.ndarray:
        """All samples, `(chains n, p)`."""
        moved = self.values if self.moves is None else self.values + self.moves
        return moved.reshape(-1, moved.shape[-1])

    def widened(self, covariance: np.ndarray, low: np.ndarray, high: np.ndarray, seed: int) -> Samples:
        """Return samples that each move by a draw from a Gaussian, no farther than the parameters' bounds.

        Args:
            covariance: `(k, k)` of the first k parameters.
            low: `(k,)` bounds.
            high: likewise.
            seed: of the draws.
        """
        k = len(covariance)
        if not covariance.any():
            return self
        draws = np.random.default_rng([seed, k]).multivariate_normal(np.zeros(k), covariance, self.values.shape[:2])
        moves = np.zeros_like(self.values)
        moves[..., :k] = np.clip(self.values[..., :k] + draws, low, high) - self.values[..., :k]
        return replace(self, moves=moves)

    @property
    def r_hat(self) -> np.ndarray:
        """`(p,)` rank-normalised split R-hat."""
        return np.array([r_hat(self.values[..., k]) for k in range(self.values.shape[-1])])

    @property
    def ess(self) -> np.ndarray:
        """`(p,)` effective sample size of the bulk."""
        return np.array([effective_size(_normal_scores(_split(self.values[..., k]))) for k in range(self.values.shape[-1])])

    @property
    def converged(self) -> bool:
        """Whether every parameter passes both tests."""
        return bool((self.r_hat <= R_HAT_AT_MOST).all() and (self.ess >= ESS_AT_LEAST).all())

    def verdict(self) -> str:
        """Return one sentence on what failed, empty if nothing did."""
        worst, least = int(np.nanargmax(np.nan_to_num(self.r_hat, nan=np.inf))), int(np.argmin(self.ess))
        if self.converged:
            return ""
        return (
            f"the chains have not converged: R-hat {self.r_hat[worst]:.3f} of {self.names[worst]} (limit {R_HAT_AT_MOST}), "
            f"effective size {self.ess[least]:.0f} of {self.names[least]} (at least {ESS_AT_LEAST:.0f}): no intervals are "
            "given; take more --samples"
        )

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return `{name: {value, low, high, low95, high95}}`: medians with central 68% and 95% intervals."""
        at = np.quantile(self.flat, [0.5, 0.15865, 0.84135, 0.025, 0.975], axis=0)
        keys = ("value", "low", "high", "low95", "high95")
        return {name: dict(zip(keys, at[:, k].tolist(), strict=True)) for k, name in enumerate(self.names)}


def sample(
    log_density: LogDensity,
    names: tuple[str, ...],
    centre: np.ndarray,
    covariance: np.ndarray,
    *,
    samples: int,
    seed: int = 0,
    chains: int = CHAINS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Sample a density about an optimum.

    Args:
        log_density: of a vector `(p,)`; minus infinity outside its support.
        names: of the parameters.
        centre: `(p,)` optimum.
        covariance: `(p, p)` guess of the posterior's.
        samples: in all chains together; half as many evaluations are spent on the warm-up besides, and up to seven times as many
            until chains converge.
        seed: of everything random.
        chains: how many.
        progress: called with evaluations done and in all.

    Raises:
        InputError: too few samples to judge them.
    """
    if samples < LEAST:
        raise InputError(f"{samples} samples are too few to tell whether chains converged: take at least {LEAST}")
    generator = np.random.default_rng(seed)
    each, warm = -(-samples // chains), max(len(centre), -(-samples // (8 * chains)))
    total, count = chains * (1 + ROUNDS * warm + each), 0

    def counted(vector: np.ndarray) -> float:
        nonlocal count
        count += 1
        progress(count, total)
        return log_density(vector)

    gaussian, states, seen = _Gaussian.of(centre, covariance), _wide(_Gaussian.of(centre, covariance), chains, generator), []
    values = [counted(state) for state in states]
    for _ in range(ROUNDS):
        for k in range(chains):
            path, density, _ = _walk(counted, gaussian, states[k], values[k], warm, generator)
            states[k], values[k] = path[-1], density[-1]
            seen.append(path)
        gaussian = gaussian.learned(np.concatenate(seen[len(seen) // 3 :]))
    for length in LENGTHS:
        walks = [
            _walk(counted, gaussian, state, value, length * each, generator) for state, value in zip(states, values, strict=True)
        ]
        paths, densities = (np.array([walk[k] for walk in walks]) for k in (0, 1))
        share = sum(taken for _, _, taken in walks) / (chains * length * each)
        found = Samples(names, paths[:, length - 1 :: length], densities[:, length - 1 :: length], share, count)
        if found.converged or length == LENGTHS[-1]:
            break
        states, values = list(paths[:, -1]), list(densities[:, -1])
        gaussian = gaussian.widened(gaussian.learned(paths.reshape(-1, len(centre))))
        total += 2 * length * chains * each
    return found


@dataclass(frozen=True, eq=False)
class _Gaussian:
    """The reference of the steps: mean, Cholesky factor of the covariance, its inverse."""

    mean: np.ndarray
    root: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray) -> _Gaussian:
        scale = np.sqrt(np.diag(covariance))
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1e-6)
        # a direction without information would be an infinite step
        value, vector = np.linalg.eigh(0.5 * (covariance + covariance.T) / np.outer(scale, scale))
        root = scale[:, None] * np.linalg.cholesky((vector * np.clip(value, 1e-8, None)) @ vector.T)
        return cls(mean, root, np.linalg.inv(root))

    def step(self, kind: str, here: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, float]:
        """Return where a step leads, and ln of the odds of its way back against its way there."""
        p, normal = len(here), self.root @ generator.standard_normal(len(here))
        if kind == "leap":
            there = self.mean + normal * math.sqrt(TAILS / generator.chisquare(TAILS))
            far, near = (0.5 * (TAILS + p) * math.log1p(self._square(place) / TAILS) for place in (there, here))
            return there, far - near
        if kind == "glide":
            there = self.mean + math.sqrt(1 - GLIDE**2) * (here - self.mean) + GLIDE * normal
            return there, 0.5 * (self._square(there) - self._square(here))
        return here + WALK * generator.choice(PACES) / math.sqrt(p) * normal, 0.0

    def _square(self, vector: np.ndarray) -> float:
        return float(((self.inverse @ (vector - self.mean)) ** 2).sum())

    def learned(self, path: np.ndarray) -> _Gaussian:
        """Return the Gaussian of the states of a warm-up, as far as they determine it: shrunk to what was there before.

        n independent states know a mean, or widths along given directions, of p numbers; a whole covariance has p (p + 1) / 2.
        """
        size, p = len(np.unique(path, axis=0)) / CORRELATED, len(self.mean)
        few, many = size / (size + CAUTION * p), size / (size + CAUTION * p * p)
        mean = (size * path.mean(axis=0) + p * self.mean) / (size + p)
        white = (path - path.mean(axis=0)) @ self.inverse.T
        measured = white.T @ white / len(path)
        widths = np.diag(few * np.diag(measured) + (1 - few))
        return _Gaussian.of(mean, self.root @ (many * measured + (1 - many) * widths) @ self.root.T)

    def widened(self, other: _Gaussian) -> _Gaussian:
        """Return another Gaussian, in no direction narrower than this one."""
        relative = self.inverse @ other.root
        value, vector = np.linalg.eigh(relative @ relative.T)
        return _Gaussian.of(other.mean, self.root @ (vector * np.maximum(value, 1.0)) @ vector.T @ self.root.T)


def _wide(gaussian: _Gaussian, chains: int, generator: np.random.Generator) -> list[np.ndarray]:
    return [gaussian.mean + WIDE * gaussian.root @ generator.standard_normal(len(gaussian.mean)) for _ in range(chains)]


def _walk(
    density: LogDensity, gaussian: _Gaussian, here: np.ndarray, value: float, steps: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the states and their log densities, and how many steps were taken."""
    states, values, taken = [], [], 0
    for _ in range(steps):
        kind = str(generator.choice(list(STEPS), p=list(STEPS.values())))
        there, gauge = gaussian.step(kind, here, generator)
        new = density(there)
        if not math.isfinite(value) or math.log(generator.random()) < new - value + gauge:
            here, value, taken = there, new, taken + 1
        states.append(here)
        values.append(value)
    return np.array(states), np.array(values), taken


def _split(chains: np.ndarray) -> np.ndarray:
    """Return each chain as its two halves, `(2 chains, n/2)`."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def _normal_scores(chains: np.ndarray) -> np.ndarray:
    rank = stats.rankdata(chains, method="average").reshape(chains.shape)
    return stats.norm.ppf((rank - 0.375) / (chains.size + 0.25))


def r_hat(chains: np.ndarray) -> float:
    """Return rank-normalised split R-hat of `(chains, n)`, the larger of those of bulk and tails (Vehtari et al. 2021)."""
    split = _split(chains)
    folded = np.abs(split - np.median(split))
    return max(_potential(_normal_scores(split)), _potential(_normal_scores(folded)))


def _potential(chains: np.ndarray) -> float:
    n = chains.shape[1]
    within = chains.var(axis=1, ddof=1).mean()
    if not within > 0:
        return math.inf
    return float(np.sqrt((n - 1) / n + chains.mean(axis=1).var(ddof=1) / within))


def effective_size(chains: np.ndarray) -> float:
    """Return the effective sample size of `(chains, n)`: autocorrelations summed over Geyer's initial monotone sequence."""
    m, n = chains.shape
    centred = chains - chains.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1)[:, :n].mean(axis=0) / n
    within = covariance[0] * n / (n - 1)
    both = within * (n - 1) / n + (chains.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    if not both > 0:
        return 0.0
    rho = 1 - (within - covariance * n / (n - 1)) / both
    pairs = rho[0 : n - 1 : 2] + rho[1:n:2]
    positive = int(np.argmax(pairs < 0)) if (pairs < 0).any() else len(pairs)
    time = max(2 * np.minimum.accumulate(pairs[:positive]).sum() - 1, 1 / math.log10(m * n))
    return m * n / time
