"""Chains on densities that are known in closed form, and diagnostics against what they have to say."""

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.infer.chains import Samples, effective_size, r_hat, sample

NAMES = ("a", "b", "c")


def gaussian(p: int, seed: int = 0):
    root = np.random.default_rng(seed).standard_normal((p, p))
    covariance = root @ root.T / p + 0.1 * np.eye(p)
    inverse = np.linalg.inv(covariance)
    return covariance, lambda v: -0.5 * float(v @ inverse @ v)


@pytest.mark.slow
def test_a_gaussian_is_sampled_from_a_wrong_start():
    covariance, density = gaussian(3)
    sd = np.sqrt(np.diag(covariance))
    wrong = covariance * np.outer([0.7, 1.3, 1.0], [0.7, 1.3, 1.0])
    found = sample(density, NAMES, 0.3 * sd, wrong, samples=4000, seed=1)
    assert found.converged
    assert found.verdict() == ""
    assert np.abs(found.flat.mean(0) / sd).max() < 0.15
    assert np.allclose(found.flat.std(0), sd, rtol=0.1)
    assert np.allclose(np.corrcoef(found.flat.T), covariance / np.outer(sd, sd), atol=0.08)
    interval = found.intervals()["b"]
    assert interval["low95"] < interval["low"] < interval["value"] < interval["high"] < interval["high95"]
    assert (interval["high"] - interval["low"]) / 2 == pytest.approx(sd[1], rel=0.12)
    assert (interval["high95"] - interval["low95"]) / 2 == pytest.approx(1.96 * sd[1], rel=0.12)


@pytest.mark.slow
def test_twenty_parameters_are_sampled():
    covariance, density = gaussian(20)
    sd = np.sqrt(np.diag(covariance))
    found = sample(density, tuple(map(str, range(20))), 0.1 * sd, 1.1 * covariance, samples=3000, seed=2)
    assert found.converged
    assert np.allclose(found.flat.std(0), sd, rtol=0.15)


@pytest.mark.slow
def test_what_is_not_gaussian_is_sampled_too():
    def half(v):  # an exponential: mean 1, skewed, with an edge
        return -float(v[0]) if v[0] > 0 else -np.inf

    found = sample(half, ("a",), np.array([1.0]), np.array([[1.0]]), samples=6000, seed=3)
    assert (found.flat > 0).all()
    assert np.quantile(found.flat, [0.16, 0.5, 0.84]) == pytest.approx(-np.log([0.84, 0.5, 0.16]), rel=0.25)


def bent(v):  # a banana: what a Gaussian learnt in a short warm-up describes badly
    return -0.5 * float(v[0] ** 2 + ((v[1] - 0.5 * v[0] ** 2) / 0.3) ** 2)


def test_chains_that_do_not_pass_go_on_and_as_many_samples_are_kept():
    seen = []
    told = lambda done, total: seen.append((done, total))  # noqa: E731
    found = sample(bent, ("a", "b"), np.zeros(2), np.diag([1.0, 0.1]), samples=200, seed=4, progress=told)
    assert found.converged
    assert found.evaluations > 700
    assert found.values.shape == (4, 50, 2)
    assert seen[-1][0] == seen[-1][1] == found.evaluations
    assert [bent(v) for v in found.flat[:5]] == pytest.approx(found.log_density.ravel()[:5])


@pytest.mark.slow
def test_chains_that_pass_go_on_while_they_are_surprised(monkeypatch):
    _, density = gaussian(3)
    passed = sample(density, NAMES, np.zeros(3), np.eye(3), samples=1000)
    monkeypatch.setattr("darklens.infer.chains.SURPRISE_AT_MOST", 0.0)
    surprised = sample(density, NAMES, np.zeros(3), np.eye(3), samples=1000)
    assert passed.converged
    assert surprised.evaluations > 3 * passed.evaluations


def test_a_bent_ridge_is_sampled_to_its_ends():
    found = sample(bent, ("a", "b"), np.zeros(2), np.diag([1.0, 0.1]), samples=2000, seed=4)
    assert found.converged
    assert found.flat[:, 0].std() == pytest.approx(1, abs=0.1)
    assert found.flat[:, 1].mean() == pytest.approx(0.5, abs=0.1)


def test_two_modes_that_are_never_joined_are_not_converged():
    def density(v):
        return float(np.logaddexp(-0.5 * ((v[0] - 20) / 0.03) ** 2, -0.5 * ((v[0] + 20) / 0.03) ** 2))

    found = sample(density, ("a",), np.zeros(1), np.array([[400.0]]), samples=400, seed=0)
    assert not found.converged
    assert "have not converged: R-hat" in found.verdict()
    assert "take more --samples" in found.verdict()


def test_the_same_seed_gives_the_same_chains():
    _, density = gaussian(3)
    first, again, other = (sample(density, NAMES, np.zeros(3), np.eye(3), samples=100, seed=s).values for s in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_progress_ends_at_the_number_that_was_announced():
    seen = []
    _, density = gaussian(3)
    found = sample(density, NAMES, np.zeros(3), np.eye(3), samples=100, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == found.evaluations


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match="10 samples are too few"):
        sample(lambda v: 0.0, NAMES, np.zeros(3), np.eye(3), samples=10)


def test_effective_size_of_a_chain_with_memory():
    rng, rho = np.random.default_rng(0), 0.9
    chain = np.zeros((4, 4000))
    for i in range(1, 4000):
        chain[:, i] = rho * chain[:, i - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(4)
    assert effective_size(chain) == pytest.approx(16000 * (1 - rho) / (1 + rho), rel=0.2)
    assert effective_size(rng.standard_normal((4, 1000))) == pytest.approx(4000, rel=0.15)


def test_r_hat_sees_chains_apart_and_chains_of_other_width():
    rng = np.random.default_rng(1)
    same = rng.standard_normal((4, 500))
    assert r_hat(same) < 1.01
    assert r_hat(same + np.array([[0], [0], [0], [1.0]])) > 1.05
    assert r_hat(same * np.array([[1], [1], [1], [4.0]])) > 1.05
    assert r_hat(np.cumsum(same, axis=1)) > 1.1
    assert r_hat(np.zeros((4, 100))) == np.inf


def test_a_chain_that_never_moved_has_not_converged():
    stuck = Samples(("a",), np.zeros((4, 200, 1)), np.zeros((4, 200)), 0.0, 800)
    assert not stuck.converged
    assert stuck.verdict()
