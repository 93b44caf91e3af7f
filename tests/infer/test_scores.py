"""Parameters as normal scores of what their priors allow, and of what is known of them."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri

from darklens.infer.chains import sample
from darklens.infer.scores import OUTERMOST, Scores

SCORES = Scores.uniform(np.array([0.5, -0.6, -0.6]), np.array([2.0, 0.6, 0.6]))
CUT = Scores(SCORES.low, SCORES.high, np.array([1.0, 0.65, 0.1]), np.array([0.01, 0.1, 0.3]))


def test_scores_and_values_are_each_other():
    values = np.array([1.2, -0.3, 0.55])
    assert SCORES.values(SCORES.of(values)) == pytest.approx(values)
    assert SCORES.of(np.array([0.5, 0.6, 0.7])) == pytest.approx([-OUTERMOST, OUTERMOST, OUTERMOST])


@pytest.mark.parametrize("scores", [SCORES, CUT])
def test_slopes_are_those_of_the_values(scores):
    at, step = np.array([0.3, -1.2, 2.0]), 1e-5
    assert scores.slopes(at) == pytest.approx((scores.values(at + step) - scores.values(at - step)) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("scores", [SCORES, CUT])
def test_a_uniform_prior_stays_one_among_any_scores(scores):
    at, step = np.array([0.3, -1.2, 2.0]), 1e-5
    other = np.array([0.1, 0.4, -0.7])
    among = np.log(scores.slopes(at)).sum() - np.log(scores.slopes(other)).sum()
    assert scores.log_prior(at) - scores.log_prior(other) == pytest.approx(among, rel=1e-6)
    moves = step * np.eye(3)
    numeric = [(scores.log_prior(at + move) - scores.log_prior(at - move)) / (2 * step) for move in moves]
    assert scores.log_prior_slopes(at) == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_scores_of_a_cut_gaussian_and_values_are_each_other():
    values = np.array([1.013, 0.58, -0.4])
    assert CUT.values(CUT.of(values)) == pytest.approx(values)
    assert CUT.of(values)[0] == pytest.approx(1.3)  # far from bounds they are standard deviations
    assert (CUT.values(np.full(3, 9.0)) <= CUT.high).all()


def test_scores_follow_a_posterior_that_piles_up_at_a_bound():
    low, high, middle, width = (np.array([v]) for v in (-0.6, 0.6, 0.63, 0.05))
    draws = stats.truncnorm.rvs(*((low - middle) / width, (high - middle) / width), middle, width, 20_000, random_state=0)
    uniform = Scores.uniform(low, high)
    free = ndtri((draws - low) / (high - low))
    followed = uniform.following(np.array([free.mean()]), np.array([free.std()]))
    scores = np.array([followed.of(np.array([v]))[0] for v in draws[:3000]])
    assert abs(stats.skew(free)) > 0.5
    assert abs(stats.skew(scores)) < 0.3


def test_what_is_not_known_is_not_followed():
    same = SCORES.following(np.zeros(3), np.ones(3))
    assert same.width == pytest.approx(SCORES.width)
    assert same.middle == pytest.approx(SCORES.middle)


@pytest.mark.slow
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
