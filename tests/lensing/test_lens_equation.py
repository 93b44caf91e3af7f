import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import (
    SIE,
    SIS,
    Cosmology,
    PointMass,
    Shear,
    caustics,
    critical_curves,
    jacobian,
    magnification,
    residual,
    solve_images,
    trace,
)


def test_einstein_radii_right_and_as_published():
    cosmology = Cosmology()
    assert cosmology.einstein_radius(1e12, 0.5, 1.0) == pytest.approx(1.665, abs=1e-3)
    assert cosmology.einstein_radius_as_published(1e12, 0.5, 1.0) == pytest.approx(1.28149, abs=1e-5)
    assert cosmology.mass_within(cosmology.einstein_radius(3e11, 0.5, 2.0), 0.5, 2.0) == pytest.approx(3e11)


def test_distances_are_astropys():
    cosmology = Cosmology()
    reference = cosmology.astropy
    assert cosmology.distance(1.0) == pytest.approx(reference.angular_diameter_distance(1.0).value)
    assert cosmology.distance(1.0, 0.5) == pytest.approx(reference.angular_diameter_distance(0.5, 1.0).value)
    with pytest.raises(InputError, match="nearer than the source"):
        cosmology.distance(0.5, 1.0)


def test_images_of_a_point_source_behind_a_sphere():
    images = solve_images([SIS(1.2)], 0.3, 0.0)
    assert sorted(images[:, 0].tolist()) == pytest.approx([-0.9, 1.5])
    assert images[:, 1].abs().max() < 1e-8


@pytest.mark.parametrize(("beta", "count"), [((0.02, 0.03), 4), ((0.5, 0.4), 2), ((2.5, 0.0), 1)])
def test_every_image_solves_the_lens_equation(beta, count):
    masses = [SIE(1.2, 0.25, 0.1), Shear(0.05, 0.02)]
    images = solve_images(masses, *beta, half_width=5.0)
    assert len(images) == count
    rx, ry = residual(masses, images[:, :1], images[:, 1:], *beta)
    assert float(rx.abs().max()) < 1e-9
    assert float(ry.abs().max()) < 1e-9


def test_magnification_of_a_point_lens():
    x = torch.tensor([[0.7, 1.5, 3.0]], dtype=torch.float64)
    mu = magnification([PointMass(1.0)], x, torch.zeros_like(x))
    assert torch.allclose(mu, 1 / (1 - 1 / x**4))


def test_magnification_is_the_ratio_of_areas():
    masses = [SIE(1.2, 0.2, -0.1), Shear(0.1, 0.0)]
    x, y = torch.tensor([[1.6]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
    h = 1e-5
    corners = [trace(masses, x + i * h, y + j * h) for i, j in ((0, 0), (1, 0), (0, 1))]
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    assert float(h * h / area) == pytest.approx(float(magnification(masses, x, y)), rel=1e-3)


def test_critical_curve_of_a_sphere_is_its_einstein_ring_and_converges_quadratically():
    errors = []
    for n in (101, 201, 401):
        (curve,) = critical_curves([PointMass(1.2, 0.003, 0.007)], 2.0, n)
        errors.append(np.abs(np.hypot(curve[:, 0] - 0.003, curve[:, 1] - 0.007) - 1.2).max())
    assert errors[-1] < 1e-4
    assert np.log2(errors[0] / errors[1]) > 1.5
    assert np.log2(errors[1] / errors[2]) > 1.5


def test_caustics_separate_two_images_from_four():
    masses = [SIE(1.2, 0.3, 0.0)]
    curves = caustics(masses, 3.0, 600)
    tips = max(np.abs(curve).max() for curve in curves if np.ptp(curve) > 0.01)
    assert len(solve_images(masses, 0.0, 0.0)) == 4
    assert 0.1 < tips < 1.0


def test_jacobian_at_a_critical_curve_is_singular():
    masses = [SIE(1.0, 0.2, 0.1), Shear(0.05, 0.0)]
    curve = torch.from_numpy(max(critical_curves(masses, 2.5, 800), key=len))
    xx, xy, yy = jacobian(masses, curve[:, :1], curve[:, 1:])
    assert float((xx * yy - xy * xy).abs().max()) < 1e-3
