"""The posterior density of one lens, and its slopes."""

import numpy as np
import pytest
import torch

from darklens.fit.one_lens import Choices, fit_lens
from darklens.infer.lens_posterior import Density, sample_lens
from darklens.infer.scores import Scores
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Instrument, Scene, render


def fitted(model, light):
    """Return a fit of a small noisy ring on pixels, with a lens galaxy where light is fitted."""
    numbers = [
        [torch.tensor([v]) for v in row]
        for row in ((1.1, 0.1, -0.05, 0.0, 0.0), (0.03, -0.02), (8, 0.25, 1, 0.1, 0.1, 0.1, 0), (5, 0.4, 2, 0.15, 0.05, 0.0, 0.0))
    ]
    galaxy = () if light == "none" else (SersicEllipse(*numbers[3]),)
    masses, source = (SIE(*numbers[0]), Shear(*numbers[1])), (SersicEllipse(*numbers[2]),)
    scene = Scene(masses, (), source, ("",), {}, 0, (0,), lens_light=galaxy)
    image = render(scene, Instrument("", 0.1, GaussianPSF(0.2)), (32, 32), supersampling=2)[0].double().numpy()
    noisy = image + 0.02 * np.random.default_rng(0).standard_normal(image.shape)
    y, x = np.mgrid[-3:4, -3:4]
    psf = np.exp(-0.5 * (x**2 + y**2) / (2 / 2.3548) ** 2)
    choices = Choices(model=model, light=light, theta_E=1.1, starts=1, nodes=12)
    return fit_lens(noisy, np.full_like(noisy, 0.02), psf / psf.sum(), pixel_scale=0.1, choices=choices)


@pytest.fixture(scope="module")
def fit():
    return fitted("epl+shear+multipoles", "none")


@pytest.fixture(scope="module")
def lit():
    """Return a fit with Gaussians of lens light."""
    return fitted("sie+shear", "mge")


def density_of(fit, scores):
    return Density(fit.model, fit.found.solution.strength, scores)


def place(fit, scores):
    return np.append(scores.of(fit.found.eta), np.log(fit.found.solution.strength))


def test_slopes_of_the_density_are_its_differences(fit):
    scores = Scores.uniform(*fit.model.bounds)
    density, step = density_of(fit, scores), 1e-4
    at = place(fit, scores) + 0.02
    numeric = [(density(at + move) - density(at - move)) / (2 * step) for move in step * np.eye(len(at))]
    value, slopes = density.slope(at)
    assert value == pytest.approx(density(at))
    assert slopes == pytest.approx(numeric, rel=1e-3, abs=1e-2)


def test_the_density_ends_far_from_the_best_regularisation(fit):
    scores = Scores.uniform(*fit.model.bounds)
    at = place(fit, scores)
    at[-1] += 13
    assert density_of(fit, scores)(at) == -np.inf
    assert np.isnan(density_of(fit, scores).slope(at)[1]).all()


def test_other_scores_only_change_the_prior(fit):
    uniform = Scores.uniform(*fit.model.bounds)
    at = place(fit, uniform)
    p = len(fit.names)
    followed = uniform.following(at[:p], np.full(p, 0.05))
    moved = np.append(followed.of(uniform.values(at[:p])), at[-1])
    evidence = [density_of(fit, s)(v) - s.log_prior(v[:p]) for s, v in ((uniform, at), (followed, moved))]
    assert evidence[0] == pytest.approx(evidence[1], abs=1e-4)


def test_shapes_of_gaussians_are_noise_in_chains(lit):
    model = lit.model.shapes_as_noise(lit.found.eta, lit.found.solution)
    assert model.names == lit.model.macro.names
    scores, step = Scores.uniform(*model.bounds), 1e-4
    density = Density(model, lit.found.solution.strength, scores)
    at = np.append(scores.of(lit.found.eta[: len(model.names)]), np.log(lit.found.solution.strength)) + 0.02
    numeric = [(density(at + move) - density(at - move)) / (2 * step) for move in step * np.eye(len(at))]
    value, slopes = density.slope(at)
    assert value == pytest.approx(density(at))
    assert slopes == pytest.approx(numeric, rel=1e-3, abs=1e-2)


def test_other_light_than_gaussians_stays_a_parameter(fit):
    assert fit.model.shapes_as_noise(fit.found.eta, fit.found.solution) is fit.model


@pytest.mark.slow
def test_chains_before_gaussians_converge_and_draw_the_shapes_given_the_masses(lit):
    chains = sample_lens(lit, 400)
    assert chains.converged, chains.verdict()
    assert chains.names == (*lit.names, "ln_lambda")
    found, masses = chains.flat[:, :-1], len(lit.model.macro.names)
    width = found.std(0)[:masses] / np.sqrt(np.diag(lit.covariance))[:masses]
    assert (width > 0.7).all()
    assert (width < 1.4).all()
    low, high = lit.model.bounds
    assert ((found >= low) & (found <= high)).all()
    gaussian = np.random.default_rng(0).multivariate_normal(lit.found.eta, lit.covariance, 4000)
    assert np.abs(np.corrcoef(found.T) - np.corrcoef(gaussian.T)).max() < 0.4
