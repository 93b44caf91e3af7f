"""Measures of posteriors, on Gaussians whose posterior is known exactly."""

import numpy as np
import pytest

from darklens.evaluate.posterior import (
    critical,
    deviation,
    effective_sample_size,
    information,
    posterior_metrics,
    ranks,
    recalibrated,
    tarp,
    weighted_quantile,
)

N, S = 1500, 400


def conjugate(factor: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws `(N, S, 2)` and truth of theta ~ N(0, 1), x ~ N(theta, 1): the posterior is N(x/2, 1/2), here scaled and shifted."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((N, 2))
    data = truth + rng.standard_normal((N, 2))
    samples = data[:, None] / 2 + shift + factor * np.sqrt(0.5) * rng.standard_normal((N, S, 2))
    return samples, truth


def test_the_exact_posterior_passes_every_test():
    found = posterior_metrics(*conjugate(), ("a", "b"), n_boot=200)
    for name in ("a", "b"):
        one = found["parameters"][name]
        assert one["coverage_68"]["low"] < 0.68 < one["coverage_68"]["high"]
        assert one["coverage_95"]["low"] < 0.95 < one["coverage_95"]["high"]
        assert one["ks"] < 1.3 * one["critical"]
        assert abs(one["bias"]["value"]) < 0.06
        assert one["rmse"]["value"] == pytest.approx(np.sqrt(0.5), rel=0.06)
        assert one["width"]["value"] == pytest.approx(np.sqrt(0.5), rel=0.05)
        assert one["prior_mae"]["value"] == pytest.approx(np.sqrt(2 / np.pi), rel=0.06)
        assert sum(one["ranks"]) == N
        assert one["information"]["value"] == pytest.approx(0.5 * np.log(2), abs=0.03)  # of Gaussians: prior and noise of one width
    assert found["tarp"]["ks"] < 1.3 * found["tarp"]["critical"]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_width_shows_in_coverage_ranks_and_tarp(factor):
    found = posterior_metrics(*conjugate(factor), ("a", "b"), n_boot=50)
    one = found["parameters"]["a"]
    assert (one["coverage_68"]["high"] < 0.68) if factor < 1 else (one["coverage_68"]["low"] > 0.68)
    assert one["ks"] > 2 * one["critical"]
    assert found["tarp"]["ks"] > 2 * found["tarp"]["critical"]


def test_a_bias_shows_in_bias_and_ranks():
    found = posterior_metrics(*conjugate(shift=0.3), ("a", "b"), n_boot=200)["parameters"]["a"]
    assert found["bias"]["low"] > 0.2
    assert found["ks"] > 2 * found["critical"]
    assert found["scatter"]["value"] < found["rmse"]["value"]


def test_tarp_sees_a_correlation_that_marginals_do_not():
    samples, truth = conjugate()
    rng = np.random.default_rng(1)
    truth = truth.copy()
    middle = samples.mean(1)
    noise = np.sqrt(0.5) * rng.standard_normal(N)
    truth = middle + np.stack([noise, noise], 1)  # errors of one parameter are those of the other; the draws do not know it
    assert deviation(ranks(samples, truth)[:, 0]) < 1.5 * critical(N)
    assert deviation(tarp(samples, truth)) > 2 * critical(N)


def test_information_is_of_the_posterior_and_not_of_its_median():
    rng = np.random.default_rng(6)
    nothing = rng.random((200, 500))
    assert information(nothing).mean() == pytest.approx(0, abs=0.004)
    either = (rng.random((200, 1)) / 2 + 0.01 * rng.standard_normal((200, 500)) + 0.5 * rng.integers(0, 2, (200, 500))) % 1
    # an angle that is known but for half a turn
    assert information(either).mean() > 1.5


def test_deviation_is_that_of_scipy():
    from scipy.stats import kstest

    shares = np.random.default_rng(0).random(300) ** 1.2
    assert deviation(shares) == pytest.approx(kstest(shares, "uniform").statistic)


def test_weights():
    assert effective_sample_size(np.zeros(50)) == pytest.approx(50)
    assert effective_sample_size(np.array([0.0, -1e3, -1e3])) == pytest.approx(1)
    rng = np.random.default_rng(0)
    values = rng.uniform(-5, 5, 200_000)
    found = weighted_quantile(values, np.exp(-0.5 * (values - 1) ** 2), (0.16, 0.5, 0.84))
    assert found == pytest.approx([1 - 0.994, 1.0, 1 + 0.994], abs=0.03)


@pytest.mark.parametrize("factor", [0.6, 1.7])
def test_calibration_on_other_images_makes_intervals_hold(factor):
    held_out, known = conjugate(factor, shift=0.2, seed=1)
    quantiles = np.quantile(ranks(held_out, known), np.linspace(0, 1, 11), axis=0).T
    quantiles[:, 0], quantiles[:, -1] = 0, 1
    samples, truth = conjugate(factor, shift=0.2)
    moved = recalibrated(samples, quantiles)
    before, after = (posterior_metrics(s, truth, ("a", "b"), n_boot=50)["parameters"]["a"] for s in (samples, moved))
    assert abs(after["coverage_68"]["value"] - 0.68) < 0.05 < abs(before["coverage_68"]["value"] - 0.68)
    assert abs(after["bias"]["value"]) < 0.08 < abs(before["bias"]["value"])
    same = recalibrated(samples[:5], np.tile(np.linspace(0, 1, 11), (2, 1)))
    assert same == pytest.approx(samples[:5])
