"""The way to the source plane: against loops, against a lens with a known source, and its gradient."""

import math

import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import SIS, trace
from darklens.models.relensing import pixel_grid
from darklens.models.source_plane import FLOOR, SourcePlane

PIXEL_SCALE = 0.1


def gaussian(x, y, center=(0.3, -0.2), width=0.25):
    return torch.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * width**2))


def lensed(theta_E, size=(64, 64), **source):
    """A Gaussian source (1, 1, H, W) behind a singular isothermal sphere."""
    x, y = (grid.double() for grid in pixel_grid(size, PIXEL_SCALE))
    sphere = SIS(torch.tensor(theta_E, dtype=torch.float64), torch.tensor(0.0), torch.tensor(0.0))
    return gaussian(*trace([sphere], x, y), **source)[None, None]


def by_loops(image, theta_E, pixel_scale):
    """The bilinear mean, pixel by pixel."""
    height, width = image.shape
    light, cover = torch.zeros(height, width), torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            y, x = i - (height - 1) / 2, j - (width - 1) / 2
            shrink = 1 - theta_E / pixel_scale / max(math.hypot(x, y), 1e-9) if x or y else 1
            v, u = y * shrink + (height - 1) / 2, x * shrink + (width - 1) / 2
            if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
                continue
            for row in (math.floor(v), math.floor(v) + 1):
                for column in (math.floor(u), math.floor(u) + 1):
                    weight = max(0.0, 1 - abs(v - row)) * max(0.0, 1 - abs(u - column))
                    if weight:
                        light[row, column] += weight * image[i, j].item()
                        cover[row, column] += weight
    return light / (cover + FLOOR)


@pytest.mark.parametrize("size", [(14, 18), (15, 15)])
def test_source_is_the_bilinear_mean_of_what_lands_there(size):
    images = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(0))
    radii = (0.43, 0.61)
    found = SourcePlane(size, PIXEL_SCALE, 0.7)(images, torch.tensor(radii))
    for image, theta_E, source in zip(images, radii, found, strict=True):
        for band in range(2):
            assert torch.allclose(source[band], by_loops(image[band], theta_E, PIXEL_SCALE), atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (64, 80), (65, 65)])
def test_true_einstein_radius_gives_the_source_back(size):
    x, y = (grid.double() for grid in pixel_grid(size, PIXEL_SCALE))
    plane = SourcePlane(size, PIXEL_SCALE, 2.0).double()
    errors = {}
    for theta_E in (0.9, 1.0, 1.1):
        source = plane(lensed(1.0, size), torch.tensor([theta_E], dtype=torch.float64))[0, 0]
        errors[theta_E] = (source - gaussian(x, y)).abs().mean().item()
        if theta_E == 1.0:
            assert (source - gaussian(x, y)).abs().max() < 0.08
            assert (source * x).sum() / source.sum() == pytest.approx(0.3, abs=0.02)
            assert (source * y).sum() / source.sum() == pytest.approx(-0.2, abs=0.02)
    assert 3 * errors[1.0] < min(errors[0.9], errors[1.1])


def test_one_radius_for_all_pixels_is_one_radius():
    images = lensed(1.0).float()
    plane = SourcePlane((64, 64), PIXEL_SCALE, 1.2)
    assert torch.equal(plane(images, torch.tensor([0.97])), plane(images, torch.full((1, 64, 64), 0.97)))


def test_a_local_correction_moves_only_its_pixels():
    images = torch.zeros(1, 1, 64, 64)
    images[..., 40, 50] = 1
    plane = SourcePlane((64, 64), PIXEL_SCALE, 1.2)
    theta_E = torch.full((1, 64, 64), 1.0)
    x, y = pixel_grid((64, 64), PIXEL_SCALE)
    theta_E[0, 40, 50] = 0.8
    found = plane(images, theta_E)[0, 0]
    r = math.hypot(x[40, 50], y[40, 50])
    for grid in (x, y):
        assert (found * grid).sum() / found.sum() == pytest.approx((grid[40, 50] * (1 - 0.8 / r)).item(), abs=0.02)


@pytest.mark.parametrize("size", [(12, 16), (13, 13)])
def test_gradient_of_the_radius_equals_finite_differences(size):
    generator = torch.Generator().manual_seed(0)
    images, weights = (torch.rand(2, 2, *size, dtype=torch.float64, generator=generator) for _ in range(2))
    theta_E = (0.4 + 0.2 * torch.rand(2, *size, dtype=torch.float64, generator=generator)).requires_grad_()
    plane = SourcePlane(size, PIXEL_SCALE, 0.6).double()

    def projected(radius):
        return (weights * plane(images, radius)).sum()

    gradient = torch.autograd.grad(projected(theta_E), theta_E)[0]
    assert (gradient.abs() > 1e-6).float().mean() > 0.9
    assert torch.autograd.gradcheck(projected, theta_E, eps=1e-8, atol=1e-5, rtol=1e-4)


def test_source_keeps_surface_brightness():
    source = SourcePlane((64, 64), PIXEL_SCALE, 1.2)(torch.ones(1, 1, 64, 64), torch.tensor([1.0]))
    x, y = pixel_grid((64, 64), PIXEL_SCALE)
    inside = torch.hypot(x, y) < 2.0
    assert source.max() <= 1
    assert source[0, 0][inside].min() > 0.98


def test_a_field_that_cannot_hold_the_ring_is_refused():
    with pytest.raises(InputError, match=r"half-width 0.8 arcsec is too small for lenses of up to 1.2"):
        SourcePlane((16, 64), PIXEL_SCALE, 1.2)
    with pytest.raises(InputError, match="pixel scale of 0"):
        SourcePlane((64, 64), 0.0, 1.2)
