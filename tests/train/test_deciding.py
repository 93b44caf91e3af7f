import numpy as np
import pytest

from darklens.errors import InputError
from darklens.evaluate.thresholds import choose_thresholds
from darklens.train.answers import Answers, Judge
from darklens.train.deciding import Deciding, thresholds_of
from darklens.train.image_set import ImageSet
from darklens.train.searching import chosen_thresholds, search_metrics


class Known(Judge):
    """Says of an image what its first pixel says; its validation images are drawn from what it says."""

    classes, shape, coverage, task = ("nonlens", "lens"), (1, 8, 8), 0.9, None
    held_out = prior = None  # until it is made

    def __init__(self, kept=True, positives=True):
        self.prior = {"nonlens": 0.9, "lens": 0.1}
        rng = np.random.default_rng(0)
        p = rng.beta(0.3, 2.0, 5000)
        labels = (rng.random(5000) < p * positives).astype(int)
        self.held_out = (np.stack([1 - p, p], 1), labels) if kept else None
        self.run = type("Run", (), {"recipe": {"train": {"cost_fn": 20.0}}})()

    def answers(self, images):
        p = images[:, 0, 0, 0].astype(float)
        return Answers(np.stack([1 - p, p], 1))

    def answers_of(self, images):
        return self.answers(images.images)

    def calibrated_on(self, images, *, log=print):
        return Known()

    def on(self, device):
        return self

    def evaluation(self, name):
        return name


def images_of(*values):
    return np.array(values, np.float32)[:, None, None, None] * np.ones((1, 1, 8, 8), np.float32)


def test_probabilities_follow_bayes_to_the_prevalence_of_a_survey():
    judges = Known(), Deciding(Known(), prevalence=1e-3)
    before, after = (judge.answers(images_of(0.1, 0.5, 0.9)).probabilities for judge in judges)
    odds = [p[:, 1] / p[:, 0] for p in (before, after)]
    assert odds[1] / odds[0] == pytest.approx(np.full(3, (1e-3 / 0.999) / (0.1 / 0.9)), rel=1e-4)
    assert after.sum(1) == pytest.approx(np.ones(3))
    assert after[0, 1] == pytest.approx(1e-3, rel=1e-4)  # what says nothing here says nothing there


@pytest.mark.parametrize("rule", ["f1", "cost"])
def test_a_rule_takes_its_threshold_from_validation_images(rule):
    p, labels = Known().held_out
    expected = choose_thresholds(p[:, 1], labels == 1, cost_fn=20.0)[rule]["threshold"]
    judge = Deciding(Known(), threshold=rule)
    assert judge.cut == pytest.approx(expected)
    assert judge.answers(images_of(expected - 0.01, expected + 0.01)).called.tolist() == [0, 1]


def test_costs_asked_for_go_before_those_of_the_recipe():
    cheap, dear = (Deciding(Known(), threshold="cost", cost_fn=cost).cut for cost in (1.0, None))
    assert dear == pytest.approx(1 / 21, abs=0.03)
    assert cheap == pytest.approx(1 / 2, abs=0.1)


def test_a_threshold_moves_with_the_prevalence():
    here, there = (Deciding(Known(), threshold="cost", prevalence=p).cut for p in (0.1, 1e-3))
    assert there == pytest.approx(here, abs=0.08)  # costs and calibrated probabilities alone decide
    called = [Deciding(Known(), threshold="cost", prevalence=p).answers(images_of(0.3, 0.9)).called.tolist() for p in (0.1, 1e-3)]
    assert called == [[1, 1], [0, 1]]


def test_without_a_threshold_the_more_probable_class_is_called():
    assert Deciding(Known(), prevalence=0.5).answers(images_of(0.05, 0.2)).called.tolist() == [0, 1]
    assert Deciding(Known(), threshold="0.3").answers(images_of(0.29, 0.31)).called.tolist() == [0, 1]


def test_the_wish_stays_on_another_device_and_names_its_evaluation():
    judge = Deciding(Known(), prevalence=1e-3, threshold=0.2)
    for other in (judge.on("cpu"), judge.calibrated_on(images_of(0.5))):
        assert np.array_equal(other.answers(images_of(0.99)).probabilities, judge.answers(images_of(0.99)).probabilities)
        assert other.cut == 0.2
    assert judge.evaluation("survey") == "survey-threshold-0.2-prevalence-0.001"


@pytest.mark.parametrize(
    ("judge", "options", "says"),
    [
        (Known(), {"threshold": "f2"}, "unknown threshold 'f2'"),
        (Known(), {"threshold": 1.5}, "threshold 1.5 is outside"),
        (Known(), {"prevalence": 2.0}, "prevalence 2.0"),
        (Known(kept=False), {"threshold": "f1"}, "kept no answers on validation images"),
        (Known(positives=False), {"threshold": "f1"}, "none of the 5000 validation images is of class 'lens'"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(judge, options, says):
    with pytest.raises(InputError, match=says):
        Deciding(judge, **options)


def test_three_classes_have_no_threshold():
    judge = Known()
    judge.classes = ("no", "sphere", "vort")
    with pytest.raises(InputError, match="no, sphere, vort"):
        Deciding(judge, threshold="f1")
    assert chosen_thresholds(judge) == {}


def searched(n=400):
    rng = np.random.default_rng(1)
    labels = (np.arange(n) % 4 == 0).astype(int)
    theta = np.where(labels == 1, rng.uniform(0.5, 2.5, n), np.nan)
    p = np.where(labels == 1, np.nan_to_num(theta) / 2.5, rng.uniform(0, 0.3, n))
    truth = {"theta_E": theta, "snr": theta * 10}
    return ImageSet(images_of(*p), labels, np.arange(n).astype(str).astype(object), Known.classes, truth=truth), p


def test_a_test_says_what_thresholds_of_validation_find_and_which_lenses_are_missed():
    images, p = searched()
    found = search_metrics(Known(), images, np.stack([1 - p, p], 1))
    assert set(found["search"]["at"]) == {"f1", "cost", "equal-odds"}
    assert found["search"]["at"]["equal-odds"]["threshold"] == 0.1
    cut = thresholds_of(Known())["f1"]
    assert (found["completeness"]["rule"], found["completeness"]["threshold"]) == ("f1", pytest.approx(cut))
    bins = found["completeness"]["curves"]["theta_E"]
    assert bins[0]["value"] < 0.5  # small ones are missed
    assert bins[-1]["value"] == 1
    assert sum(b["n"] for b in bins) == 100


def test_images_of_one_class_are_no_search():
    images, p = searched()
    lenses = images.take(np.flatnonzero(images.labels == 1))
    assert search_metrics(Known(), lenses, np.stack([1 - p, p], 1)[images.labels == 1]) == {}


def test_chosen_thresholds_are_those_of_the_recipes_costs():
    found = chosen_thresholds(Known())["thresholds"]
    assert (found["class"], found["cost"]["cost_fn"], found["chosen_on"]) == ("lens", 20.0, "validation")
    assert chosen_thresholds(Known(positives=False)) == {}
