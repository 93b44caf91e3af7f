import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from darklens.simulate import PRESETS, GaussianPSF, TabulatedPSF, pixel_grid, render


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
        (points,) = scene.select(np.array([i])).substructure
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


def cuspy(preset, n, n_sersic, R_sersic):
    """Systems of a preset with a source that has a cusp."""
    scene = preset.population.draw(n, seed=3)
    one = torch.ones(n, dtype=torch.float64)
    source = dataclasses.replace(scene.source[0], n_sersic=n_sersic * one, R_sersic=R_sersic * one)
    return dataclasses.replace(scene, source=(source,))


@pytest.mark.parametrize(("index", "typical", "worst"), [(1.0, 0.004, 0.015), (4.0, 0.002, 0.015)])
def test_adaptive_supersampling_against_16x(index, typical, worst):
    preset = PRESETS["model-iii"]
    scene = cuspy(preset, 6, index, 0.2)

    def image(supersampling):
        return render(scene, preset.instrument, (48, 56), dtype=torch.float64, supersampling=supersampling)

    reference = image(16)
    error = {s: (image(s) - reference).abs().amax((1, 2)) / reference.amax((1, 2)) for s in (1, 4, "adaptive")}
    assert float(error["adaptive"].median()) < typical
    assert float(error["adaptive"].max()) < worst
    assert float(error["adaptive"].median()) < 0.15 * float(error[1].median())
    if index == 4:
        assert float(error["adaptive"].median()) < 0.1 * float(error[4].median())


def test_supersampling_is_the_mean_over_the_pixel():
    from darklens.lensing import Sersic

    preset = PRESETS["model-iii"]
    scene = preset.population.draw(1, seed=3)
    none = dataclasses.replace(scene.source[0], amp=torch.zeros(1, dtype=torch.float64))
    lens = Sersic(*(torch.full((1,), v, dtype=torch.float64) for v in (1.0, 0.3, 4.0, 0.02, -0.03)))
    scene = dataclasses.replace(scene, source=(none,), lens_light=(lens,))
    fine = render(scene, dataclasses.replace(preset.instrument, pixel_scale=0.02, psf=Sharp()), (36, 60), dtype=torch.float64)
    coarse = render(scene, dataclasses.replace(preset.instrument, psf=Sharp()), (9, 15), dtype=torch.float64, supersampling=4)
    assert torch.allclose(coarse, fine.reshape(1, 9, 4, 15, 4).sum((2, 4)), rtol=1e-10)


class Sharp(GaussianPSF):
    """No blur at all."""

    def __init__(self):
        super().__init__(1.0)

    def margin(self, pixel_scale):
        return 0

    def convolve(self, image, pixel_scale):
        return image


def test_adaptive_rows_do_not_see_their_neighbours():
    preset = PRESETS["model-iii"]
    scene = cuspy(preset, 5, 3.0, 0.15)
    together = render(scene, preset.instrument, (40, 40), supersampling="adaptive")
    alone = torch.cat(
        [render(scene.select(np.array([i])), preset.instrument, (40, 40), supersampling="adaptive") for i in range(5)]
    )
    assert torch.equal(together, alone)


def test_adaptive_supersampling_is_differentiable():
    preset = PRESETS["model-iii"]
    scene = preset.population.draw(1, seed=1)
    theta = scene.macro[0].theta_E.clone().requires_grad_()

    def total(value):
        moved = dataclasses.replace(scene, macro=(dataclasses.replace(scene.macro[0], theta_E=value), scene.macro[1]))
        return render(moved, preset.instrument, (32, 32), dtype=torch.float64, supersampling="adaptive").square().sum()

    (gradient,) = torch.autograd.grad(total(theta), theta)
    step, value = 1e-6, theta.detach()
    assert float(gradient) == pytest.approx(float(total(value + step) - total(value - step)) / (2 * step), rel=1e-3)
