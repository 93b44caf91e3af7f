import numpy as np

from darklens.simulate import PRESETS
from darklens.train.inference.predictive import pinned_scene


def test_a_number_is_pinned_and_the_rest_of_the_row_stays_as_it_was():
    preset = PRESETS["lens-finding"]  # its rows are drawn together
    drawn = preset.population.draw(1, 1, 3, labels=("lens",)).truth
    truth = pinned_scene(preset, 1, 3, "lens", {"lens_mag": 19.0}).truth
    assert truth["lens_mag"] == 19.0
    same = [name for name in truth if name not in ("lens_mag", "lens_R_sersic")]  # a galaxy's radius goes with its magnitude
    assert all(np.array_equal(truth[name], drawn[name], equal_nan=True) for name in same)
