from dataclasses import replace

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.fit import Linear, plan_for
from darklens.simulate import TabulatedPSF, preset
from darklens.train.measured import measured_plan, wrong_psf

BASE = preset("model-ii-noisy")
PLAN = plan_for(BASE)


def test_psf_and_noise_are_measured_among_images_with_substructure():
    psf = replace(BASE.instrument.psf, fwhm=1.2 * BASE.instrument.psf.fwhm)
    instrument = replace(BASE.instrument, psf=psf, exposure_time=BASE.instrument.exposure_time / 4)
    seen = replace(BASE, instrument=instrument)
    images, _ = seen.images(seen.population.draw(36, seed=1))
    said = []
    plan, found = measured_plan(images, PLAN, log=said.append)
    assert plan.psf.fwhm == pytest.approx(psf.fwhm, rel=0.02)
    assert plan.noise.background_sigma == pytest.approx(instrument.background_sigma, rel=0.05)
    assert plan.noise.exposure == pytest.approx(instrument.total_exposure, rel=0.3)
    assert found.images <= 11
    assert "look smooth" in said[0]
    assert (plan.model, plan.pixel_scale) == (PLAN.model, PLAN.pixel_scale)
    assert PLAN.noise == Linear.of(BASE.instrument)


def test_what_cannot_be_measured_is_said():
    images = np.zeros((20, 64, 64), np.float32)
    with pytest.raises(InputError, match="20 images to calibrate on: give at least 27"):
        measured_plan(images, PLAN)
    with pytest.raises(InputError, match="only the width of a Gaussian"):
        measured_plan(images, replace(PLAN, psf=TabulatedPSF(np.ones((3, 3)) / 9, 0.1)))


@pytest.mark.parametrize(("factor", "noticed"), [(1.0, False), (1.1, True), (0.9, True)])
def test_a_psf_that_is_not_the_images_is_noticed(factor, noticed):
    images, _ = BASE.images(BASE.population.draw(45, seed=4))
    found = wrong_psf(images, replace(PLAN, psf=replace(PLAN.psf, fwhm=PLAN.psf.fwhm / factor)))
    assert (found is not None) == noticed
    if found:
        assert found.measured == pytest.approx(PLAN.psf.fwhm, rel=0.02)


def test_nothing_is_said_of_a_psf_that_cannot_be_measured():
    images = np.zeros((40, 64, 64), np.float32)
    wide = replace(PLAN, psf=replace(PLAN.psf, fwhm=2 * PLAN.psf.fwhm))
    assert wrong_psf(images[:20], wide) is None  # too few
    assert wrong_psf(images, replace(PLAN, psf=TabulatedPSF(np.ones((3, 3)) / 9, 0.1))) is None
