import numpy as np
import pytest

from darklens.evaluate import image_quality as quality
from darklens.evaluate.super_resolution import super_resolution_metrics


@pytest.fixture(scope="module")
def lenses():
    """Smooth rings `(n, 1, 40, 48)` of brightness 100, and the generator that draws their noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    centre = rng.normal(size=(2, 12, 1, 1))
    rings = np.exp(-((np.hypot(y - 20 - centre[0], x - 24 - centre[1]) - 9) ** 2) / 12)
    return 100 * rings[:, None].astype(np.float32), rng


def test_psnr_is_that_of_the_noise(lenses):
    truth, rng = lenses
    noisy = truth + 2 * rng.normal(size=truth.shape)
    span = truth.max((1, 2, 3)) - truth.min((1, 2, 3))
    assert np.allclose(quality.psnr(noisy, truth), 20 * np.log10(span / 2), atol=0.3)


def test_ssim_agrees_with_torchmetrics(lenses):
    measure = pytest.importorskip("torchmetrics.functional.image").structural_similarity_index_measure
    torch = pytest.importorskip("torch")
    truth, rng = lenses
    noisy = truth + 5 * rng.normal(size=truth.shape)
    for own, a, b in zip(quality.ssim(noisy, truth), noisy, truth, strict=True):
        pair = (torch.from_numpy(np.asarray(image, dtype=np.float64))[None] for image in (a, b))
        assert own == pytest.approx(float(measure(*pair, data_range=float(b.max() - b.min()))), abs=2e-3)
    assert np.allclose(quality.ssim(truth, truth), 1)


def test_spectra_of_white_noise_are_flat_and_those_of_others_uncorrelated():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 40, 1, 32, 48))
    k, power, other, cross = quality.spectra(3 * a, b)
    assert k.tolist() == list(range(1, 25))
    assert np.allclose(power.mean(0)[4:], 9, rtol=0.15)  # the first rings have few modes
    assert np.abs(cross.mean(0) / np.sqrt(power.mean(0) * other.mean(0)))[4:].max() < 0.15
    assert np.allclose(quality.spectra(2 * b, b)[3], 2 * quality.spectra(b, b)[1])


def test_a_wave_stands_at_its_frequency():
    wave = np.cos(2 * np.pi * 5 * np.arange(32) / 32)[None, None, None, :] * np.ones((1, 1, 32, 1))
    k, power, *_ = quality.spectra(wave, wave)
    assert k[power[0].argmax()] == 5


def test_light_and_place(lenses):
    truth, _ = lenses
    assert np.allclose(quality.flux_bias(1.03 * truth, truth), 0.03, atol=1e-4)
    moved = quality.displacement(np.roll(truth, 1, axis=-2), truth)
    assert np.allclose(moved[:, 1], 0, atol=0.02)
    assert (moved[:, 0] > 0.4).all()  # up, less what has left the bright part


def test_a_sigma_that_is_right_covers_68_percent(lenses):
    truth, rng = lenses
    guess = truth + 3 * rng.normal(size=truth.shape)
    everywhere, bright = quality.coverage(guess, truth, np.full_like(truth, 3.0))
    assert everywhere.mean() == pytest.approx(0.683, abs=0.01)
    assert bright.mean() == pytest.approx(0.683, abs=0.03)
    assert quality.coverage(guess, truth, np.full_like(truth, 1.5))[0].mean() == pytest.approx(0.383, abs=0.01)


def test_numbers_have_intervals_and_gains_are_paired(lenses):
    truth, rng = lenses
    noise = rng.normal(size=(2, *truth.shape))
    answers = {"bicubic": truth + 4 * noise[0], "mine": truth + 2 * noise[0]}
    found = super_resolution_metrics(
        answers, truth, network="mine", recorded=truth + noise[1], sigma=np.full_like(truth, 2.0), n_boot=200
    )
    gain = found["gain_db"]
    assert gain["value"] == pytest.approx(20 * np.log10(2), abs=1e-6)
    assert gain["high"] - gain["low"] < 1e-6 < found["psnr"]["high"] - found["psnr"]["low"]  # paired: the noise is the same
    assert found["methods"]["bicubic"]["gain_db"]["value"] == 0
    assert found["coverage"]["value"] == pytest.approx(0.683, abs=0.01)
    assert 3 < found["spectra"]["k_signal"] < 15
    ratio = found["spectra"]["methods"]["mine"]["ratio"]
    assert ratio["low"][0] <= ratio["value"][0] <= ratio["high"][0]
