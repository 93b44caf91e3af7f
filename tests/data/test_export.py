import csv
import errno
import json
import os
import sys

import numpy as np
import pytest
from astropy.io import fits

import darklens.data.export as module
from darklens.cli import main
from darklens.data import Table, export_table, import_path, read
from darklens.errors import InputError, WorkError

UNITS = {"theta_E": "arcsec", "f_sub": ""}


@pytest.fixture
def table(records) -> Table:
    """Thirty non-square two-band images of two classes and three splits, some unknown."""
    return Table.from_records(records, pixel_scale=0.05, flux_unit="e-/s", units=UNITS)


@pytest.fixture
def one_band(rng) -> Table:
    labels = ["no_sub", "cdm", "axion"] * 4
    truth = {"theta_E": rng.uniform(0.5, 2, 12), "f_sub": np.full(12, np.nan)}
    ids = [f"preset-5-{i}" for i in range(12)]
    images = rng.normal(size=(12, 1, 6, 9))
    return Table.from_columns(ids, images, labels, truth, manifest={"pixel_scale": 0.101, "flux_unit": "e-/s", "units": UNITS})


def by_content(table: Table) -> dict[bytes, tuple]:
    return {r.image.tobytes(): (r.image.shape, r.label, r.split) for r in table.records()}


def test_what_an_export_wrote_beside_its_images_is_no_surprise_and_other_text_is(one_band, tmp_path):
    export_table(one_band, tmp_path / "out", layout="fits")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    skipped = []
    assert len(list(read(tmp_path / "out", on_skip=lambda path, why: skipped.append(path.name)))) == 12
    assert skipped == ["notes.txt"]
    (tmp_path / "out" / "darklens-export.json").unlink()
    list(read(tmp_path / "out", on_skip=lambda path, why: skipped.append(path.name)))
    assert skipped == ["notes.txt", "notes.txt", "truth.csv"], "a table of somebody else is named"


@pytest.mark.parametrize("layout", ["deeplense", "fits"])
def test_an_import_of_the_export_gives_the_same_images_classes_and_splits(table, one_band, tmp_path, layout):
    for name, given in (("two", table), ("one", one_band)):
        export_table(given, tmp_path / name, layout=layout)
        report = import_path(tmp_path / name, tmp_path / f"{name}-T")
        back = Table.open(tmp_path / f"{name}-T")
        assert by_content(back) == by_content(given)
        assert len(by_content(back)) == len(back) == len(given)
        assert not report.skipped
        assert back.pixel_scale == (given.pixel_scale if layout == "fits" else None)


def test_the_tree_is_that_of_the_published_sets(one_band, table, tmp_path):
    report = export_table(one_band, tmp_path / "M")
    files = sorted(p.relative_to(tmp_path / "M").as_posix() for p in (tmp_path / "M").rglob("*.npy"))
    assert files[0] == "axion/axion_sim_00000002.npy"
    assert report.as_dict()["folders"] == {"axion": 4, "cdm": 4, "no_sub": 4}
    array = np.load(tmp_path / "M" / files[0], allow_pickle=False)
    assert (array.shape, array.dtype) == ((6, 9), np.float32)
    export_table(one_band, tmp_path / "C", band_axis=True)
    assert np.load(tmp_path / "C" / files[0], allow_pickle=False).shape == (1, 6, 9)
    report = export_table(table, tmp_path / "S")
    assert "train/no_sub" in report.folders
    assert "images" in report.folders  # neither class nor split
    assert sum(report.folders.values()) == report.images == 30


def test_the_truth_lies_beside_in_full_precision(one_band, tmp_path):
    export_table(one_band, tmp_path / "M")
    with open(tmp_path / "M" / "truth.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "id", "label", "split", "theta_E", "f_sub"]
    for i, row in enumerate(rows):
        assert (row["id"], row["label"], row["split"], row["f_sub"]) == (one_band.ids[i], one_band.labels[i], "", "")
        assert float(row["theta_E"]) == one_band.column("theta_E")[i]
        assert (np.load(tmp_path / "M" / row["file"]) == one_band.images([i])[0, 0]).all()
    about = json.loads((tmp_path / "M" / "darklens-export.json").read_text())
    assert (about["units"], about["pixel_scale"], about["flux_unit"]) == (UNITS, 0.101, "e-/s")


def test_the_header_says_what_the_image_is(one_band, tmp_path):
    export_table(one_band, tmp_path / "F", layout="fits")
    with fits.open(tmp_path / "F" / "cdm" / "cdm_sim_00000001.fits") as hdus:
        hdus.verify("exception")
        header, data = hdus[0].header, hdus[0].data
    assert (data == one_band.images([1])[0, 0]).all()
    assert (header["BUNIT"], header["PIXSCALE"], header["CDELT1"], header["CUNIT2"]) == ("e-/s", 0.101, 0.101, "arcsec")
    assert (header["CRPIX1"], header["CRPIX2"]) == (5, 3.5)
    assert (header["LABEL"], header["OBJECT"]) == ("cdm", "preset-5-1")
    assert header["TRUTH theta_E"] == one_band.column("theta_E")[1]
    assert header.comments["TRUTH theta_E"] == "arcsec"
    assert "TRUTH f_sub" not in header
    assert "SPLIT" not in header


def test_a_full_disk_loses_nothing_and_the_export_goes_on(one_band, tmp_path, monkeypatch):
    write, left = module._write, [7]

    def full(path, content):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(WorkError, match="no space left on device"):
        export_table(one_band, tmp_path / "M")
    assert not (tmp_path / "M").exists()
    monkeypatch.setattr(module, "_write", write)
    (tmp_path / "M.tmp" / "no_sub" / "no_sub_sim_00000000.npy").write_bytes(b"half")
    report = export_table(one_band, tmp_path / "M")
    assert (report.images, report.written) == (12, 6)
    assert not (tmp_path / "M.tmp").exists()
    again = export_table(one_band, tmp_path / "M")
    assert (again.written, again.folders) == (0, report.folders)
    assert len(list(import_path(tmp_path / "M", tmp_path / "T").tally.labels)) == 3


def test_a_folder_that_holds_something_else_is_refused(one_band, table, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for force in (False, True):
        with pytest.raises(InputError, match="is not empty and holds no export: choose another folder"):
            export_table(one_band, tmp_path / "mine", force=force)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    with pytest.raises(InputError, match="is a file"):
        export_table(one_band, tmp_path / "mine" / "thesis.tex")
    (tmp_path / "empty").mkdir()
    export_table(one_band, tmp_path / "empty")
    with pytest.raises(InputError, match="holds another export: choose another folder, or replace it by --force"):
        export_table(table, tmp_path / "empty")
    export_table(table, tmp_path / "empty", force=True)
    assert len(list((tmp_path / "empty").rglob("*.npy"))) == 30


@pytest.mark.parametrize("label", ["../up", "train", "images", ".hidden", "train_lenses", "", ".."])
def test_a_class_that_would_not_come_back_is_refused(rng, tmp_path, label):
    table = Table.from_columns(["a"], rng.normal(size=(1, 1, 4, 5)), [label])
    with pytest.raises(InputError, match="cannot be the name of a folder that is read back as a class: rename it"):
        export_table(table, tmp_path / "M")
    assert list(tmp_path.iterdir()) == []


def test_the_command(save_tree, rng, tmp_path, capsys, monkeypatch):
    tree = save_tree({f"cdm/{i}.npy": rng.normal(size=(6, 8)) for i in range(3)})

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["darklens", "export", str(tree), *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, capsys.readouterr()

    code, printed = run("--layout", "fits", "--out", str(tmp_path / "F"), "--json")
    assert (code, json.loads(printed.out)["folders"]) == (0, {"cdm": 3})
    assert len(list((tmp_path / "F").rglob("*.fits"))) == 3
    code, printed = run("--layout", "fit", "--out", str(tmp_path / "G"))
    assert code == 2
    assert "unknown layout 'fit': did you mean 'fits'?" in printed.err
