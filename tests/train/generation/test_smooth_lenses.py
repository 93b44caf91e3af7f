"""Smooth lenses drawn for generated images: like those of the training images, none of them, and as they were asked for."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, spearmanr

from darklens.fit import Plan, plan_for
from darklens.fit.lens_model import PARAMETERS
from darklens.simulate import simulate
from darklens.train.generation import Conditions
from darklens.train.generation.conditions import Column
from darklens.train.generation.intensity import Intensity
from darklens.train.generation.smooth_lenses import Backdrop, SmoothLenses

CONDITIONS = Conditions(("no_sub", "cdm"), (Column("theta_E", 0.8, 1.6),))
N = 800


@pytest.fixture(scope="module")
def plan():
    return plan_for("subhalos-axion")


@pytest.fixture(scope="module")
def lenses(plan):
    """Lenses whose ellipticity follows their class, and whose sources are the fainter the larger they are."""
    rng = np.random.default_rng(0)
    parameters, told = plan.model.start(N), np.zeros((N, 3), np.float32)
    column = {name: PARAMETERS.index(name) for name in PARAMETERS}
    cdm = np.arange(N) % 2
    theta_E = rng.uniform(0.8, 1.6, N)
    parameters[:, column["theta_E"]] = theta_E
    parameters[:, column["e1"]] = np.where(cdm, 0.1, -0.1) + 0.1 * rng.standard_normal(N)
    parameters[:, column["e2"]] = rng.uniform(-0.2, 0.2, N)
    parameters[:, column["gamma1"]], parameters[:, column["gamma2"]] = rng.normal(0, 0.05, (2, N))
    parameters[:, column["R_sersic"]] = rng.uniform(0.1, 0.6, N)
    parameters[:, column["source_amp"]] = 1 / parameters[:, column["R_sersic"]] ** 2 * rng.lognormal(0, 0.1, N)
    parameters[:, column["source_x"]], parameters[:, column["source_y"]] = 0.2 * theta_E * rng.uniform(-1, 1, (2, N))
    told[np.arange(N), cdm] = 1
    told[:, 2] = CONDITIONS.columns[0].told(theta_E)
    parameters[7, column["e2"]] = np.nan  # a fit that did not converge
    return SmoothLenses.measured(plan, CONDITIONS, told, parameters), parameters, told


def named(parameters, name):
    return parameters[:, PARAMETERS.index(name)]


def test_draws_are_distributed_as_the_training_lenses_are(lenses):
    density, parameters, told = lenses
    drawn = density.parameters(density.draw(told, seed=1), told)
    good = np.isfinite(parameters).all(1)
    for name in ("theta_E", "e1", "e2", "gamma1", "R_sersic", "source_amp"):
        assert ks_2samp(named(drawn, name), named(parameters[good], name)).pvalue > 1e-3, name
    own, true = (spearmanr(named(p, "R_sersic"), named(p, "source_amp"))[0] for p in (drawn, parameters[good]))
    assert own == pytest.approx(true, abs=0.05)


def test_no_draw_is_a_training_lens(lenses):
    density, _, told = lenses
    drawn = density.draw(told, seed=2)
    away = np.sqrt(((drawn[:, None] - density.scores[None]) ** 2).sum(-1)).min(1)
    assert np.quantile(away, 0.01) > 0.2


def test_what_is_asked_for_is_what_there_is(lenses):
    density, _, _ = lenses
    wish = np.array([[0, 1, CONDITIONS.columns[0].told(1.25)], [1, 0, CONDITIONS.columns[0].told(0.9)]], np.float32).repeat(50, 0)
    drawn = density.parameters(density.draw(wish, seed=3), wish)
    assert named(drawn, "theta_E") == pytest.approx(np.repeat([1.25, 0.9], 50), rel=1e-6)
    assert [named(drawn, "e1")[rows].mean() for rows in (slice(50), slice(50, 100))] == pytest.approx([0.1, -0.1], abs=0.05)
    assert np.abs(named(drawn, "source_x") / named(drawn, "theta_E")).max() < 0.25
    silent = np.full((40, 3), np.nan, np.float32)
    radii = named(density.parameters(density.draw(silent, seed=4), silent), "theta_E")
    assert np.isfinite(radii).all()
    assert radii.std() > 0.1


def test_a_draw_is_a_function_of_seed_and_number(lenses):
    density, _, told = lenses
    whole = density.draw(told[:6], seed=5)
    assert np.allclose(density.draw(told[4:6], seed=5, first=4), whole[4:6], atol=1e-5)
    assert not np.allclose(density.draw(told[:6], seed=6), whole)


def test_kept_and_read_again(lenses, plan):
    density, _, told = lenses
    again = SmoothLenses.from_tensors(Plan.from_dict(plan.as_dict()), CONDITIONS, density.tensors())
    assert np.allclose(again.draw(told[:3], 0), density.draw(told[:3], 0), atol=1e-5)


def test_residual_and_image_belong_together():
    backdrop = Backdrop(0.04, 0.01, Intensity("root", 0.04, 0.01))
    smooth = torch.linspace(-1, 50, 64).reshape(1, 1, 8, 8)
    images = smooth + 3 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(backdrop.image(backdrop.residual(images, smooth), smooth), images, atol=1e-5)
    assert float(backdrop.residual(smooth + 0.2, smooth)[0, 0, 0, 0]) == pytest.approx(1)
    assert Backdrop.from_dict(backdrop.as_dict()) == backdrop


def test_the_rendered_lens_is_the_fitted_one(plan, tmp_path):
    table = simulate("subhalos-axion", n=6, seed=0, out=tmp_path / "T")
    fit = plan.fit(table.image_array())
    rendered = plan.render(fit.parameters, table.shape[1:])
    assert np.allclose(rendered, fit.model, atol=2e-4 * np.abs(fit.model).max())
