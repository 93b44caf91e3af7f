import math

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.lensing import Cosmology


def test_einstein_radii_right_and_as_published():
    cosmology = Cosmology()
    assert cosmology.einstein_radius_point_mass(1e12, 0.5, 1.0) == pytest.approx(1.6645, abs=1e-4)
    assert cosmology.einstein_radius_as_published(1e12, 0.5, 1.0) == pytest.approx(1.28149, abs=1e-5)


def test_einstein_radius_takes_arrays_and_mass_within_undoes_it():
    cosmology = Cosmology(67.4, 0.315, 0.049)
    mass = np.array([1e6, 3e11])
    radius = cosmology.einstein_radius_point_mass(mass, 0.2, 2.0)
    assert cosmology.mass_within(radius, 0.2, 2.0) == pytest.approx(mass)
    assert cosmology.einstein_radius_as_published(mass, 0.2, 2.0) == pytest.approx(
        [cosmology.einstein_radius_as_published(float(m), 0.2, 2.0) for m in mass]
    )


def test_distances_are_astropys():
    cosmology = Cosmology()
    reference = cosmology.astropy
    assert cosmology.distance(1.0) == pytest.approx(reference.angular_diameter_distance(1.0).value, rel=1e-12)
    between = (reference.comoving_distance(1.0) - reference.comoving_distance(0.5)).value / 2
    assert cosmology.distance(1.0, 0.5) == pytest.approx(between, rel=1e-12)


def test_lensing_quantities_follow_from_astropys_constants_and_agree_with_lenstronomy():
    from astropy import constants
    from lenstronomy.Cosmo.lens_cosmo import LensCosmo

    cosmology = Cosmology()
    near, far, between = cosmology.distance(0.5), cosmology.distance(1.0), cosmology.distance(1.0, 0.5)
    density = (constants.c**2 / constants.G).to_value("Msun/Mpc") * far / (4 * math.pi * near * between)
    per_arcsec2 = density * (near * math.pi / 648000) ** 2
    assert cosmology.critical_surface_density(0.5, 1.0) == pytest.approx(per_arcsec2, rel=1e-6)
    for z_lens, z_source in ((0.05, 0.06), (0.2, 3.0), (0.5, 1.0), (2.0, 9.0)):
        ratio = cosmology.critical_surface_density_at_most(z_lens, z_source) / cosmology.critical_surface_density(z_lens, z_source)
        assert 1 < ratio < 30
    assert cosmology.mass_within(1.2, 0.5, 1.0) == pytest.approx(math.pi * 1.2**2 * per_arcsec2, rel=1e-6)
    theirs = LensCosmo(0.5, 1.0, cosmo=cosmology.astropy)
    assert between == pytest.approx(theirs.dds, rel=1e-9)
    assert per_arcsec2 == pytest.approx(theirs.sigma_crit_angle, rel=1e-3)  # their G is older


@pytest.mark.parametrize(("z", "z_from"), [(0.5, 1.0), (0.5, 0.5), (1.0, -0.1), (math.nan, 0.0)])
def test_redshifts_out_of_order_are_refused(z, z_from):
    with pytest.raises(InputError, match=f"{z_from} and {z}"):
        Cosmology().distance(z, z_from)


def test_it_is_written_as_plain_numbers():
    assert Cosmology(69.7, 0.2815, 0.0455).as_dict() == {"name": "FlatLambdaCDM", "H0": 69.7, "Om0": 0.2815, "Ob0": 0.0455}
