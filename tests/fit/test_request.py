"""Which band of an image with several is fitted."""

import numpy as np
import pytest

import darklens
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
