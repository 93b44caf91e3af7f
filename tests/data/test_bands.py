"""Objects whose bands lie in several files: beside each other, in folders, in cubes."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from darklens.data import Table, import_path, load, read, summary
from darklens.data.bands import expand, pattern, split_name, wavelength_order
from darklens.errors import InputError


def save_fits(root: Path, arrays: dict[str, np.ndarray], scale: dict[str, float] | None = None) -> Path:
    """Save arrays as FITS files under relative paths; `scale` gives the pixel scale of some."""
    for name, array in arrays.items():
        hdu = fits.PrimaryHDU(np.asarray(array, dtype=np.float32))
        if name in (scale or {}):
            hdu.header.update({"CTYPE1": "RA---TAN", "CDELT1": -scale[name] / 3600, "CDELT2": scale[name] / 3600})
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        hdu.writeto(root / name)
    return root


def full(value: float, shape: tuple[int, ...] = (5, 6)) -> np.ndarray:
    return np.full(shape, value)


def levels(record) -> list[float]:
    return record.image[:, 0, 0].tolist()


def skips():
    found = []
    return found, lambda path, why: found.append((path.name, why))


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("A_1-2_g", ("A_1-2", "g", None)),
        ("COSMOS.F814W", ("COSMOS", "F814W", None)),
        ("g", ("", "g", None)),
        ("imageSDSS_R-100002", ("100002", "R", "SDSS")),
        ("imageEUC_VIS-7", ("7", "VIS", "EUC")),
        ("imageSVIS-7", ("7", "VIS", "EUC")),
        ("slice_x", None),
        ("image_7", None),
        ("nug", None),
    ],
)
def test_names_tell_object_and_band(stem, expected):
    assert split_name(stem) == expected


def test_bands_go_from_blue_to_red():
    assert wavelength_order(["Y", "z", "VIS", "g", "r", "i", "J"]) == ["g", "r", "VIS", "i", "z", "Y", "J"]
    assert wavelength_order(["F160W", "F814W", "F275W"]) == ["F275W", "F814W", "F160W"]
    assert wavelength_order(["F444W", "F115W", "F277W"]) == ["F115W", "F277W", "F444W"]
    assert wavelength_order(["b", "a"]) == ["b", "a"]  # B is a band


def test_files_of_one_name_are_the_bands_of_one_object(tmp_path):
    values = {f"{name}_{band}.fits": full(10 * n + b) for n, name in enumerate(("A", "B-1")) for b, band in enumerate("gri")}
    root = save_fits(tmp_path / "lens", values | {"alone.fits": full(99)})
    found = {r.id: r for r in read(root)}
    assert {name: levels(r) for name, r in found.items()} == {"A": [0, 1, 2], "B-1": [10, 11, 12], "alone": [99]}
    assert found["A"].metadata["bands"] == ["g", "r", "i"]
    assert found["A"].label == "lens"
    again = next(read(found["A"].source))
    np.testing.assert_array_equal(again.image, found["A"].image)
    assert (found["A"].source, again.id) == (str(root / "A_{g,r,i}.fits"), "A")


def test_bands_are_chosen_in_the_order_that_is_asked_for(tmp_path):
    root = save_fits(tmp_path / "x", {f"A_{band}.fits": full(b) for b, band in enumerate("gri")})
    (record,) = read(root, bands="i,g")
    assert (levels(record), record.metadata["bands"]) == ([2, 0], ["i", "g"])
    (single,) = read(root, bands="r")
    assert levels(single) == [1]
    assert levels(next(read(root / "A_{g,r,i}.fits", bands=["i"]))) == [2]
    _, on_skip = skips()
    with pytest.raises(InputError, match=r"has no band z beside it \(only g, r, i\)\): add the file or give --bands g,r,i"):
        list(read(root, bands="g,z", on_skip=on_skip))


def test_an_object_that_lacks_a_band_is_left_out_and_named(tmp_path):
    names = ["A_g", "A_r", "B_g", "B_r", "C_g", "D_g", "D_r", "D_z"]
    root = save_fits(tmp_path, {f"{name}.fits": full(1) for name in names})
    skipped, on_skip = skips()
    assert [r.id for r in read(root, on_skip=on_skip)] == ["A", "B", "D"]
    assert dict(skipped) == {
        "C_g.fits": "has no band r beside it (only g): add the file or give --bands g",
        "D_z.fits": "is of band z, which most objects beside it lack: give --bands to read it",
    }


def test_names_that_only_look_like_bands_stay_files(tmp_path):
    root = save_fits(tmp_path, {f"slice_{axis}.fits": full(1) for axis in "xyz"} | {"other_y.fits": full(2)})
    assert [r.id for r in read(root)] == ["other_y", "slice_x", "slice_y", "slice_z"]


def test_a_folder_per_band(tmp_path):
    values = {f"{band}/lens/{name}.fits": full(b) for b, band in enumerate("gri") for name in ("1", "2")}
    values |= {"i/nonlens/3.fits": full(2), "g/nonlens/3.fits": full(0)}
    root = save_fits(tmp_path / "x", values)
    skipped, on_skip = skips()
    found = list(read(root, on_skip=on_skip))
    assert [(r.id, r.label, levels(r)) for r in found] == [("lens/1", "lens", [0, 1, 2]), ("lens/2", "lens", [0, 1, 2])]
    assert [r.id for r in read(root, bands="g,i")] == ["lens/1", "lens/2", "nonlens/3"]
    assert next(read(found[0].source)).metadata["bands"] == ["g", "r", "i"]
    assert skipped == [("3.fits", "has bands g,i where the first image has g,r,i: read all in one order with --bands g,r,i")]


def test_cubes_give_an_object_for_each_plane(tmp_path):
    cubes = {f"{band}.fits": b + 10 * np.arange(12)[:, None, None] * np.ones((12, 5, 6)) for b, band in enumerate("gr")}
    root = save_fits(tmp_path / "des", cubes)
    found = list(read(root))
    assert [r.id for r in found] == [f"des[{i:02d}]" for i in range(12)]
    assert [levels(r) for r in found] == [[10 * i, 10 * i + 1] for i in range(12)]
    report = import_path(root, tmp_path / "T", bands="r,g")
    table = Table.open(tmp_path / "T")
    assert (report.tally.bands, table.manifest["band_names"], table.shape) == ({"r,g": 12}, ["r", "g"], (2, 5, 6))
    assert next(read(tmp_path / "T", bands="g")).image[0, 0, 0] == 0
    with pytest.raises(InputError, match="has bands r, g and none is z"):
        list(read(tmp_path / "T", bands="z"))


def test_cubes_of_few_objects_are_no_bands(tmp_path):
    root = save_fits(tmp_path / "few", {f"{band}.fits": full(b, (3, 5, 6)) for b, band in enumerate("gr")})
    assert [(r.id, r.image.shape) for r in read(root)] == [(f"few[{i}]", (2, 5, 6)) for i in range(3)]
    one = save_fits(tmp_path / "one", {f"A_{band}.fits": full(b, (1, 5, 6)) for b, band in enumerate("gr")})
    assert [(r.id, r.image.shape) for r in read(one)] == [("A", (2, 5, 6))]


def test_cubes_of_different_length_are_refused(tmp_path):
    root = save_fits(tmp_path, {"g.fits": full(1, (12, 5, 6)), "r.fits": full(1, (13, 5, 6))})
    with pytest.raises(InputError, match="holds 12 images in band g and more in others"):
        list(read(root))


def test_bands_on_different_grids_are_refused_or_resampled(tmp_path):
    names = {"A_VIS.fits": full(1.0, (30, 30)), "A_J.fits": full(9.0, (10, 10)), "A_H.fits": full(9.0, (10, 10))}
    scales = {"A_VIS.fits": 0.1, "A_J.fits": 0.3, "A_H.fits": 0.3}
    root = save_fits(tmp_path / "x", names, scales)
    words = r'different pixel grids \(VIS 30x30 at 0.1", J 10x10 at 0.3", H 10x10 at 0.3"\): .*--bands VIS, or .*--resize'
    with pytest.raises(InputError, match=words):
        list(read(root))
    (record,) = read(root, size=(15, 15))
    np.testing.assert_allclose(record.image, 4, rtol=1e-5)  # flux of the area: a VIS pixel has a quarter, a J pixel 9 / 2.25
    assert record.metadata["pixel_scale"] == pytest.approx(0.2)
    assert import_path(root, tmp_path / "T", resize=15).shape == (3, 15, 15)
    assert [r.image.shape for r in read(root, bands="J,H")] == [(2, 10, 10)]


def test_grids_of_one_size_and_different_scale_are_different(tmp_path):
    root = save_fits(tmp_path, {"A_g.fits": full(1), "A_r.fits": full(1)}, {"A_g.fits": 0.2, "A_r.fits": 0.26})
    with pytest.raises(InputError, match="different pixel grids"):
        list(read(root))
    with pytest.raises(InputError, match=r'show fields of different size .g 1", r 1.3"'):
        list(read(root, size=(5, 6)))


def test_another_order_of_bands_is_named(tmp_path):
    for name, order in (("1", ("g", "r")), ("2", ("r", "g"))):
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(full("gr".index(b)), name=f"{b}_SCI") for b in order)]
        fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
    skipped, on_skip = skips()
    assert [r.id for r in read(tmp_path, on_skip=on_skip)] == ["1"]
    assert skipped == [("2.fits", "has bands R,G where the first image has G,R: read all in one order with --bands G,R")]
    assert [levels(r) for r in read(tmp_path, bands="g,r")] == [[0, 1], [0, 1]]
    assert [levels(r) for r in read(tmp_path, bands="r,g")] == [[1, 0], [1, 0]]


def test_bands_without_names_are_chosen_by_number(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3)[:, None, None] * np.ones((3, 5, 6)))
    assert levels(next(read(tmp_path, bands="2,0"))) == [2, 0]
    assert import_path(tmp_path, tmp_path / "T", bands="2,0").shape == (2, 5, 6)
    with pytest.raises(InputError, match="names no bands, they are numbered 0, 1, 2 and none is g"):
        load(tmp_path / "a.npy", bands="g")
    for wrong in ("g,g", "", "g,,r"):
        with pytest.raises(InputError, match="empty or name one twice"):
            load(tmp_path / "a.npy", bands=wrong)
    with pytest.raises(InputError, match="--hdu and --bands"):
        load(tmp_path / "a.npy", bands="g", hdu=1)


def test_bands_that_are_all_zero_are_named(tmp_path):
    root = save_fits(tmp_path, {f"{n}_{band}.fits": full(0.0 if band == "r" and n else 1) for n in range(3) for band in "gr"})
    assert summary(root)["notes"] == {"band r is all zero": 2}
    import_path(root, tmp_path / "T")
    assert summary(tmp_path / "T")["notes"] == {"band r is all zero": 2}


def test_other_numbers_of_bands_are_named_with_the_remedy(tmp_path):
    root = save_fits(tmp_path / "x", {f"{n}.fits": full(n, (3 + (n == 3), 5, 6)) for n in (1, 2, 3)})
    report = import_path(root, tmp_path / "T")
    assert report.skipped[0][1] == "has an image of shape (4, 5, 6), the table has (3, 5, 6): choose with --bands"


def test_filled_pixels_are_counted_over_bands_and_images(tmp_path):
    holed = full(1.0)
    holed[2, 2:4] = np.nan
    root = save_fits(tmp_path, {"A_g.fits": holed, "A_r.fits": holed, "B_g.fits": full(1), "B_r.fits": full(1)})
    report = import_path(root, tmp_path / "T")
    assert report.as_dict()["filled"] == {"pixels": 4, "images": 1}
    assert "filled      4 pixels, not finite or masked, in 1 image" in report.lines()


@pytest.mark.parametrize("names", [["a/X_g.fits", "a/X_r.fits"], ["g/7.fits", "r/7.fits"], ["Band1/R-7.fits", "Band2/I-7.fits"]])
def test_a_pattern_stands_for_its_files(names):
    paths = [Path(name) for name in names]
    assert expand(Path(pattern(paths))) == paths
    assert pattern(paths[:1]) == names[0]


def test_real_folders_and_cubes(shared_data):
    lenses = list(read(shared_data / "lenses" / "panstarrs"))
    assert len(lenses) == 13
    assert {(r.image.shape, ",".join(r.metadata["bands"]), r.metadata["pixel_scale"]) for r in lenses} == {
        ((3, 120, 120), "g,r,i", 0.25)
    }
    galaxies = list(read(shared_data / "galaxies" / "des", bands="g,r,i"))
    assert (len(galaxies), galaxies[0].image.shape) == (46, (3, 91, 91))
    with fits.open(shared_data / "galaxies" / "des" / "r.fits") as hdus:
        np.testing.assert_array_equal(galaxies[17].image[1], hdus[0].data[17].astype(np.float32))
    with pytest.raises(InputError, match=r"different pixel grids .F115W 419x419.*--resize"):
        list(read(shared_data / "lenses" / "jwst-cosmos-web-ring"))
