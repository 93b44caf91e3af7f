import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from darklens.data.enhanced import write_enhanced
from darklens.errors import InputError


@pytest.fixture
def coarse(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.1, 2.2], [4.0, 9.0]
    wcs.wcs.cd = np.array([[-0.1, 0.02], [0.02, 0.1]]) / 3600
    header = wcs.to_header()
    header["OBJECT"] = "a lens"
    fits.PrimaryHDU(np.zeros((10, 8), np.float32), header).writeto(tmp_path / "coarse.fits")
    return tmp_path / "coarse.fits"


@pytest.mark.parametrize("scale", [2, 3])
def test_the_same_place_on_the_sky_has_the_same_coordinates(tmp_path, coarse, scale):
    out = tmp_path / "fine.fits"
    image = np.arange(80 * scale**2, dtype=np.float32).reshape(1, 10 * scale, 8 * scale)
    write_enhanced(out, image, 0.1 * image, source=coarse, scale=scale, notes=("made so",))
    with fits.open(out) as hdus:
        old, new = WCS(fits.getheader(coarse)), WCS(hdus[0].header)
        x, y = np.array([0.0, 7.0, 2.5]), np.array([0.0, 9.0, 4.0])  # zero-based pixel centres
        fine = [scale * (axis + 0.5) - 0.5 for axis in (x, y)]
        assert np.allclose(old.all_pix2world(x, y, 0), new.all_pix2world(*fine, 0), rtol=0, atol=1e-9)
        assert hdus[0].header["OBJECT"] == "a lens"
        assert "made so" in str(hdus[0].header["HISTORY"])
        assert np.array_equal(hdus[0].data, image[0])
        assert np.allclose(hdus["SIGMA"].data, 0.1 * image[0])


def test_an_image_without_a_header_gets_its_scale(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((4, 4)))
    write_enhanced(
        tmp_path / "o.fits", np.zeros((1, 8, 8)), None, source=tmp_path / "image.npy", scale=2, pixel_scale=0.05, unit="e-/s"
    )
    header = fits.getheader(tmp_path / "o.fits")
    assert (header["PIXSCALE"], header["BUNIT"]) == (0.05, "e-/s")


def test_what_is_there_is_not_overwritten(tmp_path, coarse):
    with pytest.raises(InputError, match=r"exists: choose another --out or give --force"):
        write_enhanced(coarse, np.zeros((1, 4, 4)), None, source=coarse, scale=2)
    with pytest.raises(InputError, match=r"not called like a FITS file"):
        write_enhanced(tmp_path / "a.png", np.zeros((1, 4, 4)), None, source=coarse, scale=2)
