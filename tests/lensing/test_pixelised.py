"""Pixelised profiles and point sources."""

import math

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import SIE, PixelisedLight, PixelisedPotential, PointSource, Shear, magnification, trace


def grid(half=1.2, rows=23, columns=29):
    y, x = torch.meshgrid(
        torch.linspace(-half, half, rows, dtype=torch.float64),
        torch.linspace(-half, half, columns, dtype=torch.float64),
        indexing="ij",
    )
    return x.contiguous(), y.contiguous()


def bump(n=41, m=33, scale=0.08):
    """A smooth potential that is zero at the edge, on a grid that is not square, and the same as a function."""

    def psi(x, y):
        return 0.02 * torch.exp(-((x - 0.1) ** 2 + 1.5 * (y + 0.2) ** 2) / 0.1)

    rows, columns = ((torch.arange(k, dtype=torch.float64) - (k - 1) / 2) * scale for k in (n, m))
    return PixelisedPotential(psi(columns[None], rows[:, None]), scale), psi


def test_the_spline_goes_through_its_values():
    mass, _ = bump()
    n, m = mass.psi.shape
    rows, columns = ((torch.arange(k, dtype=torch.float64) - (k - 1) / 2) * mass.pixel_scale for k in (n, m))
    assert torch.allclose(mass.potential(columns[None], rows[:, None]), mass.psi, atol=1e-12)


@pytest.mark.parametrize("finer", [1, 2])
def test_it_converges_to_the_function_at_fourth_order(finer):
    x, y = (t.requires_grad_() for t in grid(0.9))
    errors = []
    for k in (finer, 2 * finer):
        mass, psi = bump(40 * k + 1, 32 * k + 1, 0.08 / k)
        expected = torch.autograd.grad(psi(x, y).sum(), (x, y))
        errors.append(float((torch.stack(mass.deflection(x, y)) - torch.stack(expected)).abs().max()))
    assert errors[0] / errors[1] > 6  # the slope of a cubic spline is of third order, 8 in the limit


def test_identities_of_the_potential():
    mass, _ = bump()
    x, y = (t.requires_grad_() for t in grid())
    gradient = torch.autograd.grad(mass.potential(x, y).sum(), (x, y))
    alpha = mass.deflection(x, y)
    assert torch.allclose(torch.stack(alpha), torch.stack(gradient), atol=1e-12)
    xx, xy = torch.autograd.grad(alpha[0].sum(), (x, y), retain_graph=True)
    yx, yy = torch.autograd.grad(alpha[1].sum(), (x, y))
    assert torch.allclose(mass.convergence(x, y), 0.5 * (xx + yy), atol=1e-10)
    assert torch.allclose(torch.stack(mass.hessian(x, y)), torch.stack([xx, xy, yy]), atol=1e-10)
    assert torch.allclose(xy, yx, atol=1e-10)


def test_far_outside_there_is_nothing():
    mass, _ = bump()
    x = torch.tensor([[50.0, -50.0, 3.0]], dtype=torch.float64)
    assert not torch.stack(mass.deflection(x, x)).any()


def test_gradients_and_batches():
    values = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x, y = grid(0.4, 3, 4)

    def deflect(psi):
        return torch.stack(PixelisedPotential(psi, 0.2, 0.05).deflection(x, y))

    assert torch.autograd.gradcheck(deflect, (values,))
    both = deflect(values)
    assert both.shape == (2, 2, 3, 4)
    assert torch.allclose(both[:, 1], deflect(values[1]))


@pytest.mark.parametrize("cubic", [True, False])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_flux_is_kept_and_a_rotation_turns(cubic, angle):
    image = torch.rand(9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    image[[0, 1, -2, -1]] = 0  # a spline through a sharp edge overshoots outside
    image[:, [0, 1, -1]] = 0
    light = PixelisedLight(image, 0.1, 2.0, 0.1, -0.2, angle, cubic)
    x, y = grid(2.0, 401, 401)
    flux = float(light.intensity(x, y).sum()) * float(x[0, 1] - x[0, 0]) ** 2
    assert flux == pytest.approx(float(light.total_flux()), rel=2e-3)
    # the pixel (row 2, column 10) lies where the rotation puts it
    u, v = (10 - 5.5) * 0.1, (2 - 4.0) * 0.1
    px = 0.1 + u * math.cos(angle) - v * math.sin(angle)
    py = -0.2 + u * math.sin(angle) + v * math.cos(angle)
    value = light.intensity(torch.tensor([[px]], dtype=torch.float64), torch.tensor([[py]], dtype=torch.float64))
    assert float(value) == pytest.approx(2.0 * float(image[2, 10]) / 0.01, rel=1e-9)


def test_a_real_source_is_differentiable_through_a_lens():
    image = torch.rand(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    theta_E = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    x, y = grid(1.6)
    total = PixelisedLight(image, 0.1).intensity(*trace([SIE(theta_E, 0.1, 0.05)], x, y)).square().sum()
    for gradient in torch.autograd.grad(total, (image, theta_E)):
        assert torch.isfinite(gradient).all()
        assert gradient.any()


@pytest.mark.parametrize(("shape", "scale", "match"), [((3, 9), 0.1, "at least 4x4"), ((5, 5), 0.0, "must be positive")])
def test_wrong_grids_are_one_sentence(shape, scale, match):
    for kind in (PixelisedPotential, PixelisedLight):
        with pytest.raises(InputError, match=match):
            kind(torch.zeros(shape), scale)


def test_a_quasar_has_magnified_images_that_solve_the_lens_equation():
    lens = [SIE(1.2, 0.15, 0.05), Shear(0.05, 0.02)]
    quasar = PointSource(5.0, 0.05, 0.03)
    where, flux = quasar.images(lens)
    assert len(where) == 4
    beta = torch.cat(trace(lens, where[:, :1], where[:, 1:]), 1).numpy()
    assert np.abs(beta - [0.05, 0.03]).max() < 1e-9
    expected = 5.0 * magnification(lens, where[:, :1], where[:, 1:])[:, 0].abs()
    assert torch.allclose(flux, expected)
    assert float(flux.sum()) > 20
    assert len(PointSource(1.0, 2.5, 0.0).images(lens, half_width=5.0)[0]) == 1
