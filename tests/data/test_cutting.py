"""Cutouts of mosaics by position: pixels, coverage, order of bands, memory, resuming."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from darklens.data import Table, cutouts
from darklens.data.mosaic import Mosaic, listed
from darklens.errors import InputError

SHAPE = (90, 120)
SCALE = 0.2


def sky(angle: float = 0.0, centre: tuple[float, float] = (60.0, 45.0)) -> WCS:
    """Tangent plane around (150, 2) degrees, turned by an angle: not aligned, so that x and y cannot be mixed up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, 2.0), centre
    c, s = np.cos(angle) * SCALE / 3600, np.sin(angle) * SCALE / 3600
    wcs.wcs.cd = [[-c, s], [s, c]]
    return wcs


@pytest.fixture
def pixels(rng):
    return rng.normal(10, 1, SHAPE).astype(np.float32)


def save(path, pixels, wcs=None, **cards):
    header = (wcs or sky(0.3)).to_header() if wcs is not False else fits.Header()
    header.update(cards)
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path


def catalogue(path, xs, ys, wcs=None, **columns):
    """Write positions of pixels, counted from 0, as degrees."""
    ra, dec = (wcs or sky(0.3)).all_pix2world(xs, ys, 0)
    table = {"id": [f"G{k}" for k in range(len(xs))], "RA": ra, "DEC": dec} | columns
    pq.write_table(pa.table(table), path)
    return path


def cut(pixels, x, y, size):
    """The square around a pixel, by hand."""
    x0, y0 = (int(np.rint(v - (size - 1) / 2 - 1e-9)) for v in (x, y))
    return pixels[y0 : y0 + size, x0 : x0 + size]


@pytest.mark.parametrize("size", [8, 9])
def test_a_cutout_is_the_square_around_its_position(tmp_path, pixels, size):
    xs, ys = np.array([60.2, 20.9, 100.1]), np.array([45.1, 30.8, 70.2])
    names = catalogue(tmp_path / "c.parquet", xs, ys, label=["lens", "nonlens", None], mag=[20.0, np.nan, 22.0])
    report = cutouts(save(tmp_path / "f_r.fits", pixels), names, tmp_path / "T", size=size)
    table = Table.open(tmp_path / "T")
    assert report.skipped == []
    for image, x, y in zip(table.images(), xs, ys, strict=True):
        np.testing.assert_array_equal(image[0], cut(pixels, x, y, size))
    assert (table.ids.tolist(), table.labels.tolist()) == (["G0", "G1", "G2"], ["lens", "nonlens", None])
    assert (table.classes, table.manifest["band_names"]) == (["nonlens", "lens"], ["r"])
    assert table.pixel_scale == pytest.approx(SCALE)
    assert (table.units("ra"), table.units("dec")) == ("deg", "deg")
    np.testing.assert_allclose(table.column("ra"), sky(0.3).all_pix2world(xs, ys, 0)[0], atol=1e-9)
    assert table.column("coverage").tolist() == [1, 1, 1]
    np.testing.assert_array_equal(table.column("mag"), [20, np.nan, 22])


def test_pixel_columns_count_from_one(tmp_path, pixels):
    names = tmp_path / "c.csv"
    names.write_text("X_IMAGE,Y_IMAGE\n61,46\n21,31\n")
    cutouts(save(tmp_path / "f.fits", pixels), names, tmp_path / "T", size=9, x="X_IMAGE", y="Y_IMAGE")
    table = Table.open(tmp_path / "T")
    np.testing.assert_array_equal(table.images([1])[0, 0], cut(pixels, 20, 30, 9))
    np.testing.assert_allclose(table.column("dec")[0], sky(0.3).all_pix2world(60, 45, 0)[1], atol=1e-9)
    assert table.ids.tolist() == ["row1", "row2"]
    cutouts(save(tmp_path / "flat.fits", pixels, wcs=False), names, tmp_path / "F", size=9, x="X_IMAGE", y="Y_IMAGE")
    assert "ra" not in Table.open(tmp_path / "F").columns
    with pytest.raises(InputError, match="no celestial coordinates in its header: give columns of pixels with --x and --y"):
        cutouts(tmp_path / "flat.fits", catalogue(tmp_path / "d.parquet", [1], [1]), tmp_path / "G")


def test_bands_come_from_mosaics_with_grids_of_their_own(tmp_path, pixels):
    shifted = sky(0.3, (67.0, 42.0))  # the same sky seven pixels to the right and three down
    other = np.zeros((100, 140), np.float32)
    other[:87, 7:127] = 2 * pixels[3:]
    save(tmp_path / "f_g.fits", pixels)
    save(tmp_path / "f_i.fits", other, shifted)
    names = catalogue(tmp_path / "c.parquet", [60.2, 40.0], [45.1, 50.0])
    for paths in (f"{tmp_path}/f_g.fits,{tmp_path}/f_i.fits", f"{tmp_path}/f_{{g,i}}.fits"):
        cutouts(listed(paths), names, tmp_path / "T", size=8, force=True)
        table = Table.open(tmp_path / "T")
        np.testing.assert_array_equal(table.images()[:, 1], 2 * table.images()[:, 0])
        assert (table.shape, table.manifest["band_names"]) == ((2, 8, 8), ["g", "i"])


def test_mosaics_that_do_not_belong_together_are_refused(tmp_path, pixels):
    save(tmp_path / "f_g.fits", pixels)
    coarse = sky()
    coarse.wcs.cd = coarse.wcs.cd * 1.5
    save(tmp_path / "f_r.fits", pixels, coarse)
    names = catalogue(tmp_path / "c.parquet", [60], [45])
    with pytest.raises(InputError, match=r'pixels of different size .g 0.2", r 0.3".: resample'):
        cutouts([tmp_path / "f_g.fits", tmp_path / "f_r.fits"], names, tmp_path / "T")
    with pytest.raises(InputError, match="two mosaics are of band g"):
        cutouts([tmp_path / "f_g.fits", tmp_path / "f_g.fits"], names, tmp_path / "T")
    with pytest.raises(InputError, match="2 mosaics and 1 bands do not match"):
        cutouts([tmp_path / "f_g.fits", tmp_path / "f_g.fits"], names, tmp_path / "T", bands="g")


def test_rows_off_the_mosaic_are_named(tmp_path, pixels):
    names = catalogue(tmp_path / "c.parquet", [60.0, 1.0, -20.0, 200.0], [45.0, 45.0, 45.0, 45.0])
    far = pq.read_table(names).to_pandas()
    far.loc[4] = ["antipode", 330.0, -2.0]  # behind us, where a tangent plane has no pixel
    far.loc[5] = ["G0", *far.loc[0][["RA", "DEC"]]]
    far.to_csv(tmp_path / "c.csv", index=False)
    report = cutouts(save(tmp_path / "f.fits", pixels), tmp_path / "c.csv", tmp_path / "T", size=8)
    reasons = [why for _, why in report.skipped]
    assert Table.open(tmp_path / "T").ids.tolist() == ["G0"]
    assert reasons[0] == "row 2 (G1) lies with 37.5% of its pixels off f.fits: --allow-partial keeps it"
    assert [why.split(" at ra")[0] for why in reasons[1:4]] == [
        "row 3 (G2) lies off f.fits", "row 4 (G3) lies off f.fits", "row 5 (antipode) lies off f.fits",
    ]  # fmt: skip
    assert reasons[4] == "row 6 (G0) has the id of an earlier row: give every object an id of its own"
    with pytest.raises(InputError, match=r"has no position whose cutout can be made .row 1 .G0. lies off f.fits"):
        cutouts(tmp_path / "f.fits", catalogue(tmp_path / "e.parquet", [500], [500]), tmp_path / "E")


def test_partial_coverage_is_kept_on_request_and_flagged(tmp_path, pixels):
    xs = [60.0, 1.0, -3.0]
    names = catalogue(tmp_path / "c.parquet", xs, [45.0, 45.0, 45.0])
    report = cutouts(save(tmp_path / "f.fits", pixels), names, tmp_path / "T", size=8, allow_partial=True)
    table = Table.open(tmp_path / "T")
    assert table.column("coverage").tolist() == [1, 0.625]
    np.testing.assert_array_equal(table.images()[1, 0, :, 3:], pixels[41:49, :5])
    frame = np.full((8, 8), True)
    frame[1:-1, 1:-1] = False
    frame[:, :3] = False
    assert (table.images()[1, 0, :, :3] == np.median(table.images()[1, 0][frame])).all()
    assert report.tally.noticed.filled == 24
    assert "row 3 (G2) has 56 of 64 pixels that are not finite: over 50% of a band" in report.skipped[0][1]


def test_holes_and_empty_parts_are_found(tmp_path, pixels):
    pixels[40:44, 60] = np.nan
    pixels[:, 90:] = 0
    names = catalogue(tmp_path / "c.parquet", [60.0, 100.0, 88.0], [45.0, 45.0, 45.0])
    path = save(tmp_path / "f.fits", pixels)
    report = cutouts(path, names, tmp_path / "T", size=8)
    table = Table.open(tmp_path / "T")
    assert table.column("coverage").tolist() == [1 - 3 / 64, 1]
    assert report.tally.noticed.filled == 3
    assert report.skipped[0][1].startswith("row 2 (G1) has nothing but zeros in band f")
    cutouts(path, names, tmp_path / "B", size=8, blank=0)
    assert Table.open(tmp_path / "B").column("coverage").tolist() == [1 - 3 / 64, 1 - 16 / 64]


@pytest.mark.parametrize("kind", ["float64", "scaled", "blank", "tiles", "extension"])
def test_every_way_of_storing_pixels(tmp_path, pixels, kind):
    header, path = sky(0.3).to_header(), tmp_path / ("f.fits.fz" if kind == "tiles" else "f.fits")
    expected = pixels = np.round(pixels * 4) / 4
    if kind == "float64":
        fits.PrimaryHDU(pixels.astype(np.float64), header).writeto(path)
    elif kind in ("scaled", "blank"):
        hdu = fits.PrimaryHDU(((pixels - 8) * 4).astype(np.int16), header)
        hdu.header["BSCALE"], hdu.header["BZERO"] = 0.25, 8.0
        if kind == "blank":
            hdu.header["BLANK"] = int((pixels[45, 60] - 8) * 4)
            expected = np.where(pixels == pixels[45, 60], np.nan, pixels)
        raw = hdu.data.copy()
        fits.HDUList([hdu]).writeto(path)
        with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
            hdus[0].data[:] = raw
    elif kind == "tiles":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, header, compression_type="GZIP_1", quantize_level=0)]).writeto(
            path
        )
    else:
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, header, name="SCI")]).writeto(path)
    mosaic = Mosaic.open(path, hdu="sci" if kind == "extension" else None)
    image, share = mosaic.cut(60, 45, 9)
    np.testing.assert_allclose(image, cut(expected, 60, 45, 9), rtol=1e-6)
    assert (share, mosaic.shape, mosaic.pixel_scale) == (1, SHAPE, pytest.approx(SCALE))


def test_a_mosaic_larger_than_the_room_it_takes_is_read_in_parts(tmp_path):
    rows, columns = 400_000, 100_000  # 160 GB of which 64 rows are there
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": columns, "NAXIS2": rows})
    patch = np.arange(64 * 64, dtype=">f4").reshape(64, 64)
    with open(tmp_path / "huge.fits", "wb") as file:
        file.write(header.tostring().encode())
        start = file.tell()
        for y in range(64):
            file.seek(start + 4 * ((300_000 + y) * columns + 70_000))
            file.write(patch[y].tobytes())
        file.truncate(start + 4 * rows * columns)
    (tmp_path / "c.csv").write_text("name,px,py\nA,70033,300033\n")
    report = cutouts(tmp_path / "huge.fits", tmp_path / "c.csv", tmp_path / "T", x="px", y="py")
    assert report.skipped == []
    np.testing.assert_array_equal(Table.open(tmp_path / "T").images()[0, 0], patch)


def test_an_interrupted_cutting_continues(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(
        "darklens.data.cutting.TableWriter.__init__.__kwdefaults__", {"rows_per_shard": 8, "resume": True, "force": False}
    )
    path, n = save(tmp_path / "f.fits", pixels), 30
    names = catalogue(tmp_path / "c.parquet", np.linspace(-10, 115, n), np.linspace(10, 80, n))

    def interrupt(done, total):
        assert total == n
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cutouts(path, names, tmp_path / "T", size=8, progress=interrupt)
    assert 0 < len(Table.open(tmp_path / "T", allow_incomplete=True)) < 20
    report = cutouts(path, names, tmp_path / "T", size=8)
    cutouts(path, names, tmp_path / "whole", size=8)
    assert Table.open(tmp_path / "T").checksum == Table.open(tmp_path / "whole").checksum
    assert report.tally.images + len(report.skipped) == n
    with pytest.raises(InputError, match="another options"):
        cutouts(path, names, tmp_path / "T", size=8, fill=0.0)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("ra,dec\n150,2\n", {"size": 0}, "cutouts of 0 pixels are impossible"),
        ("a,b\n150,2\n", {}, "has no columns ra and dec .it has a, b.: name them"),
        ("a,b\n150,2\n", {"ra": "alpha", "dec": "b"}, "unknown column of .*c.csv 'alpha'"),
        ("ra,dec\n150,2\n", {"ra": "ra"}, "needs two columns"),
        ("ra,dec\n150,2\n", {"x": "ra"}, "needs two columns"),
        ("ra,dec\n10:00:00,2\n", {}, "column 'ra' of .*c.csv holds .*, not numbers"),
        ("ra,dec\n150,2\n150,200\n", {}, "position 150, 200 in row 2: give degrees"),
        ("ra,dec\n", {}, "has no row"),
        ("", {}, "has no row"),
        ("ra,dec\n150,2\n", {"hdu": 3}, "no image in extension 3"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(tmp_path, pixels, text, options, words):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        cutouts(save(tmp_path / "f.fits", pixels), tmp_path / "c.csv", tmp_path / "T", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("no.fits", lambda path: None, "cannot be read .no such file"),
        ("x.fits", lambda path: path.write_bytes(b"x" * 100), "is empty, truncated, or no FITS file"),
        ("x.fits", lambda path: fits.PrimaryHDU().writeto(path), "holds no image"),
        ("x.fits", lambda path: fits.PrimaryHDU(np.ones((3, 40, 40))).writeto(path), "a mosaic has two, so give one file a band"),
        ("x.fits.gz", lambda path: fits.PrimaryHDU(np.ones((40, 40))).writeto(path), "compressed as a whole"),
    ],
)
def test_what_is_no_mosaic_is_one_sentence(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words):
        Mosaic.open(tmp_path / name)


def test_a_truncated_mosaic_is_one_sentence(tmp_path, pixels):
    path = save(tmp_path / "x.fits", pixels)
    path.write_bytes(path.read_bytes()[:-8000])
    with pytest.raises(InputError, match="truncated"):
        Mosaic.open(path)
