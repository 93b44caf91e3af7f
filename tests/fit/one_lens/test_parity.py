"""A lens that is too light leaves the ring where it is, and calls it the source."""

import numpy as np
import pytest

from darklens.fit.one_lens import Choices, LensFit, Macro, Model, Observation, SourceGrid, lens_light
from darklens.fit.one_lens.inversion import best_strength
from darklens.fit.one_lens.parity import imaged_once, mirrored
from darklens.fit.one_lens.search import Found
from darklens.infer.lens_posterior import posterior

from .conftest import TRUTH


def at(lens, theta_E: float) -> Found:
    """Return the true lens but for its Einstein radius, with the source on pixels that fits the image best."""
    macro, basis = Macro("epl+shear"), lens_light("sersic", 0.05, 2.0)
    side = np.linspace(-1.5, 1.5, 22)
    y, x = 0.1 * (np.indices(lens["image"].shape) - 15.5)
    ring = (np.hypot(x, y) > 0.55) & (np.hypot(x, y) < 1.6)
    observation = Observation(lens["image"], lens["noise"], lens["psf"], lens["pixel_scale"], ring)
    bounds = macro.bounds(1.1, (0, 0)) | basis.bounds((0, 0), 0.3)
    low, high = ({name: pair[k] for name, pair in bounds.items()} for k in (0, 1))
    model = Model(observation, macro, basis, lens_light("none", 1, 1), SourceGrid(side, side), low, high)
    light = {"light_x": 0.01, "light_y": -0.02, "light_R_sersic": 0.7, "light_n_sersic": 1.5, "light_e1": 0.08, "light_e2": -0.04}
    eta = np.array([(TRUTH | light | {"theta_E": theta_E})[name] for name in model.names])
    solution = best_strength(model.problem(eta), 1e-4, tolerance=0.5)
    return Found(model, eta, solution, np.eye(len(eta)), True, 1)


def test_a_lens_shares_the_light_of_its_source_between_both_parities(lens):
    found = at(lens, TRUTH["theta_E"])
    assert 0.2 < mirrored(found) < 0.8
    assert not imaged_once(found)


@pytest.mark.parametrize("theta_E", [0.56, 2.1])
def test_a_lens_too_light_or_too_heavy_images_its_source_once_and_gets_no_intervals(lens, theta_E):
    found = at(lens, theta_E)
    assert imaged_once(found)
    fit = LensFit(found, Choices(), (found.evidence,))
    assert not fit.converged
    told = posterior(fit)
    assert "images its source only once" in told.why
    assert told.intervals["theta_E"]["low"] is None


def test_a_source_that_is_not_seen_says_nothing(lens):
    assert mirrored(at(lens | {"noise": 1e4 * lens["noise"]}, TRUTH["theta_E"])) is None
