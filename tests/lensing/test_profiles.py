"""Contract of every profile at once: identities that tie its methods together, gradients, batches, precision."""

import math
from dataclasses import fields, replace

import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import (
    EPL,
    NFW,
    SIE,
    SIS,
    TNFW,
    ConvergenceSheet,
    CoredTNFW,
    CoreSersic,
    Gaussian,
    GaussianEllipse,
    Multipole,
    PointMass,
    PointMasses,
    PseudoJaffe,
    Ring,
    Sersic,
    SersicEllipse,
    Shear,
    Spiral,
    Vortex,
    profiles,
)

PIXELISED = {"PixelisedPotential", "PixelisedLight"}  # see test_pixelised.py
MASSES, LIGHTS = ({k: v for k, v in known.items() if k not in PIXELISED} for known in (profiles.MASSES, profiles.LIGHTS))

EXAMPLES = {
    "SIS": SIS(1.2, 0.1, -0.05),
    "SIE": SIE(1.28, 0.1, 0.2, 0.03, -0.05),
    "EPL": EPL(1.1, 1.8, -0.15, 0.1, 0.02, 0.01),
    "Shear": Shear(0.05, -0.1),
    "PointMass": PointMass(0.3, 0.2, 0.4),
    "PointMasses": PointMasses(*torch.tensor([[0.2, 0.1, 0.0], [0.3, -0.5, 9.0], [0.1, 0.6, 9.0]], dtype=torch.float64)),
    "Vortex": Vortex(0.25, 0.7, 0.4, 0.1, -0.2),
    "NFW": NFW(0.9, 0.4, 0.1, -0.05),
    "TNFW": TNFW(0.4, 0.2, 1.1, 0.1, -0.05),
    "CoredTNFW": CoredTNFW(0.4, 0.2, 0.15, 1.1, 0.1, -0.05),
    "PseudoJaffe": PseudoJaffe(1.5, 0.2, 1.3, 0.1, -0.05),
    "ConvergenceSheet": ConvergenceSheet(0.1, 0.2, -0.3),
    "Multipole": Multipole(4.0, 0.03, 0.4, 0.0, 0.0, 1.2),
    "CoreSersic": CoreSersic(10.0, 0.4, 0.15, 2.0, 0.5, 0.2, -0.1, 0.05, 0.1),
    "Gaussian": Gaussian(3.0, 0.4, 0.05, 0.1),
    "GaussianEllipse": GaussianEllipse(3.0, 0.4, 0.2, -0.1, 0.05, 0.1),
    "Ring": Ring(3.0, 0.9, 0.2, 1.5, 0.7, 0.2, -0.1, 0.05, 0.1),
    "Spiral": Spiral(3.0, 0.6, 2.0, 0.7, 0.4, 0.3, 0.2, -0.1, 0.05, 0.1),
    "Sersic": Sersic(10.0, 0.4, 1.5, 0.05, 0.1),
    "SersicEllipse": SersicEllipse(10.0, 0.4, 1.0, 0.2, -0.1, 0.05, 0.1),
}
ALL = [*MASSES, *LIGHTS]
ELLIPTICAL = ["SIE", "EPL", "SersicEllipse"]
FLOAT32_BUDGET = 5e-6
"""Of float32 against float64: arcsec of deflection, and share of the peak brightness. A pixel of 0.05 arcsec is 10,000 of it."""


def grid(rows=31, columns=37, half=2.0):
    y, x = torch.meshgrid(
        torch.linspace(-half, half, rows, dtype=torch.float64) + 0.0137,
        torch.linspace(-half, half, columns, dtype=torch.float64) - 0.0071,
        indexing="ij",
    )
    return x.contiguous(), y.contiguous()


def outputs(profile, x, y):
    """What a profile does to coordinates: the deflection of a mass, the intensity of a light."""
    return profile.deflection(x, y) if hasattr(profile, "deflection") else (profile.intensity(x, y),)


def with_tensors(profile, dtype=torch.float64, factor=1.0):
    """The same profile with a tensor for every parameter."""
    return replace(profile, **{f.name: torch.as_tensor(getattr(profile, f.name)).to(dtype) * factor for f in fields(profile)})


def parameters(profile):
    return [getattr(profile, f.name) for f in fields(profile)]


def test_every_profile_has_an_example():
    assert set(EXAMPLES) == set(ALL)


@pytest.mark.parametrize("name", MASSES)
def test_identities_of_the_potential(name):
    x, y = (t.requires_grad_() for t in grid())
    mass = EXAMPLES[name]
    gradient = torch.autograd.grad(mass.potential(x, y).sum(), (x, y))
    alpha = mass.deflection(x, y)
    xx, xy = torch.autograd.grad(alpha[0].sum(), (x, y), retain_graph=True)
    yx, yy = torch.autograd.grad(alpha[1].sum(), (x, y))
    kappa = mass.convergence(x, y)
    exact = 3e-7 if name in ("TNFW", "CoredTNFW") else 1e-9  # their potential is a quadrature
    assert torch.allclose(torch.stack(alpha), torch.stack(gradient), rtol=exact, atol=0.1 * exact)
    assert torch.allclose(kappa, 0.5 * (xx + yy), rtol=1e-8, atol=1e-8)
    assert torch.allclose(xy, yx, rtol=1e-8, atol=1e-8)
    assert torch.allclose(torch.stack(mass.hessian(x, y)), torch.stack([xx, xy, yy]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MASSES)
def test_the_flux_of_the_deflection_through_a_circle_is_the_mass_inside(name):
    """Gauss: the integral of alpha over a circle is twice that of kappa, the point masses and the string included."""
    total = {"Shear": 0.0, "PointMass": 0.3**2, "PointMasses": 0.2**2 + 0.1**2, "Vortex": 0.25**2, "Multipole": 0.0}
    phi = torch.arange(2000, dtype=torch.float64)[None] * (2 * math.pi / 2000)
    radius = 1.5
    ax, ay = EXAMPLES[name].deflection(radius * phi.cos(), radius * phi.sin())
    mass = radius * float((ax * phi.cos() + ay * phi.sin()).mean())
    if name not in total:
        r = (torch.arange(1500, dtype=torch.float64)[:, None] + 0.5) * (radius / 1500)
        total[name] = 2 * float((EXAMPLES[name].convergence(r * phi.cos(), r * phi.sin()) * r).mean()) * radius
    assert mass == pytest.approx(total[name], rel=2e-3, abs=1e-9)


@pytest.mark.parametrize("name", [name for name, light in LIGHTS.items() if hasattr(light, "total_flux")])
def test_total_flux_is_the_integral(name):
    light = EXAMPLES[name]
    y, x = (torch.linspace(-8, 8, n, dtype=torch.float64) for n in (1201, 1601))
    cell = float((x[1] - x[0]) * (y[1] - y[0]))
    assert float(light.intensity(x[None, :], y[:, None]).sum()) * cell == pytest.approx(float(light.total_flux()), rel=1e-3)
    if hasattr(light, "amp_for_flux"):
        assert light.amp_for_flux(light.total_flux(), light.R_sersic, light.n_sersic) == pytest.approx(light.amp)
    batch = with_tensors(light, factor=torch.tensor([0.8, 1.0], dtype=torch.float64))
    assert float(batch.total_flux()[1]) == pytest.approx(float(light.total_flux()))


@pytest.mark.parametrize("name", ALL)
def test_gradients_to_coordinates_and_every_parameter(name):
    profile = with_tensors(EXAMPLES[name])
    names = [f.name for f in fields(profile)]
    inputs = [t.clone().requires_grad_() for t in (*grid(2, 3, 1.1), *parameters(profile))]

    def function(x, y, *values):
        return outputs(replace(profile, **dict(zip(names, values, strict=True))), x, y)

    assert torch.autograd.gradcheck(function, inputs, rtol=1e-5)


@pytest.mark.parametrize("name", ELLIPTICAL)
@pytest.mark.parametrize("e", [0.0, 1e-9, 9.99e-5, 1.001e-4, 0.02])
def test_gradient_to_the_ellipticity_is_right_at_and_near_the_circle(name, e):
    x, y = grid(5, 7)
    step = 1e-5

    def at(e1, e2):
        return torch.stack(outputs(replace(EXAMPLES[name], e1=e1, e2=e2), x, y))

    zero = torch.zeros((), dtype=torch.float64)
    jacobian = torch.func.jacfwd(at, (0, 1))(zero + 0.6 * e, zero - 0.8 * e)
    numeric = (
        at(0.6 * e + step, -0.8 * e) - at(0.6 * e - step, -0.8 * e),
        at(0.6 * e, -0.8 * e + step) - at(0.6 * e, -0.8 * e - step),
    )
    for exact, difference in zip(jacobian, numeric, strict=True):
        assert torch.allclose(exact, difference / (2 * step), rtol=1e-5, atol=1e-6)
        assert exact.abs().max() > 0.1


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1e-30, 1e-9, 1e-7])
def test_finite_with_finite_gradients_at_the_centre_and_for_circles(name, dtype, offset):
    profile = with_tensors(EXAMPLES[name], dtype)
    centres = {f.name: 0 * getattr(profile, f.name) for f in fields(profile) if f.name in ("center_x", "center_y", "e1", "e2")}
    profile = replace(profile, **centres)
    leaves = [p.requires_grad_() for p in parameters(profile)]
    x, y = (torch.full((3, 4), offset, dtype=dtype, requires_grad=True) for _ in range(2))
    values = [*outputs(profile, x, y)]
    if name in MASSES:
        values += [profile.potential(x, y), profile.convergence(x, y), *profile.hessian(x, y)]
    for value in values:
        assert torch.isfinite(value).all()
        if value.requires_grad:
            gradients = torch.autograd.grad(value.sum(), [x, y, *leaves], allow_unused=True, retain_graph=True)
            assert all(g is None or torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("batch", [(5,), (2, 3), (1,)])
def test_parameters_serve_the_leading_batch_on_a_grid_that_is_not_square(name, batch):
    x, y = grid(6, 9)
    factors = torch.linspace(0.7, 1.1, math.prod(batch), dtype=torch.float64).view(batch)
    spread = factors[..., None] if name == "PointMasses" else factors
    many = torch.stack(outputs(with_tensors(EXAMPLES[name], factor=spread), x, y))
    assert many.shape[1:] == (*batch, 6, 9)
    for index in [(0,) * len(batch), (-1,) * len(batch)]:
        one = torch.stack(outputs(with_tensors(EXAMPLES[name], factor=float(factors[index])), x, y))
        assert one.shape[1:] == (6, 9)
        assert torch.allclose(many[(slice(None), *index)], one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_an_open_grid_gives_the_same_as_a_full_one(name):
    x, y = grid(6, 9)
    for profile in (EXAMPLES[name], with_tensors(EXAMPLES[name])):
        full, thin = (outputs(profile, *grids) for grids in ((x, y), (x[:1, :], y[:, :1])))
        assert thin[0].shape == (6, 9)
        assert torch.allclose(torch.stack(full), torch.stack(thin), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MASSES)
def test_coordinates_of_each_system_may_differ(name):
    x, y = grid(4, 5)
    shifted = torch.stack([x, x + 0.3]), torch.stack([y, y - 0.2])
    both = torch.stack(EXAMPLES[name].deflection(*shifted))
    for i in range(2):
        one = torch.stack(EXAMPLES[name].deflection(shifted[0][i], shifted[1][i]))
        assert torch.allclose(both[:, i], one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_float32_error_budget(name):
    x, y = grid()
    exact = torch.stack(outputs(EXAMPLES[name], x, y))
    found = torch.stack(outputs(with_tensors(EXAMPLES[name], torch.float32), x.float(), y.float()))
    assert found.dtype == torch.float32
    unit = 1.0 if name in MASSES else float(exact.max())
    assert float((found - exact).abs().max()) < FLOAT32_BUDGET * unit


@pytest.mark.parametrize("name", ALL)
def test_traces_without_a_break(name):
    x, y = grid(5, 4)
    profile = with_tensors(EXAMPLES[name])
    torch.compiler.reset()  # every profile is a compilation of its own

    @torch.compile(backend="eager", fullgraph=True)
    def compiled(values, x, y):
        return outputs(type(profile)(*values), x, y)

    found = compiled(parameters(profile), x, y)
    assert torch.equal(torch.stack(found), torch.stack(outputs(profile, x, y)))


def test_no_point_masses_deflect_nothing():
    x, y = grid(3, 4)
    none = PointMasses(*(torch.zeros(2, 0, dtype=torch.float64) for _ in range(3)))
    for value in (*none.deflection(x, y), none.potential(x, y), none.convergence(x, y)):
        assert value.shape == (2, 3, 4)
        assert not value.any()


def test_padding_deflects_nothing():
    x, y = grid(3, 4)
    points = torch.tensor([[0.2, 0.1], [0.3, -0.5], [0.1, 0.6]], dtype=torch.float64)
    padded = PointMasses(*torch.cat([points, torch.zeros(3, 2, dtype=torch.float64)], 1))
    assert torch.equal(torch.stack(padded.deflection(x, y)), torch.stack(PointMasses(*points).deflection(x, y)))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_what_has_to_be_positive_is_one_sentence(value):
    with pytest.raises(InputError, match=r"SIE with theta_E = .*has to be positive; give arcsec"):
        SIE(value, 0.1, 0.0)
    with pytest.raises(InputError, match="NFW with Rs"):
        NFW(value, 0.4)
    with pytest.raises(InputError, match="Sersic with R_sersic"):
        Sersic(1.0, value, 1.0)
