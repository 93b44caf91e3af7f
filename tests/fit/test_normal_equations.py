"""The C++ kernel against PyTorch and against the renderer; PyTorch against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens import native
from darklens.fit import PARAMETERS, LensModel
from darklens.fit import normal_equations as module
from darklens.fit.normal_equations import Images, normal_equations
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Scene, TabulatedPSF, instrument, render

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler on this machine")
VALUES = {
    **{"theta_E": 0.5, "gamma": 1.8, "e1": 0.15, "e2": -0.2, "center_x": 0.05, "center_y": -0.03, "gamma1": 0.1, "gamma2": -0.05},
    **{
        "source_amp": 30.0,
        "R_sersic": 0.3,
        "n_sersic": 1.5,
        "source_e1": 0.1,
        "source_e2": 0.2,
        "source_x": 0.1,
        "source_y": -0.05,
    },
    **{"sky": 0.3, "lens_amp": 10.0, "lens_e1": 0.1, "lens_e2": 0.1, "lens_x": 0.02, "lens_y": 0.04},
}
SHAPE = (20, 26)  # not square: rows and columns cannot be mistaken for each other


def jobs(model, count=3, **other):
    rng = np.random.default_rng(1)
    parameters = model.start(count)
    for name, value in (VALUES | other).items():
        if name in model.free:
            parameters[:, PARAMETERS.index(name)] = value * (1 + 0.1 * rng.normal(size=count))
    return parameters


def pictures(dtype=np.float64, psf=None):
    rng = np.random.default_rng(0)
    v0 = np.full((2, *SHAPE), 0.1, dtype)
    v0[0, 3, 4] = -1
    return Images(rng.normal(size=(2, *SHAPE)).astype(dtype), v0, np.array([0.2, 0.1], dtype), 0.08, psf or GaussianPSF(0.15))


@needs_compiler
@pytest.mark.parametrize("name", ["sis+shear+sersic", "sie+shear+sersic", "epl+shear+sersic+lens_light"])
@pytest.mark.parametrize("e", [0.0, 0.02, 0.45])
def test_kernel_agrees_with_pytorch(name, e):
    model = LensModel(name)
    parameters, images, which = jobs(model, e1=e, e2=-0.5 * e), pictures(), np.array([0, 1, 1])
    weights = np.random.default_rng(2).uniform(size=(3, *SHAPE))
    fast = normal_equations(images, model, which, parameters, weights, full=True)
    slow = module._reference(images, model, which, parameters, weights, True, "cpu")
    tolerance = 1e-7 if e > 0.4 else 1e-10  # the reference's series ends after 40 terms, the kernel's when it needs no more
    for field in ("cost_in", "cost", "A", "g", "weights", "model", "jacobian"):
        a, b = getattr(fast, field), getattr(slow, field)
        assert np.abs(a - b).max() < tolerance * np.abs(b).max(), field


@needs_compiler
def test_single_precision_is_good_to_a_part_in_1e5():
    model = LensModel("epl+shear+sersic+lens_light")
    parameters, which = jobs(model), np.array([0, 1, 1])
    double = normal_equations(pictures(), model, which, parameters, full=True)
    single = normal_equations(pictures(np.float32), model, which, parameters, full=True)
    for field in ("cost", "A", "g", "model", "jacobian"):
        a, b = getattr(single, field), getattr(double, field)
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max(), field


@pytest.mark.parametrize("psf", [GaussianPSF(0.15), TabulatedPSF(np.outer([1, 3, 1, 0, 0], [1, 2, 4]))], ids=["gaussian", "kernel"])
def test_jacobian_is_the_derivative(psf):
    model = LensModel("epl+shear+sersic+lens_light")
    parameters, images, which = jobs(model, 1), pictures(psf=psf), np.array([1])
    exact = normal_equations(images, model, which, parameters, full=True).jacobian[0]
    steps = 1e-5 * np.maximum(1.0, np.abs(parameters[0, model.free_index]))
    moved = np.repeat(parameters, 2 * len(steps), axis=0)
    for k, column in enumerate(model.free_index):
        moved[2 * k : 2 * k + 2, column] += (-steps[k], steps[k])
    drawn = normal_equations(images, model, np.ones(len(moved), int), moved, full=True).model
    for k, numeric in enumerate((drawn[1::2] - drawn[::2]) / (2 * steps[:, None, None])):
        assert np.abs(exact[k] - numeric).max() < 1e-4 * np.abs(exact[k]).max(), model.free[k]


def test_the_model_is_what_the_renderer_draws():
    model = LensModel("sie+shear+sersic")
    p = jobs(model, 1)
    value = {name: torch.tensor([p[0, k]], dtype=torch.float64) for k, name in enumerate(PARAMETERS)}
    camera = replace(instrument("hst-wfc3-f160w"), pixel_scale=0.08, psf=GaussianPSF(0.15))
    source = [value[k] for k in ("source_amp", "R_sersic", "n_sersic", "source_e1", "source_e2", "source_x", "source_y")]
    lens = SIE(*(value[k] for k in ("theta_E", "e1", "e2", "center_x", "center_y"))), Shear(value["gamma1"], value["gamma2"])
    scene = Scene(macro=lens, substructure=(), source=(SersicEllipse(*source),), labels=("a",), truth={}, seed=0, rows=(0,))
    drawn = render(scene, camera, SHAPE, dtype=torch.float64).numpy()[0] + p[0, PARAMETERS.index("sky")]
    fitted = normal_equations(pictures(), model, np.array([1]), p, full=True).model[0]
    assert np.abs(fitted - drawn).max() < 1e-9 * drawn.max()


def test_without_a_compiler_pytorch_serves(monkeypatch):
    model, which = LensModel("sis+shear+sersic"), np.array([0, 1, 1])
    fast = normal_equations(pictures(), model, which, jobs(model))
    monkeypatch.setattr(module.native, "library", lambda source: None)
    slow = normal_equations(pictures(), model, which, jobs(model))
    np.testing.assert_allclose(slow.A, fast.A, rtol=1e-9)
    np.testing.assert_allclose(slow.cost, fast.cost, rtol=1e-9)
