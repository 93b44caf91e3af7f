import math
from dataclasses import replace

import numpy as np
import pytest

from darklens.lensing import Cosmology
from darklens.simulate.injection import Galaxy, Matched, camera_of


def galaxy_of(magnitudes: tuple[float, ...], e1: float = 0.2, e2: float = -0.1) -> Galaxy:
    """A galaxy of these AB magnitudes on cutouts of zero point 30."""
    flux = 10.0 ** (-0.4 * (np.array(magnitudes) - 30.0))
    return Galaxy(np.ones(len(flux)), np.zeros(len(flux)), flux, 0.0, 0.0, e1, e2, 1.0, 100.0)


def draws(matched: Matched, galaxy: Galaxy, camera, n: int = 400, redshift: float | None = None) -> list:
    rng = np.random.default_rng(2)
    return [d for d in (matched.draw(galaxy, camera, rng, redshift) for _ in range(n)) if d is not None]


def test_an_einstein_radius_follows_from_light_and_redshifts(camera):
    # M_r = -22.5 at z = 0.4 after K correction and evolution: 10^(2.203 + 0.102 * 1.35) = 219 km/s (Bernardi et al. 2003)
    modulus = 5 * math.log10(Cosmology().distance(0.4) * 1.4**2 * 1e5)
    galaxy = galaxy_of((21.0, -22.5 + modulus + 0.58 - 0.85 * 0.4, 18.5))
    exact = Matched(scatter_dispersion=0.0, theta_E=(0.01, 5.0))
    found = draws(exact, galaxy, camera, 20, redshift=0.4)
    assert len(found) == 20
    for lens in found:
        assert lens.sigma_v == pytest.approx(219.2, abs=0.5)
        cosmology = Cosmology()
        ratio = cosmology.distance(lens.z_source, 0.4) / cosmology.distance(lens.z_source)
        expected = 4 * math.pi * (lens.sigma_v / 299792.458) ** 2 * ratio * 206264.806
        assert lens.theta_E == pytest.approx(expected, rel=1e-3)
    scattered = draws(replace(exact, scatter_dispersion=0.07), galaxy, camera, redshift=0.4)
    assert np.std(np.log10([lens.sigma_v for lens in scattered])) == pytest.approx(0.07, rel=0.15)


def test_brighter_by_one_magnitude_is_wider_by_the_slope(camera):
    exact = Matched(scatter_dispersion=0.0, theta_E=(0.01, 9.0))
    faint, bright = (draws(exact, galaxy_of((21.0, m, 18.5)), camera, 5, 0.4)[0] for m in (19.5, 18.5))
    assert bright.theta_E / faint.theta_E == pytest.approx(10 ** (2 * 0.102), rel=1e-9)


@pytest.mark.parametrize(("colours", "z"), [((1.52, 0.54), 0.3), ((1.78, 0.85), 0.5), ((1.85, 1.16), 0.7)])
def test_the_redshift_of_a_red_galaxy_is_that_of_its_colours(camera, colours, z):
    galaxy = galaxy_of((19.0 + colours[0], 19.0, 19.0 - colours[1]))
    found = draws(Matched(theta_E=(0.001, 50.0)), galaxy, camera)
    assert np.median([lens.z_lens for lens in found]) == pytest.approx(z, abs=0.05)
    assert np.std([lens.z_lens for lens in found]) < 0.1


def test_mass_lies_as_light_does(camera):
    found = draws(Matched(theta_E=(0.001, 50.0)), galaxy_of((20.5, 19.0, 18.2)), camera)
    angle = 0.5 * np.arctan2([lens.e2 for lens in found], [lens.e1 for lens in found])
    light = 0.5 * math.atan2(-0.1, 0.2)
    assert np.mean(angle) == pytest.approx(light, abs=math.radians(1.5))
    assert np.std(angle) == pytest.approx(math.radians(10), rel=0.15)
    assert np.mean(np.hypot([lens.e1 for lens in found], [lens.e2 for lens in found])) == pytest.approx(
        math.hypot(0.2, 0.1), abs=0.01
    )


def test_lenses_out_of_the_range_are_refused_and_a_range_is_filled(camera):
    galaxy = galaxy_of((20.5, 19.0, 18.2))
    assert all(1.0 <= lens.theta_E <= 1.2 for lens in draws(Matched(theta_E=(1.0, 1.2)), galaxy, camera))
    uniform = [lens.theta_E for lens in draws(Matched(theta_E=(1.0, 2.0), by_luminosity=False), galaxy, camera)]
    assert np.mean(uniform) == pytest.approx(1.5, abs=0.05)
    assert np.std(uniform) == pytest.approx(12**-0.5, rel=0.1)


def test_light_that_is_not_measured_says_nothing_of_mass(camera):
    dark = replace(galaxy_of((20.0, 19.0, 18.0)), flux=np.array([1.0, np.nan, 1.0]))
    assert draws(Matched(), dark, camera, 20) == []
    bare = camera_of(3, bands="g,r,i", psf=1.0, pixel_scale=0.25)
    assert len(draws(Matched(theta_E=(1.0, 2.0), by_luminosity=False), dark, bare, 20)) > 15
