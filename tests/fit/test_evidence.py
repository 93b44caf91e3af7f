import dataclasses

import numpy as np
import pytest
import torch

import darklens
from darklens.errors import InputError
from darklens.fit import PARAMETERS, evidence_table, fit_table, plan_for
from darklens.fit.evidence import CHANNELS, UNIT
from darklens.fit.normal_equations import Images, normal_equations
from darklens.lensing import PointMasses
from darklens.simulate import preset

RESIDUAL, SIGNIFICANCE, SLOPE, SENSITIVITY, MODEL = range(len(CHANNELS))


@pytest.fixture(scope="module")
def smooth():
    """Images of smooth lenses, how to fit them, and their fit."""
    table = darklens.simulate("common-test", n=72, seed=3)
    rows = np.flatnonzero(np.array(table.labels) == "no")
    images = table.image_array()[rows, 0]
    plan = plan_for("common-test")
    return images, plan, plan.fit(images)


def perturbed(theta_e_sub, x, y, n=12):
    """Images of smooth lenses with one point mass each at (x, y), and how to fit them."""
    chosen = preset("common-test")
    scene = chosen.population.draw(3 * n, 4)
    scene = dataclasses.replace(
        scene, substructure=(PointMasses(*(torch.full((3 * n, 1), v, dtype=torch.float64) for v in (theta_e_sub, x, y))),)
    )
    images, _ = chosen.images(scene)
    return images[:, 0], plan_for(chosen)


def test_on_smooth_lenses_significance_is_standard_normal(smooth):
    images, plan, fit = smooth
    maps = plan.evidence(images, fit, crop=104, bin=2)
    assert maps.shape == (len(images), 5, 52, 52)
    seen = maps[:, SENSITIVITY] > 1  # where a mass would show at all
    z = maps[:, SIGNIFICANCE][seen]
    assert abs(z.mean()) < 0.1
    assert abs(z.std() - 1) < 0.05
    assert abs(maps[:, RESIDUAL].std() - 1) < 0.01
    assert maps[:, MODEL].min() == 0
    assert maps[:, MODEL].max() == 1


def test_a_mass_is_found_where_it_is_and_as_heavy_as_it_is():
    mass = 0.004  # arcsec^2
    images, plan = perturbed(mass**0.5, 0.85, -0.75)
    fit = plan.fit(images)
    maps = plan.evidence(images, fit, crop=104, bin=2)
    grid = (np.arange(52) - 25.5) * 0.1
    found = []
    for one, theta_e in zip(maps, fit["theta_E"], strict=True):
        if one[SENSITIVITY].max() < np.log1p(3):
            continue
        unit = UNIT * theta_e**2
        row, column = np.unravel_index(np.abs(one[SIGNIFICANCE]).argmax(), (52, 52))
        near = (int(np.abs(grid + 0.75).argmin()), int(np.abs(grid - 0.85).argmin()))
        if one[SIGNIFICANCE][near] < 5:
            continue
        found.append((grid[column], grid[row]))
        slope, root = 3 * np.sinh(one[SLOPE][near]) / unit, np.expm1(one[SENSITIVITY][near]) / unit
        assert slope / root**2 == pytest.approx(mass, rel=0.5)
    assert len(found) > 5
    x, y = np.median(found, axis=0)
    assert abs(x - 0.85) < 0.15
    assert abs(y + 0.75) < 0.15


def test_maps_are_those_of_explicit_templates(smooth):
    images, plan, fit = smooth
    maps = plan.evidence(images, fit, bin=1)
    images = images[:2]
    v0, v1 = plan.noise.variance(images)
    about = Images(images.astype(float), np.asarray(v0, float), np.asarray(v1, float), plan.pixel_scale, plan.psf)
    at = normal_equations(about, plan.model, np.arange(2), fit.parameters[:2], full=True)
    jx, jy = (at.jacobian[:, plan.model.free.index(name)] for name in ("source_x", "source_y"))
    axis = (np.arange(150) - 74.5) * plan.pixel_scale
    for row, column in ((40, 70), (75, 100), (90, 55)):
        dy, dx = axis[:, None] - axis[row], axis[None] - axis[column]
        squared = dx**2 + dy**2 + plan.psf.sigma**2
        template = jx * dx / squared + jy * dy / squared
        slope = (at.weights * (images - at.model) * template).sum((1, 2))
        overlap = np.einsum("nhw,nphw->np", at.weights * template, at.jacobian)
        explained = np.einsum("np,np->n", overlap, np.linalg.solve(at.A, overlap[..., None])[..., 0])
        information = (at.weights * template**2).sum((1, 2)) - explained
        unit = UNIT * fit.parameters[:2, PARAMETERS.index("theta_E")] ** 2
        assert maps[:2, SENSITIVITY, row, column] == pytest.approx(np.log1p(np.sqrt(information) * unit), rel=2e-3)
        assert maps[:2, SLOPE, row, column] == pytest.approx(np.arcsinh(slope * unit / 3), rel=1e-2, abs=2e-3)


def test_a_table_of_evidence_is_kept_continued_and_the_same_as_in_memory(tmp_path):
    table = darklens.simulate("common-test", n=9, seed=2, out=tmp_path / "t")
    plan = plan_for("common-test")
    kept = evidence_table(table, plan, crop=104, bin=2)
    assert kept.path.parent == tmp_path / "t" / "fits"
    assert kept.shape == (5, 52, 52)
    assert list(kept.ids) == list(table.ids)
    assert list(kept.column("fit_chi2")) == list(fit_table(table, plan).column("fit_chi2"))
    memory = evidence_table(darklens.simulate("common-test", n=9, seed=2), plan, crop=104, bin=2)
    assert np.allclose(kept.image_array(), memory.image_array(), atol=1e-4)
    calls = []
    again = evidence_table(table, plan, crop=104, bin=2, progress=lambda done, total: calls.append(done))
    assert calls == []
    assert np.array_equal(again.image_array(), kept.image_array())


def test_images_that_no_lens_could_make_have_finite_evidence():
    plan = plan_for("model-ii-noisy")
    images = np.random.default_rng(0).random((2, 64, 64), np.float32)
    fit = plan.fit(images)
    assert abs(fit.parameters[0, PARAMETERS.index("source_y")]) > 10  # arcsec: out of sight, so that the image says nothing of it
    assert np.isfinite(plan.evidence(images, fit)).all()


def test_a_fit_that_has_left_all_bounds_has_finite_evidence_and_leaves_its_neighbours_alone(smooth):
    images, plan, fit = smooth
    parameters = fit.parameters[:2].copy()
    parameters[0, [PARAMETERS.index(name) for name in ("center_x", "center_y", "source_x", "source_y")]] = -3e30, -3e29, -3e20, 7e20
    maps = plan.evidence(images[:2], dataclasses.replace(fit, parameters=parameters))
    assert np.isfinite(maps).all()
    assert np.allclose(maps[1], plan.evidence(images[1:2], dataclasses.replace(fit, parameters=parameters[1:]))[0], atol=1e-4)


@pytest.mark.parametrize("level", [0.0, 7.0, -1e-30])
def test_blank_images_have_finite_evidence_and_leave_their_neighbours_alone(level):
    plan = plan_for("common-test")
    lens = darklens.simulate("common-test", 1, seed=5).image_array()[:, 0]
    images = np.concatenate([np.full_like(lens, level), lens])
    maps = plan.evidence(images, plan.fit(images))
    assert np.isfinite(maps).all()
    assert np.array_equal(maps[1:], plan.evidence(lens, plan.fit(lens)))


def test_a_crop_larger_than_the_image_is_refused(smooth):
    images, plan, fit = smooth
    with pytest.raises(InputError, match="crop 200 is larger than the image"):
        plan.evidence(images, fit, crop=200)
