"""`darklens inject` and `darklens.inject`: the table, the checks that are printed, the gallery, and wrong input in one sentence."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import darklens
from darklens import cli
from darklens.data import Table

CAMERA = ("--psf", "1.0", "--pixel-scale", "0.25", "--zero-point", "30", "--gain", "40")
EASY = ("--mass", "range", "--theta-e", "1,2", "--n", "4")


@pytest.fixture
def command(capsys, monkeypatch):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        return SimpleNamespace(stdout=out, stderr=err)

    return run


@pytest.fixture
def cutouts(tmp_path):
    folder = tmp_path / "galaxies"
    folder.mkdir()
    rng = np.random.default_rng(5)
    away = np.hypot(*(np.mgrid[:41, :41] - 20.0)) * 0.25
    for k in range(3):
        np.save(folder / f"{k}.npy", (300 * np.exp(-away / 0.8) + rng.normal(0, 4, (41, 41))).astype(np.float32)[None])
    return folder


def test_the_command_writes_a_table_says_its_checks_and_draws_a_gallery(command, cutouts, tmp_path):
    said = command("inject", cutouts, "--out", tmp_path / "T", *CAMERA, *EASY, "--gallery", tmp_path / "g.png").stdout
    table = Table.open(tmp_path / "T")
    assert table.labels.tolist() == ["nonlens", "lens"] * 2
    assert "drawn again, arcs too faint" in said
    assert "pixels free of arcs, changed" in said
    with Image.open(tmp_path / "g.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    found = json.loads(command("inject", cutouts, "--out", tmp_path / "T", *CAMERA, *EASY, "--json").stdout)
    assert found["checks"]["changed_pixels"] == 0
    assert found["labels"] == {"nonlens": 2, "lens": 2}


def test_the_function_gives_the_rows_of_the_command(command, cutouts, tmp_path):
    command("inject", cutouts, "--out", tmp_path / "T", *CAMERA, *EASY)
    table = darklens.inject(cutouts, n=4, psf=1.0, pixel_scale=0.25, zero_point=30, gain=40, mass="range", theta_E=(1, 2))
    assert np.array_equal(table.images(), Table.open(tmp_path / "T").images())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "pixel scale of the cutouts is unknown: give --pixel-scale"),
        ((*CAMERA, "--theta-e", "1"), "--theta-e '1' is not two numbers: write for example --theta-e 0.8,2.5"),
        ((*CAMERA, "--bands", "g,r"), "cutouts with 1 bands and 2 bands"),
        ((*CAMERA, "--n", "100"), "need 50 untouched cutouts and there are 3"),
        (("--instrument", "des-q"), "unknown instrument 'des-q'"),
    ],
)
def test_wrong_input_is_one_sentence(command, cutouts, tmp_path, options, sentence):
    error = command("inject", cutouts, "--out", tmp_path / "T", *options, code=2).stderr
    assert sentence in " ".join(error.split())
    assert not (tmp_path / "T").exists()
