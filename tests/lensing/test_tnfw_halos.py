import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import SIE, ConvergenceSheet, CoredTNFWHalos, Cosmology, Shear, TNFWHalos, trace, trace_planes
from darklens.lensing.tnfw_halos import nfw_function


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


AXIS = torch.linspace(-2, 2, 41, dtype=torch.float64) + 0.0123
X, Y = AXIS[None], AXIS[:, None]
PLACES = {"center_x": column(0.1, -0.7, 0.0), "center_y": column(-0.2, 0.4, 0.0)}
SHAPES = {"alpha_Rs": column(0.01, 0.02, 0.0), "Rs": column(0.3, 0.11, 1.0), "r_trunc": column(0.8, 0.05, 2.0)}
HALOS = {
    "TNFW": TNFWHalos(**SHAPES, **PLACES),
    "TNFWC": CoredTNFWHalos(**SHAPES, r_core=column(0.12, 0.03, 0.5), **PLACES),
}


@pytest.mark.parametrize("name", HALOS)
def test_agrees_with_lenstronomy_in_deflection_and_convergence(name):
    from lenstronomy.LensModel.lens_model import LensModel

    halos = HALOS[name]
    kwargs = [{k: float(v[i]) for k, v in vars(halos).items()} for i in range(2)]
    model = LensModel([name] * 2)
    grid = [t.numpy().ravel() for t in torch.broadcast_tensors(X, Y)]
    for mine, theirs in zip(halos.deflection(X, Y), model.alpha(*grid, kwargs), strict=True):
        assert mine.numpy().ravel() == pytest.approx(theirs, abs=1e-13)
    assert halos.convergence(X, Y).numpy().ravel() == pytest.approx(model.kappa(*grid, kwargs), rel=1e-3)  # theirs is finite steps


@pytest.mark.parametrize("name", HALOS)
def test_the_deflection_is_the_gradient_of_the_potential(name):
    halos = HALOS[name]
    step = 1e-5
    numeric = (halos.potential(X + step, Y) - halos.potential(X - step, Y)) / (2 * step)
    assert torch.allclose(numeric, halos.deflection(X, Y)[0], atol=1e-7)
    xx, _, yy = halos.hessian(X, Y)
    assert torch.allclose(0.5 * (xx + yy), halos.convergence(X, Y))


@pytest.mark.parametrize("name", HALOS)
def test_single_precision_and_gradients_in_awkward_places(name):
    halos = HALOS[name]
    single = type(halos)(**{k: v.float() for k, v in vars(halos).items()})
    for mine, exact in zip(single.deflection(X.float(), Y.float()), halos.deflection(X, Y), strict=True):
        assert float((mine - exact).abs().max()) < 2e-6  # arcsec, of deflections up to 0.02
    x, y = column(0.1, 0.4, 0.1 + 1e-9)[None], column(-0.2)[:, None]  # the middle of a halo, its scale radius, beside the middle
    parameters = {k: v.clone().requires_grad_() for k, v in vars(halos).items()}
    alpha = type(halos)(**parameters).deflection(x, y)
    assert torch.isfinite(torch.stack(alpha)).all()
    for gradient in torch.autograd.grad(sum(a.sum() for a in alpha), list(parameters.values())):
        assert torch.isfinite(gradient).all()


def test_nfw_function_is_smooth_through_one():
    x = torch.linspace(0.99, 1.01, 2001, dtype=torch.float64)
    slope = torch.diff(nfw_function(x)) / torch.diff(x)
    assert float(slope.max() - slope.min()) < 0.02
    assert slope.mean() == pytest.approx(-2 / 3, abs=1e-3)


def test_planes_agree_with_lenstronomy():
    from lenstronomy.LensModel.lens_model import LensModel

    cosmology = Cosmology()
    lens = {"theta_E": 1.1, "e1": 0.1, "e2": -0.05, "center_x": 0.02, "center_y": 0.0}
    near, far = ({k: float(v[i]) for k, v in vars(HALOS["TNFW"]).items()} for i in (0, 1))
    halos = [TNFWHalos(**{k: column(v * (20 if k == "alpha_Rs" else 1)) for k, v in halo.items()}) for halo in (near, far)]
    planes = [
        (0.3, [halos[0], ConvergenceSheet(-0.03)]),
        (0.5, [SIE(**lens), Shear(0.03, -0.02)]),
        (0.8, [halos[1]]),
    ]
    model = LensModel(
        ["TNFW", "CONVERGENCE", "SIE", "SHEAR", "TNFW"],
        lens_redshift_list=[0.3, 0.3, 0.5, 0.5, 0.8],
        z_source=1.5,
        multi_plane=True,
        cosmo=cosmology.astropy,
    )
    near, far = ({**halo, "alpha_Rs": 20 * halo["alpha_Rs"]} for halo in (near, far))
    kwargs = [near, {"kappa": -0.03}, lens, {"gamma1": 0.03, "gamma2": -0.02}, far]
    grid = [t.numpy().ravel() for t in torch.broadcast_tensors(X, Y)]
    for mine, theirs in zip(trace_planes(planes, 1.5, cosmology, X, Y), model.ray_shooting(*grid, kwargs), strict=True):
        assert mine.numpy().ravel() == pytest.approx(theirs, abs=1e-8)


def test_one_plane_is_the_lens_equation():
    masses = [SIE(1.1, 0.1, 0.05), HALOS["TNFW"]]
    for many, one in zip(trace_planes([(0.5, masses)], 1.0, Cosmology(), X, Y), trace(masses, X, Y), strict=True):
        assert torch.allclose(many, one, rtol=0, atol=1e-13)


def test_planes_out_of_order_are_refused():
    for redshifts in ((0.8, 0.5), (0.5, 1.2), (0.0, 0.5)):
        with pytest.raises(InputError, match="sort them"):
            trace_planes([(z, [Shear(0.1, 0.0)]) for z in redshifts], 1.0, Cosmology(), X, Y)


def test_sheet_is_uniform():
    sheet = ConvergenceSheet(column(0.1, -0.2), center_x=0.3)
    assert sheet.convergence(X, Y).shape == (2, 41, 41)
    assert np.allclose(sheet.hessian(X, Y)[0][1], -0.2)
    assert float(sheet.deflection(column(0.3)[None], Y)[0].abs().max()) == 0


@pytest.mark.parametrize("offset", [0.0, 3e-8, 6e-8, 1e-6])
def test_next_to_its_middle_a_halo_bends_nothing_in_single_precision(offset):
    halo = TNFWHalos(*(torch.tensor([v], dtype=torch.float32) for v in (0.0055, 0.41, 3.9, -0.92, 0.12)))
    x, y = torch.tensor([-0.92 + offset], dtype=torch.float32), torch.tensor([0.12 + offset], dtype=torch.float32)
    assert max(float(a.abs().max()) for a in halo.deflection(x, y)) < 1e-4
