"""The page of fitted lenses: truth in our convention, deviations, and rows that say what was not found."""

import json

import numpy as np
import pytest
import torch

from benchmarks import five_codes, real_fits, tdlmc
from darklens.lensing import EPL, Shear, trace

SIX = ("theta_E", "gamma", "e1", "e2", "gamma1", "gamma2")


def number(value, half):
    ends = {"low": value - half, "high": value + half} if half else {"low": None, "high": None}
    return {"value": value, **ends}


def common(name, **more):
    found = {key: number(1.0, 0.1) for key in SIX}
    told = {"converged": True, "intervals": "gaussian", "reduced_chi2": 1.0, "pixels": 10, "seconds": 3.0, "load_average": 1.0}
    return {"lens": name, "published": None, "command": "darklens fit", "found": found, **found, **told, **more}


@pytest.mark.parametrize("system", tdlmc.SYSTEMS)
def test_the_images_of_the_truth_meet_in_our_convention(system):
    t = tdlmc.truth(system)
    x, y = torch.tensor(tdlmc.SYSTEMS[system]["images"], dtype=torch.float64).T[:, None]
    beta = trace((EPL(t["theta_E"], t["gamma"], t["e1"], t["e2"], 0.0, 0.0), Shear(t["gamma1"], t["gamma2"])), x, y)
    assert max(float(b.max() - b.min()) for b in beta) < 0.002


def test_distances_from_the_truth_leave_out_a_shift():
    system = "seed 3 (four images)"
    known = np.array(tdlmc.SYSTEMS[system]["images"])
    told = lambda places: {"images": [{"x": {"value": x}, "y": {"value": y}} for x, y in places]}  # noqa: E731
    assert tdlmc.off_truth(system, told(known[::-1] + 0.08)) == pytest.approx(0, abs=1e-9)
    moved = known + np.array([[1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]])
    assert tdlmc.off_truth(system, told(moved)) == pytest.approx(1.0)
    assert tdlmc.off_truth(system, told(known[:3])) is None
    assert tdlmc.off_truth(system, told(known[[0, 0, 1, 2]])) is None


def test_the_page_has_a_table_for_each_kind_and_says_what_has_no_interval():
    system, truth = "seed 3 (four images)", {"theta_E": 0.9, "e1": 0.8}
    quasar = {"system": system, "truth": truth, "off_truth": 1.25, "scatter": 0.002, "psf_error": 0.015}
    first = common("first", way="drizzled", **quasar)
    first["found"] = {"theta_E": number(1.0, 0.05), "e1": number(0.9, None)}
    second = common("second", way="single", **quasar | {"off_truth": None, "converged": False})
    seen = {"ours": 0.9, "codes": {"lenstronomy": 1.0}, "rms": {"lenstronomy": 0.3}}
    mock = common("mock", reference="test", truth={"theta_E": 0.95}, images=seen)
    page = real_fits.page([common("real"), first, second, mock])
    assert "| real | 1.0000 (0.9000 to 1.1000) |" in page
    assert "| theta_E | 0.9000 | 1.0000 (0.9500 to 1.0500): +11.11%, +2.0 sigma |" in page
    assert "| e1 | 0.8000 | 0.9000 (no interval): +0.1000 |" in page
    assert "| farthest from the truth | | theta_E, +2.0 sigma | e1, +2.0 sigma |" in page
    assert "| 1.25 | an image is missing |" in page
    assert "| converged | | yes | NO |" in page
    assert "| theta_E | 0.9500 (autolens 0.9434, by its convention) | 1.0000 (0.9000 to 1.1000) | +0.5 |" in page
    assert page.count("| first") == 0
    titles = ("## Quasars whose truth is known", "## Mocks that five codes modelled", "## Commands")
    assert sorted(titles, key=page.index) == list(titles)


def test_images_of_the_codes_are_compared_where_we_fitted(tmp_path):
    from astropy.io import fits

    (tmp_path / "test").mkdir()
    model = np.full((4, 4), 2.0)
    for code in five_codes.CODES:
        np.savez(
            tmp_path / "test" / f"{code}_diagnostics.npz",
            image=model, noise_map=np.full((4, 4), 0.5), model=model + 0.5, normalized_residual=np.eye(4),
        )  # fmt: skip
    five_codes.prepare(tmp_path, "test", tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out" / "test-image.npy"), model)
    ours = model.copy()
    ours[0] = np.nan
    planes = [fits.ImageHDU(ours, name="MODEL"), fits.ImageHDU(np.ones((4, 4)), name="RESIDUAL")]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "out" / "fit.fits")
    found = five_codes.images(tmp_path, "test", tmp_path / "out")
    assert found["ours"] == 1
    assert found["codes"]["herculens"] == pytest.approx(3 / 12)
    assert found["rms"]["herculens"] == pytest.approx(1)
    assert json.dumps(found)


def test_every_fit_has_a_command_of_its_own(tmp_path):
    words = [" ".join(real_fits.command(lens, tmp_path, tmp_path / "out")) for lens in real_fits.LENSES.values()]
    assert len(set(words)) == len(words)
    fine = [text for text in words if "non_drizzled" in text]
    assert len(fine) == 2
    assert all("--psf-oversampling 4" in text and "oversampled_PSF.fits" in text for text in fine)
