"""Positions of multiple images: their term against the lens equation, what they choose, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import fsolve

from darklens.errors import DarklensError, InputError, WorkError
from darklens.fit.one_lens import Choices, Linear, Macro, Model, Observation, Positions, fit_lens, lens_light
from darklens.fit.one_lens.light import LightBasis, Shape
from darklens.fit.one_lens.position_file import check_order, read_positions
from darklens.lensing import SIE, SersicEllipse, Shear, trace
from darklens.simulate import Instrument, Scene, render
from darklens.simulate.psf import TabulatedPSF

from .conftest import kernel

SHAPE = {"theta_E": 1.0, "e1": 0.08, "e2": -0.1, "center_x": 0.01, "center_y": -0.02}
SHEAR = {"gamma1": 0.04, "gamma2": 0.03}
BETA = 0.04, 0.03
SIDES, SCALE = (36, 32), 0.1
REAL = Path(__file__).parents[4] / "shared" / "data" / "lenses" / "hst-slacs0946+1006"
BARE = {"model": "sie+shear", "light": "none", "centre": (0.0, 0.0), "starts": 3}


def masses():
    return SIE(*SHAPE.values()), Shear(*SHEAR.values())


@pytest.fixture(scope="module")
def quad() -> dict:
    """Image, noise, psf and pixel scale of a lens with four images of a compact source; rows and columns differ in number."""
    tensor = lambda *values: [torch.tensor([v], dtype=torch.float64) for v in values]  # noqa: E731
    source = SersicEllipse(*tensor(1.0, 0.12, 1.2, 0.1, 0.05, *BETA))
    scene = Scene((SIE(*tensor(*SHAPE.values())), Shear(*tensor(*SHEAR.values()))), (), (source,), ("",), {}, 0, (0,))
    image = render(scene, Instrument("", SCALE, TabulatedPSF(kernel())), SIDES, supersampling=2, dtype=torch.float64)[0].numpy()
    sigma = 0.02 * image.max()
    data = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    return {"image": data, "noise": np.full(image.shape, sigma), "psf": kernel(), "pixel_scale": SCALE}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Where the source stands four times: the lens equation, solved by another method than the one that is tested."""
    off = lambda t: np.stack([b.item() for b in trace(masses(), *torch.tensor(t)[:, None, None])]) - BETA  # noqa: E731
    found = np.array([fsolve(off, near, xtol=1e-13) for near in ((0.5, -0.8), (-0.7, -0.7), (-0.9, 0.3), (0.7, 0.8))])
    assert max(np.abs(off(place)).max() for place in found) < 1e-12
    assert np.hypot(*(found[:, None] - found[None]).T)[~np.eye(4, dtype=bool)].min() > 0.5
    return found


def observed(quad) -> Observation:
    return Observation(quad["image"], quad["noise"], quad["psf"], SCALE, np.ones(SIDES, bool))


def model_of(quad, positions, macro="sie+shear") -> tuple[Model, np.ndarray]:
    macro, source = Macro(macro), LightBasis((Shape("source", "sersic"),))
    bounds = macro.bounds(1.0, (0, 0)) | source.bounds((0, 0), 1.0)
    low, high = ({k: v[i] for k, v in bounds.items()} for i in (0, 1))
    model = Model(observed(quad), macro, lens_light("none", 1, 1), source, None, low, high, positions=positions)
    known = SHAPE | SHEAR | {"gamma": 2.1, "source_R_sersic": 0.12, "source_n_sersic": 1.2, "source_x": 0.04, "source_y": 0.03}
    return model, np.array([known.get(name, 0.01) for name in model.names])


def test_images_of_one_point_have_no_scatter_and_no_chi2_under_the_truth(images):
    positions = Positions.of(images)
    offsets, beta = positions.offsets(masses())
    assert float(offsets.abs().max()) < 1e-6
    assert beta[0].tolist() == pytest.approx(BETA, abs=1e-9)
    report = positions.report(masses())
    assert report["source_plane_scatter"] < 1e-9
    assert report["image_plane_rms"] < 1e-8
    assert np.allclose(report["predicted"], images)


def test_a_small_error_counts_in_the_image_plane(images):
    """Chi^2 is that of least squares in the image plane, where a source that moves by delta beta moves images by mu delta beta."""
    x, y = torch.from_numpy(images.T.copy())[:, None]
    ends = [torch.cat(trace(masses(), x + dx, y + dy)) for dx, dy in ((1e-6, 0), (-1e-6, 0), (0, 1e-6), (0, -1e-6))]
    A = torch.stack([ends[0] - ends[1], ends[2] - ends[3]], 1).permute(2, 0, 1).numpy() / 2e-6
    design, sigma = np.concatenate(np.linalg.inv(A)), 1e-3
    for k in range(4):
        data = np.zeros((4, 2))
        data[k] = 1.2e-3, -0.7e-3
        offsets, _ = Positions.of(images + data, sigma=sigma).offsets(masses())
        left = data.ravel() - design @ np.linalg.lstsq(design, data.ravel(), rcond=None)[0]
        assert float(offsets.square().sum()) == pytest.approx((left**2).sum() / sigma**2, rel=0.05)


def test_next_to_a_critical_curve_the_weight_stays_finite():
    round_lens = (SIE(1.0, 0.0, 0.0, 0.0, 0.0),)
    offsets, _ = Positions.of([[1.0, 0.0], [-0.95, 0.0], [0.0, 1.0]]).offsets(round_lens)
    assert torch.isfinite(offsets).all()
    assert float(offsets.square().sum()) < 10


@pytest.mark.parametrize("macro", ["sie+shear", "epl+shear+multipoles"])
def test_gradient_and_curvature_of_the_term_are_those_of_its_values(quad, images, macro):
    positions = Positions.of([images[:2].tolist(), (images[2:] + 0.03).tolist()])
    model, eta = model_of(quad, positions, macro)
    pull, stiffness = model.pull_of_positions(eta)
    offsets = lambda e: positions.offsets(model.masses(model.named(e)))[0].numpy()  # noqa: E731
    slopes = np.stack([(offsets(eta + s) - offsets(eta - s)) / 2e-4 for s in 1e-4 * np.eye(len(eta))])
    assert np.allclose(pull, slopes @ offsets(eta), rtol=1e-3, atol=1e-3 * np.abs(pull).max())
    assert np.allclose(stiffness, slopes @ slopes.T, rtol=1e-3, atol=1e-3 * stiffness.max())
    assert np.abs(pull[: len(model.macro.names)]).max() > 1
    assert not pull[len(model.macro.names) :].any()


def test_the_term_is_part_of_cost_and_evidence_but_not_of_chi2(quad, images):
    positions = Positions.of(images + np.array([[0.02, 0.0], [0.0, 0.03], [0.0, 0.0], [-0.04, 0.0]]))
    model, eta = model_of(quad, positions)
    with_them, without = model.problem(eta).solve(1.0), replace(model, positions=None).problem(eta).solve(1.0)
    term = float(positions.offsets(masses())[0].square().sum())
    assert term > 0.5
    assert with_them.cost - without.cost == pytest.approx(term)
    assert without.evidence - with_them.evidence == pytest.approx(term / 2)
    assert with_them.chi2 == without.chi2
    assert Linear.of(np.eye(3), np.ones(3), np.zeros((0, 0)), 0.0).solve(1.0).cost == pytest.approx(0, abs=1e-6)


def test_half_the_separation_of_opposite_positions_is_the_einstein_radius(images):
    assert Positions.of(images).radius((0.0, 0.0)) == pytest.approx(1.0, abs=0.05)
    two = Positions.of([[[1.3, 0.0], [-0.9, 0.0]], [[0.2, 1.05], [0.2, -0.95]]])
    assert two.radius((0.0, 0.0)) == pytest.approx(0.5 * (1.1 + 1.0))
    assert Positions.of([[1.0, 0.1], [1.0, -0.1]]).radius((0.0, 0.0)) is None


def test_scatter_is_taken_within_a_source():
    positions = Positions.of([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0], [0.7, 0.7]]])
    bx, by = torch.tensor([[0.0, 0.3, 5.0, 5.0, 5.0], [0.0, 0.0, 1.0, 1.0, 1.5]]), torch.zeros(2, 5)
    assert positions.scatter(bx, by).tolist() == pytest.approx([0.3, 0.5])


@pytest.mark.slow
def test_a_wrong_guess_is_mended_by_positions(quad, images):
    choices = Choices(**BARE, theta_E=1.8)
    seen = Positions.of(images + 0.02 * np.random.default_rng(1).standard_normal(images.shape), sigma=0.02)
    lost, found = fit_lens(**quad, choices=choices), fit_lens(**quad, choices=choices, positions=seen)
    assert abs(lost.parameters["theta_E"] - 1) > 0.3
    assert found.parameters["theta_E"] == pytest.approx(1, abs=0.015)
    assert found.reduced_chi2 == pytest.approx(1, abs=0.1)
    assert found.report_of_positions()["image_plane_rms"] < 0.06
    assert found.model.positions is None  # they led, and are no data of the final fit


def test_as_data_they_enter_covariance_and_optimum(quad, images):
    choices = Choices(**BARE | {"starts": 1}, source="parametric", theta_E=1.0)
    seen = Positions.of(images, sigma=1e-3)
    alone = fit_lens(**quad, choices=choices, positions=seen)
    both = fit_lens(**quad, choices=choices, positions=replace(seen, in_likelihood=True))
    sd = [np.sqrt(np.diag(fit.covariance))[: len(SHAPE)] for fit in (alone, both)]
    assert (sd[1] < sd[0]).all()
    assert sd[1][0] < 0.8 * sd[0][0]
    for name, truth in (SHAPE | SHEAR).items():
        k = both.names.index(name)
        assert abs(both.parameters[name] - truth) < 4 * np.sqrt(both.covariance[k, k]), name
    assert both.report_of_positions()["chi2"] < alone.report_of_positions()["chi2"]
    assert both.evidence < alone.evidence


def test_positions_that_no_lens_brings_together_are_refused(quad):
    beside = Positions.of([[1.0, 0.0], [0.3, 0.2]], tolerance=0.02)
    with pytest.raises(InputError, match=r"brings the positions within 0\.02"):
        fit_lens(**quad, choices=Choices(**BARE, theta_E=1.0), positions=beside)


def test_a_descent_that_tears_them_apart_is_refused(quad, images):
    turned = Positions.of(images @ np.array([[0.0, 1.0], [-1.0, 0.0]]), sigma=10.0, tolerance=0.25)
    with pytest.raises(WorkError, match="every start ended with the positions at least"):
        fit_lens(**quad, choices=Choices(**BARE, source="parametric", theta_E=1.0), positions=turned)


@pytest.mark.parametrize(
    ("given", "settings", "sentence"),
    [
        ([[1, 2]], {}, "source 1 has one position"),
        ([[[1, 2], [0, 1]], [[3, 4]]], {}, "source 2 has one position"),
        ([], {}, "source 1 has the positions"),
        ([[1, 2], [1, 2]], {}, "the same position twice"),
        ([[1, float("nan")], [1, 2]], {}, "position 1 is \\(1.0, nan\\): both have to be finite"),
        ([[1, 2, 3], [1, 2, 3]], {}, "is not a pair of numbers"),
        ([["1", "2"], [1, 2]], {}, "is not a pair of numbers"),
        ([[10**400, 1], [1, 2]], {}, "is not a pair of numbers"),
        ([[1, 2], 3], {}, "is not a pair of numbers"),
        ([[1, 2], [[1, 2], [3, 4]]], {}, "source 1 has the positions"),
        ({"x": 1}, {}, "positions that are a dict"),
        ([[1, 2], [3, 4]], {"sigma": 0.0}, "position sigma 0.0: it has to be positive"),
        ([[1, 2], [3, 4]], {"sigma": float("nan")}, "position sigma nan"),
        ([[1, 2], [3, 4]], {"tolerance": -1.0}, "position tolerance -1.0"),
    ],
)
def test_what_are_no_positions_is_refused(given, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Positions.of(given, **settings)


def test_positions_have_to_lie_on_pixels_that_count(quad, images):
    with pytest.raises(InputError, match=r'position 2 at \(0", 1.9"\) lies outside the image, which reaches to \+-1.6" and'):
        fit_lens(**quad, positions=Positions.of([[0.0, 1.7], [0.0, 1.9], [1.7, 0.0]]))
    mask = np.ones(SIDES, bool)
    column, row = np.round(images[0] / SCALE + (np.array(SIDES[::-1]) - 1) / 2).astype(int)
    mask[row, column] = False
    with pytest.raises(InputError, match=r"position 1 .* lies on a pixel that does not count"):
        fit_lens(**quad, mask=mask, positions=Positions.of(images))


def test_files_say_the_same_in_every_form(tmp_path):
    pairs = [[[1.0, 0.5], [-0.9, -0.4]], [[0.2, 1.1], [0.1, -1.0], [0.9, 0.0]]]
    (tmp_path / "xy.json").write_text(json.dumps(pairs))
    (tmp_path / "yx.json").write_text(json.dumps([[pair[::-1] for pair in group] for group in pairs]))
    rows = [f"{y},{x},{'ab'[k]}" for k, group in enumerate(pairs) for x, y in group]
    (tmp_path / "named.csv").write_text("\ufeffy, x, source\n" + "\n".join(rows))
    expected = Positions.of(pairs)
    for found in (
        read_positions(tmp_path / "xy.json"),
        read_positions(tmp_path / "yx.json", "yx"),
        read_positions(tmp_path / "named.csv", sigma=0.01),
    ):
        assert np.array_equal(found.x, expected.x)
        assert np.array_equal(found.y, expected.y)
        assert np.array_equal(found.source, expected.source)
    assert found.sigma == 0.01


@pytest.mark.parametrize(
    ("name", "text", "order", "sentence"),
    [
        ("p.json", "[[1, 2], [3", None, "is not JSON"),
        ("p.json", "[" * 100000, None, "is not JSON"),
        ("p.json", "[" * 900 + "]" * 900, None, "source 1 has the positions"),
        ("p.json", "[[1, NaN], [1, 2]]", None, "both have to be finite"),
        ("p.json", "[[1, 2], [3, 4]]", "yz", "unknown order of coordinates 'yz'"),
        ("p.csv", "x,y,flux\n1,2,3\n", None, "unknown column 'flux': known: x, y, source"),
        ("p.csv", "x\n1\n", None, "has the columns x: it needs x and y"),
        ("p.csv", "", None, "has the columns none"),
        ("p.csv", "x,y\n", None, "no positions|source 1 has the positions|positions"),
        ("p.csv", "x,y\n1,2\n3\n", None, "line 3: x '3' and y None are not two numbers"),
        ("p.csv", "x,y\n1,2\n3,nan\n", None, "both have to be finite"),
        ("p.csv", "x,y\n1,2\n3,4\n", "yx", "names its columns"),
        ("none.json", None, None, "cannot be read"),
        ("p.json", b"\xff\xfe\x00", None, "is not text in UTF-8"),
    ],
)
def test_files_that_cannot_be_used_get_their_sentence(tmp_path, name, text, order, sentence):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DarklensError, match=sentence) as caught:
        read_positions(tmp_path / name, order)
    assert "\n" not in str(caught.value)


def test_coordinates_in_the_other_order_are_noticed(quad):
    seen = observed(quad)
    x, y = seen.coordinates()
    spots = sum(np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2) / 0.15**2) for a, b in ((1.1, -0.3), (-0.9, 0.2)))
    seen = replace(seen, image=seen.noise * (100 / (1 + x**2 + y**2) + 20 * spots))
    check_order(Positions.of([[1.1, -0.3], [-0.9, 0.2]]), seen, (0.0, 0.0))
    check_order(Positions.of([[0.1, 1.3], [0.2, -1.2]]), seen, (0.0, 0.0))  # on no arc in either order
    with pytest.raises(InputError, match=r"sigma above the galaxy\), and as \(y, x\) on them .*: give --position-order yx"):
        check_order(Positions.of([[-0.3, 1.1], [0.2, -0.9]]), seen, (0.0, 0.0))


def test_the_positions_of_a_real_lens_are_in_the_order_of_pyautolens():
    if not REAL.is_dir():
        pytest.skip("the images of SDSS J0946+1006 are not beside this checkout, in ../shared/data/lenses")
    from darklens.fit.one_lens.reading import Given

    known = Given(REAL / "data.fits", REAL / "noise_map.fits", REAL / "psf.fits", pixel_scale=0.05).read()
    seen = Observation(known["image"], known["noise"], known["psf"], 0.05, known["mask"])
    check_order(read_positions(REAL / "positions.json", "yx"), seen, (0.0, 0.0))
    with pytest.raises(InputError, match="give --position-order yx"):
        check_order(read_positions(REAL / "positions.json"), seen, (0.0, 0.0))
