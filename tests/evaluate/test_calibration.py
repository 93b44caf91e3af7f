import numpy as np
import pytest
from scipy.special import softmax

from darklens.errors import InputError
from darklens.evaluate import classification_metrics, fit_temperature

CLASSES = ("no_sub", "cdm", "axion")


def drawn(n, seed, temperature=1.0):
    """Logits whose softmax at `temperature` are the true probabilities, and labels drawn from those."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, 3))
    labels = (softmax(logits, axis=1).cumsum(1) > rng.random((n, 1))).argmax(1)
    return temperature * logits, labels


def error(logits, labels, n_boot=2):
    return classification_metrics(softmax(logits, axis=1), labels, CLASSES, n_boot=n_boot)["ece"]


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    y = np.array([0, 1, 0, 1])
    found = classification_metrics(p, y, ("a", "b"), n_boot=5)["ece"]["value"]
    assert found == pytest.approx((abs(1 - 1.8) + abs(1 - 0.6) + abs(1 - 0.8)) / 4)


@pytest.mark.parametrize(("temperature", "n"), [(1.0, 300), (1.3, 1000), (2.0, 300)])
def test_the_interval_holds_the_true_error(temperature, n):
    """In at least 80% of draws; a percentile interval holds it in none of the first."""
    truth = error(*drawn(300_000, 99, temperature))["value"] if temperature != 1 else 0.0
    found = [error(*drawn(n, seed, temperature), n_boot=200) for seed in range(100)]
    assert np.mean([e["low"] <= truth <= e["high"] for e in found]) > 0.8


def test_an_overconfident_classifier_is_not_called_calibrated():
    assert error(*drawn(3000, 5, 1.5), n_boot=200)["low"] > 0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_is_recovered(temperature):
    logits, labels = drawn(20_000, 4, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert error(logits / found, labels)["value"] < 0.02


def test_temperature_has_the_smallest_loss():
    logits, labels = drawn(2000, 6, 1.7)
    losses = {
        t: classification_metrics(softmax(logits / t, axis=1), labels, CLASSES, n_boot=2)["loss"]["value"]
        for t in np.array([0.98, 1.0, 1.02]) * fit_temperature(logits, labels)
    }
    assert sorted(losses.values())[0] == list(losses.values())[1]


def test_images_without_a_mistake_do_not_make_it_certain():
    labels = np.arange(1500) % 3
    logits = 9.0 * np.eye(3)[labels]  # never wrong; the truth, as the network says it, is once in 4,000
    assert 0.4 < fit_temperature(logits, labels) < 1
    assert softmax(logits / fit_temperature(logits, labels), axis=1).max() < 1 - 1e-8


@pytest.mark.parametrize("logits", [np.zeros((0, 3)), np.full((4, 3), np.nan)])
def test_nothing_to_fit_is_said(logits):
    with pytest.raises(InputError, match="temperature"):
        fit_temperature(logits, np.zeros(len(logits), dtype=int))
