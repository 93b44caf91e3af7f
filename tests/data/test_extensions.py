"""Bands in the extensions of one FITS file, and what lies beside them."""

import numpy as np
import pytest
from astropy.io import fits

from darklens.data import companion, import_path, load, read
from darklens.data.fits import probe_fits
from darklens.data.options import Options
from darklens.errors import InputError

BANDS = ("DES_G", "VIS", "NIR_Y", "NIR_J")


def save(path, images, psf=True):
    """Save a file like Euclid's: an empty primary, then image, PSF and noise of every band."""
    hdus = [fits.PrimaryHDU()]
    for k, (band, pixels) in enumerate(images.items()):
        hdus.append(fits.ImageHDU(np.asarray(pixels, np.float32), name=f"{band}_BGSUB"))
        if psf or k:
            hdus.append(fits.ImageHDU(np.full((3, 3), k + 0.25), name=f"{band}_PSF"))
        hdus.append(fits.ImageHDU(np.full(pixels.shape, k + 0.5), name=f"{band}_RMS"))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture
def cutout(tmp_path, rng):
    images = {band: rng.normal(size=(6, 8)).astype(np.float32) for band in BANDS}
    return save(tmp_path / "x.fits", images), images


def test_all_bands_are_taken_in_the_order_of_the_file_and_said(cutout):
    path, images = cutout
    (record,) = read(path)
    np.testing.assert_array_equal(record.image, list(images.values()))
    assert record.metadata["bands"] == ["G", "VIS", "Y", "J"]
    assert record.metadata["note"] == "took bands G, VIS, Y, J, all that the file has"
    found = probe_fits(path, Options())
    assert (found.shape, found.count, found.bands) == ((4, 6, 8), 1, ("G", "VIS", "Y", "J"))


@pytest.mark.parametrize("bands", ["VIS,J,Y", "vis,j,y", "VIS,NIR_J,NIR_Y", ["VIS", "J", "Y"]])
def test_bands_are_chosen_by_name_in_any_order(cutout, bands):
    path, images = cutout
    (record,) = read(path, bands=bands)
    np.testing.assert_array_equal(record.image, [images["VIS"], images["NIR_J"], images["NIR_Y"]])
    assert "note" not in record.metadata
    assert load(path, bands=bands).shape == (3, 6, 8)


def test_an_unknown_band_is_refused_with_those_there_are(cutout):
    with pytest.raises(InputError, match="has no band 'H': choose by --bands among G,VIS,Y,J"):
        load(cutout[0], bands="VIS,H")


def test_bands_that_end_the_same_keep_their_whole_names(tmp_path):
    path = save(tmp_path / "x.fits", {band: np.ones((6, 8)) for band in ("DES_Y", "NIR_Y")})
    assert next(read(path)).metadata["bands"] == ["DES_Y", "NIR_Y"]


def test_psf_and_noise_stay_reachable_in_the_order_of_the_bands(cutout):
    (record,) = read(cutout[0], bands="J,VIS")
    assert [psf[0, 0] for psf in companion(record, "psf")] == [3.25, 1.25]
    assert [(rms.shape, rms[0, 0]) for rms in companion(record, "rms")] == [((6, 8), 3.5), ((6, 8), 1.5)]
    with pytest.raises(InputError, match="holds no mask for each of its bands: give one of psf, rms"):
        companion(record, "mask")


def test_a_missing_psf_is_one_sentence(tmp_path):
    path = save(tmp_path / "x.fits", {band: np.ones((6, 8)) for band in ("DES_G", "VIS")}, psf=False)
    with pytest.raises(InputError, match="holds no psf for each of its bands"):
        companion(next(read(path)), "psf")
    assert len(companion(next(read(path, bands="VIS")), "psf")) == 1


def test_different_grids_are_named_with_both_remedies(tmp_path):
    path = save(tmp_path / "x.fits", {"VIS": np.ones((30, 30)), "NIR_Y": np.ones((10, 10)), "NIR_J": np.ones((10, 10))})
    words = "different pixel grids .VIS 30x30, Y 10x10, J 10x10.: choose those of one grid, --bands VIS, or .* --resize"
    with pytest.raises(InputError, match=words):
        load(path)
    assert load(path, bands="Y,J").shape == (2, 10, 10)
    assert load(path, size=(15, 15)).shape == (3, 15, 15)
    report = import_path(path, path.parent / "T", resize=15)
    assert (report.shape, report.tally.bands) == ((3, 15, 15), {"VIS,Y,J": 1})


def test_cubes_of_bands_are_stacks(tmp_path, rng):
    cubes = {band: rng.normal(size=(4, 6, 8)).astype(np.float32) for band in ("g", "r")}
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(cube, name=f"{b}_SCI") for b, cube in cubes.items())]).writeto(
        tmp_path / "x.fits"
    )
    found = list(read(tmp_path / "x.fits"))
    assert [r.id for r in found] == [f"x[{i}]" for i in range(4)]
    np.testing.assert_array_equal([r.image for r in found], np.stack(list(cubes.values()), axis=1))
    assert probe_fits(tmp_path / "x.fits", Options()).count == 4


def test_the_real_euclid_lens(shared_data):
    folder = shared_data / "lenses" / "euclid-q1"
    (whole,) = read(folder)
    assert (whole.image.shape, whole.metadata["bands"]) == ((8, 100, 100), ["G", "R", "VIS", "I", "Z", "Y", "J", "H"])
    (chosen,) = read(folder, bands="VIS,Y,J,H")
    np.testing.assert_array_equal(chosen.image, whole.image[[2, 5, 6, 7]])
    assert [psf.shape for psf in companion(chosen, "psf")] == [(21, 21), (33, 33), (33, 33), (33, 33)]
    assert all(rms.shape == (100, 100) and rms.min() > 0 for rms in companion(chosen, "rms"))
    assert companion(chosen, "psf")[0].sum() == pytest.approx(1, rel=0.05)
