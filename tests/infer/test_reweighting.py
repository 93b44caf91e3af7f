"""Importance weights from the exact likelihood."""

import numpy as np
import pytest

from darklens.errors import InputError
from darklens.evaluate.posterior import effective_sample_size, weighted_quantile
from darklens.infer.reweighting import Reweighting
from darklens.simulate import preset

NAMES = ("log10_m_axion", "vortex_angle", "source_x", "source_y")


def drawn(label: str, rows: int, seed: int = 7):
    """Images `(n, 1, H, W)` of one class of model-iii-noisy, and their truth."""
    chosen = preset("model-iii-noisy")
    scene = chosen.population.draw(rows, seed, labels=(label,) * rows)
    images, truth = chosen.images(scene)
    return chosen, images, truth


def test_the_likelihood_is_largest_at_the_truth():
    chosen, images, truth = drawn("axion", 2)
    weigh = Reweighting(chosen, "axion", NAMES)
    for i in range(2):
        true = np.array([truth[name][i] for name in NAMES])
        near = true + np.array([0.3, 0.3, 0.02, 0.02]) * np.random.default_rng(0).standard_normal((40, 4))
        samples = np.concatenate([true[None], near])[None]
        weights = weigh.weights(images[i : i + 1], samples, np.zeros(samples.shape[:2]))[0]
        assert weights.argmax() == 0
        assert weights[0] > -0.5 * 64**2 * 1.1  # half a deviance of about one a pixel: the scene is the very one


def test_a_wide_proposal_becomes_the_posterior():
    chosen, images, truth = drawn("no_sub", 1)
    names = ("source_x", "source_y")
    rng = np.random.default_rng(0)
    true = np.array([truth[name][0] for name in names])
    scale = 3e-4
    samples = true + scale * rng.standard_normal((1, 1500, 2))
    log_q = (-0.5 * ((samples - true) / scale) ** 2).sum(-1)
    weights = Reweighting(chosen, "no_sub", names).weights(images, samples, log_q)[0]
    assert 20 < effective_sample_size(weights) < 1200
    low, high = weighted_quantile(samples[0, :, 0], np.exp(weights - weights.max()), (0.0005, 0.9995))
    assert low < true[0] < high
    assert high - low < 6 * scale  # narrower than what was proposed


@pytest.mark.parametrize(("label", "names"), [("no_sub", ("source_x", "source_y")), ("axion", NAMES)])
def test_a_proposal_far_too_wide_is_moved_to_the_posterior(label, names):
    chosen, images, truth = drawn(label, 1)
    rng = np.random.default_rng(0)
    true = np.array([truth[name][0] for name in names])
    scale = np.array([0.3, 0.4, 0.03, 0.03])[-len(names) :]
    shifted = true + 0.5 * scale
    samples = shifted + scale * rng.standard_normal((1, 400, len(names)))
    log_q = (-0.5 * ((samples - shifted) / scale) ** 2).sum(-1)
    weigh = Reweighting(chosen, label, names)
    assert effective_sample_size(weigh.weights(images, samples, log_q)[0]) < 20
    moved, weights = weigh(images, samples, log_q)
    assert effective_sample_size(weights[0]) > 100
    for k, name in enumerate(names):
        values = moved[0, :, k] % np.pi if name == "vortex_angle" else moved[0, :, k]
        low, high = weighted_quantile(values, np.exp(weights[0] - weights[0].max()), (0.0005, 0.9995))
        assert low <= (true[k] % np.pi if name == "vortex_angle" else true[k]) <= high
        assert high - low < scale[k]


def test_draws_outside_the_prior_have_no_weight():
    chosen, images, truth = drawn("no_sub", 1)
    samples = np.array([[[truth["source_x"][0], truth["source_y"][0]], [9.0, 0.0]]])
    weights = Reweighting(chosen, "no_sub", ("source_x", "source_y")).weights(images, samples, np.zeros((1, 2)))[0]
    assert np.exp(weights[1] - weights[0]) == 0


@pytest.mark.parametrize(
    ("name", "label", "names", "match"),
    [
        ("model-iii-noisy", "axion", ("log10_m_axion",), "lacks source_x"),
        ("model-iii-noisy", "no_sub", ("source_x", "source_y", "f_sub"), "has f_sub"),
        ("model-iii-noisy", "cdm", NAMES, "no truth columns"),
        ("common-test", "no", NAMES, "leave --reweight out"),
    ],
)
def test_what_cannot_be_weighed_is_one_sentence(name, label, names, match):
    with pytest.raises(InputError, match=match):
        Reweighting(preset(name), label, names)


def test_images_without_noise_have_no_likelihood():
    with pytest.raises(InputError, match="no closed form"):
        Reweighting(preset("model-iii"), "axion", NAMES)(np.zeros((1, 1, 64, 64)), np.zeros((1, 1, 4)), np.zeros((1, 1)))
