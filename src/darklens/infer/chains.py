"""Posterior samples of a density that is dear to evaluate and nearly Gaussian, and whether to trust them.

A linear inversion a step costs too much for the thousands of gradients that NUTS spends. What is cheap here is a good guess, the
Gauss-Newton matrix of the fit, and memory: chains move about a Gaussian, which slopes of the density settle beforehand where they
are to be had (`darklens.infer.gaussian`), and by way of a stand-in for the density that goes through what was evaluated before
(`darklens.infer.steps`). Both are re-estimated in a warm-up whose states are thrown away, then frozen: every state after it is an
exact posterior sample in the limit. Chains start hot and are judged by rank-normalised split R-hat and the effective sample size
(Vehtari et al. 2021, Bayesian Analysis 16, 667). Chains that do not pass, or whose states surprise the stand-in, are thrown away
and go on for twice as long, with a stand-in that knows more, about a Gaussian that they may have widened: never a narrower one,
which would lose what only some of them have seen. Of a strongly bent ridge, chains that pass are still too narrow: by 18%, and by
6% in the number that bends it, where a parabola bends the second of two numbers by 1.7 of the scatter across it (1,000 samples, 30
runs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from darklens.errors import InputError
from darklens.infer.gaussian import Gaussian, LogDensity, Slope
from darklens.infer.steps import StandIn, Walk, walk

ROUNDS = 4
"""Of the warm-up; each is an eighth of the samples long or longer, and re-estimates the Gaussian from all that came before."""
SLOW = 4
"""Steps of a round of the warm-up for each parameter, at least."""
R_HAT_AT_MOST = 1.03
ESS_AT_LEAST = 100.0
"""What a converged set of chains has in every parameter."""
SURPRISE_AT_MOST = 0.5
"""Scatter of ln density about the stand-in, in units of that of a Gaussian's about its mean, the root of half the number of
parameters, above which chains go on although they pass: they are still finding out where the density is."""
CHAINS = 4
LENGTHS = 1, 2, 4
"""In units of the samples that were asked for, of which every second or fourth is kept."""
LEAST = 100
"""Samples below which nothing can be diagnosed."""


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
    slope: Slope | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Sample a density about an optimum.

    Args:
        log_density: of a vector `(p,)`; minus infinity outside its support.
        names: of the parameters.
        centre: `(p,)` optimum.
        covariance: `(p, p)` guess of the posterior's.
        samples: in all chains together; half as many evaluations (or more where there are many parameters) are
            spent on the warm-up besides, and up to seven times as many until chains converge.
        seed: of everything random.
        chains: how many.
        slope: ln density with its derivatives, which need not be exact: it settles the Gaussian before the warm-up.
        progress: called with evaluations done and in all.

    Raises:
        InputError: too few samples to judge them.
    """
    if samples < LEAST:
        raise InputError(f"{samples} samples are too few to tell whether chains converged: take at least {LEAST}")
    generator = np.random.default_rng(seed)
    each, warm = -(-samples // chains), max(SLOW * len(centre), -(-samples // (8 * chains)))
    known = _Evaluations(log_density, slope, progress, chains * (1 + ROUNDS * warm + each))

    def walked(steps: int, heat: float = 1.0) -> list[Walk]:
        return [walk(known.value, gaussian, stand_in, *last, steps, generator, heat) for last in ends]

    gaussian, stand_in, seen = known.first(Gaussian.of(centre, covariance), generator), None, []
    heat = gaussian.heat  # what lies in the tails has to be seen before it can be known
    ends = [(start, known.value(start)) for start in (gaussian.drawn(generator, heat) for _ in range(chains))]
    for _ in range(ROUNDS):
        walks = walked(warm, heat)
        ends = [found.end for found in walks]
        seen += [found.states for found in walks]
        gaussian = gaussian.widened(gaussian.learned(np.concatenate(seen[len(seen) // 3 :]), heat))
        stand_in = known.stand_in(gaussian)
    for length in LENGTHS:
        walks = walked(length * each)
        paths, densities = np.array([found.states for found in walks]), np.array([found.values for found in walks])
        share, done = sum(found.taken for found in walks) / (chains * length * each), len(known.values)
        judged = Samples(names, paths[:, length - 1 :: length], densities[:, length - 1 :: length], share, done)
        surprise = stand_in.surprise(paths.reshape(-1, len(centre)), densities.ravel()) if stand_in else 0.0
        known_enough = surprise <= SURPRISE_AT_MOST * math.sqrt(len(centre) / 2)
        if (judged.converged and known_enough) or length == LENGTHS[-1]:
            break
        ends = [found.end for found in walks]
        gaussian = gaussian.widened(gaussian.learned(paths.reshape(-1, len(centre))))
        stand_in = known.stand_in(gaussian)
        known.total += 2 * length * chains * each
    return judged


class _Evaluations:
    """All that was ever evaluated, and how many evaluations there will be.

    Args:
        log_density: of a vector.
        slope: the same with its derivatives, or None.
        progress: called with evaluations done and in all.
        total: in all, but for what `first` takes.
    """

    def __init__(self, log_density: LogDensity, slope: Slope | None, progress: Callable[[int, int], None], total: int):
        self._log_density, self._slope, self._progress, self.total = log_density, slope, progress, total
        self.vectors: list[np.ndarray] = []
        self.values: list[float] = []

    def first(self, guess: Gaussian, generator: np.random.Generator) -> Gaussian:
        """Return the Gaussian to begin with: that of the slopes, or without them a guess that the density does not refute."""
        if self._slope is not None:
            return guess.matched(self._with_slope, generator)
        self.total += 2 * len(guess.mean) + 1
        return guess.narrowed(self.value)

    def value(self, vector: np.ndarray) -> float:
        """Return ln density."""
        return self._noted(vector, self._log_density(vector))

    def stand_in(self, gaussian: Gaussian) -> StandIn | None:
        """Return a stand-in that goes through all of them."""
        return StandIn.through(gaussian, np.array(self.vectors), np.array(self.values))

    def _with_slope(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        assert self._slope is not None
        value, slopes = self._slope(vector)
        self.total += 1
        return self._noted(vector, value), slopes

    def _noted(self, vector: np.ndarray, value: float) -> float:
        self.vectors.append(vector)
        self.values.append(value)
        self._progress(len(self.values), self.total)
        return value


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
