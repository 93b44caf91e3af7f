"""Distances between two sets of images: what they are for sets of one kind, and which of them each fault raises."""

import numpy as np
import pytest

from darklens.evaluate.generated import (
    compare_features,
    compare_pixels,
    compare_spectra,
    memorisation,
    nearest,
    neighbourhoods,
    power_spectrum,
    whitened,
)

RNG = np.random.default_rng(0)
REAL, HELD, ALIKE = (RNG.normal(size=(150, 6)) * [1, 2, 3, 4, 5, 6] for _ in range(3))


@pytest.fixture(scope="module")
def alike():
    return compare_features(ALIKE, REAL, HELD)


def test_one_kind_is_at_the_floor(alike):
    assert alike["frechet_ratio"]["low"] < 1 < alike["frechet_ratio"]["high"]
    assert alike["two_sample_auc"]["low"] < 0.5 < alike["two_sample_auc"]["high"]
    for name in ("precision", "recall", "density", "coverage"):
        assert abs(alike[name]["value"] - alike[f"{name}_floor"]["value"]) < 0.12
        assert alike[name]["low"] <= alike[name]["value"] <= alike[name]["high"]


def test_a_shift_is_far_from_the_floor():
    found = compare_features(ALIKE + np.array([0, 3, 0, 0, 0, 0]), REAL, HELD)
    assert found["frechet"]["low"] > found["frechet_floor"]["high"]
    assert found["frechet_ratio"]["low"] > 3
    assert found["two_sample_auc"]["low"] > 0.6


def test_precision_sees_what_is_not_real_and_recall_what_is_missing():
    narrow, wide = neighbourhoods(0.1 * REAL[::-1], REAL)[0], neighbourhoods(5 * ALIKE, REAL)[0]
    assert narrow["precision"] > 0.95
    assert narrow["recall"] < 0.3
    assert narrow["coverage"] < 0.5
    assert wide["precision"] < 0.5
    assert neighbourhoods(REAL, REAL)[0] == pytest.approx({"precision": 1, "recall": 1, "density": 1.2, "coverage": 1}, abs=0.21)


def test_whitened_directions_have_unit_variance_in_the_real_ones():
    real, made = whitened(REAL, ALIKE)
    assert np.allclose(np.cov(real.T), np.eye(real.shape[1]) * len(REAL) / (len(REAL) - 1), atol=1e-8)
    assert 0.5 < made.std() < 2


def test_power_of_white_noise_is_its_variance_and_of_a_wave_at_its_number():
    k, power = power_spectrum(RNG.normal(0, 3, (200, 32, 48)))
    assert np.allclose(power.mean(0), 9, rtol=0.12)
    y = np.arange(32)
    _, wave = power_spectrum(np.broadcast_to(np.sin(2 * np.pi * 5 * y / 32)[:, None], (32, 32))[None])
    assert k[wave[0].argmax()] == 5


def test_spectra_and_pixels_see_smoothing_and_scale():
    real, held, made = RNG.normal(size=(3, 60, 24, 24))
    same, twice = compare_spectra(made, real, held), compare_spectra(2 * made, real, held)
    assert same["spectrum_deviation"]["value"] < 0.05
    assert twice["spectrum_deviation"]["value"] == pytest.approx(2 * np.log10(2), abs=0.05)
    assert np.mean(twice["spectrum"]["ratio"]) == pytest.approx(4, rel=0.1)
    smooth = compare_spectra((made + np.roll(made, 1, -1)) / 2, real, held)["spectrum"]
    assert smooth["ratio"][0] > 0.8 > 0.7 > smooth["ratio"][-1]
    assert compare_pixels(made, real, held)["histogram_distance"]["value"] < 0.03
    found = compare_pixels(made + 0.5, real, held)
    assert found["histogram_distance"]["value"] == pytest.approx(0.197, abs=0.02)  # 2 Phi(0.25) - 1
    assert found["histogram_distance_floor"]["high"] < 0.05


def test_nearest_finds_a_turned_and_mirrored_copy():
    training = RNG.normal(size=(40, 8, 8))
    copies = np.stack([np.rot90(training[7]), training[31].T + 0.01, training[3][::-1]])
    where, distance = nearest(copies, training, chunk=16)
    assert where.tolist() == [7, 31, 3]
    assert np.allclose(distance, [0, 0.01, 0], atol=1e-6)


def test_copies_are_called_memorised_and_new_images_are_not():
    held = np.abs(RNG.normal(1, 0.1, 400))
    assert memorisation(np.full(50, 0.1), held)["memorised"]["value"] == 1
    fresh = memorisation(np.abs(RNG.normal(1, 0.1, 400)), held)
    assert fresh["memorised"]["value"] < 0.05
    assert fresh["neighbour_ratio"]["low"] < 1 < fresh["neighbour_ratio"]["high"]
