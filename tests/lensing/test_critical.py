import math

import numpy as np
import pytest
import torch

from darklens.lensing import SIE, SIS, PointMass, Shear, caustics, critical_curves, jacobian, solve_images


@pytest.mark.parametrize("mass", [SIS(1.2), PointMass(1.2), SIS(1.2, 0.003, 0.007)])
@pytest.mark.parametrize("n", [200, 201])
def test_a_round_lens_has_its_einstein_ring_and_nothing_else(mass, n):
    (curve,) = critical_curves([mass], 2.0, n)
    assert np.hypot(curve[:, 0] - mass.center_x, curve[:, 1] - mass.center_y) == pytest.approx(1.2, abs=1e-3)


def test_the_error_falls_as_the_square_of_the_cell():
    errors = []
    for n in (101, 201, 401):
        (curve,) = critical_curves([PointMass(1.2)], 2.0, n)
        errors.append(np.abs(np.hypot(*curve.T) - 1.2).max())
    assert np.diff(np.log2(errors)) == pytest.approx([-2, -2], abs=0.5)


def test_curves_of_an_isothermal_ellipsoid():
    """Its critical curve is the ellipse R = theta_E (kappa = 1/2); its caustic's cusps follow on the axes (KSB94)."""
    theta_E, e = 1.2, 0.3
    q = (1 - e) / (1 + e)
    (curve,) = critical_curves([SIE(theta_E, e, 0.0)], 3.0, 401)
    assert np.sqrt(q * curve[:, 0] ** 2 + curve[:, 1] ** 2 / q) == pytest.approx(theta_E, abs=1e-3)
    (caustic,) = caustics([SIE(theta_E, e, 0.0)], 3.0, 401)
    f = math.sqrt(1 - q * q)
    on_x = theta_E * (1 / math.sqrt(q) - math.sqrt(q) / f * math.atan(f / q))
    on_y = theta_E * (math.sqrt(q) - math.sqrt(q) / f * math.atanh(f))
    assert np.abs(caustic).max(0) == pytest.approx([abs(on_x), abs(on_y)], abs=2e-3)


def test_a_caustic_separates_two_images_from_four():
    masses = [SIE(1.2, 0.3, 0.0)]
    (caustic,) = caustics(masses, 3.0, 301)
    cusp = caustic[:, 0].max()
    assert len(solve_images(masses, cusp - 0.01, 0.0, n=300)) == 4
    assert len(solve_images(masses, cusp + 0.01, 0.0, n=300)) == 2


def test_the_jacobian_is_singular_on_a_critical_curve():
    masses = [SIE(1.0, 0.2, 0.1), Shear(0.05, 0.0)]
    (curve,) = (torch.from_numpy(c) for c in critical_curves(masses, 2.5, 400))
    xx, xy, yy = jacobian(masses, curve[:, :1], curve[:, 1:])
    assert float((xx * yy - xy * xy).abs().max()) < 1e-3
