import math

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.simulate import INSTRUMENTS, GaussianPSF, TabulatedPSF
from darklens.simulate.injection import camera_of
from darklens.simulate.injection.camera import colour_of
from darklens.simulate.psf import fwhm


def test_an_instrument_says_what_is_not_given():
    camera = camera_of(3, instrument="des-g,des-r,des-i", zero_point=30.0)
    des = INSTRUMENTS["des-r"]
    assert camera.bands == ("g", "r", "i")
    assert (camera.pixel_scale, camera.seeing, camera.reference) == (0.263, 0.96, 1)
    # a star of magnitude 20 gives as many electrons, counted in either unit
    assert camera.gains[1] * camera.flux(1, 20.0) == pytest.approx(des.flux(20.0) * des.total_exposure)
    assert camera_of(3, instrument="des-g,des-r,des-i", zero_point=30.0, exposure=90).gains[1] == pytest.approx(
        camera.gains[1] / 10
    )


def test_what_is_given_goes_before_the_instrument(tmp_path):
    kernel = np.zeros((5, 7))
    kernel[2, 3] = 1.0
    np.save(tmp_path / "psf.npy", kernel)
    psf = f"1.3,{tmp_path / 'psf.npy'},0.8"
    camera = camera_of(3, bands="g,r,i", psf=psf, zero_point="25,26,27", gain="2,3,inf", pixel_scale=0.3)
    assert [type(p) for p in camera.psfs] == [GaussianPSF, TabulatedPSF, GaussianPSF]
    assert camera.zero_points == (25.0, 26.0, 27.0)
    assert camera.gains == (2.0, 3.0, math.inf)
    assert camera.flux(0, 20.0) * 10 ** (0.4) == pytest.approx(camera.flux(1, 20.0))


def test_without_a_zero_point_there_are_no_electrons():
    camera = camera_of(1, instrument="euclid-vis")
    assert camera.zero_points is None
    assert camera.gains == (math.inf,)


def test_colours_are_those_of_the_spectrum_and_go_on_between_its_filters():
    assert colour_of("des-g") == (0.35, 1.60)
    z, y = colour_of("z"), colour_of("Y")
    assert -0.6 < y[0] < z[0] < -0.30
    assert -1.6 < y[1] < z[1] < -0.85
    colours = camera_of(3, instrument="des-g,des-r,des-i").source_colours()
    assert colours == pytest.approx([0.35, 0.0, -0.25])


def test_the_width_of_a_kernel_is_that_of_the_gaussian_it_was_made_from():
    offset = np.arange(-20, 21) * 0.05
    kernel = np.exp(-0.5 * (np.hypot(offset[:, None], offset) / 0.25) ** 2)
    assert fwhm(TabulatedPSF(kernel), 0.05) == pytest.approx(0.25 * 2.3548, rel=0.03)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"instrument": "des-g,des-r"}, "cutouts with 3 bands and 2 bands: name one a band"),
        ({"bands": "g,r,i", "psf": 1.0}, "the pixel scale of the cutouts is unknown: give --pixel-scale"),
        ({"bands": "g,r,i", "pixel_scale": 0.2}, "the PSF of the cutouts is unknown: give --psf"),
        ({"bands": "g,r,i", "psf": "1,2", "pixel_scale": 0.2}, "2 PSFs for 3 bands: give one for all, or one a band"),
        ({"bands": "g,r,i", "psf": "-1", "pixel_scale": 0.2}, "PSF width -1.0 is not a positive number"),
        ({"bands": "g,r,i", "psf": "1", "pixel_scale": 0.2, "zero_point": "bright"}, "zero point 'bright' is not a number"),
        ({"bands": "g,r,i", "psf": "1", "pixel_scale": 0.2, "gain": 0}, "gain 0 is not a positive number"),
        ({"bands": "g,r,i", "psf": "1", "pixel_scale": 0.2, "exposure": 90}, "exposure 90 s gives no electrons without"),
        ({"bands": "g,r,i", "psf": "1", "pixel_scale": 0.2, "reference": "k"}, "unknown band 'k'"),
        (
            {"instrument": "des-g,des-r,des-i", "known_scale": 0.1},
            r"pixel scales 0.1\" \(the cutouts\) and 0.263\" \(des-g\)",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        camera_of(3, **options)
