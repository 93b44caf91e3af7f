import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from darklens.simulate import INSTRUMENTS, PRESETS, GaussianPSF, TabulatedPSF, pixel_grid, render


def test_pixel_grid_is_centred_and_not_transposed():
    x, y = pixel_grid((4, 6), 0.5)
    assert x.shape == (4, 6)
    assert float(x.mean()) == pytest.approx(0)
    assert float(x[0, 1] - x[0, 0]) == pytest.approx(0.5)
    assert float(y[1, 0] - y[0, 0]) == pytest.approx(0.5)  # rows grow with +y


@pytest.mark.parametrize("name", ["model-i", "model-ii", "model-iii", "common-test"])
def test_float32_against_the_float64_reference(name):
    preset = PRESETS[name]
    scene = preset.population.draw(6, seed=3)
    reference = render(scene, preset.instrument, preset.shape, dtype=torch.float64)
    production = render(scene, preset.instrument, preset.shape)
    error = (production - reference).abs().amax((1, 2)) / reference.amax((1, 2))
    assert float(error.max()) < 2e-4  # largest next to a point mass; measured 2e-5 in the median


def test_agrees_with_lenstronomy():
    from lenstronomy.Data.pixel_grid import PixelGrid
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    preset = PRESETS["model-iii"]
    shape, scale = (64, 64), preset.instrument.pixel_scale  # lenstronomy takes square frames only
    scene = preset.population.draw(3, seed=8)
    ours = render(scene, preset.instrument, shape, dtype=torch.float64).numpy()
    for i in range(3):
        points = scene.select(np.array([i])).substructure
        lens, shear, source = scene.macro[0], scene.macro[1], scene.source[0]
        values = {f.name: float(getattr(lens, f.name)[i]) for f in dataclasses.fields(lens)}
        kwargs = [values, {"gamma1": float(shear.gamma1[i]), "gamma2": float(shear.gamma2[i])}]
        kwargs += [
            {"theta_E": float(t), "center_x": float(x), "center_y": float(y)}
            for t, x, y in zip(points.theta_E[0], points.center_x[0], points.center_y[0], strict=True)
        ]
        light = [{f.name: float(getattr(source, f.name)[i]) for f in dataclasses.fields(source)}]
        grid = PixelGrid(
            nx=shape[1],
            ny=shape[0],
            ra_at_xy_0=-(shape[1] - 1) / 2 * scale,
            dec_at_xy_0=-(shape[0] - 1) / 2 * scale,
            transform_pix2angle=np.eye(2) * scale,
        )
        psf = PSF("GAUSSIAN", fwhm=preset.instrument.psf.fwhm, pixel_size=scale)
        model = ImageModel(
            grid, psf, LensModel(["SIE", "SHEAR"] + ["POINT_MASS"] * (len(kwargs) - 2)), LightModel(["SERSIC_ELLIPSE"])
        )
        theirs = model.image(kwargs, light)
        assert np.abs(ours[i] - theirs).max() / theirs.max() < 5e-6


def test_a_frame_that_is_not_square_is_the_middle_of_one_that_is():
    preset = PRESETS["model-iii"]
    scene = preset.population.draw(3, seed=8)
    whole = render(scene, preset.instrument, (64, 64), dtype=torch.float64)
    part = render(scene, preset.instrument, (40, 58), dtype=torch.float64)
    assert torch.allclose(part, whole[:, 12:52, 3:61], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("psf", [GaussianPSF(0.3), TabulatedPSF(np.arange(15.0).reshape(3, 5) + 1)])
def test_convolution_crops_after_and_keeps_flux(psf):
    margin = psf.margin(0.1)
    image = torch.zeros(1, 20 + 2 * margin, 30 + 2 * margin, dtype=torch.float64)
    image[0, margin + 10, margin + 12] = 1.0
    out = psf.convolve(image, 0.1)
    assert out.shape == (1, 20, 30)
    assert float(out.sum()) == pytest.approx(1.0)
    flat = psf.convolve(torch.ones_like(image), 0.1)
    assert torch.allclose(flat, torch.ones_like(flat))  # borders are not dimmed


def test_an_asymmetric_kernel_is_convolved_not_correlated():
    kernel = np.zeros((3, 3))
    kernel[1, 2] = 1.0  # light moves by +1 column
    image = torch.zeros(5, 5, dtype=torch.float64)
    image[2, 2] = 1.0
    out = TabulatedPSF(kernel).convolve(image, 0.1)
    assert float(out[1, 2]) == pytest.approx(1.0)  # cropped by one pixel on each side


def test_gaussian_matches_scipy():
    image = np.random.default_rng(0).random((40, 50))
    psf = GaussianPSF(0.25, truncation=4.0)
    margin = psf.margin(0.1)
    out = psf.convolve(torch.from_numpy(image), 0.1).numpy()
    expected = gaussian_filter(image, psf.sigma / 0.1, truncate=4.0, mode="constant")
    assert np.allclose(out, expected[margin:-margin, margin:-margin], atol=1e-12)


def test_rendering_is_differentiable():
    preset = PRESETS["model-iii"]
    scene = preset.population.draw(2, seed=1).to(torch.float64)
    theta = scene.macro[0].theta_E.clone().requires_grad_()
    scene = dataclasses.replace(scene, macro=(dataclasses.replace(scene.macro[0], theta_E=theta), scene.macro[1]))
    (gradient,) = torch.autograd.grad(render(scene, preset.instrument, (32, 32), dtype=torch.float64).square().sum(), theta)
    step = 1e-6

    def loss(shift):
        moved = dataclasses.replace(
            scene, macro=(dataclasses.replace(scene.macro[0], theta_E=theta.detach() + shift), scene.macro[1])
        )
        return float(render(moved, preset.instrument, (32, 32), dtype=torch.float64).square().sum())

    assert float(gradient.sum()) == pytest.approx((loss(step) - loss(-step)) / (2 * step), rel=1e-4)


def test_background_sigma_by_lenstronomys_formula():
    expected = {
        "euclid-vis": 0.01090,
        "lsst-r-10yr": 0.0663,
        "lsst-r-visit": 1.005,
        "lsst-i-10yr": 0.0764,
        "lsst-i-visit": 1.158,
        "des-i": 0.208,
        "roman-f129": 0.0383,
        "hst-wfc3-f160w": 0.0059,
    }
    for name, sigma in expected.items():
        assert INSTRUMENTS[name].background_sigma == pytest.approx(sigma, rel=0.01), name
