"""Which band of an image with several is fitted."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

import darklens
from darklens.cli import app
from darklens.errors import InputError
from darklens.fit.request import Request, calibrate_path, fit_path

REQUEST = Request(preset="model-iii")


@pytest.fixture(scope="module")
def two_bands(tmp_path_factory):
    """Lenses of a preset in the second of two bands, nothing in the first."""
    root = tmp_path_factory.mktemp("bands")
    lenses = darklens.simulate("model-iii", 3, seed=5).images()
    for i, lens in enumerate(lenses):
        np.save(root / f"lens{i}.npy", np.concatenate([np.zeros_like(lens), lens]))
        (root / "alone").mkdir(exist_ok=True)
        np.save(root / "alone" / f"lens{i}.npy", lens)
    return root


def test_the_band_that_is_asked_for_is_fitted(two_bands, tmp_path):
    with pytest.raises(InputError, match="2 bands: the fit takes one; choose it with --bands"):
        fit_path(two_bands / "lens0.npy", tmp_path / "refused", REQUEST)
    chosen = fit_path(two_bands / "lens0.npy", tmp_path / "chosen", REQUEST, bands="1")
    alone = fit_path(two_bands / "alone" / "lens0.npy", tmp_path / "alone", REQUEST)
    assert chosen["fits"][0]["fit_theta_E"] == alone["fits"][0]["fit_theta_E"]
    assert chosen["mean_chi2"] == alone["mean_chi2"]


def test_the_band_that_is_asked_for_is_measured(two_bands, monkeypatch):
    kept = []
    monkeypatch.setattr("darklens.fit.request.calibrate", lambda images, plan, log: kept.append(images) or Measured())

    class Measured:
        def as_dict(self):
            return {}

    calibrate_path(two_bands / "lens1.npy", REQUEST, bands="1")
    assert np.array_equal(kept[0], np.load(two_bands / "alone" / "lens1.npy"))
    with pytest.raises(InputError, match="2 bands"):
        calibrate_path(two_bands / "lens1.npy", REQUEST)


def test_a_fit_that_did_not_converge_has_no_errors_and_another_unit_is_said(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "counts.npy", rng.normal(0, 300.0, (40, 40)).astype(np.float32))
    said = []
    content = fit_path(tmp_path / "counts.npy", tmp_path / "out", Request(instrument="hst-wfc3-f160w"), log=said.append)
    (row,) = content["fits"]
    assert not row["fit_converged"]
    assert {value for name, value in row.items() if name.endswith("_error")} == {None}
    with open(tmp_path / "out" / "parameters.csv") as file:
        (written,) = csv.DictReader(file)
    assert float(written["fit_theta_E"]) == pytest.approx(row["fit_theta_E"])
    assert {value for name, value in written.items() if name.endswith("_error")} == {""}
    assert any("seems to be in another unit" in sentence for sentence in said)
    words = ["fit", tmp_path / "counts.npy", "--instrument", "hst-wfc3-f160w", "--out", tmp_path / "two"]
    shown = CliRunner().invoke(app, [str(word) for word in words])
    assert shown.exit_code == 0
    assert "+-" not in shown.output


def test_images_of_a_preset_are_in_its_unit(two_bands, tmp_path):
    said = []
    content = fit_path(two_bands / "alone" / "lens0.npy", tmp_path / "out", REQUEST, log=said.append)
    assert not any("another unit" in sentence for sentence in said)
    assert content["fits"][0]["fit_theta_E_error"] is None or content["fits"][0]["fit_converged"]
