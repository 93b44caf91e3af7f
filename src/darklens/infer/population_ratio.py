r"""A second opinion on a population: the ratio of likelihoods, learnt, where `population.py` adds up posteriors.

Both ask for the same function of mu and sigma, `p(image | mu, sigma)/p(image | reference)`, the reference being lenses whose
parameter follows the uniform prior. Posteriors give it as the mean of `p(f | mu, sigma)/p0(f)` over draws of f; here a small
network is taught to tell images of a population from those of the reference, and its logit is ln of the ratio. It never sees a
posterior: the two share what the image is told by, and no more.

For a simulated lens the ratio is known where its f is, `r = p(f | mu, sigma)/p0(f)`, and the classifier is taught with the
probability `r/(1 + r)` in place of the class (ALICES, Stoye et al. 2018, arXiv:1808.00973, eq. 13): the same minimum, less noise.
Lenses of a population are those of the reference whose f is nearest to a draw from it, so that no more is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from darklens.errors import InputError
from darklens.infer.population import FEWEST, NARROWEST, PopulationPosterior, Range, combined, population_grid
from darklens.models.ratio import Ratio

STEPS, BATCH, RATE = 4000, 512, 2e-3
HELD_OUT, EVERY = 0.15, 200
"""Share of the lenses that say when to stop, and steps between two looks at them."""
FEWEST_REFERENCE = 200
AT_ONCE = 8
"""Lenses that are asked about at all populations together."""


def draw_truncated(mu: np.ndarray, sigma: np.ndarray, prior: Range, u: np.ndarray) -> np.ndarray:
    """Return draws from Gaussians that are cut off at the ends of a prior, of uniform numbers u, by inverse transform."""
    low, high = (ndtr((end - mu) / sigma) for end in prior)
    return np.clip(mu + sigma * ndtri(low + u * (high - low)), *prior)


def log_density_ratio(values: np.ndarray, mu: np.ndarray, sigma: np.ndarray, prior: Range) -> np.ndarray:
    """Return ln p(f | mu, sigma)/p0(f) of values of the parameter."""
    inside = ndtr((prior[1] - mu) / sigma) - ndtr((prior[0] - mu) / sigma)
    gauss = -0.5 * ((values - mu) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi) * inside)
    return gauss + np.log(prior[1] - prior[0])


@dataclass(frozen=True)
class PopulationRatio:
    """A learnt ratio of likelihoods.

    Args:
        network: the classifier.
        mean, scatter: of the reference's summaries, `(S,)`.
        prior: of the reference.
    """

    network: Ratio
    mean: np.ndarray
    scatter: np.ndarray
    prior: Range

    def scaled(self, summaries: np.ndarray) -> Tensor:
        """Return summaries `(n, S)` as the network sees them."""
        return torch.from_numpy(((summaries - self.mean) / self.scatter).astype(np.float32))

    def told(self, mu: np.ndarray, sigma: np.ndarray) -> Tensor:
        """Return populations `(n, 2)` as the network sees them: each number from -1 to 1."""
        low, high = self.prior
        place, width = (mu - low) / (high - low), 1 - np.log(sigma / (high - low)) / np.log(NARROWEST)
        return torch.from_numpy(np.stack([2 * place - 1, 2 * width - 1], -1).astype(np.float32))

    def lens_likelihoods(self, summaries: np.ndarray) -> np.ndarray:
        """Return ln of each lens's ratio on the grid, `(N, M, K)`, of summaries `(N, S)`."""
        mu, sigma = population_grid(self.prior)
        told, found = self.told(*(part.ravel() for part in np.meshgrid(mu, sigma, indexing="ij"))), []
        with torch.no_grad():
            for some in self.scaled(summaries).split(AT_ONCE):
                found.append(self.network(some[:, None], told).double().numpy())
        return np.concatenate(found).reshape(len(summaries), len(mu), len(sigma))

    def infer(self, summaries: np.ndarray) -> PopulationPosterior:
        """Return the posterior of mean and scatter over lenses with summaries `(N, S)`, priors as of `infer_population`.

        Raises:
            InputError: fewer than two lenses.
        """
        if len(summaries) < FEWEST:
            raise InputError(f"{len(summaries)} lens is no population: give at least {FEWEST}")
        return combined(self.lens_likelihoods(summaries), self.prior)


def learn_ratio(summaries: np.ndarray, values: np.ndarray, prior: Range, *, steps: int = STEPS, seed: int = 0) -> PopulationRatio:
    """Teach a network the ratio of likelihoods, on the CPU.

    Args:
        summaries: `(n, S)` of lenses that no network has been trained on.
        values: `(n,)` of their parameter, which follow the prior.
        prior: uniform, from its lowest to its highest value.
        steps: of the training; the weights that are kept are the best on lenses held out.
        seed: of weights and batches.

    Raises:
        InputError: too few lenses to learn from.
    """
    if len(values) < FEWEST_REFERENCE:
        raise InputError(f"{len(values)} lenses are too few to learn a ratio from: give at least {FEWEST_REFERENCE}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(values))
    held, used = np.split(order, [int(HELD_OUT * len(values))])
    network = Ratio(summaries.shape[1], 2, seed=seed)
    ratio = PopulationRatio(network, summaries[used].mean(0), summaries[used].std(0) + 1e-6, prior)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    judged = _batch(ratio, summaries[held], values[held], np.random.default_rng(seed + 1), 20 * BATCH)
    best, kept = np.inf, network.state_dict()
    for step in range(1, steps + 1):
        loss = _loss(network, *_batch(ratio, summaries[used], values[used], rng, BATCH))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % EVERY == 0 or step == steps:
            with torch.no_grad():
                found = float(_loss(network, *judged))
            if found < best:
                best, kept = found, {name: weights.clone() for name, weights in network.state_dict().items()}
    network.load_state_dict(kept)
    return ratio


def _loss(network: Ratio, summaries: Tensor, told: Tensor, probability: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(network(summaries, told), probability)


def _batch(
    ratio: PopulationRatio, summaries: np.ndarray, values: np.ndarray, rng: np.random.Generator, n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return summaries, populations and the probability of the population: half the lenses are of it, half of the reference."""
    low, high = ratio.prior
    mu, sigma = rng.uniform(low, high, n), (high - low) * NARROWEST ** rng.random(n)
    order = np.argsort(values)
    wanted = draw_truncated(mu[: n // 2], sigma[: n // 2], ratio.prior, rng.random(n // 2))
    right = np.searchsorted(values[order], wanted).clip(1, len(values) - 1)
    left = right - (wanted - values[order[right - 1]] < values[order[right]] - wanted)
    lens = np.concatenate([order[left], rng.integers(0, len(values), n - n // 2)])
    logit = log_density_ratio(values[lens], mu, sigma, ratio.prior)
    probability = torch.from_numpy(1 / (1 + np.exp(-logit.clip(-60, 60)))).float()
    return ratio.scaled(summaries[lens]), ratio.told(mu, sigma), probability
