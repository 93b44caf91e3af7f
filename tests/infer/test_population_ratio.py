"""A learnt ratio of likelihoods, on lenses whose exact one is known: a measurement with a Gaussian error."""

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.infer.population import infer_population
from darklens.infer.population_ratio import draw_truncated, learn_ratio, log_density_ratio

PRIOR = (0.0, 1.0)
ERROR = 0.1


def measured(values: np.ndarray, seed: int) -> np.ndarray:
    """Summaries `(n, 3)`: the measurement, the same upside down, and a number that says nothing."""
    rng = np.random.default_rng(seed)
    found = values + ERROR * rng.standard_normal(len(values))
    return np.stack([found, -2 * found, rng.standard_normal(len(values))], 1)


def exact(summaries: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draws `(N, 600)` of the posteriors under the uniform prior."""
    rng, grid = np.random.default_rng(seed), np.linspace(0, 1, 801)
    density = np.exp(-0.5 * ((grid - summaries[:, :1]) / ERROR) ** 2)
    return np.stack([rng.choice(grid, 600, p=row / row.sum()) for row in density])


@pytest.fixture(scope="module")
def ratio():
    values = np.random.default_rng(0).random(3000)
    return learn_ratio(measured(values, 1), values, PRIOR, steps=1200)


@pytest.mark.slow
def test_it_agrees_with_the_sum_over_exact_posteriors(ratio):
    rng = np.random.default_rng(2)
    for mu, sigma in ((0.3, 0.1), (0.7, 0.25)):
        values = draw_truncated(np.full(60, mu), np.full(60, sigma), PRIOR, rng.random(60))
        summaries = measured(values, 3)
        learnt, summed = ratio.infer(summaries).summary(), infer_population(exact(summaries), PRIOR).summary()
        width = (summed["mu"]["high"] - summed["mu"]["low"]) / 2
        assert abs(learnt["mu"]["value"] - summed["mu"]["value"]) < width
        assert 0.6 < (learnt["mu"]["high"] - learnt["mu"]["low"]) / 2 / width < 1.7
        assert learnt["lenses"] == 60


def test_draws_of_a_population_follow_its_density():
    mu, sigma = np.full(200_000, 0.15), np.full(200_000, 0.3)
    drawn = draw_truncated(mu, sigma, PRIOR, np.random.default_rng(0).random(200_000))
    edges = np.linspace(0, 1, 21)
    share = np.histogram(drawn, edges)[0] / len(drawn)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.exp(log_density_ratio(middle, mu[0], sigma[0], PRIOR))
    assert share * 20 == pytest.approx(density, rel=0.05)
    assert density.mean() == pytest.approx(1, rel=0.01)


def test_the_seed_fixes_what_is_learnt():
    values = np.random.default_rng(4).random(300)
    first, again, other = (learn_ratio(measured(values, 5), values, PRIOR, steps=20, seed=s) for s in (7, 7, 8))
    summaries = measured(values[:2], 6)
    assert np.array_equal(first.lens_likelihoods(summaries), again.lens_likelihoods(summaries))
    assert not np.array_equal(first.lens_likelihoods(summaries), other.lens_likelihoods(summaries))


def test_wrong_input_is_one_sentence(ratio):
    with pytest.raises(InputError, match="at least 2"):
        ratio.infer(np.zeros((1, 3)))
    with pytest.raises(InputError, match="50 lenses are too few"):
        learn_ratio(np.zeros((50, 3)), np.linspace(0, 1, 50), PRIOR)
