"""`darklens show` and `darklens list`: the numbers behind the pictures, and the commands."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from darklens import cli
from darklens.cli.show import pairs_of, substructure_convergence, systems_of
from darklens.data import Table
from darklens.lensing import LIGHTS, MASSES, SIS, magnification, trace
from darklens.simulate import INSTRUMENTS, PAIRS, PRESETS, configured, preset, render, simulate_pairs
from darklens.simulate.disturbance import noise_of

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def darklens(capsys, monkeypatch):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["darklens", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert caught.value.code == code, out + err
        assert err.count("\n") <= 1
        return out, err

    return run


def test_the_convergence_of_point_masses_is_their_mass():
    scene = preset("model-iii").population.draw(3, seed=4)
    kappa = substructure_convergence(scene, (80, 90), 0.1)
    points = scene.substructure[0]
    inside = (points.center_x.abs() < 4) & (points.center_y.abs() < 3.5)
    assert inside[1].all()
    expected = torch.pi * (points.theta_E**2).sum(-1)  # kappa integrates to pi theta_E^2
    assert np.allclose(kappa.sum((1, 2)) * 0.1**2, expected, rtol=0.02)
    assert np.allclose(kappa[0], 0)


def test_the_convergence_of_a_profile_is_its_own():
    scene = preset("model-iii").population.draw(1, seed=4)
    scale, sis = 0.05, SIS(torch.tensor([[0.3]], dtype=torch.float64), 0.4, -0.2)

    class Many(SIS):
        def deflection(self, x, y):
            return tuple(alpha.sum(-3) for alpha in super().deflection(x, y))

    scene = replace(scene, substructure=(Many(sis.theta_E, 0.4, -0.2),))
    kappa = substructure_convergence(scene, (60, 60), scale)[0]
    axis = (np.arange(60) - 29.5) * scale
    r = np.hypot(axis[None, :] - 0.4, axis[:, None] + 0.2)
    away = (r > 0.5) & (np.abs(axis)[:, None] < 1.2) & (np.abs(axis)[None, :] < 1.2)
    assert np.allclose(kappa[away], 0.15 / r[away], rtol=0.02)


def test_systems_come_class_by_class_with_their_curves():
    chosen = preset("model-iii-noisy")
    systems = systems_of(replace(chosen, shape=(48, 48)), 2, seed=5)
    assert [s.label for s in systems] == [name for name in chosen.classes for _ in range(2)]
    scene = chosen.population.draw(6, seed=5)
    bare = systems[0]  # row 0: a smooth lens
    masses = scene.system(0).masses()
    assert bare.critical
    x, y = (torch.from_numpy(bare.critical[0][:, k : k + 1]) for k in (0, 1))
    assert (1 / magnification(masses, x, y)).abs().median() < 0.02  # by the exact Jacobian
    for critical, caustic in zip(bare.critical, bare.caustics, strict=True):
        x, y = (torch.from_numpy(critical[:, k : k + 1]) for k in (0, 1))
        assert np.allclose(torch.cat(trace(masses, x, y), 1), caustic)
        assert np.hypot(*critical.T).mean() == pytest.approx(float(scene.macro[0].theta_E[0]), rel=0.1)
    assert np.abs(bare.difference).max() == 0
    assert np.abs(systems[2].difference).max() > 3


def test_differences_are_in_units_of_the_noise_that_is_drawn():
    for name in ("model-iii-noisy", "common-test", "model-i"):
        chosen = replace(preset(name), shape=(48, 48))
        scene = chosen.population.draw(2, seed=5)
        copies = scene.select(np.zeros(60, np.int64))
        copies = replace(copies, rows=tuple(range(60)))
        flux = render(copies, chosen.instrument, chosen.shape).double().numpy()
        images, truth = chosen.images(copies)
        sigma, unit = noise_of(chosen, flux, truth)
        if name == "common-test":  # a min-max scale hides the counts: the sky's share is what the formula says
            assert np.allclose(sigma**2, flux + 10)
            continue
        per_count = truth["exposure"][:, None, None] if name == "model-i" else 1.0
        bright = flux[0] > 0.3 * flux[0].max()
        pull = ((images[:, 0] / per_count - flux) / sigma)[:, bright]
        assert pull.std() == pytest.approx(1, abs=0.05), name
        assert "sigma" in unit
    flux = np.ones((1, 4, 4))
    assert noise_of(preset("model-iii"), flux, {})[1] == "% of the peak"


@pytest.mark.parametrize("arguments", [["model-ii-noisy"], ["model-iii-noisy", "--instrument", "des-g,des-r,des-i"]])
def test_show_writes_a_picture(darklens, tmp_path, arguments):
    out = tmp_path / "gallery.png"
    darklens("show", *arguments, "--out", out, "--seed", 3)
    assert out.read_bytes().startswith(PNG)
    width, height = (int.from_bytes(out.read_bytes()[i : i + 4], "big") for i in (16, 20))
    assert width > 1200
    assert height > 900


def test_pairs_are_shown_as_both_cameras_see_them(darklens, tmp_path):
    pairs = pairs_of(PAIRS["sr-pairs-64"], 2, seed=3)
    assert [pair.label for pair in pairs] == ["no_sub", "no_sub", "cdm", "cdm", "axion", "axion"]
    assert (pairs[0].low.shape, pairs[0].high.shape, pairs[0].scales) == ((64, 64), (128, 128), (0.08, 0.04))
    table = simulate_pairs("sr-pairs-64", 6, seed=3, out=tmp_path / "pairs")
    assert np.array_equal(Table.open(table / "LR").image_array()[3, 0], pairs[1].low), "row 3 is the second of its class"
    darklens("show", "sr-pairs", "--out", tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").read_bytes().startswith(PNG)


@pytest.mark.filterwarnings("error")
def test_a_survey_is_shown_in_colour_and_without_columns_on_substructure_that_it_has_not(darklens, tmp_path):
    systems = systems_of(preset("lens-finding"), 1, seed=2)
    assert [s.picture.shape for s in systems] == [(64, 64, 3)] * 2
    assert not any(s.disturbed for s in systems)
    assert all(np.isfinite(s.difference).all() for s in systems)
    widths = []
    for name in ("lens-finding", "model-iii-noisy"):
        darklens("show", name, "--out", tmp_path / "gallery.png", "--n", 1)
        widths.append(int.from_bytes((tmp_path / "gallery.png").read_bytes()[16:20], "big"))
    assert widths[0] < 0.6 * widths[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model-iv"], "did you mean"),
        (["sr-pairs", "--instrument", "euclid-vis"], "two cameras of their own"),
        (["sr-pair"], "did you mean 'sr-pairs'"),
        (["model-iii", "--n", "0"], "outside 1 to 12"),
        (["model-iii", "--out", "gallery.jpg"], "no .png"),
        (["common-test", "--instrument", "euclid-vis"], "uncalibrated counts"),
        (["model-iii-noisy", "--instrument", "des-g,hsc-i"], "share a pixel scale"),
    ],
)
def test_bad_input_is_one_sentence(darklens, arguments, says):
    _, err = darklens("show", *arguments, code=2)
    assert says in err


def test_list_shows_everything(darklens):
    out, _ = darklens("list", "--json")
    content = json.loads(out)
    for key, names in (
        ("presets", PRESETS),
        ("pairs", PAIRS),
        ("instruments", INSTRUMENTS),
        ("masses", MASSES),
        ("lights", LIGHTS),
    ):
        assert set(content[key]) == set(names)
    assert content["masses"]["SIE"].endswith("(theta_E, e1, e2, center_x, center_y)")
    assert set(content) == {"presets", "pairs", "instruments", "masses", "lights", "models", "recipes", "shipped"}


def test_simulate_takes_the_options(darklens, tmp_path):
    kernel = np.exp(-0.5 * (np.arange(-3, 4) ** 2))
    np.save(tmp_path / "psf.npy", np.outer(kernel, kernel))
    options = ["--psf", tmp_path / "psf.npy", "--psf-scale", "0.08", "--correlated-noise", 1.5, "--cosmic-rays", 3]
    options += ["--supersampling", "adaptive", "--no-lens-light", "--json"]
    darklens("simulate", "model-iii-noisy", "--n", 6, "--out", tmp_path / "table", *options)
    table = Table.open(tmp_path / "table")
    assert "psf.npy sha256:" in table.manifest["instrument"]["psf"]
    assert table.manifest["supersampling"] == "adaptive"
    chosen = configured(
        "model-iii-noisy", psf=tmp_path / "psf.npy", psf_scale=0.08, correlated_noise=1.5, cosmic_rays=3, supersampling="adaptive"
    )
    images, truth = chosen.images(chosen.population.draw(6, seed=0))
    assert np.array_equal(np.asarray(table.images()), images)
    assert np.array_equal(table.column("n_cosmic_rays"), truth["n_cosmic_rays"])
    _, err = darklens("simulate", "model-iii", "--n", 6, "--out", tmp_path / "other", "--supersampling", "coarse", code=2)
    assert "supersampling" in err
