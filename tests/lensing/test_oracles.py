"""Independent packages as oracles, over the parameter ranges that the presets use."""

import math

import numpy as np
import pytest
import torch

from darklens.lensing import EPL, LIGHTS, MASSES, PointMasses, SersicEllipse, Shear, magnification

THEIR_NAMES = {"SIS": "SIS", "SIE": "SIE", "EPL": "EPL", "Shear": "SHEAR", "PointMass": "POINT_MASS"}
RANGES = {"theta_E": (0.8, 1.6), "gamma": (1.7, 2.3), "gamma1": (-0.3, 0.3), "gamma2": (-0.3, 0.3)}
RANGES |= {"center_x": (-0.5, 0.5), "center_y": (-0.5, 0.5), "amp": (1, 30), "R_sersic": (0.1, 1.0), "n_sersic": (0.5, 6.0)}
X, Y = (a.ravel() for a in np.meshgrid(np.linspace(-2.1, 2.2, 29), np.linspace(-1.9, 2.0, 23)))


def tensors():
    return torch.from_numpy(X)[None], torch.from_numpy(Y)[None]


def draws(profile, n=12):
    """Random parameters within RANGES, the ellipticity up to 0.4; the first is nearly round."""
    rng = np.random.default_rng(len(profile.__name__))
    for i in range(n):
        kwargs = {name: rng.uniform(*RANGES[name]) for name in profile.__annotations__ if name in RANGES}
        if "e1" in profile.__annotations__:
            e, angle = rng.uniform(0, 0.4) if i else 0.01, rng.uniform(0, 2 * math.pi)
            kwargs |= {"e1": e * math.cos(angle), "e2": e * math.sin(angle)}
        yield kwargs


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_masses_agree_with_lenstronomy(name):
    from lenstronomy.LensModel.lens_model import LensModel

    lens = LensModel([THEIR_NAMES[name]])
    # their SIE is softened by 1e-10 arcsec and differentiated numerically, to 1e-5: the convergence is held to their EPL instead
    exact, isothermal = (LensModel(["EPL"]), {"gamma": 2.0}) if name == "SIE" else (lens, {})
    for kwargs in draws(MASSES[name]):
        mass = MASSES[name](**kwargs)
        expected = np.array(lens.alpha(X, Y, [kwargs]))
        found = torch.cat(mass.deflection(*tensors())).numpy()
        assert np.abs(found - expected).max() < 1e-6 * np.hypot(*expected).min(), kwargs
        psi = lens.potential(X, Y, [kwargs])
        assert np.ptp(mass.potential(*tensors()).numpy() - psi) < 1e-6 * np.abs(psi).max(), kwargs  # but for a constant
        kappa = exact.kappa(X, Y, [kwargs | isothermal])
        assert np.allclose(mass.convergence(*tensors()).numpy(), kappa, rtol=1e-6, atol=1e-7), kwargs


@pytest.mark.parametrize("name", ["Sersic", "SersicEllipse"])
@pytest.mark.parametrize("n_sersic", [None, 0.5, 1.0, 1.5, 4.0, 6.0])
def test_lights_agree_with_lenstronomy(name, n_sersic):
    from lenstronomy.LightModel.light_model import LightModel

    theirs = LightModel([{"Sersic": "SERSIC", "SersicEllipse": "SERSIC_ELLIPSE"}[name]])
    for kwargs in draws(LIGHTS[name], 8):
        kwargs |= {"n_sersic": n_sersic} if n_sersic else {}
        expected = theirs.surface_brightness(X, Y, [kwargs])
        light = LIGHTS[name](**kwargs)
        assert np.allclose(light.intensity(*tensors()).numpy(), expected, rtol=1e-6), kwargs
        assert light.total_flux() == pytest.approx(float(theirs.total_flux([kwargs])[0]), rel=1e-9)


OTHER_MASSES = {
    "NFW": ("NFW", {"Rs": (0.3, 5.0), "alpha_Rs": (0.2, 2.0)}),
    "TNFW": ("TNFW", {"Rs": (0.1, 1.0), "alpha_Rs": (0.05, 0.5), "r_trunc": (0.3, 4.0)}),
    "CoredTNFW": ("TNFWC", {"Rs": (0.4, 1.0), "alpha_Rs": (0.05, 0.5), "r_core": (0.05, 0.35), "r_trunc": (1.2, 4.0)}),
    "PseudoJaffe": ("PJAFFE", {"sigma0": (0.3, 2.0), "Ra": (0.05, 0.4), "Rs": (0.5, 3.0)}),
    "Multipole": ("MULTIPOLE", {"a_m": (-0.1, 0.1), "phi_m": (-1.0, 1.0), "r_E": (0.8, 1.5)}),
}


@pytest.mark.parametrize(
    ("name", "m"), [*((n, None) for n in OTHER_MASSES if n != "Multipole"), *(("Multipole", m) for m in (1, 3, 4))]
)
def test_further_masses_agree_with_lenstronomy(name, m):
    from lenstronomy.LensModel.lens_model import LensModel

    theirs, ranges = OTHER_MASSES[name]
    lens, rng = LensModel([theirs]), np.random.default_rng(3)
    for _ in range(10):
        kwargs = {key: float(rng.uniform(*limits)) for key, limits in ranges.items()} | ({"m": m} if m else {})
        kwargs |= {"center_x": float(rng.uniform(-0.5, 0.5)), "center_y": float(rng.uniform(-0.5, 0.5))}
        mass = MASSES[name](**kwargs)
        expected = np.array(lens.alpha(X, Y, [kwargs]))
        assert np.abs(torch.cat(mass.deflection(*tensors())).numpy() - expected).max() < 1e-6, kwargs
        assert np.allclose(mass.convergence(*tensors()).numpy(), lens.kappa(X, Y, [kwargs]), rtol=1e-5, atol=1e-6), kwargs
        if name not in ("CoredTNFW",):  # lenstronomy integrates that potential numerically, to less
            psi = lens.potential(X, Y, [kwargs])
            assert np.ptp(mass.potential(*tensors()).numpy() - psi) < 1e-6 * max(1.0, np.abs(psi).max()), kwargs


@pytest.mark.parametrize("name", ["CoreSersic", "Gaussian", "GaussianEllipse"])
def test_further_lights_agree_with_lenstronomy(name):
    from lenstronomy.LightModel.light_model import LightModel

    names = {"CoreSersic": "CORE_SERSIC", "Gaussian": "GAUSSIAN", "GaussianEllipse": "GAUSSIAN_ELLIPSE"}
    theirs, rng = LightModel([names[name]]), np.random.default_rng(4)
    limits = {"amp": (1, 20), "R_sersic": (0.2, 1), "Rb": (0.05, 0.3), "n_sersic": (0.6, 5), "gamma": (0, 1), "sigma": (0.1, 0.6)}
    limits |= dict.fromkeys(("e1", "e2"), (-0.3, 0.3)) | dict.fromkeys(("center_x", "center_y"), (-0.5, 0.5))
    for _ in range(10):
        kwargs = {key: float(rng.uniform(*limits[key])) for key in LIGHTS[name].__annotations__}
        expected = theirs.surface_brightness(X, Y, [kwargs])
        assert np.allclose(LIGHTS[name](**kwargs).intensity(*tensors()).numpy(), expected, rtol=1e-6), kwargs


def test_the_centre_of_a_sersic_profile_is_lenstronomys():
    from lenstronomy.LightModel.light_model import LightModel

    kwargs = {"amp": 20.0, "R_sersic": 0.25, "n_sersic": 4.0, "e1": 0.1, "e2": 0.2, "center_x": 0.0, "center_y": 0.0}
    r = np.array([0.0, 1e-6, 9e-5, 1.2e-4, 1e-3])
    expected = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(r, 0 * r, [kwargs])
    found = SersicEllipse(**kwargs).intensity(torch.from_numpy(r)[None], torch.zeros(1, 5, dtype=torch.float64))
    assert np.allclose(found.numpy()[0], expected, rtol=1e-6)


def test_magnification_and_many_points_agree_with_lenstronomy():
    from lenstronomy.LensModel.lens_model import LensModel

    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(0.01, 0.1, 25), *rng.uniform(-2, 2, (2, 25))])
    epl = {"theta_E": 1.2, "gamma": 1.9, "e1": 0.1, "e2": -0.2, "center_x": 0.0, "center_y": 0.05}
    shear = {"gamma1": 0.1, "gamma2": -0.05}
    kwargs = [epl, shear, *({"theta_E": t, "center_x": x, "center_y": y} for t, x, y in points.T)]
    expected = LensModel(["EPL", "SHEAR", *["POINT_MASS"] * 25]).magnification(X, Y, kwargs)
    found = magnification([EPL(**epl), Shear(**shear), PointMasses(*torch.from_numpy(points))], *tensors()).numpy()[0]
    assert np.allclose(1 / found, 1 / expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["SIE", "EPL"])
def test_masses_agree_with_caustics(name):
    import caustics

    q, phi = 0.7, 0.4
    slope = {"t": 0.9} if name == "EPL" else {}
    theirs = getattr(caustics, name)(
        cosmology=caustics.FlatLambdaCDM(), z_l=0.5, z_s=1.0, x0=0.1, y0=0.0, q=q, phi=phi, Rein=1.2, **slope
    ).to(dtype=torch.float64)
    e = (1 - q) / (1 + q)
    kwargs = {"theta_E": 1.2, "e1": e * math.cos(2 * phi), "e2": e * math.sin(2 * phi), "center_x": 0.1}
    ours = MASSES[name](**kwargs, **({"gamma": 1.9} if name == "EPL" else {}))
    expected = theirs.reduced_deflection_angle(*tensors())
    assert torch.allclose(torch.stack(ours.deflection(*tensors())), torch.stack(expected), rtol=1e-6, atol=1e-6)
