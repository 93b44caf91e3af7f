"""Fits of simulated lenses: chi^2, errors that hold, bad input."""

import numpy as np
import pytest

import darklens
from darklens.errors import InputError
from darklens.fit import (
    Effort,
    Estimated,
    LensModel,
    Linear,
    NoiseMap,
    Plan,
    SkyCounts,
    counts_per_unit,
    fit_images,
    plan_for,
    recognise,
)
from darklens.fit.normal_equations import Images
from darklens.fit.smooth import binned
from darklens.simulate import GaussianPSF, TabulatedPSF, instrument, simulate

N = 120


@pytest.fixture(scope="module")
def common_test():
    table = simulate("common-test", N, seed=5)
    return table, plan_for("common-test").fit(table.images())


def of(table, label):
    return np.array(table.labels) == label


def test_smooth_lenses_are_fitted_to_the_noise(common_test):
    table, fit = common_test
    smooth = of(table, "no")
    assert fit.converged.mean() >= 0.99
    assert abs(fit.chi2[smooth].mean() - 1) < 0.01
    assert abs(fit.residual[smooth].mean()) < 0.01
    assert abs(fit.residual[smooth].std() - 1) < 0.01
    assert np.median(fit.chi2[of(table, "vort")]) > 1.02  # substructure is left over


def test_errors_hold(common_test):
    table, fit = common_test
    smooth = of(table, "no")
    names = ("theta_E", "gamma1", "gamma2", "source_x", "source_y", "source_e1", "source_e2")
    pulls = np.stack([((fit[name] - table.column(name)) / fit.error(name))[smooth] for name in names])
    count = smooth.sum()
    assert (np.abs(pulls.mean(1)) < 4 / count**0.5).all()
    assert (np.abs(pulls.std(1) - 1) < 4 / (2 * count) ** 0.5).all()
    assert (np.abs(pulls) < 6).all()


def test_min_max_scaling_is_undone(common_test):
    table, fit = common_test
    images = table.images()[:, 0]
    scale = np.array([counts_per_unit(image) for image in images])
    assert (scale > 300).all()
    assert (np.abs(images * scale[:, None, None] - np.round(images * scale[:, None, None])) < 0.02).all()
    smooth = of(table, "no")
    counts = (fit["source_amp"] * scale)[smooth] * 0.05**2  # per pixel at R_sersic: 100 by the preset
    assert abs(np.median(counts) - 100) < 1


def test_counts_per_unit_knows_what_are_no_counts():
    rng = np.random.default_rng(0)
    assert counts_per_unit(rng.normal(size=(50, 50))) is None
    assert counts_per_unit(np.zeros((5, 5))) is None
    sparse = np.array([0, 2, 3, 9, 10]) / 10  # the step between neighbours is not always one count
    assert counts_per_unit(sparse) == pytest.approx(10)


@pytest.mark.parametrize("peak", [900, 3_400, 9_000])
def test_counts_of_bright_images_are_told_though_float32_rounds_them(peak):
    rng = np.random.default_rng(peak)
    y, x = np.mgrid[-1:1:150j, -1:1:150j]
    counts = rng.poisson(10 + peak * np.exp(-8 * (x**2 + y**2)))
    span = counts.max() - counts.min()
    assert counts_per_unit(((counts - counts.min()) / span).astype(np.float32)) == pytest.approx(span, rel=1e-6)


@pytest.mark.parametrize("preset", ["model-iii-noisy", "model-ii-noisy"])
def test_instrument_noise(preset):
    table = simulate(preset, 60, seed=3)
    fit = darklens.fit(table)
    smooth = of(table, "no_sub")
    assert fit.converged[smooth].all()
    assert abs(fit.chi2[smooth].mean() - 1) < 4 * (2 / (64 * 64 * smooth.sum())) ** 0.5
    pull = ((fit["source_x"] - table.column("source_x")) / fit.error("source_x"))[smooth]
    assert abs(pull.std() - 1) < 0.7


def test_noise_free_images_have_a_stated_floor():
    table = simulate("model-iii", 9, seed=3)
    fit = darklens.fit(table, preset="model-iii")
    smooth = of(table, "no_sub")
    assert (fit.chi2[smooth] < 1e-3).all()  # far below the floor of 1e-3 of the peak
    assert fit.chi2[~smooth].min() > fit.chi2[smooth].max()


def test_lens_light_and_power_law():
    """A lens that shines, with a slope of its own, drawn by the model itself."""
    plan = Plan(0.05, GaussianPSF(0.1), Linear(0.02, 2000.0), LensModel("epl+shear+sersic+lens_light"), Effort(starts=6))
    values = {
        "theta_E": 1.2,
        "gamma": 2.1,
        "e1": 0.1,
        "e2": 0.05,
        "gamma1": 0.03,
        "source_amp": 20.0,
        "source_x": 0.1,
        "source_y": 0.07,
    }
    values |= {"source_e1": 0.1, "R_sersic": 0.25, "lens_amp": 8.0, "lens_R_sersic": 0.5, "lens_n_sersic": 2.5, "lens_e1": 0.1}
    from darklens.fit import PARAMETERS
    from darklens.fit.normal_equations import Images, normal_equations

    p = plan.model.start(1)
    for name, value in values.items():
        p[0, PARAMETERS.index(name)] = value
    blank = Images(np.zeros((1, 100, 100)), np.ones((1, 100, 100)), np.ones(1), 0.05, plan.psf)
    flux = normal_equations(blank, plan.model, np.array([0]), p, full=True).model
    rng = np.random.default_rng(3)
    image = (rng.poisson((flux.clip(0)) * 2000.0) / 2000.0 + rng.normal(0, 0.02, flux.shape)).astype(np.float32)
    fit = plan.fit(image)
    assert fit.converged[0]
    assert abs(fit.chi2[0] - 1) < 0.05
    for name in ("theta_E", "gamma", "lens_amp", "source_x"):
        assert abs(fit[name][0] - values[name]) < 5 * fit.error(name)[0], name


def test_masked_pixels_do_not_count(common_test):
    table, fit = common_test
    image = table.images(np.array([0]))[:, 0].copy()
    mask = np.ones(image.shape[1:], bool)
    mask[60:75, 20:40] = False
    spoiled = np.where(mask, image, np.nan)
    again = plan_for("common-test").fit(spoiled)
    assert again.converged[0]
    assert (again.residual[0][~mask] == 0).all()
    assert abs(again["theta_E"][0] - fit["theta_E"][0]) < 4 * again.error("theta_E")[0]
    with_mask = plan_for("common-test").fit(np.where(mask, image, 0.5), mask=mask)
    assert abs(with_mask["theta_E"][0] - again["theta_E"][0]) < 0.1 * again.error("theta_E")[0]


def test_a_plan_survives_json(common_test):
    table, _ = common_test
    plan = plan_for("common-test")
    again = Plan.from_dict(plan.as_dict())
    assert again.key() == plan.key()
    np.testing.assert_array_equal(again.fit(table.images(np.arange(3))).parameters, plan.fit(table.images(np.arange(3))).parameters)
    with pytest.raises(InputError, match="not a description of a fit"):
        Plan.from_dict({"psf": 1})


def test_fits_of_a_table_are_paid_once(tmp_path):
    from darklens.fit import fit_table

    table = simulate("common-test", 9, seed=8, out=tmp_path / "t")
    plan = plan_for("common-test")
    first = fit_table(table, plan)
    assert list(first.ids) == list(table.ids)
    assert first.column("fit_chi2").shape == (9,)
    stamp = {p: p.stat().st_mtime_ns for p in (tmp_path / "t" / "fits").rglob("*.parquet")}
    again = fit_table(table, plan)
    np.testing.assert_array_equal(again.images(), first.images())
    assert stamp == {p: p.stat().st_mtime_ns for p in (tmp_path / "t" / "fits").rglob("*.parquet")}
    other = simulate("common-test", 9, seed=9, out=tmp_path / "t", force=True)
    assert not np.array_equal(fit_table(other, plan).images(), first.images())  # other images, other fits


def test_what_images_say_themselves():
    table = simulate("common-test", 3, seed=1)
    assert recognise(table.images()).pixel_scale == 0.05
    with pytest.raises(InputError, match="do not say what instrument"):
        recognise(np.random.default_rng(0).normal(size=(2, 64, 64)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model": "sei+shear+sersic", "instrument": "euclid-vis"}, "did you mean 'sis"),
        ({"instrument": "euclid-viz"}, "did you mean 'euclid-vis'"),
        ({"instrument": "euclid-vis", "preset": "model-iii"}, "give one of them"),
        ({"instrument": "euclid-vis", "fixed": {"theta_e": 1}}, "did you mean 'theta_E'"),
        ({"instrument": "euclid-vis", "fixed": {"theta_E": -1}}, "theta_E = -1 is outside 0.02 to 60"),
        ({"pixel_scale": 0.05}, "width at half maximum"),
        ({"pixel_scale": 0.05, "psf_fwhm": -1}, "outside"),
        ({"instrument": "euclid-vis", "noise": np.ones((3, 3))}, "same size"),
        ({"instrument": "euclid-vis", "noise": np.zeros((30, 30))}, "usable pixels"),
    ],
)
def test_wrong_requests_are_one_sentence(options, match):
    with pytest.raises(InputError, match=match) as caught:
        darklens.fit(np.ones((30, 30), np.float32), **options)
    assert "\n" not in str(caught.value)


def test_several_bands_are_refused():
    with pytest.raises(InputError, match="one band at a time"):
        darklens.fit(np.ones((2, 3, 30, 30), np.float32), "euclid-vis")


def test_noise_map_as_observatories_deliver_it():
    table = simulate("model-iii-noisy", 3, seed=3)
    camera = instrument("hst-wfc3-f160w")
    flux = table.images()[:, 0].clip(0)
    sigma = np.sqrt(camera.background_sigma**2 + flux / camera.total_exposure)
    model = plan_for("model-iii-noisy").model
    fit = fit_images(table.images()[:, 0], pixel_scale=0.08, psf=GaussianPSF(0.08), noise=NoiseMap(sigma), model=model)
    assert fit.converged.all()
    assert isinstance(plan_for("common-test").noise, SkyCounts)


def test_an_image_without_a_lens_does_not_converge():
    assert not darklens.fit(np.ones((64, 64), np.float32), "euclid-vis").converged.any()


def test_an_image_of_few_whole_counts_has_a_noise():
    counts = np.random.default_rng(0).poisson(0.2, (2, 40, 40)).astype(np.float32)  # more than half of the pixels are zero
    counts[1] = 3.0
    variance, slope = Estimated(counts_per_unit=1.0, excess=2.0).variance(counts)
    assert variance[0, 0, 0] == pytest.approx(0.2, rel=0.3)
    assert variance[1, 0, 0] == pytest.approx(1 / 12)
    assert (slope == 2).all()


@pytest.mark.parametrize("fine", [1, 4])
def test_binned_images_are_as_blurred_by_a_kernel_as_by_its_gaussian(fine):
    """Whatever pixels the kernel is on."""
    gaussian, axis = GaussianPSF(0.24), np.arange(-30 * fine, 30 * fine + 1) * 0.05 / fine
    taps = np.exp(-0.5 * (axis / gaussian.sigma) ** 2)
    kernel = TabulatedPSF(np.outer(taps, taps), pixel_scale=0.05 / fine)
    flat = np.ones((1, 150, 150), np.float32)
    by_gaussian, by_kernel = (binned(Images(flat, flat, np.ones(1), 0.05, psf))[0].psf for psf in (gaussian, kernel))
    assert by_kernel.sigma == pytest.approx(by_gaussian.sigma, rel=0.1)  # its width is counted in whole pixels
