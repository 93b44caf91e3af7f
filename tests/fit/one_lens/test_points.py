"""Point images: a PSF between the pixels, images found and placed, a simulated quasar against its truth, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from scipy.optimize import fsolve
from scipy.special import erf
from typer.testing import CliRunner

from darklens.cli import app
from darklens.errors import InputError
from darklens.files import read_json
from darklens.fit.one_lens import Choices, Macro, Model, Observation, PointSpread, SourceGrid, fit_lens, lens_light, locate
from darklens.fit.one_lens.first_guess import starts_for
from darklens.fit.one_lens.light import LightBasis, Shape
from darklens.fit.one_lens.point_search import read_points, search
from darklens.fit.one_lens.points import psf_error
from darklens.fit.one_lens.reading import Given
from darklens.infer.lens_points import point_summary
from darklens.infer.lens_posterior import posterior
from darklens.lensing import EPL, SersicEllipse, Shear, trace
from darklens.simulate import GaussianPSF, Instrument, Scene, render

SIDES, SCALE, FWHM = (40, 36), 0.08, 0.18
TRUTH = {"theta_E": 0.95, "gamma": 2.05, "e1": 0.1, "e2": -0.08, "center_x": 0.0, "center_y": 0.0, "gamma1": 0.03, "gamma2": -0.02}
BETA = 0.03, 0.02


def gaussian(oversampling=1, half=8):
    """Return a Gaussian PSF, its values at the middles of its pixels."""
    n = 2 * half * oversampling + 1
    r = (np.arange(n) - n // 2) * SCALE / oversampling / (FWHM / 2.3548200450309493)
    return np.outer(*[np.exp(-0.5 * r * r)] * 2)


@pytest.fixture(scope="module")
def quasar() -> dict:
    """Image, noise, psf and pixel scale of a quad with a host behind a shining lens, and where and how bright the points are.

    The lens equation is solved and the points are drawn by other methods than the ones that are tested.
    """
    tensor = lambda *values: [torch.tensor([v], dtype=torch.float64) for v in values]  # noqa: E731
    epl, shear = [TRUTH[k] for k in ("theta_E", "gamma", "e1", "e2", "center_x", "center_y")], [TRUTH["gamma1"], TRUTH["gamma2"]]
    host, galaxy = (20.0, 0.2, 1.0, 0.1, 0.05, *BETA), (40.0, 0.5, 2.0, 0.05, -0.02, 0.0, 0.0)
    scene = Scene(
        (EPL(*tensor(*epl)), Shear(*tensor(*shear))), (), (SersicEllipse(*tensor(*host)),), ("",), {}, 0, (0,),
        lens_light=(SersicEllipse(*tensor(*galaxy)),),
    )  # fmt: skip
    image = render(scene, Instrument("", SCALE, GaussianPSF(FWHM)), SIDES, supersampling=2, dtype=torch.float64)[0].numpy()
    masses = EPL(*epl), Shear(*shear)
    off = lambda t: np.stack([b.item() for b in trace(masses, *torch.tensor(t)[:, None, None])]) - BETA  # noqa: E731
    where = np.array([fsolve(off, near, xtol=1e-12) for near in ((0.06, -0.93), (0.68, -0.67), (-0.91, 0.12), (0.53, 0.82))])
    flux = np.array([12.0, 10.0, 6.0, 5.0])
    light = sum(f * drawn(x, y) for f, (x, y) in zip(flux, where, strict=True))
    noise = np.sqrt(0.02**2 + 1e-3 * (image + light))
    data = image + light + noise * np.random.default_rng(0).standard_normal(image.shape)
    known = {"image": data, "noise": noise, "psf": gaussian(), "pixel_scale": SCALE}
    return {"known": known, "where": where, "flux": flux, "light": light}


def drawn(x, y):
    """Return a point of unit flux, the Gaussian's values at the middles of the pixels."""
    v, u = ((index - (n - 1) / 2) * SCALE for index, n in zip(np.indices(SIDES), SIDES, strict=True))
    light = np.exp(-0.5 * ((u - x) ** 2 + (v - y) ** 2) / (FWHM / 2.3548200450309493) ** 2)
    return light / light.sum()


def seen(quasar) -> Observation:
    known = quasar["known"]
    return Observation(known["image"], known["noise"], known["psf"] / known["psf"].sum(), SCALE, np.ones(SIDES, bool))


def nearest(x, y, where):
    return np.hypot(where[:, 0] - x, where[:, 1] - y).argmin()


@pytest.mark.parametrize("oversampling", [1, 3, 4])
def test_a_point_sheds_the_integral_of_its_psf_wherever_it_stands(oversampling):
    fine = gaussian(oversampling)
    spread, sigma = PointSpread(fine, oversampling), FWHM / 2.3548200450309493 / SCALE
    row, column, shape = 10.3, 8.83, (24, 20)
    light = spread.at(row, column, shape)
    assert light.sum() == pytest.approx(1, abs=1e-6)
    middle = [(index * light).sum() for index in np.indices(shape)]
    assert middle == pytest.approx([row, column], abs=2e-3)
    v, u = np.indices(shape)
    sampled = np.exp(-0.5 * ((v - row) ** 2 + (u - column) ** 2) / sigma**2)
    edges = [0.5 * erf((np.arange(n + 1) - 0.5 - at) / (sigma * 2**0.5)) for n, at in zip(shape, (row, column), strict=True)]
    expected = sampled / sampled.sum() if oversampling == 1 else np.outer(*map(np.diff, edges))
    assert np.abs(light - expected).max() < {1: 0.004, 3: 0.02, 4: 0.01}[oversampling] * light.max()


def test_on_a_pixel_the_psf_is_itself_and_beyond_it_there_is_nothing():
    kernel = np.random.default_rng(0).random((9, 7))
    light = PointSpread(kernel).at(12, 15, (30, 32))
    assert np.allclose(light[8:17, 12:19], kernel / kernel.sum())
    assert np.abs(light).sum() == pytest.approx(1)
    assert PointSpread(gaussian(4), 4).on_pixels.shape[0] % 2 == 1
    assert PointSpread(np.ones((1, 3))).at(4.5, 5, (10, 11)).sum() == pytest.approx(1)


@pytest.mark.parametrize("along", ["row", "column"])
def test_derivatives_of_a_point_are_those_of_its_values(along):
    spread, step = PointSpread(gaussian(2), 2), 1e-5
    move = {"row": (step, 0), "column": (0, step)}[along]
    after, before = (spread.at(9.4 + sign * move[0], 11.2 + sign * move[1], (20, 24)) for sign in (1, -1))
    assert np.allclose(spread.at(9.4, 11.2, (20, 24), along), (after - before) / (2 * step), atol=1e-7)


@pytest.mark.parametrize("given", ["auto", 4])
def test_images_are_found_and_placed(quasar, given):
    points = locate(given, seen(quasar), PointSpread(gaussian()), (0.0, 0.0))
    assert points.count == len(quasar["where"]) == 4
    for x, y in zip(points.seen.x, points.seen.y, strict=True):
        k = nearest(x, y, quasar["where"])
        assert np.hypot(*(quasar["where"][k] - (x, y))) < 0.1 * SCALE


def test_a_rough_position_is_mended(quasar):
    rough = quasar["where"] + np.array([0.06, -0.05])
    points = locate(rough, seen(quasar), PointSpread(gaussian()), (0.0, 0.0))
    assert np.hypot(points.seen.x - quasar["where"][:, 0], points.seen.y - quasar["where"][:, 1]).max() < 0.1 * SCALE


def test_derivatives_of_the_model_are_those_of_its_columns(quasar):
    points = locate(quasar["where"], seen(quasar), PointSpread(gaussian()), (0.0, 0.0))
    macro, light = Macro("epl+shear"), lens_light("sersic", 0.05, 2.0)
    grid = SourceGrid(np.linspace(-0.4, 0.6, 7), np.linspace(-0.5, 0.5, 6))
    bounds = macro.bounds(1.0, (0, 0)) | light.bounds((0, 0), 0.3) | points.bounds
    low, high = ({k: v[i] for k, v in bounds.items()} for i in (0, 1))
    model = Model(seen(quasar), macro, light, LightBasis(), grid, low, high, points=points)
    known = TRUTH | points.start | {"light_R_sersic": 0.5, "light_n_sersic": 2.0, "light_x": 0.0, "light_y": 0.0, "gamma1": 0.05}
    eta = np.array([known.get(name, 0.02) for name in model.names])
    solution = model.problem(eta).solve(1.0)
    V, slope = model.derivatives(eta, solution, log_det=True)
    pull, stiffness = model.pull_of_positions(eta)

    def at(move):
        problem = model.problem(eta + move)
        again = problem.solve(1.0)
        return problem.B @ solution.x, again.evidence, problem.offset

    for k in [model.names.index(n) for n in ("theta_E", "point1_x", "point3_y")]:
        move = 1e-6 * np.eye(len(eta))[k]
        (a, high_e, high_o), (b, low_e, low_o) = at(move), at(-move)
        assert np.allclose(V[:, k], (a - b) / 2e-6, atol=1e-4 * np.abs(V[:, k]).max())
        assert pull[k] == pytest.approx(0.5 * (high_o - low_o) / 2e-6, rel=1e-3, abs=1e-3)
        gradient = solution.gauss_newton(V)[0][k] + slope[k] + pull[k]
        assert gradient == pytest.approx(-(high_e - low_e) / 2e-6, rel=0.01, abs=0.05)
    assert np.allclose(stiffness, stiffness.T)


@pytest.fixture(scope="module")
def fitted(quasar):
    choices = Choices(light="sersic", starts=2, point_images="auto", source="pixelised")
    return fit_lens(**quasar["known"], choices=choices)


@pytest.mark.slow
def test_a_simulated_quasar_is_recovered(quasar, fitted):
    assert fitted.converged
    assert fitted.reduced_chi2 == pytest.approx(1, abs=0.15)
    sd = dict(zip(fitted.names, np.sqrt(np.diag(fitted.covariance)), strict=True))
    for name in ("theta_E", "gamma", "e1", "e2", "gamma1", "gamma2"):
        assert abs(fitted.parameters[name] - TRUTH[name]) < 4 * sd[name], name
    assert fitted.parameters["theta_E"] == pytest.approx(TRUTH["theta_E"], rel=0.005)
    assert sd["theta_E"] < 0.01
    assert fitted.model.points.psf_error < 0.02


def test_positions_and_fluxes_have_intervals_and_the_lens_equation_holds(quasar, fitted):
    found = point_summary(fitted, posterior(fitted))
    assert len(found["images"]) == 4
    for image in found["images"]:
        k = nearest(image["x"]["value"], image["y"]["value"], quasar["where"])
        for axis in (0, 1):
            told = image["xy"[axis]]
            sigma = 0.5 * (told["high"] - told["low"])
            assert abs(told["value"] - quasar["where"][k, axis]) < 4 * sigma + 2e-4
            assert sigma < 0.05 * SCALE
        flux = image["flux"]
        assert abs(flux["value"] - quasar["flux"][k]) < 4 * 0.5 * (flux["high"] - flux["low"]) + 0.02 * quasar["flux"][k]
        assert np.hypot(image["predicted"][0] - image["x"]["value"], image["predicted"][1] - image["y"]["value"]) < 0.01
    scatter = found["source_plane_scatter"]
    assert scatter["value"] < 3 * found["sigma"]
    assert found["chi2"] < 15
    assert scatter["low"] < scatter["high"]
    assert found["source_x"]["value"] == pytest.approx(BETA[0], abs=0.01)
    assert found["source_y"]["value"] == pytest.approx(BETA[1], abs=0.01)


def test_the_light_of_the_points_is_told_apart(quasar, fitted):
    inside = fitted.model.observation.mask
    assert fitted.point_image[inside].sum() == pytest.approx(quasar["light"][inside].sum(), rel=0.03)
    whole = fitted.point_image + fitted.lens_light_image + fitted.source_image
    assert np.allclose(whole[inside], fitted.model_image[inside])


def test_an_error_of_the_psf_is_measured():
    rng = np.random.default_rng(1)
    shed, noise = np.exp(rng.uniform(-3, 4, 4000)), np.full(4000, 0.1)
    assert psf_error(noise * rng.standard_normal(4000), noise, shed) < 2e-3
    wrong = np.hypot(noise, 0.03 * shed) * rng.standard_normal(4000)
    assert psf_error(wrong, noise, shed) == pytest.approx(0.03, rel=0.1)
    assert psf_error(np.ones(3), np.ones(3), np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", "auto"), ("4", 4), ("1,2;-0.5,3e-1", [[1.0, 2.0], [-0.5, 0.3]]), (" 1, 2 ; 3, 4; ", [[1.0, 2.0], [3.0, 4.0]])],
)
def test_the_option_is_read(text, expected):
    assert read_points(text) == expected


@pytest.mark.parametrize("text", ["", "1,2,3;4,5,6", "a,b;c,d", "1;2", "1,2:3,4", "-3"])
def test_what_says_no_points_is_refused(text):
    with pytest.raises(InputError, match=r"point images .* are none: give 'x,y;x,y;\.\.\.'"):
        read_points(text)


@pytest.mark.parametrize(
    ("given", "settings", "sentence"),
    [
        (1, {}, "1 point images: a lensed point has 2 to 8"),
        (9, {}, "9 point images: a lensed point has 2 to 8"),
        (8, {}, "peaks look like the PSF, 8 are needed"),
        ([[1.0, 0.2]], {}, "source 1 has one position"),
        ([[1.0, 0.2], [9.0, 0.0]], {}, r'position 2 at \(9", 0"\) lies outside the image'),
        ([[[0.5, 0.2], [0.1, 0.3]], [[0.3, 0.2], [0.2, 0.1]]], {}, "4 point images of 2 sources"),
        ("auto", {"sigma": 0.0}, "point sigma 0: how closely"),
        ("auto", {"error": 2.0}, "PSF error 2 is outside 0 to 0.5"),
    ],
)
def test_point_images_that_cannot_be_are_refused(quasar, given, settings, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        locate(given, seen(quasar), PointSpread(gaussian()), (0.0, 0.0), **settings)
    assert "\n" not in str(caught.value)


def test_the_same_image_twice_or_none_at_all_is_refused(quasar):
    spread, where = PointSpread(gaussian()), quasar["where"]
    with pytest.raises(InputError, match="are the same one at"):
        locate([where[0], where[0] + 0.03, where[1]], seen(quasar), spread, (0.0, 0.0))
    dark = Observation(np.zeros(SIDES), np.ones(SIDES), spread.on_pixels, SCALE, np.ones(SIDES, bool))
    with pytest.raises(InputError, match="0 peaks look like the PSF, 2 are needed: say where"):
        search(dark, spread, (0.0, 0.0), None)


@pytest.mark.parametrize(
    ("kernel", "oversampling", "sentence"),
    [
        (np.ones((9, 9)), 0, "PSF oversampling 0 is outside 1 to 20"),
        (np.ones((8, 9)), 1, r"PSF of shape \(8, 9\): both sides must be odd"),
        (np.zeros((9, 9)), 1, "PSF with sum 0: its pixels must be finite"),
    ],
)
def test_a_psf_that_is_none_is_refused(kernel, oversampling, sentence):
    with pytest.raises(InputError, match=sentence):
        PointSpread(kernel, oversampling)


def test_options_that_do_not_go_together_are_refused(quasar):
    with pytest.raises(InputError, match="--point-sigma and --psf-error are about --point-images"):
        Choices(psf_error=0.01)
    from darklens.fit.one_lens import Positions

    with pytest.raises(InputError, match="--positions and --point-images both say where images are"):
        fit_lens(**quasar["known"], positions=Positions.of(quasar["where"]), choices=Choices(point_images="auto"))


@pytest.fixture
def files(quasar, tmp_path):
    """The simulated quasar on disk."""
    for name in ("image", "noise", "psf"):
        np.save(tmp_path / f"{name}.npy", quasar["known"][name])
    return tmp_path


def test_a_command_reports_and_draws_them(quasar, files):
    where = ";".join(f"{x:.2f},{y:.2f}" for x, y in quasar["where"])
    options = ["--noise", "noise.npy", "--psf", "psf.npy", "--pixel-scale", "0.08", "--light", "sersic", "--source", "parametric"]
    more = ["--point-images", where, "--point-sigma", "0.003", "--psf-error", "0.01", "--subpixels", "1", "--starts", "1"]
    words = [str(files / word) if word.endswith(".npy") else word for word in ["image.npy", *options, *more]]
    told = CliRunner().invoke(app, ["fit", *words, "--out", str(files / "out")])
    assert told.exit_code == 0, told.output
    assert "4 point images with fluxes" in " ".join(told.output.split())
    found = read_json(files / "out" / "fit.json")
    assert found["theta_E"]["value"] == pytest.approx(TRUTH["theta_E"], abs=0.01)
    points = found["point_images"]
    assert points["psf_error"] == 0.01
    assert not points["psf_error_measured"]
    assert points["sigma"] == 0.003
    assert [image["x"] for image in points["images"]] == [found[f"point{k}_x"] for k in (1, 2, 3, 4)]
    assert found["coolest_leaves_out"] == []
    (point,) = Scene.from_coolest(files / "out" / "coolest.json").point_source
    assert float(point.center_x) == pytest.approx(points["source_x"]["value"], abs=0.003)
    assert float(point.center_y) == pytest.approx(points["source_y"]["value"], abs=0.003)
    with fits.open(files / "out" / "fit.fits") as hdus:
        assert np.nansum(hdus["POINT_IMAGES"].data) == pytest.approx(quasar["flux"].sum(), rel=0.1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--point-images", "somewhere"], "point images 'somewhere' are none: give"),
        (["--point-images", "1,2;3,4"], 'position 1 at (1", 2") lies outside the image'),
        (["--psf-error", "0.1"], "--point-sigma and --psf-error are about --point-images"),
        (["--point-images", "4", "--psf-oversampling", "0"], "PSF oversampling 0 is outside 1 to 20"),
        (["--subpixels", "9"], "9 rays along a side of a pixel are outside 1 to 5"),
    ],
)
def test_a_command_refuses_in_one_sentence(files, words, sentence):
    maps = [str(files / "image.npy"), "--noise", str(files / "noise.npy"), "--psf", str(files / "psf.npy")]
    known = [*maps, "--pixel-scale", "0.08"]
    told = CliRunner().invoke(app, ["fit", *known, "--out", str(files / "out"), *words])
    assert told.exit_code != 0
    assert isinstance(told.exception, InputError)
    assert sentence in str(told.exception)


def test_a_psf_is_as_fine_as_its_header_says_or_as_the_option_says(files, caplog):
    card = fits.Header({"PIXSCALE": SCALE / 4})
    fits.PrimaryHDU(gaussian(4), header=card).writeto(files / "fine.fits")
    given = Given(files / "image.npy", files / "noise.npy", files / "fine.fits", pixel_scale=SCALE)
    known = given.read()
    assert "psf_oversampling" not in known
    assert known["psf"].shape == PointSpread(gaussian(4), 4).on_pixels.shape
    assert replace(given, fine=True).read()["psf_oversampling"] == 4
    assert replace(given, psf_oversampling=2).read()["psf_oversampling"] == 2
    assert "2 pixels of the PSF along a side of the image's as given, where the header of fine.fits says 4" in caplog.text
    with pytest.raises(InputError, match="--psf-oversampling is about the file of a PSF"):
        replace(given, psf=None, psf_fwhm=0.2, psf_oversampling=2).read()


def test_with_a_fine_psf_each_ray_is_a_point_of_its_own(quasar):
    known, spread = quasar["known"], PointSpread(gaussian(4), 4)
    noise, mask = np.ones(SIDES), np.ones(SIDES, bool)
    fine = Observation(known["image"], noise, spread.on_pixels, SCALE, mask, 2, spread)
    x, y = fine.rays
    k = 4 * 700 + 3
    ray = np.zeros(len(x))
    ray[k] = 4.0  # a quarter of a pixel's rays
    place = float(y[k, 0]) / SCALE + (SIDES[0] - 1) / 2, float(x[k, 0]) / SCALE + (SIDES[1] - 1) / 2
    assert np.abs((fine.blur @ ray).reshape(SIDES) - spread.at(*place, SIDES)).max() < 1e-3 * spread.at(*place, SIDES).max()
    coarse = Observation(known["image"], noise, spread.on_pixels, SCALE, mask, 2)
    assert (fine.blur @ np.ones(len(x))).reshape(SIDES)[12:-12, 12:-12] == pytest.approx(1, abs=2e-3)
    assert coarse.blur.shape[1] * 4 == fine.blur.shape[1]


def test_a_start_has_the_source_where_the_images_come_together(quasar):
    points = locate(quasar["where"], seen(quasar), PointSpread(gaussian()), (0.0, 0.0))
    macro, source = Macro("epl+shear"), LightBasis((Shape("source", "sersic"),))
    bounds = macro.bounds(1.0, (0, 0)) | source.bounds((0, 0), 1.0) | points.bounds
    low, high = ({k: v[i] for k, v in bounds.items()} for i in (0, 1))
    model = Model(seen(quasar), macro, lens_light("none", 1, 1), source, None, low, high, points=points)
    for eta in starts_for(model, 0.95, (0.0, 0.0), 3, 0, points.seen):
        start = dict(zip(model.names, eta.tolist(), strict=True))
        bx, by = trace(model.masses(model.named(eta)), *points.seen.images)
        assert {k: start[k] for k in points.names} == points.start
        assert float(bx.min()) < start["source_x"] < float(bx.max())
        assert float(by.min()) < start["source_y"] < float(by.max())
