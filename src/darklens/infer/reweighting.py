r"""Draws of a network weighed with the exact likelihood: what the network only approximates, importance sampling puts right.

Of draws theta_s from q(theta | image), the weights `w_s = p(image | theta_s) p(theta_s) / q(theta_s | image)` make them draws of
the true posterior (Dax et al. 2023, arXiv:2210.05686). The effective number of draws `(sum w)^2 / sum w^2` says whether they
suffice: a network whose posterior is wide, or off, leaves few. Every number on which the image depends has to be among the
parameters: what is left out would have to be integrated over.

Where photons are many the true posterior is a hundred times narrower than what any network says, and hardly a draw of it counts.
Then the proposal goes there in steps, as the cross-entropy method does (Rubinstein 1999, Methodol. Comput. Appl. Probab. 1, 127):
a Gaussian is fitted to the draws with weights `p^b`, b as large as leaves a tenth of them effective, and drawn from anew; where b
is 1, with weights `p/q`, until these are even enough. Only the last draws count, with their exact weights.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from darklens.errors import InputError
from darklens.evaluate.posterior import effective_sample_size
from darklens.infer.latent import Hypothesis, hypotheses
from darklens.infer.likelihood import Likelihood, counting, likelihood_of_images
from darklens.simulate import DeepLenseSim, Preset
from darklens.simulate.priors import Fixed, Prior, Uniform

OF_CLASS = {"no_sub": (), "axion": ("log10_m_axion", "vortex_angle")}
"""Substructure of the classes of DeepLenseSim whose coordinates are truth columns."""
ANGLE = "vortex_angle"
ENOUGH, GOOD, TEMPERED = 0.2, 0.4, 0.1
"""Effective share of draws: that suffices; that ends the search; that each step of it keeps."""
WIDER, ROUNDS = 1.3, 40
"""By which a proposal's covariance is larger than that of the draws; steps at most."""
AT_ONCE = 256
"""Draws that are rendered together."""


def _free(population: DeepLenseSim, macro: tuple[str, ...]) -> dict[str, Prior]:
    return {name: getattr(population, name) for name in macro if not isinstance(getattr(population, name), Fixed)}


class Reweighting:
    """The exact posterior density, up to a constant, of images of a preset.

    Args:
        preset: whose likelihood is known.
        label: class of the images.
        names: the parameters, in the order of the draws.

    Raises:
        InputError: the likelihood of the preset is not known, or images depend on a number that is no parameter.
    """

    def __init__(self, preset: Preset, label: str, names: tuple[str, ...]) -> None:
        counting(preset)  # refuses what has no likelihood
        population = preset.population
        if not isinstance(population, DeepLenseSim) or label not in OF_CLASS:
            raise InputError(
                f"images of class {label!r} of {preset.name!r} depend on numbers that are no truth columns: re-weighting takes "
                f"{' and '.join(OF_CLASS)} of model-ii-noisy and model-iii-noisy; leave --reweight out"
            )
        self.preset, self.names = preset, names
        self.hypothesis: Hypothesis = next(h for h in hypotheses(population) if h.label == label)
        priors = _free(population, ("source_x", "source_y", "lens_mass", "e1", "e2", "gamma1", "gamma2", "R_sersic", "n_sersic"))
        self.priors = priors | dict.fromkeys(OF_CLASS[label], Uniform(0.0, 2 * math.pi))
        if label == "axion":
            self.priors["log10_m_axion"] = population.log10_m_axion
        missing = [name for name in self.priors if name not in names]
        strange = [name for name in names if name not in self.priors]
        if missing or strange:
            wanted = ", ".join(self.priors)
            what = f"lacks {missing[0]}" if missing else f"has {strange[0]}, on which images do not depend"
            raise InputError(
                f"re-weighting images of {preset.name!r} needs the parameters {wanted} and the run {what}: train one of these"
            )

    def coordinates(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates `(S, size)` in the unit cube of draws `(S, P)`, and which lie in it, `(S,)` bool."""
        columns = []
        for name, prior in self.priors.items():
            values, (low, high) = theta[:, self.names.index(name)], prior.support
            columns.append((values - low) / (high - low))
        u = np.stack(columns, 1)
        return u.clip(1e-9, 1 - 1e-9), np.all((u >= 0) & (u <= 1), axis=1)

    def log_posterior(self, likelihood: Likelihood, which: int, theta: np.ndarray) -> np.ndarray:
        """Return ln of likelihood times prior `(S,)`, up to a constant, of draws `(S, P)` for one image of a likelihood."""
        u, inside = self.coordinates(theta)
        found = np.full(len(theta), -np.inf)
        rows = np.flatnonzero(inside)
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            scene = self.hypothesis.scene(torch.from_numpy(u[some]))
            found[some] = likelihood(scene, torch.full((len(some),), which)).numpy()
        return found

    def weights(self, images: np.ndarray, samples: np.ndarray, log_prob: np.ndarray) -> np.ndarray:
        """Return log weights `(n, S)`.

        Args:
            images: `(n, 1, H, W)` as recorded.
            samples: `(n, S, P)`.
            log_prob: `(n, S)` log density that they were drawn with.
        """
        likelihood = likelihood_of_images(self.preset, images[:, 0])
        found = np.stack([self.log_posterior(likelihood, i, draws) for i, draws in enumerate(samples)])
        return _finite(found - log_prob)

    def __call__(self, images: np.ndarray, samples: np.ndarray, log_prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return draws `(n, S, P)` and their log weights `(n, S)`: the given draws, or better ones where few of those would count.

        Arguments are those of `weights`.
        """
        likelihood = likelihood_of_images(self.preset, images[:, 0])
        samples, weights = samples.copy(), np.empty(samples.shape[:2])
        for i in range(len(samples)):
            target = self.log_posterior(likelihood, i, samples[i])
            weights[i] = _finite(target - log_prob[i])
            if effective_sample_size(weights[i]) < ENOUGH * len(weights[i]):
                samples[i], weights[i] = self._moved(likelihood, i, samples[i], log_prob[i], target)
        return samples, weights

    def _moved(
        self, likelihood: Likelihood, which: int, draws: np.ndarray, log_q: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of an image from a proposal that has gone where the posterior is, and their log weights."""
        rng, count = np.random.default_rng(which), len(draws)
        draws = self._folded(draws, draws[np.argmax(target)])
        for _ in range(ROUNDS):
            narrow = _power(target, np.zeros(count))
            based = log_q if narrow == 1 else np.zeros(count)  # far too wide a proposal is narrowed first, as if it were flat
            power = _power(target, based)
            weight = np.exp((logs := _finite(power * target - based)) - logs.max())
            mean = weight @ draws / weight.sum()
            spread = (weight[:, None] * (draws - mean)).T @ (draws - mean) / weight.sum()
            root = np.linalg.cholesky(WIDER * spread + 1e-14 * np.eye(len(mean)))
            normal = rng.standard_normal((count, len(mean)))
            draws = mean + normal @ root.T
            log_q = -0.5 * (normal**2).sum(1) - np.log(np.diag(root)).sum()
            target = self.log_posterior(likelihood, which, self._unfolded(draws, rng))
            if effective_sample_size(_finite(target - log_q)) > GOOD * count:
                break
        return self._unfolded(draws, rng), _finite(target - log_q)

    def _folded(self, draws: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Return draws with the angle of the string, which is the same after half a turn, in the half circle about one of them."""
        if ANGLE not in self.names:
            return draws
        k, out = self.names.index(ANGLE), draws.copy()
        out[:, k] = near[k] + (draws[:, k] - near[k] + math.pi / 2) % math.pi - math.pi / 2
        return out

    def _unfolded(self, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return draws with the angle in the whole circle, each half equally often."""
        if ANGLE not in self.names:
            return draws
        k, out = self.names.index(ANGLE), draws.copy()
        out[:, k] = (draws[:, k] + math.pi * rng.integers(0, 2, len(draws))) % (2 * math.pi)
        return out


def _finite(weights: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(weights), weights, -1e300)


def _power(target: np.ndarray, log_q: np.ndarray) -> float:
    """Return the largest power of the posterior, at most 1, that leaves a tenth of the draws effective."""
    low, high = 0.0, 1.0
    if effective_sample_size(_finite(target - log_q)) >= TEMPERED * len(target):
        return 1.0
    for _ in range(30):
        middle = (low + high) / 2
        enough = effective_sample_size(_finite(middle * target - log_q)) >= TEMPERED * len(target)
        low, high = (middle, high) if enough else (low, middle)
    return max(low, 1e-9)
