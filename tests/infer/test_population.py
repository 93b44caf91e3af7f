"""Populations of lenses whose truth is known: Gaussian posteriors under a uniform prior."""

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.infer.population import infer_population, population_coverage

PRIOR = (0.0, 1.0)


def posteriors(truth: np.ndarray, error: float, seed: int = 0, draws: int = 400) -> np.ndarray:
    """Draws `(N, S)` of the posteriors of lenses measured with an error, under the uniform prior."""
    rng = np.random.default_rng(seed)
    measured = truth + error * rng.standard_normal(len(truth))
    grid = np.linspace(0, 1, 801)
    density = np.exp(-0.5 * ((grid - measured[:, None]) / error) ** 2)
    return np.stack([rng.choice(grid, draws, p=row / row.sum()) for row in density])


def test_mean_and_scatter_are_found_though_each_lens_says_little():
    rng = np.random.default_rng(1)
    truth = np.clip(0.55 + 0.12 * rng.standard_normal(150), 0, 1)
    found = infer_population(posteriors(truth, 0.3), PRIOR).summary()
    assert found["mu"]["low_95"] < 0.55 < found["mu"]["high_95"]
    assert found["mu"]["high"] - found["mu"]["low"] < 0.12  # a single lens: 0.5
    assert found["sigma"]["low_95"] < 0.12 < found["sigma"]["high_95"]
    assert found["lenses"] == 150


def test_more_lenses_know_more():
    truth = np.clip(0.4 + 0.1 * np.random.default_rng(2).standard_normal(200), 0, 1)
    samples = posteriors(truth, 0.2)
    widths = [(s := infer_population(samples[:n], PRIOR).summary()["mu"])["high"] - s["low"] for n in (10, 200)]
    assert widths[1] < widths[0] / 2


def test_coverage_holds_for_right_posteriors_and_not_for_shifted_ones():
    truth = np.random.default_rng(3).random(800)
    samples = posteriors(truth, 0.15)
    right = population_coverage(samples, truth, PRIOR, lenses=30, sets=120)
    assert right["coverage_68"]["low"] < 0.68 < right["coverage_68"]["high"]
    assert right["coverage_95"]["value"] > 0.88
    assert abs(right["bias"]["value"]) < 0.03
    wrong = population_coverage(np.clip(samples + 0.1, 0, 1), truth, PRIOR, lenses=30, sets=120)
    assert wrong["bias"]["low"] > 0.05
    assert wrong["coverage_68"]["high"] < 0.5


def test_lenses_that_say_nothing_are_no_evidence():
    with pytest.raises(InputError, match="as wide as the prior"):
        infer_population(np.random.default_rng(4).random((60, 2000)), PRIOR)


def test_draws_beyond_the_prior_do_not_count():
    samples = posteriors(np.full(40, 0.5), 0.1)
    beyond = np.concatenate([samples, np.full((40, 20), 1.001)], 1)
    same, other = (infer_population(draws, PRIOR).summary()["mu"]["value"] for draws in (samples, beyond))
    assert other == pytest.approx(same, abs=1e-6)


def test_wrong_input_is_one_sentence():
    with pytest.raises(InputError, match="at least 2"):
        infer_population(np.zeros((1, 10)), PRIOR)
    with pytest.raises(InputError, match="too few to draw sets of 50"):
        population_coverage(np.zeros((60, 10)), np.linspace(0, 1, 60), PRIOR)
