import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits

import darklens
from darklens.errors import InputError
from darklens.fit import plan_for
from darklens.infer.substructure import (
    Clump,
    GainMaps,
    LookElsewhere,
    ParametricTemplates,
    Settings,
    clump_for,
    gain_maps,
    peaks,
    search,
    smooth_lens,
)
from darklens.lensing import TNFWHalos
from darklens.simulate import clumps_of, preset
from darklens.simulate.priors import Fixed

MASS = 9.6
FEW = Settings(log10_m=(9.0, 9.5), draws=60, stride=3, candidates=1)


def bright(n, seed, label):
    """Return images of a bright lens with a clump of known mass and profile near its ring, or without, and their truth."""
    near = preset("perturber")
    priors = {
        "theta_E": 1.0,
        "source_mag": 22.3,
        "source_r": 0.12,
        "R_sersic": 0.15,
        "r_sub": 1.0,
        "r3d": 175.0,
        "log10_m_sub": MASS,
    }
    population = replace(near.population, scatter_dex=0.0, classes=(label,), **{k: Fixed(v) for k, v in priors.items()})
    chosen = replace(near, population=population, shape=(44, 44))
    scene = chosen.draw(n, seed)
    images, truth = chosen.images(scene)
    return images[:, 0], truth, scene


@pytest.fixture(scope="module")
def plan():
    return plan_for("perturber")


@pytest.fixture(scope="module")
def found(plan):
    images, truth, _ = bright(1, 5, "sub")
    return [search(image, plan, clump_for(preset("perturber")), FEW) for image in images], truth


@pytest.fixture(scope="module")
def alone(plan):
    images, _, _ = bright(3, 6, "no_sub")
    fit = plan.fit(images)
    return images, fit, [smooth_lens(image, fit, plan, row=k) for k, image in enumerate(images)]


def test_a_clump_has_the_mass_that_it_is_given():
    clump, far = Clump(0.5, 1.0), torch.tensor([[2000.0]], dtype=torch.float64)
    at = torch.tensor([9.3], dtype=torch.float64), *torch.zeros(2, 1, dtype=torch.float64)
    for kind in ("tnfw", "point"):
        deflection, _ = replace(clump, kind=kind).profile(*at).deflection(far, torch.zeros_like(far))
        mass = float(deflection * far) * np.pi * clump.sigma_critical
        assert np.log10(mass) == pytest.approx(9.3, abs=0.002), kind  # a little of the halo lies beyond 2000 arcsec


def test_a_clump_of_deeplensesim_has_its_published_radius():
    chosen = preset("model-iii-noisy")
    clump = clump_for(chosen)
    assert clump.kind == "point"
    radius = clump.profile(torch.tensor([9.0]), torch.zeros(1), torch.zeros(1)).theta_E
    assert float(radius) == pytest.approx(float(chosen.population.einstein_radius(1e9)), rel=1e-6)


def test_a_template_is_the_difference_of_two_rendered_images(plan, alone):
    from darklens.simulate import render

    _, _, scene = bright(1, 5, "sub")
    ((x, y, log10_m),) = clumps_of(scene)[0]
    flux = render(scene, preset("perturber").instrument, (44, 44)) - render(
        scene.smooth(), preset("perturber").instrument, (44, 44)
    )
    images, _, _ = bright(1, 5, "sub")
    truth = scene.truth
    start = plan.model.start(1)
    from darklens.fit import PARAMETERS

    amp = float(scene.source[0].amp[0])
    for name in plan.model.free:
        value = {"sky": 0.0, "source_amp": amp}.get(name, truth[name][0] if name in truth else 0.0)
        start[0, PARAMETERS.index(name)] = value
    fit = replace(plan.fit(images), parameters=start, converged=np.array([True]))
    lens = smooth_lens(images[0], fit, plan)
    row, column = round(y / 0.08 + 21.5), round(x / 0.08 + 21.5)
    moved = replace_place(scene, (column - 21.5) * 0.08, (row - 21.5) * 0.08)
    flux = render(moved, preset("perturber").instrument, (44, 44)) - render(
        moved.smooth(), preset("perturber").instrument, (44, 44)
    )
    work = ParametricTemplates(lens, clump_for(preset("perturber")))
    template = work.whitened(log10_m, np.array([[row, column]]))[0]
    expected = (flux[0].flatten() * torch.from_numpy(lens.weights).sqrt().flatten())[work.used]
    assert float((template - expected).norm() / expected.norm()) < 0.02


def replace_place(scene, x, y):
    halo = next(s for s in scene.substructure if isinstance(s, TNFWHalos))
    there = halo.alpha_Rs != 0
    moved = replace(halo, center_x=torch.where(there, x, halo.center_x), center_y=torch.where(there, y, halo.center_y))
    return replace(scene, substructure=(moved,))


def test_a_clump_is_found_where_it_is_with_its_mass(found):
    searches, truth = found
    for k, one in enumerate(searches):
        best = one.candidates[0]
        assert best.detected, best
        assert best.refit.converged
        assert best.refit.delta_chi2 > one.threshold**2
        errors = np.array([best.x - truth["x_sub"][k], best.y - truth["y_sub"][k], best.log10_m - MASS])
        assert (np.abs(errors) < 3.5 * np.array(best.errors)).all(), (errors, best.errors)
        assert np.abs(errors).max() < 0.3


@pytest.mark.slow
def test_masses_and_places_scatter_by_their_errors(plan):
    images, truth, _ = bright(10, 50, "sub")
    pulls = []
    for k, image in enumerate(images):
        best = search(image, plan, clump_for(preset("perturber")), replace(FEW, stride=2)).candidates[0]
        assert best.detected
        errors = np.array([best.x - truth["x_sub"][k], best.y - truth["y_sub"][k], best.log10_m - MASS])
        pulls.append(errors / np.array(best.errors))
    pulls = np.array(pulls)
    assert np.abs(pulls.mean(0)).max() < 3.5 / np.sqrt(len(pulls))  # unbiased
    assert 0.4 < (pulls**2).mean() < 2.2


def test_a_lens_without_clump_shows_none(plan, alone):
    for lens in alone[2]:
        maps = gain_maps(ParametricTemplates(lens, clump_for(preset("perturber"))), log10_m=(9.0, 9.5), draws=60, stride=3)
        noise = LookElsewhere(maps.maxima)
        significance, _ = maps.best()
        assert np.nanmax(significance) < noise.threshold(0.01)
        assert 1.2 < np.median(noise.maxima) < 3.2


def test_significance_is_that_of_noise_where_there_is_only_noise(alone):
    """The slope of a template has the spread that its information says, over fresh noise on the fitted model."""
    lens = alone[2][0]
    work = ParametricTemplates(lens, clump_for(preset("perturber")))
    template = work.whitened(9.0, np.argwhere(lens.arcs() > 5)[:3])
    free = work.orthogonal(template)
    noise = torch.randn(4000, len(work.residual), generator=torch.Generator().manual_seed(1))
    spread = (noise @ free.T).std(0) / (template * free).sum(1).sqrt()
    assert spread.numpy() == pytest.approx(1.0, abs=0.05)
    assert float((free @ work.basis.T).abs().max() / free.norm()) < 1e-3  # nothing is left that the smooth lens can do


def test_the_smallest_mass_that_is_seen_reaches_the_threshold():
    information = np.array([[[1.0, 16.0, 1e-4]], [[16.0, 400.0, 1e-3]]], np.float32)
    maps = GainMaps(np.array([9.0, 9.5]), np.zeros_like(information), information, np.ones(1))
    smallest = maps.smallest(4.0)[0]
    assert smallest[0] == pytest.approx(9.5, abs=1e-6)  # F^(1/2) is 4 there
    assert smallest[1] == pytest.approx(9.0, abs=1e-6)
    assert np.isinf(smallest[2])
    lighter = maps.smallest(2.0)[0]
    assert lighter[1] == pytest.approx(9.0 - np.log10(2), abs=1e-5)  # significance is in proportion to a light mass
    assert 9.0 < lighter[0] < 9.5


def test_the_best_mass_is_where_the_gain_is_largest():
    slope, information = np.array([[[4.0]], [[0.5]]], np.float32), np.array([[[4.0]], [[25.0]]], np.float32)
    significance, mass = GainMaps(np.array([9.0, 9.5]), slope, information, np.ones(1)).best()
    assert significance[0, 0] == pytest.approx(2.0)
    assert mass[0, 0] == pytest.approx(9.0)


def test_peaks_keep_their_distance():
    field = np.full((9, 9), np.nan)
    field[2, 2], field[2, 3], field[7, 7], field[0, 8] = 5.0, 4.9, 3.0, -1.0
    assert list(peaks(field, 2.0, 5)) == [(2, 2), (7, 7)]


def test_the_look_elsewhere_effect_of_many_places():
    """Maxima of a process whose distribution is known: the rate that is stated is the rate that is."""
    rng = np.random.default_rng(0)
    u = np.linspace(1.0, 8.0, 40_000)
    below = np.exp(-30.0 * u * np.exp(-0.5 * u * u))
    maxima = np.interp(rng.random(2000), below, u)
    noise = LookElsewhere(maxima)
    assert noise.constant == pytest.approx(30.0, rel=0.08)
    assert noise.as_dict()["ks"] > 0.01
    threshold = noise.threshold(0.01)
    assert noise.false_alarm(threshold) == pytest.approx(0.01, rel=1e-6)
    fresh = np.interp(rng.random(20_000), below, u)
    assert (fresh > threshold).mean() == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda: Clump(1.0, 0.5), "redshift"),
        (lambda: Clump(0.5, 1.0, "cube"), "kind of clump"),
        (lambda: Clump(0.5, 1.0, distance=0.0), "distance"),
        (lambda: clump_for(preset("model-iii-noisy"), "tnfw"), "published radii"),
        (lambda: LookElsewhere(np.ones(10)), "at least 50"),
        (lambda: LookElsewhere(np.ones(60)).threshold(0.9), "0 to 0.5"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(wrong, word):
    with pytest.raises(InputError, match=word):
        wrong()


def test_a_fit_that_did_not_converge_is_no_evidence(plan, alone):
    images, fit, _ = alone
    with pytest.raises(InputError, match="did not converge"):
        smooth_lens(images[0], replace(fit, converged=np.zeros(3, bool)), plan)


def test_an_image_that_is_masked_or_empty_is_refused(plan, alone):
    clump = clump_for(preset("perturber"))
    with pytest.raises(InputError, match="usable pixels"):
        search(alone[0][0], plan, clump, FEW, mask=np.zeros((44, 44), bool))
    with pytest.raises(InputError, match=r"did not converge|nowhere brighter"):
        search(np.random.default_rng(0).normal(0, 0.006, (44, 44)), plan, clump, FEW)


def test_a_folder_holds_maps_on_the_sky_candidates_figure_and_summary(tmp_path):
    images, truth, _ = bright(1, 5, "sub")
    header = fits.Header()
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 22.5, "CRPIX2": 22.5})
    header.update({"CD1_1": -0.08 / 3600, "CD2_2": 0.08 / 3600, "CD1_2": 0.0, "CD2_1": 0.0})
    fits.PrimaryHDU(images[0].astype(np.float32), header).writeto(tmp_path / "lens.fits")
    out = tmp_path / "out"
    content = darklens.localise(
        "likelihood", tmp_path / "lens.fits", out, preset="perturber", simulations=60, candidates=1, false_alarm=0.05
    )
    best = content["found"][0]["candidates"][0]
    assert json.loads((out / "localisation.json").read_text())["found"][0]["candidates"][0]["x"] == pytest.approx(best["x"])
    assert best["dec"] == pytest.approx(2.0 + best["y"] / 3600, abs=1e-6)
    assert (best["ra"] - 150.0) * 3600 * np.cos(np.radians(2.0)) == pytest.approx(-best["x"], abs=1e-3)
    assert np.hypot(best["x"] - truth["x_sub"][0], best["y"] - truth["y_sub"][0]) < 0.2
    with fits.open(out / "lens.fits") as hdus:
        assert [h.name for h in hdus[1:]] == ["SIGNIFICANCE", "LOG10_MASS", "SENSITIVITY", "MODEL", "RESIDUAL"]
        assert hdus["SIGNIFICANCE"].data.shape == (44, 44)
        assert hdus["SIGNIFICANCE"].header["CTYPE1"] == "RA---TAN"
    assert (out / "lens.png").stat().st_size > 10_000
    assert len((out / "candidates.csv").read_text().splitlines()) == 2
    with pytest.raises(InputError, match="holds a localisation already"):
        darklens.localise("likelihood", tmp_path / "lens.fits", out, preset="perturber")


def test_an_image_without_redshifts_or_instrument_is_refused(tmp_path):
    np.save(tmp_path / "lens.npy", np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32))
    with pytest.raises(InputError, match="--preset or --instrument"):
        darklens.localise("likelihood", tmp_path / "lens.npy", tmp_path / "out")
    with pytest.raises(InputError, match="--z-lens and --z-source"):
        darklens.localise("likelihood", tmp_path / "lens.npy", tmp_path / "out", instrument="hst-wfc3-f160w")
    with pytest.raises(InputError, match="unknown preset"):
        darklens.localise("likelihood", tmp_path / "lens.npy", tmp_path / "out", preset="perturbed")
    with pytest.raises(InputError, match="one redshift"):
        darklens.localise("likelihood", tmp_path / "lens.npy", tmp_path / "out", instrument="hst-wfc3-f160w", z_lens=0.5)


def test_a_run_of_another_task_says_not_where_clumps_are(tmp_path):
    np.save(tmp_path / "lens.npy", np.zeros((64, 64), np.float32))
    with pytest.raises(InputError, match="says not where clumps are"):
        darklens.localise("arcnet:common-test", tmp_path / "lens.npy", tmp_path / "out")
