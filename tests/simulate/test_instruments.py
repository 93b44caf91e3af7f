import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.simulate import INSTRUMENTS, GaussianPSF, Instrument, TabulatedPSF, bands_of, configured, instrument, preset, render

TABLE = {
    # name: pixel, FWHM, zero point, seconds, read noise, sky, gain
    "hst-acs-f814w": (0.05, 0.095, 25.94, 2028, 4.5, 22, 2),
    "hst-uvis-f814w": (0.04, 0.08, 25.127, 1380, 3.0, 21.83, 1.58),
    "hst-wfc3-f160w": (0.08, 0.08, 25.96, 5400, 4, 22.3, 2.5),
    "euclid-vis": (0.101, 0.16, 25.72, 566 * 4, 4.2, 22.3, 3.1),
    "lsst-r-10yr": (0.2, 0.73, 28.13, 15 * 460, 10, 21.2, 2.3),
    "lsst-r-visit": (0.2, 0.73, 28.13, 15 * 2, 10, 21.2, 2.3),
    "lsst-i-10yr": (0.2, 0.71, 27.79, 15 * 460, 10, 20.48, 2.3),
    "lsst-i-visit": (0.2, 0.71, 27.79, 15 * 2, 10, 20.48, 2.3),
    "des-g": (0.263, 1.12, 26.58, 900, 7, 22.01, 4),
    "des-r": (0.263, 0.96, 26.78, 900, 7, 21.15, 4),
    "des-i": (0.263, 0.88, 26.75, 900, 7, 19.89, 4),
    "hsc-i": (0.168, 0.61, 28.61, 1200, 4.5, 19.7, 3.0),
    "roman-f129": (0.11, 0.106, 26.353, 107 * 6, 8.5, 22.99, 1),
    "roman-f158": (0.11, 0.128, 26.376, 107 * 6, 8.5, 23.10, 1),
    "jwst-f150w": (0.031, 0.05, 28.02, 257 * 8, 15.77, 22.4, 2.05),
}
BACKGROUND = {
    "euclid-vis": 0.01090,
    "lsst-r-10yr": 0.0663,
    "lsst-r-visit": 1.005,
    "lsst-i-10yr": 0.0764,
    "lsst-i-visit": 1.158,
    "des-i": 0.208,
    "roman-f129": 0.0383,
    "hst-wfc3-f160w": 0.0059,
}


@pytest.mark.parametrize("name", TABLE)
def test_every_row_of_the_table(name):
    camera = instrument(name)
    found = (camera.pixel_scale, camera.psf.fwhm, camera.zero_point, camera.total_exposure)
    assert (*found, camera.read_noise, camera.sky_mag_arcsec2, camera.gain) == pytest.approx(TABLE[name])


@pytest.mark.parametrize("name", BACKGROUND)
def test_background_sigma_by_lenstronomys_formula(name):
    assert INSTRUMENTS[name].background_sigma == pytest.approx(BACKGROUND[name], rel=0.01)


def test_background_sigma_agrees_with_lenstronomy_for_every_instrument():
    from lenstronomy.Util.data_util import bkg_noise

    for camera in INSTRUMENTS.values():
        theirs = bkg_noise(
            camera.read_noise,
            camera.exposure_time,
            camera.sky_per_pixel / camera.pixel_scale**2,
            camera.pixel_scale,
            camera.n_exposures,
        )
        assert camera.background_sigma == pytest.approx(theirs, rel=1e-10), camera.name


@pytest.mark.parametrize(("band", "per_adu", "gain", "sky"), [("g", 0.0038, 3.845, 21.84), ("r", 0.005, 4.72, 20.86)])
def test_sdss_in_nanomaggies(band, per_adu, gain, sky):
    camera = instrument(f"sdss-{band}")
    # electrons a second of one nanomaggie, by counts: 1/per_adu ADU in 53.9 s, times the gain
    assert camera.flux(22.5) == pytest.approx(gain / per_adu / 53.9)
    assert camera.flux(22.5) * camera.nanomaggies == pytest.approx(1)
    sky_adu = 10 ** (0.4 * (22.5 - sky)) * 0.396**2 / per_adu
    sigma = per_adu * math.sqrt(sky_adu / gain + 1.3225)  # the frames' own error formula
    assert camera.background_sigma * camera.nanomaggies == pytest.approx(sigma)
    assert 0.01 < sigma < 0.04  # typical of their frames


def test_an_instrument_without_calibration_says_so():
    bare = Instrument("bare", 0.1, GaussianPSF(0.2))
    for ask in (lambda: bare.flux(20), lambda: bare.nanomaggies, lambda: bare.background_sigma):
        with pytest.raises(InputError, match="bare"):
            ask()


def test_bands_differ_by_zero_point_colour_and_psf():
    chosen = configured("model-iii-noisy", instrument="des-g,des-r,des-i")
    assert chosen.image_shape == (3, 64, 64)
    scene = chosen.population.draw(3, seed=2)
    images, truth = chosen.images(scene)
    assert images.shape == (3, 3, 64, 64)
    assert truth["exposure"].shape == (3,)
    total = images.sum((2, 3))
    for k, band in enumerate(chosen.bands):
        magnitude = -2.5 * np.log10(total[:, k] / total[:, 0]) + band.instrument.zero_point - chosen.instrument.zero_point
        assert np.abs(magnitude - band.source_colour).max() < 0.05
    assert [b.source_colour for b in chosen.bands] == pytest.approx([0, -0.35, -0.6])
    assert chosen.bands[2].lens_colour < chosen.bands[2].source_colour  # the lens is redder


def test_the_noise_of_bands_is_independent():
    chosen = configured("model-iii-noisy", instrument="des-r,des-r")
    scene = chosen.population.draw(1, seed=2)
    images, _ = chosen.images(scene)
    flux = render(scene, chosen.instrument, chosen.shape).numpy()
    noise = images[0] - flux
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.06  # sigma is 1/64


def test_one_band_is_what_it_was():
    chosen = configured("model-iii-noisy", instrument="des-r")
    scene = chosen.population.draw(2, seed=2)
    several = configured("model-iii-noisy", instrument="des-r,des-g")
    assert np.array_equal(chosen.images(scene)[0][:, 0], several.images(scene)[0][:, 0])


def test_bands_of_different_pixels_are_refused():
    with pytest.raises(InputError, match="share a pixel scale"):
        bands_of([instrument("des-g"), instrument("sdss-r")])


def test_the_light_of_the_lens_is_added_and_left_out():
    from darklens.lensing import Sersic

    chosen = preset("model-iii")
    scene = chosen.population.draw(2, seed=1)
    two = torch.full((2,), 2.0, dtype=torch.float64)
    lens = Sersic(5 * two, 0.2 * two, 0.5 * two)
    bright = replace(scene, lens_light=(lens,))
    alone = render(replace(bright, source=(replace(scene.source[0], amp=0 * two),)), chosen.instrument, dtype=torch.float64)
    both = render(bright, chosen.instrument, dtype=torch.float64)
    assert torch.allclose(both, alone + render(scene, chosen.instrument, dtype=torch.float64))
    assert float(alone.sum((1, 2))[0]) == pytest.approx(float(lens.total_flux()[0]), rel=0.02)
    hidden = configured("model-iii", lens_light=False)
    assert np.array_equal(hidden.images(bright)[0], chosen.images(scene)[0])
    assert hidden.options() == {"lens_light": False}


def test_the_manifest_names_bands_and_psf():
    psf = TabulatedPSF(np.ones((3, 3)))
    assert "sha256" in configured("model-iii-noisy").with_psf(psf).instrument.as_dict()["psf"]
    options = configured("model-iii-noisy", instrument="des-g,des-r", correlated_noise=1.5, supersampling="adaptive").options()
    assert [b["instrument"]["name"] for b in options["bands"]] == ["des-g", "des-r"]
    assert options["artefacts"] == [{"kind": "CorrelatedNoise", "width": 1.5}]
    assert options["supersampling"] == "adaptive"
