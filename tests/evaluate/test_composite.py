import numpy as np
import pytest

from darklens.errors import InputError
from darklens.evaluate.composite import bands_for_colour, colour, grey, pictures, white_balance


def galaxy(strength, noise=1.0, seed=0, size=48):
    """A galaxy with these fluxes in three bands on a sky of 10."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    light = np.exp(-(x**2 + y**2) / 2 / 4**2)
    return np.array(strength)[:, None, None] * light + rng.normal(10, noise, (3, size, size))


def test_pictures_are_pictures():
    for picture in (grey(galaxy([100, 50, 20])[0]), colour(galaxy([100, 50, 20])), colour(np.zeros((3, 9, 9)))):
        assert picture.shape[-1] == 3
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert np.isfinite(picture).all()


def test_faint_light_comes_up_beside_a_bright_galaxy():
    image = galaxy([1000, 1000, 1000])
    image[:, 30:33, 30:33] += 30  # 30 sigma, 3% of the peak
    before, after = (colour(i)[31, 31].mean() for i in (galaxy([1000, 1000, 1000]), image))
    linear = 30 / 1000
    assert after - before > 3 * linear


def test_the_picture_does_not_depend_on_unit_or_sky():
    image = galaxy([100, 50, 20])
    assert np.allclose(colour(7 * image - 300), colour(image), atol=1e-6)
    assert np.allclose(grey(7 * image[0] - 300), grey(image[0]), atol=1e-6)


def test_hues_stay_where_it_is_bright():
    picture = colour(galaxy([4000, 2000, 1000], noise=0.1))
    for radius in (0, 4, 8):
        red, green, blue = picture[24, 24 + radius]
        assert green / red == pytest.approx(0.5, abs=0.05)
        assert blue / red == pytest.approx(0.25, abs=0.05)


def test_noise_has_no_hue():
    picture = colour(np.random.default_rng(0).normal(size=(3, 48, 48)) * np.array([1, 1, 3])[:, None, None])
    bright = colour(galaxy([100, 20, 20]))[24, 24]
    spread = np.ptp(picture, axis=-1)[picture.mean(-1) > 0.3].mean()
    assert spread < 0.5 * np.ptp(bright)


def test_one_white_balance_keeps_differences_between_images():
    images = [galaxy([100, 10, 1], noise=0.01, seed=i) for i in range(5)] + [galaxy([100, 10, 5], noise=0.01)]
    balance = white_balance(images)
    typical, blue = colour(images[0], balance)[24, 24], colour(images[-1], balance)[24, 24]
    assert np.ptp(typical) < 0.05
    assert blue[2] > 1.5 * blue[0]


def test_a_bright_star_beside_it_does_not_hide_a_candidate():
    image = galaxy([100, 100, 100])
    with_star = image.copy()
    with_star[:, 2:6, 2:6] += 1e5
    assert colour(with_star)[24, 24].mean() > 0.9 * colour(image)[24, 24].mean()


def test_bands_are_chosen_by_name_or_number():
    assert bands_for_colour(None, None, 2) is None
    assert bands_for_colour(None, None, 5) == (4, 2, 0)
    assert bands_for_colour(["i", "r", "g"], ["g", "r", "i"], 3) == (2, 1, 0)
    assert bands_for_colour([0, "1", "2"], None, 3) == (0, 1, 2)
    with pytest.raises(InputError, match="are 2 bands: give three"):
        bands_for_colour(["i", "r"], ["g", "r", "i"], 3)
    with pytest.raises(InputError, match=r"unknown band 'z'.*g, r, i"):
        bands_for_colour(["z", "r", "g"], ["g", "r", "i"], 3)


def test_three_bands_are_shown_in_colour_with_one_white_balance_and_fewer_as_they_are():
    blue, red, single = galaxy([10, 50, 100]), galaxy([100, 50, 10]), galaxy([1, 2, 3])[:1]
    shown = pictures([blue, single, red])
    assert [picture.shape for picture in shown] == [(48, 48, 3), (48, 48), (48, 48, 3)]
    assert np.array_equal(shown[1], single[0])
    red_end, _, blue_end = shown[0][20:28, 20:28].mean((0, 1))
    assert red_end > blue_end  # the last band is red
    balance = white_balance([blue[::-1], red[::-1]])
    np.testing.assert_array_equal(shown[2], colour(red[::-1], balance))
