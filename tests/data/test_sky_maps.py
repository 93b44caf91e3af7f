import numpy as np
import pytest
from astropy.io import fits

from darklens.data.sky_maps import SUMMARY, prepare, sky_position, write_sky_maps
from darklens.errors import InputError

SKY = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 5.5, "CRPIX2": 5.5}
STEP = {"CD1_1": -0.1 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.1 / 3600}


@pytest.mark.parametrize("hdu", [None, 1, "SCI"])
def test_maps_lie_where_the_image_does_though_it_is_in_an_extension(tmp_path, hdu):
    image = fits.ImageHDU(np.ones((10, 10)), fits.Header(SKY | STEP), name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "lens.fits")
    maps = {"gain": np.zeros((10, 10))}
    header = write_sky_maps(tmp_path / "maps.fits", maps, {}, source=tmp_path / "lens.fits", hdu=hdu, pixel_scale=0.1)
    assert sky_position(header, 0.0, 1.0, 0.1, (10, 10)) == pytest.approx({"ra": 150.0, "dec": 2.0 + 1 / 3600})
    assert fits.getheader(tmp_path / "maps.fits", "GAIN")["CTYPE1"] == "RA---TAN"


def test_a_localisation_goes_to_a_folder_of_its_own(tmp_path):
    prepare(tmp_path / "new", False)
    prepare(tmp_path, False)
    (tmp_path / "lens.fits").touch()
    for force in (False, True):
        with pytest.raises(InputError, match="something other than a localisation"):
            prepare(tmp_path, force)
    (tmp_path / SUMMARY).touch()
    prepare(tmp_path, True)
    with pytest.raises(InputError, match="choose another --out or give --force"):
        prepare(tmp_path, False)
