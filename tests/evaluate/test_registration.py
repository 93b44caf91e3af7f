import numpy as np
import pytest

from darklens.evaluate.registration import measured_shift, shifted


def ring(height=48, width=56, dy=0.0, dx=0.0):
    """A ring with a knot, away from the middle: sampled well enough to be shifted."""
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - height / 2 - dy - 1.3, x - width / 2 - dx + 2.1
    return np.exp(-((np.hypot(y, x) - 9) ** 2) / 8) + 2 * np.exp(-((y - 9) ** 2 + (x - 1) ** 2) / 6)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (0.37, -1.61), (-3.2, 4.05), (0.004, 0.5)])
def test_a_shift_is_measured_to_a_fraction_of_a_pixel(dy, dx):
    found = measured_shift(5 * ring(dy=dy, dx=dx) + 3, ring())
    assert np.allclose(found, (dy, dx), atol=0.01)


def test_noise_limits_it_and_nothing_else_does():
    rng = np.random.default_rng(1)
    errors = [
        np.subtract(measured_shift(ring(dy=0.3, dx=0.7) + 0.1 * rng.normal(size=(48, 56)), ring()), (0.3, 0.7)) for _ in range(20)
    ]
    assert np.abs(np.mean(errors, 0)).max() < 0.03
    assert np.std(errors) < 0.08


@pytest.mark.parametrize("shape", [(48, 56), (47, 55)])
def test_what_is_shifted_and_shifted_back_is_the_image(shape):
    image = ring(*shape)
    assert np.allclose(shifted(image, 0.4, -1.3), ring(*shape, dy=0.4, dx=-1.3), atol=2e-3)
    assert np.allclose(shifted(shifted(image, 0.4, -1.3), -0.4, 1.3), image, atol=1e-3)


def test_an_image_without_contrast_has_no_shift():
    assert measured_shift(np.ones((8, 8)), ring(8, 8)) == (0.0, 0.0)
