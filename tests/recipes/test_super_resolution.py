import json

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

import darklens
from darklens import api
from darklens.cli import app
from darklens.data import read_pairs
from darklens.errors import InputError
from darklens.recipes import execute, load

SMALL = ["tiny=true", "data.preset=sr-pairs-64", "data.train=8", "data.validation=4", "data.test=4", "train.epochs=1"]
SMALL += ["train.batch_size=4", "model.options={blocks: 1, width: 8}"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of ours on a few pairs."""
    out = tmp_path_factory.mktemp("sr") / "run"
    return execute(load("srresnet-arc", SMALL), out, device="cpu", log=lambda sentence: None)[0]


def test_a_run_has_its_gain_beside_every_baseline(run):
    metrics = run.metrics
    assert metrics["n"] == 4
    assert set(metrics["methods"]) == {"bicubic", "lanczos", "richardson-lucy", "srresnet-arc"}
    assert set(metrics["against"]) == {"recorded"}
    against = {name: figures["psnr"]["value"] for name, figures in metrics["against"]["recorded"].items()}
    assert max(against, key=against.get) == "truth"  # nobody knows the noise
    for key in metrics["headline"]:
        assert metrics[key]["low"] <= metrics[key]["value"] <= metrics[key]["high"]
    gained = metrics["psnr"]["value"] - metrics["methods"]["bicubic"]["psnr"]["value"]
    assert metrics["gain_db"]["value"] == pytest.approx(gained)
    assert run.predictions()["psnr_srresnet-arc"].mean() == pytest.approx(metrics["psnr"]["value"])
    assert [entry["file"] for entry in run.figures] == ["pairs.png", "spectra.png", "history.png"]
    assert run.model["pairs"]["gain"] == 0.25
    assert run.data["splits"]["test"]["rows"] == 4


def test_the_page_shows_pictures_and_numbers(run, tmp_path):
    page = api.report([run], tmp_path / "page.html").read_text()
    assert page.count("<img") == 3
    assert "gain over bicubic (dB)" in page
    assert "richardson-lucy" in page
    with pytest.raises(InputError, match="tells no classes apart"):
        darklens.compare([run, run])


@pytest.mark.slow
def test_with_a_smooth_lens_the_fit_stands_beside_and_images_that_no_lens_fits_are_refused(tmp_path):
    recipe = load("srresnet-arc-physics", SMALL)
    run = execute(recipe, tmp_path / "run", device="cpu", log=lambda sentence: None)[0]
    methods = run.metrics["methods"]
    assert methods["srresnet-arc"]["gain_db"]["value"] == pytest.approx(methods["smooth lens"]["gain_db"]["value"], abs=3)
    again = execute(recipe, tmp_path / "again", data=tmp_path / "data", device="cpu", log=lambda sentence: None)[0]
    assert again.metrics["psnr"] == run.metrics["psnr"]  # with the fits that lie beside the images
    low = read_pairs(next((tmp_path / "data").iterdir())).low[0, 0]
    np.save(tmp_path / "lens.npy", low)
    darklens.enhance(run, tmp_path / "lens.npy", tmp_path / "fine.fits", device="cpu")
    y, x = np.mgrid[:64, :64] - 32
    np.save(tmp_path / "cross.npy", (low.max() * ((abs(x) < 2) | (abs(y) < 2)) + 0.1 * low).astype(np.float32))
    with pytest.raises(InputError, match=r"no smooth lens \(sie\+shear\+sersic\) fits .*cross.npy: reduced chi\^2"):
        darklens.enhance(run, tmp_path / "cross.npy", tmp_path / "none.fits", device="cpu")
    assert not (tmp_path / "none.fits").exists()
    with pytest.raises(InputError, match=r"model .edsr. cannot see a smooth lens: set super_resolution\.smooth_lens=false"):
        execute(load("edsr", [*SMALL[:-1], "super_resolution.smooth_lens=true"]), tmp_path / "edsr", device="cpu")


def test_an_image_is_enhanced_with_its_coordinates_and_sigma(run, tmp_path):
    low = read_pairs(next((run.path.parent / "data").iterdir())).low[0, 0]
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 32.5, "CRPIX2": 32.5, "CRVAL1": 10.0})
    header["CDELT1"], header["CDELT2"], header["CRVAL2"] = -0.08 / 3600, 0.08 / 3600, -5.0
    fits.PrimaryHDU(low, header).writeto(tmp_path / "low.fits")
    asked = [
        "enhance",
        str(run.path),
        str(tmp_path / "low.fits"),
        "--out",
        str(tmp_path / "fine.fits"),
        "--device",
        "cpu",
        "--json",
    ]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["shape"] == [1, 128, 128]
    with fits.open(tmp_path / "fine.fits") as hdus:
        assert hdus[0].header["CRPIX1"] == 64.5
        assert hdus[0].header["CDELT2"] * 3600 == pytest.approx(0.04)
        assert hdus["SIGMA"].data.min() > 0
        assert hdus[0].data.sum() == pytest.approx(low.sum(), rel=0.1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda a: a[:, :-2],
            "is 64x62 pixels and the model was trained on 64x64: cut it to that size, or train on pairs of that size",
        ),
        (lambda a: a * 1e4, "above its median, and the images of the training"),
        (lambda a: np.where(a == a.max(), np.nan, a), "not finite"),
    ],
)
def test_images_of_another_kind_are_refused(run, tmp_path, change, sentence):
    low = read_pairs(next((run.path.parent / "data").iterdir())).low[0, 0]
    np.save(tmp_path / "odd.npy", change(low))
    with pytest.raises(InputError, match=sentence):
        darklens.enhance(run, tmp_path / "odd.npy", tmp_path / "o.fits", device="cpu")
    fits.PrimaryHDU(low, fits.Header({"PIXSCALE": 0.2})).writeto(tmp_path / "scale.fits")
    with pytest.raises(InputError, match=r'has pixels of 0\.2" and the run was trained on 0\.08"'):
        darklens.enhance(run, tmp_path / "scale.fits", tmp_path / "o.fits", device="cpu")
    fits.PrimaryHDU(low, fits.Header({"BUNIT": "MJy/sr"})).writeto(tmp_path / "unit.fits")
    with pytest.raises(InputError, match=r"is in MJy/sr and the run was trained on e-/s: bring it into that unit"):
        darklens.enhance(run, tmp_path / "unit.fits", tmp_path / "o.fits", device="cpu")


def test_other_pairs_are_evaluated_on(run, tmp_path):
    other = api.simulate_pairs("sr-pairs-64", 5, out=tmp_path / "other", seed=77)
    metrics = api.evaluate(run, other, device="cpu")
    place = run.evaluation("other")
    assert place.metrics == metrics
    assert metrics["n"] == place.data["rows"] == 5
    assert metrics["methods"]["bicubic"]["psnr"]["value"] != run.metrics["methods"]["bicubic"]["psnr"]["value"]
    assert [entry["file"] for entry in place.figures] == ["pairs.png", "spectra.png"]
    with pytest.raises(InputError, match="which one run of super-resolution sharpens as they are"):
        api.evaluate(run, other, resize=True)
    with pytest.raises(InputError, match="an interval needs at least 5"):
        api.evaluate(run, api.simulate_pairs("sr-pairs-64", 4, out=tmp_path / "few"), device="cpu")
    with pytest.raises(InputError, match="is 75x75 pixels and the model was trained on 64x64"):
        api.evaluate(run, api.simulate_pairs("sr-pairs", 5, out=tmp_path / "larger"), device="cpu")


def test_pairs_of_files_are_trained_on(tmp_path):
    pairs = read_pairs(api.simulate_pairs("sr-pairs-64", 12, out=tmp_path / "made"))
    for side, images in (("HR", pairs.high), ("LR", pairs.low)):
        (tmp_path / "own" / side).mkdir(parents=True)
        for name, image in zip(pairs.ids, images, strict=True):
            np.save(tmp_path / "own" / side / f"{name}.npy", image)
    said = []
    settings = [*SMALL, "data.preset=null", f"data.path={tmp_path / 'own'}", "data.fractions=[0.5, 0.25, 0.25]", "data.seed=2"]
    run = execute(load("edsr", settings), tmp_path / "run", device="cpu", log=said.append)[0]
    assert run.complete
    assert sum(split["rows"] for split in run.data["splits"].values()) == 12
    assert any("were measured and removed" in sentence for sentence in said)
    assert run.model["pairs"]["gain"] == pytest.approx(0.25, rel=0.05)
    assert "coverage" not in run.metrics
    header = fits.Header({"PIXSCALE": 0.2, "BUNIT": "nJy"})  # files of numbers alone say neither scale nor unit
    fits.PrimaryHDU(pairs.low[0, 0], header).writeto(tmp_path / "low.fits")
    assert darklens.enhance(run, tmp_path / "low.fits", tmp_path / "fine.fits", device="cpu")["pixel_scale"] == 0.1
    np.save(tmp_path / "low.npy", pairs.low[0])
    assert darklens.enhance(run, tmp_path / "low.npy", tmp_path / "bare.fits", device="cpu")["pixel_scale"] is None
    assert "PIXSCALE" not in fits.getheader(tmp_path / "bare.fits")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["data.preset=model-iii"], "unknown pair preset 'model-iii'"),
        (["train.augment=[shift]"], "would tear pairs apart"),
        (["preprocess.normalise=min-max"], "sees images as they are"),
        (["super_resolution.loss=l1"], "answers a sigma, which only super_resolution.loss=nll teaches"),
        (["data.fresh=true"], "data.fresh means nothing for pairs"),
    ],
)
def test_what_means_nothing_for_pairs_is_refused(tmp_path, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        execute(load("srresnet-arc", ["tiny=true", *settings]), tmp_path / "run", device="cpu", log=lambda s: None)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(InputError, match=r"model 'cnn' is for classification and the recipe's train\.task is super-resolution"):
        load("srresnet-arc", ["model.name=cnn"])
    with pytest.raises(InputError, match=r"model 'edsr' is for super-resolution and the recipe's train\.task is classification"):
        load("model-iii-cnn", ["model.name=edsr"])
