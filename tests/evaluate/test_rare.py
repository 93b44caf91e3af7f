import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as roc

from darklens.errors import InputError
from darklens.evaluate.metrics import paired_difference
from darklens.evaluate.rare import Found, purity_curve, rare_differences, rare_metrics


def search(n=3000, positives=60, seed=0, strength=2.0, ties=False):
    """Scores of a search whose positives are `strength` deviations better."""
    rng = np.random.default_rng(seed)
    positive = np.zeros(n, bool)
    positive[rng.permutation(n)[:positives]] = True
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + strength * positive)))
    return np.round(scores, 2) if ties else scores, positive


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_areas_and_rates_are_those_of_scikit_learn(ties, weighted):
    scores, positive = search(ties=ties)
    rng, counts = np.random.default_rng(1), np.ones(len(scores))
    for members in (np.flatnonzero(positive), np.flatnonzero(~positive)) if weighted else ():
        counts[members] = np.bincount(rng.integers(0, len(members), len(members)), minlength=len(members))
    found = {key: value[0] for key, value in Found(scores, positive).figures(counts[None]).items()}
    assert found["auc"] == pytest.approx(roc_auc_score(positive, scores, sample_weight=counts))
    assert found["average_precision"] == pytest.approx(average_precision_score(positive, scores, sample_weight=counts))
    false, true, _ = roc(positive, scores, sample_weight=counts, drop_intermediate=False)
    for rate in (1e-2, 1e-3):
        assert found[f"tpr_at_fpr_{rate:g}"] == pytest.approx(true[false <= rate + 1e-12].max())


def test_the_challenges_figures_stop_before_a_first_and_a_tenth_false_positive():
    positive = np.array([1, 1, 0, 1, 0, 0, 1] + [0] * 20 + [1]).astype(bool)
    metrics = rare_metrics(np.linspace(0.99, 0.01, len(positive)), positive, n_boot=20)
    assert metrics["tpr_0"]["value"] == pytest.approx(2 / 5)
    assert metrics["tpr_10"]["value"] == pytest.approx(4 / 5)
    tied = positive.astype(float) * 0 + 0.5
    assert rare_metrics(tied, positive, n_boot=5)["tpr_0"]["value"] == 0  # no order, nothing found first


def test_a_rate_below_one_negative_is_null_with_its_reason():
    metrics = rare_metrics(*search(n=3000), n_boot=10)
    assert metrics["tpr_at_fpr"]["0.0001"] is None
    assert metrics["tpr_at_fpr"]["0.001"]["value"] > 0
    assert metrics["notes"] == [
        "a false positive rate of 0.0001 is less than one of 2,940 negatives: its figure is null, and needs 10,000"
    ]


def test_decisions_at_a_threshold_are_counted():
    positive = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    p = np.array([0.9, 0.6, 0.2, 0.7, 0.1, 0.1, 0.1, 0.1])
    at = rare_metrics(p, positive, thresholds={"f1": 0.6}, n_boot=50)["at"]["f1"]
    assert (at["precision"]["value"], at["recall"]["value"], at["f1"]["value"]) == (pytest.approx(2 / 3),) * 3
    assert at["threshold"] == 0.6
    assert at["recall"]["low"] < 2 / 3 < at["recall"]["high"]


def test_purity_is_that_of_a_survey_and_its_interval_that_of_the_false_alarms():
    positive = np.repeat([True, False], [100, 10_000])
    scores = np.concatenate([np.linspace(0.5, 1, 100), np.full(10, 0.745), np.linspace(0.4, 0, 9990)])
    points = {round(p["completeness"]["value"], 2): p["purity"] for p in purity_curve(scores, positive, prevalence=1e-3)["curve"]}
    assert points[0.5]["value"] == 1
    assert points[0.5]["low"] == pytest.approx(1e-3 * 0.5 / (1e-3 * 0.5 + 0.999 * (1 - 0.025 ** (1 / 10_000))), rel=1e-3)
    assert points[0.95]["value"] == pytest.approx(1e-3 * 0.95 / (1e-3 * 0.95 + 0.999 * 1e-3), rel=1e-6)
    assert points[0.95]["low"] < points[0.95]["value"] < points[0.95]["high"]


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth = 0.92135  # of normal scores two deviations apart
    found = [rare_metrics(*search(400, 60, seed), n_boot=150)["auc"] for seed in range(60)]
    assert 0.85 <= np.mean([m["low"] <= truth <= m["high"] for m in found]) <= 1


def test_differences_are_paired():
    scores, positive = search(seed=3)
    worse = np.clip(scores + 0.05 * np.random.default_rng(0).normal(size=len(scores)), 0, 1)
    found = rare_differences(scores, worse, positive, n_boot=200)
    alone = [rare_metrics(s, positive, n_boot=200)["auc"] for s in (scores, worse)]
    assert found["auc"]["value"] == pytest.approx(alone[0]["value"] - alone[1]["value"])
    assert found["auc"]["high"] - found["auc"]["low"] < 0.5 * (alone[0]["high"] - alone[0]["low"])
    two = (np.stack([1 - s, s], 1) for s in (scores, worse))
    general = paired_difference(*two, positive.astype(int), ["nonlens", "lens"], n_boot=200)
    assert found["auc"] == pytest.approx(general["auc_macro"] | {"n": 60}, abs=1e-9)  # another way, the same resamples
    nothing = rare_differences(scores, scores, positive, n_boot=50)
    assert all(v["value"] == 0 and not v["excludes_zero"] for v in nothing.values())


def test_a_thousand_resamples_of_a_test_set_of_the_field_take_seconds():
    scores, positive = search(19_650, 195)
    start = time.process_time()
    metrics = rare_metrics(scores, positive, thresholds={"f1": 0.9}, n_boot=1000)
    assert time.process_time() - start < 5
    assert metrics["tpr_at_fpr"]["0.0001"]["value"] <= metrics["tpr_at_fpr"]["0.001"]["value"]


@pytest.mark.parametrize("positives", [0, 10])
def test_images_of_one_class_are_refused(positives):
    with pytest.raises(InputError, match=f"{positives} of 10 images are of class 'lens'"):
        rare_metrics(np.linspace(0, 1, 10), np.arange(10) < positives)


def test_a_prevalence_outside_its_range_is_refused():
    with pytest.raises(InputError, match=r"prevalence 1\.5"):
        purity_curve(*search(), prevalence=1.5)
