import numpy as np
import pytest
from sklearn.metrics import f1_score

from darklens.errors import InputError
from darklens.evaluate.thresholds import choose_thresholds


def answers(n=2000, seed=0, share=0.05):
    """Calibrated probabilities and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(np.log(share), 2.0, n)
    p = 1 / (1 + np.exp(-logits))
    return p, rng.random(n) < p


def test_the_f1_threshold_has_the_best_f1_of_all():
    p, positive = answers(150, share=0.2)
    found = choose_thresholds(p, positive)["f1"]
    every = max(f1_score(positive, p >= t) for t in np.unique(p))
    assert found["f1"] == pytest.approx(every)
    assert f1_score(positive, p >= found["threshold"]) == pytest.approx(every)
    assert not np.isin(found["threshold"], p)  # between two images
    assert found["recall"] == pytest.approx((p >= found["threshold"])[positive].mean())


def test_costs_move_the_threshold_to_where_probabilities_say():
    p, positive = answers(200_000)
    for cost_fp, cost_fn in ((1, 1), (1, 9), (4, 1)):
        found = choose_thresholds(p, positive, cost_fp=cost_fp, cost_fn=cost_fn)["cost"]
        assert found["threshold"] == pytest.approx(cost_fp / (cost_fp + cost_fn), abs=0.04)  # Bayes, for calibrated probabilities
        missed, false = (positive & (p < found["threshold"])).sum(), (~positive & (p >= found["threshold"])).sum()
        assert found["cost"] == pytest.approx((cost_fp * false + cost_fn * missed) / len(p))


def test_a_rarer_class_needs_a_higher_threshold():
    p, positive = answers(50_000)
    here, survey = (choose_thresholds(p, positive, prevalence=v) for v in (None, 1e-3))
    for rule in ("f1", "cost"):
        assert survey[rule]["threshold"] > here[rule]["threshold"] + 0.05
    assert survey["prevalence"] == 1e-3


def test_nothing_is_called_where_every_call_costs_more_than_it_saves():
    p, positive = answers()
    found = choose_thresholds(p, positive, cost_fp=1e9)["cost"]
    assert found["threshold"] > p[~positive].max()
    assert found["cost"] <= positive.mean() + 1e-12


@pytest.mark.parametrize(("positives", "says"), [(0, "none of the 20 validation images"), (20, "all 20 validation images")])
def test_images_of_one_class_are_refused(positives, says):
    with pytest.raises(InputError, match=says):
        choose_thresholds(np.linspace(0, 1, 20), np.arange(20) < positives)


@pytest.mark.parametrize(("options", "says"), [({"cost_fp": 0}, "costs 0 and 1.0"), ({"prevalence": 1.0}, "prevalence 1.0")])
def test_costs_and_ratios_without_a_sense_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        choose_thresholds(*answers(50, share=0.5), **options)
