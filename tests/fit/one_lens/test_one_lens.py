"""One lens in full: the linear algebra against dense formulas, gradients against differences, lenses against their truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.signal import fftconvolve

from darklens.errors import InputError
from darklens.fit.one_lens import Choices, Linear, Macro, Model, Observation, SourceGrid, fit_lens, lens_light
from darklens.infer.lens_posterior import posterior, sample_lens
from darklens.lensing import PointMass

from .conftest import SCALE, TRUTH, kernel


def observed(lens, mask=None) -> Observation:
    image = lens["image"]
    return Observation(image, lens["noise"], lens["psf"], lens["pixel_scale"], np.ones(image.shape, bool) if mask is None else mask)


def model_of(lens, light="sersic", nodes=9, macro="epl+shear+multipoles") -> tuple[Model, np.ndarray]:
    macro, basis = Macro(macro), lens_light(light, 0.05, 2.0)
    grid = SourceGrid(np.linspace(-0.61, 0.63, nodes), np.sort(np.append(np.linspace(-0.6, 0.6, nodes - 1), 0.013)))
    bounds = macro.bounds(1.1, (0, 0)) | basis.bounds((0, 0), 0.3)
    low, high = ({k: v[i] for k, v in bounds.items()} for i in (0, 1))
    model = Model(observed(lens), macro, basis, lens_light("none", 1, 1), grid, low, high)
    known = TRUTH | {
        "light_x": 0.01,
        "light_y": -0.02,
        "light_R_sersic": 0.7,
        "light_n_sersic": 1.5,
        "light_e1": 0.08,
        "light_e2": -0.04,
    }
    return model, np.array([known.get(name, 0.007) for name in model.names])


def test_blur_is_a_convolution_and_masks_cut_after_it(lens):
    mask = np.zeros(lens["image"].shape, bool)
    mask[8:20, 10:27] = True
    seen = observed(lens, mask)
    sky = np.random.default_rng(1).random(seen.shape)
    expected = fftconvolve(sky, seen.kernel, mode="same")[mask]
    assert np.allclose(seen.blur @ sky[seen.support] / seen.weight, expected, atol=1e-12)
    assert not np.allclose(fftconvolve(sky, seen.kernel[::-1], mode="same")[mask], expected, atol=1e-3)


def test_rays_lie_inside_their_pixels(lens):
    x, y = observed(lens).rays
    middle = (np.arange(32) - 15.5) * SCALE
    assert np.allclose(x.mean(1).numpy().reshape(32, 32), middle[None])
    assert np.allclose(y.mean(1).numpy().reshape(32, 32), middle[:, None])
    assert float((x.amax(1) - x.amin(1)).max()) == pytest.approx(SCALE / 2)


def cancelling(nodes, size=50):
    """Return a problem with columns of light two of which all but cancel, and whose best amplitudes have both signs."""
    rng = np.random.default_rng(0)
    B = np.abs(rng.standard_normal((size, nodes + 4)))
    B[:, -1] = B[:, -2] + 0.01 * rng.standard_normal(size)
    d = B @ np.concatenate([rng.standard_normal(nodes), [1.0, 0.0, -3.0, 5.0]]) + 0.1 * rng.standard_normal(size)
    grid = SourceGrid(np.arange(nodes / 2), np.arange(2.0)) if nodes else None
    return Linear.of(B, d, *((grid.precision, grid.log_det) if grid else (np.zeros((0, 0)), 0.0)))


@pytest.mark.parametrize("nodes", [0, 4, 6])
def test_the_evidence_is_the_largest_marginal_gaussian_of_light_that_is_not_negative(nodes):
    """The density of d - B_l l under N(0, 1 + B_s H^-1 B_s^T): no inversion in common."""
    problem, strength = cancelling(nodes), 0.7
    solution = problem.solve(strength)
    B, light = problem.B[:, :nodes], problem.B[:, nodes:]
    covariance = np.eye(50) + (B @ np.linalg.inv(strength * problem.R) @ B.T if nodes else 0.0)
    root = np.linalg.cholesky(covariance)
    amplitudes, distance = nnls(np.linalg.solve(root, light), np.linalg.solve(root, problem.d))
    expected = -0.5 * (distance**2 + np.linalg.slogdet(covariance)[1] + 50 * np.log(2 * np.pi))
    assert solution.evidence == pytest.approx(expected, rel=1e-5)
    assert solution.x[nodes:] == pytest.approx(amplitudes, abs=1e-4)
    assert (solution.x[nodes:] >= 0).all()
    assert solution.x[nodes + 2] == 0
    assert set(solution.keep) == {*range(nodes), *(nodes + np.flatnonzero(amplitudes))}
    assert 0 < solution.effective_parameters() < nodes + 4


def test_the_evidence_goes_on_where_a_column_of_light_comes_and_goes():
    """As the data move so that one column is left out instead of another, neither ln E nor its slope jumps."""
    problem = cancelling(4)
    change = problem.B[:, 6] - problem.B[:, 7]
    steps = np.linspace(0, 10, 401)
    found = [replace(problem, d=problem.d + step * change).solve(0.7) for step in steps]
    assert found[0].x[6] == 0
    assert found[-1].x[6] > 0
    assert found[-1].x[7] == 0
    slopes = np.diff([one.evidence for one in found]) / np.diff(steps)
    assert np.abs(np.diff(slopes)).max() < 0.02 * np.ptp(slopes)


@pytest.mark.parametrize("nodes", [0, 4])
def test_the_light_that_takes_part_is_the_best_that_is_not_negative(nodes):
    """Against every subset of the columns: columns that resemble each other have many sets that are stuck."""
    rng = np.random.default_rng(6)
    B = rng.random((40, nodes + 7)) + np.linspace(0, 3, 40)[:, None]
    d = B @ rng.standard_normal(nodes + 7)
    found = Linear.of(B, d, np.eye(nodes), 0.0).solve(0.5)
    prior, costs = np.sqrt(0.5) * np.eye(nodes), []
    for chosen in range(2**7):
        keep = [*range(nodes), *(nodes + k for k in range(7) if chosen >> k & 1)]
        held = np.pad(prior, ((0, 0), (0, len(keep) - nodes)))
        system, right = np.concatenate([B[:, keep], held]), np.pad(d, (0, nodes))
        x = np.linalg.lstsq(system, right, rcond=None)[0]
        if (x[nodes:] >= 0).all():
            costs.append(np.square(system @ x - right).sum())
    assert (found.x[nodes:] >= 0).all()
    assert nodes < len(found.keep) < nodes + 7
    assert found.cost == pytest.approx(min(costs))


def test_the_slope_of_the_strength_is_that_of_the_evidence():
    problem = cancelling(6)
    ends = [problem.solve(0.7 * np.exp(step)).evidence for step in (1e-4, -1e-4)]
    assert problem.solve(0.7).slope_of_strength() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4)


@pytest.mark.parametrize("light", ["sersic", "mge"])
def test_derivatives_are_those_of_the_model(lens, light):
    model, eta = model_of(lens, light)
    solution = model.problem(eta).solve(0.01)
    V, _ = model.derivatives(eta, solution)
    for k in range(len(eta)):
        step = np.zeros(len(eta))
        step[k] = 1e-6
        expected = (model.columns(eta + step) - model.columns(eta - step)) @ solution.x / 2e-6
        assert np.abs(V[:, k] - expected).max() < 2e-3 * np.abs(expected).max(), model.names[k]


def test_the_gradient_of_the_evidence_is_that_of_its_values(lens):
    model, eta = model_of(lens)
    solution = model.problem(eta).solve(0.01)
    V, log_det = model.derivatives(eta, solution, log_det=True)
    gradient = solution.gauss_newton(V)[0] + log_det
    for k, name in enumerate(model.macro.names):
        step = np.zeros(len(eta))
        step[k] = 1e-5
        ends = [model.problem(eta + sign * step).solve(0.01).evidence for sign in (1, -1)]
        assert gradient[k] == pytest.approx(-(ends[0] - ends[1]) / 2e-5, rel=0.01, abs=2.0), name
    assert np.abs(log_det[: len(model.macro.names)]).max() > 1  # it matters


def test_a_lens_is_found_again_with_a_smooth_source(lens):
    fit = fit_lens(**lens, choices=Choices(source="parametric", light="sersic", starts=2))
    assert fit.converged
    assert fit.reduced_chi2 == pytest.approx(1, abs=0.15)
    sd = dict(zip(fit.names, np.sqrt(np.diag(fit.covariance)), strict=True))
    assert sd["theta_E"] < 0.005
    for name, truth in TRUTH.items():
        assert abs(fit.parameters[name] - truth) < 4 * sd[name], name


@pytest.fixture(scope="module")
def pixelised(lens):
    return fit_lens(**lens, choices=Choices(light="sersic", starts=2, nodes=12))


def test_a_lens_is_found_again_with_a_source_on_pixels(lens, pixelised):
    assert pixelised.parameters["theta_E"] == pytest.approx(TRUTH["theta_E"], rel=0.01)
    assert pixelised.reduced_chi2 == pytest.approx(1, abs=0.15)
    light, (left, right, bottom, top) = pixelised.source(60)
    row, column = np.unravel_index(light.argmax(), light.shape)
    assert left + (column + 0.5) / 60 * (right - left) == pytest.approx(0.08, abs=0.08)
    assert bottom + (row + 0.5) / 60 * (top - bottom) == pytest.approx(-0.06, abs=0.08)
    parts = pixelised.lens_light_image + pixelised.source_image
    assert np.allclose(parts, pixelised.model_image, equal_nan=True)
    used = pixelised.model.observation.mask
    residual = (lens["image"] - pixelised.model_image) / lens["noise"]
    assert np.allclose(residual[used], pixelised.residual[used])


def test_a_perturber_changes_the_evidence_where_it_matters(pixelised):
    nothing = pixelised.evidence_with(PointMass(1e-6, 1.0, 0.3))
    assert nothing == pytest.approx(pixelised.evidence, abs=0.01)
    assert pixelised.evidence_with(PointMass(0.15, 1.0, 0.3)) < pixelised.evidence - 20
    with_it = pixelised.evidence_with(PointMass(0.15, 1.0, 0.3))
    assert pixelised.refitted(PointMass(0.15, 1.0, 0.3), iterations=2).evidence > with_it


def test_a_blur_that_would_not_fit_is_refused_and_pixels_that_do_not_count_do_not_matter(lens):
    wide = lens | {"psf": np.ones((801, 801))}
    with pytest.raises(InputError, match=r"PSF: 99\.9% of its light take 801x801 pixels.*cut it to"):
        fit_lens(**wide, choices=Choices(source="parametric", light="none", starts=1, theta_E=TRUTH["theta_E"]))
    field = Observation(np.ones((400, 400)), np.ones((400, 400)), np.ones((41, 41)), 0.05, np.ones((400, 400), bool))
    with pytest.raises(InputError, match="numbers of blur"):
        _ = field.blur
    y, x = np.indices((400, 400)) - 199.5
    assert replace(field, mask=np.hypot(x, y) < 20).blur.shape[0] < 1300


def test_the_same_seed_gives_the_same_fit(lens):
    few = Choices(source="parametric", light="sersic", starts=1, annulus=(0.5, 1.5), seed=3)
    first, again = (fit_lens(**lens, choices=few) for _ in range(2))
    assert np.array_equal(first.found.eta, again.found.eta)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"noise": 0.0}, "noise map is 0 in"),
        ({"noise": np.nan}, "noise map is nan in"),
        ({"mask": False}, "the mask covers the whole image"),
        ({"psf": np.zeros((3, 3))}, "PSF with sum 0"),
        ({"psf": np.ones((4, 4))}, "both sides must be odd"),
        ({"pixel_scale": -1.0}, "outside 0 to 1000"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_a_sentence(lens, change, sentence):
    given = dict(lens)
    for key, value in change.items():
        whole = key in ("noise", "mask")
        given[key] = np.full(lens["image"].shape, value) if whole else value
    with pytest.raises(InputError, match=sentence):
        fit_lens(**given)


def test_a_single_bad_pixel_of_the_noise_map_counts_unless_it_is_masked(lens):
    noise = lens["noise"].copy()
    noise[16, 5] = np.nan
    with pytest.raises(InputError, match="noise map is nan in 1 pixels"):
        fit_lens(**lens | {"noise": noise})
    mask = np.isfinite(noise)
    assert fit_lens(**lens | {"noise": noise}, mask=mask, choices=Choices(source="parametric", light="sersic", starts=1)).dof > 0


def test_an_image_off_centre_is_refused_and_its_centre_can_be_given(lens):
    moved = {k: np.roll(lens[k], 6, axis=1) for k in ("image", "noise")}
    with pytest.raises(InputError, match="say where the lens is with --centre"):
        fit_lens(**lens | moved)
    fit = fit_lens(**lens | moved, choices=Choices(centre=(0.6, 0.0), source="parametric", light="sersic", starts=3))
    assert fit.parameters["center_x"] == pytest.approx(0.61, abs=0.03)


def test_a_neighbour_or_a_quasar_is_no_lens_off_centre(lens):
    y, x = np.indices((80, 80))
    sky = {"image": np.zeros((80, 80)), "noise": np.full((80, 80), 0.005)}
    for key, plane in sky.items():
        plane[24:56, 24:56] = lens[key]
    companion = 6 * lens["image"].max() * np.exp(-0.5 * ((x - 40) ** 2 + (y - 74) ** 2) / 4)
    quasars = sum(3 * lens["image"].max() * np.exp(-((x - a) ** 2) - (y - b) ** 2) for a, b in ((54, 40), (39, 25)))
    everywhere = np.ones((80, 80), bool)
    for light in (companion, quasars):
        whole = Observation(sky["image"] + light, sky["noise"], lens["psf"], SCALE, everywhere)
        whole.check_centred(True, 1.1)
        with pytest.raises(InputError, match="off the middle"):
            Observation(np.roll(whole.image, 22, axis=1), sky["noise"], lens["psf"], SCALE, everywhere).check_centred(True, 1.1)


def test_a_lens_so_far_out_that_no_ring_is_about_the_middle_is_off_centre(lens):
    image, noise = np.zeros((80, 80)), np.full((80, 80), 0.005)
    image[46:78, 46:78], noise[46:78, 46:78] = lens["image"], lens["noise"]
    with pytest.raises(InputError, match="say where the lens is with --centre"):
        fit_lens(image, noise, lens["psf"], pixel_scale=SCALE)


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"theta_E": 0.0}, "above 0"),
        ({"theta_E": float("nan")}, "above 0"),
        ({"theta_E": 9.0}, "outside the image, which reaches to"),
        ({"centre": (float("nan"), 0.0)}, "two numbers"),
        ({"centre": (5.0, 0.0)}, "outside the image, which reaches to"),
        ({"annulus": (0.2, 0.4), "theta_E": 1.1}, "annulus 0.2,0.4 leaves"),
        ({"annulus": (0.2, float("inf"))}, "inner radius first"),
    ],
)
def test_a_guess_that_no_image_has_room_for_is_refused(lens, choices, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_lens(**lens, choices=Choices(**choices))


def test_a_mask_the_wrong_way_round_is_noticed(lens):
    y, x = np.indices(lens["image"].shape)
    excluded = np.hypot(x - 15.5, y - 15.5) > 14
    with pytest.raises(InputError, match="--exclude"):
        fit_lens(**lens, mask=excluded, choices=Choices(theta_E=1.1))


@pytest.mark.parametrize("name", ["nfw+shear", "sie+shear+shear", "shear", "epl+m5"])
def test_unknown_models_are_refused(name):
    with pytest.raises(InputError, match="give sie or epl"):
        Macro(name)


def test_what_other_grids_say_is_part_of_the_error(pixelised):
    assert len(pixelised.others) == 4
    moved = pixelised.others - pixelised.found.eta
    assert np.allclose(pixelised.covariance - pixelised.covariance_on_grid, moved.T @ moved / 4)
    assert 0 < np.abs(moved[:, pixelised.names.index("gamma")]).max() < 0.2


def test_without_any_other_grid_there_is_no_interval(pixelised):
    alone = replace(pixelised, others=np.zeros((0, len(pixelised.names))))
    assert not alone.converged
    assert "no other grid" in alone.doubt


@pytest.mark.slow
def test_samples_move_by_what_other_grids_say(pixelised):
    k = pixelised.names.index("theta_E")
    far = pixelised.found.eta.copy()
    far[k] += 0.05
    apart = replace(pixelised, others=np.array([far]))
    narrow, wide = (sample_lens(fit, 100, seed=1) for fit in (replace(pixelised, others=None), apart))
    assert np.array_equal(narrow.r_hat, wide.r_hat)  # chains are judged on their grid
    assert narrow.flat[:, k].std() < 0.02 < 0.04 < wide.flat[:, k].std() < 0.06


def test_a_fit_at_a_bound_has_not_converged(pixelised):
    eta = pixelised.found.eta.copy()
    eta[pixelised.names.index("gamma")] = pixelised.model.high["gamma"]
    stuck = replace(pixelised, found=replace(pixelised.found, eta=eta))
    assert stuck.at_bounds == ("gamma",)
    assert not stuck.converged


def test_what_the_pixels_say_nothing_about_is_as_wide_as_its_range(pixelised):
    k, information = pixelised.names.index("light_e1"), pixelised.found.information.copy()
    information[k], information[:, k] = 0.0, 0.0  # Gaussians without flux have a shape all the same
    blind = replace(pixelised, found=replace(pixelised.found, information=information))
    low, high = pixelised.model.low["light_e1"], pixelised.model.high["light_e1"]
    assert blind.covariance_on_grid[k, k] == pytest.approx((high - low) ** 2 / 12)
    told = posterior(blind).intervals
    ends = [told["light_e1"][end] for end in ("low95", "low", "high", "high95")]
    assert low <= ends[0] < ends[1] < ends[2] < ends[3] <= high
    seen = posterior(pixelised).intervals["theta_E"]
    assert told["theta_E"]["high"] == pytest.approx(seen["high"], rel=1e-3)


def test_the_kernel_of_the_tests_has_no_symmetry():
    assert not np.allclose(kernel(), kernel()[::-1])
