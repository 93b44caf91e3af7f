import json

import numpy as np
import pytest
import torch
from benchmarks.cross_survey import Study, World
from benchmarks.cross_survey_page import page, written
from benchmarks.surveys import CONDITIONS, SOURCE, SURVEYS, TARGET, preset_of, with_colours

from benchmarks import cross_survey
from darklens.files import plain
from darklens.simulate.priors import Uniform
from darklens.simulate.sky import Lights, Sky, Stars

WORLD = World(labels=(16, 32), pool=96)


def presets() -> dict:
    return {name: preset_of(name, 0.3, 0.1) for name in CONDITIONS}


def per_arcsec(camera) -> float:
    """Noise of an arcsec^2 of empty sky, as a magnitude."""
    return camera.zero_point - 2.5 * np.log10(camera.background_sigma / camera.pixel_scale)


def test_a_single_change_changes_one_thing():
    found = presets()
    base = found[SOURCE].survey
    for name in ("psf", "noise", "pixels", "colour"):
        survey = found[name].survey
        assert (survey.seeing != base.seeing) == (name == "psf")
        scales = {camera.pixel_scale for camera in survey.instruments}
        assert scales == ({0.263} if name == "pixels" else {0.168})
        depth = [per_arcsec(camera) for camera in survey.instruments]
        assert np.allclose(depth, [per_arcsec(camera) for camera in base.instruments]) == (name != "noise")
    everything = found[TARGET].survey
    assert everything.seeing == found["psf"].survey.seeing
    assert np.allclose(*([per_arcsec(c) for c in found[k].survey.instruments] for k in (TARGET, "noise")))


def test_the_depth_is_that_of_the_survey_read_noise_included():
    for name, cameras in SURVEYS.items():
        seen = preset_of(name, 0.3, 0.1).survey
        assert [c.background_sigma for c in seen.instruments] == pytest.approx([c.background_sigma for c in cameras])
        middle = [sum(prior.support) / 2 for prior in seen.seeing]
        assert middle == pytest.approx([camera.psf.fwhm for camera in cameras])
        assert all(isinstance(prior, Uniform) for prior in seen.seeing)


def test_every_condition_shows_the_same_field_and_the_same_sky():
    found = presets()
    truths = {name: preset.draw(6, 3).truth for name, preset in found.items()}
    for name, preset in found.items():
        assert preset.shape[0] * preset.instruments[0].pixel_scale == pytest.approx(10.75, rel=0.02)
        assert all(np.array_equal(truths[name][k], v, equal_nan=True) for k, v in truths[SOURCE].items())


def test_lsst_is_that_of_lenstronomy():
    from lenstronomy.SimulationAPI.ObservationConfig.LSST import LSST

    for camera, band in zip(SURVEYS["lsst"], "gri", strict=True):
        known = LSST(band=band, coadd_years=10).kwargs_single_band()
        mine = (camera.pixel_scale, camera.psf.fwhm, camera.zero_point, camera.sky_mag_arcsec2, camera.read_noise)
        assert mine == tuple(known[k] for k in ("pixel_scale", "seeing", "magnitude_zero_point", "sky_brightness", "read_noise"))
        assert camera.total_exposure == known["exposure_time"] * known["num_exposures"]


def test_closer_filters_shrink_colours_and_leave_the_last_band():
    plain, closer = (preset_of(name, 0.3, 0.1).draw(8, 1).sky for name in (SOURCE, "colour"))
    for a, b in zip((*plain.lights, plain.stars), (*closer.lights, closer.stars), strict=True):
        seen = torch.isfinite(a.mag).all(1)
        assert torch.equal(a.mag[:, -1], b.mag[:, -1])
        assert torch.allclose((b.mag - b.mag[:, -1:])[seen], 0.4 * (a.mag - a.mag[:, -1:])[seen])


def test_a_light_that_a_band_does_not_see_stays_unseen():
    mag = torch.tensor([[torch.inf, 21.0, 20.0], [22.0, 21.0, torch.inf]])
    zero = torch.zeros(2, dtype=torch.float64)
    sky = Sky((Lights(None, zero.long(), mag),), Stars(zero, zero, zero.long(), mag))
    found = with_colours(sky, 0.5)
    for changed in (found.lights[0].mag, found.stars.mag):
        assert changed.tolist() == [[float("inf"), 20.5, 20.0], [22.0, 21.0, float("inf")]]


def test_few_labels_hold_every_class_and_lie_in_more():
    labels = np.array([0] * 97 + [1] * 3)
    orders = [cross_survey.nested_labels(labels, 5, seed) for seed in range(4)]
    for order in orders:
        assert sorted(order) == list(range(100))
        assert set(labels[order[:5]]) == {0, 1}
    assert len({tuple(order) for order in orders}) == 4


def scores(shift: float) -> dict:
    return {name: {"average_precision": 0.5 + 0.01 * k + shift, "auc": 0.9} for k, name in enumerate(WORLD.figures())}


def test_the_summary_takes_differences_within_a_seed():
    found = cross_survey.summary(WORLD, [scores(0.0), scores(0.1), scores(0.2)])
    rows = {row["name"]: row for row in found["conditions"]}
    assert rows["psf"]["difference"] == pytest.approx({"value": 0.01, "low": 0.01, "high": 0.01, "n": 3})
    assert "difference" not in rows[SOURCE]
    assert rows["psf"]["average_precision"]["high"] > 0.8
    first, scratch = found["adaptation"][0], found["adaptation"][-1]
    assert [cell["labels"] for cell in first["cells"]] == [0, 16, 32]
    assert [cell["labels"] for cell in scratch["cells"]] == [16, 32, 96]
    assert first["cells"][0]["average_precision"] == rows[TARGET]["average_precision"]


def test_the_page_has_a_row_for_all_and_brackets_only_where_seeds_differ():
    content = plain(cross_survey.summary(WORLD, [scores(0.0), scores(0.1)]))
    text = page(content)
    assert "| **psf**: the seeing of DES, all else as trained | .560 [" in text
    assert "| method | n = 0 | n = 16 | n = 32 | n = 96 |" in text
    assert "| these labels alone |  | ." in text
    assert all(f"**{name}**" in text for name in CONDITIONS)
    assert written({"value": -0.0312, "low": None, "high": None, "n": 1}, sign=True) == "-.031"


def test_the_page_says_what_the_tables_say():
    found = scores(0.0)
    for name, value in {"noise": 0.2, "adda, 0 labels": 0.7, "as trained, 16 labels": 0.65, "as trained, 32 labels": 0.75}.items():
        found[name]["average_precision"] = value
    found["scratch, 16 labels"]["average_precision"], found["scratch, 32 labels"]["average_precision"] = 0.3, 0.8
    text = page(plain(cross_survey.summary(WORLD, [found])))
    assert "the dearest first, in average precision: noise -.300, psf +.010" in text
    assert "Without a label of DES, ADDA does best: .700, +.140. Fine-tuning is above that at n = 32." in text
    assert "beats learning from the same labels alone at n = 16; 96 labels alone reach" in text


def test_a_finished_seed_is_not_computed_again(tmp_path):
    file = tmp_path / "seed-0.json"
    file.write_text(json.dumps(scores(0.0)))
    assert Study(tmp_path / "nothing", WORLD, 0, file).carry_out() == scores(0.0)
    assert not (tmp_path / "nothing").exists()
