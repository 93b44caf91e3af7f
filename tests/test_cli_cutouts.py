"""The readers and cutouts from the command line: what it prints, its exit codes, and one sentence for every failure."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from darklens import cli
from darklens.data import Table


@pytest.fixture
def darklens(capsys, monkeypatch):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        assert "Traceback" not in err
        return SimpleNamespace(stdout=out, stderr=err)

    return run


@pytest.fixture
def field(tmp_path, rng):
    """Two bands of a field with a hole, and a catalogue of three objects, one of them off the field."""
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 5.0, "CRPIX1": 50.5, "CRPIX2": 40.5,
        "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4,
    }  # fmt: skip
    for band in "gr":
        pixels = rng.normal(5, 1, (80, 100)).astype(np.float32)
        pixels[40, 50] = np.nan
        fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(tmp_path / f"f_{band}.fits")
    (tmp_path / "c.csv").write_text("id,ra,dec,label,z\nA,10,5,lens,0.5\nB,10.003,5.001,nonlens,\nC,11,5,lens,0.4\n")
    return tmp_path


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_cutouts(darklens, field):
    done = darklens("cutouts", field / "f_{g,r}.fits", field / "c.csv", "--size", 16, "--out", field / "T")
    assert "row 3 (C) lies off f_g.fits at ra 11.00000, dec 5.00000" in done.stdout
    assert "filled      2 pixels, not finite or masked, in 1 image" in done.stdout
    table = Table.open(field / "T")
    assert (table.ids.tolist(), table.classes, table.shape) == (["A", "B"], ["nonlens", "lens"], (2, 16, 16))
    assert table.column("coverage").tolist() == [1 - 1 / 256, 1]
    found = json.loads(darklens("inspect", field / "T", "--figure", field / "x.png", "--json").stdout)
    assert (found["bands"], found["labels"]) == ({"g,r": 2}, {"lens": 1, "nonlens": 1})
    refused = darklens("cutouts", field / "f_g.fits", field / "c.csv", "--size", 8, "--out", field / "T", code=2)
    assert refused.stderr.count("\n") == 1
    assert "--force" in refused.stderr


def test_import_with_bands_and_filling(darklens, field):
    done = darklens("import", field, "--bands", "r,g", "--out", field.parent / "I", "--json")
    found = json.loads(done.stdout)
    assert (found["shape"], found["bands"], found["filled"]) == ([2, 80, 100], {"r,g": 1}, {"pixels": 2, "images": 1})
    refused = darklens("import", field, "--fill", "refuse", "--out", field.parent / "R", code=2)
    assert "pixels that are not finite" in refused.stderr
    assert "has no band i beside it" in darklens("inspect", field, "--bands", "g,i", code=2).stderr
