import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.disturbances import (
    Condition,
    WithMultipoles,
    conditions,
    draw,
    other_noise,
    other_simulator,
    regrid,
    wrong_lens,
    wrong_psf,
)
from benchmarks.result_page import matrix

from benchmarks import robustness
from darklens.errors import InputError
from darklens.files import write_json
from darklens.fit import plan_for
from darklens.models import build
from darklens.runs import MODEL, WEIGHTS, Run
from darklens.simulate import preset
from darklens.simulate.noise import NoiseFree
from darklens.train.adaptation import AdaptConfig
from darklens.train.checkpoint import save_weights

BASE = preset("model-ii-noisy")
CLASSES = ["no_sub", "cdm", "axion"]


def flux(condition, n=3, seed=5):
    """Images of a condition without noise."""
    clean = replace(condition, preset=replace(condition.preset, recording=NoiseFree()))
    return draw(clean, replace(BASE, recording=NoiseFree()), n, seed)[0]


def second_moment(image):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] - np.array(image.shape)[:, None, None] // 2
    return float((image * (x**2 + y**2)).sum() / image.sum())


def test_conditions_have_names_of_their_own_and_begin_undisturbed():
    found = conditions(BASE, set(robustness.KINDS))
    assert len({c.name for c in found}) == len(found)
    assert found[0].preset == BASE
    assert {c.kind for c in found} == {"undisturbed", *robustness.KINDS}
    assert not any(c.name == "on model-ii-noisy" for c in found)


def test_a_wider_psf_widens_the_images_and_keeps_flux_and_scene():
    plain, wide = flux(Condition("u", "undisturbed", "none", BASE)), flux(wrong_psf(BASE, 3.0))
    pixel = BASE.instrument.pixel_scale
    wanted = 2 * (3.0**2 - 1) * (BASE.instrument.psf.sigma / pixel) ** 2
    for a, b in zip(plain[:, 0], wide[:, 0], strict=True):
        assert b.sum() == pytest.approx(a.sum(), rel=2e-3)
        assert second_moment(b) - second_moment(a) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("name", ["model-i", "model-ii-noisy", "common-test"])
def test_noise_to_signal_scales_with_the_factor(name):
    base = preset(name)
    scene = base.population.draw(6, 5)

    def scatter(p):
        """Noise over signal in the brightest pixels, where Poisson noise of the source rules."""
        clean = replace(p, recording=NoiseFree()).images(p.population.draw(6, 5))[0]
        many = np.stack([p.images(replace(p.population.draw(6, 5), seed=k))[0] for k in range(12)])
        if name == "common-test":  # undo the scaling by each image's own extremes
            many = many / many.mean((0, 2, 3, 4), keepdims=True) * clean.mean((1, 2, 3))[None, :, None, None, None]
        bright = clean > 0.5 * clean.max((1, 2, 3), keepdims=True)
        if name == "model-i":  # and the random exposure, by those pixels: the clipped background adds to all others
            level = (many * bright).sum((2, 3, 4), keepdims=True) / (clean * bright).sum((1, 2, 3))[None, :, None, None, None]
            many = many / level
        return np.median((many.std(0) / clean)[bright])

    assert len(scene) == 6
    assert scatter(other_noise(base, 2.0).preset) / scatter(base) == pytest.approx(2.0, rel=0.15)


def test_images_without_noise_have_no_noise_to_change():
    assert other_noise(preset("model-iii"), 2.0) is None
    assert not [c for c in conditions(preset("model-iii"), {"noise"}) if c.kind == "noise"]


def test_multipoles_bend_by_their_strength_whatever_the_batch():
    population = WithMultipoles(BASE.population, 0.01)
    scene, plain = population.draw(4, 7), BASE.population.draw(4, 7)
    ring = torch.linspace(0, 2 * torch.pi, 721, dtype=torch.float64)[:-1]
    for i in range(4):
        x, y = ring.cos(), ring.sin()
        more = scene.system(i).macro[-2:]
        kappa = sum(m.convergence(x, y) for m in more) / (0.5 * float(plain.macro[0].theta_E[i]))
        spectrum = torch.fft.rfft(kappa).abs() * 2 / len(ring)
        assert spectrum[[3, 4]].tolist() == pytest.approx([0.01, 0.01], rel=1e-6)
    later = population.draw(2, 7, 2)
    assert torch.equal(later.macro[-1].phi_m, scene.macro[-1].phi_m[2:])
    assert not np.allclose(flux(wrong_lens(BASE, 0.02)), flux(wrong_lens(BASE, 0.005)), rtol=1e-3)


@pytest.mark.parametrize(
    ("size", "scale", "wanted", "shape"), [(150, 0.05, 0.101, (64, 64)), (64, 0.08, 0.05, (150, 150)), (65, 0.1, 0.1, (40, 33))]
)
def test_regridded_images_keep_size_on_the_sky_and_flux(size, scale, wanted, shape):
    axis = (np.arange(size) - (size - 1) / 2) * scale
    image = np.exp(-(axis[:, None] ** 2 / 0.6 + axis**2 / 0.2))[None, None].astype(np.float32)
    found = regrid(image, scale, wanted, shape)
    assert found.shape == (1, 1, *shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    total = found[0, 0].sum()
    assert total == pytest.approx(image.sum(), rel=1e-2)
    centre = [float((found[0, 0] * grid).sum() / total) for grid in (y, x)]
    assert centre == pytest.approx([(n - 1) / 2 for n in shape], abs=0.02)
    spread = [float((found[0, 0] * (grid - c) ** 2).sum() / total) * wanted**2 for grid, c in zip((y, x), centre, strict=True)]
    assert spread == pytest.approx([0.3, 0.1], rel=0.06)


def test_labels_of_other_simulators_are_translated():
    images, labels = draw(other_simulator(BASE, "common-test"), BASE, 6, 3)
    assert images.shape == (6, 1, 64, 64)
    assert labels.tolist() == ["no_sub", "cdm", "axion"] * 2
    images, labels = draw(other_simulator(preset("common-test"), "model-iii"), preset("common-test"), 3, 3)
    assert labels.tolist() == ["no", "sphere", "vort"]
    assert images.min((1, 2, 3)).tolist() == [0, 0, 0]
    assert images.max((1, 2, 3)).tolist() == [1, 1, 1]


@pytest.fixture
def run(tmp_path):
    """A run of the network that fits, never trained."""
    torch.set_num_threads(1)
    preprocess = {"input": "residual", "crop": 40, "normalise": "none"}
    run = Run.create(tmp_path / "run", {"name": "tiny", "train": {"augment": []}})
    described = {"name": "arcnet", "options": {"widths": [4, 4], "symmetric": False}, "seed": 0, "classes": CLASSES, "group": {}}
    described |= {"single_logit": False, "shape": [1, 64, 64], "pixel_scale": 0.101, "preprocess": preprocess}
    write_json(run.path / MODEL, described | {"fit": plan_for(BASE).as_dict()})
    run.write("data", {"preset": BASE.name, "splits": {"train": {"seed": 1, "rows": 60, "path": None}}})
    save_weights(run.path / WEIGHTS, build("arcnet", size=40, seed=0, **described["options"]).state_dict())
    return run


def study(run, *methods):
    return robustness.Study(run, 30, 30, methods, AdaptConfig(epochs=1, batch_size=15, source_images=30), "cpu")


@pytest.mark.slow
def test_rows_are_kept_paired_and_resumed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "KINDS", ("lens",))
    path = tmp_path / "rows.json"
    rows = robustness.measure(study(run, "moments"), {"lens"}, path)
    assert json.loads(path.read_text()) == json.loads(json.dumps(rows))
    named = {row["data"]: row for row in rows}
    assert set(named) == {
        *("undisturbed", "undisturbed, calibrated"),
        *(f"multipoles {s}{way}" for s in ("0.5%", "1.0%", "2.0%") for way in ("", ", calibrated", ", moments")),
    }
    assert "difference" not in named["undisturbed"]
    for row in rows[1:]:
        assert row["difference"]["to"] == "undisturbed"
        gap = row["metrics"]["accuracy"]["value"] - named["undisturbed"]["metrics"]["accuracy"]["value"]
        assert row["difference"]["accuracy"]["value"] == pytest.approx(gap)
    assert {row["block"] for row in rows} == {"robustness"}
    assert all(row["metrics"]["accuracy"]["n"] == 30 for row in rows)
    monkeypatch.setattr(robustness.Study, "changed", lambda *a: pytest.fail("computed again"))
    assert robustness.measure(study(run, "moments"), {"lens"}, path) == json.loads(path.read_text())
    path.write_text(json.dumps([row for row in rows if row["data"] != "multipoles 1.0%"]))
    again = {row["data"]: row for row in robustness.measure(study(run), {"lens"}, path)}
    assert again["multipoles 1.0%"]["metrics"] == named["multipoles 1.0%"]["metrics"]
    assert again["multipoles 1.0%"]["difference"] == named["multipoles 1.0%"]["difference"]


def test_wrong_words_and_runs_without_a_preset(run, capsys):
    assert robustness.main([str(run.path), "--only", "psf,nose"]) == 2
    assert "'nose' is none of psf, noise, lens, simulator" in capsys.readouterr().err
    run.write("data", {"preset": None})
    with pytest.raises(InputError, match="not trained on a preset"):
        study(run)


def test_what_cannot_be_calibrated_is_a_row_with_its_reason_and_the_rest_goes_on(run, tmp_path, monkeypatch):
    def refuse(self, condition, suffix, images):
        raise InputError("no PSF fits best")

    monkeypatch.setattr(robustness.Study, "changed", refuse)
    rows = robustness.measure(study(run), {"lens"}, tmp_path / "rows.json")
    assert [row["data"] for row in rows if row.get("refused") == "no PSF fits best"] == [
        *("undisturbed, calibrated", "multipoles 0.5%, calibrated", "multipoles 1.0%, calibrated", "multipoles 2.0%, calibrated")
    ]
    assert sum("accuracy" in row["metrics"] for row in rows) == 4
    text = "\n".join(matrix(rows))
    assert "| multipoles 0.5%, calibrated | refused |" in text
    assert "multipoles 0.5%, calibrated: no PSF fits best" in text
