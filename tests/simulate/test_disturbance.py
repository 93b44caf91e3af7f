"""What substructure changes, and where its masses are."""

import numpy as np
import pytest

from darklens.simulate import disturbance, preset, row_of
from darklens.simulate.disturbance import heaviest


@pytest.mark.parametrize("name", ["model-iii", "model-iii-noisy", "common-test", "subhalos"])
def test_smooth_lenses_are_not_disturbed_and_the_others_are(name):
    chosen = preset(name)
    scene = chosen.draw(len(chosen.classes), 3)
    found = disturbance(chosen, scene, chosen.images(scene)[1])
    assert found.difference.shape == found.smooth.shape == (len(scene), *chosen.shape)
    for i, n in enumerate(scene.n_perturbers):
        assert (np.abs(found.difference[i]).max() > 0) == bool(n)
        assert bool(len(found.positions[i])) == bool(n)


def test_the_heaviest_masses_hold_half_and_one_fewer_does_not():
    scene = preset("model-iii").draw(3, 11)
    mass = scene.substructure[0].theta_E[1].square().numpy()
    place = np.stack([scene.substructure[0].center_x[1].numpy(), scene.substructure[0].center_y[1].numpy()], 1)
    found = heaviest(scene, 1)
    own = np.array([mass[np.abs(place - p).sum(1).argmin()] for p in found])
    assert own.sum() >= 0.5 * mass.sum()
    assert own.sum() - own.min() < 0.5 * mass.sum()
    assert len(heaviest(scene, 2)) == 100  # a string of equal masses stands or falls together
    assert heaviest(scene, 0).shape == (0, 2)


def test_names_of_rows_are_read_back():
    assert row_of("model-iii-noisy-72-00000031") == ("model-iii-noisy", 72, 31)
    assert row_of("nothing-72-00000031") is None
    assert row_of("model-iii/no_sub/12") is None
