"""From files to a folder: what the command leaves behind, and what it refuses."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS
from typer.testing import CliRunner

from darklens.api import fit_lens_path
from darklens.cli import app
from darklens.errors import InputError
from darklens.lensing import SIE, SersicEllipse, Shear
from darklens.simulate import Instrument, Scene, instrument, render
from darklens.simulate.interop.coolest import read_coolest
from darklens.simulate.psf import TabulatedPSF

SIDE, SCALE = 26, 0.12
QUICK = {"source": "parametric", "light": "none", "starts": 1, "model": "sie+shear", "theta_E": 1.0, "centre": (0.0, 0.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A lens without light of its own, on disk: FITS with celestial coordinates, noise, PSF, masks."""
    root = tmp_path_factory.mktemp("lens")
    kernel = np.outer(*[np.exp(-0.5 * np.arange(-2, 3) ** 2)] * 2)
    number = lambda *values: [torch.tensor([v], dtype=torch.float64) for v in values]  # noqa: E731
    masses = SIE(*number(1.05, 0.08, 0.02, 0.0, 0.0)), Shear(*number(0.02, 0.01))
    scene = Scene(masses, (), (SersicEllipse(*number(5.0, 0.3, 1.0, 0.0, 0.1, 0.1, 0.05)),), ("",), {}, 0, (0,))
    image = render(scene, Instrument("", SCALE, TabulatedPSF(kernel)), (SIDE, SIDE), supersampling=2, dtype=torch.float64)[
        0
    ].numpy()
    noise = np.full(image.shape, 0.01 * image.max())
    image = image + noise * np.random.default_rng(1).standard_normal(image.shape)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [146.7, 10.1], [13, 13]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    fits.PrimaryHDU(image, wcs.to_header()).writeto(root / "image.fits")
    for name, plane in (("noise", noise), ("psf", kernel), ("nothing", np.zeros(image.shape)), ("zeros", noise * 0)):
        fits.PrimaryHDU(plane).writeto(root / f"{name}.fits")
    return root


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "fit"
    content = fit_lens_path(
        folder / "image.fits", out, noise=folder / "noise.fits", psf=folder / "psf.fits", samples=1600, seed=1, **QUICK
    )
    return out, content


def test_the_numbers_are_there_with_intervals(fitted):
    out, content = fitted
    told = json.loads((out / "fit.json").read_text())
    assert told["theta_E"] == content["theta_E"]
    assert told["converged"] is True
    assert told["intervals"] == "samples"
    theta = told["theta_E"]
    assert theta["low95"] < theta["low"] < theta["value"] < theta["high"] < theta["high95"]
    assert abs(theta["value"] - 1.05) < 3 * (theta["high"] - theta["low"])
    assert told["reduced_chi2"] == pytest.approx(1, abs=0.2)
    assert set(told["files"]) == {path.name for path in out.iterdir()}
    assert max(told["chains"]["r_hat"].values()) <= 1.03
    assert min(told["chains"]["ess"].values()) >= 100


def test_the_samples_are_those_of_the_intervals(fitted):
    out, content = fitted
    table = pq.read_table(out / "samples.parquet").to_pydict()
    assert len(table["theta_E"]) == 1600
    assert np.median(table["theta_E"]) == pytest.approx(content["theta_E"]["value"])
    assert set(table["chain"]) == {0, 1, 2, 3}


def test_the_images_keep_their_place_in_the_sky(fitted, folder):
    out, content = fitted
    with fits.open(out / "fit.fits") as found, fits.open(folder / "image.fits") as given:
        sky = WCS(given[0].header).pixel_to_world_values(3, 7)
        for name in ("MODEL", "RESIDUAL", "LENSED_SOURCE", "LENS_LIGHT"):
            assert np.allclose(WCS(found[name].header).pixel_to_world_values(3, 7), sky, atol=1e-9)
        used = np.isfinite(found["MODEL"].data)
        noise = fits.getdata(folder / "noise.fits")
        expected = (given[0].data - found["MODEL"].data) / noise
        assert np.allclose(found["RESIDUAL"].data[used], expected[used], atol=1e-3)
        assert (found["RESIDUAL"].data[used] ** 2).sum() == pytest.approx(content["chi2"], rel=1e-3)
        source = found["SOURCE"]
        row, column = np.unravel_index(source.data.argmax(), source.data.shape)
        place = [
            source.header[f"CRVAL{k}"] + (at + 1 - source.header[f"CRPIX{k}"]) * source.header[f"CDELT{k}"]
            for k, at in ((1, column), (2, row))
        ]
        assert place == pytest.approx([0.1, 0.05], abs=0.05)


def test_the_template_is_read_back_as_the_same_lens(fitted):
    out, content = fitted
    scene = read_coolest(out / "coolest.json")
    assert float(scene.macro[0].theta_E) == pytest.approx(content["best_fit"]["theta_E"])
    assert float(scene.source[0].center_x) == pytest.approx(content["best_fit"]["source_x"])
    mass = json.loads((out / "coolest.json").read_text())["lensing_entities"][0]["mass_model"][0]["parameters"]
    assert mass["theta_E"]["posterior_stats"]["median"] == content["theta_E"]["value"]


PAIRS = [[1.16, 0.12], [-0.94, -0.03]]
"""Two images of the middle of the source at (0.1, 0.05), arcsec, by eye."""


def test_positions_are_reported_beside_the_fit(folder, tmp_path):
    (tmp_path / "positions.json").write_text(json.dumps(PAIRS))
    (tmp_path / "positions.csv").write_text("x,y\n" + "\n".join(f"{x},{y}" for x, y in PAIRS))
    files = ["--noise", folder / "noise.fits", "--psf", folder / "psf.fits", "--model", "sie+shear", "--light", "none"]
    files += ["--source", "parametric", "--centre", "0,0", "--starts", 1]
    told = {}
    for name, more in (("positions.json", ["--position-sigma", 0.02, "--position-likelihood"]), ("positions.csv", [])):
        out = tmp_path / name.replace(".", "-")
        code, text = run("fit", folder / "image.fits", "--out", out, *files, "--positions", tmp_path / name, *more)
        assert (code, text) == (0, "")
        told[name] = json.loads((out / "fit.json").read_text())
    one, other = told.values()
    assert (one["positions"]["sigma"], one["positions"]["in_likelihood"]) == (0.02, True)
    assert (other["positions"]["sigma"], other["positions"]["in_likelihood"]) == (0.05, False)
    assert other["positions"]["images"] == 2
    assert 0 < other["positions"]["source_plane_scatter"] < 0.1
    assert 0 < other["positions"]["image_plane_rms"] < 0.1
    assert other["positions"]["observed"] == PAIRS
    square = np.square(np.subtract(other["positions"]["predicted"], PAIRS)).sum(1)
    assert other["positions"]["image_plane_rms"] == pytest.approx(square.mean() ** 0.5)
    assert other["theta_E"]["value"] == pytest.approx(1.05, abs=0.02)
    assert one["theta_E"]["high"] - one["theta_E"]["low"] < other["theta_E"]["high"] - other["theta_E"]["low"]


def test_a_fit_without_positions_says_so(fitted):
    assert fitted[1]["positions"] is None


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("[[1.16, 0.12], [-0.94", [], "is not JSON"),
        ("[[1.16, 0.12]]", [], "source 1 has one position"),
        ("[[1.16, 0.12], [-0.94, NaN]]", [], "both have to be finite"),
        ("[[1.16, 0.12], [-9.4, 0.0]]", [], "lies outside the image"),
        ("[[1.16, 0.12], [-0.94, -0.03]]", ["--position-sigma", 0], "position sigma 0.0: it has to be positive"),
        ("[[1.16, 0.12], [-0.94, -0.03]]", ["--position-order", "up"], "unknown order of coordinates 'up'"),
        ("[[0.1, 1.5], [0.1, -1.5], [0.2, 0.4]]", ["--position-tolerance", 0.01], "brings the positions within 0.01"),
        (None, ["--position-sigma", 0.1], "are about --positions: give that file"),
    ],
)
def test_bad_positions_get_their_sentence(folder, tmp_path, content, options, sentence):
    words = ["--noise", folder / "noise.fits", "--psf", folder / "psf.fits", "--light", "none", "--centre", "0,0"]
    if content is not None:
        (tmp_path / "p.json").write_text(content)
        words += ["--positions", tmp_path / "p.json"]
    code, text = run("fit", folder / "image.fits", "--out", tmp_path / "fit", *words, *options)
    assert sentence in text
    assert "\n" not in text
    assert code != 0
    assert not (tmp_path / "fit" / "fit.json").exists()


@pytest.mark.slow
def test_a_chain_that_did_not_converge_gives_no_error_bar(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("darklens.infer.chains.R_HAT_AT_MOST", 0.5)
    said = []
    content = fit_lens_path(
        folder / "image.fits", tmp_path / "fit", noise=folder / "noise.fits", psf=folder / "psf.fits", samples=100, log=said.append,
        **QUICK,
    )  # fmt: skip
    told = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert told["converged"] is False
    assert told["theta_E"]["value"] == pytest.approx(1.05, abs=0.02)
    assert {told[name][end] for name in ("theta_E", "e1", "gamma1") for end in ("low", "high", "low95", "high95")} == {None}
    assert told["why"] in said
    assert "no intervals are given; take more --samples" in content["why"]


def run(*words) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words])
    return found.exit_code, str(found.exception or "")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--samples", 0, "--noise", "noise.fits"], "without a PSF: give one with --psf"),
        (["--psf", "psf.fits"], "without a noise map: give one with --noise"),
        (["--psf", "psf.fits", "--noise", "zeros.fits"], "noise map is 0 in 676 pixels"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--mask", "nothing.fits"], "the mask covers the whole image"),
        (["--psf", "psf.fits", "--instrument", "lsst-i-visit"], "cannot be in e-/s"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--samples", 7], "7 samples are too few"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--annulus", "1"], "is not a pair of numbers"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--light", "gauss"], "unknown lens light 'gauss'"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--preset", "model-iii"], "belong to batches"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--pixel-scale", 0], "outside 0 to 1000"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--theta-e", 0], "the guess must be above 0"),
        (["--psf", "psf.fits", "--noise", "noise.fits", "--psf-fwhm", 0.2], "are two PSFs"),
        (["--psf-fwhm", 50, "--noise", "noise.fits", "--light", "none"], "outside 0 to 1.56"),
    ],
)
def test_bad_input_gets_its_sentence(folder, tmp_path, options, sentence):
    words = [folder / word if str(word).endswith(".fits") else word for word in options]
    code, text = run("fit", folder / "image.fits", "--out", tmp_path / "fit", *words)
    assert sentence in text
    assert "\n" not in text
    assert code != 0
    assert not (tmp_path / "fit" / "fit.json").exists()


def test_numbers_that_contradict_the_image_are_said(folder, caplog):
    from darklens.fit.one_lens.reading import Given

    counts = fits.getdata(folder / "image.fits") * 1000.0
    np.save(folder / "counts.npy", counts)
    Given(folder / "image.fits", noise=folder / "noise.fits", psf=folder / "psf.fits").read()
    assert "differ in unit" not in caplog.text
    assert "header" not in caplog.text
    Given(folder / "counts.npy", noise=folder / "noise.fits", psf=folder / "psf.fits", pixel_scale=SCALE).read()
    assert "image and noise map seem to differ in unit" in caplog.text
    known = Given(folder / "image.fits", noise=folder / "noise.fits", psf=folder / "psf.fits", pixel_scale=0.05).read()
    assert known["pixel_scale"] == 0.05
    assert 'pixels of 0.05" as given, where the header of image.fits says 0.12"' in caplog.text


def test_a_folder_with_something_else_is_never_replaced(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="something other than a fit"):
        fit_lens_path(folder / "image.fits", tmp_path, noise=folder / "noise.fits", psf=folder / "psf.fits", force=True)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_noise_of_an_instrument_grows_with_the_light(folder, tmp_path):
    from darklens.fit.one_lens.reading import Given

    camera = instrument("hst-acs-f814w")
    image = np.random.default_rng(0).normal(0, camera.background_sigma, (40, 40))
    image[20, 20] = 3.0
    np.save(tmp_path / "counts.npy", image)
    known = Given(tmp_path / "counts.npy", instrument="hst-acs-f814w").read()
    assert known["noise"][20, 20] == pytest.approx(
        np.hypot(camera.background_sigma, (3.0 / camera.total_exposure) ** 0.5), rel=1e-3
    )
    assert known["pixel_scale"] == 0.05
    assert known["psf"].sum() == pytest.approx(1)
    middle = np.array(known["psf"].shape) // 2
    assert known["psf"].argmax() == np.ravel_multi_index(middle, known["psf"].shape)
