"""The compiled renderer: the same numbers as PyTorch, whatever the batch, and a fall-back where it cannot serve."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens import native
from darklens.lensing import EPL, Sersic, Shear
from darklens.simulate import GaussianPSF, instrument, preset, render
from darklens.simulate import rendering as module
from darklens.simulate.compiled import render_compiled

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler on this machine")
SHAPE = (33, 46)  # neither square nor a multiple of what a register holds
CASES = ["model-i", "model-iii", "model-ii-noisy", "common-test", "subhalos", "perturber"]


def pytorch(scene, camera, shape, monkeypatch, dtype=torch.float64):
    with monkeypatch.context() as patch:
        patch.setattr(module, "render_compiled", lambda *_: None)
        return render(scene, camera, shape, dtype=dtype)


def scene_of(name, n=12, seed=3):
    chosen = preset(name)
    return chosen.population.draw(n, seed), chosen.instrument


@pytest.mark.parametrize("name", CASES)
def test_double_precision_is_pytorchs(name, monkeypatch):
    scene, camera = scene_of(name)
    fast = render_compiled(scene, camera, SHAPE, torch.float64)
    slow = pytorch(scene, camera, SHAPE, monkeypatch)
    assert (fast - slow).abs().max() < 1e-12 * slow.max()


def test_power_law_with_lens_light(monkeypatch):
    scene, camera = scene_of("model-iii", 6)
    rng = np.random.default_rng(0)

    def column(low, high):
        return torch.from_numpy(rng.uniform(low, high, 6))

    lens = EPL(column(0.6, 0.9), column(1.6, 2.4), column(-0.3, 0.3), column(-0.3, 0.3), column(-0.1, 0.1), column(-0.1, 0.1))
    glow = Sersic(column(1, 2), column(0.3, 0.6), column(1, 4), column(-0.1, 0.1), column(-0.1, 0.1))
    scene = replace(scene, macro=(lens, Shear(column(-0.1, 0.1), column(-0.1, 0.1))), lens_light=(glow,))
    fast, slow = render_compiled(scene, camera, SHAPE, torch.float64), pytorch(scene, camera, SHAPE, monkeypatch)
    assert (fast - slow).abs().max() < 1e-10 * slow.max()


@pytest.mark.parametrize("name", ["model-ii-noisy", "model-iii-noisy", "common-test", "subhalos"])
def test_single_precision_costs_less_than_a_hundredth_of_the_noise(name):
    """The error budget of float32, pixel by pixel, in units of the noise."""
    scene, camera = scene_of(name, 60)
    shape = preset(name).shape
    double, single = (render(scene, camera, shape, dtype=dtype).double() for dtype in (torch.float64, torch.float32))
    variance = double + 10 if name == "common-test" else camera.background_sigma**2 + double / camera.total_exposure
    error = (single - double).abs() / variance.sqrt()
    # a pixel on top of a point mass may be worse: its light comes from anywhere
    assert float(error.flatten().quantile(0.999)) < 1e-3
    assert float((error > 1e-2).double().mean()) < 1e-5


def test_a_pixel_on_a_point_mass_is_finite():
    scene, camera = scene_of("model-iii", 3)
    points = scene.substructure[0]
    zero = torch.zeros_like(points.center_x)
    scene = replace(scene, substructure=(replace(points, theta_E=zero + 0.1, center_x=zero, center_y=zero),))
    image = render(scene, camera, (33, 33))
    assert torch.isfinite(image).all()


def test_an_image_does_not_depend_on_its_batch_or_on_threads():
    scene, camera = scene_of("common-test", 30)
    whole = render(scene, camera, SHAPE)
    for rows in (np.array([4]), np.arange(7, 29, 3)):
        assert torch.equal(render(scene.select(rows), camera, SHAPE), whole[rows])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(render(scene, camera, SHAPE), whole)
    finally:
        torch.set_num_threads(threads)


def test_what_the_kernel_cannot_do_is_left_to_pytorch():
    scene, camera = scene_of("model-iii", 3)
    assert render_compiled(scene, camera, SHAPE, torch.float32) is not None
    assert render_compiled(scene, replace(camera, psf=preset_psf()), SHAPE, torch.float32) is None
    assert render_compiled(replace(scene, macro=scene.macro[1:]), camera, SHAPE, torch.float32) is None
    tracked = replace(
        scene, macro=(replace(scene.macro[0], theta_E=scene.macro[0].theta_E.clone().requires_grad_()), scene.macro[1])
    )
    assert render(tracked, camera, SHAPE, dtype=torch.float64).requires_grad
    assert instrument("euclid-vis").psf == GaussianPSF(0.16)


def preset_psf():
    from darklens.simulate import TabulatedPSF

    return TabulatedPSF(np.ones((3, 3)))


def test_without_a_compiler_images_are_the_same(monkeypatch):
    scene, camera = scene_of("model-iii", 6)
    fast = render(scene, camera, SHAPE)
    monkeypatch.setattr(native, "library", lambda source: None)
    slow = render(scene, camera, SHAPE)
    assert (fast - slow).abs().max() < 1e-5 * slow.max()
