"""One lens on disk, modelled in full and searched: the folder that `darklens localise likelihood --psf` leaves behind."""

import csv
import json

import numpy as np
import pytest
import torch
from astropy.io import fits
from typer.testing import CliRunner

from darklens.cli import app
from darklens.infer.substructure import LookElsewhere, Weighed, distinct
from darklens.infer.substructure.one_lens import candidate_row
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate import Instrument, Scene, render
from darklens.simulate.psf import TabulatedPSF

SIDE, SCALE = 30, 0.12
QUICK = ["--light", "none", "--model", "sie+shear", "--starts", 1, "--theta-e", 1.05, "--centre", "0,0"]
REDSHIFTS = ["--z-lens", 0.3, "--z-source", 1.0]


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    """A lens without light of its own and without clump, as one FITS file of three extensions."""
    kernel = np.outer(*[np.exp(-0.5 * np.arange(-2, 3) ** 2)] * 2)
    number = lambda *values: [torch.tensor([v], dtype=torch.float64) for v in values]  # noqa: E731
    masses = SIE(*number(1.05, 0.08, 0.02, 0.0, 0.0)), Shear(*number(0.02, 0.01))
    scene = Scene(masses, (), (SersicEllipse(*number(5.0, 0.2, 1.0, 0.0, 0.1, 0.1, 0.05)),), ("",), {}, 0, (0,))
    image = render(scene, Instrument("", SCALE, TabulatedPSF(kernel)), (SIDE, SIDE), supersampling=2, dtype=torch.float64)
    image = image[0].numpy()
    noise = np.full(image.shape, 0.03 * image.max())
    image = image + noise * np.random.default_rng(1).standard_normal(image.shape)
    path = tmp_path_factory.mktemp("lens") / "one.lens v1.fits"
    names = {"SCI": image, "ERR": noise, "PSF": kernel}
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(plane, name=name) for name, plane in names.items())]).writeto(path)
    return path


def run(*words) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words])
    return found.exit_code, str(found.exception or "")


def files(path) -> list:
    return ["--hdu", "SCI", "--noise", path, "--noise-hdu", "ERR", "--psf", path, "--psf-hdu", "PSF", "--pixel-scale", SCALE]


@pytest.fixture(scope="module")
def searched(lens, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "found"
    words = [*files(lens), *QUICK, *REDSHIFTS, "--simulations", 60, "--candidates", 2]
    assert run("localise", "likelihood", lens, "--out", out, *words) == (0, "")
    return out, json.loads((out / "localisation.json").read_text())["found"][0]


def test_candidates_that_end_at_one_place_are_one():
    errors = (0.1, 0.1, 0.2)
    seen = [
        Weighed(*at, 9.0, errors, gain, gain, z)
        for at, gain, z in [((1.6, -0.2), 5, 4.8), ((-1.1, -0.7), 6, 4.9), ((1.61, -0.2), 4, 5.2)]
    ]
    found = distinct(seen, 0.3)
    assert [(one.x, one.delta_ln_E, one.significance) for one in found] == [(-1.1, 6, 4.9), (1.6, 5, 5.2)]


@pytest.mark.slow
def test_a_lens_without_clump_shows_none(searched):
    _, found = searched
    assert not found["detected"]
    for one in found["candidates"]:
        assert one["false_alarm"] > 0.01
        assert one["sigma"] >= 0


@pytest.mark.slow
def test_a_parametric_source_and_positions_lead_to_the_same_lens(searched, lens, tmp_path):
    places = tmp_path / "places.csv"
    places.write_text("x,y\n1.15,0.15\n-0.95,-0.1\n")
    words = [*files(lens), *QUICK, *REDSHIFTS, "--simulations", 60, "--candidates", 1, "--source", "parametric"]
    assert run("localise", "likelihood", lens, "--out", tmp_path / "out", *words, "--positions", places) == (0, "")
    content = json.loads((tmp_path / "out" / "localisation.json").read_text())
    assert content["plan"] == "sie+shear, parametric source"
    found = content["found"][0]
    assert found["smooth_chi2"] == pytest.approx(searched[1]["smooth_chi2"], abs=0.1)
    assert not found["detected"]
    (tmp_path / "far.csv").write_text("x,y\n9,9\n-9,9\n")
    code, said = run("localise", "likelihood", lens, "--out", tmp_path / "far", *words, "--positions", tmp_path / "far.csv")
    assert (code, "position 1 at" in said) == (1, True)
    code, said = run("localise", "likelihood", lens, "--out", tmp_path / "far", *words, "--position-order", "yx")
    assert (code, "are about --positions" in said) == (1, True)
    code, said = run("localise", "likelihood", lens, "--out", tmp_path / "far", *words, "--uniform", "--nodes", 3)
    assert (code, "3 source nodes" in said) == (1, True)


@pytest.mark.parametrize(("significance", "gain", "detected"), [(4.0, 3.0, True), (4.0, -0.2, False), (3.0, 3.0, False)])
def test_a_detection_stands_out_and_bears_being_weighed(significance, gain, detected):
    noise = LookElsewhere(np.linspace(1.5, 3.0, 60))
    one = Weighed(0.5, 0.5, 9.0, (0.1, 0.1, 0.1), gain, gain, significance)
    row = candidate_row(one, noise, 3.5)
    assert row["detected"] is detected
    assert row["significance"] == significance


def test_candidates_stay_where_they_were_seen(searched):
    out, found = searched
    with fits.open(out / "one.lens v1.fits") as hdus:
        significance = hdus["SIGNIFICANCE"].data
    y, x = (np.indices(significance.shape) - 0.5 * (SIDE - 1)) * SCALE
    for one in found["candidates"]:
        near = (np.hypot(x - one["x"], y - one["y"]) < 0.62) & np.isfinite(significance)
        assert near.any()
        assert one["significance"] <= np.nanmax(significance[near]) + 1e-5
        assert not (one["x_error"] is not None and one["x_error"] > 0.5)
    assert found["candidates"][0]["delta_ln_E"] >= found["candidates"][1]["delta_ln_E"]


def test_the_folder_has_a_row_for_each_candidate_and_a_picture(searched):
    out, found = searched
    assert {path.name for path in out.iterdir()} == {"one.lens v1.fits", "one.lens v1.png", "candidates.csv", "localisation.json"}
    with open(out / "candidates.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["x"]) for row in rows] == pytest.approx([one["x"] for one in found["candidates"]])
    assert (out / "one.lens v1.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([*REDSHIFTS, "--simulations", 20], "at least 50; give more --simulations"),
        ([*REDSHIFTS, "--false-alarm", 2], "outside 0 to 0.5"),
        ([], "give --z-lens and --z-source"),
        (["--z-lens", 1.3, "--z-source", 1.0], "the lens must stand between"),
        ([*REDSHIFTS, "--centre", "9,9"], "outside the image"),
        ([*REDSHIFTS, "--annulus", "1"], "is not a pair of numbers"),
        ([*REDSHIFTS, "--nodes", 3], "3 source nodes along a side are outside 4 to 60"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_lens_is_modelled(lens, tmp_path, options, sentence):
    code, said = run("localise", "likelihood", lens, "--out", tmp_path / "out", *files(lens), *QUICK, *options)
    assert code != 0
    assert sentence in said
    assert not (tmp_path / "out").exists()


def test_a_folder_with_the_image_in_it_is_never_written_to(lens, tmp_path):
    before = lens.read_bytes()
    for force in ([], ["--force"]):
        code, said = run("localise", "likelihood", lens, "--out", lens.parent, *files(lens), *QUICK, *REDSHIFTS, *force)
        assert code != 0
        assert "holds something other than a localisation" in said
    assert lens.read_bytes() == before


def test_what_is_neither_a_method_nor_a_run_is_refused(lens, tmp_path):
    code, said = run("localise", "likelyhood", lens, "--out", tmp_path / "out")
    assert code != 0
    assert "neither 'likelihood' nor a run" in said
