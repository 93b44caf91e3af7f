import numpy as np
import pytest

from darklens.evaluate.image_statistics import STATISTICS, image_statistics, pixel_noise, sky


def gaussians(sigma, *, n=40, noise=0.0, flux=1000.0, seed=0, shape=(40, 50)):
    """Gaussians of one width away from the middle, `(n, 2, H, W)`: the second band has twice the light."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    r2 = (x - 20 - rng.normal(size=(n, 1, 1))) ** 2 + (y - 18 - rng.normal(size=(n, 1, 1))) ** 2
    light = flux * np.exp(-r2 / 2 / sigma**2) / (2 * np.pi * sigma**2)
    images = np.stack([light, 2 * light], axis=1)
    return images + rng.normal(0, noise, images.shape) if noise else images


def test_noise_is_measured_beside_light_and_on_any_scale():
    images = gaussians(2.5, noise=1.0)
    found = pixel_noise(images)
    assert found.shape == (40, 2)
    assert found.mean() == pytest.approx(1, rel=0.03)
    assert np.allclose(pixel_noise(300 * images + 7), 300 * found)


def test_sky_is_the_level_of_the_border_whatever_is_in_the_middle():
    images = gaussians(2.0) + np.array([3.0, 5.0])[:, None, None]
    assert np.allclose(sky(images), [3, 5], atol=1e-3)


@pytest.mark.parametrize("sigma", [1.2, 2.0, 3.5])
def test_width_is_the_fwhm_of_a_gaussian_with_or_without_noise(sigma):
    wanted = 2.354820 * sigma
    assert image_statistics(gaussians(sigma))["width"].mean() == pytest.approx(wanted, rel=0.04)  # differences are finite
    noisy = image_statistics(gaussians(sigma, noise=0.5, n=200))["width"]
    assert np.nanmedian(noisy) == pytest.approx(wanted, rel=0.06)
    assert np.isfinite(noisy).all()


def test_light_and_flux_follow_the_objects_alone():
    quiet, loud = (image_statistics(gaussians(2.0, noise=noise, n=200) + 40) for noise in (0.1, 1.0))
    assert np.median(loud["light"]) == pytest.approx(np.median(quiet["light"]), rel=0.02)
    assert np.median(loud["flux"][:, 0]) == pytest.approx(1000, rel=0.05)
    twice = quiet["light"][:, 1] / quiet["light"][:, 0]
    assert np.allclose(twice, 2, rtol=0.02)


def test_broken_pixels_are_counted():
    images = gaussians(2.0, n=3, noise=0.1)
    images[0, 0, :4] = 0
    images[1, 1, :8] = images.max() + 1
    images[2, 0] = 5
    found = image_statistics(images)
    assert found["zero"][0].tolist() == pytest.approx([0.1, 0])
    assert found["saturated"][1].tolist() == pytest.approx([0, 399 / 2000])
    assert found["saturated"][2, 0] == 1
    assert np.isnan(found["width"][2, 0])
    assert np.isnan(found["sky_sigma"][2, 0])


def test_every_statistic_has_its_words():
    assert set(image_statistics(gaussians(2.0, n=2))) == set(STATISTICS)
