"""Parameters as normal scores of what their priors allow."""

import numpy as np
import pytest

from darklens.infer.chains import sample
from darklens.infer.lens_posterior import OUTERMOST, Scores

SCORES = Scores(np.array([0.5, -0.6, -0.6]), np.array([2.0, 0.6, 0.6]))


def test_scores_and_values_are_each_other():
    values = np.array([1.2, -0.3, 0.55])
    assert SCORES.values(SCORES.of(values)) == pytest.approx(values)
    assert SCORES.of(np.array([0.5, 0.6, 0.7])) == pytest.approx([-OUTERMOST, OUTERMOST, OUTERMOST])


def test_slopes_are_those_of_the_values():
    at, step = np.array([0.3, -1.2, 2.0]), 1e-6
    assert SCORES.slopes(at) == pytest.approx((SCORES.values(at + step) - SCORES.values(at - step)) / (2 * step), rel=1e-6)


def test_what_the_data_leave_open_has_the_prior_as_its_posterior():
    def density(scores):  # the first is measured, of the second it is known that it is positive, of the third nothing
        x = SCORES.values(scores)
        return -0.5 * ((x[0] - 1.1) / 0.01) ** 2 + SCORES.log_prior(scores) if x[1] > 0 else -np.inf

    start = SCORES.of(np.array([1.1, 0.3, 0.6]))
    found = sample(density, ("a", "b", "c"), start, np.diag([0.02**2, 1.0, 1.0]), samples=3000, seed=1)
    assert found.converged
    x = SCORES.values(found.flat)
    assert (x[:, 0].mean(), x[:, 0].std()) == (pytest.approx(1.1, abs=0.002), pytest.approx(0.01, rel=0.1))
    assert np.quantile(x[:, 1], [0.1, 0.5, 0.9]) == pytest.approx([0.06, 0.3, 0.54], abs=0.04)
    assert np.quantile(x[:, 2], [0.1, 0.5, 0.9]) == pytest.approx([-0.48, 0.0, 0.48], abs=0.08)
