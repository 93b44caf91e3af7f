import gzip

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


def _enhanced_header(tmp_path, header, scale=2, primary=None, **given):
    """Write a coarse image with a header, sharpen it, and return the new header."""
    image = np.zeros((10, 8), np.float32)
    hdus = [fits.PrimaryHDU(image, header)] if primary is None else [fits.PrimaryHDU(header=primary), fits.ImageHDU(image, header)]
    fits.HDUList(hdus).writeto(tmp_path / "in.fits", overwrite=True)
    fine = np.zeros((1, 10 * scale, 8 * scale), np.float32)
    write_enhanced(tmp_path / "out.fits", fine, None, source=tmp_path / "in.fits", scale=scale, force=True, **given)
    return fits.getheader(tmp_path / "out.fits")


DISTORTED = fits.Header(
    {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 4.0, "CRPIX2": 9.0}
    | {"CD1_1": -2e-5, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 2e-5, "A_ORDER": 2, "B_ORDER": 2, "AP_ORDER": 2, "BP_ORDER": 2}
    | {"A_2_0": 3e-3, "A_1_1": -2e-3, "B_0_2": 1e-3, "AP_1_0": 1e-3, "AP_2_0": -3e-3, "BP_0_2": -1e-3}
)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_distorted_image_keeps_its_place_on_the_sky(tmp_path, scale):
    old, new = WCS(DISTORTED), WCS(_enhanced_header(tmp_path, DISTORTED, scale))
    x, y = np.array([0.0, 7.0, 2.5]), np.array([0.0, 9.0, 4.0])
    fine = [scale * (axis + 0.5) - 0.5 for axis in (x, y)]
    sky = old.all_pix2world(x, y, 0)
    assert np.allclose(sky, new.all_pix2world(*fine, 0), rtol=0, atol=1e-10)
    for inverse, coefficients in ((old.sip.ap, new.sip.ap), (old.sip.bp, new.sip.bp)):  # of offsets in pixels, which grow
        assert np.allclose(
            np.polynomial.polynomial.polyval2d(scale * x, scale * y, coefficients),
            scale * np.polynomial.polynomial.polyval2d(x, y, inverse),
            rtol=1e-12,
        )


def test_cards_that_say_the_same_otherwise_are_changed_too(tmp_path):
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 4.0, "CRPIX2": 5.5, "CRVAL1": 1.0, "CRVAL2": 2.0}
    cards |= {"PC1_1": -2e-5, "PC2_2": 2e-5, "PIXAR_A2": 0.04, "LTV1": -3.0, "LTM1_1": 1.0, "PIXSCALE": "0.2", "CRPIX1A": 1.0}
    header = _enhanced_header(tmp_path, fits.Header(cards))
    found = WCS(header)
    assert np.allclose(found.all_pix2world(0.5, 0.5, 0), WCS(fits.Header(cards)).all_pix2world(0, 0, 0), rtol=0, atol=1e-10)
    expected = {"PIXAR_A2": 0.01, "LTV1": -6.5, "LTM1_1": 2.0, "PIXSCALE": 0.1, "CRPIX1A": 1.5}
    assert {key: header[key] for key in expected} == pytest.approx(expected)


def test_a_third_axis_and_lookup_tables_stay_behind(tmp_path):
    cards = {"WCSAXES": 3, "CTYPE3": "FREQ", "CRPIX3": 1.0, "CRVAL3": 1e9, "CDELT3": 1e6, "CD3_3": 1.0, "CPDIS1": "LOOKUP"}
    header = _enhanced_header(tmp_path, fits.Header(dict(DISTORTED) | cards))
    assert header["WCSAXES"] == 2
    assert not set(header) & {"CTYPE3", "CRPIX3", "CRVAL3", "CDELT3", "CD3_3", "CPDIS1"}
    assert "lookup tables is left out" in str(header["HISTORY"])


def test_an_extension_inherits_from_the_first_header(tmp_path):
    primary = fits.Header({"TELESCOP": "HST", "FILTER": "F814W", "CRPIX1": 77.0, "OBJECT": "a field"})
    header = _enhanced_header(tmp_path, fits.Header({"OBJECT": "a lens", "CTYPE1": "LINEAR"}), primary=primary, hdu="1")
    assert (header["TELESCOP"], header["FILTER"], header["OBJECT"]) == ("HST", "F814W", "a lens")
    assert "CRPIX1" not in header


def test_a_file_of_another_name_is_known_by_its_first_bytes(tmp_path, coarse):
    coarse.rename(tmp_path / "coarse")
    write_enhanced(tmp_path / "o.fits", np.zeros((1, 20, 16)), None, source=tmp_path / "coarse", scale=2)
    write_enhanced(tmp_path / "o.fits.gz", np.zeros((1, 20, 16)), None, source=tmp_path / "coarse", scale=2)
    assert gzip.decompress((tmp_path / "o.fits.gz").read_bytes()) == (tmp_path / "o.fits").read_bytes()
    assert fits.getheader(tmp_path / "o.fits")["OBJECT"] == "a lens"
