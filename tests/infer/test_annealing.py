import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal

from darklens.evaluate import classification_metrics
from darklens.infer import Problem, anneal

AT = torch.tensor([0.2, 0.35, 0.6, 0.8], dtype=torch.float64)
"""Where the mass may stand."""
GRID = torch.linspace(0, 1, 12, dtype=torch.float64)
NOISE = 1.3
SMOOTH = 1.5
"""Strength of the smooth lens is SMOOTH u."""


def template(w):
    """Image of one mass of known strength at the one of the places that w in [0, 1] picks, `(B, 12)`."""
    place = AT[(w * len(AT)).long().clamp_max(len(AT) - 1)]
    return 2.0 * torch.exp(-0.5 * ((GRID - place[:, None]) / 0.1) ** 2)


def slope(u):
    """Image of the smooth lens, which a mass can be taken for in part, `(B, 12)`."""
    return SMOOTH * u[:, None] * (1 + GRID)


def draw(n, rng):
    label = rng.integers(0, 2, n)
    u, w = (torch.from_numpy(rng.random(n)) for _ in range(2))
    clean = slope(u) + torch.from_numpy(label)[:, None] * template(w)
    return label, torch.stack([u, w], 1), clean + NOISE * torch.from_numpy(rng.standard_normal((n, 12)))


def problem(data, *, mass):
    """The integral over the smooth lens, and over the mass's place where there is one."""
    basis = slope(torch.ones(1, dtype=torch.float64))[0]
    information = basis @ basis / NOISE**2
    centre = (data @ basis / NOISE**2 / information)[:, None]
    many = torch.ones(len(data), 1, 1, dtype=torch.float64)

    def log_likelihood(t, which):
        mean = slope(t[:, 0]) + (template(t[:, 1]) if mass else 0)
        return -0.5 * ((data[which] - mean) / NOISE).square().sum(1)

    def shift(w, which):
        return (template(w[:, 0]) @ basis / NOISE**2 / information)[:, None] if mass else w.new_zeros(len(w), 1)

    blocks = torch.ones(1, 1, dtype=torch.bool) if mass else torch.zeros(0, 0, dtype=torch.bool)
    return Problem(log_likelihood, shift, centre.clamp(0, 1), 4 * many / information, many * information, blocks)


def exact(data):
    """ln Z of both classes in closed form but for the smooth lens, by the trapezium rule on a fine grid, `(n, 2)`."""
    u = torch.linspace(0, 1, 801, dtype=torch.float64)
    smooth = slope(u)
    each = [torch.zeros(1, 12, dtype=torch.float64), *(template((torch.tensor([k]) + 0.5) / len(AT)) for k in range(len(AT)))]
    log_z = []
    for t in each:
        chi2 = ((data[:, None] - smooth - t) / NOISE).square().sum(2).numpy()
        weights = np.full(len(u), 1 / (len(u) - 1))
        weights[[0, -1]] /= 2
        log_z.append(logsumexp(-0.5 * chi2, b=weights, axis=1))
    return np.stack([log_z[0], logsumexp(log_z[1:], axis=0) - math.log(len(AT))], 1)


@pytest.fixture(scope="module")
def toy():
    label, truth, data = draw(240, np.random.default_rng(3))
    estimate = [anneal(problem(data, mass=mass), chains=24, steps=100, seed=4 + mass) for mass in (False, True)]
    return label, truth, data, np.stack([z.numpy() for z, _ in estimate], 1), exact(data)


def test_evidence_is_that_of_the_exact_sum(toy):
    *_, estimate, known = toy
    error = estimate - known
    assert np.abs(np.median(error, axis=0)).max() < 0.05
    assert np.sqrt((error**2).mean(0)).max() < 0.3
    assert np.std(np.diff(known, axis=1)) > 1, "the toy must have something to tell"


def test_score_is_that_of_the_exact_likelihood_ratio(toy):
    label, *_, estimate, known = toy
    classes = ("no", "mass")
    best, found = (classification_metrics(softmax(z, 1), label, classes, n_boot=50) for z in (known, estimate))
    assert 0.75 < best["auc_macro"]["value"] < 0.98
    assert found["auc_macro"]["value"] == pytest.approx(best["auc_macro"]["value"], abs=0.02)
    assert found["ece"]["low"] == 0, "a posterior over the true prior is calibrated"


def test_chains_from_the_truth_bound_the_evidence_from_above(toy):
    label, truth, data, _, known = toy
    mine = label == 1
    few = dict(chains=4, steps=6, seed=9)
    up, _ = anneal(problem(data[mine], mass=True), truth=truth[mine], **few)
    low, effective = anneal(problem(data[mine], mass=True), **few)
    known = known[mine, 1]
    error = (up.numpy() - known).std() / mine.sum() ** 0.5
    assert (low.numpy() - known).mean() < 0.02
    assert (up.numpy() - known).mean() > -2 * error
    assert (up - low).mean() > 0.05, "with so few steps the bounds must stand apart"
    assert ((effective >= 1 - 1e-9) & (effective <= 4 + 1e-9)).all()
    many = dict(chains=4, steps=120, seed=9)
    close = anneal(problem(data[mine], mass=True), truth=truth[mine], **many)[0] - anneal(problem(data[mine], mass=True), **many)[0]
    assert close.mean() < 0.5 * (up - low).mean()


def test_the_base_distribution_is_cut_at_the_edge_of_the_prior():
    """A flat likelihood has ln Z = 0, wherever q stands: here half of it and more lies outside."""
    one = torch.ones(40, 1, 1, dtype=torch.float64)
    flat = Problem(
        lambda t, which: t.new_zeros(len(t)),
        lambda w, which: w.new_zeros(len(w), 1),
        torch.zeros(40, 1, dtype=torch.float64),
        0.3**2 * one,
        one,
        torch.zeros(0, 0, dtype=torch.bool),
    )
    log_z, _ = anneal(flat, chains=32, steps=60, seed=1)
    assert log_z.exp().mean() == pytest.approx(1, abs=0.1)


def test_normal_in_two_dimensions_off_the_centre():
    """Gaussian likelihood well within the cube, correlated, with q in the wrong place."""
    mean, covariance = np.array([0.45, 0.55]), np.array([[4e-3, 2e-3], [2e-3, 3e-3]])
    precision = torch.from_numpy(np.linalg.inv(covariance)).expand(20, 2, 2)
    where = torch.from_numpy(mean)

    def log_likelihood(t, which):
        return -0.5 * torch.einsum("bi,ij,bj->b", t - where, precision[0], t - where)

    start = Problem(
        log_likelihood, lambda w, which: w.new_zeros(len(w), 2), where.expand(20, 2) + 0.05,
        4 * torch.linalg.inv(precision), precision,
        torch.zeros(0, 0, dtype=torch.bool),
    )  # fmt: skip
    log_z, _ = anneal(start, chains=16, steps=80, seed=2)
    assert log_z.mean().item() == pytest.approx(-multivariate_normal(mean, covariance).logpdf(mean), abs=0.1)
