"""The posterior density of one lens, and its slopes."""

import numpy as np
import pytest
import torch

from darklens.fit.one_lens import Choices, fit_lens
from darklens.infer.lens_posterior import Density
from darklens.infer.scores import Scores
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Instrument, Scene, render


@pytest.fixture(scope="module")
def fit():
    """Return a fit of a small noisy ring on pixels."""
    numbers = [
        [torch.tensor([v]) for v in row] for row in ((1.1, 0.1, -0.05, 0.0, 0.0), (0.03, -0.02), (8, 0.25, 1, 0.1, 0.1, 0.1, 0))
    ]
    scene = Scene((SIE(*numbers[0]), Shear(*numbers[1])), (), (SersicEllipse(*numbers[2]),), ("",), {}, 0, (0,))
    image = render(scene, Instrument("", 0.1, GaussianPSF(0.2)), (32, 32), supersampling=2)[0].double().numpy()
    noisy = image + 0.02 * np.random.default_rng(0).standard_normal(image.shape)
    y, x = np.mgrid[-3:4, -3:4]
    psf = np.exp(-0.5 * (x**2 + y**2) / (2 / 2.3548) ** 2)
    choices = Choices(model="epl+shear+multipoles", light="none", theta_E=1.1, starts=1, nodes=12)
    return fit_lens(noisy, np.full_like(noisy, 0.02), psf / psf.sum(), pixel_scale=0.1, choices=choices)


def place(fit, scores):
    return np.append(scores.of(fit.found.eta), np.log(fit.found.solution.strength))


def test_slopes_of_the_density_are_its_differences(fit):
    scores = Scores.uniform(*fit.model.bounds)
    density, step = Density(fit, scores), 1e-4
    at = place(fit, scores) + 0.02
    numeric = [(density(at + move) - density(at - move)) / (2 * step) for move in step * np.eye(len(at))]
    value, slopes = density.slope(at)
    assert value == pytest.approx(density(at))
    assert slopes == pytest.approx(numeric, rel=1e-3, abs=1e-2)


def test_the_density_ends_far_from_the_best_regularisation(fit):
    scores = Scores.uniform(*fit.model.bounds)
    at = place(fit, scores)
    at[-1] += 13
    assert Density(fit, scores)(at) == -np.inf
    assert np.isnan(Density(fit, scores).slope(at)[1]).all()


def test_other_scores_only_change_the_prior(fit):
    uniform = Scores.uniform(*fit.model.bounds)
    at = place(fit, uniform)
    p = len(fit.names)
    followed = uniform.following(at[:p], np.full(p, 0.05))
    moved = np.append(followed.of(uniform.values(at[:p])), at[-1])
    evidence = [Density(fit, s)(v) - s.log_prior(v[:p]) for s, v in ((uniform, at), (followed, moved))]
    assert evidence[0] == pytest.approx(evidence[1], abs=1e-4)
