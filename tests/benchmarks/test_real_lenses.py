import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.real_lenses_page import page
from sklearn.metrics import roc_auc_score

from benchmarks import real_images, real_lenses
from darklens.errors import InputError
from darklens.units import FWHM_PER_SIGMA


def gaussian(side: int, fwhm: float) -> np.ndarray:
    """A star in the middle, FWHM in pixels."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.exp(-0.5 * (x**2 + y**2) * (FWHM_PER_SIGMA / fwhm) ** 2)


def test_the_noise_of_a_frame_does_not_see_the_galaxy():
    noise = np.array([1.0, 3.0])[:, None, None] * np.random.default_rng(0).normal(size=(2, 90, 96))
    assert real_images.border_noise(noise + 1000 * gaussian(96, 12)[3:-3]) == pytest.approx([1.0, 3.0], rel=0.05)


def test_an_image_looks_as_if_a_worse_telescope_had_taken_it():
    star = np.stack([gaussian(91, 4.0)] * 2) * 1e6
    target, noise = (1.6, 2.0), np.array([5.0, 0.0])
    found = real_images.as_if(star, (0.263, 0.25), ((1.052, 1.052), target), noise, np.random.default_rng(0))
    assert found.shape == (2, 96, 96)
    assert found.sum((1, 2)) == pytest.approx(star.sum((1, 2)), rel=0.01)
    y, x = np.mgrid[:96, :96] - 47.5
    for band, fwhm in zip(found, target, strict=True):
        near = np.hypot(x, y) < 20
        width = np.sqrt((band * (x**2 + y**2))[near].sum() / band[near].sum() / 2) * FWHM_PER_SIGMA * 0.25
        assert width == pytest.approx(fwhm, rel=0.03)
    assert real_images.border_noise(found) == pytest.approx([5.0, 0.0], rel=0.05, abs=1e-3)
    with pytest.raises(InputError, match=r"seeing of 0\.9 arcsec is sharper than the 1\.052"):
        real_images.as_if(star, (0.263, 0.25), ((1.052,), (0.9,)), noise, np.random.default_rng(0))


def test_other_objects_are_found_away_from_the_middle_and_the_edge():
    image = np.random.default_rng(1).normal(size=(3, 120, 100)).astype(np.float32)
    for row, column in ((60, 50), (30, 70), (95, 25), (4, 90)):
        image[:, row - 4 : row + 5, column - 4 : column + 5] += 60 * gaussian(9, 4)
    found = real_images.others(image, 40, 16)
    assert found.shape == (2, 3, 40, 40)
    assert [tuple(int(k) for k in np.unravel_index(one[1].argmax(), (40, 40))) for one in found] == [(20, 20), (20, 20)]
    assert real_images.others(image[:, :40, :40] * 0 + image[:, 40:80, :40], 40, 16).shape == (0, 3, 40, 40)


def test_no_galaxy_stands_in_two_splits_and_each_is_tested_once():
    groups = np.random.default_rng(2).choice(1000, 46, replace=False).repeat(3)
    tested = []
    for fold in range(4):
        splits = np.array(real_lenses.splits_of(groups, fold, 4))
        sides = [set(groups[splits == name]) for name in ("train", "val", "test")]
        assert sum(map(len, sides)) == 46
        assert min(map(len, sides)) > 3
        assert set(groups[real_lenses.folds_of(groups, 4) == fold]) == sides[2]
        tested += sides[2]
    assert sorted(tested) == sorted(set(groups))


def test_a_system_is_found_where_few_non_lenses_score_as_high():
    scored = real_images.Scored(["a", "b"], np.zeros((2, 1, 4, 4)))
    none, by = np.array([0.9, 0.6, *[0.1] * 18]), np.array([0, 0, *[1] * 18])
    first, second = real_lenses.ranked(scored, np.array([[0.5, 0.1], [0.7, 0.2]]), none, by)
    assert first == {
        "name": "a",
        "probability": pytest.approx(0.6),
        "low": 0.5,
        "high": 0.7,
        "rank": 3,
        "non_lenses": 20,
        "found": True,
    }
    assert (second["rank"], second["found"]) == (3, True)
    assert not real_lenses.ranked(scored, np.array([[0.5, 0.1], [0.05, 0.2]]), none, by)[0]["found"]


def result(**more) -> dict:
    labels, groups, folds = np.array(["nonlens", "lens"] * 20), np.arange(40) // 2, np.arange(40) // 20
    lens = np.where(labels == "lens", 0.8, np.linspace(0, 0.6, 40))
    systems = real_lenses.ranked(real_images.Scored(["x"], np.zeros((1, 1, 4, 4))), np.array([[0.4], [0.5]]), lens[::2], folds[::2])
    return {
        "galaxies": 20,
        "rows": 40,
        "pixels": 36,
        "held_out": real_lenses.held_out(labels, lens, groups, folds),
        "systems": systems,
    } | more


def test_what_networks_reach_on_galaxies_that_they_have_not_seen():
    found = result()["held_out"]
    assert found["auc"]["value"] == 1.0
    assert (found["arcs_found"], found["arcs"], found["non_lenses"], found["non_lenses_above_half"]) == (1.0, 20, 20, 3)


def test_the_interval_is_over_galaxies_and_not_over_what_is_painted_on_them():
    rng = np.random.default_rng(3)
    is_lens, galaxies = np.arange(400) % 4 > 0, np.arange(400) // 4 % 20
    lens = is_lens * 0.5 + rng.normal(size=20)[galaxies]
    few = real_lenses.auc_over_galaxies(is_lens, lens, galaxies, galaxies % 2)
    many = real_lenses.auc_over_galaxies(is_lens, lens, np.arange(400), galaxies % 2)
    each = [roc_auc_score(is_lens[galaxies % 2 == k], lens[galaxies % 2 == k]) for k in (0, 1)]
    assert few["value"] == many["value"] == pytest.approx(np.mean(each))
    assert few["low"] < few["value"] < few["high"] <= 1
    assert (few["n"], many["n"]) == (20, 400)


def test_the_page_says_what_was_found_and_what_not():
    content = {"effort": real_lenses.Effort().__dict__, "found": 0.1, "commit": "abc", "machine": {}}
    content["instruments"] = {"des": result(), "panstarrs": result(others=[0.7, 0.2]), "euclid-vis": result(galaxies=0)}
    text = page(json.loads(json.dumps(content)))
    assert "0 of 1 [0%, 98%]" in text
    assert "| x | 0.45 | 0.40 to 0.50 | 4 of 21 | no |" in text
    assert "1 of 2 score above 1/2, the highest 0.70" in text
    assert "**Euclid VIS**: 0 of 1 found" in text


def test_vis_sees_the_same_sky_in_one_band():
    preset = real_images.vis_preset()
    scene = preset.draw(2, 5)
    images, truth = preset.images(scene)
    assert images.shape == (2, 1, 64, 64)
    assert np.isfinite(images).all()
    assert ((truth["seeing"] > 0.14) & (truth["seeing"] < 0.2)).all()


def test_wrong_input_is_one_sentence(tmp_path, capsys):
    assert real_lenses.main(["--only", "dess", "--tiny"]) == 2
    assert "did you mean 'des'" in capsys.readouterr().err
    assert real_lenses.main(["--data", str(tmp_path / "none"), "--tiny"]) == 2
    assert "none is no folder: give --data" in capsys.readouterr().err


def test_the_real_images_are_there(shared_data: Path):
    systems, noise = real_images.pan_starrs_systems(shared_data)
    assert systems.images.shape == (13, 3, 120, 120)
    assert "COOLJ1241_2219" in systems.names
    assert noise.shape == (13, 3)
    assert (noise > 3).all()
    galaxies = real_images.des_galaxies(shared_data)
    assert galaxies.shape == (3, 91, 91)
    worse = real_images.as_pan_starrs(galaxies.select(rows=[0, 1, 2]), noise, 1)
    assert worse.shape == (3, 96, 96)
    levels = np.stack([real_images.border_noise(image) for image in worse.images()])
    assert ((levels > 0.9 * noise.min(0)) & (levels < 1.6 * noise.max(0))).all()
    lens = real_images.euclid_lens(shared_data, "VIS_BGSUB", 64, 0.1)
    assert lens.images.shape == (1, 1, 64, 64)
    row, column = np.unravel_index(lens.images[0, 0].argmax(), (64, 64))
    assert abs(row - 32) + abs(column - 32) < 12
