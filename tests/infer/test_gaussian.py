"""What is learned of a density that is nearly Gaussian."""

import numpy as np
import pytest

from darklens.infer.gaussian import BEARABLE, Gaussian

STANDARD = Gaussian.of(np.zeros(2), np.eye(2))


def drawn(n, seed=0, width=1.4):
    return width * np.random.default_rng(seed).standard_normal((n, 2))


def correlated(p, seed=0):
    root = np.random.default_rng(seed).standard_normal((p, p))
    return root @ root.T / p + 0.1 * np.eye(p)


def test_a_gaussian_that_is_too_wide_is_narrowed_where_the_density_says_so():
    wide = Gaussian.of(np.zeros(2), np.array([[1.0, 0.3], [0.3, 1.0]]))
    stiff = np.linalg.inv(np.array([[1.0, 0.3], [0.3, 1.0]]))
    falls = stiff + np.diag([0.0, 99.0 * stiff[1, 1]])  # a hundred times as fast along the second
    found = wide.narrowed(lambda v: -0.5 * float(v @ falls @ v))
    expected = np.linalg.inv(stiff + np.diag([0.0, (100 / BEARABLE - 1) * stiff[1, 1]]))
    assert found.root @ found.root.T == pytest.approx(expected, rel=0.01)
    kept = STANDARD.narrowed(lambda v: -0.05 * float(v @ v) if v[1] < 0.5 else -np.inf)
    assert kept.root == pytest.approx(np.eye(2))


def test_gaussians_grow_and_never_shrink():
    learned = STANDARD.learned(drawn(4000, width=2.0))
    assert np.diag(learned.root @ learned.root.T) == pytest.approx(4.0, rel=0.15)
    cooled = STANDARD.learned(drawn(4000, width=2.0), heat=4.0)
    assert np.diag(cooled.root @ cooled.root.T) == pytest.approx(1.0, rel=0.15)
    kept = STANDARD.widened(Gaussian.of(np.ones(2), np.diag([0.25, 4.0])))
    assert np.diag(kept.root @ kept.root.T) == pytest.approx([1.0, 4.0])
    assert kept.mean == pytest.approx([1.0, 1.0])


def test_slopes_of_a_gaussian_are_matched_from_a_wrong_start():
    covariance, mean, asked = correlated(12), np.linspace(-1, 1, 12), []
    precision = np.linalg.inv(covariance)

    def slope(v):
        asked.append(v)
        return -0.5 * float((v - mean) @ precision @ (v - mean)), -precision @ (v - mean)

    found = Gaussian.of(np.zeros(12), np.diag(np.diag(covariance)) * 0.2).matched(slope, np.random.default_rng(0))
    assert found.mean == pytest.approx(mean, abs=0.1)
    relative = np.linalg.eigvals(np.linalg.solve(covariance, found.covariance)).real
    assert (relative.min(), relative.max()) == (pytest.approx(1, abs=0.25), pytest.approx(1, abs=0.25))
    assert len(asked) < 150


def test_slopes_far_down_count_for_less():
    def slope(v):  # a Gaussian that ends in a steep wall
        wall = max(v[0] - 1.0, 0.0)
        return -0.5 * float(v @ v) - 500 * wall, -v - np.array([500.0 * (wall > 0), 0])

    found = STANDARD.matched(slope, np.random.default_rng(0))
    assert 0.3 < found.covariance[0, 0] < 1.3
    assert found.covariance[1, 1] == pytest.approx(1, abs=0.15)


def test_draws_outside_the_support_are_left_out():
    def slope(v):
        return (-0.5 * float(v @ v), -v) if v[0] < 1.5 else (-np.inf, np.full(2, np.nan))

    assert STANDARD.matched(slope, np.random.default_rng(0)).covariance == pytest.approx(np.eye(2), abs=1e-6)
    nowhere = STANDARD.matched(lambda v: (-np.inf, np.full(2, np.nan)), np.random.default_rng(0))
    assert nowhere.root == pytest.approx(np.eye(2))


def test_a_matched_gaussian_is_changed_less_by_states():
    matched = STANDARD.matched(lambda v: (-0.5 * float(v @ v), -v), np.random.default_rng(0))
    few = drawn(60) + 1
    assert np.abs(matched.learned(few).mean).max() < 0.5 * np.abs(STANDARD.learned(few).mean).max()
