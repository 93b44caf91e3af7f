"""Where one profile is the limit of another, and where formulas are delicate."""

import math
from itertools import pairwise

import pytest
import torch

from darklens.lensing import EPL, NFW, SIE, SIS, TNFW, PointMass, PointMasses, PseudoJaffe, Sersic, SersicEllipse, Vortex

X, Y = torch.meshgrid(
    torch.linspace(-1.9, 2.0, 12, dtype=torch.float64), torch.linspace(-2.1, 1.7, 9, dtype=torch.float64), indexing="xy"
)


def deflection(mass, x=X, y=Y):
    return torch.stack(mass.deflection(x, y))


@pytest.mark.parametrize("e", [0.0, 1e-12, 1e-6, 1e-3])
def test_a_round_ellipsoid_is_a_sphere(e):
    for ellipsoid in (SIE(1.2, 0.6 * e, 0.8 * e), EPL(1.2, 2.0, 0.6 * e, 0.8 * e)):
        assert torch.allclose(deflection(ellipsoid), deflection(SIS(1.2)), atol=2 * e + 1e-14)


@pytest.mark.parametrize("e", [0.0, 5e-5, 1e-3, 0.1, 0.3, 0.4])
def test_an_isothermal_power_law_is_an_isothermal_ellipsoid(e):
    """Two formulas of different kind, a series and a closed form."""
    mass = {"theta_E": 1.2, "e1": 0.6 * e, "e2": -0.8 * e}
    assert torch.allclose(deflection(EPL(gamma=2.0, **mass)), deflection(SIE(**mass)), rtol=0, atol=1e-12)


def test_sie_is_continuous_across_its_series():
    e = torch.tensor([0.999999e-4, 1.000001e-4], dtype=torch.float64)
    below, above = deflection(SIE(1.2, -0.6 * e, 0.8 * e)).unbind(1)
    assert float((above - below).abs().max()) < 1e-9


@pytest.mark.parametrize(("e", "error"), [(0.4, 3e-8), (0.6, 2e-4)])
def test_epl_series_is_as_good_as_it_says_in_float32(e, error):
    mass = {"theta_E": 1.0, "gamma": 1.7, "e1": e, "e2": 0.0}
    exact = deflection(EPL(**mass))
    truncated = deflection(EPL(**mass), X.float(), Y.float())
    relative = (truncated - exact).norm(dim=0) / exact.norm(dim=0)
    assert float(relative.max()) < error + 2e-6


def test_point_masses_add():
    points = torch.tensor([[0.2, 0.1, 0.3], [0.3, -0.5, 1.0], [0.1, 0.6, -1.0]], dtype=torch.float64)
    one_by_one = sum(deflection(PointMass(*point)) for point in points.T.tolist())
    assert torch.allclose(deflection(PointMasses(*points)), one_by_one, rtol=1e-13)


def string_of_points(n):
    """Return n equal points in the middles of n equal pieces of the string that `Vortex(.25, .7, .4, .1, -.2)` is."""
    along = 0.7 * ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1)
    theta = torch.full((n,), 0.25 / n**0.5, dtype=torch.float64)
    return PointMasses(theta, 0.1 + along * math.cos(0.4), -0.2 + along * math.sin(0.4))


def test_the_vortex_is_the_limit_of_point_masses_to_second_order():
    vortex = Vortex(0.25, 0.7, 0.4, 0.1, -0.2)
    far = torch.hypot(X - 0.1, Y + 0.2) > 0.9
    errors = [float((deflection(string_of_points(n)) - deflection(vortex))[:, far].abs().max()) for n in (25, 50, 100)]
    assert errors[-1] < 3e-5
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2.0, 2.0], abs=0.1)


def test_the_vortex_potential_is_the_mean_logarithm():
    difference = string_of_points(2000).potential(X, Y) - Vortex(0.25, 0.7, 0.4, 0.1, -0.2).potential(X, Y)
    assert float(difference.abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_vortex_near_its_string_looks_like_a_line(dtype):
    y = torch.tensor([[1e-30, 1e-12, 1e-7, 1e-5]], dtype=dtype)
    x = torch.full_like(y, 0.2)
    plane = 0.5 * math.pi * 0.2**2 / 0.5  # pi theta_v^2 / 2L on either side
    for side in (1, -1):
        _, ay = Vortex(0.2, 0.5).deflection(x, side * y)
        assert torch.allclose(ay, torch.full_like(ay, side * plane), rtol=1e-4)
    _, on_it = Vortex(0.2, 0.5).deflection(x, 0 * y)
    assert not on_it.any()


def test_the_vortex_far_away_looks_like_a_point_also_in_float32():
    x, y = torch.tensor([[400.0, -300.0, 3.0]]), torch.tensor([[0.0, 400.0, -500.0]])
    assert torch.allclose(deflection(Vortex(0.2, 0.5), x, y), deflection(PointMass(0.2), x, y), rtol=1e-5, atol=1e-10)


def test_the_vortex_has_the_right_gradient_on_the_line_beyond_its_ends():
    x, y = torch.tensor([[-0.9, 0.8, 2.0]], dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    _, _, yy = Vortex(0.2, 0.5).hessian(x, y)
    assert torch.allclose(yy, 0.2**2 / (x**2 - 0.5**2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_the_vortex_are_finite(dtype):
    x = torch.tensor([[-0.5, 0.5]], dtype=dtype, requires_grad=True)
    y = torch.zeros_like(x, requires_grad=True)
    alpha = torch.stack(Vortex(0.2, 0.5).deflection(x, y))
    assert float(alpha.detach().abs().max()) < 1.0
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(alpha.sum(), (x, y)))


def test_a_round_sersic_ellipse_is_a_circle():
    round_ = SersicEllipse(10.0, 0.4, 1.5, 0.0, 0.0, 0.1, 0.2)
    assert torch.allclose(round_.intensity(X, Y), Sersic(10.0, 0.4, 1.5, 0.1, 0.2).intensity(X, Y), rtol=1e-14)


def test_an_ellipticity_beyond_one_stays_finite():
    for e in (1.0, 1.3):
        assert torch.isfinite(SersicEllipse(1.0, 0.4, 1.0, e, 0.0).intensity(X, Y)).all()


def test_a_truncation_far_out_leaves_an_nfw_halo():
    whole = deflection(NFW(0.8, 0.4))
    errors = [float((deflection(TNFW(0.8, 0.4, r)) - whole).abs().max()) for r in (1e2, 1e3, 1e4)]
    assert errors[0] < 1e-3
    assert all(far > 30 * near for far, near in pairwise(errors))  # as r_trunc^-2, but for a logarithm


def test_a_pseudo_jaffe_sphere_without_core_and_edge_is_isothermal():
    assert torch.allclose(deflection(PseudoJaffe(1.2 / 2e-6, 1e-6, 1e6)), deflection(SIS(1.2)), atol=1e-3)
