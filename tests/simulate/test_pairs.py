import numpy as np
import pytest

from darklens.data import Table, read_pairs
from darklens.errors import InputError
from darklens.evaluate import image_quality as quality
from darklens.simulate import PAIRS, PairPreset, simulate_pairs

every_preset = pytest.mark.parametrize("preset", PAIRS.values(), ids=list(PAIRS))


@every_preset
def test_both_cameras_see_the_same_light_with_noise_of_their_own(preset):
    scene = preset.draw(3, seed=4)
    high, low, truth = (preset.images(scene, side) for side in ("HR", "LR", "TRUTH"))
    assert low.shape[1:] == preset.shape_of("LR")
    assert high.shape == truth.shape == (3, *preset.shape_of("HR"))
    light = [image.sum((1, 2, 3)) for image in (low, truth)]
    assert np.allclose(light[0], light[1], rtol=0.05)  # a coarse pixel holds what its fine ones hold
    binned = (high - truth).reshape(3, 1, low.shape[2], preset.scale, low.shape[3], preset.scale).sum((3, 5))
    coarse_truth = truth.reshape(*binned.shape[:3], preset.scale, low.shape[3], preset.scale).sum((3, 5))
    corner = np.s_[:, :, :12, :12]
    both = np.corrcoef(binned[corner].ravel(), (low - coarse_truth)[corner].ravel())[0, 1]
    assert abs(both) < 0.2  # 432 pixels: 0.05 by chance
    first = [noise.reshape(3, -1)[:, :60].ravel() for noise in (high - truth, low - coarse_truth)]
    assert abs(np.corrcoef(*first)[0, 1]) < 0.3  # nor are the same numbers drawn in their order
    assert np.abs(quality.displacement(np.kron(low, np.ones((2, 2))), truth)).max() < 0.3


def test_rows_are_a_function_of_seed_and_row(tmp_path):
    preset = PAIRS["sr-pairs-64"]
    whole, part = preset.draw(4, seed=9), preset.draw(2, seed=9, start=2)
    for side in ("HR", "LR"):
        assert np.array_equal(preset.images(whole, side)[2:], preset.images(part, side))
    assert not np.array_equal(preset.images(whole, "LR"), preset.images(preset.draw(4, seed=8), "LR"))


def test_a_folder_of_pairs_is_three_tables_that_belong_together(tmp_path):
    counted = []
    folder = simulate_pairs("sr-pairs-64", 3, out=tmp_path / "pairs", seed=2, progress=counted.append)
    tables = {side: Table.open(folder / side) for side in ("HR", "LR", "TRUTH")}
    assert len({tuple(table.ids.tolist()) for table in tables.values()}) == 1
    assert sum(counted) == 9
    assert tables["LR"].pixel_scale == 2 * tables["HR"].pixel_scale
    assert tables["LR"].manifest["gain"] == 0.25
    pairs = read_pairs(folder)
    assert np.array_equal(pairs.high, tables["HR"].images())
    assert np.array_equal(pairs.truth, tables["TRUTH"].images())
    assert pairs.scale == 2


def test_cameras_that_do_not_fit_are_refused():
    one = PAIRS["sr-pairs"]
    with pytest.raises(InputError, match="the first must be a whole multiple"):
        PairPreset("x", "", one.population, one.low, one.high, (150, 150))
    with pytest.raises(InputError, match="a side of 151"):
        PairPreset("x", "", one.population, one.high, one.low, (151, 151))
