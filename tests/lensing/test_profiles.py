"""Every profile at once: identities that tie its methods together, and independent packages as oracles."""

import math

import numpy as np
import pytest
import torch

from darklens.lensing import EPL, LIGHTS, MASSES, SIE, SIS, PointMass, PointMasses, Sersic, SersicEllipse, Shear, Vortex

EXAMPLES = {
    "SIS": SIS(1.2, 0.1, -0.05),
    "SIE": SIE(1.28, 0.1, 0.2, 0.03, -0.05),
    "EPL": EPL(1.1, 1.8, -0.15, 0.1, 0.02, 0.01),
    "Shear": Shear(0.05, -0.1),
    "PointMass": PointMass(0.3, 0.2, 0.4),
    "PointMasses": PointMasses(
        *torch.tensor([[0.2, 0.1, 0.0], [0.3, -0.5, 9.0], [0.1, 0.6, 9.0]], dtype=torch.float64)
    ),
    "Vortex": Vortex(0.25, 0.7, 0.4, 0.1, -0.2),
    "Sersic": Sersic(10.0, 0.4, 1.5, 0.05, 0.1),
    "SersicEllipse": SersicEllipse(10.0, 0.4, 1.0, 0.2, -0.1, 0.05, 0.1),
}
WITH_POTENTIAL = [name for name in MASSES if hasattr(EXAMPLES[name], "potential")]


def grid(rows=31, columns=37, half=2.0, dtype=torch.float64):
    y, x = torch.meshgrid(
        torch.linspace(-half, half, rows, dtype=dtype) + 0.0137,
        torch.linspace(-half, half, columns, dtype=dtype) - 0.0071,
        indexing="ij",
    )
    return x.contiguous(), y.contiguous()


def test_every_profile_has_an_example():
    assert set(EXAMPLES) == set(MASSES) | set(LIGHTS)


@pytest.mark.parametrize("name", WITH_POTENTIAL)
def test_deflection_is_the_gradient_of_the_potential(name):
    x, y = (t.requires_grad_() for t in grid())
    gradient = torch.autograd.grad(EXAMPLES[name].potential(x, y).sum(), (x, y))
    for found, expected in zip(EXAMPLES[name].deflection(x, y), gradient, strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", MASSES)
def test_convergence_is_half_the_laplacian_and_the_curl_vanishes(name):
    x, y = grid()
    x, y = x.requires_grad_(), y.requires_grad_()
    ax, ay = EXAMPLES[name].deflection(x, y)
    axx, axy = torch.autograd.grad(ax.sum(), (x, y), retain_graph=True)
    ayx, ayy = torch.autograd.grad(ay.sum(), (x, y))
    kappa = EXAMPLES[name].convergence(x.detach(), y.detach())
    assert torch.allclose(0.5 * (axx + ayy), kappa, rtol=1e-8, atol=1e-8)
    assert torch.allclose(axy, ayx, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MASSES)
def test_hessian_agrees_with_finite_differences(name):
    x, y = grid(9, 7, 1.3)
    step = 1e-5
    plus, minus = EXAMPLES[name].deflection(x + step, y), EXAMPLES[name].deflection(x - step, y)
    xx, xy, _ = EXAMPLES[name].hessian(x, y)
    assert torch.allclose((plus[0] - minus[0]) / (2 * step), xx, rtol=1e-4, atol=1e-6)
    assert torch.allclose((plus[1] - minus[1]) / (2 * step), xy, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*MASSES, *LIGHTS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_with_finite_gradients_at_the_centre(name, dtype):
    import dataclasses

    profile = EXAMPLES[name]
    values = {
        f.name: torch.as_tensor(getattr(profile, f.name)).to(dtype).clone().requires_grad_()
        for f in dataclasses.fields(profile)
    }
    profile = dataclasses.replace(profile, **values)
    centre_x, centre_y = (
        values.get("center_x", torch.zeros(1, dtype=dtype)),
        values.get("center_y", torch.zeros(1, dtype=dtype)),
    )
    x = (torch.zeros(3, 4, dtype=dtype) + centre_x.detach().reshape(-1)[0]).requires_grad_()
    y = (torch.zeros(3, 4, dtype=dtype) + centre_y.detach().reshape(-1)[0]).requires_grad_()
    outputs = profile.deflection(x, y) if name in MASSES else (profile.intensity(x, y),)
    total = sum(o.sum() for o in outputs)
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, [x, y, *values.values()], allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", [*MASSES, *LIGHTS])
def test_parameters_serve_the_leading_batch(name):
    import dataclasses

    if name == "PointMasses":
        points = torch.rand(3, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        many = PointMasses(*points)
        singles = [PointMasses(*points[:, i]) for i in range(5)]
    else:
        fields = [f.name for f in dataclasses.fields(EXAMPLES[name])]
        factors = torch.linspace(0.7, 1.1, 5, dtype=torch.float64)
        many = dataclasses.replace(EXAMPLES[name], **{f: getattr(EXAMPLES[name], f) * factors for f in fields})
        singles = [
            dataclasses.replace(EXAMPLES[name], **{f: getattr(EXAMPLES[name], f) * float(v) for f in fields})
            for v in factors
        ]
    x, y = grid(6, 9)

    def values(profile):
        return torch.stack(profile.deflection(x, y)) if name in MASSES else profile.intensity(x, y)[None]

    batch = values(many)
    assert batch.shape[1:] == (5, 6, 9)
    for i, single in enumerate(singles):
        assert torch.allclose(batch[:, i], values(single).expand_as(batch[:, i]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [*MASSES, *LIGHTS])
def test_float32_error_budget(name):
    import dataclasses

    profile = EXAMPLES[name]
    single = dataclasses.replace(
        profile, **{f.name: torch.as_tensor(getattr(profile, f.name)).float() for f in dataclasses.fields(profile)}
    )
    x, y = grid()
    if name in MASSES:
        reference, found = torch.stack(profile.deflection(x, y)), torch.stack(single.deflection(x.float(), y.float()))
        assert (found - reference).abs().max() < 3e-6 * reference.abs().max().clamp_min(1)  # arcsec
    else:
        reference, found = profile.intensity(x, y), single.intensity(x.float(), y.float())
        assert (found / reference - 1).abs().max() < 1e-5


LENSTRONOMY = [
    ("SIS", "SIS", {"theta_E": 1.2, "center_x": 0.1, "center_y": 0.0}),
    *[
        ("SIE", "SIE", {"theta_E": t, "e1": e1, "e2": e2, "center_x": 0.02, "center_y": -0.1})
        for t, e1, e2 in ((0.8, 0.1, 0.0), (1.28149, 0.3, 0.2), (1.6, -0.1, -0.38), (1.0, 1e-3, 0.0))
    ],
    *[
        ("EPL", "EPL", {"theta_E": 1.3, "gamma": g, "e1": e1, "e2": 0.1, "center_x": 0.0, "center_y": 0.05})
        for g in (1.7, 2.0, 2.3)
        for e1 in (-0.35, 0.0, 0.2)
    ],
    ("Shear", "SHEAR", {"gamma1": 0.3, "gamma2": -0.1}),
    ("PointMass", "POINT_MASS", {"theta_E": 0.2, "center_x": 0.3, "center_y": -0.2}),
]


@pytest.mark.parametrize(("ours", "theirs", "kwargs"), LENSTRONOMY)
def test_deflection_and_potential_agree_with_lenstronomy(ours, theirs, kwargs):
    from lenstronomy.LensModel.lens_model import LensModel

    x, y = grid()
    lens = LensModel([theirs])
    ax, ay = lens.alpha(x.numpy().ravel(), y.numpy().ravel(), [kwargs])
    found = MASSES[ours](**kwargs).deflection(x, y)
    scale = max(np.abs(ax).max(), np.abs(ay).max())
    assert np.abs(found[0].numpy().ravel() - ax).max() < 1e-6 * scale
    assert np.abs(found[1].numpy().ravel() - ay).max() < 1e-6 * scale
    psi = lens.potential(x.numpy().ravel(), y.numpy().ravel(), [kwargs])
    difference = MASSES[ours](**kwargs).potential(x, y).numpy().ravel() - psi
    assert np.ptp(difference) < 1e-6 * np.abs(psi).max()  # a constant has no meaning


def test_epl_agrees_with_caustics():
    import caustics

    q, phi = 0.7, 0.4
    theirs = caustics.EPL(
        cosmology=caustics.FlatLambdaCDM(), z_l=0.5, z_s=1.0, x0=0.0, y0=0.0, q=q, phi=phi, Rein=1.2, t=0.9
    )
    theirs.to(dtype=torch.float64)
    x, y = grid()
    e = (1 - q) / (1 + q)
    ours = EPL(1.2, 1.9, e * math.cos(2 * phi), e * math.sin(2 * phi)).deflection(x, y)
    for found, expected in zip(ours, theirs.reduced_deflection_angle(x, y), strict=True):
        assert torch.allclose(found, expected.double(), rtol=1e-5, atol=1e-5)


def test_limits_of_one_profile_are_another():
    x, y = grid()
    sis = torch.stack(SIS(1.2).deflection(x, y))
    for e in (0.0, 1e-9, 1e-7, 1e-5):
        assert torch.allclose(torch.stack(SIE(1.2, e, 0.0).deflection(x, y)), sis, atol=3 * e + 1e-9)
    sie = torch.stack(SIE(1.2, 0.2, 0.1).deflection(x, y))
    assert torch.allclose(torch.stack(EPL(1.2, 2.0, 0.2, 0.1).deflection(x, y)), sie, atol=1e-10)


def test_sie_is_continuous_across_its_series():
    x, y = grid()
    e = torch.linspace(1e-8, 2e-6, 400, dtype=torch.float64)  # f = sqrt(1 - q^2) crosses its threshold here
    deflection = torch.stack(SIE(1.2, e, 0.0).deflection(x, y))
    assert deflection.diff(dim=1).abs().max() < 5e-8


def test_the_vortex_is_the_limit_of_point_masses():
    vortex = Vortex(0.25, 0.7, 0.4, 0.1, -0.2)
    n = 20_001
    along = torch.linspace(-0.7, 0.7, n, dtype=torch.float64)
    along = along + 0.7 / n * torch.sign(-along) * along.abs() / 0.7  # midpoints of n equal pieces
    points = PointMasses(
        torch.full((n,), 0.25 / n**0.5, dtype=torch.float64), 0.1 + along * math.cos(0.4), -0.2 + along * math.sin(0.4)
    )
    x, y = (
        torch.tensor([[1.0, -0.9, 0.3, 2.0]], dtype=torch.float64),
        torch.tensor([[0.2, 0.8, -1.1, -1.5]], dtype=torch.float64),
    )
    for found, expected in zip(vortex.deflection(x, y), points.deflection(x, y), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_vortex_is_stable_near_its_line_and_far_away():
    vortex = Vortex(torch.tensor(0.2), torch.tensor(0.5))
    y = torch.tensor([[1e-7, 1e-5, 1e-3]])
    x = torch.full_like(y, 0.2)
    _, ay = vortex.deflection(x, y)
    assert torch.allclose(
        ay, torch.full_like(ay, 0.04 / (2 * 0.5) * math.pi), rtol=5e-3
    )  # the string looks like a line
    far = torch.tensor([[50.0, -50.0]])
    ax, _ = vortex.deflection(far, torch.zeros_like(far))
    assert torch.allclose(ax, 0.04 / far, rtol=1e-4)  # and like a point


@pytest.mark.parametrize("n", [0.5, 1.0, 1.5, 4.0, 6.0])
def test_sersic_agrees_with_lenstronomy(n):
    from lenstronomy.LightModel.light_model import LightModel

    x, y = grid()
    kwargs = {"amp": 20.0, "R_sersic": 0.25, "n_sersic": n, "e1": -0.1, "e2": 0.3, "center_x": 0.1, "center_y": -0.2}
    theirs = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(x.numpy().ravel(), y.numpy().ravel(), [kwargs])
    assert np.allclose(SersicEllipse(**kwargs).intensity(x, y).numpy().ravel(), theirs, rtol=1e-6)
    round_ = {k: v for k, v in kwargs.items() if k not in ("e1", "e2")}
    theirs = LightModel(["SERSIC"]).surface_brightness(x.numpy().ravel(), y.numpy().ravel(), [round_])
    assert np.allclose(Sersic(**round_).intensity(x, y).numpy().ravel(), theirs, rtol=1e-6)


@pytest.mark.parametrize("name", LIGHTS)
def test_total_flux_is_the_integral(name):
    profile = EXAMPLES[name]
    axis = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    summed = float(profile.intensity(x, y).sum()) * float(axis[1] - axis[0]) ** 2
    assert summed == pytest.approx(float(profile.total_flux()), rel=2e-3)
    amplitude = type(profile).amp_for_flux(profile.total_flux(), profile.R_sersic, profile.n_sersic)
    assert amplitude == pytest.approx(profile.amp)
