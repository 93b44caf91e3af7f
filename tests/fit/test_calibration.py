"""Calibration: the width of the PSF and the noise from images alone."""

from dataclasses import replace

import numpy as np
import pytest

import darklens
from darklens.errors import InputError
from darklens.fit import calibrate, plan_for
from darklens.simulate import GaussianPSF, TabulatedPSF, preset, simulate


@pytest.mark.parametrize(("name", "label", "guess"), [("common-test", "no", 1.16), ("model-iii-noisy", "no_sub", 0.8)])
def test_width_background_and_counts_are_found(name, label, guess):
    table = simulate(name, 60, seed=4)
    images = table.images()[np.array(table.labels) == label][:, 0]
    truth = preset(name)
    plan = plan_for(name)
    found = calibrate(images, replace(plan, psf=GaussianPSF(truth.instrument.psf.fwhm * guess)))
    value, error = found.psf_sigma
    assert abs(value / truth.instrument.psf.sigma - 1) < 0.02
    assert abs(value - truth.instrument.psf.sigma) < 4 * error
    assert found.chi2[1] < found.chi2[0]
    if found.sky is not None:
        assert abs(found.sky[0] - truth.recording.sky) < 4 * found.sky[1]
    else:
        assert abs(found.background_sigma[0] / truth.instrument.background_sigma - 1) < 0.02
        assert abs(found.counts_per_unit[0] / truth.instrument.total_exposure - 1) < 0.05


def test_an_image_whose_counts_are_lost_does_not_spoil_the_sky():
    table = simulate("common-test", 60, seed=4)
    images = table.images()[np.array(table.labels) == "no"][:, 0]
    images[::3] = (images[::3] * 0.7) ** 1.01  # no multiples of anything any more
    found = calibrate(images, plan_for("common-test"))
    assert abs(found.sky[0] - preset("common-test").recording.sky) < 4 * found.sky[1]
    blurred = images.astype(np.float64) ** 1.01
    assert calibrate(blurred, plan_for("common-test")).sky is None


def test_smooth_lenses_are_chosen_by_their_label(tmp_path):
    simulate("common-test", 12, seed=4, out=tmp_path / "t")
    said = []
    content = darklens.calibrate(tmp_path / "t", log=said.append)
    assert content["images"] == 4
    assert "4 images of class no" in said[0]
    assert content["psf_fwhm"]["low"] < content["psf_fwhm"]["value"] < content["psf_fwhm"]["high"]
    with pytest.raises(InputError, match="'nothing' among no, sphere, vort"):
        darklens.calibrate(tmp_path / "t", label="nothing")


def test_only_gaussians_have_a_width():
    plan = replace(plan_for("common-test"), psf=TabulatedPSF(np.ones((3, 3))))
    with pytest.raises(InputError, match="Gaussian PSF"):
        calibrate(np.ones((1, 30, 30)), plan)
