"""Lensed quasars in images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.lensing import SIE, SIS, PointSource, SersicEllipse, Shear
from darklens.simulate import GaussianPSF, Scene, TabulatedPSF, instrument, render

LENS = {"theta_E": 1.2, "e1": 0.15, "e2": 0.05}


def scene(flux=0.0):
    one = torch.ones(1, dtype=torch.float64)
    lens = SIE(*(v * one for v in LENS.values())), Shear(0.05 * one, 0.02 * one)
    host = SersicEllipse(*(v * one for v in (flux + 1e-12, 0.3, 1.0, 0.1, 0.0, 0.05, 0.03)))
    quasar = PointSource(5.0 * one, 0.05 * one, 0.03 * one)
    return Scene(lens, (), (host,), ("quasar",), {}, 0, (0,), point_source=(quasar,))


@pytest.mark.parametrize("psf", [GaussianPSF(0.16), TabulatedPSF(np.outer([1, 2, 1], [1, 3, 1]))], ids=["gaussian", "tabulated"])
def test_fluxes_and_places_of_the_images(psf):
    camera = replace(instrument("hst-acs-f814w"), psf=psf)
    image = render(scene(), camera, (81, 91), dtype=torch.float64)[0]
    where, flux = PointSource(5.0, 0.05, 0.03).images([SIE(**LENS), Shear(0.05, 0.02)])
    assert len(where) == 4
    assert float(image.sum()) == pytest.approx(float(flux.sum()), rel=1e-3)
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * 0.05 for n in image.shape)
    centroid = (image * x).sum() / image.sum(), (image * y[:, None]).sum() / image.sum()
    expected = (where * flux[:, None]).sum(0) / flux.sum()
    assert float(centroid[0]) == pytest.approx(float(expected[0]), abs=2e-3)
    assert float(centroid[1]) == pytest.approx(float(expected[1]), abs=2e-3)


def test_they_are_added_to_the_extended_light():
    camera = instrument("hst-acs-f814w")
    whole = render(scene(20.0), camera, (64, 64))
    parts = render(scene(), camera, (64, 64)) + render(replace(scene(20.0), point_source=()), camera, (64, 64))
    assert torch.allclose(whole, parts, atol=1e-5 * float(whole.max()))


def test_several_planes_are_refused():
    planes = ((0.3, (SIS(0.1 * torch.ones(1, dtype=torch.float64)),)),)
    with pytest.raises(InputError, match="several lens planes"):
        render(replace(scene(), planes=planes), instrument("hst-acs-f814w"), (32, 32))
