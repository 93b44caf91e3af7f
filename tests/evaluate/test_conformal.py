import numpy as np
import pytest
from scipy.stats import binom

from darklens.errors import InputError
from darklens.evaluate.conformal import conformal_metrics, conformal_scores, conformal_threshold, prediction_sets
from darklens.evaluate.proportion import proportion


def classifier(n, seed, sharpness=1.5):
    """Probabilities that are wrong in their own way, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + sharpness * np.eye(3)[labels]
    p = np.exp(2 * logits)  # overconfident
    return p / p.sum(1, keepdims=True), labels


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_the_promised_coverage_holds_over_many_draws_and_is_not_wasted(coverage):
    held = []
    for seed in range(300):
        p, labels = classifier(200, 2 * seed)
        q = conformal_threshold(conformal_scores(p, labels), coverage)
        other, truth = classifier(200, 2 * seed + 1)
        sets = prediction_sets(other, q)
        held.append(sets[np.arange(200), truth].mean())
    error = np.std(held) / np.sqrt(300)
    assert coverage - 3 * error < np.mean(held) < coverage + 1 / 201 + 3 * error + 0.002


def test_a_model_that_is_right_more_often_gives_sets_of_one_class():
    p, labels = classifier(2000, 0, sharpness=8)
    sets = prediction_sets(p, conformal_threshold(conformal_scores(p, labels), 0.9))
    assert (sets.sum(1) == 1).all()
    assert np.array_equal(sets.argmax(1), p.argmax(1))


def test_thresholds_are_the_rank_of_the_paper():
    scores = np.arange(1, 10) / 10  # 9 of them
    assert conformal_threshold(scores, 0.9) == 0.9  # ceil(10 * 0.9) = 9th
    assert conformal_threshold(scores, 0.5) == 0.5
    assert conformal_threshold(scores, 0.95) == np.inf
    with pytest.raises(InputError, match=r"coverage 1.0 is outside 0 to 1"):
        conformal_threshold(scores, 1.0)


def test_metrics_count():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], bool)
    found = conformal_metrics(sets, np.array([0, 2, 2, 1]), 0.9)
    assert found["coverage"]["value"] == 0.75
    assert found["size"] == 7 / 4
    assert found["sizes"] == {"1": 2, "2": 1, "3": 1}


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 300), (40, 40), (17, 40)])
def test_the_interval_of_a_fraction_is_where_its_binomial_tails_are_2_5_percent(hits, n):
    found = proportion(hits, n)
    assert found["low"] <= found["value"] <= found["high"]
    if hits < n:
        assert binom.cdf(hits, n, found["high"]) == pytest.approx(0.025)
    if hits:
        assert binom.sf(hits - 1, n, found["low"]) == pytest.approx(0.025)


def test_fractions_of_nothing_are_refused():
    with pytest.raises(InputError, match="is no fraction"):
        proportion(0, 0)
