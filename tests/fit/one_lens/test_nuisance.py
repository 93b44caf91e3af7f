"""Changes of the image as a part of the noise."""

import numpy as np
import pytest

from darklens.fit.one_lens.nuisance import Nuisance


def test_whitened_images_have_the_chi2_of_the_whole_covariance():
    generator = np.random.default_rng(0)
    changes, widths = generator.standard_normal((50, 3)) * [1, 10, 1e-3], np.array([0.3, 2.0, 5.0])
    images = generator.standard_normal((50, 4))
    covariance = np.eye(50) + (changes * widths**2) @ changes.T
    whitened = Nuisance.of(changes, widths).whitened(images)
    assert whitened.T @ whitened == pytest.approx(images.T @ np.linalg.inv(covariance) @ images)


def test_a_change_that_does_nothing_leaves_images_as_they_are():
    images = np.random.default_rng(0).standard_normal((20, 2))
    assert Nuisance.of(np.zeros((20, 2)), np.ones(2)).whitened(images) == pytest.approx(images)
