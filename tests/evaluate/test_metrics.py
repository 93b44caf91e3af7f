import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from darklens.errors import InputError
from darklens.evaluate import classification_metrics, paired_difference
from darklens.evaluate.curves import Ranking

CLASSES = ("no_sub", "cdm", "axion")


def predictions(n=600, seed=0, signal=1.0, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(size=(n, 3)) + signal * np.eye(3)[labels]
    p = softmax(logits.round(1) if ties else logits, axis=1)
    return p, labels


@pytest.mark.parametrize("ties", [False, True])
def test_figures_are_scikit_learns(ties):
    p, y = predictions(ties=ties)
    found = classification_metrics(p, y, CLASSES, n_boot=20)
    one_hot, predicted = np.eye(3)[y], p.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "loss": sk.log_loss(y, p),
        "auc_macro": sk.roc_auc_score(one_hot, p, average="macro"),
        "average_precision": sk.average_precision_score(one_hot, p, average="macro"),
        "f1_macro": sk.f1_score(y, predicted, average="macro"),
        "precision_macro": sk.precision_score(y, predicted, average="macro"),
        "recall_macro": sk.recall_score(y, predicted, average="macro"),
        "brier": ((p - one_hot) ** 2).sum(1).mean(),
    }
    for key, value in expected.items():
        assert found[key]["value"] == pytest.approx(value, abs=1e-12), key
        assert found[key]["low"] <= value <= found[key]["high"]
    for k, name in enumerate(CLASSES):
        assert found["auc"][name]["value"] == pytest.approx(sk.roc_auc_score(y == k, p[:, k]), abs=1e-12)
        assert found["average_precision_per_class"][name]["value"] == pytest.approx(
            sk.average_precision_score(y == k, p[:, k]), abs=1e-12
        )
    assert found["confusion_matrix"] == sk.confusion_matrix(y, predicted).tolist()


@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_has_scikit_learns_weighted_areas(ties):
    p, y = predictions(400, ties=ties)
    weights = np.random.default_rng(1).integers(0, 4, (5, 400)).astype(float)
    auc, ap = Ranking(p[:, 1], y == 1).areas(weights)
    for w, area, precision in zip(weights, auc, ap, strict=True):
        assert area == pytest.approx(sk.roc_auc_score(y == 1, p[:, 1], sample_weight=w), abs=1e-12)
        assert precision == pytest.approx(sk.average_precision_score(y == 1, p[:, 1], sample_weight=w), abs=1e-12)


def test_intervals_are_a_function_of_the_seed():
    p, y = predictions(200)
    first, again, other = (classification_metrics(p, y, CLASSES, n_boot=50, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first["auc_macro"]["value"] == other["auc_macro"]["value"]
    assert first["auc_macro"]["low"] != other["auc_macro"]["low"]


def test_every_interval_holds_its_value():
    for seed in range(20):
        found = classification_metrics(*predictions(120, seed=seed, signal=3.0), CLASSES, n_boot=200)
        for key in ("accuracy", "auc_macro", "average_precision", "loss", "brier", "ece", "f1_macro"):
            assert found[key]["low"] <= found[key]["value"] <= found[key]["high"], (key, seed)


def test_a_score_without_mistakes_says_what_its_interval_hides():
    y = np.repeat([0, 1, 2], 50)
    found = classification_metrics(0.97 * np.eye(3)[y] + 0.01, y, CLASSES, n_boot=20)
    assert found["accuracy"]["value"] == found["accuracy"]["low"] == 1
    assert "2.00%" in found["notes"][0]  # three in 150
    assert not classification_metrics(*predictions(100), CLASSES, n_boot=20)["notes"]


def test_intervals_cover_the_truth_as_often_as_they_say():
    """The interval of the AUC of one draw must hold the AUC of the population in 95% of draws (within four deviations)."""
    big, labels = predictions(200_000, seed=99)
    truth = sk.roc_auc_score(np.eye(3)[labels], big, average="macro")
    inside = 0
    trials = 120
    for trial in range(trials):
        p, y = predictions(300, seed=trial)
        found = classification_metrics(p, y, CLASSES, n_boot=200, seed=trial)["auc_macro"]
        inside += found["low"] <= truth <= found["high"]
    assert inside / trials > 0.95 - 4 * (0.95 * 0.05 / trials) ** 0.5


def test_the_width_of_the_accuracy_interval_is_the_binomial_one():
    p, y = predictions(3000)
    found = classification_metrics(p, y, CLASSES)["accuracy"]
    a = found["value"]
    assert (found["high"] - found["low"]) / 2 == pytest.approx(1.96 * (a * (1 - a) / 3000) ** 0.5, rel=0.1)


def test_an_absent_class_has_null_figures_and_a_note():
    p, y = predictions(100)
    p, y = p[y != 2], y[y != 2]
    found = classification_metrics(p, y, CLASSES, n_boot=20)
    assert found["auc"]["axion"]["value"] is None
    assert found["auc_macro"]["value"] == pytest.approx(np.mean([found["auc"][c]["value"] for c in CLASSES[:2]]))
    assert "axion" in found["notes"][0]


def test_paired_difference_is_of_the_same_images():
    p, y = predictions(1500, seed=1)
    q = softmax(np.log(p) + 0.15 * np.random.default_rng(2).normal(size=p.shape), axis=1)  # the same, slightly worse
    found = paired_difference(p, q, y, CLASSES)["auc_macro"]
    alone = classification_metrics(p, y, CLASSES)["auc_macro"]
    assert found["high"] - found["low"] < 0.5 * (alone["high"] - alone["low"])  # pairing takes the common scatter out
    assert paired_difference(p, p, y, CLASSES)["accuracy"]["value"] == 0
    assert not paired_difference(p, p, y, CLASSES)["accuracy"]["excludes_zero"]


def test_paired_difference_is_antisymmetric_and_sees_a_real_one():
    p, y = predictions(1500, seed=1, signal=2.0)
    q, _ = predictions(1500, seed=1, signal=1.0)
    ab, ba = paired_difference(p, q, y, CLASSES), paired_difference(q, p, y, CLASSES)
    assert ab["auc_macro"]["value"] == pytest.approx(-ba["auc_macro"]["value"])
    assert ab["auc_macro"]["excludes_zero"]
    assert ab["auc_macro"]["p_value"] < 0.01


def test_the_paired_test_raises_as_few_false_alarms_as_it_says():
    """Two equally good classifiers must differ "significantly" in 5% of draws (within four deviations)."""
    trials, alarms = 150, 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        y = rng.integers(0, 3, 300)
        common = rng.normal(size=(300, 3)) + np.eye(3)[y]
        p, q = (softmax(common + 0.5 * rng.normal(size=(300, 3)), axis=1) for _ in range(2))
        alarms += paired_difference(p, q, y, CLASSES, n_boot=200, seed=trial)["auc_macro"]["excludes_zero"]
    assert alarms / trials < 0.05 + 4 * (0.05 * 0.95 / trials) ** 0.5


def test_the_biased_calibration_error_is_not_compared():
    p, y = predictions(100)
    assert "ece" not in paired_difference(p, p, y, CLASSES, n_boot=5)


@pytest.mark.parametrize(
    ("p", "y", "match"),
    [
        (np.full((3, 3), 0.5), [0, 1, 2], "add up to 1"),
        (np.full((3, 3), 1 / 3), [0, 1, 5], "0 to 2"),
        (np.full((2, 3), 1 / 3), [0, 1, 2], "shape"),
        (np.zeros((0, 3)), [], "at least 1"),
    ],
)
def test_bad_input_is_one_sentence(p, y, match):
    with pytest.raises(InputError, match=match):
        classification_metrics(p, np.array(y, dtype=int), CLASSES)


def test_images_of_one_class_alone_have_no_ranking():
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 30)
    found = classification_metrics(probabilities, np.ones(30, int), ["a", "b"], n_boot=50)
    for key in ("auc_macro", "average_precision"):
        assert found[key]["value"] is None
    assert found["accuracy"]["value"] is not None
