import numpy as np
import pytest
from astropy.io import fits

from darklens.data import load, read
from darklens.data.fits import probe_fits
from darklens.data.options import Options
from darklens.errors import InputError


@pytest.fixture
def save(tmp_path):
    def save(*hdus, name="x.fits"):
        fits.HDUList(list(hdus)).writeto(tmp_path / name, overwrite=True)
        return tmp_path / name

    return save


@pytest.fixture
def extensions(save, rng):
    """A file like Euclid's: an empty primary, then image, PSF and noise of two bands."""
    image = rng.normal(size=(2, 6, 8)).astype(np.float32)
    hdus = [fits.PrimaryHDU()]
    for band, pixels in zip(("VIS", "NIR_Y"), image, strict=True):
        hdus += [fits.ImageHDU(pixels, name=f"{band}_BGSUB"), fits.ImageHDU(np.ones((3, 3)), name=f"{band}_PSF")]
    return save(*hdus), image


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u1"])
def test_image_is_native_float32_with_the_first_row_lowest(save, rng, dtype):
    image = rng.integers(0, 100, (6, 8)).astype(dtype)
    (record,) = read(save(fits.PrimaryHDU(image)))
    assert record.image.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(record.image[0], image)
    assert record.dtype == np.dtype(dtype).name


def test_scaled_integers_are_scaled(save):
    hdu = fits.PrimaryHDU(np.array([[1.0, 1.5], [2.0, 3.0]]))
    hdu.scale("int16", bscale=0.5, bzero=100)
    (record,) = read(save(hdu))
    assert record.image[0].tolist() == [[1.0, 1.5], [2.0, 3.0]]


@pytest.mark.parametrize(("shape", "count", "expected"), [((3, 6, 8), 1, (3, 6, 8)), ((20, 6, 8), 20, (1, 6, 8))])
def test_cubes_are_bands_or_stacks(save, rng, shape, count, expected):
    cube = rng.normal(size=shape).astype(np.float32)
    path = save(fits.PrimaryHDU(cube))
    found = list(read(path))
    assert [r.image.shape for r in found] == [expected] * count
    np.testing.assert_array_equal(np.concatenate([r.image for r in found]), cube)
    assert (probe_fits(path, Options()).shape, probe_fits(path, Options()).count) == (expected, count)


def test_a_leading_axis_of_one_is_dropped(save):
    (record,) = read(save(fits.PrimaryHDU(np.ones((1, 1, 6, 8)))))
    assert record.image.shape == (1, 6, 8)


def test_the_first_extension_with_an_image_is_taken_and_said(save, rng):
    image = rng.normal(size=(6, 8))
    path = save(fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI"), fits.ImageHDU(np.ones((3, 3)), name="PSF"))
    (record,) = read(path)
    np.testing.assert_array_equal(record.image[0], image.astype(np.float32))
    assert record.metadata["note"] == "took extension SCI, the first of 2 with an image"


@pytest.mark.parametrize("hdu", [3, "3", "NIR_Y_BGSUB", "nir_y_bgsub"])
def test_an_extension_can_be_chosen(extensions, hdu):
    path, image = extensions
    (record,) = read(path, hdu=hdu)
    np.testing.assert_array_equal(record.image[0], image[1])
    assert "note" not in record.metadata


@pytest.mark.parametrize("hdu", ["VIS_BGSUB,NIR_Y_BGSUB", [1, 3], "1, 3"])
def test_extensions_can_be_bands(extensions, hdu):
    path, image = extensions
    (record,) = read(path, hdu=hdu)
    np.testing.assert_array_equal(record.image, image)
    assert probe_fits(path, Options(hdu=hdu)).shape == (2, 6, 8)


def test_all_extensions(extensions):
    path, _ = extensions
    assert [(r.id, r.image.shape) for r in read(path, hdu="all")] == [
        ("x[1]", (1, 6, 8)), ("x[2]", (1, 3, 3)), ("x[3]", (1, 6, 8)), ("x[4]", (1, 3, 3)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hdu", "words"),
    [
        (0, r"no image in extension '0': choose by --hdu among 1 \(VIS_BGSUB\), 2 \(VIS_PSF\)"),
        (9, "no image in extension '9'"),
        ("HST", "no image in extension 'HST'"),
        ("VIS_BGSUB,VIS_PSF", "not bands of one image"),
    ],
)
def test_an_impossible_choice_is_refused(extensions, hdu, words):
    with pytest.raises(InputError, match=words):
        load(extensions[0], hdu=hdu)


def test_pixel_scale_comes_from_the_header(save):
    rotated = {"CTYPE1": "RA---TAN", "CD1_1": -3e-5, "CD1_2": 4e-5, "CD2_1": 4e-5, "CD2_2": 3e-5}
    for cards, scale in [
        ({"CTYPE1": "RA---TAN", "CDELT1": -2.5e-5, "CDELT2": 2.5e-5}, 0.09),
        (rotated, 0.18),
        ({"CDELT1": 0.05, "CDELT2": 0.05}, None),
        ({"CTYPE1": "RA---TAN", "PC1_1": -3e-5, "PC1_2": 4e-5, "PC2_1": 4e-5, "PC2_2": 3e-5, "CDELT1": 1.0, "CDELT2": 1.0}, 0.18),
        ({"CTYPE1": "RA---TAN", "CD1_2": 5e-5, "CD2_1": 5e-5}, 0.18),
        ({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CDELT1": 5e-5, "CDELT2": -5e-5}, 0.18),
        ({"CTYPE1": "RA---TAN", "CDELT1": "?", "CDELT2": 1.0, "PIXSCALE": 0.2}, 0.2),
        ({"PIXSCALE": "0.2"}, 0.2),
        ({"PIXSCALE": "about 0.2"}, None),
    ]:
        hdu = fits.PrimaryHDU(np.ones((4, 4)))
        hdu.header.update(cards)
        path = save(hdu)
        assert load(path).pixel_scale == (None if scale is None else pytest.approx(scale))
        assert probe_fits(path, Options()).pixel_scale == load(path).pixel_scale


def test_compressed_files(save, rng):
    image = rng.integers(0, 1000, (40, 40)).astype(np.int32)
    for path in (save(fits.PrimaryHDU(image), name="x.fits.gz"), save(fits.PrimaryHDU(), fits.CompImageHDU(image))):
        (record,) = read(path)
        np.testing.assert_array_equal(record.image[0], image)
        assert record.id == "x"
        assert probe_fits(path, Options()).shape == (1, 40, 40)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("keep", [0, 5, 2000, 2880, 3000, 8000])
@pytest.mark.parametrize("name", ["x.fits", "x.fits.gz"])
def test_truncation_is_one_sentence(save, rng, keep, name):
    path = save(fits.PrimaryHDU(rng.normal(size=(40, 40))), name=name)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"is empty, truncated, or no FITS file|holds no image") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_last_extension_is_found(save, rng):
    path = save(fits.PrimaryHDU(), fits.ImageHDU(rng.normal(size=(40, 40))), fits.ImageHDU(rng.normal(size=(40, 40))))
    path.write_bytes(path.read_bytes()[:-8000])
    assert load(path, hdu=1).shape == (1, 40, 40)
    with pytest.raises(InputError, match="truncated"):
        load(path, hdu=2)


def test_a_catalogue_holds_no_image(save):
    table = fits.BinTableHDU.from_columns([fits.Column("ra", "D", array=np.ones(3))])
    with pytest.raises(InputError, match=r"holds no image \(its extensions: PRIMARY Primary, 1 BinTable\)"):
        load(save(fits.PrimaryHDU(), table))


def test_blank_pixels_are_counted(save):
    image = np.ones((6, 8))
    image[2, 3:5] = np.nan
    path = save(fits.PrimaryHDU(image))
    (record,) = read(path)
    assert record.metadata["filled"] == 2
    assert record.image[0, 2, 3:5].tolist() == [1, 1]
    assert load(path, fill=0).images()[0, 0, 2, 3:5].tolist() == [0, 0]
    with pytest.raises(InputError, match="2 of 48 pixels that are not finite"):
        load(path, fill="refuse")


@pytest.mark.parametrize(
    ("shape", "words"), [((9000, 9000), "9000x9000 pixels, the limit is 67108864"), ((40000, 300, 300), "40000x300x300 pixels")]
)
def test_absurd_sizes_are_refused_before_a_pixel_is_read(tmp_path, shape, words):
    header = fits.PrimaryHDU(np.zeros((1,) * len(shape), np.uint8)).header
    for axis, n in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = n
    with open(tmp_path / "x.fits", "wb") as file:
        file.write(header.tostring().encode())
        file.truncate(file.tell() + -(-int(np.prod(shape)) // 2880) * 2880)  # a hole: it takes no room on the disk
    with pytest.raises(InputError, match=f"{words}.*darklens cutouts"):
        load(tmp_path / "x.fits")
