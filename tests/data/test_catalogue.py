"""Catalogues that list image files: CSV and Parquet."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from darklens.data import Table, export_table, import_path, load, read, summary
from darklens.data.catalogue import Catalogue
from darklens.errors import InputError


@pytest.fixture
def images(tmp_path):
    """Four images below a folder `cut`, each of its own level."""
    (tmp_path / "cut").mkdir()
    for k in range(4):
        np.save(tmp_path / "cut" / f"{k}.npy", np.full((5, 6), k))
    return tmp_path


COLUMNS = {
    "Path": ["cut/0.npy", "cut/1.npy", "cut/2.npy", "cut/3.npy"],
    "ID": [17, 18, 19, 20],
    "label": ["lens", "nonlens", None, "lens"],
    "split": ["train", "Test", "validation", None],
    "RA [deg]": [150.0, 151.0, 152.0, 153.0],
    "dec": [1.0, 2.0, 3.0, 4.0],
    "theta_E": [1.5, None, None, 0.9],
    "remark": ["a", "b", "c", "d"],
}


def save(folder, columns, suffix=".csv"):
    path = folder / f"list{suffix}"
    if suffix == ".csv":
        pa.csv.write_csv(pa.table(columns), path)
    else:
        pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_classes_splits_and_truths_are_carried(images, suffix):
    path = save(images, COLUMNS, suffix)
    found = list(read(path))
    assert [(r.id, r.label, r.split) for r in found] == [
        ("17", "lens", "train"), ("18", "nonlens", "test"), ("19", None, "val"), ("20", "lens", None),
    ]  # fmt: skip
    assert [r.image[0, 0, 0] for r in found] == [0, 1, 2, 3]
    assert found[0].truth == {"ra": 150, "dec": 1, "theta_E": 1.5}
    assert found[1].truth == {"ra": 151, "dec": 2}
    import_path(path, images / "T")
    table = Table.open(images / "T")
    assert (table.classes, table.units("ra"), table.units("theta_E")) == (["nonlens", "lens"], "deg", "arcsec")
    np.testing.assert_array_equal(table.column("theta_E"), [1.5, np.nan, np.nan, 0.9])
    assert load(path).units("dec") == "deg"


def test_without_ids_the_paths_are_the_names(images):
    path = save(images, {"file": ["cut/0.npy", str(images / "cut" / "1.npy"), "../" + images.name + "/cut/2.npy"]})
    assert [r.id for r in read(path)] == ["cut/0", str(images / "cut" / "1").lstrip("/"), f"../{images.name}/cut/2"]


def test_missing_and_damaged_files_are_skipped_with_their_reason(images):
    (images / "cut" / "1.npy").write_bytes(b"\x93NUM")
    names = ["cut/0.npy", "cut/1.npy", "cut/nowhere.npy", "cut/x.h5", None, "cut/0.npy"]
    path = save(images, {"filename": names, "mag": range(6)})
    skipped = []
    assert [r.id for r in read(path, on_skip=lambda where, why: skipped.append((where.name, why.partition(":")[0])))] == ["cut/0"]
    assert sorted(skipped) == [
        ("1.npy", "is empty, truncated, or no .npy file"),
        ("list.csv", "has id 'cut/0' again in row 6"),
        ("list.csv", "names no file in row 5"),
        ("nowhere.npy", "cannot be read (no such file or directory)"),
        ("x.h5", "is HDF5, which darklens does not read"),
    ]
    with pytest.raises(InputError, match=r"1.npy is empty, truncated"):
        list(read(path))
    assert len(summary(path)["skipped"]) == 5


def test_is_lens_says_the_class(images):
    path = save(images, {"path": COLUMNS["Path"], "is_lens": [1, 0, None, 1]})
    assert [r.label for r in read(path)] == ["lens", "nonlens", None, "lens"]
    path.write_text("path,is_lens\ncut/0.npy,True\ncut/1.npy,false\n")
    assert [r.label for r in read(path)] == ["lens", "nonlens"]


def test_a_path_with_braces_has_a_file_a_band(images):
    for k, band in enumerate("gri"):
        fits.PrimaryHDU(np.full((5, 6), float(k))).writeto(images / "cut" / f"A_{band}.fits")
    path = save(images, {"path": ["cut/A_{g,r,i}.fits", "cut/B_{g,r,i}.fits"], "label": ["lens", "lens"]})
    skipped = []
    (record,) = read(path, bands="i,g", on_skip=lambda where, why: skipped.append(why))
    assert (record.id, record.label, record.image[:, 0, 0].tolist()) == ("cut/A", "lens", [2, 0])
    assert len(skipped) == 1
    assert "no file B_i.fits for one of its bands" in skipped[0]


def test_an_exported_truth_is_a_catalogue(images, records, tmp_path):
    report = export_table(Table.from_records(records), tmp_path / "out", band_axis=True)
    again = {r.id: r for r in read(tmp_path / "out" / "truth.csv")}
    assert len(again) == report.images
    for record in records:
        assert again[record.id].label == record.label
        assert again[record.id].truth == record.truth
        np.testing.assert_array_equal(again[record.id].image, record.image)


def test_comments_and_units_in_names(tmp_path):
    (tmp_path / "c.csv").write_text("# made by hand\n# twice\nName,RA [deg],DEC (deg)\nA,1,2\n")
    found = Catalogue.open(tmp_path / "c.csv")
    assert (found.ids, {k: v.tolist() for k, v in found.truth.items()}) == (["A"], {"ra": [1], "dec": [2]})


def test_a_fits_table(tmp_path):
    columns = [
        fits.Column("OBJID", "K", array=[7, 8]), fits.Column("RA", "D", array=[1.5, np.nan]),
        fits.Column("class", "8A", array=["lens", "nonlens"]), fits.Column("flux", "2E", array=np.ones((2, 2))),
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "c.fits")
    found = Catalogue.open(tmp_path / "c.fits")
    assert (found.ids, found.labels, found.truth_of(0), found.truth_of(1)) == (["7", "8"], ["lens", "nonlens"], {"ra": 1.5}, {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "ra,dec\n1,2\n",
            "is text, not an image, and as a catalogue of images it lacks a column path, file or filename .it has ra, dec",
        ),
        ("path,split\na.npy,half\n", "unknown split of .*list.csv 'half'"),
        ("path\n", "as a catalogue of images it is empty or damaged"),
        ("path,a\nx,1,2\n", "as a catalogue of images it is empty or damaged"),
    ],
)
def test_what_is_no_catalogue_of_images_is_one_sentence(tmp_path, content, words):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path / "list.csv")
    assert "\n" not in str(caught.value)


def test_a_part_of_a_table_is_no_catalogue(records, tmp_path, images):
    import_path(images / "cut", tmp_path / "T")
    with pytest.raises(InputError, match=r"part-00000.parquet is a part of a table: give the folder"):
        load(tmp_path / "T" / "part-00000.parquet")
